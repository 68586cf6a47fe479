//! Rate limits for many keys: a burst at once, then one event per interval.
//!
//! One time is kept for each key: from then on none of its events counts (the generic cell rate
//! algorithm). A key whose time has passed is equivalent to a new one, so it is removed; that needs
//! no timer.
//!
//! An event that may turn out to be harmless is reserved first and settled later: many at once
//! cannot overrun a budget, and a harmless one leaves no trace.

use std::collections::{HashMap, VecDeque};

/// A rate: `burst` events at once, and one more after each `every_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RateLimit {
    pub(super) burst: u32,
    pub(super) every_ms: u64,
}

#[derive(Debug, Default)]
struct ThrottleEntry {
    /// When the key is clean again: as if it had never been seen.
    clean_at_ms: u64,
    /// Events that are reserved and not settled.
    reserved_events: u32,
    /// The key is in the order.
    is_in_order: bool,
}

/// The recent events of each key.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    entries: HashMap<u64, ThrottleEntry>,
    /// Each key with events, once, with a time at which it may be clean again.
    order: VecDeque<(u64, u64)>,
}

impl Throttle {
    /// May one more event happen?
    pub(super) fn is_open(&self, key: u64, now_ms: u64, pace: RateLimit) -> bool {
        let Some(entry) = self.entries.get(&key) else {
            return pace.burst > 0;
        };
        let used = entry.clean_at_ms.saturating_sub(now_ms).div_ceil(pace.every_ms.max(1));
        used.saturating_add(entry.reserved_events.into()) < u64::from(pace.burst)
    }

    /// The memory that it uses, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        // The table has one byte of its own for each slot, and an eighth of its slots is always
        // free.
        let places = self.entries.capacity() / 7 * 8;
        places * (size_of::<(u64, ThrottleEntry)>() + 1) + self.order.capacity() * size_of::<(u64, u64)>()
    }

    /// Are there no recent events, and no more reservations than this?
    pub(super) fn is_clean(&self, key: u64, now_ms: u64, reserved_max: u32) -> bool {
        self.entries.get(&key).is_none_or(|entry| entry.clean_at_ms <= now_ms && entry.reserved_events <= reserved_max)
    }

    /// Reserves an event that may happen. [`settle`](Self::settle) ends the reservation.
    pub(super) fn reserve(&mut self, key: u64) {
        self.entries.entry(key).or_default().reserved_events += 1;
    }

    /// Says whether a reserved event has happened. Beyond `keys_max` keys, the one whose last check
    /// is the oldest is evicted.
    pub(super) fn settle(&mut self, key: u64, happened: bool, now_ms: u64, pace: RateLimit, keys_max: usize) {
        let Some(entry) = self.entries.get_mut(&key) else {
            debug_assert!(false, "settled and not reserved");
            return;
        };
        debug_assert!(entry.reserved_events > 0, "settled more often than reserved");
        entry.reserved_events = entry.reserved_events.saturating_sub(1);
        if happened {
            self.note(key, now_ms, pace, keys_max);
        } else if entry.reserved_events == 0 && !entry.is_in_order {
            self.entries.remove(&key);
        }
    }

    /// Notes an event.
    pub(super) fn note(&mut self, key: u64, now_ms: u64, pace: RateLimit, keys_max: usize) {
        self.remove_clean(now_ms);
        let entry = self.entries.entry(key).or_default();
        if !std::mem::replace(&mut entry.is_in_order, true) {
            self.order.push_back((now_ms + pace.every_ms, key));
        }
        // Never more than the whole burst ahead, so that a client that goes on is not locked out
        // for longer.
        let most = now_ms + pace.every_ms * u64::from(pace.burst);
        entry.clean_at_ms = (entry.clean_at_ms.max(now_ms) + pace.every_ms).min(most);
        while self.order.len() > keys_max
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.evict(oldest);
        }
    }

    /// Evicts a key: removes all its events, and keeps the reservations.
    fn evict(&mut self, key: u64) {
        if let Some(entry) = self.entries.get_mut(&key) {
            (entry.clean_at_ms, entry.is_in_order) = (0, false);
            if entry.reserved_events == 0 {
                self.entries.remove(&key);
            }
        }
    }

    /// Removes keys at the front of the order whose time has passed; keys with newer events go to
    /// the back.
    fn remove_clean(&mut self, now_ms: u64) {
        /// Enough for the order to shrink with every addition, and never a long loop.
        const LOOKS_MAX: usize = 4;
        for _ in 0..LOOKS_MAX {
            let Some(&(_, key)) = self.order.front().filter(|(at_ms, _)| *at_ms <= now_ms) else {
                return;
            };
            self.order.pop_front();
            match self.entries.get(&key) {
                Some(entry) if entry.clean_at_ms > now_ms => self.order.push_back((entry.clean_at_ms, key)),
                _ => self.evict(key),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: RateLimit = RateLimit { burst: 3, every_ms: 1_000 };

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
        assert!(!throttle.is_clean(1, 3_999, 0) && throttle.is_clean(1, 4_000, 0));
    }

    #[test]
    fn a_reservation_counts_and_leaves_no_trace_if_it_comes_to_nothing() {
        let mut throttle = Throttle::default();
        for _ in 0..3 {
            assert!(throttle.is_open(1, 0, PACE));
            throttle.reserve(1);
        }
        assert!(!throttle.is_open(1, 0, PACE) && !throttle.is_clean(1, 0, 2), "any of them may have happened");
        assert!(!throttle.is_open(1, 9_000, PACE), "however long it takes");
        throttle.settle(1, false, 9_000, PACE, 100);
        assert!(throttle.is_open(1, 9_000, PACE));
        throttle.settle(1, true, 9_000, PACE, 100);
        throttle.settle(1, false, 9_000, PACE, 100);
        assert!(!throttle.is_clean(1, 9_999, 0) && throttle.is_clean(1, 10_000, 0));
        throttle.note(2, 10_000, PACE, 100);
        assert_eq!((throttle.entries.len(), throttle.order.len()), (1, 1));
        throttle.reserve(3);
        throttle.settle(3, false, 10_000, PACE, 100);
        assert_eq!((throttle.entries.len(), throttle.order.len()), (1, 1));
    }

    #[test]
    fn a_client_that_goes_on_is_not_shut_out_for_longer() {
        let mut throttle = Throttle::default();
        for _ in 0..1_000 {
            throttle.note(1, 0, PACE, 100);
        }
        assert!(throttle.is_open(1, 1_000, PACE));
    }

    #[test]
    fn it_is_bounded_and_removes_clean_entries_and_no_reserved_ones() {
        let mut throttle = Throttle::default();
        throttle.reserve(7);
        for key in 0..1_000 {
            throttle.note(key, 0, PACE, 100);
            assert!(throttle.entries.len() <= 101 && throttle.order.len() <= 100);
        }
        throttle.settle(7, false, 0, PACE, 100);
        for key in 0..200 {
            throttle.note(key % 2, 10_000 + key * 1_000, PACE, 100);
        }
        assert!(throttle.entries.len() <= 2, "{}", throttle.entries.len());
        assert_eq!(throttle.order.len(), throttle.entries.len());
    }
}
