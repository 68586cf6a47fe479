//! The delays before a new connection: they grow and are random, so that the clients of a restarted
//! server do not all connect at the same moment.

/// Random numbers of sufficient quality for delays (SplitMix64). The same seed gives the same
/// sequence.
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn random_between(&mut self, least: u64, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let span = most.saturating_sub(least).saturating_add(1);
        least + bits % span
    }
}

/// A delay that doubles from a first value up to a maximum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) first_ms: u64,
    pub(super) max_ms: u64,
}

impl Backoff {
    /// The delay after `failures` failures in a row (1 is the first): a random value between half
    /// of the doubled delay and all of it, and never less than `least_ms`.
    pub(super) fn delay_ms(self, failures: u32, least_ms: u64, jitter: &mut Jitter) -> u64 {
        let doubled = self.first_ms.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let most = doubled.max(least_ms.saturating_mul(2)).min(self.max_ms.max(least_ms));
        jitter.random_between((most / 2).max(1), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_end_at_the_longest() {
        let backoff = Backoff { first_ms: 2_000, max_ms: 60_000 };
        let mut jitter = Jitter::new(1);
        for (failures, most) in [(1, 2_000), (2, 4_000), (3, 8_000), (6, 60_000), (7, 60_000), (u32::MAX, 60_000)] {
            let delays: Vec<u64> = (0..1_000).map(|_| backoff.delay_ms(failures, 0, &mut jitter)).collect();
            let (least, last) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
            assert!(*least >= most / 2 && *last <= most, "{failures}: {least} to {last}");
            assert!(last - least > most / 4, "{failures}: they are spread, {least} to {last}");
        }
    }

    #[test]
    fn a_server_that_asks_for_patience_gets_it() {
        let backoff = Backoff { first_ms: 2_000, max_ms: 60_000 };
        let mut jitter = Jitter::new(2);
        assert!((0..100).all(|_| backoff.delay_ms(1, 6_000, &mut jitter) >= 6_000));
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut jitter = Jitter::new(3);
        let backoff = Backoff { first_ms: u64::MAX, max_ms: u64::MAX };
        assert!(backoff.delay_ms(40, u64::MAX, &mut jitter) > 0);
        assert!(Backoff { first_ms: 1, max_ms: 1 }.delay_ms(1, 0, &mut jitter) == 1);
    }
}
