//! A sender who says more than the store takes: the real binary on SQLite refuses in time, and its
//! memory stays bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{CHEAP_PASSWORDS, ContentForm, Program, befriend, content};
use std::io::Write;

const MESSAGES: usize = 3_000;

#[test]
fn a_client_that_says_more_than_the_store_takes_is_refused_before_the_memory_is_full() {
    let bounds =
        ["--jobs-bytes-max=2MiB", "--waiting-bytes-per-pair-max=1GiB", "--waiting-bytes-per-receiver-max=1GiB"];
    let server = Program::start(&[&CHEAP_PASSWORDS[..], &bounds].concat());
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.user(name, ContentForm::Object));
    befriend(&mut ann, &mut bob);
    drop(bob);
    let before = server.memory("VmRSS");
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
    let grown = server.memory("VmHWM").saturating_sub(before);
    println!("{} taken, {refused} refused, {} KiB more at most", taken.len(), grown / 1024);
    // The messages that wait and are being committed, and the store's own pages. A hundred and
    // eighty megabytes were sent.
    assert!(grown < 16 << 20, "{grown} bytes more");
    let mut bob = server.client(ContentForm::Object);
    bob.log_in("bob");
    for id in taken {
        bob.take(&id);
    }
    bob.fence();
}
