//! How the server stops.

use super::{ann_and_bob, any, saves};
use crate::sim::lanes::Fate;
use crate::sim::say::Say;

#[test]
fn at_a_stop_commits_are_promised_and_every_client_is_told_once() {
    let (mut w, ann, bob) = ann_and_bob();
    let stranger = w.open();
    w.store.takes(50);
    w.message(bob, "m1", "ann");
    w.shut_down();
    assert_eq!(w.store.count("SavePush"), 1, "no save delay any more");
    w.shut_down();
    w.run_for(49);
    assert_eq!((w.stopped, w.heard(stranger)), (0, vec![]));
    w.run_for(1);
    assert_eq!(w.heard(bob), ["MS m1", "SHUTTING_DOWN", "closed ShuttingDown"]);
    assert_eq!(w.heard(ann), ["msg bob m1", "SHUTTING_DOWN", "closed ShuttingDown"]);
    assert_eq!(w.heard(stranger), ["SHUTTING_DOWN", "closed ShuttingDown"]);
    w.run_for(60_000);
    assert_eq!(w.stopped, 1);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
}

#[test]
fn with_nothing_to_wait_for_it_stops_at_once() {
    let (mut w, ann, _) = ann_and_bob();
    w.shut_down();
    assert_eq!(w.stopped, 1);
    assert_eq!(w.heard(ann), ["SHUTTING_DOWN", "closed ShuttingDown"]);
    let late = w.open();
    assert_eq!(w.heard(late), ["SHUTTING_DOWN", "closed ShuttingDown"]);
    w.run_for(60_000);
    assert_eq!(w.stopped, 1);
}

#[test]
fn a_store_that_hangs_is_not_waited_for_longer_than_it_should() {
    let (mut w, _, bob) = ann_and_bob();
    w.store.hang(any);
    w.message(bob, "m1", "ann");
    w.say(bob, Say::GetUser { mid: "g1".into(), user: "ann".into() });
    w.shut_down();
    w.run_for(7_999);
    assert_eq!((w.stopped, w.heard(bob)), (0, vec![]));
    w.run_for(1);
    assert_eq!(w.stopped, 1);
    let heard = w.heard(bob);
    assert_eq!(heard, ["MF m1", "SHUTTING_DOWN m1", "SHUTTING_DOWN g1", "SHUTTING_DOWN", "closed ShuttingDown"]);
    w.store.work(w.now_ms);
    w.run_for(20_000);
    assert_eq!(w.stopped, 1, "late outcomes do no harm");
}

#[test]
fn a_save_that_fails_at_the_end_is_not_promised() {
    let (mut w, _, bob) = ann_and_bob();
    w.store.fate(Fate::Fail, saves);
    w.message(bob, "m1", "ann");
    w.shut_down();
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1", "SHUTTING_DOWN", "closed ShuttingDown"]);
}

#[test]
fn acks_and_heartbeats_are_still_heard_and_nothing_new_is_taken() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.takes(50);
    w.message(bob, "m1", "ann");
    w.shut_down();
    w.message(bob, "m2", "ann");
    w.heartbeat(bob);
    w.say(bob, Say::GetUser { mid: "g1".into(), user: "ann".into() });
    assert_eq!(w.heard(bob), ["MF m2", "SHUTTING_DOWN m2", "BEAT h", "SHUTTING_DOWN g1"]);
    w.ack(ann, "m1");
    assert_eq!(w.heard(bob), ["MS m1"]);
    w.run_for(200);
    assert_eq!(w.stopped, 1);
    assert!(w.store.model.waiting_for("ann").is_empty(), "and its deletion was waited for");
}
