//! The lines of the log about clients, one by one, in both forms. A client cannot make the log say
//! something else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/logs/`.
mod logs {
    mod fail2ban;
    mod recipes;
}

use common::{CHEAP_PASSWORDS, Client, ContentForm, PATIENCE, Program, envelope};
use serde_json::{Value, json};
use std::time::Instant;

/// A server behind a proxy on loopback, which these tests are: so clients have addresses of their
/// own.
fn server(args: &[&str]) -> Program {
    Program::on("memory:", &[&CHEAP_PASSWORDS[..], &["--trusted-proxies", "127.0.0.1"], args].concat())
}

/// A client from this address.
fn client(program: &Program, address: &str) -> Client {
    let mut client = program.client(ContentForm::Text);
    client.send_bytes(format!("PROXY TCP4 {address} 127.0.0.1 4711 1102\r\n").as_bytes());
    client
}

fn try_password(client: &mut Client, user: &str, password: &str) {
    client.send(&envelope(ContentForm::Text, "2", Some("l"), &json!({"USER": user, "PASS": password})));
}

#[track_caller]
fn wrong_password(client: &mut Client, user: &str) {
    try_password(client, user, "wrong");
    client.expect_reply("RE_SIGNUP", "l", "LF");
}

/// The rest of the next line with this message, behind the message.
#[track_caller]
fn next(program: &Program, message: &str) -> String {
    let line = program.wait_for(&format!("] {message}"));
    line.split_once(message).unwrap().1.trim().to_owned()
}

#[test]
fn events_of_clients_are_logged_with_address_connection_cause_and_user() {
    let program = server(&["--wrong-passwords-per-connection-max", "1", "--sign-ups-per-address-max", "1"]);
    let mut ann = client(&program, "192.0.2.7");
    ann.sign_up("ann");
    assert_eq!(next(&program, "sign-up"), "address=192.0.2.7 conn=0.0 user=ann");
    ann.log_in("ann");
    assert_eq!(next(&program, "log-in"), "address=192.0.2.7 conn=0.0 by=password user=ann");
    let mut again = client(&program, "198.51.100.1");
    again.log_in("ann");
    assert_eq!(next(&program, "session replaced"), "address=192.0.2.7 conn=0.0 by=1.0 user=ann");
    assert_eq!(next(&program, "log-in"), "address=198.51.100.1 conn=1.0 by=password user=ann");
    let mut guesser = client(&program, "192.0.2.8");
    wrong_password(&mut guesser, "ann");
    assert_eq!(next(&program, "wrong password"), "address=192.0.2.8 conn=2.0 cause=wrong_password user=ann");
    wrong_password(&mut guesser, "ann");
    assert_eq!(next(&program, "log-in refused"), "address=192.0.2.8 conn=2.0 cause=passwords_per_connection user=ann");
    let words = json!({"userName": "bob", "hashValue": "secret"});
    let mut second = client(&program, "192.0.2.7");
    second.send(&envelope(ContentForm::Text, "1", Some("s"), &words));
    second.expect_reply("RE_SIGNUP", "s", "SF");
    assert_eq!(next(&program, "sign-up refused"), "address=192.0.2.7 conn=3.0 cause=sign_ups_per_address user=bob");
}

#[test]
fn a_client_without_a_proxy_has_the_address_of_its_connection() {
    let program = Program::on("memory:", &CHEAP_PASSWORDS);
    let mut ann = program.client(ContentForm::Text);
    wrong_password(&mut ann, "ann");
    assert_eq!(next(&program, "wrong password"), "address=127.0.0.1 conn=0.0 cause=wrong_password user=ann");
}

#[test]
fn each_line_is_a_json_object_if_that_is_asked_for() {
    let program = server(&["--log-format", "json"]);
    let mut ann = client(&program, "192.0.2.7");
    wrong_password(&mut ann, "a \"b\"");
    let line: Value = serde_json::from_str(&program.wait_for("wrong password")).unwrap();
    assert!(line["time"].as_str().is_some_and(|time| time.len() == 27 && time.ends_with('Z')), "{line}");
    let fields = ["level", "message", "address", "conn", "cause", "user"].map(|key| line[key].as_str().unwrap());
    assert_eq!(fields, ["info", "wrong password", "192.0.2.7", "0.0", "wrong_password", "a \"b\""]);
    // And so is the line that says where it listens.
    let mut other = std::process::Command::new(env!("CARGO_BIN_EXE_hongyan"));
    let listen = program.addr.to_string();
    let taken = other.args(["--store", "memory:", "--log-format", "json", "--listen", &listen]).output().unwrap();
    for line in String::from_utf8(taken.stderr).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
}

#[test]
fn a_name_cannot_change_the_meaning_of_a_line() {
    let program = server(&[]);
    let mut mallory = client(&program, "192.0.2.7");
    for (name, shown) in [
        ("x from 1.2.3.4", "\"x from 1.2.3.4\""),
        ("x\" address=1.2.3.4 \"", "\"x\\\" address=1.2.3.4 \\\"\""),
        ("\u{202e}nna\u{2066}", "\"\\u{202e}nna\\u{2066}\""),
        ("a\u{2028}b", "\"a\\u{2028}b\""),
        ("安娜", "\"安娜\""),
    ] {
        wrong_password(&mut mallory, name);
        let said = next(&program, "wrong password");
        assert_eq!(said, format!("address=192.0.2.7 conn=0.0 cause=wrong_password user={shown}"));
    }
    // A name with a control character is none.
    try_password(&mut mallory, "x\n\u{1b}[31m", "wrong");
    let said = next(&program, "log-in refused");
    assert_eq!(said, "address=192.0.2.7 conn=0.0 cause=bad_request");
}

#[test]
fn lines_beyond_the_rate_are_counted_and_at_debug_there_are_all() {
    let limits = ["--wrong-passwords-per-connection-max", "1000", "--wrong-passwords-per-user-max", "1000"];
    let limits = [&limits[..], &["--wrong-passwords-per-user-and-address-max", "1000", "--requests-before-login-max"]];
    let limits = [&limits.concat()[..], &["1000", "--log-lines-per-second-max", "1"]].concat();
    let guess = |program: &Program| {
        let mut guesser = client(program, "192.0.2.7");
        for _ in 0..50 {
            wrong_password(&mut guesser, "ann");
        }
    };
    let program = server(&limits);
    let start = Instant::now();
    guess(&program);
    let (mut lines, mut left_out) = (0, 0);
    while lines + left_out < 50 {
        let line = program.wait_for("wrong password");
        match line.split_once("lines=") {
            Some((_, count)) => {
                assert!(line.contains("lines left out kind=\"wrong password\""), "{line}");
                left_out += count.parse::<u64>().unwrap();
            }
            None => lines += 1,
        }
    }
    assert_eq!(lines + left_out, 50);
    assert!(lines >= 10 && lines <= 11 + start.elapsed().as_secs(), "{lines}");
    // A stop does not wait for the next count.
    let mut program = server(&limits);
    guess(&program);
    program.ask_to_stop();
    let log = program.rest_of_log();
    let count = |line: &String| line.split_once("lines=").map_or(1, |(_, count)| count.parse::<u64>().unwrap());
    assert_eq!(log.iter().filter(|line| line.contains("wrong password")).map(count).sum::<u64>(), 50, "{log:?}");
    let program = server(&[&limits[..], &["--log", "debug"]].concat());
    guess(&program);
    (0..50).for_each(|_| drop(next(&program, "wrong password")));
}

#[test]
fn at_debug_every_refusal_has_its_cause() {
    let program = server(&["--log", "debug"]);
    let mut ann = client(&program, "192.0.2.7");
    ann.send("{\"TYPE\":\"0\",\"MID\":\"x\"}");
    ann.expect_error("x", "NOT_LOGGED_IN");
    let said = program.wait_for("request refused");
    assert!(said.contains("address=192.0.2.7 conn=0.0 code=NOT_LOGGED_IN why=\""), "{said}");
    ann.sign_up("ann");
    ann.log_in("ann");
    ann.say("m", "bob", "who is no friend", "MF");
    let said = program.wait_for("message refused");
    assert!(said.ends_with("address=192.0.2.7 conn=0.0 cause=not_friends user=ann"), "{said}");
}

#[test]
fn an_address_with_too_many_connections_is_named() {
    let program = server(&["--connections-per-address-max", "1"]);
    let mut first = client(&program, "192.0.2.7");
    wrong_password(&mut first, "ann");
    client(&program, "192.0.2.7").expect_closed();
    assert_eq!(next(&program, "connection refused"), "address=192.0.2.7 cause=connections_per_address");
}

/// It is a warning, so it is also there when the lines about clients are off.
#[test]
fn the_limit_on_connections_is_told_of_once_and_with_the_cause() {
    let mut program = server(&["--connections-max", "1", "--log", "warn"]);
    let mut stranger = program.client(ContentForm::Text);
    let mut user = program.client(ContentForm::Text);
    stranger.expect_closed();
    let said = next(&program, "connection closed");
    assert_eq!(said, "new_address=127.0.0.1 cause=\"evicted for a new one\" connections_max=1");
    user.sign_up("ann");
    user.log_in("ann");
    for _ in 0..3 {
        program.client(ContentForm::Text).expect_closed();
    }
    assert_eq!(next(&program, "connection refused"), "address=127.0.0.1 cause=connections connections_max=1");
    user.fence();
    drop(user);
    program.ask_to_stop();
    let log = program.rest_of_log();
    assert!(log.iter().all(|line| !line.contains("connection refused")), "once: {log:?}");
}

/// While a crowd comes and goes, a place is free now and then.
#[test]
fn the_limit_on_connections_is_told_of_again_only_after_many_were_free() {
    const EVICTED: &str = "evicted for a new one";
    let program = server(&["--connections-max", "16", "--log", "warn"]);
    let connect = |program: &Program, count| -> Vec<Client> {
        (0..count)
            .map(|_| {
                let mut client = program.client(ContentForm::Text);
                client.send("{}");
                // Its answer shows that it was accepted.
                client.recv();
                client
            })
            .collect()
    };
    let mut crowd = connect(&program, 17);
    program.wait_for(EVICTED);
    for _ in 0..20 {
        crowd.pop();
        crowd.extend(connect(&program, 2));
        crowd.drain(..1);
    }
    assert_eq!(program.count_so_far(EVICTED), 0, "one or two free places are not enough");
    // The server notices in its own time that all are gone; then the line comes once more.
    let until = Instant::now() + PATIENCE;
    while program.count_so_far(EVICTED) == 0 {
        assert!(Instant::now() < until, "it is not told of again");
        crowd.clear();
        crowd = connect(&program, 17);
    }
}

#[test]
fn a_large_write_ahead_log_is_warned_of() {
    let program = Program::start(&[&CHEAP_PASSWORDS[..], &["--wal-warn-bytes", "1MiB"]].concat());
    let (mut ann, mut bob) = (program.user("ann", ContentForm::Text), program.user("bob", ContentForm::Text));
    common::befriend(&mut ann, &mut bob);
    drop(bob);
    // The log of SQLite starts again at some 4 MiB.
    let text = "x".repeat(60_000);
    for n in 0..60 {
        ann.say(&format!("m{n}"), "bob", &text, "MS");
    }
    let said = program.wait_for("write-ahead log of the store is large");
    assert!(said.contains("[WARN]") && said.contains(" wal_warn_bytes=1048576"), "{said}");
}
