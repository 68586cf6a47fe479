//! Several nodes over one MariaDB. Their users talk to each other, move from node to node, and lose
//! no promised message when a node is killed, frozen, or cut off.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/cluster/`.
mod cluster {
    mod balancer;
    mod bus;
    use super::make_friends;

    pub(crate) mod fence;
    mod friends;
    mod galera;
    mod life;
    pub(crate) mod load;
    mod restore;
    mod seen;
    mod upgrade;
}

use cluster::fence;
use cluster::load::{self, Habits, Known, make_friends};
use common::{MariaDb, Node, PATIENCE};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const USERS: [&str; 5] = ["ann", "bob", "cid", "dan", "eve"];
const ROAMING: Habits = Habits { log_in: Duration::from_secs(3), stay_ms: (500, 6_000), pause: Duration::ZERO };

/// A node of this name.
fn begin(store: &str, name: &str) -> Node {
    Node::begin(&["--store", store, "--node-name", name, "--silent-server-max", "2s"])
}

/// The same, once it is ready.
fn start(store: &str, name: &str) -> Node {
    let node = begin(store, name);
    node.wait_for("listening on");
    node
}

#[test]
fn friends_on_two_nodes_talk_both_ways_and_in_order() {
    let Some(database) = MariaDb::start() else { return };
    let (a, b) = (start(&database.url(), "a"), start(&database.url(), "b"));
    make_friends(a.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.log_in("ann"), b.log_in("bob"));
    for number in 0..20 {
        ann.say(&format!("a{number}"), "bob", "honk", "MS");
    }
    for number in 0..20 {
        bob.take(&format!("a{number}"));
    }
    bob.say("b1", "ann", "honk honk", "MS");
    ann.take("b1");
    // To a user who is away, from another node than theirs.
    drop(ann);
    bob.say("b2", "ann", "later", "MS");
    let mut ann = b.log_in("ann");
    ann.take("b2");
    ann.say("a20", "bob", "on one node", "MS");
    bob.take("a20");
    ann.fence();
    bob.fence();
    database.wait_for_pushes_awake(0, [&mut ann, &mut bob]);
}

#[test]
fn a_log_in_on_another_node_replaces_the_connection_and_delivers_unacked_messages() {
    let Some(database) = MariaDb::start() else { return };
    let (a, b) = (start(&database.url(), "a"), start(&database.url(), "b"));
    make_friends(a.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.log_in("ann"), a.log_in("bob"));
    bob.say("m1", "ann", "honk", "MS");
    ann.take("m1");
    bob.send(&bob.message("m2", "ann", "honk"));
    ann.expect_push("4", "m2");
    let mut elsewhere = b.log_in("ann");
    ann.expect_error("", "REPLACED");
    ann.expect_closed();
    bob.expect_reply("RE_MESSAGE", "m2", "MS");
    elsewhere.take("m2");
    // The node remembers messages that she has sent through another one.
    elsewhere.say("n1", "bob", "honk", "MS");
    bob.take("n1");
    let mut back = a.log_in("ann");
    back.say("n1", "bob", "honk", "MS");
    back.fence();
    bob.fence();
}

#[test]
fn users_of_a_stopped_node_log_in_on_others_at_once() {
    let Some(database) = MariaDb::start() else { return };
    let (mut a, b) = (start(&database.url(), "a"), start(&database.url(), "b"));
    make_friends(a.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.log_in("ann"), b.log_in("bob"));
    bob.say("m1", "ann", "honk", "MS");
    ann.expect_push("4", "m1");
    a.signal("-TERM");
    ann.expect_error("", "SHUTTING_DOWN");
    ann.expect_closed();
    assert_eq!(a.status(), Some(0));
    // A log-in does not wait until it has been silent for long.
    let asked = Instant::now();
    let mut ann = b.log_in("ann");
    assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    ann.take("m1");
    ann.say("m2", "bob", "honk", "MS");
    bob.take("m2");
}

#[test]
fn a_second_process_with_the_same_name_and_a_server_without_a_name_are_refused() {
    let Some(database) = MariaDb::start() else { return };
    let a = start(&database.url(), "a");
    let mut second = begin(&database.url(), "a");
    second.wait_for("another process uses it as the node \"a\"");
    assert_eq!(second.status(), Some(2));
    let alone = Command::new(env!("CARGO_BIN_EXE_hongyan"))
        .args(["--listen", "127.0.0.1:0", "--store", &database.url()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stderr).into_owned();
    assert!(alone.status.code() == Some(2) && said.contains("that of a cluster"), "{said}");
    a.client().sign_up("ann");
    // Its own next incarnation is not refused, and waits for no other node.
    let mut a = a;
    a.kill();
    let began = Instant::now();
    a.start_again();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    a.log_in("ann").fence();
}

#[test]
fn a_fenced_node_commits_nothing_even_if_it_writes_without_a_pause() {
    let Some(database) = MariaDb::start() else { return };
    let url = database.url();
    println!("{} transactions committed", fence::nothing_is_committed_behind_it([&url, &url], 10));
}

/// Users of three nodes talk and move. Gives what they know, and the means to end it.
struct Run {
    known: Arc<Known>,
    users: Vec<thread::JoinHandle<()>>,
}

impl Run {
    fn start(nodes: &[Node]) -> Self {
        let servers: Vec<SocketAddr> = nodes.iter().map(|node| node.addr).collect();
        Self::at(&servers)
    }

    /// For nodes at these addresses.
    fn at(servers: &[SocketAddr]) -> Self {
        make_friends(servers[0], &USERS);
        let known = Arc::new(Known::default());
        let others = |name: &str| USERS.into_iter().filter(|other| *other != name).collect();
        let users = USERS.map(|name| load::start(name, others(name), servers.to_vec(), ROAMING, &known)).into();
        Self { known, users }
    }

    /// Waits for this many more promises.
    #[track_caller]
    fn wait_for_promises(&self, count: usize) {
        let (until, before) = (Instant::now() + 4 * PATIENCE, self.known.promises());
        while self.known.promises() < before + count {
            let came = self.known.promises() - before;
            assert!(Instant::now() < until, "{came} of {count} promises came");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn end(self, database: &MariaDb) {
        self.known.end(self.users);
        database.wait_for_pushes(0);
        println!("{} messages were promised", self.known.promises());
    }
}

fn three(database: &MariaDb) -> [Node; 3] {
    ["a", "b", "c"].map(|name| start(&database.url(), name))
}

#[test]
fn a_killed_node_loses_no_promised_message() {
    let Some(database) = MariaDb::start() else { return };
    let mut nodes = three(&database);
    let run = Run::start(&nodes);
    run.wait_for_promises(100);
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for round in 0..rounds {
        let at = round % nodes.len();
        nodes[at].kill();
        run.wait_for_promises(50);
        if round % 2 == 1 {
            // The other nodes have fenced it meanwhile.
            thread::sleep(Duration::from_secs(4));
        }
        nodes[at].start_again();
        run.wait_for_promises(50);
    }
    run.end(&database);
}

#[test]
fn a_frozen_node_is_fenced_and_joins_again() {
    let Some(database) = MariaDb::start() else { return };
    let nodes = three(&database);
    let run = Run::start(&nodes);
    run.wait_for_promises(100);
    nodes[1].signal("-STOP");
    thread::sleep(Duration::from_secs(6));
    run.wait_for_promises(50);
    nodes[1].signal("-CONT");
    nodes[1].wait_for("another node has fenced this one");
    nodes[1].wait_for("listening on");
    run.wait_for_promises(100);
    // Only for a moment, which no node takes for its end.
    nodes[2].signal("-STOP");
    thread::sleep(Duration::from_millis(700));
    nodes[2].signal("-CONT");
    run.wait_for_promises(100);
    run.end(&database);
}

#[test]
fn nodes_survive_an_outage_of_the_database() {
    let Some(mut database) = MariaDb::start() else { return };
    let nodes = three(&database);
    let run = Run::start(&nodes);
    run.wait_for_promises(100);
    database.freeze();
    thread::sleep(Duration::from_secs(5));
    database.thaw();
    run.wait_for_promises(50);
    database.kill9();
    thread::sleep(Duration::from_secs(2));
    database.start_again();
    run.wait_for_promises(50);
    run.end(&database);
    let news = nodes.iter().flat_map(Node::news);
    let said: Vec<String> = news.filter(|line| line.contains("fenced")).collect();
    assert!(said.is_empty(), "{said:?}");
}
