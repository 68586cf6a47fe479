//! The client in Python and those who mean it harm: strangers, and a server.

use super::super::{Restarting, options, push, tcp, user};
use super::examples::Python;
use super::fake::{Fake, Talk};
use hongyan::client::{PushKind, UserProfile, sign_up};
use serde_json::{Value, json};
use std::process::Command;

/// A friend request of a stranger.
fn ask(talk: &mut Talk, id: &str, stranger: &str, text: &str) {
    let words =
        json!({"messageId": id, "sender": stranger, "receiver": "py", "time": "1", "content": text, "type": "1"});
    talk.frame("6", &words);
}

/// Refuses a message, as a server does.
fn refuse_message(talk: &mut Talk, id: &Value, why: &str) {
    talk.reply("RE_MESSAGE", id, &json!("MF"));
    talk.reply("RE_ERROR", id, &json!(why));
}

#[test]
fn the_python_client_accepts_a_request_whose_text_is_longer_in_escapes() {
    let server = Restarting::start();
    let url = tcp(server.addr);
    let folder = tempfile::tempdir().unwrap();
    let (eve, gus) = (user(&url, "eve"), user(&url, "gus"));
    sign_up(&options(&url, "py"), &UserProfile::default()).unwrap();
    let Some(python) = Python::start(server.addr, "py", folder.path()) else { return };
    python.wait_for("online");
    for (stranger, text) in [(&eve, "鸿".repeat(21_000)), (&gus, "\u{1}".repeat(10_800))] {
        stranger.ask_friend("py", &text).unwrap();
        let answer = push(stranger);
        assert_eq!((answer.kind, answer.content.as_str()), (PushKind::FriendAccept, ""));
    }
}

#[test]
fn the_python_client_does_not_send_messages_that_no_server_takes() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut python) = Python::start(fake.addr, "py", folder.path()) else { return };
    let mut talk = fake.log_in();
    python.send(&format!("ann {}", "鸿".repeat(22_000)));
    python.wait_for("not sent: it has 66");
    // One that fits in UTF-8, and not in escapes.
    let text = "鸿".repeat(21_000);
    python.send(&format!("ann {text}"));
    assert_eq!(talk.expect("4")["CONTENT"]["content"], text);
}

#[test]
fn the_python_client_does_not_repeat_a_message_that_was_too_large_for_its_server() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut python) = Python::start(fake.addr, "py", folder.path()) else { return };
    let mut talk = fake.log_in();
    python.send("ann short");
    talk.expect("4");
    python.send("ann a longer text");
    talk.expect("4");
    talk.reply("RE_ERROR", &json!(""), &json!("TOO_LARGE: an envelope is larger than this server takes"));
    python.wait_for("TOO_LARGE");
    let mut talk = fake.log_in();
    assert_eq!(talk.expect("4")["CONTENT"]["content"], "short");
    python.send("ann more");
    assert_eq!(talk.expect("4")["CONTENT"]["content"], "more");
}

/// Refuses everything until a message to `receiver` comes.
fn refuse_until_one_to(talk: &mut Talk, receiver: &str, why: &str, mut each: impl FnMut(usize)) {
    let mut refused = 0;
    loop {
        let request = talk.next().expect("the client talks");
        let content = &request["CONTENT"];
        match request["TYPE"].as_str().unwrap() {
            "4" if content["receiver"] == receiver => return,
            "4" => refuse_message(talk, &content["messageId"], why),
            "6" => talk.reply("RE_ERROR", &content["messageId"], &json!(why)),
            _ => continue,
        }
        refused += 1;
        each(refused);
    }
}

#[test]
fn strangers_who_cannot_be_accepted_do_not_keep_the_python_client_from_sending() {
    for why in ["RATE_LIMITED: one of you has as many friends as are allowed", "FULL: no room"] {
        let fake = Fake::start();
        let folder = tempfile::tempdir().unwrap();
        let Some(mut python) = Python::start(fake.addr, "py", folder.path()) else { return };
        let mut talk = fake.log_in();
        for n in 0..300 {
            ask(&mut talk, &format!("f{n}"), &format!("stranger {n}"), "");
        }
        refuse_until_one_to(&mut talk, "ann", why, |refused| {
            if refused == 256 {
                python.send("ann hello");
            }
        });
        // The user is told.
        python.wait_for(why);
    }
}

#[test]
fn a_friend_whose_mailbox_is_full_does_not_keep_the_python_client_from_sending_to_others() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut python) = Python::start(fake.addr, "py", folder.path()) else { return };
    let mut talk = fake.log_in();
    for _ in 0..300 {
        python.send("bob hello");
    }
    python.send("ann hello");
    refuse_until_one_to(&mut talk, "ann", "FULL: no room", |_| {});
    python.wait_for("FULL: no room");
}

#[test]
fn the_python_client_sends_a_message_again_that_came_too_fast() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut python) = Python::start(fake.addr, "py", folder.path()) else { return };
    let mut talk = fake.log_in();
    python.send("ann hello");
    let asked = talk.expect("4");
    refuse_message(&mut talk, &asked["CONTENT"]["messageId"], "RATE_LIMITED: too many requests a second, slow down");
    assert_eq!(talk.expect("4"), asked);
}

#[test]
fn the_python_client_takes_no_more_friend_requests_than_it_can_keep() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let Some(python) = Python::start(fake.addr, "py", folder.path()) else { return };
    let mut talk = fake.log_in();
    // The second has the id of the first, which is not answered yet.
    for n in [0].into_iter().chain(0..600) {
        ask(&mut talk, &format!("f{n}"), &format!("stranger {n}"), &"x".repeat(100));
        if n == 0 {
            ask(&mut talk, "f0", "another", "");
        }
    }
    talk.push("m1");
    let (mut accepted, mut acked) = (Vec::new(), 0);
    loop {
        let request = talk.next().expect("the client talks");
        let content = &request["CONTENT"];
        match request["TYPE"].as_str().unwrap() {
            "5" if content["MessageId"] == "m1" => break,
            "5" => acked += 1,
            "6" => accepted.push(content["sender"].clone()),
            _ => {}
        }
    }
    // The first came twice, and its ack as well.
    assert_eq!((accepted.len(), acked), (512, 513));
    assert!(!accepted.contains(&json!("another")));
    // Those without an ack come again.
    talk.reply("RE_FRI_REQ", &json!("f0"), &json!("1"));
    ask(&mut talk, "f0", "another", "");
    loop {
        let request = talk.next().expect("the client talks");
        if request["TYPE"] == "6" {
            assert_eq!(request["CONTENT"]["sender"], "another");
            break;
        }
    }
    python.wait_for("another");
}

#[test]
fn hostile_frames_neither_end_the_python_client_nor_control_the_terminal() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let Some(python) = Python::start(fake.addr, "py", folder.path()) else { return };
    let mut talk = fake.log_in();
    talk.reply("RE_ERROR", &json!(""), &json!("IDLE: \u{1b}[2J\u{7}\u{202e}\nonline"));
    python.wait_for("offline: IDLE: ?[2J???online");
    let mut talk = fake.log_in();
    talk.send("[1]\n");
    python.wait_for("offline: the server sent something that is no frame");
    let mut talk = fake.log_in();
    talk.frame("NEWS", &json!([1]));
    talk.push("m1");
    assert_eq!(talk.expect("5")["CONTENT"]["MessageId"], "m1");
    talk.reply("RE_ERROR", &json!(""), &json!("REPLACED: \u{1b}[2J"));
    python.wait_for("stopped: REPLACED: ?[2J");
}

#[test]
fn the_python_client_takes_no_frame_that_is_none() {
    let code = "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv[1])\n\
        import python_client\n\
        for line in sys.stdin.buffer:\n\
        \x20   try: print(*python_client.read_frame(line))\n\
        \x20   except python_client.Again: print('none')";
    let push = |id: Value| json!({"messageId": id, "sender": "b", "receiver": "a", "time": "1", "content": "x"});
    let answer = |content: Value| json!({"TYPE": "RE_TOKEN", "CONTENT": {"MessageId": "x", "Content": content}});
    let bad = [
        json!([1]),
        json!(7),
        json!({"TYPE": "4"}),
        json!({"TYPE": ["4"], "CONTENT": {}}),
        json!({"TYPE": "4", "CONTENT": [1]}),
        json!({"TYPE": "4", "CONTENT": "[1]"}),
        json!({"TYPE": "4", "CONTENT": push(json!(["a"]))}),
        json!({"TYPE": "6", "CONTENT": push(json!("a"))}),
        json!({"TYPE": "RE_ERROR", "CONTENT": {"MessageId": [], "Content": "x"}}),
        answer(Value::Null),
        answer(json!(5)),
    ];
    let mut lines: Vec<String> = bad.iter().map(Value::to_string).collect();
    lines.extend(["garbage".to_owned(), format!("{{\"TYPE\":\"4\",\"CONTENT\":{}}}", "[".repeat(500_000))]);
    let good = json!({"TYPE": "4", "CONTENT": push(json!("a")).to_string()}).to_string();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n{good}\n", lines.join("\n"))).unwrap();
    let mut python = Command::new("python3");
    python.args(["-c", code, concat!(env!("CARGO_MANIFEST_DIR"), "/examples")]);
    let Ok(output) = python.stdin(std::fs::File::open(file.path()).unwrap()).output() else { return };
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), lines.len() + 1, "{said:?}");
    for (line, said) in lines.iter().zip(&said) {
        assert_eq!(*said, "none", "{}", &line[..line.len().min(80)]);
    }
    assert!(said[lines.len()].starts_with("4 {'messageId': 'a', "), "{said:?}");
}
