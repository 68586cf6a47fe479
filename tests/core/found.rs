//! Mistakes that were found in the core, each with what shows it.

use super::{ann_and_bob, ann_and_bob_by, any, saves};
use crate::sim::lanes::Fate;
use crate::sim::say::Say;
use hongyan::chat::contract::Rules;
use hongyan::protocol::request::FriendVerb;

const NOTHING: [&str; 0] = [];

#[test]
fn an_ack_of_one_whose_saving_failed_deletes_it_as_it_may_be_in_the_store() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, saves);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    w.ack(ann, "m1");
    w.run_for(100);
    assert!(w.store.model.waiting_for("ann").is_empty());
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"]);
}

#[test]
fn one_that_failed_does_not_make_a_later_one_of_the_same_id_forgotten() {
    let (mut w, ann, bob) = ann_and_bob_by(Rules { recent_messages_max: 1, ..Rules::default() });
    w.hang_up(ann);
    w.store.hang(saves);
    w.message(bob, "m1", "ann");
    w.message(bob, "x", "cid");
    w.message(bob, "m1", "ann");
    // The first of the two fails, the second is saved.
    let mut first = true;
    w.store.plan(move |job| crate::sim::lanes::Plan {
        takes_ms: 1,
        answer_after_ms: 0,
        fate: if saves(job) && std::mem::take(&mut first) { Fate::Fail } else { Fate::Do },
    });
    w.store.unhang(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1", "MS x", "MS m1"]);
    let ann = w.online("ann");
    w.ack(ann, "m1");
    w.run_for(100);
    w.heard(ann);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"]);
    assert_eq!(w.heard(ann), NOTHING);
}

#[test]
fn one_that_was_found_on_the_list_is_remembered_after_its_ack() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(100);
    let _ = (ann, bob);
    w.crash();
    let ann = w.online("ann");
    let bob = w.online("bob");
    w.message(bob, "m1", "ann");
    w.ack(ann, "m1");
    w.heard(ann);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1", "MS m1"]);
    assert_eq!(w.heard(ann), NOTHING, "it was promised under this server: not a second copy");
}

#[test]
fn a_message_to_somebody_online_is_answered_within_ten_seconds_of_its_taking_too() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.hang(any);
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    // Something else that waits, and whose wait began a moment later.
    w.run_for(3);
    w.say(bob, Say::GetUser { mid: "g1".into(), user: "ann".into() });
    w.run_until(start + 9_999);
    assert_eq!(w.heard(bob), [] as [&str; 0]);
    w.run_until(start + 10_000);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"]);
    w.run_until(start + 10_003);
    assert_eq!(w.heard(bob), ["UNAVAILABLE g1"]);
    w.ack(ann, "m1");
    w.run_for(10);
    assert_eq!(w.heard(bob), [] as [&str; 0]);
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(bob), ["MS m1"], "acked: heard again, not delivered again");
    assert_eq!(w.heard(ann), ["msg bob m1"]);
}
