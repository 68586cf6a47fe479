//! The receivers who belong to other nodes, as the taker of messages for them sees them.
//!
//! Each receiver is in one of two states. *Stored*: each message is saved, and the receiver's node
//! is told to look. *Direct*: each message is handed over at once, and saved only if it is not
//! acked within the save delay. Between the two the state is *opening*: messages wait for the last
//! save that was submitted before.
//!
//! The state Direct ends when the receiver's node says `No`, the link is down or full, or the
//! receiver moves. Then the unsaved messages are saved in order, and the owner is told to look.

use super::super::ServerCore;
use super::super::contract::CoreAction;
use super::super::deliveries::DeliverySaveState;
use super::super::ids::{DeliveryRef, UserSlot};
use super::super::users::UserRoute;
use super::contract::{BusRecord, NodeId, NodeIncarnation, NodeMessage, UserOwner};
use super::{OwnerNodeRereadParts, step_count};
use crate::protocol::field::UserName;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The maximum number of remote receivers in memory. For all others every message is saved.
const REMOTES_MAX: usize = 65_536;
/// The number of receivers that are checked for an idle one that can be evicted.
const LOOKED_AT_MAX: usize = 8;
/// The number of senders for whom the time of their arrival is remembered.
const CAME_MAX: usize = 65_536;
/// The maximum number of receivers of one sender that are handed over with the sender.
const UNACKED_MAX: usize = 1_024;
/// The memory of a remote receiver, and of a message that was handed over, without the delivery.
const REMOTE_BYTES: usize = size_of::<RemoteReceiver>() + 128;
const ITEM_BYTES: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RemoteDeliveryMode {
    /// Each message is saved. `last` is the last one whose save was submitted since this node knows
    /// the receiver, or 0.
    Stored { last: u64 },
    /// The state becomes Direct when this save is answered.
    Opening { until: u64 },
    /// Messages are handed over. A `Look` was sent when `looked` senders had arrived.
    Direct { phase: u64, looked: u64 },
}

#[derive(Debug)]
struct RemoteReceiver {
    owner: NodeIncarnation,
    state: RemoteDeliveryMode,
    /// The last use, as a position in the order of all uses.
    last_use: u64,
    /// The messages that wait for their acks, by `seq`, each with its delivery.
    items: BTreeMap<u64, u32>,
    bytes: usize,
}

impl RemoteReceiver {
    fn is_stored(&self) -> bool {
        matches!(self.state, RemoteDeliveryMode::Stored { .. })
    }
}

/// All remote receivers of this node.
#[derive(Debug, Default)]
pub(super) struct RemoteReceiverTable {
    /// The receivers. Each retains its user.
    receivers: BTreeMap<UserSlot, RemoteReceiver>,
    /// The receivers that are not in the state Stored, by their node.
    by_node: BTreeSet<(NodeId, UserSlot)>,
    /// The order in which receivers are checked for being idle.
    by_last_use: BTreeMap<u64, UserSlot>,
    last_use: u64,
    items: usize,
    /// For each sender and receiver, the number of messages that are saved and not acked, and of
    /// which the receiver's node knows only if they were handed over successfully.
    unacked: BTreeMap<(UserSlot, UserSlot), u32>,
    last_phase: u64,
    /// Senders who came from other nodes, numbered in the order of their arrival.
    arrival_count: u64,
    newer_arrivals: HashMap<u64, u64>,
    older_arrivals: HashMap<u64, u64>,
    /// Senders who are not in the map arrived no later than this.
    last_evicted_arrival: u64,
}

impl RemoteReceiverTable {
    pub(super) fn memory_bytes(&self) -> usize {
        self.receivers.len() * REMOTE_BYTES
            + self.items * ITEM_BYTES
            + self.unacked.len() * size_of::<(UserSlot, UserSlot, u32)>()
            + (self.newer_arrivals.len() + self.older_arrivals.len()) * size_of::<(u64, u64)>()
    }

    /// The users to which it refers.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> impl Iterator<Item = UserSlot> + '_ {
        self.receivers.keys().copied()
    }

    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert_eq!(self.items, self.receivers.values().map(|remote| remote.items.len()).sum::<usize>());
        for (user, remote) in &self.receivers {
            assert!(!remote.is_stored() || remote.items.is_empty());
            assert_eq!(self.by_node.contains(&(remote.owner.node, *user)), !remote.is_stored());
        }
        assert!(self.by_node.iter().all(|(_, user)| self.receivers.contains_key(user)));
        assert_eq!(self.by_last_use.len(), self.receivers.len());
        let is_current = |(at, user): (&u64, &UserSlot)| self.receivers.get(user).is_some_and(|it| it.last_use == *at);
        assert!(self.by_last_use.iter().all(is_current));
    }

    fn note_arrived_sender(&mut self, sender: u64) {
        self.arrival_count += 1;
        if self.newer_arrivals.len() >= CAME_MAX {
            self.older_arrivals = std::mem::take(&mut self.newer_arrivals);
            self.last_evicted_arrival = self.arrival_count;
        }
        self.newer_arrivals.insert(sender, self.arrival_count);
    }

    fn arrival_of(&self, sender: u64) -> u64 {
        let known = self.newer_arrivals.get(&sender).or_else(|| self.older_arrivals.get(&sender));
        known.copied().unwrap_or(self.last_evicted_arrival)
    }

    fn note_acked(&mut self, sender: UserSlot, receiver: UserSlot) {
        if let Some(count) = self.unacked.get_mut(&(sender, receiver)) {
            *count -= 1;
            if *count == 0 {
                self.unacked.remove(&(sender, receiver));
            }
        }
    }

    /// The receivers on these nodes who have not acked all messages of this sender that are in the
    /// store. `None`: there are too many.
    pub(super) fn unacked_of(&self, sender: UserSlot, nodes: &BTreeSet<NodeIncarnation>) -> Option<Vec<UserSlot>> {
        let all = (sender, UserSlot::FIRST)..=(sender, UserSlot::LAST);
        let receivers = self.unacked.range(all).map(|((_, receiver), _)| *receiver).take(UNACKED_MAX + 1);
        let receivers: Vec<UserSlot> = receivers.collect();
        step_count::count(receivers.len());
        let is_there = |user: &UserSlot| self.receivers.get(user).is_some_and(|remote| nodes.contains(&remote.owner));
        (receivers.len() <= UNACKED_MAX).then(|| receivers.into_iter().filter(is_there).collect())
    }

    /// Removes what was handed over for a receiver, and puts the receiver into the state Stored.
    fn end(&mut self, user: UserSlot) -> Vec<DeliveryRef> {
        let Some(remote) = self.receivers.get_mut(&user).filter(|remote| !remote.is_stored()) else {
            return Vec::new();
        };
        let items = std::mem::take(&mut remote.items);
        (remote.bytes, remote.state) = (0, RemoteDeliveryMode::Stored { last: 0 });
        self.by_node.remove(&(remote.owner.node, user));
        self.items -= items.len();
        items.into_iter().map(|(seq, slot)| DeliveryRef { slot, seq }).collect()
    }

    /// The receivers on nodes that are no longer alive.
    pub(super) fn receivers_on_dead_nodes(&self, lives: impl Fn(&NodeIncarnation) -> bool) -> Vec<UserSlot> {
        self.receivers.iter().filter(|(_, remote)| !lives(&remote.owner)).map(|(user, _)| *user).collect()
    }

    /// The receivers that are not in the state Stored.
    fn at(&self, node: NodeId) -> Vec<UserSlot> {
        let all = (node, UserSlot::FIRST)..=(node, UserSlot::LAST);
        self.by_node.range(all).map(|(_, user)| *user).collect()
    }
}

impl ServerCore {
    fn remotes(&mut self) -> Option<&mut RemoteReceiverTable> {
        Some(&mut self.bus()?.remote_receivers)
    }

    fn remote(&mut self, user: UserSlot) -> Option<&mut RemoteReceiver> {
        self.remotes()?.receivers.get_mut(&user)
    }

    /// Hands a push over to the owner of its receiver, or saves it.
    #[inline(never)]
    pub(in super::super) fn deliver_to_other_node(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        if !self.hand_over(delivery, out) {
            self.deliver_by::<false>(delivery, out);
        }
    }

    /// A message for a user on another node was taken. Returns `true` if it is handed over, or will
    /// be.
    fn hand_over(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) -> bool {
        let Some(found) = self.deliveries.get(delivery) else { return true };
        let (receiver, sender, weight) = (found.receiver, found.sender, found.weight_bytes());
        let (count_max, bytes_max) = (self.rules.list_max as usize, self.rules.list_bytes_max);
        let Some(remote) = self.remote(receiver) else {
            debug_assert!(false, "a user who is elsewhere has an owner");
            return false;
        };
        let is_full = remote.items.len() >= count_max || (remote.bytes > 0 && remote.bytes + weight > bytes_max);
        let is_handed = match remote.state {
            RemoteDeliveryMode::Stored { .. } => false,
            _ if is_full => false,
            RemoteDeliveryMode::Opening { .. } => true,
            RemoteDeliveryMode::Direct { .. } => self.hand_over_now(delivery, sender, out),
        };
        if !is_handed {
            self.end_direct(receiver, out);
            if let Some(RemoteReceiver { state: RemoteDeliveryMode::Stored { last }, .. }) = self.remote(receiver) {
                *last = delivery.seq;
            }
            return false;
        }
        if let Some(remotes) = self.remotes()
            && let Some(remote) = remotes.receivers.get_mut(&receiver)
        {
            remote.items.insert(delivery.seq, delivery.slot);
            remote.bytes += weight;
            remotes.items += 1;
        }
        if let Some(found) = self.deliveries.get_mut(delivery) {
            found.is_listed = true;
        }
        self.save_later(delivery);
        true
    }

    /// Hands a message over; returns `false` if that is impossible.
    fn hand_over_now(&mut self, delivery: DeliveryRef, sender: Option<UserSlot>, out: &mut Vec<CoreAction>) -> bool {
        let Some(found) = self.deliveries.get(delivery) else { return true };
        let receiver = found.receiver;
        let name = self.users.get(receiver).name.clone();
        let push = found.push_to(&name);
        if self.cluster.as_ref().is_none_or(|cluster| push.seq > cluster.seq_limit) {
            // The next incarnation of this node may give the number again.
            return false;
        }
        let sender = sender.map(|sender| self.users.hash(self.users.get(sender).name.as_str()));
        let Some(remotes) = self.remotes() else { return false };
        let came = sender.map_or(0, |sender| remotes.arrival_of(sender));
        let came_last = remotes.arrival_count;
        let Some(RemoteReceiver { owner, state: RemoteDeliveryMode::Direct { phase, looked }, .. }) =
            remotes.receivers.get_mut(&receiver)
        else {
            return false;
        };
        let (at, phase) = (*owner, *phase);
        if *looked < came {
            // Messages that the sender sent through their former node may be in the store, and the
            // receiver's node may not know of them.
            *looked = came_last;
            self.send_record(at, NodeMessage::Look { user: name }, out);
        }
        self.hand_push(at, phase, &push)
    }

    /// A sender has come from another node.
    pub(super) fn note_arrived_sender(&mut self, user: UserSlot) {
        let hash = self.users.hash(self.users.get(user).name.as_str());
        if let Some(remotes) = self.remotes() {
            remotes.note_arrived_sender(hash);
        }
    }

    /// Was this message handed over, and does it wait for its ack?
    pub(super) fn is_handed_over(&mut self, receiver: UserSlot, seq: u64) -> bool {
        self.remote(receiver).is_some_and(|remote| remote.items.contains_key(&seq))
    }

    pub(super) fn is_direct(&mut self, user: UserSlot) -> Option<NodeIncarnation> {
        let remote = self.remote(user)?;
        matches!(remote.state, RemoteDeliveryMode::Direct { .. }).then_some(remote.owner)
    }

    /// A message that was handed over was committed, because it was not acked in time. `owner` was
    /// read after the commit. Returns `false` if it is no longer handed over.
    pub(super) fn on_saved_in_direct(
        &mut self,
        delivery: DeliveryRef,
        (receiver, sender): (UserSlot, Option<UserSlot>),
        owner: Option<UserOwner>,
        out: &mut Vec<CoreAction>,
    ) -> bool {
        let save = self.deliveries.get(delivery).map(|found| found.save_state);
        let Some(remotes) = self.remotes() else { return false };
        let Some(remote) = remotes.receivers.get_mut(&receiver) else { return false };
        if owner.and_then(|owner| owner.incarnation) != Some(remote.owner) || save.is_none() {
            // Or the store has another push with the same id, of which the owner may not know.
            self.end_direct(receiver, out);
            return false;
        }
        if let Some(sender) = sender.filter(|_| save == Some(DeliverySaveState::Done)) {
            *remotes.unacked.entry((sender, receiver)).or_default() += 1;
        }
        true
    }

    /// The save of a message to a user who is not here was answered. All saves for that user up to
    /// this one are answered, too.
    pub(super) fn try_direct_mode(
        &mut self,
        receiver: UserSlot,
        seq: u64,
        owner: Option<UserOwner>,
        out: &mut Vec<CoreAction>,
    ) {
        if self.cluster.as_ref().is_none_or(|cluster| cluster.bus.is_none()) {
            return;
        }
        let entry = self.users.get(receiver);
        if entry.is_here() || entry.loading.is_some() || entry.list.is_some() {
            return;
        }
        let at = owner.and_then(|owner| owner.incarnation);
        let Some(at) = at.filter(|at| self.cluster.as_ref().is_some_and(|cluster| cluster.is_alive(*at))) else {
            return self.remove_remote(receiver, out);
        };
        let is_up = self.is_link_up(at);
        match self.remote(receiver).map(|remote| (remote.owner, remote.state)) {
            Some((before, _)) if before != at => {
                self.remove_remote(receiver, out);
                self.know_remote(receiver, at);
            }
            None => self.know_remote(receiver, at),
            Some(_) if !is_up => self.end_direct(receiver, out),
            Some((_, RemoteDeliveryMode::Stored { last })) if last == seq => self.begin_direct(receiver, out),
            Some((_, RemoteDeliveryMode::Stored { last })) if last > seq => {
                if let Some(remotes) = self.remotes()
                    && let Some(remote) = remotes.receivers.get_mut(&receiver)
                {
                    remote.state = RemoteDeliveryMode::Opening { until: last };
                    remotes.by_node.insert((at.node, receiver));
                }
            }
            Some((_, RemoteDeliveryMode::Opening { until })) if seq >= until => self.begin_direct(receiver, out),
            Some(_) => {}
        }
    }

    /// The owner of the receiver was read.
    pub(super) fn on_receiver_owner_read(&mut self, user: UserSlot, owner: UserOwner, out: &mut Vec<CoreAction>) {
        if self.remote(user).is_some_and(|remote| Some(remote.owner) != owner.incarnation) {
            self.remove_remote(user, out);
        }
    }

    /// From now on the receiver's owner is known.
    fn know_remote(&mut self, user: UserSlot, owner: NodeIncarnation) {
        for _ in 0..LOOKED_AT_MAX {
            let Some(remotes) = self.remotes() else { return };
            if remotes.receivers.len() < REMOTES_MAX {
                break;
            }
            let Some((_, oldest)) = remotes.by_last_use.pop_first() else { return };
            remotes.last_use += 1;
            remotes.by_last_use.insert(remotes.last_use, oldest);
            let Some(remote) = remotes.receivers.get_mut(&oldest) else { return };
            remote.last_use = remotes.last_use;
            if remote.items.is_empty() {
                // No message for the receiver waits.
                self.remove_unused_remote(oldest);
            }
        }
        let Some(remotes) = self.remotes().filter(|remotes| remotes.receivers.len() < REMOTES_MAX) else { return };
        remotes.last_use += 1;
        let (state, last_use) = (RemoteDeliveryMode::Stored { last: 0 }, remotes.last_use);
        remotes.receivers.insert(user, RemoteReceiver { owner, state, last_use, items: BTreeMap::new(), bytes: 0 });
        remotes.by_last_use.insert(last_use, user);
        self.users.retain(user);
        self.users.set_route_elsewhere(user);
    }

    fn remove_unused_remote(&mut self, user: UserSlot) {
        let Some(remotes) = self.remotes() else { return };
        let items = remotes.end(user);
        debug_assert!(items.is_empty(), "its items were removed");
        if let Some(remote) = remotes.receivers.remove(&user) {
            remotes.by_last_use.remove(&remote.last_use);
            self.users.clear_route_elsewhere(user);
            self.users.release(user);
        }
    }

    /// The receiver logs in here, or belongs to another node now.
    pub(in super::super) fn remove_remote(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        if self.users.route(user) == UserRoute::Elsewhere {
            self.end_direct(user, out);
            self.remove_unused_remote(user);
        }
    }

    /// Each earlier message for the receiver is in the store, or will never be.
    fn begin_direct(&mut self, receiver: UserSlot, out: &mut Vec<CoreAction>) {
        let user = self.users.get(receiver).name.clone();
        let Some(remotes) = self.remotes() else { return };
        remotes.last_phase += 1;
        let (phase, looked) = (remotes.last_phase, remotes.arrival_count);
        let Some(remote) = remotes.receivers.get_mut(&receiver) else { return };
        remote.state = RemoteDeliveryMode::Direct { phase, looked };
        remotes.by_node.insert((remote.owner.node, receiver));
        let items = remote.items.iter().map(|(&seq, &slot)| DeliveryRef { slot, seq });
        let (at, items) = (remote.owner, items.collect::<Vec<_>>());
        self.send_phase_begin(at, BusRecord::Begin { user, phase });
        for delivery in items {
            let sender = self.deliveries.get(delivery).and_then(|found| found.sender);
            if !self.hand_over_now(delivery, sender, out) {
                return self.end_direct(receiver, out);
            }
        }
    }

    /// The save of this message failed, and it is refused. Returns `true` if it was handed over:
    /// then it stays, because its ack may still arrive and makes a repetition a duplicate. It is
    /// not saved later, nor handed over later: a later message may be saved already, and another
    /// node may have read that one.
    pub(in super::super) fn keep_refused(&mut self, delivery: DeliveryRef) -> bool {
        let Some(found) = self.deliveries.get(delivery) else { return false };
        let (receiver, weight) = (found.receiver, found.weight_bytes());
        if self.users.route(receiver) != UserRoute::Elsewhere {
            return false;
        }
        let Some(remotes) = self.remotes() else { return false };
        let Some(remote) = remotes.receivers.get_mut(&receiver) else { return false };
        if matches!(remote.state, RemoteDeliveryMode::Direct { .. }) {
            return remote.items.contains_key(&delivery.seq);
        }
        if remote.items.remove(&delivery.seq).is_some() {
            remote.bytes = remote.bytes.saturating_sub(weight);
            remotes.items -= 1;
            if let Some(found) = self.deliveries.get_mut(delivery) {
                found.is_listed = false;
            }
        }
        false
    }

    /// From now on messages for the receiver are saved, including those that were handed over and
    /// are not durable.
    pub(super) fn end_direct(&mut self, receiver: UserSlot, out: &mut Vec<CoreAction>) {
        let Some(remotes) = self.remotes() else { return };
        let items = remotes.end(receiver);
        if items.is_empty() {
            return;
        }
        self.users.retain(receiver);
        let (mut saved, mut unsaved) = (Vec::new(), Vec::new());
        for delivery in items {
            let Some(found) = self.deliveries.get_mut(delivery) else { continue };
            found.is_listed = false;
            match found.save_state {
                DeliverySaveState::Done => saved.push(delivery),
                DeliverySaveState::FailedAfterHandOver => self.release_delivery(delivery),
                DeliverySaveState::InFlight => {} // The owner is told of any outcome.
                DeliverySaveState::None | DeliverySaveState::Failed => unsaved.push(delivery),
                DeliverySaveState::Full | DeliverySaveState::Foreign => unsaved.push(delivery),
            }
        }
        for delivery in unsaved {
            self.save_if_unsaved(delivery, out);
            if let Some(RemoteReceiver { state: RemoteDeliveryMode::Stored { last }, .. }) = self.remote(receiver) {
                *last = delivery.seq;
            }
        }
        for delivery in saved {
            let sender = self.deliveries.get(delivery).and_then(|found| found.sender);
            if let (Some(remotes), Some(sender)) = (self.remotes(), sender) {
                remotes.note_acked(sender, receiver);
            }
            self.notify_owner(receiver, OwnerNodeRereadParts::PUSHES, sender, out);
            self.release_delivery(delivery);
        }
        self.users.release(receiver);
    }

    /// The link to this node is down, or the node has missed records.
    pub(super) fn end_direct_receivers_at(&mut self, node: NodeId, out: &mut Vec<CoreAction>) {
        let users = self.remotes().map(|remotes| remotes.at(node)).unwrap_or_default();
        for user in users {
            self.end_direct(user, out);
        }
    }

    /// A message that this node has taken was acked on another node.
    pub(super) fn on_remote_ack(&mut self, name: UserName, seq: u64, out: &mut Vec<CoreAction>) {
        let slot = self.users.find(name.as_str()).and_then(|user| {
            let remotes = self.remotes()?;
            let slot = remotes.receivers.get_mut(&user)?.items.remove(&seq)?;
            remotes.items -= 1;
            Some((user, DeliveryRef { slot, seq }))
        });
        let Some((receiver, delivery)) = slot else {
            return self.submit_delete(seq, name, out);
        };
        self.uncount_delivery_load(delivery, out);
        let Some(gone) = self.deliveries.remove(delivery) else {
            return self.submit_delete(seq, name, out);
        };
        let weight = gone.weight_bytes();
        if let Some(remotes) = self.remotes() {
            if let Some(remote) = remotes.receivers.get_mut(&receiver) {
                remote.bytes = remote.bytes.saturating_sub(weight);
            }
            if let Some(sender) = gone.sender.filter(|_| gone.save_state == DeliverySaveState::Done) {
                remotes.note_acked(sender, receiver);
            }
        }
        let is_stored = !matches!(gone.save_state, DeliverySaveState::None | DeliverySaveState::Full);
        self.settle_acked_delivery(gone, out);
        if is_stored {
            self.submit_delete(seq, name, out);
        }
    }

    /// The receiver's node refuses a message that was handed over.
    pub(super) fn on_remote_refusal(&mut self, user: &UserName, seq: u64, out: &mut Vec<CoreAction>) {
        // Otherwise it was saved before, and the receiver's node was told to look.
        if let Some(user) = self.users.find(user.as_str())
            && self.is_handed_over(user, seq)
        {
            self.end_direct(user, out);
        }
    }
}
