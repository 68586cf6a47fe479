//! ACK lists when users come and go: a list is read from the store in pages when its user comes
//! online, moves to their next connection, and is made durable when they go offline.

use super::contract::{ClusterStoreJob, CoreAction, Job, PushPage};
use super::ids::DeliveryRef;
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::mailbox::MailboxBackfillState;
use super::unacked_push_list::UnackedPushList;
use super::{CoreTimer, ServerCore};
use crate::protocol::push::PushKind;
use std::collections::HashSet;

/// The pause before a failed page is requested again.
pub(super) const PAGE_RETRY_MS: u64 = 1_000;
/// The same pause if the page failed because of a faulty stored row.
pub(super) const DAMAGED_PAGE_RETRY_MS: u64 = 60_000;

impl ServerCore {
    /// The first page of a log-in is about to be requested: pushes that are taken for the user from
    /// now on are kept until it is here.
    pub(super) fn loading_begins(&mut self, user: UserSlot) {
        self.users.loading_begins(user);
        let entry = self.users.get_mut(user);
        if entry.list.is_none() && !entry.is_here() {
            entry.list = Some(Box::new(UnackedPushList::new(MailboxBackfillState::Opening)));
        }
    }

    /// The first page of a log-in is here, or will not come. Whether the log-in succeeds is decided
    /// already.
    pub(super) fn loading_ended(&mut self, user: UserSlot) {
        if self.users.loading_ends(user) && !self.users.is_here(user) {
            self.evict_list(user);
        }
        self.users.evict_unused(user);
    }

    /// Fills a list that waits for its first page.
    pub(super) fn open_list(&mut self, user: UserSlot, page: PushPage, out: &mut Vec<CoreAction>) {
        if self.users.get(user).list.as_ref().is_some_and(|list| list.mailbox.backfill == MailboxBackfillState::Opening)
        {
            self.take_page(user, 0, page, out);
        }
    }

    /// Requests the next page when half of the list is free.
    pub(super) fn want_page(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let entry = self.users.get_mut(user);
        let is_here = entry.is_here();
        let Some(list) = &mut entry.list else {
            return;
        };
        let MailboxBackfillState::Behind { after_seq, asking: false } = list.mailbox.backfill else {
            return;
        };
        let room = list.mailbox.len() <= self.rules.list_max as usize / 2
            && list.mailbox.bytes() <= self.rules.list_bytes_max / 2;
        if !is_here || list.mailbox.page_timer.is_some() || !room {
            return;
        }
        list.mailbox.backfill = MailboxBackfillState::Behind { after_seq, asking: true };
        let saved = list.mailbox.page_asked(&self.deliveries);
        let (user_name, pushes_max, bytes_max) = (entry.name.clone(), self.rules.page_max, self.rules.page_bytes_max);
        let job = if self.cluster.is_some() {
            let except = list.mailbox.seqs();
            let job = ClusterStoreJob::Page { known_seqs: except, pushes_max, bytes_max };
            Job::Cluster { user: user_name, job: Box::new(job) }
        } else {
            Job::LoadPage { user: user_name, after_seq, pushes_max, bytes_max }
        };
        self.users.retain(user);
        self.release_deliveries(saved);
        if self.submit(job, JobPurpose::Page(user), out).is_err() {
            self.page_failed(user, PAGE_RETRY_MS);
        }
    }

    /// A page was read.
    pub(super) fn page_read(&mut self, user: UserSlot, page: PushPage, out: &mut Vec<CoreAction>) {
        if let Some(MailboxBackfillState::Behind { after_seq, asking: true }) =
            self.users.get(user).list.as_ref().map(|list| list.mailbox.backfill)
        {
            self.take_page(user, after_seq, page, out);
            self.pump(user, out);
            self.want_page(user, out);
        }
        self.users.release(user);
    }

    /// A page could not be read: it is requested again later, and the tail still waits.
    pub(super) fn page_failed(&mut self, user: UserSlot, retry_ms: u64) {
        if let Some(list) = &mut self.users.get_mut(user).list
            && let MailboxBackfillState::Behind { after_seq, asking: true } = list.mailbox.backfill
        {
            list.mailbox.backfill = MailboxBackfillState::Behind { after_seq, asking: false };
            list.mailbox.unwanted = None;
            list.mailbox.page_timer = Some(self.wheel.insert(self.now.mono_ms + retry_ms, CoreTimer::Page(user)));
        }
        self.users.release(user);
    }

    pub(super) fn page_timer_fired(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        if let Some(list) = &mut self.users.get_mut(user).list {
            list.mailbox.page_timer = None;
            self.want_page(user, out);
        }
    }

    /// Puts a page on the list; after the last page also the tail.
    fn take_page(&mut self, user: UserSlot, after_seq: u64, page: PushPage, out: &mut Vec<CoreAction>) {
        self.merge_duplicates_on_page(user, &page, out);
        let Some(list) = &mut self.users.get_mut(user).list else {
            return;
        };
        let unwanted = list.mailbox.unwanted.take();
        let (tail, whole) = list.mailbox.take_tail(&self.deliveries);
        let here: HashSet<u64> = list.mailbox.all().map(|delivery| delivery.seq).collect();
        let last_seq = page.pushes.last().map_or(after_seq, |push| push.seq);
        let mut tail = tail.into_iter().peekable();
        for push in page.pushes {
            // A push of the tail that was not saved when the page was read may be saved later, and
            // no later page would contain it.
            while let Some(earlier) = tail.next_if(|delivery| delivery.seq < push.seq) {
                self.append(user, earlier);
            }
            let is_unwanted = push.kind == PushKind::FriendRequest
                && unwanted.iter().flat_map(|all| all.iter()).any(|sender| sender.as_str() == push.sender());
            if here.contains(&push.seq) || self.failed_push_deletions.contains(&push.seq) {
                continue;
            }
            if is_unwanted {
                // It may be one that was answered and never acked, which the store keeps.
                self.delete(push.seq, user, out);
                continue;
            }
            if self.delete_if_acked_here(user, push.seq, out) {
                continue;
            }
            // A push that is on the tail, too, keeps its delivery. Both lists are in ascending
            // order.
            match tail.next_if(|delivery| delivery.seq == push.seq) {
                Some(delivery) => self.append(user, delivery),
                None => self.list_committed(push, user),
            }
        }
        let mut passed_seq = last_seq;
        if page.has_more {
            self.keep_tail(user, tail);
        } else {
            for delivery in tail {
                passed_seq = passed_seq.max(delivery.seq);
                self.append(user, delivery);
            }
        }
        if let Some(list) = &mut self.users.get_mut(user).list {
            let more = page.has_more || !whole;
            list.mailbox.backfill = if more {
                MailboxBackfillState::Behind { after_seq: passed_seq, asking: false }
            } else {
                MailboxBackfillState::Live
            };
        }
    }

    /// Keeps the rest of the tail for after a later page.
    fn keep_tail(&mut self, user: UserSlot, deliveries: impl Iterator<Item = DeliveryRef>) {
        for delivery in deliveries {
            if let Some(list) = &mut self.users.get_mut(user).list {
                let kept = list.mailbox.append_tail(delivery, &self.deliveries, &self.rules);
                debug_assert!(kept, "there was room for all of them before");
            }
        }
    }

    /// Keeps a push that was just taken on the tail, if there is room: if it cannot be saved, an
    /// ack may still make it durable.
    pub(super) fn append_to_tail(&mut self, user: UserSlot, delivery: DeliveryRef) {
        let (Some(list), Some(found)) = (&mut self.users.get_mut(user).list, self.deliveries.get(delivery)) else {
            return;
        };
        let saved = list.mailbox.make_room_on_tail(found.weight_bytes(), &self.rules, &self.deliveries);
        self.release_deliveries(saved);
        if let Some(list) = &mut self.users.get_mut(user).list {
            let listed = list.mailbox.append_tail(delivery, &self.deliveries, &self.rules);
            if let Some(found) = self.deliveries.get_mut(delivery) {
                found.is_listed = listed;
            }
        }
    }

    fn append(&mut self, user: UserSlot, delivery: DeliveryRef) {
        if let Some(list) = &mut self.users.get_mut(user).list {
            list.mailbox.append(delivery, &mut self.deliveries);
        }
    }

    /// Releases deliveries that were removed from a list: they are in the store, or being saved, or
    /// were never promised.
    pub(super) fn release_deliveries(&mut self, deliveries: Vec<DeliveryRef>) {
        for delivery in deliveries {
            if let Some(found) = self.deliveries.get_mut(delivery) {
                found.is_listed = false;
            }
            self.release_unless_listed(delivery);
        }
    }

    /// The user's connection is gone.
    pub(super) fn goes_offline(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        // The references that are released below may be the last ones to the user.
        self.users.retain(user);
        self.watch_who_leaves(user);
        self.users.set_route_away(user);
        self.left_node(user);
        self.report_offline(user);
        self.pack_dedup(user);
        let entry = self.users.get_mut(user);
        if entry.loading.is_some() && entry.list.is_none() {
            // Nothing is outstanding, and a page in flight was requested before: it does not
            // contain pushes that are taken from now on.
            entry.list = Some(Box::new(UnackedPushList::new(MailboxBackfillState::Live)));
        }
        if let Some(list) = &mut entry.list {
            self.outstanding -= list.cursor.outstanding_len() as u64;
            list.cursor.restart();
            let unsaved: Vec<DeliveryRef> = list.mailbox.all().collect();
            for delivery in unsaved {
                self.save_if_unsaved(delivery, out);
            }
        }
        if self.users.get(user).loading.is_none() {
            self.evict_list(user);
        }
        self.users.release(user);
    }

    /// Evicts a list that is not needed any more: its pushes are in the store, or being saved.
    fn evict_list(&mut self, user: UserSlot) {
        let Some(list) = self.users.get_mut(user).list.take() else {
            return;
        };
        self.outstanding -= list.cursor.outstanding_len() as u64;
        for timer in [list.cursor.timer, list.mailbox.page_timer].into_iter().flatten() {
            self.wheel.cancel(timer);
        }
        let deliveries: Vec<DeliveryRef> = list.mailbox.all().collect();
        self.release_deliveries(deliveries);
    }
}
