//! A sender who says more than the store takes: the real binary on SQLite refuses in time, and its
//! memory stays bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Client, ContentForm, Transport, befriend, content};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

const MESSAGES: usize = 3_000;

/// Ends the server whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Neither fails on a child of ours that is not waited for yet.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A line of `/proc/PID/status`, in bytes.
fn memory(server: &Running, key: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn a_client_that_says_more_than_the_store_takes_is_refused_before_the_memory_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("hongyan.db").display());
    let child = Command::new(env!("CARGO_BIN_EXE_hongyan"))
        .args(["--listen", "127.0.0.1:0", "--store", &store, "--argon2-memory", "8KiB", "--argon2-passes", "1"])
        .args([
            "--jobs-bytes-max",
            "2MiB",
            "--waiting-bytes-per-pair-max",
            "1GiB",
            "--waiting-bytes-per-receiver-max",
            "1GiB",
        ])
        .stderr(Stdio::piped())
        .spawn();
    let mut server = Running(child.unwrap());
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let addr = lines.find_map(|line| line.split_once("listening on ").map(|(_, addr)| addr.trim().parse().unwrap()));
    let addr = addr.expect("it says where it listens");
    // Read on, or a full pipe would hold it up.
    std::thread::spawn(move || lines.for_each(drop));
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| {
        let mut client = Client::connect(addr, Transport::Raw, ContentForm::Object);
        client.sign_up(name);
        client.log_in(name);
        client
    });
    befriend(&mut ann, &mut bob);
    drop(bob);
    let before = memory(&server, "VmRSS");
    let text = "x".repeat(60_000);
    let frames: Vec<String> = (0..MESSAGES).map(|n| ann.message(&format!("m{n}"), "bob", &text) + "\n").collect();
    let mut write = ann.stream().try_clone().unwrap();
    let writer = std::thread::spawn(move || frames.iter().for_each(|frame| write.write_all(frame.as_bytes()).unwrap()));
    let (mut taken, mut refused) = (Vec::new(), 0);
    while taken.len() + refused < MESSAGES {
        let said = content(&ann.recv());
        let id = said["MessageId"].as_str().unwrap().to_owned();
        if said["Content"] == "MS" {
            taken.push(id);
        } else {
            assert_eq!(said["Content"], "MF");
            ann.expect_error(&id, "UNAVAILABLE");
            refused += 1;
        }
    }
    writer.join().unwrap();
    let grown = memory(&server, "VmHWM").saturating_sub(before);
    println!("{} taken, {refused} refused, {} KiB more at most", taken.len(), grown / 1024);
    // What waits and is being committed, and the store's own pages. A hundred and eighty megabytes
    // were said.
    assert!(grown < 16 << 20, "{grown} bytes more");
    let mut bob = Client::connect(addr, Transport::Raw, ContentForm::Object);
    bob.log_in("bob");
    for id in taken {
        bob.take(&id);
    }
    bob.fence();
}
