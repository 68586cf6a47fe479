//! Connections that are ended, bans, and new passwords.

use super::{answer, ask, ban, disconnect, set_password, unban};
use crate::sim::lanes::Fate;
use crate::sim::say::Say;
use crate::sim::world::World;
use crate::{ann_and_bob, any};
use hongyan::chat::contract::{AdminAnswerFromCore, ConnId, Job, LogEvent, LoginRefusalCause};
use hongyan::protocol::request::ResumeTokenVerb;

const NOTHING: [&str; 0] = [];

fn log_in_by(world: &mut World, conn: ConnId, user: &str, password: &str) {
    world.say(conn, Say::Login { mid: "l".into(), user: user.into(), password: password.into() });
}

fn verifies(job: &Job) -> bool {
    matches!(job, Job::Verify { .. })
}

fn hashes(job: &Job) -> bool {
    matches!(job, Job::Hash { .. })
}

#[test]
fn a_user_who_is_disconnected_gets_what_they_did_not_ack_at_the_next_log_in() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    assert_eq!(ask(&mut w, disconnect("ann")), AdminAnswerFromCore::Done);
    assert_eq!(w.heard(ann), ["msg bob m1", "UNAVAILABLE", "closed ByOperator"]);
    assert_eq!(w.heard(bob), ["MS m1"]);
    assert_eq!(ask(&mut w, disconnect("ann")), AdminAnswerFromCore::NotOnline);
    assert_eq!(ask(&mut w, disconnect("nobody")), AdminAnswerFromCore::NotOnline);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1"]);
}

#[test]
fn a_ban_ends_session_and_tokens_and_refuses_log_ins() {
    let (mut w, ann, bob) = ann_and_bob();
    w.say(ann, Say::Token { mid: "t".into(), verb: ResumeTokenVerb::New });
    w.run_for(100);
    let token = w.store.model.newest_token("ann").unwrap();
    assert_eq!(ask(&mut w, ban("ann")), AdminAnswerFromCore::Done);
    assert_eq!(w.heard(ann), ["TOKEN t", "FORBIDDEN", "closed ByOperator"]);
    let conn = w.open();
    w.log_in(conn, "ann");
    w.run_for(100);
    w.say(conn, Say::Resume { mid: "r".into(), user: "ann".into(), token: token.clone() });
    w.run_for(100);
    assert_eq!(w.heard(conn), ["LF l", "FORBIDDEN l", "LF r"]);
    let banned = w.log_events.iter().filter(|event| {
        matches!(event, LogEvent::LogInRefused { user: Some(user), cause: LoginRefusalCause::Banned, .. } if user.as_str() == "ann")
    });
    assert_eq!(banned.count(), 1);
    // Messages of friends wait.
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"]);
    assert_eq!(ask(&mut w, unban("ann")), AdminAnswerFromCore::Done);
    w.say(conn, Say::Resume { mid: "r".into(), user: "ann".into(), token });
    w.log_in(conn, "ann");
    w.run_for(100);
    assert_eq!(w.heard(conn), ["LF r", "LS l", "msg bob m1"], "the password is good again, the token is not");
}

#[test]
fn a_wrong_password_of_a_banned_user_is_refused_as_that_of_any_user() {
    let refused = |banned: bool, cached: bool| {
        let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
        w.store.model.cache_passwords = cached;
        w.online("ann");
        if banned {
            ask(&mut w, ban("ann"));
        }
        let (conn, jobs, start_ms) = (w.open(), w.store.submitted.len(), w.now_ms);
        log_in_by(&mut w, conn, "ann", "wrong");
        w.run_for(1_000);
        let heard: Vec<_> = w.frames(conn).iter().map(|(at_ms, frame)| (at_ms - start_ms, frame.line())).collect();
        (heard, w.store.submitted[jobs..].to_vec())
    };
    for cached in [false, true] {
        // The one who is not banned is online, so that their job is another one.
        let ((heard, jobs), (others, other_jobs)) = (refused(true, cached), refused(false, cached));
        assert_eq!(heard, others);
        assert_eq!((jobs[0], other_jobs[0]), ("LogIn", "Prove"));
        assert_eq!(jobs[1..], other_jobs[1..]);
        assert_eq!(heard.last().unwrap().1, "LF l");
    }
}

#[test]
fn a_ban_comes_before_the_log_ins_that_are_on_their_way() {
    for (at, password, expected) in
        [(verifies as fn(&Job) -> bool, "ann", vec!["LF l", "FORBIDDEN l"]), (verifies, "wrong", vec!["LF l"])]
    {
        let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
        w.store.hang(at);
        let conn = w.open();
        log_in_by(&mut w, conn, "ann", password);
        w.run_for(100);
        assert_eq!(ask(&mut w, ban("ann")), AdminAnswerFromCore::Done);
        w.store.work(w.now_ms);
        w.run_for(100);
        assert_eq!(w.heard(conn), expected);
    }
}

#[test]
fn a_user_who_does_not_exist_is_not_banned_and_a_ban_that_failed_is_no_ban() {
    let (mut w, ann, _) = ann_and_bob();
    for request in [ban("eve"), unban("eve"), set_password("eve", "p")] {
        assert_eq!(ask(&mut w, request), AdminAnswerFromCore::NoSuchUser);
    }
    w.store.fate(Fate::Fail, any);
    for request in [ban("ann"), unban("ann"), set_password("ann", "p")] {
        assert_eq!(ask(&mut w, request), AdminAnswerFromCore::Failed);
    }
    w.store.work(w.now_ms);
    w.heartbeat(ann);
    assert_eq!(w.heard(ann), ["BEAT h"]);
}

#[test]
fn a_ban_whose_answer_comes_late_has_its_effect() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.takes(12_000);
    let ticket = w.admin(ban("ann"));
    w.run_for(10_000);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Failed));
    w.run_for(2_000);
    assert_eq!(answer(&mut w, ticket), None);
    assert_eq!(w.heard(ann), ["FORBIDDEN", "closed ByOperator"]);
}

#[test]
fn a_new_password_ends_the_session_and_the_old_one_is_good_no_more() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.model.cache_passwords = true;
    let again = w.online("ann");
    assert_eq!(w.heard(ann), ["REPLACED", "closed Replaced"]);
    w.say(again, Say::Token { mid: "t".into(), verb: ResumeTokenVerb::New });
    w.run_for(100);
    let token = w.store.model.newest_token("ann").unwrap();
    assert_eq!(ask(&mut w, set_password("ann", "new")), AdminAnswerFromCore::Done);
    assert_eq!(w.heard(again), ["TOKEN t", "FORBIDDEN", "closed ByOperator"]);
    let conn = w.open();
    log_in_by(&mut w, conn, "ann", "ann");
    w.run_for(100);
    w.say(conn, Say::Resume { mid: "r".into(), user: "ann".into(), token });
    w.run_for(100);
    log_in_by(&mut w, conn, "ann", "new");
    w.run_for(100);
    assert_eq!(w.heard(conn), ["LF l", "LF r", "LS l"]);
}

#[test]
fn a_log_in_with_the_old_password_that_is_on_its_way_is_refused() {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    w.store.hang(verifies);
    let conn = w.open();
    w.log_in(conn, "ann");
    w.run_for(100);
    assert_eq!(ask(&mut w, set_password("ann", "new")), AdminAnswerFromCore::Done);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(conn), ["LF l"]);
    log_in_by(&mut w, conn, "ann", "new");
    w.run_for(100);
    assert_eq!(w.heard(conn), ["LS l"]);
}

#[test]
fn a_new_password_is_hashed_before_those_of_clients_and_takes_a_place_of_theirs() {
    let (mut w, ..) = ann_and_bob();
    w.store.hang(|job| verifies(job) || hashes(job));
    let conns: Vec<ConnId> = (0..6).map(|_| w.open()).collect();
    for &conn in &conns {
        log_in_by(&mut w, conn, "cid", "cid");
    }
    w.run_for(100);
    assert_eq!(w.store.count("Verify"), 2 + 2, "two at a time, and those of Ann and Bob before");
    let ticket = w.admin(set_password("ann", "new"));
    assert_eq!(w.store.count("Hash"), 0, "no place is free");
    w.store.work(w.now_ms);
    w.run_for(1);
    assert_eq!(w.store.count("Hash"), 1);
    w.run_for(100);
    assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Done));
    assert!(conns.iter().any(|&conn| w.heard(conn).contains(&"LS l".to_owned())));
}

#[test]
fn an_admin_request_during_a_stop_fails() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.hang(any);
    let banned = w.admin(ban("ann"));
    let reset = w.admin(set_password("bob", "new"));
    w.shut_down();
    let late = w.admin(ban("cid"));
    assert_eq!(answer(&mut w, late), Some(AdminAnswerFromCore::Failed));
    assert_eq!(answer(&mut w, banned), None, "it is being done");
    w.run_for(8_000);
    assert_eq!(w.stopped, 1);
    for ticket in [banned, reset] {
        assert_eq!(answer(&mut w, ticket), Some(AdminAnswerFromCore::Failed));
    }
    assert_eq!(w.heard(ann), ["SHUTTING_DOWN", "closed ShuttingDown"]);
    assert_eq!(w.answers.len(), 0);
    let _ = NOTHING;
}
