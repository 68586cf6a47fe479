//! Reading: bytes → envelopes → the core.

use super::closing::HALF_CLOSED_MS;
use super::conn::{Filled, OUTPUT_SOFT_MAX};
use super::counters::Why;
use super::hub::Hub;
use super::socket::Stream;
use super::wire::{Framing, Sniffed, Wire, sniff};
use crate::chat::contract::{ConnId, Event};
use crate::protocol::envelope;
use crate::protocol::error::ErrorCode;
use crate::protocol::http::{self, Head};
use crate::protocol::request::BadInput;
use crate::protocol::split::{RawInput, RawItem};
use crate::protocol::ws::{self, WsInput, WsItem};

/// Reads of one connection in one turn; who has more to say goes on in the next, after the others.
const READS_PER_TURN: usize = 4;

/// Connections that are looked at before the first of them is served: about as many as a processor can wait for at a time.
pub(super) const TOUCHED_AT_ONCE: usize = 8;

const NOT_JSON: &str = "what came in is no JSON object";
const TOO_LARGE: &str = "an envelope is larger than this server takes";

impl<S: Stream> Hub<S> {
    /// Reads all connections that have something to be read.
    pub(super) fn serve_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        let mut shared = std::mem::take(&mut self.shared);
        for some in ready.chunks(TOUCHED_AT_ONCE) {
            self.touch(some);
            for &id in some {
                self.serve(id, &mut shared);
            }
        }
        self.shared = shared;
        // Those that were queued in the meantime have their turn in the next one, so that nobody keeps the loop from writing.
        if self.ready.is_empty() {
            ready.clear();
            self.ready = ready;
        }
    }

    /// Looks at what each of them will need, so that the cache misses of several connections overlap instead of following one another:
    /// with thousands of busy connections everything of one is cold when its turn comes. Changes nothing.
    fn touch(&self, some: &[ConnId]) {
        if some.len() > 1 {
            let seen = some.iter().map(|&id| {
                let held = self.conns.get(id).is_some_and(|conn| conn.held);
                usize::from(held).wrapping_add(self.chat.touch(id))
            });
            // So that the compiler does not leave the looks out.
            std::hint::black_box(seen.fold(0, usize::wrapping_add));
        }
    }

    fn serve(&mut self, id: ConnId, shared: &mut [u8]) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.queued = false;
        if !conn.is_open() {
            self.closing.push(id);
            return;
        }
        if conn.may_speak() {
            let mut own = conn.take_input();
            if !own.is_empty() {
                let used = self.digest(id, &mut own);
                own.drain(..used);
            }
            self.read(id, shared, &mut own);
            if let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) {
                conn.keep(own);
            }
        }
        self.end_if_ended(id);
    }

    /// Reads until there is no more, or the budget of the turn is used up. What is not used up goes to `own`.
    fn read(&mut self, id: ConnId, shared: &mut [u8], own: &mut Vec<u8>) {
        for _ in 0..READS_PER_TURN {
            let Some(conn) = self.conns.get_mut(id) else { return };
            if !conn.may_speak() || !conn.readable {
                return;
            }
            match conn.fill(shared) {
                Filled::Some(count) if own.is_empty() => {
                    let used = self.digest(id, &mut shared[..count]);
                    own.extend_from_slice(&shared[used..count]);
                }
                Filled::Some(count) => {
                    own.extend_from_slice(&shared[..count]);
                    let used = self.digest(id, own);
                    own.drain(..used);
                }
                Filled::Blocked | Filled::Eof => return,
                Filled::Broken(error) => {
                    log::trace!("connection {}.{}: {error}", id.slot, id.generation);
                    self.close(id, Why::IoError);
                    return;
                }
            }
        }
        if self.conns.get(id).is_some_and(|conn| conn.readable && conn.may_speak()) {
            self.queue(id);
        }
    }

    /// Hands what is whole in `bytes` to the core, until it wants no more. Returns how many bytes are used up: all of them, unless
    /// the core wants no more or it is not clear yet what they are.
    fn digest(&mut self, id: ConnId, bytes: &mut [u8]) -> usize {
        let Some(conn) = self.conns.get_mut(id) else { return bytes.len() };
        let mut wire = std::mem::take(&mut conn.wire);
        let used = self.digest_as(id, &mut wire, bytes);
        if let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) {
            conn.wire = wire;
            return used;
        }
        bytes.len()
    }

    fn digest_as(&mut self, id: ConnId, wire: &mut Wire, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        loop {
            match wire {
                Wire::Sniff => match sniff(&bytes[used..]) {
                    Sniffed::Wait => return used,
                    Sniffed::Raw => {
                        *wire = Wire::Raw(None);
                        self.set_framing(id, Framing::Lines);
                    }
                    Sniffed::Http => {
                        *wire = Wire::Http;
                        self.set_framing(id, Framing::Http);
                        self.handshakes.push_back((self.now.mono_ms + self.bounds.handshake_timeout_ms, id));
                    }
                    Sniffed::Tls => {
                        if !std::mem::replace(&mut self.tls_was_logged, true) {
                            log::warn!("a client tried TLS, for which there is no certificate (said once)");
                        }
                        self.close(id, Why::TlsUnsupported);
                        return used;
                    }
                },
                Wire::Http => match self.digest_head(id, &bytes[used..]) {
                    Some(length) => {
                        used += length;
                        *wire = Wire::Ws(None);
                        self.set_framing(id, Framing::WebSocket);
                    }
                    None => return used,
                },
                // Between two envelopes there is nothing to remember, so most connections need no memory for it.
                Wire::Raw(kept) => {
                    let mut raw = kept.take().map_or_else(RawInput::default, |raw| *raw);
                    used += self.digest_raw(id, &mut raw, &bytes[used..]);
                    *kept = (!raw.is_between()).then(|| Box::new(raw));
                    return used;
                }
                Wire::Ws(kept) => {
                    let mut ws = kept.take().map_or_else(WsInput::default, |ws| *ws);
                    used += self.digest_ws(id, &mut ws, &mut bytes[used..]);
                    *kept = (!ws.is_between()).then(|| Box::new(ws));
                    return used;
                }
            }
        }
    }

    fn set_framing(&mut self, id: ConnId, framing: Framing) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.framing = framing;
        }
    }

    /// Answers the head of a request. Returns its length if the connection is a WebSocket from there on.
    #[cold]
    fn digest_head(&mut self, id: ConnId, bytes: &[u8]) -> Option<usize> {
        match http::read_head(bytes) {
            Head::More => None,
            Head::Upgrade { accept, length } => {
                self.answer(id, |out| http::write_upgrade(out, &accept));
                Some(length)
            }
            Head::Get => {
                self.answer(id, http::write_page);
                self.close(id, Why::HttpDone);
                None
            }
            Head::Bad(refusal) => {
                self.answer(id, |out| http::write_refusal(out, refusal));
                self.close(id, Why::HttpBad);
                None
            }
        }
    }

    fn digest_raw(&mut self, id: ConnId, raw: &mut RawInput, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while self.may_go_on(id) {
            // Nearly always it is a message or an ack, and whole: then one look at it is enough.
            if raw.is_between()
                && let Some((request, length)) = envelope::read_usual(rest)
                && length <= self.bounds.frame_bytes_max
            {
                rest = &rest[length..];
                self.note_heard(id);
                self.dispatch(Event::Input { conn: id, input: Ok(request) });
                continue;
            }
            let readable = match raw.next(&mut rest, self.bounds.frame_bytes_max) {
                RawItem::More => break,
                RawItem::Envelope(envelope) => self.hear(id, envelope),
                RawItem::Bad => {
                    self.hear_bad(id, ErrorCode::BadJson, NOT_JSON);
                    true
                }
                RawItem::TooLarge => {
                    self.hear_bad(id, ErrorCode::TooLarge, TOO_LARGE);
                    break;
                }
            };
            if !readable {
                raw.skip_line();
            }
        }
        bytes.len() - rest.len()
    }

    fn digest_ws(&mut self, id: ConnId, ws: &mut WsInput, bytes: &mut [u8]) -> usize {
        let length = bytes.len();
        let mut rest = bytes;
        while self.may_go_on(id) {
            match ws.next(&mut rest, self.bounds.frame_bytes_max) {
                WsItem::More => break,
                WsItem::Text(envelope) => _ = self.hear_text(id, envelope),
                WsItem::Ping(payload) => {
                    self.answer(id, |out| ws::write_pong(out, payload));
                    self.note_heard(id);
                    self.dispatch(Event::Ping { conn: id });
                }
                WsItem::Pong => {}
                WsItem::Close(code) => {
                    self.answer(id, |out| ws::write_close(out, code));
                    self.close(id, Why::WebSocketClosed);
                }
                WsItem::Error(code) => {
                    self.answer(id, |out| ws::write_close(out, Some(code)));
                    self.close(id, Why::WebSocketProtocol);
                }
                WsItem::TooLarge => {
                    self.hear_bad(id, ErrorCode::TooLarge, TOO_LARGE);
                    break;
                }
            }
        }
        length - rest.len()
    }

    /// May the next input of this connection go to the core? If too much output waits, it is written first.
    fn may_go_on(&mut self, id: ConnId) -> bool {
        match self.conns.get(id) {
            Some(conn) if conn.output.len() <= OUTPUT_SOFT_MAX => conn.may_speak(),
            Some(_) => {
                self.relieve(id);
                self.conns.get(id).is_some_and(super::conn::Conn::may_speak)
            }
            None => false,
        }
    }

    /// Hands one envelope to the core. `false` if it is no JSON object.
    #[inline(never)]
    fn hear(&mut self, id: ConnId, bytes: &[u8]) -> bool {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.hear_text(id, text);
        }
        self.hear_bad(id, ErrorCode::BadJson, envelope::NOT_UTF8);
        false
    }

    /// The same for one that is UTF-8.
    fn hear_text(&mut self, id: ConnId, text: &str) -> bool {
        self.note_heard(id);
        if let Some(request) = envelope::read_usual_text(text) {
            self.dispatch(Event::Input { conn: id, input: Ok(request) });
            return true;
        }
        // Taken out for the call: the request borrows from it while the core is called.
        let mut scratch = std::mem::take(&mut self.scratch);
        let input = envelope::parse_any(text, &mut scratch);
        let readable = !matches!(&input, Err(fault) if fault.code == ErrorCode::BadJson);
        self.dispatch(Event::Input { conn: id, input });
        self.scratch = scratch;
        readable
    }

    #[cold]
    fn hear_bad(&mut self, id: ConnId, code: ErrorCode, why: &'static str) {
        self.note_heard(id);
        self.dispatch(Event::Input { conn: id, input: Err(BadInput::unreadable(code, why)) });
    }

    fn note_heard(&mut self, id: ConnId) {
        self.counters.inputs += 1;
        let now_ms = self.now.mono_ms;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.heard_ms = now_ms;
        }
    }

    /// Writes something that is the wire's own business.
    fn answer(&mut self, id: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(conn) = self.conns.get_mut(id) {
            write(conn.output.tail(&mut self.spare));
            self.mark_dirty(id);
        }
    }

    /// When the client has ended its side and everything it sent is handed over: closes, at once or after its answers.
    fn end_if_ended(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !conn.eof || !conn.may_speak() || conn.half_closed {
            return;
        }
        let silent_ms = self.now.mono_ms - conn.heard_ms;
        let waits = silent_ms < HALF_CLOSED_MS || self.chat.owes_somebody();
        if conn.framing == Framing::Lines && waits && silent_ms < self.bounds.answer_within_ms.max(HALF_CLOSED_MS) {
            conn.half_closed = true;
            drop(conn.take_input());
            self.look_later_at_half_closed(id);
        } else {
            self.close(id, Why::PeerClosed);
        }
    }
}
