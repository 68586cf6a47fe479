//! Orders that end a user's connections and log-ins on all nodes: the operator disconnects or bans
//! the user, deletes the account or sets another password, or the user has changed it.
//!
//! The change in the store is made before. The order goes to all nodes that are alive, and not only
//! to the user's own node, because a log-in in progress may be on any node. Each node confirms it.
//! A node that is fenced meanwhile has no connections any more, and a node that starts later reads
//! the changed store. The order is repeated until all nodes have confirmed it; then the operator or
//! the user is answered.

use super::super::ServerCore;
use super::super::contract::{AdminAnswerFromCore, AdminTicket, CoreAction, JobTicket};
use super::contract::{ForcedLogoutCause, NodeId, NodeIncarnation, NodeMessage};
use crate::protocol::field::UserName;
use crate::protocol::reply::Reply;
use std::collections::{BTreeMap, VecDeque};

/// The maximum number of orders in progress. One more order is answered as not confirmed.
const ORDERS_MAX: usize = 10_000;
/// The number of finished orders of other nodes that are remembered: a repeated order must not be
/// executed again, since the user may have logged in since.
const DONE_MAX: usize = 4_096;
/// The time after which an order is repeated to a node that has not confirmed it.
const AGAIN_AFTER_MS: u64 = 2_000;
/// The maximum time for which a user who has changed their password waits for other nodes.
const USER_WAITS_MS: u64 = 1_000;
/// After this time the order is no longer repeated to a node that is alive: its build does not know
/// it.
const GIVEN_UP_AFTER_MS: u64 = 60_000;

/// The one who gets the answer when an order is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum ForcedLogoutRequester {
    /// The operator.
    Operator(AdminTicket),
    /// The user, who has changed their password.
    User(JobTicket),
}

/// One order.
#[derive(Debug)]
struct ClusterForcedLogout {
    user: UserName,
    cause: ForcedLogoutCause,
    /// The user was connected on this or another node.
    was_connected: bool,
    requesters: Vec<ForcedLogoutRequester>,
    began_ms: u64,
    sent_ms: u64,
    /// The nodes that have not confirmed it; `None` until the nodes were read.
    unconfirmed_nodes: Option<Vec<NodeIncarnation>>,
    /// Nodes that were fenced before they had done it: the user may have been on one of them.
    fenced_nodes: Vec<NodeIncarnation>,
}

/// The orders in progress, and the finished orders of other nodes.
#[derive(Debug, Default)]
pub(super) struct ClusterForcedLogouts {
    orders: BTreeMap<u64, ClusterForcedLogout>,
    last: u64,
    done: VecDeque<(NodeIncarnation, u64, bool)>,
}

impl ClusterForcedLogouts {
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }
}

impl ServerCore {
    /// The user's connections and log-ins on other nodes are to end, whether the user was connected
    /// here or not. A server that is not in a cluster has nothing more to do.
    pub(in super::super) fn end_sessions_on_other_nodes(
        &mut self,
        user: &UserName,
        (cause, was_here): (ForcedLogoutCause, bool),
        then: Option<ForcedLogoutRequester>,
        out: &mut Vec<CoreAction>,
    ) {
        let now_ms = self.now.mono_ms;
        let then = Vec::from_iter(then);
        let Some(cluster) = &mut self.cluster else {
            return self.on_forced_logout_done((cause, was_here), then, out);
        };
        let endings = &mut cluster.forced_logouts;
        if endings.orders.len() >= ORDERS_MAX {
            return self.on_forced_logout_unconfirmed(&[], then, out);
        }
        endings.last += 1;
        let order = ClusterForcedLogout {
            user: user.clone(),
            cause,
            was_connected: was_here,
            requesters: then,
            began_ms: now_ms,
            sent_ms: now_ms,
            unconfirmed_nodes: None,
            fenced_nodes: Vec::new(),
        };
        endings.orders.insert(endings.last, order);
        // The nodes are read after the change of the store: a node that starts later reads the
        // change.
        out.push(CoreAction::ReadView);
        self.arm_cluster();
    }

    /// The operator is answered when all nodes have confirmed the order.
    pub(in super::super) fn answer_when_logouts_confirmed(
        &mut self,
        user: &UserName,
        ticket: AdminTicket,
        out: &mut Vec<CoreAction>,
    ) {
        let orders = self.cluster.iter_mut().flat_map(|cluster| cluster.forced_logouts.orders.values_mut());
        match { orders }.find(|order| order.user == *user && order.cause == ForcedLogoutCause::Deleted) {
            Some(order) => order.requesters.push(ForcedLogoutRequester::Operator(ticket)),
            None => self.answer_admin(ticket, AdminAnswerFromCore::Done, out),
        }
    }

    /// The answer to an operator whose time is over, if only confirmations of other nodes are
    /// missing.
    pub(in super::super) fn unconfirmed_logout_answer(&self, ticket: AdminTicket) -> Option<AdminAnswerFromCore> {
        let mut orders = self.cluster.iter().flat_map(|cluster| cluster.forced_logouts.orders.values());
        let order = orders.find(|order| order.requesters.contains(&ForcedLogoutRequester::Operator(ticket)))?;
        Some(AdminAnswerFromCore::Unconfirmed {
            nodes: numbers(order.unconfirmed_nodes.as_deref().unwrap_or_default()),
        })
    }

    /// Continues all orders. `is_read`: the nodes were read just now.
    pub(super) fn order_endings(&mut self, is_read: bool, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| !cluster.forced_logouts.is_empty()) else {
            return;
        };
        let others: Vec<NodeIncarnation> = cluster.others().collect();
        let (mut over, mut users, mut said) = (Vec::new(), Vec::new(), Vec::new());
        for (&number, order) in &mut cluster.forced_logouts.orders {
            let to_say: &[NodeIncarnation] = match &mut order.unconfirmed_nodes {
                None if is_read => {
                    order.sent_ms = now_ms;
                    order.unconfirmed_nodes.insert(others.clone())
                }
                None => {
                    out.push(CoreAction::ReadView);
                    continue;
                }
                Some(left) => {
                    order.fenced_nodes.extend(left.extract_if(.., |at| !others.contains(at)));
                    if now_ms - order.sent_ms < AGAIN_AFTER_MS {
                        &[]
                    } else {
                        order.sent_ms = now_ms;
                        left
                    }
                }
            };
            for &to in to_say {
                let record = NodeMessage::End { user: order.user.clone(), cause: order.cause, order: number };
                said.push((to, record));
            }
            let age_ms = now_ms - order.began_ms;
            if order.unconfirmed_nodes.as_ref().is_some_and(Vec::is_empty) || age_ms >= GIVEN_UP_AFTER_MS {
                over.push(number);
            } else if age_ms >= USER_WAITS_MS {
                users.extend(order.requesters.extract_if(.., |then| matches!(then, ForcedLogoutRequester::User(_))));
            }
        }
        for (to, record) in said {
            self.send_record(to, record, out);
        }
        for number in over {
            self.ending_is_over(number, out);
        }
        self.on_forced_logout_done((ForcedLogoutCause::OwnNewPassword, true), users, out);
    }

    /// Another node sends an order.
    pub(super) fn on_forced_logout_order(
        &mut self,
        from: NodeIncarnation,
        user: &UserName,
        (cause, order): (ForcedLogoutCause, u64),
        out: &mut Vec<CoreAction>,
    ) {
        let known = |cluster: &super::ClusterState| {
            let mut done = cluster.forced_logouts.done.iter();
            done.find(|(by, number, _)| (*by, *number) == (from, order)).map(|&(.., was_here)| was_here)
        };
        let was_here = match self.cluster.as_deref().and_then(known) {
            Some(was_here) => was_here,
            None => self.end_session_here(user, cause, out),
        };
        if let Some(cluster) = &mut self.cluster {
            let done = &mut cluster.forced_logouts.done;
            if done.len() >= DONE_MAX {
                done.pop_front();
            }
            done.push_back((from, order, was_here));
        }
        self.send_record(from, NodeMessage::Ended { order, was_connected: was_here }, out);
    }

    /// Another node has confirmed an order.
    pub(super) fn on_forced_logout_confirmed(
        &mut self,
        from: NodeIncarnation,
        number: u64,
        was_here: bool,
        out: &mut Vec<CoreAction>,
    ) {
        let order = self.cluster.as_mut().and_then(|cluster| cluster.forced_logouts.orders.get_mut(&number));
        let Some(order) = order else { return };
        order.was_connected |= was_here;
        if let Some(left) = &mut order.unconfirmed_nodes {
            left.retain(|at| *at != from);
            if left.is_empty() {
                self.ending_is_over(number, out);
            }
        }
    }

    fn ending_is_over(&mut self, number: u64, out: &mut Vec<CoreAction>) {
        let order = self.cluster.as_mut().and_then(|cluster| cluster.forced_logouts.orders.remove(&number));
        let Some(ClusterForcedLogout { cause, was_connected, requesters, unconfirmed_nodes, fenced_nodes, .. }) = order
        else {
            return;
        };
        match unconfirmed_nodes.as_deref() {
            // Of one who was only disconnected nothing is in the store. Whether it was one of these
            // nodes that had them is not known; it closes their connection when it finds out.
            Some([]) if cause == ForcedLogoutCause::Disconnected && !was_connected && !fenced_nodes.is_empty() => {
                self.on_forced_logout_unconfirmed(&fenced_nodes, requesters, out);
            }
            Some([]) => self.on_forced_logout_done((cause, was_connected), requesters, out),
            left => self.on_forced_logout_unconfirmed(left.unwrap_or_default(), requesters, out),
        }
    }

    fn on_forced_logout_done(
        &mut self,
        (cause, was_here): (ForcedLogoutCause, bool),
        then: Vec<ForcedLogoutRequester>,
        out: &mut Vec<CoreAction>,
    ) {
        for then in then {
            match then {
                ForcedLogoutRequester::Operator(ticket) => {
                    let is_done = was_here || cause != ForcedLogoutCause::Disconnected;
                    let answer = if is_done { AdminAnswerFromCore::Done } else { AdminAnswerFromCore::NotOnline };
                    self.answer_admin(ticket, answer, out);
                }
                ForcedLogoutRequester::User(request) => self.answer(request, Reply::PasswordChanged, out),
            }
        }
    }

    fn on_forced_logout_unconfirmed(
        &mut self,
        left: &[NodeIncarnation],
        then: Vec<ForcedLogoutRequester>,
        out: &mut Vec<CoreAction>,
    ) {
        for then in then {
            match then {
                ForcedLogoutRequester::Operator(ticket) => {
                    self.answer_admin(ticket, AdminAnswerFromCore::Unconfirmed { nodes: numbers(left) }, out);
                }
                // The password is changed.
                ForcedLogoutRequester::User(request) => self.answer(request, Reply::PasswordChanged, out),
            }
        }
    }
}

fn numbers(of: &[NodeIncarnation]) -> Vec<NodeId> {
    of.iter().map(|at| at.node).collect()
}
