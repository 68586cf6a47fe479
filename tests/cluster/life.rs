//! The life of a cluster: an act of an operator on one node holds on all, nodes are drained, come
//! and go.

use super::friends::send_until;
use super::make_friends;
use crate::common::{Client, MariaDb, Node, PATIENCE, Redis, health};
use mysql::prelude::Queryable;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A node with an admin interface on a port.
pub(crate) struct Managed {
    pub(crate) node: Node,
    admin: String,
}

impl Managed {
    pub(crate) fn start(store: &str, name: &str, more: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let admin = format!("127.0.0.1:{port}");
        let args = ["--store", store, "--node-name", name, "--silent-server-max", "2s", "--admin", &admin];
        let node = Node::start(&[&args, more].concat());
        Self { node, admin }
    }

    /// Sends an order as an operator does. Gives the exit status and the output.
    pub(crate) fn ask(&self, words: &[&str]) -> (i32, String) {
        let output = self.command(words).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    /// The command that sends an order.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
        command.args(["admin", "--admin", &self.admin]).args(words);
        command
    }

    /// Its metrics.
    pub(crate) fn metrics(&self) -> String {
        let mut socket = TcpStream::connect(&self.admin).unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut metrics = String::new();
        socket.read_to_string(&mut metrics).unwrap();
        metrics
    }

    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let (status, said) = self.ask(words);
        assert_eq!(status, 0, "{words:?}: {said}");
        said
    }
}

pub(crate) fn two(database: &MariaDb) -> [Managed; 2] {
    ["a", "b"].map(|name| Managed::start(&database.url(), name, &[]))
}

#[track_caller]
fn refused(node: &Node, name: &str) {
    let said = answer(&mut node.client(), name, "secret");
    assert!(said.contains("\"LF\""), "{said}");
}

/// The answer to a log-in.
fn answer(client: &mut Client, name: &str, password: &str) -> String {
    client.send(&json!({"MID": "l", "CONTENT": {"PASS": password, "USER": name}, "TYPE": "2"}).to_string());
    client.recv()
}

#[test]
fn an_order_of_the_operator_ends_connections_on_all_nodes() {
    let Some(database) = MariaDb::start() else { return };
    let [a, b] = two(&database);
    make_friends(a.node.addr, &["ann", "bob", "cid", "dan"]);
    let mut ann = b.node.log_in("ann");
    a.done(&["disconnect", "ann"]);
    ann.expect_error("", "UNAVAILABLE");
    ann.expect_closed();
    assert!(b.node.wait_for("cause=forced_logout").contains("user=ann"), "the log of ann's node says so");
    assert_eq!(a.ask(&["disconnect", "ann"]).0, 1, "ann is on no node");
    let mut ann = b.node.log_in("ann");
    a.done(&["ban", "ann"]);
    // It was done before the operator got the answer.
    ann.expect_error("", "FORBIDDEN");
    ann.expect_closed();
    refused(&b.node, "ann");
    a.done(&["unban", "ann"]);
    let mut ann = b.node.log_in("ann");
    a.done(&["reset-password", "--plain", "ann"]);
    ann.expect_error("", "FORBIDDEN");
    ann.expect_closed();
    refused(&b.node, "ann");
    let (mut bob, mut cid, mut dan) = (b.node.log_in("bob"), a.node.log_in("cid"), b.node.log_in("dan"));
    for friend in [&mut cid, &mut dan] {
        let id = format!("of {}", friend.name);
        friend.say(&id, "bob", "honk", "MS");
        bob.take(&id);
    }
    a.done(&["delete", "bob", "--yes"]);
    bob.expect_error("", "FORBIDDEN");
    bob.expect_closed();
    refused(&b.node, "bob");
    // Each node knows that a friend is gone.
    for friend in [&mut cid, &mut dan] {
        send_until(friend, "bob", "MF");
    }
}

#[test]
fn the_operator_is_told_which_orders_are_not_confirmed() {
    let Some(database) = MariaDb::start() else { return };
    let a = Managed::start(&database.url(), "a", &["--answer-within", "500ms"]);
    let b = Managed::start(&database.url(), "b", &[]);
    make_friends(a.node.addr, &["ann", "bob"]);
    let ann = b.node.log_in("ann");
    b.node.signal("-STOP");
    let (status, said) = a.ask(&["ban", "ann"]);
    assert!(status == 1 && said.contains("node b (2) has not confirmed"), "{status} {said}");
    // When the node is fenced, no confirmation is missing any more.
    let until = Instant::now() + PATIENCE;
    while a.ask(&["ban", "ann"]).0 != 0 {
        assert!(Instant::now() < until, "it is never done");
        thread::sleep(Duration::from_millis(100));
    }
    b.node.signal("-CONT");
    drop(ann);
}

#[test]
fn after_a_change_of_password_no_node_accepts_the_old_one() {
    let Some(database) = MariaDb::start() else { return };
    let [a, b] = two(&database);
    make_friends(a.node.addr, &["ann", "bob"]);
    let mut ann = a.node.log_in("ann");
    ann.send(r#"{"MID":"a","CONTENT":{"old":"secret","new":"another"},"TYPE":"PASSWORD"}"#);
    ann.expect(r#"{"CONTENT":{"MessageId":"a","Content":"changed"},"TYPE":"RE_PASSWORD"}"#);
    refused(&b.node, "ann");
    let mut there = b.node.client();
    assert!(answer(&mut there, "ann", "another").contains("\"LS\""));
}

/// Waits until `hongyan admin nodes` on one node shows another one in this state.
#[track_caller]
fn wait_for_state(seen_by: &Managed, state: &str, name: &str) {
    let until = Instant::now() + PATIENCE;
    let is_shown = |line: &str| line.contains(&format!(" {state} ")) && line.ends_with(&format!(" {name}"));
    while !seen_by.done(&["nodes"]).lines().any(is_shown) {
        assert!(Instant::now() < until, "{}", seen_by.done(&["nodes"]));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_drained_node_closes_a_few_connections_at_a_time_and_stops() {
    let Some(database) = MariaDb::start() else { return };
    let mut a = Managed::start(&database.url(), "a", &["--drain", "2s"]);
    let b = Managed::start(&database.url(), "b", &[]);
    let names: Vec<String> = (0..20).map(|number| format!("u{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    make_friends(b.node.addr, &names[..2]);
    let mut users: Vec<Client> = names[2..].iter().map(|name| a.node.user(name)).collect();
    let (mut u0, mut u1) = (a.node.log_in("u0"), b.node.log_in("u1"));
    u1.say("m1", "u0", "honk", "MS");
    u0.expect_push("4", "m1");
    let said = a.done(&["drain"]);
    assert!(said.contains("20 connections are closed within 2 s") || said.contains("19 conn"), "{said}");
    assert!(health(a.node.addr).contains("503") && health(a.node.addr).ends_with("draining\n"));
    wait_for_state(&b, "draining", "a");
    assert!(b.done(&["status"]).contains("\nnode b (2)\n"), "{}", b.done(&["status"]));
    let mut late = a.node.client();
    assert!(answer(&mut late, "u1", "secret").contains("\"LF\""));
    assert!(late.recv().contains("SHUTTING_DOWN"));
    late.expect_closed();
    let mut waits = Vec::new();
    u0.expect_error("", "SHUTTING_DOWN");
    u0.expect_closed();
    for (name, user) in std::iter::once(("u0", None)).chain(names[2..].iter().copied().zip(users.iter_mut().map(Some)))
    {
        if let Some(user) = user {
            user.expect_error("", "SHUTTING_DOWN");
            user.expect_closed();
        }
        let asked = Instant::now();
        let mut there = b.node.log_in(name);
        waits.push(asked.elapsed());
        if name == "u0" {
            there.take("m1");
        }
    }
    waits.sort_unstable();
    let (middle, last) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("a log-in elsewhere within a drain took {middle:?}, {last:?} at most");
    assert!(last < Duration::from_millis(1_900), "nobody waits for a fence: {waits:?}");
    assert_eq!(a.node.status(), Some(0));
    wait_for_state(&b, "stopped", "a");
    u1.say("m2", "u0", "on one node now", "MS");
    let said = b.done(&["drain", "--wait"]);
    assert!(said.contains("the server has stopped"), "{said}");
    assert!(health(b.node.addr).is_empty());
    assert!(health(a.node.addr).is_empty());
}

#[test]
fn a_node_that_is_fenced_while_it_drains_stops_and_does_not_join_again() {
    let Some(database) = MariaDb::start() else { return };
    let mut a = Managed::start(&database.url(), "a", &["--drain", "1m"]);
    let b = Managed::start(&database.url(), "b", &[]);
    let clients: Vec<Client> = (0..100).map(|_| a.node.client()).collect();
    a.done(&["drain"]);
    a.node.signal("-STOP");
    b.node.wait_for("the node a (number 1) gives no sign of life: it was fenced");
    wait_for_state(&b, "fenced", "a");
    a.node.signal("-CONT");
    assert_eq!(a.node.status(), Some(0));
    wait_for_state(&b, "fenced", "a");
    drop(clients);
}

#[test]
fn a_forgotten_node_whose_number_has_passed_on_joins_as_a_new_one() {
    let Some(database) = MariaDb::start() else { return };
    let [a, b] = two(&database);
    b.node.signal("-STOP");
    a.node.wait_for("the node b (number 2) gives no sign of life: it was fenced");
    a.done(&["forget-node", "b"]);
    let c = Node::begin(&["--store", &database.url(), "--node-name", "c"]);
    c.wait_for("this server is the node c (number 2) of a cluster");
    b.node.signal("-CONT");
    b.node.wait_for("another node has fenced this one");
    b.node.wait_for("this server is the node b (number 3) of a cluster");
}

#[test]
fn the_log_names_this_node_and_nodes_that_come_and_go() {
    let Some(database) = MariaDb::start() else { return };
    let [a, mut b] = two(&database);
    a.node.wait_for("the node b (number 2) has joined: 2 nodes live");
    b.node.signal("-TERM");
    assert_eq!(b.node.status(), Some(0));
    a.node.wait_for("the node b (number 2) has left or was fenced: 1 node lives");
    b.node.start_again();
    a.node.wait_for("the node b (number 2) is back: 2 nodes live");
    let c = Node::begin(&["--store", &database.url(), "--node-name", "c"]);
    c.wait_for("this server is the node c (number 3) of a cluster: 3 nodes live, this one included");
    b.node.signal("-STOP");
    a.node.wait_for("the node b (number 2) gives no sign of life: it was fenced");
    b.node.signal("-CONT");
}

#[test]
fn presence_shows_friends_on_other_nodes() {
    let Some(database) = MariaDb::start() else { return };
    shown_as_they_come_and_go(two(&database));
}

#[test]
fn with_a_bus_friends_on_other_nodes_are_shown_by_it() {
    let (Some(database), Some(redis)) = (MariaDb::start(), Redis::start()) else { return };
    shown_as_they_come_and_go(["a", "b"].map(|name| Managed::start(&database.url(), name, &["--bus", &redis.url()])));
}

fn shown_as_they_come_and_go([a, mut b]: [Managed; 2]) {
    make_friends(a.node.addr, &["ann", "bob"]);
    let until = Instant::now() + PATIENCE;
    while !a.done(&["user", "bob"]).contains("not online") {
        assert!(Instant::now() < until, "bob's connection does not end");
    }
    let mut ann = a.node.log_in("ann");
    ann.send(r#"{"MID":"r","CONTENT":{"watch":true},"TYPE":"ROSTER"}"#);
    let roster = ann.recv();
    assert!(roster.contains("RE_ROSTER") && roster.contains("false") && !roster.contains("true"), "{roster}");
    let told = |ann: &mut Client, online: bool| {
        let since = Instant::now();
        let frame = ann.recv();
        assert!(frame.contains("PRESENCE") && frame.contains(&format!("{online}")), "{frame}");
        since.elapsed()
    };
    let mut bob = b.node.log_in("bob");
    let (mut came, mut went) = (vec![told(&mut ann, true)], Vec::new());
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for _ in 1..rounds {
        drop(bob);
        went.push(told(&mut ann, false));
        bob = b.node.log_in("bob");
        came.push(told(&mut ann, true));
    }
    // A user who asks now is told at once.
    let mut again = a.node.log_in("ann");
    again.send(r#"{"MID":"r","CONTENT":{"watch":true},"TYPE":"ROSTER"}"#);
    let roster = again.recv();
    assert!(roster.contains("RE_ROSTER") && roster.contains("true"), "{roster}");
    drop(bob);
    went.push(told(&mut again, false));
    for (what, mut times) in [("LS", came), ("the end of the connection", went)] {
        times.sort_unstable();
        // Of fewer than 100, the longest is the p99.
        println!("PRESENCE comes after {what}: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() - 1]);
    }
    let _bob = b.node.log_in("bob");
    told(&mut again, true);
    // Bob's node is killed: some time after the fence, Bob is shown as offline.
    b.node.kill();
    told(&mut again, false);
}

#[test]
fn the_first_message_to_a_user_of_an_earlier_incarnation_is_promised() {
    let Some(database) = MariaDb::start() else { return };
    let [mut a, mut b] = two(&database);
    make_friends(a.node.addr, &["ann", "bob"]);
    for life in 0..3 {
        a.node.signal("-TERM");
        assert_eq!(a.node.status(), Some(0));
        a.node.start_again();
        a.node.log_in("ann").say(&format!("m{life}"), "bob", "honk", "MS");
    }
    // To the clock of another node, whose numbers are far ahead.
    drop(b.node.log_in("ann"));
    for node in [&mut b, &mut a] {
        node.node.signal("-TERM");
        assert_eq!(node.node.status(), Some(0));
    }
    let ahead = "UPDATE geese.nodes SET hlc_limit = hlc_limit + (3600000 << 20) WHERE name = 'b'";
    database.root().query_drop(ahead).unwrap();
    a.node.start_again();
    a.node.log_in("ann").say("m3", "bob", "honk", "MS");
}

/// `hongyan copy`: its exit status and its output.
fn copy(from: &str, to: &str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hongyan"));
    let output = command.args(["copy", "--from", from, "--to", to]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn a_copy_of_a_cluster_and_back_into_another_one_loses_nothing() {
    let Some(database) = MariaDb::start() else { return };
    let [mut a, mut b] = two(&database);
    make_friends(a.node.addr, &["ann", "bob"]);
    let mut bob = b.node.log_in("bob");
    bob.say("m1", "ann", "honk", "MS");
    let folder = tempfile::tempdir().unwrap();
    let file = format!("sqlite:{}", folder.path().join("a.db").display());
    let (status, said) = copy(&database.url(), &file);
    assert!(status == 2 && said.contains("of its cluster uses it: stop all nodes first"), "{status} {said}");
    a.node.signal("-TERM");
    assert_eq!(a.node.status(), Some(0));
    // A killed node is not waited for.
    b.node.kill();
    let (status, said) = copy(&database.url(), &file);
    assert!(status == 0 && said.contains("pushes: 1, verified") && said.contains("accounts: 2, verified"), "{said}");
    let (status, said) = copy(&file, &database.url());
    assert!(status == 2 && said.contains("that of a cluster: copy into an empty database"), "{status} {said}");
    let mut root = database.root();
    root.query_drop("CREATE DATABASE again").unwrap();
    root.query_drop("GRANT ALL ON again.* TO geese@'127.0.0.1'").unwrap();
    let url = database.url();
    let again = format!("{}/again", url.rsplit_once('/').unwrap().0);
    let (status, said) = copy(&file, &again);
    assert!(status == 0, "{said}");
    root.query_drop("DELETE FROM again.lanes WHERE node = 0").unwrap();
    let node = Managed::start(&again, "a", &[]);
    let mut ann = node.node.log_in("ann");
    ann.take("m1");
    ann.say("m2", "bob", "honk", "MS");
    ann.fence();
}

#[test]
fn a_stopped_node_can_be_forgotten_and_its_users_log_in_elsewhere() {
    let Some(database) = MariaDb::start() else { return };
    let [a, mut b] = two(&database);
    make_friends(a.node.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.node.log_in("ann"), b.node.log_in("bob"));
    ann.say("m1", "bob", "honk", "MS");
    bob.take("m1");
    let (status, said) = a.ask(&["forget-node", "b"]);
    assert!(status == 1 && said.contains("only one that is gone can be forgotten"), "{said}");
    let (status, said) = a.ask(&["forget-node", "nobody"]);
    assert!(status == 1 && said.contains("There is no node of this name."), "{said}");
    b.node.signal("-TERM");
    assert_eq!(b.node.status(), Some(0));
    ann.say("m2", "bob", "honk", "MS");
    assert_eq!(a.done(&["forget-node", "b"]), "the node b is forgotten; 1 user was on it last\n");
    let nodes = serde_json::from_str::<serde_json::Value>(&a.done(&["nodes", "--json"])).unwrap();
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1, "{nodes}");
    let mut bob = a.node.log_in("bob");
    bob.take("m2");
    bob.say("m3", "ann", "honk", "MS");
    ann.take("m3");
    // A node of the same name is a new one.
    b.node.start_again();
    let mut bob = b.node.log_in("bob");
    bob.say("m4", "ann", "honk", "MS");
    ann.take("m4");
}
