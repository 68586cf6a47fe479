//! Pushes that other nodes hand over to this one, for users who are here.
//!
//! Such a push is on the list of its receiver like any other, but belongs to its *taker*: the node
//! that took the message saves it, deletes it, and answers its sender. `Ack` tells the taker that
//! the push was acked; `No` tells it that the push is not, or no longer, on the list. After a `No`
//! nothing more is taken from that taker until it begins anew, so that no message overtakes a
//! refused one.
//!
//! The bus may be slower than the store: a push may be handed over after its row was read here,
//! acked and deleted. So acks of other nodes' rows are remembered like those of pushes that were
//! handed over.

use super::super::ServerCore;
use super::super::contract::CoreAction;
use super::super::deliveries::{Delivery, DeliverySaveState};
use super::super::ids::{DeliveryRef, UserSlot};
use super::super::mailbox::MailboxBackfillState;
use super::super::unacked_push_list::UnackedPushList;
use super::contract::{NODE_BITS, NodeId, NodeIncarnation, NodeMessage};
use super::recent_set::ExpiringNumberSet;
use crate::protocol::field::UserName;
use crate::protocol::push::{Push, PushKind};
use std::collections::BTreeMap;

/// The shortest time for which the numbers of acked pushes are remembered. A taker may have saved
/// such a push, and deletes it as soon as it learns of the ack.
const ACKED_SPAN_MS: u64 = 600_000;
/// The memory for one user and taker.
const BEGUN_BYTES: usize = size_of::<(UserSlot, NodeIncarnation, u64)>() + 48;

/// The state of pushes that other nodes hand over.
#[derive(Debug, Default)]
pub(super) struct PushesFromOtherNodes {
    /// For each user here: the takers whose pushes are accepted, with their phases.
    open_phases: BTreeMap<UserSlot, Vec<(NodeIncarnation, u64)>>,
    open_phase_count: usize,
    /// Pushes of other nodes that were acked here, by their `seq`.
    acked: ExpiringNumberSet,
    /// The same pushes by receiver, sender and id: their takers may have died before they knew.
    messages: ExpiringNumberSet,
}

impl PushesFromOtherNodes {
    pub(super) fn memory_bytes(&self) -> usize {
        self.open_phase_count * BEGUN_BYTES + self.acked.memory_bytes() + self.messages.memory_bytes()
    }

    fn begin_phase(&mut self, user: UserSlot, from: NodeIncarnation, phase: u64) {
        self.end_phases(user, from.node);
        self.open_phases.entry(user).or_default().push((from, phase));
        self.open_phase_count += 1;
    }

    fn end_phases(&mut self, user: UserSlot, from: NodeId) {
        if let Some(begun) = self.open_phases.get_mut(&user) {
            let before = begun.len();
            begun.retain(|(taker, _)| taker.node != from);
            self.open_phase_count -= before - begun.len();
            if begun.is_empty() {
                self.open_phases.remove(&user);
            }
        }
    }

    fn phase(&self, user: UserSlot, from: NodeIncarnation) -> Option<u64> {
        let begun = self.open_phases.get(&user)?;
        begun.iter().find(|(taker, _)| *taker == from).map(|(_, phase)| *phase)
    }

    pub(super) fn remove_user(&mut self, user: UserSlot) {
        if let Some(begun) = self.open_phases.remove(&user) {
            self.open_phase_count -= begun.len();
        }
    }

    /// Nothing more is taken from dead nodes.
    pub(super) fn retain_live_takers(&mut self, lives: impl Fn(&NodeIncarnation) -> bool) {
        if self.open_phases.values().flatten().all(|(taker, _)| lives(taker)) {
            return;
        }
        self.open_phases.retain(|_, begun| {
            begun.retain(|(taker, _)| lives(taker));
            !begun.is_empty()
        });
        self.open_phase_count = self.open_phases.values().map(Vec::len).sum();
    }
}

fn taker_node(seq: u64) -> Option<NodeId> {
    NodeId::new((seq & ((1 << NODE_BITS) - 1)) as u16)
}

impl ServerCore {
    fn foreign_pushes_mut(&mut self) -> Option<&mut PushesFromOtherNodes> {
        Some(&mut self.bus()?.foreign)
    }

    /// Another node begins to hand over pushes for a user.
    pub(super) fn on_foreign_phase_begin(
        &mut self,
        from: NodeIncarnation,
        user: &UserName,
        phase: u64,
        out: &mut Vec<CoreAction>,
    ) {
        if let Some(user) = self.users.find(user.as_str())
            && self.users.is_here(user)
        {
            if let Some(foreign) = self.foreign_pushes_mut() {
                foreign.begin_phase(user, from, phase);
            }
            self.look(user, out);
        }
    }

    /// Another node hands over a push.
    pub(super) fn foreign_push(&mut self, from: NodeIncarnation, phase: u64, push: Push, out: &mut Vec<CoreAction>) {
        let (now_ms, seq) = (self.now.mono_ms, push.seq);
        let message_span_ms = self.rules.dedup_age_ms / 2;
        let message = self.deliveries.hash([push.receiver(), push.sender(), push.id()]);
        let user = self.users.find(push.receiver());
        let here = user.filter(|user| self.users.is_here(*user));
        let Some(foreign) = self.foreign_pushes_mut() else { return };
        if foreign.acked.contains(seq, now_ms, ACKED_SPAN_MS) {
            return self.say_ack(from, push.receiver, seq);
        }
        let Some(user) = here.filter(|user| foreign.phase(*user, from) == Some(phase)) else {
            // Nothing more of this phase is taken, even if the messages arrive again.
            if let Some(user) = user {
                foreign.end_phases(user, from.node);
            }
            return self.send_record_quietly(from, NodeMessage::No { user: push.receiver, seq });
        };
        if foreign.messages.contains(message, now_ms, message_span_ms) {
            // Its first taker has died, or its sender has moved, before the taker knew of the ack.
            foreign.acked.insert(seq, now_ms, ACKED_SPAN_MS);
            return self.say_ack(from, push.receiver, seq);
        }
        let entry = self.users.get_mut(user);
        let list = entry.list.get_or_insert_with(|| Box::new(UnackedPushList::new(MailboxBackfillState::Live)));
        let listed = list.mailbox.find_same_message(&push, &self.deliveries);
        if list.mailbox.seqs_from(seq).0 {
            let is_row = listed
                .and_then(|listed| self.deliveries.get(listed))
                .is_some_and(|listed| listed.save_state == DeliverySaveState::Done);
            if is_row {
                // Its row was read before. If that is acked, the taker does not learn of it.
                self.refuse_foreign(user, from, seq);
            }
            return;
        }
        let is_durable = listed.and_then(|listed| self.deliveries.get(listed)).map(|listed| listed.is_durable);
        let is_full = list.mailbox.backfill == MailboxBackfillState::Live
            && list.mailbox.is_full(push.weight_bytes(), &self.rules);
        match is_durable {
            // It is the same message as one in the store, which will be delivered.
            Some(true) => self.say_ack(from, push.receiver, seq),
            Some(false) => self.refuse_foreign(user, from, seq),
            None if is_full || push.kind != PushKind::Message => self.refuse_foreign(user, from, seq),
            None => self.list_foreign(user, push, out),
        }
    }

    fn list_foreign(&mut self, user: UserSlot, push: Push, out: &mut Vec<CoreAction>) {
        self.watch_for(user, push.seq);
        self.users.retain(user);
        let delivery = self.deliveries.insert(Delivery::of_foreign(push, user));
        let Some(list) = &mut self.users.get_mut(user).list else { return };
        if list.mailbox.backfill == MailboxBackfillState::Live {
            list.mailbox.append(delivery, &mut self.deliveries);
            return self.pump(user, out);
        }
        let is_listed = list.mailbox.append_tail(delivery, &self.deliveries, &self.rules);
        if !is_listed {
            if let Some(found) = self.deliveries.get_mut(delivery) {
                found.is_listed = false;
            }
            self.release_foreign(delivery);
        }
        self.want_page(user, out);
    }

    fn say_ack(&mut self, taker: NodeIncarnation, user: UserName, seq: u64) {
        self.send_record_quietly(taker, NodeMessage::Ack { user, seq });
    }

    /// Nothing more of this phase is taken.
    fn refuse_foreign(&mut self, user: UserSlot, taker: NodeIncarnation, seq: u64) {
        if let Some(foreign) = self.foreign_pushes_mut() {
            foreign.end_phases(user, taker.node);
        }
        let user = self.users.get(user).name.clone();
        self.send_record_quietly(taker, NodeMessage::No { user, seq });
    }

    /// The taker of a push, if it is alive; perhaps a later incarnation than the one that handed it
    /// over.
    fn live_taker(&self, seq: u64) -> Option<NodeIncarnation> {
        let cluster = self.cluster.as_ref()?;
        let last = cluster.view.node(taker_node(seq)?)?.last;
        cluster.is_alive(last).then_some(last)
    }

    /// The client has acked a push that was handed over. Its delivery is removed.
    #[cold]
    pub(in super::super) fn on_foreign_ack(&mut self, user: UserSlot, delivery: &Delivery, out: &mut Vec<CoreAction>) {
        let seq = delivery.seq;
        let name = self.users.get(user).name.clone();
        self.note_acked(&name, delivery);
        let taker = self.live_taker(seq);
        let Some(foreign) = self.foreign_pushes_mut() else { return };
        let is_takers = taker.is_some_and(|taker| foreign.phase(user, taker).is_some());
        if let Some(taker) = taker {
            self.say_ack(taker, name.clone(), seq);
        }
        if !is_takers {
            // The taker may have died meanwhile: then no other node deletes the row.
            self.submit_delete(seq, name, out);
        }
    }

    /// The client has acked a push that is, or may be, in the store. If another node took it, its
    /// frame may still arrive: then the push is not listed.
    #[cold]
    pub(in super::super) fn on_row_ack(&mut self, user: UserSlot, delivery: &Delivery) {
        let Some(cluster) = self.cluster.as_ref().filter(|cluster| cluster.bus.is_some()) else { return };
        let is_own = taker_node(delivery.seq) == Some(cluster.me.node);
        if !is_own && delivery.body.kind == PushKind::Message {
            let name = self.users.get(user).name.clone();
            self.note_acked(&name, delivery);
        }
    }

    fn note_acked(&mut self, receiver: &UserName, delivery: &Delivery) {
        let (now_ms, span_ms) = (self.now.mono_ms, self.rules.dedup_age_ms / 2);
        let message = self.deliveries.hash([receiver.as_str(), delivery.body.sender(), delivery.body.id()]);
        if let Some(foreign) = self.foreign_pushes_mut() {
            foreign.acked.insert(delivery.seq, now_ms, ACKED_SPAN_MS);
            foreign.messages.insert(message, now_ms, span_ms);
        }
    }

    /// Removes a push that was handed over from memory. It is on no list any more.
    #[cold]
    pub(in super::super) fn release_foreign(&mut self, delivery: DeliveryRef) {
        let Some(found) = self.deliveries.get(delivery) else { return };
        let receiver = found.receiver;
        if let Some(taker) = self.live_taker(delivery.seq) {
            self.refuse_foreign(receiver, taker, delivery.seq);
        }
        self.release_delivery(delivery);
    }

    /// A push that was handed over is the same as one in the store: its taker has nothing more to
    /// do.
    pub(super) fn foreign_is_stored(&mut self, user: UserSlot, seq: u64) {
        let name = self.users.get(user).name.clone();
        if let Some(taker) = self.live_taker(seq) {
            self.say_ack(taker, name, seq);
        }
    }

    /// A page has a push that was acked here: its taker has saved it and does not know of the ack
    /// yet. The row is deleted at once.
    pub(in super::super) fn delete_if_acked_here(
        &mut self,
        user: UserSlot,
        seq: u64,
        out: &mut Vec<CoreAction>,
    ) -> bool {
        let now_ms = self.now.mono_ms;
        let is_acked =
            self.foreign_pushes_mut().is_some_and(|foreign| foreign.acked.contains(seq, now_ms, ACKED_SPAN_MS));
        if is_acked {
            self.delete(seq, user, out);
        }
        is_acked
    }

    /// The sender of a push that was handed over is here now and sends it again: from now on the
    /// push belongs to this node.
    #[cold]
    pub(in super::super) fn take_foreign_over(&mut self, delivery: DeliveryRef) {
        let Some(found) = self.deliveries.get_mut(delivery) else { return };
        found.save_state = DeliverySaveState::Failed;
        let sender = found.body.sender().to_owned();
        found.sender = self.users.find(&sender);
        if let Some(sender) = found.sender {
            self.users.retain(sender);
            if let Some(cluster) = &mut self.cluster {
                cluster.unsaved_messages.insert(sender, delivery);
            }
        }
    }
}
