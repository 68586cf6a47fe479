//! Ids of users, pushes and log-ins inside the core: small, and valid only while those are there.

use super::contract::Ticket;
use std::num::NonZeroU32;

/// A name's place in the table, as long as something refers to it. Counted from 1, so that "nobody"
/// needs no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct UserId(NonZeroU32);

impl UserId {
    pub(super) fn of(slot: usize) -> Self {
        // There are fewer users in memory than 2^32; the 1 stands for what cannot be.
        Self(NonZeroU32::MIN.saturating_add(slot as u32))
    }

    pub(super) fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Names a delivery. Its slot may be reused, its `seq` never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeliveryRef {
    pub(super) slot: u32,
    pub(super) seq: u64,
}

/// Names a log-in in progress as long as it is in one state: in the next one it has another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoginId(pub(super) Ticket);
