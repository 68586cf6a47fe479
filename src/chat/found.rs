//! Answers of the store that need more than one word.

use crate::protocol::push::Push;

/// Some of the pushes that wait for a user, in ascending order of `seq`.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The pushes.
    pub pushes: Vec<Push>,
    /// Are there more behind these?
    pub more: bool,
}

/// The outcome of a friend request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is pending, and its push is kept.
    Pending,
    /// A request of the same user to the same user was pending: nothing was changed. It may be this
    /// very one, whose push was acked since.
    AlreadyPending {
        /// When that one was taken, in ms since the epoch.
        time_ms: u64,
    },
    /// They are friends already: nothing was changed.
    AlreadyFriends,
    /// There is no such user.
    NoSuchUser,
    /// Too many requests of the asking user, or to the asked user, are pending: nothing was
    /// changed.
    TooMany,
    /// The push would exceed this quota of the asked user's mailbox: nothing was changed.
    Full(Quota),
    /// The asked user blocks the asking one: it is pending, and nobody but the asking user will
    /// ever know. There is no push.
    Hidden,
    /// The asking user blocks the asked one: nothing was changed.
    YouBlock,
}

/// A quota of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Of all that waits for the receiver.
    Receiver,
    /// Of what one sender has there.
    Pair,
}

/// The outcome of the answer to a friend request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It was pending and is answered now; the push is kept.
    Done,
    /// No such request is pending: nothing was changed.
    NoSuchRequest,
    /// One of the two has as many friends as are allowed: nothing was changed, the request is still
    /// pending.
    TooManyFriends,
    /// The push would exceed this quota of the asking user's mailbox: nothing was changed, the
    /// request is still pending.
    Full(Quota),
}
