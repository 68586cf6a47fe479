//! Operations on the friendship of two users: queued ones and running ones.

use super::contract::JobTicket;
use super::ids::UserSlot;
use crate::protocol::push::Push;
use crate::protocol::request::FriendVerb;

/// A pair of users. Their order does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct UnorderedUserPair(UserSlot, UserSlot);

impl UnorderedUserPair {
    pub(super) fn of(one: UserSlot, other: UserSlot) -> Self {
        Self(one.min(other), one.max(other))
    }

    pub(super) fn has(self, user: UserSlot) -> bool {
        self.0 == user || self.1 == user
    }
}

/// The operation that one of the two asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PairVerb {
    Request,
    Accept,
    Reject,
    Delete,
    Block,
    Unblock,
}

impl From<FriendVerb> for PairVerb {
    fn from(verb: FriendVerb) -> Self {
        match verb {
            FriendVerb::Request => Self::Request,
            FriendVerb::Accept => Self::Accept,
            FriendVerb::Reject => Self::Reject,
            FriendVerb::Delete => Self::Delete,
        }
    }
}

/// An operation that waits for an earlier one of the same pair.
#[derive(Debug)]
pub(super) struct QueuedFriendOp {
    pub(super) request: JobTicket,
    pub(super) verb: PairVerb,
    pub(super) id: Box<str>,
    pub(super) content: Box<str>,
    /// The user who asks. The operation retains both users.
    pub(super) me: UserSlot,
    pub(super) other: UserSlot,
}

impl QueuedFriendOp {
    pub(super) fn pair(&self) -> UnorderedUserPair {
        UnorderedUserPair::of(self.me, self.other)
    }

    pub(super) fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.content.len()
    }

    /// The references that it has.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> [UserSlot; 2] {
        [self.me, self.other]
    }
}

/// An operation that has begun: its job is in flight, or its outcome is not known.
#[derive(Debug)]
pub(super) struct RunningFriendOp {
    pub(super) request: JobTicket,
    pub(super) verb: PairVerb,
    /// The user who asks. The operation retains both users.
    pub(super) me: UserSlot,
    pub(super) other: UserSlot,
    pub(super) time_ms: u64,
    pub(super) push: Option<Push>,
    /// The two were friends when it began. Then no request can have been pending, so this operation
    /// has not accepted one.
    pub(super) were_friends: bool,
    /// It was not known whether the two were friends when it began: the friendship was in doubt,
    /// or its user was offline. If they are friends now, an earlier operation may be the cause.
    pub(super) friends_were_unknown: bool,
    /// The number of failed tries.
    pub(super) failed: u32,
    /// It only reads whether the two are friends.
    pub(super) only_reads: bool,
}

impl RunningFriendOp {
    pub(super) fn pair(&self) -> UnorderedUserPair {
        UnorderedUserPair::of(self.me, self.other)
    }

    /// Can this operation change whether the two are friends?
    pub(super) fn changes_friends(&self) -> bool {
        matches!(self.verb, PairVerb::Accept | PairVerb::Delete | PairVerb::Block)
    }

    /// May a failed try have made the two friends?
    pub(super) fn may_have_befriended(&self) -> bool {
        self.verb == PairVerb::Accept && self.failed > 0 && !self.were_friends
    }

    /// Is the queued operation a repetition of this one?
    pub(super) fn is_repeated_by(&self, op: &QueuedFriendOp) -> bool {
        (self.me, self.other, self.verb) == (op.me, op.other, op.verb)
            && self.push.as_ref().is_none_or(|push| push.id() == &*op.id)
    }

    /// The operation counts in the load in flight of this user.
    pub(super) fn charged_user(&self) -> UserSlot {
        self.me
    }

    pub(super) fn weight_bytes(&self) -> usize {
        self.push.as_ref().map_or(0, Push::weight_bytes)
    }

    /// The references that it has.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> [UserSlot; 2] {
        [self.me, self.other]
    }
}
