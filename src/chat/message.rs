//! TYPE 4: a message from one friend to another.

use super::answer::{Fault, NOT_YOU};
use super::contract::{Action, ConnId, Limit};
use super::dedup::Key;
use super::ids::ItemRef;
use super::ids::UserId;
use super::item::{Item, NEVER, Save, Waiter};
use super::{Chat, Due, Timer};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Id, Name};
use crate::protocol::push::Push;
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{ContentForm, Verb};

/// One message that is sent again before the first answer waits in at most so many places.
const WAITERS_MAX: usize = 16;
const SAID_OFTEN: Fault = Fault(ErrorCode::RateLimited, "this message was sent many times and waits for its answer");

/// `MF` alone would say that the two are no friends.
const IN_DOUBT: Fault =
    Fault(ErrorCode::Unavailable, "the store cannot say at present whether you are friends, try again");

/// What a message says.
#[derive(Clone, Copy)]
pub(super) struct MessageFields<'a> {
    pub(super) id: &'a Id<'a>,
    pub(super) sender: &'a Name<'a>,
    pub(super) receiver: &'a Name<'a>,
    pub(super) content: &'a str,
    /// Do all of them stand in a JSON string as they are?
    pub(super) plain: bool,
}

impl Chat {
    pub(super) fn message(
        &mut self,
        (conn, form, user): (ConnId, ContentForm, UserId),
        MessageFields { id, sender, receiver, content, plain }: MessageFields<'_>,
        out: &mut Vec<Action>,
    ) {
        self.unpack_dedup(user);
        let me = self.users.get(user);
        let no = |fault| ((conn, form, ReplyId::Text(id.as_str().into())), Some(Verb::Message), fault);
        if me.name.as_str() != sender.as_str() {
            let (to, verb, fault) = no(Some(NOT_YOU));
            return self.refuse(to, verb, fault, out);
        }
        let waiter = Waiter { conn, form, due_ms: self.now.mono_ms + self.rules.answer_within_ms };
        let oldest_ms = self.now.mono_ms.saturating_sub(self.rules.dedup_age_ms);
        let receiver_hash = self.users.hash(receiver.as_str());
        let key = Key::of(receiver_hash, id.as_str());
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
        if let Some(known) = list.and_then(|list| list.find_message(sender.as_str(), id.as_str(), &self.items)) {
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
        let push = Push::message(self.take_seq(), self.now.wall_ms, id, sender, receiver, content, plain);
        self.totals.taken += 1;
        self.owes(conn);
        let item = self.new_message(push, user, other, waiter);
        self.remember(user, key, item);
        self.charge_item(item, out);
        self.deliver(item, out);
    }

    fn new_message(&mut self, push: Push, sender: UserId, receiver: UserId, waiter: Waiter) -> ItemRef {
        self.users.hold(sender);
        self.users.hold(receiver);
        self.items.insert(Item {
            push,
            receiver,
            sender: Some(sender),
            save: Save::None,
            durable: false,
            listed: false,
            sent_ms: NEVER,
            place: 0,
            written_bytes: 0,
            charged: false,
            waiter: Some(waiter),
            more_waiters: None,
        })
    }

    /// The place of the next push in the order of all.
    pub(super) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// The same message was sent before: it gets the same answer and is not delivered twice.
    #[inline(never)]
    fn on_duplicate(&mut self, known: ItemRef, waiter: Waiter, id: &Id<'_>, out: &mut Vec<Action>) {
        self.totals.duplicates += 1;
        let open = self.items.get_mut(known).filter(|item| !item.durable);
        let Some(item) = open else {
            // Acked or committed, and perhaps forgotten since.
            self.totals.promised += 1;
            let id = ReplyId::Text(id.as_str().into());
            return self.reply(waiter.conn, waiter.form, id, Reply::Message { taken: true }, out);
        };
        if item.more_waiters_len() >= WAITERS_MAX {
            let id = ReplyId::OfPush(item.push.clone());
            self.note_limit(waiter.conn, Limit::RepeatedMessages, out);
            return self.refuse((waiter.conn, waiter.form, id), Some(Verb::Message), Some(SAID_OFTEN), out);
        }
        item.add_waiter(waiter);
        let save = item.save;
        self.owes(waiter.conn);
        match save {
            // Its save delay runs.
            Save::None => {}
            Save::Failed | Save::Full => {
                self.answer_before(waiter.due_ms, Due::Push(known));
                self.save_if_unsaved(known, out);
            }
            Save::InFlight | Save::Done => self.answer_before(waiter.due_ms, Due::Push(known)),
        }
    }

    fn remember(&mut self, sender: UserId, key: Key, item: ItemRef) {
        let rules = &self.rules;
        let known = &mut self.users.get_mut(sender).dedup;
        let before = known.as_ref().map_or(0, |dedup| dedup.held_bytes());
        let dedup = known.get_or_insert_default();
        dedup.insert(key, self.now.mono_ms, item, rules.dedup_messages_max);
        self.dedup_bytes = self.dedup_bytes + dedup.held_bytes() - before;
        if dedup.timer.is_none() {
            let old_ms = self.now.mono_ms + rules.dedup_age_ms + 1;
            dedup.timer = Some(self.wheel.insert(old_ms, Timer::Dedup(sender)));
        }
    }

    pub(super) fn dedup_timer_fired(&mut self, user: UserId) {
        let oldest_ms = self.now.mono_ms.saturating_sub(self.rules.dedup_age_ms);
        let entry = self.users.get_mut(user);
        let Some(dedup) = &mut entry.dedup else {
            return;
        };
        match dedup.expire(oldest_ms) {
            // One look for the newest of them: an active sender is looked at once in that time.
            Some(newest_ms) => {
                let old_ms = newest_ms + self.rules.dedup_age_ms + 1;
                dedup.timer = Some(self.wheel.insert(old_ms, Timer::Dedup(user)));
            }
            None => {
                // It has fired.
                dedup.timer = None;
                self.forget_dedup(user);
            }
        }
    }
}
