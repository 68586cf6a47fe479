//! Limits of the whole server, over loopback. Those of the core are in `core/limits.rs` and
//! `core/auth_queue.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Client, PATIENCE, Server, envelope};
use serde_json::json;
use std::io::Write;
use std::time::Instant;
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

#[test]
fn so_many_users_and_further_connections_are_closed_as_they_come() {
    let server = Server::tuned(|config| config.connections_max = 3);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let third = server.user("cy");
    for n in 0..5 {
        server.raw().expect_closed();
        ann.send(&ann.message(&format!("m{n}"), "bob", "not disturbed"));
        bob.take(&format!("m{n}"));
        ann.expect_reply("RE_MESSAGE", &format!("m{n}"), "MS");
    }
    drop(third);
    let until = Instant::now() + PATIENCE;
    // The server notices the end in its own time.
    loop {
        let mut client = server.raw();
        // Fails when the server has closed already.
        client.stream().write_all(b"{\"TYPE\":\"0\",\"MID\":\"h\"}\n").ok();
        if client.next().is_some_and(|frame| frame.contains("NOT_LOGGED_IN")) {
            break;
        }
        assert!(Instant::now() < until, "its place is not free");
    }
}

#[test]
fn a_crowd_that_never_logs_in_keeps_no_user_out() {
    let server = Server::tuned(|config| config.connections_max = 20);
    let mut crowd: Vec<Client> = (0..60).map(|_| server.raw()).collect();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    crowd.extend((0..60).map(|_| server.raw()));
    for n in 0..5 {
        ann.send(&ann.message(&format!("m{n}"), "bob", "not disturbed"));
        bob.take(&format!("m{n}"));
        ann.expect_reply("RE_MESSAGE", &format!("m{n}"), "MS");
    }
    // The oldest of the crowd made room.
    crowd.swap_remove(0).expect_closed();
}

fn log_in(client: &mut Client, password: &str) {
    client.send(&envelope(client.form, "2", Some("l"), &json!({"USER": "ann", "PASS": password})));
    client.expect_reply("RE_SIGNUP", "l", "LF");
}

#[test]
fn when_the_budget_of_a_user_is_used_up_even_a_cached_password_is_refused_and_a_token_gets_in() {
    let server = Server::tuned(|config| {
        config.rules.wrong_passwords_per_user_max = 3;
        config.rules.wrong_password_per_user_forgotten_after_ms = 3_600_000;
        config.rules.trusted_addresses_max = 0;
    });
    // The second log-in is the cache's.
    drop(server.user("ann"));
    let mut ann = server.raw();
    ann.log_in("ann");
    ann.send(&envelope(ann.form, "TOKEN", Some("t"), &json!({"want": "new"})));
    let token = common::content(&ann.recv())["Content"].clone();
    let mut guesser = server.web_socket();
    for _ in 0..3 {
        log_in(&mut guesser, "wrong");
    }
    for _ in 0..10 {
        log_in(&mut guesser, "secret");
        guesser.expect_error("l", "RATE_LIMITED");
    }
    let Ok(Message::Close(Some(close))) = guesser.next_message() else { panic!("it may go on") };
    assert_eq!(close.code, CloseCode::Policy);
    let mut other = server.raw();
    log_in(&mut other, "secret");
    other.expect_error("l", "RATE_LIMITED");
    other.send(&envelope(other.form, "2", Some("l"), &json!({"USER": "ann", "TOKEN": token})));
    other.expect_reply("RE_SIGNUP", "l", "LS");
    ann.expect_error("", "REPLACED");
}

#[test]
fn a_client_that_sends_too_much_is_told_so_and_closed_while_others_talk() {
    let server = Server::tuned(|config| {
        config.rules.requests_before_login_max = 5;
        config.rules.requests_before_login_per_second_max = 1;
        config.rules.requests_per_second_max = 50;
        config.rules.refused_requests_max = 20;
    });
    let (mut ann, mut bob) = server.friends("ann", "bob");
    // Before a log-in everything counts that it sends, acks of nothing too.
    let ack = envelope(common::ContentForm::Text, "5", None, &json!({"MessageId": "none"}));
    let mut raw = server.raw();
    raw.send_bytes(ack.repeat(200).as_bytes());
    (0..5).for_each(|_| raw.expect_error("", "NOT_LOGGED_IN"));
    raw.expect_error("", "RATE_LIMITED");
    raw.expect_closed();
    let mut web_socket = server.web_socket();
    for _ in 0..20 {
        web_socket.send_message(Message::Ping(vec![].into()));
    }
    assert_eq!(closed_with(&mut web_socket), CloseCode::Policy);
    // One who is logged in, and does not stop when it is refused.
    let mut eager = server.user("eve");
    eager.send_bytes(envelope(eager.form, "3", Some("g"), &json!("ann")).repeat(2_000).as_bytes());
    let mut refused = 0;
    while let Some(frame) = eager.next() {
        refused += usize::from(frame.contains("RATE_LIMITED"));
    }
    assert!(refused > 20, "closed after {refused} refusals");
    ann.send(&ann.message("m", "bob", "not disturbed"));
    bob.take("m");
    ann.expect_reply("RE_MESSAGE", "m", "MS");
}

fn closed_with(client: &mut Client) -> CloseCode {
    loop {
        match client.next_message() {
            Ok(Message::Close(Some(close))) => return close.code,
            Ok(_) => {}
            Err(error) => panic!("closed without a word: {error}"),
        }
    }
}

#[test]
fn a_server_that_takes_no_sign_ups_says_so_and_its_connection_stays() {
    let server = Server::tuned(|config| config.rules.sign_ups = false);
    let mut client = server.raw();
    for id in ["one", "two"] {
        client.send(&envelope(client.form, "1", Some(id), &json!({"userName": "ann", "hashValue": "secret"})));
        client.expect_reply("RE_SIGNUP", id, "SF");
        client.expect_error(id, "FORBIDDEN");
    }
}
