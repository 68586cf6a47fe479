//! What is counted.

use super::codec::Dropped;
use std::sync::atomic::{AtomicU64, Ordering};

/// What has happened on a bus so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Each of its instances.
    pub instances: Vec<OfInstance>,
    /// Frames that were dropped, by cause; words that can stand in a label.
    pub dropped: Vec<(&'static str, u64)>,
}

/// What has happened on one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfInstance {
    /// Host and port.
    pub place: String,
    /// It works.
    pub is_up: bool,
    /// How often it did not work any more.
    pub failures: u64,
    /// Frames that it has taken, and their size.
    pub frames_out: u64,
    /// In bytes.
    pub bytes_out: u64,
    /// Frames that came over it, and their size.
    pub frames_in: u64,
    /// In bytes.
    pub bytes_in: u64,
    /// How long the last beat was on its way, in µs; 0 when there was none.
    pub beat_us: u64,
}

/// Why a frame was not published, or not handed over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lost {
    /// No instance worked.
    Away,
    /// Too much waited to be published.
    Queue,
    /// It is too long.
    TooLong,
    /// Its instance failed while it waited, or while it was published.
    Failed,
    /// Nobody had subscribed to its channel.
    Nobody,
    /// Too much waited for the loop.
    Inbox,
    /// What came was none for this node.
    Undecoded(Dropped),
}

impl Lost {
    const ALL: [Self; 11] = [
        Self::Away,
        Self::Queue,
        Self::TooLong,
        Self::Failed,
        Self::Nobody,
        Self::Inbox,
        Self::Undecoded(Dropped::Size),
        Self::Undecoded(Dropped::Version),
        Self::Undecoded(Dropped::Mac),
        Self::Undecoded(Dropped::NotForMe),
        Self::Undecoded(Dropped::Broken),
    ];

    fn at(self) -> usize {
        match self {
            Self::Away => 0,
            Self::Queue => 1,
            Self::TooLong => 2,
            Self::Failed => 3,
            Self::Nobody => 4,
            Self::Inbox => 5,
            Self::Undecoded(Dropped::Size) => 6,
            Self::Undecoded(Dropped::Version) => 7,
            Self::Undecoded(Dropped::Mac) => 8,
            Self::Undecoded(Dropped::NotForMe) => 9,
            Self::Undecoded(Dropped::Broken) => 10,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Away => "no_instance",
            Self::Queue => "queue_full",
            Self::TooLong => "too_long",
            Self::Failed => "instance_failed",
            Self::Nobody => "nobody_subscribed",
            Self::Inbox => "loop_busy",
            Self::Undecoded(Dropped::Size) => "bad_size",
            Self::Undecoded(Dropped::Version) => "unknown_version",
            Self::Undecoded(Dropped::Mac) => "wrong_mac",
            Self::Undecoded(Dropped::NotForMe) => "other_node",
            Self::Undecoded(Dropped::Broken) => "malformed",
        }
    }
}

/// Counts frames that were dropped.
#[derive(Debug, Default)]
pub(super) struct Losses([AtomicU64; Lost::ALL.len()]);

impl Losses {
    pub(super) fn add(&self, lost: Lost, count: usize) {
        self.0[lost.at()].fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
        Lost::ALL.iter().map(|lost| (lost.word(), self.0[lost.at()].load(Ordering::Relaxed))).collect()
    }
}

/// Frames and their size.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    pub(super) fn add(&self, bytes: usize) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Frames, and bytes.
    pub(super) fn both(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
