//! The counters of a bus.

use super::codec::BusMessageRejectCause;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of a bus since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusFigures {
    /// The counts of each instance.
    pub instances: Vec<RedisInstanceFigures>,
    /// Dropped frames by cause. Each cause is a word that is valid in a label.
    pub dropped_by_cause: Vec<(&'static str, u64)>,
}

/// The counts of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedisInstanceFigures {
    /// Host and port.
    pub address: String,
    /// It works.
    pub is_up: bool,
    /// The number of times that it stopped working.
    pub failures: u64,
    /// The frames that it has accepted.
    pub frames_out: u64,
    /// Their size in bytes.
    pub bytes_out: u64,
    /// The frames that arrived over it.
    pub frames_in: u64,
    /// Their size in bytes.
    pub bytes_in: u64,
    /// The travel time of the last beat in µs; 0 if there was none.
    pub beat_us: u64,
}

/// Why a frame was not published, or did not reach the loop.
#[derive(Clone, Copy, Debug)]
pub(super) enum BusFrameLossCause {
    /// No instance worked.
    Away,
    /// Too many frames waited to be published.
    Queue,
    /// The frame is too long.
    TooLong,
    /// Its instance failed while it waited, or while it was published.
    Failed,
    /// No client had subscribed to its channel.
    Nobody,
    /// Too many frames waited for the loop.
    LoopBusy,
    /// The message was not a frame for this node.
    Undecoded(BusMessageRejectCause),
}

impl BusFrameLossCause {
    const ALL: [Self; 11] = [
        Self::Away,
        Self::Queue,
        Self::TooLong,
        Self::Failed,
        Self::Nobody,
        Self::LoopBusy,
        Self::Undecoded(BusMessageRejectCause::Size),
        Self::Undecoded(BusMessageRejectCause::Version),
        Self::Undecoded(BusMessageRejectCause::Mac),
        Self::Undecoded(BusMessageRejectCause::NotForMe),
        Self::Undecoded(BusMessageRejectCause::Broken),
    ];

    fn at(self) -> usize {
        match self {
            Self::Away => 0,
            Self::Queue => 1,
            Self::TooLong => 2,
            Self::Failed => 3,
            Self::Nobody => 4,
            Self::LoopBusy => 5,
            Self::Undecoded(BusMessageRejectCause::Size) => 6,
            Self::Undecoded(BusMessageRejectCause::Version) => 7,
            Self::Undecoded(BusMessageRejectCause::Mac) => 8,
            Self::Undecoded(BusMessageRejectCause::NotForMe) => 9,
            Self::Undecoded(BusMessageRejectCause::Broken) => 10,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Away => "no_instance",
            Self::Queue => "queue_full",
            Self::TooLong => "too_long",
            Self::Failed => "instance_failed",
            Self::Nobody => "nobody_subscribed",
            Self::LoopBusy => "loop_busy",
            Self::Undecoded(BusMessageRejectCause::Size) => "bad_size",
            Self::Undecoded(BusMessageRejectCause::Version) => "unknown_version",
            Self::Undecoded(BusMessageRejectCause::Mac) => "wrong_mac",
            Self::Undecoded(BusMessageRejectCause::NotForMe) => "other_node",
            Self::Undecoded(BusMessageRejectCause::Broken) => "malformed",
        }
    }
}

/// Counts dropped frames by cause.
#[derive(Debug, Default)]
pub(super) struct BusLossCounts([AtomicU64; BusFrameLossCause::ALL.len()]);

impl BusLossCounts {
    pub(super) fn add(&self, lost: BusFrameLossCause, count: usize) {
        self.0[lost.at()].fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
        BusFrameLossCause::ALL.iter().map(|lost| (lost.word(), self.0[lost.at()].load(Ordering::Relaxed))).collect()
    }
}

/// Frames and their size.
#[derive(Debug, Default)]
pub(super) struct BusFrameTraffic {
    frames: AtomicU64,
    bytes: AtomicU64,
}

impl BusFrameTraffic {
    pub(super) fn add(&self, bytes: usize) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The frames, and their bytes.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.frames.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
