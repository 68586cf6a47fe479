//! Friends and pending requests as a user is shown them: what a store reads for that.

use super::StoreError;
use crate::chat::contract::{PendingEntry, RosterFriend};
use crate::protocol::field::UserName;

/// Reads for a user's roster. They are part of a [`Store`](super::Store)'s transaction.
pub trait Rosters {
    /// A user's friends behind this name, in byte order, so many at most.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn friends_after(
        &mut self,
        user: &UserName,
        after: Option<&UserName>,
        rows_max: u32,
    ) -> Result<Vec<RosterFriend>, StoreError>;
    /// The requests to a user that are pending and not hidden, in ascending order of the `seq` of
    /// their pushes, so many at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn incoming(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<PendingEntry>, StoreError>;
    /// The requests of a user that are pending, hidden or not; the same otherwise.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn outgoing(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<PendingEntry>, StoreError>;
}
