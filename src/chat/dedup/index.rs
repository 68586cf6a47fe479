//! Positions by key, in as few cache lines as possible: with thousands of senders, the memory of
//! each is cold when it is their turn.
//!
//! Open addressing with linear probing in a table that is never more than half full. A slot holds a
//! tag of 16 bits of the key and a position of 16 bits, nothing else: the tag gives the slot where
//! the search begins, and the queue has the whole key.

use super::DedupKey;

/// An empty slot: no tag is 0.
const EMPTY: u32 = 0;
const SLOTS_MIN: usize = 16;

#[derive(Debug, Default)]
pub(super) struct DedupIndex {
    /// A power of two, at most 65,536 of them.
    slots: Box<[u32]>,
    len: usize,
}

impl DedupIndex {
    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }

    fn home(&self, tag: u16) -> usize {
        (usize::from(tag) * self.slots.len()) >> 16
    }

    fn next_slot(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }

    /// The slot with this key's tag whose position fulfils `is_it`.
    pub(super) fn find(&self, key: DedupKey, is_it: impl Fn(u16) -> bool) -> Option<usize> {
        let tag = key.tag();
        let mut slot = self.home(tag);
        loop {
            match *self.slots.get(slot)? {
                EMPTY => return None,
                entry if entry >> 16 == u32::from(tag) && is_it(entry as u16) => return Some(slot),
                _ => slot = self.next_slot(slot),
            }
        }
    }

    /// The position in a slot that [`find`](Self::find) gave.
    pub(super) fn position(&self, slot: usize) -> u16 {
        // The lower half.
        self.slots[slot] as u16
    }

    /// Adds a position.
    pub(super) fn insert(&mut self, key: DedupKey, position: u16) {
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow();
        }
        self.len += 1;
        self.put(u32::from(key.tag()) << 16 | u32::from(position));
    }

    fn put(&mut self, entry: u32) {
        let mut slot = self.home((entry >> 16) as u16);
        while self.slots[slot] != EMPTY {
            slot = self.next_slot(slot);
        }
        self.slots[slot] = entry;
    }

    fn grow(&mut self) {
        let slots = vec![EMPTY; (self.slots.len() * 2).max(SLOTS_MIN)].into_boxed_slice();
        for entry in std::mem::replace(&mut self.slots, slots) {
            if entry != EMPTY {
                self.put(entry);
            }
        }
    }

    /// Empties a slot that [`find`](Self::find) gave. Later slots of the same run move up, so that
    /// no search stops too early.
    pub(super) fn remove(&mut self, slot: usize) {
        let mask = self.slots.len() - 1;
        let (mut hole, mut next) = (slot, self.next_slot(slot));
        while self.slots[next] != EMPTY {
            let home = self.home((self.slots[next] >> 16) as u16);
            // It may move into the hole if that is not before its home.
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[next];
                hole = next;
            }
            next = self.next_slot(next);
        }
        self.slots[hole] = EMPTY;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_finds_the_same_entries_as_a_map() {
        let (mut index, mut map) = (DedupIndex::default(), HashMap::new());
        let mut random = fastrand::Rng::with_seed(1);
        for step in 0..200_000_u32 {
            // Few tags, so that searches are long and go around the end.
            let tag = [1, 2, 3, 40_000, 65_533, 65_534, 65_535][random.usize(..7)];
            let number = random.u64(..40);
            let key = DedupKey(tag << 48 | number);
            let position = |number: u64| (tag ^ number << 7) as u16;
            let found = index.find(key, |other| other == position(number));
            assert_eq!(found.map(|slot| index.position(slot)), map.get(&key.0).copied(), "step {step}");
            match found {
                Some(slot) => {
                    index.remove(slot);
                    map.remove(&key.0);
                }
                None => {
                    index.insert(key, position(number));
                    map.insert(key.0, position(number));
                }
            }
            assert_eq!(index.len, map.len());
        }
    }
}
