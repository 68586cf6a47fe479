//! Acked pushes that could not be deleted from the store yet.

use crate::protocol::field::UserName;
use std::collections::{BTreeSet, VecDeque};

/// Beyond this number a push is sent once more at the next log-in instead, as "at least once"
/// allows.
const COUNT_MAX: usize = 100_000;
/// The largest number of retries that the timer starts at a time; the others follow as these
/// succeed, or a second later, so that a store with problems gets little extra work. (All deletions
/// together have half of the job queue.)
const AT_ONCE_MAX: usize = 2_000;

/// The deletions that failed. Each is retried until it succeeds, and until then the push counts as
/// deleted.
#[derive(Debug, Default)]
pub(super) struct FailedPushDeletions {
    /// The `seq` of each such push.
    seqs: BTreeSet<u64>,
    /// Those whose deletion is to be retried; the others are being retried.
    to_retry: VecDeque<(UserName, u64)>,
    is_timer_set: bool,
}

impl FailedPushDeletions {
    /// A deletion has failed. `true`: a timer for its retry must be set.
    #[must_use]
    pub(super) fn insert(&mut self, receiver: UserName, seq: u64) -> bool {
        if self.seqs.len() >= COUNT_MAX && !self.seqs.contains(&seq) {
            return false;
        }
        self.seqs.insert(seq);
        self.to_retry.push_back((receiver, seq));
        !std::mem::replace(&mut self.is_timer_set, true)
    }

    /// This push is deleted. `true`: its deletion had failed before.
    pub(super) fn remove(&mut self, seq: &u64) -> bool {
        self.seqs.remove(seq)
    }

    /// The timer has fired: takes the deletions that are to be retried now. `true`: others are
    /// left, so the timer must be set again.
    pub(super) fn take_due(&mut self) -> (Vec<(UserName, u64)>, bool) {
        let due = self.to_retry.drain(..self.to_retry.len().min(AT_ONCE_MAX)).collect();
        self.is_timer_set = !self.to_retry.is_empty();
        (due, self.is_timer_set)
    }

    /// Takes the next deletion before the timer fires.
    pub(super) fn take_next(&mut self) -> Option<(UserName, u64)> {
        self.to_retry.pop_front()
    }

    /// Does this push count as deleted, although it may be in the store?
    pub(super) fn contains(&self, seq: &u64) -> bool {
        self.seqs.contains(seq)
    }

    /// Is every acked push deleted, or its deletion on the way for the first time?
    pub(super) fn is_empty(&self) -> bool {
        self.seqs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> UserName {
        UserName::new("ann").unwrap()
    }

    #[test]
    fn a_push_counts_as_deleted_until_it_is() {
        let mut failed = FailedPushDeletions::default();
        assert!(failed.insert(ann(), 7), "the timer begins");
        assert!(!failed.insert(ann(), 8), "there is one already");
        assert_eq!(failed.take_due(), (vec![(ann(), 7), (ann(), 8)], false));
        assert!(failed.contains(&7) && failed.contains(&8), "they are being retried");
        assert!(failed.remove(&8) && !failed.remove(&8));
        assert!(failed.insert(ann(), 7), "it has failed again");
        assert!(failed.contains(&7) && !failed.contains(&8));
        failed.remove(&7);
        assert!(failed.is_empty());
    }

    #[test]
    fn one_timer_is_enough_however_deletions_come_and_go() {
        let mut failed = FailedPushDeletions::default();
        assert!(failed.insert(ann(), 7));
        assert_eq!((failed.take_next(), failed.take_next()), (Some((ann(), 7)), None));
        assert!(!failed.insert(ann(), 7), "the timer is still set");
        assert_eq!(failed.take_due(), (vec![(ann(), 7)], false));
        assert_eq!(failed.take_due(), (vec![], false));
        assert!(failed.insert(ann(), 7));
    }

    #[test]
    fn a_store_with_problems_gets_a_bounded_number_of_retries_at_a_time() {
        let mut failed = FailedPushDeletions::default();
        for seq in 0..AT_ONCE_MAX as u64 + 5 {
            assert_eq!(failed.insert(ann(), seq), seq == 0);
        }
        let (due, has_more) = failed.take_due();
        assert_eq!((due.len(), due[0].1, has_more), (AT_ONCE_MAX, 0, true));
        let (due, has_more) = failed.take_due();
        assert_eq!((due.len(), due[0].1, has_more), (5, AT_ONCE_MAX as u64, false));
    }

    #[test]
    fn the_number_of_failed_deletions_is_bounded() {
        let mut failed = FailedPushDeletions::default();
        for seq in 0..COUNT_MAX as u64 {
            assert_eq!(failed.insert(ann(), seq), seq == 0);
        }
        assert!(!failed.insert(ann(), u64::MAX) && !failed.contains(&u64::MAX), "it comes once more");
        // One that is known already is retried.
        while failed.take_due().1 {}
        assert!(failed.insert(ann(), 3));
        assert_eq!(failed.take_due(), (vec![(ann(), 3)], false));
    }
}
