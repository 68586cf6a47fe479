//! TYPE 4: a message from one friend to another.

use super::answer::{ErrorReply, NOT_YOU};
use super::contract::{ClientLimitKind, ConnId, CoreAction};
use super::dedup::DedupKey;
use super::deliveries::{Delivery, DeliverySaveState, MessageReplyWaiter};
use super::ids::DeliveryRef;
use super::ids::UserSlot;
use super::{CoreTimer, PendingReplyDeadline, ServerCore};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{MessageId, UserNameRef};
use crate::protocol::push::PushBody;
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{ContentAsStringOrObject, RequestType};

/// The largest number of repetitions of one message that wait for its answer.
const WAITERS_MAX: usize = 16;
const SAID_OFTEN: ErrorReply =
    ErrorReply(ErrorCode::RateLimited, "this message was sent many times and waits for its answer");

/// `MF` alone would mean that the two are not friends.
const IN_DOUBT: ErrorReply =
    ErrorReply(ErrorCode::Unavailable, "the store cannot say at present whether you are friends, try again");

/// The fields of a message.
#[derive(Clone, Copy)]
pub(super) struct MessageFields<'a> {
    pub(super) id: &'a MessageId<'a>,
    pub(super) sender: &'a UserNameRef<'a>,
    pub(super) receiver: &'a UserNameRef<'a>,
    pub(super) content: &'a str,
    /// Can all of them be written into a JSON string without escaping?
    pub(super) escape_free: bool,
}

impl ServerCore {
    pub(super) fn message(
        &mut self,
        (conn, form, user): (ConnId, ContentAsStringOrObject, UserSlot),
        MessageFields { id, sender, receiver, content, escape_free }: MessageFields<'_>,
        out: &mut Vec<CoreAction>,
    ) {
        self.unpack_dedup(user);
        let me = self.users.get(user);
        let no = |fault| ((conn, form, ReplyId::Text(id.as_str().into())), Some(RequestType::Message), fault);
        if me.name.as_str() != sender.as_str() {
            let (to, verb, fault) = no(Some(NOT_YOU));
            return self.refuse(to, verb, fault, out);
        }
        let waiter = MessageReplyWaiter { conn, form, due_ms: self.now.mono_ms + self.rules.answer_within_ms };
        let oldest_ms = self.now.mono_ms.saturating_sub(self.rules.dedup_age_ms);
        let receiver_hash = self.users.hash(receiver.as_str());
        let key = DedupKey::of(receiver_hash, id.as_str());
        let known = me.dedup.as_ref().and_then(|dedup| dedup.find(key, oldest_ms));
        if let Some(known) = known {
            return self.on_duplicate(known, waiter, id, out);
        }
        let Some(other) = self.users.find_hashed(receiver_hash, receiver.as_str()) else {
            let (to, verb, fault) = no(self.may_be_friends(user, None).then_some(IN_DOUBT));
            if fault.is_none() {
                self.note_not_friends(conn, user, out);
            }
            return self.refuse(to, verb, fault, out);
        };
        let list = self.users.get(other).list.as_ref();
        if let Some(known) =
            list.and_then(|list| list.mailbox.find_message(sender.as_str(), id.as_str(), &self.deliveries))
        {
            // It is promised now, and stays so after its ack.
            self.remember(user, key, known);
            return self.on_duplicate(known, waiter, id, out);
        }
        if !self.users.are_friends(user, other) {
            let (to, verb, fault) = no(self.may_be_friends(user, Some(other)).then_some(IN_DOUBT));
            if fault.is_none() {
                self.note_not_friends(conn, user, out);
            }
            return self.refuse(to, verb, fault, out);
        }
        // If the texts are escape-free with the receiver's name, they are so without it.
        let body = PushBody::message(self.now.wall_ms, id, sender, content, escape_free);
        let message = (self.take_seq(), body);
        self.totals.taken += 1;
        self.add_unanswered(conn);
        self.users.retain(user);
        self.users.retain(other);
        let receiver = (other, receiver.as_str());
        let delivery = self.deliveries.insert(Delivery::of_message(message, user, receiver, waiter));
        self.remember(user, key, delivery);
        self.count_delivery_load(delivery, out);
        self.watch_for(other, delivery.seq);
        self.deliver(delivery, out);
    }

    /// Takes the number for the next push.
    pub(super) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += self.seq_step;
        seq
    }

    /// The same message was sent before: it gets the same answer and is not delivered twice.
    #[inline(never)]
    fn on_duplicate(
        &mut self,
        known: DeliveryRef,
        waiter: MessageReplyWaiter,
        id: &MessageId<'_>,
        out: &mut Vec<CoreAction>,
    ) {
        self.totals.duplicates += 1;
        let open = self.deliveries.get_mut(known).filter(|delivery| !delivery.is_durable);
        let Some(delivery) = open else {
            // Acked or committed, and its delivery may be gone.
            self.totals.promised += 1;
            let id = ReplyId::Text(id.as_str().into());
            return self.reply(waiter.conn, waiter.form, id, Reply::Message { is_durable: true }, out);
        };
        if delivery.more_waiters_len() >= WAITERS_MAX {
            let id = ReplyId::OfBody(delivery.body.clone());
            self.note_limit(waiter.conn, ClientLimitKind::RepeatedMessages, out);
            return self.refuse((waiter.conn, waiter.form, id), Some(RequestType::Message), Some(SAID_OFTEN), out);
        }
        delivery.add_waiter(waiter);
        let save = delivery.save_state;
        self.add_unanswered(waiter.conn);
        match save {
            // It is in its save delay.
            DeliverySaveState::None => {}
            DeliverySaveState::Failed | DeliverySaveState::Full | DeliverySaveState::FailedAfterHandOver => {
                self.queue_answer_deadline(waiter.due_ms, PendingReplyDeadline::Push(known));
                self.save_if_unsaved(known, out);
            }
            DeliverySaveState::InFlight | DeliverySaveState::Done => {
                self.queue_answer_deadline(waiter.due_ms, PendingReplyDeadline::Push(known))
            }
            DeliverySaveState::Foreign => {
                self.take_foreign_over(known);
                self.queue_answer_deadline(waiter.due_ms, PendingReplyDeadline::Push(known));
                self.save_if_unsaved(known, out);
            }
        }
    }

    fn remember(&mut self, sender: UserSlot, key: DedupKey, delivery: DeliveryRef) {
        let rules = &self.rules;
        let known = &mut self.users.get_mut(sender).dedup;
        let before = known.as_ref().map_or(0, |dedup| dedup.memory_bytes());
        let dedup = known.get_or_insert_default();
        dedup.insert(key, self.now.mono_ms, delivery, rules.dedup_messages_max);
        self.dedup_bytes = self.dedup_bytes + dedup.memory_bytes() - before;
        if dedup.timer.is_none() {
            let old_ms = self.now.mono_ms + rules.dedup_age_ms + 1;
            dedup.timer = Some(self.wheel.insert(old_ms, CoreTimer::Dedup(sender)));
        }
    }

    pub(super) fn dedup_timer_fired(&mut self, user: UserSlot) {
        let oldest_ms = self.now.mono_ms.saturating_sub(self.rules.dedup_age_ms);
        let entry = self.users.get_mut(user);
        let Some(dedup) = &mut entry.dedup else {
            return;
        };
        match dedup.expire(oldest_ms) {
            // One timer for the newest message: an active sender's window is examined once in
            // `dedup_age_ms`.
            Some(newest_ms) => {
                let old_ms = newest_ms + self.rules.dedup_age_ms + 1;
                dedup.timer = Some(self.wheel.insert(old_ms, CoreTimer::Dedup(user)));
            }
            None => {
                // It has fired.
                dedup.timer = None;
                self.evict_dedup(user);
            }
        }
    }
}
