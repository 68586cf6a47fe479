//! What the store does for an operator's request, and what it answers.

use super::found::Quota;
use crate::protocol::field::{Secret, UserName};
use crate::protocol::push::{Push, PushKind};

/// Work for an operator about one user, in their data lane.
#[derive(Clone, Debug)]
pub enum AdminJob {
    /// What is stored of them, at most so many rows. → [`AdminOutcome::Account`]
    Look {
        /// The largest number of pushes that are counted.
        rows_max: u32,
    },
    /// The pushes to them that have this id. → [`AdminOutcome::Found`]
    FindPushes {
        /// The id.
        id: Box<str>,
        /// Only pushes with a greater `seq`.
        after_seq: u64,
        /// The largest number of pushes that are looked at.
        rows_max: u32,
    },
    /// Keep a push to them, if there is such an account and room. Saving it twice is the same as
    /// once. → [`AdminOutcome::Done`] or [`AdminOutcome::Full`]
    Notice {
        /// The push.
        push: Push,
    },
    /// Refuse their log-ins from now on, or do so no longer, and forget their tokens.
    /// → [`AdminOutcome::Done`]
    SetBanned {
        /// Refuse them.
        is_banned: bool,
    },
    /// Give them another password, and forget their tokens. → [`AdminOutcome::Done`]
    SetPassword {
        /// What is stored of it.
        password_hash: Secret,
    },
    /// Delete the account, or go on with that: one step. → [`AdminOutcome::Deleting`] or, when
    /// nothing is left, [`AdminOutcome::Done`]
    Delete {
        /// The largest number of rows of one step.
        rows_max: u32,
    },
    /// The names of all accounts, some at a time. It is about no user, so its lane does not matter.
    /// → [`AdminOutcome::Accounts`]
    Accounts {
        /// Only names behind this one.
        after: Option<UserName>,
        /// The largest number of them.
        rows_max: u32,
    },
}

impl AdminJob {
    /// Does it change nothing in the store?
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Look { .. } | Self::FindPushes { .. } | Self::Accounts { .. })
    }
}

/// The outcome of an [`AdminJob`] that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminOutcome {
    /// There is no such account.
    NoSuchUser,
    /// It is done.
    Done,
    /// `Notice`: there is no room for it.
    Full(Quota),
    /// `Look`.
    Account {
        /// Their log-ins are refused.
        is_banned: bool,
        /// The numbers of the pushes that wait for them, ascending.
        seqs: Vec<u64>,
        /// There are more behind these.
        more: bool,
    },
    /// `FindPushes`.
    Found {
        /// In ascending order of `seq`.
        pushes: Vec<StoredPush>,
        /// Where to go on, if there are more rows.
        next: Option<u64>,
    },
    /// `Delete`: something is left. Those pairs are no friends, and nothing that the first asked of
    /// the second is pending, before the next step.
    Deleting {
        /// The deleted user is one of each.
        pairs: Vec<(UserName, UserName)>,
    },
    /// `Accounts`.
    Accounts {
        /// In byte order.
        names: Vec<UserName>,
        /// There are more behind these.
        more: bool,
    },
}

/// A push in the store, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPush {
    /// Its number.
    pub seq: u64,
    /// Its sender.
    pub sender: UserName,
    /// Its kind.
    pub kind: PushKind,
    /// When it was taken, in ms since the epoch.
    pub time_ms: u64,
}

impl AdminOutcome {
    /// The bytes of memory that its lists stand for, about.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::Account { seqs, .. } => size_of_val(&**seqs),
            Self::Found { pushes, .. } => size_of_val(&**pushes),
            Self::Deleting { pairs } => size_of_val(&**pairs),
            Self::Accounts { names, .. } => size_of_val(&**names),
            Self::NoSuchUser | Self::Done | Self::Full(_) => 0,
        }
    }
}
