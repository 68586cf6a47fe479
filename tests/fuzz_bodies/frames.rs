//! WebSocket frames: no cut changes what is read, nothing is larger than allowed, and tungstenite
//! reads the same.

use super::whole_and_cut;
use hongyan::protocol::ws::{WsItem, WsServerDecoder};
use std::io::{Cursor, Read, Write};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

const MESSAGE_BYTES_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
enum OwnedWsItem {
    Text(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
    Error(u16),
    TooLarge,
}

pub fn frames(data: &[u8]) {
    let Some((whole, pieces)) = whole_and_cut(data) else {
        return;
    };
    let found = items(&[whole]);
    assert_eq!(items(&pieces), found, "cut otherwise");
    compare(whole, &found);
}

fn items(chunks: &[&[u8]]) -> Vec<OwnedWsItem> {
    let mut input = WsServerDecoder::default();
    let mut found = Vec::new();
    for chunk in chunks {
        // Frames are un-masked in place.
        let mut chunk = chunk.to_vec();
        let mut rest = &mut chunk[..];
        loop {
            let item = match input.next(&mut rest, MESSAGE_BYTES_MAX) {
                WsItem::More => {
                    assert!(rest.is_empty(), "nothing is left when there is to be more");
                    break;
                }
                WsItem::Text(text) => {
                    assert!(text.len() <= MESSAGE_BYTES_MAX);
                    OwnedWsItem::Text(text.into())
                }
                WsItem::Ping(payload) => {
                    assert!(payload.len() <= 125);
                    OwnedWsItem::Ping(payload.to_vec())
                }
                WsItem::Pong => OwnedWsItem::Pong,
                WsItem::Close(code) => OwnedWsItem::Close(code),
                WsItem::Error(code) => OwnedWsItem::Error(code),
                WsItem::TooLarge => OwnedWsItem::TooLarge,
            };
            let ends = matches!(item, OwnedWsItem::Close(_) | OwnedWsItem::Error(_) | OwnedWsItem::TooLarge);
            found.push(item);
            if ends {
                return found;
            }
        }
    }
    found
}

/// A stream that holds what came in, and forgets what goes out.
struct Wire(Cursor<Vec<u8>>);

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Both read the same until one of them ends it, and one that ends it for a fault is not alone.
fn compare(bytes: &[u8], found: &[OwnedWsItem]) {
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
    let wire = Wire(Cursor::new(bytes.to_vec()));
    let mut server = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut found = found.iter();
    loop {
        let theirs = server.read();
        let ours = found.next();
        match (theirs, ours) {
            (Ok(Message::Text(text)), Some(OwnedWsItem::Text(found))) => assert_eq!(text.as_bytes(), found),
            (Ok(Message::Ping(payload)), Some(OwnedWsItem::Ping(found))) => assert_eq!(&payload[..], found),
            (Ok(Message::Pong(_)), Some(OwnedWsItem::Pong)) => {}
            // RFC 6455 §5.2: the shortest form of a length must be used. tungstenite takes the
            // others, too.
            (Ok(_), Some(OwnedWsItem::Error(1002))) if !has_shortest_lengths(bytes) => return,
            // No binary messages here; of one in many frames we say so at the first.
            (Ok(Message::Binary(_)), Some(OwnedWsItem::Error(1003))) => return,
            (Ok(_) | Err(_), Some(OwnedWsItem::Error(1003))) => return,
            (Ok(Message::Close(_)), Some(OwnedWsItem::Close(_))) => return,
            // A close frame's own faults, and a text that is no UTF-8, are seen by both, at
            // different moments.
            (Ok(Message::Close(_)) | Err(_), Some(OwnedWsItem::Error(_) | OwnedWsItem::TooLarge)) => return,
            (Err(Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_)), None) => return,
            (Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Io(_)), None) => return,
            // A text is looked at when it is whole, or while it comes.
            (Err(Error::Utf8(_)), Some(_)) => return,
            (theirs, ours) => panic!("theirs {theirs:?}, ours {ours:?}: {bytes:?}"),
        }
    }
}

/// Has every frame the shortest form of its length?
fn has_shortest_lengths(mut bytes: &[u8]) -> bool {
    while let [_, second, rest @ ..] = bytes {
        let (form, least) = match second & 0x7F {
            126 => (2, 126),
            127 => (8, 65_536),
            _ => (0, 0),
        };
        let Some((written, behind)) = rest.split_at_checked(form) else {
            return true;
        };
        let written = written.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        if written < least {
            return false;
        }
        let length = if form == 0 { u64::from(second & 0x7F) } else { written };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let end = usize::try_from(length.saturating_add(mask)).unwrap_or(usize::MAX);
        bytes = behind.get(end..).unwrap_or_default();
    }
    true
}
