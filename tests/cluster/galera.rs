//! Nodes on both servers of a Galera pair. `tests/on_galera` starts the pair and runs these tests
//! in the order of their names: the last one kills a server.

use super::fence;
use crate::common::PATIENCE;
use crate::common::store::message;
use crate::{Run, start};
use hongyan::store::StoreConnection;
use hongyan::store::mysql::NodeDatabase;
use mysql::prelude::Queryable;
use mysql::{Conn, Opts};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(20);

/// A connection of the test's own.
fn connect(url: &str) -> Conn {
    Conn::new(Opts::from_url(url).unwrap()).unwrap()
}

/// A new database on a pair of Galera servers: its URLs by way of each. `tests/on_galera` starts
/// the pair and names both servers in HONGYAN_TEST_GALERA. `None`: there is none.
fn on_galera(database: &str) -> Option<[String; 2]> {
    let Ok(pair) = std::env::var("HONGYAN_TEST_GALERA") else {
        eprintln!("HONGYAN_TEST_GALERA is not set: not tested on Galera here, tests/on_galera does it");
        return None;
    };
    let (one, other) = pair.split_once(' ').unwrap();
    let servers = [one, other].map(|place| format!("mysql://hongyan:secret@{place}"));
    let mut admin = connect(&servers[0]);
    admin.query_drop(format!("DROP DATABASE IF EXISTS {database}")).unwrap();
    admin.query_drop(format!("CREATE DATABASE {database}")).unwrap();
    Some(servers.map(|server| format!("{server}/{database}")))
}

/// The second server applies what the first one has committed, but later. A node there that is told
/// to look, and looks too early, would not look again.
#[test]
fn a_read_on_a_galera_pair_sees_what_the_other_server_has_committed() {
    let Some(urls) = on_galera("nodes_reads") else { return };
    let [mut taker, mut owner] = [("taker", &urls[0]), ("owner", &urls[1])].map(|(name, url)| {
        let node = fence::retried(|| NodeDatabase::join(url, name));
        fence::retried(|| node.connect())
    });
    let mut admin = connect(&urls[1]);
    // It waits for running transactions, and stops the application of those of the other server.
    admin.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
    taker.begin().unwrap();
    taker.save_pushes(&[message(1, "ann", "bob", "m1")]).unwrap();
    taker.commit().unwrap();
    assert_eq!(admin.query_first::<u64, _>("SELECT COUNT(*) FROM pushes").unwrap(), Some(0), "it is applied already");
    let mut found = Vec::new();
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut found = Vec::new();
            let note = &mut |_: usize, seq: u64, _: &str, _: u64| found.push(seq);
            owner.waiting_pushes(&[("bob", 0)], 10, note).unwrap();
            found
        });
        let waits = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%FROM pushes%' AND id <> CONNECTION_ID()";
        let until = Instant::now() + PATIENCE;
        while !reader.is_finished() && admin.query_first::<u64, _>(waits).unwrap() != Some(1) {
            assert!(Instant::now() < until, "nobody reads");
            thread::sleep(TICK);
        }
        admin.query_drop("UNLOCK TABLES").unwrap();
        found = reader.join().unwrap();
    });
    assert_eq!(found, [1]);
}

#[test]
fn nodes_write_to_both_servers_of_a_galera_pair() {
    let Some(urls) = on_galera("nodes_fence") else { return };
    let rounds = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let promised = fence::nothing_is_committed_behind_it([&urls[0], &urls[1]], rounds);
    println!("{rounds} rounds, {promised} transactions committed, none behind the fence");
    let urls = on_galera("nodes").unwrap();
    let mut nodes = [start(&urls[0], "a"), start(&urls[1], "b"), start(&urls[0], "c")];
    let run = Run::start(&nodes);
    run.wait_for_promises(200);
    for at in [0, 1] {
        nodes[at].kill();
        run.wait_for_promises(50);
        nodes[at].start_again();
        run.wait_for_promises(50);
    }
    nodes[1].signal("-STOP");
    thread::sleep(Duration::from_secs(6));
    nodes[1].signal("-CONT");
    nodes[1].wait_for("another node has fenced this one");
    run.wait_for_promises(100);
    run.known.end(run.users);
}

/// The last test on the pair: one of its servers stays away.
#[test]
fn users_survive_the_loss_of_a_server_of_a_galera_pair() {
    let Some(urls) = on_galera("nodes_kill") else { return };
    let process = std::env::var("HONGYAN_TEST_GALERA_PID").expect("tests/on_galera names the first server");
    let mut nodes = [start(&urls[0], "a"), start(&urls[1], "b"), start(&urls[0], "c")];
    let run = Run::start(&nodes);
    run.wait_for_promises(200);
    assert!(Command::new("kill").args(["-KILL", &process]).status().unwrap().success());
    let since = Instant::now();
    // The supervisor starts them with the address of the server that is left.
    for at in [0, 2] {
        nodes[at].kill();
        nodes[at].start_with(&urls[0], &urls[1]);
        println!("the node {at} is back after {:?}", since.elapsed());
    }
    run.wait_for_promises(200);
    println!("200 more promises after {:?}", since.elapsed());
    run.known.end(run.users);
    let mut left = connect(&urls[1]);
    let until = Instant::now() + PATIENCE;
    while left.query_first::<u64, _>("SELECT COUNT(*) FROM pushes").unwrap() != Some(0) {
        assert!(Instant::now() < until, "acked messages are not deleted");
        thread::sleep(Duration::from_millis(50));
    }
}
