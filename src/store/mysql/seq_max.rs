//! The greatest `seq` that this node may write: the limit that the database knows.

use crate::chat::contract::MS_SHIFT;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How far the limit is above the wall clock when it is written, and when it is written early.
const ABOVE_WALL_MS: u64 = 5_000;
const NEAR_WALL_MS: u64 = 2_500;
/// The same above the clock of the numbers. Where that is ahead of the wall clock, it goes on by a
/// millisecond per 1,024 pushes only. A node begins each life at the limit of the one before: with
/// more, some quick restarts would put its numbers far ahead.
const ABOVE_CLOCK_MS: u64 = 250;
const NEAR_CLOCK_MS: u64 = 125;

/// The limit to be written when the next push gets the number `clock`.
pub(super) fn limit_for(clock: u64, wall: u64) -> u64 {
    (clock + (ABOVE_CLOCK_MS << MS_SHIFT)).max(wall + (ABOVE_WALL_MS << MS_SHIFT))
}

/// Must the limit be written early?
pub(super) fn must_write_early(limit: u64, clock: u64, wall: u64) -> bool {
    is_near_clock(limit, clock) || limit < wall + (NEAR_WALL_MS << MS_SHIFT)
}

/// Is a number below `clock`, or above it by less than pushes can come in a round trip?
pub(super) fn is_near_clock(limit: u64, clock: u64) -> bool {
    limit < clock + (NEAR_CLOCK_MS << MS_SHIFT)
}

/// The least `seq` that the wall clock could give now.
pub(super) fn wall_seq() -> u64 {
    // Milliseconds fit for half a million years; shifted, for five hundred.
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    ms << MS_SHIFT
}

/// It is raised with a sign of life; those who write may wait for that.
pub(super) struct SeqWriteLimit {
    value: AtomicU64,
    raise_lock: Mutex<()>,
    raise_finished: Condvar,
}

impl SeqWriteLimit {
    pub(super) fn new(value: u64) -> Self {
        Self { value: AtomicU64::new(value), raise_lock: Mutex::default(), raise_finished: Condvar::new() }
    }

    pub(super) fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, value: u64) {
        if self.value.load(Ordering::Acquire) == value {
            return;
        }
        // Under the lock: nobody begins to wait between the change and the call.
        let _raising = self.raise_lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.value.store(value, Ordering::Release);
        self.raise_finished.notify_all();
    }

    /// Waits until it is at least this, or for so long. Gives what it is then.
    pub(super) fn wait_for(&self, seq: u64, within: Duration) -> u64 {
        let raising = self.raise_lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.raise_finished.wait_timeout_while(raising, within, |()| self.get() < seq));
        self.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_restarts_put_the_numbers_ahead_by_little() {
        let (start, restarts) = (1_700_000_000_000_u64, 12);
        let mut limit = 0;
        for restart in 0..restarts {
            // A life begins at the limit of the one before, 10 ms later than that.
            limit = limit_for(limit + 1, (start + 10 * restart) << MS_SHIFT);
        }
        let ahead_ms = (limit >> MS_SHIFT) - start;
        assert!(ahead_ms <= ABOVE_WALL_MS + restarts * ABOVE_CLOCK_MS, "{ahead_ms}");
        // As soon as the wall clock has come near, it is the wall clock that counts again.
        let wall = limit - (NEAR_WALL_MS << MS_SHIFT) + 1;
        assert!(must_write_early(limit, limit - (NEAR_CLOCK_MS << MS_SHIFT), wall));
        assert_eq!(limit_for(limit, wall), wall + (ABOVE_WALL_MS << MS_SHIFT));
    }

    #[test]
    fn a_limit_is_written_early_when_either_clock_comes_near() {
        let ms = |ms: u64| ms << MS_SHIFT;
        for (limit, clock, wall, near) in [
            (limit_for(ms(7), ms(7)), ms(7), ms(7), false),
            (limit_for(ms(90_000), ms(7)), ms(90_000), ms(7), false),
            (ms(10_000), ms(9_876), ms(7), true),
            (ms(10_000), ms(9_875), ms(7), false),
            (ms(10_000), ms(7), ms(7_501), true),
            (ms(10_000), ms(7), ms(7_500), false),
        ] {
            assert_eq!(must_write_early(limit, clock, wall), near, "{limit} {clock} {wall}");
        }
    }
}
