//! Nobody knows whether two are friends: the outcome of the store was lost on the way. Until it is
//! known nobody is told that they are none.

use super::admin::delete;
use super::{ann_and_bob, friendships};
use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreSettings, Job};
use hongyan::protocol::request::FriendVerb::{Accept, Delete, Request};

fn reads(job: &Job) -> bool {
    matches!(job, Job::Load { pushes_max: 0, .. })
}

fn planned(fate: impl Fn(&Job) -> Fate + 'static) -> impl FnMut(&Job) -> Plan {
    move |job| Plan { takes_ms: 1, answer_after_ms: 0, fate: fate(job) }
}

/// Ann has asked Bob, who has acked that.
fn ann_asks_bob() -> (World, ConnId, ConnId) {
    ann_asks_bob_by(crate::rules())
}

fn ann_asks_bob_by(rules: CoreSettings) -> (World, ConnId, ConnId) {
    let mut w = World::new(rules);
    w.store.model.add_account("ann", "ann");
    w.store.model.add_account("bob", "bob");
    let (ann, bob) = (w.online("ann"), w.online("bob"));
    w.friend(ann, Request, "f1", "bob");
    w.run_for(10);
    w.ack(bob, "f1");
    w.run_for(10);
    w.heard(ann);
    w.heard(bob);
    (w, ann, bob)
}

/// Both can write to each other.
fn assert_friends(w: &mut World, ann: ConnId, bob: ConnId) {
    w.heard(ann);
    w.heard(bob);
    for (from, to) in [(ann, bob), (bob, ann)] {
        let id = w.fresh("talk");
        let receiver = w.user_of(to);
        w.message(from, &id, &receiver);
        w.run_for(300);
        assert!(w.heard(from).contains(&format!("MS {id}")), "may write to {receiver}");
    }
}

#[test]
fn while_nobody_knows_nobody_is_told_that_they_are_no_friends() {
    let (mut w, ann, bob) = ann_asks_bob();
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(100);
    w.message(ann, "m1", "bob");
    w.message(bob, "m2", "ann");
    assert_eq!(w.heard(ann), ["MF m1", "UNAVAILABLE m1"]);
    assert_eq!(w.heard(bob), ["UNAVAILABLE f1", "MF m2", "UNAVAILABLE m2"]);
    w.store.work(w.now_ms);
    w.run_for(5_000);
    assert_friends(&mut w, ann, bob);
}

#[test]
fn an_accept_that_comes_back_as_no_such_request_is_read_back_until_it_is_read() {
    let (mut w, ann, bob) = ann_asks_bob();
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(100);
    // She comes back and acks the push of which nobody knew, so that the next try finds nothing.
    w.hang_up(ann);
    let later = w.online("ann");
    w.ack(later, "f1");
    w.run_for(100);
    assert_eq!(w.store.model.pushes().count(), 0);
    w.store.fate(Fate::Fail, reads);
    w.run_for(20_000);
    w.heard(bob);
    assert_eq!(w.store.count("AnswerFriend"), 2, "the reading alone is tried again");
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"]);
    w.store.work(w.now_ms);
    w.run_for(5_000);
    assert_friends(&mut w, later, bob);
}

#[test]
fn a_user_who_takes_over_while_a_friendship_is_in_doubt_is_a_friend_when_it_is_settled() {
    let (mut w, ann, bob) = ann_asks_bob();
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(100);
    let later = w.online("ann");
    w.heard(ann);
    w.store.work(w.now_ms);
    w.run_for(5_000);
    w.message(later, "m1", "bob");
    w.run_for(10);
    w.ack(bob, "m1");
    assert!(w.heard(later).contains(&"MS m1".to_owned()));
}

#[test]
fn a_refusal_after_an_unknown_outcome_is_read_back() {
    let (mut w, ann, bob) = ann_and_bob();
    let mut tries = 0;
    w.store.plan(move |job| {
        tries += u32::from(friendships(job));
        let fate = match (friendships(job), tries) {
            (true, 1) => Fate::DoAndLose,
            (true, _) => Fate::Refuse,
            _ => Fate::Do,
        };
        Plan { takes_ms: 1, answer_after_ms: 0, fate }
    });
    w.friend(ann, Delete, "f1", "bob");
    w.run_for(10_000);
    assert!(!w.store.model.are_friends("ann", "bob"));
    w.heard(ann);
    w.heard(bob);
    w.message(ann, "m1", "bob");
    w.message(bob, "m2", "ann");
    w.run_for(10);
    assert_eq!((w.heard(ann), w.heard(bob)), (vec!["MF m1".to_owned()], vec!["MF m2".to_owned()]));
}

/// Ann asks Bob: the first try is committed and its answer lost, the next one is refused, so that
/// the push is searched. `others`: the fates of all other jobs. It ends when the search begins.
fn search(mut others: impl FnMut(&Job) -> Fate + 'static) -> (World, [ConnId; 3]) {
    let mut w = World::new(crate::rules());
    let conns = ["ann", "bob", "eve"].map(|name| {
        w.store.model.add_account(name, name);
        w.online(name)
    });
    let mut asks = 0;
    w.store.plan(move |job| {
        asks += u32::from(friendships(job));
        let fate = match job {
            Job::AskFriend { .. } if asks == 1 => Fate::DoAndLose,
            Job::AskFriend { .. } => Fate::Refuse,
            job => others(job),
        };
        let takes_ms = if matches!(job, Job::LoadPage { .. }) { 50 } else { 1 };
        Plan { takes_ms, answer_after_ms: 0, fate }
    });
    w.friend(conns[0], Request, "f1", "bob");
    for _ in 0..5_000 {
        if w.store.count("LoadPage") == 0 {
            w.run_for(1);
        }
    }
    assert_eq!(w.store.count("LoadPage"), 1);
    (w, conns)
}

fn block(w: &mut World, conn: ConnId, other: &str) {
    w.say(conn, Say::Block { mid: "b".into(), other: Some((other.into(), true)) });
}

#[test]
fn a_request_that_is_refused_after_a_try_that_was_committed_is_delivered() {
    let (mut w, [ann, bob, _]) = search(|_| Fate::Do);
    w.run_for(1_000);
    assert_eq!(w.heard(ann), ["UNAVAILABLE f1"]);
    assert_eq!(w.heard(bob), ["ask ann f1"], "the store has it, although the last try was refused");
    w.ack(bob, "f1");
    w.run_for(10);
    assert_eq!(w.store.model.pushes().count(), 0);
}

/// Bob blocks Ann while the search is under way, and the deletion of the push fails once.
#[test]
fn a_search_does_not_deliver_a_push_whose_deletion_failed() {
    let mut deletions = 0;
    let (mut w, [_, bob, _]) = search(move |job| {
        deletions += u32::from(matches!(job, Job::DeletePush { .. }));
        if matches!(job, Job::DeletePush { .. }) && deletions == 1 { Fate::Fail } else { Fate::Do }
    });
    block(&mut w, bob, "ann");
    w.run_for(10_000);
    let heard = w.heard(bob);
    assert!(!heard.iter().any(|line| line.starts_with("ask ")), "of a blocked user: {heard:?}");
    assert!(w.store.count("DeletePush") >= 2, "it failed, and was tried again");
    assert_eq!(w.store.model.pushes().count(), 0);
}

#[test]
fn blocks_of_other_users_do_not_hold_up_a_search() {
    let (mut w, [_, bob, eve]) = search(|_| Fate::Do);
    block(&mut w, eve, "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["ask ann f1"]);
    assert_eq!(w.store.count("LoadPage"), 1, "it was not read again");
}

#[test]
fn a_damaged_row_ends_the_search_of_a_push() {
    let (mut w, _) = search(|job| if matches!(job, Job::LoadPage { .. }) { Fate::Refuse } else { Fate::Do });
    w.run_for(20_000);
    assert_eq!(w.store.count("LoadPage"), 1, "another try would find the same row");
}

/// Ann's account is deleted after a try of the request that was committed: the next one is
/// answered that there is no such user.
#[test]
fn a_search_does_not_deliver_the_request_of_a_deleted_account() {
    let mut w = World::new(crate::rules());
    let [ann, bob] = ["ann", "bob"].map(|name| {
        w.store.model.add_account(name, name);
        w.online(name)
    });
    let mut asks = 0;
    w.store.plan(move |job| {
        asks += u32::from(friendships(job));
        let is_lost = matches!(job, Job::AskFriend { .. }) && asks == 1;
        Plan { takes_ms: 1, answer_after_ms: 0, fate: if is_lost { Fate::DoAndLose } else { Fate::Do } }
    });
    w.friend(ann, Request, "f1", "bob");
    w.run_for(100);
    w.admin(delete("ann"));
    w.run_for(10_000);
    assert_eq!(w.heard(bob), [""; 0], "the request is gone with the account");
    assert_eq!(w.store.model.pushes().count(), 0);
}

/// The accept begins when Bob's connection is gone: nobody knows then that the two are friends.
#[test]
fn an_accept_of_nothing_that_begins_while_its_user_is_offline_is_not_done() {
    let (mut w, ann, bob) = ann_and_bob();
    let mut tries = 0;
    w.store.plan(move |job| {
        tries += u32::from(friendships(job));
        let is_lost = friendships(job) && [1, 3].contains(&tries);
        Plan { takes_ms: 1, answer_after_ms: 0, fate: if is_lost { Fate::DoAndLose } else { Fate::Do } }
    });
    w.friend(bob, Accept, "f1", "ann");
    w.friend(bob, Accept, "f2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["UNAVAILABLE f1"], "the other one waits for it");
    w.hang_up(bob);
    w.run_for(1_200);
    assert_eq!(w.store.count("AnswerFriend"), 3, "the second accept has begun");
    let bob = w.online("bob");
    w.friend(bob, Accept, "f2", "ann");
    w.run_for(5_000);
    assert_eq!(w.heard(bob), ["NO_SUCH_REQUEST f2"]);
    assert_friends(&mut w, ann, bob);
}

/// Bob's accept of what was never asked; they are friends.
#[test]
fn an_accept_of_nothing_between_friends_is_not_done_however_often_its_answer_is_lost() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(1_500);
    w.friend(bob, Accept, "f1", "ann");
    w.store.work(w.now_ms);
    w.run_for(5_000);
    assert_eq!(w.heard(bob), ["UNAVAILABLE f1", "NO_SUCH_REQUEST f1"]);
    assert_friends(&mut w, ann, bob);
}

#[test]
fn when_too_many_are_in_doubt_the_friends_of_those_online_are_read_anew() {
    let (mut w, ann, bob) = ann_asks_bob_by(CoreSettings { undecided_max: 2, ..crate::rules() });
    w.store.plan(planned(|job| match job {
        Job::Unfriend { .. } => Fate::Fail,
        Job::AnswerFriend { .. } => Fate::DoAndLose,
        _ => Fate::Do,
    }));
    for n in 0..2 {
        w.friend(ann, Delete, &format!("d{n}"), &format!("nobody{n}"));
    }
    w.run_for(10);
    w.friend(bob, Accept, "f1", "ann");
    w.run_for(10);
    assert_eq!(w.store.count("AnswerFriend"), 1);
    assert_eq!(w.heard(bob), ["UNAVAILABLE f1"]);
    assert_eq!(w.heard(ann).last().map(String::as_str), Some("yes bob f1"), "the push that nobody knew of");
    w.message(ann, "m1", "bob");
    w.message(bob, "m2", "ann");
    assert_eq!(w.heard(ann), ["MF m1", "UNAVAILABLE m1"], "nothing is known of the two for now");
    assert_eq!(w.heard(bob), ["MF m2", "UNAVAILABLE m2"]);
    w.run_for(3_000);
    assert_friends(&mut w, ann, bob);
    assert_eq!(w.store.count("AnswerFriend"), 1, "it was not tried again, and need not be");
}

#[test]
fn a_friendship_that_comes_into_doubt_while_friends_are_read_is_read_once_more() {
    let (mut w, ann, bob) = ann_asks_bob_by(CoreSettings { undecided_max: 1, ..crate::rules() });
    w.store.model.add_account("cid", "cid");
    let cid = w.online("cid");
    w.friend(ann, Request, "c1", "cid");
    w.run_for(10);
    // One is in doubt for good, so that there is room for none of the next.
    let mut read_for_long = true;
    w.store.plan(move |job| Plan {
        takes_ms: 1,
        answer_after_ms: if reads(job) && std::mem::take(&mut read_for_long) { 500 } else { 0 },
        fate: match job {
            Job::Unfriend { .. } => Fate::Fail,
            Job::AnswerFriend { .. } => Fate::DoAndLose,
            _ => Fate::Do,
        },
    });
    w.friend(ann, Delete, "d", "nobody");
    w.run_for(10);
    let loads = w.store.count("Load");
    w.friend(bob, Accept, "f1", "ann");
    // The first reading is done, and its answer is on the way.
    while w.store.count("Load") == loads {
        w.run_for(10);
    }
    w.run_for(10);
    w.friend(cid, Accept, "c1", "ann");
    w.run_for(5_000);
    assert!(w.store.model.are_friends("ann", "cid"));
    assert_friends(&mut w, ann, bob);
    assert_friends(&mut w, ann, cid);
}
