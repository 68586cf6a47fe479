//! When a commit is delayed, so that more jobs share it.
//!
//! A commit of ten jobs costs little more than one of five. But clients that were just answered
//! send their next requests while the next commit runs, so ten clients become two groups of five
//! that never meet. A short delay before the commit makes one group of them. Where nobody comes the
//! delay would only cost time, so it is tried ever more rarely.

use std::time::Duration;

/// Beyond so many jobs the fixed part of a commit is small, and what has come meanwhile is enough.
const JOBS_MAX: usize = 32;
/// A commit waits half as long as the last one took, and no longer than this.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// After misses so many chances at most are skipped, less one, as a power of two.
const SKIP_MAX: u32 = 8;

/// The state from which one worker decides whether to wait for more jobs.
#[derive(Debug, Default)]
pub(super) struct GroupCommit {
    /// Jobs that the last batch answered, and that were waiting behind it.
    expected: usize,
    /// The time that the last batch took.
    took: Duration,
    /// Delays that nobody used, one after another.
    misses: u32,
    /// Chances that are still skipped.
    skip: u32,
}

impl GroupCommit {
    /// A batch of so many jobs was answered in this time, while so many others came.
    pub(super) fn answered(&mut self, jobs: usize, waiting: usize, took: Duration) {
        self.expected = jobs + waiting;
        self.took = took;
    }

    /// For how many jobs a batch of `have` is to wait, and how long; `None`: it is to begin.
    pub(super) fn delay(&mut self, have: usize) -> Option<(usize, Duration)> {
        if have >= self.expected || self.expected > JOBS_MAX {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        Some((self.expected, WAIT_MAX.min(self.took / 2)))
    }

    /// The commit was delayed for `wanted` more jobs, and `came` of them came.
    pub(super) fn after_delay(&mut self, wanted: usize, came: usize) {
        self.misses = if came * 2 > wanted { 0 } else { (self.misses + 1).min(SKIP_MAX) };
        self.skip = (1 << self.misses) - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn those_just_answered_are_waited_for_together_with_those_who_wait() {
        let mut group_commit = GroupCommit::default();
        assert_eq!(group_commit.delay(1), None, "nobody is expected at first");
        group_commit.answered(5, 5, MS * 2);
        assert_eq!(group_commit.delay(5), Some((10, MS)));
        assert_eq!(group_commit.delay(10), None);
        group_commit.answered(5, 5, MS * 20);
        assert_eq!(group_commit.delay(5), Some((10, WAIT_MAX)));
        group_commit.answered(1, 0, MS);
        assert_eq!(group_commit.delay(1), None, "one client alone never waits");
        group_commit.answered(50, 50, MS);
        assert_eq!(group_commit.delay(50), None, "many do not either");
    }

    #[test]
    fn the_delay_is_tried_more_rarely_if_no_job_comes() {
        let mut group_commit = GroupCommit::default();
        let mut waits = Vec::new();
        for chance in 0..1_000 {
            group_commit.answered(5, 5, MS);
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
