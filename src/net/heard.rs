//! Up to when everything that clients had sent was handed to the core. Nobody is judged by a later
//! time.
//!
//! A process can be paused at any place, and for longer than any time-out: by a signal, a debugger,
//! a suspended machine. The clock of a turn is read after the poll, so what the poll gave may be
//! much older. What is certain: whatever had arrived when the turn *before* began was there when
//! the poll was called, and is among its events, if it gave all there were.

/// A deadline that is handled this late was missed because the process was paused.
pub(super) const LATE_MS: u64 = 1_000;

/// After so many turns in which somebody had more to say, it is taken for granted: those who never
/// stop must not keep others from being judged, and speak themselves. A turn takes some
/// milliseconds then, and has up to a thousand events.
const TURNS_MAX: u32 = 256;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Everything that was sent by this time was handed in, by the mono clock.
    pub(super) by_ms: u64,
    /// When the poll of this turn was called, or before.
    pub(super) polled_ms: u64,
    /// The poll gave all events there were.
    pub(super) polled_all: bool,
    /// Turns since that was known last.
    turns: u32,
}

impl Heard {
    /// Is this deadline so late that the process was paused, and what came meanwhile not handed in
    /// yet?
    pub(super) fn is_to_come(&self, deadline_ms: u64, now_ms: u64) -> bool {
        self.by_ms < deadline_ms && now_ms.saturating_sub(deadline_ms) >= LATE_MS
    }

    /// Everybody was served who could be. Does nobody have more to say?
    pub(super) fn note(&mut self, nobody_waits: bool) {
        self.turns += 1;
        if (self.polled_all && nobody_waits) || self.turns >= TURNS_MAX {
            self.by_ms = self.polled_ms;
            self.turns = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_when_all_events_came_and_nobody_has_more_and_at_the_latest_after_some_turns() {
        let mut heard = Heard { polled_ms: 7, polled_all: true, ..Heard::default() };
        heard.note(false);
        assert_eq!(heard.by_ms, 0);
        heard.polled_all = false;
        heard.note(true);
        assert_eq!(heard.by_ms, 0);
        heard.polled_all = true;
        heard.note(true);
        assert_eq!(heard.by_ms, 7);
        heard.polled_ms = 9;
        for _ in 1..TURNS_MAX {
            heard.note(false);
            assert_eq!(heard.by_ms, 7);
        }
        heard.note(false);
        assert_eq!(heard.by_ms, 9);
    }
}
