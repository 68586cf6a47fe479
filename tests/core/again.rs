//! Protocol §4: a message that is sent again is promised again and not delivered twice.

use super::{ann_and_bob, deletes, ids, saves};
use crate::sim::lanes::Fate;
use hongyan::protocol::request::FriendVerb;

#[test]
fn sent_again_before_the_answer_both_are_answered_and_one_is_delivered() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1", "MS m1"]);
    assert_eq!(w.heard(ann), ["msg bob m1"]);
}

#[test]
fn sent_again_while_it_is_on_the_list() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(1_000);
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(bob), ["MS m1", "MS m1"]);
    assert_eq!(w.heard(ann), ["msg bob m1"]);
}

#[test]
fn sent_again_after_its_ack() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.ack(ann, "m1");
    w.run_for(599_990);
    let bob = if w.is_open(bob) { bob } else { w.online("bob") };
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(bob), ["MS m1"]);
}

#[test]
fn sent_again_after_the_sender_came_back() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.hang_up(bob);
    w.ack(ann, "m1");
    let bob = w.online("bob");
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"]);
    assert_eq!(w.heard(ann), ["msg bob m1"]);
}

#[test]
fn sent_again_after_the_friendship_ended() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(100);
    w.friend(ann, FriendVerb::Delete, "f1", "bob");
    w.run_for(100);
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.ack(ann, "m1");
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1", "MS m1", "MF m2", "MS m1"]);
    assert_eq!(w.heard(ann), ["msg bob m1", "OK f1"]);
}

#[test]
fn sent_again_while_the_receiver_is_away() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1", "MS m1"]);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1"]);
}

#[test]
fn it_is_forgotten_after_ten_minutes_and_not_before() {
    for (wait_ms, again) in [(600_000, false), (600_001, true)] {
        let (mut w, ann, bob) = ann_and_bob();
        let start = w.now_ms;
        w.message(bob, "m1", "ann");
        w.ack(ann, "m1");
        w.heard(bob);
        while w.now_ms < start + wait_ms - 60_000 {
            w.run_for(60_000);
            w.heartbeat(ann);
            w.heartbeat(bob);
        }
        w.run_until(start + wait_ms);
        w.heard(ann);
        w.message(bob, "m1", "ann");
        assert_eq!(ids(&w.heard(ann)).len(), usize::from(again), "{wait_ms}");
    }
}

#[test]
fn it_is_forgotten_after_so_many_others_and_not_before() {
    for (others, again) in [(1_023, false), (1_024, true)] {
        let (mut w, ann, bob) = ann_and_bob();
        w.message(bob, "m1", "ann");
        w.ack(ann, "m1");
        for n in 0..others {
            w.message(bob, &format!("x{n}"), "ann");
            w.ack(ann, &format!("x{n}"));
        }
        w.heard(ann);
        w.message(bob, "m1", "ann");
        assert_eq!(ids(&w.heard(ann)).len(), usize::from(again), "{others}");
    }
}

#[test]
fn after_a_restart_what_is_on_the_list_is_still_known() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(100);
    let _ = (ann, bob);
    w.crash();
    let bob = w.online("bob");
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"], "the store knows it");
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(100);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"]);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1"]);
}

#[test]
fn the_same_id_to_two_receivers_is_two_messages() {
    let (mut w, ann, bob) = ann_and_bob();
    let cid = w.online("cid");
    w.message(bob, "m1", "ann");
    w.message(bob, "m1", "cid");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["msg bob m1"]);
    assert_eq!(w.heard(cid), ["msg bob m1"]);
    assert_eq!(w.heard(bob), ["MS m1", "MS m1"]);
}

#[test]
fn after_mf_it_is_a_new_message_and_the_receiver_may_see_it_twice() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.fate(Fate::DoAndLose, saves);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"]);
    w.store.work(w.now_ms);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"], "the store has it after all");
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
}

#[test]
fn a_deletion_that_fails_is_tried_again_and_meanwhile_the_push_counts_as_deleted() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(100);
    w.store.fate(Fate::Fail, deletes);
    w.ack(ann, "m1");
    w.run_for(100);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    w.hang_up(ann);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(5_000);
    assert_eq!(w.heard(ann), ["LS l"], "not delivered again");
    assert!(w.store.count("DeletePush") >= 5);
    w.store.work(w.now_ms);
    w.run_for(1_100);
    assert!(w.store.model.waiting_for("ann").is_empty());
    let deletions = w.store.count("DeletePush");
    w.run_for(5_000);
    assert_eq!(w.store.count("DeletePush"), deletions);
}

#[test]
fn one_message_waits_for_its_answer_in_a_bounded_number_of_places() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.hang(saves);
    for _ in 0..20 {
        w.message(bob, "m1", "ann");
    }
    assert_eq!(w.heard(bob).iter().filter(|line| *line == "RATE_LIMITED m1").count(), 3);
    w.ack(ann, "m1");
    assert_eq!(w.heard(bob).len(), 17);
}
