//! The core reports events: rare ones one by one, and those of messages as counts.

use super::{ann_and_bob, saves};
use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{
    AddressKey, ClientLimitKind, ConnAndAddress, ConnId, CoreSettings, CredentialKind, LogEvent, LogEventJobKind,
    LoginRefusalCause, MailboxQuotaKind, MessageTotals,
};
use hongyan::protocol::field::UserName;
use std::num::NonZeroU32;

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn client(conn: ConnId, from: u32) -> ConnAndAddress {
    ConnAndAddress { conn, address_key: NonZeroU32::new(from).map(AddressKey) }
}

fn log_in(w: &mut World, conn: ConnId, user: &str, password: &str) {
    w.say(conn, Say::Login { mid: "l".into(), user: user.into(), password: password.into() });
    w.run_for(10);
}

/// Takes the log events since the last call.
fn noted(w: &mut World) -> Vec<LogEvent> {
    std::mem::take(&mut w.log_events)
}

fn refused(conn: ConnId, from: u32, name: &str, cause: LoginRefusalCause) -> LogEvent {
    LogEvent::LogInRefused { user: Some(user(name)), client: client(conn, from), cause }
}

#[test]
fn a_log_in_is_noted_with_user_address_and_credential_and_so_is_the_connection_that_it_ends() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let (first, second) = (w.open_from(7), w.open());
    log_in(&mut w, first, "ann", "ann");
    let by = CredentialKind::Password;
    assert_eq!(noted(&mut w), [LogEvent::LoggedIn { user: user("ann"), client: client(first, 7), credential: by }]);
    w.say(first, Say::Token { mid: "t".into(), verb: hongyan::protocol::request::ResumeTokenVerb::New });
    w.run_for(10);
    let token = w.store.model.newest_token("ann").unwrap();
    w.say(second, Say::Resume { mid: "l".into(), user: "ann".into(), token: token.clone() });
    w.run_for(10);
    let replaced = LogEvent::Replaced { user: user("ann"), client: client(first, 7), newer_conn: second };
    let by = CredentialKind::Token;
    assert_eq!(
        noted(&mut w),
        [replaced, LogEvent::LoggedIn { user: user("ann"), client: client(second, 0), credential: by }]
    );
}

#[test]
fn a_refused_log_in_is_noted_with_its_cause() {
    let rules = CoreSettings { wrong_passwords_per_user_and_address_max: 2, ..crate::rules() };
    let mut w = World::of_friends(rules, &["ann"]);
    let conn = w.open_from(7);
    log_in(&mut w, conn, "ann", "wrong");
    log_in(&mut w, conn, "nobody", "wrong");
    log_in(&mut w, conn, "ann", "wrong");
    log_in(&mut w, conn, "ann", "ann");
    w.say(conn, Say::Resume { mid: "l".into(), user: "ann".into(), token: "none".into() });
    w.run_for(10);
    assert_eq!(
        noted(&mut w),
        [
            refused(conn, 7, "ann", LoginRefusalCause::WrongPassword),
            refused(conn, 7, "nobody", LoginRefusalCause::WrongPassword),
            refused(conn, 7, "ann", LoginRefusalCause::WrongPassword),
            refused(conn, 7, "ann", LoginRefusalCause::Limit(ClientLimitKind::PasswordsPerUserAndAddress)),
            refused(conn, 7, "ann", LoginRefusalCause::BadToken),
        ]
    );
}

#[test]
fn each_budget_of_tries_has_a_name() {
    let few = || CoreSettings { refused_tries_max: 100, ..crate::rules() };
    for (rules, limit) in [
        (CoreSettings { wrong_passwords_per_connection_max: 1, ..few() }, ClientLimitKind::PasswordsPerConnection),
        (CoreSettings { wrong_passwords_per_address_max: 1, ..few() }, ClientLimitKind::PasswordsPerAddress),
        (CoreSettings { wrong_passwords_per_user_max: 1, ..few() }, ClientLimitKind::PasswordsPerUser),
        (
            CoreSettings { wrong_passwords_per_user_and_address_max: 1, ..few() },
            ClientLimitKind::PasswordsPerUserAndAddress,
        ),
    ] {
        let mut w = World::of_friends(rules, &["ann"]);
        let conn = w.open_from(7);
        log_in(&mut w, conn, "ann", "wrong");
        noted(&mut w);
        log_in(&mut w, conn, "ann", "wrong");
        assert_eq!(noted(&mut w), [refused(conn, 7, "ann", LoginRefusalCause::Limit(limit))]);
    }
    let mut w = World::of_friends(CoreSettings { wrong_passwords_per_trusted_address_max: 1, ..few() }, &["ann"]);
    let conn = w.open_from(7);
    log_in(&mut w, conn, "ann", "ann");
    log_in(&mut w, conn, "ann", "wrong");
    noted(&mut w);
    log_in(&mut w, conn, "ann", "wrong");
    let cause = LoginRefusalCause::Limit(ClientLimitKind::PasswordsPerTrustedAddress);
    assert_eq!(noted(&mut w), [refused(conn, 7, "ann", cause)]);
}

#[test]
fn a_log_in_that_is_not_done_in_time_is_noted_with_the_user_and_the_failed_job_with_its_kind() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let conn = w.open();
    w.store.hang(|_| true);
    log_in(&mut w, conn, "ann", "ann");
    w.run_for(60_000);
    assert_eq!(noted(&mut w), [refused(conn, 0, "ann", LoginRefusalCause::TimedOut)]);
    w.store.work(w.now_ms);
    w.run_for(10);
    noted(&mut w);
    w.store.plan(|_| Plan { takes_ms: 0, answer_after_ms: 0, fate: Fate::Fail });
    let conn = w.open();
    log_in(&mut w, conn, "ann", "ann");
    let failed = LogEvent::JobFailed { job: LogEventJobKind::LogIn, for_good: false };
    assert_eq!(noted(&mut w), [failed, refused(conn, 0, "ann", LoginRefusalCause::Unavailable)]);
}

#[test]
fn sign_ups_are_noted_and_so_is_why_they_are_refused() {
    let mut w = World::new(CoreSettings { sign_ups_per_address_max: 2, ..crate::rules() });
    let conn = w.open_from(7);
    for name in ["ann", "ann", "bob"] {
        w.say(conn, Say::SignUp { mid: "s".into(), user: name.into(), password: "p".into() });
        w.run_for(10);
    }
    let no = |name: &str, cause| LogEvent::SignUpRefused { user: Some(user(name)), client: client(conn, 7), cause };
    assert_eq!(
        noted(&mut w),
        [
            LogEvent::SignedUp { user: user("ann"), client: client(conn, 7) },
            no("ann", LoginRefusalCause::NameTaken),
            no("bob", LoginRefusalCause::Limit(ClientLimitKind::SignUpsPerAddress)),
        ]
    );
    w.chat.set_rules(CoreSettings { sign_ups: false, ..crate::rules() });
    w.say(conn, Say::SignUp { mid: "s".into(), user: "cat".into(), password: "p".into() });
    assert_eq!(noted(&mut w), [no("cat", LoginRefusalCause::SignUpsClosed)]);
}

#[test]
fn requests_beyond_the_rate_are_noted_with_the_limit() {
    let (mut w, ann, _) = super::ann_and_bob_by(CoreSettings { requests_per_second_max: 2, ..crate::rules() });
    w.run_for(5_000);
    noted(&mut w);
    for _ in 0..3 {
        w.heartbeat(ann);
    }
    let limit = ClientLimitKind::Requests;
    assert_eq!(noted(&mut w), [LogEvent::LimitReached { user: Some(user("ann")), client: client(ann, 0), limit }]);
}

#[test]
fn messages_are_counted_and_those_between_strangers_noted() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.run_for(100);
    w.ack(ann, "m1");
    w.ack(ann, "m1");
    w.message(bob, "m1", "ann");
    w.run_for(15_000);
    noted(&mut w);
    w.message(bob, "m3", "dan");
    assert_eq!(noted(&mut w), [LogEvent::NotFriends { user: user("bob"), client: client(bob, 0) }]);
    let expected = MessageTotals { taken: 2, duplicates: 2, promised: 4, sent: 2, resent: 1, acked: 1, presence: 0 };
    assert_eq!(w.chat.totals(), expected);
}

#[test]
fn a_failed_save_and_a_full_mailbox_are_noted() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    noted(&mut w);
    w.store.plan(|job| {
        let fate = if saves(job) { Fate::Fail } else { Fate::Do };
        Plan { takes_ms: 0, answer_after_ms: 0, fate }
    });
    w.message(bob, "m1", "ann");
    w.run_for(10);
    assert_eq!(noted(&mut w), [LogEvent::JobFailed { job: LogEventJobKind::Save, for_good: false }]);
    w.store.plan(|_| Plan { takes_ms: 0, answer_after_ms: 0, fate: Fate::Do });
    w.store.model.quotas.receiver.rows = 0;
    w.message(bob, "m2", "ann");
    w.run_for(10);
    assert_eq!(
        noted(&mut w),
        [LogEvent::MailboxFull { user: user("ann"), sender: "bob".into(), quota: MailboxQuotaKind::Receiver }]
    );
}

#[test]
fn a_page_behind_the_first_is_noted() {
    let rules = CoreSettings { page_max: 2, list_max: 2, ..crate::rules() };
    let mut w = World::of_friends(rules, &["ann", "bob"]);
    let bob = w.online("bob");
    for id in ["m1", "m2", "m3"] {
        w.message(bob, id, "ann");
    }
    w.run_for(100);
    let ann = w.online("ann");
    noted(&mut w);
    w.ack(ann, "m1");
    w.ack(ann, "m2");
    w.run_for(100);
    assert_eq!(noted(&mut w), [LogEvent::PageRead { user: user("ann"), pushes: 1, more: false }]);
}
