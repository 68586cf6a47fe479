//! The memory that the core uses for users, and its release when the process uses too much.

use super::ServerCore;
use super::contract::ConnId;
use super::deliveries::{DELIVERY_BYTES, DeliverySaveState};
use super::ids::DeliveryRef;
use super::ids::UserSlot;
use super::mailbox::MailboxBackfillState;

impl ServerCore {
    /// The memory of everything that clients can make grow, in bytes. It is kept as running sums,
    /// so the call is cheap. A push that is being saved counts twice, since it may be removed from
    /// its list before the save ends.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        const REQUEST_BYTES: usize =
            size_of::<super::answer::RequestAwaitingJob>() + size_of::<super::job::JobPurpose>();
        self.deliveries.memory_bytes()
            + self.users.memory_bytes()
            + self.dedup_bytes
            + self.in_flight.memory_bytes()
            + self.auth_attempts.memory_bytes()
            + self.stranger_rates.memory_bytes()
            + self.jobs.memory_bytes()
            + self.requests.len() * REQUEST_BYTES
            + self.answer_deadlines.memory_bytes()
            + self.friendship_ops.memory_bytes()
            + self.presence.memory_bytes()
            + self.push_hook.as_ref().map_or(0, |hook| hook.memory_bytes())
            + self.cluster.as_ref().map_or(0, |cluster| cluster.memory_bytes())
            + self.bus_memory_bytes()
    }

    /// The part of [`memory_bytes`](Self::memory_bytes) that belongs to jobs, with the pushes that
    /// soon only jobs may use.
    #[must_use]
    pub fn memory_bytes_of_jobs(&self) -> usize {
        self.jobs.memory_bytes_with_pushes()
    }

    /// The part of [`memory_bytes`](Self::memory_bytes) that closing this connection would release,
    /// once everything that waits for its user is in the store.
    #[must_use]
    pub fn memory_bytes_of(&self, conn: ConnId) -> usize {
        let Some(user) = self.sessions.get(conn).and_then(|session| session.user) else {
            return 0;
        };
        let user = self.users.get(user);
        let list = user.list.as_ref().map_or(0, |list| list.mailbox.bytes() + list.mailbox.len() * DELIVERY_BYTES);
        list + user.friends.len() * size_of::<UserSlot>()
    }

    /// Releases approximately this many bytes. First it removes pushes from the longest lists, if
    /// they are stored and not sent yet: they are read again when there is room. Then, with
    /// `windows`, it evicts the dedup windows of users who are offline.
    #[cold]
    pub(super) fn release_memory(&mut self, bytes: usize, windows: bool) {
        let mut left = bytes;
        let lists =
            self.users.iter().filter_map(|(id, user, _)| user.list.as_ref().map(|list| (list.mailbox.bytes(), id)));
        for (_, user) in longest_first(lists.collect()) {
            if left == 0 {
                return;
            }
            left = left.saturating_sub(self.cut_list(user));
        }
        if !windows {
            return;
        }
        let absent = self.users.iter().filter(|(_, user, _)| !user.is_here());
        let windows = absent.filter_map(|(id, user, _)| user.dedup.as_ref().map(|dedup| (dedup.memory_bytes(), id)));
        for (bytes, user) in longest_first(windows.collect()) {
            if left == 0 {
                return;
            }
            left = left.saturating_sub(bytes);
            self.evict_dedup(user);
        }
    }

    /// Removes the end of a list from memory, as far as it is stored and not sent; a page will read
    /// it again. Returns the number of bytes that were released.
    fn cut_list(&mut self, user: UserSlot) -> usize {
        let Some(list) = &self.users.get(user).list else {
            return 0;
        };
        let after_seq = match list.mailbox.backfill {
            MailboxBackfillState::Live => u64::MAX,
            MailboxBackfillState::Behind { after_seq, asking: false } => after_seq,
            // A page in flight must still fit after the list.
            MailboxBackfillState::Opening | MailboxBackfillState::Behind { asking: true, .. } => return 0,
        };
        // The first push always stays: its ack triggers the request for the next page.
        let entries: Vec<DeliveryRef> = list.mailbox.all().skip(1).collect();
        let is_kept_for_speed = |delivery: &&DeliveryRef| {
            let stored = self
                .deliveries
                .get(**delivery)
                .is_some_and(|found| found.save_state == DeliverySaveState::Done && !found.waits());
            stored && !list.cursor.is_outstanding(**delivery, &self.deliveries)
        };
        let cut: Vec<DeliveryRef> = entries.iter().rev().take_while(is_kept_for_speed).copied().collect();
        // The page begins after everything that stays on the list: it must not contain a push that
        // is acked while the page is read.
        let stays = list.mailbox.all().count() - cut.len();
        let Some(kept_seq) = list.mailbox.all().take(stays).map(|delivery| delivery.seq).max() else {
            return 0;
        };
        let cut: Vec<DeliveryRef> = cut.into_iter().filter(|delivery| delivery.seq > kept_seq).collect();
        let Some(first_seq) = cut.iter().map(|delivery| delivery.seq).min() else {
            return 0;
        };
        let before = self.deliveries.memory_bytes();
        for delivery in cut {
            self.remove_from_list(delivery);
            self.release_delivery(delivery);
        }
        if let Some(list) = &mut self.users.get_mut(user).list {
            list.mailbox.backfill =
                MailboxBackfillState::Behind { after_seq: after_seq.min(first_seq - 1), asking: false };
        }
        before - self.deliveries.memory_bytes()
    }
}

/// Sorts by size, the longest first. Among equal sizes the slot decides, so that the same events
/// give the same actions.
fn longest_first(mut sizes: Vec<(usize, UserSlot)>) -> Vec<(usize, UserSlot)> {
    sizes.sort_unstable_by_key(|&(bytes, user)| (std::cmp::Reverse(bytes), user));
    sizes
}
