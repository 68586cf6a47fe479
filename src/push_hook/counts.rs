//! Counts of the push hook's requests.

use std::fmt;

/// The numbers since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// Announcements by the core.
    pub announced: u64,
    /// Announcements that the receiver accepted.
    pub delivered: u64,
    /// Announcements that were given up.
    pub dropped: u64,
    /// Requests that failed or were refused; most are made again.
    pub failed: u64,
}

impl fmt::Display for HookCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { announced, delivered, dropped, failed } = self;
        write!(f, "{announced} announced, {delivered} delivered, {dropped} dropped, {failed} requests failed")
    }
}
