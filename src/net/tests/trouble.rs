//! Clients that do not read, break, send rubbish or stay.

use super::websocket::{HANDSHAKE, masked};
use super::*;
use crate::net::counters::CloseCause;

#[test]
fn a_client_that_does_not_read_is_not_read_and_in_the_end_closed() {
    let mut world = TestConnectionHub::new(10, 0);
    let ann = world.connect();
    ann.send(sign_up("ann") + &login("ann"));
    world.settle();
    ann.set_room(0);
    let beat = r#"{"MID":"h","TYPE":"0"}"#;
    for _ in 0..15_000 {
        ann.send(beat);
    }
    world.settle();
    let unread = ann.0.borrow().to_server.len();
    assert!(unread > 0, "answers pile up, so it is not read any more");
    assert_eq!(world.hub.counters().closed(CloseCause::SlowReader), 0);
    ann.set_room(usize::MAX);
    world.settle();
    world.now_ms += 1_000;
    world.settle();
    assert_eq!(ann.text().lines().count(), 15_002, "it read, so nothing was lost");
    // Now others fill its output, which it does not read.
    ann.set_room(0);
    let bob = world.connect();
    bob.send(sign_up("bob") + &login("bob"));
    let text = "x".repeat(60_000);
    for n in 0..40 {
        bob.send(message(n, &text));
    }
    world.settle();
    // Let the save delay pass for the pushes that were sent and that ann cannot ack.
    world.now_ms += CoreSettings::default().save_after_ms;
    world.settle();
    assert!(world.hub.conns_len() >= 1 && !bob.dropped());
    assert_eq!(bob.text().lines().count(), 42, "a push that cannot be written is durable all the same");
}

#[test]
fn errors_anywhere_take_only_that_client() {
    for seed in 0..60 {
        let mut world = TestConnectionHub::new(seed, 5);
        let (ann, bob) = (world.connect(), world.connect());
        ann.send(sign_up("ann") + &login("ann"));
        bob.send(sign_up("bob") + &login("bob"));
        for _ in 0..seed * 7 {
            world.turn();
        }
        ann.0.borrow_mut().broken = true;
        world.settle();
        assert!(ann.dropped(), "seed {seed}");
        assert!(bob.text().ends_with(LS), "seed {seed}: {}", bob.text());
        assert_eq!(world.hub.counters().closed(CloseCause::IoError), 1);
    }
}

#[test]
fn a_client_that_goes_on_sending_after_its_end_is_dropped_before_its_deadline() {
    let mut world = TestConnectionHub::new(14, 0);
    let (first, second) = (world.connect(), world.connect());
    first.send(sign_up("ann") + &login("ann"));
    world.settle();
    second.send(login("ann"));
    world.settle();
    first.send("x".repeat(1024 * 1024));
    world.settle();
    assert!(!first.dropped(), "input under way is read, so that no reset destroys the last words");
    first.send("x".repeat(17 * 1024 * 1024));
    let began_ms = world.now_ms;
    while !first.dropped() && world.now_ms < began_ms + 1_000 {
        world.settle();
    }
    assert!(first.dropped(), "it has had a fifth of its time at most");
}

#[test]
fn last_words_get_out_and_a_client_that_does_not_take_them_is_dropped_in_time() {
    let mut world = TestConnectionHub::new(14, 0);
    let (first, second) = (world.connect(), world.connect());
    first.send(sign_up("ann") + &login("ann"));
    world.settle();
    first.set_room(10);
    second.send(login("ann"));
    world.settle();
    assert!(!first.dropped() && first.text().len() == SS.len() + LS.len() + 10);
    world.now_ms += 6_000;
    world.settle();
    assert!(first.dropped(), "it lingers for a bounded time only");
    // A third log-in replaces the second connection, which still has input pending and reads its
    // last frame late, but within the time limit.
    second.set_room(0);
    let third = world.connect();
    third.send(login("ann"));
    world.settle();
    second.send("anything");
    second.set_room(usize::MAX);
    world.settle();
    assert!(second.text().contains("REPLACED") && second.server_ended() && !second.dropped());
    second.end();
    world.settle();
    assert!(second.dropped() && !third.server_ended());
}

#[test]
fn a_stop_tells_everybody_and_ends() {
    let mut world = TestConnectionHub::new(15, 4);
    let (ann, idle) = (world.connect(), world.connect());
    ann.send(login("ann"));
    world.settle();
    world.hub.shut_down();
    world.settle();
    assert!(world.hub.is_stopped());
    world.hub.close_all();
    world.settle();
    assert!(ann.text().contains("SHUTTING_DOWN"), "{}", ann.text());
    assert!(ann.dropped() && idle.dropped());
    assert!(world.hub.conns.is_empty() && !world.hub.is_busy());
}

/// The hub stays sound under any behaviour of the peers, and when all is over nothing is left.
#[test]
fn anything_goes() {
    for seed in 0..100_u64 {
        let mut random = Rng::with_seed(seed);
        let mut world = TestConnectionHub::new(seed, [0, 1, 3, 50][random.usize(..4)]);
        for step in 0..300 {
            if world.clients.len() < 12 && random.usize(..10) == 0 {
                world.connect();
            }
            if world.clients.is_empty() {
                continue;
            }
            let client = world.clients[random.usize(..world.clients.len())].1.clone();
            let name = ["ann", "bob"][random.usize(..2)];
            match random.usize(..16) {
                0 => client.send(login(name)),
                1 => client.send(sign_up(name)),
                2 => client.send(message(step, &"x".repeat(random.usize(..3_000)))),
                3 => client.send(ack(random.usize(..step + 1))),
                4 => client.send(HANDSHAKE),
                5 => client.send(masked(1, login(name).as_bytes())),
                6 => client.send(masked(random.usize(..16) as u8, &vec![b'a'; random.usize(..200)])),
                7 => client.send((0..random.usize(..50)).map(|_| random.usize(..256) as u8).collect::<Vec<_>>()),
                8 => client.send(&login(name).as_bytes()[..random.usize(..40)]),
                9 => client.send("GET / HTTP/1.1\r\n\r\n"),
                10 => client.set_room(random.usize(..100)),
                11 => client.set_room(usize::MAX),
                12 if random.usize(..8) == 0 => client.end(),
                13 if random.usize(..8) == 0 => client.0.borrow_mut().broken = true,
                14 => world.store_answers = random.usize(..3) > 0,
                _ => world.now_ms += random.usize(..500) as u64,
            }
            world.turn();
        }
        world.store_answers = true;
        // Everybody falls silent; a client that does not read any more is given up.
        for _ in 0..120 {
            world.now_ms += 5_000;
            for _ in 0..40 {
                world.turn();
            }
        }
        let left = world.clients.iter().filter(|(_, client)| !client.dropped()).count();
        assert_eq!((left, world.hub.conns_len()), (0, 0), "seed {seed}");
    }
}

#[test]
fn a_client_that_asks_for_more_than_its_output_may_use_and_reads_nothing_is_closed() {
    let mut world = TestConnectionHub::within(18, 0, |bounds| bounds.output_bytes_max = 320 * 1024);
    let (deaf, other) = (world.connect(), world.connect());
    deaf.send(login("ann"));
    other.send(login("bob"));
    world.settle();
    deaf.set_room(0);
    world.store_answers = false;
    // All are asked before the first is answered, so that nothing pauses the client.
    for _ in 0..6_000 {
        deaf.send(r#"{"MID":"g","CONTENT":"bob","TYPE":"3"}"#);
    }
    world.settle();
    assert_eq!(world.hub.counters().closed(CloseCause::SlowReader), 0);
    world.store_answers = true;
    world.settle();
    assert_eq!(world.hub.counters().closed(CloseCause::SlowReader), 1);
    assert!(deaf.dropped() && !other.dropped());
    other.send(r#"{"MID":"h","TYPE":"0"}"#);
    world.settle();
    assert!(other.text().contains("RE_HEARTBEAT"), "others are not disturbed");
}

#[test]
fn very_many_ends_at_once_are_handled_over_some_turns() {
    let mut world = TestConnectionHub::new(17, 0);
    let ended: Vec<_> = (0..300).map(|_| world.connect()).collect();
    for (place, client) in ended.iter().enumerate() {
        client.send(login(&format!("u{place}")));
        client.end();
    }
    world.settle();
    assert!(ended.iter().all(|client| !client.dropped()));
    world.now_ms += 3_000;
    // The hub wakes long after the deadline, so it first handles all input that arrived before it.
    world.turn();
    world.turn();
    let left = ended.iter().filter(|client| !client.dropped()).count();
    assert!((100..300).contains(&left), "{left} are left after one turn");
    assert!(world.hub.next_deadline().is_some_and(|deadline| deadline <= world.now_ms), "the loop does not sleep");
    for _ in 0..4 {
        world.turn();
    }
    assert!(ended.iter().all(TestClient::dropped));
}

#[test]
fn an_address_has_so_many_connections_and_loopback_any_number() {
    let mut world = TestConnectionHub::new(14, 0);
    let mut here: Vec<_> = (0..3).map(|_| world.connect_from("192.0.2.7").unwrap()).collect();
    assert!(world.connect_from("192.0.2.7").is_none());
    assert_eq!(world.hub.counters().refused_at_address_limit, 1);
    assert!(world.connect_from("192.0.2.8").is_some(), "another address is not disturbed");
    for _ in 0..20 {
        world.connect();
    }
    let gone = here.pop().unwrap();
    gone.end();
    world.settle();
    assert!(gone.dropped());
    assert!(world.connect_from("192.0.2.7").is_some());
}

#[test]
fn a_request_head_must_come_in_time_and_everything_else_may_take_longer() {
    let mut world = TestConnectionHub::new(15, 0);
    let (half, done, raw, none) = (world.connect(), world.connect(), world.connect(), world.connect());
    half.send(&HANDSHAKE[..HANDSHAKE.len() - 4]);
    done.send(HANDSHAKE);
    raw.send("{\"TYPE\":");
    let start = world.now_ms;
    world.settle();
    world.now_ms = start + 9_999;
    world.turn();
    assert_eq!(world.hub.counters().closed(CloseCause::HandshakeTimeout), 0);
    assert_eq!(world.hub.next_deadline(), Some(start + 10_000), "the loop wakes by itself");
    world.now_ms = start + 10_000;
    world.turn();
    assert_eq!(world.hub.counters().closed(CloseCause::HandshakeTimeout), 1);
    assert!(!done.0.borrow().server_ended && !raw.0.borrow().server_ended && !none.0.borrow().server_ended);
    half.end();
    world.settle();
    assert!(half.dropped());
}

#[test]
fn a_client_that_takes_no_output_is_closed_in_time_and_a_slow_one_is_not() {
    let mut world = TestConnectionHub::new(16, 0);
    let (stuck, slow) = (world.connect(), world.connect());
    for client in [&stuck, &slow] {
        client.send(sign_up("ann"));
        client.set_room(0);
    }
    let start = world.now_ms;
    world.settle();
    for second in 1..=60 {
        assert_eq!(world.hub.counters().closed(CloseCause::OutputTimeout), 0, "before {second} s");
        world.now_ms = start + second * 1_000;
        if second % 50 == 0 {
            slow.set_room(1);
        }
        world.turn();
    }
    assert_eq!(world.hub.counters().closed(CloseCause::OutputTimeout), 1);
    assert!(stuck.dropped() && !slow.dropped());
    world.now_ms = start + 109_999;
    world.turn();
    assert!(!slow.dropped());
    world.now_ms = start + 110_000;
    world.turn();
    assert!(slow.dropped(), "a whole minute after its last byte");
}

#[test]
fn an_error_leaves_in_the_same_write_as_the_refusal_that_it_explains() {
    let mut world = TestConnectionHub::new(17, 0);
    let ann = world.connect();
    ann.send(sign_up("ann") + &login("ann"));
    world.settle();
    // The sender is wrong, so each gets `MF` and FORBIDDEN, which together are longer than the
    // request. The length of the id varies, so that the output reaches the size at which it is
    // written before the end of the turn at a different frame each time.
    let mut early = 0;
    for id_bytes in 90..=128 {
        let id = "i".repeat(id_bytes);
        let said =
            format!(r#"{{"CONTENT":{{"messageId":"{id}","sender":"bob","receiver":"ann","content":""}},"TYPE":"4"}}"#);
        ann.send(said.repeat(1_300));
        let before = ann.0.borrow().writes.len();
        world.turn();
        early += ann.0.borrow().writes.len().saturating_sub(before + 1);
        world.settle();
    }
    assert!(early > 0, "some was written before the end of a turn");
    let pipe = ann.0.borrow();
    for &end in &pipe.writes {
        let line = pipe.to_client[..end - 1].rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        assert!(!line.ends_with(br#""Content":"MF"},"TYPE":"RE_MESSAGE"}"#), "a write that ends with the refusal");
    }
}
