//! A rolling upgrade, with two builds: this one, and the next one, whose tables and frames are one
//! version newer (the feature `next-build`).

use super::life::Managed;
use super::make_friends;
use crate::Run;
use crate::common::{MariaDb, PATIENCE, Redis};
use hongyan::versions::{COMPATIBLE, FRAME_MAX, SCHEMA};
use mysql::prelude::Queryable;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

const THIS: &str = env!("CARGO_BIN_EXE_hongyan");
const NEXT_SCHEMA: usize = SCHEMA + 1;
const NEXT_FRAMES: u16 = FRAME_MAX + 1;

/// The program of the next build. The test builds it, unless HONGYAN_TEST_NEXT_BUILD names one.
fn next() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = std::env::var("HONGYAN_TEST_NEXT_BUILD").unwrap_or_else(|_| build_next());
        let said = Command::new(&program).arg("--version").output().unwrap();
        let versions = format!("(schema {NEXT_SCHEMA}, frames 1-{NEXT_FRAMES})");
        assert!(String::from_utf8(said.stdout).unwrap().contains(&versions), "{program} is not the next build");
        program
    })
}

/// In a folder of its own, because the program of this build must not be replaced.
fn build_next() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = root.join("target/next-build");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = ["build", "--locked", "--quiet", "--bin", "hongyan", "--features", "client,next-build", "--target-dir"];
    let built = Command::new(cargo).args(args).arg(&target).current_dir(root).status().unwrap();
    assert!(built.success(), "the next build cannot be built");
    target.join("debug/hongyan").to_str().unwrap().to_owned()
}

/// Asks a node for the state of the cluster.
fn cluster(node: &Managed) -> Value {
    serde_json::from_str(&node.done(&["nodes", "--json"])).unwrap()
}

/// Waits until the nodes speak this version.
#[track_caller]
fn wait_for_frames(node: &Managed, version: u16) {
    let until = Instant::now() + PATIENCE;
    while cluster(node)["frame_version"] != version {
        assert!(Instant::now() < until, "{}", cluster(node));
        thread::sleep(Duration::from_millis(50));
    }
}

/// How a node is stopped.
#[derive(Clone, Copy)]
enum Stop {
    /// SIGTERM, which closes all connections at once.
    Signal,
    /// `hongyan admin drain --wait`, as docs/cluster.md advises.
    Drain,
}

/// Another build takes the place of a node that is stopped.
fn replace(node: &mut Managed, program: &str, stop: Stop) {
    match stop {
        Stop::Signal => node.node.signal("-TERM"),
        Stop::Drain => {
            let said = node.done(&["drain", "--wait"]);
            assert!(said.contains("the server has stopped"), "{said}");
        }
    }
    assert_eq!(node.node.status(), Some(0));
    node.node.start_by(program);
}

/// Two users talk in both directions, each on a node of their own.
fn talk(round: usize, one: &Managed, other: &Managed) {
    let (mut fay, mut gus) = (one.node.log_in("fay"), other.node.log_in("gus"));
    for number in 0..5 {
        fay.say(&format!("f{round}-{number}"), "gus", "honk", "MS");
        gus.take(&format!("f{round}-{number}"));
        gus.say(&format!("g{round}-{number}"), "fay", "honk", "MS");
        fay.take(&format!("g{round}-{number}"));
    }
    fay.fence();
    gus.fence();
}

fn versions(database: &MariaDb) -> (usize, usize) {
    database.root().query_first("SELECT version, compatible FROM schema_version").unwrap().unwrap()
}

/// Users talk all the time. The nodes are replaced one by one by those of the next build, and back.
fn upgrade_and_go_back(database: &MariaDb, stop: Stop, more: &[&str]) {
    let mut nodes = ["a", "b", "c"].map(|name| Managed::start(&database.url(), name, more));
    make_friends(nodes[0].node.addr, &["fay", "gus"]);
    let run = Run::at(&nodes.each_ref().map(|node| node.node.addr));
    run.wait_for_promises(100);
    assert_eq!(versions(database), (SCHEMA, COMPATIBLE));
    for (at, others) in [[1, 2], [2, 0], [0, 1]].into_iter().enumerate() {
        replace(&mut nodes[at], next(), stop);
        run.wait_for_promises(50);
        assert_eq!(versions(database), (NEXT_SCHEMA, COMPATIBLE), "the first one has expanded it");
        if at < 2 {
            wait_for_frames(&nodes[at], FRAME_MAX);
        }
        talk(at, &nodes[at], &nodes[others[0]]);
        talk(at + 3, &nodes[others[1]], &nodes[at]);
    }
    // The last node of this build is gone: the others change their version without a restart.
    nodes.iter().for_each(|node| wait_for_frames(node, NEXT_FRAMES));
    talk(6, &nodes[0], &nodes[1]);
    run.wait_for_promises(50);
    // Back: a node of this build on the tables of the next one.
    replace(&mut nodes[2], THIS, stop);
    let newer = format!("those of a newer hongyan (schema {NEXT_SCHEMA}, this one knows {SCHEMA})");
    let logged = &nodes[2].node.started_with;
    assert!(logged.iter().any(|line| line.contains(&newer)), "{logged:?}");
    nodes.iter().for_each(|node| wait_for_frames(node, FRAME_MAX));
    assert_eq!(versions(database), (NEXT_SCHEMA, COMPATIBLE));
    talk(7, &nodes[2], &nodes[1]);
    run.wait_for_promises(50);
    // It is killed: after its fence it does not count any more.
    nodes[2].node.kill();
    nodes[..2].iter().for_each(|node| wait_for_frames(node, NEXT_FRAMES));
    run.wait_for_promises(50);
    nodes[2].node.start_by(THIS);
    replace(&mut nodes[0], THIS, stop);
    replace(&mut nodes[1], THIS, stop);
    talk(8, &nodes[0], &nodes[1]);
    run.wait_for_promises(50);
    run.end(database);
}

#[test]
fn nodes_are_upgraded_and_downgraded_one_by_one() {
    let Some(database) = MariaDb::start() else { return };
    upgrade_and_go_back(&database, Stop::Signal, &[]);
}

#[test]
fn nodes_with_a_bus_are_drained_and_upgraded_and_downgraded_one_by_one() {
    let (Some(database), Some(redis)) = (MariaDb::start(), Redis::start()) else { return };
    upgrade_and_go_back(&database, Stop::Drain, &["--bus", &redis.url(), "--drain", "1s"]);
}
