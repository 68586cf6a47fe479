//! Answers of the admin interface for people. Text of clients is escaped.

use super::escape::printable;
use super::json_values::{number, text};
use super::nodes;
use crate::config::command::{AdminCliAccountCommand, AdminCliVerb};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

/// The answer to an order, as lines of text.
pub(super) fn show(verb: &AdminCliVerb, value: &Value) -> String {
    match verb {
        AdminCliVerb::Status => status(value),
        AdminCliVerb::ForgetNode(name) => {
            let users = match number(&value["users"]) {
                1 => "1 user was".to_owned(),
                users => format!("{users} users were"),
            };
            format!("the node {} is forgotten; {users} on it last\n", printable(name))
        }
        AdminCliVerb::Nodes => nodes::show(value),
        AdminCliVerb::Users => users(value),
        AdminCliVerb::User(_) => user(value),
        AdminCliVerb::Where { receiver, .. } => messages(receiver, value),
        AdminCliVerb::Notice { .. } => match value["users"].as_u64() {
            Some(1) => "the notice goes to 1 user\n".to_owned(),
            Some(users) => format!("the notice goes to {users} users\n"),
            None => "the notice is on its way; the log will say to how many users\n".to_owned(),
        },
        AdminCliVerb::Change { name, change: AdminCliAccountCommand::ResetPassword { .. } } => {
            let (name, password) = (printable(name), text(&value["password"]));
            format!("the new password of {name} is {password}\nit works until it is changed: log in and change it\n")
                + &unconfirmed(value)
        }
        AdminCliVerb::Drain { waits: true } => "all connections are closed, and the server has stopped\n".to_owned(),
        AdminCliVerb::Drain { waits: false } => {
            let (connections, seconds) = (number(&value["connections"]), number(&value["left_ms"]).div_ceil(1_000));
            format!(
                "no log-ins are taken any more; {} within {seconds} s, then the server stops\n",
                if connections == 1 {
                    "1 connection is closed".to_owned()
                } else {
                    format!("{connections} connections are closed")
                }
            )
        }
        AdminCliVerb::Change { .. } if value["unconfirmed_nodes"].is_array() => unconfirmed(value),
        AdminCliVerb::Change { .. } => "done\n".to_owned(),
    }
}

/// A text about the nodes that have not confirmed a change; empty if all have.
fn unconfirmed(value: &Value) -> String {
    let Some(nodes) = value["unconfirmed_nodes"].as_array() else { return String::new() };
    let called: Vec<String> = nodes.iter().map(|node| node_called(node, "name")).collect();
    if called.is_empty() {
        return "not all is done yet: the database does not say which nodes there are, so it is not known whether \
                the user is connected to another one; ask again when it works\n"
            .to_owned();
    }
    let which = match called.as_slice() {
        [one] => format!("node {one} has"),
        several => format!("the nodes {} have", several.join(", ")),
    };
    format!(
        "not all is done yet: it is stored, but {which} not confirmed that the user's connection there is closed\n\
         they are told until they do it or are fenced (hongyan admin nodes shows how they are); ask again to be sure\n"
    )
}

/// A node by its name, if the server knows it, and by its number.
fn node_called(value: &Value, name_key: &str) -> String {
    let number = number(&value["node"]);
    value[name_key].as_str().map_or_else(|| number.to_string(), |name| format!("{} ({number})", printable(name)))
}

fn status(value: &Value) -> String {
    let mut shown = match value["ready"].as_bool() {
        Some(true) => "ready\n".to_owned(),
        _ => format!("not ready: {}\n", text(&value["why"])),
    };
    let version = text(&value["version"]);
    let Some(uptime) = value["uptime_seconds"].as_u64() else { return shown + &format!("version {version}\n") };
    shown += &format!("version {version}, up {}\n", span(uptime));
    if value["node"].is_u64() {
        shown += &format!("node {}\n", node_called(value, "node_name"));
    }
    let store = if value["store_works"].as_bool() == Some(true) { "works" } else { "does not work" };
    let commit = value["last_commit_ms_ago"].as_u64();
    let commit = commit.map_or_else(|| "no commit yet".to_owned(), |ago| format!("last commit {ago} ms ago"));
    shown += &format!("store: {store}, {commit}, {} jobs in flight\n", number(&value["jobs_in_flight"]));
    let [connections, max, logged_in] = ["connections", "connections_max", "logged_in"].map(|key| number(&value[key]));
    shown += &format!("connections: {connections} of {max}, {logged_in} logged in\n");
    shown += &format!("pushes sent and not acked: {}\n", number(&value["outstanding"]));
    let [held, max] = ["memory_held_bytes", "memory_max_bytes"].map(|key| mib(number(&value[key])));
    shown + &format!("memory of clients: {held} of {max} MiB\n")
}

fn users(value: &Value) -> String {
    let users = value["users"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut shown = String::new();
    if !users.is_empty() {
        shown += &format!("{:<23} {:<39} {:>7} user\n", "online since", "address", "unacked");
    }
    for user in users {
        let (since, address) = (time(&user["online_since_ms"]), user["address"].as_str().unwrap_or("-"));
        let (unacked, name) = (number(&user["outstanding"]), text(&user["name"]));
        shown += &format!("{since:<23} {:<39} {unacked:>7} {name}\n", printable(address));
    }
    let here = match value["node"].is_u64() {
        true => format!(" on this node, {}; ask the others for theirs", node_called(value, "node_name")),
        false => String::new(),
    };
    shown + &format!("{} online{here}\n", users.len())
}

fn user(value: &Value) -> String {
    let mut shown = format!("{}\n", text(&value["name"]));
    let (online, there) = (&value["online"], &value["elsewhere"]);
    let node = node_called(there, "node_name");
    shown += &match online.is_object() {
        true if there.is_object() => {
            let (since, unacked) = (time(&online["online_since_ms"]), number(&online["outstanding"]));
            let address = "ask that node for their address";
            format!("online on node {node} since {since}, {unacked} pushes sent and not acked; {address}\n")
        }
        false if there["answers"].as_bool() == Some(false) => {
            format!(
                "on node {node} last, which has not answered (hongyan admin nodes shows how it is): \
                 it is not known whether they are online\n"
            )
        }
        false if there.is_object() => format!("not online; on node {node} last\n"),
        true => {
            let (since, unacked) = (time(&online["online_since_ms"]), number(&online["outstanding"]));
            let address = online["address"].as_str().map_or_else(|| "an unknown address".to_owned(), printable);
            format!("online since {since} from {address}, {unacked} pushes sent and not acked\n")
        }
        false => "not online\n".to_owned(),
    };
    let at_least = if value["waiting_is_at_least"].as_bool() == Some(true) { "at least " } else { "" };
    let waiting = number(&value["waiting"]);
    shown += &format!("waiting: {at_least}{waiting} {}\n", if waiting == 1 { "push" } else { "pushes" });
    shown + if value["banned"].as_bool() == Some(true) { "banned\n" } else { "not banned\n" }
}

fn messages(receiver: &str, value: &Value) -> String {
    let messages = value["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let name = printable(receiver);
    // Only the node with the connection knows which pushes were sent on it.
    let there =
        value["receiver"]["elsewhere"].is_object().then(|| node_called(&value["receiver"]["elsewhere"], "node_name"));
    let asked = match (&there, value["node"].is_u64()) {
        (Some(there), _) => format!(
            "{name} was on node {there} last: ask that one what was sent; that a message was acked is remembered only \
             where its sender and its receiver are online on one node\n"
        ),
        (None, true) => format!(
            "this is what node {} knows; that a message was acked is remembered only where its sender and its receiver \
             are online on one node\n",
            node_called(value, "node_name")
        ),
        (None, false) => String::new(),
    };
    if messages.is_empty() {
        return match value["node"].is_u64() {
            true => format!("nothing with this id waits for {name}\n{asked}"),
            false => {
                format!("nothing with this id waits for {name}; while {name} is away it is not known what was acked\n")
            }
        };
    }
    let mut shown = String::new();
    for message in messages {
        let (kind, sender, said) = (text(&message["kind"]), text(&message["sender"]), time(&message["time_ms"]));
        let state = match message["state"].as_str() {
            Some("outstanding") => "sent and not acked",
            Some("acked") => "acked",
            _ => "waits",
        };
        // For an acked push it is not known how often it was sent.
        let sent = match (message["state"].as_str(), number(&message["times_sent"])) {
            (Some("acked"), _) => String::new(),
            (_, 0) if there.is_some() => String::new(),
            (_, 0) => "; not sent on this connection".to_owned(),
            (_, 1) => "; sent once on this connection".to_owned(),
            (_, times) => format!("; sent {times} times on this connection"),
        };
        let stored = if message["stored"].as_bool() == Some(true) { "in the store" } else { "not in the store" };
        shown += &format!("{kind} from {sender}, said {said}: {state}; {stored}{sent}\n");
    }
    shown + &asked
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// A time span in its two largest units.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min {} s", seconds % 60),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

/// A time in ms since the epoch, in UTC.
fn time(value: &Value) -> String {
    let seconds = number(value) / 1_000;
    let time = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    time.and_then(|time| time.format(format).ok()).unwrap_or_else(|| format!("{seconds} s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, shown) in [
            (0_u64, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_795_750_245, "2026-11-27 03:30:45 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(time(&json!(seconds * 1_000)), shown);
        }
        assert_eq!([span(59), span(61), span(3_700), span(90_000)], ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn no_name_of_a_client_changes_the_terminal() {
        let odd = "a\u{1b}[2J\u{9b}31m\u{202e}";
        let online = json!({"name": odd, "online_since_ms": 0, "address": null, "outstanding": 0});
        let report = json!({"name": odd, "online": online, "waiting": 1, "waiting_is_at_least": true, "banned": true});
        let message =
            json!({"sender": odd, "kind": "message", "time_ms": 0, "state": "acked", "times_sent": 1, "stored": false});
        for (verb, value) in [
            (AdminCliVerb::Users, json!({"users": [online]})),
            (AdminCliVerb::User(odd.into()), report),
            (AdminCliVerb::Where { receiver: odd.into(), id: odd.into() }, json!({"messages": [message]})),
            (AdminCliVerb::Where { receiver: odd.into(), id: odd.into() }, json!({"messages": []})),
            (
                AdminCliVerb::Change {
                    name: odd.into(),
                    change: AdminCliAccountCommand::ResetPassword { is_plain: false },
                },
                json!({}),
            ),
        ] {
            let shown = show(&verb, &value);
            assert!(!shown.chars().any(|char| char.is_control() && char != '\n' || char == '\u{202e}'), "{shown:?}");
            assert!(shown.contains("a\\u{1b}[2J"), "{shown:?}");
        }
    }

    #[test]
    fn the_output_names_the_nodes_on_which_a_change_is_not_done() {
        let ban = AdminCliVerb::Change { name: "ann".into(), change: AdminCliAccountCommand::Ban };
        assert_eq!(show(&ban, &json!({"done": true})), "done\n");
        let said = show(&ban, &json!({"done": true, "unconfirmed_nodes": [{"node": 2, "name": "b"}]}));
        assert!(said.contains("node b (2) has not confirmed") && !said.contains("done\n"), "{said}");
        let reset = AdminCliVerb::Change {
            name: "ann".into(),
            change: AdminCliAccountCommand::ResetPassword { is_plain: false },
        };
        let nodes = json!([{"node": 2, "name": "b"}, {"node": 3, "name": null}]);
        let said = show(&reset, &json!({"password": "abc", "unconfirmed_nodes": nodes}));
        assert!(said.contains("is abc\n") && said.contains("the nodes b (2), 3 have not confirmed"), "{said}");
    }

    #[test]
    fn the_output_names_the_node_of_a_user_and_the_node_that_answered() {
        let user = |online: Value, elsewhere: Value| {
            show(&AdminCliVerb::User("ann".into()), &json!({"name": "ann", "online": online, "elsewhere": elsewhere}))
        };
        let node = |answers| json!({"node": 2, "node_name": "b", "answers": answers});
        let there = user(json!({"online_since_ms": 0, "outstanding": 2}), node(true));
        assert!(there.contains("online on node b (2) since") && !there.contains("not online"), "{there}");
        let silent = user(Value::Null, node(false));
        assert!(
            silent.contains("node b (2) last, which has not answered") && !silent.contains("not online"),
            "{silent}"
        );
        assert!(user(Value::Null, node(true)).contains("not online; on node b (2) last"));
        assert!(user(Value::Null, Value::Null).contains("\nnot online\n"));
        let users = show(&AdminCliVerb::Users, &json!({"users": [], "node": 1, "node_name": "a"}));
        assert_eq!(users, "0 online on this node, a (1); ask the others for theirs\n");
        let verb = AdminCliVerb::Where { receiver: "ann".into(), id: "m".into() };
        let messages = show(&verb, &json!({"messages": [], "node": 1}));
        assert!(messages.contains("what node 1 knows"), "{messages}");
        let receiver = json!({"elsewhere": {"node": 2, "node_name": "b"}});
        let messages = show(&verb, &json!({"messages": [], "node": 1, "receiver": receiver}));
        assert!(messages.contains("ann was on node b (2) last: ask that one"), "{messages}");
    }

    #[test]
    fn an_answer_of_another_version_is_shown_as_far_as_it_is_known() {
        for verb in [AdminCliVerb::Status, AdminCliVerb::Users, AdminCliVerb::User("ann".into())] {
            assert!(show(&verb, &json!({"new": 1})).ends_with('\n'));
        }
        let standby = show(&AdminCliVerb::Status, &json!({"ready": false, "why": "standby", "version": "0.1.0"}));
        assert_eq!(standby, "not ready: standby\nversion 0.1.0\n");
    }
}
