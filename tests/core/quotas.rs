//! The quotas of what waits: FULL at once, room by acks, and nothing that was promised is dropped.

use super::{ann_and_bob, any, ids, strangers};
use crate::sim::lanes::Fate;
use crate::sim::world::World;
use hongyan::chat::contract::ConnId;
use hongyan::protocol::request::FriendVerb;
use hongyan::store::quota::{MailboxQuotas, PushCountAndBytes};

const NONE: PushCountAndBytes = PushCountAndBytes { rows: u64::MAX, bytes: u64::MAX };

fn rows(rows: u64) -> PushCountAndBytes {
    PushCountAndBytes { rows, ..NONE }
}

/// Bob is online; Ann is not, and so much may wait for her.
fn ann_is_away(receiver: PushCountAndBytes, pair: PushCountAndBytes) -> (World, ConnId) {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.model.quotas = MailboxQuotas { receiver, pair };
    w.hang_up(ann);
    (w, bob)
}

fn say(w: &mut World, conn: ConnId, id: &str) -> Vec<String> {
    w.message(conn, id, "ann");
    w.run_for(1);
    w.heard(conn)
}

#[test]
fn one_sender_fills_their_share_and_hears_full_at_once_and_others_go_on() {
    let (mut w, bob) = ann_is_away(rows(4), rows(2));
    let cid = w.online("cid");
    assert_eq!(say(&mut w, bob, "b1"), ["MS b1"]);
    assert_eq!(say(&mut w, bob, "b2"), ["MS b2"]);
    assert_eq!(say(&mut w, bob, "b3"), ["MF b3", "FULL b3"]);
    assert_eq!(say(&mut w, cid, "c1"), ["MS c1"]);
    assert_eq!(say(&mut w, cid, "c2"), ["MS c2"]);
    assert_eq!(say(&mut w, cid, "c3"), ["MF c3", "FULL c3"], "now the receiver is full");
    w.run_for(60_000);
    assert_eq!((w.heard(bob).len(), w.heard(cid).len()), (0, 0), "and nothing follows");
    let ann = w.online("ann");
    assert_eq!(w.store.model.waiting_for("ann").len(), 4);
    w.hang_up(ann);
}

#[test]
fn bytes_count_too() {
    let one = PushCountAndBytes::of_one_push("m1bobannhello".len() as u64).bytes;
    for (receiver, pair) in
        [(PushCountAndBytes { bytes: 2 * one, ..NONE }, NONE), (NONE, PushCountAndBytes { bytes: 3 * one - 1, ..NONE })]
    {
        let (mut w, bob) = ann_is_away(receiver, pair);
        assert_eq!(say(&mut w, bob, "m1"), ["MS m1"]);
        assert_eq!(say(&mut w, bob, "m2"), ["MS m2"]);
        assert_eq!(say(&mut w, bob, "m3"), ["MF m3", "FULL m3"]);
    }
}

#[test]
fn an_ack_makes_room_promised_messages_come_and_refused_ones_may_be_sent_again() {
    let (mut w, bob) = ann_is_away(NONE, rows(2));
    say(&mut w, bob, "m1");
    say(&mut w, bob, "m2");
    assert_eq!(say(&mut w, bob, "m3"), ["MF m3", "FULL m3"]);
    assert_eq!(say(&mut w, bob, "m3"), ["MF m3", "FULL m3"], "it is not remembered as taken");
    assert_eq!(say(&mut w, bob, "m1"), ["MS m1"], "a message that is there stays promised");
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(10);
    assert_eq!(ids(&w.heard(ann)), ["m1", "m2"]);
    w.ack(ann, "m1");
    w.run_for(10);
    w.hang_up(ann);
    assert_eq!(say(&mut w, bob, "m3"), ["MS m3"]);
    assert_eq!(say(&mut w, bob, "m4"), ["MF m4", "FULL m4"]);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(10);
    assert_eq!(ids(&w.heard(ann)), ["m2", "m3"], "once, and in order");
}

#[test]
fn one_in_the_store_is_promised_when_it_is_full_also_after_a_restart() {
    let (mut w, bob) = ann_is_away(NONE, rows(1));
    assert_eq!(say(&mut w, bob, "m1"), ["MS m1"]);
    w.hang_up(bob);
    w.crash();
    let bob = w.online("bob");
    assert_eq!(say(&mut w, bob, "m1"), ["MS m1"], "a duplicate");
    assert_eq!(say(&mut w, bob, "m2"), ["MF m2", "FULL m2"]);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
}

#[test]
fn a_message_with_a_lost_outcome_is_promised_at_a_repetition_to_a_full_mailbox() {
    let (mut w, bob) = ann_is_away(NONE, rows(1));
    w.store.fate(Fate::DoAndLose, any);
    assert_eq!(say(&mut w, bob, "m1"), ["MF m1", "UNAVAILABLE m1"]);
    w.store.work(w.now_ms);
    assert_eq!(say(&mut w, bob, "m1"), ["MS m1"]);
    assert_eq!(say(&mut w, bob, "m2"), ["MF m2", "FULL m2"]);
}

#[test]
fn an_online_receiver_who_does_not_ack_is_full_too_and_their_ack_still_counts() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.model.quotas = MailboxQuotas { receiver: NONE, pair: rows(1) };
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MS m1", "MF m2", "FULL m2"]);
    assert_eq!(ids(&w.heard(ann)), ["m1", "m2"]);
    let saves = w.store.count("SavePush");
    w.run_for(10_000);
    assert_eq!(w.store.count("SavePush"), saves, "it is not tried again by itself");
    let deletes = w.store.count("DeletePush");
    w.ack(ann, "m2");
    w.run_for(10);
    assert_eq!(w.heard(bob), [] as [&str; 0], "it was answered");
    assert_eq!(w.store.count("DeletePush"), deletes, "nothing of it is in the store");
    w.message(bob, "m2", "ann");
    w.run_for(10);
    assert_eq!((w.heard(bob), w.heard(ann)), (vec!["MS m2".into()], vec![]), "she has it");
    w.message(bob, "m3", "ann");
    w.ack(ann, "m3");
    assert_eq!(w.heard(bob), ["MS m3"], "a receiver that acks at once needs no room");
    assert_eq!(w.heard(ann).len(), 1);
    w.ack(ann, "m1");
    w.message(bob, "m4", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MS m4"], "an ack makes room at once");
}

#[test]
fn a_refused_message_on_the_list_is_saved_at_a_repetition_when_there_is_room() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.model.quotas = MailboxQuotas { receiver: NONE, pair: rows(1) };
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MS m1", "MF m2", "FULL m2"]);
    w.message(bob, "m2", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MF m2", "FULL m2"]);
    w.ack(ann, "m1");
    w.message(bob, "m2", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MS m2"]);
    assert_eq!(ids(&w.heard(ann)), ["m1", "m2"], "each once");
}

#[test]
fn friend_requests_and_answers_are_no_way_around_and_change_nothing_when_it_is_full() {
    let (mut w, ann, bob) = strangers();
    w.store.model.quotas = MailboxQuotas { receiver: NONE, pair: rows(1) };
    w.hang_up(ann);
    w.friend(bob, FriendVerb::Request, "f1", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["OK f1"]);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["LS l", "ask bob f1"]);
    w.friend(ann, FriendVerb::Reject, "f1", "bob");
    w.run_for(10);
    assert_eq!((w.heard(ann), w.heard(bob)), (vec!["OK f1".into()], vec!["no ann f1".into()]));
    // The request's push waits for Ann's ack, and the reject for Bob's: neither has room for one
    // more.
    w.friend(bob, FriendVerb::Request, "f2", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["FULL f2"]);
    assert!(!w.store.model.is_pending("bob", "ann"));
    w.ack(ann, "f1");
    w.friend(bob, FriendVerb::Request, "f3", "ann");
    w.run_for(10);
    assert_eq!((w.heard(bob), w.heard(ann)), (vec!["OK f3".into()], vec!["ask bob f3".into()]));
    for verb in [FriendVerb::Accept, FriendVerb::Reject] {
        w.friend(ann, verb, "f3", "bob");
        w.run_for(10);
        assert_eq!((w.heard(ann), w.heard(bob)), (vec!["FULL f3".into()], vec![]));
        assert!(w.store.model.is_pending("bob", "ann") && !w.store.model.are_friends("ann", "bob"));
    }
    w.ack(bob, "f1");
    w.friend(ann, FriendVerb::Accept, "f3", "bob");
    w.run_for(10);
    assert_eq!((w.heard(ann), w.heard(bob)), (vec!["OK f3".into()], vec!["yes ann f3".into()]));
    assert!(w.store.model.are_friends("ann", "bob"));
}
