//! An index of a long list: finds the push with an id.
//!
//! Clients choose ids, so the index uses a keyed hash: nobody outside can foresee which ids
//! collide. A short list has no index; it is searched.

use super::super::ids::ItemRef;
use super::super::item::{Item, Items};
use crate::protocol::push::PushKind;
use hashbrown::HashTable;

/// Lists longer than this have an index.
pub(super) const INDEXED_FROM: usize = 32;
/// And lists shorter than this lose it again.
pub(super) const INDEXED_TO: usize = 8;

/// An item, by a hash of its search key.
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

fn find<'a>(table: &Slots, hash: u32, items: &'a Items, is_it: impl Fn(&Item) -> bool) -> Option<(ItemRef, &'a Item)> {
    let is_it = |&(other, slot): &(u32, u32)| other == hash && items.at(slot).is_some_and(|(_, item)| is_it(item));
    table.find(spread(hash), is_it).and_then(|&(_, slot)| items.at(slot))
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// Outstanding pushes by id: of one id never more than one.
    sent: Slots,
    /// Messages, by sender and id; those on the tail, too.
    messages: Slots,
}

fn of_id(items: &Items, id: &str) -> u32 {
    (items.hash([id]) >> 32) as u32
}

fn of_message(items: &Items, sender: &str, id: &str) -> u32 {
    (items.hash([sender, id]) >> 32) as u32
}

impl Index {
    pub(super) fn add(&mut self, item: ItemRef, of: &Item, items: &Items) {
        if of.push.kind == PushKind::Message {
            insert(&mut self.messages, of_message(items, of.push.sender(), of.push.id()), item.slot);
        }
    }

    pub(super) fn take_off(&mut self, item: ItemRef, of: &Item, items: &Items) {
        if of.push.kind == PushKind::Message {
            remove(&mut self.messages, of_message(items, of.push.sender(), of.push.id()), item.slot);
        }
    }

    pub(super) fn add_sent(&mut self, item: ItemRef, of: &Item, items: &Items) {
        insert(&mut self.sent, of_id(items, of.push.id()), item.slot);
    }

    pub(super) fn take_off_sent(&mut self, item: ItemRef, of: &Item, items: &Items) {
        remove(&mut self.sent, of_id(items, of.push.id()), item.slot);
    }

    pub(super) fn forget_sent(&mut self) {
        self.sent.clear();
    }

    /// The outstanding push with this id.
    pub(super) fn find_sent<'a>(&self, id: &str, items: &'a Items) -> Option<(ItemRef, &'a Item)> {
        find(&self.sent, of_id(items, id), items, |item| item.push.id() == id)
    }

    /// A message of this sender under this id.
    pub(super) fn find_message(&self, sender: &str, id: &str, items: &Items) -> Option<ItemRef> {
        let hash = of_message(items, sender, id);
        find(&self.messages, hash, items, |item| item.push.id() == id && item.push.sender() == sender)
            .map(|(item, _)| item)
    }

    #[cfg(debug_assertions)]
    pub(super) fn lens(&self) -> (usize, usize) {
        (self.sent.len(), self.messages.len())
    }
}
