//! Group commit: decides when a commit is delayed, so that more jobs share it.
//!
//! A commit of ten jobs costs little more than one of five. But clients that were just answered
//! send their next requests while the next commit runs, so ten clients become two groups of five
//! that never meet. A short delay before the commit makes one group of them. If no client comes,
//! the delay would only cost time, so it is tried more and more rarely.

use std::time::Duration;

/// A batch with more jobs than this is not delayed: the fixed cost of its commit is small.
const JOBS_MAX: usize = 32;
/// The longest delay. A commit waits for half the time of the last one, and no longer than this.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// The exponent of the largest number of chances that are skipped after misses: 2 to this power,
/// less one.
const SKIP_MAX: u32 = 8;

/// The state of one worker's group commit.
#[derive(Debug, Default)]
pub(super) struct GroupCommitDelay {
    /// The number of jobs that the last batch answered, plus those that were waiting then.
    expected_jobs: usize,
    /// The time that the last batch took.
    last_batch_duration: Duration,
    /// Delays in a row in which no job came.
    misses: u32,
    /// The number of chances still to be skipped.
    skip: u32,
}

impl GroupCommitDelay {
    /// Notes a batch: its number of jobs, how many jobs were waiting at its end, and how long it
    /// took.
    pub(super) fn note_batch(&mut self, jobs: usize, waiting: usize, took: Duration) {
        self.expected_jobs = jobs + waiting;
        self.last_batch_duration = took;
    }

    /// How many jobs a batch of `have` jobs must wait for, and how long at most; `None`: it begins
    /// at once.
    pub(super) fn delay(&mut self, have: usize) -> Option<(usize, Duration)> {
        if have >= self.expected_jobs || self.expected_jobs > JOBS_MAX {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        Some((self.expected_jobs, WAIT_MAX.min(self.last_batch_duration / 2)))
    }

    /// The commit was delayed for `expected` more jobs, and `arrived` of them arrived.
    pub(super) fn after_delay(&mut self, expected: usize, arrived: usize) {
        self.misses = if arrived * 2 > expected { 0 } else { (self.misses + 1).min(SKIP_MAX) };
        self.skip = (1 << self.misses) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn clients_just_answered_are_waited_for_together_with_those_that_wait() {
        let mut group_commit = GroupCommitDelay::default();
        assert_eq!(group_commit.delay(1), None, "nobody is expected at first");
        group_commit.note_batch(5, 5, MS * 2);
        assert_eq!(group_commit.delay(5), Some((10, MS)));
        assert_eq!(group_commit.delay(10), None);
        group_commit.note_batch(5, 5, MS * 20);
        assert_eq!(group_commit.delay(5), Some((10, WAIT_MAX)));
        group_commit.note_batch(1, 0, MS);
        assert_eq!(group_commit.delay(1), None, "one client alone never waits");
        group_commit.note_batch(50, 50, MS);
        assert_eq!(group_commit.delay(50), None, "many do not either");
    }

    #[test]
    fn the_delay_is_tried_more_rarely_if_no_job_comes() {
        let mut group_commit = GroupCommitDelay::default();
        let mut waits = Vec::new();
        for chance in 0..1_000 {
            group_commit.note_batch(5, 5, MS);
            if group_commit.delay(5).is_some() {
                waits.push(chance);
                group_commit.after_delay(5, 2);
            }
        }
        assert_eq!(waits, [0, 2, 6, 14, 30, 62, 126, 254, 510, 766]);
        group_commit.after_delay(5, 3);
        assert!(group_commit.delay(5).is_some(), "and at once again when it pays");
    }
}
