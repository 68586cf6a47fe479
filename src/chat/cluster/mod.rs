//! The part of the core that only a node of a cluster has: several nodes use one store.
//!
//! The *taker* of a message, the node of its sender, keeps it until it is acked there or committed.
//! The *owner*, the node of its receiver, finds it in the store: the taker reads, after the commit,
//! which node is the owner, and sends it a `Look`. Users move from node to node, and nodes die. The
//! following parts see to it that no message is lost or overtaken meanwhile:
//!
//! | part | purpose |
//! |---|---|
//! | `clock.rs` | the numbers of pushes: a later push gets a greater number, on whichever node |
//! | `owner_notices.rs` | the owners to be told that a push was saved, or may have been saved |
//! | `looks.rs` | reading a list anew: after a `Look`, or after the death of a node |
//! | `claims.rs` | log-ins of users who belong to another node, which must release them first |
//! | `release.rs` | the other side of a claim: everything is saved, then handed over |
//! | `taken_messages.rs` | messages that are not durable yet: they delay a claim of their sender |
//! | `dirty.rs` | the receivers for whom the next node of a sender must look |
//! | `unconfirmed_rereads.rs` | the same for nodes that have not confirmed that they look |
//! | `inherited.rs` | the same for senders who came from another node and move on |
//! | `view_changes.rs` | the nodes that have died between two views |
//! | `presence.rs` | the users who are online on other nodes |
//! | `forced_logouts.rs` | a ban, a deletion, another password: all connections and log-ins end |
//! | `figures.rs` | the numbers about all this, for operators |
//! | `questions.rs` | an operator's question about a user of another node |
//!
//! The work for one user does not grow with the number of other users: `step_count.rs` counts it in
//! unit tests.
//!
//! With a bus, records between nodes are sent over it first, and a message for a user on another
//! node is handed over before it is saved:
//!
//! | part | purpose |
//! |---|---|
//! | `link.rs` | both directions between two nodes, in unbroken order |
//! | `bus.rs` | all links, and their frames to and from the core |
//! | `remote_receivers.rs` | the taker's side: receivers elsewhere, and pushes handed over |
//! | `foreign.rs` | the owner's side: pushes that other nodes hand over for users who are here |
//!
//! A server that is not in a cluster has no `ClusterState`, and does nothing of all this.

use super::CoreTimer;
use super::ServerCore;
use super::contract::CoreAction;
use super::ids::UserSlot;
use contract::{ClusterView, NodeId, NodeIncarnation, NodeMessage, NodeRow, UserOwner};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

mod bus;
mod claims;
pub(super) mod clock;
pub mod contract;
mod dirty;
mod figures;
mod forced_logouts;
mod foreign;
mod inherited;
mod link;
mod looks;
mod owner_notices;
mod presence;
mod questions;
mod recent_set;
mod release;
mod remote_receivers;
mod step_count;
mod taken_messages;
#[cfg(test)]
mod tests;
mod unconfirmed_rereads;
mod view_changes;

pub(super) use forced_logouts::ForcedLogoutRequester;
pub(super) use owner_notices::OwnerNodeRereadParts;
pub(super) use presence::UserPresenceReportToNodesReason;
pub(super) use questions::AdminReportAwaitingNode;

/// The time after which a failed or unanswered operation is tried again.
const RETRY_MS: u64 = 1_000;

/// The cluster state of one node.
#[derive(Debug)]
pub(super) struct ClusterState {
    me: NodeIncarnation,
    view: ClusterView,
    /// No `seq` above it may leave this node: the next incarnation begins there.
    seq_limit: u64,
    /// The epochs of the whereabouts of users who are here. Never walked through.
    epochs: HashMap<UserSlot, u64>,
    /// Log-ins of users who belong to another node. Their state is loading.
    claims: BTreeMap<UserSlot, claims::LoginAwaitingUserRelease>,
    /// The same claims, by the node for whose answer each waits.
    claims_at: BTreeSet<(NodeId, UserSlot)>,
    /// The same claims in the order of the times of their next questions. They may have ended.
    claims_to_ask: VecDeque<(u64, UserSlot, u64)>,
    last_claim: u64,
    /// Users who log in on another node; each is retained.
    releases: BTreeMap<UserSlot, release::UserReleaseToNode>,
    /// Users whom other nodes may claim.
    claimable_users: release::UsersReleasedToNodes,
    /// Users whose owner is still to be told something; each is retained.
    owner_notices: BTreeMap<UserSlot, owner_notices::PendingOwnerNodeNotice>,
    /// Those of them whose owner must be read. It may be known by now.
    owners_to_read: BTreeSet<UserSlot>,
    /// There were too many: all nodes look at all lists.
    tells_all_nodes: bool,
    dirty: dirty::PairsWithUnnotifiedOwner,
    inherited: inherited::ArrivedSendersWithUnnotifiedOwners,
    unsaved_messages: taken_messages::UnsavedMessagesBlockingUserRelease,
    /// The orders that must end connections on all nodes.
    forced_logouts: forced_logouts::ClusterForcedLogouts,
    /// The users who are online on other nodes, and what other nodes were told.
    presence: presence::RemotePresence,
    /// The users whose lists are to be read in the background, and how many at a time. They may be
    /// gone.
    sweep: VecDeque<UserSlot>,
    sweep_at_once: usize,
    /// The same for lists that are to be read, without friends.
    lists_to_read: VecDeque<UserSlot>,
    /// The timer for repeating failed operations is set.
    timer_set: bool,
    /// About users of other nodes.
    questions: questions::PendingAdminUserQueriesToNodes,
    /// For operators.
    totals: contract::ClusterCounters,
    /// The bus, if there is one.
    bus: Option<Box<bus::ClusterBusState>>,
}

/// The state of an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IncarnationState {
    /// This node's own incarnation.
    Me,
    /// Alive, according to the view.
    Lives,
    /// Fenced. No `seq` of it is greater than this.
    Dead { hlc_limit: u64 },
    /// Not in the view yet.
    Unknown,
}

impl ClusterState {
    fn life(&self, at: NodeIncarnation) -> IncarnationState {
        match self.view.node(at.node) {
            _ if at == self.me => IncarnationState::Me,
            Some(NodeRow { last, .. }) if *last == at => IncarnationState::Lives,
            Some(NodeRow { last, hlc_limit, .. }) if last.epoch > at.epoch => {
                IncarnationState::Dead { hlc_limit: *hlc_limit }
            }
            _ => IncarnationState::Unknown,
        }
    }

    /// The other nodes that are alive, according to the view.
    fn others(&self) -> impl Iterator<Item = NodeIncarnation> + '_ {
        let others = self.view.nodes.iter().filter(|state| state.is_alive && state.last.node != self.me.node);
        others.map(|state| state.last)
    }

    /// The number of log-ins that wait for the whereabouts of their users.
    #[cfg(debug_assertions)]
    pub(super) fn claiming(&self) -> impl Iterator<Item = super::ids::LoginStageTicket> + '_ {
        self.claims.values().map(claims::LoginAwaitingUserRelease::login)
    }

    /// The users to which it refers.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> impl Iterator<Item = UserSlot> + '_ {
        let remotes = self.bus.iter().flat_map(|bus| bus.remote_receivers.refs());
        self.releases.keys().chain(self.owner_notices.keys()).copied().chain(remotes)
    }

    #[cfg(debug_assertions)]
    pub(super) fn check(&self, users: &super::users::Users) {
        let here = users.iter().filter(|(_, user, _)| user.is_here()).map(|(id, ..)| id);
        assert!({ here }.all(|user| self.epochs.contains_key(&user)), "somebody is here whom the node does not own");
        assert!(self.claims.keys().all(|user| users.get(*user).loading.is_some()));
        let at = |claim: &claims::LoginAwaitingUserRelease| claim.node();
        let claims_at: BTreeSet<_> = self.claims.iter().filter_map(|(user, claim)| Some((at(claim)?, *user))).collect();
        assert_eq!(claims_at, self.claims_at);
        assert!(self.claims_to_ask.iter().is_sorted_by_key(|to_ask| to_ask.0));
        let mut waiting = self.owner_notices.iter().filter(|(_, notice)| notice.waits()).map(|(user, _)| user);
        assert!(waiting.all(|user| self.owners_to_read.contains(user)));
        self.dirty.check(|user| self.owner_notices.contains_key(&user));
        self.inherited.check();
        assert!(self.timer_set || !self.waits(), "a waiting notice is tried again");
        self.check_bus();
        self.presence.check();
    }

    #[cfg(debug_assertions)]
    pub(super) fn check_taken(&self, deliveries: &super::deliveries::DeliveryTable) {
        self.unsaved_messages.check(deliveries);
    }

    /// Is there an operation to be repeated?
    fn waits(&self) -> bool {
        let is_idle = self.owners_to_read.is_empty()
            && self.releases.is_empty()
            && self.claims.is_empty()
            && self.forced_logouts.is_empty();
        !is_idle || self.tells_all_nodes || !self.questions.is_empty()
    }

    /// The memory that users can make grow; that of trees is an estimate.
    pub(super) fn memory_bytes(&self) -> usize {
        const OF_TREE: usize = 2;
        const CLAIM_BYTES: usize = size_of::<claims::LoginAwaitingUserRelease>() + 2 * size_of::<(NodeId, UserSlot)>();
        self.epochs.capacity() * size_of::<(UserSlot, u64)>()
            + self.claims.len() * OF_TREE * CLAIM_BYTES
            + self.claims_to_ask.capacity() * size_of::<(u64, UserSlot, u64)>()
            + self.releases.len() * OF_TREE * size_of::<(UserSlot, release::UserReleaseToNode)>()
            + self.claimable_users.memory_bytes()
            + self.owner_notices.len() * OF_TREE * size_of::<(UserSlot, owner_notices::PendingOwnerNodeNotice)>()
            + self.owners_to_read.len() * OF_TREE * size_of::<UserSlot>()
            + self.dirty.memory_bytes()
            + self.unsaved_messages.memory_bytes()
            + self.inherited.memory_bytes()
            + (self.sweep.capacity() + self.lists_to_read.capacity()) * size_of::<UserSlot>()
            + self.presence.memory_bytes()
    }
}

impl ServerCore {
    /// Makes this server the given incarnation of a node. `view` was read after its start. Call it
    /// once, before the first event. All nodes must have given the same `hash_key` to
    /// [`ServerCore::new`]; the `first_seq` given there must not be less than the node's
    /// `hlc_limit` at the start of this incarnation.
    pub fn join(&mut self, me: NodeIncarnation, view: ClusterView) {
        self.next_seq = clock::next_seq_after(self.next_seq, me.node);
        self.seq_step = clock::STEP;
        let seq_limit = view.seq_limit_of(me);
        self.cluster = Some(Box::new(ClusterState {
            me,
            view,
            seq_limit: seq_limit.unwrap_or(0),
            epochs: HashMap::new(),
            claims: BTreeMap::new(),
            claims_at: BTreeSet::new(),
            claims_to_ask: VecDeque::new(),
            last_claim: 0,
            releases: BTreeMap::new(),
            claimable_users: release::UsersReleasedToNodes::default(),
            owner_notices: BTreeMap::new(),
            owners_to_read: BTreeSet::new(),
            tells_all_nodes: false,
            dirty: dirty::PairsWithUnnotifiedOwner::default(),
            inherited: inherited::ArrivedSendersWithUnnotifiedOwners::default(),
            unsaved_messages: taken_messages::UnsavedMessagesBlockingUserRelease::default(),
            forced_logouts: forced_logouts::ClusterForcedLogouts::default(),
            presence: presence::RemotePresence::default(),
            sweep: VecDeque::new(),
            sweep_at_once: 0,
            lists_to_read: VecDeque::new(),
            timer_set: false,
            questions: questions::PendingAdminUserQueriesToNodes::default(),
            totals: contract::ClusterCounters::default(),
            bus: None,
        }));
        self.needs_check_after_event = true;
    }

    /// The `seq` of this node's next push. The shell keeps the node's `hlc_limit` above it, and
    /// above the wall clock (in ms, shifted by [`MS_SHIFT`](contract::MS_SHIFT)), by as much as can
    /// be taken until the limit is written again.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Another node has given this `seq`: from now on this node gives greater ones.
    fn merge_clock(&mut self, seen: u64) {
        if let Some(cluster) = &self.cluster {
            self.next_seq = self.next_seq.max(clock::next_seq_after(seen, cluster.me.node));
        }
    }

    /// A new view was read from the store.
    pub(super) fn view_read(&mut self, view: ClusterView, out: &mut Vec<CoreAction>) {
        self.merge_clock(clock::at(self.now.wall_ms));
        let Some(cluster) = &mut self.cluster else {
            debug_assert!(false, "only a cluster has views");
            return;
        };
        if view.number < cluster.view.number {
            return;
        }
        // After it was fenced, the row is about another incarnation.
        cluster.seq_limit = view.seq_limit_of(cluster.me).unwrap_or(cluster.seq_limit);
        let changes = view_changes::ClusterViewChanges::between(&cluster.view, &view, cluster.me.node);
        cluster.view = view;
        if !changes.nodes.is_empty() {
            self.bus_view_changed(out);
        }
        if changes.any_node_died {
            self.start_sweep_of_all_lists(out);
        }
        if !changes.nodes.is_empty() {
            self.consider_claims(&changes.nodes, out);
            self.read_waiting_owners(out);
        }
        self.order_endings(true, out);
        self.end_questions(out);
        self.take_waiting_frames(out);
        self.presence_by_view(out);
    }

    /// A record of another node has arrived through the database.
    pub(super) fn on_record_from(&mut self, from: NodeIncarnation, record: NodeMessage, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &self.cluster else {
            debug_assert!(false, "only a cluster has records");
            return;
        };
        if cluster.life(from) == IncarnationState::Lives {
            self.on_record(from, record, out);
        } else if let NodeMessage::Ack { user, seq } = record {
            // An ack is true, whichever node reports it.
            self.on_remote_ack(user, seq, out);
        }
        // Its other records are found by looking: its death has marked all lists.
    }

    /// A record of a node that is alive.
    fn on_record(&mut self, from: NodeIncarnation, record: NodeMessage, out: &mut Vec<CoreAction>) {
        match record {
            NodeMessage::Look { user } => {
                self.count_cluster(|totals| totals.looks_received += 1);
                if let Some(user) = self.users.find(user.as_str()) {
                    self.look(user, out);
                }
            }
            NodeMessage::Friend { user } => {
                if let Some(user) = self.users.find(user.as_str()) {
                    self.friends_changed(user, out);
                }
            }
            NodeMessage::Release { user, epoch, claim } => self.release_user(from, user, (epoch, claim), out),
            NodeMessage::Released(released) => self.on_user_released(*released, out),
            NodeMessage::End { user, cause, order } => self.on_forced_logout_order(from, &user, (cause, order), out),
            NodeMessage::Ended { order, was_connected } => {
                self.on_forced_logout_confirmed(from, order, was_connected, out)
            }
            NodeMessage::Ack { user, seq } => self.on_remote_ack(user, seq, out),
            NodeMessage::No { user, seq } => self.on_remote_refusal(&user, seq, out),
            NodeMessage::Ask { user, question } => self.on_user_question(from, &user, question, out),
            NodeMessage::Told { question, online } => self.on_user_answer(from, question, online, out),
            NodeMessage::Who => self.on_presence_query(from, out),
            NodeMessage::Present { number, is_first, is_last, users } => {
                if self.accept_presence_record(from, number, is_first, out) {
                    self.on_remote_presence_list(from, (is_first, is_last), &users);
                }
            }
            NodeMessage::Moved { number, users } => {
                if self.accept_presence_record(from, number, false, out) {
                    self.on_remote_presence_changes(from, users);
                }
            }
            NodeMessage::RecordsMissed => {
                self.end_direct_receivers_at(from.node, out);
                self.start_sweep_of_all_lists(out);
                self.presence_missed(from, out);
            }
        }
    }

    /// Sets the timer for operations that wait, unless it is set already.
    fn arm_cluster(&mut self) {
        if let Some(cluster) = &mut self.cluster
            && !std::mem::replace(&mut cluster.timer_set, true)
        {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, CoreTimer::Cluster);
        }
    }

    pub(super) fn cluster_timer_fired(&mut self, out: &mut Vec<CoreAction>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.timer_set = false;
        }
        self.tell_all_nodes(out);
        self.read_waiting_owners(out);
        self.retry_releases(out);
        self.ask_for_claims(out);
        self.order_endings(false, out);
        self.end_questions(out);
        if self.cluster.as_ref().is_some_and(|cluster| cluster.waits()) {
            self.arm_cluster();
        }
    }

    /// The user has logged in here, and belongs to this node.
    pub(super) fn owns_from_now_on(&mut self, user: UserSlot, epoch: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.epochs.insert(user, epoch);
        }
    }

    /// The user is no longer here.
    pub(super) fn left_node(&mut self, user: UserSlot) {
        if let Some(cluster) = &mut self.cluster {
            cluster.epochs.remove(&user);
            if let Some(bus) = &mut cluster.bus {
                bus.foreign.remove_user(user);
            }
        }
    }

    /// The owner, as the store has reported it.
    fn owner_in(outcome: &super::contract::JobOutcome) -> Option<UserOwner> {
        match outcome {
            super::contract::JobOutcome::Cluster(outcome) => match **outcome {
                contract::ClusterStoreJobOutcome::Owner(owner) => Some(owner),
                _ => None,
            },
            _ => None,
        }
    }
}
