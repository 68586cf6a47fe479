//! Ending on all nodes what a user has there: the operator disconnects or bans them, deletes the
//! account or gives it another password, or the user has changed it.
//!
//! What is in the store was done before. It is not asked which node has the user: a log-in in
//! progress is to end, too, and may be on any. So all nodes that live are told, and each says when
//! it has done it. One that is fenced meanwhile has nobody any more, and one that began later reads
//! what is in the store. It is said again until all is done; whoever asked is answered then.

use super::super::Chat;
use super::super::contract::{Action, AdminAnswer, AdminTicket, Ticket};
use super::contract::{EndCause, Incarnation, NodeId, NodeRecord};
use crate::protocol::field::UserName;
use crate::protocol::reply::Reply;
use std::collections::{BTreeMap, VecDeque};

/// Orders in progress at a time. Of one more it is said that no node has confirmed it.
const ORDERS_MAX: usize = 10_000;
/// Orders of other nodes of which is remembered that they are done: what comes again is not done
/// again, since the user may have logged in since.
const DONE_MAX: usize = 4_096;
/// How long a node that does not answer is given until it is told again.
const AGAIN_AFTER_MS: u64 = 2_000;
/// A user who has changed their password waits for so long for other nodes.
const USER_WAITS_MS: u64 = 1_000;
/// A node that lives and has not done it for so long is not told again: its build cannot.
const GIVEN_UP_AFTER_MS: u64 = 60_000;

/// What follows when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum EndRequester {
    /// The operator is answered.
    Operator(AdminTicket),
    /// The user is answered, who has changed their password.
    User(Ticket),
}

/// What is to end.
#[derive(Debug)]
struct SessionEnd {
    user: UserName,
    why: EndCause,
    /// The user was connected somewhere.
    was_here: bool,
    then: Vec<EndRequester>,
    began_ms: u64,
    said_ms: u64,
    /// The nodes that have not done it; `None` until it was read which there are.
    left: Option<Vec<Incarnation>>,
    /// Nodes that were fenced before they had done it: the user may have been on one of them.
    fenced: Vec<Incarnation>,
}

/// Orders in progress, and those of others that are done.
#[derive(Debug, Default)]
pub(super) struct SessionEnds {
    orders: BTreeMap<u64, SessionEnd>,
    last: u64,
    done: VecDeque<(Incarnation, u64, bool)>,
}

impl SessionEnds {
    pub(super) fn len(&self) -> usize {
        self.orders.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }
}

impl Chat {
    /// What this user has on other nodes is to end, as it has here, where they were connected or
    /// not. On a node alone all is done.
    pub(in super::super) fn end_elsewhere(
        &mut self,
        user: &UserName,
        (why, was_here): (EndCause, bool),
        then: Option<EndRequester>,
        out: &mut Vec<Action>,
    ) {
        let now_ms = self.now.mono_ms;
        let then = Vec::from_iter(then);
        let Some(cluster) = &mut self.cluster else {
            return self.ended_everywhere((why, was_here), then, out);
        };
        let endings = &mut cluster.endings;
        if endings.orders.len() >= ORDERS_MAX {
            return self.not_confirmed(&[], then, out);
        }
        endings.last += 1;
        let order = SessionEnd {
            user: user.clone(),
            why,
            was_here,
            then,
            began_ms: now_ms,
            said_ms: now_ms,
            left: None,
            fenced: Vec::new(),
        };
        endings.orders.insert(endings.last, order);
        // Behind what is in the store: who begins later reads that.
        out.push(Action::ReadView);
        self.arm_cluster();
    }

    /// The operator is answered when what they have ended has ended everywhere.
    pub(in super::super) fn answer_when_ended(&mut self, user: &UserName, ticket: AdminTicket, out: &mut Vec<Action>) {
        let orders = self.cluster.iter_mut().flat_map(|cluster| cluster.endings.orders.values_mut());
        match { orders }.find(|order| order.user == *user && order.why == EndCause::Deleted) {
            Some(order) => order.then.push(EndRequester::Operator(ticket)),
            None => self.answer_admin(ticket, AdminAnswer::Done, out),
        }
    }

    /// The answer to the operator whose time is over, if nothing but other nodes is waited for.
    pub(in super::super) fn unconfirmed(&self, ticket: AdminTicket) -> Option<AdminAnswer> {
        let mut orders = self.cluster.iter().flat_map(|cluster| cluster.endings.orders.values());
        let order = orders.find(|order| order.then.contains(&EndRequester::Operator(ticket)))?;
        Some(AdminAnswer::Unconfirmed { nodes: numbers(order.left.as_deref().unwrap_or_default()) })
    }

    /// Goes on with all orders. `is_read`: the nodes were read just now.
    pub(super) fn order_endings(&mut self, is_read: bool, out: &mut Vec<Action>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = self.cluster.as_mut().filter(|cluster| !cluster.endings.is_empty()) else {
            return;
        };
        let others: Vec<Incarnation> = cluster.others().collect();
        let (mut over, mut users, mut said) = (Vec::new(), Vec::new(), Vec::new());
        for (&number, order) in &mut cluster.endings.orders {
            let to_say: &[Incarnation] = match &mut order.left {
                None if is_read => {
                    order.said_ms = now_ms;
                    order.left.insert(others.clone())
                }
                None => {
                    out.push(Action::ReadView);
                    continue;
                }
                Some(left) => {
                    order.fenced.extend(left.extract_if(.., |at| !others.contains(at)));
                    if now_ms - order.said_ms < AGAIN_AFTER_MS {
                        &[]
                    } else {
                        order.said_ms = now_ms;
                        left
                    }
                }
            };
            for &to in to_say {
                let record = NodeRecord::End { user: order.user.clone(), why: order.why, order: number };
                said.push((to, record));
            }
            let age_ms = now_ms - order.began_ms;
            if order.left.as_ref().is_some_and(Vec::is_empty) || age_ms >= GIVEN_UP_AFTER_MS {
                over.push(number);
            } else if age_ms >= USER_WAITS_MS {
                users.extend(order.then.extract_if(.., |then| matches!(then, EndRequester::User(_))));
            }
        }
        for (to, record) in said {
            self.say(to, record, out);
        }
        for number in over {
            self.ending_is_over(number, out);
        }
        self.ended_everywhere((EndCause::OwnNewPassword, true), users, out);
    }

    /// Another node orders it.
    pub(super) fn end_for(
        &mut self,
        from: Incarnation,
        user: &UserName,
        (why, order): (EndCause, u64),
        out: &mut Vec<Action>,
    ) {
        let known = |cluster: &super::ClusterState| {
            let mut done = cluster.endings.done.iter();
            done.find(|(by, number, _)| (*by, *number) == (from, order)).map(|&(.., was_here)| was_here)
        };
        let was_here = match self.cluster.as_deref().and_then(known) {
            Some(was_here) => was_here,
            None => self.end_here(user, why, out),
        };
        if let Some(cluster) = &mut self.cluster {
            let done = &mut cluster.endings.done;
            if done.len() >= DONE_MAX {
                done.pop_front();
            }
            done.push_back((from, order, was_here));
        }
        self.say(from, NodeRecord::Ended { order, was_here }, out);
    }

    /// Another node has done it.
    pub(super) fn ended_on(&mut self, from: Incarnation, number: u64, was_here: bool, out: &mut Vec<Action>) {
        let order = self.cluster.as_mut().and_then(|cluster| cluster.endings.orders.get_mut(&number));
        let Some(order) = order else { return };
        order.was_here |= was_here;
        if let Some(left) = &mut order.left {
            left.retain(|at| *at != from);
            if left.is_empty() {
                self.ending_is_over(number, out);
            }
        }
    }

    fn ending_is_over(&mut self, number: u64, out: &mut Vec<Action>) {
        let order = self.cluster.as_mut().and_then(|cluster| cluster.endings.orders.remove(&number));
        let Some(SessionEnd { why, was_here, then, left, fenced, .. }) = order else {
            return;
        };
        match left.as_deref() {
            // Of one who was only disconnected nothing is in the store. Whether it was one of these
            // nodes that had them is not known; it closes their connection when it finds out.
            Some([]) if why == EndCause::Disconnected && !was_here && !fenced.is_empty() => {
                self.not_confirmed(&fenced, then, out);
            }
            Some([]) => self.ended_everywhere((why, was_here), then, out),
            left => self.not_confirmed(left.unwrap_or_default(), then, out),
        }
    }

    fn ended_everywhere(&mut self, (why, was_here): (EndCause, bool), then: Vec<EndRequester>, out: &mut Vec<Action>) {
        for then in then {
            match then {
                EndRequester::Operator(ticket) => {
                    let is_done = was_here || why != EndCause::Disconnected;
                    let answer = if is_done { AdminAnswer::Done } else { AdminAnswer::NotOnline };
                    self.answer_admin(ticket, answer, out);
                }
                EndRequester::User(request) => self.answer(request, Reply::PasswordChanged, out),
            }
        }
    }

    fn not_confirmed(&mut self, left: &[Incarnation], then: Vec<EndRequester>, out: &mut Vec<Action>) {
        for then in then {
            match then {
                EndRequester::Operator(ticket) => {
                    self.answer_admin(ticket, AdminAnswer::Unconfirmed { nodes: numbers(left) }, out);
                }
                // It is changed.
                EndRequester::User(request) => self.answer(request, Reply::PasswordChanged, out),
            }
        }
    }
}

fn numbers(of: &[Incarnation]) -> Vec<NodeId> {
    of.iter().map(|at| at.node).collect()
}
