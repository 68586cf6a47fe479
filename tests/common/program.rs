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
    /// Its log until it was ready.
    pub start_log: Vec<String>,
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
        command.args(["--listen", "127.0.0.1:0", "--store", store]).args(args);
        Self::run(command)
    }

    /// By this command.
    pub fn run(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (sender, log) = channel();
        // Read on, or a full pipe would hold it up.
        std::thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let addr = ([127, 0, 0, 1], 0).into();
        let mut program = Self { child, addr, admin: None, start_log: Vec::new(), log, _folder: None };
        let mut start_log = Vec::new();
        let line = loop {
            let line = program.wait_for("");
            if line.contains("listening on ") {
                break line;
            }
            if let Some((_, place)) = line.split_once("the admin interface is at ") {
                // It may be a socket, whose path is known.
                program.admin = place.trim().parse().ok();
            }
            start_log.push(line);
        };
        program.start_log = start_log;
        let addr = line.split_once("listening on ").unwrap().1;
        // A line of JSON goes on.
        program.addr = addr.split('"').next().unwrap().trim().parse().unwrap();
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

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        assert!(Command::new("kill").arg(self.id().to_string()).status().unwrap().success());
    }

    /// How many lines that came so far, and were not waited for, have this in them.
    pub fn count_so_far(&self, what: &str) -> usize {
        self.log.try_iter().filter(|line| line.contains(what)).count()
    }

    /// The lines of the log that were not waited for, up to its end. It ends with the server.
    pub fn rest_of_log(&mut self) -> Vec<String> {
        self.log.iter().collect()
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
