//! Every limit is there and holds.

use super::{ann_and_bob, ann_and_bob_by, any, ids};
use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{CoreCloseCause, CoreSettings, Job};
use hongyan::protocol::error::ErrorCode;
use hongyan::protocol::request::{FriendVerb, RequestType};

const NOTHING: [&str; 0] = [];

fn bad(code: ErrorCode, request_type: Option<RequestType>) -> Say {
    Say::Bad { code, request_type }
}

#[test]
fn ten_bad_inputs_in_a_row_end_the_connection() {
    let mut w = World::new(crate::rules());
    let conn = w.open();
    for _ in 0..9 {
        w.say(conn, bad(ErrorCode::BadJson, None));
    }
    assert_eq!(w.heard(conn), ["BAD_JSON"; 9]);
    w.say(conn, bad(ErrorCode::BadJson, None));
    assert_eq!(w.heard(conn), ["BAD_JSON", "closed Garbage"]);
}

#[test]
fn anything_readable_in_between_starts_the_count_again() {
    for between in [bad(ErrorCode::BadField, Some(RequestType::Login)), Say::Heartbeat { mid: "h".into() }] {
        let mut w = World::new(crate::rules());
        let conn = w.open();
        for n in 0..100 {
            let say = if n % 10 == 9 { between.clone() } else { bad(ErrorCode::BadJson, None) };
            w.say(conn, say);
        }
        assert!(w.is_open(conn));
    }
}

#[test]
fn readable_requests_with_errors_only_get_their_errors() {
    let (mut w, ann, _) = ann_and_bob();
    for _ in 0..100 {
        w.say(ann, bad(ErrorCode::BadField, Some(RequestType::Message)));
        w.say(ann, bad(ErrorCode::UnknownType, None));
    }
    assert!(w.is_open(ann));
    assert_eq!(w.heard(ann)[..3], ["MF", "BAD_FIELD", "UNKNOWN_TYPE"]);
}

#[test]
fn malformed_requests_before_log_in_are_answered_by_kind() {
    let mut w = World::new(crate::rules());
    let conn = w.open();
    let say = |w: &mut World, request_type, code| {
        w.say(conn, bad(code, request_type));
        w.heard(conn)
    };
    assert_eq!(say(&mut w, Some(RequestType::GetUser), ErrorCode::BadField), NOTHING);
    assert_eq!(say(&mut w, Some(RequestType::Message), ErrorCode::BadField), ["MF", "NOT_LOGGED_IN"]);
    assert_eq!(say(&mut w, Some(RequestType::SignUp), ErrorCode::BadField), ["SF", "BAD_FIELD"]);
    assert_eq!(say(&mut w, Some(RequestType::Login), ErrorCode::BadField), ["LF", "BAD_FIELD"]);
    w.say(conn, Say::GetUser { mid: "g".into(), user: "ann".into() });
    assert_eq!(w.heard(conn), NOTHING);
    w.heartbeat(conn);
    assert_eq!(w.heard(conn), ["NOT_LOGGED_IN h"]);
}

#[test]
fn too_large_is_said_and_the_connection_closed() {
    let (mut w, ann, _) = ann_and_bob();
    w.say(ann, bad(ErrorCode::TooLarge, None));
    assert_eq!(w.heard(ann), ["TOO_LARGE", "closed TooLarge"]);
    assert!(!w.is_open(ann));
}

#[test]
fn a_connection_has_so_many_requests_a_second() {
    let (mut w, ann, _) = ann_and_bob_by(CoreSettings { requests_per_second_max: 10, ..crate::rules() });
    w.run_for(1_000);
    for _ in 0..12 {
        w.heartbeat(ann);
    }
    let heard = w.heard(ann);
    assert_eq!(heard.iter().filter(|line| *line == "BEAT h").count(), 10);
    assert_eq!(heard[10..], ["RATE_LIMITED h", "RATE_LIMITED h"]);
    w.message(ann, "m1", "bob");
    assert_eq!(w.heard(ann), ["MF m1", "RATE_LIMITED m1"]);
    w.run_for(100);
    w.heartbeat(ann);
    w.heartbeat(ann);
    assert_eq!(w.heard(ann), ["BEAT h", "RATE_LIMITED h"]);
    w.run_for(10_000);
    for _ in 0..11 {
        w.heartbeat(ann);
    }
    assert_eq!(w.heard(ann).iter().filter(|line| *line == "BEAT h").count(), 10, "it saves up no more than a second");
}

#[test]
fn a_hundred_thousand_a_second_by_default() {
    let (mut w, ann, _) = ann_and_bob();
    w.run_for(1_000);
    for _ in 0..100_001 {
        w.heartbeat(ann);
    }
    let heard = w.heard(ann);
    assert_eq!(heard.iter().filter(|line| *line == "BEAT h").count(), 100_000);
}

#[test]
fn when_too_many_jobs_are_in_flight_requests_are_refused_and_nothing_promised_is_lost() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { jobs_max: 2, reads_per_user_max: 1_024, ..crate::rules() });
    w.store.hang(any);
    for n in 0..4 {
        w.say(bob, Say::GetUser { mid: format!("g{n}"), user: "ann".into() });
    }
    assert_eq!(w.heard(bob), ["UNAVAILABLE g2", "UNAVAILABLE g3"]);
    w.message(bob, "m1", "ann");
    w.message(bob, "c1", "cid");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MF c1", "UNAVAILABLE c1", "MF m1", "UNAVAILABLE m1"]);
    assert_eq!(ids(&w.heard(ann)), ["m1"]);
    w.hang_up(ann);
    w.store.work(w.now_ms);
    w.run_for(10);
    assert_eq!(w.heard(bob), ["PROFILE g0", "PROFILE g1"]);
    w.message(bob, "m1", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MS m1"], "heard again");
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["LS l", "msg bob m1"]);
}

#[test]
fn waiting_jobs_are_bounded_in_bytes_and_requests_without_a_job_go_on() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { jobs_bytes_max: 500, ..crate::rules() });
    w.hang_up(ann);
    w.store.hang(any);
    let ids: Vec<String> = (0..20).map(|n| format!("m{n}")).collect();
    for id in &ids {
        w.message(bob, id, "ann");
    }
    let heard = w.heard(bob);
    let refused = heard.iter().filter(|line| line.starts_with("MF ")).count();
    assert!((1..20).contains(&refused), "{heard:?}");
    assert_eq!(heard.len(), 2 * refused, "each with its error: {heard:?}");
    assert_eq!(heard[heard.len() - 2..], ["MF m19", "UNAVAILABLE m19"]);
    // Requests without a push are still accepted.
    w.say(bob, Say::GetUser { mid: "g".into(), user: "ann".into() });
    w.heartbeat(bob);
    assert_eq!(w.heard(bob), ["BEAT h"]);
    w.store.work(w.now_ms);
    w.run_for(10);
    let heard = w.heard(bob);
    assert_eq!(heard.iter().filter(|line| line.starts_with("MS ")).count(), 20 - refused, "{heard:?}");
    assert!(heard.contains(&"PROFILE g".into()), "{heard:?}");
    w.message(bob, "m19", "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["MS m19"], "there is room again");
}

#[test]
fn log_ins_are_refused_and_do_not_wait_when_the_jobs_are_full() {
    let (mut w, _, bob) = ann_and_bob_by(CoreSettings { jobs_max: 1, ..crate::rules() });
    w.store.hang(any);
    w.say(bob, Say::GetUser { mid: "g".into(), user: "ann".into() });
    let conn = w.open();
    w.log_in(conn, "cid");
    w.say(conn, Say::SignUp { mid: "s".into(), user: "new".into(), password: "p".into() });
    assert_eq!(w.heard(conn), ["LF l", "UNAVAILABLE l", "SF s", "UNAVAILABLE s"]);
    assert!(!w.is_paused(conn));
}

#[test]
fn passwords_wait_in_a_bounded_queue() {
    let mut w =
        World::of_friends(CoreSettings { auth_jobs_max: 4, auth_running_max: 1, ..crate::rules() }, &["ann", "bob"]);
    w.store.hang(|job| {
        matches!(job, hongyan::chat::contract::Job::Hash { .. } | hongyan::chat::contract::Job::Verify { .. })
    });
    let conns: Vec<_> = (0..6).map(|_| w.open()).collect();
    w.log_in(conns[0], "ann");
    w.run_for(10);
    w.say(conns[1], Say::SignUp { mid: "s".into(), user: "new".into(), password: "p".into() });
    w.say(conns[2], Say::SignUp { mid: "s".into(), user: "newer".into(), password: "p".into() });
    for conn in &conns[3..] {
        w.log_in(*conn, "bob");
    }
    w.run_for(10);
    assert_eq!(w.heard(conns[2]), ["SF s", "UNAVAILABLE s"]);
    assert_eq!(w.heard(conns[5]), ["LF l", "UNAVAILABLE l"]);
    w.store.work(w.now_ms);
    w.run_for(10);
    assert_eq!((w.heard(conns[0]), w.heard(conns[1])), (vec!["LS l".into()], vec!["SS s".into()]));
    w.log_in(conns[5], "bob");
    w.run_for(10);
    assert_eq!(w.heard(conns[5]), ["LS l"]);
}

#[test]
fn a_closed_connection_says_why() {
    let (mut w, ann, _) = ann_and_bob();
    w.online("ann");
    assert_eq!(w.closed(ann).map(|(_, cause)| cause), Some(CoreCloseCause::Replaced));
}

#[test]
fn so_many_friend_requests_of_one_user_and_to_one_user_are_pending() {
    use hongyan::protocol::request::FriendVerb::{Reject, Request};
    let mut w = World::new(CoreSettings { pending_requests_max: 2, ..crate::rules() });
    for name in ["ann", "bob", "cid", "dan"] {
        w.store.model.add_account(name, name);
    }
    let conns: Vec<_> = ["ann", "bob", "cid", "dan"].map(|name| w.online(name)).into();
    for (id, other) in [("f1", "bob"), ("f2", "cid")] {
        w.friend(conns[0], Request, id, other);
        w.run_for(10);
    }
    w.friend(conns[0], Request, "f3", "dan");
    w.run_for(10);
    assert_eq!(w.heard(conns[0]), ["OK f1", "OK f2", "RATE_LIMITED f3"]);
    w.friend(conns[0], Request, "f1", "bob");
    w.run_for(10);
    assert_eq!(w.heard(conns[0]), ["OK f1"], "one that is pending is answered all the same");
    w.friend(conns[3], Request, "f4", "bob");
    w.friend(conns[2], Request, "f5", "bob");
    w.run_for(10);
    assert_eq!(
        (w.heard(conns[3]), w.heard(conns[2])[1..].to_vec()),
        (vec!["OK f4".into()], vec!["RATE_LIMITED f5".into()])
    );
    w.friend(conns[1], Reject, "f1", "ann");
    w.run_for(10);
    w.friend(conns[0], Request, "f3", "dan");
    w.run_for(10);
    assert_eq!(w.heard(conns[0]), ["no bob f1", "OK f3"], "an answer makes room");
}

#[test]
fn waiting_friendship_operations_are_bounded_in_bytes() {
    use hongyan::protocol::request::FriendVerb::Request;
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let others: Vec<String> = (0..24).map(|n| format!("other{n}")).collect();
    others.iter().for_each(|other| w.store.model.add_account(other, other));
    let ann = w.online("ann");
    w.store.fate(crate::sim::lanes::Fate::Fail, any);
    for other in &others {
        w.friend(ann, Request, "first", other);
        w.run_for(10);
    }
    w.heard(ann);
    // Every pair is busy until the store is back. 24 * 16 * 60,000 bytes are 23 MB; there is room
    // for 16 MiB.
    let large = "x".repeat(60_000);
    let mut refused = 0;
    for other in &others {
        for n in 0..16 {
            w.friend_saying(ann, Request, &format!("r{n}"), other, &large);
            refused += w.heard(ann).len();
        }
    }
    let room = 16 * 1024 * 1024 / 60_000;
    assert!((384 - room..384 - room + 16).contains(&refused), "{refused} of 384 were refused at once");
    w.store.work(w.now_ms);
    w.run_for(60_000);
    w.heard(ann);
    for other in &others {
        w.friend(ann, Request, "again", other);
        w.run_for(10);
    }
    assert_eq!(w.heard(ann), vec!["OK again"; 24], "nobody is busy any more");
}

#[test]
fn so_many_friends_of_one_user() {
    use hongyan::protocol::request::FriendVerb::{Accept, Delete, Request};
    let mut w = World::of_friends(CoreSettings { friends_max: 1, ..crate::rules() }, &["ann", "bob"]);
    w.store.model.add_account("cid", "cid");
    let (ann, cid) = (w.online("ann"), w.online("cid"));
    w.friend(cid, Request, "f1", "ann");
    w.run_for(10);
    w.friend(ann, Accept, "f1", "cid");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["ask cid f1", "RATE_LIMITED f1"]);
    assert!(!w.store.model.are_friends("ann", "cid"));
    w.friend(ann, Delete, "d", "bob");
    w.friend(ann, Accept, "f1", "cid");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["OK d", "OK f1"], "it was pending all the time");
    assert_eq!(w.heard(cid), ["OK f1", "yes ann f1"]);
}

#[test]
fn requests_answered_behind_a_pending_one_use_no_memory() {
    let (mut w, ann, _bob) = ann_and_bob();
    w.store.plan(|job| {
        let takes_ms = if matches!(job, Job::Verify { .. }) { 9_000 } else { 1 };
        Plan { takes_ms, answer_after_ms: 0, fate: Fate::Do }
    });
    let waits = w.open();
    w.say(waits, Say::Login { mid: "l".into(), user: "cid".into(), password: "wrong".into() });
    w.run_for(5);
    let before = w.memory_bytes();
    for _ in 0..20 {
        for _ in 0..1_000 {
            w.friend(ann, FriendVerb::Request, "f", "bob");
        }
        w.run_for(10);
        assert_eq!(w.heard(ann).len(), 1_000);
    }
    assert!(w.heard(waits).is_empty(), "it waits all the time");
    let more = w.memory_bytes() - before;
    assert!(more < 128 << 10, "{more} bytes more");
}
