//! TYPE 6: asking to be friends, answering, and ending it. Each changes who is whose friend, so
//! each waits for the commit.
//!
//! Changes for one pair of people are done one after the other, so that the friends in memory are
//! those in the store whatever the order in which workers answer.

use super::answer::id_text;
use super::answer::{BUSY, FULL, Fault, NOT_YOU, PendingRequest, UNAVAILABLE, fault_of};
use super::contract::{Action, Answered, Asked, ConnId, Job, Outcome, Ticket};
use super::friend_op::Friendship;
use super::ids::UserId;
use super::job::JobPurpose;
use super::{Chat, ItemRef};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Id, Name, UserName};
use crate::protocol::push::{Push, PushKind};
use crate::protocol::reply::Reply;
use crate::protocol::request::{ContentForm, FriendVerb, Verb};
use std::collections::VecDeque;

const YOURSELF: Fault = Fault(ErrorCode::BadField, "you cannot be your own friend");
const NOBODY: Fault = Fault(ErrorCode::NoSuchUser, "there is no user of that name");
const NOT_ASKED: Fault = Fault(ErrorCode::NoSuchRequest, "no such friend request is pending");
const TOO_MANY_REQUESTS: Fault =
    Fault(ErrorCode::RateLimited, "too many friend requests of yours, or to that user, are pending");
const TOO_MANY_FRIENDS: Fault = Fault(ErrorCode::RateLimited, "one of you has as many friends as are allowed");
/// Requests about one pair of people that wait for the one before.
const QUEUED_MAX: usize = 16;
/// And how large those of all pairs are together: while the store is away, the pairs of many may be
/// busy.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long after it failed what the store could not do, or did and could not say, is tried again,
/// at first and at most: until it is known, however long the store is away, since those online
/// would else not know whose friends they are.
pub(super) const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 4_000;
/// And how large their pushes are together. Beyond this, and beyond `undecided_max`, what was done
/// is not found out by trying again: the friends of those online are read anew, and the push is
/// looked for.
const UNDECIDED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What one pair of people waits for.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// Requests that wait for the one that is being worked on.
    queued: VecDeque<QueuedOp>,
    /// That one may have changed whether they are friends, and the store could not say so.
    pub(super) in_doubt: bool,
}

/// What a client said.
pub(super) struct FriendFields<'a> {
    pub(super) id: Id<'a>,
    pub(super) sender: Name<'a>,
    pub(super) receiver: Name<'a>,
    pub(super) verb: FriendVerb,
    pub(super) content: &'a str,
}

/// A request that waits for the one before, about the same pair.
#[derive(Debug)]
pub(super) struct QueuedOp {
    request: Ticket,
    verb: FriendVerb,
    id: Box<str>,
    content: Box<str>,
    me: UserId,
    other: UserId,
}

pub(super) fn pair(me: UserId, other: UserId) -> (UserId, UserId) {
    (me.min(other), me.max(other))
}

impl Chat {
    #[inline(never)]
    pub(super) fn friend(
        &mut self,
        (conn, form, me): (ConnId, ContentForm, UserId),
        fields: FriendFields<'_>,
        out: &mut Vec<Action>,
    ) {
        let FriendFields { id, sender, receiver, verb, content } = fields;
        let (mine, others) = match verb {
            FriendVerb::Request | FriendVerb::Delete => (&sender, &receiver),
            FriendVerb::Accept | FriendVerb::Reject => (&receiver, &sender),
        };
        let to = (conn, form, id_text(id.as_str()));
        if self.users.get(me).name.as_str() != mine.as_str() {
            return self.refuse(to, Some(Verb::Friend), Some(NOT_YOU), out);
        }
        if mine == others && verb == FriendVerb::Request {
            return self.refuse(to, Some(Verb::Friend), Some(YOURSELF), out);
        }
        let other = self.users.refer(&others.to_owned());
        self.users.hold(me);
        let key = pair(me, other);
        let bytes = self.queued_bytes + size_of::<QueuedOp>() + id.as_str().len() + content.len();
        if self.pairs.get(&key).is_some_and(|pair| pair.queued.len() >= QUEUED_MAX || bytes > QUEUED_BYTES_MAX) {
            self.release_pair(me, other);
            return self.refuse(to, Some(Verb::Friend), Some(BUSY), out);
        }
        let (conn, form, reply_id) = to;
        let request = self.await_answer(PendingRequest { conn, form, id: reply_id, verb: Verb::Friend }, out);
        let op = QueuedOp { request, verb, id: id.as_str().into(), content: content.into(), me, other };
        if self.pairs.contains_key(&key) && self.joins_undecided(&op) {
            return self.release_pair(me, other);
        }
        if let Some(pair) = self.pairs.get_mut(&key) {
            self.queued_bytes += op.weight_bytes();
            pair.queued.push_back(op);
        } else {
            self.pairs.insert(key, Pair::default());
            self.run_op(op, out);
        }
    }

    /// Starts on a request: from here until its end the pair is its own.
    fn run_op(&mut self, op: QueuedOp, out: &mut Vec<Action>) {
        let QueuedOp { request, verb, id, content, me, other } = op;
        let time_ms = self.now.wall_ms;
        if !self.requests.contains(request) || (verb == FriendVerb::Request && self.are_online_friends(me, other)) {
            self.answer(request, Reply::Friend { time_ms }, out);
            return self.op_ended(me, other, out);
        }
        let kind = match verb {
            FriendVerb::Request => Some(PushKind::FriendRequest),
            FriendVerb::Accept => Some(PushKind::FriendAccept),
            FriendVerb::Reject => Some(PushKind::FriendReject),
            FriendVerb::Delete => None,
        };
        let (mine, others) = (self.users.get(me).name.clone(), self.users.get(other).name.clone());
        let push = kind.and_then(|kind| self.friend_push(kind, &id, &mine, &others, &content));
        let were_friends = self.are_online_friends(me, other);
        let friendship = Friendship {
            request,
            verb,
            me,
            other,
            time_ms,
            push,
            were_friends,
            began_in_doubt: self.doubted.contains_key(&me),
            failed: 0,
            reads: false,
            retry_at_ms: 0,
        };
        let job = self.friendship_job(&friendship);
        if let Err(JobPurpose::Friendship(friendship)) = self.submit(job, JobPurpose::Friendship(friendship), out) {
            self.refuse_waiting(request, Some(BUSY), out);
            self.op_ended(friendship.me, friendship.other, out);
        }
    }

    fn friendship_job(&self, friendship: &Friendship) -> Job {
        if friendship.reads {
            return self.friends_job(friendship.me);
        }
        match (&friendship.push, friendship.verb) {
            (Some(push), FriendVerb::Request) => {
                Job::AskFriend { push: push.clone(), pending_max: self.rules.pending_requests_max }
            }
            (Some(push), _) => Job::AnswerFriend { push: push.clone(), friends_max: self.rules.friends_max },
            (None, _) => Job::Unfriend {
                user: self.users.get(friendship.me).name.clone(),
                other: self.users.get(friendship.other).name.clone(),
            },
        }
    }

    /// The store failed, or did it and could not say so. The asker is told that nothing is
    /// promised; the pair stays busy until it is known whether those online are friends and whether
    /// there is a push to send.
    fn friendship_failed(&mut self, mut friendship: Friendship, out: &mut Vec<Action>) {
        self.refuse_waiting(friendship.request, Some(UNAVAILABLE), out);
        let key = pair(friendship.me, friendship.other);
        let bytes = self.undecided_bytes + friendship.weight_bytes();
        if self.undecided.len() >= self.rules.undecided_max || bytes > UNDECIDED_BYTES_MAX {
            self.doubt_both(&friendship);
            if let Some(push) = &friendship.push {
                self.look_for(friendship.other, push.seq, out);
            }
            return self.op_ended(friendship.me, friendship.other, out);
        }
        if friendship.changes_friends()
            && let Some(pair) = self.pairs.get_mut(&key)
        {
            pair.in_doubt = true;
        }
        let wait_ms = RETRY_MS_MAX.min(RETRY_MS << friendship.failed.min(8));
        friendship.retry_at_ms = self.now.mono_ms + wait_ms;
        friendship.failed = friendship.failed.saturating_add(1);
        self.arm_undecided();
        self.undecided.insert(key, friendship);
        self.undecided_bytes = bytes;
    }

    /// The same again, because nothing was promised: it is answered when it is known what became of
    /// the first.
    fn joins_undecided(&mut self, op: &QueuedOp) -> bool {
        let is_it = |other: &&mut Friendship| {
            (other.me, other.other, other.verb) == (op.me, op.other, op.verb)
                && other.push.as_ref().is_none_or(|push| push.id() == &*op.id)
        };
        match self.undecided.get_mut(&pair(op.me, op.other)).filter(is_it) {
            Some(undecided) if !self.requests.contains(undecided.request) => {
                undecided.request = op.request;
                true
            }
            _ => false,
        }
    }

    pub(super) fn retry_undecided(&mut self, out: &mut Vec<Action>) {
        let now_ms = self.now.mono_ms;
        let due: Vec<_> =
            self.undecided.iter().filter(|(_, one)| one.retry_at_ms <= now_ms).map(|(pair, _)| *pair).collect();
        let due: Vec<Friendship> = due.iter().filter_map(|pair| self.undecided.remove(pair)).collect();
        self.undecided_bytes -= due.iter().map(Friendship::weight_bytes).sum::<usize>();
        self.undecided_armed = false;
        self.read_doubted(out);
        for friendship in due {
            let job = self.friendship_job(&friendship);
            if let Err(JobPurpose::Friendship(friendship)) = self.submit(job, JobPurpose::Friendship(friendship), out) {
                self.friendship_failed(friendship, out);
            }
        }
        if !(self.undecided.is_empty() && self.doubted.is_empty() && self.lost.is_empty()) {
            self.arm_undecided();
        }
    }

    /// Who this user's friends are.
    pub(super) fn friends_job(&self, user: UserId) -> Job {
        Job::Load { user: self.users.get(user).name.clone(), pushes_max: 0, bytes_max: 0 }
    }

    /// Asks the store whether they are friends now, until it says so.
    fn read_friends(&mut self, mut friendship: Friendship, out: &mut Vec<Action>) {
        friendship.reads = true;
        let job = self.friends_job(friendship.me);
        if let Err(JobPurpose::Friendship(friendship)) = self.submit(job, JobPurpose::Friendship(friendship), out) {
            self.friendship_failed(friendship, out);
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
        let (id, sender, receiver) = (Id::new(id), Name::new(sender.as_str()), Name::new(receiver.as_str()));
        let (Ok(id), Ok(sender), Ok(receiver)) = (id, sender, receiver) else {
            debug_assert!(false, "checked once, valid ever after");
            return None;
        };
        let seq = self.take_seq();
        Some(Push::new(seq, self.now.wall_ms, kind, &id, &sender, &receiver, content))
    }

    fn are_online_friends(&self, me: UserId, other: UserId) -> bool {
        self.users.is_here(me) && self.users.are_friends(me, other) && !self.doubted.contains_key(&me)
    }

    pub(super) fn friendship_done(&mut self, friendship: Friendship, outcome: &Outcome, out: &mut Vec<Action>) {
        if matches!(outcome, Outcome::Failed) {
            return self.friendship_failed(friendship, out);
        }
        let no_request = matches!(outcome, Outcome::Answered(Answered::NoSuchRequest));
        let may_be_done = friendship.failed > 0 && !friendship.were_friends;
        if no_request && may_be_done && friendship.verb == FriendVerb::Accept {
            // An earlier try may have been committed, and its push acked since: then it is gone,
            // and only the friendship tells.
            return self.read_friends(friendship, out);
        }
        if matches!(outcome, Outcome::Refused) && friendship.failed > 0 {
            self.doubt_both(&friendship);
        }
        let Friendship { request, verb, me, other, time_ms, push, began_in_doubt, .. } = friendship;
        let done = Ok(time_ms);
        let other_name = &self.users.get(other).name;
        let read_back = matches!(outcome, Outcome::Loaded { friends, .. } if friends.contains(other_name));
        let result = match outcome {
            Outcome::Asked(Asked::Pending) | Outcome::Unfriended | Outcome::Answered(Answered::Done) => done,
            Outcome::Asked(Asked::AlreadyFriends) => done,
            Outcome::Asked(Asked::AlreadyPending { time_ms }) => Ok(*time_ms),
            Outcome::Asked(Asked::NoSuchUser) => Err(NOBODY),
            Outcome::Asked(Asked::TooMany) => Err(TOO_MANY_REQUESTS),
            Outcome::Asked(Asked::Full) | Outcome::Answered(Answered::Full) => Err(FULL),
            Outcome::Answered(Answered::NoSuchRequest) => Err(NOT_ASKED),
            Outcome::Loaded { .. } if read_back && !began_in_doubt => done,
            Outcome::Loaded { .. } => Err(NOT_ASKED),
            Outcome::Answered(Answered::TooManyFriends) => Err(TOO_MANY_FRIENDS),
            other => Err(fault_of(other)),
        };
        let accepted = verb == FriendVerb::Accept && matches!(outcome, Outcome::Answered(Answered::Done)) || read_back;
        if accepted {
            self.take_off_requests(other, me, out);
        }
        if accepted || matches!(outcome, Outcome::Asked(Asked::AlreadyFriends)) {
            self.users.note_friend(me, other, true);
            self.users.note_friend(other, me, true);
        }
        if matches!(outcome, Outcome::Unfriended) {
            self.users.note_friend(me, other, false);
            self.users.note_friend(other, me, false);
            // The one that was pending is withdrawn, perhaps by a try that failed afterwards.
            self.take_off_requests(other, me, out);
        }
        match result {
            Ok(time_ms) => self.answer(request, Reply::Friend { time_ms }, out),
            Err(fault) => self.refuse_waiting(request, Some(fault), out),
        }
        if matches!(outcome, Outcome::Asked(Asked::Pending) | Outcome::Answered(Answered::Done))
            && let Some(push) = push
        {
            self.deliver_committed(push, other, out);
        }
        self.op_ended(me, other, out);
    }

    /// They are friends, or `asker` has withdrawn: no request of `asker` waits any longer for the
    /// ack of `asked`. The store has dropped the one that was pending, perhaps in a try that failed
    /// afterwards, so that nobody could say which it was. An older one, answered and never acked,
    /// is as moot.
    fn take_off_requests(&mut self, asked: UserId, asker: UserId, out: &mut Vec<Action>) {
        let asker = self.users.get(asker).name.clone();
        let is_one = |item: &ItemRef| {
            let push = self.items.get(*item).map(|found| &found.push);
            push.is_some_and(|push| push.kind == PushKind::FriendRequest && push.sender() == asker.as_str())
        };
        let list = self.users.get(asked).list.as_ref();
        let found: Vec<ItemRef> = list.map_or_else(Vec::new, |list| list.all().filter(is_one).collect());
        for item in &found {
            self.unlist(*item);
            self.free_unless_listed(*item);
            self.delete(item.seq, asked, out);
        }
        if !found.is_empty() {
            self.on_space(asked, out);
        }
    }

    /// The pair is free for the next one.
    fn op_ended(&mut self, me: UserId, other: UserId, out: &mut Vec<Action>) {
        let key = pair(me, other);
        let next = self.pairs.get_mut(&key).and_then(|pair| {
            pair.in_doubt = false;
            pair.queued.pop_front()
        });
        match &next {
            Some(next) => self.queued_bytes -= next.weight_bytes(),
            None => _ = self.pairs.remove(&key),
        }
        self.release_pair(me, other);
        if let Some(next) = next {
            // At most `QUEUED_MAX` deep: only those that end at once call back.
            self.run_op(next, out);
        }
    }

    fn release_pair(&mut self, me: UserId, other: UserId) {
        self.users.release(me);
        self.users.release(other);
    }

    /// What those who wait in these queues hold is what was counted.
    #[cfg(debug_assertions)]
    pub(super) fn check_queued(&self) {
        let waiting = self.pairs.values().flat_map(|pair| &pair.queued);
        assert_eq!(self.queued_bytes, waiting.map(QueuedOp::weight_bytes).sum::<usize>());
        assert_eq!(self.undecided_bytes, self.undecided.values().map(Friendship::weight_bytes).sum::<usize>());
        assert!(self.queued_bytes <= QUEUED_BYTES_MAX);
    }

    /// References held by those who wait in these queues, for the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn queued_refs(&self) -> impl Iterator<Item = UserId> + '_ {
        let waiting = self.pairs.values().flat_map(|pair| &pair.queued).flat_map(|op| [op.me, op.other]);
        waiting
            .chain(self.undecided.values().flat_map(Friendship::refs))
            .chain(self.doubted.keys().copied())
            .chain(self.lost.iter().map(|lost| lost.0))
    }
}

impl QueuedOp {
    fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.content.len()
    }
}
