//! Which users are online on other nodes, for users here who watch their friends.
//!
//! As long as no user here asks, this node does nothing of this. The first question makes it ask
//! all other nodes ([`NodeMessage::Who`]). Each answers with all its users
//! ([`NodeMessage::Present`]), as hashes of their names, and from then on reports changes
//! ([`NodeMessage::Moved`]) with the names of the user's friends: so the friends who are here are
//! found without a search. The changes within [`TELL_EVERY_MS`] are reported together. A user who
//! goes offline is reported later, so that a user who comes back or moves to another node meanwhile
//! is not shown as offline. If very many users come and go at once, the node reports all its users
//! instead.
//!
//! When a node has died, or could not keep its records, the state of its users is in doubt: the
//! watchers are checked in the background, and told of the differences.

use super::super::contract::CoreAction;
use super::super::ids::UserSlot;
use super::super::{CoreTimer, ServerCore};
use super::contract::{NodeId, NodeIncarnation, NodeMessage, NodePresenceUpdate};
use crate::protocol::field::UserName;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

mod tell;

pub(in super::super) use tell::UserPresenceReportToNodesReason;

/// Changes within this time are reported together.
const TELL_EVERY_MS: u64 = 500;
/// After this time the users of a dead node are offline, unless they have logged in elsewhere.
const FADES_AFTER_MS: u64 = 5_000;
/// A node that has not answered is asked again after this time.
const ASK_AGAIN_MS: u64 = 3_000;
/// The watchers are checked in this many parts, but at least this many users at a time.
const SWEEP_PARTS: usize = 100;
const SWEEP_AT_ONCE_MIN: usize = 64;

/// A user who has come online or gone offline.
#[derive(Debug)]
struct PendingUserPresenceReportToNodes {
    due_ms: u64,
    /// The other nodes were told that the user is here.
    was_reported_online: bool,
    /// The friends of a user who has gone.
    friends: Vec<UserName>,
}

/// The state of the question to one node, and of its answers.
#[derive(Clone, Copy, Debug)]
struct NodePresenceQuery {
    at_ms: u64,
    has_answered: bool,
    /// The number of its last record.
    last: u64,
}

/// A node that has asked.
#[derive(Clone, Copy, Debug, Default)]
struct PresenceSubscriberNode {
    /// The number of the last record to it.
    last: u64,
    /// Until then all goes through the database.
    database_only_until_ms: u64,
}

/// The known users of other nodes, and what other nodes were told. Maps are only walked through if
/// they are ordered.
#[derive(Debug, Default)]
pub(super) struct RemotePresence {
    /// A user here has asked which friends are online.
    was_requested: bool,
    /// The nodes that were asked.
    queries: BTreeMap<NodeIncarnation, NodePresenceQuery>,
    /// The nodes that have asked.
    listeners: BTreeMap<NodeIncarnation, PresenceSubscriberNode>,
    /// The nodes on which a user is, by the hash of the name. For a moment there may be two: the
    /// report that the user has left one may come after the report that they are on the other.
    remote_users: BTreeSet<(u64, NodeId)>,
    /// Answers whose last part has not arrived.
    partial_lists: BTreeMap<NodeIncarnation, HashSet<u64>>,
    pending_reports: BTreeMap<UserName, PendingUserPresenceReportToNodes>,
    /// There were too many changes: report all users.
    reports_all_users: bool,
    /// The dead nodes, and the time from which their users are offline.
    dead_node_deadlines: BTreeMap<NodeId, u64>,
    /// Users whose shown state may be wrong.
    users_in_doubt: HashSet<u64>,
    /// The users still to be checked. They may be gone.
    sweep: VecDeque<UserSlot>,
    sweep_at_once: usize,
    /// More users came into doubt since the check began.
    sweeps_again: bool,
    timer_set: bool,
}

impl RemotePresence {
    fn waits(&self) -> bool {
        !self.pending_reports.is_empty()
            || self.reports_all_users
            || !self.dead_node_deadlines.is_empty()
            || !self.users_in_doubt.is_empty()
            || self.queries.values().any(|asked| !asked.has_answered)
    }

    /// The memory of all this, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        const ENTRY_BYTES: usize = size_of::<(u64, NodeId)>() + 2;
        (2 * self.remote_users.len() + self.users_in_doubt.capacity()) * ENTRY_BYTES
            + self.pending_reports.values().map(|one| 64 + one.friends.len() * size_of::<UserName>()).sum::<usize>()
    }

    fn is_on_other_node(&self, hash: u64) -> bool {
        self.remote_users.range((hash, NodeId::FIRST)..=(hash, NodeId::LAST)).next().is_some()
    }

    /// The user is here: reports of other nodes about them no longer count.
    fn set_here(&mut self, hash: u64) {
        while let Some(&there) = self.remote_users.range((hash, NodeId::FIRST)..=(hash, NodeId::LAST)).next() {
            self.remote_users.remove(&there);
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert!(self.timer_set || !self.waits(), "the timer is set while a report waits");
    }
}

impl ServerCore {
    /// Is this user online on any node, as far as this node knows?
    pub(in super::super) fn is_online(&self, user: UserSlot) -> bool {
        let entry = self.users.get(user);
        entry.is_here()
            || self.cluster.as_ref().is_some_and(|cluster| {
                !cluster.presence.remote_users.is_empty()
                    && cluster.presence.is_on_other_node(self.users.hash(entry.name.as_str()))
            })
    }

    /// A user asks which friends are online: from now on the other nodes report changes.
    pub(in super::super) fn want_presence(&mut self, out: &mut Vec<CoreAction>) {
        if let Some(cluster) = &mut self.cluster
            && !std::mem::replace(&mut cluster.presence.was_requested, true)
        {
            self.ask_who_is_present(out);
        }
    }

    /// The view was read: asks the nodes that have started, and removes those that have ended.
    pub(super) fn presence_by_view(&mut self, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let others: BTreeSet<NodeIncarnation> = cluster.others().collect();
        let presence = &mut cluster.presence;
        presence.listeners.retain(|at, _| others.contains(at));
        presence.partial_lists.retain(|at, _| others.contains(at));
        let over: Vec<NodeIncarnation> = presence.queries.keys().filter(|at| !others.contains(at)).copied().collect();
        for at in over {
            presence.queries.remove(&at);
            presence.dead_node_deadlines.insert(at.node, now_ms + FADES_AFTER_MS);
        }
        if presence.was_requested {
            self.ask_who_is_present(out);
        }
        self.arm_remote_presence_timer();
    }

    fn ask_who_is_present(&mut self, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let mut others: Vec<NodeIncarnation> = cluster.others().collect();
        others.retain(|to| {
            let asked = cluster.presence.queries.get(to);
            asked.is_none_or(|asked| !asked.has_answered && now_ms - asked.at_ms >= ASK_AGAIN_MS)
        });
        for to in others {
            let Some(cluster) = &mut self.cluster else { return };
            let last = cluster.presence.queries.get(&to).map_or(0, |asked| asked.last);
            cluster.presence.queries.insert(to, NodePresenceQuery { at_ms: now_ms, has_answered: false, last });
            self.send_record(to, NodeMessage::Who, out);
        }
        self.arm_remote_presence_timer();
    }

    /// A node could not keep its records.
    pub(super) fn presence_missed(&mut self, from: NodeIncarnation, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        if let Some(asked) = cluster.presence.queries.get_mut(&from) {
            (asked.at_ms, asked.has_answered) = (now_ms, false);
            cluster.presence.partial_lists.remove(&from);
            self.send_record(from, NodeMessage::Who, out);
            self.arm_remote_presence_timer();
        }
    }

    /// Returns `true` if this record follows the last one of its sender. A record that came before,
    /// or whose predecessor is missing, is not taken. `begins`: earlier records do not count.
    pub(super) fn accept_presence_record(
        &mut self,
        from: NodeIncarnation,
        number: u64,
        begins: bool,
        out: &mut Vec<CoreAction>,
    ) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let Some(asked) = cluster.presence.queries.get_mut(&from).filter(|asked| number > asked.last) else {
            return false;
        };
        let is_next = begins || number == asked.last + 1;
        if is_next {
            asked.last = number;
        } else if asked.has_answered {
            self.presence_missed(from, out);
        }
        is_next
    }

    /// Is this server a node of a cluster?
    pub(in super::super) fn has_other_nodes(&self) -> bool {
        self.cluster.is_some()
    }

    fn arm_remote_presence_timer(&mut self) {
        if let Some(cluster) = &mut self.cluster
            && cluster.presence.waits()
            && !std::mem::replace(&mut cluster.presence.timer_set, true)
        {
            self.wheel.insert(self.now.mono_ms + TELL_EVERY_MS, CoreTimer::Elsewhere);
        }
    }

    pub(in super::super) fn elsewhere_timer_fired(&mut self, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.presence.timer_set = false;
        if !self.stopping {
            self.report_presence_changes(out);
        }
        self.expire_users_of_dead_nodes();
        self.sweep_doubted();
        if self.cluster.as_ref().is_some_and(|cluster| cluster.presence.was_requested) {
            self.ask_who_is_present(out);
        }
        self.arm_remote_presence_timer();
    }

    /// Another node reports users who have come and gone.
    pub(super) fn on_remote_presence_changes(&mut self, from: NodeIncarnation, moved: Vec<NodePresenceUpdate>) {
        for NodePresenceUpdate { user, is_online, friends } in moved {
            let (hash, id) = (self.users.hash(user.as_str()), self.users.find(user.as_str()));
            let is_here = id.is_some_and(|id| self.users.is_here(id));
            let Some(cluster) = &mut self.cluster else { return };
            let there = &mut cluster.presence.remote_users;
            if is_online && !is_here {
                there.insert((hash, from.node));
            } else if !is_online {
                there.remove(&(hash, from.node));
            }
            let Some(about) = id else { continue };
            for friend in friends {
                if let Some(friend) = self.users.find(friend.as_str()) {
                    self.add_unsent_presence(friend, about);
                }
            }
        }
    }

    /// Another node reports all its users.
    pub(super) fn on_remote_presence_list(
        &mut self,
        from: NodeIncarnation,
        (is_first, is_last): (bool, bool),
        users: &[u64],
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        if is_first {
            presence.partial_lists.insert(from, HashSet::new());
        }
        let Some(coming) = presence.partial_lists.get_mut(&from) else { return };
        coming.extend(users);
        if !is_last {
            return;
        }
        let now = presence.partial_lists.remove(&from).unwrap_or_default();
        if let Some(asked) = presence.queries.get_mut(&from) {
            asked.has_answered = true;
        }
        presence.dead_node_deadlines.remove(&from.node);
        let RemotePresence { remote_users, users_in_doubt, .. } = presence;
        remote_users.retain(|(hash, node)| {
            let stays = *node != from.node || now.contains(hash);
            if !stays {
                users_in_doubt.insert(*hash);
            }
            stays
        });
        for hash in now {
            if remote_users.insert((hash, from.node)) {
                users_in_doubt.insert(hash);
            }
        }
        // A user who is here now is no longer there, whatever that node reports.
        let here = self.users.iter().filter(|(_, user, _)| user.is_here());
        for (_, user, _) in here {
            presence.set_here(self.users.hash(user.name.as_str()));
        }
        self.begin_presence_sweep();
    }

    /// The users of dead nodes are offline, unless they have logged in elsewhere.
    fn expire_users_of_dead_nodes(&mut self) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let RemotePresence { dead_node_deadlines, remote_users, users_in_doubt, .. } = &mut cluster.presence;
        let due = |(node, due_ms): (&NodeId, &u64)| (*due_ms <= now_ms).then_some(*node);
        let faded: Vec<NodeId> = dead_node_deadlines.iter().filter_map(due).collect();
        dead_node_deadlines.retain(|node, _| !faded.contains(node));
        if faded.is_empty() {
            return;
        }
        remote_users.retain(|(hash, node)| {
            let is_faded = faded.contains(node);
            if is_faded {
                users_in_doubt.insert(*hash);
            }
            !is_faded
        });
        self.begin_presence_sweep();
    }

    fn begin_presence_sweep(&mut self) {
        let watching = self.users_who_watch();
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        if presence.users_in_doubt.is_empty() {
            return;
        }
        if presence.sweep.is_empty() {
            presence.sweep = watching.into();
            presence.sweep_at_once = (presence.sweep.len() / SWEEP_PARTS).max(SWEEP_AT_ONCE_MIN);
        } else {
            presence.sweeps_again = true;
        }
        self.arm_remote_presence_timer();
    }

    /// Checks some watchers, and tells them of differences.
    fn sweep_doubted(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        let count = presence.sweep_at_once.min(presence.sweep.len());
        let some: Vec<UserSlot> = presence.sweep.drain(..count).collect();
        let mut unsent = Vec::new();
        for user in some {
            // The slot may belong to another user by now, or to none.
            let friends = self.users.at(user.slot()).map(|entry| &*entry.friends).unwrap_or_default();
            let is_doubted = |friend: &UserSlot| {
                let hash = self.users.hash(self.users.get(*friend).name.as_str());
                presence.users_in_doubt.contains(&hash)
            };
            unsent.extend(friends.iter().filter(|friend| is_doubted(friend)).map(|friend| (user, *friend)));
        }
        if presence.sweep.is_empty() {
            if std::mem::take(&mut presence.sweeps_again) {
                self.begin_presence_sweep();
            } else {
                presence.users_in_doubt.clear();
            }
        }
        for (to, about) in unsent {
            self.add_unsent_presence(to, about);
        }
    }
}
