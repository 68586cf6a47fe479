//! Nodes with a bus. The bus, the database or both may fail.

use crate::common::{Client, MariaDb, Node, PATIENCE, Redis};
use crate::{Run, make_friends};
use mysql::prelude::Queryable;
use std::time::Instant;

/// Waits until the log has a line with each of these words, in any order. Returns all lines until
/// then.
#[track_caller]
fn wait_for_all(node: &Node, words: &[&str]) -> Vec<String> {
    let mut said = Vec::new();
    while !words.iter().all(|word| said.iter().any(|line: &String| line.contains(word))) {
        said.push(node.wait_for(""));
    }
    said
}

/// Starts a node on this bus. The save delay is long, so that an ack comes before the save even on
/// a slow machine.
fn start(database: &MariaDb, bus: &str, name: &str) -> Node {
    let node = Node::begin(&[
        "--store",
        &database.url(),
        "--node-name",
        name,
        "--silent-server-max",
        "2s",
        "--bus",
        bus,
        "--save-after",
        "3s",
    ]);
    wait_for_all(&node, &["listening on", "works"]);
    node
}

/// Counts the rows that were ever written into the table of pushes.
struct Written<'a>(&'a MariaDb);

impl<'a> Written<'a> {
    /// The count is in a database of its own, because nodes refuse a database that has other
    /// tables.
    fn count(database: &'a MariaDb, name: &str) -> Self {
        let mut root = database.root();
        for sql in [
            "CREATE DATABASE spy".to_owned(),
            "CREATE TABLE spy.written (n INT)".to_owned(),
            "INSERT INTO spy.written VALUES (0)".to_owned(),
            format!(
                "CREATE TRIGGER {name}.spied AFTER INSERT ON {name}.pushes FOR EACH ROW UPDATE spy.written SET n = n + 1"
            ),
        ] {
            root.query_drop(sql).unwrap();
        }
        Self(database)
    }

    fn rows(&self) -> u64 {
        self.0.root().query_first("SELECT n FROM spy.written").unwrap().unwrap()
    }
}

/// Sends one message. It is acked, and then promised.
#[track_caller]
fn talk(sender: &mut Client, receiver: &mut Client, id: &str) {
    let message = sender.message(id, &receiver.name, "honk");
    sender.send(&message);
    receiver.take(id);
    sender.expect_reply("RE_MESSAGE", id, "MS");
}

/// The first messages of a pair go through the store, from which the taker learns the receiver's
/// node.
#[track_caller]
fn talk_until_nothing_is_written(written: &Written<'_>, one: &mut Client, other: &mut Client) {
    let until = Instant::now() + PATIENCE;
    let (mut number, mut rows) = (0, 1);
    while rows > 0 {
        assert!(Instant::now() < until, "their messages still go through the store");
        let before = written.rows();
        talk(one, other, &format!("a{number}"));
        talk(other, one, &format!("b{number}"));
        number += 1;
        rows = written.rows() - before;
    }
}

#[test]
fn friends_on_two_nodes_with_a_bus_cost_no_row_in_the_database() {
    let (Some(database), Some(redis)) = (MariaDb::start(), Redis::start()) else { return };
    let [a, b] = ["a", "b"].map(|name| start(&database, &redis.url(), name));
    make_friends(a.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.log_in("ann"), b.log_in("bob"));
    let written = Written::count(&database, "geese");
    talk_until_nothing_is_written(&written, &mut ann, &mut bob);
    let before = written.rows();
    for number in 0..100 {
        talk(&mut ann, &mut bob, &format!("c{number}"));
        talk(&mut bob, &mut ann, &format!("d{number}"));
    }
    ann.fence();
    bob.fence();
    assert_eq!(written.rows(), before);
}

/// Sends 20 messages in each direction, with ids that begin with this word.
#[track_caller]
fn talk_both_ways(one: &mut Client, other: &mut Client, word: &str) {
    for number in 0..20 {
        talk(one, other, &format!("{word}{number}"));
        talk(other, one, &format!("{word}{number}"));
    }
}

/// Waits until each node has given some more signs of life. By then, every node that had to be
/// fenced for its silence has been fenced.
#[track_caller]
fn wait_for_signs_of_life(database: &MariaDb) {
    let mut root = database.root();
    let mut least = || root.query_first::<u64, _>("SELECT MIN(renewed) FROM nodes").unwrap().unwrap();
    let (until, before) = (Instant::now() + PATIENCE, least());
    while least() < before + 4 {
        assert!(Instant::now() < until, "a node gives no sign of life");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Sends a message that may be refused, until it is promised.
#[track_caller]
fn send_until_promised(sender: &mut Client, id: &str, to: &str) {
    while sender.recv().contains("MF") {
        sender.expect_error(id, "UNAVAILABLE");
        sender.send(&sender.message(id, to, "honk"));
    }
}

/// The freeze is longer than the lease: a node that cannot write itself fences nobody.
#[test]
fn while_the_database_is_frozen_pairs_talk_over_the_bus_and_users_of_one_node_even_without_it() {
    let (Some(database), Some(redis)) = (MariaDb::start(), Redis::start()) else { return };
    let [a, b] = ["a", "b"].map(|name| start(&database, &redis.url(), name));
    make_friends(a.addr, &["ann", "bob", "cid", "dan"]);
    let (mut ann, mut bob, mut cid) = (a.log_in("ann"), b.log_in("bob"), a.log_in("cid"));
    talk_until_nothing_is_written(&Written::count(&database, "geese"), &mut ann, &mut bob);
    database.freeze();
    talk_both_ways(&mut ann, &mut bob, "across");
    talk_both_ways(&mut ann, &mut cid, "near");
    // Dan is away and the database is frozen, so these can be neither acked nor saved.
    for sender in [&mut bob, &mut cid] {
        sender.send(&sender.message("away", "dan", "honk"));
    }
    for sender in [&mut bob, &mut cid] {
        sender.expect_reply("RE_MESSAGE", "away", "MF");
        sender.expect_error("away", "UNAVAILABLE");
    }
    talk_both_ways(&mut ann, &mut bob, "still");
    redis.freeze();
    bob.send(&bob.message("cut", "ann", "honk"));
    talk_both_ways(&mut ann, &mut cid, "alone");
    database.thaw();
    redis.thaw();
    send_until_promised(&mut bob, "cut", "ann");
    ann.take("cut");
    let mut dan = b.log_in("dan");
    for sender in [&mut bob, &mut cid] {
        sender.send(&sender.message("away", "dan", "honk"));
        send_until_promised(sender, "away", "dan");
        dan.take("away");
    }
    talk_both_ways(&mut ann, &mut bob, "again");
    wait_for_signs_of_life(&database);
    for node in [&a, &b] {
        let said: Vec<String> = node.news().into_iter().filter(|line| line.contains("fenced")).collect();
        assert!(said.is_empty(), "{said:?}");
    }
    database.wait_for_pushes_awake(0, [&mut ann, &mut bob, &mut cid, &mut dan]);
}

#[test]
fn a_killed_or_frozen_bus_loses_no_promised_message() {
    let (Some(database), Some(mut one), Some(mut two)) = (MariaDb::start(), Redis::start(), Redis::start()) else {
        return;
    };
    let urls = format!("{},{}", one.url(), two.url());
    let nodes = ["a", "b", "c"].map(|name| start(&database, &urls, name));
    let run = Run::start(&nodes);
    run.wait_for_promises(100);
    one.kill();
    run.wait_for_promises(50);
    // Both instances are down: messages go through the database.
    two.freeze();
    run.wait_for_promises(50);
    one.start_again();
    run.wait_for_promises(50);
    two.thaw();
    run.wait_for_promises(50);
    two.kill();
    run.wait_for_promises(50);
    two.start_again();
    run.wait_for_promises(100);
    run.end(&database);
}

#[test]
fn a_node_starts_without_its_bus_and_logs_a_warning() {
    let Some(database) = MariaDb::start() else { return };
    let [a, b] = ["a", "b"].map(|name| {
        let node = Node::begin(&[
            "--store",
            &database.url(),
            "--node-name",
            name,
            "--bus",
            "redis://:geheim@127.0.0.1:1,redis://u:geheim@no.such.host.invalid",
        ]);
        let causes = ["nobody listens there", "the address of its host cannot be found"];
        let said = wait_for_all(&node, &["listening on", causes[0], causes[1]]);
        assert!(said.iter().all(|line| !line.contains("geheim")), "{said:?}");
        node
    });
    make_friends(a.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.log_in("ann"), b.log_in("bob"));
    ann.say("m1", "bob", "honk", "MS");
    bob.take("m1");
    ann.fence();
    bob.fence();
    database.wait_for_pushes_awake(0, [&mut ann, &mut bob]);
}
