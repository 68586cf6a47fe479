//! Memory comes back, and clients cannot take more than the budget: the real binary, with its
//! allocator, as the system sees it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{CHEAP_PASSWORDS, Client, ContentForm, PATIENCE, Program, befriend};
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

struct Server {
    program: Program,
    /// What was resident when it had started.
    at_start: u64,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut server = Self { program: Program::start(args), at_start: 0 };
        // The memory that the first use of each part takes is never released.
        let mut first = server.connect();
        first.send(r#"{"TYPE":"0","MID":"h","CONTENT":{}}"#);
        first.recv();
        server.at_start = server.resident();
        server
    }

    fn connect(&self) -> Client {
        self.program.client(ContentForm::Object)
    }

    /// What is resident and is no file, in bytes.
    fn resident(&self) -> u64 {
        self.program.memory("RssAnon")
    }

    #[track_caller]
    fn comes_back_to(&self, more: u64) {
        let until = Instant::now() + PATIENCE;
        while self.resident() > self.at_start + more {
            let kib = (self.resident() - self.at_start) / 1024;
            assert!(Instant::now() < until, "{kib} KiB more than at the start are held");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn hog(&self, name: &str) -> Hog {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // The memory of the system for them does not count.
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        socket.connect(&self.program.addr.into()).unwrap();
        let mut stream: TcpStream = socket.into();
        let text = "d".repeat(8_000);
        let sign_up = format!(
            r#"{{"TYPE":"1","MID":"s","CONTENT":{{"userName":"{name}","hashValue":"x","personalDescription":"{text}","rsaPublicKey":"{text}"}}}}"#
        );
        let log_in = format!(r#"{{"TYPE":"2","MID":"l","CONTENT":{{"USER":"{name}","PASS":"x"}}}}"#);
        stream.write_all(format!("{sign_up}\n{log_in}\n").as_bytes()).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("SS"));
        assert!(lines.next().unwrap().unwrap().contains("LS"));
        stream.set_nonblocking(true).unwrap();
        let asks = format!("{{\"TYPE\":\"3\",\"MID\":\"g\",\"CONTENT\":\"{name}\"}}\n").repeat(4).into_bytes();
        Hog { stream, asks, sent: 0 }
    }
}

/// Asks for profiles, as far as the server reads.
fn ask(hogs: &mut [Hog]) {
    for hog in hogs {
        hog.ask();
    }
}

/// A user who asks for as much as they can and reads nothing.
struct Hog {
    stream: TcpStream,
    asks: Vec<u8>,
    /// So many bytes of them are sent.
    sent: usize,
}

impl Hog {
    /// Sends a few requests, or what is left of the last ones; `false` when the server has closed
    /// the connection.
    fn ask(&mut self) -> bool {
        match self.stream.write(&self.asks[self.sent..]) {
            Ok(count) => self.sent = (self.sent + count) % self.asks.len(),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        true
    }
}

#[test]
fn passwords_take_one_block_and_give_it_back() {
    let server = Server::start(&[]);
    let mut most = 0;
    for n in 0..30 {
        let mut client = server.connect();
        client.sign_up(&format!("user{n}"));
        most = most.max(server.resident());
        client.log_in(&format!("user{n}"));
        most = most.max(server.resident());
    }
    let kib = most.saturating_sub(server.at_start) / 1024;
    assert!(kib <= 24 * 1024, "{kib} KiB more than at the start while one thread hashes");
    server.comes_back_to(6 * MIB);
}

#[test]
fn a_burst_of_output_that_nobody_reads_is_given_back() {
    let server = Server::start(&CHEAP_PASSWORDS);
    let mut hogs: Vec<Hog> = (0..100).map(|n| server.hog(&format!("hog{n}"))).collect();
    let until = Instant::now() + PATIENCE;
    while server.resident() < server.at_start + 12 * MIB {
        assert!(Instant::now() < until, "only {} KiB are held", (server.resident() - server.at_start) / 1024);
        ask(&mut hogs);
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(hogs);
    server.comes_back_to(6 * MIB);
}

#[test]
fn clients_take_no_more_than_the_budget_and_honest_ones_go_on() {
    let server = Server::start(&[&CHEAP_PASSWORDS[..], &["--memory-max", "8MiB"]].concat());
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| {
        let mut client = server.connect();
        client.sign_up(name);
        client.log_in(name);
        client
    });
    befriend(&mut ann, &mut bob);
    let mut hogs: Vec<Hog> = (0..100).map(|n| server.hog(&format!("hog{n}"))).collect();
    let mut most = 0;
    for n in 0..60 {
        ask(&mut hogs);
        ann.say(&format!("m{n}"), "bob", "hello", "MS");
        bob.take(&format!("m{n}"));
        most = most.max(server.resident());
    }
    // The first write after a close succeeds; what the server says to it comes back a moment later.
    ask(&mut hogs);
    std::thread::sleep(Duration::from_millis(50));
    let closed = hogs.iter_mut().map(Hog::ask).filter(|open| !open).count();
    assert!(closed > 0, "nobody was closed");
    let kib = most.saturating_sub(server.at_start) / 1024;
    println!("{kib} KiB more than at the start at most, {closed} were closed");
    // The budget, and a batch of a thousand profiles on its way from the store.
    assert!(kib <= 40 * 1024, "{kib} KiB more than at the start");
}
