//! Gauges of the core, kept up to date as things change.

use super::ServerCore;
use super::rules::CoreSettings;

/// The gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnackedPushGauges {
    /// Pushes that were sent on their receivers' present connections and are not acked.
    pub outstanding: u64,
    /// When the oldest of the recently resent pushes was taken, in ms since the epoch; `None`: none
    /// was resent recently.
    pub oldest_unacked_ms: Option<u64>,
}

/// The oldest push that was resent in this span of time, and in the span before. An unacked push is
/// resent once in each span, so no search for the oldest one is needed.
#[derive(Debug)]
pub(super) struct OldestUnackedPushGauge {
    span: u64,
    now_ms: Option<u64>,
    before_ms: Option<u64>,
}

impl OldestUnackedPushGauge {
    pub(super) fn new() -> Self {
        Self { span: 0, now_ms: None, before_ms: None }
    }

    /// A push that was taken at this time was resent.
    pub(super) fn note(&mut self, said_ms: u64, span: u64) {
        self.now_ms = Some(self.values_in_span(span).0.map_or(said_ms, |oldest_ms| oldest_ms.min(said_ms)));
    }

    /// The values of this span and of the span before it.
    fn values_in_span(&mut self, span: u64) -> (Option<u64>, Option<u64>) {
        (self.now_ms, self.before_ms) = self.read(span);
        self.span = span;
        (self.now_ms, self.before_ms)
    }

    fn read(&self, span: u64) -> (Option<u64>, Option<u64>) {
        match span.saturating_sub(self.span) {
            0 => (self.now_ms, self.before_ms),
            1 => (None, self.now_ms),
            _ => (None, None),
        }
    }

    fn get(&self, span: u64) -> Option<u64> {
        let (now_ms, before_ms) = self.read(span);
        [now_ms, before_ms].into_iter().flatten().min()
    }
}

/// The length of a span in ms: slightly more than the time between two sendings of a push.
pub(super) fn span_ms(rules: &CoreSettings) -> u64 {
    rules.resend_every_ms + rules.resend_every_ms / 4 + 1_000
}

impl ServerCore {
    /// The present gauges.
    #[must_use]
    pub fn gauges(&self) -> UnackedPushGauges {
        let span = self.now.mono_ms / span_ms(&self.rules);
        UnackedPushGauges { outstanding: self.outstanding, oldest_unacked_ms: self.oldest_push.get(span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_last_two_spans_counts() {
        let mut oldest = OldestUnackedPushGauge::new();
        assert_eq!(oldest.get(7), None);
        oldest.note(50, 7);
        oldest.note(40, 7);
        oldest.note(60, 7);
        assert_eq!((oldest.get(7), oldest.get(8), oldest.get(9)), (Some(40), Some(40), None));
        oldest.note(45, 8);
        assert_eq!((oldest.get(8), oldest.get(9), oldest.get(10)), (Some(40), Some(45), None));
        oldest.note(70, 20);
        assert_eq!(oldest.get(20), Some(70));
    }
}
