//! Deliveries: a push on its way to one receiver, with the clients that wait for its `MS`, the
//! progress of its saving, and whether it is on a list in memory. The body is shared: one body can
//! have many deliveries.

use super::contract::ConnId;
use super::ids::{DeliveryRef, UserSlot};
use crate::protocol::field::UserName;
use crate::protocol::push::{Push, PushBody};
use crate::protocol::request::ContentAsStringOrObject;
#[cfg(test)]
use crate::protocol::{
    field::{MessageId, UserNameRef},
    push::PushKind,
};
use slab::Slab;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The memory of a delivery beside its push, in bytes: the delivery, its entry in a mailbox, its
/// entry in a cursor, and its entries in the queues of deadlines.
pub(super) const DELIVERY_BYTES: usize = size_of::<Delivery>() + 104;

/// The progress of saving a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliverySaveState {
    /// Not requested.
    None,
    /// Submitted.
    InFlight,
    /// Committed.
    Done,
    /// Refused, or the outcome is not known.
    Failed,
    /// The mailbox was full: the push is not in the store, and the server does not retry.
    Full,
    /// The save failed after this node had handed the push over to another node. The server does
    /// not retry; an ack may still make the push durable.
    FailedAfterHandOver,
    /// Another node has taken the push, and has to make it durable.
    Foreign,
}

/// A client that waits for `MS`.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageReplyWaiter {
    pub(super) conn: ConnId,
    pub(super) form: ContentAsStringOrObject,
    /// When to stop waiting.
    pub(super) due_ms: u64,
}

/// One receiver's copy of a push between its taking and its ack (or its commit, if the receiver is
/// away).
#[derive(Debug)]
pub(super) struct Delivery {
    /// Its number in the order of all pushes.
    pub(super) seq: u64,
    pub(super) body: PushBody,
    /// Holds a reference to the user. The name is in the table of users, and is added to the body
    /// when the push is sent or saved.
    pub(super) receiver: UserSlot,
    /// The length of the receiver's name in bytes.
    receiver_bytes: u16,
    /// The sender of a message that this process took. Holds a reference to the user.
    pub(super) sender: Option<UserSlot>,
    pub(super) save_state: DeliverySaveState,
    /// It was committed: `MS` may be sent.
    pub(super) is_durable: bool,
    /// It is in the receiver's mailbox, or on its tail.
    pub(super) is_listed: bool,
    /// Its place in the receiver's mailbox, unless it is on the tail.
    pub(super) place: u64,
    /// It counts in its sender's load in flight, for the job that it may need.
    pub(super) counts_in_load: bool,
    pub(super) waiter: Option<MessageReplyWaiter>,
    /// The clients that repeated the message before the first one was answered.
    #[allow(clippy::box_collection, reason = "a pointer is smaller than a vector, and nearly always there is none")]
    pub(super) more_waiters: Option<Box<Vec<MessageReplyWaiter>>>,
}

impl Delivery {
    fn new(seq: u64, body: PushBody, receiver: UserSlot, receiver_name: &str) -> Self {
        Self {
            seq,
            body,
            receiver,
            // A name has at most 64 * 4 bytes.
            receiver_bytes: receiver_name.len() as u16,
            sender: None,
            save_state: DeliverySaveState::None,
            is_durable: false,
            is_listed: false,
            place: 0,
            counts_in_load: false,
            waiter: None,
            more_waiters: None,
        }
    }

    /// The delivery of a message that was just taken.
    pub(super) fn of_message(
        (seq, body): (u64, PushBody),
        sender: UserSlot,
        (receiver, receiver_name): (UserSlot, &str),
        waiter: MessageReplyWaiter,
    ) -> Self {
        let new = Self::new(seq, body, receiver, receiver_name);
        Self { sender: Some(sender), waiter: Some(waiter), ..new }
    }

    /// The delivery of a push that is in the store and is about to be put on a list.
    pub(super) fn of_committed(push: Push, receiver: UserSlot) -> Self {
        let Push { seq, receiver: name, body } = push;
        Self {
            save_state: DeliverySaveState::Done,
            is_durable: true,
            is_listed: true,
            ..Self::new(seq, body, receiver, name.as_str())
        }
    }

    /// The delivery of a push that another node hands over and that is about to be put on a list.
    pub(super) fn of_foreign(push: Push, receiver: UserSlot) -> Self {
        let Push { seq, receiver: name, body } = push;
        Self {
            save_state: DeliverySaveState::Foreign,
            is_listed: true,
            ..Self::new(seq, body, receiver, name.as_str())
        }
    }

    /// The push as it is sent or saved. `receiver` is the name of its receiver.
    pub(super) fn push_to(&self, receiver: &UserName) -> Push {
        Push { seq: self.seq, receiver: receiver.clone(), body: self.body.clone() }
    }

    pub(super) fn weight_bytes(&self) -> usize {
        self.body.weight_bytes_to(usize::from(self.receiver_bytes))
    }

    pub(super) fn waits(&self) -> bool {
        self.waiter.is_some() || self.more_waiters.is_some()
    }

    fn waiters(&self) -> impl Iterator<Item = &MessageReplyWaiter> {
        self.waiter.iter().chain(self.more_waiters.iter().flat_map(|more| more.iter()))
    }

    /// The number of waiters after the first.
    pub(super) fn more_waiters_len(&self) -> usize {
        self.more_waiters.as_ref().map_or(0, |more| more.len())
    }

    /// The earliest deadline of its waiters.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.waiters().map(|waiter| waiter.due_ms).min()
    }

    /// The connections of its waiters.
    pub(super) fn waiting_conns(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.waiters().map(|waiter| waiter.conn)
    }

    pub(super) fn add_waiter(&mut self, waiter: MessageReplyWaiter) {
        if self.waiter.is_none() {
            self.waiter = Some(waiter);
        } else {
            self.more_waiters.get_or_insert_default().push(waiter);
        }
    }

    /// Takes out the waiters whose deadline is at or before `now_ms`, in their order; with `None`,
    /// all.
    pub(super) fn take_waiters(&mut self, now_ms: Option<u64>) -> impl Iterator<Item = MessageReplyWaiter> + use<> {
        let due = |waiter: &MessageReplyWaiter| now_ms.is_none_or(|now_ms| waiter.due_ms <= now_ms);
        let first = self.waiter.take_if(|waiter| due(waiter));
        let more: Vec<MessageReplyWaiter> = match self.more_waiters.take() {
            None => Vec::new(),
            Some(more) => {
                let (taken, kept): (_, Vec<MessageReplyWaiter>) = more.into_iter().partition(|waiter| due(waiter));
                self.more_waiters = (!kept.is_empty()).then(|| Box::new(kept));
                taken
            }
        };
        first.into_iter().chain(more)
    }
}

/// All deliveries in memory.
#[derive(Debug)]
pub(super) struct DeliveryTable {
    slab: Slab<Delivery>,
    /// A keyed hasher, so that clients cannot choose ids that collide.
    id_hasher: DefaultHasher,
    /// The total weight of the deliveries, in bytes.
    bytes: usize,
}

impl DeliveryTable {
    pub(super) fn new(hash_key: [u64; 2]) -> Self {
        let mut keyed = DefaultHasher::new();
        hash_key.hash(&mut keyed);
        Self { slab: Slab::new(), id_hasher: keyed, bytes: 0 }
    }

    /// A keyed hash of these texts: clients cannot predict it.
    pub(super) fn hash<const N: usize>(&self, texts: [&str; N]) -> u64 {
        let mut hasher = self.id_hasher.clone();
        for text in texts {
            // Each text is ended by a byte that occurs in no text.
            hasher.write(text.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    /// The delivery in this slot.
    pub(super) fn at(&self, slot: u32) -> Option<(DeliveryRef, &Delivery)> {
        self.slab.get(slot as usize).map(|delivery| (DeliveryRef { slot, seq: delivery.seq }, delivery))
    }

    pub(super) fn insert(&mut self, delivery: Delivery) -> DeliveryRef {
        let seq = delivery.seq;
        self.bytes += delivery.weight_bytes();
        DeliveryRef { slot: self.slab.insert(delivery) as u32, seq }
    }

    pub(super) fn get(&self, delivery: DeliveryRef) -> Option<&Delivery> {
        self.slab.get(delivery.slot as usize).filter(|found| found.seq == delivery.seq)
    }

    pub(super) fn get_mut(&mut self, delivery: DeliveryRef) -> Option<&mut Delivery> {
        self.slab.get_mut(delivery.slot as usize).filter(|found| found.seq == delivery.seq)
    }

    pub(super) fn remove(&mut self, delivery: DeliveryRef) -> Option<Delivery> {
        self.bytes -= self.get(delivery)?.weight_bytes();
        Some(self.slab.remove(delivery.slot as usize))
    }

    /// The memory that the deliveries use in bytes, with their entries on lists and in queues.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes + self.slab.len() * DELIVERY_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// The slot that the next delivery will get, if none is removed before.
    pub(super) fn next_slot(&self) -> u32 {
        self.slab.vacant_key() as u32
    }

    /// All deliveries, in the order of their slots.
    pub(super) fn refs(&self) -> Vec<DeliveryRef> {
        self.slab.iter().map(|(slot, delivery)| DeliveryRef { slot: slot as u32, seq: delivery.seq }).collect()
    }

    #[cfg(debug_assertions)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.slab.iter().map(|(_, delivery)| delivery)
    }
}

/// The receiver of the deliveries in tests.
#[cfg(test)]
pub(super) fn ann() -> UserName {
    UserName::new("ann").unwrap()
}

#[cfg(test)]
impl DeliveryTable {
    /// A delivery to Ann that is in the store, and on no list yet.
    pub(super) fn insert_stored(
        &mut self,
        (seq, kind): (u64, PushKind),
        id: &str,
        sender: &str,
        content: &str,
    ) -> DeliveryRef {
        let (id, sender) = (MessageId::new(id).unwrap(), UserNameRef::new(sender).unwrap());
        let push = Push::new(seq, 1, kind, &id, &sender, ann(), content);
        self.insert(Delivery::of_committed(push, UserSlot::of(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encode_fast::write_push;

    #[test]
    fn one_body_has_two_deliveries() {
        let (id, bob) = (MessageId::new("m1").unwrap(), UserNameRef::new("bob").unwrap());
        let body = PushBody::message(1_652_791_027_673, &id, &bob, "to both of you", true);
        let shared = body.content().as_ptr();
        let names = ["ann", "carol"].map(|name| UserName::new(name).unwrap());
        let waiter = MessageReplyWaiter {
            conn: ConnId { slot: 0, generation: 0 },
            form: ContentAsStringOrObject::Object,
            due_ms: 10_000,
        };
        let mut deliveries = DeliveryTable::new([1, 2]);
        let [to_ann, to_carol] = [0, 1].map(|receiver| {
            let name = names[receiver].as_str();
            let message = (7 + receiver as u64, body.clone());
            deliveries.insert(Delivery::of_message(message, UserSlot::of(9), (UserSlot::of(receiver), name), waiter))
        });
        // Each is saved, acked and answered by itself.
        deliveries.get_mut(to_ann).unwrap().save_state = DeliverySaveState::InFlight;
        assert_eq!(deliveries.get(to_carol).unwrap().save_state, DeliverySaveState::None);
        assert_eq!(deliveries.get_mut(to_carol).unwrap().take_waiters(None).count(), 1);
        assert!(deliveries.get(to_ann).unwrap().waits());
        for (delivery, name) in [(to_ann, &names[0]), (to_carol, &names[1])] {
            let push = deliveries.get(delivery).unwrap().push_to(name);
            assert_eq!(push.content().as_ptr(), shared, "no text was copied");
            let mut frame = Vec::new();
            write_push(&mut frame, ContentAsStringOrObject::Object, &push);
            let frame = String::from_utf8(frame).unwrap();
            assert!(frame.contains(&format!(r#""receiver":"{name}","time":"#)), "{frame}");
            assert!(
                frame.contains(r#""messageId":"m1","sender":"bob""#) && frame.contains("to both of you"),
                "{frame}"
            );
        }
        let weights = [to_ann, to_carol].map(|delivery| deliveries.get(delivery).unwrap().weight_bytes());
        assert_eq!(weights[0] + "carol".len() - "ann".len(), weights[1]);
        deliveries.remove(to_ann);
        assert_eq!(deliveries.get(to_carol).unwrap().body, body);
        assert_eq!(deliveries.memory_bytes(), weights[1] + DELIVERY_BYTES);
    }
}
