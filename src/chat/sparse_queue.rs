//! A queue from whose middle entries may be removed: usually the first one goes, sometimes another
//! one.
//!
//! An entry that is removed far from both ends leaves a gap, and gaps are closed many at a time. So
//! a removal costs the same however long the queue is, apart from a binary search.

use super::look_count;
use std::collections::VecDeque;

/// The place of an entry. Places ascend, and are consecutive as long as only first entries are
/// removed.
pub(super) type SparseQueuePosition = u64;

/// An entry of such a queue.
pub(super) trait SparseQueueEntry: Copy {
    /// Its place, greater than that of any entry before it.
    fn place(&self) -> SparseQueuePosition;
    /// Is it a gap?
    fn is_gap(&self) -> bool;
    fn make_gap(&mut self);
}

#[derive(Debug)]
pub(super) struct SparseQueue<T> {
    /// The entries; neither the first nor the last one is a gap.
    entries: VecDeque<T>,
    /// The number of gaps among them.
    gap_count: usize,
}

impl<T: SparseQueueEntry> SparseQueue<T> {
    pub(super) fn new() -> Self {
        Self { entries: VecDeque::new(), gap_count: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.gap_count
    }

    /// The number of entries with the gaps.
    pub(super) fn span(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.entries.front()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.entries.back()
    }

    /// All entries, without the gaps.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().inspect(|_| look_count::count(1)).filter(|entry| !entry.is_gap())
    }

    pub(super) fn push_back(&mut self, entry: T) {
        debug_assert!(self.back().is_none_or(|last| last.place() < entry.place()), "places ascend");
        self.entries.push_back(entry);
    }

    /// Removes all entries.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.gap_count = 0;
    }

    /// The position in the queue at which the entry with this place is, or would be.
    fn position(&self, place: SparseQueuePosition) -> usize {
        look_count::count(1);
        let (Some(first), Some(last)) = (self.entries.front(), self.entries.back()) else {
            return 0;
        };
        if last.place() < place {
            return self.entries.len();
        }
        let near = place.saturating_sub(first.place()) as usize;
        match self.entries.get(near) {
            Some(entry) if entry.place() == place => near,
            _ => self.entries.partition_point(|entry| entry.place() < place),
        }
    }

    /// The entry with this place.
    pub(super) fn at(&self, place: SparseQueuePosition) -> Option<&T> {
        self.entries.get(self.position(place)).filter(|entry| entry.place() == place && !entry.is_gap())
    }

    /// The entry with this place, for a change; its place must stay the same.
    pub(super) fn at_mut(&mut self, place: SparseQueuePosition) -> Option<&mut T> {
        let position = self.position(place);
        self.entries.get_mut(position).filter(|entry| entry.place() == place && !entry.is_gap())
    }

    /// The first entry with this place or a later one.
    pub(super) fn first_at_or_after(&self, place: SparseQueuePosition) -> Option<&T> {
        let mut position = self.position(place);
        while self.entries.get(position).is_some_and(|entry| entry.is_gap()) {
            look_count::count(1);
            position += 1;
        }
        self.entries.get(position)
    }

    /// Removes the entry with this place, if `is_it` is true for it.
    pub(super) fn remove_if(&mut self, place: SparseQueuePosition, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let position = self.position(place);
        let entry = *self.entries.get(position)?;
        let found = entry.place() == place && !entry.is_gap() && is_it(&entry);
        if found {
            self.remove_at(position);
        }
        found.then_some(entry)
    }

    fn remove_at(&mut self, position: usize) {
        /// The largest number of entries that are moved for one removal.
        const MOVED_MAX: usize = 64;
        let behind = self.entries.len() - position - 1;
        if position.min(behind) <= MOVED_MAX {
            self.entries.remove(position);
        } else {
            self.entries[position].make_gap();
            self.gap_count += 1;
        }
        while self.entries.front().is_some_and(|entry| entry.is_gap()) {
            self.entries.pop_front();
            self.gap_count -= 1;
        }
        while self.entries.back().is_some_and(|entry| entry.is_gap()) {
            self.entries.pop_back();
            self.gap_count -= 1;
        }
        if self.gap_count > self.entries.len() / 2 {
            // At least as many entries were removed since the last time.
            look_count::count(self.entries.len());
            self.entries.retain(|entry| !entry.is_gap());
            self.gap_count = 0;
        }
    }

    /// Checks the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert_eq!(self.gap_count, self.entries.iter().filter(|entry| entry.is_gap()).count());
        assert!(self.gap_count <= self.entries.len() / 2);
        assert!([self.front(), self.back()].into_iter().flatten().all(|entry| !entry.is_gap()));
        assert!(self.entries.iter().is_sorted_by(|one, other| one.place() < other.place()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct TestEntry(SparseQueuePosition, bool);

    impl SparseQueueEntry for TestEntry {
        fn place(&self) -> SparseQueuePosition {
            self.0
        }

        fn is_gap(&self) -> bool {
            self.1
        }

        fn make_gap(&mut self) {
            self.1 = true;
        }
    }

    fn queue(len: u64) -> SparseQueue<TestEntry> {
        let mut queue = SparseQueue::new();
        (0..len).for_each(|place| queue.push_back(TestEntry(place, false)));
        queue
    }

    #[test]
    fn one_out_of_the_middle_of_a_long_queue_moves_little_and_gaps_are_closed_up() {
        let mut queue = queue(2_000);
        // The first entry stays, so that the front does not move past gaps.
        for place in 1..1_900 {
            assert_eq!(queue.remove_if(place, |_| true), Some(TestEntry(place, false)));
            assert!(queue.span() <= 2 * queue.len() + 130, "{}", queue.span());
            assert_eq!(queue.first_at_or_after(1), Some(&TestEntry(place + 1, false)));
            #[cfg(debug_assertions)]
            queue.check();
        }
        assert_eq!(
            queue.iter().map(SparseQueueEntry::place).collect::<Vec<_>>(),
            [0].into_iter().chain(1_900..2_000).collect::<Vec<_>>()
        );
    }

    #[test]
    fn only_present_entries_are_found_and_taken_out() {
        let mut queue = queue(400);
        let odd: Vec<SparseQueuePosition> = (0..400).filter(|place| place % 2 == 1).collect();
        for &place in &odd {
            assert_eq!(queue.remove_if(place, |_| false), None);
            assert!(queue.remove_if(place, |_| true).is_some());
            assert_eq!(queue.remove_if(place, |_| true), None, "taken out once");
        }
        for place in 0..402 {
            assert_eq!(queue.at(place).is_some(), place % 2 == 0 && place < 400);
            let next = place + place % 2;
            assert_eq!(queue.first_at_or_after(place).map(SparseQueueEntry::place), (next < 400).then_some(next));
        }
        queue.clear();
        assert!(queue.is_empty() && queue.first_at_or_after(0).is_none());
        queue.push_back(TestEntry(7, false));
        assert_eq!((queue.len(), queue.at(7)), (1, Some(&TestEntry(7, false))));
    }
}
