//! The rules about friendships as pure functions: the meaning of a request, and that of the store's
//! outcome changes.

use super::answer::{ErrorReply, FULL, NOT_YOU, UNAVAILABLE, fault_of};
use super::contract::{FriendAnswerOutcome, FriendRequestOutcome, JobOutcome, OwnAccountStoreJobOutcome};
use super::friend_op::{PairVerb, RunningFriendOp};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{RESERVED_NAME, UserName, UserNameRef};
use crate::protocol::push::PushKind;
use crate::protocol::request::FriendVerb;

const YOURSELF: ErrorReply = ErrorReply(ErrorCode::BadField, "you cannot be your own friend");
const NOBODY: ErrorReply = ErrorReply(ErrorCode::NoSuchUser, "there is no user of that name");
const NOT_ASKED: ErrorReply = ErrorReply(ErrorCode::NoSuchRequest, "no such friend request is pending");
const TOO_MANY_REQUESTS: ErrorReply =
    ErrorReply(ErrorCode::RateLimited, "too many friend requests of yours, or to that user, are pending");
const TOO_MANY_BLOCKED: ErrorReply = ErrorReply(ErrorCode::RateLimited, "you block as many users as are allowed");
const YOU_BLOCK: ErrorReply = ErrorReply(ErrorCode::Forbidden, "you block this user, unblock them first");
const NOT_BLOCKED_YOURSELF: ErrorReply = ErrorReply(ErrorCode::BadField, "you cannot block yourself");
const TOO_MANY_FRIENDS: ErrorReply =
    ErrorReply(ErrorCode::RateLimited, "one of you has as many friends as are allowed");

/// The other user of the pair, if `me` may make this request.
pub(super) fn other_of<'a, 'b>(
    verb: FriendVerb,
    me: &UserName,
    sender: &'a UserNameRef<'b>,
    receiver: &'a UserNameRef<'b>,
) -> Result<&'a UserNameRef<'b>, ErrorReply> {
    let (mine, other) = match verb {
        FriendVerb::Request | FriendVerb::Delete => (sender, receiver),
        // An answer repeats the sender and receiver of the request.
        FriendVerb::Accept | FriendVerb::Reject => (receiver, sender),
    };
    if me.as_str() != mine.as_str() {
        return Err(NOT_YOU);
    }
    if mine == other && verb == FriendVerb::Request {
        return Err(YOURSELF);
    }
    // An old account may have the reserved name.
    let is_system = [me.as_str(), other.as_str()].contains(&RESERVED_NAME);
    match verb {
        FriendVerb::Request if is_system => Err(NOBODY),
        FriendVerb::Accept if is_system => Err(NOT_ASKED),
        _ => Ok(other),
    }
}

/// May `me` block or unblock this user?
pub(super) fn may_block(me: &UserName, other: &UserNameRef<'_>, blocks: bool) -> Result<(), ErrorReply> {
    match other.as_str() {
        name if name == me.as_str() => Err(NOT_BLOCKED_YOURSELF),
        // Notices of the operator cannot be blocked.
        RESERVED_NAME if blocks => Err(NOBODY),
        _ => Ok(()),
    }
}

/// The fault of an operation with a user whose account is gone; `None`: there is nothing to do, and
/// it succeeds.
pub(super) fn of_deleted(verb: PairVerb) -> Option<ErrorReply> {
    match verb {
        PairVerb::Request | PairVerb::Block | PairVerb::Unblock => Some(NOBODY),
        PairVerb::Accept | PairVerb::Reject => Some(NOT_ASKED),
        PairVerb::Delete => None,
    }
}

/// The kind of push to the other user.
pub(super) fn push_kind(verb: PairVerb) -> Option<PushKind> {
    match verb {
        PairVerb::Request => Some(PushKind::FriendRequest),
        PairVerb::Accept => Some(PushKind::FriendAccept),
        PairVerb::Reject => Some(PushKind::FriendReject),
        PairVerb::Delete | PairVerb::Block | PairVerb::Unblock => None,
    }
}

/// The meaning of the store's outcome for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FriendOpStoreOutcomeMeaning {
    /// The job failed, or its outcome is unknown.
    Unknown,
    /// The outcome shows only in whether the two are friends now: read that.
    ReadBack,
    /// The outcome is known.
    Known(FriendEffects),
}

/// The effects of a finished operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FriendEffects {
    /// The time of the request, or why it was not done.
    pub(super) answer: Result<u64, ErrorReply>,
    /// Whether the two are friends from now on; `None`: unchanged.
    pub(super) friends: Option<bool>,
    /// Friend requests of this user are removed from the other user's list.
    pub(super) removes_requests_of_me: bool,
    /// Friend requests of the other user are removed from this user's list.
    pub(super) removes_requests_of_other: bool,
    pub(super) push: FriendOpPushFate,
    /// It is not known whether the two are friends: their friends are read again.
    pub(super) leaves_doubt: bool,
}

/// Where the operation's push is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FriendOpPushFate {
    /// Not in the store, or delivered by an earlier operation.
    Dropped,
    /// In the store, to be delivered.
    Kept,
    /// Not known: it must be searched.
    Unknown,
}

impl FriendEffects {
    /// An answer without other effects.
    pub(super) fn answer(answer: Result<u64, ErrorReply>) -> Self {
        Self {
            answer,
            friends: None,
            removes_requests_of_me: false,
            removes_requests_of_other: false,
            push: FriendOpPushFate::Dropped,
            leaves_doubt: false,
        }
    }

    /// The outcome is not known, and the operation is not tried again.
    pub(super) fn of_abandoned_op(op: &RunningFriendOp) -> Self {
        Self { push: FriendOpPushFate::Unknown, leaves_doubt: op.changes_friends(), ..Self::answer(Err(UNAVAILABLE)) }
    }
}

/// An earlier try may have been committed before the accounts or the store changed: then a refusal
/// of the last try says nothing about its push. (Before it says that no request is pending, the
/// store has looked for the push.)
fn after_failed_tries(op: &RunningFriendOp, effects: FriendEffects) -> FriendEffects {
    match effects.answer {
        Err(fault) if op.failed > 0 && fault != NOT_ASKED => {
            FriendEffects { push: FriendOpPushFate::Unknown, ..effects }
        }
        _ => effects,
    }
}

/// Decides what this outcome means for an operation between its user and `other`.
pub(super) fn interpret_friend_outcome(
    op: &RunningFriendOp,
    other: &UserName,
    outcome: &JobOutcome,
) -> FriendOpStoreOutcomeMeaning {
    let (done, refused) = (FriendEffects::answer(Ok(op.time_ms)), |fault| FriendEffects::answer(Err(fault)));
    // The two are friends: requests of the user who accepted are removed from the other user's
    // list.
    let new_friends = FriendEffects { friends: Some(true), removes_requests_of_me: true, ..done };
    let effects = match outcome {
        JobOutcome::Failed => return FriendOpStoreOutcomeMeaning::Unknown,
        JobOutcome::Asked(FriendRequestOutcome::Pending) => FriendEffects { push: FriendOpPushFate::Kept, ..done },
        JobOutcome::Asked(FriendRequestOutcome::AlreadyPending { time_ms }) => FriendEffects::answer(Ok(*time_ms)),
        JobOutcome::Asked(FriendRequestOutcome::AlreadyFriends) => FriendEffects { friends: Some(true), ..done },
        JobOutcome::Asked(FriendRequestOutcome::NoSuchUser) => refused(NOBODY),
        JobOutcome::Asked(FriendRequestOutcome::TooMany) => refused(TOO_MANY_REQUESTS),
        JobOutcome::Asked(FriendRequestOutcome::Hidden) => done,
        JobOutcome::Asked(FriendRequestOutcome::YouBlock) => refused(YOU_BLOCK),
        JobOutcome::Asked(FriendRequestOutcome::Full(_)) | JobOutcome::Answered(FriendAnswerOutcome::Full(_)) => {
            refused(FULL)
        }
        JobOutcome::Answered(FriendAnswerOutcome::Done) if op.verb == PairVerb::Accept => {
            FriendEffects { push: FriendOpPushFate::Kept, ..new_friends }
        }
        JobOutcome::Answered(FriendAnswerOutcome::Done) => FriendEffects { push: FriendOpPushFate::Kept, ..done },
        // An earlier try may have been committed and its push acked: then only the friendship shows
        // the outcome.
        JobOutcome::Answered(FriendAnswerOutcome::NoSuchRequest) if op.may_have_befriended() => {
            return FriendOpStoreOutcomeMeaning::ReadBack;
        }
        JobOutcome::Answered(FriendAnswerOutcome::NoSuchRequest) => refused(NOT_ASKED),
        JobOutcome::Answered(FriendAnswerOutcome::TooManyFriends) => refused(TOO_MANY_FRIENDS),
        // The request that was pending is withdrawn, perhaps by a try that failed afterwards.
        JobOutcome::Unfriended => FriendEffects { friends: Some(false), removes_requests_of_me: true, ..done },
        JobOutcome::Account(outcome) => match &**outcome {
            // No request in either direction is pending that the two could see.
            OwnAccountStoreJobOutcome::Blocked { .. } if op.verb == PairVerb::Block => FriendEffects {
                friends: Some(false),
                removes_requests_of_me: true,
                removes_requests_of_other: true,
                ..done
            },
            OwnAccountStoreJobOutcome::Blocked { .. } => done,
            // An earlier try may have blocked them, before their account was deleted.
            OwnAccountStoreJobOutcome::NoSuchUser => {
                FriendEffects { leaves_doubt: op.failed > 0 && op.changes_friends(), ..refused(NOBODY) }
            }
            OwnAccountStoreJobOutcome::TooMany => refused(TOO_MANY_BLOCKED),
            _ => refused(UNAVAILABLE),
        },
        JobOutcome::Loaded { friends, .. } if friends.contains(other) => {
            // If nobody knew it when this operation began, an older one may have made them friends.
            FriendEffects {
                answer: if op.friends_were_unknown { Err(NOT_ASKED) } else { Ok(op.time_ms) },
                ..new_friends
            }
        }
        JobOutcome::Loaded { .. } => refused(NOT_ASKED),
        // An earlier try may have done it: a retry would not tell.
        JobOutcome::Refused | JobOutcome::TooLarge => {
            FriendEffects { leaves_doubt: op.failed > 0 && op.changes_friends(), ..refused(fault_of(outcome)) }
        }
        _ => refused(fault_of(outcome)),
    };
    FriendOpStoreOutcomeMeaning::Known(after_failed_tries(op, effects))
}

#[cfg(test)]
mod tests;
