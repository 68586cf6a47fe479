//! The client in Python and those who mean it harm: strangers, and a server.

use super::super::{Restarting, options, push, tcp, user};
use super::examples::Python;
use super::fake::Fake;
use hongyan::client::{Profile, PushKind, sign_up};
use serde_json::json;

#[test]
fn the_python_client_accepts_a_request_whose_text_is_longer_in_escapes() {
    let server = Restarting::start();
    let url = tcp(server.addr);
    let folder = tempfile::tempdir().unwrap();
    let (eve, gus) = (user(&url, "eve"), user(&url, "gus"));
    sign_up(&options(&url, "py"), &Profile::default()).unwrap();
    let Some(python) = Python::start(server.addr, "py", folder.path()) else { return };
    python.wait_for("online");
    for (stranger, text) in [(&eve, "鸿".repeat(21_000)), (&gus, "\u{1}".repeat(10_800))] {
        stranger.ask_friend("py", &text).unwrap();
        let answer = push(stranger);
        assert_eq!((answer.kind, answer.content.as_str()), (PushKind::FriendAccept, ""));
    }
}

#[test]
fn the_python_client_does_not_send_what_no_server_takes() {
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
fn the_python_client_does_not_send_again_what_was_too_large_for_its_server() {
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
