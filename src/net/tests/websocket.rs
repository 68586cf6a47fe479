//! WebSocket clients.

use super::*;
use crate::chat::contract::CoreCloseCause;
use crate::net::counters::CloseCause;

pub(super) const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

pub(super) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The frames behind the handshake's answer: opcode and payload.
pub(super) fn frames(bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let mut rest = &bytes[head..];
    let mut frames = Vec::new();
    while rest.len() >= 2 {
        assert_eq!(rest[1] & 0x80, 0, "a server does not mask");
        let (length, start) = match rest[1] {
            126 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
            127 => (u64::from_be_bytes(rest[2..10].try_into().unwrap()) as usize, 10),
            short => (usize::from(short), 2),
        };
        frames.push((rest[0], rest[start..start + length].to_vec()));
        rest = &rest[start + length..];
    }
    frames
}

#[test]
fn a_websocket_talks_pings_and_closes() {
    for piece_max in [0, 1, 9] {
        let mut world = TestConnectionHub::new(12, piece_max);
        let ann = world.connect();
        ann.send(HANDSHAKE);
        // The first frame may come with the handshake.
        ann.send(masked(1, sign_up("ann").as_bytes()));
        ann.send(masked(9, b"there?"));
        ann.send(masked(1, login("ann").as_bytes()));
        world.settle();
        let got = frames(&ann.received());
        assert_eq!(got.len(), 3, "{got:?}");
        assert!(got.contains(&(0x8A, b"there?".to_vec())), "{got:?}");
        assert!(got.contains(&(0x81, LS.trim_end().as_bytes().to_vec())), "{got:?}");
        ann.send(masked(8, &[3, 0xE8]));
        world.settle();
        assert_eq!(frames(&ann.received()).last(), Some(&(0x88, vec![3, 0xE8])));
        assert!(ann.server_ended());
        assert_eq!(world.hub.counters().closed(CloseCause::WebSocketClosed), 1);
    }
}

#[test]
fn a_websocket_is_told_why_it_is_closed() {
    let mut world = TestConnectionHub::new(13, 0);
    let clients: Vec<TestClient> = (0..5).map(|_| world.connect()).collect();
    for client in &clients {
        client.send(HANDSHAKE);
    }
    world.settle();
    let code = |client: &TestClient| {
        frames(&client.received()).last().map(|(opcode, payload)| (*opcode, payload[..2].to_vec()))
    };
    let of = |code: u16| Some((0x88, code.to_be_bytes().to_vec()));
    clients[0].send(masked(2, b"binary"));
    clients[1].send([0x81, 1, b'x']);
    clients[2].send(masked(1, &[0xFF, 0xFE]));
    clients[3].send(masked(1, &vec![b' '; 65_535]));
    clients[3].send([0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    world.settle();
    assert_eq!(code(&clients[0]), of(1003));
    assert_eq!(code(&clients[1]), of(1002));
    assert_eq!(code(&clients[2]), of(1007));
    assert_eq!(code(&clients[3]), of(1009));
    assert_eq!(world.hub.counters().closed(CloseCause::WebSocketProtocol), 3);
    world.now_ms += 200_000;
    world.settle();
    assert_eq!(code(&clients[4]), of(1001), "idle");
    assert_eq!(world.hub.counters().closed(CloseCause::Chat(CoreCloseCause::Idle)), 1);
}
