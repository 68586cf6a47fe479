//! What a connection speaks, chosen by its first bytes.

use super::counters::Why;
use crate::chat::contract::CloseReason;
use crate::protocol::split::RawInput;
use crate::protocol::ws::{self, WsInput, close_code};

/// How input becomes envelopes. Taken out of its connection while input is read, since an envelope may stand in its memory.
#[derive(Debug, Default)]
pub enum Wire {
    /// Not known yet.
    #[default]
    Sniff,
    /// JSON envelopes one after another. `None`: nothing of the next one has come yet.
    Raw(Option<Box<RawInput>>),
    /// The head of an HTTP request.
    Http,
    /// WebSocket frames. `None`: nothing of the next one has come yet.
    Ws(Option<Box<WsInput>>),
}

/// How frames are wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The client has not shown what it speaks; it gets lines.
    #[default]
    Unknown,
    /// One envelope per line.
    Lines,
    /// No frames: it is given a page or a handshake.
    Http,
    /// One envelope per text frame.
    WebSocket,
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// Not enough of them.
    Wait,
    /// HTTP, which may become a WebSocket.
    Http,
    /// A TLS handshake.
    Tls,
    /// Anything else.
    Raw,
}

/// The first byte of a TLS record that holds a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Looks at the first bytes of a connection.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniffed {
    const GET: &[u8] = b"GET ";
    match bytes {
        [] => Sniffed::Wait,
        [TLS_HANDSHAKE, ..] => Sniffed::Tls,
        _ if bytes.starts_with(GET) => Sniffed::Http,
        _ if GET.starts_with(bytes) => Sniffed::Wait,
        _ => Sniffed::Raw,
    }
}

impl Framing {
    /// Appends one frame.
    pub fn wrap(self, out: &mut Vec<u8>, frame: impl FnOnce(&mut Vec<u8>)) {
        match self {
            Self::Unknown | Self::Lines => {
                frame(out);
                out.push(b'\n');
            }
            Self::Http => {}
            Self::WebSocket => {
                let start = ws::begin_text(out);
                frame(out);
                ws::end_text(out, start);
            }
        }
    }

    /// Says why the connection is closed, if it has words for it.
    pub fn say_goodbye(self, why: Why, out: &mut Vec<u8>) {
        let code = match why {
            Why::Chat(CloseReason::Idle | CloseReason::ShuttingDown) | Why::Stopped => close_code::GOING_AWAY,
            Why::Chat(CloseReason::Replaced | CloseReason::Garbage | CloseReason::TooManyTries) => close_code::POLICY,
            Why::Chat(CloseReason::TooLarge) => close_code::TOO_LARGE,
            // It has been said already, or there is nobody left to hear it.
            Why::WebSocketClosed | Why::WebSocketProtocol | Why::PeerClosed | Why::IoError => return,
            Why::SlowReader | Why::OutputTimeout => return,
            // These happen before there is a WebSocket.
            Why::HttpDone | Why::HttpBad | Why::HandshakeTimeout | Why::TlsUnsupported => return,
        };
        if self == Self::WebSocket {
            ws::write_close(out, Some(code));
        }
    }
}

impl Wire {
    /// Does it own memory for something incomplete?
    #[cfg(test)]
    pub(super) fn owns_memory(&self) -> bool {
        match self {
            Self::Sniff | Self::Http => false,
            Self::Raw(raw) => raw.is_some(),
            Self::Ws(ws) => ws.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_choose() {
        for (bytes, expected) in [
            (&b""[..], Sniffed::Wait),
            (b"G", Sniffed::Wait),
            (b"GE", Sniffed::Wait),
            (b"GET", Sniffed::Wait),
            (b"GET ", Sniffed::Http),
            (b"GET / HTTP", Sniffed::Http),
            (b"GEX", Sniffed::Raw),
            (b"GET/", Sniffed::Raw),
            (b"get ", Sniffed::Raw),
            (b"POST / HTTP/1.1", Sniffed::Raw),
            (b"{\"", Sniffed::Raw),
            (b"\n", Sniffed::Raw),
            (b" GET ", Sniffed::Raw),
            (&[0x16], Sniffed::Tls),
            (&[0x16, 3, 1], Sniffed::Tls),
        ] {
            assert_eq!(sniff(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn frames_are_wrapped_in_what_the_client_speaks() {
        let wrapped = |framing: Framing| {
            let mut out = Vec::new();
            framing.wrap(&mut out, |out| out.extend_from_slice(b"{}"));
            out
        };
        assert_eq!(wrapped(Framing::Unknown), b"{}\n");
        assert_eq!(wrapped(Framing::Lines), b"{}\n");
        assert_eq!(wrapped(Framing::Http), b"");
        assert_eq!(wrapped(Framing::WebSocket), [0x81, 2, b'{', b'}']);
    }

    #[test]
    fn every_reason_of_the_core_has_a_close_code() {
        for (reason, code) in [
            (CloseReason::Idle, 1001_u16),
            (CloseReason::Replaced, 1008),
            (CloseReason::Garbage, 1008),
            (CloseReason::TooManyTries, 1008),
            (CloseReason::TooLarge, 1009),
            (CloseReason::ShuttingDown, 1001),
        ] {
            let mut out = Vec::new();
            Framing::WebSocket.say_goodbye(Why::Chat(reason), &mut out);
            assert_eq!(out, [0x88, 2, (code >> 8) as u8, code as u8]);
            out.clear();
            Framing::Lines.say_goodbye(Why::Chat(reason), &mut out);
            assert!(out.is_empty());
        }
    }
}
