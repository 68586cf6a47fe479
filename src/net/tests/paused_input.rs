//! Input that waits: for the core, or for output.

use super::websocket::{HANDSHAKE, frames, masked};
use super::*;
use crate::net::conn::InputWaitReasons;
use crate::net::counters::CloseCause;
use crate::net::state::ConnectionWriteState;

const ASK: &str = r#"{"MID":"g","CONTENT":"bob","TYPE":"3"}"#;
const TOKEN: &str = r#"{"MID":"t","CONTENT":{"want":"new"},"TYPE":"TOKEN"}"#;

fn beat(n: usize) -> String {
    format!(r#"{{"MID":"h{n}","TYPE":"0"}}"#)
}

/// Which of these ids have been answered, in the order of the answers.
fn answered(received: &[u8], ids: &[&str]) -> Vec<String> {
    let text = String::from_utf8_lossy(received).into_owned();
    let mut found: Vec<_> = ids
        .iter()
        .filter_map(|id| text.find(&format!("\"MessageId\":\"{id}\"")).map(|at| (at, (*id).to_owned())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, id)| id).collect()
}

/// Acks, heartbeats and log-ins go on up to the first request, which waits with all that is behind
/// it, whatever pieces it comes in.
#[test]
fn while_requests_are_paused_the_others_go_on_to_the_first_of_them() {
    for request in [ASK.to_owned(), TOKEN.to_owned(), message(1, "x"), sign_up("ann"), message(1, "\\u0001 é")] {
        for (piece_max, is_web_socket) in [(0, false), (1, false), (7, false), (0, true), (1, true), (9, true)] {
            let case = format!("{request} in pieces of {piece_max}, {is_web_socket}");
            let mut world = TestConnectionHub::new(41, piece_max);
            let bob = world.connect();
            let id = world.clients[0].0;
            let say = |text: &str| {
                if is_web_socket { bob.send(masked(1, text.as_bytes())) } else { bob.send(text) }
            };
            if is_web_socket {
                bob.send(HANDSHAKE);
            }
            say(&login("bob"));
            world.settle();
            world.hub.set_wait_reason(id, InputWaitReasons::REQUESTS_PAUSED, true);
            for text in [&beat(1), &ack(3), &beat(2), &request, &beat(4), &request.replace("m1", "m2"), &beat(5)] {
                say(text);
            }
            world.settle();
            let ids = ["h1", "h2", "g", "t", "m1", "s", "h4", "m2", "h5"];
            assert_eq!(answered(&bob.received(), &ids), ["h1", "h2"], "{case}");
            assert!(world.hub.work.has_nothing_to_read(), "nobody turns for nothing");
            world.hub.set_wait_reason(id, InputWaitReasons::REQUESTS_PAUSED, false);
            world.settle();
            world.now_ms += 1_000;
            world.settle();
            let got = answered(&bob.received(), &ids);
            assert!(got.contains(&"h4".to_owned()) && got.contains(&"h5".to_owned()), "{case}: {got:?}");
            assert!(got.len() >= 5, "{case}: {got:?}");
            let kept = world.hub.conns.get(id).unwrap();
            assert!(!kept.owns_memory(), "{case}: everything is used up");
            if is_web_socket {
                assert!(frames(&bob.received()).iter().all(|(first, _)| *first == 0x81), "{case}");
            }
        }
    }
}

#[test]
fn a_log_in_passes_and_pauses_the_rest_until_it_is_done() {
    let mut world = TestConnectionHub::new(42, 0);
    let ann = world.connect();
    let id = world.clients[0].0;
    world.hub.set_wait_reason(id, InputWaitReasons::REQUESTS_PAUSED, true);
    world.store_answers = false;
    ann.send(login("ann") + &beat(1) + ASK);
    world.settle();
    assert_eq!(ann.text(), "");
    world.hub.set_wait_reason(id, InputWaitReasons::REQUESTS_PAUSED, false);
    world.settle();
    assert_eq!(ann.text(), "", "it is paused for its log-in all the same");
    world.store_answers = true;
    world.settle();
    assert_eq!(answered(&ann.received(), &["l", "h1", "g"]), ["l", "h1", "g"]);
}

#[test]
fn a_client_that_ends_its_side_behind_a_paused_request_gets_its_answer() {
    for piece_max in [0, 3] {
        let mut world = TestConnectionHub::new(43, piece_max);
        let ann = world.connect();
        let id = world.clients[0].0;
        ann.send(login("ann"));
        world.settle();
        world.hub.set_wait_reason(id, InputWaitReasons::REQUESTS_PAUSED, true);
        ann.send(ASK);
        ann.end();
        world.settle();
        assert!(!ann.server_ended());
        world.hub.set_wait_reason(id, InputWaitReasons::REQUESTS_PAUSED, false);
        world.settle();
        assert_eq!(answered(&ann.received(), &["l", "g"]), ["l", "g"]);
    }
}

/// Ann, whose output is full of messages from Bob: it is more than the limit for answers.
fn full_of_pushes(world: &mut TestConnectionHub) -> (TestClient, TestClient) {
    let (ann, bob) = (world.connect(), world.connect());
    ann.send(login("ann"));
    bob.send(login("bob"));
    world.settle();
    ann.set_room(1);
    let text = "x".repeat(60_000);
    for n in 0..15 {
        bob.send(message(n, &text));
    }
    world.settle();
    let waits = |world: &TestConnectionHub| world.hub.conns.get(world.clients[0].0).unwrap().output.len();
    // The pushes that were not sent while the output was blocked come in one piece when it is free.
    for n in 0..15 {
        ann.send(ack(n));
    }
    ann.set_room(waits(world));
    world.turn();
    assert!(waits(world) > 256 * 1024, "{} bytes wait", waits(world));
    (ann, bob)
}

#[test]
fn messages_of_a_friend_pause_nothing() {
    let mut world = TestConnectionHub::new(44, 0);
    let (ann, _bob) = full_of_pushes(&mut world);
    for n in 0..500 {
        ann.send(ack(0) + ASK + &beat(n));
    }
    world.settle();
    assert_eq!(ann.0.borrow().to_server.len(), 0, "all of it is read");
    ann.set_room(usize::MAX);
    world.settle();
    assert!(answered(&ann.received(), &["g", "h499"]) == ["g", "h499"]);
}

#[test]
fn a_silent_client_that_takes_its_output_slowly_is_kept() {
    let mut world = TestConnectionHub::new(45, 0);
    let (ann, _bob) = full_of_pushes(&mut world);
    let start_ms = world.now_ms;
    while world.now_ms < start_ms + 400_000 {
        ann.set_room(10_000);
        world.now_ms += 20_000;
        world.turn();
        world.turn();
        assert!(!ann.server_ended() && !ann.dropped(), "after {} ms", world.now_ms - start_ms);
    }
    // It takes nothing any more, and is silent.
    ann.set_room(0);
    for _ in 0..7 {
        world.now_ms += 20_000;
        world.settle();
    }
    let counters = world.hub.counters();
    let idle = counters.closed(CloseCause::Chat(crate::chat::contract::CoreCloseCause::Idle));
    assert_eq!(idle + counters.closed(CloseCause::OutputTimeout), 1 + 1, "Ann, and Bob, who said nothing for so long");
}

#[test]
fn own_answers_that_are_not_read_pause_requests_first_and_then_everything() {
    let mut world = TestConnectionHub::new(46, 0);
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    ann.set_room(0);
    // Some 200 KB of answers.
    for n in 0..2_500 {
        ann.send(beat(n));
    }
    world.settle();
    ann.send(beat(1) + ASK + &beat(2));
    world.settle();
    let waits = |world: &TestConnectionHub| world.hub.conns.get(world.clients[0].0).unwrap().input_waits;
    assert!(
        waits(&world).has(InputWaitReasons::CHOKED)
            && waits(&world).has(InputWaitReasons::STALLED)
            && !waits(&world).has(InputWaitReasons::SHUT)
    );
    // Enough is out: the request goes on, although some still waits.
    ann.set_room(160_000);
    world.settle();
    assert_eq!(waits(&world), InputWaitReasons::default());
    assert_eq!(world.hub.conns.get(world.clients[0].0).unwrap().write, ConnectionWriteState::Blocked);
    for n in 0..10_000 {
        ann.send(beat(n));
    }
    world.settle();
    assert!(waits(&world).has(InputWaitReasons::SHUT));
    assert!(ann.0.borrow().to_server.len() > 10_000, "it is not read any more");
    ann.set_room(usize::MAX);
    world.settle();
    assert_eq!(ann.text().lines().count(), 1 + 2_500 + 3 + 10_000);
}
