//! Many messages while the database has faults. The clients behave well: they send a refused
//! message again with the same id until the server takes it, ack all that they receive, and drop
//! duplicates.

use crate::common::{Client, MariaDb, PATIENCE, Server, befriend, content, kind};
use fastrand::Rng;
use hongyan::config::Config;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const SENDERS: [&str; 2] = ["sue", "sid"];
/// The last one connects and disconnects again and again.
const RECEIVERS: [&str; 3] = ["ria", "ron", "wanda"];
const WINDOW: usize = 8;
const FAULTS: usize = 6;
/// Longer than the server waits for an answer of its database.
const LONG_FREEZE: Duration = Duration::from_secs(7);

/// Splits an id: `ria-sue-17` is a message to Ria from Sue, the 17th that Sue sends.
fn parts(id: &str) -> (&str, &str, u64) {
    let mut parts = id.split('-');
    (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap().parse().unwrap())
}

fn log_in(addr: SocketAddr, name: &str) -> Client {
    let mut client = Client::connect(addr, crate::common::Transport::Raw, crate::common::ContentForm::Text);
    client.name = name.into();
    let until = Instant::now() + 3 * PATIENCE;
    loop {
        client.send(&format!(r#"{{"TYPE":"2","MID":"l","CONTENT":"{{\"USER\":\"{name}\",\"PASS\":\"secret\"}}"}}"#));
        if content(&client.recv())["Content"] == "LS" {
            return client;
        }
        client.expect_error("l", "UNAVAILABLE");
        assert!(Instant::now() < until, "{name} cannot log in");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Sends messages until `stop` is set, and then until the server has taken all of them. Returns the
/// id of each message, and whether it was ever refused.
fn send_all(mut client: Client, mut random: Rng, stop: &AtomicBool) -> BTreeMap<String, bool> {
    let (mut refused, mut again) = (BTreeMap::new(), Vec::new());
    let (mut in_flight, mut next) = (0, 0);
    loop {
        while in_flight < WINDOW {
            let id = match again.pop() {
                Some(id) => id,
                None if stop.load(Ordering::SeqCst) => break,
                None => {
                    next += 1;
                    let to = RECEIVERS[random.usize(..RECEIVERS.len())];
                    format!("{to}-{}-{next}", client.name)
                }
            };
            refused.entry(id.clone()).or_insert(false);
            client.send(&client.message(&id, parts(&id).0, "honk"));
            in_flight += 1;
        }
        if in_flight == 0 {
            return refused;
        }
        let frame = client.recv();
        if kind(&frame) != "RE_MESSAGE" {
            continue;
        }
        in_flight -= 1;
        let said = content(&frame);
        if said["Content"] != "MS" {
            let id = said["MessageId"].as_str().unwrap().to_owned();
            refused.insert(id.clone(), true);
            again.push(id);
            thread::sleep(Duration::from_millis(20));
        }
        thread::sleep(Duration::from_micros(random.u64(..3_000)));
    }
}

/// The messages that a user has received.
#[derive(Default)]
struct Received {
    /// The ids in the order in which they first arrived.
    order: Vec<String>,
    /// The ids that came more than once on one connection.
    repeated: Vec<String>,
}

/// Receives and acks until all messages that this user expects are there.
fn receive_all(addr: SocketAddr, name: &str, mut random: Rng, expected: &Mutex<Option<BTreeSet<String>>>) -> Received {
    let (mut received, mut seen) = (Received::default(), BTreeSet::new());
    let mut until = None;
    loop {
        let mut client = log_in(addr, name);
        let mut on_this = BTreeSet::new();
        let leaves = name == RECEIVERS[RECEIVERS.len() - 1];
        let turns = if leaves { random.u64(..60) } else { u64::MAX };
        for _ in 0..turns {
            client.send(r#"{"TYPE":"0","MID":"b","CONTENT":"{}"}"#);
            loop {
                let frame = client.recv();
                if kind(&frame) == "RE_HEARTBEAT" {
                    break;
                }
                let id = content(&frame)["messageId"].as_str().unwrap().to_owned();
                client.ack(&id);
                if !on_this.insert(id.clone()) {
                    received.repeated.push(id.clone());
                }
                if seen.insert(id.clone()) {
                    received.order.push(id);
                }
            }
            if let Some(expected) = expected.lock().unwrap().as_ref() {
                let mine: Vec<&String> = expected.iter().filter(|id| parts(id).0 == name).collect();
                let missing: Vec<_> = mine.iter().filter(|id| !seen.contains(**id)).collect();
                if missing.is_empty() {
                    return received;
                }
                let until = *until.get_or_insert_with(|| Instant::now() + 2 * PATIENCE);
                assert!(Instant::now() < until, "promised to {name}, and never came: {missing:?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn freeze(database: &MariaDb, long: Duration) {
    database.freeze();
    thread::sleep(long);
    database.thaw();
}

fn do_harm(database: &mut MariaDb, random: &mut Rng) {
    let mut pause = |max_ms| thread::sleep(Duration::from_millis(random.u64(..max_ms)));
    pause(400);
    pause(200);
    let (kind, long) = (random.u64(..4), Duration::from_millis(random.u64(..1_500)));
    match kind {
        0 => {
            database.kill9();
            thread::sleep(long);
            database.start_again();
        }
        1 => freeze(database, long),
        2 => {
            database.kill_connections();
        }
        _ => {
            database.set_read_only(true);
            thread::sleep(long);
            database.set_read_only(false);
        }
    }
}

pub(crate) fn run(database: &mut MariaDb, config: fn(String) -> Config, seed: u64) {
    let mut config = config(database.url());
    // The server resends nothing on a connection.
    config.rules.resend_every_ms = 600_000;
    let server = Server::with(config);
    let addr = server.addr;
    {
        let mut senders = SENDERS.map(|name| server.user(name));
        for mut receiver in RECEIVERS.map(|name| server.user(name)) {
            for sender in &mut senders {
                befriend(sender, &mut receiver);
            }
        }
    }
    let (stop, expected) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
    let mut random = Rng::with_seed(seed);
    let receivers = RECEIVERS.map(|name| {
        let (random, expected) = (random.fork(), Arc::clone(&expected));
        thread::spawn(move || receive_all(addr, name, random, &expected))
    });
    let senders = SENDERS.map(|name| {
        let (random, stop) = (random.fork(), Arc::clone(&stop));
        thread::spawn(move || send_all(log_in(addr, name), random, &stop))
    });
    // The long freeze happens at most once, because it makes the test slow.
    let long_one = random.usize(..FAULTS + 2);
    for round in 0..FAULTS {
        if round == long_one {
            println!("SEED={seed}: a long freeze before fault {round}");
            freeze(database, LONG_FREEZE);
        }
        do_harm(database, &mut random);
    }
    stop.store(true, Ordering::SeqCst);
    let mut sent = BTreeMap::new();
    for sender in senders {
        sent.extend(sender.join().unwrap());
    }
    let refused = sent.values().filter(|refused| **refused).count();
    println!("SEED={seed}: {} messages, {refused} of them refused at first", sent.len());
    *expected.lock().unwrap() = Some(sent.keys().cloned().collect());
    for receiver in receivers {
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let Received { order, repeated } = receiver.join().unwrap();
        for id in repeated {
            // A refused message may be committed all the same, and delivered before it is repeated.
            assert!(sent[&id], "SEED={seed}: {id} was promised at once, and came twice on one connection");
        }
        for id in order {
            let (_, sender, number) = parts(&id);
            if !sent[&id] {
                let before = last.insert(sender.to_owned(), number);
                assert!(before.is_none_or(|before| before < number), "SEED={seed}: {id} came after {before:?}");
            }
        }
    }
}
