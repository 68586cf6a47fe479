//! The limits of passwords and sign-ups, and the order in which passwords are hashed.

use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreSettings, Job};

/// A hash takes 100 ms, one at a time.
fn slow_hashes(rules: CoreSettings, names: &[&str]) -> World {
    let mut w = World::of_friends(CoreSettings { auth_running_max: 1, ..rules }, names);
    w.store.plan(|job| {
        let takes_ms = if matches!(job, Job::Verify { .. } | Job::Hash { .. }) { 100 } else { 0 };
        Plan { takes_ms, answer_after_ms: 0, fate: Fate::Do }
    });
    w
}

fn log_in(w: &mut World, conn: ConnId, user: &str, password: &str) {
    w.say(conn, Say::Login { mid: "l".into(), user: user.into(), password: password.into() });
}

fn sign_up(w: &mut World, conn: ConnId, user: &str) {
    w.say(conn, Say::SignUp { mid: "s".into(), user: user.into(), password: user.into() });
}

const LIMITED: [&str; 2] = ["LF l", "RATE_LIMITED l"];

#[test]
fn a_connection_has_so_many_wrong_passwords() {
    let mut w = World::of_friends(CoreSettings { wrong_passwords_per_connection_max: 3, ..crate::rules() }, &["ann"]);
    let conn = w.open();
    for name in ["ann", "nobody", "ann"] {
        log_in(&mut w, conn, name, "wrong");
        w.run_for(10);
        assert_eq!(w.heard(conn), ["LF l"]);
    }
    let before = w.store.submitted.len();
    log_in(&mut w, conn, "ann", "ann");
    assert_eq!(w.heard(conn), LIMITED);
    assert_eq!(w.store.submitted.len(), before, "and it costs nothing");
    let other = w.online("ann");
    assert!(w.is_open(other) && w.is_open(conn), "others are not disturbed");
}

#[test]
fn a_user_has_so_many_wrong_passwords_from_all_addresses_and_they_are_forgotten() {
    let rules = CoreSettings {
        wrong_passwords_per_user_max: 3,
        wrong_password_per_user_forgotten_after_ms: 5_000,
        ..crate::rules()
    };
    let mut w = World::of_friends(rules, &["ann", "bob"]);
    for address_key in 1..=3 {
        let conn = w.open_from(address_key);
        log_in(&mut w, conn, "ann", "wrong");
        w.run_for(10);
        assert_eq!(w.heard(conn), ["LF l"]);
    }
    let verified = w.store.count("Verify");
    let conn = w.open_from(4);
    log_in(&mut w, conn, "ann", "ann");
    w.run_for(10);
    assert_eq!(w.heard(conn), LIMITED, "even the right one: nobody looks");
    assert_eq!(w.store.count("Verify"), verified);
    log_in(&mut w, conn, "bob", "bob");
    w.run_for(10);
    assert_eq!(w.heard(conn), ["LS l"], "another user is not disturbed");
    let conn = w.open_from(4);
    w.run_for(5_000);
    log_in(&mut w, conn, "ann", "ann");
    w.run_for(10);
    assert_eq!(w.heard(conn), ["LS l"]);
}

#[test]
fn an_address_has_so_many_wrong_passwords_and_loopback_any_number() {
    let rules = CoreSettings {
        wrong_passwords_per_address_max: 3,
        wrong_password_per_address_forgotten_after_ms: 5_000,
        ..crate::rules()
    };
    let mut w = World::of_friends(rules, &["ann", "bob"]);
    for name in ["a", "b", "c"] {
        let conn = w.open_from(1);
        log_in(&mut w, conn, name, "wrong");
        // Gone before the answer, but after the hashing has begun: it counts all the same.
        w.run_for(1);
        w.hang_up(conn);
        w.run_for(10);
    }
    let (here, elsewhere) = (w.open_from(1), w.open_from(2));
    log_in(&mut w, here, "ann", "ann");
    log_in(&mut w, elsewhere, "bob", "bob");
    w.run_for(10);
    assert_eq!(w.heard(here), LIMITED);
    assert_eq!(w.heard(elsewhere), ["LS l"]);
    for name in ["d", "e", "f", "g", "h"] {
        let conn = w.open();
        log_in(&mut w, conn, name, "wrong");
        w.run_for(10);
        assert_eq!(w.heard(conn), ["LF l"]);
    }
    w.run_for(15_000);
    log_in(&mut w, here, "ann", "ann");
    w.run_for(10);
    assert_eq!(w.heard(here), ["LS l"]);
}

#[test]
fn an_address_has_so_many_sign_ups() {
    let rules =
        CoreSettings { sign_ups_per_address_max: 2, sign_up_per_address_forgotten_after_ms: 60_000, ..crate::rules() };
    let mut w = World::new(rules);
    let (here, elsewhere, loopback) = (w.open_from(1), w.open_from(2), w.open());
    for name in ["a", "b"] {
        sign_up(&mut w, here, name);
        w.run_for(10);
        assert_eq!(w.heard(here), ["SS s"]);
    }
    sign_up(&mut w, here, "c");
    assert_eq!(w.heard(here), ["SF s", "RATE_LIMITED s"]);
    for conn in [elsewhere, loopback] {
        for name in ["d", "e"] {
            sign_up(&mut w, conn, &format!("{name}{}", conn.slot));
            w.run_for(10);
            assert_eq!(w.heard(conn), ["SS s"]);
        }
    }
    w.run_for(60_000);
    sign_up(&mut w, here, "c");
    w.run_for(10);
    assert_eq!(w.heard(here), ["SS s"]);
}

#[test]
fn while_sign_ups_are_closed_each_is_refused_at_once_and_log_ins_are_not() {
    let mut w = World::of_friends(CoreSettings { sign_ups: false, ..crate::rules() }, &["ann"]);
    let conn = w.open();
    let before = w.store.submitted.len();
    sign_up(&mut w, conn, "bob");
    sign_up(&mut w, conn, "ann");
    assert_eq!(w.heard(conn), ["SF s", "FORBIDDEN s", "SF s", "FORBIDDEN s"], "nobody learns which names exist");
    assert_eq!(w.store.submitted.len(), before, "and it costs nothing");
    let ann = w.online("ann");
    assert!(w.is_open(ann));
    w.chat.set_rules(crate::rules());
    sign_up(&mut w, conn, "bob");
    w.run_for(10);
    assert_eq!(w.heard(conn), ["SS s"]);
    // One that is being hashed is finished.
    w.store.takes(100);
    sign_up(&mut w, conn, "cat");
    w.chat.set_rules(CoreSettings { sign_ups: false, ..crate::rules() });
    w.run_for(1_000);
    assert_eq!(w.heard(conn), ["SS s"]);
}

#[test]
fn log_ins_are_looked_at_in_their_order_and_those_after_wrong_ones_later() {
    let mut w = slow_hashes(crate::rules(), &["a", "b", "c", "d", "e", "f", "g"]);
    let guesser = w.open_from(9);
    log_in(&mut w, guesser, "a", "wrong");
    w.run_for(150);
    assert_eq!(w.heard(guesser), ["LF l"]);
    // The guesser is there first, again and again.
    let guesses: Vec<_> = (0..4).map(|_| w.open_from(9)).collect();
    for &conn in &guesses {
        log_in(&mut w, conn, "b", "wrong");
    }
    let honest: Vec<_> =
        [("c", 1), ("d", 1), ("e", 1), ("f", 2), ("g", 2)].map(|(name, from)| (name, w.open_from(from))).into();
    for &(name, conn) in &honest {
        log_in(&mut w, conn, name, name);
    }
    let mut order = Vec::new();
    for _ in 0..12 {
        w.run_for(100);
        order.extend(honest.iter().filter(|(_, conn)| !w.heard(*conn).is_empty()).map(|(name, _)| *name));
        order.extend(guesses.iter().filter(|conn| !w.heard(**conn).is_empty()).map(|_| "guess"));
    }
    // The first guess was begun before anybody else was there.
    assert_eq!(order, ["guess", "c", "d", "e", "guess", "f", "g", "guess", "guess"]);
}

#[test]
fn log_ins_and_sign_ups_have_rooms_of_their_own_and_an_address_a_share() {
    let rules = CoreSettings { auth_jobs_max: 8, auth_jobs_per_address_max: 3, ..crate::rules() };
    let mut w = slow_hashes(rules, &["a", "b", "c", "d", "e", "f"]);
    w.store.hang(|job| matches!(job, Job::Hash { .. }));
    let (first, second, third) = (w.open(), w.open_from(1), w.open_from(2));
    sign_up(&mut w, first, "z");
    let at_work = w.open();
    sign_up(&mut w, at_work, "y");
    // One is with the worker, two wait, and there is no room for more sign-ups.
    sign_up(&mut w, second, "x");
    sign_up(&mut w, third, "w");
    assert_eq!(w.heard(third), ["SF s", "UNAVAILABLE s"]);
    let log_ins: Vec<_> = ["a", "b", "c", "d"].map(|name| (name, w.open_from(1))).into();
    for &(name, conn) in &log_ins {
        log_in(&mut w, conn, name, name);
    }
    w.run_for(10);
    for (at, (_, conn)) in log_ins.iter().enumerate() {
        let share_is_used_up = at >= 2;
        assert_eq!(w.heard(*conn).len(), if share_is_used_up { 2 } else { 0 }, "{at}");
    }
    let elsewhere = w.open_from(3);
    log_in(&mut w, elsewhere, "e", "e");
    w.run_for(10);
    assert_eq!(w.heard(elsewhere), [""; 0], "it waits");
    w.store.work(w.now_ms);
    w.run_for(1_000);
    assert_eq!(w.heard(elsewhere), ["LS l"]);
    for conn in [first, at_work, second] {
        assert_eq!(w.heard(conn), ["SS s"]);
    }
}

#[test]
fn a_client_that_waited_too_long_or_is_gone_costs_no_hash() {
    let mut w = slow_hashes(CoreSettings { answer_within_ms: 250, ..crate::rules() }, &["a", "b", "c", "d"]);
    let conns: Vec<_> = ["a", "b", "c", "d"].map(|name| (name, w.open())).into();
    for &(name, conn) in &conns {
        log_in(&mut w, conn, name, name);
    }
    w.run_for(10);
    w.hang_up(conns[1].1);
    w.run_for(1_000);
    assert_eq!(w.heard(conns[0].1), ["LS l"]);
    assert_eq!(w.heard(conns[2].1), ["LS l"], "in the place of the one that is gone");
    assert_eq!(w.heard(conns[3].1), ["LF l", "UNAVAILABLE l"]);
    assert_eq!(w.store.count("Verify"), 3, "the last was begun before its time was over");
    log_in(&mut w, conns[3].1, "d", "d");
    w.run_for(200);
    assert_eq!(w.heard(conns[3].1), ["LS l"]);
}

#[test]
fn a_stop_does_not_begin_waiting_log_ins() {
    let mut w = slow_hashes(crate::rules(), &["a", "b", "c"]);
    let conns: Vec<_> = ["a", "b", "c"].map(|name| (name, w.open())).into();
    for &(name, conn) in &conns {
        log_in(&mut w, conn, name, name);
    }
    w.run_for(10);
    w.shut_down();
    w.run_for(300);
    assert_eq!(w.stopped, 1);
    assert_eq!(w.heard(conns[0].1), ["LS l", "SHUTTING_DOWN", "closed ShuttingDown"], "it was begun");
    for (_, conn) in &conns[1..] {
        assert_eq!(w.heard(*conn), ["LF l", "SHUTTING_DOWN l", "SHUTTING_DOWN", "closed ShuttingDown"]);
    }
    assert_eq!(w.store.count("Verify"), 1);
}
