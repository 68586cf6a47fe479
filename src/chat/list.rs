//! The ACK list of one user: what was sent to them and not acked, what is next, and what waits in
//! the store.
//!
//! Only so much of it is in memory. Entries stand in the order in which they are to be sent first;
//! the rest is in the store behind `after_seq` and is read in pages as acks make room.
//!
//! An ack costs the same however long the list is and whatever ids are on it: most take off the
//! first entry; the others are found by the [index](index) of a long list, or on a short one by a
//! look at each; what was [held back](held) because of it is woken by its name; and what leaves a
//! gap in a long list is closed up with many others.

use super::contract::Rules;
use super::deliveries::{Deliveries, Delivery, NEVER, Save};
use super::ids::DeliveryRef;
use super::wheel::TimerId;
use crate::protocol::field::UserName;
use crate::protocol::request::ContentForm;
use held::{Held, Place};
use index::{INDEXED_FROM, INDEXED_TO, Index};
use std::collections::VecDeque;

#[cfg(debug_assertions)]
mod check;
mod held;
mod index;
mod sending;
#[cfg(test)]
mod tests;

/// The slot of an entry that was taken off.
const GAP: u32 = u32::MAX;

/// Where the rest of the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Backfill {
    /// All of it is in memory.
    Live,
    /// The first page is on its way; nothing is known yet.
    Opening,
    /// The store has more.
    Backlog {
        /// What comes next has a greater `seq`.
        after_seq: u64,
        /// A page is on its way.
        asking: bool,
    },
}

/// A delivery on the list, in few bytes: a short list is looked through in a few cache lines.
#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: u32,
    /// Of its push's id.
    hash: u32,
    seq: u64,
    /// Greater than that of any entry before it.
    place: Place,
}

impl Entry {
    fn delivery(self) -> DeliveryRef {
        DeliveryRef { slot: self.slot, seq: self.seq }
    }

    fn is_gap(self) -> bool {
        self.slot == GAP
    }
}

/// One user's list.
#[derive(Debug)]
pub(super) struct AckList {
    pub(super) backfill: Backfill,
    /// In their order; neither the first nor the last is a gap.
    entries: VecDeque<Entry>,
    /// How many of them are gaps.
    gaps: usize,
    /// The place of the next entry.
    end: Place,
    /// Everything before this place is sent, or held back; nothing from there on is.
    next: Place,
    /// Greater than the `seq` of any entry; what is not less than it stands nowhere here.
    above_seq: u64,
    held: Option<Box<Held>>,
    index: Option<Box<Index>>,
    sent: usize,
    /// As written.
    sent_bytes: usize,
    bytes: usize,
    /// Taken while the store has more, saved all the same; comes behind the pages, whether it could
    /// be saved or not. In the order of `seq`.
    tail: Vec<DeliveryRef>,
    tail_bytes: usize,
    /// More was taken since the last page was asked for than the tail holds: what is missing is in
    /// the store.
    tail_lost: bool,
    /// Sendings in their order; those that were acked or sent again since are skipped.
    clock: VecDeque<(u64, DeliveryRef)>,
    /// Fires when the oldest sending is due again.
    pub(super) timer: Option<TimerId>,
    /// Fires when a page is to be asked for again.
    pub(super) page_timer: Option<TimerId>,
}

/// Tells most ids of a short list apart; a long one has its index.
fn id_hash(id: &str) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let (chunks, rest) = id.as_bytes().as_chunks::<8>();
    let last = rest.iter().fold(rest.len() as u64, |word, &byte| word << 8 | u64::from(byte));
    let words = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).chain([last]);
    let hash = words.fold(0, |hash: u64, word| (hash.rotate_left(5) ^ word).wrapping_mul(ODD));
    (hash >> 32) as u32
}

fn is_saved(delivery: DeliveryRef, deliveries: &Deliveries) -> bool {
    deliveries.get(delivery).is_some_and(|delivery| delivery.save == Save::Done)
}

impl AckList {
    pub(super) fn new(backfill: Backfill) -> Self {
        Self {
            backfill,
            entries: VecDeque::new(),
            gaps: 0,
            end: 0,
            next: 0,
            above_seq: 0,
            held: None,
            index: None,
            sent: 0,
            sent_bytes: 0,
            bytes: 0,
            tail: Vec::new(),
            tail_bytes: 0,
            tail_lost: false,
            clock: VecDeque::new(),
            timer: None,
            page_timer: None,
        }
    }

    /// Looks at its oldest entry and sending, to have them near.
    pub(super) fn prefetch(&self) -> usize {
        let entry = self.entries.front().map_or(0, |entry| entry.slot as usize);
        entry.wrapping_add(self.clock.front().map_or(0, |sending| sending.0 as usize))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.gaps
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Is there no room for one more of this weight?
    pub(super) fn is_full(&self, weight_bytes: usize, rules: &Rules) -> bool {
        let bytes_max = rules.list_bytes_max;
        self.len() >= rules.list_max as usize || (self.len() > 0 && self.bytes + weight_bytes > bytes_max)
    }

    /// Nothing in memory, nothing known to be in the store.
    pub(super) fn is_done(&self) -> bool {
        self.entries.is_empty() && self.tail.is_empty() && self.backfill == Backfill::Live
    }

    pub(super) fn append(&mut self, delivery: DeliveryRef, deliveries: &mut Deliveries) {
        let Some(of) = deliveries.get_mut(delivery) else {
            return;
        };
        debug_assert_eq!(of.sent_ms, NEVER, "appended before it is sent");
        of.place = self.end;
        self.entries.push_back(Entry {
            slot: delivery.slot,
            hash: id_hash(of.body.id()),
            seq: delivery.seq,
            place: self.end,
        });
        self.end += 1;
        self.above_seq = self.above_seq.max(delivery.seq + 1);
        self.bytes += of.weight_bytes();
        self.note_added(delivery, deliveries);
    }

    fn tail_has_room(&self, weight: usize, rules: &Rules) -> bool {
        self.tail.len() < rules.list_max as usize && self.tail_bytes + weight <= rules.list_bytes_max
    }

    fn is_asking(&self) -> bool {
        matches!(self.backfill, Backfill::Opening | Backfill::Backlog { asking: true, .. })
    }

    /// Puts a delivery on the tail; `false` when there is no room, or was none for an earlier one
    /// that the page on its way may lack.
    pub(super) fn append_tail(&mut self, delivery: DeliveryRef, deliveries: &Deliveries, rules: &Rules) -> bool {
        let weight = deliveries.get(delivery).map_or(0, Delivery::weight_bytes);
        if !self.tail_has_room(weight, rules) || (self.tail_lost && self.is_asking()) {
            self.tail_lost = true;
            return false;
        }
        self.tail.push(delivery);
        self.tail_bytes += weight;
        self.above_seq = self.above_seq.max(delivery.seq + 1);
        self.note_added(delivery, deliveries);
        true
    }

    /// Takes off a full tail what is in the store by now, if there is any among the oldest, and if
    /// no page is on its way that may lack it.
    pub(super) fn make_room_on_tail(
        &mut self,
        weight: usize,
        rules: &Rules,
        deliveries: &Deliveries,
    ) -> Vec<DeliveryRef> {
        const OLDEST: usize = 16;
        let pays = self.tail.iter().take(OLDEST).any(|delivery| is_saved(*delivery, deliveries));
        if self.is_asking() || self.tail_has_room(weight, rules) || !pays {
            return Vec::new();
        }
        self.take_saved_off_tail(deliveries)
    }

    fn take_saved_off_tail(&mut self, deliveries: &Deliveries) -> Vec<DeliveryRef> {
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

    /// Takes the tail, and whether it is whole.
    pub(super) fn take_tail(&mut self, deliveries: &Deliveries) -> (Vec<DeliveryRef>, bool) {
        let tail = std::mem::take(&mut self.tail);
        for &delivery in &tail {
            self.note_taken_off(delivery, deliveries);
        }
        self.tail_bytes = 0;
        (tail, !std::mem::take(&mut self.tail_lost))
    }

    /// A page is about to be asked for: what the tail lacks by now will be on it, or on a later
    /// one, and so will what is in the store already, which this takes off.
    pub(super) fn page_asked(&mut self, deliveries: &Deliveries) -> Vec<DeliveryRef> {
        self.tail_lost = false;
        self.take_saved_off_tail(deliveries)
    }

    /// Keeps the index of a long list.
    fn note_added(&mut self, delivery: DeliveryRef, deliveries: &Deliveries) {
        if let Some(index) = &mut self.index {
            if let Some(of) = deliveries.get(delivery) {
                index.add(delivery, of, deliveries);
            }
        } else if self.entries.len() + self.tail.len() > INDEXED_FROM {
            self.begin_index(deliveries);
        }
    }

    #[inline(never)]
    fn begin_index(&mut self, deliveries: &Deliveries) {
        let mut index = Box::<Index>::default();
        for delivery in self.all() {
            if let Some(of) = deliveries.get(delivery) {
                index.add(delivery, of, deliveries);
                if of.sent_ms != NEVER {
                    index.add_sent(delivery, of, deliveries);
                }
            }
        }
        self.index = Some(index);
    }

    fn note_taken_off(&mut self, delivery: DeliveryRef, deliveries: &Deliveries) {
        let Some(index) = &mut self.index else {
            return;
        };
        if let Some(of) = deliveries.get(delivery) {
            index.take_off(delivery, of, deliveries);
            if of.sent_ms != NEVER {
                index.take_off_sent(delivery, of, deliveries);
            }
        }
        if self.entries.len() + self.tail.len() < INDEXED_TO {
            self.index = None;
        }
    }

    /// What waits for the page on its way.
    #[cfg(debug_assertions)]
    pub(super) fn tail_len(&self) -> usize {
        self.tail.len()
    }

    /// All entries, then the tail.
    pub(super) fn all(&self) -> impl Iterator<Item = DeliveryRef> + '_ {
        self.live().map(|entry| entry.delivery()).chain(self.tail.iter().copied())
    }

    fn live(&self) -> impl Iterator<Item = Entry> + '_ {
        self.entries.iter().copied().filter(|entry| !entry.is_gap())
    }

    /// Is there an entry of this `seq`, or a later one? Nearly always what is asked about is newer
    /// than all.
    pub(super) fn seqs_from(&self, seq: u64) -> (bool, bool) {
        if seq >= self.above_seq {
            return (false, false);
        }
        let is_there = self.all().any(|delivery| delivery.seq == seq);
        (is_there, is_there || self.all().any(|delivery| delivery.seq > seq))
    }

    /// Where in the queue the entry at this place stands, or would stand.
    fn position(&self, place: Place) -> usize {
        let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) else {
            return 0;
        };
        if last.place < place {
            return self.entries.len();
        }
        // As long as only first ones were taken off, places are consecutive.
        let near = place.saturating_sub(first.place) as usize;
        match self.entries.get(near) {
            Some(entry) if entry.place == place => near,
            _ => self.entries.partition_point(|entry| entry.place < place),
        }
    }

    /// The entries of a short list with this id.
    fn entries_of<'a>(
        &'a self,
        id: &'a str,
        deliveries: &'a Deliveries,
    ) -> impl Iterator<Item = (DeliveryRef, &'a Delivery)> {
        let hash = id_hash(id);
        let same = self.entries.iter().filter(move |entry| entry.hash == hash && !entry.is_gap());
        same.filter_map(|entry| deliveries.get(entry.delivery()).map(|delivery| (entry.delivery(), delivery)))
            .filter(move |(_, delivery)| delivery.body.id() == id)
    }

    /// The entry with this id that was sent on this connection: there is never more than one.
    pub(super) fn find_sent(&self, id: &str, sender: Option<&str>, deliveries: &Deliveries) -> Option<DeliveryRef> {
        let is_it = |delivery: &Delivery| {
            delivery.sent_ms != NEVER && sender.is_none_or(|sender| sender == delivery.body.sender())
        };
        if let Some(first) = self.entries.front().map(|entry| entry.delivery())
            && deliveries.get(first).is_some_and(|delivery| delivery.body.id() == id && is_it(delivery))
        {
            // By far the most: acks come in the order of the pushes.
            return Some(first);
        }
        match &self.index {
            Some(index) => index.find_sent(id, deliveries).filter(|(_, delivery)| is_it(delivery)),
            None => self.entries_of(id, deliveries).find(|(_, delivery)| is_it(delivery)),
        }
        .map(|(entry, _)| entry)
    }

    /// The entry that is this very message.
    pub(super) fn find_message(&self, sender: &str, id: &str, deliveries: &Deliveries) -> Option<DeliveryRef> {
        if let Some(index) = &self.index {
            return index.find_message(sender, id, deliveries);
        }
        let is_it = |delivery: &Delivery| {
            delivery.body.kind == crate::protocol::push::PushKind::Message
                && delivery.body.sender() == sender
                && delivery.body.id() == id
        };
        let listed = self.entries_of(id, deliveries).find(|(_, delivery)| is_it(delivery)).map(|(entry, _)| entry);
        listed.or_else(|| self.tail.iter().copied().find(|&delivery| deliveries.get(delivery).is_some_and(is_it)))
    }

    /// Takes a delivery off, wherever it stands. Call it while the delivery still exists.
    pub(super) fn remove(&mut self, delivery: DeliveryRef, deliveries: &Deliveries) {
        let Some(of) = deliveries.get(delivery) else {
            return;
        };
        let position = self.position(of.place);
        if self.entries.get(position).is_none_or(|entry| entry.delivery() != delivery) {
            if let Ok(place) = self.tail.binary_search_by_key(&delivery.seq, |entry| entry.seq) {
                self.tail.remove(place);
                self.tail_bytes -= of.weight_bytes();
                self.note_taken_off(delivery, deliveries);
            }
            return;
        }
        self.close_up(position);
        self.bytes -= of.weight_bytes();
        self.note_taken_off(delivery, deliveries);
        let was_sent = of.sent_ms != NEVER;
        if was_sent {
            self.sent -= 1;
            self.sent_bytes -= of.written_bytes as usize;
        }
        if let Some(held) = &mut self.held {
            let id = deliveries.hash([of.body.id()]);
            if was_sent {
                held.wake(id);
            } else if of.place < self.next {
                held.let_go(of.place, deliveries.hash([of.body.sender()]), id, false);
            }
            if held.is_empty() {
                self.held = None;
            }
        }
    }

    /// Takes out the entry at a position.
    fn close_up(&mut self, position: usize) {
        /// More than this is not moved for one.
        const MOVED_MAX: usize = 64;
        let behind = self.entries.len() - position - 1;
        if position.min(behind) <= MOVED_MAX {
            self.entries.remove(position);
        } else {
            self.entries[position].slot = GAP;
            self.gaps += 1;
        }
        while self.entries.front().is_some_and(|entry| entry.is_gap()) {
            self.entries.pop_front();
            self.gaps -= 1;
        }
        while self.entries.back().is_some_and(|entry| entry.is_gap()) {
            self.entries.pop_back();
            self.gaps -= 1;
        }
        if self.gaps > self.entries.len() / 2 {
            // At least as many were taken off since the last time.
            self.entries.retain(|entry| !entry.is_gap());
            self.gaps = 0;
        }
    }
}
