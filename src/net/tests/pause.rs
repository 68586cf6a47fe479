//! The whole process was stopped for longer than any time-out: the input of that time is read
//! before any client is judged.

use super::websocket::{HANDSHAKE, masked};
use super::*;
use crate::chat::contract::CoreCloseCause;
use crate::net::counters::CloseCause;

const CONNS: usize = 3_000;
/// Events that the system gives at a time.
const EVENTS: usize = 1_024;

/// One turn that was given these edges only.
fn turn_of(world: &mut TestConnectionHub, some: &[(ConnId, TestClient)], more: bool) {
    world.hub.begin_turn(TurnTimestamp { mono_ms: world.now_ms, wall_ms: 1_652_791_027_673 });
    for (id, client) in some {
        let pipe = client.0.borrow();
        if !pipe.to_server.is_empty() {
            world.hub.on_readable(*id, false);
        }
        if pipe.room > 0 {
            world.hub.on_writable(*id);
        }
    }
    if more {
        world.hub.expect_more_events();
    }
    world.hub.turn();
    world.waiting.extend(world.hub.take_jobs());
    world.now_ms += 1;
}

fn closed(world: &TestConnectionHub) -> [u64; 3] {
    let reasons = [CloseCause::Chat(CoreCloseCause::Idle), CloseCause::OutputTimeout, CloseCause::HandshakeTimeout];
    reasons.map(|cause| world.hub.counters().closed(cause))
}

#[test]
fn after_a_pause_everything_that_came_is_read_before_anybody_is_judged() {
    let mut world = TestConnectionHub::new(51, 0);
    let stuck = world.connect();
    stuck.set_room(0);
    stuck.send(login("stuck"));
    let half = world.connect();
    half.send(&HANDSHAKE[..30]);
    let clients: Vec<_> = (0..CONNS).map(|_| world.connect()).collect();
    for (n, client) in clients.iter().enumerate() {
        client.send(login(&format!("u{n}")));
    }
    while clients.iter().any(|client| client.text().is_empty()) {
        world.turn();
    }
    // The poll has given its events, and then everything stops.
    world.now_ms += 400_000;
    for client in &clients {
        client.send(r#"{"MID":"h","TYPE":"0"}"#);
    }
    half.send(&HANDSHAKE[30..]);
    half.send(masked(1, login("half").as_bytes()));
    stuck.set_room(usize::MAX);
    turn_of(&mut world, &[], false);
    // A signal interrupts the poll, twice.
    turn_of(&mut world, &[], true);
    turn_of(&mut world, &[], true);
    let all = std::mem::take(&mut world.clients);
    // Those who were here first come last.
    let order: Vec<_> = all.iter().rev().cloned().collect();
    let mut rest = &order[..];
    while !rest.is_empty() {
        let (some, later) = rest.split_at(EVENTS.min(rest.len()));
        rest = later;
        turn_of(&mut world, some, !rest.is_empty() || some.len() == EVENTS);
        assert_eq!(closed(&world), [0; 3], "{} have not been read yet", rest.len());
    }
    world.clients = all;
    for _ in 0..10 {
        world.turn();
        world.now_ms += 1;
    }
    assert_eq!(closed(&world), [0; 3]);
    assert!(clients.iter().all(|client| client.text().ends_with("\"TYPE\":\"RE_HEARTBEAT\"}\n")));
    assert!(stuck.text().ends_with(LS) && half.received().starts_with(b"HTTP/1.1 101 "));
    // Clients that send nothing from now on are closed, but not all in one turn.
    world.now_ms += 126_000;
    let mut most = 0;
    for _ in 0..100 {
        let before = closed(&world)[0];
        world.turn();
        world.now_ms += 1;
        most = most.max(closed(&world)[0] - before);
    }
    assert_eq!(closed(&world)[0] as usize, CONNS + 2);
    assert!(most <= 128, "{most} were closed in one turn");
}

/// Those who never stop do not keep the silent from being closed.
#[test]
fn a_flood_keeps_no_silent_client() {
    let mut world = TestConnectionHub::new(52, 0);
    let silent = world.connect();
    let flooder = world.connect();
    flooder.send(login("nobody"));
    world.settle();
    world.now_ms += 126_000;
    let mut turns = 0;
    while !silent.server_ended() {
        if flooder.0.borrow().to_server.len() < 300_000 {
            flooder.send(ack(1).repeat(10_000));
        }
        world.turn();
        assert!(!world.hub.work.has_nothing_to_read(), "somebody always has more to say");
        world.now_ms += 1;
        turns += 1;
        assert!(turns < 400, "it is still there");
    }
}
