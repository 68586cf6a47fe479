//! The ACK list of one user: what was sent to him and not acked, what is next, and what waits in the store.
//!
//! Only so much of it is in memory. Entries stand in the order in which they are to be sent first; the rest is in the
//! store behind `after_seq` and is read in pages as acks make room.

use super::contract::Rules;
use super::item::{Item, ItemRef, Items, NEVER, Save};
use super::wheel::TimerId;
use std::collections::VecDeque;

/// Where the rest of the list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feed {
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

/// An item on the list, in 16 bytes: an ack is found by a scan over a few cache lines.
#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: u32,
    /// Of its push's id.
    hash: u32,
    seq: u64,
}

impl Entry {
    fn item(self) -> ItemRef {
        ItemRef { slot: self.slot, seq: self.seq }
    }
}

/// One user's list.
#[derive(Debug)]
pub(super) struct AckList {
    pub(super) feed: Feed,
    entries: VecDeque<Entry>,
    /// Everything before this entry is sent, or held back.
    next: usize,
    /// Entries before `next` that are not sent: their id is outstanding, or an earlier one of their sender is held back.
    held: usize,
    sent: usize,
    sent_bytes: usize,
    bytes: usize,
    /// Taken while the store has more, saved all the same; comes behind the pages, whether it could be saved or not.
    tail: Vec<Entry>,
    tail_bytes: usize,
    /// More was taken since the last page was asked for than the tail holds: what is missing is in the store.
    tail_lost: bool,
    /// Sendings in their order; those that were acked or sent again since are skipped.
    clock: VecDeque<(u64, ItemRef)>,
    /// Fires when the oldest sending is due again.
    pub(super) timer: Option<TimerId>,
    /// Fires when a page is to be asked for again.
    pub(super) page_timer: Option<TimerId>,
}

/// Tells most ids apart. Whoever makes his own ids collide makes the one list that they stand on slower to look through, and that
/// is bounded.
fn id_hash(id: &str) -> u32 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let (chunks, rest) = id.as_bytes().as_chunks::<8>();
    let last = rest.iter().fold(rest.len() as u64, |word, &byte| word << 8 | u64::from(byte));
    let words = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).chain([last]);
    let hash = words.fold(0, |hash: u64, word| (hash.rotate_left(5) ^ word).wrapping_mul(ODD));
    (hash >> 32) as u32
}

fn is_saved(entry: Entry, items: &Items) -> bool {
    items.get(entry.item()).is_some_and(|item| item.save == Save::Done)
}

impl AckList {
    pub(super) fn new(feed: Feed) -> Self {
        Self {
            feed,
            entries: VecDeque::new(),
            next: 0,
            held: 0,
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
    pub(super) fn touch(&self) -> usize {
        let entry = self.entries.front().map_or(0, |entry| entry.slot as usize);
        entry.wrapping_add(self.clock.front().map_or(0, |sending| sending.0 as usize))
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
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
        self.entries.is_empty() && self.tail.is_empty() && self.feed == Feed::Live
    }

    pub(super) fn append(&mut self, item: ItemRef, of: &Item) {
        debug_assert_eq!(of.sent_ms, NEVER, "appended before it is sent");
        self.entries.push_back(Entry { slot: item.slot, hash: id_hash(of.push.id()), seq: item.seq });
        self.bytes += of.weight_bytes();
    }

    fn tail_has_room(&self, weight: usize, rules: &Rules) -> bool {
        self.tail.len() < rules.list_max as usize && self.tail_bytes + weight <= rules.list_bytes_max
    }

    fn is_asking(&self) -> bool {
        matches!(self.feed, Feed::Opening | Feed::Backlog { asking: true, .. })
    }

    /// Puts an item on the tail; `false` when there is no room, or was none for an earlier one that the
    /// page on its way may lack.
    pub(super) fn append_tail(&mut self, item: ItemRef, of: &Item, rules: &Rules) -> bool {
        let weight = of.weight_bytes();
        if !self.tail_has_room(weight, rules) || (self.tail_lost && self.is_asking()) {
            self.tail_lost = true;
            return false;
        }
        self.tail.push(Entry { slot: item.slot, hash: id_hash(of.push.id()), seq: item.seq });
        self.tail_bytes += weight;
        true
    }

    /// Takes off a full tail what is in the store by now, if there is any among the oldest, and if no page
    /// is on its way that may lack it.
    pub(super) fn make_room_on_tail(&mut self, weight: usize, rules: &Rules, items: &Items) -> Vec<ItemRef> {
        const OLDEST: usize = 16;
        let pays = self.tail.iter().take(OLDEST).any(|entry| is_saved(*entry, items));
        if self.is_asking() || self.tail_has_room(weight, rules) || !pays {
            return Vec::new();
        }
        self.take_saved_off_tail(items)
    }

    fn take_saved_off_tail(&mut self, items: &Items) -> Vec<ItemRef> {
        let (saved, rest): (Vec<Entry>, Vec<Entry>) =
            std::mem::take(&mut self.tail).into_iter().partition(|entry| is_saved(*entry, items));
        self.tail = rest;
        let saved: Vec<ItemRef> = saved.into_iter().map(Entry::item).collect();
        self.tail_bytes -= saved.iter().filter_map(|item| items.get(*item)).map(Item::weight_bytes).sum::<usize>();
        saved
    }

    /// Takes the tail, and whether it is whole.
    pub(super) fn take_tail(&mut self) -> (Vec<ItemRef>, bool) {
        self.tail_bytes = 0;
        let tail = std::mem::take(&mut self.tail).into_iter().map(Entry::item).collect();
        (tail, !std::mem::take(&mut self.tail_lost))
    }

    /// A page is about to be asked for: what the tail lacks by now will be on it, or on a later one, and so
    /// will what is in the store already, which this takes off.
    pub(super) fn page_asked(&mut self, items: &Items) -> Vec<ItemRef> {
        self.tail_lost = false;
        self.take_saved_off_tail(items)
    }

    /// What waits for the page on its way.
    #[cfg(debug_assertions)]
    pub(super) fn tail_len(&self) -> usize {
        self.tail.len()
    }

    /// All entries, then the tail.
    pub(super) fn all(&self) -> impl Iterator<Item = ItemRef> + '_ {
        self.entries.iter().map(|entry| entry.item()).chain(self.tail.iter().map(|entry| entry.item()))
    }

    /// The entries with this id, which has this hash.
    fn entries_of<'a>(&'a self, hash: u32, id: &'a str, items: &'a Items) -> impl Iterator<Item = (ItemRef, &'a Item)> {
        let same = self.entries.iter().filter(move |entry| entry.hash == hash).map(|entry| entry.item());
        same.filter_map(|entry| items.get(entry).map(|item| (entry, item)))
            .filter(move |(_, item)| item.push.id() == id)
    }

    /// The oldest entry with this id that was sent on this connection.
    pub(super) fn find_sent(&self, id: &str, sender: Option<&str>, items: &Items) -> Option<ItemRef> {
        self.entries_of(id_hash(id), id, items)
            .find(|(_, item)| item.sent_ms != NEVER && sender.is_none_or(|sender| sender == item.push.sender()))
            .map(|(entry, _)| entry)
    }

    /// The entry that is this very message.
    pub(super) fn find_message(&self, sender: &str, id: &str, items: &Items) -> Option<ItemRef> {
        let is_it = |item: &Item| {
            item.push.kind == crate::protocol::push::PushKind::Message
                && item.push.sender() == sender
                && item.push.id() == id
        };
        let hash = id_hash(id);
        let listed = self.entries_of(hash, id, items).find(|(_, item)| is_it(item)).map(|(entry, _)| entry);
        let mut same = self.tail.iter().filter(|entry| entry.hash == hash).map(|entry| entry.item());
        listed.or_else(|| same.find(|&item| items.get(item).is_some_and(is_it)))
    }

    /// Takes an item off, wherever it stands. Call it while the item still exists.
    pub(super) fn remove(&mut self, item: ItemRef, of: &Item) {
        let Some(place) = self.entries.iter().position(|entry| entry.seq == item.seq) else {
            if let Some(place) = self.tail.iter().position(|entry| entry.item() == item) {
                self.tail.remove(place);
                self.tail_bytes -= of.weight_bytes();
            }
            return;
        };
        if place == 0 {
            // By far the most: acks come in the order of the pushes.
            self.entries.pop_front();
        } else {
            self.entries.remove(place);
        }
        self.bytes -= of.weight_bytes();
        let held_some = self.held > 0;
        if of.sent_ms != NEVER {
            self.sent -= 1;
            self.sent_bytes -= of.weight_bytes();
        } else if place < self.next {
            self.held -= 1;
        }
        if place < self.next {
            self.next -= 1;
        }
        if held_some {
            // What was held back because of it may go now.
            self.next = 0;
            self.held = 0;
        }
    }

    /// The next entry to send for the first time, if there is room among the outstanding ones.
    pub(super) fn next_to_send(&mut self, items: &Items, count_max: usize, bytes_max: usize) -> Option<ItemRef> {
        while let Some(&next) = self.entries.get(self.next) {
            let entry = next.item();
            let Some(item) = items.get(entry) else {
                debug_assert!(false, "an entry's item lives as long as the entry");
                return None;
            };
            if item.sent_ms != NEVER {
                self.next += 1;
                continue;
            }
            if self.sent >= count_max || (self.sent > 0 && self.sent_bytes + item.weight_bytes() > bytes_max) {
                return None;
            }
            if self.must_wait(next.hash, item, items) {
                self.held += 1;
                self.next += 1;
                continue;
            }
            return Some(entry);
        }
        None
    }

    /// Is its id outstanding, or an earlier one of the same sender held back?
    fn must_wait(&self, hash: u32, item: &Item, items: &Items) -> bool {
        if self.entries_of(hash, item.push.id(), items).any(|(_, other)| other.sent_ms != NEVER) {
            return true;
        }
        self.held > 0
            && self.entries.iter().take(self.next).any(|entry| {
                items
                    .get(entry.item())
                    .is_some_and(|other| other.sent_ms == NEVER && other.push.sender() == item.push.sender())
            })
    }

    /// Notes that the entry that [`next_to_send`](Self::next_to_send) gave was sent.
    pub(super) fn first_sent(&mut self, item: ItemRef, of: &mut Item, now_ms: u64) {
        self.sent += 1;
        self.sent_bytes += of.weight_bytes();
        self.next += 1;
        self.sent_again(item, of, now_ms);
    }

    /// Notes a sending.
    pub(super) fn sent_again(&mut self, item: ItemRef, of: &mut Item, now_ms: u64) {
        of.sent_ms = now_ms;
        self.clock.push_back((now_ms, item));
    }

    /// The oldest sending that still counts, and its time. Forgets those that do not.
    pub(super) fn oldest_sending(&mut self, items: &Items) -> Option<(u64, ItemRef)> {
        let counts = |&(at_ms, item): &(u64, ItemRef)| {
            items.get(item).is_some_and(|found| found.listed && found.sent_ms == at_ms)
        };
        while self.clock.front().is_some_and(|sending| !counts(sending)) {
            self.clock.pop_front();
        }
        if self.clock.len() > 64 && self.clock.len() > 4 * self.entries.len() {
            self.clock.retain(counts);
        }
        self.clock.front().copied()
    }

    /// Forgets the oldest sending: it is sent again.
    pub(super) fn drop_oldest_sending(&mut self) {
        self.clock.pop_front();
    }

    /// Nothing is sent any more: the list has a new connection, or none.
    pub(super) fn unsend_all(&mut self, items: &mut Items) {
        for entry in &self.entries {
            if let Some(item) = items.get_mut(entry.item()) {
                item.sent_ms = NEVER;
            }
        }
        (self.next, self.held, self.sent, self.sent_bytes) = (0, 0, 0, 0);
        self.clock.clear();
    }

    /// How many were sent and not acked, and their bytes.
    #[cfg(debug_assertions)]
    pub(super) fn outstanding(&self) -> (usize, usize) {
        (self.sent, self.sent_bytes)
    }

    /// What must hold whatever happened.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, items: &Items) {
        let of = |entry: &Entry| items.get(entry.item()).unwrap_or_else(|| panic!("an entry without its item"));
        assert_eq!(self.bytes, self.entries.iter().map(|entry| of(entry).weight_bytes()).sum::<usize>());
        let sent: Vec<&Item> = self.entries.iter().map(of).filter(|item| item.sent_ms != NEVER).collect();
        assert_eq!(self.sent, sent.len());
        assert_eq!(self.sent_bytes, sent.iter().map(|item| item.weight_bytes()).sum::<usize>());
        let unsent = self.entries.iter().take(self.next).filter(|entry| of(entry).sent_ms == NEVER).count();
        assert_eq!(self.held, unsent, "what is held back is what was passed over");
        assert!(self.entries.iter().all(|entry| of(entry).listed));
        assert!(self.tail.iter().all(|entry| items.get(entry.item()).is_some_and(|item| item.listed)));
    }
}
