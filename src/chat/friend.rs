//! TYPE 6: friend requests, answers to them, and the end of a friendship. Each answer waits for the
//! commit.
//!
//! This module connects the users, the store and the
//! [queues of operations](super::friendship_ops::FriendshipOpQueues), which decide the order of the
//! operations and the retries. The meaning of the requests and outcomes is in
//! [`friend_rules`](super::friend_rules).

use super::answer::{BUSY, ReplyTo, RequestAwaitingJob, UNAVAILABLE, id_text};
use super::contract::{ConnId, CoreAction, Job, JobOutcome, LogEvent, OwnAccountStoreJob, OwnAccountStoreJobOutcome};
use super::friend_op::{PairVerb, QueuedFriendOp, RunningFriendOp, UnorderedUserPair};
use super::friend_rules::{
    FriendEffects, FriendOpPushFate, FriendOpStoreOutcomeMeaning, interpret_friend_outcome, may_block, of_deleted,
    other_of, push_kind,
};
use super::friendship_ops::{FriendOpNextStep, FriendOpSubmitResult};
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::{DeliveryRef, ServerCore};
use crate::protocol::field::{MessageId, UserName, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{ContentAsStringOrObject, FriendVerb, RequestType};

/// The connection of no client.
const NOBODY: ConnId = ConnId { slot: u32::MAX, generation: u32::MAX };

/// The users whom a user blocks, and the push of a request that was hidden.
type BlockResult = (Vec<UserName>, Option<u64>);

/// The fields of a TYPE 6 request.
pub(super) struct FriendRequestFields<'a> {
    pub(super) id: MessageId<'a>,
    pub(super) sender: UserNameRef<'a>,
    pub(super) receiver: UserNameRef<'a>,
    pub(super) verb: FriendVerb,
    pub(super) content: &'a str,
}

impl ServerCore {
    #[inline(never)]
    pub(super) fn friend(
        &mut self,
        (conn, form, me): (ConnId, ContentAsStringOrObject, UserSlot),
        fields: FriendRequestFields<'_>,
        out: &mut Vec<CoreAction>,
    ) {
        let FriendRequestFields { id, sender, receiver, verb, content } = fields;
        let reply_id = id_text(id.as_str());
        let other = match other_of(verb, &self.users.get(me).name, &sender, &receiver) {
            Ok(other) => other.to_owned(),
            Err(fault) => return self.refuse((conn, form, reply_id), Some(RequestType::Friend), Some(fault), out),
        };
        if self.is_account_gone(&other) {
            return match of_deleted(verb.into()) {
                Some(fault) => self.refuse((conn, form, reply_id), Some(RequestType::Friend), Some(fault), out),
                None => self.reply(conn, form, reply_id, Reply::Friend { time_ms: self.now.wall_ms }, out),
            };
        }
        let other = self.users.retain_by_name(&other);
        self.users.retain(me);
        let request =
            self.await_answer(RequestAwaitingJob { conn, form, id: reply_id, request_type: RequestType::Friend }, out);
        let op =
            QueuedFriendOp { request, verb: verb.into(), id: id.as_str().into(), content: content.into(), me, other };
        self.begin_or_queue(op, out);
    }

    /// Blocks or unblocks a user.
    pub(super) fn change_blocked(
        &mut self,
        to: ReplyTo,
        me: UserSlot,
        (other, blocks): (&UserNameRef<'_>, bool),
        out: &mut Vec<CoreAction>,
    ) {
        if let Err(fault) = may_block(&self.users.get(me).name, other, blocks) {
            return self.refuse(to, Some(RequestType::Block), Some(fault), out);
        }
        let (other, verb) = (other.to_owned(), if blocks { PairVerb::Block } else { PairVerb::Unblock });
        if self.is_account_gone(&other) {
            return self.refuse(to, Some(RequestType::Block), of_deleted(verb), out);
        }
        let other = self.users.retain_by_name(&other);
        self.users.retain(me);
        let request = self.ask(to, RequestType::Block, out);
        self.begin_or_queue(QueuedFriendOp { request, verb, id: "".into(), content: "".into(), me, other }, out);
    }

    /// Ends a friendship for the operator, and withdraws the request of `me`. It takes its turn
    /// among the operations of the two users. No client is answered.
    pub(super) fn end_friendship(&mut self, me: &UserName, other: &UserName, out: &mut Vec<CoreAction>) {
        let (me, other) = (self.users.retain_by_name(me), self.users.retain_by_name(other));
        let (id, verb) = (ReplyId::Empty, RequestType::Friend);
        let request = self.await_answer(
            RequestAwaitingJob { conn: NOBODY, form: ContentAsStringOrObject::Text, id, request_type: verb },
            out,
        );
        let (verb, id, content) = (PairVerb::Delete, "".into(), "".into());
        self.begin_or_queue(QueuedFriendOp { request, verb, id, content, me, other }, out);
    }

    fn begin_or_queue(&mut self, op: QueuedFriendOp, out: &mut Vec<CoreAction>) {
        let (request, me, other) = (op.request, op.me, op.other);
        let requests = &self.requests;
        match self.friendship_ops.submit(op, |request| requests.contains(request)) {
            FriendOpSubmitResult::Run(op) => self.run_op(op, out),
            FriendOpSubmitResult::Queued => {}
            FriendOpSubmitResult::Joined => self.release_pair(me, other),
            FriendOpSubmitResult::Full => {
                self.release_pair(me, other);
                self.refuse_waiting(request, Some(BUSY), out);
            }
        }
    }

    /// Begins an operation, and the next ones of the same pair, until one waits for the store.
    fn run_op(&mut self, op: QueuedFriendOp, out: &mut Vec<CoreAction>) {
        let mut next = Some(op);
        while let Some(op) = next {
            let (me, other) = (op.me, op.other);
            if self.begin_op(op, out) {
                return;
            }
            next = self.end_op(me, other);
        }
    }

    /// Begins an operation; `false` if it has ended already.
    fn begin_op(&mut self, op: QueuedFriendOp, out: &mut Vec<CoreAction>) -> bool {
        let QueuedFriendOp { request, verb, id, content, me, other } = op;
        let time_ms = self.now.wall_ms;
        let were_friends = self.are_online_friends(me, other);
        if !self.requests.contains(request) || (verb == PairVerb::Request && were_friends) {
            self.answer(request, Reply::Friend { time_ms }, out);
            return false;
        }
        let (mine, others) = (self.users.get(me).name.clone(), self.users.get(other).name.clone());
        let push = push_kind(verb).and_then(|kind| self.friend_push(kind, &id, &mine, &others, &content));
        let op = RunningFriendOp {
            request,
            verb,
            me,
            other,
            time_ms,
            push,
            were_friends,
            friends_were_unknown: self.in_doubt.is_in_doubt(me) || !self.users.is_here(me),
            failed: 0,
            only_reads: false,
        };
        let submitted = self.submit_op(op, out);
        if submitted.is_err() {
            self.refuse_waiting(request, Some(BUSY), out);
        }
        submitted.is_ok()
    }

    /// The operation of this pair is over: takes the next one.
    fn end_op(&mut self, me: UserSlot, other: UserSlot) -> Option<QueuedFriendOp> {
        let next = self.friendship_ops.next(UnorderedUserPair::of(me, other));
        self.release_pair(me, other);
        next
    }

    /// Submits the job of an operation; gives the operation back if too many jobs are in flight.
    fn submit_op(&mut self, op: RunningFriendOp, out: &mut Vec<CoreAction>) -> Result<(), RunningFriendOp> {
        let job = self.job_of(&op);
        match self.submit(job, JobPurpose::Friendship(op), out) {
            Err(JobPurpose::Friendship(op)) => Err(op),
            _ => Ok(()),
        }
    }

    fn job_of(&self, op: &RunningFriendOp) -> Job {
        if op.only_reads {
            return self.friends_job(op.me);
        }
        let names = || (self.users.get(op.me).name.clone(), self.users.get(op.other).name.clone());
        match (&op.push, op.verb) {
            (Some(push), PairVerb::Request) => {
                Job::AskFriend { push: push.clone(), pending_max: self.rules.pending_requests_max }
            }
            (Some(push), _) => Job::AnswerFriend { push: push.clone(), friends_max: self.rules.friends_max },
            (None, PairVerb::Block) => {
                let (user, other) = names();
                let job = OwnAccountStoreJob::Block { other, blocked_max: self.rules.blocked_max };
                Job::Account { user, job: Box::new(job) }
            }
            (None, PairVerb::Unblock) => {
                let (user, other) = names();
                Job::Account { user, job: Box::new(OwnAccountStoreJob::Unblock { other }) }
            }
            (None, _) => {
                let (user, other) = names();
                Job::Unfriend { user, other }
            }
        }
    }

    fn friend_push(
        &mut self,
        kind: PushKind,
        id: &str,
        sender: &UserName,
        receiver: &UserName,
        content: &str,
    ) -> Option<Push> {
        // All three were checked when they came in.
        let (id, sender, receiver) =
            (MessageId::new(id), UserNameRef::new(sender.as_str()), UserNameRef::new(receiver.as_str()));
        let (Ok(id), Ok(sender), Ok(receiver)) = (id, sender, receiver) else {
            debug_assert!(false, "checked once, valid ever after");
            return None;
        };
        let seq = self.take_seq();
        Some(Push::new(seq, self.now.wall_ms, kind, &id, &sender, &receiver, content))
    }

    fn are_online_friends(&self, me: UserSlot, other: UserSlot) -> bool {
        self.users.is_here(me) && self.users.are_friends(me, other) && !self.in_doubt.is_in_doubt(me)
    }

    /// The job of an operation has ended.
    pub(super) fn on_friendship_result(&mut self, op: RunningFriendOp, outcome: JobOutcome, out: &mut Vec<CoreAction>) {
        let decision = interpret_friend_outcome(&op, &self.users.get(op.other).name, &outcome);
        let blocked = match outcome {
            JobOutcome::Account(outcome) => match *outcome {
                OwnAccountStoreJobOutcome::Blocked { names, hidden_push } => Some((names, hidden_push)),
                _ => None,
            },
            _ => None,
        };
        self.finish_op(op, decision, blocked, out);
    }

    /// Continues an operation after its outcome. `blocked`: the users whom its user blocks, if the
    /// store gave them.
    fn finish_op(
        &mut self,
        mut op: RunningFriendOp,
        mut decision: FriendOpStoreOutcomeMeaning,
        mut blocked: Option<BlockResult>,
        out: &mut Vec<CoreAction>,
    ) {
        loop {
            let (request, me, other) = (op.request, op.me, op.other);
            match self.friendship_ops.finish(op, decision, self.now.mono_ms) {
                FriendOpNextStep::Retry => {
                    // Nothing is promised. The pair stays busy until it is known whether the two
                    // are friends and whether there is a push to send.
                    self.refuse_waiting(request, Some(UNAVAILABLE), out);
                    return self.arm_undecided();
                }
                FriendOpNextStep::ReadBack(reading) => match self.submit_op(reading, out) {
                    Ok(()) => return,
                    Err(not_submitted) => (op, decision) = (not_submitted, FriendOpStoreOutcomeMeaning::Unknown),
                },
                FriendOpNextStep::Done(op, effects) => {
                    self.apply_friend_effects(op, effects, blocked.take(), out);
                    if let Some(next) = self.end_op(me, other) {
                        self.run_op(next, out);
                    }
                    return;
                }
            }
        }
    }

    fn apply_friend_effects(
        &mut self,
        op: RunningFriendOp,
        effects: FriendEffects,
        blocked: Option<BlockResult>,
        out: &mut Vec<CoreAction>,
    ) {
        let RunningFriendOp { request, verb, me, other, push, .. } = op;
        if effects.leaves_doubt {
            self.mark_friends_in_doubt(me);
            self.mark_friends_in_doubt(other);
        }
        if effects.removes_requests_of_me {
            self.remove_friend_requests(other, me, out);
        }
        let (names, hidden_push) = blocked.unwrap_or_default();
        if effects.removes_requests_of_other {
            self.block(me, other, hidden_push, out);
        } else if verb == PairVerb::Unblock && hidden_push.is_some() {
            // It is listed if the answers to all blocks were lost. The store has deleted it.
            self.remove_friend_requests(me, other, out);
        }
        if let Some(friends) = effects.friends {
            self.users.note_friend(me, other, friends);
            self.users.note_friend(other, me, friends);
            if friends {
                self.report_new_friends(me, other);
            }
        }
        if effects.leaves_doubt || effects.friends.is_some() {
            self.reread_friends_of_both(me, other, out);
        }
        match effects.answer {
            Ok(_) if matches!(verb, PairVerb::Block | PairVerb::Unblock) => {
                self.answer(request, Reply::Blocked(names), out);
            }
            Ok(time_ms) => self.answer(request, Reply::Friend { time_ms }, out),
            Err(fault) => self.refuse_waiting(request, Some(fault), out),
        }
        match (effects.push, push) {
            (FriendOpPushFate::Kept, Some(push)) => self.deliver_committed(push, other, out),
            (FriendOpPushFate::Unknown, Some(push)) => self.look_for(other, push.seq, out),
            (FriendOpPushFate::Dropped, _) | (_, None) => {}
        }
        // If the friendship was in doubt, it is not any more.
        self.resume_unsent_presence(me);
        self.resume_unsent_presence(other);
    }

    /// `me` blocks `other`: the request of `other` is removed from the list, and must not come back
    /// with a page that was read before.
    fn block(&mut self, me: UserSlot, other: UserSlot, hidden_push: Option<u64>, out: &mut Vec<CoreAction>) {
        self.in_doubt.note_block(me);
        let taken_off = self.remove_friend_requests(me, other, out);
        if let Some(seq) = hidden_push.filter(|seq| !taken_off.contains(seq)) {
            self.delete(seq, me, out);
        }
        let (user, other) = (self.users.get(me).name.clone(), self.users.get(other).name.clone());
        if let Some(list) = &mut self.users.get_mut(me).list {
            list.mailbox.note_blocked(&other);
        }
        out.push(CoreAction::Log(LogEvent::Blocked { user, other }));
    }

    /// Removes the friend requests of `asker` from the list of `asked`: the two are friends now, or
    /// `asker` has withdrawn. The store has removed the pending request, perhaps in an earlier try
    /// whose answer was lost, so its number may be unknown. Older requests that were answered and
    /// never acked are removed, too. Gives the `seq` of the removed pushes.
    fn remove_friend_requests(&mut self, asked: UserSlot, asker: UserSlot, out: &mut Vec<CoreAction>) -> Vec<u64> {
        let asker = self.users.get(asker).name.clone();
        let is_one = |delivery: &DeliveryRef| {
            let body = self.deliveries.get(*delivery).map(|found| &found.body);
            body.is_some_and(|body| body.kind == PushKind::FriendRequest && body.sender() == asker.as_str())
        };
        let list = self.users.get(asked).list.as_ref();
        let found: Vec<DeliveryRef> = list.map_or_else(Vec::new, |list| list.mailbox.all().filter(is_one).collect());
        for delivery in &found {
            self.remove_from_list(*delivery);
            self.release_unless_listed(*delivery);
            self.delete(delivery.seq, asked, out);
        }
        if !found.is_empty() {
            self.on_space(asked, out);
        }
        found.into_iter().map(|delivery| delivery.seq).collect()
    }

    /// Retries undecided operations.
    pub(super) fn retry_undecided(&mut self, due: Vec<RunningFriendOp>, out: &mut Vec<CoreAction>) {
        for op in due {
            if let Err(op) = self.submit_op(op, out) {
                self.finish_op(op, FriendOpStoreOutcomeMeaning::Unknown, None, out);
            }
        }
    }

    fn release_pair(&mut self, me: UserSlot, other: UserSlot) {
        self.users.release(me);
        self.users.release(other);
    }
}
