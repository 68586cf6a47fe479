//! SIGHUP over a real process: the options that change, the ones that need a restart, and a file
//! that is wrong.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{CHEAP_PASSWORDS, Client, ContentForm, Program, befriend};
use hongyan::config::options::{OPTIONS, OptionEffectTime};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server whose settings are in a file.
struct Configured {
    folder: tempfile::TempDir,
    program: Program,
}

impl Configured {
    fn start(text: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hongyan.toml");
        fs::write(&path, text).unwrap();
        let args = [&CHEAP_PASSWORDS[..], &["--config", path.to_str().unwrap()], args].concat();
        let program = Program::on("memory:", &args);
        Self { folder, program }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hongyan.toml")
    }

    /// The server reads this; gives the line that says so.
    fn reload(&self, text: &str) -> String {
        fs::write(self.path(), text).unwrap();
        self.hang_up();
        self.program.wait_for("SIGHUP: ")
    }

    fn hang_up(&self) {
        let status = Command::new("kill").args(["-HUP", &self.program.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn client(&self) -> Client {
        self.program.client(ContentForm::Text)
    }
}

/// Expects this answer to an input of 2,000 bytes that is a JSON object and no request.
#[track_caller]
fn expect(client: &mut Client, code: &str) {
    client.send(&format!("{{\"x\":\"{}\"}}", "x".repeat(2_000)));
    client.expect_error("", code);
}

#[test]
fn a_limit_changes_for_present_and_future_connections() {
    let server = Configured::start("max-frame = \"4KiB\"\n", &[]);
    let mut before = server.client();
    expect(&mut before, "UNKNOWN_TYPE");
    let said = server.reload("max-frame = 1024\nidle-timeout = \"90s\"\n");
    assert!(said.ends_with("SIGHUP: read again; idle-timeout 120s → 90s, max-frame 4KiB → 1KiB"), "{said}");
    expect(&mut before, "TOO_LARGE");
    expect(&mut server.client(), "TOO_LARGE");
    let said = server.reload("");
    assert!(said.ends_with("idle-timeout 90s → 120s, max-frame 1KiB → 64KiB"), "the defaults: {said}");
    expect(&mut server.client(), "UNKNOWN_TYPE");
    assert!(server.reload("").ends_with("SIGHUP: read again; no option has changed"));
}

#[test]
fn an_option_that_needs_a_restart_is_reported_and_stays() {
    let server = Configured::start("", &[]);
    fs::write(server.path(), "backlog-connections-max = 7\nauth-threads = 2\nmax-frame = 1024\n").unwrap();
    server.hang_up();
    for (name, now, new) in [("backlog-connections-max", "4096", "7"), ("auth-threads", "1", "2")] {
        let said = server.program.wait_for(name);
        let expected = format!("SIGHUP: {name} is {new} from the next start on; until then it stays {now}");
        assert!(said.contains("[WARN]") && said.ends_with(&expected), "{said}");
    }
    let said = server.program.wait_for("read again");
    assert!(said.ends_with("; max-frame 64KiB → 1KiB; 2 wait for a restart"), "{said}");
    expect(&mut server.client(), "TOO_LARGE");
}

#[test]
fn a_flag_beats_the_file_at_a_reload_as_well() {
    let server = Configured::start("", &["--max-frame", "1KiB"]);
    let said = server.reload("max-frame = \"4KiB\"\n");
    assert!(said.ends_with("no option has changed"), "{said}");
    expect(&mut server.client(), "TOO_LARGE");
}

#[test]
fn a_wrong_file_changes_nothing() {
    let server = Configured::start("max-frame = 1024\n", &[]);
    let mut client = server.client();
    let large = format!("# {}\n", "x".repeat(1 << 20));
    let long_key = format!("max-frame = 4096\n{} = 1\n", "k".repeat(500_000));
    for (text, why) in [
        ("max-frame = 4096\nidle-timeuot = \"1s\"\n", "line 2: unknown option \"idle-timeuot\""),
        ("max-frame = 4096\nidle-timeout = \"soon\"\n", "idle-timeout"),
        ("max-frame = 4096\noutput-bytes-max = \"64KiB\"\nmax-frame = 1\n", "max-frame is given twice"),
        ("max-frame = 4096\nlist-max = 8\noutstanding-max = 9\n", "--outstanding-max 9 must not be greater"),
        (&large, "it is larger than 1 MiB"),
        (&long_key, "unknown option \"kkk"),
    ] {
        let said = server.reload(text);
        assert!(said.contains("[ERROR]") && said.contains(why), "{said}");
        assert!(said.contains("everything stays as it was") && said.len() < 600, "{said}");
    }
    fs::remove_file(server.path()).unwrap();
    server.hang_up();
    assert!(server.program.wait_for("SIGHUP").contains("there is no such file"));
    let made = Command::new("mkfifo").arg(server.path()).status().unwrap();
    assert!(made.success());
    server.hang_up();
    assert!(server.program.wait_for("SIGHUP").contains("it is not a regular file"));
    fs::remove_file(server.path()).unwrap();
    expect(&mut client, "TOO_LARGE");
    assert!(server.reload("max-frame = 4096\n").ends_with("max-frame 1KiB → 4KiB"), "and it goes on");
    expect(&mut server.client(), "UNKNOWN_TYPE");
}

#[test]
fn a_start_does_not_wait_for_a_pipe_either() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    for more in [&[][..], &["--check-config"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
        let output = command.arg("--config").arg(&path).args(more).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("it is not a regular file") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn the_log_changes_its_level_and_its_form() {
    let server = Configured::start("", &[]);
    let said = server.reload("log = \"debug\"\nlog-format = \"json\"\n");
    let line: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(line["message"], "SIGHUP: read again; log info → debug, log-format text → json");
    server.client().send("{\"TYPE\":\"0\"}");
    let line: serde_json::Value = serde_json::from_str(&server.program.wait_for("request refused")).unwrap();
    assert_eq!((&line["level"], &line["code"]), (&"debug".into(), &"NOT_LOGGED_IN".into()));
    // The line that says so comes out, too.
    assert!(server.reload("log = \"error\"\n").ends_with("log debug → error, log-format json → text"));
    assert!(server.reload("nonsense = 1").contains("[ERROR]"));
}

#[test]
fn quotas_of_the_store_change_for_later_messages() {
    let server = Configured::start("waiting-per-pair-max = 2\n", &[]);
    let (mut ann, mut bob) =
        (server.program.user("ann", ContentForm::Text), server.program.user("bob", ContentForm::Text));
    befriend(&mut ann, &mut bob);
    drop(bob);
    ann.say("m1", "bob", "kept", "MS");
    ann.say("m2", "bob", "kept", "MS");
    ann.say("m3", "bob", "one too many", "MF");
    ann.expect_error("m3", "FULL");
    server.reload("waiting-per-pair-max = 3\n");
    ann.say("m3", "bob", "kept", "MS");
    server.reload("waiting-per-pair-max = 1\n");
    ann.say("m4", "bob", "too many", "MF");
    ann.expect_error("m4", "FULL");
    // Waiting pushes stay.
    let mut bob = server.client();
    bob.log_in("bob");
    ["m1", "m2", "m3"].iter().for_each(|id| bob.take(id));
}

fn tls_file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/tls").join(name).display().to_string()
}

#[test]
fn tls_is_begun_and_ended_without_a_restart() {
    let server = Configured::start("", &[]);
    // The first bytes of a hello: a server without a certificate closes such a connection.
    let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
    let says = |server: &Configured| {
        let mut client = server.client();
        client.send_bytes(hello);
        let mut first = [0; 1];
        std::io::Read::read(client.stream(), &mut first).map(|count| (count, first[0])).ok()
    };
    assert_ne!(says(&server), Some((1, 0x15)), "no alert of TLS");
    let (cert, key) = (tls_file("server.pem"), tls_file("server.key"));
    let text = format!("tls-cert = \"{cert}\"\ntls-key = \"{key}\"\n");
    server.reload(&text);
    server.program.wait_for("was read again; new connections get it");
    assert_eq!(says(&server), Some((1, 0x15)), "an alert: TLS is spoken, and this is none");
    let said = server.reload(&format!("{text}tls-only = \"on\"\ntrusted-proxies = \"10.0.0.0/8\"\n"));
    assert!(said.contains("tls-only off → on, trusted-proxies none → 10.0.0.0/8"), "{said}");
    // A certificate that is no use beside a limit that is right: neither counts.
    let said = server.reload(&format!("tls-cert = \"/nowhere\"\ntls-key = \"{key}\"\nmax-frame = 1024\n"));
    assert!(said.contains("[ERROR]") && said.contains("--tls-cert /nowhere cannot be read"), "{said}");
    expect(&mut server.client(), "UNKNOWN_TYPE");
    let said = server.reload("");
    assert!(said.contains(&format!("tls-cert {cert} → none")), "{said}");
    assert_ne!(says(&server), Some((1, 0x15)));
}

#[test]
fn the_page_says_of_each_option_that_can_change_what_happens() {
    let page = include_str!("../docs/operations.md");
    let (_, table) = page.split_once("| option | effect of a new value |").unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells: Vec<&str> = rows.map(|row| row.split('|').nth(1).unwrap()).collect();
    let named: Vec<&str> = cells.iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    // Behind … there are several.
    let is_named = |name: &str| {
        named.iter().any(|word| word.strip_suffix('…').map_or(*word == name, |begin| name.starts_with(begin)))
    };
    for opt in OPTIONS.iter().filter(|opt| opt.reload == OptionEffectTime::Live) {
        assert!(is_named(opt.name), "{}", opt.name);
    }
}
