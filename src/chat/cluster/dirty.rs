//! The receivers for whom a sender's pushes may be in the store without their owner knowing. The
//! next node of the sender gets this list, and tells the owners to look.

use super::super::ChatCore;
use super::super::contract::CoreAction;
use super::super::ids::UserSlot;
use super::super::users::Users;
use super::ClusterState;
use super::contract::{NodeIncarnation, NodeMessage};
use super::step_count;
use crate::protocol::field::UserName;
use std::collections::{BTreeMap, BTreeSet};

/// If there are more pairs than this, the next node of any sender reads everything.
const PAIRS_MAX: usize = if cfg!(test) { 1_000 } else { 100_000 };
/// If a sender has more receivers than this, the sender's next node reads everything.
const OF_SENDER_MAX: usize = 1_024;

/// The pairs. A sender may be in no table any more, so each is stored as the hash of the name. If
/// two names have the same hash, more is looked for than necessary.
#[derive(Debug, Default)]
pub(super) struct UnannouncedMessages {
    by_sender: BTreeSet<(u64, UserSlot)>,
    by_receiver: BTreeSet<(UserSlot, u64)>,
    /// The number of times that a pair was not kept.
    lost_pairs: u64,
    /// For each node, the number of losses up to which it has read everything.
    informed_nodes: BTreeMap<NodeIncarnation, u64>,
}

impl UnannouncedMessages {
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
        self.lost_pairs += 1;
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

    /// Every owner was told.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The receivers for whom this sender's pushes may be in the store; `None` if that is not
    /// known, or there are too many.
    fn receivers_of(&self, sender: u64, to: NodeIncarnation) -> Option<Vec<UserSlot>> {
        if self.informed_nodes.get(&to).copied().unwrap_or(0) < self.lost_pairs {
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
        self.informed_nodes.insert(to, self.lost_pairs);
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

impl ChatCore {
    /// The receivers for whom pushes of this user may be in the store without their owners knowing.
    /// If there are too many, or this is not known, the user's next node is told to look at all
    /// lists.
    pub(super) fn dirty_of(
        &mut self,
        sender: UserSlot,
        to: NodeIncarnation,
        out: &mut Vec<CoreAction>,
    ) -> Vec<UserName> {
        let Some(cluster) = &mut self.cluster else { return Vec::new() };
        if let Some(dirty) = cluster.dirty_of(sender, &self.users, to) {
            return dirty.into_iter().collect();
        }
        cluster.dirty.mark_node_informed(to);
        self.send_record(to, NodeMessage::Missed, out);
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::NodeId;
    use super::*;

    #[test]
    fn what_is_too_much_is_told_to_each_node_once() {
        let to = NodeIncarnation { node: NodeId::new(2).unwrap(), epoch: 1 };
        let mut dirty = UnannouncedMessages::default();
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
