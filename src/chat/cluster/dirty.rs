//! The receivers for whom a sender's pushes may be in the store without their owner knowing. The
//! next node of the sender gets this list. It reads the lists of those who are there, and hands the
//! others on if the sender moves again.

use super::super::ServerCore;
use super::super::contract::CoreAction;
use super::super::ids::UserSlot;
use super::super::users::Users;
use super::ClusterState;
use super::contract::{HandoverReceiversWithUnnotifiedOwners, NodeIncarnation, NodeMessage};
use super::step_count;
use crate::protocol::field::UserName;
use std::collections::{BTreeMap, BTreeSet};

/// If there are more pairs than this, the next node of any sender reads everything.
const PAIRS_MAX: usize = if cfg!(test) { 1_000 } else { 100_000 };
/// If a sender has more receivers than this, the sender's next node reads everything.
const OF_SENDER_MAX: usize = 1_024;
/// The same for receivers that are handed over, including those from earlier nodes.
const HANDED_OVER_MAX: usize = 2 * OF_SENDER_MAX;

/// The pairs. A sender may be in no table any more, so each is stored as the hash of the name. If
/// two names have the same hash, more is looked for than necessary.
#[derive(Debug, Default)]
pub(super) struct PairsWithUnnotifiedOwner {
    by_sender: BTreeSet<(u64, UserSlot)>,
    by_receiver: BTreeSet<(UserSlot, u64)>,
    /// The number of times that some receivers were not known: a pair was not kept, or a sender
    /// came whose former node did not know them.
    losses: u64,
    /// The last loss of a pair, by number; 0: all owners were told since.
    last_lost_pair: u64,
    /// For each node, the number of losses up to which it was told to read everything.
    informed_nodes: BTreeMap<NodeIncarnation, u64>,
}

impl PairsWithUnnotifiedOwner {
    /// The owner of the receiver still has to be told.
    pub(super) fn insert(&mut self, sender: u64, receiver: UserSlot) {
        if self.by_sender.len() >= PAIRS_MAX && !self.by_sender.contains(&(sender, receiver)) {
            return self.record_lost_pair();
        }
        self.by_sender.insert((sender, receiver));
        self.by_receiver.insert((receiver, sender));
    }

    /// A pair is not kept: the next node of any sender must read everything.
    pub(super) fn record_lost_pair(&mut self) {
        self.last_lost_pair = self.record_loss();
    }

    /// A sender came whose former node did not know all receivers: their next node must read
    /// everything. Returns the number of the loss.
    pub(super) fn record_loss(&mut self) -> u64 {
        self.losses += 1;
        self.losses
    }

    /// The owner of a receiver was told.
    pub(super) fn remove(&mut self, receiver: UserSlot) {
        for sender in self.senders_to(receiver) {
            self.by_receiver.remove(&(receiver, sender));
            self.by_sender.remove(&(sender, receiver));
        }
    }

    /// The hashes of the senders of whose pushes the owner of this receiver is still to be told.
    pub(super) fn senders_to(&self, receiver: UserSlot) -> Vec<u64> {
        let all = (receiver, u64::MIN)..=(receiver, u64::MAX);
        self.by_receiver.range(all).map(|&(_, sender)| sender).collect()
    }

    /// May the owners of other receivers still have to be told than those that are known?
    fn has_lost_pairs(&self) -> bool {
        self.last_lost_pair > 0
    }

    /// Every owner was told.
    fn clear(&mut self) {
        self.by_sender.clear();
        self.by_receiver.clear();
        self.last_lost_pair = 0;
    }

    /// The receivers for whom this sender's pushes may be in the store; `None` if that is not
    /// known, or there are too many.
    fn receivers_of(&self, sender: u64, to: NodeIncarnation) -> Option<Vec<UserSlot>> {
        if !self.is_informed(to, self.last_lost_pair) {
            return None;
        }
        let all = (sender, UserSlot::FIRST)..=(sender, UserSlot::LAST);
        let receivers: Vec<UserSlot> =
            self.by_sender.range(all).map(|&(_, receiver)| receiver).take(OF_SENDER_MAX + 1).collect();
        step_count::count(receivers.len());
        (receivers.len() <= OF_SENDER_MAX).then_some(receivers)
    }

    /// A node reads everything from now on.
    pub(super) fn mark_node_informed(&mut self, to: NodeIncarnation) {
        self.informed_nodes.retain(|at, _| at.node != to.node);
        self.informed_nodes.insert(to, self.losses);
    }

    /// Was this node told to read everything after the loss with this number?
    fn is_informed(&self, to: NodeIncarnation, loss: u64) -> bool {
        self.informed_nodes.get(&to).copied().unwrap_or(0) >= loss
    }

    pub(super) fn memory_bytes(&self) -> usize {
        2 * (self.by_sender.len() + self.by_receiver.len()) * size_of::<(u64, UserSlot)>()
    }

    #[cfg(debug_assertions)]
    pub(super) fn check(&self, is_told: impl Fn(UserSlot) -> bool) {
        assert_eq!(self.by_sender.len(), self.by_receiver.len());
        assert!(self.by_sender.iter().all(|&(sender, receiver)| self.by_receiver.contains(&(receiver, sender))));
        assert!(self.by_sender.iter().all(|&(_, receiver)| is_told(receiver)), "the owner is told");
        assert!(self.by_sender.len() <= PAIRS_MAX);
    }
}

impl ClusterState {
    /// If every owner was told, no pair is lost any more.
    pub(super) fn remove_told_losses(&mut self, now_ms: u64) {
        let is_all_told = self.owner_notices.is_empty() && !self.tells_all_nodes;
        let is_confirmed = self.bus.as_ref().is_none_or(|bus| !bus.has_unconfirmed_senders());
        if is_all_told && is_confirmed && !self.inherited.has_omitted_some(now_ms) {
            self.dirty.clear();
        }
    }

    /// When this sender moves to the node `to`: the receivers who have pushes of the sender in the
    /// store of which their owners may not know. `None`: they are not known, or too many.
    fn dirty_of(&self, sender: UserSlot, users: &Users, to: NodeIncarnation) -> Option<BTreeSet<UserName>> {
        let hash = users.hash(users.get(sender).name.as_str());
        let mut receivers = self.dirty.receivers_of(hash, to)?;
        let mut names = BTreeSet::new();
        if let Some(bus) = &self.bus {
            // The next node is left out: it takes the records for it before it learns of the user.
            let looks = bus.links_except(to).flat_map(|(_, link)| link.unconfirmed_receivers_of(hash));
            let unconfirmed: Vec<&UserName> = looks.take(OF_SENDER_MAX + 1).collect();
            step_count::count(unconfirmed.len());
            if unconfirmed.len() > OF_SENDER_MAX {
                return None;
            }
            names.extend(unconfirmed.into_iter().cloned());
            // Pushes that were handed over are lost with their epoch.
            let behind = bus.links_except(to).filter(|(_, link)| link.has_unconfirmed()).map(|(at, _)| at);
            receivers.extend(bus.remote_receivers.unacked_of(sender, &behind.chain([to]).collect())?);
        }
        names.extend(receivers.into_iter().map(|user| users.get(user).name.clone()));
        Some(names)
    }
}

impl ServerCore {
    /// The receivers for whom pushes of this user may be in the store without their owners knowing.
    /// If there are too many, or this is not known, here or on the user's former node, the next
    /// node is told to look at all lists.
    pub(super) fn dirty_of(
        &mut self,
        sender: UserSlot,
        to: NodeIncarnation,
        out: &mut Vec<CoreAction>,
    ) -> HandoverReceiversWithUnnotifiedOwners {
        let (now_ms, hash) = (self.now.mono_ms, self.users.hash(self.users.get(sender).name.as_str()));
        let Some(cluster) = &mut self.cluster else { return HandoverReceiversWithUnnotifiedOwners::default() };
        cluster.remove_told_losses(now_ms);
        let (inherited, loss) = cluster.inherited.of(hash, now_ms);
        let own = cluster.dirty_of(sender, &self.users, to);
        let has_lost_pairs = cluster.dirty.has_lost_pairs();
        let is_nothing_new = !has_lost_pairs && own.as_ref().is_some_and(BTreeSet::is_empty);
        let age_ms = if is_nothing_new { inherited.age_ms } else { 0 };
        if let Some(mut listed) = own.filter(|_| cluster.dirty.is_informed(to, loss)) {
            listed.extend(inherited.listed);
            if listed.len() <= HANDED_OVER_MAX {
                // If there are others, this next node reads everything. The one after it may not.
                let has_unlisted = has_lost_pairs || inherited.has_unlisted;
                return HandoverReceiversWithUnnotifiedOwners {
                    listed: listed.into_iter().collect(),
                    has_unlisted,
                    age_ms,
                };
            }
        }
        cluster.dirty.mark_node_informed(to);
        self.send_record(to, NodeMessage::RecordsMissed, out);
        HandoverReceiversWithUnnotifiedOwners { listed: Vec::new(), has_unlisted: true, age_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::NodeId;
    use super::*;

    #[test]
    fn an_overflow_is_told_to_each_node_once() {
        let to = NodeIncarnation { node: NodeId::new(2).unwrap(), epoch: 1 };
        let mut dirty = PairsWithUnnotifiedOwner::default();
        (0..PAIRS_MAX as u64).for_each(|sender| dirty.insert(sender, UserSlot::of(sender as usize % 100)));
        dirty.insert(1, UserSlot::of(1));
        assert_eq!(dirty.receivers_of(1, to), Some(vec![UserSlot::of(1)]), "that one is known");
        let bytes = dirty.memory_bytes();
        dirty.insert(u64::MAX, UserSlot::of(1));
        assert_eq!(dirty.memory_bytes(), bytes, "there is no room");
        assert_eq!(dirty.receivers_of(1, to), None);
        dirty.mark_node_informed(to);
        assert_eq!(dirty.receivers_of(1, to), Some(vec![UserSlot::of(1)]));
        assert_eq!(dirty.receivers_of(1, NodeIncarnation { epoch: 2, ..to }), None, "another one");
        for receiver in 0..100 {
            dirty.remove(UserSlot::of(receiver));
        }
        assert_eq!(dirty.memory_bytes(), 0);
    }
}
