//! The messages to a supervisor that listens on NOTIFY_SOCKET, as systemd does.
#![cfg(target_os = "linux")]

use crate::{PATIENCE, Program, program, run};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

struct Supervisor {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    fn of(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
    }

    fn hears(&self) -> String {
        let mut bytes = [0; 512];
        let length = self.socket.recv(&mut bytes).expect("it is told");
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    }

    fn hears_nothing_more(&self) {
        self.socket.set_nonblocking(true).unwrap();
        assert!(self.socket.recv(&mut [0; 512]).is_err());
    }
}

#[test]
fn it_is_told_when_the_server_serves_and_when_it_stops() {
    let supervisor = Supervisor::new();
    let mut command = program("memory:");
    supervisor.of(&mut command);
    let program = Program::start(&mut command);
    assert_eq!(supervisor.hears().trim_end(), "READY=1\nSTATUS=active");
    program.client().sign_up("ann");
    program.signal("-TERM");
    assert_eq!(supervisor.hears(), "STOPPING=1");
    assert_eq!(program.end().0.code(), Some(0));
    supervisor.hears_nothing_more();
}

#[test]
fn one_that_waits_for_its_store_is_not_ready() {
    let supervisor = Supervisor::new();
    let nowhere = crate::free_addr();
    let mut command = program(&format!("mysql://u:p@{nowhere}/d"));
    supervisor.of(command.args(["--store-wait", "10m"]));
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("it is waited for") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut stderr, &mut line).unwrap() > 0, "it ended");
    }
    crate::kill("-TERM", &child);
    assert_eq!(supervisor.hears(), "STOPPING=1", "the first that is heard");
    assert_eq!(crate::ends(&mut child).code(), Some(0));
}

#[test]
fn a_supervisor_that_is_gone_changes_nothing() {
    let supervisor = Supervisor::new();
    let mut command = program("memory:");
    supervisor.of(&mut command);
    drop(supervisor);
    let program = Program::start(&mut command);
    program.client().sign_up("ann");
    program.signal("-TERM");
    assert_eq!(program.end().0.code(), Some(0));
    assert_eq!(run(&["--version"], &[("NOTIFY_SOCKET", "/no/such/socket")]).status.code(), Some(0));
}
