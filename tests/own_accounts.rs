//! Users who look after their own accounts, over sockets: presence, form, and what others see.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{BOTH, Client, ContentForm, Server, TRANSPORTS, content, envelope, kind};
use hongyan::chat::contract::EmailVisibility;
use serde_json::{Value, json};

fn ask(client: &mut Client, kind_of: &str, words: &Value) -> Value {
    client.send(&envelope(client.form, kind_of, Some("a"), words));
    let frame = client.recv();
    assert_eq!(kind(&frame), format!("RE_{kind_of}"), "{frame}");
    let said = content(&frame)["Content"].take();
    match said.as_str().and_then(|text| serde_json::from_str(text).ok()) {
        Some(inner) => inner,
        None => said,
    }
}

#[track_caller]
fn expect_presence(client: &mut Client, user: &str, online: bool) {
    let frame = client.recv();
    assert_eq!((kind(&frame).as_str(), content(&frame)), ("PRESENCE", json!({"userName": user, "online": online})));
}

#[test]
fn a_watching_client_is_told_on_every_transport_and_in_the_form_of_the_log_in() {
    for transport in TRANSPORTS {
        for form in BOTH {
            let server = Server::start();
            let (ann, bob) = server.friends("ann", "bob");
            drop(ann);
            let mut ann = server.client(transport, form);
            ann.log_in("ann");
            let roster = ask(&mut ann, "ROSTER", &json!({"watch": true}));
            assert_eq!(roster["friends"][0]["userName"], "bob");
            assert_eq!(roster["friends"][0]["online"], true);
            drop(bob);
            let frame = ann.recv();
            let is_text = frame.starts_with("{\"CONTENT\":\"");
            assert_eq!((kind(&frame).as_str(), is_text), ("PRESENCE", form == ContentForm::Text), "{frame}");
            assert_eq!(content(&frame), json!({"userName": "bob", "online": false}));
            let mut bob = server.raw();
            bob.log_in("bob");
            expect_presence(&mut ann, "bob", true);
            // A take-over is no change.
            let mut again = server.raw();
            again.log_in("bob");
            bob.expect_error("", "REPLACED");
            ann.fence();
            server.stop();
        }
    }
}

#[test]
fn a_request_about_an_account_leaves_the_form_of_its_connection_and_needs_a_log_in() {
    let server = Server::start();
    let mut stranger = server.raw();
    stranger.send(r#"{"MID":"a","CONTENT":{},"TYPE":"ROSTER"}"#);
    assert!(stranger.recv().starts_with(r#"{"CONTENT":{"MessageId":"a","Content":"NOT_LOGGED_IN: "#));
    let mut ann = server.user("ann");
    ann.send(r#"{"MID":"a","CONTENT":{},"TYPE":"BLOCK"}"#);
    ann.expect(r#"{"CONTENT":{"MessageId":"a","Content":{"blocked":[]}},"TYPE":"RE_BLOCK"}"#);
    ann.send(r#"{"MID":"a","CONTENT":{"watch":7},"TYPE":"ROSTER"}"#);
    assert!(ann.recv().starts_with(r#"{"CONTENT":{"MessageId":"a","Content":"BAD_FIELD: "#));
    ann.send(r#"{"MID":"a","TYPE":"PROFILE"}"#);
    assert!(ann.recv().starts_with(r#"{"CONTENT":"{\"MessageId\":\"a\",\"Content\":\"BAD_FIELD: "#));
    ann.fence();
}

#[test]
fn a_changed_password_survives_and_the_old_one_does_not() {
    let server = Server::start();
    let mut ann = server.user("ann");
    let token = ask(&mut ann, "TOKEN", &json!({"want": "new"}));
    assert_eq!(ask(&mut ann, "PASSWORD", &json!({"old": "secret", "new": "better"})), "changed");
    ann.fence();
    for (proof, answer) in [
        (json!({"USER": "ann", "PASS": "secret"}), "LF"),
        (json!({"USER": "ann", "TOKEN": token}), "LF"),
        (json!({"USER": "ann", "PASS": "better"}), "LS"),
    ] {
        let mut next = server.raw();
        next.send(&envelope(next.form, "2", Some("l"), &proof));
        next.expect_reply("RE_SIGNUP", "l", answer);
    }
    ann.expect_error("", "REPLACED");
}

#[test]
fn a_blocked_user_gets_the_answers_of_everybody() {
    let server = Server::start();
    let (mut ann, mut eve) = server.friends("ann", "eve");
    assert_eq!(ask(&mut ann, "BLOCK", &json!({"block": "eve"})), json!({"blocked": ["eve"]}));
    eve.say("m1", "ann", "hello", "MF");
    eve.send(&eve.friend("1", "f9", "eve", "ann", "please"));
    let time = eve.expect_time("f9");
    eve.send(&eve.friend("1", "f10", "eve", "ann", "please"));
    assert_eq!(eve.expect_time("f10"), time, "as one that is pending");
    let roster = ask(&mut eve, "ROSTER", &json!({}));
    assert_eq!(roster["outgoing"][0], json!({"userName": "ann", "messageId": "f9", "content": "please", "time": time}));
    eve.send(&eve.friend("4", "f11", "eve", "ann", ""));
    eve.expect_time("f11");
    eve.fence();
    ann.fence();
}

#[test]
fn the_end_of_an_account_is_heard_of_by_those_who_watch_and_the_name_is_gone() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    ask(&mut bob, "ROSTER", &json!({"watch": true}));
    ann.send(&envelope(ann.form, "ACCOUNT", Some("a"), &json!({"want": "delete", "PASS": "wrong"})));
    ann.expect_error("a", "FORBIDDEN");
    assert_eq!(ask(&mut ann, "ACCOUNT", &json!({"want": "delete", "PASS": "secret"})), "deleted");
    ann.expect_closed();
    // She goes offline, or is a friend no longer before that is told.
    bob.send(&envelope(bob.form, "1", Some("s"), &json!({"userName": "ann", "hashValue": "x"})));
    let mut frame = bob.recv();
    if kind(&frame) == "PRESENCE" {
        assert_eq!(content(&frame), json!({"userName": "ann", "online": false}));
        frame = bob.recv();
    }
    assert_eq!((kind(&frame).as_str(), content(&frame)["Content"].as_str()), ("RE_SIGNUP", Some("SF")));
    let mut next = server.raw();
    next.send(&envelope(next.form, "2", Some("l"), &json!({"USER": "ann", "PASS": "secret"})));
    next.expect_reply("RE_SIGNUP", "l", "LF");
}

#[test]
fn an_address_is_hidden_from_those_who_are_not_meant_to_see_it() {
    let server = Server::tuned(|config| config.rules.profile_email = EmailVisibility::Friends);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let mut eve = server.user("eve");
    assert_eq!(ask(&mut ann, "PROFILE", &json!({"emailAddress": "a@example.com"})), "changed");
    for (client, shown) in [(&mut ann, "a@example.com"), (&mut bob, "a@example.com"), (&mut eve, "")] {
        client.send(r#"{"MID":"g","CONTENT":"ann","TYPE":"3"}"#);
        let said = content(&client.recv());
        let profile: Value = serde_json::from_str(said["Content"].as_str().unwrap()).unwrap();
        assert_eq!(profile["emailAddress"], shown);
    }
}
