//! Conversations of clients, with input and output cut anywhere.

use super::websocket::HANDSHAKE;
use super::*;
use crate::net::counters::CloseCause;

#[test]
fn a_conversation_is_the_same_however_the_sockets_tear_it() {
    for (seed, piece_max) in [(1, 0), (2, 1), (3, 2), (4, 7), (5, 40), (6, 1_000)] {
        let mut world = TestConnectionHub::new(seed, piece_max);
        let (ann, bob) = (world.connect(), world.connect());
        ann.send(sign_up("ann") + &login("ann"));
        bob.send(sign_up("bob") + "\r\n" + &login("bob") + "\n");
        world.settle();
        assert_eq!(ann.text(), format!("{SS}{LS}"), "seed {seed}");
        for n in 0..20 {
            bob.send(message(n, "a letter"));
        }
        world.settle();
        for n in 0..20 {
            ann.send(ack(n) + " ");
        }
        world.settle();
        let sent: String = (0..20).map(|n| pushed(n, "a letter")).collect();
        assert_eq!(ann.text(), format!("{SS}{LS}{sent}"), "seed {seed}");
        let taken: String = (0..20).map(ms).collect();
        assert_eq!(bob.text(), format!("{SS}{LS}{taken}"), "seed {seed}");
        for (id, _) in &world.clients {
            let conn = world.hub.conns.get(*id).unwrap();
            assert!(!conn.owns_memory(), "an idle connection owns no buffer");
        }
    }
}

#[test]
fn a_client_that_ends_its_side_gets_its_answers_first() {
    for piece_max in [0, 3] {
        let mut world = TestConnectionHub::new(7, piece_max);
        let ann = world.connect();
        world.store_answers = false;
        ann.send(sign_up("ann") + &login("ann"));
        ann.end();
        world.settle();
        assert!(!ann.server_ended(), "paused: its end waits with the rest of its input");
        world.store_answers = true;
        world.settle();
        assert_eq!(ann.text(), format!("{SS}{LS}"));
        world.now_ms += 2_000;
        world.settle();
        assert!(ann.server_ended() && ann.dropped());
        assert_eq!(world.hub.counters().closed(CloseCause::PeerClosed), 1);
    }
}

#[test]
fn a_silent_client_that_ends_its_side_is_gone_at_once() {
    let mut world = TestConnectionHub::new(8, 0);
    let ann = world.connect();
    ann.send(sign_up("ann"));
    world.settle();
    world.now_ms += 10_000;
    ann.end();
    world.turn();
    assert!(ann.dropped());
    assert!(world.hub.conns.is_empty());
}

#[test]
fn a_line_without_an_end_is_ended_by_the_end() {
    let mut world = TestConnectionHub::new(8, 0);
    let ann = world.connect();
    ann.send("good morning");
    ann.end();
    world.settle();
    assert!(ann.text().contains("BAD_JSON"), "{}", ann.text());
}

#[test]
fn paused_input_is_neither_read_nor_lost() {
    let mut world = TestConnectionHub::new(9, 0);
    let ann = world.connect();
    world.store_answers = false;
    ann.send(login("ann"));
    world.settle();
    let beat = r#"{"MID":"h","TYPE":"0"}"#;
    for _ in 0..10_000 {
        ann.send(beat);
    }
    world.settle();
    assert_eq!(ann.0.borrow().to_server.len(), 10_000 * beat.len(), "it is not read on while it is paused");
    assert_eq!(ann.text(), "");
    world.store_answers = true;
    world.settle();
    assert_eq!(ann.text().lines().count(), 10_001);
}

#[test]
fn first_bytes_choose_wherever_they_are_cut() {
    for piece_max in [0, 1, 3] {
        let mut world = TestConnectionHub::new(11, piece_max);
        let (page, tls, raw, socket) = (world.connect(), world.connect(), world.connect(), world.connect());
        page.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        tls.send([0x16, 3, 1, 0]);
        raw.send(String::from("\n") + &login("ann"));
        socket.send(HANDSHAKE);
        world.settle();
        assert!(page.text().starts_with("HTTP/1.1 200 "), "{}", page.text());
        assert!(page.server_ended());
        assert!(tls.server_ended() && tls.text().is_empty());
        assert_eq!(raw.text(), LS);
        assert!(socket.text().starts_with("HTTP/1.1 101 "), "{}", socket.text());
        assert!(!socket.server_ended());
        assert_eq!(world.hub.counters().closed(CloseCause::HttpDone), 1);
        assert_eq!(world.hub.counters().closed(CloseCause::TlsUnsupported), 1);
    }
}

#[test]
fn a_connection_is_small() {
    // Idle connections cost this, the kernel's part, and what the core knows of them.
    assert!(size_of::<crate::net::conn::Conn<crate::net::socket::PlainTcpSocket>>() <= 160);
}
