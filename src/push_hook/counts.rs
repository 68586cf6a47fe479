//! What became of the requests of the push hook, in numbers.

use std::fmt;

/// The numbers since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users who were to be announced, each as often as they were.
    pub announced: u64,
    /// Announcements that the receiver took.
    pub delivered: u64,
    /// Announcements that were given up.
    pub dropped: u64,
    /// Requests that failed or were refused; most are made again.
    pub failed: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { announced, delivered, dropped, failed } = self;
        write!(f, "{announced} announced, {delivered} delivered, {dropped} dropped, {failed} requests failed")
    }
}
