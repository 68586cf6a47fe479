//! Notices of the operator.

use super::{answer, ask, notice};
use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::{Frame, Say};
use crate::sim::world::{EPOCH_MS, World};
use crate::{ann_and_bob, any, rules};
use hongyan::chat::contract::{AdminAnswerFromCore, AdminStoreJob, Job, LogEvent};
use hongyan::protocol::push::PushKind;
use hongyan::protocol::request::FriendVerb;
use hongyan::store::quota::{MailboxQuotas, PushCountAndBytes};
use std::collections::BTreeSet;

fn notices(world: &mut World, conn: hongyan::chat::contract::ConnId) -> Vec<hongyan::protocol::push::Push> {
    let frames = world.frames(conn).into_iter().map(|(_, frame)| frame);
    frames.filter_map(|frame| if let Frame::Push(push) = frame { Some(push) } else { None }).collect()
}

#[test]
fn a_notice_is_a_push_of_the_system_that_is_stored_before_it_is_sent() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.hang(any);
    let ticket = w.admin(notice(Some("ann"), "the server moves tonight"));
    w.run_for(100);
    assert_eq!(notices(&mut w, ann), []);
    w.store.work(w.now_ms);
    w.run_for(10);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Noticed { users: 1 }));
    let sent = notices(&mut w, ann);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].sender(), sent[0].kind), ("system", PushKind::Message));
    assert_eq!((sent[0].receiver(), sent[0].content()), ("ann", "the server moves tonight"));
    assert!(sent[0].time_ms >= EPOCH_MS && sent[0].id().len() <= 128);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    // The notice is sent again until it is acked.
    w.run_for(15_000);
    assert_eq!(notices(&mut w, ann), sent);
    w.ack(ann, sent[0].id());
    w.run_for(16_000);
    assert_eq!(notices(&mut w, ann), []);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn a_notice_waits_for_a_user_who_is_away_and_each_has_an_id_of_its_own() {
    let mut w = World::of_friends(rules(), &["ann", "bob"]);
    for _ in 0..2 {
        assert_eq!(ask(&mut w, notice(Some("ann"), "hello")), AdminAnswerFromCore::Noticed { users: 1 });
    }
    assert_eq!(ask(&mut w, notice(Some("nobody"), "hello")), AdminAnswerFromCore::NoSuchUser);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(100);
    let ids: BTreeSet<String> = notices(&mut w, ann).iter().map(|push| push.id().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    // A notice that comes while a log-in is under way is not lost.
    w.store.hang(|job| matches!(job, Job::LogIn { .. }));
    let bob = w.open();
    w.log_in(bob, "bob");
    let ticket = w.admin(notice(Some("bob"), "hello"));
    w.run_for(100);
    assert_eq!(answer(&mut w, ticket), None);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(notices(&mut w, bob).len(), 1);
}

#[test]
fn a_mailbox_without_room_takes_no_notice() {
    let (mut w, ann, _) = ann_and_bob();
    let one = PushCountAndBytes { rows: 1, bytes: 1 << 20 };
    w.store.model.quotas = MailboxQuotas { receiver: one, pair: one };
    assert_eq!(ask(&mut w, notice(Some("ann"), "one")), AdminAnswerFromCore::Noticed { users: 1 });
    assert_eq!(ask(&mut w, notice(Some("ann"), "two")), AdminAnswerFromCore::Full);
    assert!(
        matches!(w.log_events.last(), Some(LogEvent::MailboxFull { user, sender, .. }) if user.as_str() == "ann" && &**sender == "system")
    );
    assert_eq!(notices(&mut w, ann).len(), 1);
    // A notice to all reaches the users whose mailboxes have room.
    assert_eq!(ask(&mut w, notice(None, "three")), AdminAnswerFromCore::Noticed { users: 2 });
}

#[test]
fn a_notice_whose_answer_was_lost_comes_and_the_operator_may_ask_again() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, |job| matches!(job, Job::Admin { .. }));
    assert_eq!(ask(&mut w, notice(Some("ann"), "hello")), AdminAnswerFromCore::Failed);
    w.run_for(1_000);
    assert_eq!(notices(&mut w, ann).len(), 1, "it is in the store, and is looked for");
    w.store.fate(Fate::Fail, |job| matches!(job, Job::Admin { .. }));
    assert_eq!(ask(&mut w, notice(Some("ann"), "hello")), AdminAnswerFromCore::Failed);
    w.run_for(1_000);
    assert_eq!(notices(&mut w, ann).len(), 0);
}

fn with_many(count: u32) -> World {
    let mut w = World::new(rules());
    for number in 0..count {
        w.store.model.add_account(&format!("user {number:05}"), "p");
    }
    w.store.model.add_account("ann", "ann");
    w
}

#[test]
fn a_notice_to_all_reaches_everybody_in_small_parts() {
    let mut w = with_many(700);
    let ann = w.online("ann");
    let ticket = w.admin(notice(None, "hello"));
    for _ in 0..1_000 {
        w.run_for(1);
        assert!(w.store.in_flight() <= 130, "{} at a time", w.store.in_flight());
    }
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Noticed { users: 701 }));
    assert_eq!(w.store.model.pushes().count(), 701);
    let ids: BTreeSet<&str> = w.store.model.pushes().map(|push| push.id()).collect();
    assert_eq!(ids.len(), 1, "one body");
    let said = |event: &LogEvent| matches!(event, LogEvent::NoticeBegins { id } if ids.contains(&**id));
    assert!(w.log_events.iter().any(said), "the log has the id, by which its receivers can be found after a kill");
    assert_eq!(notices(&mut w, ann).len(), 1);
    // The notice to all is done, so the next one may begin.
    assert_eq!(ask(&mut w, notice(Some("ann"), "two")), AdminAnswerFromCore::Noticed { users: 1 });
    let ticket = w.admin(notice(None, "three"));
    assert_eq!(ask(&mut w, notice(None, "four")), AdminAnswerFromCore::InProgress, "one at a time");
    w.run_for(1_000);
    assert!(matches!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Noticed { .. })));
}

#[test]
fn a_notice_to_all_outlives_a_store_that_is_away_for_a_while_and_not_for_ever() {
    let mut w = with_many(300);
    let mut count = 0;
    w.store.plan(move |_| {
        count += 1;
        let fate = if count % 3 == 0 {
            Fate::DoAndLose
        } else if count % 3 == 1 {
            Fate::Fail
        } else {
            Fate::Do
        };
        Plan { takes_ms: 1, answer_after_ms: 0, fate }
    });
    let ticket = w.admin(notice(None, "hello"));
    w.run_for(60_000);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Noticed { users: 301 }));
    assert_eq!(w.store.model.pushes().count(), 301, "once each");
    w.store.fate(Fate::Fail, any);
    let ticket = w.admin(notice(None, "hello"));
    w.run_for(600_000);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::NoticeCut { users: 0 }));
}

#[test]
fn answers_for_a_notice_to_all_that_was_given_up_do_not_count_for_the_next_one() {
    let mut w = with_many(1_000);
    let mut count = 0;
    w.store.plan(move |job| {
        let is_notice = matches!(job, Job::Admin { job, .. } if matches!(**job, AdminStoreJob::Notice { .. }));
        count += u64::from(is_notice);
        let fate = if is_notice { Fate::Fail } else { Fate::Do };
        Plan { takes_ms: 1, answer_after_ms: 400 * (count % 2), fate }
    });
    let ticket = w.admin(notice(None, "one"));
    let mut given_up = None;
    for _ in 0..600_000 {
        given_up = answer(&mut w, ticket);
        if given_up.is_some() {
            break;
        }
        w.run_for(1);
    }
    assert_eq!(given_up, Some(AdminAnswerFromCore::NoticeCut { users: 0 }));
    w.store.fate(Fate::Do, any);
    let ticket = w.admin(notice(None, "two"));
    w.run_for(60_000);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Noticed { users: 1_001 }));
    let pushes: Vec<_> = w.store.model.pushes().collect();
    assert!(pushes.len() == 1_001 && pushes.iter().all(|push| push.content() == "two"));
}

#[test]
fn a_notice_to_all_that_is_given_up_still_reaches_those_in_whose_mailbox_it_is() {
    let mut w = with_many(300);
    let ann = w.online("ann");
    w.store.plan(|job| {
        let to = match job {
            Job::Admin { job, .. } => match &**job {
                AdminStoreJob::Notice { push } => Some(push.receiver.as_str()),
                _ => None,
            },
            _ => None,
        };
        let fate = match to {
            Some("ann") => Fate::DoAndLose,
            Some(_) => Fate::Fail,
            None => Fate::Do,
        };
        Plan { takes_ms: 1, answer_after_ms: 0, fate }
    });
    let ticket = w.admin(notice(None, "hello"));
    w.run_for(600_000);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::NoticeCut { users: 0 }));
    w.store.fate(Fate::Do, any);
    w.run_for(60_000);
    // Ann's notice is in the store, though the answer of its job was lost. She is online and gets
    // it.
    let ids: BTreeSet<String> = notices(&mut w, ann).iter().map(|push| push.id().to_owned()).collect();
    assert_eq!(ids.len(), 1);
}

#[test]
fn a_stop_cuts_a_notice_to_all_off() {
    let mut w = with_many(1_000);
    w.store.takes(50);
    let ticket = w.admin(notice(None, "hello"));
    w.run_for(120);
    w.shut_down();
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Failed));
    w.run_for(1_000);
    assert_eq!(w.stopped, 1);
    assert!(w.store.model.pushes().count() < 1_000);
}

#[test]
fn nobody_speaks_for_the_system_even_if_an_old_account_has_its_name() {
    let mut w = World::of_friends(rules(), &["ann", "bob", "system"]);
    let (ann, system) = (w.online("ann"), w.online("system"));
    w.message(ann, "m1", "system");
    w.message(system, "m2", "ann");
    w.message(ann, "m3", "bob");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["MF m1", "MS m3"]);
    assert_eq!(w.heard(system), ["MF m2"]);
    w.store.model.add_account("eve", "eve");
    let eve = w.online("eve");
    w.friend(eve, FriendVerb::Request, "f1", "system");
    w.friend(system, FriendVerb::Request, "f2", "eve");
    w.say(eve, Say::GetUser { mid: "g".into(), user: "system".into() });
    w.run_for(100);
    assert_eq!(w.heard(eve), ["NO_SUCH_USER f1", "PROFILE g"]);
    assert_eq!(w.heard(system), ["NO_SUCH_USER f2"]);
}
