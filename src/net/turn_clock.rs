//! The time of a turn, and the deadlines that may be applied in it.

use super::input_time_watermark::{InputTimeWatermark, LATE_MS};
use crate::chat::contract::TurnTimestamp;

/// The time of a turn. It does not change during the turn.
#[derive(Debug, Default)]
pub(super) struct TurnClock {
    now: TurnTimestamp,
    /// Everything that clients had sent by this time was handled.
    input: InputTimeWatermark,
}

impl TurnClock {
    /// Begins a turn all of whose events will be handled.
    pub(super) fn begin_turn(&mut self, now: TurnTimestamp) {
        self.input.begin_turn(self.now.mono_ms);
        self.now = now;
    }

    /// There may be more events than this turn has.
    pub(super) fn expect_more_events(&mut self) {
        self.input.expect_more_events();
    }

    /// Notes the end of a turn's reading; `nobody_waits`: no connection has more input.
    pub(super) fn note_turn_end(&mut self, nobody_waits: bool) {
        self.input.note_turn_end(nobody_waits);
    }

    /// When this turn began.
    pub(super) fn now(&self) -> TurnTimestamp {
        self.now
    }

    /// When this turn began, by the mono clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.now.mono_ms
    }

    /// The time up to which all input was handled.
    pub(super) fn input_read_until_ms(&self) -> u64 {
        self.input.handled_until_ms()
    }

    /// Is this deadline over?
    pub(super) fn is_due(&self, deadline_ms: Option<u64>) -> bool {
        deadline_ms.is_some_and(|deadline_ms| deadline_ms <= self.now.mono_ms)
    }

    /// Is this deadline so late that the process must have been paused?
    pub(super) fn is_late(&self, deadline_ms: Option<u64>) -> bool {
        deadline_ms.is_some_and(|deadline_ms| self.now.mono_ms.saturating_sub(deadline_ms) >= LATE_MS)
    }

    /// Is this deadline so late that the process was paused, while the input since then is not
    /// handled yet?
    pub(super) fn is_input_missing(&self, deadline_ms: Option<u64>) -> bool {
        deadline_ms.is_some_and(|deadline_ms| self.input.is_input_missing(deadline_ms, self.now.mono_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_ms: u64) -> TurnTimestamp {
        TurnTimestamp { mono_ms, wall_ms: 0 }
    }

    #[test]
    fn a_deadline_is_due_then_late() {
        let mut clock = TurnClock::default();
        for (now_ms, expected) in
            [(99, (false, false)), (100, (true, false)), (99 + LATE_MS, (true, false)), (100 + LATE_MS, (true, true))]
        {
            clock.begin_turn(at(now_ms));
            assert_eq!((clock.is_due(Some(100)), clock.is_late(Some(100))), expected, "{now_ms}");
            assert!(!clock.is_due(None) && !clock.is_late(None) && !clock.is_input_missing(None));
        }
    }

    #[test]
    fn after_a_pause_a_deadline_waits_until_the_input_before_it_is_handed_in() {
        let mut clock = TurnClock::default();
        clock.begin_turn(at(50));
        clock.note_turn_end(true);
        // The process is paused here. The input of this turn may be all that had arrived at 50.
        clock.begin_turn(at(100 + LATE_MS));
        assert!(clock.is_input_missing(Some(100)));
        clock.note_turn_end(true);
        assert_eq!(clock.input_read_until_ms(), 50);
        assert!(clock.is_input_missing(Some(100)) && !clock.is_input_missing(Some(50)));
        // Not all events came, so that some input may still be missing.
        clock.begin_turn(at(101 + LATE_MS));
        clock.expect_more_events();
        clock.note_turn_end(true);
        assert!(clock.is_input_missing(Some(100)));
        clock.begin_turn(at(102 + LATE_MS));
        clock.note_turn_end(true);
        assert_eq!((clock.input_read_until_ms(), clock.now_ms()), (101 + LATE_MS, 102 + LATE_MS));
        assert!(clock.is_late(Some(100)) && !clock.is_input_missing(Some(100)));
    }
}
