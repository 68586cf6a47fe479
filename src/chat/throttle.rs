//! How often something may happen to each of many: some times at once, then once in a while.
//!
//! For each key one number is kept: when all that was noted would be forgotten again (the generic cell rate algorithm). A key
//! whose time has passed is as good as one that was never seen, so it is dropped; no timer is needed for that.

use std::collections::{HashMap, VecDeque};

/// So many at once, and one more each time this has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) burst: u32,
    pub(super) every_ms: u64,
}

/// What was noted of late, for each key.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// For each key the time at which it is as if it had never been seen.
    clean_at_ms: HashMap<u64, u64>,
    /// Each key of the table once, with a time at which it may be clean.
    order: VecDeque<(u64, u64)>,
}

impl Throttle {
    /// May it happen once more?
    pub(super) fn is_open(&self, key: u64, now_ms: u64, pace: Pace) -> bool {
        let used_ms = self.clean_at_ms.get(&key).map_or(0, |clean_at| clean_at.saturating_sub(now_ms));
        used_ms.div_ceil(pace.every_ms.max(1)) < u64::from(pace.burst)
    }

    /// Was nothing noted of late?
    pub(super) fn is_clean(&self, key: u64, now_ms: u64) -> bool {
        self.clean_at_ms.get(&key).is_none_or(|&clean_at| clean_at <= now_ms)
    }

    /// It has happened. Of more than `keys_max` keys the one that was looked at the longest ago is forgotten.
    pub(super) fn note(&mut self, key: u64, now_ms: u64, pace: Pace, keys_max: usize) {
        self.forget_clean(now_ms);
        let clean_at = self.clean_at_ms.entry(key).or_insert_with(|| {
            self.order.push_back((now_ms + pace.every_ms, key));
            now_ms
        });
        // Never more than the whole burst ahead, so that who goes on trying is not shut out for longer.
        let most = now_ms + pace.every_ms * u64::from(pace.burst);
        *clean_at = ((*clean_at).max(now_ms) + pace.every_ms).min(most);
        while self.clean_at_ms.len() > keys_max
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.clean_at_ms.remove(&oldest);
        }
    }

    /// Drops those at the front whose time has passed; those that were noted again meanwhile go to the back.
    fn forget_clean(&mut self, now_ms: u64) {
        /// Enough to shrink whenever something is added, and never a long walk.
        const LOOKS_MAX: usize = 4;
        for _ in 0..LOOKS_MAX {
            let Some(&(_, key)) = self.order.front().filter(|(at_ms, _)| *at_ms <= now_ms) else {
                return;
            };
            self.order.pop_front();
            match self.clean_at_ms.get(&key) {
                Some(&clean_at) if clean_at > now_ms => self.order.push_back((clean_at, key)),
                _ => drop(self.clean_at_ms.remove(&key)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { burst: 3, every_ms: 1_000 };

    #[test]
    fn a_burst_then_one_at_a_time_and_each_key_for_itself() {
        let mut throttle = Throttle::default();
        for _ in 0..3 {
            assert!(throttle.is_open(1, 0, PACE));
            throttle.note(1, 0, PACE, 100);
        }
        assert!(!throttle.is_open(1, 0, PACE) && !throttle.is_open(1, 999, PACE));
        assert!(throttle.is_open(2, 0, PACE));
        assert!(throttle.is_open(1, 1_000, PACE));
        throttle.note(1, 1_000, PACE, 100);
        assert!(!throttle.is_open(1, 1_500, PACE));
        assert!(!throttle.is_clean(1, 3_999) && throttle.is_clean(1, 4_000));
    }

    #[test]
    fn who_goes_on_is_not_shut_out_for_longer() {
        let mut throttle = Throttle::default();
        for _ in 0..1_000 {
            throttle.note(1, 0, PACE, 100);
        }
        assert!(throttle.is_open(1, 1_000, PACE));
    }

    #[test]
    fn it_is_bounded_and_forgets_what_is_clean() {
        let mut throttle = Throttle::default();
        for key in 0..1_000 {
            throttle.note(key, 0, PACE, 100);
            assert!(throttle.clean_at_ms.len() <= 100 && throttle.order.len() <= 101);
        }
        for key in 0..200 {
            throttle.note(key % 2, 10_000 + key * 1_000, PACE, 100);
        }
        assert!(throttle.clean_at_ms.len() <= 2, "{}", throttle.clean_at_ms.len());
        assert_eq!(throttle.order.len(), throttle.clean_at_ms.len());
    }
}
