//! An operation on the friendship of two users: while it waits for its turn, and from then on.

use super::contract::Ticket;
use super::ids::UserId;
use crate::protocol::push::Push;
use crate::protocol::request::FriendVerb;

/// Two users, whichever of them says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pair(UserId, UserId);

impl Pair {
    pub(super) fn of(one: UserId, other: UserId) -> Self {
        Self(one.min(other), one.max(other))
    }

    pub(super) fn has(self, user: UserId) -> bool {
        self.0 == user || self.1 == user
    }
}

/// What one of them asks for.
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

/// One that waits for the one before, about the same pair.
#[derive(Debug)]
pub(super) struct QueuedFriendOp {
    pub(super) request: Ticket,
    pub(super) verb: PairVerb,
    pub(super) id: Box<str>,
    pub(super) content: Box<str>,
    /// Who said it. Both are counted as references.
    pub(super) me: UserId,
    pub(super) other: UserId,
}

impl QueuedFriendOp {
    pub(super) fn pair(&self) -> Pair {
        Pair::of(self.me, self.other)
    }

    pub(super) fn weight_bytes(&self) -> usize {
        size_of::<Self>() + self.id.len() + self.content.len()
    }

    /// References held by it.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> [UserId; 2] {
        [self.me, self.other]
    }
}

/// One that was begun: the store is working on it, or its outcome is not known.
#[derive(Debug)]
pub(super) struct RunningOp {
    pub(super) request: Ticket,
    pub(super) verb: PairVerb,
    /// Who said it. Both are counted as references.
    pub(super) me: UserId,
    pub(super) other: UserId,
    pub(super) time_ms: u64,
    pub(super) push: Option<Push>,
    /// They were friends already when it began: then no request can have been pending, and nothing
    /// was accepted.
    pub(super) were_friends: bool,
    /// It was not known whether they were when it began: that they are now does not tell who made
    /// them so.
    pub(super) began_in_doubt: bool,
    /// How often it was tried in vain.
    pub(super) failed: u32,
    /// All that is left to learn is whether they are friends.
    pub(super) reads_back: bool,
}

impl RunningOp {
    pub(super) fn pair(&self) -> Pair {
        Pair::of(self.me, self.other)
    }

    /// May it have changed whether the two are friends?
    pub(super) fn changes_friends(&self) -> bool {
        matches!(self.verb, PairVerb::Accept | PairVerb::Delete | PairVerb::Block)
    }

    /// May a try that failed have made them friends?
    pub(super) fn may_have_befriended(&self) -> bool {
        self.verb == PairVerb::Accept && self.failed > 0 && !self.were_friends
    }

    /// Does this one say the same?
    pub(super) fn is_repeated_by(&self, op: &QueuedFriendOp) -> bool {
        (self.me, self.other, self.verb) == (op.me, op.other, op.verb)
            && self.push.as_ref().is_none_or(|push| push.id() == &*op.id)
    }

    /// In whose share it counts.
    pub(super) fn who_asked(&self) -> UserId {
        self.me
    }

    pub(super) fn weight_bytes(&self) -> usize {
        self.push.as_ref().map_or(0, Push::weight_bytes)
    }

    /// References held by it.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> [UserId; 2] {
        [self.me, self.other]
    }
}
