//! The answers of the core and the shell as JSON.

use super::http::AdminHttpResponse;
use super::metrics::VERSION;
use super::process::ProcessStartTime;
use crate::chat::contract::{
    AdminAnswerFromCore, AdminPushStatusReport, AdminReportPushState, AdminUserStatusReport, NodeId, OnlineUserInfo,
    RemoteUserReport, RemoteUserStatus,
};
use crate::net::admin::{ServerSnapshot, SharedNodeNames};
use crate::protocol::http::ServerHealth;
use serde_json::{Value, json};
use std::net::IpAddr;

fn online(user: &OnlineUserInfo, address: Option<IpAddr>) -> Value {
    json!({
        "name": user.name.as_str(),
        "online_since_ms": user.logged_in_ms,
        "address": address.map(|address| address.to_string()),
        "outstanding": user.outstanding,
    })
}

fn user(report: &AdminUserStatusReport, address: Option<IpAddr>, names: &SharedNodeNames) -> Value {
    json!({
        "name": report.name.as_str(),
        "online": match (&report.online, report.remote.map(|elsewhere| elsewhere.status)) {
            (Some(user), _) => online(user, address),
            // Only that node knows the address.
            (None, Some(RemoteUserStatus::Online { logged_in_ms, outstanding })) => json!({
                "name": report.name.as_str(),
                "online_since_ms": logged_in_ms,
                "address": null,
                "outstanding": outstanding,
            }),
            (None, _) => Value::Null,
        },
        "elsewhere": report.remote.map(|there| remote_user_json(there, names)),
        "waiting": report.waiting_pushes,
        "waiting_is_at_least": report.has_more_waiting,
        "banned": report.is_banned,
    })
}

fn remote_user_json(RemoteUserReport { node, status }: RemoteUserReport, names: &SharedNodeNames) -> Value {
    json!({"node": node.get(), "node_name": names.name_of(node), "answers": status != RemoteUserStatus::Silent})
}

fn push(report: &AdminPushStatusReport) -> Value {
    json!({
        "sender": report.sender.as_str(),
        "kind": report.kind,
        "time_ms": report.time_ms,
        "state": match report.state {
            AdminReportPushState::Waiting => "waiting",
            AdminReportPushState::Outstanding => "outstanding",
            AdminReportPushState::Acked => "acked",
        },
        "times_sent": report.times_sent,
        "stored": report.is_stored,
    })
}

/// Where an answer comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct AdminAnswerContext {
    /// The addresses of the online users in it, in their order.
    pub(super) addresses: Vec<Option<IpAddr>>,
    /// The node that was asked; `None`: the server is no node of a cluster.
    pub(super) node: Option<NodeId>,
    /// The names of the nodes.
    pub(super) names: SharedNodeNames,
}

/// The answer to a question.
pub(super) fn of_question(answer: AdminAnswerFromCore, from: &AdminAnswerContext) -> AdminHttpResponse {
    let AdminAnswerContext { addresses, node, names } = from;
    let address = |at: usize| addresses.get(at).copied().flatten();
    let (node, node_name) = (node.map(NodeId::get), node.and_then(|node| names.name_of(node)));
    let value = match answer {
        AdminAnswerFromCore::Users { users, has_more } => {
            let next = users.last().filter(|_| has_more).map(|user| user.name.as_str().to_owned());
            let users: Vec<Value> = users.iter().enumerate().map(|(at, user)| online(user, address(at))).collect();
            json!({"users": users, "next": next, "node": node, "node_name": node_name})
        }
        AdminAnswerFromCore::User(report) => user(&report, address(0), names),
        AdminAnswerFromCore::Pushes(pushes) => {
            let messages: Vec<Value> = pushes.iter().map(push).collect();
            json!({"messages": messages, "node": node, "node_name": node_name})
        }
        other => return of_change(&other, from),
    };
    AdminHttpResponse::json(200, &value)
}

/// Nodes by their numbers and names.
pub(super) fn nodes(nodes: &[NodeId], names: &SharedNodeNames) -> Vec<Value> {
    nodes.iter().map(|&node| json!({"node": node.get(), "name": names.name_of(node)})).collect()
}

/// The answer to a change.
pub(super) fn of_change(answer: &AdminAnswerFromCore, from: &AdminAnswerContext) -> AdminHttpResponse {
    match answer {
        AdminAnswerFromCore::Done => AdminHttpResponse::json(200, &json!({"done": true})),
        AdminAnswerFromCore::NoSuchUser => {
            AdminHttpResponse::error(404, "no_such_user", "There is no account of this name.")
        }
        AdminAnswerFromCore::NotOnline => AdminHttpResponse::error(409, "not_online", "The user is not online."),
        AdminAnswerFromCore::Draining { connections, left_ms } => {
            AdminHttpResponse::json(202, &json!({"draining": true, "connections": connections, "left_ms": left_ms}))
        }
        AdminAnswerFromCore::Unconfirmed { nodes: unconfirmed } => {
            let nodes = nodes(unconfirmed, &from.names);
            AdminHttpResponse::json(202, &json!({"done": true, "unconfirmed_nodes": nodes}))
        }
        AdminAnswerFromCore::Full => {
            AdminHttpResponse::error(409, "full", "There is no room for one more message to this user.")
        }
        AdminAnswerFromCore::InProgress => AdminHttpResponse::error(
            409,
            "in_progress",
            "Another notice to all users is on its way; wait until it has ended.",
        ),
        AdminAnswerFromCore::NoticeCut { users } => {
            let message =
                format!("The store has failed for too long; {users} users get the notice, and perhaps a few more.");
            AdminHttpResponse::error(503, "store", message)
        }
        // The other variants answer other requests: then the outcome of this one is not known.
        _ => {
            AdminHttpResponse::error(503, "store", "The store could not do it, or could not say so in time; ask again.")
        }
    }
}

/// The health.
pub(super) fn health(snapshot: &ServerSnapshot, process: &ProcessStartTime) -> AdminHttpResponse {
    let (is_ready, why) = match snapshot.health {
        ServerHealth::Ok => (true, "ok"),
        ServerHealth::Store => (false, "store"),
        ServerHealth::Lease => (false, "lease"),
        ServerHealth::Draining => (false, "draining"),
        ServerHealth::Stopping => (false, "stopping"),
        ServerHealth::Standby => (false, "standby"),
    };
    let value = json!({
        "ready": is_ready,
        "why": why,
        "version": VERSION,
        "node": snapshot.node.as_ref().map(|(node, _)| node.get()),
        "node_name": snapshot.node.as_ref().and_then(|(_, name)| name.as_deref()),
        "uptime_seconds": process.uptime().as_secs(),
        "store_works": snapshot.store.is_working(),
        "last_commit_ms_ago": snapshot.store.since_commit().map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
        "jobs_in_flight": snapshot.jobs_in_flight,
        "connections": snapshot.census.kinds().map(|(_, count)| count).sum::<usize>(),
        "connections_max": snapshot.conns_max,
        "logged_in": snapshot.census.logged_in(),
        "outstanding": snapshot.gauges.outstanding,
        "memory_held_bytes": snapshot.memory_bytes,
        "memory_max_bytes": snapshot.memory_bytes_max,
    });
    AdminHttpResponse::json(if is_ready { 200 } else { 503 }, &value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::contract::ConnId;
    use crate::protocol::field::UserName;

    fn named(name: &str) -> OnlineUserInfo {
        let conn = ConnId { slot: 0, generation: 0 };
        OnlineUserInfo { name: UserName::new(name).unwrap(), conn, logged_in_ms: 7, outstanding: 2 }
    }

    fn names() -> SharedNodeNames {
        let names = SharedNodeNames::default();
        names.set([(2, "b"), (3, "c")].map(|(number, name)| (NodeId::new(number).unwrap(), name.to_owned())));
        names
    }

    fn value(response: &AdminHttpResponse) -> Value {
        serde_json::from_slice(&response.body).unwrap()
    }

    #[test]
    fn a_page_of_users_says_where_the_next_one_begins() {
        let users = vec![named("ann"), named("b\u{202e}ob")];
        let addresses = vec![Some(IpAddr::from([192, 0, 2, 1])), None];
        let from = AdminAnswerContext { addresses, node: NodeId::new(3), names: names() };
        let answer = |more| of_question(AdminAnswerFromCore::Users { users: users.clone(), has_more: more }, &from);
        let page = answer(true);
        assert!(page.body.is_ascii(), "nothing hidden stands in it as itself");
        assert_eq!(
            value(&page),
            json!({"users": [
                {"name": "ann", "online_since_ms": 7, "address": "192.0.2.1", "outstanding": 2},
                {"name": "b\u{202e}ob", "online_since_ms": 7, "address": null, "outstanding": 2},
            ], "next": "b\u{202e}ob", "node": 3, "node_name": "c"})
        );
        assert_eq!(value(&answer(false))["next"], Value::Null);
    }

    #[test]
    fn a_user_of_another_node_is_online_there_or_it_is_said_that_nobody_knows() {
        let report = |there| AdminUserStatusReport {
            name: UserName::new("ann").unwrap(),
            online: None,
            remote: Some(RemoteUserReport { node: NodeId::new(2).unwrap(), status: there }),
            waiting_pushes: 0,
            has_more_waiting: false,
            is_banned: false,
        };
        let from = AdminAnswerContext { names: names(), ..AdminAnswerContext::default() };
        let answer = |there| value(&of_question(AdminAnswerFromCore::User(Box::new(report(there))), &from));
        let online = answer(RemoteUserStatus::Online { logged_in_ms: 7, outstanding: 1 });
        let there = json!({"name": "ann", "online_since_ms": 7, "address": null, "outstanding": 1});
        assert_eq!(
            (&online["online"], &online["elsewhere"]),
            (&there, &json!({"node": 2, "node_name": "b", "answers": true}))
        );
        let silent = answer(RemoteUserStatus::Silent);
        assert_eq!((&silent["online"], &silent["elsewhere"]["answers"]), (&Value::Null, &json!(false)));
        assert_eq!(answer(RemoteUserStatus::NotOnline)["online"], Value::Null);
    }

    #[test]
    fn every_refusal_has_its_status() {
        for (answer, status, error) in [
            (AdminAnswerFromCore::NoSuchUser, 404, "no_such_user"),
            (AdminAnswerFromCore::NotOnline, 409, "not_online"),
            (AdminAnswerFromCore::Full, 409, "full"),
            (AdminAnswerFromCore::InProgress, 409, "in_progress"),
            (AdminAnswerFromCore::NoticeCut { users: 7 }, 503, "store"),
            (AdminAnswerFromCore::Failed, 503, "store"),
        ] {
            let response = of_question(answer.clone(), &AdminAnswerContext::default());
            assert_eq!((response.status, &value(&response)["error"]), (status, &json!(error)), "{answer:?}");
        }
    }

    #[test]
    fn an_answer_names_the_nodes_that_have_not_confirmed() {
        let nodes = [2, 1_023].map(|number| NodeId::new(number).unwrap()).to_vec();
        let from = AdminAnswerContext { names: names(), ..AdminAnswerContext::default() };
        let response = of_change(&AdminAnswerFromCore::Unconfirmed { nodes }, &from);
        assert_eq!(response.status, 202);
        // One that was forgotten meanwhile has no name any more.
        let nodes = json!([{"node": 2, "name": "b"}, {"node": 1_023, "name": null}]);
        assert_eq!(value(&response), json!({"done": true, "unconfirmed_nodes": nodes}));
    }
}
