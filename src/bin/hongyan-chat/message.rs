//! One message of a chat, as it is kept and shown.

use serde::{Deserialize, Serialize};

/// A message, sent or received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// The friend at the other end.
    pub(crate) with: String,
    pub(crate) id: String,
    /// By the server for what was received, by this machine for what was written here; in ms since
    /// the epoch.
    pub(crate) time: u64,
    pub(crate) text: String,
    pub(crate) way: Way,
    pub(crate) seal: Seal,
}

impl Message {
    pub(crate) fn is_mine(&self) -> bool {
        !matches!(self.way, Way::Received)
    }
}

/// Whether it came or went, and how far it got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Way {
    Received,
    /// The server has not promised yet to deliver it.
    Sent,
    /// It has.
    Safe,
    /// It will not, for this reason.
    Failed(String),
}

/// What is known of who can have read or written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Seal {
    /// Encrypted from end to end, and signed by the keys that are pinned.
    Sealed,
    /// The operator of the server can read it.
    Plain,
    /// Plain text from a friend who has keys: anybody may have written it.
    Unsealed,
    /// Not by the keys that are pinned, or not readable; the text is what came, and is not shown.
    Doubtful,
}

/// The keys of a friend, compared with those that are pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Not asked yet.
    #[default]
    Unknown,
    /// The friend never had keys: plain text.
    NoKeys,
    /// The pinned ones.
    Pinned { safety: String },
    /// Others than the pinned ones (`keys`, as a profile has them); nothing is sent until the user
    /// agrees. The safety number is that of the new keys; empty without keys of one's own.
    Changed { safety: String, keys: String },
    /// There were keys, and there are none now.
    Gone,
    /// The friend has keys and we have none.
    CannotSeal,
}
