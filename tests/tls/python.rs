//! Clients by Python's ssl module (`client.py`). Where there is no Python with it, the tests say so
//! and pass.

use super::super::{common, file, server, text};
use common::{ContentForm, Program};
use std::path::Path;
use std::process::{Command, Stdio};

fn has_python() -> bool {
    let found = Command::new("python3").args(["-c", "import ssl"]).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        println!("there is no python3 with ssl: skipped");
    }
    found
}

/// Runs a scenario beside a plain client, who notices nothing of it.
#[track_caller]
fn run(scenario: &str) {
    if !has_python() {
        return;
    }
    let program: Program = server(&[]);
    let mut bob = program.user("bob", ContentForm::Text);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls/client.py");
    let output = Command::new("python3")
        .arg(script)
        .args([scenario, &program.addr.port().to_string(), text(&file("ca.pem"))])
        .output()
        .unwrap();
    assert!(output.status.success(), "{scenario}: {}", String::from_utf8_lossy(&output.stderr));
    bob.fence();
}

#[test]
fn it_talks_in_both_versions_and_both_ends_are_said() {
    run("talk");
}

#[test]
fn it_upgrades_to_a_websocket() {
    run("websocket");
}

#[test]
fn records_and_segments_may_be_torn_into_bytes() {
    run("torn");
}

#[test]
fn connections_may_end_without_a_word() {
    run("unclean");
}

#[test]
fn bytes_that_are_no_record_end_their_connection_alone() {
    run("garbage");
}

#[test]
fn it_finds_a_wrong_name_and_an_unknown_root_itself() {
    run("names");
}

#[test]
fn its_next_handshake_is_shorter() {
    run("resume");
}
