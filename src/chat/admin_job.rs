//! The jobs for the operator's requests, and their outcomes.

use super::job_results::MailboxQuotaKind;
use crate::protocol::field::{Secret, UserName};
use crate::protocol::push::{Push, PushKind};

/// Work for an operator about one user, in their data lane.
#[derive(Clone, Debug)]
pub enum AdminStoreJob {
    /// Read the account, and count at most `rows_max` of the user's waiting pushes. →
    /// [`AdminStoreJobOutcome::Account`]
    Look {
        /// The largest number of pushes that are counted.
        rows_max: u32,
    },
    /// The pushes to them that have this id. → [`AdminStoreJobOutcome::Found`]
    FindPushes {
        /// The id.
        id: Box<str>,
        /// Only pushes with a greater `seq`.
        after_seq: u64,
        /// The largest number of pushes that are examined.
        rows_max: u32,
    },
    /// Store a push to the user, if the account exists and the mailbox has room. Storing it twice
    /// has the same effect as once. → [`AdminStoreJobOutcome::Done`] or
    /// [`AdminStoreJobOutcome::Full`]
    Notice {
        /// The push.
        push: Push,
    },
    /// Ban the user or lift the ban, and delete their tokens. → [`AdminStoreJobOutcome::Done`]
    SetBanned {
        /// Ban the user; otherwise lift the ban.
        is_banned: bool,
    },
    /// Store another password hash, and delete the user's tokens. → [`AdminStoreJobOutcome::Done`]
    SetPassword {
        /// The hash of the new password.
        password_hash: Secret,
    },
    /// Do one step of the deletion of the account, the first one or the next one. →
    /// [`AdminStoreJobOutcome::Deleting`] or, when nothing is left, [`AdminStoreJobOutcome::Done`]
    Delete {
        /// The largest number of rows of one step.
        rows_max: u32,
    },
    /// Read the names of all accounts, page by page. It concerns no single user, so any lane will
    /// do. → [`AdminStoreJobOutcome::Accounts`]
    Accounts {
        /// Only names that follow this one in byte order.
        after: Option<UserName>,
        /// The largest number of names.
        rows_max: u32,
    },
}

impl AdminStoreJob {
    /// Does this job only read from the store?
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Look { .. } | Self::FindPushes { .. } | Self::Accounts { .. })
    }
}

/// The outcome of a completed [`AdminStoreJob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminStoreJobOutcome {
    /// There is no such account.
    NoSuchUser,
    /// It is done.
    Done,
    /// `Notice`: it would exceed this quota of the user's mailbox, and is not stored.
    Full(MailboxQuotaKind),
    /// `Look`: the account, and the pushes that wait.
    Account {
        /// Their log-ins are refused.
        is_banned: bool,
        /// The numbers of the pushes that wait for them, ascending.
        seqs: Vec<u64>,
        /// There are more behind these.
        has_more: bool,
    },
    /// `FindPushes`: the pushes with the id.
    Found {
        /// In ascending order of `seq`.
        pushes: Vec<StoredPushWithoutText>,
        /// The `after_seq` for the next job; `None`: there are no more rows.
        next: Option<u64>,
    },
    /// `Delete`: something is left. Before the next step, the core must end the friendship of each
    /// of these pairs, and withdraw what the first asked the second.
    Deleting {
        /// The deleted user is in every pair.
        pairs: Vec<(UserName, UserName)>,
    },
    /// `Accounts`: a page of names.
    Accounts {
        /// In byte order.
        names: Vec<UserName>,
        /// There are more behind these.
        has_more: bool,
    },
}

/// A push in the store, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPushWithoutText {
    /// Its number.
    pub seq: u64,
    /// Its sender.
    pub sender: UserName,
    /// Its kind.
    pub kind: PushKind,
    /// When it was taken, in ms since the epoch.
    pub time_ms: u64,
}

impl AdminStoreJobOutcome {
    /// The approximate memory that its lists take, in bytes.
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
