//! The push hook of a real server, against a receiver in this process and against the one in
//! docs/operations.md.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

mod push_hook {
    pub(crate) mod receiver;
}

use common::{CHEAP_PASSWORDS, Client, ContentForm, PATIENCE, Program, befriend};
use push_hook::receiver::{self, Answer, Receiver, Request};
use serde_json::json;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SECRET: &str = "a secret of enough bytes";

/// A file with the secret of the signatures, and a server that uses it.
struct Hooked {
    program: Program,
    _folder: tempfile::TempDir,
}

fn secret_file(folder: &Path) -> PathBuf {
    let path = folder.join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    path
}

fn server(url: &str, args: &[&str]) -> Hooked {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret_file(folder.path());
    let hook = ["--push-hook", url, "--push-hook-secret-file", secret.to_str().unwrap()];
    let short = ["--push-hook-after", "50ms", "--push-hook-retry-after", "20ms"];
    let program = Program::on("memory:", &[&CHEAP_PASSWORDS[..], &hook, &short, args].concat());
    Hooked { program, _folder: folder }
}

/// Ann, who goes away, and Bob, her friend.
fn bob_without_ann(program: &Program) -> Client {
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| program.user(name, ContentForm::Text));
    befriend(&mut ann, &mut bob);
    drop(ann);
    bob
}

/// SIGTERM; gives the line that the server says at its end.
fn stop(program: &mut Program) -> String {
    program.ask_to_stop();
    program.wait_for("stopped: ")
}

#[track_caller]
fn is_signed(request: &Request) {
    let signature = &request.headers["hongyan-signature"];
    let (time, hex) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(time.parse().unwrap()) <= 60, "{signature}");
    let signed = [time.as_bytes(), b".", &request.body].concat();
    assert_eq!(hex, receiver::hmac_sha256_hex(SECRET.as_bytes(), &signed), "{signature}");
}

#[test]
fn a_user_who_is_away_is_announced_once_with_a_signature_and_without_content() {
    let receiver = Receiver::start(|_, _| Answer::Status(200));
    let mut hooked = server(&receiver.url("/hook?x=1"), &[]);
    let mut bob = bob_without_ann(&hooked.program);
    for n in 0..5 {
        bob.say(&format!("m{n}"), "ann", "a word that is nobody's business", "MS");
    }
    let request = receiver.next();
    assert_eq!(request.line, "POST /hook?x=1 HTTP/1.1");
    assert_eq!(request.headers["content-type"], "application/json");
    assert!(request.headers["user-agent"].starts_with("hongyan/"));
    is_signed(&request);
    let waiting = request.json()["waiting"].as_u64().unwrap();
    assert!((1..=5).contains(&waiting));
    let expected = json!({"receiver": "ann", "sender": "bob", "kind": "message", "waiting": waiting, "more": false});
    assert_eq!(request.json(), expected);
    // Messages flow, and nobody is told again.
    for n in 5..50 {
        bob.say(&format!("m{n}"), "ann", "more", "MS");
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(receiver.count(), 1);
    // A log-in ends the pause.
    let mut ann = hooked.program.client(ContentForm::Text);
    ann.log_in("ann");
    for n in 0..50 {
        ann.take(&format!("m{n}"));
    }
    ann.fence();
    drop(ann);
    bob.say("later", "ann", "hello", "MS");
    assert_eq!(receiver.next().json()["waiting"], 1);
    let said = stop(&mut hooked.program);
    assert!(said.ends_with("push hook: 2 announced, 2 delivered, 0 dropped, 0 requests failed"), "{said}");
}

#[test]
fn an_online_user_is_announced_if_they_do_not_ack_and_not_if_they_ack() {
    let receiver = Receiver::start(|_, _| Answer::Status(204));
    let hooked = server(&receiver.url("/"), &["--push-hook-after", "500ms"][..0]);
    let [mut ann, mut bob, mut cid] = ["ann", "bob", "cid"].map(|name| hooked.program.user(name, ContentForm::Object));
    befriend(&mut ann, &mut bob);
    befriend(&mut cid, &mut bob);
    for n in 0..20 {
        let id = format!("c{n}");
        bob.send(&bob.message(&id, "cid", "hello"));
        cid.take(&id);
        bob.expect_reply("RE_MESSAGE", &id, "MS");
    }
    bob.say("a1", "ann", "hello", "MS");
    ann.expect_push("4", "a1");
    let request = receiver.next();
    assert_eq!((request.json()["receiver"].as_str(), request.json()["waiting"].as_u64()), (Some("ann"), Some(1)));
    assert_eq!(receiver.count(), 1);
}

#[test]
fn hostile_names_arrive_as_they_are_and_content_only_if_it_is_asked_for() {
    let receiver = Receiver::start(|_, _| Answer::Status(200));
    let hooked = server(&receiver.url("/"), &["--push-hook-content"]);
    let (evil, odd) = ("\",\"receiver\":\"eve\\", "🪿</script>'; --");
    let [mut ann, mut bob] = [evil, odd].map(|name| hooked.program.user(name, ContentForm::Object));
    befriend(&mut ann, &mut bob);
    drop(ann);
    let content = "\"}\r\n\r\nPOST / HTTP/1.1\r\n\u{1b}[31m";
    bob.say("m1", evil, content, "MS");
    let request = receiver.next();
    is_signed(&request);
    let expected = json!({
        "receiver": evil, "sender": odd, "kind": "message", "waiting": 1, "more": false,
        "content": content, "contentIsCut": false,
    });
    assert_eq!(request.json(), expected);
}

#[test]
fn a_failed_call_is_sent_again_and_a_refused_one_is_not() {
    // Each user has a receiver of their own kind.
    let receiver = Receiver::start(|request, seen| match (request.json()["receiver"].as_str().unwrap(), seen) {
        ("twice", 1) => Answer::Status(500),
        ("cut", 1) => Answer::Nothing,
        ("busy", 1 | 2) => Answer::Status(429),
        ("gone", _) => Answer::Status(410),
        ("moved", _) => Answer::Redirect,
        ("never", _) => Answer::Status(503),
        _ => Answer::Status(200),
    });
    let mut hooked = server(&receiver.url("/"), &[]);
    let names = ["twice", "cut", "busy", "gone", "moved", "never"];
    let mut bob = hooked.program.user("bob", ContentForm::Text);
    for name in names {
        let mut other = hooked.program.user(name, ContentForm::Text);
        befriend(&mut other, &mut bob);
    }
    for name in names {
        bob.say(&format!("to {name}"), name, "hello", "MS");
    }
    let expected = [("twice", 2), ("cut", 2), ("busy", 3), ("gone", 1), ("moved", 1), ("never", 5)];
    receiver.wait_until(|receiver| expected.iter().all(|&(name, count)| receiver.count_of(name) >= count));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(expected.map(|(name, _)| (name, receiver.count_of(name))), expected);
    assert_eq!(receiver.count_of_path("/elsewhere"), 0, "redirects are not followed");
    let said = stop(&mut hooked.program);
    assert!(said.ends_with("push hook: 6 announced, 3 delivered, 3 dropped, 11 requests failed"), "{said}");
}

#[test]
fn a_receiver_that_never_answers_or_is_not_there_harms_nobody() {
    let stuck = Receiver::start(|_, _| Answer::Never);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [stuck.url("/"), format!("http://{dead}/"), "http://no-such-host.invalid/".to_owned()] {
        let mut hooked = server(&url, &["--push-hook-timeout", "10m", "--push-hook-queue-max", "1"]);
        let mut bob = bob_without_ann(&hooked.program);
        let mut cid = hooked.program.user("cid", ContentForm::Text);
        befriend(&mut cid, &mut bob);
        bob.say("m1", "ann", "hello", "MS");
        for n in 0..100 {
            let id = format!("c{n}");
            bob.send(&bob.message(&id, "cid", "hello"));
            cid.take(&id);
            bob.expect_reply("RE_MESSAGE", &id, "MS");
        }
        if url == stuck.url("/") {
            stuck.next();
        } else {
            hooked.program.wait_for("the push hook http://");
        }
        let begun = Instant::now();
        let said = stop(&mut hooked.program);
        assert!(said.contains("push hook: 1 announced, 0 delivered, 1 dropped"), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(8), "it does not wait for the receiver: {:?}", begun.elapsed());
    }
}

#[test]
fn a_password_in_the_url_is_sent_and_never_logged() {
    let receiver = Receiver::start(|_, _| Answer::Status(500));
    let url = receiver.url("/geheim?token=geheim").replace("http://", "http://hook:ge%2Fheim@");
    let mut hooked = server(&url, &["--log", "trace"]);
    let mut bob = bob_without_ann(&hooked.program);
    bob.say("m1", "ann", "hello", "MS");
    assert_eq!(receiver.next().headers["authorization"], "Basic aG9vazpnZS9oZWlt");
    hooked.program.ask_to_stop();
    let log = hooked.program.rest_of_log();
    assert!(log.iter().any(|line| line.contains("the push hook http://127.0.0.1:")), "{log:?}");
    assert!(
        !log.iter().any(|line| line.contains("heim") || line.contains("aG9vaz") || line.contains(SECRET)),
        "{log:?}"
    );
}

#[test]
fn it_speaks_tls_with_a_ca_of_the_operators_and_with_no_other() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("there is no openssl: skipped");
        return;
    }
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/tls").join(name);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut openssl = Command::new("openssl")
        .args(["s_server", "-quiet", "-port", &port.to_string(), "-rev"])
        .arg("-cert")
        .arg(file("server.pem"))
        .arg("-key")
        .arg(file("server.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "openssl listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    let url = format!("https://localhost:{port}/");
    let ca = file("ca.pem");
    // It answers with what it was sent, backwards: that is no HTTP, and comes after the handshake.
    for (args, why) in [(&["--push-hook-ca-file", ca.to_str().unwrap()][..], "not HTTP"), (&[], "TLS failed")] {
        let hooked = server(&url, args);
        let mut bob = bob_without_ann(&hooked.program);
        bob.say("m1", "ann", "hello", "MS");
        let line = hooked.program.wait_for("the push hook https://localhost:");
        assert!(line.contains(why), "{line}");
    }
    openssl.kill().unwrap();
    openssl.wait().unwrap();
}

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hongyan"))
        .args(["--listen", "127.0.0.1:0", "--store", "memory:"])
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_bad_url_or_secret_ends_the_start_with_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let (good, short) = (secret_file(folder.path()), folder.path().join("short"));
    std::fs::write(&short, "geheim").unwrap();
    let (good, short) = (good.to_str().unwrap(), short.to_str().unwrap());
    let url = "https://u:geheim@push.example/";
    for (args, names) in [
        (&["--push-hook", "ftp://geheim.example/"][..], "--push-hook"),
        (&["--push-hook", "https://u:geheim@h:x/"], "--push-hook"),
        (&["--push-hook", url], "--push-hook-secret-file"),
        (&["--push-hook", url, "--push-hook-secret-file", "/nowhere"], "/nowhere"),
        (&["--push-hook", url, "--push-hook-secret-file", short], "16 bytes"),
        (&["--push-hook", url, "--push-hook-secret-file", good, "--push-hook-ca-file", good], "--push-hook-ca-file"),
        (&["--push-hook-secret-file", good], "--push-hook-secret-file"),
    ] {
        for check in [&["--check-config"][..], &[]] {
            let output = run(&[args, check].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.lines().count() == 1 && said.contains(names) && !said.contains("heim"), "{said}");
        }
    }
    assert!(run(&["--push-hook", url, "--push-hook-secret-file", good, "--check-config"]).status.success());
}

/// The code blocks of this language in docs/operations.md behind the heading *Phones*.
fn recipes(language: &str) -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Phones\n")).expect("there is a section");
    let begin = format!("```{language}\n");
    let blocks = section.split(&begin).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn the_receiver_of_the_docs_believes_only_signed_calls() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("there is no python3: skipped");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = secret_file(folder.path());
    let [program] = &recipes("python")[..] else { panic!("one program") };
    let path = folder.path().join("receiver.py");
    std::fs::write(&path, program).unwrap();
    let mut python = Python(
        Command::new("python3").arg("-u").arg(&path).arg(&secret).arg("0").stdout(Stdio::piped()).spawn().unwrap(),
    );
    let mut lines = BufReader::new(python.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap();
    let url = first.strip_prefix("listening on ").unwrap().to_owned();
    let hooked = server(&url, &[]);
    let mut bob = bob_without_ann(&hooked.program);
    bob.say("m1", "ann", "hello", "MS");
    assert_eq!(lines.next().unwrap(), "wake the phone of 'ann': 1 waiting, the first from 'bob'");
    // The command of the docs makes the same signature. A forged, an old and a missing one are
    // refused.
    let commands = recipes("sh");
    let command = commands.iter().find(|text| text.contains("hmac.new")).expect("a command that signs");
    for (change, status) in [("", "204"), ("forged", "403"), ("old", "403"), ("unsigned", "403")] {
        let command = command
            .replace("/etc/hongyan/push-hook.secret", secret.to_str().unwrap())
            .replace("http://127.0.0.1:8082/", &url);
        let command = match change {
            "forged" => command.replace("hexdigest()", "hexdigest()[::-1]"),
            "old" => command.replace("int(time.time())", "int(time.time() - 400)"),
            "unsigned" => command.replace("Hongyan-Signature", "X-Other"),
            _ => command,
        };
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), status, "{change}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
