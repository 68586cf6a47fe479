//! Histograms of durations with fixed buckets: noting a duration is an addition and does not
//! allocate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The upper bound of the first bucket is two to this power, in µs; each further one is twice as
/// large.
const FIRST_POWER: u32 = 4;
/// The buckets, from 16 µs to 16.8 s. The last one has no bound.
pub const BUCKETS: usize = 22;

fn bucket(us: u64) -> usize {
    // The number of the power of two that is not below it.
    let power = u64::BITS - us.saturating_sub(1).leading_zeros();
    (power.saturating_sub(FIRST_POWER) as usize).min(BUCKETS - 1)
}

fn micros(duration: Duration) -> u64 {
    // Half a million years fit.
    duration.as_secs() * 1_000_000 + u64::from(duration.subsec_micros())
}

/// The number of durations in each bucket, and their sum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl Histogram {
    /// Counts one.
    pub fn note(&mut self, duration: Duration) {
        let us = micros(duration);
        self.counts[bucket(us)] += 1;
        self.sum_us += us;
    }

    /// The upper bound of each bucket in µs (`None`: it has none), and how many durations were not
    /// above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let mut sum = 0;
        self.counts.iter().enumerate().map(move |(index, count)| {
            sum += count;
            let bound = (index + 1 < BUCKETS).then(|| 1 << (FIRST_POWER as usize + index));
            (bound, sum)
        })
    }

    /// The number of counted durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }
}

/// A histogram into which several threads count.
#[derive(Debug, Default)]
pub struct SharedHistogram {
    counts: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
}

impl SharedHistogram {
    /// Counts one.
    pub fn note(&self, duration: Duration) {
        let us = micros(duration);
        self.counts[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// The counts so far.
    #[must_use]
    pub fn read(&self) -> Histogram {
        let counts = std::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed));
        Histogram { counts, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_bucket_with_the_least_bound_that_is_not_below_it() {
        let mut histogram = Histogram::default();
        for us in [0, 1, 16, 17, 32, 33, 16 << 20, (16 << 20) + 1, u64::MAX / 4] {
            let before = histogram.clone();
            histogram.note(Duration::from_micros(us));
            for ((bound, after), (_, before)) in histogram.cumulative().zip(before.cumulative()) {
                let is_in = bound.is_none_or(|bound| us <= bound);
                assert_eq!(after - before, u64::from(is_in), "{us} µs, bound {bound:?}");
            }
        }
        assert_eq!(histogram.count(), 9);
        assert_eq!(histogram.cumulative().last(), Some((None, 9)));
    }

    #[test]
    fn one_that_is_shared_counts_alike() {
        let (mut one, shared) = (Histogram::default(), SharedHistogram::default());
        for us in [3, 500, 70_000, 99_000_000] {
            one.note(Duration::from_micros(us));
            shared.note(Duration::from_micros(us));
        }
        assert_eq!(shared.read(), one);
        assert_eq!(one.sum(), Duration::from_micros(99_070_503));
    }
}
