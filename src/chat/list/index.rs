//! Where a push with some id stands on a long list.
//!
//! Ids are chosen by clients, so they are told apart by a keyed hash: nobody outside can foresee
//! which ids meet in one place. A short list has none of this; it is looked through.

use super::super::deliveries::{Deliveries, Delivery};
use super::super::ids::DeliveryRef;
use crate::protocol::push::PushKind;
use hashbrown::HashTable;

/// Lists longer than this have an index.
pub(super) const INDEXED_FROM: usize = 32;
/// And lists shorter than this have none again.
pub(super) const INDEXED_TO: usize = 8;

/// A delivery by a hash of what it is looked for by.
type Slots = HashTable<(u32, u32)>;

/// Spreads 32 bits that are random over the 64 that a table wants: its tags are taken from the top.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn insert(table: &mut Slots, hash: u32, slot: u32) {
    table.insert_unique(spread(hash), (hash, slot), |&(hash, _)| spread(hash));
}

fn remove(table: &mut Slots, hash: u32, slot: u32) {
    if let Ok(found) = table.find_entry(spread(hash), |&entry| entry == (hash, slot)) {
        found.remove();
    }
}

fn find<'a>(
    table: &Slots,
    hash: u32,
    deliveries: &'a Deliveries,
    is_it: impl Fn(&Delivery) -> bool,
) -> Option<(DeliveryRef, &'a Delivery)> {
    let is_it =
        |&(other, slot): &(u32, u32)| other == hash && deliveries.at(slot).is_some_and(|(_, delivery)| is_it(delivery));
    table.find(spread(hash), is_it).and_then(|&(_, slot)| deliveries.at(slot))
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// What is outstanding, by id: of one id never more than one.
    sent: Slots,
    /// Messages, by sender and id; those on the tail, too.
    messages: Slots,
}

fn of_id(deliveries: &Deliveries, id: &str) -> u32 {
    (deliveries.hash([id]) >> 32) as u32
}

fn of_message(deliveries: &Deliveries, sender: &str, id: &str) -> u32 {
    (deliveries.hash([sender, id]) >> 32) as u32
}

impl Index {
    pub(super) fn add(&mut self, delivery: DeliveryRef, of: &Delivery, deliveries: &Deliveries) {
        if of.body.kind == PushKind::Message {
            insert(&mut self.messages, of_message(deliveries, of.body.sender(), of.body.id()), delivery.slot);
        }
    }

    pub(super) fn take_off(&mut self, delivery: DeliveryRef, of: &Delivery, deliveries: &Deliveries) {
        if of.body.kind == PushKind::Message {
            remove(&mut self.messages, of_message(deliveries, of.body.sender(), of.body.id()), delivery.slot);
        }
    }

    pub(super) fn add_sent(&mut self, delivery: DeliveryRef, of: &Delivery, deliveries: &Deliveries) {
        insert(&mut self.sent, of_id(deliveries, of.body.id()), delivery.slot);
    }

    pub(super) fn take_off_sent(&mut self, delivery: DeliveryRef, of: &Delivery, deliveries: &Deliveries) {
        remove(&mut self.sent, of_id(deliveries, of.body.id()), delivery.slot);
    }

    pub(super) fn forget_sent(&mut self) {
        self.sent.clear();
    }

    /// What is outstanding under this id.
    pub(super) fn find_sent<'a>(&self, id: &str, deliveries: &'a Deliveries) -> Option<(DeliveryRef, &'a Delivery)> {
        find(&self.sent, of_id(deliveries, id), deliveries, |delivery| delivery.body.id() == id)
    }

    /// A message of this sender under this id.
    pub(super) fn find_message(&self, sender: &str, id: &str, deliveries: &Deliveries) -> Option<DeliveryRef> {
        let hash = of_message(deliveries, sender, id);
        find(&self.messages, hash, deliveries, |delivery| delivery.body.id() == id && delivery.body.sender() == sender)
            .map(|(delivery, _)| delivery)
    }

    #[cfg(debug_assertions)]
    pub(super) fn lens(&self) -> (usize, usize) {
        (self.sent.len(), self.messages.len())
    }
}
