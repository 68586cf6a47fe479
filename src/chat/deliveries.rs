//! A push on its way to one receiver: who waits for its `MS`, whether it is saved, whether it
//! stands on a list in memory. What it says is shared: one body can have many deliveries.

use super::contract::ConnId;
use super::ids::{DeliveryRef, UserId};
use crate::protocol::field::UserName;
use crate::protocol::push::{Body, Push};
use crate::protocol::request::ContentForm;
#[cfg(test)]
use crate::protocol::{
    field::{Id, Name},
    push::PushKind,
};
use slab::Slab;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a delivery takes beside its push: itself, its entry in a mailbox, its sending, its places
/// in the queues of what is due.
pub(super) const DELIVERY_BYTES: usize = size_of::<Delivery>() + 104;

/// How far the saving of a push has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Save {
    /// Not asked for.
    None,
    /// Submitted.
    InFlight,
    /// Committed.
    Done,
    /// Refused, or its outcome is not known.
    Failed,
    /// Its receiver had no room: it is not in the store, and is not tried again by itself.
    Full,
}

/// Somebody who waits for `MS`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) conn: ConnId,
    pub(super) form: ContentForm,
    /// When to stop waiting.
    pub(super) due_ms: u64,
}

/// One receiver's copy of a push between its taking and its ack (or its commit, if the receiver is
/// away).
#[derive(Debug)]
pub(super) struct Delivery {
    /// Its place in the order of all pushes.
    pub(super) seq: u64,
    pub(super) body: Body,
    /// Counted as a reference. The name is in the table of users, and joins the body when the push
    /// goes out.
    pub(super) receiver: UserId,
    /// How long that name is.
    receiver_bytes: u16,
    /// Of a message taken by this process. Counted as a reference.
    pub(super) sender: Option<UserId>,
    pub(super) save: Save,
    /// Committed at some time: `MS` may go out.
    pub(super) durable: bool,
    /// Stands in the receiver's mailbox (or on its tail).
    pub(super) listed: bool,
    /// Where in the receiver's mailbox it stands, if not on its tail.
    pub(super) place: u64,
    /// Counts in its sender's share of what is in flight, as the job that it may need.
    pub(super) charged: bool,
    pub(super) waiter: Option<Waiter>,
    /// Those who sent the same message again before the first was answered.
    #[allow(clippy::box_collection, reason = "a pointer is smaller than a vector, and nearly always there is none")]
    pub(super) more_waiters: Option<Box<Vec<Waiter>>>,
}

impl Delivery {
    fn new(seq: u64, body: Body, receiver: UserId, receiver_name: &str) -> Self {
        Self {
            seq,
            body,
            receiver,
            // A name has at most 64 * 4 bytes.
            receiver_bytes: receiver_name.len() as u16,
            sender: None,
            save: Save::None,
            durable: false,
            listed: false,
            place: 0,
            charged: false,
            waiter: None,
            more_waiters: None,
        }
    }

    /// That of a message that was just taken.
    pub(super) fn of_message(
        (seq, body): (u64, Body),
        sender: UserId,
        (receiver, receiver_name): (UserId, &str),
        waiter: Waiter,
    ) -> Self {
        let new = Self::new(seq, body, receiver, receiver_name);
        Self { sender: Some(sender), waiter: Some(waiter), ..new }
    }

    /// That of a push that is in the store, and is about to stand on a list.
    pub(super) fn of_committed(push: Push, receiver: UserId) -> Self {
        let Push { seq, receiver: name, body } = push;
        Self { save: Save::Done, durable: true, listed: true, ..Self::new(seq, body, receiver, name.as_str()) }
    }

    /// The push as it goes out: to its receiver, who has this name, or to the store.
    pub(super) fn push_to(&self, receiver: &UserName) -> Push {
        Push { seq: self.seq, receiver: receiver.clone(), body: self.body.clone() }
    }

    pub(super) fn weight_bytes(&self) -> usize {
        self.body.weight_bytes_to(usize::from(self.receiver_bytes))
    }

    pub(super) fn waits(&self) -> bool {
        self.waiter.is_some() || self.more_waiters.is_some()
    }

    fn waiters(&self) -> impl Iterator<Item = &Waiter> {
        self.waiter.iter().chain(self.more_waiters.iter().flat_map(|more| more.iter()))
    }

    /// How many wait beside the first.
    pub(super) fn more_waiters_len(&self) -> usize {
        self.more_waiters.as_ref().map_or(0, |more| more.len())
    }

    /// When the first of those who wait is to be answered.
    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.waiters().map(|waiter| waiter.due_ms).min()
    }

    /// The connections that wait for it to be durable.
    pub(super) fn who_waits(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.waiters().map(|waiter| waiter.conn)
    }

    pub(super) fn add_waiter(&mut self, waiter: Waiter) {
        if self.waiter.is_none() {
            self.waiter = Some(waiter);
        } else {
            self.more_waiters.get_or_insert_default().push(waiter);
        }
    }

    /// Takes those who have waited until `now_ms`, in their order; with `None`, all.
    pub(super) fn take_waiters(&mut self, now_ms: Option<u64>) -> impl Iterator<Item = Waiter> + use<> {
        let due = |waiter: &Waiter| now_ms.is_none_or(|now_ms| waiter.due_ms <= now_ms);
        let first = self.waiter.take_if(|waiter| due(waiter));
        let more: Vec<Waiter> = match self.more_waiters.take() {
            None => Vec::new(),
            Some(more) => {
                let (taken, kept): (_, Vec<Waiter>) = more.into_iter().partition(|waiter| due(waiter));
                self.more_waiters = (!kept.is_empty()).then(|| Box::new(kept));
                taken
            }
        };
        first.into_iter().chain(more)
    }
}

/// All pushes on their way.
#[derive(Debug)]
pub(super) struct Deliveries {
    slab: Slab<Delivery>,
    /// Keeps clients from choosing ids that collide: it has taken in a key already.
    keyed: DefaultHasher,
    /// The sum of their weights.
    bytes: usize,
}

impl Deliveries {
    pub(super) fn new(hash_key: [u64; 2]) -> Self {
        let mut keyed = DefaultHasher::new();
        hash_key.hash(&mut keyed);
        Self { slab: Slab::new(), keyed, bytes: 0 }
    }

    /// A number that stands for these texts, which nobody outside can foresee.
    pub(super) fn hash<const N: usize>(&self, texts: [&str; N]) -> u64 {
        let mut hasher = self.keyed.clone();
        for text in texts {
            // What no text holds ends each.
            hasher.write(text.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }

    /// What is at this place.
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

    /// How much memory they hold, with their places on lists and in queues.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes + self.slab.len() * DELIVERY_BYTES
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// All there are, in the order of their places.
    pub(super) fn refs(&self) -> Vec<DeliveryRef> {
        self.slab.iter().map(|(slot, delivery)| DeliveryRef { slot: slot as u32, seq: delivery.seq }).collect()
    }

    #[cfg(debug_assertions)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Delivery> {
        self.slab.iter().map(|(_, delivery)| delivery)
    }
}

/// Whose the deliveries of the tests are.
#[cfg(test)]
pub(super) fn ann() -> UserName {
    UserName::new("ann").unwrap()
}

#[cfg(test)]
impl Deliveries {
    /// One to Ann that is in the store, and stands nowhere yet.
    pub(super) fn insert_stored(
        &mut self,
        (seq, kind): (u64, PushKind),
        id: &str,
        sender: &str,
        content: &str,
    ) -> DeliveryRef {
        let (id, sender) = (Id::new(id).unwrap(), Name::new(sender).unwrap());
        let push = Push::new(seq, 1, kind, &id, &sender, ann(), content);
        self.insert(Delivery::of_committed(push, UserId::of(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encode_fast::write_push;

    #[test]
    fn one_body_has_two_deliveries() {
        let (id, bob) = (Id::new("m1").unwrap(), Name::new("bob").unwrap());
        let body = Body::message(1_652_791_027_673, &id, &bob, "to both of you", true);
        let shared = body.content().as_ptr();
        let names = ["ann", "carol"].map(|name| UserName::new(name).unwrap());
        let waiter = Waiter { conn: ConnId { slot: 0, generation: 0 }, form: ContentForm::Object, due_ms: 10_000 };
        let mut deliveries = Deliveries::new([1, 2]);
        let [to_ann, to_carol] = [0, 1].map(|receiver| {
            let name = names[receiver].as_str();
            let message = (7 + receiver as u64, body.clone());
            deliveries.insert(Delivery::of_message(message, UserId::of(9), (UserId::of(receiver), name), waiter))
        });
        // Each is saved, acked and answered by itself.
        deliveries.get_mut(to_ann).unwrap().save = Save::InFlight;
        assert_eq!(deliveries.get(to_carol).unwrap().save, Save::None);
        assert_eq!(deliveries.get_mut(to_carol).unwrap().take_waiters(None).count(), 1);
        assert!(deliveries.get(to_ann).unwrap().waits());
        for (delivery, name) in [(to_ann, &names[0]), (to_carol, &names[1])] {
            let push = deliveries.get(delivery).unwrap().push_to(name);
            assert_eq!(push.content().as_ptr(), shared, "no text was copied");
            let mut frame = Vec::new();
            write_push(&mut frame, ContentForm::Object, &push);
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
        assert_eq!(deliveries.held_bytes(), weights[1] + DELIVERY_BYTES);
    }
}
