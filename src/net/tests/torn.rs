//! Sockets that tear and fail at every place where they can, drawn from seeds; and ends that come
//! early.

use super::websocket::{HANDSHAKE, frames, masked};
use super::*;
use crate::net::counters::CloseCause;

const BEAT: &str = r#"{"MID":"h","TYPE":"0"}"#;
/// Bob's, to Ann.
const LETTERS: usize = 12;

/// Ann and Bob, logged in.
fn friends(world: &mut TestConnectionHub) -> (TestClient, TestClient) {
    let (ann, bob) = (world.connect(), world.connect());
    ann.send(login("ann"));
    bob.send(login("bob"));
    world.settle();
    (ann, bob)
}

/// Checks what the two have received when all letters were taken.
#[track_caller]
fn all_was_taken(world: &mut TestConnectionHub, ann: &TestClient, bob: &TestClient, seed: u64) {
    world.settle();
    for n in 0..LETTERS {
        ann.send(ack(n));
    }
    world.settle();
    let letters: String = (0..LETTERS).map(|n| pushed(n, "a letter")).collect();
    assert_eq!(ann.text(), format!("{LS}{letters}"), "seed {seed}");
    let taken: String = (0..LETTERS).map(ms).collect();
    assert_eq!(bob.text(), format!("{LS}{taken}"), "seed {seed}");
}

/// A third one talks, raw or over WebSocket, until a call on their socket fails.
#[test]
fn a_call_that_fails_ends_that_connection_and_disturbs_nobody() {
    for seed in 0..72_u64 {
        let mut random = Rng::with_seed(seed);
        let fault = [FakeSocketFault::Read, FakeSocketFault::Write, FakeSocketFault::WriteZero][seed as usize % 3];
        let mut world = TestConnectionHub::new(seed, [0, 1, 3, 50][random.usize(..4)]);
        let (ann, bob) = friends(&mut world);
        let victim = world.connect();
        let is_web_socket = seed % 2 == 1;
        let say = |text: &str| {
            if is_web_socket { victim.send(masked(1, text.as_bytes())) } else { victim.send(text) }
        };
        victim.0.borrow_mut().fault = Some((fault, random.usize(..LETTERS)));
        if is_web_socket {
            victim.send(HANDSHAKE);
        }
        say(&login("cid"));
        for n in 0..LETTERS {
            bob.send(message(n, "a letter"));
            say(BEAT);
            // Long enough for one call of each kind.
            for _ in 0..if world.piece_max == 0 { 1 } else { 60 } {
                world.turn();
            }
        }
        // Answers are gathered, so it may take some more of them.
        for _ in 0..100 {
            if !victim.dropped() {
                say(BEAT);
                world.turn();
            }
        }
        assert!(victim.dropped(), "seed {seed}: {fault:?}");
        assert_eq!(world.hub.counters().closed(CloseCause::IoError), 1, "seed {seed}: {fault:?}");
        all_was_taken(&mut world, &ann, &bob, seed);
        assert_eq!(world.hub.conns_len(), 2, "seed {seed}");
    }
}

#[test]
fn last_words_are_out_before_an_end_that_fails() {
    for piece_max in [0, 1, 7] {
        let mut world = TestConnectionHub::new(21, piece_max);
        let (ann, bob) = friends(&mut world);
        ann.0.borrow_mut().fault = Some((FakeSocketFault::End, 0));
        let newer = world.connect();
        newer.send(login("ann"));
        world.settle();
        assert!(ann.text().contains("REPLACED"), "{}", ann.text());
        assert!(ann.dropped() && !ann.server_ended(), "there is nothing more to be done for it");
        bob.send(message(0, "a letter"));
        world.settle();
        assert_eq!(newer.text(), format!("{LS}{}", pushed(0, "a letter")));
    }
}

/// A client that is told something last and cannot be written to is closed, too.
#[test]
fn last_words_that_cannot_be_written_hold_nothing_up() {
    for fault in [FakeSocketFault::Write, FakeSocketFault::WriteZero] {
        let mut world = TestConnectionHub::new(22, 0);
        let (ann, _bob) = friends(&mut world);
        ann.set_room(4);
        ann.0.borrow_mut().fault = Some((fault, 2));
        let newer = world.connect();
        newer.send(login("ann"));
        world.settle();
        ann.set_room(usize::MAX);
        world.settle();
        assert!(ann.dropped(), "{fault:?}");
        assert_eq!(newer.text(), LS);
    }
}

/// Pieces of 1 to n bytes, blocked and interrupted anywhere, on both sides, in what one of them
/// speaks.
#[test]
fn pieces_of_any_size_say_the_same_in_lines_and_in_frames() {
    for piece_max in 1..=24 {
        let mut world = TestConnectionHub::new(100 + piece_max as u64, piece_max);
        let (ann, bob) = (world.connect(), world.connect());
        ann.send(HANDSHAKE);
        ann.send(masked(1, login("ann").as_bytes()));
        bob.send(login("bob"));
        world.settle();
        let text = "y".repeat(piece_max * 11);
        for n in 0..4 {
            bob.send(message(n, &text));
        }
        world.settle();
        for n in 0..4 {
            ann.send(masked(1, ack(n).as_bytes()));
        }
        world.settle();
        let mut expected = vec![(0x81, LS.trim_end().as_bytes().to_vec())];
        expected.extend((0..4).map(|n| (0x81, pushed(n, &text).trim_end().as_bytes().to_vec())));
        assert_eq!(frames(&ann.received()), expected, "{piece_max}");
        assert_eq!(bob.text(), format!("{LS}{}", (0..4).map(ms).collect::<String>()), "{piece_max}");
    }
}

/// A client writes its requests and ends its side, as a pipe into a socket does.
fn letter_and_end(world: &mut TestConnectionHub, bob: &TestClient) -> u64 {
    bob.send(message(0, "a letter"));
    bob.end();
    let asked_ms = world.now_ms;
    // The save delay passes; from then on the store is waited for.
    world.settle();
    world.now_ms += CoreSettings::default().save_after_ms;
    world.settle();
    asked_ms
}

#[test]
fn a_client_that_ended_its_side_is_kept_until_its_answer_and_then_closed() {
    let mut world = TestConnectionHub::new(23, 0);
    let (_ann, bob) = friends(&mut world);
    world.store_answers = false;
    let asked_ms = letter_and_end(&mut world, &bob);
    while world.now_ms < asked_ms + 6_000 {
        world.now_ms += 250;
        world.turn();
        assert!(!bob.server_ended(), "{} ms", world.now_ms - asked_ms);
    }
    world.store_answers = true;
    world.settle();
    assert_eq!(bob.text(), format!("{LS}{}", ms(0)));
    world.now_ms += 2_000;
    world.settle();
    assert!(bob.dropped());
    assert_eq!(world.hub.counters().closed(CloseCause::PeerClosed), 1);
}

#[test]
fn a_client_that_ended_its_side_late_is_kept_all_the_same() {
    let mut world = TestConnectionHub::new(24, 0);
    let (_ann, bob) = friends(&mut world);
    world.store_answers = false;
    bob.send(message(0, "a letter"));
    world.settle();
    world.now_ms += 4_000;
    world.settle();
    bob.end();
    world.settle();
    assert!(!bob.server_ended());
    world.store_answers = true;
    world.settle();
    assert_eq!(bob.text(), format!("{LS}{}", ms(0)));
}

#[test]
fn a_store_that_never_answers_holds_nobody_for_longer_than_an_answer_takes() {
    let mut world = TestConnectionHub::new(25, 0);
    let (_ann, bob) = friends(&mut world);
    world.store_answers = false;
    let asked_ms = letter_and_end(&mut world, &bob);
    while !bob.dropped() {
        world.now_ms += 250;
        world.turn();
        assert!(world.now_ms <= asked_ms + 13_000, "an answer's time and a look");
    }
    assert!(bob.text().contains("\"MF\"") && bob.text().contains("UNAVAILABLE"), "{}", bob.text());
}
