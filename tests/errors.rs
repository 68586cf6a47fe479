//! Input that cannot be parsed or is refused: which error code, with which id and in which form,
//! and that other clients are not affected.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{ContentForm, Server, TRANSPORTS, envelope, reply};
use serde_json::json;
use std::time::Duration;

#[test]
fn anything_but_a_json_object_is_bad_json_and_the_next_line_is_read() {
    let server = Server::start();
    let mut ann = server.user("ann");
    let bad = [
        "hello",
        "[1,2]",
        "\"text\"",
        "7",
        "null",
        "{",
        "{\"a\":}",
        "{\"TYPE\":\"0\"",
        "{\"TYPE\":tru}",
        "{'TYPE':'0'}",
        "{\"TYPE\":\"0\",}",
        "{\"a\":01}",
        "{\"a\":\"\\ud800\"}",
        "{\"\\udc00\":1}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\t\"}",
    ];
    for line in bad {
        ann.send(line);
        if line.starts_with('{') && !line.contains('}') || line == "{\"TYPE\":\"0\"" {
            // The input is not complete. The next envelope makes it invalid, and is answered
            // itself.
            ann.send(&envelope(ContentForm::Text, "0", Some("after"), &json!({})));
            ann.expect_error("", "BAD_JSON");
            assert!(ann.recv().contains("after"), "{line}");
            continue;
        }
        ann.expect_error("", "BAD_JSON");
        ann.fence();
    }
    ann.send_bytes(b"{\"TYPE\":\"0\",\"MID\":\"\xff\xfe\"}\n");
    ann.expect_error("", "BAD_JSON");
    ann.fence();
}

#[test]
fn nesting_is_bounded() {
    let server = Server::start();
    for transport in TRANSPORTS {
        let mut client = server.client(transport, ContentForm::Text);
        client.send(&format!("{{\"TYPE\":\"0\",\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000)));
        client.expect_error("", "BAD_JSON");
        client.send(r#"{"TYPE":"0","MID":"x"}"#);
        client.expect_error("x", "NOT_LOGGED_IN");
    }
}

#[test]
fn ten_bad_inputs_in_a_row_end_the_connection_nine_do_not() {
    let server = Server::start();
    for transport in TRANSPORTS {
        let mut client = server.client(transport, ContentForm::Text);
        for _ in 0..3 {
            for _ in 0..9 {
                client.send("garbage");
                client.expect_error("", "BAD_JSON");
            }
            // This one can be parsed, so the count of bad inputs in a row begins again.
            client.send(r#"{"TYPE":"99","MID":"x"}"#);
            client.expect_error("x", "UNKNOWN_TYPE");
        }
        for _ in 0..10 {
            client.send("garbage");
            client.expect_error("", "BAD_JSON");
        }
        client.expect_closed();
    }
}

#[test]
fn readable_requests_with_errors_never_end_the_connection() {
    let server = Server::start();
    let mut client = server.raw();
    for _ in 0..50 {
        client.send(r#"{"TYPE":"6","CONTENT":"nothing"}"#);
        client.expect_error("", "NOT_LOGGED_IN");
        client.send(r#"{"TYPE":"2","MID":"l","CONTENT":"nothing"}"#);
        client.expect_reply("RE_SIGNUP", "l", "LF");
        client.expect_error("l", "BAD_FIELD");
    }
}

#[test]
fn unknown_types() {
    let server = Server::start();
    let mut client = server.raw();
    for kind in ["\"7\"", "\"\"", "\"04\"", "-1", "4.5", "true", "null", "{}", "\"RE_ERROR\"", "1e999"] {
        client.send(&format!("{{\"TYPE\":{kind},\"MID\":\"x\"}}"));
        client.expect_error("x", "UNKNOWN_TYPE");
    }
    client.send(r#"{"MID":"x"}"#);
    client.expect_error("x", "UNKNOWN_TYPE");
    client.send("{}");
    client.expect_error("", "UNKNOWN_TYPE");
}

#[test]
fn before_log_in_4_5_6_and_0_are_refused() {
    let server = Server::start();
    let mut client = server.raw();
    client.name = "ann".into();
    client.send(&client.message("m", "bob", "hi"));
    client.expect_reply("RE_MESSAGE", "m", "MF");
    client.expect_error("m", "NOT_LOGGED_IN");
    client.ack("a");
    client.expect_error("", "NOT_LOGGED_IN");
    client.send(&client.friend("1", "f", "ann", "bob", ""));
    client.expect_error("f", "NOT_LOGGED_IN");
    client.send(&envelope(ContentForm::Text, "0", Some("h"), &json!({})));
    client.expect_error("h", "NOT_LOGGED_IN");
}

#[test]
fn mid_may_be_missing_but_not_wrong() {
    let server = Server::start();
    let mut ann = server.user("ann");
    ann.send(r#"{"TYPE":"0"}"#);
    assert!(ann.recv().starts_with(r#"{"CONTENT":"{\"MessageId\":\"\",\"Content\":\""#));
    let long = format!("\"{}\"", "x".repeat(129));
    for mid in ["7", "null", "\"\"", "[]", &long] {
        ann.send(&format!("{{\"TYPE\":\"0\",\"MID\":{mid}}}"));
        ann.expect_error("", "BAD_FIELD");
        ann.send(&format!("{{\"TYPE\":\"3\",\"MID\":{mid},\"CONTENT\":\"ann\"}}"));
        ann.expect_error("", "BAD_FIELD");
    }
    let just = "x".repeat(128);
    ann.send(&format!("{{\"TYPE\":\"3\",\"MID\":\"{just}\",\"CONTENT\":\"nobody\"}}"));
    ann.expect_reply("RE_GETUSER_FAILED", &just, "User could not be found");
}

#[test]
fn a_message_that_cannot_be_read_is_mf_and_then_the_error() {
    let server = Server::start();
    let mut ann = server.user("ann");
    for unreadable in ["\"not json\"", "7", "[]", "\"[]\"", "\"7\""] {
        ann.send(&format!("{{\"TYPE\":\"4\",\"CONTENT\":{unreadable}}}"));
        ann.expect_reply("RE_MESSAGE", "", "MF");
        ann.expect_error("", "BAD_FIELD");
    }
    ann.send(r#"{"TYPE":"4"}"#);
    ann.expect_reply("RE_MESSAGE", "", "MF");
    ann.expect_error("", "BAD_FIELD");
    // With as much of the id as can be read.
    for words in [json!({"messageId": "m"}), json!({"messageId": "m", "sender": "ann", "receiver": 7, "content": ""})] {
        ann.send(&envelope(ContentForm::Text, "4", None, &words));
        ann.expect_reply("RE_MESSAGE", "m", "MF");
        ann.expect_error("m", "BAD_FIELD");
        ann.send(&envelope(ContentForm::Text, "6", None, &words));
        ann.expect_error("m", "BAD_FIELD");
    }
    // A lone surrogate inside the string: the TYPE is known, so MF comes first.
    for words in [r#"\"content\":\"\\ud83e\""#, r#"\"\\ud83e\":0"#] {
        ann.send(&format!(r#"{{"TYPE":"4","CONTENT":"{{\"messageId\":\"m\",{words}}}"}}"#));
        ann.expect_reply("RE_MESSAGE", "", "MF");
        ann.expect_error("", "BAD_JSON");
    }
    // In a key of the envelope, the TYPE is not known.
    ann.send(r#"{"\ud83e":1,"TYPE":"4"}"#);
    let error = ann.recv();
    assert!(error.contains("BAD_JSON") && error.contains("half of a surrogate pair"), "{error}");
    ann.send(r#"{"TYPE":"5","CONTENT":"{}"}"#);
    ann.expect_error("", "BAD_FIELD");
}

#[test]
fn the_connections_form_is_that_of_its_last_1_2_4_5_or_6() {
    let server = Server::start();
    let mut ann = server.user("ann");
    let beat = r#"{"TYPE":"0","MID":"h"}"#;
    let error_in = |form: ContentForm| reply(form, "RE_ERROR", "", "").split("\"Content").next().unwrap().to_owned();
    for (content, form) in
        [(json!({"MessageId": "x"}), ContentForm::Object), (json!({"MessageId": "y"}), ContentForm::Text)]
    {
        ann.send(&envelope(form, "5", None, &content));
        ann.send(beat);
        let beaten = ann.recv();
        let text = beaten.starts_with("{\"CONTENT\":\"");
        assert_eq!(text, form == ContentForm::Text, "{beaten}");
        ann.send("garbage");
        let error = ann.recv();
        let start = if form == ContentForm::Text {
            "{\"CONTENT\":\"{\\\"MessageId\\\":\\\"\\\""
        } else {
            "{\"CONTENT\":{\"MessageId\":\"\""
        };
        assert!(error.starts_with(start), "{error}");
        assert!(error_in(form).len() > 5);
        // A 3 has no form of its own either.
        ann.send(r#"{"TYPE":3,"MID":"g","CONTENT":"nobody"}"#);
        assert_eq!(ann.recv(), reply(form, "RE_GETUSER_FAILED", "g", "User could not be found"));
    }
}

#[test]
fn keys_that_are_not_known_and_their_order_do_not_matter() {
    let server = Server::start();
    let mut ann = server.user("ann");
    ann.send(r#"{"x":[{"TYPE":"9"}],"CONTENT":"{\"y\":{},\"MessageId\":\"q\"}","MID":{},"TYPE":5,"z":null}"#);
    ann.send(r#"{"TYPE":"9","MID":"h","TYPE":"0"}"#);
    assert!(ann.recv().contains("RE_HEARTBEAT"), "the last of two keys counts");
}

#[test]
fn too_many_requests_a_second_are_refused_and_the_connection_lives() {
    let server = Server::tuned(|config| config.rules.requests_per_second_max = 20);
    let mut ann = server.user("ann");
    let beat = envelope(ContentForm::Text, "0", Some("h"), &json!({}));
    ann.send_bytes(beat.repeat(60).as_bytes());
    let answers: Vec<String> = (0..60).map(|_| ann.recv()).collect();
    assert!(answers.iter().any(|answer| answer.contains("RATE_LIMITED")), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.contains("RE_HEARTBEAT")));
    // The bucket fills again.
    while !{
        std::thread::sleep(Duration::from_millis(20));
        ann.send(&beat);
        ann.recv().contains("RE_HEARTBEAT")
    } {}
}

#[test]
fn a_token_is_refused_in_its_own_form() {
    let server = Server::start();
    for form in [ContentForm::Text, ContentForm::Object] {
        let mut client = server.client(common::Transport::Raw, form);
        client.send(&envelope(form, "TOKEN", Some("t"), &json!({"want": "new"})));
        client.expect_error("t", "NOT_LOGGED_IN");
    }
}
