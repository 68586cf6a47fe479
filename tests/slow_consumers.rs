//! Receivers who do not read, do not ack, or are not there any more and never said so: the real
//! binary on SQLite. They cost the server a bounded amount of memory, disturb nobody, are closed
//! in time, and lose nothing that was promised.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{CHEAP_PASSWORDS, Client, ContentForm, PATIENCE, Program, befriend, content, kind};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;
/// The memory that one slow receiver may cost: their list (1 MiB), the messages on their way to the
/// store and to them, the store's own buffers. Thirty-two times as much is sent.
const GROWTH_MAX: u64 = 8 * MIB;
const MESSAGES: usize = 1_000;
const TEXT_BYTES: usize = 32 * 1024;

/// Only passwords cost nothing: the memory of Argon2id would hide what is measured.
struct Server(Program);

impl Server {
    fn start(args: &[&str]) -> Self {
        Self(Program::start(&[&CHEAP_PASSWORDS[..], args].concat()))
    }

    fn connect(&self) -> Client {
        self.0.client(ContentForm::Object)
    }

    fn log_in(&self, name: &str) -> Client {
        let mut client = self.connect();
        client.log_in(name);
        client
    }

    fn friends(&self, one: &str, other: &str) -> (Client, Client) {
        let [mut one, mut other] = [one, other].map(|name| {
            let mut client = self.connect();
            client.sign_up(name);
            client.log_in(name);
            client
        });
        befriend(&mut one, &mut other);
        (one, other)
    }

    /// A line of `/proc/PID/status`, in bytes.
    fn memory(&self, key: &str) -> u64 {
        self.0.memory(key)
    }

    /// Its open files and sockets.
    fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap().count()
    }

    /// Waits until it has so many files open.
    #[track_caller]
    fn closes_down_to(&self, files: usize) {
        let until = Instant::now() + PATIENCE;
        while self.files() > files {
            assert!(Instant::now() < until, "{} files are open, {files} were expected", self.files());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Ann sends her messages, each once the one before was promised, and another pair talks on in
/// between.
fn flood(server: &Server, ann: &mut Client, count: usize) {
    let (mut cy, mut dan) = server.friends("cy", "dan");
    let text = "x".repeat(TEXT_BYTES);
    for n in 0..count {
        ann.say(&format!("m{n}"), "bob", &text, "MS");
        if n % 20 == 0 {
            cy.send(&cy.message(&format!("c{n}"), "dan", "not disturbed"));
            dan.take(&format!("c{n}"));
            cy.expect_reply("RE_MESSAGE", &format!("c{n}"), "MS");
        }
    }
}

/// Everything that was promised comes, whole and in the order of its first sending; a push that
/// comes once more is acked once more.
#[track_caller]
fn takes_all(server: &Server, count: usize) {
    let mut bob = server.log_in("bob");
    let mut next = 0;
    while next < count {
        let frame = bob.recv();
        let said = content(&frame);
        let id = said["messageId"].as_str().unwrap().to_owned();
        assert_eq!((kind(&frame).as_str(), said["content"].as_str().unwrap().len()), ("4", TEXT_BYTES));
        let number: usize = id[1..].parse().unwrap();
        assert!(number <= next, "{number} came before {next}");
        next += usize::from(number == next);
        bob.ack(&id);
    }
    drop(bob);
    let mut bob = server.log_in("bob");
    bob.fence();
}

#[test]
fn a_client_that_does_not_read_costs_little_and_loses_nothing() {
    // Sent again so often that Bob's socket, too, is full: from then on nothing is written for it.
    let server = Server::start(&["--resend-every", "100ms"]);
    let (mut ann, bob) = server.friends("ann", "bob");
    let before = server.memory("VmRSS");
    flood(&server, &mut ann, MESSAGES);
    let grown = server.memory("VmHWM").saturating_sub(before);
    println!("{} KiB more at most, after {} KiB", grown / 1024, before / 1024);
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
    drop(bob);
    takes_all(&server, MESSAGES);
    let grown = server.memory("VmHWM").saturating_sub(before);
    println!("{} KiB more at most once Bob has read it all", grown / 1024);
    assert!(grown < GROWTH_MAX, "{grown} bytes more, once Bob reads");
}

#[test]
fn a_client_that_reads_and_never_acks_costs_little_and_loses_nothing() {
    let server = Server::start(&["--resend-every", "300ms"]);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let before = server.memory("VmRSS");
    let end = bob.stream().try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while let Some(frame) = bob.next() {
            seen.insert(content(&frame)["messageId"].as_str().unwrap().to_owned());
        }
        seen
    });
    flood(&server, &mut ann, MESSAGES);
    let grown = server.memory("VmHWM").saturating_sub(before);
    println!("{} KiB more at most, after {} KiB", grown / 1024, before / 1024);
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
    // The server then ends its side, too, behind a whole frame.
    end.shutdown(Shutdown::Write).unwrap();
    let seen = reader.join().unwrap();
    // No more than may be outstanding (512 KiB) was ever sent, again and again.
    assert!((1..=16).contains(&seen.len()), "{seen:?}");
    takes_all(&server, MESSAGES);
}

#[test]
fn a_client_that_is_gone_without_a_word_is_closed_and_its_messages_wait() {
    // Longer than anything here takes, for Ann must not be silent for so long; Bob's last
    // words linger for five seconds more.
    let server = Server::start(&["--idle-timeout", "2s", "--idle-check", "50ms", "--resend-every", "20ms"]);
    let (mut ann, bob) = server.friends("ann", "bob");
    let text = "x".repeat(TEXT_BYTES);
    for n in 0..20 {
        ann.say(&format!("m{n}"), "bob", &text, "MS");
    }
    let files = server.files();
    let until = Instant::now() + PATIENCE;
    // Bob's socket stays as it is: no end, no byte, nothing read.
    while server.files() == files {
        assert!(Instant::now() < until, "Bob is still there");
        ann.fence();
        std::thread::sleep(Duration::from_millis(20));
    }
    // A message to Bob waits now as well.
    ann.say("m20", "bob", &text, "MS");
    drop(ann);
    takes_all(&server, 21);
    drop(bob);
}

#[test]
fn a_client_that_sends_and_takes_no_output_is_closed_and_its_messages_wait() {
    let server = Server::start(&["--output-timeout", "400ms", "--resend-every", "20ms"]);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let files = server.files();
    let text = "x".repeat(TEXT_BYTES);
    for n in 0..20 {
        ann.say(&format!("m{n}"), "bob", &text, "MS");
    }
    let until = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < until, "Bob is still there");
        // Bob is not silent; but sooner or later there is so much output that Bob is not read any
        // more.
        if let Err(error) = bob.stream().write_all(b"{\"TYPE\":\"0\",\"MID\":\"h\",\"CONTENT\":{}}\n") {
            break error;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    server.closes_down_to(files - 1);
    ann.fence();
    takes_all(&server, 20);
}

/// Reads on, slowly: so much at a time, and a pause after it.
fn take_slowly(client: &mut Client, count: usize) {
    for n in 0..count {
        let frame = client.recv();
        assert_eq!(content(&frame)["messageId"], format!("m{n}"), "in its order, and once");
        client.ack(&format!("m{n}"));
        std::thread::sleep(Duration::from_millis(40));
    }
}

/// A text of a friend becomes seven times as large once it is escaped twice, and fills every buffer
/// on the way. The receiver reads slowly and acks what it has read, as clients do.
#[test]
fn a_friend_cannot_lock_out_a_slow_receiver() {
    const COUNT: usize = 200;
    let large = ["--list-bytes-max", "64MiB", "--outstanding-bytes-max", "64MiB", "--output-bytes-max", "128MiB"];
    let idle = ["--idle-timeout", "2500ms", "--idle-check", "50ms", "--resend-every", "60s"];
    let server = Server::start(&[&large[..], &idle[..]].concat());
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    let text = "\u{1}".repeat(10_000);
    for n in 0..COUNT {
        ann.say(&format!("m{n}"), "bob", &text, "MS");
    }
    // They wait for Bob, and come all at once.
    let mut bob = server.0.client(ContentForm::Text);
    bob.log_in("bob");
    take_slowly(&mut bob, COUNT);
    bob.fence();
}

/// Sends a signal to the server.
fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill").args([name, &server.0.id().to_string()]).status().unwrap();
    assert!(sent.success(), "kill {name}");
}

/// Is the whole process stopped?
fn is_stopped(server: &Server) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap();
    status.lines().any(|line| line.starts_with("State:") && line.contains('T'))
}

#[test]
fn a_server_that_was_stopped_for_long_loses_nobody_who_spoke_meanwhile() {
    const CONNS: usize = 200;
    const IDLE: Duration = Duration::from_secs(4);
    let server = Server::start(&["--idle-timeout", "4s", "--idle-check", "20ms"]);
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..CONNS {
        let mut client = server.connect();
        client.sign_up(&format!("u{n}"));
        client.log_in(&format!("u{n}"));
        clients.push(client);
        if n % 20 == 0 {
            clients.iter_mut().for_each(Client::fence);
        }
    }
    clients.iter_mut().for_each(Client::fence);
    signal(&server, "-STOP");
    let until = Instant::now() + PATIENCE;
    while !is_stopped(&server) {
        assert!(Instant::now() < until, "it is not stopped");
        std::thread::sleep(Duration::from_millis(5));
    }
    for client in &mut clients {
        client.send(r#"{"TYPE":"0","MID":"late","CONTENT":{}}"#);
    }
    // Everybody's time is over by then.
    std::thread::sleep(IDLE + Duration::from_millis(500));
    signal(&server, "-CONT");
    for client in &mut clients {
        client.expect_beat("late");
    }
    for client in &mut clients {
        client.fence();
    }
}
