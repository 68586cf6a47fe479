//! The promise at the worst moment: the real binary is killed (SIGKILL) with messages in flight, again and again, and
//! started on the same store. Whatever was answered with `MS` must be delivered, in order; nothing may be missing.
//!
//! One sender talks to three friends: one who is away, one who is there and acks, one who is there and never acks.
//! `SEED` and `KILLS` in the environment change what is drawn and how often.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);
const FRIENDS: [&str; 3] = ["away", "acking", "silent"];

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// The server as users run it, on a port of its own.
struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(store: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hongyan"))
            .args(["--listen", "127.0.0.1:0", "--store", store])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let addr = loop {
            let Some(line) = lines.next() else { panic!("it ended before it was ready: {said:?}") };
            let line = line.unwrap();
            if let Some((_, addr)) = line.split_once("listening on ") {
                break addr.trim().parse().unwrap();
            }
            said.push(line);
        };
        // Read on, or a full pipe would be one more fault than is meant here.
        thread::spawn(move || lines.for_each(drop));
        Self { child, addr }
    }

    /// SIGKILL, as dropping does.
    fn kill(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that fails must not leave its server behind. Neither fails on a child of ours that is not waited for yet.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

struct Client {
    name: String,
    write: TcpStream,
    read: BufReader<TcpStream>,
}

impl Client {
    fn connect(addr: SocketAddr, name: &str) -> Self {
        let write = TcpStream::connect(addr).unwrap();
        write.set_read_timeout(Some(PATIENCE)).unwrap();
        write.set_nodelay(true).unwrap();
        let read = BufReader::new(write.try_clone().unwrap());
        Self { name: name.into(), write, read }
    }

    fn log_in(addr: SocketAddr, name: &str) -> Self {
        let mut client = Self::connect(addr, name);
        client.send("2", "login", &json!({"USER": name, "PASS": "secret"})).unwrap();
        let reply = client.next().unwrap();
        assert_eq!(reply["CONTENT"]["Content"], "LS", "{reply}");
        client
    }

    fn send(&mut self, kind: &str, mid: &str, content: &Value) -> std::io::Result<()> {
        self.write.write_all(format!("{}\n", json!({"MID": mid, "TYPE": kind, "CONTENT": content})).as_bytes())
    }

    /// The next frame, `None` when the server is gone.
    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) if !line.ends_with('\n') => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("{}: nothing came for {PATIENCE:?}", self.name)
            }
            Err(_) => None,
        }
    }

    /// Waits for the frame of this TYPE, passing over others.
    fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().expect("the server went away");
            if frame["TYPE"] == kind {
                return frame;
            }
        }
    }

    fn ack(&mut self, id: &str) -> std::io::Result<()> {
        self.send("5", "", &json!({"MessageId": id}))
    }
}

fn introduce_everybody(addr: SocketAddr) {
    for name in ["sender"].into_iter().chain(FRIENDS) {
        let mut client = Client::connect(addr, name);
        client.send("1", "signup", &json!({"userName": name, "hashValue": "secret"})).unwrap();
        assert_eq!(client.next().unwrap()["CONTENT"]["Content"], "SS");
    }
    for name in FRIENDS {
        let mut sender = Client::log_in(addr, "sender");
        let words = |kind: &str| json!({"messageId": format!("hello-{name}"), "sender": "sender", "receiver": name, "content": "", "type": kind});
        sender.send("6", "", &words("1")).unwrap();
        sender.wait_for("RE_FRI_REQ");
        let mut friend = Client::log_in(addr, name);
        friend.send("6", "", &words("2")).unwrap();
        friend.wait_for("RE_FRI_REQ");
        friend.ack(&format!("hello-{name}")).unwrap();
        // Answered in order: what comes after the ack has been worked off after it.
        friend.send("0", "beat", &json!({})).unwrap();
        friend.wait_for("RE_HEARTBEAT");
        sender.ack(&format!("hello-{name}")).unwrap();
        sender.send("0", "beat", &json!({})).unwrap();
        sender.wait_for("RE_HEARTBEAT");
    }
}

fn number(id: &str) -> u64 {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

/// What a friend received: which messages, and whether each connection got them in order.
#[derive(Default)]
struct Received {
    all: BTreeSet<u64>,
    out_of_order: Vec<String>,
}

fn note(received: &Mutex<Received>, last: &mut u64, seen: &mut BTreeSet<u64>, id: &str) {
    let n = number(id);
    let mut received = received.lock().unwrap();
    if seen.insert(n) {
        if n < *last {
            received.out_of_order.push(format!("{id} after {last}"));
        }
        *last = n;
    }
    received.all.insert(n);
}

/// Listens until the server is gone; acks or not.
fn listen(mut client: Client, acks: bool, received: Arc<Mutex<Received>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let (mut last, mut seen) = (0, BTreeSet::new());
        while let Some(frame) = client.next() {
            if frame["TYPE"] == "4" {
                let id = frame["CONTENT"]["messageId"].as_str().unwrap().to_owned();
                note(&received, &mut last, &mut seen, &id);
                if acks && client.ack(&id).is_err() {
                    break;
                }
            }
        }
    })
}

/// Sends to all three until the server is gone; gives what was promised, by friend, and the next number.
fn talk(sender: Client, first: u64) -> (BTreeMap<&'static str, BTreeSet<u64>>, u64) {
    let Client { mut write, read, name } = sender;
    let mut reader = Client { write: write.try_clone().unwrap(), read, name };
    let writer = thread::spawn(move || {
        let mut n = first;
        loop {
            let mut burst = String::new();
            for friend in FRIENDS {
                let content = json!({"messageId": format!("{friend}-{n}"), "sender": "sender", "receiver": friend,
                    "content": format!("message {n} 雁")});
                burst.push_str(&format!("{}\n", json!({"TYPE": 4, "CONTENT": content})));
            }
            n += 1;
            if write.write_all(burst.as_bytes()).is_err() {
                return n;
            }
        }
    });
    let mut promised: BTreeMap<&'static str, BTreeSet<u64>> = BTreeMap::new();
    while let Some(frame) = reader.next() {
        if frame["TYPE"] == "RE_MESSAGE" && frame["CONTENT"]["Content"] == "MS" {
            let id = frame["CONTENT"]["MessageId"].as_str().unwrap();
            let friend = FRIENDS.into_iter().find(|friend| id.starts_with(friend)).unwrap();
            promised.entry(friend).or_default().insert(number(id));
        }
    }
    // The server is gone, so the writer finds out, too.
    let next = writer.join().unwrap();
    (promised, next)
}

/// Everybody comes back and takes what waits: all that was promised must come.
fn collect(addr: SocketAddr, friend: &str, promised: &BTreeSet<u64>, received: &Mutex<Received>, seed: u64) {
    let mut client = Client::log_in(addr, friend);
    let (mut last, mut seen) = (0, BTreeSet::new());
    let until = Instant::now() + PATIENCE;
    loop {
        let missing = promised.difference(&received.lock().unwrap().all).count();
        if missing == 0 {
            break;
        }
        assert!(Instant::now() < until, "seed {seed}: {missing} promised messages to {friend} never came");
        let frame = client.next().expect("the server went away");
        if frame["TYPE"] == "4" {
            let id = frame["CONTENT"]["messageId"].as_str().unwrap().to_owned();
            note(received, &mut last, &mut seen, &id);
            client.ack(&id).unwrap();
        }
    }
    // All acks have been worked off when the heartbeat is answered.
    client.send("0", "beat", &json!({})).unwrap();
    client.wait_for("RE_HEARTBEAT");
}

fn kill_again_and_again(store: &str, kills: u64, seed: u64) {
    let mut random = Random(seed | 1);
    let mut server = Server::start(store);
    introduce_everybody(server.addr);
    let mut next = 1;
    let mut count = 0;
    let received: BTreeMap<&str, Arc<Mutex<Received>>> =
        FRIENDS.into_iter().map(|friend| (friend, Arc::default())).collect();
    for _ in 0..kills {
        let listeners: Vec<_> = [("acking", true), ("silent", false)]
            .map(|(friend, acks)| listen(Client::log_in(server.addr, friend), acks, Arc::clone(&received[friend])))
            .into();
        let sender = Client::log_in(server.addr, "sender");
        let talking = thread::spawn(move || talk(sender, next));
        // The moment is drawn, not waited for: no condition could be as unkind.
        thread::sleep(Duration::from_millis(20 + random.below(400)));
        server.kill();
        let (promised, after) = talking.join().unwrap();
        next = after;
        for listener in listeners {
            listener.join().unwrap();
        }
        server = Server::start(store);
        for friend in FRIENDS {
            let promised = promised.get(friend).cloned().unwrap_or_default();
            count += promised.len();
            collect(server.addr, friend, &promised, &received[friend], seed);
            let received = received[friend].lock().unwrap();
            assert!(received.out_of_order.is_empty(), "seed {seed}: {friend}: {:?}", received.out_of_order);
        }
    }
    server.kill();
    assert!(count > 0, "seed {seed}: nothing was promised, so nothing was tested");
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn nothing_promised_is_lost_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}", folder.path().join("kill.db").display());
    kill_again_and_again(&store, from_environment("KILLS", 4), from_environment("SEED", 1));
}

#[test]
fn nothing_promised_is_lost_on_mysql() {
    let Some(database) = common::Database::create("kill") else { return };
    kill_again_and_again(&database.url(), from_environment("KILLS", 4), from_environment("SEED", 1));
}
