//! Reading: bytes → envelopes → the core.

use super::conn::{InputPauseLevel, InputWaitReasons, REPLIES_SOFT_MAX, ReadResult};
use super::counters::CloseCause;
use super::deadlines::HALF_CLOSED_MS;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::state::{ConnectionListFlags, ConnectionReadState};
use super::turn_work::{BYTE, ESCAPE, FRAME_BYTE, INPUT, ODD_BYTE, ODD_INPUT, PARSED_BYTE, READ};
use super::unused_input::ConnectionInputBuffer;
use super::web::ClientPortHttpNextStep;
use super::wire::{ConnInputDecoder, Framing, SniffedProtocol, sniff};
use crate::chat::contract::{ConnId, CoreInput};
use crate::protocol::envelope;
use crate::protocol::error::ErrorCode;
use crate::protocol::request::{BadInput, ClientRequest};
use crate::protocol::split::{self, JsonEnvelopeStreamItem, JsonEnvelopeStreamSplitter};
use crate::protocol::ws::{self, WsItem, WsServerDecoder};

/// The largest number of reads of one connection in one turn; a connection with more input
/// continues in the next turn, after the others.
const READS_PER_TURN: usize = 4;

/// The result of handing an envelope in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EnvelopeToCoreResult {
    /// The core got a request.
    Readable,
    /// The core was told that it is not a JSON object.
    Unreadable,
    /// It is a request, and requests are paused.
    Paused,
}

const NOT_JSON: &str = "the input is not a JSON object, or is nested too deeply";
const TOO_LARGE: &str = "an envelope is larger than this server takes";

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Reads the memory that each of these connections will need, so that their cache misses
    /// overlap: with thousands of busy connections, the memory of each is cold at its turn. Changes
    /// nothing.
    pub(super) fn prefetch(&self, some: &[ConnId]) {
        if some.len() > 1 {
            let seen = some.iter().map(|&id| {
                let queued = self.conns.get(id).is_some_and(|conn| conn.lists.has(ConnectionListFlags::TO_READ));
                usize::from(queued).wrapping_add(self.chat.prefetch(id))
            });
            // This keeps the compiler from removing the reads.
            std::hint::black_box(seen.fold(0, usize::wrapping_add));
        }
    }

    /// Hands in a connection's input, up to its quantum. `true`: there is more for another turn.
    pub(super) fn serve(&mut self, id: ConnId, shared: &mut [u8]) -> bool {
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.can_read()) else { return false };
        let mut own = conn.take_input();
        if !own.is_empty() {
            let used = self.decode(id, own.unused());
            own.consume(used);
            self.buffers.put_back(&mut own, &[]);
        }
        self.read(id, shared, &mut own);
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) else { return false };
        let goes_on = conn.can_read() && (conn.read.is_readable() || (self.work.is_used_up() && !own.is_empty()));
        conn.keep_unused(own);
        goes_on
    }

    /// Reads until there is no more input or the quantum is used up. Unused input goes to `own`.
    /// While input may not be handed in, no more is read.
    fn read(&mut self, id: ConnId, shared: &mut [u8], own: &mut ConnectionInputBuffer) {
        for _ in 0..READS_PER_TURN {
            let Some(conn) = self.conns.get_mut(id) else { return };
            if self.work.is_used_up() || !conn.can_read() || !conn.read.is_readable() {
                return;
            }
            self.work.spend(READ);
            if conn.tls.is_some() {
                if self.read_tls(id, shared.len(), own) {
                    continue;
                }
                return;
            }
            match conn.fill(shared) {
                ReadResult::Some(count) => self.hand_in_bytes(id, &mut shared[..count], own),
                ReadResult::Blocked | ReadResult::Eof => return,
                ReadResult::Broken(error) => {
                    log::trace!("connection {}.{}: {error}", id.slot, id.generation);
                    self.close(id, CloseCause::IoError);
                    return;
                }
                ReadResult::BadRecords(_) => return,
            }
        }
    }

    /// Hands in the bytes that were read, after the kept ones.
    pub(super) fn hand_in_bytes(&mut self, id: ConnId, bytes: &mut [u8], own: &mut ConnectionInputBuffer) {
        self.counters.bytes_in += bytes.len() as u64;
        if own.is_empty() {
            let used = self.decode(id, bytes);
            self.buffers.put_back(own, &bytes[used..]);
        } else {
            own.put(&[], bytes);
            let used = self.decode(id, own.unused());
            own.consume(used);
            self.buffers.put_back(own, &[]);
        }
    }

    /// Hands the complete envelopes in `bytes` to the core, as long as input is not paused. Returns
    /// the number of used bytes: all of them, unless input is paused or the protocol is not known
    /// yet.
    fn decode(&mut self, id: ConnId, bytes: &mut [u8]) -> usize {
        let Some(conn) = self.conns.get_mut(id) else { return bytes.len() };
        let mut decoder = std::mem::take(&mut conn.decoder);
        let used = self.decode_as(id, &mut decoder, bytes);
        if let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) {
            conn.decoder = decoder;
            return used;
        }
        bytes.len()
    }

    fn decode_as(&mut self, id: ConnId, decoder: &mut ConnInputDecoder, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        loop {
            match decoder {
                ConnInputDecoder::Sniff if self.addresses.proxied.awaits_header(id) => {
                    match self.decode_proxy_header(id, &bytes[used..]) {
                        Some(length) => used += length,
                        None => return used,
                    }
                }
                ConnInputDecoder::Sniff => match sniff(&bytes[used..]) {
                    SniffedProtocol::Wait => return used,
                    SniffedProtocol::Raw if self.refuses_plain(id) => {
                        self.set_framing(id, Framing::Lines);
                        self.refuse_plain(id, Framing::Lines, bytes);
                        return used;
                    }
                    SniffedProtocol::Http if self.refuses_plain(id) => {
                        self.set_framing(id, Framing::Http);
                        self.refuse_plain(id, Framing::Http, bytes);
                        return used;
                    }
                    SniffedProtocol::Raw if !self.settle_address(id) => return used,
                    SniffedProtocol::Raw => {
                        *decoder = ConnInputDecoder::Raw(None);
                        self.set_framing(id, Framing::Lines);
                    }
                    SniffedProtocol::Http => {
                        *decoder = ConnInputDecoder::Http;
                        self.set_framing(id, Framing::Http);
                        self.deadlines.begin_handshake(self.clock.now_ms(), id);
                    }
                    SniffedProtocol::Tls => {
                        self.begin_tls(id, &bytes[used..]);
                        return bytes.len();
                    }
                },
                ConnInputDecoder::Http => match self.decode_head(id, &bytes[used..]) {
                    ClientPortHttpNextStep::WebSocket(length) => {
                        used += length;
                        *decoder = ConnInputDecoder::Ws(None);
                        self.set_framing(id, Framing::WebSocket);
                    }
                    ClientPortHttpNextStep::File(sending) => {
                        *decoder = ConnInputDecoder::File(sending);
                        return bytes.len();
                    }
                    ClientPortHttpNextStep::Nothing => return used,
                },
                ConnInputDecoder::File(_) => return bytes.len(),
                // Between two envelopes there is no state to keep, so most connections need no
                // memory for it.
                ConnInputDecoder::Raw(kept) => {
                    let mut raw = kept.take().map_or_else(JsonEnvelopeStreamSplitter::default, |raw| *raw);
                    used += self.decode_raw(id, &mut raw, &bytes[used..]);
                    *kept = (!raw.is_between_envelopes()).then(|| Box::new(raw));
                    return used;
                }
                ConnInputDecoder::Ws(kept) => {
                    let mut ws = kept.take().map_or_else(WsServerDecoder::default, |ws| *ws);
                    used += self.decode_ws(id, &mut ws, &mut bytes[used..]);
                    *kept = (!ws.is_between_messages()).then(|| Box::new(ws));
                    return used;
                }
            }
        }
    }

    fn set_framing(&mut self, id: ConnId, framing: Framing) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.framing = framing;
        }
        self.count_changed(id);
    }

    fn decode_raw(&mut self, id: ConnId, raw: &mut JsonEnvelopeStreamSplitter, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        loop {
            let pause = self.input_pause(id);
            if pause == InputPauseLevel::AllPaused {
                break;
            }
            // The usual case: a complete message or ack, which is parsed in one pass.
            if raw.is_between_envelopes()
                && let Some((request, length)) = envelope::read_fast(rest)
                && length <= self.bounds.frame_bytes_max
            {
                if pause == InputPauseLevel::RequestsPaused && !request.passes_paused_requests() {
                    self.stall_input(id);
                    break;
                }
                rest = &rest[length..];
                self.work.spend(INPUT + BYTE * length as i64);
                self.note_input_time(id);
                self.dispatch(CoreInput::Input { conn: id, input: Ok(request) });
                continue;
            }
            let before = rest.len();
            let item = raw.next(&mut rest, self.bounds.frame_bytes_max);
            self.work.spend(ODD_BYTE * (before - rest.len()) as i64);
            let outcome = match item {
                JsonEnvelopeStreamItem::More => break,
                JsonEnvelopeStreamItem::Envelope(envelope) => match self.on_envelope(id, envelope, pause) {
                    EnvelopeToCoreResult::Paused => {
                        self.buffers.keep_envelope(|out| out.extend_from_slice(envelope));
                        break;
                    }
                    outcome => outcome,
                },
                JsonEnvelopeStreamItem::Bad => {
                    self.on_bad_input(id, ErrorCode::BadJson, NOT_JSON);
                    EnvelopeToCoreResult::Readable
                }
                JsonEnvelopeStreamItem::TooLarge => {
                    self.on_bad_input(id, ErrorCode::TooLarge, TOO_LARGE);
                    break;
                }
            };
            if outcome == EnvelopeToCoreResult::Unreadable {
                raw.skip_line();
            }
        }
        bytes.len() - rest.len()
    }

    fn decode_ws(&mut self, id: ConnId, ws: &mut WsServerDecoder, bytes: &mut [u8]) -> usize {
        let length = bytes.len();
        let mut rest = bytes;
        loop {
            let pause = self.input_pause(id);
            if pause == InputPauseLevel::AllPaused {
                break;
            }
            let before = rest.len();
            let item = ws.next(&mut rest, self.bounds.frame_bytes_max);
            self.work.spend(INPUT + FRAME_BYTE * (before - rest.len()) as i64);
            match item {
                WsItem::More => break,
                WsItem::Text(envelope) => {
                    if self.on_text(id, envelope, pause) == EnvelopeToCoreResult::Paused {
                        self.buffers.keep_envelope(|out| ws::write_as_client(out, envelope));
                        break;
                    }
                }
                WsItem::Ping(payload) => {
                    self.answer(id, |out| ws::write_pong(out, payload));
                    self.note_input_time(id);
                    self.dispatch(CoreInput::Ping { conn: id });
                }
                WsItem::Pong => {}
                WsItem::Close(code) => {
                    self.answer(id, |out| ws::write_close(out, code));
                    self.close(id, CloseCause::WebSocketClosed);
                }
                WsItem::Error(code) => {
                    self.answer(id, |out| ws::write_close(out, Some(code)));
                    self.close(id, CloseCause::WebSocketProtocol);
                }
                WsItem::TooLarge => {
                    self.on_bad_input(id, ErrorCode::TooLarge, TOO_LARGE);
                    break;
                }
            }
        }
        length - rest.len()
    }

    /// The kinds of input that may go from this connection to the core now. If too much output
    /// waits, it is written first to make room.
    fn input_pause(&mut self, id: ConnId) -> InputPauseLevel {
        if self.work.is_used_up() {
            return InputPauseLevel::AllPaused;
        }
        match self.conns.get(id) {
            Some(conn) if conn.output.len() <= REPLIES_SOFT_MAX => conn.input_pause(),
            Some(_) => {
                self.limit_output(id);
                self.conns.get(id).map_or(InputPauseLevel::AllPaused, super::conn::Conn::input_pause)
            }
            None => InputPauseLevel::AllPaused,
        }
    }

    /// The next input is a request that may not be handed in yet.
    #[cold]
    fn stall_input(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.input_waits.set(InputWaitReasons::STALLED, true);
        }
    }

    /// Hands one envelope to the core.
    #[inline(never)]
    fn on_envelope(&mut self, id: ConnId, bytes: &[u8], pause: InputPauseLevel) -> EnvelopeToCoreResult {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.on_text(id, text, pause),
            Err(_) => {
                self.on_bad_input(id, ErrorCode::BadJson, envelope::NOT_UTF8);
                EnvelopeToCoreResult::Unreadable
            }
        }
    }

    /// Like `on_envelope`, for an envelope that is known to be UTF-8.
    fn on_text(&mut self, id: ConnId, text: &str, pause: InputPauseLevel) -> EnvelopeToCoreResult {
        if let Some(request) = envelope::read_fast_text(text) {
            self.work.spend(INPUT);
            return self.on_request(id, Ok(request), pause);
        }
        let escapes = memchr::memchr_iter(b'\\', text.as_bytes()).count();
        self.work.spend(ODD_INPUT + PARSED_BYTE * text.len() as i64 + ESCAPE * escapes as i64);
        // The request borrows from this buffer, so it is given back only after the core's call.
        let mut scratch = self.buffers.lend_scratch();
        // In a WebSocket message, white space is allowed around the envelope, as it is between raw
        // envelopes.
        let input = envelope::parse_any(split::trim(text), &mut scratch);
        let outcome = self.on_request(id, input, pause);
        self.buffers.return_scratch(scratch);
        outcome
    }

    fn on_request(
        &mut self,
        id: ConnId,
        input: Result<ClientRequest<'_>, BadInput>,
        pause: InputPauseLevel,
    ) -> EnvelopeToCoreResult {
        if pause == InputPauseLevel::RequestsPaused
            && input.as_ref().is_ok_and(|request| !request.passes_paused_requests())
        {
            self.stall_input(id);
            return EnvelopeToCoreResult::Paused;
        }
        let unreadable = matches!(&input, Err(fault) if fault.code == ErrorCode::BadJson);
        self.note_input_time(id);
        self.dispatch(CoreInput::Input { conn: id, input });
        if unreadable { EnvelopeToCoreResult::Unreadable } else { EnvelopeToCoreResult::Readable }
    }

    #[cold]
    fn on_bad_input(&mut self, id: ConnId, code: ErrorCode, why: &'static str) {
        self.work.spend(ODD_INPUT);
        self.note_input_time(id);
        self.dispatch(CoreInput::Input { conn: id, input: Err(BadInput::unreadable(code, why)) });
    }

    fn note_input_time(&mut self, id: ConnId) {
        self.counters.inputs += 1;
        let now_ms = self.clock.now_ms();
        if let Some(conn) = self.conns.get_mut(id) {
            conn.last_input_ms = now_ms;
        }
    }

    /// Writes something on behalf of the decoder, not of the core.
    pub(super) fn answer(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(conn) = self.conns.get_mut(id) {
            let before = conn.output.len();
            write(conn.output.tail(&mut self.buffers.spare));
            conn.output.note_reply(before);
            conn.output.count(&mut self.buffers.spare);
            self.mark_dirty(id);
            self.check_stranger_output(id);
        }
    }

    /// Closes the connection if the client has ended its side and all its input is handed in. It is
    /// closed at once, or after the answers.
    pub(super) fn close_if_input_ended(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let has_more = conn.lists.has(ConnectionListFlags::TO_READ)
            || !conn.can_read()
            || conn.input_waits.has(InputWaitReasons::CHOKED);
        if conn.read != ConnectionReadState::Ended || has_more {
            return;
        }
        let silent_ms = self.clock.now_ms() - conn.last_input_ms;
        // While a request before log-in is not answered, input is paused; so a stranger waits for
        // nothing here.
        let waits = conn.had_login && (silent_ms < HALF_CLOSED_MS || self.chat.has_unanswered_requests());
        if conn.framing == Framing::Lines && waits && silent_ms < self.bounds.answer_within_ms.max(HALF_CLOSED_MS) {
            conn.read = ConnectionReadState::HalfClosed;
            drop(conn.take_input());
            self.deadlines.half_close(self.clock.now_ms(), id);
        } else {
            self.close(id, CloseCause::PeerClosed);
        }
    }
}
