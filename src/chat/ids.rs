//! Ids of users, pushes and log-ins inside the core: small, and valid only as long as the thing
//! that they name exists.

use super::contract::JobTicket;
use std::num::NonZeroU32;

/// A user's slot in the table, valid as long as something refers to the user. Counted from 1, so
/// that `Option<UserSlot>` is no larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct UserSlot(NonZeroU32);

impl UserSlot {
    pub(super) const FIRST: Self = Self(NonZeroU32::MIN);
    pub(super) const LAST: Self = Self(NonZeroU32::MAX);

    pub(super) fn of(slot: usize) -> Self {
        // Fewer than 2^32 users are in memory, so the addition never saturates.
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

/// Names a log-in in progress in its present state: in the next state it has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoginStageTicket(pub(super) JobTicket);
