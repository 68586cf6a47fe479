//! The ACK list of one user: the pushes to them that are not acked yet. It has two parts: the
//! user's mailbox, and the cursor of their device in it. A user has one device today.

use super::cursor::{DeviceCursor, NextUnsentPush, SendWindowLimits};
use super::deliveries::DeliveryTable;
use super::ids::DeliveryRef;
use super::mailbox::{Mailbox, MailboxBackfillState};

#[cfg(test)]
mod tests;

#[derive(Debug)]
pub(super) struct UnackedPushList {
    pub(super) mailbox: Mailbox,
    pub(super) cursor: DeviceCursor,
}

impl UnackedPushList {
    pub(super) fn new(backfill: MailboxBackfillState) -> Self {
        Self { mailbox: Mailbox::new(backfill), cursor: DeviceCursor::new() }
    }

    /// Reads the first entries of mailbox and cursor, so that they are in the cache.
    pub(super) fn prefetch(&self) -> usize {
        self.mailbox.prefetch().wrapping_add(self.cursor.prefetch())
    }

    /// The next push to send for the first time.
    pub(super) fn next_to_send(
        &mut self,
        deliveries: &DeliveryTable,
        window: &SendWindowLimits<'_>,
    ) -> Option<NextUnsentPush> {
        self.cursor.next_to_send(&self.mailbox, deliveries, window)
    }

    /// Removes a delivery from the list. Call it while the delivery still exists. `true`: it was
    /// outstanding.
    pub(super) fn remove(&mut self, delivery: DeliveryRef, deliveries: &DeliveryTable) -> bool {
        let place = self.mailbox.remove(delivery, deliveries);
        place.is_some_and(|place| self.cursor.removed(place, delivery, deliveries))
    }

    /// Checks the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, deliveries: &DeliveryTable) {
        self.mailbox.check(deliveries);
        self.cursor.check(&self.mailbox, deliveries);
    }
}
