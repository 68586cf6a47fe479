//! The way of a push: to its receiver's list or into the store, then to its receiver, again and
//! again until it is acked. Its `MS` is sent when it is acked or committed, whichever is first.

use super::answer::{ErrorReply, LATE};
use super::cluster::OwnerNodeRereadParts;
use super::contract::{CoreAction, Job};
use super::cursor::SendWindowLimits;
use super::dedup::DedupKey;
use super::deliveries::{Delivery, DeliverySaveState, MessageReplyWaiter};
use super::gauges;
use super::ids::DeliveryRef;
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::mailbox::MailboxBackfillState;
use super::unacked_push_list::UnackedPushList;
use super::users::UserRoute;
use super::{CoreTimer, PendingReplyDeadline, ServerCore};
use crate::protocol::push::{Push, PushBody};
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::RequestType;

/// The largest number of pushes that are resent to one user at a time; the others follow after
/// `RESEND_PAUSE_MS`.
const RESENDS_AT_ONCE_MAX: usize = 64;
/// The pause between two parts of a resend.
const RESEND_PAUSE_MS: u64 = 20;
/// The pause before a failed deletion is tried again.
const RETRY_MS: u64 = 1_000;

impl ServerCore {
    /// Starts the delivery of a push that was just taken.
    pub(super) fn deliver(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        self.deliver_by::<true>(delivery, out);
    }

    pub(super) fn deliver_by<const HANDS_OVER: bool>(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        let Some(found) = self.deliveries.get_mut(delivery) else {
            return;
        };
        let (receiver, weight) = (found.receiver, found.weight_bytes());
        let user = self.users.get_mut(receiver);
        let online = match user.route() {
            UserRoute::Here(_) => true,
            UserRoute::Elsewhere if HANDS_OVER => return self.deliver_to_other_node(delivery, out),
            // The next log-in reads it.
            UserRoute::Away | UserRoute::Elsewhere => false,
        };
        if online && user.list.is_none() {
            user.list = Some(Box::new(UnackedPushList::new(MailboxBackfillState::Live)));
        }
        let Some(list) = &mut user.list else {
            self.save_if_unsaved(delivery, out);
            return;
        };
        let rules = &self.rules;
        let full = list.mailbox.is_full(weight, rules);
        match list.mailbox.backfill {
            MailboxBackfillState::Live if !full => {
                found.is_listed = true;
                list.mailbox.append(delivery, &mut self.deliveries);
                if online {
                    self.save_later(delivery);
                    self.pump(receiver, out);
                    return;
                }
            }
            backfill => {
                if backfill == MailboxBackfillState::Live {
                    list.mailbox.backfill = MailboxBackfillState::Behind { after_seq: delivery.seq - 1, asking: false };
                }
                self.append_to_tail(receiver, delivery);
            }
        }
        self.save_if_unsaved(delivery, out);
        self.want_page(receiver, out);
    }

    /// Puts a push that is already committed (a friend request or an answer to one) on its
    /// receiver's list, if there is one.
    pub(super) fn deliver_committed(&mut self, push: Push, receiver: UserSlot, out: &mut Vec<CoreAction>) {
        self.watch_for(receiver, push.seq);
        if !self.users.is_here(receiver) {
            self.notify_owner(receiver, OwnerNodeRereadParts::PUSHES, None, out);
        }
        let user = self.users.get_mut(receiver);
        if user.is_here() && user.list.is_none() {
            user.list = Some(Box::new(UnackedPushList::new(MailboxBackfillState::Live)));
        }
        let known = match user.list.as_ref().map(|list| list.mailbox.backfill) {
            None => false,
            Some(MailboxBackfillState::Live) => true,
            // The page in flight is read after this commit and contains the push: jobs about one
            // user are done in order.
            Some(MailboxBackfillState::Opening) => false,
            // Pages up to this number have been read: no later page contains the push.
            Some(MailboxBackfillState::Behind { after_seq, .. }) => push.seq <= after_seq,
        };
        // After a retried job the push may be on the list already: the user has logged in since.
        let list = self.users.get(receiver).list.as_ref();
        let (listed, later) = list.map_or((false, false), |list| list.mailbox.seqs_from(push.seq));
        if !known || listed {
            return;
        }
        if let Some(list) = &mut self.users.get_mut(receiver).list
            && list.mailbox.backfill == MailboxBackfillState::Live
            && list.mailbox.is_full(push.weight_bytes(), &self.rules)
            && !later
        {
            // A page will contain it. (A push whose `seq` is lower than others on the list is put
            // on it even so: no page goes back.)
            list.mailbox.backfill = MailboxBackfillState::Behind { after_seq: push.seq - 1, asking: false };
            return self.want_page(receiver, out);
        }
        self.list_committed(push, receiver);
        self.pump(receiver, out);
    }

    /// Appends a push that is in the store to a list.
    pub(super) fn list_committed(&mut self, push: Push, receiver: UserSlot) {
        self.users.retain(receiver);
        let delivery = self.deliveries.insert(Delivery::of_committed(push, receiver));
        if let Some(list) = &mut self.users.get_mut(receiver).list {
            list.mailbox.append(delivery, &mut self.deliveries);
        }
    }

    /// Sends the pushes that can be sent for the first time.
    pub(super) fn pump(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let entry = self.users.get_mut(user);
        let (UserRoute::Here(conn), Some(list)) = (entry.route(), &mut entry.list) else {
            return;
        };
        let Some(session) = self.sessions.get(conn).filter(|session| !session.is_output_blocked) else {
            return;
        };
        let form = session.push_form;
        let window = SendWindowLimits {
            receiver: &entry.name,
            form,
            count_max: self.rules.outstanding_max as usize,
            bytes_max: self.rules.outstanding_bytes_max,
        };
        while let Some(next) = list.next_to_send(&self.deliveries, &window) {
            list.cursor.first_sent(next, &self.deliveries, self.now.mono_ms);
            let Some(delivery) = self.deliveries.get(next.delivery()) else {
                debug_assert!(false, "an entry's delivery lives as long as the entry");
                break;
            };
            self.totals.sent += 1;
            self.outstanding += 1;
            out.push(CoreAction::Push { conn, form, push: delivery.push_to(&entry.name) });
        }
        if list.cursor.timer.is_none() {
            self.arm_resend(user);
        }
    }

    /// Resends the pushes of a user that are due.
    pub(super) fn resend(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let entry = self.users.get_mut(user);
        let route = entry.route();
        let Some(list) = &mut entry.list else {
            return;
        };
        list.cursor.timer = None;
        let UserRoute::Here(conn) = route else {
            return;
        };
        let Some(session) = self.sessions.get(conn) else {
            return;
        };
        if session.is_output_blocked {
            // `Flushed` sets the timer again.
            return;
        }
        let form = session.push_form;
        let span = self.now.mono_ms / gauges::span_ms(&self.rules);
        let mut wait_ms = 0;
        for _ in 0..RESENDS_AT_ONCE_MAX {
            let Some(at_ms) = list.cursor.oldest_sending_ms() else {
                break;
            };
            if at_ms + self.rules.resend_every_ms > self.now.mono_ms {
                wait_ms = at_ms + self.rules.resend_every_ms - self.now.mono_ms;
                break;
            }
            wait_ms = RESEND_PAUSE_MS;
            let again = list.cursor.send_oldest_again(&self.deliveries, self.now.mono_ms);
            if let Some(found) = again.and_then(|again| self.deliveries.get(again)) {
                self.totals.resent += 1;
                self.oldest_push.note(found.body.time_ms, span);
                out.push(CoreAction::Push { conn, form, push: found.push_to(&entry.name) });
            }
        }
        if wait_ms > 0 {
            list.cursor.timer = Some(self.wheel.insert(self.now.mono_ms + wait_ms, CoreTimer::Resend(user)));
        } else if list.mailbox.is_done() {
            self.release_list(user);
        } else {
            self.arm_resend(user);
        }
    }

    /// Releases the memory of an empty list.
    pub(super) fn release_list(&mut self, user: UserSlot) {
        if let Some(list) = self.users.get_mut(user).list.take() {
            debug_assert!(list.mailbox.is_done(), "only an empty list is released");
            for timer in [list.cursor.timer, list.mailbox.page_timer].into_iter().flatten() {
                self.wheel.cancel(timer);
            }
            self.users.evict_unused(user);
        }
    }

    pub(super) fn push_timed_out(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        self.refuse_waiters(delivery, Some(self.now.mono_ms), LATE, out);
        if let Some(due_ms) = self.deliveries.get(delivery).and_then(Delivery::next_due_ms) {
            self.queue_answer_deadline(due_ms, PendingReplyDeadline::Push(delivery));
        }
    }

    /// Sends `MF` to waiters: nothing is promised. A client may send the message again.
    pub(super) fn refuse_waiters(
        &mut self,
        delivery: DeliveryRef,
        due_ms: Option<u64>,
        fault: ErrorReply,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(found) = self.deliveries.get_mut(delivery) else {
            return;
        };
        let body = found.body.clone();
        for MessageReplyWaiter { conn, form, .. } in found.take_waiters(due_ms) {
            let id = ReplyId::OfBody(body.clone());
            self.remove_unanswered(conn);
            self.refuse((conn, form, id), Some(RequestType::Message), Some(fault), out);
        }
        if self.deliveries.get(delivery).is_some_and(|found| !found.waits()) {
            self.uncount_delivery_load(delivery, out);
        }
    }

    /// A push was acked or committed: it is promised from now on.
    pub(super) fn mark_durable(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        let Some(found) = self.deliveries.get_mut(delivery) else {
            return;
        };
        found.is_durable = true;
        let body = found.body.clone();
        for waiter in found.take_waiters(None) {
            self.answer_message_durable(waiter, body.clone(), out);
        }
        self.uncount_delivery_load(delivery, out);
    }

    /// Like `mark_durable`, for a delivery that was acked and has been taken out of the table.
    pub(super) fn settle_acked_delivery(&mut self, delivery: Delivery, out: &mut Vec<CoreAction>) {
        debug_assert!(!delivery.counts_in_load, "discharged before");
        let Delivery { body, sender, receiver, waiter, more_waiters, .. } = delivery;
        match (waiter, more_waiters) {
            // The usual case: the answer takes over the body.
            (Some(waiter), None) => self.answer_message_durable(waiter, body, out),
            (first, more) => {
                for waiter in first.into_iter().chain(more.into_iter().flat_map(|more| *more)) {
                    self.answer_message_durable(waiter, body.clone(), out);
                }
            }
        }
        if let Some(sender) = sender {
            self.users.release(sender);
        }
        self.users.release(receiver);
    }

    fn answer_message_durable(
        &mut self,
        MessageReplyWaiter { conn, form, .. }: MessageReplyWaiter,
        body: PushBody,
        out: &mut Vec<CoreAction>,
    ) {
        self.totals.promised += 1;
        self.remove_unanswered(conn);
        self.reply(conn, form, ReplyId::OfBody(body), Reply::Message { is_durable: true }, out);
    }

    /// Removes a delivery from its receiver's list; `false` if it was on none. Call
    /// [`on_space`](Self::on_space) afterwards.
    pub(super) fn remove_from_list(&mut self, delivery: DeliveryRef) -> bool {
        let Some(found) = self.deliveries.get_mut(delivery).filter(|found| found.is_listed) else {
            return false;
        };
        found.is_listed = false;
        if let Some(list) = &mut self.users.get_mut(found.receiver).list {
            self.outstanding -= u64::from(list.remove(delivery, &self.deliveries));
        }
        true
    }

    /// A list has room again: sends pushes that waited for it, and requests the next page.
    pub(super) fn on_space(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        self.pump(user, out);
        self.want_page(user, out);
    }

    /// Releases a delivery that is on no list, unless its save is in flight: then it is released
    /// when the save is answered.
    pub(super) fn release_unless_listed(&mut self, delivery: DeliveryRef) {
        if let Some(found) = self.deliveries.get(delivery)
            && !found.is_listed
            && found.save_state != DeliverySaveState::InFlight
        {
            debug_assert!(
                found.save_state != DeliverySaveState::None,
                "a delivery that is neither listed nor saved is lost"
            );
            match found.save_state {
                DeliverySaveState::Foreign => self.release_foreign(delivery),
                _ => self.release_delivery(delivery),
            }
        }
    }

    /// Releases a delivery. If it never became durable, the message was not taken: when the sender
    /// repeats it, it is a new message.
    pub(super) fn release_delivery(&mut self, name: DeliveryRef) {
        let Some(delivery) = self.deliveries.remove(name) else {
            return;
        };
        debug_assert!(!delivery.waits() && !delivery.counts_in_load, "a waiter is answered first");
        if let Some(sender) = delivery.sender {
            if !delivery.is_durable {
                let receiver = self.users.get(delivery.receiver).name.as_str();
                let key = DedupKey::of(self.users.hash(receiver), delivery.body.id());
                if let Some(dedup) = &mut self.users.get_mut(sender).dedup {
                    dedup.remove(key, name);
                }
            }
            self.users.release(sender);
        }
        self.users.release(delivery.receiver);
    }

    /// Deletes a push from the store.
    #[inline(never)]
    pub(super) fn delete(&mut self, seq: u64, receiver: UserSlot, out: &mut Vec<CoreAction>) {
        let receiver = self.users.get(receiver).name.clone();
        self.submit_delete(seq, receiver, out);
    }

    pub(super) fn submit_delete(
        &mut self,
        seq: u64,
        receiver: crate::protocol::field::UserName,
        out: &mut Vec<CoreAction>,
    ) {
        if !self.jobs.has_room_for_deletion(&self.rules) {
            return self.delete_failed(receiver, seq);
        }
        let job = Job::DeletePush { receiver: receiver.clone(), seq };
        let purpose = JobPurpose::Delete { receiver, seq };
        if let Err(JobPurpose::Delete { receiver, seq }) = self.submit(job, purpose, out) {
            self.delete_failed(receiver, seq);
        }
    }

    /// A deletion failed: it is tried again, and until then the push counts as deleted.
    pub(super) fn delete_failed(&mut self, receiver: crate::protocol::field::UserName, seq: u64) {
        if self.failed_push_deletions.insert(receiver, seq) {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, CoreTimer::Deletes);
        }
    }

    /// A push was deleted. If that was a retry, the store works again, or has room: the next one
    /// need not wait for the timer.
    pub(super) fn on_push_deleted(&mut self, seq: u64, out: &mut Vec<CoreAction>) {
        if self.failed_push_deletions.remove(&seq)
            && let Some((receiver, seq)) = self.failed_push_deletions.take_next()
        {
            self.submit_delete(seq, receiver, out);
        }
    }

    pub(super) fn retry_deletes(&mut self, out: &mut Vec<CoreAction>) {
        let (due, has_more) = self.failed_push_deletions.take_due();
        if has_more {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, CoreTimer::Deletes);
        }
        for (receiver, seq) in due {
            self.submit_delete(seq, receiver, out);
        }
    }
}
