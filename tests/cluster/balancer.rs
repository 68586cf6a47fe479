//! Two nodes behind HAProxy with the configuration of docs/cluster.md: one is drained, frozen or
//! killed.

use super::life::Managed;
use crate::common::{Client, ContentForm, HaProxy, MariaDb, PATIENCE, Transport};
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than HAProxy takes to find that a check fails: two checks, one a second.
const DRAIN: &str = "5s";
const NAMES: [&str; 20] = [
    "u00", "u01", "u02", "u03", "u04", "u05", "u06", "u07", "u08", "u09", "u10", "u11", "u12", "u13", "u14", "u15",
    "u16", "u17", "u18", "u19",
];

/// HAProxy and both nodes, and their users, who have logged in through it.
struct Balanced {
    proxy: HaProxy,
    a: Managed,
    _b: Managed,
    on_a: Vec<(&'static str, Client)>,
    on_b: Vec<Client>,
    _database: MariaDb,
}

impl Balanced {
    /// `None` without MariaDB or HAProxy.
    fn start() -> Option<Self> {
        let database = MariaDb::start()?;
        let more = ["--drain", DRAIN, "--trusted-proxies", "127.0.0.1"];
        let [a, b] = ["a", "b"].map(|name| Managed::start(&database.url(), name, &more));
        let page = include_str!("../../docs/cluster.md");
        let servers = [("10.0.0.5:1102", a.node.addr), ("10.0.0.6:1102", b.node.addr)];
        let proxy = HaProxy::start(page, "### The load balancer", &servers)?;
        proxy.wait_for_servers(2);
        NAMES.into_iter().for_each(|name| b.node.client().sign_up(name));
        let users = NAMES.map(|name| (name, log_in(&proxy, name)));
        let said = a.done(&["users"]);
        let is_on_a = |name: &str| said.lines().any(|line| line.ends_with(&format!(" {name}")));
        let (on_a, on_b): (Vec<_>, Vec<_>) = users.into_iter().partition(|(name, _)| is_on_a(name));
        // HAProxy distributes them by the number of connections.
        assert!(on_a.len() >= 5 && on_b.len() >= 5, "the users of a: {said}");
        let on_b = on_b.into_iter().map(|(_, user)| user).collect();
        Some(Self { proxy, a, _b: b, on_a, on_b, _database: database })
    }

    /// The connections to the node that has failed are closed, the others stay, and all users log
    /// in on the other node.
    fn expect_connections_of_a_closed(&mut self) {
        for (name, mut user) in self.on_a.drain(..) {
            user.expect_closed();
            log_in(&self.proxy, name).fence();
        }
        self.on_b.iter_mut().for_each(Client::fence);
    }
}

/// Until its next check, HAProxy leads clients to a node that has failed or is being drained.
fn log_in(proxy: &HaProxy, name: &str) -> Client {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut client = Client::connect(proxy.addr, Transport::Raw, ContentForm::Text);
        let content = json!({"PASS": "secret", "USER": name}).to_string();
        client.send(&json!({"MID": "l", "CONTENT": content, "TYPE": "2"}).to_string());
        if client.next().is_some_and(|answer| answer.contains("LS")) {
            return client;
        }
        assert!(Instant::now() < until, "{name} cannot log in");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn behind_haproxy_each_user_of_a_drained_node_is_told_that_it_shuts_down() {
    let Some(mut all) = Balanced::start() else { return };
    all.a.done(&["drain"]);
    for (name, mut user) in all.on_a.drain(..) {
        user.expect_error("", "SHUTTING_DOWN");
        user.expect_closed();
        log_in(&all.proxy, name).fence();
    }
    assert_eq!(all.a.node.status(), Some(0));
    all.on_b.iter_mut().for_each(Client::fence);
}

#[test]
fn haproxy_closes_the_connections_to_a_frozen_node() {
    let Some(mut all) = Balanced::start() else { return };
    all.a.node.signal("-STOP");
    all.expect_connections_of_a_closed();
    all.a.node.signal("-CONT");
}

#[test]
fn haproxy_closes_the_connections_to_a_frozen_node_that_was_being_drained() {
    let Some(mut all) = Balanced::start() else { return };
    all.a.done(&["drain"]);
    all.a.node.signal("-STOP");
    for (name, mut user) in all.on_a.drain(..) {
        // Some were told of the drain before the node was frozen.
        while user.next().is_some() {}
        log_in(&all.proxy, name).fence();
    }
    all.on_b.iter_mut().for_each(Client::fence);
    all.a.node.signal("-CONT");
}

#[test]
fn behind_haproxy_the_users_of_a_killed_node_log_in_on_the_other_one() {
    let Some(mut all) = Balanced::start() else { return };
    all.a.node.kill();
    all.expect_connections_of_a_closed();
}
