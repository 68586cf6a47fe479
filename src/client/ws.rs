//! The client's side of the WebSocket handshake and of its frames (RFC 6455 §4.1, §5.3). The frames
//! of the server are read by the server's own codec.

use super::target::ServerAddress;
use crate::protocol::http::accept_of;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The maximum length of the server's answer to the handshake.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// A handshake whose answer has not arrived.
pub(super) struct ClientWsHandshake {
    key: String,
    head: Vec<u8>,
}

/// The state of the handshake.
pub(super) enum ClientWsHandshakeState {
    /// No complete answer yet.
    No,
    /// The handshake is complete; these bytes came after the answer.
    Yes(Vec<u8>),
}

impl ClientWsHandshake {
    /// Writes the request.
    pub(super) fn begin(out: &mut Vec<u8>, target: &ServerAddress, nonce: [u8; 16]) -> Self {
        let key = STANDARD.encode(nonce);
        let (path, host) = (target.path.as_deref().unwrap_or("/"), target.authority());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: hongyan\r\n\r\n"
        );
        out.extend_from_slice(request.as_bytes());
        Self { key, head: Vec::new() }
    }

    /// Reads the part of the answer that has arrived.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<ClientWsHandshakeState, String> {
        self.head.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(&self.head[..self.head.len().min(HEAD_BYTES_MAX)]) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.head.len() < HEAD_BYTES_MAX => return Ok(ClientWsHandshakeState::No),
            _ => return Err("the answer to the WebSocket handshake is not HTTP".to_owned()),
        };
        let value = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok().map(str::trim)
        };
        let is = |name: &str, word: &str| {
            value(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
        };
        if response.code != Some(101) {
            let code = response.code.unwrap_or_default();
            return Err(format!("the server refused the WebSocket with the status {code}"));
        }
        let accepted = value("Sec-WebSocket-Accept") == Some(accept_of(self.key.as_bytes()).as_str());
        let chosen = value("Sec-WebSocket-Protocol").is_none_or(|chosen| chosen == "hongyan");
        if !is("Upgrade", "websocket") || !is("Connection", "upgrade") || !accepted || !chosen {
            return Err("the answer to the WebSocket handshake is not one to ours".to_owned());
        }
        Ok(ClientWsHandshakeState::Yes(self.head.split_off(length)))
    }
}

/// Appends a text message, masked.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str, mask: [u8; 4]) {
    write(out, TEXT, text.as_bytes(), mask);
}

/// Appends a pong, masked.
pub(super) fn write_pong(out: &mut Vec<u8>, payload: &[u8], mask: [u8; 4]) {
    write(out, PONG, payload, mask);
}

/// Appends a close frame with the code for a normal end, masked.
pub(super) fn write_close(out: &mut Vec<u8>, mask: [u8; 4]) {
    write(out, CLOSE, &1_000_u16.to_be_bytes(), mask);
}

fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode);
    match payload.len() {
        short @ ..126 => out.push(0x80 | short as u8),
        medium @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::{ClientPortHttpHead, read_head, write_upgrade};
    use crate::protocol::ws::{WsClientReader, WsItem, WsServerDecoder, begin_text, end_text};
    use crate::protocol::ws::{write_close as server_close, write_pong as server_pong};

    fn handshake() -> (ClientWsHandshake, Vec<u8>) {
        let target = ServerAddress::read("ws://localhost:1/chat").unwrap();
        let mut request = Vec::new();
        (ClientWsHandshake::begin(&mut request, &target, [7; 16]), request)
    }

    #[test]
    fn the_servers_own_answer_is_taken_however_it_is_cut() {
        let (_, request) = handshake();
        let ClientPortHttpHead::Upgrade { accept, offers_hongyan, length } = read_head(&request) else {
            panic!("an upgrade")
        };
        assert_eq!((offers_hongyan, length), (true, request.len()));
        let mut answer = Vec::new();
        write_upgrade(&mut answer, &accept, offers_hongyan);
        answer.extend_from_slice(b"rest");
        for cut in 1..answer.len() - 4 {
            let (mut handshake, _) = handshake();
            assert!(matches!(handshake.read(&answer[..cut]), Ok(ClientWsHandshakeState::No)));
            let Ok(ClientWsHandshakeState::Yes(rest)) = handshake.read(&answer[cut..]) else { panic!("cut at {cut}") };
            assert_eq!(rest, b"rest");
        }
    }

    #[test]
    fn another_answer_is_refused() {
        let (_, request) = handshake();
        let ClientPortHttpHead::Upgrade { accept, .. } = read_head(&request) else { panic!("an upgrade") };
        let mut good = Vec::new();
        write_upgrade(&mut good, &accept, true);
        let good = String::from_utf8(good).unwrap();
        for bad in [
            good.replace("101", "403"),
            good.replace(&accept, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            good.replace("Protocol: hongyan", "Protocol: mqtt"),
            good.replace("Upgrade: websocket\r\n", ""),
            "RE_ERROR\n".to_owned(),
            format!("HTTP/1.1 101 x\r\nA: {}\r\n", "x".repeat(9_000)),
        ] {
            assert!(handshake().0.read(bad.as_bytes()).is_err(), "{bad:.60}");
        }
    }

    #[test]
    fn the_server_reads_the_written_frames() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(length);
            let mut out = Vec::new();
            write_text(&mut out, &text, [1, 2, 3, 250]);
            write_pong(&mut out, b"hi", [9, 9, 9, 9]);
            write_close(&mut out, [1, 0, 1, 0]);
            let (mut input, mut chunk) = (WsServerDecoder::default(), out.as_mut_slice());
            assert_eq!(input.next(&mut chunk, 1 << 20), WsItem::Text(&text));
            assert_eq!(input.next(&mut chunk, 1 << 20), WsItem::Pong);
            assert_eq!(input.next(&mut chunk, 1 << 20), WsItem::Close(Some(1_000)));
        }
    }

    #[test]
    fn frames_of_the_server_are_read_at_any_cut() {
        let texts = ["", "x", &"y".repeat(125), &"z".repeat(126), &"🪿".repeat(20_000)];
        let mut wire = Vec::new();
        for text in texts {
            let start = begin_text(&mut wire);
            wire.extend_from_slice(text.as_bytes());
            end_text(&mut wire, start);
        }
        server_pong(&mut wire, b"p");
        server_close(&mut wire, Some(1_001));
        for cut in [1, 2, 3, 7, 127, 1_000, wire.len()] {
            let (mut input, mut found, mut bytes) = (WsClientReader::default(), Vec::new(), wire.clone());
            for mut chunk in bytes.chunks_mut(cut) {
                loop {
                    match input.next(&mut chunk, 1 << 20) {
                        WsItem::More => break,
                        WsItem::Text(text) => found.push(text.to_owned()),
                        WsItem::Pong => found.push("pong".to_owned()),
                        WsItem::Close(Some(1_001)) => found.push("close".to_owned()),
                        other => panic!("{other:?}"),
                    }
                }
            }
            let expected: Vec<&str> = texts.into_iter().chain(["pong", "close"]).collect();
            assert_eq!(found, expected, "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_server_that_masks_or_sends_too_much_is_refused() {
        let mut masked = Vec::new();
        write_text(&mut masked, "x", [1, 2, 3, 4]);
        let mut chunk = masked.as_mut_slice();
        assert_eq!(WsClientReader::default().next(&mut chunk, 100), WsItem::Error(1_002));
        let mut chunk = &mut [0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff][..];
        assert_eq!(WsClientReader::default().next(&mut chunk, 100), WsItem::TooLarge);
        let mut chunk = &mut [0x82, 0][..];
        assert_eq!(WsClientReader::default().next(&mut chunk, 100), WsItem::Error(1_003));
    }
}
