//! How the nodes of a cluster are: as JSON, and as lines of text.

use super::escape::printable;
use super::http::AdminHttpResponse;
use super::json_values::{number, text};
use crate::bus::BusFigures;
use crate::chat::contract::NodeLinkReport;
use crate::net::admin::{ClusterMembers, NodeLiveness, NodeStatusReport};
use serde_json::{Value, json};
use std::time::Duration;

/// The nodes as the database has them; of the node that was asked its links, bus and users as well.
pub(super) fn answer(
    members: &ClusterMembers,
    links: &[NodeLinkReport],
    bus: Option<&BusFigures>,
    users: usize,
) -> AdminHttpResponse {
    let node = |member: &NodeStatusReport| {
        let link = links.iter().find(|link| (link.peer.node.get(), link.peer.epoch) == (member.node, member.epoch));
        json!({
            "node": member.node,
            "name": member.name,
            "this": member.is_asked_node,
            "state": match member.state {
                NodeLiveness::Lives => "lives",
                NodeLiveness::Draining => "draining",
                NodeLiveness::Silent => "silent",
                NodeLiveness::Stopped => "stopped",
                NodeLiveness::Fenced => "fenced",
                NodeLiveness::Gone => "gone",
            },
            "lives": member.state.is_alive(),
            "epoch": member.epoch,
            "lease_age_ms": member.lease_age.map(ms),
            "build": member.build,
            "frame_version_max": member.frame_max,
            "inbox_records": member.inbox_records,
            "inbox_age_ms": member.inbox_age.map(ms),
            "users": member.is_asked_node.then_some(users),
            "link": link.map(link_value),
        })
    };
    let nodes: Vec<Value> = members.nodes.iter().map(node).collect();
    let (view, schema, frame_version) = (members.view, members.schema, members.frame_version);
    let bus = bus.map(|bus| {
        let working = bus.instances.iter().filter(|instance| instance.is_up).count();
        json!({"instances": bus.instances.len(), "working": working})
    });
    let value = json!({"view": view, "schema": schema, "frame_version": frame_version, "bus": bus, "nodes": nodes});
    AdminHttpResponse::json(200, &value)
}

fn link_value(link: &NodeLinkReport) -> Value {
    json!({
        "up": link.is_up,
        "for_ms": link.state_age_ms,
        "unconfirmed_batches": link.unconfirmed_batches,
        "unconfirmed_bytes": link.unconfirmed_bytes,
        "lag_ms": link.lag_ms,
        "heard_ms_ago": link.last_frame_ms_ago,
    })
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A time in seconds; `-` if there is none.
fn seconds(ms: &Value) -> String {
    ms.as_u64().map_or_else(|| "-".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1e3))
}

/// The answer as a table of the nodes, and one of the links.
pub(super) fn show(value: &Value) -> String {
    let nodes = value["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut shown = format!(
        "{:>6} {:<8} {:>5} {:>10} {:>6} {:>8} {:>6} {:<9} {:>5} name\n",
        "number", "state", "epoch", "lease age", "inbox", "oldest", "users", "build", "frame"
    );
    for node in nodes {
        // A server of an earlier version says only whether a node lives.
        let state = match (node["state"].as_str(), node["lives"].as_bool()) {
            (Some(state), _) => printable(state),
            (None, Some(true)) => "lives".to_owned(),
            (None, _) => "gone".to_owned(),
        };
        let this = if node["this"].as_bool() == Some(true) { " (this one)" } else { "" };
        let users = node["users"].as_u64().map_or_else(|| "-".to_owned(), |users| users.to_string());
        let [at, epoch, inbox, frame] =
            ["node", "epoch", "inbox_records", "frame_version_max"].map(|key| number(&node[key]));
        let [lease, oldest] = ["lease_age_ms", "inbox_age_ms"].map(|key| seconds(&node[key]));
        shown += &format!(
            "{at:>6} {state:<8} {epoch:>5} {lease:>10} {inbox:>6} {oldest:>8} {users:>6} {:<9} {frame:>5} {}{this}\n",
            text(&node["build"]),
            text(&node["name"])
        );
    }
    let [view, schema, frame] = ["view", "schema", "frame_version"].map(|key| number(&value[key]));
    let bus = match (value["bus"]["working"].as_u64(), value["bus"]["instances"].as_u64()) {
        (Some(working), Some(all)) => format!("{working} of {all} instances work for this node"),
        _ => "none".to_owned(),
    };
    shown += &format!("view {view}, schema {schema}, frames of version {frame}; bus: {bus}\n");
    let linked: Vec<&Value> = nodes.iter().filter(|node| node["link"].is_object()).collect();
    if !linked.is_empty() {
        shown += &format!(
            "\n{:>4} {:<4} {:>10} {:>11} {:>7} {:>7} {:>10} name\n",
            "link", "", "for", "unconfirmed", "batches", "lag", "heard ago"
        );
    }
    for node in linked {
        let link = &node["link"];
        let up = if link["up"].as_bool() == Some(true) { "up" } else { "down" };
        let lag = link["lag_ms"].as_u64().map_or_else(|| "-".to_owned(), |lag| format!("{lag} ms"));
        let [at, bytes, batches] =
            [&node["node"], &link["unconfirmed_bytes"], &link["unconfirmed_batches"]].map(number);
        let [since, heard] = ["for_ms", "heard_ms_ago"].map(|key| seconds(&link[key]));
        shown += &format!(
            "{at:>4} {up:<4} {since:>10} {bytes:>9} B {batches:>7} {lag:>7} {heard:>10} {}\n",
            text(&node["name"])
        );
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::figures::RedisInstanceFigures;
    use crate::chat::contract::{NodeId, NodeIncarnation};

    fn member(node: u16, name: &str, state: NodeLiveness) -> NodeStatusReport {
        NodeStatusReport {
            node,
            name: name.into(),
            is_asked_node: node == 1,
            state,
            epoch: 3,
            lease_age: Some(Duration::from_millis(400)),
            build: "1.0".into(),
            frame_max: 4,
            inbox_records: 7,
            inbox_age: (node == 2).then_some(Duration::from_millis(1_250)),
        }
    }

    #[test]
    fn a_link_is_that_to_the_same_life_of_the_node() {
        let nodes = vec![
            member(1, "a", NodeLiveness::Lives),
            member(2, "b\u{1b}[2J", NodeLiveness::Silent),
            member(3, "c", NodeLiveness::Gone),
            member(4, "d", NodeLiveness::Draining),
            member(5, "e", NodeLiveness::Stopped),
            member(6, "f", NodeLiveness::Fenced),
        ];
        let members = ClusterMembers { view: 9, schema: 11, frame_version: 4, nodes };
        let link = |node, epoch| NodeLinkReport {
            peer: NodeIncarnation { node: NodeId::new(node).unwrap(), epoch },
            is_up: true,
            state_age_ms: Some(61_000),
            unconfirmed_batches: 2,
            unconfirmed_bytes: 300,
            lag_ms: Some(12),
            last_frame_ms_ago: None,
        };
        let instance = |is_up| RedisInstanceFigures { is_up, ..RedisInstanceFigures::default() };
        let bus = BusFigures { instances: vec![instance(true), instance(false)], ..BusFigures::default() };
        let response = answer(&members, &[link(2, 3), link(3, 2)], Some(&bus), 5);
        let value: Value = serde_json::from_slice(&response.body).unwrap();
        let all = value["nodes"].as_array().unwrap();
        let states: Vec<_> = all.iter().map(|node| node["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["lives", "silent", "gone", "draining", "stopped", "fenced"]);
        let alive: Vec<_> = all.iter().map(|node| node["lives"].as_bool().unwrap()).collect();
        assert_eq!(alive, [true, true, false, true, false, false]);
        assert_eq!((&all[0]["users"], &all[1]["users"]), (&json!(5), &Value::Null));
        assert_eq!(all[1]["link"]["unconfirmed_bytes"], 300);
        assert!(all[0]["link"].is_null() && all[2]["link"].is_null(), "{value}");
        let shown = show(&value);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[1].ends_with("a (this one)") && lines[2].contains("silent") && lines[2].contains("1.2 s"));
        assert_eq!(lines.len(), 11, "{shown}");
        assert!(lines[7].ends_with("bus: 1 of 2 instances work for this node"), "{shown}");
        assert!(show(&json!({"nodes": []})).contains("bus: none"));
        assert!(lines[10].contains("up") && lines[10].contains("61.0 s") && lines[10].contains("12 ms"), "{shown}");
        assert!(!shown.contains('\u{1b}'));
    }
}
