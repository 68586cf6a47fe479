//! The operator's requests that wait for a job.

use super::contract::{AdminTicket, StoredPushWithoutText};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;

/// A request of an operator whose job is in flight.
#[derive(Debug)]
pub(super) struct RunningAdminOp {
    /// The user it is about.
    pub(super) user: UserName,
    pub(super) step: AdminJobPurpose,
}

/// The task of its job.
#[derive(Debug)]
pub(super) enum AdminJobPurpose {
    /// Looks at the account.
    Look {
        ticket: AdminTicket,
        /// The `seq` of pushes in memory that may not be in the store.
        unsaved_seqs: Vec<u64>,
    },
    /// Looks for pushes under an id.
    Find { ticket: AdminTicket, id: Box<str>, found: Vec<StoredPushWithoutText> },
    /// Bans the user, or lifts the ban.
    SetBanned { ticket: AdminTicket, is_banned: bool },
    /// Hashes their new password, or stores the hash.
    SetPassword { ticket: AdminTicket },
    /// Stores a notice; without a ticket it is part of a notice to all users.
    Notice { ticket: Option<AdminTicket>, push: Push },
    /// One step of the deletion of their account.
    Delete,
    /// Reads names for a notice to all users.
    Names {
        /// Its id.
        notice: Box<str>,
    },
}
