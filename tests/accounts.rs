//! TYPE 1, 2 and 3: sign-up, log-in, profiles, and the bounds of their fields.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{BOTH, Client, ContentForm, Server, TRANSPORTS, content, envelope};
use hongyan::config::StoreUrl;
use serde_json::{Value, json};

fn sign_up(client: &mut Client, words: &Value) {
    client.send(&envelope(client.form, "1", Some("s"), words));
}

fn log_in(client: &mut Client, name: &str, pass: &str) {
    client.send(&envelope(client.form, "2", Some("l"), &json!({"USER": name, "PASS": pass})));
}

#[test]
fn a_name_is_taken_once() {
    let server = Server::start();
    for form in BOTH {
        let mut client = server.client(TRANSPORTS[0], form);
        let name = format!("ann {form:?}");
        sign_up(&mut client, &json!({"userName": name, "hashValue": "one"}));
        client.expect_reply("RE_SIGNUP", "s", "SS");
        sign_up(&mut client, &json!({"userName": name, "hashValue": "two"}));
        client.expect_reply("RE_SIGNUP", "s", "SF");
        // The seed's own cause: no error follows, and the first password stands.
        log_in(&mut client, &name, "two");
        client.expect_reply("RE_SIGNUP", "l", "LF");
        log_in(&mut client, &name, "one");
        client.expect_reply("RE_SIGNUP", "l", "LS");
    }
}

#[test]
fn log_in_fails_alike_for_a_wrong_name_and_a_wrong_password() {
    let server = Server::start();
    let mut ann = server.user("ann");
    for (name, pass) in [("ann", "wrong"), ("nobody", "secret"), ("Ann", "secret"), ("system", "secret")] {
        let mut client = server.raw();
        log_in(&mut client, name, pass);
        client.expect_reply("RE_SIGNUP", "l", "LF");
        client.send(&envelope(ContentForm::Text, "0", Some("h"), &json!({})));
        client.expect_error("h", "NOT_LOGGED_IN");
    }
    ann.fence();
}

#[test]
fn fields_out_of_their_bounds_fail_with_the_reason_after() {
    let server = Server::start();
    let mut client = server.raw();
    let good = json!({"userName": "ann", "hashValue": "secret"});
    let with = |key: &str, value: Value| {
        let mut words = good.clone();
        words[key] = value;
        words
    };
    let long = |length: usize| Value::from("x".repeat(length));
    let bad = [
        with("userName", json!("")),
        with("userName", json!("雁".repeat(65))),
        with("userName", json!(" ann")),
        with("userName", json!("ann\u{3000}")),
        with("userName", json!("a\nb")),
        with("userName", json!("system")),
        with("userName", json!(7)),
        with("userName", Value::Null),
        with("hashValue", json!("")),
        with("hashValue", long(257)),
        with("emailAddress", long(256)),
        with("nickName", long(256)),
        with("location", long(256)),
        with("profilePicture", long(2_049)),
        with("personalDescription", long(8_193)),
        with("rsaPublicKey", long(8_193)),
        with("rsaPublicKey", json!(["key"])),
        json!({"hashValue": "secret"}),
        json!({"userName": "ann"}),
    ];
    for words in bad {
        sign_up(&mut client, &words);
        client.expect_reply("RE_SIGNUP", "s", "SF");
        client.expect_error("s", "BAD_FIELD");
    }
    for (words, why) in [(json!({"USER": "ann"}), "no PASS"), (json!({"USER": "", "PASS": "x"}), "an empty name")] {
        client.send(&envelope(ContentForm::Text, "2", Some("l"), &words));
        client.expect_reply("RE_SIGNUP", "l", "LF");
        client.expect_error("l", "BAD_FIELD");
        assert!(!why.is_empty());
    }
    sign_up(&mut client, &good);
    client.expect_reply("RE_SIGNUP", "s", "SS");
}

#[test]
fn a_profile_comes_back_to_the_byte_in_the_order_of_its_keys_without_the_password() {
    let server = Server::start();
    let words = json!({
        "userName": "鸿雁 🪿", "hashValue": "p".repeat(256), "emailAddress": "e".repeat(255), "nickName": "\u{0}\"\\\u{1f}",
        "profilePicture": "p".repeat(2_048), "location": "", "personalDescription": "🪿".repeat(2_048),
        "rsaPublicKey": "k\n".repeat(4_096), "unknown": {"x": 1}
    });
    for form in BOTH {
        let mut client = server.client(TRANSPORTS[1], form);
        if form == ContentForm::Text {
            sign_up(&mut client, &words);
            client.expect_reply("RE_SIGNUP", "s", "SS");
        }
        log_in(&mut client, "鸿雁 🪿", &"p".repeat(256));
        client.expect_reply("RE_SIGNUP", "l", "LS");
        client.send(r#"{"TYPE":3,"MID":"g","CONTENT":"鸿雁 🪿"}"#);
        let frame = client.recv();
        let profile = match &content(&frame)["Content"] {
            Value::String(text) if form == ContentForm::Text => serde_json::from_str(text).unwrap(),
            object @ Value::Object(_) if form == ContentForm::Object => object.clone(),
            other => panic!("{other} in {form:?}"),
        };
        let mut expected = words.clone();
        expected.as_object_mut().unwrap().retain(|key, _| key != "hashValue" && key != "unknown");
        assert_eq!(profile, expected);
        let keys = [
            "userName",
            "emailAddress",
            "nickName",
            "profilePicture",
            "location",
            "personalDescription",
            "rsaPublicKey",
        ];
        let places: Vec<usize> = keys.iter().map(|key| frame.find(key).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}

#[test]
fn get_user_before_log_in_is_met_with_silence() {
    let server = Server::start();
    let mut client = server.raw();
    client.send(r#"{"TYPE":"3","MID":"g","CONTENT":"ann"}"#);
    client.send(r#"{"TYPE":"3","MID":"g","CONTENT":{"not":"a name"}}"#);
    client.send(r#"{"TYPE":"3","MID":7}"#);
    client.send(r#"{"TYPE":"0","MID":"h"}"#);
    client.expect_error("h", "NOT_LOGGED_IN");
}

#[test]
fn get_user_of_nobody() {
    let server = Server::start();
    let mut ann = server.user("ann");
    ann.send(r#"{"TYPE":"3","MID":"g","CONTENT":"nobody"}"#);
    ann.expect_reply("RE_GETUSER_FAILED", "g", "User could not be found");
    ann.send(r#"{"TYPE":"3","CONTENT":"system"}"#);
    ann.expect_reply("RE_GETUSER_FAILED", "", "User could not be found");
    ann.send(r#"{"TYPE":"3","MID":"g","CONTENT":["ann"]}"#);
    ann.expect_error("g", "BAD_FIELD");
    ann.send(r#"{"TYPE":"3","MID":"g"}"#);
    ann.expect_error("g", "BAD_FIELD");
}

#[test]
fn a_profile_with_only_a_name_has_empty_fields() {
    let server = Server::start();
    let mut ann = server.object();
    ann.sign_up("ann");
    ann.log_in("ann");
    ann.send(r#"{"TYPE":"3","MID":"g","CONTENT":"ann"}"#);
    ann.expect(
        r#"{"CONTENT":{"MessageId":"g","Content":{"userName":"ann","emailAddress":"","nickName":"","profilePicture":"","location":"","personalDescription":"","rsaPublicKey":""}},"TYPE":"RE_GETUSER_SUC"}"#,
    );
}

#[test]
fn a_new_log_in_takes_over_and_the_older_connection_is_told() {
    let server = Server::start();
    for transport in TRANSPORTS {
        let (mut ann, mut bob) = server.friends(&format!("ann {transport:?}"), &format!("bob {transport:?}"));
        ann.send(&ann.message("m1", &bob.name, "not acked"));
        bob.expect_push("4", "m1");
        let mut newer = server.client(transport, ContentForm::Object);
        newer.log_in(&bob.name);
        bob.expect_error("", "REPLACED");
        bob.expect_closed();
        newer.expect_push("4", "m1");
        newer.ack("m1");
        ann.expect_reply("RE_MESSAGE", "m1", "MS");
        newer.fence();
    }
}

#[test]
fn another_log_in_on_the_same_connection() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let mut cy = server.user("cy");
    ann.send(&ann.message("m1", "bob", "one"));
    bob.expect_push("4", "m1");
    ann.expect_reply("RE_MESSAGE", "m1", "MS");
    // Fails: nothing changes.
    log_in(&mut bob, "cy", "wrong");
    bob.expect_reply("RE_SIGNUP", "l", "LF");
    bob.fence();
    // The same user: LS, and the list once more.
    bob.log_in("bob");
    bob.expect_push("4", "m1");
    // Another: the first one is logged out, the other's older connection is replaced.
    bob.log_in("cy");
    cy.expect_error("", "REPLACED");
    cy.expect_closed();
    bob.send(&envelope(
        ContentForm::Text,
        "4",
        None,
        &json!({"messageId": "f", "sender": "bob", "receiver": "ann", "content": ""}),
    ));
    bob.expect_reply("RE_MESSAGE", "f", "MF");
    bob.expect_error("f", "FORBIDDEN");
    // The push that Bob did not ack waits.
    let mut again = server.raw();
    again.log_in("bob");
    again.expect_push("4", "m1");
    again.ack("m1");
    again.fence();
}

#[test]
fn many_sign_ups_at_once_for_one_name_make_one_account() {
    let server = Server::start();
    let mut clients: Vec<Client> = (0..8).map(|_| server.raw()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        sign_up(client, &json!({"userName": "ann", "hashValue": format!("p{n}")}));
    }
    let answers: Vec<String> =
        clients.iter_mut().map(|client| content(&client.recv())["Content"].to_string()).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "\"SS\"").count(), 1, "{answers:?}");
}

#[test]
fn a_deletion_that_a_stop_cut_short_goes_on_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let tune = |config: &mut hongyan::config::Config| config.store = StoreUrl::Sqlite(path.clone());
    let server = Server::tuned(tune);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    drop(bob);
    ann.say("m1", "bob", "hello", "MS");
    drop(ann);
    server.stop();
    // As after the first step.
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("UPDATE accounts SET state = 2 WHERE user_name = 'bob'; INSERT INTO deletions VALUES ('bob')")
        .unwrap();
    drop(db);
    let server = Server::tuned(tune);
    let db = rusqlite::Connection::open(&path).unwrap();
    let count =
        |table: &str| -> i64 { db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap() };
    let until = std::time::Instant::now() + common::PATIENCE;
    while count("deletions") > 0 {
        assert!(std::time::Instant::now() < until, "something is left");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!((count("pushes"), count("friendships"), count("accounts")), (0, 0, 2));
    bob = server.raw();
    log_in(&mut bob, "bob", "secret");
    bob.expect_reply("RE_SIGNUP", "l", "LF");
    server.stop();
}
