//! docs/protocol.md §5: `MS` is a promise; and §4: every request is answered in time, whatever the
//! store does.

use super::{ann_and_bob, any, friendships, loads, saves};
use crate::sim::lanes::Fate;
use crate::sim::say::{Frame, Say};
use crate::sim::world::World;
use hongyan::chat::contract::Job;
use hongyan::protocol::reply::Reply;
use hongyan::protocol::request::FriendVerb;

#[test]
fn a_message_acked_within_the_save_delay_never_touches_the_store() {
    let (mut w, ann, bob) = ann_and_bob();
    let jobs = w.store.submitted.len();
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(bob), [] as [&str; 0], "not before it is durable");
    w.run_for(4);
    w.ack(ann, "m1");
    assert_eq!(w.heard(bob), ["MS m1"]);
    w.run_for(60_000);
    assert_eq!(w.store.submitted.len(), jobs);
}

#[test]
fn one_that_is_not_acked_is_saved_after_the_save_delay_and_ms_waits_for_the_commit() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.takes(20);
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_until(start + 4);
    assert_eq!(w.store.count("SavePush"), 0);
    w.run_until(start + 5);
    assert_eq!(w.store.count("SavePush"), 1);
    w.run_until(start + 24);
    assert_eq!(w.heard(bob), [] as [&str; 0]);
    w.run_until(start + 25);
    assert_eq!(w.heard(bob), ["MS m1"]);
    w.ack(ann, "m1");
    w.run_for(100);
    assert_eq!(w.heard(bob), [] as [&str; 0], "once");
    assert!(w.store.model.waiting_for("ann").is_empty(), "the ack deletes it");
}

#[test]
fn an_ack_while_the_saving_is_on_its_way_gives_ms_at_once_and_leaves_nothing_behind() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.takes(50);
    w.message(bob, "m1", "ann");
    w.run_for(10);
    w.ack(ann, "m1");
    assert_eq!(w.heard(bob), ["MS m1"]);
    w.run_for(1_000);
    assert!(w.store.model.waiting_for("ann").is_empty());
    assert_eq!(w.heard(bob), [] as [&str; 0]);
}

#[test]
fn a_message_to_somebody_away_is_saved_at_once() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.message(bob, "m1", "ann");
    assert_eq!(w.store.count("SavePush"), 1);
    assert_eq!(w.heard(bob), [] as [&str; 0]);
    w.run_for(1);
    assert_eq!(w.heard(bob), ["MS m1"]);
}

#[test]
fn a_friend_request_is_answered_and_pushed_only_after_its_commit() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.model.add_account("dan", "dan");
    let dan = w.online("dan");
    w.store.takes(100);
    w.friend(dan, FriendVerb::Request, "f1", "ann");
    w.run_for(99);
    assert_eq!((w.heard(dan), w.heard(ann)), (vec![], vec![]));
    w.run_for(1);
    assert_eq!(w.heard(dan), ["OK f1"]);
    assert_eq!(w.heard(ann), ["ask dan f1"]);
    w.ack(ann, "f1");
    w.friend(ann, FriendVerb::Accept, "f1", "dan");
    w.message(ann, "early", "dan");
    w.run_for(99);
    assert_eq!((w.heard(dan), w.heard(ann)), (vec![], vec!["MF early".into()]), "no friends before the commit");
    w.run_for(1);
    assert_eq!(w.heard(dan), ["yes ann f1"]);
    assert_eq!(w.heard(ann), ["OK f1"]);
    w.friend(ann, FriendVerb::Delete, "f2", "dan");
    w.run_for(99);
    assert_eq!(w.heard(ann), [] as [&str; 0]);
    w.run_for(1);
    assert_eq!(w.heard(ann), ["OK f2"]);
    let _ = bob;
}

#[test]
fn when_the_store_hangs_every_request_is_answered_within_ten_seconds() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.hang(any);
    let start = w.now_ms;
    let new = w.open();
    let old = w.open();
    w.say(new, Say::SignUp { mid: "s1".into(), user: "new".into(), password: "p".into() });
    w.log_in(old, "cid");
    w.say(bob, Say::GetUser { mid: "g1".into(), user: "ann".into() });
    w.message(bob, "m1", "ann");
    w.friend(bob, FriendVerb::Delete, "f1", "cid");
    w.friend(bob, FriendVerb::Request, "f2", "dan");
    w.heartbeat(bob);
    assert_eq!(w.heard(bob), ["BEAT h"]);
    w.run_until(start + 9_999);
    assert_eq!((w.heard(bob), w.heard(new), w.heard(old)), (vec![], vec![], vec![]));
    w.run_until(start + 10_000);
    assert_eq!(w.heard(new), ["SF s1", "UNAVAILABLE s1"]);
    assert_eq!(w.heard(old), ["LF l", "UNAVAILABLE l"]);
    assert_eq!(w.heard(bob), ["UNAVAILABLE g1", "MF m1", "UNAVAILABLE m1", "UNAVAILABLE f1", "UNAVAILABLE f2"]);
    assert!(!w.is_paused(new) && !w.is_paused(old), "and its input goes on");
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!((w.heard(bob), w.heard(new), w.heard(old)), (vec![], vec![], vec![]), "late outcomes say nothing");
    w.message(bob, "m2", "cid");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MF m2"], "but a friendship that ended late has ended");
    w.message(bob, "m1", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MS m1"], "and a message that was saved late is promised when it is asked for again");
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
}

#[test]
fn a_friendship_that_is_made_late_still_counts() {
    let mut w = World::new(crate::rules());
    w.store.model.add_account("ann", "ann");
    w.store.model.add_account("bob", "bob");
    let (ann, bob) = (w.online("ann"), w.online("bob"));
    w.friend(ann, FriendVerb::Request, "f1", "bob");
    w.run_for(10);
    w.store.hang(friendships);
    w.friend(bob, FriendVerb::Accept, "f1", "ann");
    w.run_for(11_000);
    assert_eq!(w.heard(bob), ["ask ann f1", "UNAVAILABLE f1"]);
    assert_eq!(w.heard(ann), ["OK f1"]);
    w.store.work(w.now_ms);
    w.run_for(10);
    assert_eq!(w.heard(ann), ["yes bob f1"]);
    w.message(ann, "m1", "bob");
    w.message(bob, "m2", "ann");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["msg bob m2", "MS m1"]);
    assert_eq!(w.heard(bob), ["msg ann m1", "MS m2"]);
}

#[test]
fn a_log_in_that_comes_late_does_not_log_in() {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    let bob = w.online("bob");
    let ann = w.open();
    w.store.hang(loads);
    w.log_in(ann, "ann");
    w.run_for(10_100);
    assert_eq!(w.heard(ann), ["LF l", "UNAVAILABLE l"]);
    w.store.work(w.now_ms);
    w.run_for(100);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), [] as [&str; 0]);
    assert_eq!(w.heard(bob), ["MS m1"]);
    w.log_in(ann, "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1"]);
}

#[test]
fn a_failed_save_is_mf_and_unavailable_and_a_retry_is_heard_again() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::Fail, saves);
    w.message(bob, "m1", "ann");
    w.message(bob, "c1", "cid");
    w.run_for(20);
    assert_eq!(w.heard(bob), ["MF c1", "UNAVAILABLE c1"]);
    w.run_for(10_000);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"], "its receiver was there, and could have acked it");
    assert_eq!(w.heard(ann), ["msg bob m1"], "the receiver may have seen it");
    w.store.work(w.now_ms);
    w.message(bob, "m1", "ann");
    w.message(bob, "c1", "cid");
    w.run_for(20);
    assert_eq!(w.heard(bob), ["MS m1", "MS c1"]);
    assert_eq!(w.heard(ann), [] as [&str; 0], "it is on her list");
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    assert_eq!(w.store.model.waiting_for("cid").len(), 1);
}

#[test]
fn a_save_that_failed_at_once_is_not_reported_as_too_slow() {
    let (mut w, ann, bob) = ann_and_bob();
    let sentence = |w: &mut World, conn| {
        let frames = w.frames(conn);
        let errors = frames.into_iter().filter_map(|(_, frame)| match frame {
            Frame::Reply { reply: Reply::Error { explanation, .. }, .. } => Some(explanation),
            _ => None,
        });
        errors.collect::<Vec<_>>().join("; ")
    };
    w.store.fate(Fate::Fail, any);
    w.say(ann, Say::GetUser { mid: "g1".into(), user: "bob".into() });
    w.message(bob, "c1", "cid");
    w.run_for(10);
    for conn in [ann, bob] {
        let said = sentence(&mut w, conn);
        assert!(said.contains("the store failed") && !said.contains("in time"), "{said}");
    }
    w.store.hang(any);
    w.say(ann, Say::GetUser { mid: "g2".into(), user: "bob".into() });
    w.message(bob, "c2", "cid");
    w.run_for(10_100);
    for conn in [ann, bob] {
        let said = sentence(&mut w, conn);
        assert!(said.contains("in time") && !said.contains("the store failed"), "{said}");
    }
}

#[test]
fn failed_friend_requests_log_ins_sign_ups_and_profiles_are_unavailable() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::Fail, any);
    let new = w.open();
    w.say(new, Say::SignUp { mid: "s1".into(), user: "new".into(), password: "p".into() });
    w.friend(bob, FriendVerb::Delete, "f1", "ann");
    w.say(ann, Say::GetUser { mid: "g1".into(), user: "bob".into() });
    w.run_for(10);
    assert_eq!(w.heard(new), ["SF s1", "UNAVAILABLE s1"]);
    assert_eq!(w.heard(bob), ["UNAVAILABLE f1"]);
    assert_eq!(w.heard(ann), ["UNAVAILABLE g1"]);
    for fails in [any, loads, |job: &Job| matches!(job, Job::Verify { .. })] {
        w.store.fate(Fate::Fail, fails);
        w.log_in(new, "cid");
        w.run_for(10);
        assert_eq!(w.heard(new), ["LF l", "UNAVAILABLE l"]);
    }
    w.store.work(w.now_ms);
    w.log_in(new, "cid");
    w.run_for(10);
    assert_eq!(w.heard(new), ["LS l"]);
    w.message(bob, "m1", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MS m1"], "they are friends still");
}

#[test]
fn an_answer_to_somebody_who_left_goes_nowhere() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    w.store.takes(100);
    w.message(bob, "m1", "ann");
    w.hang_up(bob);
    let other = w.open();
    w.run_for(1_000);
    assert_eq!(w.heard(other), [] as [&str; 0], "the place is another's now");
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
}

#[test]
fn while_the_store_fails_at_once_a_late_ack_still_gives_ms_and_a_missing_one_mf_in_time() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::Fail, saves);
    w.message(bob, "m1", "ann");
    w.run_for(300);
    assert_eq!(w.heard(bob), [] as [&str; 0], "the save has failed, the ack may come yet");
    w.ack(ann, "m1");
    assert_eq!(w.heard(bob), ["MS m1"]);
    w.message(bob, "m2", "ann");
    w.run_for(9_999);
    assert_eq!(w.heard(bob), [] as [&str; 0]);
    w.run_for(1);
    assert_eq!(w.heard(bob), ["MF m2", "UNAVAILABLE m2"]);
    // One that somebody still waits for is saved as soon as the store is back.
    w.message(bob, "m3", "ann");
    w.run_for(3_500);
    w.store.work(w.now_ms);
    w.run_for(1_000);
    assert_eq!(w.heard(bob), ["MS m3"]);
    // A user who is away cannot ack.
    w.store.fate(Fate::Fail, saves);
    w.message(bob, "m4", "ann");
    w.run_for(10);
    w.hang_up(ann);
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MF m4", "UNAVAILABLE m4"]);
}

#[test]
fn a_push_that_the_store_never_takes_is_refused_at_once_and_not_tried_again() {
    for fate in [Fate::Refuse, Fate::TooLarge] {
        let (mut w, ann, bob) = ann_and_bob();
        w.store.fate(fate, |job| saves(job) || friendships(job) || matches!(job, Job::CreateAccount { .. }));
        w.message(bob, "m1", "ann");
        w.message(bob, "c1", "cid");
        w.run_for(20);
        assert_eq!(w.heard(bob), ["MF c1", "BAD_FIELD c1", "MF m1", "BAD_FIELD m1"], "not \"try again\"");
        w.run_for(30_000);
        assert_eq!((w.store.count("SavePush"), w.heard(bob).len()), (2, 0), "and it is not tried again");
        w.ack(ann, "m1");
        w.friend(bob, FriendVerb::Request, "f1", "dan");
        let new = w.open();
        w.say(new, Say::SignUp { mid: "s1".into(), user: "new".into(), password: "p".into() });
        w.run_for(100);
        assert_eq!(
            (w.heard(bob), w.heard(new)),
            (vec!["BAD_FIELD f1".into()], vec!["SF s1".into(), "BAD_FIELD s1".into()])
        );
        // Within the save delay it is durable without the store.
        w.message(bob, "m2", "ann");
        w.ack(ann, "m2");
        assert_eq!(w.heard(bob), ["MS m2"]);
    }
}

#[test]
fn a_damaged_stored_hash_is_not_a_wrong_password() {
    let (mut w, _, bob) = ann_and_bob();
    let new = w.open();
    let verifies: fn(&Job) -> bool = |job| matches!(job, Job::Verify { .. });
    for damaged in [loads as fn(&Job) -> bool, verifies] {
        w.store.fate(Fate::Refuse, damaged);
        w.log_in(new, "cid");
        w.run_for(10);
        assert_eq!(w.heard(new), ["LF l", "FORBIDDEN l"]);
    }
    w.store.fate(Fate::Refuse, any);
    w.say(bob, Say::GetUser { mid: "g1".into(), user: "ann".into() });
    w.run_for(10);
    assert_eq!(w.heard(bob), ["UNAVAILABLE g1"]);
}
