//! The real binary on a port that stays: killed, frozen and started again, while its users look for
//! it, or for another one.

use super::{CHEAP_PASSWORDS, Client, ContentForm, PATIENCE, Transport};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A server in a process of its own. Killed when this is dropped.
pub struct Node {
    pub addr: SocketAddr,
    words: Vec<String>,
    child: Child,
    log: Receiver<String>,
    /// Its log until it was ready, if it was started again.
    pub started_with: Vec<String>,
}

impl Node {
    /// Started with these arguments, and ready.
    pub fn start(args: &[&str]) -> Self {
        let node = Self::begin(args);
        node.wait_for("listening on");
        node
    }

    /// Started with these arguments.
    pub fn begin(args: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::begin_at(SocketAddr::from(([127, 0, 0, 1], port)), &[], args)
    }

    /// Started at this address by a program that becomes the server, which these words begin.
    pub fn begin_at(addr: SocketAddr, before: &[&str], args: &[&str]) -> Self {
        let listen = addr.to_string();
        let own = [env!("CARGO_BIN_EXE_hongyan"), "--listen", &listen];
        let words = before.iter().chain(&own).chain(args).chain(&CHEAP_PASSWORDS);
        let words: Vec<String> = words.map(ToString::to_string).collect();
        let (child, log) = Self::spawn(&words);
        Self { addr, words, child, log, started_with: Vec::new() }
    }

    fn spawn(words: &[String]) -> (Child, Receiver<String>) {
        let mut child = Command::new(&words[0]).args(&words[1..]).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (sender, log) = channel();
        // Read on, or a full pipe would hold it up.
        thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        (child, log)
    }

    /// The next line of the log that has this in it.
    #[track_caller]
    pub fn wait_for(&self, what: &str) -> String {
        self.wait_with_lines_before(what).0
    }

    #[track_caller]
    fn wait_with_lines_before(&self, what: &str) -> (String, Vec<String>) {
        let (until, mut said) = (Instant::now() + 2 * PATIENCE, Vec::new());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.log.recv_timeout(left) else { panic!("the log does not say {what:?}: {said:#?}") };
            if line.contains(what) {
                return (line, said);
            }
            said.push(line);
        }
    }

    /// The lines that it has logged since somebody looked.
    pub fn news(&self) -> Vec<String> {
        self.log.try_iter().collect()
    }

    /// The lines up to the end of the log, which ends with the server.
    pub fn rest_of_log(&self) -> Vec<String> {
        self.log.iter().collect()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.id().to_string()]).status().unwrap().success());
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn status(&mut self) -> Option<i32> {
        let until = Instant::now() + 2 * PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts another build of it with the same arguments after its end.
    pub fn start_by(&mut self, program: &str) {
        program.clone_into(&mut self.words[0]);
        self.start_again();
    }

    /// Starts it after its end with one of its arguments replaced.
    pub fn start_with(&mut self, old: &str, new: &str) {
        let word = self.words.iter_mut().find(|word| *word == old).expect("it has this argument");
        new.clone_into(word);
        self.start_again();
    }

    /// Starts it with the same arguments after its end.
    pub fn start_again(&mut self) {
        (self.child, self.log) = Self::spawn(&self.words);
        self.started_with = self.wait_with_lines_before("listening on").1;
    }

    pub fn client(&self) -> Client {
        Client::connect(self.addr, Transport::Raw, ContentForm::Text)
    }

    pub fn log_in(&self, name: &str) -> Client {
        let mut client = self.client();
        client.log_in(name);
        client
    }

    /// A new account, logged in.
    pub fn user(&self, name: &str) -> Client {
        let mut client = self.client();
        client.sign_up(name);
        client.log_in(name);
        client
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Neither fails on a child of ours that is not waited for yet.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The answer that a load balancer gets; empty when nothing comes.
pub fn health(addr: SocketAddr) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(addr) {
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a.example\r\n\r\n").ok();
        stream.read_to_string(&mut text).ok();
    }
    text
}
