//! Resume tokens: the cheap way back.

use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreSettings, Job};
use hongyan::protocol::request::ResumeTokenVerb;

fn ask(w: &mut World, conn: ConnId, verb: ResumeTokenVerb) -> Vec<String> {
    w.say(conn, Say::Token { mid: "t".into(), verb });
    w.run_for(10);
    w.heard(conn)
}

fn new_token(w: &mut World, conn: ConnId, user: &str) -> String {
    assert_eq!(ask(w, conn, ResumeTokenVerb::New), ["TOKEN t"]);
    w.store.model.newest_token(user).unwrap()
}

fn resume(w: &mut World, user: &str, token: &str) -> Vec<String> {
    let conn = w.open();
    w.say(conn, Say::Resume { mid: "l".into(), user: user.into(), token: token.into() });
    w.run_for(10);
    w.heard(conn)
}

const NO: [&str; 1] = ["LF l"];

#[test]
fn a_token_lets_its_user_in_without_a_hash_also_after_a_restart() {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    let ann = w.online("ann");
    let token = new_token(&mut w, ann, "ann");
    let bob = w.online("bob");
    w.hang_up(ann);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    let hashes = w.store.count("Verify");
    assert_eq!(resume(&mut w, "ann", &token), ["LS l", "msg bob m1"]);
    w.crash();
    assert_eq!(resume(&mut w, "ann", &token), ["LS l", "msg bob m1"], "and again, and after a restart");
    assert_eq!(w.store.count("Verify"), hashes);
    assert_eq!(resume(&mut w, "bob", &token), NO, "it is nobody else's");
    assert_eq!(resume(&mut w, "nobody", &token), NO);
    assert_eq!(resume(&mut w, "ann", "guess"), NO);
}

#[test]
fn a_token_expires_and_can_be_revoked_and_only_so_many_are_kept() {
    let rules = CoreSettings { tokens_max: 2, token_lifetime_ms: 60_000, ..crate::rules() };
    let mut w = World::of_friends(rules, &["ann"]);
    let ann = w.online("ann");
    let tokens: Vec<_> = (0..3).map(|_| new_token(&mut w, ann, "ann")).collect();
    assert_eq!(resume(&mut w, "ann", &tokens[0]), NO, "the oldest made room");
    assert_eq!(resume(&mut w, "ann", &tokens[1]), ["LS l"]);
    w.run_for(60_000);
    assert_eq!(resume(&mut w, "ann", &tokens[2]), NO);
    let ann = w.online("ann");
    let token = new_token(&mut w, ann, "ann");
    assert_eq!(ask(&mut w, ann, ResumeTokenVerb::Revoke), ["REVOKED t"]);
    assert_eq!(resume(&mut w, "ann", &token), NO);
    assert!(w.is_open(ann), "a user who is logged in stays so");
}

#[test]
fn tokens_are_for_logged_in_users_and_asking_is_not_speaking() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let conn = w.open();
    assert_eq!(ask(&mut w, conn, ResumeTokenVerb::New), ["NOT_LOGGED_IN t"]);
    let ann = w.online("ann");
    w.run_for(100_000);
    assert_eq!(ask(&mut w, ann, ResumeTokenVerb::New), ["TOKEN t"]);
    w.run_for(25_000);
    assert!(!w.is_open(ann));
}

#[test]
fn without_the_store_there_is_no_token_and_no_way_back() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let ann = w.online("ann");
    let token = new_token(&mut w, ann, "ann");
    w.store.plan(|_: &Job| Plan { takes_ms: 1, answer_after_ms: 0, fate: Fate::Fail });
    assert_eq!(ask(&mut w, ann, ResumeTokenVerb::New), ["UNAVAILABLE t"]);
    assert_eq!(ask(&mut w, ann, ResumeTokenVerb::Revoke), ["UNAVAILABLE t"]);
    assert_eq!(resume(&mut w, "ann", &token), ["LF l", "UNAVAILABLE l"]);
}

#[test]
fn stale_tokens_shut_out_nobody_but_the_connection_that_goes_on_with_them() {
    let rules =
        CoreSettings { wrong_passwords_per_connection_max: 3, wrong_passwords_per_user_max: 1, ..crate::rules() };
    let mut w = World::of_friends(rules, &["ann"]);
    let conn = w.open_from(1);
    for _ in 0..3 {
        w.say(conn, Say::Resume { mid: "l".into(), user: "ann".into(), token: "old".into() });
        w.run_for(10);
        assert_eq!(w.heard(conn), NO);
    }
    w.say(conn, Say::Resume { mid: "l".into(), user: "ann".into(), token: "old".into() });
    assert_eq!(w.heard(conn), ["LF l", "RATE_LIMITED l"]);
    let ann = w.online("ann");
    assert!(w.is_open(ann));
}

const TEN_YEARS_MS: i64 = 10 * 365 * 24 * 3_600_000;

fn is_let_in(w: &mut World, user: &str, token: &str) -> bool {
    resume(w, user, token)[0] == "LS l"
}

#[test]
fn a_clock_that_was_ahead_leaves_no_token_for_years_and_takes_none_away() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let ann = w.online("ann");
    let good: Vec<_> = (0..8).map(|_| new_token(&mut w, ann, "ann")).collect();
    w.wall_ahead_ms = TEN_YEARS_MS;
    let bad: Vec<_> = (0..20).map(|_| new_token(&mut w, ann, "ann")).collect();
    assert!(is_let_in(&mut w, "ann", &bad[19]), "as long as the clock stays wrong");
    w.wall_ahead_ms = 0;
    assert!(good.iter().all(|token| is_let_in(&mut w, "ann", token)));
    assert!(!bad.iter().any(|token| is_let_in(&mut w, "ann", token)));
    let ann = w.online("ann");
    let next = new_token(&mut w, ann, "ann");
    assert!(good[1..].iter().chain([&next]).all(|token| is_let_in(&mut w, "ann", token)));
}

#[test]
fn a_clock_that_was_behind_takes_no_token_away() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let ann = w.online("ann");
    let good: Vec<_> = (0..8).map(|_| new_token(&mut w, ann, "ann")).collect();
    w.wall_ahead_ms = -TEN_YEARS_MS;
    let meanwhile: Vec<_> = (0..20).map(|_| new_token(&mut w, ann, "ann")).collect();
    assert!(is_let_in(&mut w, "ann", &meanwhile[19]));
    w.wall_ahead_ms = 0;
    assert!(good.iter().all(|token| is_let_in(&mut w, "ann", token)));
    assert!(!is_let_in(&mut w, "ann", &meanwhile[19]));
}

#[test]
fn a_clock_that_was_wrong_by_a_time_zone_makes_no_difference() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let ann = w.online("ann");
    w.wall_ahead_ms = 14 * 3_600_000;
    let token = new_token(&mut w, ann, "ann");
    w.wall_ahead_ms = 0;
    assert!(is_let_in(&mut w, "ann", &token));
}
