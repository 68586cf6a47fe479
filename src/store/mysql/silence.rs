//! For how long other nodes give no sign of life.

use std::time::{Duration, Instant};

/// One look counts for so much silence of another node at most: this process may have been frozen
/// itself, perhaps together with the database.
const LOOK_COUNTS_FOR: Duration = Duration::from_millis(1_500);

/// For how long a node has shown no sign of life, as far as this process has seen.
#[derive(Default)]
pub(super) struct NodeSilence {
    last: Option<((u64, u64), Instant)>,
    duration: Duration,
}

impl NodeSilence {
    pub(super) fn update(&mut self, found: (u64, u64), now: Instant) -> Duration {
        match self.last {
            Some((last, at)) if last == found => {
                self.duration += now.saturating_duration_since(at).min(LOOK_COUNTS_FOR);
            }
            _ => self.duration = Duration::ZERO,
        }
        self.last = Some((found, now));
        self.duration
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_counted_from_look_to_look_and_a_gap_counts_little() {
        let (start, mut silence) = (Instant::now(), NodeSilence::default());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(silence.update((1, 5), at(0)), Duration::ZERO);
        assert_eq!(silence.update((1, 5), at(1_000)), Duration::from_secs(1));
        assert_eq!(silence.update((1, 5), at(2_200)), Duration::from_millis(2_200));
        // It was this process that was frozen.
        assert_eq!(silence.update((1, 5), at(60_000)), Duration::from_millis(3_700));
        assert_eq!(silence.update((1, 6), at(61_000)), Duration::ZERO);
        assert_eq!(silence.update((2, 6), at(62_000)), Duration::ZERO, "another life of it");
    }
}
