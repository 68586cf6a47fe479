//! Requests of users about their own accounts that wait for a job.

use super::contract::{CredentialKind, JobTicket};
use crate::protocol::field::{Secret, UserName};
use crate::protocol::request::RequestType;

/// A roster reads many rows, so it counts as this many reads.
const ROSTER_READS: u32 = 4;

/// The purpose of a proof or log-in.
#[derive(Debug)]
pub(super) enum CredentialCheckPurpose {
    /// To log in, by a credential of this kind.
    LogIn(CredentialKind),
    /// The user is logged in, and wants this password.
    ChangePassword(Secret),
    /// The user is logged in, and wants to delete the account.
    DeleteAccount,
}

/// A job for a user about their own account.
#[derive(Debug)]
pub(super) struct OwnAccountRequestAwaitingJob {
    pub(super) request: JobTicket,
    pub(super) user: UserName,
    /// The TYPE of the request.
    pub(super) request_type: RequestType,
}

impl OwnAccountRequestAwaitingJob {
    /// The number of reads as which it counts in its user's load.
    pub(super) fn reads(&self) -> u32 {
        if self.request_type == RequestType::Roster { ROSTER_READS } else { 1 }
    }
}

/// A new password that must be hashed and then stored.
#[derive(Debug)]
pub(super) struct PendingPasswordChange {
    pub(super) request: JobTicket,
    pub(super) user: UserName,
    /// The stored hash with which the old password was compared; `None` if it was verified before.
    pub(super) old_hash: Option<Secret>,
}
