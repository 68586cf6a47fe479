//! Closing of connections. They are put on a list that is handled at the end of the turn, so that
//! no connection disappears while it is in use.

use super::conn::ReadResult;
use super::counters::CloseCause;
use super::deadlines::OutputStallCheckResult;
use super::hub::ConnectionHub;
use super::output::SocketWriteResult;
use super::socket::NonblockingStream;
use super::state::{ConnectionListFlags, ConnectionWriteState, FinalOutputMode};
use super::wire::{ConnInputDecoder, Framing};
use crate::chat::contract::{ConnId, CoreInput};
use std::collections::HashSet;

/// The number of bytes that are read and dropped in a microsecond of work.
const DRAINED_BYTES_PER_US: usize = 2_048;
/// The work that is spent on input after the close, in µs: 16 MiB. The buffers of both sides hold
/// less, so only a client that keeps sending loses its last frames.
const DRAIN_US_MAX: u16 = 8 * 1_024;
/// The largest size of the last frames, which tell the reason, that a closed connection still gets.
/// Earlier unwritten frames are dropped.
const LAST_WORDS_BYTES_MAX: usize = 1_024;
/// The number of connections whose client has ended its side that are closed in one turn: when a
/// network fails, thousands end at once, and other clients must not wait for that.
const HALF_CLOSED_PER_TURN: usize = 128;
/// The number of expired connections that are closed in one turn, for the same reason.
const EXPIRED_PER_TURN: usize = 128;

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Closes a connection on behalf of the shell, and tells the core. Does nothing if it is
    /// closing already.
    #[inline(never)]
    pub(super) fn close(&mut self, id: ConnId, cause: CloseCause) {
        if self.conns.get(id).is_some_and(super::conn::Conn::is_open) {
            self.begin_close(id, cause);
            self.dispatch(CoreInput::Closed { conn: id });
        }
    }

    /// Closes a connection that the core has removed.
    #[inline(never)]
    pub(super) fn begin_close(&mut self, id: ConnId, cause: CloseCause) {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) else { return };
        conn.begin_close(cause, &mut self.buffers.spare);
        conn.count_input(&mut self.memory.input_bytes);
        self.deadlines.end_blocked(id);
        self.counters.count_close(cause);
        self.log_closed(id, cause);
        self.work.begin_closing(id);
    }

    pub(super) fn close_failed(&mut self) {
        if self.work.has_failed() {
            self.close_all_failed();
        }
    }

    #[inline(never)]
    fn close_all_failed(&mut self) {
        let mut failed = self.work.take_failed();
        for (id, cause) in failed.drain(..) {
            self.close(id, cause);
        }
        self.work.return_failed(failed);
    }

    /// Closes connections whose deadline is over. If it is long over, the process was paused, and
    /// their input is handled first.
    #[inline(never)]
    pub(super) fn expire(&mut self) {
        let now_ms = self.clock.now_ms();
        if self.clock.is_input_missing(self.deadlines.next_ms()) {
            return;
        }
        self.close_half_closed();
        for _ in 0..EXPIRED_PER_TURN {
            let Some(id) = self.deadlines.pop_handshake(now_ms) else { break };
            let waits_for_head = self.conns.get(id).is_some_and(|conn| {
                // A connection that is sent a file has sent its request in time.
                conn.is_handshaking()
                    || (conn.framing == Framing::Http && !matches!(conn.decoder, ConnInputDecoder::File(_)))
            });
            if waits_for_head || self.addresses.proxied.is_in_header(id) {
                self.close(id, CloseCause::HandshakeTimeout);
            }
        }
        for _ in 0..EXPIRED_PER_TURN {
            let Some((id, watched)) = self.deadlines.pop_watched(now_ms) else { break };
            self.on_watched(id, watched);
        }
        for _ in 0..EXPIRED_PER_TURN {
            let Some(id) = self.deadlines.pop_lingering(now_ms) else { break };
            self.remove(id);
        }
    }

    /// Closes connections whose clients have ended their side and wait for no answer any more.
    /// Every answer has a deadline, so this ends.
    #[inline(never)]
    fn close_half_closed(&mut self) {
        let now_ms = self.clock.now_ms();
        // The others stay due, so the loop does not sleep before they had their turn.
        let ids = self.deadlines.take_half_closed(now_ms, HALF_CLOSED_PER_TURN);
        if ids.is_empty() {
            return;
        }
        let these: HashSet<ConnId> = ids.iter().copied().collect();
        let unanswered: HashSet<ConnId> = self.chat.unanswered().filter(|id| these.contains(id)).collect();
        for id in ids {
            if unanswered.contains(&id) {
                self.deadlines.half_close(now_ms, id);
            } else {
                self.close(id, CloseCause::PeerClosed);
            }
        }
    }

    /// Closes a connection that has taken nothing of its output for too long.
    #[cold]
    fn on_watched(&mut self, id: ConnId, watched: OutputStallCheckResult) {
        match watched {
            OutputStallCheckResult::Stuck => self.close(id, CloseCause::OutputTimeout),
            OutputStallCheckResult::Takes => {}
            // If output waits again, it will be watched again.
            OutputStallCheckResult::Out => {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.lists.leave(ConnectionListFlags::WATCHED);
                }
            }
        }
    }

    /// Advances every closing connection as far as possible.
    pub(super) fn settle_closing(&mut self) {
        if self.work.has_closing() {
            self.settle_all_closing();
        }
    }

    #[inline(never)]
    fn settle_all_closing(&mut self) {
        let mut closing = self.work.take_closing();
        let mut shared = self.buffers.lend_shared();
        for id in closing.drain(..) {
            if !self.advance_closing(id, &mut shared) {
                self.remove(id);
            }
        }
        self.buffers.return_shared(shared);
        self.work.return_closing(closing);
    }

    /// Advances one closing connection; `false`: it can be removed.
    #[inline(never)]
    fn advance_closing(&mut self, id: ConnId, shared: &mut [u8]) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return true };
        match conn.write {
            ConnectionWriteState::Free | ConnectionWriteState::Blocked => return true,
            ConnectionWriteState::Dead => return false,
            ConnectionWriteState::Closing(last_words) => match conn.flush_last(&mut self.buffers) {
                Ok(SocketWriteResult::All) => {
                    if conn.socket.end_writing().is_err() {
                        return false;
                    }
                    conn.write = ConnectionWriteState::Ended;
                    conn.debt_us = 0;
                    conn.tls = None;
                    conn.count_input(&mut self.memory.input_bytes);
                    // An earlier edge may have been consumed by a read that stopped early.
                    conn.read.on_edge(false);
                }
                Ok(SocketWriteResult::Blocked) => {
                    if last_words == FinalOutputMode::Reason {
                        conn.output.keep_last_frames(LAST_WORDS_BYTES_MAX, &mut self.buffers.spare);
                        conn.write = ConnectionWriteState::Closing(FinalOutputMode::Everything);
                    }
                }
                Err(_) => return false,
            },
            ConnectionWriteState::Ended => {}
        }
        let ended = conn.write == ConnectionWriteState::Ended;
        if ended && conn.read.has_ended() {
            return false;
        }
        // Input that a client still sends is read, once a turn, and dropped.
        if ended && conn.read.is_readable() {
            match conn.fill(shared) {
                ReadResult::Eof | ReadResult::Broken(_) => return false,
                // `fill` itself reads no records.
                ReadResult::Blocked | ReadResult::BadRecords(_) => {}
                ReadResult::Some(count) => {
                    // A read is far smaller than this conversion allows.
                    conn.debt_us = conn.debt_us.saturating_add((count / DRAINED_BYTES_PER_US + 1) as u16);
                    if conn.debt_us > DRAIN_US_MAX {
                        return false;
                    }
                }
            }
        }
        if self.stop.is_closing_all() && ended {
            // All output is written and all input is read: closing now loses nothing.
            return false;
        }
        if conn.lists.enter(ConnectionListFlags::LINGERING) {
            self.deadlines.start_closing(self.clock.now_ms(), id);
        }
        if ended && conn.read.is_readable() {
            // It sends faster than it is drained: continue after the others had their turn. Its
            // deadline ends that.
            self.queue_later(id);
        }
        true
    }

    #[inline(never)]
    pub(super) fn remove(&mut self, id: ConnId) {
        if let Some(mut conn) = self.conns.remove(id) {
            self.count_removed(&conn);
            self.addresses.remove(id, conn.address_key);
            conn.output.clear(&mut self.buffers.spare);
            self.memory.input_bytes -= conn.counted_input();
            self.note_one_stranger_less();
        }
    }
}
