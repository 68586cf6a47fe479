//! The quotas of what waits for somebody who is away, over loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Server, kind};

#[test]
fn a_full_mailbox_is_said_in_the_same_breath_and_an_ack_makes_room() {
    let server = Server::tuned(|config| {
        config.waiting_per_pair_max = 3;
        config.waiting_per_receiver_max = 4;
    });
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let mut cy = server.user("cy");
    common::befriend(&mut bob, &mut cy);
    drop(bob);
    for n in 1..=3 {
        ann.say(&format!("m{n}"), "bob", "for later", "MS");
    }
    ann.say("m4", "bob", "one too many", "MF");
    ann.expect_error("m4", "FULL");
    cy.say("c1", "bob", "not disturbed", "MS");
    cy.say("c2", "bob", "now the whole is full", "MF");
    cy.expect_error("c2", "FULL");
    let mut dan = server.user("dan");
    dan.send(&dan.friend("1", "f1", "dan", "bob", "let us be friends"));
    dan.expect_error("f1", "FULL");
    let mut bob = server.raw();
    bob.log_in("bob");
    for id in ["m1", "m2", "m3", "c1"] {
        bob.expect_push("4", id);
    }
    bob.ack("m2");
    bob.fence();
    drop(bob);
    // The deletion is on its way. A client that is told FULL until then may send it again.
    loop {
        ann.send(&ann.message("m4", "bob", "once more"));
        let answer = ann.recv();
        if answer.contains("MS") {
            break;
        }
        assert_eq!(kind(&answer), "RE_MESSAGE");
        ann.expect_error("m4", "FULL");
    }
    let mut bob = server.raw();
    bob.log_in("bob");
    for id in ["m1", "m3", "c1", "m4"] {
        bob.expect_push("4", id);
    }
    ann.fence();
}

#[test]
fn bytes_are_bounded_too() {
    let server = Server::tuned(|config| config.waiting_bytes_per_pair_max = 100_000);
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    let text = "x".repeat(40_000);
    ann.say("m1", "bob", &text, "MS");
    ann.say("m2", "bob", &text, "MS");
    ann.say("m3", "bob", &text, "MF");
    ann.expect_error("m3", "FULL");
    ann.say("m4", "bob", "a short one", "MS");
}
