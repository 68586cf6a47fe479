//! The promise at the worst moment: the real binary is killed (SIGKILL) with messages in flight,
//! again and again, and started on the same store. Each message that was answered with `MS`
//! must be delivered, in order; nothing may be missing. Each request that was answered with
//! RE_FRI_REQ must hold.
//!
//! One sender talks to three friends: one who is away, one who is there and acks, one who is there
//! and does not ack before the kill. Others ask somebody to be their friend, are accepted, and end
//! it, over and over (tests/kill/friend_load.rs). `SEED` and `KILLS` in the environment change
//! what is drawn and how often.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/kill/`.
mod kill {
    pub(crate) mod friend_load;
    pub(crate) mod killed;
}

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use kill::friend_load::FriendLoad;
use kill::killed::{Client, Server};
use serde_json::{Value, json};

const FRIENDS: [&str; 3] = ["away", "acking", "silent"];

fn introduce_everybody(addr: SocketAddr) {
    for name in ["sender"].into_iter().chain(FRIENDS) {
        Client::sign_up(addr, name);
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
        friend.fence();
        sender.ack(&format!("hello-{name}")).unwrap();
        sender.fence();
    }
}

fn number(id: &str) -> u64 {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

/// The messages that one connection of a friend received, and whether in order.
#[derive(Default)]
struct Received {
    seen: BTreeSet<u64>,
    last: u64,
    out_of_order: Vec<String>,
}

impl Received {
    fn note(&mut self, id: &str) {
        let n = number(id);
        if self.seen.insert(n) {
            if n < self.last {
                self.out_of_order.push(format!("{id} after {}", self.last));
            }
            self.last = n;
        }
    }
}

/// The id of a frame that pushes a message.
fn pushed(frame: &Value) -> Option<&str> {
    (frame["TYPE"] == "4").then(|| frame["CONTENT"]["messageId"].as_str().unwrap())
}

/// Listens until the server is gone; acks or not.
fn listen(mut client: Client, acks: bool) -> thread::JoinHandle<Received> {
    thread::spawn(move || {
        let mut received = Received::default();
        while let Some(frame) = client.next() {
            if let Some(id) = pushed(&frame) {
                received.note(id);
                if acks && client.ack(id).is_err() {
                    break;
                }
            }
        }
        received
    })
}

/// Sends to all three until the server is gone; gives what was promised, by friend, and the next
/// number.
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

/// A friend comes back and takes what waits: all promised messages must come.
fn collect(addr: SocketAddr, friend: &str, mut undelivered: BTreeSet<u64>) -> Received {
    let mut client = Client::log_in(addr, friend);
    let mut received = Received::default();
    while !undelivered.is_empty() {
        // A missing message shows as nothing coming any more, because nobody sends meanwhile.
        let frame = client.next().expect("the server went away");
        if let Some(id) = pushed(&frame) {
            received.note(id);
            undelivered.remove(&number(id));
            client.ack(id).unwrap();
        }
    }
    // All acks have been worked off.
    client.fence();
    received
}

/// One life of the server under talk, up to the kill. Adds the promised messages to the undelivered
/// ones, and takes off what was received and acked; gives the next number.
fn talk_until_killed(
    server: Server,
    (random, undelivered): (&mut Rng, &mut BTreeMap<&'static str, BTreeSet<u64>>),
    friends: &FriendLoad,
    first: u64,
) -> u64 {
    let [acking, silent] =
        [("acking", true), ("silent", false)].map(|(friend, acks)| listen(Client::log_in(server.addr, friend), acks));
    let asking = friends.start(server.addr);
    let sender = Client::log_in(server.addr, "sender");
    let talking = thread::spawn(move || talk(sender, first));
    // The moment is drawn, not waited for: no condition could be as unkind.
    thread::sleep(Duration::from_millis(20 + random.u64(..400)));
    server.kill();
    let (promised, next) = talking.join().unwrap();
    for thread in asking {
        thread.join().unwrap();
    }
    for (friend, promised) in promised {
        undelivered.entry(friend).or_default().extend(promised);
    }
    let (acking, silent) = (acking.join().unwrap(), silent.join().unwrap());
    for received in [&acking, &silent] {
        assert!(received.out_of_order.is_empty(), "{:?}", received.out_of_order);
    }
    // A message that was seen without an ack counts for nothing: it has to come again.
    undelivered.entry("acking").or_default().retain(|n| !acking.seen.contains(n));
    next
}

fn kill_again_and_again(store: &str, kills: u64, seed: u64) {
    println!("SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let mut server = Server::start(store);
    introduce_everybody(server.addr);
    let mut friends = FriendLoad::sign_up(server.addr);
    let mut next = 1;
    let mut undelivered = BTreeMap::new();
    let mut count = 0;
    for kill in 1..=kills {
        next = talk_until_killed(server, (&mut random, &mut undelivered), &friends, next);
        server = Server::start(store);
        friends.check(server.addr);
        for friend in FRIENDS {
            // The friend who never acks is left alone now and then: their messages have to
            // outlive several kills.
            if friend == "silent" && kill < kills && random.bool() {
                continue;
            }
            let undelivered = undelivered.remove(friend).unwrap_or_default();
            count += undelivered.len();
            let received = collect(server.addr, friend, undelivered);
            assert!(received.out_of_order.is_empty(), "{friend}: {:?}", received.out_of_order);
        }
    }
    server.kill();
    println!("SEED={seed}: {count} messages were promised, {} friend requests were open", friends.checked);
    assert!(count > 0, "nothing was promised, so nothing was tested");
    assert!(friends.checked > 0, "no friend request was open at a kill, so none was tested");
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
