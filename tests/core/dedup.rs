//! docs/protocol.md §5: a message that is sent again is promised again and not delivered twice.

use super::{ann_and_bob, ann_and_bob_by, deletes, ids, saves};
use crate::sim::lanes::Fate;
use hongyan::chat::contract::CoreSettings;
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
fn it_is_removed_after_ten_minutes_and_not_before() {
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
fn it_is_evicted_after_so_many_others_and_not_before() {
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
fn after_a_restart_messages_on_the_list_are_still_known() {
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

#[test]
fn a_returning_senders_duplicates_are_known_even_if_they_were_not_durable_before() {
    let (mut w, ann, mut bob) = ann_and_bob();
    (0..100).for_each(|n| w.message(bob, &format!("m{n}"), "ann"));
    (0..90).for_each(|n| w.ack(ann, &format!("m{n}")));
    w.hang_up(ann);
    w.store.hang(saves);
    (0..5).for_each(|n| w.message(bob, &format!("late{n}"), "cid"));
    for _ in 0..3 {
        // Packed and unpacked, and once more.
        w.hang_up(bob);
        w.run_for(60_000);
        bob = w.online("bob");
    }
    (0..100).for_each(|n| w.message(bob, &format!("m{n}"), "ann"));
    (0..5).for_each(|n| w.message(bob, &format!("late{n}"), "cid"));
    let submitted = w.store.count("SavePush");
    w.store.work(w.now_ms);
    w.run_for(1_000);
    let heard = w.heard(bob);
    assert_eq!(heard.iter().filter(|line| line.starts_with("MS ")).count(), 105, "{heard:?}");
    assert_eq!(w.store.count("SavePush"), submitted, "none was a new one");
    assert_eq!(w.store.model.waiting_for("ann").len(), 10);
    assert_eq!(w.store.model.waiting_for("cid").len(), 5);
}

#[test]
fn dedup_windows_of_offline_senders_are_bounded_and_the_oldest_go_first() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { dedup_bytes_max: 1_500, ..crate::rules() });
    let cid = w.online("cid");
    for (conn, of) in [(bob, "b"), (cid, "c")] {
        (0..80).for_each(|n| w.message(conn, &format!("{of}{n}"), "ann"));
        (0..80).for_each(|n| w.ack(ann, &format!("{of}{n}")));
    }
    w.heard(ann);
    w.hang_up(bob);
    w.hang_up(cid);
    w.run_for(10);
    let (cid, bob) = (w.online("cid"), w.online("bob"));
    w.message(cid, "c1", "ann");
    w.message(bob, "b1", "ann");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["msg bob b1"], "the two together are too large; Bob went first");
}

#[test]
fn the_dedup_window_of_an_absent_sender_is_dropped_only_on_demand() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m", "ann");
    w.ack(ann, "m");
    w.hang_up(bob);
    w.heard(ann);
    w.release_memory(usize::MAX, false);
    let bob = w.online("bob");
    w.message(bob, "m", "ann");
    assert!(w.heard(ann).is_empty(), "it is known");
    w.release_memory(usize::MAX, true);
    w.message(bob, "m", "ann");
    assert!(w.heard(ann).is_empty(), "the messages of an online sender are remembered in any case");
    w.hang_up(bob);
    w.release_memory(usize::MAX, true);
    let bob = w.online("bob");
    w.message(bob, "m", "ann");
    assert_eq!(w.heard(ann).len(), 1, "the last thing that is given up");
}
