//! Results of store jobs that have several cases or parts.

use crate::protocol::push::Push;

/// Some of the pushes that wait for a user, in ascending order of `seq`.
#[derive(Clone, Debug, Default)]
pub struct PushPage {
    /// The pushes.
    pub pushes: Vec<Push>,
    /// Do more pushes follow?
    pub has_more: bool,
}

/// The outcome of a friend request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FriendRequestOutcome {
    /// It is pending, and its push is stored.
    Pending,
    /// A request between these two users, in this direction, was pending already: nothing was
    /// changed. It may be this very request, whose push was acked in the meantime.
    AlreadyPending {
        /// When the pending request was taken, in ms since the epoch.
        time_ms: u64,
    },
    /// They are friends already: nothing was changed.
    AlreadyFriends,
    /// There is no such user.
    NoSuchUser,
    /// Too many requests from the asking user, or to the asked user, are pending: nothing was
    /// changed.
    TooMany,
    /// The push would exceed this quota of the asked user's mailbox: nothing was changed.
    Full(MailboxQuotaKind),
    /// The asked user blocks the asking user: the request is hidden. It is pending for the asking
    /// user only, and there is no push.
    Hidden,
    /// The asking user blocks the asked user: nothing was changed.
    YouBlock,
}

/// A quota of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxQuotaKind {
    /// The quota for everything that waits for the receiver.
    Receiver,
    /// The quota for the pushes of one sender to one receiver.
    Pair,
}

/// The outcome of the answer to a friend request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FriendAnswerOutcome {
    /// The request was pending and is answered now; the push is stored.
    Done,
    /// No such request is pending: nothing was changed.
    NoSuchRequest,
    /// One of the two users has the largest number of friends: nothing was changed, the request is
    /// still pending.
    TooManyFriends,
    /// The push would exceed this quota of the asking user's mailbox: nothing was changed, the
    /// request is still pending.
    Full(MailboxQuotaKind),
}
