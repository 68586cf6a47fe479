//! docs/protocol.md §3 (2: log in): log-ins, take-overs, and log-ins on a connection that is logged
//! in.

use super::{ann_and_bob, loads};
use crate::sim::say::Say;
use crate::sim::world::World;

const NOTHING: [&str; 0] = [];

#[test]
fn a_new_log_in_takes_over_the_list_and_ends_the_older_connection() {
    let (mut w, old, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(100);
    let new = w.open();
    w.log_in(new, "ann");
    w.run_for(100);
    assert_eq!(w.heard(old), ["msg bob m1", "REPLACED", "closed Replaced"]);
    assert_eq!(w.heard(new), ["LS l", "msg bob m1"]);
    w.message(bob, "m2", "ann");
    w.run_for(14_999);
    assert_eq!(w.heard(new), ["msg bob m2", "msg bob m1"], "by its clock on the new connection");
    w.ack(new, "m1");
    w.ack(new, "m2");
    w.run_for(60_000);
    assert_eq!(w.heard(new), NOTHING);
}

#[test]
fn a_take_over_needs_no_save_of_pushes_acked_in_time() {
    let (mut w, _, bob) = ann_and_bob();
    let new = w.open();
    w.log_in(new, "ann");
    w.run_for(2);
    w.message(bob, "m1", "ann");
    w.run_for(4);
    w.ack(new, "m1");
    w.run_for(100);
    assert_eq!(w.store.count("SavePush"), 0);
    assert_eq!(w.heard(bob), ["MS m1"]);
}

#[test]
fn the_same_user_again_on_the_same_connection_gets_ls_and_the_list_once_more() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.ack(ann, "m1");
    w.run_for(100);
    w.heard(ann);
    w.log_in(ann, "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m2"]);
    w.run_for(14_900);
    assert_eq!(w.heard(ann), NOTHING);
    w.run_for(100);
    assert_eq!(w.heard(ann), ["msg bob m2"]);
}

#[test]
fn another_user_on_the_same_connection_logs_the_first_one_out() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(1);
    w.heard(ann);
    w.log_in(ann, "cid");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["LS l"]);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    w.message(bob, "c1", "cid");
    w.message(bob, "m2", "ann");
    w.run_for(20_000);
    assert_eq!(w.heard(ann), ["msg bob c1", "msg bob c1"], "nothing of Ann's any more");
    let next = w.open();
    w.log_in(next, "ann");
    w.run_for(100);
    assert_eq!(w.heard(next), ["LS l", "msg bob m1", "msg bob m2"]);
}

#[test]
fn a_failed_log_in_changes_nothing() {
    let (mut w, ann, bob) = ann_and_bob();
    for (user, password) in [("ann", "wrong"), ("cid", "wrong"), ("nobody", "x"), ("bob", "ann")] {
        w.say(ann, Say::Login { mid: "l1".into(), user: user.into(), password: password.into() });
        w.run_for(10);
        assert_eq!(w.heard(ann), ["LF l1"]);
    }
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(ann), ["msg bob m1"]);
    w.message(ann, "a1", "bob");
    w.ack(bob, "a1");
    assert_eq!(w.heard(ann), ["MS a1"]);
    assert!(w.is_open(bob));
}

#[test]
fn input_is_paused_while_a_log_in_is_worked_on_and_goes_on_behind_it() {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    let ann = w.open();
    w.log_in(ann, "ann");
    assert!(w.is_paused(ann));
    w.message(ann, "m1", "bob");
    w.heartbeat(ann);
    w.run_for(100);
    assert_eq!(w.heard(ann), ["LS l", "BEAT h", "MS m1"]);
}

#[test]
fn a_log_in_whose_connection_is_gone_leaves_the_user_away() {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    let bob = w.online("bob");
    let ann = w.open();
    w.store.hang(loads);
    w.log_in(ann, "ann");
    w.run_for(10);
    w.message(bob, "m1", "ann");
    w.hang_up(ann);
    w.store.work(w.now_ms);
    w.run_for(100);
    w.message(bob, "m2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1", "MS m2"]);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1", "msg bob m2"]);
}

#[test]
fn the_older_connection_may_close_while_the_newer_ones_log_in_is_on_its_way() {
    let (mut w, old, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.store.takes(50);
    let new = w.open();
    w.log_in(new, "ann");
    w.run_for(120);
    w.message(bob, "m2", "ann");
    w.hang_up(old);
    w.message(bob, "m3", "ann");
    w.run_for(1_000);
    w.message(bob, "m4", "ann");
    w.run_for(1_000);
    assert_eq!(w.heard(new), ["LS l", "msg bob m1", "msg bob m2", "msg bob m3", "msg bob m4"]);
    assert_eq!(w.heard(bob), ["MS m1", "MS m2", "MS m3", "MS m4"]);
    for id in ["m1", "m2", "m3", "m4"] {
        w.ack(new, id);
    }
    w.run_for(20_000);
    assert_eq!(w.heard(new), NOTHING);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn the_same_with_an_empty_list_and_a_new_log_in_that_fails() {
    let (mut w, old, bob) = ann_and_bob();
    w.store.hang(loads);
    let new = w.open();
    w.log_in(new, "ann");
    w.run_for(10);
    w.hang_up(old);
    w.message(bob, "m1", "ann");
    w.run_for(10);
    w.hang_up(new);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"]);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1"]);
}

#[test]
fn two_log_ins_at_once_leave_one_live_connection() {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    let (bob, one, two) = (w.online("bob"), w.open(), w.open());
    w.store.takes(20);
    w.log_in(one, "ann");
    w.run_for(1);
    w.log_in(two, "ann");
    w.run_for(30);
    w.message(bob, "m1", "ann");
    w.run_for(1_000);
    assert_eq!(w.heard(one), ["LS l", "msg bob m1", "REPLACED", "closed Replaced"]);
    assert_eq!(w.heard(two), ["LS l", "msg bob m1"]);
}

#[test]
fn a_password_that_was_verified_before_is_not_hashed_again() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    w.store.model.cache_passwords = true;
    let first = w.online("ann");
    assert_eq!(w.store.count("Verify"), 1);
    w.hang_up(first);
    w.online("ann");
    assert_eq!(w.store.count("Verify"), 1);
}

#[test]
fn a_log_in_whose_password_is_known_is_one_job_and_misses_nothing_that_comes_meanwhile() {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    w.store.model.note_verified("ann");
    let bob = w.online("bob");
    w.message(bob, "m1", "ann");
    w.run_for(10);
    let jobs = w.store.submitted.len();
    w.store.takes(50);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(20);
    w.message(bob, "m2", "ann");
    w.run_for(1_000);
    assert_eq!(w.store.submitted[jobs..], ["LogIn", "SavePush"]);
    assert_eq!(w.heard(bob), ["MS m1", "MS m2"]);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1", "msg bob m2"]);
}

#[test]
fn of_a_friendship_that_begins_and_ends_during_log_ins_the_last_counts() {
    use hongyan::protocol::request::FriendVerb::{Accept, Delete, Request};
    for rounds in [30, 31, 32] {
        let (mut w, ann, bob) = ann_and_bob();
        w.store.takes(5);
        for round in 0..rounds {
            // One stranger before the last one's look at Ann's friends is over, so that there is
            // always one. Gone again, or there would be too many to check after every event that a
            // friend takes one place.
            let guest = w.open();
            w.say(guest, Say::Login { mid: "l".into(), user: "ann".into(), password: "wrong".into() });
            w.hang_up(guest);
            match round % 3 {
                0 => w.friend(bob, Delete, "d", "ann"),
                1 => w.friend(bob, Request, "f", "ann"),
                _ => w.friend(ann, Accept, "f", "bob"),
            }
            w.run_for(4);
        }
        w.run_for(2_000);
        w.heard(bob);
        w.message(bob, "m", "ann");
        w.run_for(1_000);
        assert_eq!(w.heard(bob), [if rounds % 3 == 0 { "MS m" } else { "MF m" }]);
    }
}

#[test]
fn messages_are_kept_while_a_wrong_password_is_checked() {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    let bob = w.online("bob");
    w.store.takes(50);
    let guest = w.open();
    w.say(guest, Say::Login { mid: "l".into(), user: "ann".into(), password: "wrong".into() });
    for id in ["m1", "m2", "m3"] {
        // While the store is asked, while the password is hashed, and when all is over.
        w.message(bob, id, "ann");
        w.run_for(60);
    }
    w.run_for(1_000);
    assert_eq!(w.heard(guest), ["LF l"]);
    assert_eq!(w.heard(bob), ["MS m1", "MS m2", "MS m3"]);
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(1_000);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1", "msg bob m2", "msg bob m3"]);
}

#[test]
fn a_user_who_signs_up_can_log_in_and_a_taken_name_is_refused() {
    let mut w = World::new(crate::rules());
    let conn = w.open();
    for expected in ["SS s", "SF s"] {
        w.say(conn, Say::SignUp { mid: "s".into(), user: "ann".into(), password: "ann".into() });
        w.run_for(10);
        assert_eq!(w.heard(conn), [expected]);
    }
    w.log_in(conn, "ann");
    w.run_for(10);
    assert_eq!(w.heard(conn), ["LS l"]);
}

/// A user who is not online logs in on so many connections at once; nothing about passwords is in
/// the way.
fn at_once(count: usize) -> (World, Vec<hongyan::chat::contract::ConnId>) {
    let rules = hongyan::chat::contract::CoreSettings {
        auth_running_max: 100,
        log_ins_waiting_per_user_max: 3,
        wrong_passwords_per_user_max: 10_000,
        ..crate::rules()
    };
    let mut w = World::of_friends(rules, &["ann", "bob"]);
    let conns: Vec<_> = (0..count).map(|_| w.open()).collect();
    for &conn in &conns {
        w.log_in(conn, "ann");
    }
    (w, conns)
}

#[test]
fn a_thousand_log_ins_of_one_user_at_once_read_one_page() {
    let rules = hongyan::chat::contract::CoreSettings { wrong_passwords_per_user_max: 10_000, ..crate::rules() };
    let mut w = World::of_friends(rules, &["ann", "bob"]);
    w.store.model.note_verified("ann");
    let conns: Vec<_> = (0..1_000).map(|_| w.open()).collect();
    for &conn in &conns {
        w.log_in(conn, "ann");
    }
    w.run_for(1_000);
    assert_eq!((w.store.count("LogIn"), w.store.count("Prove"), w.store.count("Load")), (1, 999, 0));
    for &conn in &conns[..999] {
        assert_eq!(w.heard(conn), ["LS l", "REPLACED", "closed Replaced"]);
    }
    assert_eq!(w.heard(conns[999]), ["LS l"]);
}

#[test]
fn log_ins_of_one_user_wait_for_their_turn_in_a_bounded_queue_and_nobody_else_does() {
    let (mut w, conns) = at_once(6);
    w.store.hang(|job| matches!(job, hongyan::chat::contract::Job::Load { .. }));
    w.run_for(100);
    assert_eq!(w.store.count("Load"), 1);
    for &conn in &conns[4..] {
        assert_eq!(w.heard(conn), ["LF l", "UNAVAILABLE l"]);
    }
    w.store.hang(|_| false);
    let bob = w.online("bob");
    w.message(bob, "m1", "ann");
    // The one that reads is gone: the turn is the next one's, and then all is in memory.
    w.hang_up(conns[0]);
    w.store.work(w.now_ms);
    w.run_for(100);
    assert_eq!(w.store.count("Load"), 3, "Bob's, and two of Ann's");
    for &conn in &conns[1..3] {
        assert_eq!(w.heard(conn), ["LS l", "msg bob m1", "REPLACED", "closed Replaced"]);
    }
    assert_eq!(w.heard(conns[3]), ["LS l", "msg bob m1"]);
}

#[test]
fn a_log_in_that_waits_for_a_turn_is_answered_in_time_and_leaves_room() {
    let (mut w, conns) = at_once(4);
    w.store.hang(|job| matches!(job, hongyan::chat::contract::Job::Load { .. }));
    w.run_for(100);
    w.hang_up(conns[1]);
    let late = w.open();
    w.log_in(late, "ann");
    // It is behind the page in the lane.
    w.run_for(9_800);
    assert_eq!(w.heard(conns[0]), NOTHING);
    w.run_for(100);
    for conn in [conns[0], conns[2], conns[3]] {
        assert_eq!(w.heard(conn), ["LF l", "UNAVAILABLE l"]);
    }
    w.store.work(w.now_ms);
    w.run_for(200);
    assert_eq!(w.heard(late), ["LS l"]);
}

#[test]
fn a_log_in_reads_nothing_for_an_online_user_and_reads_a_user_who_went_meanwhile() {
    let (mut w, old, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    let loads = w.store.count("Load") + w.store.count("LogIn");
    let new = w.open();
    w.log_in(new, "ann");
    w.run_for(100);
    assert_eq!(w.heard(new), ["LS l", "msg bob m1"]);
    assert_eq!(w.store.count("Load") + w.store.count("LogIn"), loads);
    let next = w.open();
    w.log_in(next, "ann");
    w.hang_up(new);
    w.run_for(100);
    assert_eq!(w.heard(next), ["LS l", "msg bob m1"]);
    assert_eq!(w.store.count("Load") + w.store.count("LogIn"), loads + 1);
    assert!(!w.is_open(old));
}
