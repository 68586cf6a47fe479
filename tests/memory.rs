//! Memory comes back, and clients cannot take more than the budget: the real binary, with its
//! allocator, as the system sees it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{CHEAP_PASSWORDS, Client, ContentForm, PATIENCE, Program, befriend};
use hongyan::protocol::field::{MessageId, Profile, Secret, UserName, UserNameRef};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::StoreConnection;
use hongyan::store::password::PasswordHasher;
use hongyan::store::sqlite::SqliteStore;
use socket2::{Domain, Socket, Type};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;
/// By then memory is given back, once it is quiet.
const QUIET: Duration = Duration::from_secs(15);

struct Server {
    program: Program,
    /// The resident memory when it had started.
    at_start: u64,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::of(Program::start(args))
    }

    fn of(program: Program) -> Self {
        let mut server = Self { program, at_start: 0 };
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

    /// The resident memory that is no file, in bytes.
    fn resident(&self) -> u64 {
        self.program.memory("RssAnon")
    }

    #[track_caller]
    fn comes_up_to(&self, more: u64) {
        let until = Instant::now() + PATIENCE;
        while self.resident() < self.at_start + more {
            let mib = (self.resident() - self.at_start) / MIB;
            assert!(Instant::now() < until, "only {mib} MiB more than at the start are used");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn comes_back_to(&self, more: u64) {
        let (since, most) = (Instant::now(), self.resident());
        let until = since + QUIET;
        while self.resident() > self.at_start + more {
            let kib = (self.resident() - self.at_start) / 1024;
            assert!(Instant::now() < until, "{kib} KiB more than at the start are used");
            std::thread::sleep(Duration::from_millis(100));
        }
        let [start, most, now] = [self.at_start, most, self.resident()].map(|bytes| bytes as f64 / MIB as f64);
        let seconds = since.elapsed().as_secs_f64();
        println!("{start:.1} MiB at the start, {most:.1} MiB, and {now:.1} MiB {seconds:.1} s later");
    }

    /// A connection for which the system uses little memory: that memory is not the server's.
    fn narrow(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        socket.connect(&self.program.addr.into()).unwrap();
        socket.into()
    }

    /// Users of [`with_backlogs`] log in, and read nothing but the answer to that.
    fn log_in_and_read_nothing(&self, numbers: impl Iterator<Item = usize>) -> Vec<TcpStream> {
        let numbers: Vec<usize> = numbers.collect();
        let mut streams = Vec::new();
        // A few at once, so that none is refused because too many wait for their passwords.
        for some in numbers.chunks(50) {
            let came = some.iter().map(|number| {
                let mut stream = self.narrow();
                let user = backlog_of(*number);
                writeln!(stream, r#"{{"TYPE":"2","MID":"l","CONTENT":"{{\"USER\":\"{user}\",\"PASS\":\"x\"}}"}}"#)
                    .unwrap();
                stream
            });
            let came: Vec<TcpStream> = came.collect();
            for stream in &came {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                // `LS`, or the end of a connection that was closed at once.
                let mut answer = [0; 64];
                let _closed = (&mut &*stream).read(&mut answer).is_err();
            }
            streams.extend(came);
        }
        streams
    }

    fn hog(&self, name: &str) -> Hog {
        let mut stream = self.narrow();
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

fn backlog_of(number: usize) -> String {
    format!("user{number}")
}

/// A store with many users. The pushes that wait for each of them fill an ACK list in memory.
fn with_backlogs(file: &Path, users: usize) {
    let mut store = SqliteStore::open(file).unwrap();
    let hash = PasswordHasher::new(8, 1).unwrap().hash(&Secret::new("x")).unwrap();
    let content = "x".repeat(60_000);
    store.begin().unwrap();
    for number in 0..users {
        if number % 20 == 19 {
            // A few at a time, so that the log stays short.
            store.commit().unwrap();
            store.begin().unwrap();
        }
        let name = backlog_of(number);
        let empty = || Box::<str>::from("");
        let profile = Profile {
            user_name: UserName::new(&name).unwrap(),
            email_address: empty(),
            nick_name: empty(),
            profile_picture: empty(),
            location: empty(),
            personal_description: empty(),
            rsa_public_key: empty(),
        };
        assert!(store.create_account(&profile, &hash).unwrap());
        let (to, from) = (UserNameRef::new(&name).unwrap(), UserNameRef::new("somebody").unwrap());
        let push = |n: usize| {
            let id = MessageId::new(format!("m{n}")).unwrap();
            Push::new((number * 100 + n) as u64 + 1, 1, PushKind::Message, &id, &from, &to, &content)
        };
        store.save_pushes(&(0..12).map(push).collect::<Vec<_>>()).unwrap();
    }
    store.commit().unwrap();
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
    println!("{kib} KiB more than at the start while one thread hashes");
    server.comes_back_to(6 * MIB);
}

#[test]
fn a_burst_of_output_that_nobody_reads_is_given_back() {
    let server = Server::start(&CHEAP_PASSWORDS);
    let mut hogs: Vec<Hog> = (0..100).map(|n| server.hog(&format!("hog{n}"))).collect();
    let until = Instant::now() + PATIENCE;
    while server.resident() < server.at_start + 12 * MIB {
        assert!(Instant::now() < until, "only {} KiB are used", (server.resident() - server.at_start) / 1024);
        ask(&mut hogs);
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(hogs);
    server.comes_back_to(6 * MIB);
}

/// More connections than some systems allow a process that does not ask for them.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

#[test]
fn a_burst_of_hundreds_of_mebibytes_is_given_back() {
    const USERS: usize = 400;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("im.db");
    with_backlogs(&file, USERS);
    let server = Server::of(Program::on(&format!("sqlite:{}", file.display()), &CHEAP_PASSWORDS));
    let streams = server.log_in_and_read_nothing(0..USERS);
    server.comes_up_to(220 * MIB);
    drop(streams);
    server.comes_back_to(10 * MIB);
}

/// docs/operations.md, *The worst case*: `--memory-max` and some 150 MiB.
#[test]
fn the_worst_that_clients_can_do_to_the_default_budget_takes_no_more_than_operators_are_told() {
    const USERS: usize = 400;
    allow_many_files();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("im.db");
    with_backlogs(&file, USERS);
    let server = Server::of(Program::on(&format!("sqlite:{}", file.display()), &CHEAP_PASSWORDS));
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| server.program.user(name, ContentForm::Object));
    befriend(&mut ann, &mut bob);
    let mut talked = 0;
    let mut talk = || {
        ann.say(&format!("m{talked}"), "bob", "hello", "MS");
        bob.take(&format!("m{talked}"));
        talked += 1;
    };
    // Lists that nobody acks; and then the same users replace their connections.
    let mut streams = server.log_in_and_read_nothing(0..USERS);
    server.comes_up_to(220 * MIB);
    talk();
    streams.extend(server.log_in_and_read_nothing(0..USERS / 3));
    talk();
    // Answers that nobody reads, and envelopes that never end.
    let mut hogs: Vec<Hog> = (0..100).map(|n| server.hog(&format!("hog{n}"))).collect();
    let head = r#"{"TYPE":"0","CONTENT":""#;
    let envelope = format!("{head}{}", "x".repeat(60_000));
    for n in 0..4_500 {
        let mut stream = server.narrow();
        // One that was closed at once is as good.
        let _closed = stream.write_all(envelope.as_bytes()).is_err();
        streams.push(stream);
        if n % 300 == 0 {
            ask(&mut hogs);
            talk();
        }
    }
    let line = server.program.wait_for("(--memory-max)");
    assert!(line.contains("clients held"), "{line}");
    // The pages of its files are among them.
    let peak = server.program.memory("VmHWM") / MIB;
    println!("{peak} MiB at most");
    assert!((450..=512 + 150).contains(&peak), "{peak} MiB");
    drop((streams, hogs));
    talk();
    server.comes_back_to(10 * MIB);
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
    // The first write after a close succeeds; the reset comes back a moment later.
    ask(&mut hogs);
    std::thread::sleep(Duration::from_millis(50));
    let closed = hogs.iter_mut().map(Hog::ask).filter(|open| !open).count();
    assert!(closed > 0, "nobody was closed");
    let kib = most.saturating_sub(server.at_start) / 1024;
    println!("{kib} KiB more than at the start at most, {closed} were closed");
    // The budget, and a batch of a thousand profiles on its way from the store.
    assert!(kib <= 40 * 1024, "{kib} KiB more than at the start");
}
