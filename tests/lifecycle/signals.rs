//! Signals, and a stderr that nobody reads.

use crate::common::{Client, ContentForm, Transport};
use crate::{PROGRAM, Program, ends, free_addr, kill, program, wait_until_it_listens};
use std::io::{PipeReader, PipeWriter, Write};
use std::process::{Command, Stdio};

/// A pipe that is full, for stderr, and its other end, which nobody reads.
fn full_pipe() -> (PipeWriter, PipeReader) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    // As much as fits into one (pipe(7)).
    writer.write_all(&[b'x'; 65_536]).unwrap();
    (writer, reader)
}

#[test]
fn a_full_stderr_keeps_a_server_neither_from_its_work_nor_from_its_end() {
    for (log, signal) in [("info", "-TERM"), ("trace", "-TERM"), ("off", "-INT")] {
        let (stderr, _unread) = full_pipe();
        let addr = free_addr();
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", &addr.to_string(), "--store", "memory:", "--log", log]);
        let mut child = command.stderr(stderr).spawn().unwrap();
        wait_until_it_listens(addr);
        let mut client = Client::connect(addr, Transport::Raw, ContentForm::Text);
        client.sign_up("ann");
        kill(signal, &child);
        assert_eq!(ends(&mut child).code(), Some(0), "{log}");
    }
    // A server that cannot start ends, too, and so does a copy.
    for args in [
        &["--nonsense"][..],
        &["--store", "sqlite:/nowhere/at/all.db"],
        &["copy", "--from", "sqlite:/no", "--to", "sqlite:/no/b"],
    ] {
        let (stderr, _unread) = full_pipe();
        let mut child = Command::new(PROGRAM).args(args).stderr(stderr).spawn().unwrap();
        assert_eq!(ends(&mut child).code(), Some(2), "{args:?}");
    }
}

#[test]
fn a_copy_whose_progress_nobody_reads_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let program = Program::start(&mut program(&url("from.db")));
    program.client().sign_up("ann");
    program.signal("-TERM");
    assert_eq!(program.end().0.code(), Some(0));
    let (stderr, _unread) = full_pipe();
    let mut command = Command::new(PROGRAM);
    let mut child = command
        .args(["copy", "--from", &url("from.db"), "--to", &url("to.db")])
        .stderr(stderr)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(ends(&mut child).code(), Some(0));
}

#[test]
fn signals_other_than_those_that_stop_it_stop_nothing() {
    let program = Program::start(&mut program("memory:"));
    let mut ann = program.client();
    ann.sign_up("ann");
    ann.log_in("ann");
    for signal in ["-USR1", "-USR2", "-PIPE", "-WINCH", "-HUP"] {
        program.signal(signal);
        ann.fence();
    }
    program.signal("-INT");
    ann.expect_error("", "SHUTTING_DOWN");
    let (status, said) = program.end();
    assert_eq!(status.code(), Some(0), "{said}");
}

#[test]
fn a_hang_up_stops_nothing_if_the_parent_ignores_it() {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" --listen 127.0.0.1:0 --store memory:", PROGRAM]);
    let program = Program::start(&mut command);
    let mut ann = program.client();
    ann.sign_up("ann");
    program.signal("-HUP");
    ann.log_in("ann");
    program.signal("-TERM");
    ann.expect_error("", "SHUTTING_DOWN");
    assert_eq!(program.end().0.code(), Some(0));
}
