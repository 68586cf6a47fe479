//! The dedup window of one user: a message that its sender repeats, because the `MS` was missed, is
//! not delivered twice. By default the window has the last 1,024 messages that are younger than 10
//! minutes; both are options.

use super::ids::DeliveryRef;
use super::wheel::TimerId;
use index::DedupIndex;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};

mod index;
mod packed;

pub(super) use packed::OfflineDedupWindows;

/// The largest number of messages that can be remembered: their positions have 16 bits.
pub(super) const COUNT_MAX: usize = 1 << 15;

/// A hash of a receiver and an id. Among the 1,024 messages of one sender, two collide once in
/// 10^16 messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DedupKey(u64);

/// The key of an entry that was removed.
const GONE: DedupKey = DedupKey(0);

impl DedupKey {
    /// The key of a message to somebody whose name has this hash.
    pub(super) fn of(receiver_hash: u64, id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(receiver_hash);
        hasher.write(id.as_bytes());
        Self(hasher.finish().max(1))
    }

    /// The key as a number, as other nodes of a cluster know it.
    pub(super) fn number(self) -> u64 {
        self.0
    }

    /// The key with this number.
    pub(super) fn of_number(number: u64) -> Self {
        Self(number.max(1))
    }

    /// The part of the key that the index compares; never 0.
    fn tag(self) -> u16 {
        ((self.0 >> 48) as u16).max(1)
    }
}

#[derive(Debug)]
struct DedupWindowEntry {
    key: DedupKey,
    at_ms: u64,
    delivery: DeliveryRef,
}

/// The recent messages of one sender: a queue by age, with an index by key.
#[derive(Debug, Default)]
pub(super) struct DedupWindow {
    queue: VecDeque<DedupWindowEntry>,
    index: DedupIndex,
    /// The position of the queue's front.
    base: u16,
    /// The whole window in packed form while its sender is offline; then the queue is empty.
    packed: Option<Box<packed::OfflineDedupWindow>>,
    /// The timer that drops the whole window when it is old.
    pub(super) timer: Option<TimerId>,
}

impl DedupWindow {
    /// Reads the slot of the next message, so that it is in the cache.
    pub(super) fn prefetch(&self) -> usize {
        self.queue.back().map_or(0, |sent| sent.at_ms as usize)
    }

    fn find_key(&self, key: DedupKey, which: impl Fn(&DedupWindowEntry) -> bool) -> Option<(usize, &DedupWindowEntry)> {
        let sent = |position: u16| self.queue.get(usize::from(position.wrapping_sub(self.base)));
        let slot =
            self.index.find(key, |position| sent(position).is_some_and(|sent| sent.key == key && which(sent)))?;
        sent(self.index.position(slot)).map(|sent| (slot, sent))
    }

    /// The delivery of the message with this key, if it was sent since `oldest_ms`.
    pub(super) fn find(&self, key: DedupKey, oldest_ms: u64) -> Option<DeliveryRef> {
        let (_, sent) = self.find_key(key, |_| true)?;
        (sent.at_ms >= oldest_ms).then_some(sent.delivery)
    }

    /// When a message was sent, if since `oldest_ms`.
    pub(super) fn sent_ms(&self, key: DedupKey, oldest_ms: u64) -> Option<u64> {
        let at_ms = match &self.packed {
            Some(packed) => packed.sent_ms(key)?,
            None => self.find_key(key, |_| true)?.1.at_ms,
        };
        (at_ms >= oldest_ms).then_some(at_ms)
    }

    /// Remembers a message, and evicts the oldest beyond `count_max`.
    pub(super) fn insert(&mut self, key: DedupKey, now_ms: u64, delivery: DeliveryRef, count_max: u32) {
        self.remove_where(key, |_| true);
        while self.queue.len() >= (count_max as usize).clamp(1, COUNT_MAX) {
            self.pop_front();
        }
        // Positions wrap around, far behind the front.
        let position = self.base.wrapping_add(self.queue.len() as u16);
        self.queue.push_back(DedupWindowEntry { key, at_ms: now_ms, delivery });
        self.index.insert(key, position);
    }

    /// Also remembers these promised messages, each with its time. A message that is open here was
    /// refused, and another one with its id was promised elsewhere.
    pub(super) fn take_over(
        &mut self,
        said: impl Iterator<Item = (DedupKey, u64)>,
        count_max: u32,
        is_open: impl Fn(DeliveryRef) -> bool,
    ) {
        debug_assert!(self.packed.is_none(), "it is unpacked before");
        let new: Vec<DedupWindowEntry> = said
            .filter(|&(key, _)| self.find_key(key, |sent| !is_open(sent.delivery)).is_none())
            .map(|(key, at_ms)| DedupWindowEntry { key, at_ms, delivery: packed::NO_DELIVERY })
            .collect();
        let mut promised: Vec<u64> = new.iter().map(|sent| sent.key.number()).collect();
        promised.sort_unstable();
        let stays = |sent: &DedupWindowEntry| sent.key != GONE && promised.binary_search(&sent.key.number()).is_err();
        let mut all: Vec<DedupWindowEntry> = self.queue.drain(..).filter(stays).chain(new).collect();
        all.sort_by_key(|sent| sent.at_ms);
        (self.index, self.base) = (DedupIndex::default(), 0);
        for DedupWindowEntry { key, at_ms, delivery } in all {
            self.insert(key, at_ms, delivery, count_max);
        }
    }

    /// The messages that were promised, each with its time, the oldest first.
    pub(super) fn promised(&self, is_open: impl Fn(DeliveryRef) -> bool) -> Vec<(DedupKey, u64)> {
        match &self.packed {
            Some(packed) => packed.promised(is_open),
            None => {
                let promised = self.queue.iter().filter(|sent| sent.key != GONE && !is_open(sent.delivery));
                promised.map(|sent| (sent.key, sent.at_ms)).collect()
            }
        }
    }

    /// Removes the message of this delivery, which was not taken after all. A later message with
    /// the same id stays.
    pub(super) fn remove(&mut self, key: DedupKey, delivery: DeliveryRef) {
        if let Some(packed) = &mut self.packed {
            return packed.remove(delivery);
        }
        self.remove_where(key, |sent| sent.delivery == delivery);
    }

    fn remove_where(&mut self, key: DedupKey, which: impl Fn(&DedupWindowEntry) -> bool) {
        let Some((slot, _)) = self.find_key(key, which) else {
            return;
        };
        // Its queue entry stays, with a key that no message has, and expires with the others.
        let place = usize::from(self.index.position(slot).wrapping_sub(self.base));
        self.index.remove(slot);
        if let Some(sent) = self.queue.get_mut(place) {
            sent.key = GONE;
        }
    }

    fn pop_front(&mut self) {
        let position = self.base;
        if let Some(sent) = self.queue.pop_front() {
            if let Some(slot) = self.index.find(sent.key, |other| other == position) {
                self.index.remove(slot);
            }
            self.base = self.base.wrapping_add(1);
        }
    }

    /// Removes messages that were sent before `oldest_ms`; gives the time of the newest one that is
    /// left.
    pub(super) fn expire(&mut self, oldest_ms: u64) -> Option<u64> {
        if let Some(packed) = &self.packed {
            return packed.newest_ms().filter(|&newest_ms| newest_ms >= oldest_ms);
        }
        while self.queue.front().is_some_and(|sent| sent.at_ms < oldest_ms) {
            self.pop_front();
        }
        self.queue.back().map(|sent| sent.at_ms)
    }

    /// The memory that it uses, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let packed = self.packed.as_ref().map_or(0, |packed| packed.bytes());
        size_of::<Self>() + self.queue.capacity() * size_of::<DedupWindowEntry>() + self.index.memory_bytes() + packed
    }

    /// The number of messages that are remembered.
    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.packed.as_ref().map_or(0, |packed| packed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(seq: u64) -> DeliveryRef {
        DeliveryRef { slot: seq as u32, seq }
    }

    #[test]
    fn it_knows_the_last_ones_and_only_those() {
        let mut dedup = DedupWindow::default();
        for n in 0..5_000u64 {
            dedup.insert(DedupKey::of(1, &format!("m{n}")), n, delivery(n), 1_024);
            assert!(dedup.len() <= 1_024);
        }
        assert_eq!(dedup.find(DedupKey::of(1, "m4999"), 0), Some(delivery(4_999)));
        assert_eq!(dedup.find(DedupKey::of(1, "m3976"), 0), Some(delivery(3_976)));
        assert_eq!(dedup.find(DedupKey::of(1, "m3975"), 0), None);
        assert_eq!(dedup.find(DedupKey::of(2, "m4999"), 0), None);
        assert_eq!(dedup.find(DedupKey::of(1, "m4000"), 4_001), None, "too old");
        assert_eq!(dedup.sent_ms(DedupKey::of(1, "m4000"), 4_000), Some(4_000));
        assert_eq!(dedup.sent_ms(DedupKey::of(1, "m4000"), 4_001), None);
        assert_eq!(dedup.expire(4_990), Some(4_999));
        assert_eq!(dedup.len(), 10);
        assert_eq!(dedup.find(DedupKey::of(1, "m4995"), 0), Some(delivery(4_995)));
    }

    #[test]
    fn one_that_was_not_taken_can_be_removed() {
        let mut dedup = DedupWindow::default();
        dedup.insert(DedupKey::of(1, "x"), 0, delivery(1), 8);
        dedup.insert(DedupKey::of(1, "y"), 1, delivery(2), 8);
        dedup.remove(DedupKey::of(1, "x"), delivery(2));
        assert_eq!(dedup.find(DedupKey::of(1, "x"), 0), Some(delivery(1)), "it became another push");
        dedup.remove(DedupKey::of(1, "x"), delivery(1));
        assert_eq!(dedup.find(DedupKey::of(1, "x"), 0), None);
        dedup.insert(DedupKey::of(1, "x"), 2, delivery(3), 8);
        assert_eq!(dedup.find(DedupKey::of(1, "x"), 0), Some(delivery(3)));
        assert_eq!(dedup.find(DedupKey::of(1, "y"), 0), Some(delivery(2)));
        assert_eq!(dedup.expire(100), None);
    }
}
