//! What the store does for a user who looks after their own account, and what it answers.

pub use crate::protocol::account::{PendingEntry, ProfileChange, Roster, RosterFriend};
use crate::protocol::field::{Secret, UserName};

/// Work for a user about their own account, in their data lane unless it says otherwise.
#[derive(Clone, Debug)]
pub enum AccountJob {
    /// Their friends, in byte order of the names, and the requests that are pending.
    /// → [`AccountOutcome::Roster`]
    Roster {
        /// Only friends behind this one, and no requests; `None`: from the start, with the
        /// requests.
        after: Option<UserName>,
        /// The largest number of friends, and of requests each way.
        rows_max: u32,
        /// The largest size of the requests' texts each way, in bytes; the one that goes beyond is
        /// the last.
        bytes_max: usize,
    },
    /// Change their profile. → [`AccountOutcome::Changed`]
    ChangeProfile(ProfileChange),
    /// Give them another password, and forget their tokens, if the stored hash is still the one
    /// that their old password was compared with. → [`AccountOutcome::Changed`] or `Stale`
    ChangePassword {
        /// What was stored of the old password; `None`: do not compare.
        old_hash: Option<Secret>,
        /// What is stored of the new one.
        new_hash: Secret,
    },
    /// In the data lane of `other`: block them. Ends the friendship, removes what the user asked
    /// them with its push, and hides what they asked the user. The push of that stays: it is in the
    /// user's mailbox, which is counted in another lane. → [`AccountOutcome::Blocked`],
    /// `NoSuchUser` or `TooMany`
    Block {
        /// The user to block.
        other: UserName,
        /// Blocked users of one user, beyond which nothing is done.
        blocked_max: u32,
    },
    /// In the data lane of `other`: block them no longer, and forget what they asked meanwhile; no
    /// matter if they were not blocked. → [`AccountOutcome::Blocked`]
    Unblock {
        /// The user who was blocked.
        other: UserName,
    },
    /// All whom they block. → [`AccountOutcome::Blocked`]
    Blocked,
}

impl AccountJob {
    /// Does it change nothing in the store?
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Roster { .. } | Self::Blocked)
    }

    /// Whose data lane it belongs to, if not the user's own.
    #[must_use]
    pub fn other(&self) -> Option<&UserName> {
        match self {
            Self::Block { other, .. } | Self::Unblock { other } => Some(other),
            _ => None,
        }
    }
}

/// The outcome of an [`AccountJob`] that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountOutcome {
    /// There is no such account.
    NoSuchUser,
    /// `ChangeProfile`, `ChangePassword`: it is changed.
    Changed,
    /// `ChangePassword`: another password is stored by now; nothing was changed.
    Stale,
    /// `Block`: too many are blocked; nothing was changed.
    TooMany,
    /// `Block`, `Unblock`, `Blocked`.
    Blocked {
        /// All whom the user blocks now, in byte order.
        names: Vec<UserName>,
        /// `Block`: the number of the push of the request that is hidden now, each time that this
        /// is asked. If it was not acked before, it waits for the user: the core is to delete it.
        /// A server that starts deletes such pushes, too.
        hidden_push: Option<u64>,
    },
    /// `Roster`.
    Roster(Roster),
}

impl AccountOutcome {
    /// The bytes of memory that its lists stand for, about.
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
