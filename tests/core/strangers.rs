//! Everything that a client sends costs tokens, and a stranger has few.

use super::{ann_and_bob_by, ids};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreCloseCause, CoreSettings};
use hongyan::protocol::error::ErrorCode;
use hongyan::protocol::request::RequestType;

const NOTHING: [&str; 0] = [];

fn ack() -> Say {
    Say::Ack { id: "x".into(), sender: None }
}

fn get() -> Say {
    Say::GetUser { mid: "g".into(), user: "ann".into() }
}

fn bad(code: ErrorCode, request_type: Option<RequestType>) -> Say {
    Say::Bad { code, request_type }
}

/// How often a stranger may do so at once.
fn at_once(act: impl Fn(&mut World, ConnId)) -> usize {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let conn = w.open();
    let done = (0..1_000).take_while(|_| {
        act(&mut w, conn);
        w.is_open(conn)
    });
    let done = done.count();
    let heard = w.heard(conn);
    let last = &heard[heard.len() - 2..];
    assert!(last[0].starts_with("RATE_LIMITED") && last[1] == "closed TooFast", "{last:?}");
    assert_eq!(heard.iter().filter(|line| line.starts_with("RATE_LIMITED")).count(), 1);
    done
}

#[test]
fn a_stranger_may_send_a_hundred_whatever_it_is() {
    for say in [
        ack(),
        get(),
        Say::Heartbeat { mid: "h".into() },
        bad(ErrorCode::BadField, Some(RequestType::Login)),
        bad(ErrorCode::UnknownType, None),
        bad(ErrorCode::BadField, Some(RequestType::GetUser)),
        Say::Message { id: "m".into(), sender: "a".into(), receiver: "b".into(), content: "c".into() },
    ] {
        assert_eq!(at_once(|w, conn| w.say(conn, say.clone())), 100, "{say:?}");
    }
    assert_eq!(at_once(|w, conn| w.ping(conn)), 100);
}

#[test]
fn and_twenty_a_second_more() {
    let mut w = World::new(crate::rules());
    let conn = w.open();
    for _ in 0..100 {
        w.say(conn, get());
    }
    for _ in 0..10 {
        w.run_for(1_000);
        (0..20).for_each(|_| w.say(conn, get()));
    }
    assert!(w.is_open(conn));
    w.say(conn, get());
    assert_eq!(w.heard(conn), ["RATE_LIMITED g", "closed TooFast"]);
}

#[test]
fn log_ins_and_messages_have_their_own_answer_first() {
    let mut w = World::new(CoreSettings { requests_before_login_max: 1, ..crate::rules() });
    let conns = [w.open(), w.open()];
    conns.iter().for_each(|&conn| w.say(conn, get()));
    w.log_in(conns[0], "ann");
    assert_eq!(w.heard(conns[0]), ["LF l", "RATE_LIMITED l", "closed TooFast"]);
    w.say(conns[1], Say::Message { id: "m".into(), sender: "a".into(), receiver: "b".into(), content: "c".into() });
    assert_eq!(w.heard(conns[1]), ["MF m", "RATE_LIMITED m", "closed TooFast"]);
}

#[test]
fn the_connections_of_an_address_have_an_allowance_together() {
    let mut w = World::of_friends(
        CoreSettings {
            requests_before_login_per_address_max: 50,
            requests_before_login_per_address_per_second_max: 10,
            ..crate::rules()
        },
        &["ann", "bob"],
    );
    let ann = w.open_from(1);
    w.log_in(ann, "ann");
    w.run_for(10);
    let conns: Vec<ConnId> = (0..20).map(|_| w.open_from(1)).collect();
    for (n, &conn) in conns.iter().cycle().take(49).enumerate() {
        w.say(conn, get());
        assert!(w.is_open(conn), "{n}");
    }
    w.say(conns[19], get());
    assert_eq!(w.heard(conns[19]), ["RATE_LIMITED g", "closed TooFast"]);
    // A user who is logged in is no stranger, nor is one from elsewhere or from here.
    w.heartbeat(ann);
    assert_eq!(w.heard(ann), ["LS l", "BEAT h"]);
    for address_key in [2, 0] {
        let conn = w.open_from(address_key);
        w.say(conn, Say::Heartbeat { mid: "h".into() });
        assert_eq!(w.heard(conn), ["NOT_LOGGED_IN h"]);
    }
    w.run_for(1_000);
    w.log_in(conns[0], "bob");
    w.run_for(10);
    assert_eq!(w.heard(conns[0]), ["LS l"], "ten a second");
}

#[test]
fn after_a_log_in_the_allowance_is_that_of_a_user() {
    let mut w = World::of_friends(CoreSettings { requests_before_login_max: 3, ..crate::rules() }, &["ann"]);
    let conn = w.open();
    w.say(conn, get());
    w.say(conn, get());
    w.log_in(conn, "ann");
    w.run_for(10);
    for _ in 0..1_000 {
        w.heartbeat(conn);
    }
    assert_eq!(w.heard(conn).len(), 1_001);
}

#[test]
fn a_client_with_too_many_refused_requests_is_closed_and_a_request_within_the_rate_makes_up_for_one() {
    let rules = CoreSettings { requests_per_second_max: 10, refused_requests_max: 5, ..crate::rules() };
    let (mut w, ann, bob) = ann_and_bob_by(rules);
    w.run_for(1_000);
    for _ in 0..15 {
        w.heartbeat(ann);
    }
    assert_eq!(w.heard(ann)[10..], ["RATE_LIMITED h"; 5]);
    w.run_for(1_000);
    for _ in 0..10 {
        w.heartbeat(ann);
    }
    assert_eq!(w.heard(ann), ["BEAT h"; 10]);
    for _ in 0..5 {
        w.heartbeat(ann);
    }
    assert_eq!(w.heard(ann), ["RATE_LIMITED h"; 5]);
    w.say(ann, bad(ErrorCode::BadField, Some(RequestType::Login)));
    assert_eq!(w.heard(ann), ["LF", "RATE_LIMITED", "closed TooFast"]);
    for _ in 0..15 {
        w.ping(bob);
    }
    assert!(w.is_open(bob));
    w.ping(bob);
    assert_eq!(w.closed(bob).map(|(_, cause)| cause), Some(CoreCloseCause::TooFast));
}

#[test]
fn an_ack_beyond_the_rate_is_not_heard_and_its_push_comes_again() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { requests_per_second_max: 3, ..crate::rules() });
    w.message(bob, "m", "ann");
    w.run_for(1_000);
    (0..3).for_each(|_| w.ack(ann, "other"));
    w.ack(ann, "m");
    w.run_for(16_000);
    assert_eq!(w.heard(ann), ["msg bob m", "msg bob m"], "no word about the ack");
    w.ack(ann, "m");
    w.run_for(16_000);
    assert_eq!(ids(&w.heard(ann)), NOTHING);
}

#[test]
fn nothing_but_tries_to_log_in_keeps_a_stranger_connected() {
    let mut w = World::of_friends(crate::rules(), &["ann"]);
    let (silent, busy, trying) = (w.open(), w.open(), w.open());
    for n in 0..125 {
        let says = [
            ack(),
            get(),
            Say::Heartbeat { mid: "h".into() },
            Say::Message { id: "m".into(), sender: "ann".into(), receiver: "ann".into(), content: "c".into() },
            bad(ErrorCode::BadField, Some(RequestType::Login)),
            bad(ErrorCode::BadJson, None),
        ];
        w.say(busy, says[n % says.len()].clone());
        w.ping(busy);
        if n % 60 == 0 {
            w.say(trying, Say::Login { mid: "l".into(), user: "ann".into(), password: "wrong".into() });
        }
        w.run_for(1_000);
    }
    assert_eq!(w.closed(silent), Some((125_000, CoreCloseCause::Idle)));
    assert_eq!(w.closed(busy), Some((125_000, CoreCloseCause::Idle)));
    assert!(w.is_open(trying));
}
