//! The real binary as users run it.

use super::{Client, ContentForm, PATIENCE, Transport};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// Passwords that cost nothing, where their memory and time would hide what is tested.
pub const CHEAP_PASSWORDS: [&str; 4] = ["--argon2-memory", "8KiB", "--argon2-passes", "1"];

/// A server in a process of its own, on a free port. Killed when this is dropped.
pub struct Program {
    child: Child,
    pub addr: SocketAddr,
    admin: Option<SocketAddr>,
    log: Receiver<String>,
    /// Of a store of its own.
    _folder: Option<tempfile::TempDir>,
}

impl Program {
    /// With a SQLite store of its own.
    pub fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Self::on(&format!("sqlite:{}", folder.path().join("hongyan.db").display()), args);
        program._folder = Some(folder);
        program
    }

    /// With this store.
    pub fn on(store: &str, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hongyan"))
            .args(["--listen", "127.0.0.1:0", "--store", store])
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (sender, log) = channel();
        // Read on, or a full pipe would hold it up.
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let mut program = Self { child, addr: ([127, 0, 0, 1], 0).into(), admin: None, log, _folder: None };
        let line = loop {
            let line = program.wait_for("");
            match line.split_once("the admin interface is at ") {
                // It may be a socket, whose path is known.
                Some((_, place)) => program.admin = place.trim().parse().ok(),
                None if line.contains("listening on ") => break line,
                None => {}
            }
        };
        program.addr = line.split_once("listening on ").unwrap().1.trim().parse().unwrap();
        program
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The port of its admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("it has a port for operators")
    }

    /// The owner of a file, as the audit names a caller who is the same user.
    pub fn owner_of(path: &std::path::Path) -> String {
        use std::os::unix::fs::MetadataExt;
        format!("unix uid {}", path.symlink_metadata().unwrap().uid())
    }

    /// The next line of the log that has this in it.
    pub fn wait_for(&self, what: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.log.recv_timeout(left).unwrap_or_else(|_| panic!("the log does not say {what:?}"));
            if line.contains(what) {
                return line;
            }
        }
    }

    pub fn client(&self, form: ContentForm) -> Client {
        Client::connect(self.addr, Transport::Raw, form)
    }

    /// A new account, logged in.
    pub fn user(&self, name: &str, form: ContentForm) -> Client {
        let mut client = self.client(form);
        client.sign_up(name);
        client.log_in(name);
        client
    }

    /// A line of `/proc/PID/status`, in bytes.
    pub fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Neither fails on a child of ours that is not waited for yet.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
