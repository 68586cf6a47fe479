//! `hongyan send` and `hongyan listen`, as scripts use them.

use super::place::Place;
use crate::common::{Program, wait_until};
use hongyan::client::{Client, ClientOptions, PushKind, UserProfile, hash_value, sign_up};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

pub const WAIT: Duration = Duration::from_secs(20);

/// A new account without keys, as other clients make it.
pub fn account(place: &Place, server: &Program, user: &str) -> Client {
    let password = std::fs::read_to_string(place.password_file(user)).unwrap();
    let options = || {
        let options = ClientOptions::new(&format!("tcp://{}", server.addr), user);
        options.password_hash(&hash_value(user, password.trim_end()))
    };
    sign_up(&options(), &UserProfile::default()).unwrap();
    Client::connect(options()).unwrap()
}

pub fn befriend(one: &Client, other: &Client) {
    one.ask_friend(other.user(), "").unwrap();
    let mut request = None;
    other.receive(WAIT, |push| request = Some(push.clone())).unwrap();
    other.accept(&request.unwrap(), "").unwrap();
    one.receive(WAIT, |push| assert_eq!(push.kind, PushKind::FriendAccept)).unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn listen(place: &Place, server: &Program, user: &str, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    command.arg("listen").args(place.options(server, user)).args(args).stdout(Stdio::piped());
    command.spawn().unwrap()
}

fn line_of(child: &mut Child) -> Value {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn the_status_of_send_tells_the_result_of_the_message() {
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = (account(&place, &server, "ann"), account(&place, &server, "bob"));
    befriend(&ann, &bob);
    ann.close();
    let send = |args: &[&str]| place.run(&server, "ann", "send", args);
    let sent = send(&["--to", "bob", "the geese fly"]);
    assert_eq!(sent.status.code(), Some(0), "{}", said(&sent));
    assert!(said(&sent).contains("without encryption") && sent.stdout.is_empty());
    bob.receive(WAIT, |push| assert_eq!(push.content, "the geese fly")).unwrap();
    // The same id again is the same message: nothing comes before the next one.
    for id in ["one", "one", "two"] {
        assert_eq!(send(&["--to", "bob", "--id", id, id]).status.code(), Some(0));
    }
    for id in ["one", "two"] {
        bob.receive(WAIT, |push| assert_eq!(push.message_id, id)).unwrap();
    }
    for (args, status, words) in [
        (&["--to", "nobody", "x"][..], 1, "not a friend"),
        (&["--to", "ann", "x"], 1, "friend"),
        (&["x"], 2, "--to"),
        (&["--to", "bob", "--keys", "/dev/null", "x"], 2, "keys"),
    ] {
        let output = send(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(words) && said(&output).lines().count() == 1, "{args:?}: {}", said(&output));
    }
    std::fs::remove_file(place.files_of("ann").join("token")).unwrap();
    std::fs::write(place.path("wrong"), "wrong\n").unwrap();
    let mut options = place.options(&server, "ann");
    options[5] = place.path("wrong").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    let output = command.arg("send").args(&options).args(["--to", "bob", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    bob.close();
    let addr = server.addr;
    drop(server);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    command.arg("send").args(place.options_at(addr, "ann")).args(["--to", "bob", "--timeout", "1", "x"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("nothing was sent") && !said(&output).contains("--id"), "{}", said(&output));
}

#[test]
fn listen_prints_lines_and_acks_the_printed_messages() {
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = (account(&place, &server, "ann"), account(&place, &server, "bob"));
    befriend(&ann, &bob);
    bob.close();
    let odd = "two\nlines \u{1b}[2J\u{202e} 鸿";
    let first = ann.send("bob", odd).unwrap();
    let mut listener = listen(&place, &server, "bob", &["--count", "2"]);
    let line = line_of(&mut listener);
    assert_eq!((&line["type"], &line["from"], &line["id"]), (&"message".into(), &"ann".into(), &first.into()));
    assert_eq!((&line["text"], &line["encrypted"]), (&odd.into(), &false.into()));
    let second = ann.send("bob", "second").unwrap();
    assert_eq!(line_of(&mut listener)["id"], second);
    assert_eq!(listener.wait().unwrap().code(), Some(0));
    // Both were acked: the next one is the third.
    let third = ann.send("bob", "third").unwrap();
    let output = place.run(&server, "bob", "listen", &["--count", "1"]);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["id"], third);
    // A signal ends it with success, another log-in without.
    let mut listener = listen(&place, &server, "bob", &[]);
    let fourth = ann.send("bob", "fourth").unwrap();
    assert_eq!(line_of(&mut listener)["id"], fourth);
    // It keeps a second one out, as a chat does.
    let second = place.run(&server, "bob", "listen", &["--count", "1"]);
    assert!(second.status.code() == Some(2) && said(&second).contains("Ctrl-Q"), "{}", said(&second));
    assert!(Command::new("kill").arg(listener.id().to_string()).status().unwrap().success());
    assert_eq!(listener.wait().unwrap().code(), Some(0));
    let mut listener = listen(&place, &server, "bob", &[]);
    let fifth = ann.send("bob", "fifth").unwrap();
    assert_eq!(line_of(&mut listener)["id"], fifth);
    assert!(place.run(&server, "bob", "send", &["--to", "ann", "mine"]).status.success());
    assert_eq!(listener.wait().unwrap().code(), Some(1));
}

#[test]
fn a_push_whose_command_fails_comes_again() {
    let place = Place::new();
    let server = place.serve();
    let (ann, bob) = (account(&place, &server, "ann"), account(&place, &server, "bob"));
    befriend(&ann, &bob);
    bob.close();
    let id = ann.send("bob", "the geese fly").unwrap();
    let seen = place.path("seen");
    // It fails the first time.
    let command = format!("tee -a '{0}' | grep -q geese && test $(wc -l < '{0}') -gt 1", seen.display());
    let mut listener = listen(&place, &server, "bob", &["--count", "1", "--exec", &command]);
    wait_until("the command ran twice", || std::fs::read_to_string(&seen).is_ok_and(|text| text.lines().count() == 2));
    assert_eq!(listener.wait().unwrap().code(), Some(0));
    let lines = std::fs::read_to_string(&seen).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line["id"] == id));
    let next = ann.send("bob", "next").unwrap();
    let output = place.run(&server, "bob", "listen", &["--count", "1"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["id"], next, "it was acked");
}

#[test]
fn the_client_is_found_beside_the_server_or_the_way_to_build_it_is_said() {
    let help = Command::new(env!("CARGO_BIN_EXE_hongyan")).args(["send", "--help"]).output().unwrap();
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--to NAME"));
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("hongyan");
    std::fs::copy(env!("CARGO_BIN_EXE_hongyan"), &alone).unwrap();
    let output = Command::new(&alone).arg("chat").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--features client"), "{}", said(&output));
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    command.args(["chat", "--user", "ann", "--data"]).arg(folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.code() == Some(2) && said(&output).contains("terminal"), "{}", said(&output));
}
