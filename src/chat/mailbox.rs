//! The mailbox of one user: the pushes to them that are not acked yet, in the order of their first
//! sending. The position of each device is in its [cursor](super::cursor).
//!
//! Only a bounded part of it is in memory. The rest is in the store, with a `seq` greater than
//! `after_seq`, and is read in pages as acks make room.
//!
//! Removing a push costs the same however long the mailbox is and whatever ids are in it: usually
//! it is the first one; another one is found by its place.

use super::contract::CoreSettings;
use super::deliveries::{Delivery, DeliverySaveState, DeliveryTable};
use super::id_index::{INDEXED_FROM, INDEXED_TO, PushIdHashIndex, id_hash};
use super::ids::DeliveryRef;
use super::sparse_queue::{SparseQueue, SparseQueueEntry, SparseQueuePosition};
use super::wheel::TimerId;
use crate::protocol::field::UserName;
use crate::protocol::push::{Push, PushBody, PushKind};

#[cfg(test)]
mod tests;

/// The slot of an entry that was removed.
const GAP: u32 = u32::MAX;

/// Where the rest of the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MailboxBackfillState {
    /// The whole list is in memory.
    Live,
    /// The first page was requested; nothing is known yet.
    Opening,
    /// The store has more pushes.
    Behind {
        /// The next pushes have a greater `seq`.
        after_seq: u64,
        /// A page was requested.
        asking: bool,
    },
}

/// A delivery in the mailbox, in few bytes: searching a short mailbox touches few cache lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct MailboxDeliveryRef {
    slot: u32,
    /// The hash of its push's id.
    pub(super) id_hash: u32,
    seq: u64,
    pub(super) place: SparseQueuePosition,
}

impl MailboxDeliveryRef {
    pub(super) fn delivery(self) -> DeliveryRef {
        DeliveryRef { slot: self.slot, seq: self.seq }
    }
}

impl SparseQueueEntry for MailboxDeliveryRef {
    fn place(&self) -> SparseQueuePosition {
        self.place
    }

    fn is_gap(&self) -> bool {
        self.slot == GAP
    }

    fn make_gap(&mut self) {
        self.slot = GAP;
    }
}

/// The mailbox of one user.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) backfill: MailboxBackfillState,
    entries: SparseQueue<MailboxDeliveryRef>,
    /// The place of the next entry.
    end: SparseQueuePosition,
    /// Greater than the `seq` of any entry: no push with this or a greater `seq` is here.
    above_seq: u64,
    /// The index of messages by sender and id, including the tail. Only a long mailbox has it.
    messages: Option<Box<PushIdHashIndex>>,
    bytes: usize,
    /// Pushes that were taken while the store had more. They are also saved, and follow the last
    /// page even if the save failed. In the order of `seq`.
    tail: Vec<DeliveryRef>,
    tail_bytes: usize,
    /// Since the last page was requested, more pushes were taken than the tail holds: the missing
    /// ones are in the store.
    tail_lost: bool,
    /// Users who were blocked since the page in flight was requested: their friend requests on that
    /// page are deleted.
    #[allow(clippy::box_collection, reason = "a pointer is smaller than a vector, and nearly always there is none")]
    pub(super) unwanted: Option<Box<Vec<UserName>>>,
    /// Fires when a failed page is to be requested again.
    pub(super) page_timer: Option<TimerId>,
}

fn is_saved(delivery: DeliveryRef, deliveries: &DeliveryTable) -> bool {
    deliveries.get(delivery).is_some_and(|delivery| delivery.save_state == DeliverySaveState::Done)
}

fn hash_of(body: &PushBody, deliveries: &DeliveryTable) -> u64 {
    deliveries.hash([body.sender(), body.id()])
}

impl Mailbox {
    pub(super) fn new(backfill: MailboxBackfillState) -> Self {
        Self {
            backfill,
            entries: SparseQueue::new(),
            end: 0,
            above_seq: 0,
            messages: None,
            bytes: 0,
            tail: Vec::new(),
            tail_bytes: 0,
            tail_lost: false,
            unwanted: None,
            page_timer: None,
        }
    }

    /// Reads its first entry, so that it is in the cache.
    pub(super) fn prefetch(&self) -> usize {
        self.entries.front().map_or(0, |entry| entry.slot as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Is there no room for one more push of this weight?
    pub(super) fn is_full(&self, weight_bytes: usize, rules: &CoreSettings) -> bool {
        let bytes_max = rules.list_bytes_max;
        self.len() >= rules.list_max as usize || (self.len() > 0 && self.bytes + weight_bytes > bytes_max)
    }

    /// Is nothing in memory, and nothing known to be in the store?
    pub(super) fn is_done(&self) -> bool {
        self.entries.is_empty() && self.tail.is_empty() && self.backfill == MailboxBackfillState::Live
    }

    pub(super) fn append(&mut self, delivery: DeliveryRef, deliveries: &mut DeliveryTable) {
        let Some(of) = deliveries.get_mut(delivery) else {
            return;
        };
        of.place = self.end;
        let (DeliveryRef { slot, seq }, id_hash) = (delivery, id_hash(of.body.id()));
        self.entries.push_back(MailboxDeliveryRef { slot, id_hash, seq, place: self.end });
        self.end += 1;
        self.above_seq = self.above_seq.max(seq + 1);
        self.bytes += of.weight_bytes();
        self.note_added(delivery, deliveries);
    }

    fn tail_has_room(&self, weight: usize, rules: &CoreSettings) -> bool {
        self.tail.len() < rules.list_max as usize && self.tail_bytes + weight <= rules.list_bytes_max
    }

    fn is_asking(&self) -> bool {
        matches!(self.backfill, MailboxBackfillState::Opening | MailboxBackfillState::Behind { asking: true, .. })
    }

    /// Appends a delivery to the tail; `false` if there is no room, or was no room for an earlier
    /// push that the page in flight may lack.
    pub(super) fn append_tail(
        &mut self,
        delivery: DeliveryRef,
        deliveries: &DeliveryTable,
        rules: &CoreSettings,
    ) -> bool {
        let weight = deliveries.get(delivery).map_or(0, Delivery::weight_bytes);
        if !self.tail_has_room(weight, rules) || (self.tail_lost && self.is_asking()) {
            self.tail_lost = true;
            return false;
        }
        let in_order = self.tail.last().is_none_or(|last| last.seq < delivery.seq);
        self.tail.push(delivery);
        if !in_order {
            // Another node has taken some of them.
            self.tail.sort_unstable_by_key(|on_tail| on_tail.seq);
        }
        self.tail_bytes += weight;
        self.above_seq = self.above_seq.max(delivery.seq + 1);
        self.note_added(delivery, deliveries);
        true
    }

    /// Makes room on a full tail: removes its oldest pushes that are in the store by now, unless a
    /// page is in flight that may lack them.
    pub(super) fn make_room_on_tail(
        &mut self,
        weight: usize,
        rules: &CoreSettings,
        deliveries: &DeliveryTable,
    ) -> Vec<DeliveryRef> {
        const OLDEST: usize = 16;
        let pays = self.tail.iter().take(OLDEST).any(|delivery| is_saved(*delivery, deliveries));
        if self.is_asking() || self.tail_has_room(weight, rules) || !pays {
            return Vec::new();
        }
        self.take_saved_off_tail(deliveries)
    }

    fn take_saved_off_tail(&mut self, deliveries: &DeliveryTable) -> Vec<DeliveryRef> {
        let (saved, rest) = std::mem::take(&mut self.tail)
            .into_iter()
            .partition::<Vec<_>, _>(|delivery| is_saved(*delivery, deliveries));
        self.tail = rest;
        for &delivery in &saved {
            self.tail_bytes -= deliveries.get(delivery).map_or(0, Delivery::weight_bytes);
            self.note_taken_off(delivery, deliveries);
        }
        saved
    }

    /// Takes the tail; the second value tells whether it is complete.
    pub(super) fn take_tail(&mut self, deliveries: &DeliveryTable) -> (Vec<DeliveryRef>, bool) {
        let tail = std::mem::take(&mut self.tail);
        for &delivery in &tail {
            self.note_taken_off(delivery, deliveries);
        }
        self.tail_bytes = 0;
        (tail, !std::mem::take(&mut self.tail_lost))
    }

    /// A page is about to be requested. Pushes that the tail lacks will be on this page or a later
    /// one. So will pushes of the tail that are in the store already: they are removed from the
    /// tail and returned.
    pub(super) fn page_asked(&mut self, deliveries: &DeliveryTable) -> Vec<DeliveryRef> {
        self.tail_lost = false;
        self.take_saved_off_tail(deliveries)
    }

    /// The store may have pushes that are not here: they are read before anything new is sent.
    pub(super) fn read_anew(&mut self) {
        match self.backfill {
            MailboxBackfillState::Live => self.backfill = MailboxBackfillState::Behind { after_seq: 0, asking: false },
            // The page in flight may have been read before this: another one follows it.
            MailboxBackfillState::Opening | MailboxBackfillState::Behind { asking: true, .. } => self.tail_lost = true,
            MailboxBackfillState::Behind { asking: false, .. } => {}
        }
    }

    /// The `seq` of the entries, without the tail, in ascending order.
    pub(super) fn seqs(&self) -> Box<[u64]> {
        let mut seqs: Box<[u64]> = self.entries.iter().map(|entry| entry.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    /// Gives a delivery another number.
    pub(super) fn renumber(&mut self, delivery: DeliveryRef, seq: u64, deliveries: &mut DeliveryTable) {
        let Some(of) = deliveries.get_mut(delivery) else {
            return;
        };
        of.seq = seq;
        self.above_seq = self.above_seq.max(seq + 1);
        if let Some(entry) = self.entries.at_mut(of.place).filter(|entry| entry.delivery() == delivery) {
            entry.seq = seq;
        } else if let Some(on_tail) = self.tail.iter_mut().find(|on_tail| **on_tail == delivery) {
            on_tail.seq = seq;
            self.tail.sort_unstable_by_key(|on_tail| on_tail.seq);
        }
    }

    /// Adds a delivery to the index, if the mailbox is long enough to have one.
    fn note_added(&mut self, delivery: DeliveryRef, deliveries: &DeliveryTable) {
        if let Some(index) = &mut self.messages {
            note_message(index, delivery, deliveries);
        } else if self.entries.span() + self.tail.len() > INDEXED_FROM {
            self.begin_index(deliveries);
        }
    }

    #[inline(never)]
    fn begin_index(&mut self, deliveries: &DeliveryTable) {
        let mut index = Box::<PushIdHashIndex>::default();
        self.all().for_each(|delivery| note_message(&mut index, delivery, deliveries));
        self.messages = Some(index);
    }

    fn note_taken_off(&mut self, delivery: DeliveryRef, deliveries: &DeliveryTable) {
        let Some(index) = &mut self.messages else {
            return;
        };
        if let Some(of) = deliveries.get(delivery)
            && of.body.kind == PushKind::Message
        {
            index.remove(hash_of(&of.body, deliveries), delivery.slot);
        }
        if self.entries.span() + self.tail.len() < INDEXED_TO {
            self.messages = None;
        }
    }

    /// This user was blocked: a page in flight may have been read before that.
    pub(super) fn note_blocked(&mut self, user: &UserName) {
        if self.is_asking() {
            let unwanted = self.unwanted.get_or_insert_default();
            if !unwanted.contains(user) {
                unwanted.push(user.clone());
            }
        }
    }

    /// The length of the tail.
    #[cfg(debug_assertions)]
    pub(super) fn tail_len(&self) -> usize {
        self.tail.len()
    }

    /// All entries, then the tail.
    pub(super) fn all(&self) -> impl Iterator<Item = DeliveryRef> + '_ {
        self.entries.iter().map(|entry| entry.delivery()).chain(self.tail.iter().copied())
    }

    /// The first entry at this place or after it.
    pub(super) fn first_at_or_after(&self, place: SparseQueuePosition) -> Option<MailboxDeliveryRef> {
        self.entries.first_at_or_after(place).copied()
    }

    /// Is there an entry with this `seq`, and is there one with this or a greater `seq`? Nearly
    /// always the `seq` is greater than all.
    pub(super) fn seqs_from(&self, seq: u64) -> (bool, bool) {
        if seq >= self.above_seq {
            return (false, false);
        }
        let is_there = self.all().any(|delivery| delivery.seq == seq);
        (is_there, is_there || self.all().any(|delivery| delivery.seq > seq))
    }

    /// The delivery of the message with this sender and id.
    pub(super) fn find_message(&self, sender: &str, id: &str, deliveries: &DeliveryTable) -> Option<DeliveryRef> {
        self.find_message_if(sender, id, deliveries, |_| true)
    }

    /// The delivery of this very message, which another node has taken, too. A client may use an id
    /// for another message when the first one is acked, and the nodes learn of an ack one after
    /// the other.
    pub(super) fn find_same_message(&self, push: &Push, deliveries: &DeliveryTable) -> Option<DeliveryRef> {
        self.find_message_if(push.sender(), push.id(), deliveries, |body| {
            push.is_repetition_of(body.time_ms, body.content())
        })
    }

    fn find_message_if(
        &self,
        sender: &str,
        id: &str,
        deliveries: &DeliveryTable,
        is_same: impl Fn(&PushBody) -> bool,
    ) -> Option<DeliveryRef> {
        let is_it = |delivery: &Delivery| {
            let body = &delivery.body;
            body.kind == PushKind::Message && body.id() == id && body.sender() == sender && is_same(body)
        };
        if let Some(index) = &self.messages {
            let is_at = |slot| deliveries.at(slot).is_some_and(|(_, delivery)| is_it(delivery));
            let slot = index.find(deliveries.hash([sender, id]), is_at)?;
            return deliveries.at(slot).map(|(delivery, _)| delivery);
        }
        let hash = id_hash(id);
        let same = self.entries.iter().filter(|entry| entry.id_hash == hash).map(|entry| entry.delivery());
        let is_it = |delivery: &DeliveryRef| deliveries.get(*delivery).is_some_and(is_it);
        same.chain(self.tail.iter().copied()).find(is_it)
    }

    /// Removes a delivery; gives the place of its entry, if it had one. Call it while the delivery
    /// still exists.
    pub(super) fn remove(&mut self, delivery: DeliveryRef, deliveries: &DeliveryTable) -> Option<SparseQueuePosition> {
        let of = deliveries.get(delivery)?;
        let entry = self.entries.remove_if(of.place, |entry| entry.delivery() == delivery);
        if entry.is_some() {
            self.bytes -= of.weight_bytes();
        } else {
            let place = self.tail.binary_search_by_key(&delivery.seq, |entry| entry.seq).ok()?;
            self.tail.remove(place);
            self.tail_bytes -= of.weight_bytes();
        }
        self.note_taken_off(delivery, deliveries);
        entry.map(|entry| entry.place)
    }

    /// Checks the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, deliveries: &DeliveryTable) {
        let of = |delivery| deliveries.get(delivery).unwrap_or_else(|| panic!("an entry without its delivery"));
        self.entries.check();
        for entry in self.entries.iter() {
            let delivery = of(entry.delivery());
            assert!(delivery.place == entry.place && entry.place < self.end);
            assert_eq!(entry.id_hash, id_hash(delivery.body.id()));
        }
        let weight = |delivery: DeliveryRef| of(delivery).weight_bytes();
        assert_eq!(self.bytes, self.entries.iter().map(|entry| weight(entry.delivery())).sum::<usize>());
        assert_eq!(self.tail_bytes, self.tail.iter().map(|&delivery| weight(delivery)).sum::<usize>());
        assert!(self.all().all(|delivery| of(delivery).is_listed && delivery.seq < self.above_seq));
        assert!(self.tail.is_sorted_by(|one, other| one.seq < other.seq));
        if let Some(index) = &self.messages {
            assert_eq!(index.len(), self.all().filter(|&one| of(one).body.kind == PushKind::Message).count());
        }
    }
}

fn note_message(index: &mut PushIdHashIndex, delivery: DeliveryRef, deliveries: &DeliveryTable) {
    if let Some(of) = deliveries.get(delivery)
        && of.body.kind == PushKind::Message
    {
        index.insert(hash_of(&of.body, deliveries), delivery.slot);
    }
}
