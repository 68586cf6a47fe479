//! Room for new connections when the limit is reached.

use super::turns::beat;
use super::*;
use crate::net::counters::CloseCause;

/// Lets some time pass, so that later connections are younger.
fn wait(world: &mut TestConnectionHub) {
    world.now_ms += 10;
    world.turn();
}

#[test]
fn the_oldest_connection_that_never_logged_in_makes_room() {
    let mut world = TestConnectionHub::new(51, 0);
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    let strangers: Vec<_> = (0..3)
        .map(|_| {
            wait(&mut world);
            world.connect()
        })
        .collect();
    wait(&mut world);
    // It does not matter how much they say.
    strangers[0].send(beat(1));
    wait(&mut world);
    for expected in [0, 1, 2] {
        let before = world.hub.conns_len();
        assert!(world.hub.make_room());
        assert!(strangers[expected].dropped(), "{expected} is the oldest");
        assert_eq!(world.hub.conns_len(), before - 1, "its descriptor is free at once");
        wait(&mut world);
    }
    assert!(!world.hub.make_room() && !ann.dropped(), "users stay");
    assert_eq!(world.hub.counters().closed(CloseCause::Evicted), 3);
    ann.send(beat(2));
    world.settle();
    assert_eq!(ann.text().lines().count(), 2);
}

#[test]
fn a_client_whose_password_is_being_checked_keeps_its_place() {
    let mut world = TestConnectionHub::new(52, 0);
    world.store_answers = false;
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    assert!(!world.hub.make_room());
    world.store_answers = true;
    world.settle();
    assert_eq!(ann.text(), LS);
}

/// New connections are accepted after the answers of the store, and before output is written.
#[test]
fn an_answer_is_written_before_its_client_makes_room() {
    let mut world = TestConnectionHub::new(57, 0);
    world.store_answers = false;
    let ann = world.connect();
    ann.send(sign_up("ann"));
    world.settle();
    // A hash and a new account.
    for _ in 0..2 {
        for (ticket, job) in std::mem::take(&mut world.waiting) {
            world.hub.on_finished(ticket, yes(&job));
        }
        assert!(!world.hub.make_room());
        world.turn();
    }
    assert_eq!(ann.text(), SS);
    assert!(world.hub.make_room());
}

/// A closing connection waits for the client's end for some seconds. Its user may have many.
#[test]
fn connections_that_are_being_closed_make_room_first() {
    let mut world = TestConnectionHub::new(53, 0);
    let (stranger, first) = (world.connect(), world.connect());
    first.send("GET / HTTP/1.1\r\n\r\n");
    world.settle();
    let ann: Vec<_> = (0..4)
        .map(|_| {
            let ann = world.connect();
            ann.send(login("ann"));
            world.settle();
            ann
        })
        .collect();
    let (last, replaced) = ann.split_last().unwrap();
    let closing = [std::slice::from_ref(&first), replaced].concat();
    for client in &closing {
        assert!(client.server_ended() && !client.dropped());
        assert!(world.hub.make_room());
        assert!(client.dropped(), "in the order in which they were closed");
    }
    assert_eq!(world.hub.counters().closed(CloseCause::Evicted), 0, "they were closed for another cause");
    assert!(world.hub.make_room() && stranger.dropped());
    assert!(!world.hub.make_room() && !last.dropped());
    world.now_ms += 60_000;
    world.settle();
}

/// However few there are among many users.
#[test]
fn a_single_stranger_is_found() {
    let mut world = TestConnectionHub::new(54, 0);
    for n in 0..100 {
        world.connect().send(login(&format!("u{n}")));
    }
    let stranger = world.connect();
    for n in 100..1_000 {
        world.connect().send(login(&format!("u{n}")));
    }
    world.settle();
    assert!(world.hub.make_room() && stranger.dropped());
    assert!(!world.hub.make_room());
}

/// They make no room now, and are the next ones when they have their answers.
#[test]
fn strangers_that_wait_for_answers_are_passed_over() {
    let mut world = TestConnectionHub::new(58, 0);
    world.store_answers = false;
    let waiting: Vec<_> = (0..100).map(|_| world.connect()).collect();
    for (n, client) in waiting.iter().enumerate() {
        client.send(sign_up(&format!("u{n}")));
    }
    world.settle();
    let idle: Vec<_> = (0..2).map(|_| world.connect()).collect();
    // A bounded number is passed over each time.
    assert!(!world.hub.make_room());
    assert!(world.hub.make_room() && world.hub.make_room());
    assert!(idle.iter().all(TestClient::dropped) && !waiting.iter().any(TestClient::dropped));
    world.store_answers = true;
    world.settle();
    assert!(waiting.iter().all(|client| client.text() == SS));
    assert!((0..100).all(|_| world.hub.make_room()));
    assert!(waiting.iter().all(TestClient::dropped) && !world.hub.make_room());
}

/// Entries of those who logged in or left do not pile up.
#[test]
fn the_queue_of_strangers_is_no_longer_than_twice_their_number() {
    let mut world = TestConnectionHub::new(59, 0);
    let stranger = world.connect();
    for n in 0..2_000 {
        let client = world.connect();
        if n % 2 == 0 {
            client.send(login(&format!("u{n}")));
        } else {
            client.end();
        }
        world.turn();
        world.turn();
        world.turn();
        assert!(world.hub.strangers.len() <= 80, "{} after {n}", world.hub.strangers.len());
    }
    assert!(world.hub.make_room() && stranger.dropped());
}

/// Nothing that it was to be told is lost: its answers are written before.
#[test]
fn a_stranger_whose_client_has_ended_keeps_no_place() {
    let mut world = TestConnectionHub::new(55, 0);
    let (answered, half, user) = (world.connect(), world.connect(), world.connect());
    user.send(login("ann"));
    answered.send(beat(1));
    half.send(r#"{"TYPE":"1","CONTENT":{"userName":"#);
    [&answered, &half, &user].into_iter().for_each(TestClient::end);
    world.turn();
    world.turn();
    assert!(answered.dropped() && half.dropped());
    assert!(answered.text().contains("NOT_LOGGED_IN"));
    world.settle();
    assert_eq!(user.text(), LS);
    assert!(!user.dropped(), "a user may wait for more");
}

/// A stranger whose client is gone comes after those whose clients are still there.
#[test]
fn connections_that_clients_have_left_do_not_keep_a_log_in_waiting() {
    let mut world = TestConnectionHub::new(56, 0);
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    let left: Vec<_> = (0..2_000).map(|_| world.connect()).collect();
    for client in &left {
        client.send(format!(r#"{{"TYPE":"1","CONTENT":"{}"#, "x".repeat(15_000)));
        client.end();
    }
    let bob = world.connect();
    bob.send(login("bob"));
    // A user has input in each turn, so there is little time for strangers.
    for n in 0..3 {
        ann.send(beat(n));
        world.turn();
    }
    assert_eq!(bob.text(), LS);
    let waiting = left.iter().filter(|client| !client.dropped()).count();
    assert!(waiting > 1_800, "{waiting} of those who are gone still wait");
    world.settle();
    assert!(left.iter().all(TestClient::dropped));
}
