//! Requests of users about their own accounts: roster, profile, password, blocked users, deletion.

use super::blocks::block;
use crate::sim::lanes::Fate;
use crate::sim::say::{Frame, Say};
use crate::sim::world::World;
use crate::{ann_and_bob, any, rules};
use hongyan::chat::contract::{
    AdminRequestToCore, ConnId, CoreSettings, EmailVisibility, Job, LogEvent, LoginRefusalCause, ProfileChange,
};
use hongyan::protocol::account::RosterReplyWithPresence;
use hongyan::protocol::field::{Secret, UserName};
use hongyan::protocol::reply::Reply;
use hongyan::protocol::request::FriendVerb;

pub(super) fn accounts(job: &Job) -> bool {
    matches!(job, Job::Account { .. })
}

pub(super) fn roster_after(w: &mut World, conn: ConnId, after: Option<&str>) -> RosterReplyWithPresence {
    w.say(conn, Say::Roster { mid: "r".into(), after: after.map(Into::into), watch: false });
    w.run_for(100);
    let found = w.frames(conn).into_iter().find_map(|(_, frame)| match frame {
        Frame::Reply { reply: Reply::Roster(roster), .. } => Some(*roster),
        _ => None,
    });
    found.expect("a roster")
}

fn names(shown: &RosterReplyWithPresence) -> Vec<String> {
    let marked = |online: &bool| if *online { "+" } else { "-" };
    let friends = shown.roster.friends.iter().zip(&shown.online);
    friends.map(|(friend, online)| format!("{}{}", friend.user_name, marked(online))).collect()
}

fn change_password(w: &mut World, conn: ConnId, old: &str, new: &str) -> Vec<String> {
    w.say(conn, Say::Password { mid: "p".into(), old: old.into(), new: new.into() });
    w.run_for(100);
    w.heard(conn)
}

fn delete(w: &mut World, conn: ConnId, password: &str) -> Vec<String> {
    w.say(conn, Say::DeleteAccount { mid: "d".into(), password: password.into() });
    w.run_for(100);
    w.heard(conn)
}

fn log_in(w: &mut World, user: &str, password: &str) -> (ConnId, Vec<String>) {
    let conn = w.open();
    w.say(conn, Say::Login { mid: "l".into(), user: user.into(), password: password.into() });
    w.run_for(100);
    (conn, w.heard(conn))
}

#[test]
fn the_roster_shows_friends_in_pages_and_requests_with_the_first_of_them() {
    let mut w = World::of_friends(rules(), &["ann", "bob"]);
    for n in 0..150 {
        let name = format!("f{n:03}");
        w.store.model.add_account(&name, &name);
        w.store.model.befriend("ann", &name);
    }
    for name in ["eve", "zoe"] {
        w.store.model.add_account(name, name);
    }
    let (ann, eve) = (w.online("ann"), w.online("eve"));
    w.online("bob");
    w.friend_saying(eve, FriendVerb::Request, "f1", "ann", "It's me");
    w.friend_saying(ann, FriendVerb::Request, "f2", "zoe", "It's Ann");
    w.run_for(100);
    let first = roster_after(&mut w, ann, None);
    assert_eq!(first.roster.friends.len(), 100);
    assert_eq!(names(&first)[..2], ["bob+", "f000-"]);
    assert!(first.roster.has_more);
    let [incoming, outgoing] = [&first.roster.incoming[..], &first.roster.outgoing[..]];
    let shown = |entries: &[hongyan::chat::contract::RosterReplyFriendRequest]| {
        entries.iter().map(|entry| format!("{} {} {}", entry.user_name, entry.message_id, entry.content)).collect()
    };
    let shown: [Vec<String>; 2] = [shown(incoming), shown(outgoing)];
    assert_eq!(shown, [["eve f1 It's me"], ["zoe f2 It's Ann"]]);
    let second = roster_after(&mut w, ann, Some("f098"));
    assert_eq!((second.roster.friends.len(), second.roster.has_more), (51, false));
    assert!(second.roster.incoming.is_empty() && second.roster.outgoing.is_empty());
    let none = roster_after(&mut w, ann, Some("zzz"));
    assert!(none.roster.friends.is_empty() && !none.roster.has_more);
}

#[test]
fn the_roster_is_for_logged_in_users_and_asking_is_not_speaking() {
    let mut w = World::of_friends(rules(), &["ann"]);
    let conn = w.open();
    for say in [
        Say::Roster { mid: "x".into(), after: None, watch: true },
        Say::Profile { mid: "x".into(), change: ProfileChange::default() },
        Say::Password { mid: "x".into(), old: "a".into(), new: "b".into() },
        Say::Block { mid: "x".into(), other: None },
        Say::DeleteAccount { mid: "x".into(), password: "ann".into() },
    ] {
        w.say(conn, say);
        assert_eq!(w.heard(conn), ["NOT_LOGGED_IN x"]);
    }
    let ann = w.online("ann");
    w.run_for(100_000);
    roster_after(&mut w, ann, None);
    w.run_for(25_000);
    assert!(!w.is_open(ann));
}

#[test]
fn one_user_has_only_so_many_rosters_in_flight() {
    let mut w = World::of_friends(rules(), &["ann", "bob"]);
    let ann = w.online("ann");
    w.store.hang(accounts);
    for _ in 0..100 {
        w.say(ann, Say::Roster { mid: "r".into(), after: None, watch: false });
    }
    assert_eq!(w.store.count("Account"), 4);
    w.store.work(w.now_ms);
    w.run_for(1_000);
    assert_eq!(w.heard(ann).len(), 100);
}

#[test]
fn a_profile_is_changed_where_it_is_said_and_everybody_sees_it() {
    let (mut w, ann, bob) = ann_and_bob();
    for (nick, location) in [(Some("Ann"), None), (None, Some("longyan"))] {
        let change = ProfileChange {
            nick_name: nick.map(Into::into),
            location: location.map(Into::into),
            ..ProfileChange::default()
        };
        w.say(ann, Say::Profile { mid: "p".into(), change });
        w.run_for(100);
        assert_eq!(w.heard(ann), ["CHANGED p"]);
    }
    w.say(bob, Say::GetUser { mid: "g".into(), user: "ann".into() });
    w.run_for(100);
    let profile = w.frames(bob).into_iter().find_map(|(_, frame)| match frame {
        Frame::Reply { reply: Reply::Profile(profile), .. } => Some(profile),
        _ => None,
    });
    let profile = profile.unwrap();
    assert_eq!((&*profile.nick_name, &*profile.location), ("Ann", "longyan"));
    assert_eq!(&*roster_after(&mut w, bob, None).roster.friends[0].nick_name, "Ann");
    w.store.fate(Fate::Refuse, accounts);
    w.say(ann, Say::Profile { mid: "p".into(), change: ProfileChange::default() });
    w.run_for(100);
    assert_eq!(w.heard(ann), ["BAD_FIELD p"]);
}

#[test]
fn the_visibility_rule_decides_which_users_see_an_address() {
    for (shown_to, friend_sees, other_sees) in [
        (EmailVisibility::Everyone, true, true),
        (EmailVisibility::Friends, true, false),
        (EmailVisibility::Nobody, false, false),
    ] {
        let mut w = World::of_friends(CoreSettings { profile_email: shown_to, ..rules() }, &["ann", "bob"]);
        w.store.model.add_account("eve", "eve");
        let (ann, bob, eve) = (w.online("ann"), w.online("bob"), w.online("eve"));
        let change = ProfileChange { email_address: Some("a@example.com".into()), ..ProfileChange::default() };
        w.say(ann, Say::Profile { mid: "p".into(), change });
        w.run_for(100);
        for (conn, sees) in [(ann, true), (bob, friend_sees), (eve, other_sees)] {
            w.frames(conn);
            w.say(conn, Say::GetUser { mid: "g".into(), user: "ann".into() });
            w.run_for(100);
            let frames = w.frames(conn);
            let Some((_, Frame::Reply { reply: Reply::Profile(profile), .. })) = frames.first() else {
                panic!("{frames:?}");
            };
            assert_eq!(&*profile.email_address, if sees { "a@example.com" } else { "" }, "{shown_to:?}");
        }
    }
}

#[test]
fn a_new_password_ends_tokens_and_the_old_one() {
    for is_cached in [true, false] {
        let (mut w, ann, bob) = ann_and_bob();
        w.store.model.cache_passwords = is_cached;
        if is_cached {
            w.store.model.note_verified("ann");
        }
        w.say(ann, Say::Token { mid: "t".into(), verb: hongyan::protocol::request::ResumeTokenVerb::New });
        w.run_for(100);
        w.message(ann, "m1", "bob");
        w.run_for(100);
        w.heard(ann);
        let token = w.store.model.newest_token("ann").unwrap();
        assert_eq!(change_password(&mut w, ann, "ann", "new"), ["CHANGED p"]);
        assert_eq!(w.store.model.password_of("ann").as_deref(), Some("new"));
        assert!(w.store.model.newest_token("ann").is_none());
        let conn = w.open();
        w.say(conn, Say::Resume { mid: "l".into(), user: "ann".into(), token });
        w.run_for(100);
        assert_eq!(w.heard(conn), ["LF l"]);
        assert_eq!(log_in(&mut w, "ann", "ann").1, ["LF l"]);
        // The connection and the dedup window stay.
        assert!(w.is_open(ann));
        w.ack(bob, "m1");
        w.message(ann, "m1", "bob");
        w.run_for(100);
        assert_eq!(w.heard(ann), ["MS m1"]);
        assert_eq!(w.heard(bob), ["msg ann m1"]);
        assert_eq!(log_in(&mut w, "ann", "new").1, ["LS l"]);
    }
}

#[test]
fn a_wrong_old_password_is_forbidden_and_counts_like_one_of_a_log_in() {
    let mut w = World::of_friends(CoreSettings { wrong_passwords_per_user_and_address_max: 3, ..rules() }, &["ann"]);
    let ann = w.open_from(7);
    w.say(ann, Say::Login { mid: "l".into(), user: "ann".into(), password: "ann".into() });
    w.run_for(100);
    w.heard(ann);
    // The address is trusted since the log-in: it has a budget of its own.
    let max = w.chat.rules().wrong_passwords_per_trusted_address_max;
    for _ in 0..max {
        assert_eq!(change_password(&mut w, ann, "wrong", "new"), ["FORBIDDEN p"]);
    }
    let wrong =
        |note: &&LogEvent| matches!(note, LogEvent::ProofRefused { cause: LoginRefusalCause::WrongPassword, .. });
    assert_eq!(w.log_events.iter().filter(wrong).count(), max as usize);
    assert_eq!(change_password(&mut w, ann, "ann", "new"), ["RATE_LIMITED p"], "nothing is compared any more");
    assert_eq!(delete(&mut w, ann, "ann"), ["RATE_LIMITED d"], "they have one budget");
    let other = w.open_from(7);
    w.say(other, Say::Login { mid: "l".into(), user: "ann".into(), password: "ann".into() });
    w.run_for(100);
    assert_eq!(w.heard(other), ["LF l", "RATE_LIMITED l"], "and so has a log-in");
    assert_eq!(w.store.model.password_of("ann").as_deref(), Some("ann"));
}

#[test]
fn a_client_that_goes_on_beyond_the_budget_is_closed() {
    let rules = CoreSettings { wrong_passwords_per_connection_max: 2, refused_tries_max: 3, ..rules() };
    let mut w = World::of_friends(rules, &["ann"]);
    let ann = w.online("ann");
    for _ in 0..2 {
        assert_eq!(delete(&mut w, ann, "wrong"), ["FORBIDDEN d"]);
    }
    assert_eq!(delete(&mut w, ann, "ann"), ["RATE_LIMITED d"]);
    assert_eq!(change_password(&mut w, ann, "ann", "new"), ["RATE_LIMITED p"]);
    assert_eq!(delete(&mut w, ann, "ann"), ["RATE_LIMITED d", "closed TooManyTries"]);
    assert!(w.store.model.has_account("ann"));
}

#[test]
fn input_waits_behind_a_change_of_the_password_and_two_are_done_one_after_the_other() {
    let (mut w, ann, _) = ann_and_bob();
    w.say(ann, Say::Password { mid: "p1".into(), old: "ann".into(), new: "b".into() });
    w.say(ann, Say::Password { mid: "p2".into(), old: "ann".into(), new: "c".into() });
    w.heartbeat(ann);
    assert!(w.is_paused(ann));
    w.run_for(100);
    assert_eq!(w.heard(ann), ["CHANGED p1", "FORBIDDEN p2", "BEAT h"]);
    assert_eq!(w.store.model.password_of("ann").as_deref(), Some("b"));
}

#[test]
fn a_log_in_by_the_old_password_that_was_on_its_way_is_refused() {
    let (mut w, ann, _) = ann_and_bob();
    w.hang_up(ann);
    w.run_for(100);
    let ann = w.online("ann");
    // Its credential is good, and its page is not read yet.
    w.store.hang(|job| matches!(job, Job::Verify { .. }));
    let late = w.open();
    w.say(late, Say::Login { mid: "l".into(), user: "ann".into(), password: "ann".into() });
    w.run_for(10);
    w.store.hang(|_| false);
    assert_eq!(change_password(&mut w, ann, "ann", "new"), ["CHANGED p"]);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(late), ["LF l"]);
    assert!(w.is_open(ann));
}

#[test]
fn a_connection_that_took_over_with_the_old_password_is_ended() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.hang(accounts);
    w.say(ann, Say::Password { mid: "p".into(), old: "ann".into(), new: "new".into() });
    w.run_for(100);
    // The job is on its way.
    let lanes_free = w.open();
    w.store.unhang(w.now_ms);
    w.store.takes(50);
    w.say(lanes_free, Say::Login { mid: "l".into(), user: "ann".into(), password: "ann".into() });
    w.run_for(2_000);
    let heard = w.heard(lanes_free);
    assert!(heard == ["LF l"] || heard == ["LS l", "REPLACED", "closed Replaced"], "{heard:?}");
    assert_eq!(w.store.model.password_of("ann").as_deref(), Some("new"));
}

#[test]
fn the_operators_new_password_is_not_undone_by_the_users() {
    for is_cached in [true, false] {
        let (mut w, ann, _) = ann_and_bob();
        if is_cached {
            w.store.model.note_verified("ann");
        }
        w.store.takes(20);
        w.say(ann, Say::Password { mid: "p".into(), old: "ann".into(), new: "mine".into() });
        w.run_for(30);
        let name = UserName::new("ann").unwrap();
        w.admin(AdminRequestToCore::SetPassword { name, secret: Secret::new("operator's") });
        w.run_for(2_000);
        assert_eq!(w.store.model.password_of("ann").as_deref(), Some("operator's"), "cached: {is_cached}");
        assert!(!w.is_open(ann));
    }
}

#[test]
fn a_change_with_an_unknown_outcome_is_not_promised() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, accounts);
    assert_eq!(change_password(&mut w, ann, "ann", "new"), ["UNAVAILABLE p"]);
    w.store.fate(Fate::Do, any);
    assert_eq!(change_password(&mut w, ann, "new", "newer"), ["CHANGED p"]);
    w.store.hang(any);
    w.say(ann, Say::Password { mid: "p".into(), old: "newer".into(), new: "x".into() });
    w.run_for(10_000);
    assert_eq!(w.heard(ann), ["UNAVAILABLE p"]);
    assert!(!w.is_paused(ann));
}

#[test]
fn a_deleted_account_leaves_nothing_but_its_name_and_its_promised_messages() {
    let (mut w, ann, bob) = ann_and_bob();
    let cid = w.online("cid");
    w.message(ann, "m1", "bob");
    w.message(bob, "m2", "ann");
    w.run_for(100);
    assert_eq!(block(&mut w, ann, "cid", true).last().map(String::as_str), Some("cid"));
    w.heard(ann);
    assert_eq!(delete(&mut w, ann, "wrong"), ["FORBIDDEN d"]);
    assert_eq!(delete(&mut w, ann, "ann"), ["DELETED d", "closed AccountDeleted"]);
    w.run_for(1_000);
    assert!(!w.store.model.is_anything_left("ann"));
    w.run_for(15_000);
    let heard = w.heard(bob);
    assert!(heard.contains(&"msg ann m1".to_owned()), "{heard:?}");
    w.message(bob, "m3", "ann");
    w.say(cid, Say::SignUp { mid: "s".into(), user: "ann".into(), password: "p".into() });
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MF m3"]);
    assert_eq!(w.heard(cid), ["SF s"]);
    assert_eq!(log_in(&mut w, "ann", "ann").1, ["LF l"]);
    let deleted = |note: &&LogEvent| matches!(note, LogEvent::AccountDeleted { client: Some(_), .. });
    assert_eq!(w.log_events.iter().filter(deleted).count(), 1);
}

#[test]
fn a_deletion_is_promised_when_it_has_begun_in_the_store_and_goes_on_after_a_crash() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.takes(20);
    w.say(ann, Say::DeleteAccount { mid: "d".into(), password: "ann".into() });
    while w.heard(ann).is_empty() {
        assert!(w.store.model.has_account("ann") || w.store.model.is_deleting("ann"));
        w.run_for(1);
    }
    assert!(w.store.model.is_deleting("ann"), "more is left than was promised to go");
    w.crash();
    // The shell asks for what has begun.
    w.admin(AdminRequestToCore::Delete { name: UserName::new("ann").unwrap() });
    w.run_for(5_000);
    assert!(!w.store.model.is_anything_left("ann"));
}

#[test]
fn a_deletion_that_the_store_has_begun_and_could_not_say_so_comes_to_its_end() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, |job| matches!(job, Job::Admin { .. }));
    w.say(ann, Say::DeleteAccount { mid: "d".into(), password: "ann".into() });
    w.run_for(10_000);
    assert_eq!(w.heard(ann), ["UNAVAILABLE d"], "not promised");
    w.store.work(w.now_ms);
    w.run_for(5_000);
    assert_eq!(w.heard(ann), ["FORBIDDEN", "closed ByOperator"]);
    assert!(!w.store.model.is_anything_left("ann"));
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(bob), ["MF m1"]);
}

#[test]
fn everything_is_unavailable_without_the_store_and_the_server_stops_all_the_same() {
    let (mut w, ann, _) = ann_and_bob();
    w.store.fate(Fate::Fail, any);
    assert_eq!(change_password(&mut w, ann, "ann", "new"), ["UNAVAILABLE p"]);
    w.say(ann, Say::Roster { mid: "r".into(), after: None, watch: true });
    w.say(ann, Say::Block { mid: "b".into(), other: None });
    w.say(ann, Say::Profile { mid: "q".into(), change: ProfileChange::default() });
    w.run_for(100);
    assert_eq!(w.heard(ann), ["UNAVAILABLE r", "UNAVAILABLE b", "UNAVAILABLE q"]);
    w.store.hang(any);
    w.say(ann, Say::Password { mid: "p".into(), old: "ann".into(), new: "new".into() });
    w.run_for(100);
    w.shut_down();
    w.run_for(20_000);
    assert_eq!(w.heard(ann), ["SHUTTING_DOWN p", "SHUTTING_DOWN", "closed ShuttingDown"]);
    assert_eq!(w.stopped, 1);
}
