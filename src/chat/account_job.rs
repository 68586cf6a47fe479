//! The jobs that users cause when they read or change their own account, and the outcomes.

pub use crate::protocol::account::{ProfileChange, RosterReply, RosterReplyFriend, RosterReplyFriendRequest};
use crate::protocol::field::{Secret, UserName};

/// Work for a user about their own account, in their data lane unless it says otherwise.
#[derive(Clone, Debug)]
pub enum OwnAccountStoreJob {
    /// Read their friends, in byte order of the names, and the pending requests. →
    /// [`OwnAccountStoreJobOutcome::Roster`]
    Roster {
        /// Only friends whose names follow this one, and no requests; `None`: from the start, with
        /// the requests.
        after: Option<UserName>,
        /// The largest number of friends, and of requests in each direction.
        rows_max: u32,
        /// The largest size of the requests' texts in each direction, in bytes. The request that
        /// exceeds it is the last one.
        bytes_max: usize,
    },
    /// Change their profile. → [`OwnAccountStoreJobOutcome::Changed`]
    ChangeProfile(ProfileChange),
    /// Store a new password hash and delete the user's tokens, if the stored hash is still the one
    /// with which their old password was compared. → [`OwnAccountStoreJobOutcome::Changed`] or
    /// `Stale`
    ChangePassword {
        /// The stored hash of the old password; `None`: do not compare.
        old_hash: Option<Secret>,
        /// The hash of the new password.
        new_hash: Secret,
    },
    /// In the data lane of `other`: block them. Ends the friendship, removes the pending request of
    /// the user to `other` with its push, and hides the pending request of `other` to the user. The
    /// push of the hidden request stays: it is in the user's mailbox, which another lane counts. →
    /// [`OwnAccountStoreJobOutcome::Blocked`], `NoSuchUser` or `TooMany`
    Block {
        /// The user to block.
        other: UserName,
        /// The largest number of users whom one user may block. Beyond it nothing is changed.
        blocked_max: u32,
    },
    /// Unblock a user, and delete their hidden request with its push. Does nothing if they are not
    /// blocked. → [`OwnAccountStoreJobOutcome::Blocked`]
    Unblock {
        /// The user who was blocked.
        other: UserName,
    },
    /// List all users that the user blocks. → [`OwnAccountStoreJobOutcome::Blocked`]
    Blocked,
}

impl OwnAccountStoreJob {
    /// Does this job only read from the store?
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Roster { .. } | Self::Blocked)
    }

    /// The user whose data lane it belongs to; `None`: the user's own lane.
    #[must_use]
    pub fn lane(&self) -> Option<&UserName> {
        match self {
            Self::Block { other, .. } => Some(other),
            _ => None,
        }
    }

    /// The other user of a job about two users.
    #[must_use]
    pub fn other(&self) -> Option<&UserName> {
        match self {
            Self::Block { other, .. } | Self::Unblock { other } => Some(other),
            _ => None,
        }
    }
}

/// The outcome of a completed [`OwnAccountStoreJob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnAccountStoreJobOutcome {
    /// There is no such account.
    NoSuchUser,
    /// `ChangeProfile`, `ChangePassword`: it is changed.
    Changed,
    /// `ChangePassword`: the stored hash has changed in the meantime; nothing was changed.
    Stale,
    /// `Block`: the user blocks too many users already; nothing was changed.
    TooMany,
    /// `Block`, `Unblock`, `Blocked`: the users who are blocked now.
    Blocked {
        /// All users whom the user blocks now, in byte order.
        names: Vec<UserName>,
        /// `Block`: the `seq` of the push of the hidden request; a repeated `Block` gives it again.
        /// If the user has not acked that push, it still waits for them, and the core must delete
        /// it. `Unblock` and the start of a server delete those that remain. `Unblock`: the `seq`
        /// of the push of the deleted request.
        hidden_push: Option<u64>,
    },
    /// `Roster`.
    Roster(RosterReply),
}

impl OwnAccountStoreJobOutcome {
    /// The approximate memory that its lists take, in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::NoSuchUser | Self::Changed | Self::Stale | Self::TooMany => 0,
            Self::Blocked { names, .. } => size_of_val(&**names),
            Self::Roster(roster) => {
                let friends: usize = roster.friends.iter().map(|f| f.nick_name.len() + f.profile_picture.len()).sum();
                let requests = roster.incoming.iter().chain(&roster.outgoing);
                size_of_val(&*roster.friends)
                    + friends
                    + requests.map(|r| size_of_val(r) + r.message_id.len() + r.content.len()).sum::<usize>()
            }
        }
    }
}
