//! An operation on a friendship that the store is working on, or whose outcome is not known.

use super::contract::Ticket;
use super::ids::UserId;
use crate::protocol::push::Push;
use crate::protocol::request::FriendVerb;

/// One that was begun.
#[derive(Debug)]
pub(super) struct RunningOp {
    pub(super) request: Ticket,
    pub(super) verb: FriendVerb,
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
    /// When it is tried again.
    pub(super) retry_at_ms: u64,
}

impl RunningOp {
    /// May it have changed whether the two are friends?
    pub(super) fn changes_friends(&self) -> bool {
        matches!(self.verb, FriendVerb::Accept | FriendVerb::Delete)
    }

    /// May a try that failed have made them friends?
    pub(super) fn may_have_befriended(&self) -> bool {
        self.verb == FriendVerb::Accept && self.failed > 0 && !self.were_friends
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
