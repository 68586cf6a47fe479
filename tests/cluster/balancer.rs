//! A drain behind HAProxy with the configuration of docs/cluster.md.

use super::life::Managed;
use super::make_friends;
use crate::common::haproxy::HaProxy;
use crate::common::{Client, ContentForm, MariaDb, Transport};

/// Longer than HAProxy takes to find that a check fails: two checks, one a second.
const DRAIN: &str = "5s";

#[test]
fn behind_haproxy_each_user_of_a_drained_node_is_told_that_it_shuts_down() {
    let Some(database) = MariaDb::start() else { return };
    let more = ["--drain", DRAIN, "--trusted-proxies", "127.0.0.1"];
    let mut a = Managed::start(&database.url(), "a", &more);
    let b = Managed::start(&database.url(), "b", &more);
    let page = include_str!("../../docs/cluster.md");
    let servers = [("10.0.0.5:1102", a.node.addr), ("10.0.0.6:1102", b.node.addr)];
    let Some(proxy) = HaProxy::start(page, "### The load balancer", &servers) else { return };
    proxy.wait_for_servers(2);
    let names: Vec<String> = (0..20).map(|number| format!("u{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    make_friends(b.node.addr, &names);
    let log_in = |name: &str| {
        let mut client = Client::connect(proxy.addr, Transport::Raw, ContentForm::Text);
        client.log_in(name);
        client
    };
    let mut users: Vec<Client> = names.iter().map(|name| log_in(name)).collect();
    let on_a = a.done(&["users"]);
    a.done(&["drain"]);
    // HAProxy distributes them by the number of connections: half are on the other node, and stay.
    let mut told = 0;
    let mut stay = Vec::new();
    for (name, mut user) in names.iter().zip(users.drain(..)) {
        if on_a.lines().any(|line| line.ends_with(&format!(" {name}"))) {
            user.expect_error("", "SHUTTING_DOWN");
            user.expect_closed();
            let mut again = log_in(name);
            again.fence();
            told += 1;
        } else {
            stay.push(user);
        }
    }
    assert!(told >= 5, "{told} users were on the drained node: {on_a}");
    assert_eq!(a.node.status(), Some(0));
    for mut user in stay {
        user.fence();
    }
}
