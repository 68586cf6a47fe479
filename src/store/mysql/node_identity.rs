//! The identity of this process in a cluster.

use super::seq_max::SeqWriteLimit;
use crate::chat::contract::NodeIncarnation;
use crate::store::StoreError;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

/// The length of the key that authenticates frames on the bus.
pub(super) const MAC_KEY_BYTES: usize = 32;

/// The identity of this process in a cluster: one incarnation of one node.
pub struct NodeIdentity {
    /// This incarnation.
    pub incarnation: NodeIncarnation,
    /// The key for the hashes of messages, which all nodes share.
    pub hash_key: [u64; 2],
    /// The key that authenticates frames on the bus.
    pub mac_key: [u8; MAC_KEY_BYTES],
    /// No `seq` that this node gave before this incarnation is greater.
    pub floor: u64,
    /// A push with a greater `seq` is not written: the limit in the database is still lower.
    pub(super) seq_max: SeqWriteLimit,
    /// The newest version of frames that all nodes which are alive can read, at the last read.
    pub(super) frame_version: AtomicU16,
    /// A transaction has found that this node was fenced.
    pub(super) is_fenced: AtomicBool,
}

/// The reason why nothing is read from a database server.
pub(super) const OLD_DATA: &str = "the database server has older data than this node has read: it is not the primary";

impl NodeIdentity {
    /// Was a transaction refused because this node was fenced?
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::Acquire)
    }

    /// The database has this epoch for a lane of this node, and not its own. A later one means that
    /// the node was fenced. An earlier one, or none, only says that this database server is an old
    /// primary or a copy, perhaps for a moment: the lease decides what becomes of the node.
    pub(super) fn note_other_epoch(&self, found: Option<u64>) -> StoreError {
        if found.is_some_and(|epoch| epoch > self.incarnation.epoch) {
            self.is_fenced.store(true, Ordering::Release);
            return StoreError::Unavailable("this node was fenced".into());
        }
        StoreError::Unavailable(OLD_DATA.into())
    }

    /// The newest version of frames that every node which is alive can read, at the last read.
    #[must_use]
    pub fn frame_version(&self) -> u16 {
        self.frame_version.load(Ordering::Acquire)
    }
}

/// The keys are not shown.
impl std::fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeIdentity")
            .field("me", &self.incarnation)
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}
