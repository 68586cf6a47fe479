//! Resume tokens over the wire: asked for after a log-in, used instead of the password, revoked.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{BOTH, Client, Database, Server, TRANSPORTS, config, content, envelope, kind};
use hongyan::config::{Config, StoreUrl};
use serde_json::json;

fn ask(client: &mut Client, want: &str) -> String {
    client.send(&envelope(client.form, "TOKEN", Some("t"), &json!({"want": want})));
    let frame = client.recv();
    assert_eq!(kind(&frame), "RE_TOKEN", "{frame}");
    content(&frame)["Content"].as_str().unwrap().to_owned()
}

fn resume(client: &mut Client, name: &str, token: &str) {
    client.send(&envelope(client.form, "2", Some("l"), &json!({"USER": name, "TOKEN": token})));
}

#[test]
fn the_frames_byte_for_byte() {
    let server = Server::start();
    let mut ann = server.user("ann");
    ann.send(r#"{"MID":"t","CONTENT":"{\"want\":\"revoke\"}","TYPE":"TOKEN"}"#);
    ann.expect(r#"{"CONTENT":"{\"MessageId\":\"t\",\"Content\":\"revoked\"}","TYPE":"RE_TOKEN"}"#);
    ann.send(r#"{"MID":"t","CONTENT":{"want":"revoke"},"TYPE":"TOKEN"}"#);
    ann.expect(r#"{"CONTENT":{"MessageId":"t","Content":"revoked"},"TYPE":"RE_TOKEN"}"#);
    ann.fence();
    for bad in [r#"{"want":"more"}"#, r#"{"want":7}"#, "{}"] {
        ann.send(&format!(r#"{{"MID":"t","CONTENT":{bad},"TYPE":"TOKEN"}}"#));
        let frame = ann.recv();
        assert!(frame.starts_with(r#"{"CONTENT":{"MessageId":"t","Content":"BAD_FIELD: "#), "{frame}");
    }
    // The connection's own form is still that of its log-in.
    ann.send(r#"{"MID":"h","TYPE":"0"}"#);
    assert!(ann.recv().starts_with(r#"{"CONTENT":"{\"MessageId\":\"h\""#));
    ann.send(r#"{"MID":"l","CONTENT":{"USER":"ann","PASS":"secret","TOKEN":"x"},"TYPE":"2"}"#);
    ann.expect(r#"{"CONTENT":{"MessageId":"l","Content":"LF"},"TYPE":"RE_SIGNUP"}"#);
    let why = "BAD_FIELD: CONTENT must not have both PASS and TOKEN";
    ann.expect(&format!(r#"{{"CONTENT":{{"MessageId":"l","Content":"{why}"}},"TYPE":"RE_ERROR"}}"#));
}

#[test]
fn a_token_stands_for_the_password_on_every_transport_and_dies_when_revoked() {
    let server = Server::start();
    let mut ann = server.user("ann");
    for transport in TRANSPORTS {
        for form in BOTH {
            let token = ask(&mut ann, "new");
            let mut next = server.client(transport, form);
            resume(&mut next, "ann", &token);
            next.expect_reply("RE_SIGNUP", "l", "LS");
            ann.expect_error("", "REPLACED");
            ann = next;
        }
    }
    let token = ask(&mut ann, "new");
    assert_eq!(ask(&mut ann, "revoke"), "revoked");
    let mut other = server.raw();
    resume(&mut other, "ann", &token);
    other.expect_reply("RE_SIGNUP", "l", "LF");
}

fn survives_a_restart(store: &StoreUrl, look: impl FnOnce(&str)) {
    let config = || Config { store: store.clone(), ..config() };
    let server = Server::with(config());
    let mut ann = server.user("ann");
    let token = ask(&mut ann, "new");
    server.stop();
    look(&token);
    let server = Server::with(config());
    let mut ann = server.raw();
    resume(&mut ann, "ann", &token);
    ann.expect_reply("RE_SIGNUP", "l", "LS");
}

#[test]
fn a_token_survives_a_restart_and_is_nowhere_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    survives_a_restart(&StoreUrl::Sqlite(path.clone()), |token| {
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes.windows(b"resume_tokens".len()).any(|part| part == b"resume_tokens"), "the right file");
        assert!(!bytes.windows(token.len()).any(|part| part == token.as_bytes()), "only its hash is kept");
    });
}

#[test]
fn a_token_survives_a_restart_on_mysql() {
    let Some(database) = Database::create("tokens") else { return };
    survives_a_restart(&StoreUrl::parse(&database.url()).unwrap(), |_| {});
}

#[test]
fn a_stored_password_that_cannot_be_read_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let config = || Config { store: StoreUrl::Sqlite(path.clone()), ..config() };
    let server = Server::with(config());
    drop(server.user("ann"));
    drop(server.user("bob"));
    server.stop();
    for spoilt in ["'plain'", "CAST(x'ff00' AS TEXT)"] {
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute(&format!("UPDATE accounts SET password_hash = {spoilt} WHERE user_name = 'ann'"), []).unwrap();
        drop(db);
        let server = Server::with(config());
        let mut ann = server.raw();
        for proof in ["PASS", "TOKEN"] {
            ann.send(&envelope(ann.form, "2", Some("l"), &json!({"USER": "ann", proof: "secret"})));
            ann.expect_reply("RE_SIGNUP", "l", "LF");
            // With a damaged hash the server cannot tell whether the token is right: it is refused.
            if proof == "PASS" || spoilt.starts_with('C') {
                ann.expect_error("l", "FORBIDDEN");
            }
        }
        server.raw().log_in("bob");
        server.stop();
    }
}
