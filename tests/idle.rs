//! Idle connections, over loopback with short settings. The exact times are tested on a virtual
//! clock in core.rs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{ContentForm, Server, TRANSPORTS, Transport};
use std::time::{Duration, Instant};
use tungstenite::{Bytes, Message};

const TIMEOUT: Duration = Duration::from_millis(600);

fn server() -> Server {
    Server::tuned(|config| {
        config.rules.idle_timeout_ms = TIMEOUT.as_millis() as u64;
        config.rules.idle_check_ms = 50;
        // Here clients speak as fast as they can, and on a quick machine that is more than is
        // allowed.
        config.rules.requests_per_second_max = 10_000_000;
    })
}

#[test]
fn the_silent_are_closed_logged_in_or_not() {
    let server = server();
    for transport in TRANSPORTS {
        let start = Instant::now();
        let mut silent = server.client(transport, ContentForm::Text);
        silent.expect_closed_as_idle();
        assert!(start.elapsed() >= TIMEOUT, "not before its time");
    }
    let mut ann = server.user("ann");
    let start = Instant::now();
    ann.expect_closed_as_idle();
    assert!(start.elapsed() >= TIMEOUT - Duration::from_millis(100));
}

#[test]
fn requests_without_effect_do_not_keep_a_connection_open() {
    let server = server();
    let mut ann = server.user("ann");
    let start = Instant::now();
    // Profiles and errors, one after another, for as long as it lives.
    loop {
        ann.send(r#"{"TYPE":"3","MID":"g","CONTENT":"ann"}"#);
        if ann.next().is_none() {
            break;
        }
        assert!(start.elapsed() < common::PATIENCE, "still there");
        ann.send(r#"{"TYPE":"9"}"#);
        if ann.next().is_none() {
            break;
        }
        std::thread::yield_now();
    }
}

#[test]
fn heartbeats_and_pings_keep_it() {
    let server = server();
    let mut ann = server.user("ann");
    let start = Instant::now();
    while start.elapsed() < 3 * TIMEOUT {
        ann.fence();
    }
    let mut bob = server.client(Transport::WebSocket, ContentForm::Object);
    bob.sign_up("bob");
    bob.log_in("bob");
    let start = Instant::now();
    while start.elapsed() < 3 * TIMEOUT {
        bob.send_message(Message::Ping(Bytes::new()));
        assert!(matches!(bob.next_message(), Ok(Message::Pong(_))));
    }
    bob.fence();
}

#[test]
fn after_the_drop_unacked_pushes_wait_in_the_store() {
    let server = server();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    ann.send(&ann.message("m", "bob", "are you there?"));
    bob.expect_push("4", "m");
    ann.expect_reply("RE_MESSAGE", "m", "MS");
    bob.expect_closed_as_idle();
    for _ in 0..2 {
        let mut bob = server.raw();
        bob.log_in("bob");
        bob.expect_push("4", "m");
    }
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.take("m");
    bob.fence();
    drop(bob);
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.fence();
}
