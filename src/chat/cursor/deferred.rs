//! Deferred pushes: those whose id is outstanding, and later pushes of the same senders.
//!
//! Of each sender only the first deferred push can be sent next; the others come after it.
//! Such a first push waits for an id, or is a candidate. Candidates are examined in the order of
//! the mailbox; one whose id turns out to be outstanding waits again. So an ack wakes one push, and
//! a push that is sent wakes the next one of its sender: no ack searches the whole mailbox.

use super::super::sparse_queue::SparseQueuePosition;
use std::collections::{BTreeSet, HashMap};

/// A keyed hash of 64 bits of an id or a sender. Two that collide only wait for each other's acks.
pub(super) type DeferredPushKeyHash = u64;

/// Pushes that must not be sent yet although the window has room: a push with the same id is
/// outstanding, or an earlier push of the same sender is deferred.
#[derive(Debug, Default)]
pub(super) struct SameIdDeferredPushes {
    /// All deferred pushes, by sender.
    senders: HashMap<DeferredPushKeyHash, BTreeSet<SparseQueuePosition>>,
    /// First pushes that wait, by the id for which they wait.
    waiting: HashMap<DeferredPushKeyHash, BTreeSet<SparseQueuePosition>>,
    /// First pushes that are to be examined.
    candidates: BTreeSet<SparseQueuePosition>,
}

fn take(
    map: &mut HashMap<DeferredPushKeyHash, BTreeSet<SparseQueuePosition>>,
    key: DeferredPushKeyHash,
    place: SparseQueuePosition,
) -> bool {
    let Some(places) = map.get_mut(&key) else {
        return false;
    };
    let was_there = places.remove(&place);
    if places.is_empty() {
        map.remove(&key);
    }
    was_there
}

impl SameIdDeferredPushes {
    pub(super) fn is_empty(&self) -> bool {
        self.senders.is_empty()
    }

    /// Is a push of this sender deferred?
    pub(super) fn has_push_of(&self, sender: DeferredPushKeyHash) -> bool {
        self.senders.contains_key(&sender)
    }

    /// The first candidate.
    pub(super) fn candidate(&self) -> Option<SparseQueuePosition> {
        self.candidates.first().copied()
    }

    /// Defers a push until the earlier ones of its sender are sent.
    pub(super) fn defer_behind_sender(&mut self, place: SparseQueuePosition, sender: DeferredPushKeyHash) {
        self.senders.entry(sender).or_default().insert(place);
    }

    /// Defers the first push of its sender until its id is not outstanding any more; it may have
    /// been a candidate.
    pub(super) fn wait_for(
        &mut self,
        place: SparseQueuePosition,
        sender: DeferredPushKeyHash,
        id: DeferredPushKeyHash,
    ) {
        self.candidates.remove(&place);
        self.senders.entry(sender).or_default().insert(place);
        self.waiting.entry(id).or_default().insert(place);
    }

    /// Wakes one push that waits for this id: the id is not outstanding any more, or the push that
    /// was to take it is gone.
    pub(super) fn wake(&mut self, id: DeferredPushKeyHash) {
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

    /// Removes a push: it was sent, or removed from the list.
    pub(super) fn remove(
        &mut self,
        place: SparseQueuePosition,
        sender: DeferredPushKeyHash,
        id: DeferredPushKeyHash,
        sent: bool,
    ) {
        let was_first = self.senders.get(&sender).and_then(BTreeSet::first) == Some(&place);
        take(&mut self.senders, sender, place);
        if !was_first {
            return;
        }
        if self.candidates.remove(&place) {
            if !sent {
                // It may have been woken instead of another push: wake that one.
                self.wake(id);
            }
        } else {
            take(&mut self.waiting, id, place);
        }
        if let Some(&next) = self.senders.get(&sender).and_then(BTreeSet::first) {
            self.candidates.insert(next);
        }
    }

    /// The places of all deferred pushes.
    #[cfg(debug_assertions)]
    pub(super) fn places(&self) -> BTreeSet<SparseQueuePosition> {
        self.senders.values().flatten().copied().collect()
    }

    /// Checks that exactly the first push of each sender waits for an id or is a candidate.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, is_outstanding: impl Fn(SparseQueuePosition) -> bool) {
        let firsts: BTreeSet<SparseQueuePosition> =
            self.senders.values().filter_map(BTreeSet::first).copied().collect();
        let waiting: BTreeSet<SparseQueuePosition> = self.waiting.values().flatten().copied().collect();
        assert!(waiting.is_disjoint(&self.candidates));
        assert_eq!(&waiting | &self.candidates, firsts);
        for (id, places) in &self.waiting {
            // A push that is outstanding, or is about to be, wakes the next one.
            let first = places.first().is_some_and(|&first| is_outstanding(first));
            assert!(first || !self.candidates.is_empty(), "nothing wakes the pushes that wait for {id}");
        }
    }
}
