//! Warns when the write-ahead log of a store is large. It grows while something keeps it from being
//! reset: a long backup, or another program that reads the file.

use std::time::{Duration, Instant};

/// The interval between two checks.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The interval between two warnings while the log stays large.
const WARN_EVERY: Duration = Duration::from_secs(600);

/// When the size was checked last, and when the last warning was, if the log is still large.
#[derive(Debug, Default)]
pub(super) struct WalSizeWatch {
    checked_at: Option<Instant>,
    warned_at: Option<Instant>,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
enum WalSizeLogLine {
    Nothing,
    Large,
    SmallAgain,
}

impl WalSizeWatch {
    /// Checks the size now and then; gives a line for the log if there is something to report.
    pub(super) fn check(&mut self, now: Instant, warn_bytes: u64, size: impl FnOnce() -> Option<u64>) {
        if self.checked_at.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_EVERY) {
            return;
        }
        self.checked_at = Some(now);
        let Some(bytes) = size() else { return };
        match self.log_line_for(now, bytes > warn_bytes) {
            WalSizeLogLine::Nothing => {}
            WalSizeLogLine::Large => log::warn!(
                bytes, wal_warn_bytes = warn_bytes;
                "the write-ahead log of the store is large: something keeps it from starting again"
            ),
            WalSizeLogLine::SmallAgain => log::info!(bytes; "the write-ahead log of the store is small again"),
        }
    }

    fn log_line_for(&mut self, now: Instant, is_large: bool) -> WalSizeLogLine {
        match self.warned_at {
            None if is_large => {
                self.warned_at = Some(now);
                WalSizeLogLine::Large
            }
            Some(warned) if is_large && now.saturating_duration_since(warned) >= WARN_EVERY => {
                self.warned_at = Some(now);
                WalSizeLogLine::Large
            }
            Some(_) if !is_large => {
                self.warned_at = None;
                WalSizeLogLine::SmallAgain
            }
            _ => WalSizeLogLine::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_rarely_and_each_change_is_said_once() {
        let (mut watch, start, mut looks) = (WalSizeWatch::default(), Instant::now(), 0);
        for second in 0..100 {
            watch.check(start + Duration::from_secs(second), 10, || {
                looks += 1;
                None
            });
        }
        assert_eq!(looks, 10);
        let mut watch = WalSizeWatch::default();
        let mut at = |seconds, is_large| watch.log_line_for(start + Duration::from_secs(seconds), is_large);
        assert_eq!(
            [at(0, false), at(10, true), at(20, true)],
            [WalSizeLogLine::Nothing, WalSizeLogLine::Large, WalSizeLogLine::Nothing]
        );
        assert_eq!(
            [at(609, true), at(610, true)],
            [WalSizeLogLine::Nothing, WalSizeLogLine::Large],
            "and now and then while it stays so"
        );
        assert_eq!([at(620, false), at(630, false)], [WalSizeLogLine::SmallAgain, WalSizeLogLine::Nothing]);
    }
}
