//! Reports about a cluster for operators: the state of its nodes, their numbers, and their health.

use super::life::{Managed, two};
use super::make_friends;
use crate::common::{MariaDb, PATIENCE, Redis, health, wait_until};
use mysql::prelude::Queryable;
use serde_json::{Value, json};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn nodes(node: &Managed) -> Value {
    serde_json::from_str(&node.done(&["nodes", "--json"])).unwrap()
}

/// A number of a node.
#[track_caller]
fn metric(node: &Managed, sample: &str) -> f64 {
    let metrics = node.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample}:\n{metrics}")).parse().unwrap()
}

#[test]
fn each_node_reports_the_state_of_all_nodes() {
    let Some(database) = MariaDb::start() else { return };
    let [a, mut b] = two(&database);
    // Each node has seen a sign of life of the other one, and of itself, within a second or so.
    let until = Instant::now() + PATIENCE;
    let found = loop {
        let found = nodes(&a);
        let all = found["nodes"].as_array().unwrap();
        if all.len() == 2 && all.iter().all(|node| node["lease_age_ms"].as_u64().is_some_and(|age_ms| age_ms < 2_000)) {
            break found;
        }
        assert!(Instant::now() < until, "{found}");
        thread::sleep(Duration::from_millis(20));
    };
    let all = found["nodes"].as_array().unwrap();
    for (node, name) in all.iter().zip(["a", "b"]) {
        assert_eq!((&node["name"], &node["lives"], &node["this"]), (&json!(name), &json!(true), &json!(name == "a")));
        assert_eq!(node["build"], env!("CARGO_PKG_VERSION"));
    }
    assert!(a.done(&["nodes"]).contains("a (this one)"));
    b.node.signal("-TERM");
    assert_eq!(b.node.status(), Some(0));
    assert_eq!(nodes(&a)["nodes"][1]["lives"], false, "it has left, and nobody waits for its lease");
}

#[test]
fn a_database_that_hangs_leaves_room_for_requests_that_do_not_need_it() {
    let Some(database) = MariaDb::start() else { return };
    let a = Managed::start(&database.url(), "a", &["--admin-connections-max", "4"]);
    // A quarter of the places is for those who read the database themselves, and another one is
    // kept for those who do not need it.
    for (words, refused) in [(&["nodes"][..], 7), (&["user", "ann"], 5)] {
        database.freeze();
        let ask = || a.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut asking: Vec<Child> = (0..8).map(|_| ask()).collect();
        let mut ended = || asking.iter_mut().filter_map(|child| child.try_wait().unwrap()).count();
        wait_until("the requests beyond the limit are refused", || ended() == refused);
        let metrics = a.metrics();
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        assert_eq!(ended(), refused, "the others still wait");
        database.thaw();
        let said = asking.into_iter().map(|child| child.wait_with_output().unwrap().stderr);
        let said: Vec<String> = said.map(|said| String::from_utf8_lossy(&said).into_owned()).collect();
        let of_those = said.iter().filter(|said| said.contains("Too many requests"));
        assert_eq!(of_those.count(), refused, "{said:?}");
        wait_until("the database is back", || a.ask(&["user", "ann"]).1.contains("no account"));
    }
}

#[test]
fn a_node_reports_the_state_of_its_links_and_counts_their_events() {
    let (Some(database), Some(redis)) = (MariaDb::start(), Redis::start()) else { return };
    let [a, b] = ["a", "b"].map(|name| Managed::start(&database.url(), name, &["--bus", &redis.url()]));
    make_friends(a.node.addr, &["ann", "bob"]);
    let (mut ann, mut bob) = (a.node.log_in("ann"), b.node.log_in("bob"));
    ann.say("m1", "bob", "honk", "MS");
    bob.take("m1");
    wait_until("the link is up", || {
        let link = &nodes(&a)["nodes"][1]["link"];
        link["up"] == true && link["for_ms"].is_u64() && link["heard_ms_ago"].is_u64()
    });
    let found = nodes(&a);
    assert_eq!((&found["nodes"][0]["users"], &found["nodes"][0]["link"]), (&json!(1), &Value::Null));
    assert_eq!((&found["nodes"][1]["users"], &found["nodes"][1]["state"]), (&Value::Null, &json!("lives")));
    assert!(a.done(&["nodes"]).lines().any(|line| line.contains(" up ") && line.ends_with(" b")));
    assert_eq!(metric(&a, "hongyan_cluster_links_up"), 1.0);
    assert!(metric(&a, "hongyan_cluster_link_epochs_total") >= 1.0);
    assert!(metric(&a, "hongyan_cluster_looks_sent_total") >= 1.0);
    assert!(metric(&b, "hongyan_cluster_looks_received_total") >= 1.0);
    let lag = "hongyan_cluster_link_epochs_ended_total{cause=\"unconfirmed\"}";
    let before = metric(&a, lag);
    b.node.signal("-STOP");
    ann.send(&ann.message("m2", "bob", "honk"));
    wait_until("the link is down", || metric(&a, lag) > before);
    wait_until("it is fenced", || metric(&a, "hongyan_cluster_fences_total") == 1.0);
    assert_eq!(nodes(&a)["nodes"][1]["state"], "fenced");
    b.node.signal("-CONT");
    b.node.wait_for("another node has fenced this one");
    b.node.wait_for("listening on");
    assert_eq!(metric(&b, "hongyan_cluster_fenced_total"), 1.0);
    // Bob logs in on the other node: no node had to release Bob.
    let mut bob = a.node.log_in("bob");
    bob.take("m2");
    assert!(metric(&a, "hongyan_cluster_claims_ended_total{by=\"fenced\"}") >= 1.0);
}

#[test]
fn an_operator_is_told_on_which_node_a_user_is_and_which_node_speaks() {
    let Some(database) = MariaDb::start() else { return };
    let [a, b] = two(&database);
    make_friends(a.node.addr, &["ann", "bob"]);
    let ann = b.node.log_in("ann");
    let said = a.done(&["user", "ann"]);
    assert!(said.contains("online on node b (2) since") && !said.contains("not online"), "{said}");
    assert!(b.done(&["user", "ann"]).contains("online since"));
    // The connections of those who made friends end a moment later.
    let nobody = "0 online on this node, a (1); ask the others for theirs\n";
    wait_until("nobody is online", || a.done(&["users"]) == nobody);
    let value: Value = serde_json::from_str(&b.done(&["users", "--json"])).unwrap();
    assert_eq!(
        (&value["node"], &value["node_name"], &value["users"][0]["name"]),
        (&json!(2), &json!("b"), &json!("ann"))
    );
    assert!(a.ask(&["where", "ann", "m1"]).1.contains("ann was on node b (2) last: ask that one"));
    drop(ann);
    wait_until("ann is gone", || a.done(&["user", "ann"]).contains("not online; on node b (2) last"));
}

#[test]
fn records_that_a_node_does_not_read_grow_old_in_its_inbox() {
    let Some(database) = MariaDb::start() else { return };
    let [a, _b] = two(&database);
    // To a node that has never begun a life.
    let mut root = database.root();
    root.query_drop(
        "INSERT INTO geese.nodes (node, name, epoch, renewed, hlc_limit, build) VALUES (7, 'x', 0, 0, 0, '')",
    )
    .unwrap();
    root.query_drop("INSERT INTO geese.mail (node, record) VALUES (7, ''), (7, '')").unwrap();
    wait_until("it is old", || {
        let found = nodes(&a);
        let there = &found["nodes"][2];
        there["inbox_records"] == 2 && there["inbox_age_ms"].as_u64().is_some_and(|age_ms| age_ms > 500)
    });
    assert_eq!(
        (&nodes(&a)["nodes"][2]["state"], metric(&a, "hongyan_cluster_inbox_age_seconds") < 60.0),
        (&json!("gone"), true)
    );
    root.query_drop("DELETE FROM geese.mail WHERE node = 7").unwrap();
    wait_until("it is read", || nodes(&a)["nodes"][2]["inbox_age_ms"].is_null());
}

#[test]
fn a_node_whose_lease_runs_out_says_so_until_it_is_renewed() {
    let Some(database) = MariaDb::start() else { return };
    let a = Managed::start(&database.url(), "a", &[]);
    assert!(health(a.node.addr).ends_with("ok\n"));
    // Its row is locked, and everything else works. Nobody is there who would fence it.
    let mut root = database.root();
    root.query_drop("START TRANSACTION").unwrap();
    root.query_drop("SELECT * FROM geese.nodes WHERE name = 'a' FOR UPDATE").unwrap();
    wait_until("the lease has run out", || health(a.node.addr).ends_with("\r\n\r\nlease\n"));
    assert!(a.ask(&["status"]).1.contains("not ready: lease"));
    assert!(metric(&a, "hongyan_cluster_lease_age_seconds") >= 2.0);
    // The wait for the lock ends after a second at the earliest, which can be after the lease.
    wait_until("a renewal has failed", || metric(&a, "hongyan_cluster_lease_failures_total") >= 1.0);
    root.query_drop("ROLLBACK").unwrap();
    wait_until("it is renewed", || health(a.node.addr).ends_with("ok\n"));
}

#[test]
fn the_alerts_and_the_page_of_operators_name_the_metrics_that_a_node_has() {
    let (Some(database), Some(redis)) = (MariaDb::start(), Redis::start()) else { return };
    let node = Managed::start(&database.url(), "a", &["--bus", &redis.url()]);
    let metrics = node.metrics();
    let rules = include_str!("../../packaging/prometheus/hongyan.cluster.rules.yml");
    let words = rules.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let names: Vec<&str> = words.filter(|word| word.starts_with("hongyan_")).collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        assert!(metrics.lines().any(|line| line.starts_with(name)), "there is no {name}:\n{metrics}");
    }
    let page = include_str!("../../docs/operations.md");
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE hongyan_cluster_"));
    for family in families.filter_map(|line| line.split(' ').next()) {
        assert!(
            page.contains(&format!("hongyan_cluster_{family}")),
            "docs/operations.md does not say what {family} is"
        );
    }
}
