//! Turns are shared by work.

use super::super::turn_work::ConnReadQueueKind;
use super::websocket::{HANDSHAKE, masked};
use super::*;

/// The largest number of inputs that the server handles in one turn: some ten milliseconds.
const INPUTS_PER_TURN_MAX: u64 = 16_000;

/// Turns, and after each of them a look at how much it did.
fn turns(world: &mut TestConnectionHub, count: usize) {
    for _ in 0..count {
        let before = world.hub.counters().inputs;
        world.turn();
        let done = world.hub.counters().inputs - before;
        assert!(done <= INPUTS_PER_TURN_MAX, "{done} inputs in one turn");
    }
}

pub(super) fn beat(n: usize) -> String {
    format!(r#"{{"MID":"h{n}","TYPE":"0"}}"#)
}

/// As much as a socket holds, from each of very many.
fn flood(world: &mut TestConnectionHub, count: usize, said: &[u8]) -> Vec<TestClient> {
    let flooders: Vec<_> = (0..count).map(|_| world.connect()).collect();
    for flooder in &flooders {
        flooder.send(said.repeat(64 * 1024 / said.len()));
    }
    flooders
}

#[test]
fn a_client_that_says_little_waits_for_one_turn_beside_very_many_that_never_stop() {
    let ping = masked(9, b"");
    let pings = [HANDSHAKE.as_bytes(), &ping.repeat(10_000)].concat();
    let large = format!(r#"{{"TYPE":"5","CONTENT":{{"MessageId":"m","x":"{}"}}}}"#, "\\n".repeat(30_000));
    for said in [ack(1).as_bytes(), &pings, large.as_bytes()] {
        let mut world = TestConnectionHub::new(31, 0);
        let ann = world.connect();
        ann.send(login("ann"));
        world.settle();
        let flooders = flood(&mut world, 300, said);
        // The first turn serves them all a little.
        turns(&mut world, 2);
        for n in 0..20 {
            ann.send(beat(n));
            turns(&mut world, 1);
            assert_eq!(ann.text().lines().count(), n + 2, "answered in that turn");
            assert!(!world.hub.work.has_nothing_to_read(), "and they still have something to say");
        }
        drop(flooders);
    }
}

/// Each log-in begins on a connection on which nobody has logged in yet.
#[test]
fn a_client_that_connects_is_served_before_strangers_that_never_stop() {
    let mut world = TestConnectionHub::new(38, 0);
    let flooders = flood(&mut world, 1_000, ack(1).as_bytes());
    turns(&mut world, 1);
    while world.hub.work.queue_len(ConnReadQueueKind::WokenStrangers) > 0 {
        turns(&mut world, 1);
    }
    for n in 0..20 {
        let client = world.connect();
        client.send(beat(n));
        turns(&mut world, 1);
        assert_eq!(client.text().lines().count(), 1, "answered in that turn");
        let waiting = world.hub.work.queue_len(ConnReadQueueKind::Strangers);
        assert!(waiting > 900, "{waiting} strangers still have something to say");
    }
    drop(flooders);
}

/// A sign-up with keys and a picture takes several reads.
#[test]
fn a_large_first_request_does_not_wait_behind_strangers_once_for_each_read() {
    let mut world = TestConnectionHub::new(39, 0);
    let flooders = flood(&mut world, 1_000, ack(1).as_bytes());
    turns(&mut world, 1);
    while world.hub.work.queue_len(ConnReadQueueKind::WokenStrangers) > 0 {
        turns(&mut world, 1);
    }
    let client = world.connect();
    client.send(format!(r#"{{"MID":"h","TYPE":"0","CONTENT":"{}"}}"#, "x".repeat(16_000)));
    let mut count = 0;
    while client.text().is_empty() {
        turns(&mut world, 1);
        count += 1;
    }
    assert!(count <= 4, "{count} turns");
    assert!(world.hub.work.queue_len(ConnReadQueueKind::Strangers) > 900, "the others are not done");
    drop(flooders);
}

/// It is no request that is not whole yet: it never ends.
#[test]
fn white_space_and_pongs_without_end_do_not_count_as_a_request() {
    let pong = masked(10, b"");
    for said in [&b" ".repeat(64 * 1024), &[HANDSHAKE.as_bytes(), &pong.repeat(10_000)].concat()] {
        let mut world = TestConnectionHub::new(40, 0);
        let flooders: Vec<_> = (0..300).map(|_| world.connect()).collect();
        flooders.iter().for_each(|flooder| flooder.send(said));
        let mut count = 0;
        while world.hub.work.queue_len(ConnReadQueueKind::WokenStrangers) > 0 || count == 0 {
            turns(&mut world, 1);
            count += 1;
        }
        let left = flooders.iter().filter(|flooder| !flooder.0.borrow().to_server.is_empty()).count();
        assert!(left > 250, "{left} still send after {count} turns");
    }
}

#[test]
fn strangers_who_are_woken_in_each_turn_make_a_users_turn_little_longer() {
    let mut world = TestConnectionHub::new(35, 0);
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    let strangers: Vec<_> = (0..300).map(|_| world.connect()).collect();
    world.settle();
    let before = world.hub.counters().inputs;
    for n in 0..20 {
        strangers.iter().for_each(|stranger| stranger.send(ack(1)));
        ann.send(beat(n));
        world.turn();
        assert_eq!(ann.text().lines().count(), n + 2, "answered in that turn");
        assert!(!world.hub.work.has_nothing_to_read(), "and some strangers wait for the next one");
    }
    // When no user has anything to say, all of them have their turn.
    world.settle();
    assert_eq!(world.hub.counters().inputs - before, 300 * 20 + 20);
}

/// All of them come to the ends of their envelopes at the same time, and an end is where the work
/// is.
#[test]
fn a_turn_parses_few_envelopes_that_are_full_of_escapes() {
    let mut world = TestConnectionHub::new(36, 0);
    let users: Vec<_> = (0..40).map(|_| world.connect()).collect();
    for (place, user) in users.iter().enumerate() {
        user.send(login(&format!("u{place}")));
    }
    world.settle();
    let escapes = "\\u0001".repeat(9_000);
    let envelope = format!(r#"{{"MID":"h","TYPE":"0","CONTENT":"{escapes}"}}"#);
    users.iter().for_each(|user| user.send(envelope.repeat(3)));
    let (before, mut most) = (world.hub.counters().inputs, 0);
    while world.hub.counters().inputs < before + 3 * 40 {
        let inputs = world.hub.counters().inputs;
        world.turn();
        most = most.max(world.hub.counters().inputs - inputs);
    }
    // Each takes half a millisecond.
    assert!(most <= 4, "{most} in one turn");
}

#[test]
fn clients_that_never_stop_get_equal_shares_for_any_input() {
    let mut world = TestConnectionHub::new(32, 0);
    let small = flood(&mut world, 40, ack(1).as_bytes());
    let large: Vec<_> = (0..40).map(|_| world.connect()).collect();
    for client in &large {
        client.send((ack(1) + &" ".repeat(60_000)).repeat(40));
    }
    let answers = |client: &TestClient| client.text().lines().count();
    while small.iter().map(answers).max() < Some(900) {
        turns(&mut world, 1);
    }
    let (least, most) = (small.iter().map(answers).min(), small.iter().map(answers).max());
    assert!(least.unwrap() + 400 > most.unwrap(), "{least:?} {most:?}");
    // One that is a thousand times as long costs a hundred times as much and more.
    assert!(large.iter().map(answers).all(|count| (1..=20).contains(&count)), "{:?}", answers(&large[0]));
}

#[test]
fn input_cut_by_the_quantum_continues_where_it_stopped_and_in_order() {
    let mut world = TestConnectionHub::new(33, 0);
    let clients: Vec<_> = (0..100).map(|_| world.connect()).collect();
    for (place, client) in clients.iter().enumerate() {
        if place % 3 == 0 {
            client.send(HANDSHAKE);
        }
        for n in 0..400 {
            let text = beat(n);
            client.send(if place % 3 == 0 { masked(1, text.as_bytes()) } else { text.into_bytes() });
        }
        if place % 3 == 1 {
            client.end();
        }
    }
    let mut count = 0;
    while !world.hub.work.has_nothing_to_read() || count < 4 {
        turns(&mut world, 1);
        count += 1;
        let kept = |(id, _): &(ConnId, TestClient)| world.hub.conns.get(*id).map_or(0, |conn| conn.kept_bytes());
        assert!(world.clients.iter().all(|client| kept(client) <= 64 * 1024), "no more is read while something waits");
    }
    assert!(count > 10, "it took {count} turns");
    for client in &clients {
        let text = String::from_utf8_lossy(&client.received()).into_owned();
        let ids: Vec<_> = text.match_indices("NOT_LOGGED_IN").map(|(at, _)| at).collect();
        assert_eq!(ids.len(), 400);
        let mut from = 0;
        for n in 0..400 {
            let id = format!("\\\"h{n}\\\"");
            from += text[from..].find(&id).unwrap_or_else(|| panic!("{id} in its order"));
        }
    }
}

#[test]
fn a_client_that_is_being_closed_and_sends_on_does_not_keep_the_others_waiting() {
    let mut world = TestConnectionHub::new(34, 0);
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    let closed: Vec<_> = (0..100).map(|_| world.connect()).collect();
    for client in &closed {
        client.send("GET / HTTP/1.1\r\n\r\n");
        client.send(vec![b'x'; 2 << 20]);
    }
    world.turn();
    world.turn();
    let left = |client: &TestClient| client.0.borrow().to_server.len();
    for n in 0..4 {
        let before: usize = closed.iter().map(left).sum();
        ann.send(beat(n));
        world.turn();
        assert_eq!(ann.text().lines().count(), n + 2);
        let read = before - closed.iter().map(left).sum::<usize>();
        assert!(read <= 110 * 64 * 1024, "{read} bytes of the closed were read in one turn");
    }
}

/// Output that comes and goes leaves one entry behind, not one for each time.
#[test]
fn a_connection_whose_output_comes_and_goes_is_watched_once() {
    let mut world = TestConnectionHub::new(35, 0);
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    for n in 0..500 {
        ann.set_room(0);
        ann.send(beat(n));
        world.turn();
        ann.set_room(usize::MAX);
        world.turn();
    }
    assert_eq!(ann.text().lines().count(), 501);
    assert_eq!(world.hub.deadlines.watched_len(), 1);
    // And it is watched still.
    ann.set_room(0);
    ann.send(beat(0));
    for _ in 0..130 {
        world.now_ms += 1_000;
        world.turn();
    }
    assert!(ann.dropped());
    assert_eq!(world.hub.counters().closed(crate::net::counters::CloseCause::OutputTimeout), 1);
}
