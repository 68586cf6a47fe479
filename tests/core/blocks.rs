//! Users who block each other.

use super::own_accounts::{accounts, roster_after};
use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::{Frame, Say};
use crate::sim::world::World;
use crate::{ann_and_bob, rules, strangers, strangers_by};
use hongyan::chat::contract::{ConnId, CoreSettings, Job};
use hongyan::protocol::reply::Reply;
use hongyan::protocol::request::FriendVerb;

const NOTHING: [&str; 0] = [];

pub(super) fn block(w: &mut World, conn: ConnId, other: &str, blocks: bool) -> Vec<String> {
    w.say(conn, Say::Block { mid: "b".into(), other: Some((other.into(), blocks)) });
    w.run_for(100);
    let line = |frame: Frame| match frame {
        Frame::Reply { reply: Reply::Blocked(names), .. } => names.iter().map(ToString::to_string).collect(),
        frame => frame.line(),
    };
    w.frames(conn).into_iter().map(|(_, frame)| line(frame)).collect()
}

#[test]
fn blocking_ends_the_friendship_and_nothing_tells_the_blocked_user() {
    let (mut w, ann, bob) = ann_and_bob();
    assert_eq!(block(&mut w, ann, "bob", true), ["bob"]);
    assert!(!w.store.model.are_friends("ann", "bob"));
    assert_eq!(w.heard(bob), NOTHING);
    w.message(bob, "m1", "ann");
    w.message(ann, "m2", "bob");
    assert_eq!((w.heard(bob), w.heard(ann)), (vec!["MF m1".into()], vec!["MF m2".into()]));
    // Requests are answered like any other.
    w.friend(bob, FriendVerb::Request, "f1", "ann");
    w.run_for(100);
    w.friend(bob, FriendVerb::Request, "f2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["OK f1", "OK f2"]);
    assert_eq!(w.heard(ann), NOTHING);
    assert_eq!(w.store.model.pushes().count(), 0);
    assert_eq!(roster_after(&mut w, bob, None).roster.outgoing.len(), 1);
    assert!(roster_after(&mut w, ann, None).roster.incoming.is_empty());
    w.friend(ann, FriendVerb::Accept, "f1", "bob");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["NO_SUCH_REQUEST f1"]);
    // Unblocking does not bring them back.
    assert_eq!(block(&mut w, ann, "bob", false), [""]);
    w.run_for(100);
    assert!(roster_after(&mut w, bob, None).roster.outgoing.is_empty());
    w.friend(bob, FriendVerb::Request, "f3", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["ask bob f3"]);
}

#[test]
fn requests_in_both_directions_end_when_one_user_blocks_the_other() {
    let (mut w, ann, bob) = strangers();
    w.hang_up(bob);
    w.friend(ann, FriendVerb::Request, "a1", "bob");
    w.run_for(100);
    let bob = w.online("bob");
    w.friend(bob, FriendVerb::Request, "b1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["OK a1", "ask bob b1"]);
    assert_eq!(block(&mut w, ann, "bob", true), ["bob"]);
    w.run_for(60_000);
    w.heartbeat(ann);
    w.heartbeat(bob);
    assert_eq!(w.heard(ann), ["BEAT h"], "it is not sent again");
    assert_eq!(w.heard(bob), ["OK b1", "BEAT h"], "nor is Ann's");
    assert_eq!(w.store.model.pushes().count(), 0);
    assert!(!w.store.model.is_pending("ann", "bob"));
    w.friend(ann, FriendVerb::Request, "a2", "bob");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["FORBIDDEN a2"], "nobody is friend and blocked at once");
    w.friend(bob, FriendVerb::Delete, "b2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["OK b2"]);
    assert!(!w.store.model.is_pending("bob", "ann"));
}

/// Ann is online, and Bob's request `b1` waits behind three messages of Cid: it is not on her list.
fn request_behind_messages(rules: CoreSettings) -> (World, ConnId, ConnId) {
    let mut w = World::new(CoreSettings { page_max: 1, list_max: 2, ..rules });
    for name in ["ann", "bob", "cid"] {
        w.store.model.add_account(name, name);
    }
    w.store.model.befriend("ann", "cid");
    let (bob, cid) = (w.online("bob"), w.online("cid"));
    for n in 0..3 {
        w.message(cid, &format!("m{n}"), "ann");
    }
    w.friend(bob, FriendVerb::Request, "b1", "ann");
    w.run_for(100);
    let ann = w.online("ann");
    w.run_for(100);
    (w, ann, bob)
}

/// A page with Bob's request is read before Ann blocks Bob, and arrives after the block.
fn block_beside_a_page(is_answered: bool) {
    let (mut w, ann, _) = request_behind_messages(rules());
    if is_answered {
        w.friend(ann, FriendVerb::Reject, "b1", "bob");
        w.run_for(100);
        assert!(!w.store.model.is_pending("bob", "ann"));
    }
    // Her lane answers late.
    w.store.plan(|job| {
        let is_page = matches!(job, Job::LoadPage { .. });
        Plan { takes_ms: 1, answer_after_ms: if is_page { 500 } else { 0 }, fate: Fate::Do }
    });
    for (id, ms) in [("m0", 1_000), ("m1", 3)] {
        w.ack(ann, id);
        w.run_for(ms);
    }
    w.say(ann, Say::Block { mid: "b".into(), other: Some(("bob".into(), true)) });
    w.run_for(2_000);
    for n in 0..3 {
        w.ack(ann, &format!("m{n}"));
        w.run_for(2_000);
    }
    w.run_for(20_000);
    assert!(!w.heard(ann).contains(&"ask bob b1".to_owned()));
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn a_request_on_a_page_that_was_read_before_the_block_does_not_come() {
    block_beside_a_page(false);
}

#[test]
fn an_answered_request_on_such_a_page_does_not_stay_in_the_store() {
    block_beside_a_page(true);
}

/// The answer to Ann's block of Bob is lost, and not asked for again: too much is in doubt already.
fn lose_a_block(w: &mut World, ann: ConnId) {
    w.store.plan(|job| {
        let fate = match job {
            Job::Unfriend { other, .. } if other.as_str() == "nobody" => Fate::Fail,
            job if accounts(job) => Fate::DoAndLose,
            _ => Fate::Do,
        };
        Plan { takes_ms: 1, answer_after_ms: 0, fate }
    });
    w.friend(ann, FriendVerb::Delete, "d", "nobody");
    w.run_for(10);
    assert_eq!(block(w, ann, "bob", true).last().map(String::as_str), Some("UNAVAILABLE b"));
}

#[test]
fn a_request_goes_with_the_end_of_a_block_of_which_nobody_learnt() {
    for is_unblock_known in [true, false] {
        let (mut w, ann, bob) = request_behind_messages(CoreSettings { undecided_max: 1, ..rules() });
        lose_a_block(&mut w, ann);
        if is_unblock_known {
            w.store.work(w.now_ms);
            assert_eq!(block(&mut w, ann, "bob", false).last().map(String::as_str), Some(""));
        } else {
            assert_eq!(block(&mut w, ann, "bob", false).last().map(String::as_str), Some("UNAVAILABLE b"));
            w.store.work(w.now_ms);
        }
        w.heard(bob);
        w.friend(bob, FriendVerb::Delete, "b2", "ann");
        w.run_for(100);
        assert_eq!(w.heard(bob), ["OK b2"]);
        for n in 0..3 {
            w.ack(ann, &format!("m{n}"));
            w.run_for(2_000);
        }
        assert!(!w.heard(ann).contains(&"ask bob b1".to_owned()));
        assert!(w.store.model.waiting_for("ann").is_empty());
    }
}

#[test]
fn a_request_on_the_list_goes_with_the_end_of_a_block_of_which_nobody_learnt() {
    let (mut w, ann, bob) = strangers_by(CoreSettings { undecided_max: 1, ..rules() });
    w.friend(bob, FriendVerb::Request, "b1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["ask bob b1"]);
    lose_a_block(&mut w, ann);
    w.store.work(w.now_ms);
    assert_eq!(block(&mut w, ann, "bob", false).last().map(String::as_str), Some(""));
    w.run_for(60_000);
    w.heartbeat(ann);
    assert_eq!(w.heard(ann), ["BEAT h"], "it is not sent again");
    // One that is not hidden stays.
    w.friend(bob, FriendVerb::Request, "b2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["ask bob b2"]);
    assert_eq!(block(&mut w, ann, "bob", false), [""]);
    w.run_for(20_000);
    assert_eq!(w.heard(ann), ["ask bob b2"]);
}

#[test]
fn a_block_that_is_not_allowed_is_refused() {
    let mut w = World::of_friends(CoreSettings { blocked_max: 2, ..rules() }, &["ann", "bob", "cid", "dan"]);
    let ann = w.online("ann");
    assert_eq!(block(&mut w, ann, "ann", true), ["BAD_FIELD b"]);
    assert_eq!(block(&mut w, ann, "nobody", true), ["NO_SUCH_USER b"]);
    assert_eq!(block(&mut w, ann, "system", true), ["NO_SUCH_USER b"]);
    assert_eq!(block(&mut w, ann, "cid", true), ["cid"]);
    assert_eq!(block(&mut w, ann, "bob", true), ["bobcid"]);
    assert_eq!(block(&mut w, ann, "dan", true), ["RATE_LIMITED b"]);
    assert!(w.store.model.are_friends("ann", "dan"));
    assert_eq!(block(&mut w, ann, "bob", true), ["bobcid"], "again");
    assert_eq!(block(&mut w, ann, "nobody", false), ["bobcid"]);
    assert_eq!(block(&mut w, ann, "bob", false), ["cid"]);
    w.say(ann, Say::Block { mid: "b".into(), other: None });
    w.run_for(100);
    assert_eq!(w.heard(ann), ["BLOCKED b"]);
}

#[test]
fn a_block_with_an_unknown_outcome_is_tried_again() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, accounts);
    assert_eq!(block(&mut w, ann, "bob", true), ["UNAVAILABLE b"]);
    w.store.work(w.now_ms);
    w.run_for(5_000);
    w.message(bob, "m2", "ann");
    assert_eq!(w.heard(bob), ["MF m2"]);
    assert_eq!(block(&mut w, ann, "bob", true), ["bob"]);
}
