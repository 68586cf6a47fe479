//! What users ask about their own accounts and the store, or a worker that hashes, works on.

use super::contract::{CredentialKind, Ticket};
use crate::protocol::field::{Secret, UserName};
use crate::protocol::request::Verb;

/// A roster is so many rows, so it counts as so many reads of one.
const ROSTER_READS: u32 = 4;

/// What a proof of who somebody is, is for.
#[derive(Debug)]
pub(super) enum Aim {
    /// To log in, by a credential of this kind.
    LogIn(CredentialKind),
    /// The user is logged in, and wants this password.
    ChangePassword(Secret),
    /// The user is logged in, and wants the account to end.
    DeleteAccount,
}

/// A job for a user about their own account.
#[derive(Debug)]
pub(super) struct OwnJob {
    pub(super) request: Ticket,
    pub(super) user: UserName,
    /// The TYPE of the request.
    pub(super) verb: Verb,
}

impl OwnJob {
    /// As how many reads it counts in its user's share of the store.
    pub(super) fn reads(&self) -> u32 {
        if self.verb == Verb::Roster { ROSTER_READS } else { 1 }
    }
}

/// A new password that is to be hashed, and then stored.
#[derive(Debug)]
pub(super) struct NewPassword {
    pub(super) request: Ticket,
    pub(super) user: UserName,
    /// What the old one was compared with; `None` if it was verified before.
    pub(super) old_hash: Option<Secret>,
}
