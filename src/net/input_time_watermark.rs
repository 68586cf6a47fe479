//! The time up to which all input of clients was handled. The loop applies no deadline
//! that is later than that time.
//!
//! A process can be paused at any place, and for longer than any time-out: by a signal, a debugger,
//! a suspended machine. The clock of a turn is read after the poll, so the poll's events may be
//! much older. But all input that had arrived when the turn *before* began was there when the poll
//! was called, and is among its events, if the poll gave all of them.

/// A deadline that is handled this late was missed because the process was paused.
pub(super) const LATE_MS: u64 = 1_000;

/// After this many turns in which some connection had more input, all input counts as handled:
/// clients that never stop sending must not prevent the checks of others. A turn then takes some
/// milliseconds, and has up to a thousand events.
const TURNS_MAX: u32 = 256;

/// The time up to which all input was handled, and the data to find it.
#[derive(Debug, Default)]
pub(super) struct InputTimeWatermark {
    /// Everything that was sent by this time was handled, by the mono clock.
    handled_until_ms: u64,
    /// A time before the poll of this turn was called: the beginning of the turn before.
    polled_ms: u64,
    /// The poll gave all events there were.
    polled_all: bool,
    /// The number of turns since the watermark last moved.
    turns: u32,
}

impl InputTimeWatermark {
    /// A turn begins; the one before, after which the poll was called, began at this time.
    pub(super) fn begin_turn(&mut self, polled_ms: u64) {
        (self.polled_ms, self.polled_all) = (polled_ms, true);
    }

    /// There may be more events than the poll gave.
    pub(super) fn expect_more_events(&mut self) {
        self.polled_all = false;
    }

    /// The time up to which all input was handled.
    pub(super) fn handled_until_ms(&self) -> u64 {
        self.handled_until_ms
    }

    /// Is this deadline so late that the process must have been paused, while input from before the
    /// deadline may still be missing?
    pub(super) fn is_input_missing(&self, deadline_ms: u64, now_ms: u64) -> bool {
        self.handled_until_ms < deadline_ms && now_ms.saturating_sub(deadline_ms) >= LATE_MS
    }

    /// Notes the end of a turn's reading; `nobody_waits`: no connection has more input.
    pub(super) fn note_turn_end(&mut self, nobody_waits: bool) {
        self.turns += 1;
        if (self.polled_all && nobody_waits) || self.turns >= TURNS_MAX {
            self.handled_until_ms = self.polled_ms;
            self.turns = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_moves_when_no_input_is_left_and_at_the_latest_after_some_turns() {
        let mut input = InputTimeWatermark { polled_ms: 7, polled_all: true, ..InputTimeWatermark::default() };
        input.note_turn_end(false);
        assert_eq!(input.handled_until_ms, 0);
        input.polled_all = false;
        input.note_turn_end(true);
        assert_eq!(input.handled_until_ms, 0);
        input.polled_all = true;
        input.note_turn_end(true);
        assert_eq!(input.handled_until_ms, 7);
        input.polled_ms = 9;
        for _ in 1..TURNS_MAX {
            input.note_turn_end(false);
            assert_eq!(input.handled_until_ms, 7);
        }
        input.note_turn_end(false);
        assert_eq!(input.handled_until_ms, 9);
    }
}
