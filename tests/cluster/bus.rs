//! Nodes with a bus, which may fail.

use crate::common::{Client, MariaDb, Node, PATIENCE, Redis};
use crate::{Run, make_friends};
use mysql::prelude::Queryable;
use std::time::Instant;

/// Waits until the log has each of these lines, in any order. Gives all lines.
#[track_caller]
fn wait_for_all(node: &Node, words: &[&str]) -> Vec<String> {
    let mut said = Vec::new();
    while !words.iter().all(|word| said.iter().any(|line: &String| line.contains(word))) {
        said.push(node.wait_for(""));
    }
    said
}

/// A node on this bus. The save delay is long, so that an ack is earlier even on a slow machine.
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
    /// In a database of its own, because the nodes need theirs for themselves.
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

/// One message: it is acked, and then promised.
#[track_caller]
fn talk(sender: &mut Client, receiver: &mut Client, id: &str) {
    let message = sender.message(id, &receiver.name, "honk");
    sender.send(&message);
    receiver.take(id);
    sender.expect_reply("RE_MESSAGE", id, "MS");
}

#[test]
fn friends_on_two_nodes_with_a_bus_cost_no_row_in_the_database() {
    let (Some(database), Some(redis)) = (MariaDb::start(), Redis::start()) else { return };
    let [a, b] = ["a", "b"].map(|name| start(&database, &redis.url(), name));
    make_friends(a.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.log_in("ann"), b.log_in("bob"));
    let written = Written::count(&database, "geese");
    let until = Instant::now() + PATIENCE;
    // The first message of each pair goes through the store, which tells the node of its receiver.
    let (mut number, mut rows) = (0, 1);
    while rows > 0 {
        assert!(Instant::now() < until, "they are not talked to directly");
        let before = written.rows();
        talk(&mut ann, &mut bob, &format!("a{number}"));
        talk(&mut bob, &mut ann, &format!("b{number}"));
        number += 1;
        rows = written.rows() - before;
    }
    let before = written.rows();
    for number in 0..100 {
        talk(&mut ann, &mut bob, &format!("c{number}"));
        talk(&mut bob, &mut ann, &format!("d{number}"));
    }
    ann.fence();
    bob.fence();
    assert_eq!(written.rows(), before);
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
    // Both instances are away: messages go through the database.
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
