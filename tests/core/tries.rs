//! The right to try a password: the budgets of connections, addresses and users, and users who get
//! in under every attack by others.

use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreCloseCause, CoreSettings, Job};
use hongyan::protocol::request::ResumeTokenVerb;

const LIMITED: [&str; 2] = ["LF l", "RATE_LIMITED l"];
/// The time of a hash at the default cost.
const HASH_MS: u64 = 25;

fn slow_hashes(w: &mut World) {
    w.store.plan(|job| {
        let takes_ms = if matches!(job, Job::Verify { .. } | Job::Hash { .. }) { HASH_MS } else { 0 };
        Plan { takes_ms, answer_after_ms: 0, fate: Fate::Do }
    });
}

fn log_in(w: &mut World, conn: ConnId, user: &str, password: &str) {
    w.say(conn, Say::Login { mid: "l".into(), user: user.into(), password: password.into() });
}

/// The answer to a log-in from there, on a connection of its own, which stays open.
fn try_from(w: &mut World, address_key: u32, user: &str, password: &str) -> Vec<String> {
    let conn = w.open_from(address_key);
    log_in(w, conn, user, password);
    w.run_for(2 * HASH_MS + 10);
    w.heard(conn)
}

fn token_of(w: &mut World, conn: ConnId, user: &str) -> String {
    w.say(conn, Say::Token { mid: "t".into(), verb: ResumeTokenVerb::New });
    w.run_for(10);
    w.heard(conn);
    w.store.model.newest_token(user).unwrap()
}

fn resume_from(w: &mut World, address_key: u32, user: &str, token: &str) -> Vec<String> {
    let conn = w.open_from(address_key);
    w.say(conn, Say::Resume { mid: "l".into(), user: user.into(), token: token.into() });
    w.run_for(10);
    w.heard(conn)
}

#[test]
fn when_a_budget_is_used_up_nothing_is_compared_whatever_is_cached() {
    for (wrong_user, refused_max) in [("ann", 10), ("nobody", 10)] {
        let mut w = World::of_friends(crate::rules(), &["ann"]);
        w.store.model.cache_passwords = true;
        let owner = w.open_from(1);
        log_in(&mut w, owner, "ann", "ann");
        w.run_for(10);
        assert_eq!(w.heard(owner), ["LS l"]);
        let token = token_of(&mut w, owner, "ann");
        let guesser = w.open_from(2);
        for _ in 0..10 {
            log_in(&mut w, guesser, wrong_user, "wrong");
            w.run_for(10);
            assert_eq!(w.heard(guesser), ["LF l"]);
        }
        let jobs = w.store.submitted.len();
        for n in 1..=refused_max {
            log_in(&mut w, guesser, wrong_user, "ann");
            w.run_for(10);
            let heard = w.heard(guesser);
            assert_eq!(heard[..2], LIMITED, "the right one, too");
            assert_eq!(heard.get(2).is_some(), n == refused_max, "a client that goes on is closed: {heard:?}");
        }
        assert!(!w.is_open(guesser));
        assert_eq!(w.store.submitted.len(), jobs, "and nothing of it reached the store");
        assert_eq!(try_from(&mut w, 2, wrong_user, "ann"), LIMITED, "on another connection from there neither");
        assert_eq!(resume_from(&mut w, 2, "ann", &token), ["LS l"], "a token gets in from there");
        assert_eq!(try_from(&mut w, 1, "ann", "ann"), ["LS l"], "and the owner from her address");
    }
}

#[test]
fn a_connection_that_goes_on_is_closed_and_a_log_in_starts_the_count_again() {
    let rules = CoreSettings { wrong_passwords_per_connection_max: 2, refused_tries_max: 3, ..crate::rules() };
    let mut w = World::of_friends(rules, &["ann"]);
    let ann = w.online("ann");
    let token = token_of(&mut w, ann, "ann");
    let conn = w.open();
    for _ in 0..2 {
        log_in(&mut w, conn, "bob", "wrong");
        w.run_for(10);
    }
    w.heard(conn);
    for _ in 0..2 {
        log_in(&mut w, conn, "ann", "ann");
        assert_eq!(w.heard(conn), LIMITED);
    }
    w.say(conn, Say::Resume { mid: "l".into(), user: "ann".into(), token });
    w.run_for(10);
    assert_eq!(w.heard(conn), ["LS l"], "wrong passwords do not lock out a token");
    for _ in 0..2 {
        log_in(&mut w, conn, "ann", "ann");
        assert_eq!(w.heard(conn), LIMITED);
    }
    log_in(&mut w, conn, "ann", "ann");
    assert_eq!(w.closed(conn).map(|(_, cause)| cause), Some(CoreCloseCause::TooManyTries));
}

#[test]
fn many_connections_at_once_do_not_overrun_a_budget() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    slow_hashes(&mut w);
    let conns: Vec<_> = (0..100).map(|_| w.open_from(1)).collect();
    for &conn in &conns {
        log_in(&mut w, conn, "ann", "wrong");
    }
    w.run_for(5_000);
    assert_eq!(w.store.count("Verify"), 10);
    let heard: Vec<_> = conns.iter().map(|conn| w.heard(*conn).len()).collect();
    assert_eq!(heard.iter().filter(|len| **len == 2).count(), 90);
}

/// Hashes take for ever and the queue is full: every try that must be hashed is turned away.
fn fill_auth_queue(w: &mut World) {
    w.store.plan(|job| {
        let takes_ms = if matches!(job, Job::Verify { .. } | Job::Hash { .. }) { 1_000_000 } else { 0 };
        Plan { takes_ms, answer_after_ms: 0, fate: Fate::Do }
    });
    for n in 0..8 {
        for _ in 0..2 {
            let filler = w.open_from(100 + n);
            log_in(w, filler, &format!("nobody {n}"), "x");
        }
        // A suspect one: it was wrong before.
        let filler = w.open_from(200);
        log_in(w, filler, &format!("nobody else {n}"), "x");
    }
    w.run_for(10);
}

const CROWDED: [&str; 2] = ["LF l", "UNAVAILABLE l"];

#[test]
fn guesses_without_a_place_to_be_hashed_look_alike_for_every_name_and_are_counted() {
    let rules = CoreSettings { auth_jobs_max: 4, auth_running_max: 1, ..crate::rules() };
    let mut w = World::of_friends(rules, &["ann", "bob"]);
    w.store.model.cache_passwords = true;
    let owner = w.open_from(8);
    log_in(&mut w, owner, "ann", "ann");
    w.run_for(10);
    assert_eq!(w.heard(owner), ["LS l"], "from now on her password is remembered");
    fill_auth_queue(&mut w);
    for guess in 0..40 {
        for (name, address_key) in [("ann", 7), ("bob", 6), ("nobody", 5)] {
            assert_eq!(try_from(&mut w, address_key, name, &format!("guess {guess}")), CROWDED, "{name}, {guess}");
        }
    }
    assert_eq!(try_from(&mut w, 7, "ann", "ann"), CROWDED, "after ten guesses nothing is compared there");
    assert_eq!(try_from(&mut w, 8, "ann", "ann"), ["LS l"], "the guesses do not matter to the owner");
    assert_eq!(try_from(&mut w, 4, "ann", "ann"), ["LS l"], "nor to another address");
}

/// All users of an address share its budget, so it must count alike for every name.
#[test]
fn a_users_log_in_does_not_show_whether_guesses_there_met_a_remembered_password() {
    for name in ["ann", "bob", "nobody"] {
        let rules = CoreSettings {
            auth_jobs_max: 4,
            auth_running_max: 1,
            wrong_passwords_per_address_max: 30,
            wrong_passwords_per_user_and_address_max: 20,
            ..crate::rules()
        };
        let mut w = World::of_friends(rules, &["ann", "bob", "eve"]);
        w.store.model.cache_passwords = true;
        for (user, address_key) in [("ann", 8), ("eve", 7)] {
            let conn = w.open_from(address_key);
            log_in(&mut w, conn, user, user);
            w.run_for(10);
            assert_eq!(w.heard(conn), ["LS l"]);
        }
        fill_auth_queue(&mut w);
        for guess in 0..36 {
            assert_eq!(try_from(&mut w, 7, name, &format!("guess {guess}")), CROWDED);
            if guess == 20 {
                assert_eq!(try_from(&mut w, 7, "eve", "eve"), ["LS l"], "{name}");
            }
        }
        assert_eq!(try_from(&mut w, 7, "eve", "eve"), CROWDED, "{name}");
    }
}

#[test]
fn unhashed_guesses_are_forgotten_like_wrong_passwords() {
    let rules = CoreSettings { auth_jobs_max: 4, auth_running_max: 1, ..crate::rules() };
    let every_ms = rules.wrong_password_per_user_and_address_forgotten_after_ms;
    let mut w = World::of_friends(rules, &["ann"]);
    w.store.model.cache_passwords = true;
    let owner = w.open_from(8);
    log_in(&mut w, owner, "ann", "ann");
    w.run_for(10);
    fill_auth_queue(&mut w);
    for _ in 0..10 {
        assert_eq!(try_from(&mut w, 7, "ann", "guess"), CROWDED);
    }
    assert_eq!(try_from(&mut w, 7, "ann", "ann"), CROWDED);
    w.run_for(every_ms);
    assert_eq!(try_from(&mut w, 7, "ann", "guess"), CROWDED);
    assert_eq!(try_from(&mut w, 7, "ann", "ann"), CROWDED, "one more was compared, and no other one");
    w.run_for(every_ms);
    assert_eq!(try_from(&mut w, 7, "ann", "ann"), ["LS l"]);
}

#[test]
fn first_tries_of_a_few_addresses_do_not_fill_the_room_of_the_unsuspected() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    slow_hashes(&mut w);
    for address_key in 100..116 {
        for n in 0..40 {
            let conn = w.open_from(address_key);
            log_in(&mut w, conn, &format!("{address_key} {n}"), "guess");
        }
    }
    let honest = w.open_from(1);
    log_in(&mut w, honest, "ann", "ann");
    let mut waited_ms = 0;
    while w.heard(honest).is_empty() {
        w.run_for(HASH_MS);
        waited_ms += HASH_MS;
        assert!(waited_ms <= 1_500, "640 guesses of addresses that nobody knew before are first");
    }
}

#[test]
fn right_passwords_and_unanswered_checks_use_up_nothing() {
    let rules = CoreSettings {
        wrong_passwords_per_user_max: 2,
        wrong_passwords_per_user_and_address_max: 2,
        wrong_passwords_per_address_max: 2,
        wrong_passwords_per_trusted_address_max: 2,
        wrong_passwords_per_connection_max: 2,
        ..crate::rules()
    };
    let mut w = World::of_friends(rules, &["ann", "bob"]);
    let conn = w.open_from(1);
    for n in 0..20 {
        let name = ["ann", "bob"][n % 2];
        log_in(&mut w, conn, name, name);
        w.run_for(10);
        assert_eq!(w.heard(conn), ["LS l"]);
    }
    w.store.fate(Fate::Fail, |job| matches!(job, Job::Prove { .. } | Job::LogIn { .. } | Job::Verify { .. }));
    for _ in 0..20 {
        log_in(&mut w, conn, "ann", "ann");
        w.run_for(10);
        assert_eq!(w.heard(conn), ["LF l", "UNAVAILABLE l"]);
    }
    w.store.work(w.now_ms);
    log_in(&mut w, conn, "ann", "ann");
    w.run_for(10);
    assert_eq!(w.heard(conn), ["LS l"]);
}

/// Thirty wrong log-ins a second from one place, and an honest one each two seconds from another,
/// without any trust to begin with.
fn beside_a_guesser(guesser: u32, owner: u32) {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    w.crash();
    slow_hashes(&mut w);
    let mut heard = Vec::new();
    for n in 0..900 {
        let conn = w.open_from(guesser);
        log_in(&mut w, conn, "ann", &format!("guess {n}"));
        if n % 60 == 59 {
            let ann = w.open_from(owner);
            log_in(&mut w, ann, "ann", "ann");
            w.run_for(33);
            w.run_for(3 * HASH_MS);
            heard.extend(w.heard(ann));
            w.hang_up(ann);
        }
        w.run_for(33);
        w.hang_up(conn);
    }
    assert_eq!(heard, ["LS l"; 15], "from {owner} beside {guesser}");
}

#[test]
fn one_place_does_not_shut_out_the_owner_at_another_not_even_after_a_restart() {
    beside_a_guesser(9, 1);
    beside_a_guesser(0, 1);
    beside_a_guesser(9, 0);
}

#[test]
fn many_addresses_shut_out_neither_trusted_ones_nor_tokens_nor_loopback() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let ann = w.open_from(1);
    log_in(&mut w, ann, "ann", "ann");
    w.run_for(10);
    w.heard(ann);
    let token = token_of(&mut w, ann, "ann");
    for address_key in 100..200 {
        assert_eq!(try_from(&mut w, address_key, "ann", "wrong"), ["LF l"]);
    }
    assert_eq!(try_from(&mut w, 300, "ann", "ann"), LIMITED, "nobody looks");
    assert_eq!(try_from(&mut w, 1, "ann", "ann"), ["LS l"]);
    assert_eq!(try_from(&mut w, 0, "ann", "ann"), ["LS l"]);
    assert_eq!(resume_from(&mut w, 300, "ann", &token), ["LS l"]);
}

#[test]
fn a_thief_of_a_token_gets_no_guesses_for_it_and_does_not_push_out_the_owner() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let ann = w.open_from(1);
    log_in(&mut w, ann, "ann", "ann");
    w.run_for(10);
    w.heard(ann);
    let token = token_of(&mut w, ann, "ann");
    let mut compared = 0;
    for address_key in 100..140 {
        assert_eq!(resume_from(&mut w, address_key, "ann", &token), ["LS l"]);
        for _ in 0..20 {
            compared += usize::from(try_from(&mut w, address_key, "ann", "wrong") == ["LF l"]);
        }
    }
    let from_then_on = 40 * (20 * 2 * HASH_MS) / 6_000 + 40;
    assert!(compared as u64 <= 100 + from_then_on, "{compared} of 800");
    assert_eq!(try_from(&mut w, 1, "ann", "ann"), ["LS l"], "the address of the owner is trusted still");
}

#[test]
fn refusals_to_one_address_do_not_use_up_the_budget_of_the_user() {
    let rules = CoreSettings {
        wrong_passwords_per_user_max: 5,
        wrong_passwords_per_user_and_address_max: 3,
        wrong_password_per_user_forgotten_after_ms: 60_000,
        ..crate::rules()
    };
    let mut w = World::of_friends(rules, &["ann"]);
    for n in 0..20 {
        let heard = try_from(&mut w, 1, "ann", "wrong");
        assert_eq!(heard.len(), if n < 3 { 1 } else { 2 });
    }
    assert_eq!(try_from(&mut w, 2, "ann", "wrong"), ["LF l"]);
    assert_eq!(try_from(&mut w, 2, "ann", "ann"), ["LS l"]);
}

#[test]
fn a_trusted_address_has_a_budget_that_refills_and_ends_with_its_age() {
    let rules = CoreSettings {
        wrong_passwords_per_trusted_address_max: 3,
        wrong_password_per_trusted_address_forgotten_after_ms: 5_000,
        wrong_passwords_per_user_and_address_max: 1,
        trusted_address_age_ms: 600_000,
        ..crate::rules()
    };
    let mut w = World::of_friends(rules, &["ann"]);
    assert_eq!(try_from(&mut w, 1, "ann", "ann"), ["LS l"]);
    for _ in 0..3 {
        assert_eq!(try_from(&mut w, 1, "ann", "wrong"), ["LF l"]);
    }
    assert_eq!(try_from(&mut w, 1, "ann", "ann"), LIMITED);
    w.run_for(5_000);
    assert_eq!(try_from(&mut w, 1, "ann", "wrong"), ["LF l"]);
    w.run_for(600_000);
    assert_eq!(try_from(&mut w, 1, "ann", "wrong"), ["LF l"]);
    assert_eq!(try_from(&mut w, 1, "ann", "ann"), LIMITED, "a stranger again, with one try");
}

/// First log-ins beside guessers on connections of their own, each with a name of its own, who go
/// on without a pause.
fn beside_guessers(from: impl Fn(usize) -> u32, honest_from: impl Fn(usize) -> u32) {
    let names: Vec<String> = (0..22).map(|n| format!("user {n}")).collect();
    let mut w = World::new(crate::rules());
    for name in &names {
        w.store.model.add_account(name, name);
    }
    slow_hashes(&mut w);
    let mut guessers: Vec<_> = (0..600).map(|n| w.open_from(from(n))).collect();
    for (n, &conn) in guessers.iter().enumerate() {
        log_in(&mut w, conn, &format!("name {n}"), "guess");
    }
    let mut honest: Vec<(ConnId, u64)> = Vec::new();
    let mut waits = Vec::new();
    for step in 0..230 {
        w.run_for(100);
        for (n, conn) in guessers.iter_mut().enumerate() {
            if !w.is_open(*conn) {
                *conn = w.open_from(from(n));
            } else if w.heard(*conn).is_empty() {
                continue;
            }
            log_in(&mut w, *conn, &format!("name {n}"), "guess");
        }
        // Once each guesser has shown what it is.
        if step >= 180 && step % 2 == 0 && honest.len() + waits.len() < names.len() {
            let at = honest.len() + waits.len();
            let conn = w.open_from(honest_from(at));
            log_in(&mut w, conn, &names[at], &names[at]);
            honest.push((conn, w.now_ms));
        }
        honest.retain(|&(conn, since_ms)| {
            let heard = w.heard(conn);
            if heard.is_empty() {
                return true;
            }
            assert_eq!(heard, ["LS l"]);
            waits.push(w.now_ms - since_ms);
            false
        });
    }
    assert_eq!(waits.len(), 22);
    assert!(waits.iter().all(|wait_ms| *wait_ms <= 1_000), "{waits:?}");
}

#[test]
fn guessers_on_loopback_do_not_fill_the_room_of_honest_first_log_ins() {
    beside_guessers(|_| 0, |_| 0);
}

#[test]
fn guessers_at_other_addresses_do_not_fill_the_room_of_honest_first_log_ins() {
    beside_guessers(|n| 100 + n as u32 % 3, |at| at as u32 % 5);
}

#[test]
fn an_unreadable_password_is_called_so_and_asking_again_is_bounded() {
    let rules = CoreSettings { wrong_passwords_per_user_max: 3, ..crate::rules() };
    let mut w = World::of_friends(rules, &["ann"]);
    w.store.model.spoil_password("ann");
    for _ in 0..3 {
        assert_eq!(try_from(&mut w, 0, "ann", "ann"), ["LF l", "FORBIDDEN l"]);
    }
    assert_eq!(try_from(&mut w, 0, "ann", "ann"), LIMITED);
}

#[test]
fn an_unknown_name_is_hashed_once_and_queued_like_a_known_one() {
    let mut w = World::of_friends(CoreSettings { auth_running_max: 1, ..crate::rules() }, &["ann", "bob", "cy"]);
    slow_hashes(&mut w);
    // First as an unsuspected client, then as one that was wrong before.
    for before in [0, 4] {
        let names = [("nobody", 1), ("ann", 2), ("nobody else", 3), ("bob", 4)];
        let conns = names.map(|(name, address_key)| {
            let conn = w.open_from(address_key);
            log_in(&mut w, conn, name, "wrong");
            conn
        });
        let honest = (before > 0).then(|| {
            let conn = w.open_from(9);
            log_in(&mut w, conn, "cy", "cy");
            conn
        });
        let mut order = Vec::new();
        for _ in 0..8 {
            w.run_for(HASH_MS);
            order.extend((0..names.len()).filter(|at| w.heard(conns[*at]) == ["LF l"]));
            if let Some(conn) = honest.filter(|conn| !w.heard(*conn).is_empty()) {
                assert!(w.is_open(conn) && order.len() == 1, "the honest one overtakes all but the first: {order:?}");
            }
        }
        assert_eq!(order, [0, 1, 2, 3]);
        assert_eq!(w.store.count("Verify"), before + names.len() + before / 4, "one for each");
    }
}
