//! The budget of the whole process, and the bounds of those who do not read.

use super::*;
use crate::net::counters::CloseCause;

const MIB: usize = 1024 * 1024;
const BEAT: &str = r#"{"MID":"h","TYPE":"0"}"#;

#[test]
fn when_the_budget_is_reached_the_largest_users_are_closed_and_others_do_not_notice() {
    let budget = 4 * MIB;
    let mut world = TestConnectionHub::within(20, 0, |bounds| bounds.memory_bytes_max = budget);
    let (ann, bob) = (world.connect(), world.connect());
    ann.send(login("ann"));
    bob.send(login("bob"));
    world.settle();
    let mut hogs = Vec::new();
    for n in 0..100 {
        let hog = world.connect();
        hog.send(login(&format!("hog{n}")));
        hogs.push(hog);
    }
    world.settle();
    let mut expected = LS.to_owned();
    for hog in &hogs {
        hog.set_room(0);
        hog.send(BEAT.repeat(2_000));
    }
    for round in 0..60 {
        for hog in &hogs {
            if !hog.dropped() {
                hog.send(BEAT.repeat(100));
            }
        }
        bob.send(message(round, "hello"));
        world.turn();
        ann.send(ack(round));
        world.turn();
        world.turn();
        expected += &ms(round);
        assert!(world.hub.memory_bytes() <= budget, "{} bytes are used", world.hub.memory_bytes());
        world.now_ms += 1;
    }
    assert_eq!(bob.text(), expected);
    assert!(world.hub.counters().closed(CloseCause::Memory) >= 10);
    assert_eq!(hogs.iter().filter(|hog| hog.dropped()).count() as u64, world.hub.counters().closed(CloseCause::Memory));
    assert!(!ann.dropped() && !bob.dropped());
}

#[test]
fn very_many_clients_that_only_connect_are_closed_before_active_ones() {
    let budget = 2 * MIB;
    let mut world = TestConnectionHub::within(25, 0, |bounds| bounds.memory_bytes_max = budget);
    let (ann, bob) = (world.connect(), world.connect());
    ann.send(login("ann"));
    bob.send(login("bob"));
    world.settle();
    let mut strangers: Vec<TestClient> = Vec::new();
    for round in 0..80 {
        strangers.extend((0..100).filter_map(|_| world.connect_from("127.0.0.1")));
        bob.send(message(round, "hello"));
        world.settle();
        ann.send(ack(round));
        world.settle();
        world.now_ms += 1_000;
    }
    assert!(world.hub.memory_bytes() <= budget, "{} bytes are used", world.hub.memory_bytes());
    assert!(strangers.iter().any(TestClient::dropped));
    assert!(!ann.dropped() && !bob.dropped());
    assert!((0..80).all(|round| bob.text().contains(&ms(round))));
}

#[test]
fn a_user_with_a_backlog_does_not_lose_to_very_many_clients_that_use_a_little_each() {
    let budget = 4 * MIB;
    let mut world = TestConnectionHub::within(26, 0, |bounds| bounds.memory_bytes_max = budget);
    let (ann, bob) = (world.connect(), world.connect());
    ann.send(login("ann"));
    bob.send(login("bob"));
    world.settle();
    // More than a connection that does not count as large.
    for round in 0..40 {
        bob.send(message(round, &"x".repeat(1_000)));
    }
    world.settle();
    for _ in 0..600 {
        let Some(stranger) = world.connect_from("127.0.0.1") else { continue };
        stranger.send(format!("{{\"TYPE\":\"{}", "x".repeat(14_000)));
        world.settle();
    }
    assert!(world.hub.counters().closed(CloseCause::Memory) > 100);
    assert!(!ann.dropped() && !bob.dropped());
}

#[test]
fn input_that_is_not_whole_counts_and_is_given_back() {
    let budget = 2 * MIB;
    let mut world = TestConnectionHub::within(21, 0, |bounds| bounds.memory_bytes_max = budget);
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    let idle = world.hub.memory_bytes();
    let clients: Vec<TestClient> = (0..60).map(|_| world.connect()).collect();
    for client in &clients {
        client.send(format!("{{\"TYPE\":\"{}", "x".repeat(60_000)));
    }
    world.settle();
    let dropped = clients.iter().filter(|client| client.dropped()).count();
    assert!((20..60).contains(&dropped), "{dropped} were closed");
    assert!(world.hub.memory_bytes() <= budget && !ann.dropped());
    for client in &clients {
        client.end();
    }
    world.settle();
    world.now_ms += 20_000;
    world.settle();
    assert!(clients.iter().all(TestClient::dropped));
    assert!(world.hub.memory_bytes() < idle + MIB / 2, "{} bytes are used", world.hub.memory_bytes());
}

#[test]
fn while_too_much_memory_is_used_nobody_new_is_let_in() {
    let mut world = TestConnectionHub::within(22, 0, |bounds| bounds.memory_bytes_max = 0);
    assert!(world.connect_from("127.0.0.1").is_some(), "nothing is used yet");
    assert!(world.connect_from("127.0.0.1").is_none());
    assert_eq!(world.hub.counters().refused_at_memory_limit, 1);
}

#[test]
fn a_client_that_has_not_logged_in_and_does_not_read_uses_little() {
    let mut world = TestConnectionHub::new(23, 0);
    let strangers: Vec<TestClient> = (0..50).map(|_| world.connect()).collect();
    let (known, reader) = (world.connect(), world.connect());
    known.send(login("ann"));
    world.settle();
    for client in strangers.iter().chain([&known]) {
        client.set_room(0);
    }
    for client in strangers.iter().chain([&known, &reader]) {
        client.send(BEAT.repeat(3_000));
    }
    world.turn();
    assert!(world.hub.memory_bytes() < 2 * MIB, "{} bytes are used", world.hub.memory_bytes());
    world.settle();
    assert!(strangers.iter().all(TestClient::dropped));
    assert_eq!(world.hub.counters().closed(CloseCause::SlowReader), 50);
    assert!(!known.dropped() && !reader.dropped());
    assert_eq!(reader.text().lines().count(), 3_000, "a client that reads is told everything");
}

#[test]
fn a_client_that_is_replaced_and_does_not_read_keeps_the_last_words_only() {
    let mut world = TestConnectionHub::new(24, 0);
    let first = world.connect();
    first.send(login("ann"));
    world.settle();
    first.set_room(10);
    first.send(BEAT.repeat(1_500));
    world.settle();
    let before = world.hub.memory_bytes();
    let second = world.connect();
    second.send(login("ann"));
    world.settle();
    assert!(world.hub.memory_bytes() + 100_000 < before, "{} of {before} bytes are used", world.hub.memory_bytes());
    first.set_room(usize::MAX);
    world.settle();
    let lines: Vec<String> = first.text().lines().map(str::to_owned).collect();
    assert!(lines.len() < 20 && lines.last().unwrap().contains("REPLACED"), "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with('{') && line.ends_with('}')), "{lines:?}");
    assert!(first.server_ended() && !second.dropped());
}
