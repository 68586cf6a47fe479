//! Room for new connections when the limit is reached.

use super::turns::beat;
use super::*;
use crate::net::counters::CloseCause;
use crate::net::eviction::EvictionCursor;

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
    // This one has just spoken, so it is not the oldest any more.
    strangers[0].send(beat(1));
    wait(&mut world);
    let mut cursor = EvictionCursor::default();
    for expected in [1, 2, 0] {
        let before = world.hub.conns_len();
        assert!(world.hub.evict_stranger(&mut cursor));
        assert!(strangers[expected].dropped(), "{expected} is the oldest");
        assert_eq!(world.hub.conns_len(), before - 1, "its descriptor is free at once");
        wait(&mut world);
    }
    assert!(!world.hub.evict_stranger(&mut cursor) && !ann.dropped(), "users stay");
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
    let mut cursor = EvictionCursor::default();
    assert!(!world.hub.evict_stranger(&mut cursor));
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
    let mut cursor = EvictionCursor::default();
    // A hash and a new account.
    for _ in 0..2 {
        for (ticket, job) in std::mem::take(&mut world.waiting) {
            world.hub.on_finished(ticket, yes(&job));
        }
        assert!(!world.hub.evict_stranger(&mut cursor));
        world.turn();
    }
    assert_eq!(ann.text(), SS);
    assert!(world.hub.evict_stranger(&mut cursor));
}

/// A closing connection waits for the client's end for some seconds.
#[test]
fn a_connection_that_is_being_closed_makes_room() {
    let mut world = TestConnectionHub::new(53, 0);
    let client = world.connect();
    client.send("GET / HTTP/1.1\r\n\r\n");
    world.settle();
    assert!(client.server_ended() && !client.dropped());
    assert!(world.hub.evict_stranger(&mut EvictionCursor::default()));
    assert!(client.dropped());
    assert_eq!(world.hub.counters().closed(CloseCause::Evicted), 0, "it was closed for another cause");
    world.now_ms += 60_000;
    world.settle();
}

/// However few there are among many users, some search finds them.
#[test]
fn each_search_goes_on_where_the_last_one_ended() {
    let mut world = TestConnectionHub::new(54, 0);
    for n in 0..200 {
        world.connect().send(login(&format!("u{n}")));
    }
    let stranger = world.connect();
    world.settle();
    let mut cursor = EvictionCursor::default();
    let searches = (1..=20).find(|_| world.hub.evict_stranger(&mut cursor)).unwrap_or(20);
    assert!(stranger.dropped() && searches <= 201_usize.div_ceil(32), "{searches}");
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
