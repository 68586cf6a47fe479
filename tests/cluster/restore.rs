//! A dump of a cluster is restored, as docs/operations.md says.

use super::life::Managed;
use super::make_friends;
use crate::common::MariaDb;
use mysql::prelude::Queryable;
use serde_json::Value;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program of MariaDB, as its administrator.
fn administer(database: &MariaDb, program: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--no-defaults", "-uroot"]).arg(format!("--socket={}", database.socket().display()));
    command
}

fn dump(database: &MariaDb, name: &str, into: &Path) {
    let args = ["--single-transaction", "--hex-blob", "--no-tablespaces", "--default-character-set=utf8mb4", name];
    let mut dump = administer(database, "mariadb-dump");
    assert!(dump.args(args).stdout(File::create(into).unwrap()).status().unwrap().success());
}

fn restore(database: &MariaDb, name: &str, from: &Path) {
    database.root().query_drop(format!("DROP DATABASE {name}; CREATE DATABASE {name}")).unwrap();
    let mut mariadb = administer(database, "mariadb");
    let text = Stdio::from(File::open(from).unwrap());
    assert!(mariadb.args(["--default-character-set=utf8mb4", name]).stdin(text).status().unwrap().success());
}

#[test]
fn a_dump_of_nodes_that_live_is_restored_and_needs_nothing_else() {
    let Some(database) = MariaDb::start() else { return };
    let name: String = database.root().query_first("SELECT DATABASE()").unwrap().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut nodes = ["a", "b", "c"].map(|name| Managed::start(&database.url(), name, &[]));
    make_friends(nodes[0].node.addr, &["ann", "bob", "cid"]);
    let mut ann = nodes[0].node.log_in("ann");
    drop(nodes[1].node.log_in("bob"));
    let mut cid = nodes[2].node.log_in("cid");
    ann.say("m1", "bob", "bob is away", "MS");
    ann.say("m2", "cid", "cid does not ack", "MS");
    cid.expect_push("4", "m2");
    dump(&database, &name, file.path());
    // Messages after the dump are lost.
    ann.say("m3", "bob", "late", "MS");
    // Some lives that the dump does not know.
    nodes.iter_mut().for_each(|one| one.node.kill());
    nodes[0].node.start_again();
    nodes[0].node.kill();
    restore(&database, &name, file.path());
    // Nobody starts c again.
    nodes[..2].iter_mut().for_each(|one| one.node.start_again());
    let (mut bob, mut cid) = (nodes[0].node.log_in("bob"), nodes[1].node.log_in("cid"));
    let mut ann = nodes[1].node.log_in("ann");
    bob.take("m1");
    cid.take("m2");
    for number in 0..5 {
        ann.say(&format!("n{number}"), "bob", "honk", "MS");
        bob.take(&format!("n{number}"));
        bob.say(&format!("o{number}"), "ann", "honk", "MS");
        ann.take(&format!("o{number}"));
    }
    assert_eq!(nodes[0].done(&["forget-node", "c"]), "the node c is forgotten; 0 users were on it last\n");
    let left = serde_json::from_str::<Value>(&nodes[0].done(&["nodes", "--json"])).unwrap();
    assert_eq!(left["nodes"].as_array().unwrap().len(), 2, "{left}");
    database.wait_for_pushes_awake(0, [&mut ann, &mut bob, &mut cid]);
}
