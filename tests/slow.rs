//! Receivers that are slow, silent or dead, against the real binary on SQLite: what they do not take waits in the store and not in
//! memory, nothing of it is lost, and nobody else is disturbed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Client, PATIENCE, Spelling, Transport, befriend, content, envelope, kind};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Instant;
use tempfile::TempDir;

/// 32 MB in all.
const MESSAGES: usize = 1_000;
const MESSAGE_BYTES: usize = 32 * 1024;
/// Messages whose `MS` a sender does not wait for.
const IN_FLIGHT: usize = 8;
/// What all of that may add to the process: lists and output have their bounds, the rest is in the store.
const GROWTH_BYTES_MAX: u64 = 8 << 20;

/// The server as users run it, on a store of its own.
struct Server {
    child: Child,
    addr: SocketAddr,
    log: Receiver<String>,
    folder: TempDir,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_hongyan"))
            .args(["--listen", "127.0.0.1:0", "--log", "debug"])
            .args(["--store", &format!("sqlite:{}", folder.path().join("hongyan.db").display())])
            // Memory that a password takes would hide what is looked for.
            .args(["--argon2-memory", "8KiB", "--argon2-passes", "1"])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let addr = loop {
            let Some(Ok(line)) = lines.next() else { panic!("it ended before it was ready: {said:?}") };
            if let Some((_, addr)) = line.split_once("listening on ") {
                break addr.trim().parse().unwrap();
            }
            said.push(line);
        };
        let (sender, log) = channel();
        // It is read to its end even when nobody wants it: a full pipe would hold the server's log up.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| _ = sender.send(line)));
        Self { child, addr, log, folder }
    }

    fn user(&self, name: &str) -> Client {
        let mut client = Client::connect(self.addr, Transport::Raw, Spelling::Object);
        client.sign_up(name);
        client.log_in(name);
        client
    }

    fn log_in(&self, name: &str) -> Client {
        let mut client = Client::connect(self.addr, Transport::Raw, Spelling::Object);
        client.log_in(name);
        client
    }

    /// Ann, who is the slow one, and Bob.
    fn friends(&self) -> (Client, Client) {
        let (mut ann, mut bob) = (self.user("ann"), self.user("bob"));
        befriend(&mut ann, &mut bob);
        (ann, bob)
    }

    fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Waits until a connection was closed for this reason.
    fn wait_for_close(&self, why: &str) {
        let until = Instant::now() + PATIENCE;
        let is_it = |line: String| line.contains(" closed: ").then(|| line.ends_with(why));
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left).unwrap_or_else(|_| panic!("nobody was closed: {why}"));
            if is_it(line) == Some(true) {
                return;
            }
        }
    }

    fn store_bytes(&self) -> u64 {
        let files = ["hongyan.db", "hongyan.db-wal"].map(|name| self.folder.path().join(name));
        files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither fails on a child of ours that is not waited for yet.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Two more friends who talk for as long as this lives: each answer within the patience of a client.
struct Bystanders {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl Bystanders {
    fn start(server: &Server) -> Self {
        let (mut cid, mut dan) = (server.user("cid"), server.user("dan"));
        befriend(&mut cid, &mut dan);
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut said = 0;
            while !told.load(Ordering::Relaxed) {
                let id = format!("talk{said}");
                cid.send(&cid.message(&id, "dan", "how are you?"));
                dan.take(&id);
                cid.expect_reply("RE_MESSAGE", &id, "MS");
                said += 1;
            }
            (cid.fence(), dan.fence());
            said
        });
        Self { stop, thread: Some(thread) }
    }

    fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let said = self.thread.take().unwrap().join().expect("the bystanders talked on");
        assert!(said > 0);
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn text(number: usize) -> String {
    format!("{number:06}").repeat(MESSAGE_BYTES / 6)
}

/// Sends these messages to Ann, so many at a time as a client has on the way, and gets `MS` for each.
fn send_all(bob: &mut Client, numbers: std::ops::Range<usize>) {
    let mut open = BTreeSet::new();
    for number in numbers {
        let id = format!("m{number}");
        bob.send(&bob.message(&id, "ann", &text(number)));
        open.insert(id);
        while open.len() >= IN_FLIGHT {
            get_one(bob, &mut open);
        }
    }
    while !open.is_empty() {
        get_one(bob, &mut open);
    }
}

/// One that is saved at once overtakes one whose grace runs: the answers have an order of their own.
fn get_one(bob: &mut Client, open: &mut BTreeSet<String>) {
    let frame = bob.recv();
    let said = content(&frame);
    assert_eq!((kind(&frame).as_str(), said["Content"].as_str()), ("RE_MESSAGE", Some("MS")), "{frame}");
    assert!(open.remove(said["MessageId"].as_str().unwrap()), "{frame}");
}

/// Reads and acks: each comes, whole and in order. One that is sent again in between was sent before.
fn take_all(ann: &mut Client, count: usize) {
    let mut next = 0;
    while next < count {
        let frame = ann.recv();
        let said = content(&frame);
        assert_eq!(kind(&frame), "4");
        let number: usize = said["messageId"].as_str().unwrap()[1..].parse().unwrap();
        assert!(number <= next, "m{number} before m{next}");
        if number == next {
            assert!(said["content"] == text(number).as_str(), "m{number} is not what was sent");
            next += 1;
        }
        ann.ack(&format!("m{number}"));
    }
}

#[track_caller]
fn has_not_grown(server: &Server, before: u64) {
    let growth = server.memory("VmHWM:").saturating_sub(before);
    println!("{} KiB more than before, the store has {} KiB", growth >> 10, server.store_bytes() >> 10);
    assert!(growth <= GROWTH_BYTES_MAX, "it has grown by {growth} bytes");
    assert!(server.store_bytes() as usize >= MESSAGES * MESSAGE_BYTES, "what is promised is in the store");
}

#[test]
fn who_stops_reading_costs_the_server_little_and_loses_nothing() {
    let server = Server::start(&[]);
    let (ann, mut bob) = server.friends();
    let bystanders = Bystanders::start(&server);
    let before = server.memory("VmRSS:");
    send_all(&mut bob, 0..MESSAGES);
    has_not_grown(&server, before);
    // She comes back while the old connection hangs on.
    let mut newer = server.log_in("ann");
    take_all(&mut newer, MESSAGES);
    newer.fence();
    bob.fence();
    drop(ann);
    bystanders.stop();
}

#[test]
fn who_reads_and_never_acks_costs_the_server_little_and_loses_nothing() {
    let server = Server::start(&["--resend-every", "300ms"]);
    let (mut ann, mut bob) = server.friends();
    let bystanders = Bystanders::start(&server);
    let before = server.memory("VmRSS:");
    let sender = std::thread::spawn(move || {
        send_all(&mut bob, 0..MESSAGES);
        bob
    });
    // The same ones again and again, and never one beyond what may be outstanding.
    let (mut often, mut highest) = (0, 0);
    while often < 10 || !sender.is_finished() {
        let number: usize = content(&ann.recv())["messageId"].as_str().unwrap()[1..].parse().unwrap();
        often += usize::from(number == 0);
        highest = highest.max(number);
    }
    assert!(highest * MESSAGE_BYTES < 512 << 10, "m{highest} was sent");
    sender.join().unwrap().fence();
    has_not_grown(&server, before);
    let mut newer = server.log_in("ann");
    take_all(&mut newer, MESSAGES);
    bystanders.stop();
}

#[test]
fn a_client_that_is_dead_and_does_not_say_so_is_closed_as_idle_and_finds_its_messages_later() {
    let server = Server::start(&["--idle-timeout", "1500ms", "--idle-check", "100ms"]);
    let (mut ann, mut bob) = server.friends();
    bob.say("m0", "ann", &text(0), "MS");
    // Its socket stays open, as that of a client whose network is gone.
    let closed = std::thread::spawn(move || {
        ann.expect_push("4", "m0");
        ann.expect_closed();
    });
    while !closed.is_finished() {
        bob.fence();
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    closed.join().unwrap();
    bob.say("m1", "ann", &text(1), "MS");
    let mut ann = server.log_in("ann");
    take_all(&mut ann, 2);
    ann.fence();
}

/// So much may be outstanding and waiting for one client that the system's buffers do not take it.
const WIDE: [&str; 8] = [
    "--outstanding-bytes-max",
    "64MiB",
    "--list-bytes-max",
    "64MiB",
    "--page-bytes-max",
    "1MiB",
    "--output-timeout",
    "1500ms",
];

#[test]
fn who_takes_nothing_for_too_long_is_closed() {
    let server = Server::start(&[&WIDE[..], &["--output-bytes-max", "64MiB"]].concat());
    let (ann, mut bob) = server.friends();
    let bystanders = Bystanders::start(&server);
    send_all(&mut bob, 0..MESSAGES / 2);
    server.wait_for_close("output timeout");
    drop(ann);
    let mut ann = server.log_in("ann");
    take_all(&mut ann, MESSAGES / 2);
    ann.fence();
    bystanders.stop();
}

#[test]
fn who_leaves_too_much_unread_is_closed() {
    let server = Server::start(&["--output-bytes-max", "1MiB"]);
    let (mut ann, mut bob) = server.friends();
    let long = "k".repeat(8_000);
    let words = json!({"userName": "big", "hashValue": "x", "personalDescription": &long, "rsaPublicKey": &long});
    let mut big = Client::connect(server.addr, Transport::Raw, Spelling::Object);
    big.send(&envelope(Spelling::Object, "1", Some("s"), &words));
    big.expect_reply("RE_SIGNUP", "s", "SS");
    let bystanders = Bystanders::start(&server);
    // Nothing is pushed to who does not read, so it has to ask: for 64 MB, which no buffer of the system takes.
    for _ in 0..4_000 {
        ann.send(r#"{"TYPE":"3","MID":"g","CONTENT":"big"}"#);
    }
    server.wait_for_close("slow reader");
    send_all(&mut bob, 0..10);
    let mut ann = server.log_in("ann");
    take_all(&mut ann, 10);
    ann.fence();
    bystanders.stop();
}
