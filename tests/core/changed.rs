//! Somebody else logs in on a connection: nothing that its first user asked is answered behind
//! that.

use super::{ann_and_bob, any, saves};
use crate::sim::say::Say;

const NOTHING: [&str; 0] = [];

#[test]
fn requests_of_one_user_are_answered_before_another_logs_in_on_the_connection() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.takes(50);
    w.message(bob, "m1", "ann");
    w.say(bob, Say::GetUser { mid: "g1".into(), user: "ann".into() });
    w.log_in(bob, "cid");
    // Pipelined: Cid's message under the id of Bob's, to the same receiver.
    w.message(bob, "m1", "ann");
    w.run_for(1_000);
    assert_eq!(w.heard(bob), ["MS m1", "PROFILE g1", "LS l", "MS m1"]);
    let mut senders: Vec<&str> = w.store.model.waiting_for("ann").iter().map(|push| push.sender()).collect();
    senders.sort_unstable();
    assert_eq!(senders, ["bob", "cid"]);
}

#[test]
fn a_log_in_waits_for_the_first_users_answers_no_longer_than_any_request() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.hang(saves);
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_for(5_000);
    w.log_in(bob, "cid");
    w.run_until(start + 9_999);
    assert_eq!(w.heard(bob), NOTHING);
    assert!(w.is_paused(bob));
    w.run_until(start + 10_100);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1", "LS l"]);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(bob), NOTHING, "the late commit is nobody's news");
}

#[test]
fn with_a_store_that_hangs_both_are_refused_and_the_first_user_stays() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.hang(any);
    w.message(bob, "m1", "ann");
    w.say(bob, Say::Login { mid: "l".into(), user: "cid".into(), password: "cid".into() });
    w.heartbeat(bob);
    w.run_for(10_000);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1", "LF l", "UNAVAILABLE l", "BEAT h"]);
    w.store.work(w.now_ms);
    w.run_for(1_000);
    w.message(bob, "m2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m2"]);
}

#[test]
fn the_same_user_again_waits_for_nothing() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.hang(saves);
    w.message(bob, "m1", "ann");
    w.log_in(bob, "bob");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["LS l"]);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"]);
}

#[test]
fn a_connection_that_ends_while_its_log_in_waits_leaves_nothing_behind() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.hang(saves);
    w.message(bob, "m1", "ann");
    w.log_in(bob, "cid");
    w.hang_up(bob);
    w.store.work(w.now_ms);
    w.run_for(100);
    let cid = w.online("cid");
    w.message(cid, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(cid), ["MS m1"]);
    w.shut_down();
    assert_eq!(w.stopped, 1);
}

#[test]
fn a_log_in_that_waits_is_refused_when_the_server_stops() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.hang(saves);
    w.message(bob, "m1", "ann");
    w.log_in(bob, "cid");
    w.shut_down();
    w.run_for(8_000);
    let heard = w.heard(bob);
    let expected = ["MF m1", "SHUTTING_DOWN m1", "LF l", "SHUTTING_DOWN l", "SHUTTING_DOWN", "closed ShuttingDown"];
    assert_eq!(heard, expected);
}
