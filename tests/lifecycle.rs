//! The program as users run it: options, environment, exit statuses, the ready line, signals,
//! restarts, too few descriptors.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/lifecycle/`.
mod lifecycle {
    mod configuration;
    mod descriptors;
    mod signals;
    mod supervisor;
}

use common::{Client, ContentForm, PATIENCE, Transport, befriend};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hongyan");

struct Program {
    child: Child,
    addr: SocketAddr,
    stderr: BufReader<ChildStderr>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let addr = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "it ended before it was ready");
            if let Some((_, addr)) = line.split_once("listening on ") {
                break addr.trim().parse().unwrap();
            }
        };
        Self { child, addr, stderr }
    }

    fn client(&self) -> Client {
        Client::connect(self.addr, Transport::Raw, ContentForm::Text)
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the program ends. Returns its exit status and the rest of its standard error.
    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program may have ended already: then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn program(store: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--store", store]);
    command
}

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(PROGRAM).args(args).envs(env.iter().copied()).output().unwrap()
}

/// Expects exit status 2, and one sentence that contains `names`.
#[track_caller]
fn refused(output: &Output, names: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said.lines().count(), 1, "one sentence: {said}");
    assert!(said.contains(names), "{said}");
}

fn wait_until_it_listens(addr: SocketAddr) {
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(addr).is_err() {
        assert!(Instant::now() < until, "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn free_addr() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[track_caller]
fn ends(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > until {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kill(name: &str, child: &Child) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = run(&["--help"], &[]);
    assert!(help.status.success());
    let text = String::from_utf8(help.stdout).unwrap();
    for option in ["--listen", "--store", "--idle-timeout", "--idle-check", "--resend-every", "--max-frame", "--log"] {
        assert!(text.contains(option), "{option}");
    }
    assert!(text.contains("HONGYAN_") && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let version = run(&["--version"], &[]);
    let (said, build) = (String::from_utf8(version.stdout).unwrap(), env!("CARGO_PKG_VERSION"));
    assert!(said.starts_with(&format!("hongyan {build} (schema ")) && said.ends_with(")\n"), "{said}");
}

#[test]
fn wrong_options_are_refused_in_one_sentence() {
    refused(&run(&["--nonsense"], &[]), "--nonsense");
    refused(&run(&["extra"], &[]), "extra");
    refused(&run(&["--idle-timeout", "soon"], &[]), "soon");
    refused(&run(&["--idle-timeout"], &[]), "--idle-timeout");
    refused(&run(&["--max-frame", "1B"], &[]), "--max-frame");
    refused(&run(&["--store", "postgres://x"], &[]), "--store");
    refused(&run(&["--listen", "nowhere"], &[]), "nowhere");
    refused(&run(&["--log", "loud"], &[]), "loud");
    refused(&run(&[], &[("HONGYAN_RESEND_EVERY", "often")]), "HONGYAN_RESEND_EVERY");
    refused(&run(&["--lsiten", "127.0.0.1:0"], &[]), "did you mean --listen?");
    refused(&run(&["--log", "info", "--log", "info"], &[]), "--log is given twice");
    refused(&run(&[], &[("HONGYAN_STOER", "memory:")]), "HONGYAN_STOER (did you mean HONGYAN_STORE?)");
    refused(&run(&["copy"], &[("HONGYAN_FORM", "sqlite:a")]), "HONGYAN_FORM (did you mean HONGYAN_FROM?)");
    for odd in ["sqlite::memory:", "sqlite:file:im.db", "sqlite:im.db-wal", "sqlite:/tmp/"] {
        refused(&run(&["--listen", "127.0.0.1:0", "--store", odd], &[]), "--store");
        refused(&run(&["copy", "--from", odd, "--to", "sqlite:x.db"], &[]), "--from");
    }
}

#[test]
fn variables_of_kubernetes_and_of_the_tests_are_left_alone() {
    let mut command = program("memory:");
    command.env("HONGYAN_SERVICE_HOST", "10.0.0.1").env("HONGYAN_SERVICE_PORT", "1102");
    command.env("HONGYAN_PORT", "tcp://10.0.0.1:1102").env("HONGYAN_PORT_1102_TCP_ADDR", "10.0.0.1");
    command.env("HONGYAN_TEST_MYSQL", "mysql://somewhere").env("HONGYAN_FROM", "sqlite:elsewhere");
    Program::start(&mut command).client().send("{}");
}

#[test]
fn unusable_stores_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.db");
    std::fs::write(&file, "this is no database, but somebody's diary; ".repeat(100)).unwrap();
    let before = std::fs::read(&file).unwrap();
    let url = |path: &Path| format!("sqlite:{}", path.display());
    refused(&run(&["--listen", "127.0.0.1:0", "--store", &url(&file)], &[]), "text.db");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    refused(
        &run(&["--listen", "127.0.0.1:0", "--store", &url(&folder.path().join("no/such/folder.db"))], &[]),
        "folder.db",
    );
    // The sentence has the path of the folder exactly once.
    let said = run(&["--listen", "127.0.0.1:0", "--store", &url(folder.path())], &[]);
    refused(&said, "it is a folder");
    let shown = folder.path().display().to_string();
    assert_eq!(String::from_utf8_lossy(&said.stderr).matches(&shown).count(), 1);
    let store = url(&folder.path().join("used.db"));
    let first = Program::start(&mut program(&store));
    refused(&run(&["--listen", "127.0.0.1:0", "--store", &store], &[]), "another server uses it");
    // Other names of the same file are refused, too.
    std::os::unix::fs::symlink(folder.path().join("used.db"), folder.path().join("link.db")).unwrap();
    let by_link = url(&folder.path().join("link.db"));
    refused(&run(&["--listen", "127.0.0.1:0", "--store", &by_link], &[]), "another server uses it");
    std::fs::hard_link(folder.path().join("used.db"), folder.path().join("second.db")).unwrap();
    let by_name = url(&folder.path().join("second.db"));
    refused(&run(&["--listen", "127.0.0.1:0", "--store", &by_name], &[]), "hard links");
    let taken = first.addr.to_string();
    refused(&run(&["--listen", &taken, "--store", "memory:"], &[]), &taken);
}

#[test]
fn settings_come_from_the_environment_and_flags_beat_them() {
    let mut command = Command::new(PROGRAM);
    command.env("HONGYAN_LISTEN", "127.0.0.1:0").env("HONGYAN_STORE", "memory:").env("HONGYAN_MAX_FRAME", "1KiB");
    let program = Program::start(&mut command);
    let mut client = program.client();
    client.send(&format!("{{\"x\":\"{}\"}}", "x".repeat(2_000)));
    client.expect_error("", "TOO_LARGE");
    drop(program);
    let program = Program::start(command.args(["--max-frame", "4KiB"]));
    let mut client = program.client();
    client.send(&format!("{{\"x\":\"{}\"}}", "x".repeat(2_000)));
    client.expect_error("", "UNKNOWN_TYPE");
}

#[test]
fn it_stops_cleanly_at_a_signal_and_everything_is_there_when_it_starts_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("hongyan.db").display());
    let program_1 = Program::start(&mut program(&store));
    let (mut ann, mut bob) = (program_1.client(), program_1.client());
    for (client, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        client.sign_up(name);
        client.log_in(name);
    }
    befriend(&mut ann, &mut bob);
    ann.say("m", "bob", "not acked", "MS");
    bob.expect_push("4", "m");
    let mut web = Client::connect(program_1.addr, Transport::WebSocket, ContentForm::Text);
    program_1.signal("-TERM");
    for client in [&mut ann, &mut bob, &mut web] {
        client.expect_error("", "SHUTTING_DOWN");
        client.expect_closed();
    }
    let (status, said) = program_1.end();
    assert_eq!(status.code(), Some(0), "{said}");

    let program_2 = Program::start(&mut program(&store));
    let mut bob = program_2.client();
    bob.log_in("bob");
    bob.take("m");
    bob.fence();
    program_2.signal("-INT");
    bob.expect_error("", "SHUTTING_DOWN");
    let (status, said) = program_2.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_file_whose_name_means_something_to_sqlite_is_the_file_of_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program("sqlite:./file:im.db?mode=memory");
    let program = Program::start(command.current_dir(&folder));
    program.client().sign_up("ann");
    let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(names.contains(&"file:im.db?mode=memory".into()) && !names.contains(&"im.db".into()), "{names:?}");
    assert!(std::fs::metadata(folder.path().join("file:im.db?mode=memory-wal")).unwrap().len() > 0);
}

/// If the queue had no place for a client, the system would retry the connection after a second.
#[test]
fn a_client_that_comes_while_the_server_is_busy_has_its_place_in_the_queue() {
    let program = Program::start(&mut program("memory:"));
    program.signal("-STOP");
    let mut crowd = Vec::new();
    for n in 0..400 {
        let came = TcpStream::connect_timeout(&program.addr, Duration::from_millis(900));
        crowd.push(came.unwrap_or_else(|error| panic!("the {n}th: {error}")));
    }
    program.signal("-CONT");
    for stream in &mut crowd {
        stream.write_all(b"{\"TYPE\":\"0\",\"MID\":\"h\"}").unwrap();
    }
    for mut stream in crowd {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_ne!(stream.read(&mut [0; 512]).unwrap(), 0, "the client is answered");
    }
}

#[test]
fn half_open_connections_by_the_thousand_disturb_nobody() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" --listen 127.0.0.1:0 --store memory:", PROGRAM]);
    let program = Program::start(&mut command);
    let (mut ann, mut bob) = (program.client(), program.client());
    for (client, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        client.sign_up(name);
        client.log_in(name);
    }
    befriend(&mut ann, &mut bob);
    let begins: [&[u8]; 5] = [b"", b"{", b"GET / HT", b"{\"TYPE\":\"2\",\"CONTENT\":\"", b"GE"];
    let mut crowd = Vec::new();
    for n in 0..3_000 {
        match TcpStream::connect(program.addr) {
            Ok(mut stream) => {
                stream.write_all(begins[n % begins.len()]).unwrap();
                crowd.push(stream);
            }
            // This process has no more descriptors: the connections so far are enough.
            Err(error) if n > 500 && error.kind() != ErrorKind::ConnectionRefused => break,
            Err(error) => panic!("{error}"),
        }
        if n % 300 == 0 {
            ann.send(&ann.message(&format!("m{n}"), "bob", "crowded here"));
            bob.take(&format!("m{n}"));
            ann.expect_reply("RE_MESSAGE", &format!("m{n}"), "MS");
        }
    }
    let start = Instant::now();
    ann.fence();
    assert!(start.elapsed() < PATIENCE);
    drop(crowd);
    bob.fence();
}
