//! The deletion of an account.

use super::{answer, ask, delete, notice};
use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::Say;
use crate::sim::world::World;
use crate::{ann_and_bob, any, friendships, ids, rules};
use hongyan::chat::contract::{AdminAnswerFromCore, AdminRequestToCore, Job};
use hongyan::protocol::field::{MessageId, UserNameRef};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::protocol::request::FriendVerb;

fn deletes(job: &Job) -> bool {
    matches!(job, Job::Admin { .. })
}

#[test]
fn nothing_is_left_of_an_account_but_its_name_and_its_promised_messages() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.model.add_account("eve", "eve");
    let eve = w.online("eve");
    let cid = w.online("cid");
    // Ann says something to Cid, who does not ack; Bob to Ann. Ann asks Eve, and Eve's other
    // request is to Ann.
    w.message(ann, "m1", "cid");
    w.message(bob, "m2", "ann");
    w.friend(ann, FriendVerb::Request, "f1", "eve");
    w.run_for(100);
    assert_eq!(w.heard(eve), ["ask ann f1"]);
    assert_eq!(w.heard(ann), ["msg bob m2", "OK f1", "MS m1"]);
    assert_eq!(w.heard(bob), ["MS m2"]);
    assert_eq!(ask(&mut w, delete("ann")), AdminAnswerFromCore::Done);
    assert_eq!(w.heard(ann), ["FORBIDDEN", "closed ByOperator"]);
    let model = &w.store.model;
    assert!(!model.has_account("ann") && !model.is_deleting("ann"));
    assert!(model.waiting_for("ann").is_empty() && model.waiting_for("eve").is_empty());
    assert!(!model.is_pending("ann", "eve") && !model.are_friends("bob", "ann"));
    // Ann's message is still delivered, until it is acked.
    assert_eq!(ids(&w.heard(cid)), ["m1"]);
    w.run_for(15_000);
    assert_eq!(ids(&w.heard(cid)), ["m1"]);
    w.ack(cid, "m1");
    // Her friends know it, and Eve's request list does.
    w.message(bob, "m3", "ann");
    w.friend(eve, FriendVerb::Accept, "f1", "ann");
    w.friend(eve, FriendVerb::Request, "f2", "ann");
    w.say(bob, Say::GetUser { mid: "g".into(), user: "ann".into() });
    w.run_for(16_000);
    assert_eq!(w.heard(bob), ["MF m3", "NOBODY g"]);
    assert_eq!(w.heard(eve), ["NO_SUCH_REQUEST f1", "NO_SUCH_USER f2"]);
    // The name is gone for ever.
    let conn = w.open();
    w.log_in(conn, "ann");
    w.run_for(100);
    w.say(conn, Say::SignUp { mid: "s".into(), user: "ann".into(), password: "p".into() });
    w.run_for(100);
    assert_eq!(w.heard(conn), ["LF l", "SF s"]);
    assert_eq!(ask(&mut w, delete("ann")), AdminAnswerFromCore::NoSuchUser);
    assert_eq!(ask(&mut w, notice(Some("ann"), "hello")), AdminAnswerFromCore::NoSuchUser);
    assert_eq!(ask(&mut w, AdminRequestToCore::User { name: super::user("ann") }), AdminAnswerFromCore::NoSuchUser);
}

fn full_mailbox(rows: u64) -> World {
    let mut w = World::of_friends(rules(), &["ann", "bob"]);
    let (bob, kind) = (UserNameRef::new("bob").unwrap(), PushKind::Message);
    for seq in 1..=rows {
        let push = Push::new(seq, 7, kind, &MessageId::new(format!("m{seq}")).unwrap(), &bob, super::user("ann"), "");
        w.store.model.add_push(push);
    }
    w
}

#[test]
fn a_long_mailbox_goes_in_steps_and_each_step_gives_it_more_time() {
    let mut w = full_mailbox(5_000);
    w.store.takes(2_000);
    let ticket = w.admin(delete("ann"));
    w.run_for(15_000);
    assert_eq!(answer(&mut w, ticket), None);
    let left = w.store.model.waiting_for("ann").len();
    assert!((1_000..5_000).contains(&left), "{left} left");
    // Asked for once more, it is the same deletion.
    let again = w.admin(delete("ann"));
    w.run_for(60_000);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Done));
    assert_eq!(answer(&mut w, again), Some(AdminAnswerFromCore::Done));
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn a_deletion_that_a_crash_cut_short_goes_on_when_it_is_asked_for_again() {
    let mut w = full_mailbox(5_000);
    let ticket = w.admin(delete("ann"));
    w.run_for(5);
    assert_eq!(answer(&mut w, ticket), None);
    w.crash();
    assert!(w.store.model.is_deleting("ann") && !w.store.model.waiting_for("ann").is_empty());
    let conn = w.open();
    w.log_in(conn, "ann");
    w.run_for(100);
    assert_eq!(w.heard(conn), ["LF l"]);
    assert_eq!(ask(&mut w, delete("ann")), AdminAnswerFromCore::Done);
    assert!(!w.store.model.is_deleting("ann") && w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn a_deletion_ends_if_the_store_loses_any_of_its_answers() {
    for lost in 0..6 {
        let (mut w, ann, bob) = ann_and_bob();
        w.message(bob, "m1", "ann");
        w.run_for(100);
        let mut count = 0;
        w.store.plan(move |job| {
            count += u32::from(deletes(job) || friendships(job));
            let fate = if count == lost + 1 { Fate::DoAndLose } else { Fate::Do };
            Plan { takes_ms: 1, answer_after_ms: 0, fate }
        });
        let ticket = w.admin(delete("ann"));
        w.run_for(10_000);
        let expected = if lost == 0 { AdminAnswerFromCore::Failed } else { AdminAnswerFromCore::Done };
        assert_eq!(answer(&mut w, ticket), Some(expected), "{lost}");
        if lost == 0 {
            // Nobody knows. Asked again, it goes on.
            assert_eq!(ask(&mut w, delete("ann")), AdminAnswerFromCore::Done);
        }
        assert!(w.store.model.waiting_for("ann").is_empty() && !w.store.model.is_deleting("ann"), "{lost}");
        assert!(!w.is_open(ann), "{lost}");
        w.message(bob, "m2", "ann");
        w.run_for(100);
        assert_eq!(w.heard(bob).last().unwrap(), "MF m2", "{lost}");
    }
}

#[test]
fn messages_of_friends_in_doubt_do_not_outlive_a_deleted_account() {
    let (mut w, _, bob) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, friendships);
    let ticket = w.admin(delete("ann"));
    w.run_for(500);
    assert!(!w.store.model.are_friends("ann", "bob"), "it is done, and nobody knows");
    // Bob was not told. Nobody will read Bob's message, and nothing of it stays.
    w.message(bob, "m1", "ann");
    w.run_for(3_000);
    assert_eq!(answer(&mut w, ticket), None);
    w.store.work(w.now_ms);
    w.run_for(5_000);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Done));
    assert!(w.store.model.waiting_for("ann").is_empty() && !w.store.model.is_deleting("ann"));
    w.message(bob, "m2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1", "MF m2"]);
}

#[test]
fn an_accept_on_its_way_makes_nobody_a_friend_of_a_deleted_user() {
    for answer_after_ms in [0, 60] {
        let mut w = World::new(rules());
        for name in ["ann", "bob"] {
            w.store.model.add_account(name, name);
        }
        let (ann, bob) = (w.online("ann"), w.online("bob"));
        w.friend(ann, FriendVerb::Request, "f1", "bob");
        w.run_for(100);
        w.store.plan(move |job| {
            let slow = if friendships(job) { answer_after_ms } else { 0 };
            Plan { takes_ms: 1, answer_after_ms: slow, fate: Fate::Do }
        });
        w.friend(bob, FriendVerb::Accept, "f1", "ann");
        let ticket = w.admin(delete("ann"));
        w.run_for(1_000);
        assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Done));
        assert!(!w.store.model.are_friends("ann", "bob"));
        w.message(bob, "m1", "ann");
        w.run_for(100);
        assert_eq!(w.heard(bob).last().unwrap(), "MF m1");
        assert!(w.store.model.waiting_for("ann").is_empty(), "{:?}", w.store.model.waiting_for("ann"));
    }
}

#[test]
fn a_log_in_that_is_on_its_way_ends_with_the_account() {
    let mut w = World::of_friends(rules(), &["ann", "bob"]);
    w.store.hang(|job| matches!(job, Job::Verify { .. }));
    let conn = w.open();
    w.log_in(conn, "ann");
    w.run_for(100);
    assert_eq!(ask(&mut w, delete("ann")), AdminAnswerFromCore::Done);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(conn), ["LF l"]);
}

#[test]
fn a_stop_leaves_the_rest_of_a_deletion_for_later() {
    let mut w = full_mailbox(5_000);
    w.store.takes(50);
    let ticket = w.admin(delete("ann"));
    w.run_for(120);
    w.shut_down();
    w.run_for(1_000);
    assert_eq!(w.stopped, 1);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Failed));
    assert!(w.store.model.is_deleting("ann"));
    let _ = any;
}

#[test]
fn strangers_who_go_on_asking_do_not_hold_up_a_deletion() {
    let (mut w, _, _) = ann_and_bob();
    let strangers: Vec<_> = (0..4)
        .map(|n| {
            let name = format!("stranger{n}");
            w.store.model.add_account(&name, &name);
            w.online(&name)
        })
        .collect();
    // Each answer of the store takes a while, so that something about the name is always under way.
    w.store.plan(|_| Plan { takes_ms: 30, answer_after_ms: 0, fate: Fate::Do });
    let ticket = w.admin(delete("ann"));
    for n in 0..200 {
        for (place, stranger) in strangers.iter().enumerate() {
            let verb =
                [FriendVerb::Request, FriendVerb::Delete, FriendVerb::Request, FriendVerb::Reject][(n + place) % 4];
            w.friend(*stranger, verb, &format!("f{n}"), "ann");
        }
        w.run_for(10);
    }
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Done), "within two seconds");
    w.run_for(1_000);
    let heard = w.heard(strangers[0]);
    assert_eq!(heard.len(), 200, "everybody was answered");
    assert!(
        heard.iter().any(|said| said.starts_with("NO_SUCH_USER")) && heard.iter().any(|said| said.starts_with("OK"))
    );
    assert!(!w.store.model.is_deleting("ann") && !w.store.model.is_pending("stranger0", "ann"));
}

#[test]
fn a_deletion_that_a_stop_has_cut_short_goes_on_however_long_the_store_cannot_do_it() {
    let (mut w, _, _) = ann_and_bob();
    // The first step is done and nobody hears of it: then the server is another one.
    w.store.fate(Fate::DoAndLose, deletes);
    w.admin(delete("ann"));
    w.run_for(100);
    assert!(w.store.model.is_deleting("ann"));
    w.crash();
    w.store.fate(Fate::Fail, deletes);
    w.admin(AdminRequestToCore::FinishDeletion { name: super::user("ann") });
    w.run_for(60_000);
    assert!(w.store.model.is_deleting("ann"));
    w.store.fate(Fate::Do, any);
    w.run_for(5_000);
    assert!(!w.store.model.is_deleting("ann"), "nothing is left");
}
