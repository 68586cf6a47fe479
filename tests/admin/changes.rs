//! Changes by operators: notices, disconnects, bans, passwords, deletions; and the line in the log
//! that each leaves.

use super::caller::{get, get_unix, post};
use crate::Managed;
use crate::common::{Client, ContentForm, Program, envelope};
use serde_json::{Value, json};

fn log_in(client: &mut Client, name: &str, password: &str, answer: &str) {
    client.name = name.to_owned();
    client.send(&envelope(client.form, "2", Some("l"), &json!({"USER": name, "PASS": password})));
    client.expect_reply("RE_SIGNUP", "l", answer);
}

#[test]
fn a_notice_goes_to_one_user_or_to_all_and_waits_for_those_who_are_away() {
    let managed = Managed::start();
    let (mut ann, bob) = (managed.server.user("ann"), managed.server.user("bob"));
    drop(bob);
    let to_ann = post(managed.admin, "/notices", "{\"to\":\"ann\",\"text\":\"only you\"}").good();
    assert_eq!(to_ann, json!({"users": 1}));
    let push: Value = crate::common::content(&ann.recv());
    assert_eq!((&push["sender"], &push["content"]), (&json!("system"), &json!("only you")));
    ann.ack(push["messageId"].as_str().unwrap());
    let to_all = post(managed.admin, "/notices", "{\"text\":\"tonight at eight\"}").good();
    assert_eq!(to_all, json!({"users": 2}));
    let push: Value = crate::common::content(&ann.recv());
    assert_eq!((&push["sender"], &push["content"]), (&json!("system"), &json!("tonight at eight")));
    let mut bob = managed.server.raw();
    bob.log_in("bob");
    let push: Value = crate::common::content(&bob.recv());
    assert_eq!((&push["sender"], &push["content"]), (&json!("system"), &json!("tonight at eight")));
    post(managed.admin, "/notices", "{\"to\":\"nobody\",\"text\":\"x\"}").refused(404, "no_such_user");
}

#[test]
fn a_user_is_disconnected_and_may_come_back() {
    let managed = Managed::start();
    let mut ann = managed.server.user("ann");
    post(managed.admin, "/users/ann/disconnect", "").good();
    while ann.next().is_some() {}
    post(managed.admin, "/users/ann/disconnect", "{}").refused(409, "not_online");
    managed.server.raw().log_in("ann");
}

#[test]
fn a_ban_ends_the_session_and_refuses_log_ins_until_it_is_taken_back() {
    let managed = Managed::start();
    let mut ann = managed.server.user("ann");
    post(managed.admin, "/users/ann/ban", "").good();
    while ann.next().is_some() {}
    assert_eq!(get(managed.admin, "/users/ann").good()["banned"], true);
    let mut again = managed.server.raw();
    log_in(&mut again, "ann", "secret", "LF");
    again.expect_error("l", "FORBIDDEN");
    post(managed.admin, "/users/ann/unban", "").good();
    log_in(&mut managed.server.raw(), "ann", "secret", "LS");
    assert_eq!(get(managed.admin, "/users/ann").good()["banned"], false);
    for change in ["ban", "unban", "password", "delete"] {
        post(managed.admin, &format!("/users/nobody/{change}"), "").refused(404, "no_such_user");
    }
}

#[test]
fn a_reset_gives_a_password_that_works_and_the_old_one_does_not() {
    let managed = Managed::start();
    let mut ann = managed.server.user("ann");
    let plain = post(managed.admin, "/users/ann/password", "{\"plain\":true}").good();
    while ann.next().is_some() {}
    let plain = plain["password"].as_str().unwrap();
    log_in(&mut managed.server.raw(), "ann", "secret", "LF");
    let mut ann = managed.server.raw();
    log_in(&mut ann, "ann", plain, "LS");
    // By the recipe it is what a user types: their client hashes it.
    let typed = post(managed.admin, "/users/ann/password", "").good();
    let typed = typed["password"].as_str().unwrap();
    log_in(&mut managed.server.raw(), "ann", typed, "LF");
    log_in(&mut managed.server.raw(), "ann", plain, "LF");
}

#[test]
fn an_account_is_deleted_for_good() {
    let managed = Managed::start();
    let (mut ann, mut bob) = managed.server.friends("ann", "bob");
    ann.say("m", "bob", "still delivered", "MS");
    bob.expect_push("4", "m");
    post(managed.admin, "/users/ann/delete", "{}").good();
    while ann.next().is_some() {}
    log_in(&mut managed.server.raw(), "ann", "secret", "LF");
    let mut other = managed.server.raw();
    other.send(&envelope(other.form, "1", Some("s"), &json!({"userName": "ann", "hashValue": "x"})));
    other.expect_reply("RE_SIGNUP", "s", "SF");
    get(managed.admin, "/users/ann").refused(404, "no_such_user");
    bob.ack("m");
}

#[test]
fn each_change_is_in_the_log_before_and_after_without_secrets_and_injected_text() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("a.db").display());
    let program = Program::on(&store, &[]);
    program.user("ann", ContentForm::Text);
    let socket = folder.path().join("a.db.sock");
    let post = |target: &str, body: &str| {
        let length = body.len();
        let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        super::caller::exchange(super::caller::connect_unix(&socket), request.as_bytes())
    };
    // The system tells which user it was.
    let who = Program::owner_of(&socket);
    post("/users/nobody/ban", "").refused(404, "no_such_user");
    let line = program.wait_for("admin: ban");
    assert!(line.ends_with(&format!("admin: ban of user \"nobody\" by {who}: begins user=nobody")), "{line}");
    let line = program.wait_for("admin: ban");
    assert!(
        line.contains("INFO")
            && line.ends_with(&format!("admin: ban of user \"nobody\" by {who}: no_such_user user=nobody")),
        "{line}"
    );
    post("/notices", "{\"text\":\"a\\n2026 \\u001b[31m\"}");
    let line = program.wait_for("admin: notice");
    assert!(line.contains("notice \"a\\n2026 \\u{1b}[31m\" to all users by unix uid "), "{line}");
    assert!(line.ends_with(": begins"), "{line}");
    let line = program.wait_for("admin: a notice to all users goes out");
    assert!(line.contains(" id=notice-"), "{line}");
    assert!(program.wait_for("admin: notice").ends_with(": done"));
    let answer = post("/users/ann/password", "");
    program.wait_for("begins user=ann");
    let line = program.wait_for("admin: password");
    assert!(line.ends_with(": done user=ann"), "{line}");
    if let Some(password) = answer.json()["password"].as_str() {
        assert!(!line.contains(password), "{line}");
    }
    assert_eq!(get_unix(&socket, "/health").status, 200);
}

#[test]
fn a_change_is_in_the_log_before_it_is_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let program = Program::on(&format!("sqlite:{}", path.display()), &[]);
    program.user("ann", ContentForm::Text);
    // Nothing can be written to the store.
    let held = rusqlite::Connection::open(&path).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let socket = super::caller::connect_unix(&folder.path().join("a.db.sock"));
    let asks = std::thread::spawn(|| {
        super::caller::exchange(socket, b"POST /users/ann/delete HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    });
    let line = program.wait_for("admin: delete");
    assert!(line.ends_with(": begins user=ann"), "{line}");
    held.execute_batch("ROLLBACK").unwrap();
    asks.join().unwrap();
    let line = program.wait_for("admin: delete");
    assert!(!line.contains("begins"), "{line}");
}

#[test]
fn a_deletion_that_goes_on_after_a_restart_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = format!("sqlite:{}", path.display());
    let mut program = Program::on(&store, &[]);
    program.user("ann", ContentForm::Text);
    program.ask_to_stop();
    program.rest_of_log();
    // As after the first step.
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute_batch("UPDATE accounts SET state = 2; INSERT INTO deletions VALUES ('ann')").unwrap();
    drop(db);
    let program = Program::on(&store, &[]);
    let begins = "admin: a deletion that was cut short goes on user=ann";
    if !program.start_log.iter().any(|line| line.ends_with(begins)) {
        program.wait_for(begins);
    }
    let ends = "admin: the deletion that went on has ended: done user=ann";
    if !program.start_log.iter().any(|line| line.ends_with(ends)) {
        program.wait_for(ends);
    }
}
