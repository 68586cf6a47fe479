//! The examples, against a real server that restarts in between.

use super::super::{Client, ClientEndReason, Error, PASSWORD, Restarting, options, push, tcp, user};
use super::fake::Fake;
use hongyan::client::{ErrorCode, PushKind, ServerRefusal, UserProfile, hash_value, sign_up};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

#[path = "../../examples/echo_bot.rs"]
#[allow(dead_code, reason = "its main is for the command line")]
mod echo_bot;

#[test]
fn the_echo_bot_answers_each_message_once_and_stops_when_it_is_replaced() {
    let mut server = Restarting::start();
    let url = tcp(server.addr);
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token").to_str().unwrap().to_owned();
    let ann = user(&url, "ann");
    let bot = std::thread::spawn({
        let url = url.clone();
        move || echo_bot::run(&url, "echo", PASSWORD, &token)
    });
    // It signs up by itself.
    let asked = std::iter::repeat_with(|| ann.ask_friend("echo", "hello")).take(200).find(|asked| match asked {
        Err(Error::Refused(_)) => {
            std::thread::sleep(std::time::Duration::from_millis(100));
            false
        }
        _ => true,
    });
    asked.expect("it signed up").unwrap();
    assert_eq!(push(&ann).kind, PushKind::FriendAccept);
    for n in 0..60 {
        if n % 20 == 10 {
            server.stop();
            server.start_again();
        }
        ann.send("echo", &format!("number {n} 🪿")).unwrap();
        assert_eq!(push(&ann).content, format!("number {n} 🪿"));
    }
    let _elsewhere = Client::connect(options(&url, "echo")).unwrap();
    assert_eq!(bot.join().unwrap().unwrap_err(), Error::Ended(ClientEndReason::Replaced));
}

#[test]
fn the_echo_bot_gives_up_only_where_another_try_changes_nothing_or_would_hold_up_all_others() {
    use PushKind::{FriendRequest, Message};
    let refused = |text: &str| {
        let code = ErrorCode::from_text(text);
        Error::Refused(ServerRefusal { code, text: text.to_owned() })
    };
    for never in [
        Error::NotFriends,
        Error::TooLarge { bytes: 2, max: 1 },
        refused("BAD_FIELD"),
        refused("TOO_LARGE"),
        refused("NO_SUCH_REQUEST"),
        refused("FORBIDDEN"),
        refused("FULL"),
    ] {
        assert!(echo_bot::is_final(Message, &never) && echo_bot::is_final(FriendRequest, &never), "{never:?}");
    }
    for later in [
        Error::TimedOut,
        Error::Unknown,
        Error::Busy,
        Error::BadAnswer("?".to_owned()),
        Error::Ended(ClientEndReason::Closed),
        refused("SHUTTING_DOWN"),
        refused("NOT_LOGGED_IN"),
        refused("UNAVAILABLE"),
    ] {
        assert!(!echo_bot::is_final(Message, &later) && !echo_bot::is_final(FriendRequest, &later), "{later:?}");
    }
    // A message came too fast; a friend request meets a limit.
    assert!(!echo_bot::is_final(Message, &refused("RATE_LIMITED")));
    assert!(echo_bot::is_final(FriendRequest, &refused("RATE_LIMITED")));
}

#[test]
fn the_echo_bot_acks_messages_that_others_keep_it_from_answering() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let (url, token) = (fake.url(), folder.path().join("token").to_str().unwrap().to_owned());
    let bot = std::thread::spawn(move || echo_bot::run(&url, "ann", PASSWORD, &token));
    let mut talk = fake.accept();
    let asked = talk.expect("1");
    talk.reply("RE_SIGNUP", &asked["MID"], &json!("SS"));
    let mut talk = fake.log_in();
    let words = json!({"messageId": "f1", "sender": "eve", "receiver": "ann", "time": "1", "content": "", "type": "1"});
    talk.frame("6", &words);
    talk.expect("6");
    talk.reply("RE_ERROR", &json!("f1"), &json!("RATE_LIMITED: one of you has as many friends as are allowed"));
    assert_eq!(talk.expect("5")["CONTENT"]["MessageId"], "f1");
    talk.push("m1");
    let echo = talk.expect("4");
    talk.reply("RE_MESSAGE", &echo["CONTENT"]["messageId"], &json!("MF"));
    talk.reply("RE_ERROR", &echo["CONTENT"]["messageId"], &json!("FULL: no room"));
    assert_eq!(talk.expect("5")["CONTENT"]["MessageId"], "m1");
    talk.reply("RE_ERROR", &json!(""), &json!("REPLACED: elsewhere"));
    assert_eq!(bot.join().unwrap().unwrap_err(), Error::Ended(ClientEndReason::Replaced));
}

/// The client in Python.
pub(super) struct Python {
    child: Child,
    lines: Receiver<String>,
}

impl Python {
    /// `None` where there is no Python.
    pub(super) fn start(addr: SocketAddr, user: &str, folder: &std::path::Path) -> Option<Self> {
        let password = folder.join("password");
        std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
        let mut command = Command::new("python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/python_client.py"));
        command.args(["127.0.0.1", &addr.port().to_string(), user]).arg(password).arg(folder.join("token"));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = piped.spawn() else {
            println!("there is no python3: skipped");
            return None;
        };
        let (sender, lines) = channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        for reader in [Box::new(stdout) as Box<dyn std::io::Read + Send>, Box::new(stderr)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                BufReader::new(reader).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
            });
        }
        Some(Self { child, lines })
    }

    #[track_caller]
    pub(super) fn wait_for(&self, what: &str) -> String {
        let mut before = Vec::new();
        loop {
            let line = self.lines.recv_timeout(super::super::PATIENCE * 3);
            let line = line.unwrap_or_else(|_| panic!("{what:?} does not come: {before:?}"));
            if line.contains(what) {
                return line;
            }
            before.push(line);
        }
    }

    pub(super) fn send(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_python_client_keeps_the_rules_across_a_restart() {
    let text = include_str!("../../examples/python_client.py");
    assert!(text.lines().count() <= 130, "it is to be read in one go");
    let mut server = Restarting::start();
    let url = tcp(server.addr);
    let folder = tempfile::tempdir().unwrap();
    let ann = user(&url, "ann");
    sign_up(&options(&url, "py"), &UserProfile::default()).unwrap();
    let Some(mut python) = Python::start(server.addr, "py", folder.path()) else { return };
    python.wait_for("online");
    ann.ask_friend("py", "hello").unwrap();
    assert_eq!(push(&ann).kind, PushKind::FriendAccept);
    ann.send("py", "one 🪿").unwrap();
    assert!(python.wait_for("\"TYPE\": \"4\"").contains("\"sender\": \"ann\""));
    python.send("ann to ann 🪿");
    assert_eq!(push(&ann).content, "to ann 🪿");
    python.wait_for(" safe");
    server.stop();
    // Written while the server is away.
    python.wait_for("offline");
    python.send("ann written meanwhile");
    server.start_again();
    assert_eq!(push(&ann).content, "written meanwhile");
    python.wait_for(" safe");
    // The token was used: a log-in with it leaves the file as it is.
    let token = std::fs::read_to_string(folder.path().join("token")).unwrap();
    assert_eq!(token.len(), 43);
    python.send("stranger hello");
    python.wait_for("not friends");
    // It does not come back when the user is elsewhere.
    let elsewhere = Client::connect(options(&url, "py")).unwrap();
    python.wait_for("stopped: REPLACED");
    assert!(!python.child.wait().unwrap().success());
    assert!(elsewhere.is_online());
}

#[test]
fn the_python_client_repeats_a_message_that_a_server_refuses_because_its_log_in_is_gone() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut python) = Python::start(fake.addr, "py", folder.path()) else { return };
    let mut talk = fake.log_in();
    python.send("ann hello");
    let asked = talk.expect("4");
    talk.reply("RE_ERROR", &asked["CONTENT"]["messageId"], &json!("NOT_LOGGED_IN: log in first"));
    assert_eq!(fake.log_in().expect("4")["CONTENT"], asked["CONTENT"]);
}

#[test]
fn python_and_the_library_hash_a_password_alike() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let code = "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv[1])\n\
        import python_client; print(python_client.hash_value('J\u{e9}', 'cafe\u{301} 🪿'))";
    let Ok(output) = Command::new("python3").args(["-c", code, file]).output() else { return };
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), hash_value("J\u{e9}", "caf\u{e9} 🪿"));
}
