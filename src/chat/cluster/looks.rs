//! Reading a user's list anew, because another node has saved a push for them, or may have.
//!
//! A list that is to be read counts as one with more pushes in the store: new messages follow the
//! pages. There is no cursor in the store. The commits of several nodes are not in the order of
//! `seq`, so a page is the first pushes that are not on the list.

use super::super::contract::{CoreAction, PushPage};
use super::super::deliveries::DeliverySaveState;
use super::super::ids::{DeliveryRef, UserSlot};
use super::super::mailbox::MailboxBackfillState;
use super::super::unacked_push_list::UnackedPushList;
use super::super::{CoreTimer, ServerCore};
use crate::protocol::push::PushKind;

/// The interval at which some lists are read in the background.
const SWEEP_EVERY_MS: u64 = 100;
/// The number of intervals after which all lists were read.
const SWEEP_PARTS: usize = 200;
/// The minimum number of lists per interval.
const SWEEP_AT_ONCE_MIN: usize = 16;

impl ServerCore {
    /// A push for this user that may not be on their list waits in the store.
    pub(super) fn look(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        self.mark_list(user);
        self.want_page(user, out);
    }

    /// The same for many users: the first lists are read at once, the others in the background, or
    /// as soon as a push is to be sent. A list that is already to be read is not read twice.
    pub(super) fn look_at_lists(&mut self, users: &[UserSlot], out: &mut Vec<CoreAction>) {
        let (first, others) = users.split_at(users.len().min(SWEEP_AT_ONCE_MIN));
        for &user in first {
            self.look(user, out);
        }
        for &user in others {
            let is_new = self.mark_list(user);
            let Some(cluster) = self.cluster.as_mut().filter(|_| is_new) else { continue };
            if cluster.sweep.is_empty() && cluster.lists_to_read.is_empty() {
                self.wheel.insert(self.now.mono_ms + SWEEP_EVERY_MS, CoreTimer::Sweep);
            }
            cluster.lists_to_read.push_back(user);
        }
    }

    /// The list of a user who is here, or logs in, is read before any other push is sent to them
    /// for the first time. Returns `true` if it was complete before.
    fn mark_list(&mut self, user: UserSlot) -> bool {
        let entry = self.users.get_mut(user);
        if entry.is_here() && entry.list.is_none() {
            entry.list = Some(Box::new(UnackedPushList::new(MailboxBackfillState::Live)));
        }
        let Some(list) = &mut entry.list else { return false };
        let was_live = list.mailbox.backfill == MailboxBackfillState::Live;
        list.mailbox.read_anew();
        was_live
    }

    /// A node that has died, or could not keep its records, may have saved pushes for any user or
    /// changed their friends: each list is read in the background, or as soon as a push is to be
    /// sent.
    pub(super) fn start_sweep_of_all_lists(&mut self, out: &mut Vec<CoreAction>) {
        let users = self.users.iter().filter(|(_, user, _)| user.is_here() || user.loading.is_some());
        let mut users: Vec<UserSlot> = users.map(|(id, ..)| id).collect();
        for &user in &users {
            self.mark_list(user);
        }
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let was_empty = cluster.sweep.is_empty() && cluster.lists_to_read.is_empty();
        if let Some(&next) = cluster.sweep.front() {
            // A restarted sweep goes on at its present position, so every user has their turn.
            let place = users.partition_point(|&user| user < next);
            users.rotate_left(place);
        }
        cluster.sweep = users.into();
        cluster.sweep_at_once = (cluster.sweep.len() / SWEEP_PARTS).max(SWEEP_AT_ONCE_MIN);
        if was_empty {
            self.sweep(out);
        }
    }

    /// Continues the sweep in the background.
    pub(in super::super) fn sweep(&mut self, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let count = cluster.sweep_at_once.min(cluster.sweep.len());
        let some: Vec<UserSlot> = cluster.sweep.drain(..count).collect();
        let count = SWEEP_AT_ONCE_MIN.min(cluster.lists_to_read.len());
        let lists: Vec<UserSlot> = cluster.lists_to_read.drain(..count).collect();
        if !cluster.sweep.is_empty() || !cluster.lists_to_read.is_empty() {
            self.wheel.insert(self.now.mono_ms + SWEEP_EVERY_MS, CoreTimer::Sweep);
        }
        // A slot may belong to another user by now, or to none.
        for user in some {
            if self.users.at(user.slot()).is_some() {
                self.want_page(user, out);
                self.mark_friends_in_doubt(user);
            }
        }
        for user in lists {
            if self.users.at(user.slot()).is_some() {
                self.want_page(user, out);
            }
        }
    }

    /// The friends of this user differ from those in memory.
    pub(super) fn friends_changed(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        self.mark_friends_in_doubt(user);
        self.request_friends_in_doubt(out);
    }

    /// A friendship was begun or ended here, or may have been. Both users' friends are read anew on
    /// their nodes, since the other user's node may have changed them at the same time.
    pub(in super::super) fn reread_friends_of_both(
        &mut self,
        me: UserSlot,
        other: UserSlot,
        out: &mut Vec<CoreAction>,
    ) {
        if self.cluster.is_none() {
            return;
        }
        for user in [me, other] {
            if self.users.is_here(user) {
                self.friends_changed(user, out);
            } else {
                self.notify_owner(user, super::owner_notices::OwnerNodeRereadParts::FRIENDS, None, out);
            }
        }
    }

    /// A page has a message that is on the list under another number: it was sent again on another
    /// node, or here while its outcome was not known. The two are one message. The entry on the
    /// list becomes the one in the store, so that one ack serves both.
    pub(in super::super) fn merge_duplicates_on_page(
        &mut self,
        user: UserSlot,
        page: &PushPage,
        out: &mut Vec<CoreAction>,
    ) {
        if self.cluster.is_none() {
            return;
        }
        for push in page.pushes.iter().filter(|push| push.kind == PushKind::Message) {
            let list = self.users.get(user).list.as_ref();
            let listed = list.and_then(|list| list.mailbox.find_same_message(push, &self.deliveries));
            if let Some(listed) =
                listed.filter(|listed| listed.seq != push.seq && !self.failed_push_deletions.contains(&push.seq))
            {
                self.adopt_stored_push(user, listed, push.seq, out);
            }
        }
    }

    /// A delivery on a list is the push with this number in the store.
    fn adopt_stored_push(&mut self, user: UserSlot, delivery: DeliveryRef, seq: u64, out: &mut Vec<CoreAction>) {
        if self.deliveries.get(delivery).is_some_and(|found| found.save_state == DeliverySaveState::Foreign) {
            self.foreign_is_stored(user, delivery.seq);
        }
        self.mark_durable(delivery, out);
        if let Some(found) = self.deliveries.get_mut(delivery) {
            // The outcome of its own save finds no delivery any more.
            found.save_state = DeliverySaveState::Done;
        }
        if let Some(list) = &mut self.users.get_mut(user).list {
            list.mailbox.renumber(delivery, seq, &mut self.deliveries);
        }
    }
}
