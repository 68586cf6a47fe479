//! The most recent pushes that the program has handled, so that duplicates can be dropped.

use super::push::PushDedupKey;
use std::collections::{HashSet, VecDeque};

/// A fixed number of the most recent pushes.
#[derive(Debug)]
pub(super) struct SeenPushes {
    keys: HashSet<PushDedupKey>,
    order: VecDeque<PushDedupKey>,
    max: usize,
}

impl SeenPushes {
    pub(super) fn new(max: usize) -> Self {
        Self { keys: HashSet::new(), order: VecDeque::new(), max }
    }

    pub(super) fn contains(&self, key: &PushDedupKey) -> bool {
        self.keys.contains(key)
    }

    /// Remembers a push, and evicts the oldest one if there is no room.
    pub(super) fn insert(&mut self, key: PushDedupKey) {
        if !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered_and_no_more() {
        let key = |n: u8| [n; 16];
        let mut seen = SeenPushes::new(3);
        for n in [1, 2, 2, 3, 1, 4] {
            seen.insert(key(n));
        }
        assert_eq!([1, 2, 3, 4, 5].map(|n| seen.contains(&key(n))), [false, true, true, true, false]);
        assert_eq!((seen.keys.len(), seen.order.len()), (3, 3));
    }
}
