//! The name of the database leads to another server, and the old one only reads. Nobody ends the
//! connections to the old one: the server itself does, also those that are for signs of life or
//! only read.

use super::proxies::moving_proxy;
use crate::common::{ContentForm, MariaDb, Node, befriend, envelope, health, wait_until};
use crate::{Deployment, config};
use hongyan::store::StoreConnection;
use hongyan::store::mysql::MysqlConnector;
use mysql::prelude::Queryable;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// A database, the port to which its address leads, and the value of `--store` for that address.
fn movable() -> Option<(MariaDb, Arc<AtomicU16>, String)> {
    let first = MariaDb::start()?;
    let target = Arc::new(AtomicU16::new(first.port()));
    let store = first.url_by_way_of(moving_proxy(&target));
    Some((first, target, store))
}

fn number(database: &MariaDb, sql: &str) -> u64 {
    database.root().query_first(sql).unwrap().unwrap_or_default()
}

#[test]
fn a_node_lives_where_the_database_takes_writes() {
    let Some((mut first, target, store)) = movable() else { return };
    let _node = Node::start(&["--store", &store, "--node-name", "a"]);
    let second = first.replica();
    let signs = |database: &MariaDb| number(database, "SELECT renewed FROM nodes");
    let before = signs(&second);
    wait_until("the node works on the first one again", || signs(&first) > before + 1);
    first.set_read_only(true);
    target.store(second.port(), Ordering::SeqCst);
    wait_until("the node lives on the second one", || signs(&second) > before + 1);
}

#[test]
fn an_idle_server_shows_that_it_is_active_where_the_database_takes_writes() {
    let Some((mut first, target, store)) = movable() else { return };
    let mut config = config(store);
    // Several would probe the store at different times.
    config.data_threads = 1;
    let mut deployment = Deployment::new(config);
    first.wait_for_pushes(0);
    let second = first.replica();
    deployment.heals();
    first.wait_for_pushes(0);
    let signs = |database: &MariaDb| number(database, "SELECT n FROM lanes WHERE node = 0 AND lane = 0");
    let writes =
        |database: &MariaDb| number(database, "SELECT CAST(SUM(n) AS UNSIGNED) FROM lanes WHERE node = 0 AND lane > 0");
    let before = (signs(&second), writes(&second));
    first.set_read_only(true);
    target.store(second.port(), Ordering::SeqCst);
    wait_until("it gives signs of life on the second one", || signs(&second) > before.0);
    // Its worker would find the second one only when it probes the store, 5 s after a job.
    assert_eq!(writes(&second), before.1, "the worker has moved first");
}

#[test]
fn a_node_does_not_read_where_the_database_takes_no_writes() {
    let Some((mut first, target, store)) = movable() else { return };
    let start = |name| Node::start(&["--store", &store, "--node-name", name, "--data-threads", "1"]);
    let (a, b) = (start("a"), start("b"));
    let (mut ann, mut bob) = (a.user("ann"), a.user("bob"));
    befriend(&mut ann, &mut bob);
    drop(bob);
    let mut bob = b.log_in("bob");
    let second = first.replica();
    ann.say_until_taken("m1", "bob", "honk");
    bob.take("m1");
    first.wait_for_pushes(0);
    first.set_read_only(true);
    target.store(second.port(), Ordering::SeqCst);
    // The worker of the node b only reads now, so no write tells it that its server is the old one.
    ann.say_until_taken("m2", "bob", "honk");
    bob.take("m2");
}

/// Of a server that uses the database alone. One of its workers may only read for a long time, and
/// must not read on the old primary what another one has changed on the new one.
#[test]
fn a_connection_does_not_read_where_its_server_does_not_write() {
    let Some((mut first, target, store)) = movable() else { return };
    let server = MysqlConnector::new(&store).unwrap();
    // It makes the tables.
    drop(server.connect().unwrap());
    let second = first.replica();
    let (mut reader, mut writer) = (server.connect().unwrap(), server.connect().unwrap());
    reader.begin_reads().unwrap();
    first.set_read_only(true);
    target.store(second.port(), Ordering::SeqCst);
    wait_until("one connection writes on the second one", || {
        if writer.begin().is_ok() {
            return true;
        }
        writer.rollback();
        if writer.is_broken() {
            writer = server.connect().unwrap();
        }
        false
    });
    assert!(reader.begin_reads().is_err(), "it reads on the first one");
    assert!(reader.is_broken(), "it is opened again");
    server.connect().unwrap().begin_reads().unwrap();
}

/// Tries a log-in, and waits until the node has found that its database does not work.
fn log_in_in_vain(node: &Node, name: &str) {
    node.news();
    let words = json!({"USER": name, "PASS": "secret"});
    node.client().send(&envelope(ContentForm::Text, "2", Some("login"), &words));
    node.wait_for("the store does not work");
}

#[test]
fn a_node_that_has_met_older_data_for_a_moment_works_on() {
    let Some((mut first, target, store)) = movable() else { return };
    let start = |name| Node::start(&["--store", &store, "--node-name", name]);
    let (a, mut b) = (start("a"), start("b"));
    let (mut ann, mut bob) = (a.user("ann"), a.user("bob"));
    befriend(&mut ann, &mut bob);
    first.wait_for_pushes(0);
    // A copy from the time of the former life of the second node.
    let second = first.replica();
    b.kill();
    b.start_again();
    drop(b.user("cat"));
    drop(bob);
    let mut bob = b.log_in("bob");
    for (id, is_read_only) in [("m1", true), ("m2", false)] {
        second.set_read_only(is_read_only);
        target.store(second.port(), Ordering::SeqCst);
        first.kill_connections();
        log_in_in_vain(&b, "cat");
        target.store(first.port(), Ordering::SeqCst);
        second.kill_connections();
        wait_until("both nodes work", || [&a, &b].iter().all(|node| health(node.addr).ends_with("ok\n")));
        ann.say_until_taken(id, "bob", "honk");
        bob.take(id);
    }
}
