//! docs/protocol.md §6: idle connections.

use super::{ann_and_bob, any};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreCloseCause, CoreSettings};
use hongyan::protocol::error::ErrorCode;
use hongyan::protocol::request::{FriendVerb, RequestType};

fn idle_at(w: &mut World, conn: ConnId) -> Option<u64> {
    w.closed(conn).map(|(at_ms, cause)| {
        assert_eq!(cause, CoreCloseCause::Idle);
        at_ms
    })
}

#[test]
fn a_silent_connection_is_closed_at_the_first_look_after_more_than_120_seconds() {
    for (opened_ms, closed_ms) in [(1, 125_000), (2_500, 125_000), (4_999, 125_000), (5_001, 130_000)] {
        let mut w = World::new(crate::rules());
        w.run_until(opened_ms);
        let conn = w.open();
        w.run_until(closed_ms - 1);
        assert!(w.is_open(conn), "{opened_ms}");
        w.run_until(closed_ms);
        assert_eq!(idle_at(&mut w, conn), Some(closed_ms), "{opened_ms}");
    }
}

#[test]
fn exactly_120_seconds_of_silence_are_not_more_than_120() {
    for (opened_ms, closed_ms) in [(0, 125_000), (5_000, 130_000), (10_000, 135_000)] {
        let mut w = World::new(crate::rules());
        w.run_until(opened_ms);
        let conn = w.open();
        w.run_until(200_000);
        assert_eq!(idle_at(&mut w, conn), Some(closed_ms), "{opened_ms}");
    }
}

#[test]
fn the_times_can_be_set_to_the_millisecond() {
    let mut w = World::new(CoreSettings { idle_timeout_ms: 101, idle_check_ms: 7, ..crate::rules() });
    w.run_until(4);
    let conn = w.open();
    w.run_until(1_000);
    assert_eq!(idle_at(&mut w, conn), Some(112), "the first multiple of 7 beyond 4 + 101 = 105");
}

/// Says something at 100 s on a connection that last spoke at about 0 s; did it count?
fn counts(logged_in: bool, say: impl FnOnce(&mut World, ConnId)) -> bool {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob"]);
    let conn = if logged_in { w.online("ann") } else { w.open() };
    w.run_until(100_000);
    say(&mut w, conn);
    w.run_until(124_999);
    assert!(w.is_open(conn), "not before its time");
    w.run_until(130_000);
    let early = idle_at(&mut w, conn);
    if early.is_none() {
        w.run_until(225_000);
        assert_eq!(idle_at(&mut w, conn), Some(225_000));
    }
    early.is_none()
}

#[test]
fn before_log_in_only_attempts_to_log_in_and_sign_up_count() {
    let login = |password: &str| {
        let (user, password) = ("ann".to_owned(), password.to_owned());
        counts(false, |w, conn| w.say(conn, Say::Login { mid: "l".into(), user, password }))
    };
    assert!(login("ann") && login("wrong"));
    let sign_up = |user: &str| {
        let user = user.to_owned();
        counts(false, |w, conn| w.say(conn, Say::SignUp { mid: "s".into(), user, password: "p".into() }))
    };
    assert!(sign_up("new") && sign_up("ann"));
    assert!(!counts(false, |w, conn| w.heartbeat(conn)));
    assert!(!counts(false, |w, conn| w.ping(conn)));
    assert!(!counts(false, |w, conn| w.ack(conn, "m1")));
    assert!(!counts(false, |w, conn| w.say(conn, Say::GetUser { mid: "g".into(), user: "bob".into() })));
    for request_type in [None, Some(RequestType::Login), Some(RequestType::SignUp)] {
        assert!(!counts(false, |w, conn| w.say(conn, Say::Bad { code: ErrorCode::BadField, request_type })));
    }
}

#[test]
fn after_log_in_heartbeats_pings_messages_acks_and_friend_requests_count_whatever_their_answer() {
    assert!(counts(true, |w, conn| w.heartbeat(conn)));
    assert!(counts(true, |w, conn| w.ping(conn)));
    assert!(counts(true, |w, conn| w.message(conn, "m1", "bob")));
    assert!(counts(true, |w, conn| w.message(conn, "m1", "nobody")));
    let forged = Say::Message { id: "m1".into(), sender: "bob".into(), receiver: "ann".into(), content: "x".into() };
    assert!(counts(true, |w, conn| w.say(conn, forged)));
    assert!(counts(true, |w, conn| w.ack(conn, "never")));
    assert!(counts(true, |w, conn| w.friend(conn, FriendVerb::Request, "f1", "bob")));
    assert!(counts(true, |w, conn| w.friend(conn, FriendVerb::Accept, "f1", "nobody")));
    assert!(counts(true, |w, conn| w.friend(conn, FriendVerb::Delete, "f1", "bob")));
    assert!(counts(true, |w, conn| w.log_in(conn, "ann")));
    let wrong = Say::Login { mid: "l".into(), user: "ann".into(), password: "wrong".into() };
    assert!(counts(true, |w, conn| w.say(conn, wrong)));
}

#[test]
fn after_log_in_nothing_else_counts() {
    assert!(!counts(true, |w, conn| w.say(conn, Say::GetUser { mid: "g".into(), user: "bob".into() })));
    assert!(
        !counts(true, |w, conn| w.say(conn, Say::SignUp { mid: "s".into(), user: "new".into(), password: "p".into() }))
    );
    for request_type in [
        None,
        Some(RequestType::Message),
        Some(RequestType::Ack),
        Some(RequestType::Friend),
        Some(RequestType::Heartbeat),
    ] {
        for code in [ErrorCode::BadJson, ErrorCode::BadField, ErrorCode::UnknownType] {
            assert!(!counts(true, |w, conn| w.say(conn, Say::Bad { code, request_type })), "{request_type:?} {code:?}");
        }
    }
    assert!(!counts(true, |w, conn| w.drain(conn)) && !counts(true, |w, conn| w.flush(conn)), "nothing waited");
    assert!(!counts(true, |w, conn| w.block(conn)));
}

#[test]
fn blocked_output_that_drains_counts_once_somebody_is_logged_in() {
    let blocked = |logged_in: bool, then: fn(&mut World, ConnId)| {
        counts(logged_in, |w, conn| {
            w.block(conn);
            then(w, conn);
        })
    };
    assert!(blocked(true, World::drain) && blocked(true, World::flush));
    assert!(!blocked(false, World::drain) && !blocked(false, World::flush));
}

#[test]
fn when_very_many_fall_silent_together_they_are_closed_over_some_ticks() {
    let mut w = World::new(crate::rules());
    let conns: Vec<_> = (0..300).map(|_| w.open()).collect();
    let open = |w: &World| conns.iter().filter(|conn| w.is_open(**conn)).count();
    for (at_ms, left) in [(124_999, 300), (125_000, 172), (125_001, 44), (125_002, 0)] {
        w.run_until(at_ms);
        assert_eq!(open(&w), left, "{at_ms}");
    }
}

/// The process was stopped; the input of that time is read over several turns.
#[test]
fn nobody_is_judged_before_everything_that_came_by_then_was_heard() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(1_000);
    assert_eq!(w.heard(ann), ["msg bob m1"]);
    w.now_ms = 300_000;
    for _ in 0..3 {
        w.tick(1_100);
        assert!(w.is_open(ann) && w.is_open(bob) && w.heard(ann).is_empty(), "neither closed nor sent to again");
        w.now_ms += 10;
    }
    w.ack(ann, "m1");
    w.heartbeat(bob);
    w.run_until(310_000);
    assert!(w.is_open(ann) && w.is_open(bob));
    assert!(w.heard(ann).is_empty(), "a push that was acked in time is not sent again");
    w.run_until(500_000);
    assert!(!w.is_open(ann) && !w.is_open(bob));
}

#[test]
fn unacked_pushes_to_a_silent_user_are_in_the_store() {
    let (mut w, ann, bob) = ann_and_bob();
    w.run_until(119_000);
    w.heartbeat(bob);
    w.store.hang(any);
    w.run_until(124_998);
    w.message(bob, "m1", "ann");
    w.store.work(124_998);
    w.run_until(125_001);
    assert_eq!(w.heard(ann), ["msg bob m1", "IDLE", "closed Idle"]);
    w.run_until(125_010);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    let ann = w.online("ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["BEAT h", "MS m1"]);
    w.ack(ann, "m1");
    w.run_for(10);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn pushes_sent_to_it_do_not_keep_a_connection_alive() {
    let (mut w, ann, bob) = ann_and_bob();
    for n in 0..13 {
        w.message(bob, &format!("m{n}"), "ann");
        w.run_for(10_000);
    }
    assert!(!w.is_open(ann) && w.is_open(bob));
}
