//! Limits of the whole server, over loopback. Those of the core are in `core/limits.rs` and `core/gate.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{PATIENCE, Server};
use std::io::Write;
use std::time::Instant;

#[test]
fn so_many_connections_and_more_are_closed_as_they_come() {
    let server = Server::tuned(|config| config.connections_max = 3);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let third = server.raw();
    for n in 0..5 {
        server.raw().expect_closed();
        ann.send(&ann.message(&format!("m{n}"), "bob", "not disturbed"));
        bob.take(&format!("m{n}"));
        ann.expect_reply("RE_MESSAGE", &format!("m{n}"), "MS");
    }
    drop(third);
    let until = Instant::now() + PATIENCE;
    // The server notices the end in its own time.
    loop {
        let mut client = server.raw();
        // Fails when the server has closed already.
        client.stream().write_all(b"{\"TYPE\":\"0\",\"MID\":\"h\"}\n").ok();
        if client.next().is_some_and(|frame| frame.contains("NOT_LOGGED_IN")) {
            break;
        }
        assert!(Instant::now() < until, "its place is not free");
    }
}
