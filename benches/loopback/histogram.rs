//! A log-linear histogram of nanoseconds: 32 steps to each power of two, so that no value is off by
//! more than 3 %.

const STEP_BITS: u32 = 5;
const STEPS: u64 = 1 << STEP_BITS;
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) << STEP_BITS;

/// Counts of latencies.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0, max_ns: 0 }
    }

    pub fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    pub fn max_us(&self) -> f64 {
        self.max_ns as f64 / 1e3
    }

    /// The quantile of this share (0 to 1), in µs; 0 if nothing was counted.
    pub fn quantile_us(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return (lowest(index + 1).min(self.max_ns) as f64) / 1e3;
            }
        }
        0.0
    }

    /// The used buckets: the lower edge in µs, the upper edge, and the count.
    pub fn buckets_us(&self) -> impl Iterator<Item = (f64, f64, u64)> {
        let edge = |index| lowest(index) as f64 / 1e3;
        self.counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(index, count)| (edge(index), edge(index + 1), *count))
    }
}

fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let shift = 63 - STEP_BITS - ns.leading_zeros();
    ((u64::from(shift) << STEP_BITS) + (ns >> shift)) as usize
}

/// The least value of a bucket.
fn lowest(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS * 2 {
        return index;
    }
    let shift = (index >> STEP_BITS) - 1;
    (index - (shift << STEP_BITS)) << shift
}

/// Fails when the arithmetic above is wrong, before anything is measured with it.
pub fn check() {
    for ns in (0..200).chain((8..63).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + (1 << (bit - 2))])) {
        let index = bucket(ns);
        assert!(lowest(index) <= ns && ns < lowest(index + 1), "{ns} is not in bucket {index}");
    }
}
