//! A set of recent numbers with bounded memory and time.

use std::collections::HashSet;

/// The maximum number of entries of one half.
const COUNT_MAX: usize = 1 << 15;

/// Each number is known for one to two halves. Never walked through.
#[derive(Debug, Default)]
pub(super) struct ExpiringNumberSet {
    newer: HashSet<u64>,
    older: HashSet<u64>,
    /// The greatest number so far. Most questions are about a greater one, and need no look-up.
    greatest: u64,
    /// When the newer half began.
    newer_since_ms: u64,
}

impl ExpiringNumberSet {
    /// A half ends when it is full, or has lasted for `span_ms`.
    pub(super) fn insert(&mut self, number: u64, now_ms: u64, span_ms: u64) {
        self.rotate_halves(now_ms, span_ms);
        if self.newer.len() >= COUNT_MAX {
            self.older = std::mem::take(&mut self.newer);
            self.newer_since_ms = now_ms;
        }
        self.newer.insert(number);
        self.greatest = self.greatest.max(number);
    }

    fn rotate_halves(&mut self, now_ms: u64, span_ms: u64) {
        let age_ms = now_ms - self.newer_since_ms;
        if age_ms >= span_ms {
            let newer = std::mem::take(&mut self.newer);
            self.older = if age_ms < span_ms.saturating_mul(2) { newer } else { HashSet::new() };
            self.newer_since_ms = now_ms;
        }
    }

    pub(super) fn contains(&mut self, number: u64, now_ms: u64, span_ms: u64) -> bool {
        if number > self.greatest || (self.newer.is_empty() && self.older.is_empty()) {
            return false;
        }
        self.rotate_halves(now_ms, span_ms);
        self.newer.contains(&number) || self.older.contains(&number)
    }

    /// The memory of the set.
    pub(super) fn memory_bytes(&self) -> usize {
        (self.newer.capacity() + self.older.capacity()) * (size_of::<u64>() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_known_for_one_half_at_least_and_two_at_most() {
        let mut recent = ExpiringNumberSet::default();
        recent.insert(7, 5, 100);
        assert!(recent.contains(7, 104, 100) && !recent.contains(8, 104, 100));
        recent.insert(8, 150, 100);
        assert!(recent.contains(8, 199, 100));
        assert!(!recent.contains(7, 251, 100) && !recent.contains(7, 1_000, 100));
        recent.insert(9, 2_000, 100);
        assert!(!recent.contains(9, 3_000, 100), "nobody came for long");
        for number in 0..3 * COUNT_MAX as u64 {
            recent.insert(number, 3_000, 100);
            assert!(recent.contains(number.saturating_sub(COUNT_MAX as u64 - 1), 3_000, 100));
        }
        assert!(!recent.contains(0, 3_000, 100));
        assert!(recent.memory_bytes() < 4 * COUNT_MAX * 16);
    }
}
