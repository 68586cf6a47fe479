//! Pushes that are held back: those whose id is outstanding, and later ones of their senders.
//!
//! Of each sender only the first that is held back can be the next to go; the others stand behind
//! it. Such a first one waits for an id, or is a candidate: the candidates are looked at in the
//! order of the mailbox, and one whose id turns out to be outstanding waits again. So an ack wakes
//! one push, and a push that goes wakes the next one of its sender: no ack looks at the whole
//! mailbox.

use super::super::sparse::Place;
use std::collections::{BTreeSet, HashMap};

/// Stands for an id or a sender: a keyed hash of 64 bits. Two that collide would only wait for each
/// other's acks.
pub(super) type Hash = u64;

#[derive(Debug, Default)]
pub(super) struct Held {
    /// Of each sender all that are held back.
    senders: HashMap<Hash, BTreeSet<Place>>,
    /// The first ones that wait, by the id that they wait for.
    waiting: HashMap<Hash, BTreeSet<Place>>,
    /// The first ones that are to be looked at.
    candidates: BTreeSet<Place>,
}

fn take(map: &mut HashMap<Hash, BTreeSet<Place>>, key: Hash, place: Place) -> bool {
    let Some(places) = map.get_mut(&key) else {
        return false;
    };
    let was_there = places.remove(&place);
    if places.is_empty() {
        map.remove(&key);
    }
    was_there
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.senders.is_empty()
    }

    /// Is something of this sender held back?
    pub(super) fn holds_of(&self, sender: Hash) -> bool {
        self.senders.contains_key(&sender)
    }

    /// The first that may perhaps go.
    pub(super) fn candidate(&self) -> Option<Place> {
        self.candidates.first().copied()
    }

    /// Holds one back behind others of its sender.
    pub(super) fn hold_behind(&mut self, place: Place, sender: Hash) {
        self.senders.entry(sender).or_default().insert(place);
    }

    /// Holds the first of its sender back until its id is outstanding no more; it may have been a
    /// candidate.
    pub(super) fn wait_for(&mut self, place: Place, sender: Hash, id: Hash) {
        self.candidates.remove(&place);
        self.senders.entry(sender).or_default().insert(place);
        self.waiting.entry(id).or_default().insert(place);
    }

    /// This id is outstanding no more, or who was to be the next under it is gone.
    pub(super) fn wake(&mut self, id: Hash) {
        let Some(places) = self.waiting.get_mut(&id) else {
            return;
        };
        if let Some(first) = places.pop_first() {
            self.candidates.insert(first);
        }
        if places.is_empty() {
            self.waiting.remove(&id);
        }
    }

    /// Holds one back no more: it was sent, or taken off the list.
    pub(super) fn release(&mut self, place: Place, sender: Hash, id: Hash, sent: bool) {
        let was_first = self.senders.get(&sender).and_then(BTreeSet::first) == Some(&place);
        take(&mut self.senders, sender, place);
        if !was_first {
            return;
        }
        if self.candidates.remove(&place) {
            if !sent {
                // It may have been woken in the place of another.
                self.wake(id);
            }
        } else {
            take(&mut self.waiting, id, place);
        }
        if let Some(&next) = self.senders.get(&sender).and_then(BTreeSet::first) {
            self.candidates.insert(next);
        }
    }

    /// Everything that is held back.
    #[cfg(debug_assertions)]
    pub(super) fn places(&self) -> BTreeSet<Place> {
        self.senders.values().flatten().copied().collect()
    }

    /// The first one of each sender waits for an id or is a candidate, and nothing else does.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, is_outstanding: impl Fn(Place) -> bool) {
        let firsts: BTreeSet<Place> = self.senders.values().filter_map(BTreeSet::first).copied().collect();
        let waiting: BTreeSet<Place> = self.waiting.values().flatten().copied().collect();
        assert!(waiting.is_disjoint(&self.candidates));
        assert_eq!(&waiting | &self.candidates, firsts);
        for (id, places) in &self.waiting {
            // A push that is outstanding, or is about to be, wakes the next one.
            let first = places.first().is_some_and(|&first| is_outstanding(first));
            assert!(first || !self.candidates.is_empty(), "nobody wakes who waits for {id}");
        }
    }
}
