//! Sends the files of the web page. They are in the binary, and are written to a connection piece
//! by piece, as it accepts them. So even many connections use little memory, and one turn of the
//! loop spends little time on all of them.

use super::conn::{Conn, InputWaitReasons};
use super::counters::CloseCause;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::turn_work::PIECE;
use super::wire::{ConnInputDecoder, StaticFileOutput};
use crate::chat::contract::ConnId;
use crate::web_page::WebPageFile;

/// The size of a piece of a file, in bytes. It is within `--output-before-log-in-max`.
const PIECE_BYTES: usize = 8 * 1024;
/// The number of connections that get a next piece in one turn: some 100 µs of work.
const PIECES_PER_TURN: usize = 16;

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Begins to send a file: its head and a first piece are written in this turn.
    pub(super) fn begin_file(&mut self, id: ConnId, file: &'static WebPageFile) -> Box<StaticFileOutput> {
        if let Some(conn) = self.conns.get_mut(id) {
            // Further input of the client is ignored.
            conn.input_waits.set(InputWaitReasons::PAUSED, true);
        }
        self.answer(id, |out| out.extend_from_slice(file.head().as_bytes()));
        self.work.spend(PIECE);
        let mut sending = Box::new(StaticFileOutput { rest: file.bytes });
        self.send_piece(id, &mut sending);
        sending
    }

    /// Queues a connection for its next piece, if it is sent a file and has taken the last piece.
    pub(super) fn queue_reader(&mut self, id: ConnId) {
        let reads =
            |conn: &Conn<S>| conn.is_open() && matches!(conn.decoder, ConnInputDecoder::File(_)) && !conn.has_output();
        if self.conns.get(id).is_some_and(reads) {
            self.work.queue_reader(id);
        }
    }

    /// Gives some connections their next piece, and closes those that have the whole file.
    pub(super) fn send_files(&mut self) {
        for _ in 0..PIECES_PER_TURN {
            let Some(id) = self.work.next_reader() else { return };
            let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) else { continue };
            match std::mem::take(&mut conn.decoder) {
                // Only now, so that a slow reader has as much time for the last piece as for
                // others.
                ConnInputDecoder::File(sending) if sending.rest.is_empty() => self.close(id, CloseCause::HttpDone),
                ConnInputDecoder::File(mut sending) => {
                    self.send_piece(id, &mut sending);
                    if let Some(conn) = self.conns.get_mut(id) {
                        conn.decoder = ConnInputDecoder::File(sending);
                    }
                }
                other => conn.decoder = other,
            }
        }
    }

    /// Appends a piece to the output of a connection.
    fn send_piece(&mut self, id: ConnId, sending: &mut StaticFileOutput) {
        let room_max = PIECE_BYTES.min(self.bounds.stranger_output_bytes_max);
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) else { return };
        let count = room_max.saturating_sub(conn.unwritten()).min(sending.rest.len());
        let (piece, rest) = sending.rest.split_at(count);
        sending.rest = rest;
        self.answer(id, |out| out.extend_from_slice(piece));
    }
}
