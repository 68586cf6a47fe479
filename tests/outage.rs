//! Clients while the database is away (docs/operations.md says the same), on a MariaDB that is
//! killed, frozen, stopped, made read-only, and whose connections are ended.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/outage/`.
mod outage {
    pub(crate) mod chat_load;
    mod moved;
    pub(crate) mod proxies;
}

use common::{CHEAP_PASSWORDS, Client, MariaDb, PATIENCE, Program, Server, befriend, content, kind};
use hongyan::config::{Config, StoreUrl};
use outage::chat_load;
use outage::proxies::{Harm, harming_proxy, moving_proxy};
use serde_json::json;
use std::collections::BTreeSet;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// `--answer-within` of these tests. Longer than a reconnect takes when nothing is wrong, on a
/// machine that is busy.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long a friend who is there may take for their ack before the store is asked: short, so that
/// it is asked while it is away.
const SAVE_DELAY: Duration = Duration::from_millis(5);

fn config(url: String) -> Config {
    let mut config = common::config();
    config.store = StoreUrl::Mysql(url);
    config.rules.answer_within_ms = ANSWER_WITHIN.as_millis() as u64;
    config.rules.save_after_ms = SAVE_DELAY.as_millis() as u64;
    config
}

/// Ann and Bob are online and ack; Dee is online and does not; Cy is away. All are Ann's friends.
struct Deployment {
    server: Server,
    ann: Client,
    bob: Client,
    _dee: Client,
    /// Ids are never used twice.
    next: u32,
}

impl Deployment {
    fn new(config: Config) -> Self {
        let server = Server::with(config);
        let [mut ann, mut bob, mut cy, mut dee] = ["ann", "bob", "cy", "dee"].map(|name| server.user(name));
        for friend in [&mut bob, &mut cy, &mut dee] {
            befriend(&mut ann, friend);
        }
        Self { server, ann, bob, _dee: dee, next: 0 }
    }

    fn id(&mut self) -> String {
        self.next += 1;
        format!("m{}", self.next)
    }

    /// Friends who are there and ack talk, and heartbeats are answered, whatever the database does.
    fn talk(&mut self) {
        for _ in 0..3 {
            let id = self.id();
            self.ann.send(&self.ann.message(&id, "bob", "honk"));
            // Later than the save delay, so that a saving is tried in the meantime.
            std::thread::sleep(4 * SAVE_DELAY);
            self.bob.take(&id);
            self.ann.expect_reply("RE_MESSAGE", &id, "MS");
            self.ann.fence();
            self.bob.fence();
        }
    }

    /// Requests that need the database are refused in time.
    fn is_refused(&mut self) {
        let start = Instant::now();
        let (away, silent) = (self.id(), self.id());
        self.ann.send(&self.ann.message(&away, "cy", "are you there?"));
        self.expect_refused(&away, Some("MF"));
        self.ann.send(&self.ann.message(&silent, "dee", "do you hear me?"));
        self.expect_refused(&silent, Some("MF"));
        for (kind, sender, receiver) in [("1", "ann", "nobody"), ("2", "cy", "ann"), ("4", "ann", "nobody")] {
            let id = self.id();
            self.ann.send(&self.ann.friend(kind, &id, sender, receiver, ""));
            self.expect_refused(&id, None);
        }
        self.ann.send(r#"{"TYPE":"3","MID":"g","CONTENT":"bob"}"#);
        self.expect_refused("g", None);
        let mut new = self.server.raw();
        new.send(r#"{"TYPE":"1","MID":"s","CONTENT":"{\"userName\":\"new\",\"hashValue\":\"x\"}"}"#);
        new.expect_reply("RE_SIGNUP", "s", "SF");
        new.expect_error("s", "UNAVAILABLE");
        new.send(r#"{"TYPE":"2","MID":"l","CONTENT":"{\"USER\":\"cy\",\"PASS\":\"secret\"}"}"#);
        new.expect_reply("RE_SIGNUP", "l", "LF");
        new.expect_error("l", "UNAVAILABLE");
        // Eight requests, one after the other; generous, for a machine that has much else to do.
        assert!(start.elapsed() < 8 * ANSWER_WITHIN + PATIENCE / 2, "{:?}", start.elapsed());
    }

    #[track_caller]
    fn expect_refused(&mut self, id: &str, own: Option<&str>) {
        if let Some(own) = own {
            self.ann.expect_reply("RE_MESSAGE", id, own);
        }
        self.ann.expect_error(id, "UNAVAILABLE");
    }

    /// It heals by itself, and then everything works.
    fn heals(&mut self) {
        let id = self.id();
        self.say_until_taken(&id);
        self.everything_works(&id);
    }

    /// The same message to Cy, who is away, until it is taken.
    fn say_until_taken(&mut self, id: &str) {
        self.ann.say_until_taken(id, "cy", "the geese are back");
    }

    /// All requests that were refused work, and the message that was promised to Cy is there, once.
    fn everything_works(&mut self, promised: &str) {
        let until = Instant::now() + PATIENCE;
        let mut cy = loop {
            // Each worker comes back on its own.
            let mut cy = self.server.raw();
            cy.name = "cy".into();
            cy.send(r#"{"TYPE":"2","MID":"l","CONTENT":"{\"USER\":\"cy\",\"PASS\":\"secret\"}"}"#);
            if content(&cy.recv())["Content"] == "LS" {
                break cy;
            }
            cy.expect_error("l", "UNAVAILABLE");
            assert!(Instant::now() < until, "Cy cannot log in");
            std::thread::sleep(Duration::from_millis(60));
        };
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last: &String| last != promised) {
            let frame = cy.recv();
            let id = content(&frame)["messageId"].as_str().unwrap().to_owned();
            assert!(kind(&frame) == "4" && !seen.contains(&id), "{frame} after {seen:?}");
            cy.ack(&id);
            seen.push(id);
        }
        cy.fence();
        self.talk();
        let name = format!("new {}", self.next);
        let mut new = self.server.raw();
        loop {
            new.send(&format!(
                r#"{{"TYPE":"1","MID":"s","CONTENT":"{{\"userName\":\"{name}\",\"hashValue\":\"secret\"}}"}}"#
            ));
            if content(&new.recv())["Content"] == "SS" {
                break;
            }
            new.expect_error("s", "UNAVAILABLE");
            assert!(Instant::now() < until, "nobody can sign up");
            // A client that is not logged in has 20 requests a second.
            std::thread::sleep(Duration::from_millis(60));
        }
    }
}

#[test]
fn killed_and_started_again() {
    let Some(mut database) = MariaDb::start() else { return };
    let mut deployment = Deployment::new(config(database.url()));
    for _ in 0..2 {
        deployment.talk();
        database.kill9();
        deployment.talk();
        deployment.is_refused();
        deployment.talk();
        database.start_again();
        deployment.heals();
    }
}

#[test]
fn frozen_and_thawed() {
    let Some(database) = MariaDb::start() else { return };
    let mut deployment = Deployment::new(config(database.url()));
    database.freeze();
    deployment.talk();
    deployment.is_refused();
    deployment.talk();
    database.thaw();
    deployment.heals();
}

#[test]
fn stopped_and_started_again() {
    let Some(mut database) = MariaDb::start() else { return };
    let mut deployment = Deployment::new(config(database.url()));
    database.stop();
    deployment.talk();
    deployment.is_refused();
    database.start_again();
    deployment.heals();
}

#[test]
fn read_only_and_back() {
    let Some(database) = MariaDb::start() else { return };
    let mut deployment = Deployment::new(config(database.url()));
    database.set_read_only(true);
    deployment.talk();
    let id = deployment.id();
    deployment.ann.send(&deployment.ann.message(&id, "cy", "are you there?"));
    deployment.expect_refused(&id, Some("MF"));
    // Requests that only read work.
    deployment.ann.send(r#"{"TYPE":"3","MID":"g","CONTENT":"bob"}"#);
    assert_eq!(kind(&deployment.ann.recv()), "RE_GETUSER_SUC");
    database.set_read_only(false);
    deployment.heals();
}

#[test]
fn with_a_read_only_database_the_backlog_is_read_and_messages_to_users_who_ack_are_taken() {
    let Some(database) = MariaDb::start() else { return };
    let mut config = config(database.url());
    (config.rules.page_max, config.rules.list_max) = (8, 16);
    let mut deployment = Deployment::new(config);
    let said: Vec<String> = (0..60).map(|_| deployment.id()).collect();
    for id in &said {
        deployment.ann.say(id, "cy", "honk", "MS");
    }
    database.set_read_only(true);
    let mut cy = deployment.server.raw();
    cy.log_in("cy");
    cy.take(&said[0]);
    let new = deployment.id();
    deployment.ann.send(&deployment.ann.message(&new, "cy", "are you there?"));
    said[1..].iter().for_each(|id| cy.take(id));
    cy.take(&new);
    deployment.ann.expect_reply("RE_MESSAGE", &new, "MS");
    drop(cy);
    database.set_read_only(false);
    deployment.heals();
    database.wait_for_pushes(0);
}

#[test]
fn a_push_larger_than_the_database_takes_is_reported_and_not_tried_again() {
    let Some(database) = MariaDb::start() else { return };
    database.set_max_allowed_packet(32 * 1024);
    let mut config = config(database.url());
    // Time for an ack before it is stored.
    config.rules.save_after_ms = 1_000;
    let mut deployment = Deployment::new(config);
    let large = "x".repeat(40_000);
    for (receiver, friend) in [("cy", "nobody"), ("dee", "eve")] {
        let (message, request) = (deployment.id(), deployment.id());
        deployment.ann.send(&deployment.ann.message(&message, receiver, &large));
        deployment.ann.expect_reply("RE_MESSAGE", &message, "MF");
        deployment.ann.expect_error(&message, "BAD_FIELD");
        deployment.ann.send(&deployment.ann.friend("1", &request, "ann", friend, &large));
        deployment.ann.expect_error(&request, "BAD_FIELD");
    }
    // A receiver who acks in time needs no store.
    let id = deployment.id();
    deployment.ann.send(&deployment.ann.message(&id, "bob", &large));
    deployment.bob.take(&id);
    deployment.ann.expect_reply("RE_MESSAGE", &id, "MS");
    deployment.talk();
    deployment.heals();
}

#[test]
fn a_start_warns_of_a_database_that_takes_less_than_clients_may_send() {
    let Some(database) = MariaDb::start() else { return };
    let warnings = || {
        let program = Program::on(&database.url(), &CHEAP_PASSWORDS);
        let is_warning = |line: &&String| line.contains("max_allowed_packet");
        program.start_log.iter().filter(is_warning).cloned().collect::<Vec<_>>()
    };
    assert_eq!(warnings(), [""; 0], "the default is enough");
    database.set_max_allowed_packet(32 * 1024);
    let said = warnings();
    assert_eq!(said.len(), 1, "once, and not for each worker: {said:?}");
    for part in ["WARN", "max_allowed_packet of the database is 32768 bytes", "--max-frame lets clients send 65536"] {
        assert!(said[0].contains(part), "{said:?}");
    }
}

#[test]
fn the_database_moves_to_another_server_under_the_same_name() {
    let Some(mut first) = MariaDb::start() else { return };
    let target = Arc::new(AtomicU16::new(first.port()));
    let mut deployment = Deployment::new(config(first.url_by_way_of(moving_proxy(&target))));
    first.wait_for_pushes(0);
    let second = first.replica();
    deployment.heals();
    first.wait_for_pushes(0);
    // The old one still answers and only reads, with all the connections that it had: nothing but
    // new ones find the new one.
    first.set_read_only(true);
    target.store(second.port(), Ordering::SeqCst);
    let id = deployment.id();
    deployment.say_until_taken(&id);
    assert_eq!((first.pushes(), second.pushes()), (0, 1));
    deployment.everything_works(&id);
}

#[test]
fn connections_that_are_ended_are_not_noticed() {
    let Some(database) = MariaDb::start() else { return };
    let mut deployment = Deployment::new(config(database.url()));
    for _ in 0..3 {
        assert!(database.kill_connections() >= 2);
        let id = deployment.id();
        deployment.say_until_taken(&id);
        deployment.talk();
    }
    database.kill_lock();
    let id = deployment.id();
    deployment.say_until_taken(&id);
    deployment.everything_works(&id);
}

/// Waits for `MS` and is not idle meanwhile.
fn speak_until_taken(client: &mut Client, id: &str) {
    let (until, mut beats) = (Instant::now() + PATIENCE, 0);
    let mut is_taken = false;
    while !is_taken || beats > 0 {
        assert!(Instant::now() < until, "{id} is not taken");
        if !is_taken {
            client.send(r#"{"TYPE":"0","MID":"b","CONTENT":"{}"}"#);
            beats += 1;
        }
        let frame = client.recv();
        match kind(&frame).as_str() {
            "RE_HEARTBEAT" => beats -= 1,
            _ => {
                assert_eq!(content(&frame), json!({"MessageId": id, "Content": "MS"}));
                is_taken = true;
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn unacked_pushes_are_in_the_database_after_any_close() {
    let Some(database) = MariaDb::start() else { return };
    let mut config = config(database.url());
    // Nothing is saved for being late: the close does it.
    (config.rules.save_after_ms, config.rules.answer_within_ms) = (60_000, 60_000);
    // Longer than any single step takes on a slow machine; clients that are not meant to be idle
    // speak between them.
    (config.rules.idle_timeout_ms, config.rules.idle_check_ms) = (5_000, 100);
    let server = Server::with(config);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    // The pushes of the friendship are acked, and are deleted in a moment.
    database.wait_for_pushes_awake(0, [&mut ann, &mut bob]);
    for (round, drops) in ["idle", "gone", "shut"].into_iter().enumerate() {
        let id = format!("m{round}");
        ann.fence();
        ann.send(&ann.message(&id, "bob", "read it later"));
        bob.expect_push("4", &id);
        assert_eq!(database.pushes(), 0);
        match drops {
            "idle" => {}
            "gone" => drop(std::mem::replace(&mut bob, server.raw())),
            _ => bob.stream().shutdown(Shutdown::Both).unwrap(),
        }
        speak_until_taken(&mut ann, &id);
        assert_eq!(database.pushes(), 1, "{drops}");
        ann.fence();
        bob = server.raw();
        bob.log_in("bob");
        ann.fence();
        bob.take(&id);
        database.wait_for_pushes_awake(0, [&mut ann, &mut bob]);
    }
}

#[test]
fn said_again_after_a_restart_of_the_server_it_is_delivered_once() {
    let Some(database) = MariaDb::start() else { return };
    let server = Server::with(config(database.url()));
    let (mut ann, bob) = server.friends("ann", "bob");
    drop(bob);
    ann.say("m1", "bob", "once", "MS");
    server.stop();
    let server = Server::with(config(database.url()));
    let mut ann = server.raw();
    ann.log_in("ann");
    ann.say("m1", "bob", "once", "MS");
    assert_eq!(database.pushes(), 1);
    let mut bob = server.raw();
    bob.log_in("bob");
    bob.expect_push("4", "m1");
    ann.say("m1", "bob", "once", "MS");
    bob.ack("m1");
    ann.say("m2", "bob", "next", "MS");
    bob.take("m2");
    bob.fence();
}

#[test]
fn a_commit_whose_answer_is_lost_is_promised_when_asked_again_and_delivered_once() {
    let Some(database) = MariaDb::start() else { return };
    let cuts = Arc::new(AtomicU64::new(0));
    let port = harming_proxy(database.port(), Harm::Cut, &cuts);
    let mut deployment = Deployment::new(config(database.url_by_way_of(port)));
    database.wait_for_pushes(0);
    // Lost once: done again on a new connection, and nobody notices.
    cuts.store(1, Ordering::SeqCst);
    let once = deployment.id();
    deployment.say_until_taken(&once);
    assert_eq!((cuts.load(Ordering::SeqCst), database.pushes()), (0, 1));
    // Lost again and again: not promised, though it is stored.
    cuts.store(1_000, Ordering::SeqCst);
    let often = deployment.id();
    deployment.ann.send(&deployment.ann.message(&often, "cy", "lost often"));
    deployment.expect_refused(&often, Some("MF"));
    database.wait_for_pushes(2);
    cuts.store(0, Ordering::SeqCst);
    deployment.say_until_taken(&often);
    assert_eq!(database.pushes(), 2);
    deployment.everything_works(&often);
    database.wait_for_pushes(0);
}

/// Sends all messages at once, and refused ones again until they are taken. Gives the refused ones.
fn say_all_until_taken(sender: &mut Client, said: &[(String, &str)]) -> BTreeSet<String> {
    let send = |sender: &mut Client, said: &[&(String, &str)]| {
        let lines: Vec<String> = said.iter().map(|(id, to)| sender.message(id, to, "honk") + "\n").collect();
        sender.send_bytes(lines.concat().as_bytes());
    };
    send(sender, &said.iter().collect::<Vec<_>>());
    let (mut taken, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let until = Instant::now() + 2 * PATIENCE;
    while taken.len() < said.len() {
        let answer = content(&sender.recv());
        let id = answer["MessageId"].as_str().unwrap().to_owned();
        if answer["Content"] == "MS" {
            assert!(taken.insert(id.clone()), "{id} is promised twice");
            continue;
        }
        assert_eq!(answer["Content"], "MF");
        sender.expect_error(&id, "UNAVAILABLE");
        assert!(Instant::now() < until, "{id} is not taken");
        send(sender, &said.iter().filter(|(one, _)| *one == id).collect::<Vec<_>>());
        refused.insert(id);
    }
    refused
}

#[test]
fn a_commit_that_is_not_answered_for_too_long_is_done_again_and_everything_comes_once_and_in_order() {
    let Some(database) = MariaDb::start() else { return };
    let withheld = Arc::new(AtomicU64::new(0));
    let port = harming_proxy(database.port(), Harm::Withhold, &withheld);
    let mut config = config(database.url_by_way_of(port));
    // Nobody is refused for the time alone: the store gives up first. One worker, so that all are
    // in one transaction.
    (config.rules.answer_within_ms, config.data_threads) = (30_000, 1);
    let mut deployment = Deployment::new(config);
    befriend(&mut deployment.ann, &mut deployment.server.user("eve"));
    database.wait_for_pushes(0);
    // Cy and Eve are away: a message that is not known to be stored is not promised, and said again
    // it is found where it is.
    withheld.store(1, Ordering::SeqCst);
    let away = ["cy", "eve"];
    let said: Vec<_> = (0..20).map(|n| (deployment.id(), away[n % 2])).collect();
    let refused = say_all_until_taken(&mut deployment.ann, &said);
    assert!(refused.contains(&said[0].0), "its answer was withheld: {refused:?}");
    assert_eq!((withheld.load(Ordering::SeqCst), database.pushes()), (0, 20));
    for name in away {
        let mut friend = deployment.server.raw();
        friend.log_in(name);
        said.iter().filter(|(_, to)| *to == name).for_each(|(id, _)| friend.take(id));
        friend.fence();
    }
    database.wait_for_pushes(0);
    // Dee is there, so that her ack may still come: the server itself does it again, and nobody
    // notices.
    withheld.store(1, Ordering::SeqCst);
    let said: Vec<_> = (0..5).map(|_| (deployment.id(), "dee")).collect();
    assert_eq!(say_all_until_taken(&mut deployment.ann, &said), BTreeSet::new());
    assert_eq!((withheld.load(Ordering::SeqCst), database.pushes()), (0, 5));
    let mut dee = deployment.server.raw();
    dee.log_in("dee");
    said.iter().for_each(|(id, _)| dee.take(id));
    dee.fence();
    database.wait_for_pushes(0);
}

#[test]
fn through_random_outages_all_that_was_promised_comes_once_and_in_order() {
    let Some(mut database) = MariaDb::start() else { return };
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("SEED={seed}");
    chat_load::run(&mut database, config, seed);
}
