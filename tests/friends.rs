//! TYPE 6: requests, answers, ends of friendships.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Client, Server, befriend};

fn ask(client: &mut Client, id: &str, other: &str) -> String {
    client.send(&client.friend("1", id, &client.name, other, "hello"));
    client.expect_time(id)
}

/// Answers a request of `asker`: "2" accepts, "3" rejects.
fn answer(client: &mut Client, kind: &str, id: &str, asker: &str) {
    client.send(&client.friend(kind, id, asker, &client.name, "words of the answer"));
}

#[test]
fn a_request_is_answered_with_the_time_that_its_push_carries() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let time = ask(&mut ann, "r1", "bob");
    let push = bob.expect_push("6", "r1");
    assert_eq!((push["time"].as_str(), push["type"].as_str()), (Some(time.as_str()), Some("1")));
    assert_eq!((push["sender"].as_str(), push["receiver"].as_str()), (Some("ann"), Some("bob")));
    assert_eq!(push["content"], "hello");
    bob.ack("r1");
    bob.fence();
}

#[test]
fn a_rejection_carries_its_words_and_makes_no_friends() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ask(&mut ann, "r1", "bob");
    bob.expect_push("6", "r1");
    answer(&mut bob, "3", "r1", "ann");
    let time = bob.expect_time("r1");
    let push = ann.expect_push("6", "r1");
    assert_eq!((push["type"].as_str(), push["time"].as_str()), (Some("3"), Some(time.as_str())));
    assert_eq!((push["sender"].as_str(), push["receiver"].as_str()), (Some("bob"), Some("ann")));
    assert_eq!(push["content"], "words of the answer");
    ann.say("m", "bob", "hi", "MF");
    bob.say("m", "ann", "hi", "MF");
}

#[test]
fn a_request_and_its_answer_wait_for_a_user_who_is_away() {
    let server = Server::start();
    let mut ann = server.user("ann");
    drop(server.user("bob"));
    ask(&mut ann, "r1", "bob");
    drop(ann);
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.expect_push("6", "r1");
    bob.ack("r1");
    // The request is acked, but still pending.
    bob.fence();
    drop(bob);
    let mut bob = server.raw();
    bob.log_in("bob");
    answer(&mut bob, "2", "r1", "ann");
    bob.expect_time("r1");
    let mut ann = server.raw();
    ann.log_in("ann");
    assert_eq!(ann.expect_push("6", "r1")["type"], "2");
    ann.ack("r1");
    ann.send(&ann.message("m1", "bob", "at last"));
    bob.take("m1");
    ann.expect_reply("RE_MESSAGE", "m1", "MS");
}

#[test]
fn a_request_sent_again_while_pending_gets_the_first_time_and_no_second_push() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let time = ask(&mut ann, "r1", "bob");
    bob.expect_push("6", "r1");
    bob.ack("r1");
    assert_eq!(ask(&mut ann, "r1", "bob"), time);
    assert_eq!(ask(&mut ann, "r2", "bob"), time);
    bob.fence();
    // The second id names no request.
    answer(&mut bob, "2", "r2", "ann");
    bob.expect_error("r2", "NO_SUCH_REQUEST");
    answer(&mut bob, "3", "r1", "ann");
    bob.expect_time("r1");
    ann.expect_push("6", "r1");
    ann.ack("r1");
    // The request was answered, so its id is free again.
    ask(&mut ann, "r1", "bob");
    bob.expect_push("6", "r1");
}

#[test]
fn a_request_between_friends_is_answered_and_not_pushed() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    ask(&mut ann, "again", "bob");
    ask(&mut bob, "and again", "ann");
    ann.fence();
    bob.fence();
}

#[test]
fn impossible_friend_requests_are_refused() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ann.send(&ann.friend("1", "r1", "ann", "nobody", ""));
    ann.expect_error("r1", "NO_SUCH_USER");
    ann.send(&ann.friend("1", "r2", "ann", "ann", ""));
    ann.expect_error("r2", "BAD_FIELD");
    ann.send(&ann.friend("1", "r3", "bob", "ann", ""));
    ann.expect_error("r3", "FORBIDDEN");
    ann.send(&ann.friend("4", "r4", "bob", "ann", ""));
    ann.expect_error("r4", "FORBIDDEN");
    ann.send(&ann.friend("5", "r5", "ann", "bob", ""));
    ann.expect_error("r5", "BAD_FIELD");
    // Only the receiver of a request may accept or reject it.
    ask(&mut ann, "r6", "bob");
    bob.expect_push("6", "r6");
    for kind in ["2", "3"] {
        ann.send(&ann.friend(kind, "r6", "ann", "bob", ""));
        ann.expect_error("r6", "FORBIDDEN");
    }
    answer(&mut bob, "2", "r7", "ann");
    bob.expect_error("r7", "NO_SUCH_REQUEST");
}

#[test]
fn an_accept_sent_twice_finds_no_request() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ask(&mut ann, "r1", "bob");
    bob.expect_push("6", "r1");
    bob.ack("r1");
    answer(&mut bob, "2", "r1", "ann");
    bob.expect_time("r1");
    ann.expect_push("6", "r1");
    ann.ack("r1");
    for kind in ["2", "3"] {
        answer(&mut bob, kind, "r1", "ann");
        bob.expect_error("r1", "NO_SUCH_REQUEST");
    }
    ann.fence();
    ann.say("m", "bob", "still friends", "MS");
}

#[test]
fn requests_that_cross_are_both_over_when_one_is_accepted() {
    let server = Server::start();
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ask(&mut ann, "from ann", "bob");
    bob.expect_push("6", "from ann");
    bob.ack("from ann");
    ask(&mut bob, "from bob", "ann");
    ann.expect_push("6", "from bob");
    // Ann has not acked bob's request. It leaves her list when bob accepts the request of ann.
    answer(&mut bob, "2", "from ann", "ann");
    bob.expect_time("from ann");
    let accepted = ann.expect_push("6", "from ann");
    assert_eq!(accepted["type"], "2");
    ann.ack("from ann");
    answer(&mut ann, "2", "from bob", "bob");
    ann.expect_error("from bob", "NO_SUCH_REQUEST");
    drop(ann);
    // bob's request is gone from the store, too.
    let mut ann = server.raw();
    ann.log_in("ann");
    ann.fence();
    ann.say("m", "bob", "friends", "MS");
}

#[test]
fn a_deleted_friend_is_not_told_and_deleting_again_is_the_same() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    for id in ["d1", "d2"] {
        ann.send(&ann.friend("4", id, "ann", "bob", ""));
        ann.expect_time(id);
    }
    ann.send(&ann.friend("4", "d3", "ann", "nobody at all", ""));
    ann.expect_time("d3");
    bob.fence();
    bob.say("m1", "ann", "hello?", "MF");
    ann.say("m2", "bob", "hello?", "MF");
    befriend(&mut bob, &mut ann);
    bob.send(&bob.message("m3", "ann", "again"));
    ann.take("m3");
    bob.expect_reply("RE_MESSAGE", "m3", "MS");
}

#[test]
fn friendships_and_requests_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = common::config();
    config.store = hongyan::config::StoreUrl::Sqlite(folder.path().join("hongyan.db"));
    let server = Server::with(config.clone());
    let (ann, bob) = server.friends("ann", "bob");
    let mut cy = server.user("cy");
    let time = ask(&mut cy, "r1", "ann");
    drop((ann, bob, cy));
    server.stop();
    let server = Server::with(config);
    let mut ann = server.raw();
    ann.log_in("ann");
    assert_eq!(ann.expect_push("6", "r1")["time"], time.as_str());
    ann.ack("r1");
    ann.say("m", "bob", "still friends", "MS");
    answer(&mut ann, "2", "r1", "cy");
    ann.expect_time("r1");
}
