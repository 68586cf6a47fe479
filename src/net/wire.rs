//! The protocol of a connection, chosen by its first bytes.

use super::counters::CloseCause;
use crate::chat::contract::CoreCloseCause;
use crate::protocol::split::JsonEnvelopeStreamSplitter;
use crate::protocol::ws::{self, WsServerDecoder, close_code};

/// The decoder that makes envelopes of input. It is taken out of its connection while input is
/// read, since an envelope may lie in its memory.
#[derive(Debug, Default)]
pub enum ConnInputDecoder {
    /// Not known yet.
    #[default]
    Sniff,
    /// JSON envelopes one after another. `None`: nothing of the next one has come yet.
    Raw(Option<Box<JsonEnvelopeStreamSplitter>>),
    /// The head of an HTTP request.
    Http,
    /// WebSocket frames. `None`: nothing of the next one has come yet.
    Ws(Option<Box<WsServerDecoder>>),
    /// No further input: the connection is sent a file.
    File(Box<StaticFileOutput>),
}

/// A file that a connection is sent.
#[derive(Debug)]
pub struct StaticFileOutput {
    /// The part that is not in the output yet.
    pub(super) rest: &'static [u8],
}

/// The framing of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The client's protocol is not known yet; it gets lines.
    #[default]
    Unknown,
    /// One envelope per line.
    Lines,
    /// No frames: it gets an HTTP answer or the answer to a handshake.
    Http,
    /// One envelope per text frame.
    WebSocket,
}

/// The protocol that the first bytes announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SniffedProtocol {
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

/// The methods of RFC 9110, and PATCH. Each of them, followed by a space, begins a request,
/// whatever follows.
const METHODS: [&[u8]; 9] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];
/// A longer word is not a method.
const METHOD_BYTES_MAX: usize = 256;

/// Looks at the first bytes of a connection. Everything that a web page can make a browser send to
/// another site counts as HTTP: the known methods with a space, and any other method name (a page
/// may invent one) followed by a space and a path.
#[must_use]
pub fn sniff(bytes: &[u8]) -> SniffedProtocol {
    match bytes {
        [] => return SniffedProtocol::Wait,
        [TLS_HANDSHAKE, ..] => return SniffedProtocol::Tls,
        _ => {}
    }
    let seen = &bytes[..bytes.len().min(METHOD_BYTES_MAX + 1)];
    let Some(length) = seen.iter().position(|&byte| !is_method_byte(byte)) else {
        return if seen.len() > METHOD_BYTES_MAX { SniffedProtocol::Raw } else { SniffedProtocol::Wait };
    };
    let (method, rest) = bytes.split_at(length);
    match rest {
        [b' ', ..] if METHODS.contains(&method) => SniffedProtocol::Http,
        [b' '] if length > 0 => SniffedProtocol::Wait,
        [b' ', b'/' | b'*', ..] if length > 0 => SniffedProtocol::Http,
        _ => SniffedProtocol::Raw,
    }
}

/// A byte of an HTTP method: the tchar of RFC 9110 §5.6.2. No envelope begins with one.
fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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

    /// Appends a WebSocket close frame with the code of `cause`. Appends nothing for other
    /// framings, or if a close frame was sent already or can no longer be sent.
    pub fn write_close(self, cause: CloseCause, out: &mut Vec<u8>) {
        let code = match cause {
            CloseCause::Chat(CoreCloseCause::Idle | CoreCloseCause::ShuttingDown) | CloseCause::Stopped => {
                close_code::GOING_AWAY
            }
            CloseCause::Chat(
                CoreCloseCause::Replaced
                | CoreCloseCause::Garbage
                | CoreCloseCause::TooManyTries
                | CoreCloseCause::TooFast
                | CoreCloseCause::ByOperator,
            ) => close_code::POLICY,
            CloseCause::Chat(CoreCloseCause::TooLarge) => close_code::TOO_LARGE,
            CloseCause::Chat(CoreCloseCause::AccountDeleted) => close_code::NORMAL,
            // A close frame was sent already, or the client cannot read it any more.
            CloseCause::WebSocketClosed
            | CloseCause::WebSocketProtocol
            | CloseCause::PeerClosed
            | CloseCause::IoError => return,
            CloseCause::SlowReader | CloseCause::OutputTimeout | CloseCause::Memory => return,
            // These happen before there is a WebSocket.
            CloseCause::HttpDone | CloseCause::HttpBad | CloseCause::HandshakeTimeout => return,
            CloseCause::TlsUnsupported | CloseCause::PlainRefused => return,
            // The TLS session is broken: nothing more can be encrypted.
            CloseCause::TlsBroken => return,
            CloseCause::AddressFull | CloseCause::BadProxyHeader => return,
            CloseCause::Evicted => return,
        };
        if self == Self::WebSocket {
            ws::write_close(out, Some(code));
        }
    }
}

impl ConnInputDecoder {
    /// The memory that an incomplete envelope uses.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Sniff | Self::Http => 0,
            Self::File(_) => size_of::<StaticFileOutput>(),
            Self::Raw(raw) => raw.as_ref().map_or(0, |raw| raw.memory_bytes()),
            Self::Ws(ws) => ws.as_ref().map_or(0, |ws| ws.memory_bytes()),
        }
    }

    /// Has a request begun that is not complete? White space and control frames are no request.
    pub(super) fn is_in_request(&self) -> bool {
        match self {
            // The head of a request has a largest size.
            Self::Sniff | Self::Http => true,
            Self::File(_) => false,
            Self::Raw(raw) => raw.is_some(),
            Self::Ws(ws) => ws.is_some(),
        }
    }

    /// Does it own memory for an incomplete envelope?
    #[cfg(test)]
    pub(super) fn owns_memory(&self) -> bool {
        match self {
            Self::Sniff | Self::Http => false,
            Self::File(_) => true,
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
            (&b""[..], SniffedProtocol::Wait),
            (b"G", SniffedProtocol::Wait),
            (b"GE", SniffedProtocol::Wait),
            (b"GET", SniffedProtocol::Wait),
            (b"GET ", SniffedProtocol::Http),
            (b"GET / HTTP", SniffedProtocol::Http),
            (b"GEX", SniffedProtocol::Wait),
            (b"GET/", SniffedProtocol::Raw),
            (b"get ", SniffedProtocol::Wait),
            (b"get /", SniffedProtocol::Http),
            (b"P", SniffedProtocol::Wait),
            (b"POST / HTTP/1.1", SniffedProtocol::Http),
            (b"HEAD ", SniffedProtocol::Http),
            (b"OPTIONS ", SniffedProtocol::Http),
            (b"CONNECT ", SniffedProtocol::Http),
            (b"PRI * HTTP/2.0", SniffedProtocol::Http),
            (b"{\"TYPE\" /", SniffedProtocol::Raw),
            (b"M-SEARCH * HTTP/1.1", SniffedProtocol::Http),
            (b"a+b /", SniffedProtocol::Http),
            (b"hello ", SniffedProtocol::Wait),
            (b"hello you", SniffedProtocol::Raw),
            (b"hello\n", SniffedProtocol::Raw),
            (b" /", SniffedProtocol::Raw),
            (b"{\"", SniffedProtocol::Raw),
            (b"{", SniffedProtocol::Raw),
            (b"[", SniffedProtocol::Raw),
            (b"\"", SniffedProtocol::Raw),
            (b"\n", SniffedProtocol::Raw),
            (b"\0", SniffedProtocol::Raw),
            (b"\xef\xbb\xbf", SniffedProtocol::Raw),
            (b"\xef", SniffedProtocol::Raw),
            (b" GET ", SniffedProtocol::Raw),
            (&[b'A'; METHOD_BYTES_MAX], SniffedProtocol::Wait),
            (&[b'A'; METHOD_BYTES_MAX + 1], SniffedProtocol::Raw),
            (&[0x16], SniffedProtocol::Tls),
            (&[0x16, 3, 1], SniffedProtocol::Tls),
        ] {
            assert_eq!(sniff(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn more_bytes_never_change_the_decision() {
        for whole in
            ["GET / HTTP/1.1", "POST /x HTTP/1.1", "hello you there", "OPTIONS * HTTP/1.1", "{\"TYPE\":\"0\"}", "odd /"]
        {
            let decided: Vec<SniffedProtocol> = (0..=whole.len()).map(|end| sniff(&whole.as_bytes()[..end])).collect();
            let at = decided.iter().position(|sniffed| *sniffed != SniffedProtocol::Wait).unwrap();
            assert!(decided[at..].iter().all(|sniffed| *sniffed == decided[at]), "{whole}: {decided:?}");
        }
    }

    #[test]
    fn frames_are_wrapped_in_the_protocol_of_the_client() {
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
        for (cause, code) in [
            (CoreCloseCause::Idle, 1001_u16),
            (CoreCloseCause::Replaced, 1008),
            (CoreCloseCause::Garbage, 1008),
            (CoreCloseCause::TooManyTries, 1008),
            (CoreCloseCause::TooLarge, 1009),
            (CoreCloseCause::ShuttingDown, 1001),
            (CoreCloseCause::TooFast, 1008),
            (CoreCloseCause::ByOperator, 1008),
            (CoreCloseCause::AccountDeleted, 1000),
        ] {
            let mut out = Vec::new();
            Framing::WebSocket.write_close(CloseCause::Chat(cause), &mut out);
            assert_eq!(out, [0x88, 2, (code >> 8) as u8, code as u8]);
            out.clear();
            Framing::Lines.write_close(CloseCause::Chat(cause), &mut out);
            assert!(out.is_empty());
        }
    }
}
