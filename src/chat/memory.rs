//! How much memory the core holds for users, in one look, and what it lets go of when the process
//! holds too much.

use super::Chat;
use super::contract::ConnId;
use super::ids::ItemRef;
use super::ids::UserId;
use super::item::{ITEM_BYTES, NEVER, Save};
use super::list::Backfill;

/// What a job in flight takes beside the pushes in it: itself, its entry in the table, a name or
/// two.
const JOB_BYTES: usize = 512;

impl Chat {
    /// How much memory is held by everything that clients can make grow: kept in sums, so that this
    /// costs nothing. A push that is being saved counts twice, since it may come off its list
    /// before that is done.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        const REQUEST_BYTES: usize = size_of::<super::answer::PendingRequest>() + size_of::<super::job::JobPurpose>();
        self.items.held_bytes()
            + self.users.held_bytes()
            + self.dedup_bytes
            + self.in_flight.held_bytes()
            + self.tries.held_bytes()
            + self.strangers.held_bytes()
            + self.jobs_bytes
            + self.jobs.len() * JOB_BYTES
            + self.requests.len() * REQUEST_BYTES
            + self.due.capacity() * size_of::<(u64, super::Due)>()
            + self.queued_bytes
            + self.undecided_bytes
    }

    /// How much of it is on its way to the store, or is about to be nowhere else.
    #[must_use]
    pub fn held_bytes_of_jobs(&self) -> usize {
        2 * self.jobs_bytes + self.jobs.len() * JOB_BYTES
    }

    /// How much of it would be let go of if this connection were closed, once what waits for its
    /// user is in the store.
    #[must_use]
    pub fn held_bytes_of(&self, conn: ConnId) -> usize {
        let Some(user) = self.sessions.get(conn).and_then(|session| session.user) else {
            return 0;
        };
        let user = self.users.get(user);
        let list = user.list.as_ref().map_or(0, |list| list.bytes() + list.len() * ITEM_BYTES);
        list + user.friends.len() * size_of::<UserId>()
    }

    /// Lets go of about so much: what is on the longest lists, is in the store and was not sent yet
    /// is read again when there is room; then, if asked for, what absent users sent of late.
    #[cold]
    pub(super) fn release_memory(&mut self, bytes: usize, windows: bool) {
        let mut left = bytes;
        let lists = self.users.iter().filter_map(|(id, user, _)| user.list.as_ref().map(|list| (list.bytes(), id)));
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
        let windows = absent.filter_map(|(id, user, _)| user.dedup.as_ref().map(|dedup| (dedup.held_bytes(), id)));
        for (bytes, user) in longest_first(windows.collect()) {
            if left == 0 {
                return;
            }
            left = left.saturating_sub(bytes);
            self.forget_dedup(user);
        }
    }

    /// Takes the end of a list, as far as it was not sent and is in the store, out of memory; a
    /// page will have it. Says how much.
    fn cut_list(&mut self, user: UserId) -> usize {
        let Some(list) = &self.users.get(user).list else {
            return 0;
        };
        let after_seq = match list.backfill {
            Backfill::Live => u64::MAX,
            Backfill::Backlog { after_seq, asking: false } => after_seq,
            // What is on its way is not cut off from what it belongs to.
            Backfill::Opening | Backfill::Backlog { asking: true, .. } => return 0,
        };
        // The first one stays in any case: its ack is what asks for the next page.
        let entries: Vec<ItemRef> = list.all().skip(1).collect();
        let is_kept_for_speed = |item: &&ItemRef| {
            self.items.get(**item).is_some_and(|item| item.sent_ms == NEVER && item.save == Save::Done && !item.waits())
        };
        let cut: Vec<ItemRef> = entries.iter().rev().take_while(is_kept_for_speed).copied().collect();
        // The page begins behind all that stays on the list: what is acked while it is read must
        // not be in it.
        let stays = list.all().count() - cut.len();
        let Some(kept_seq) = list.all().take(stays).map(|item| item.seq).max() else {
            return 0;
        };
        let cut: Vec<ItemRef> = cut.into_iter().filter(|item| item.seq > kept_seq).collect();
        let Some(first_seq) = cut.iter().map(|item| item.seq).min() else {
            return 0;
        };
        let before = self.items.held_bytes();
        for item in cut {
            self.unlist(item);
            self.free(item);
        }
        if let Some(list) = &mut self.users.get_mut(user).list {
            list.backfill = Backfill::Backlog { after_seq: after_seq.min(first_seq - 1), asking: false };
        }
        before - self.items.held_bytes()
    }
}

/// Of equal ones the order of the places decides, so that the same events give the same actions.
fn longest_first(mut sizes: Vec<(usize, UserId)>) -> Vec<(usize, UserId)> {
    sizes.sort_unstable_by_key(|&(bytes, user)| (std::cmp::Reverse(bytes), user));
    sizes
}
