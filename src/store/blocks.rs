//! Whom a user blocks: a store has the table, and no rule. What blocking means is in
//! `friendship.rs` (requests) and `account_job.rs`.

use super::StoreError;
use crate::protocol::field::UserName;

/// The table of blocked users: reads and writes without a rule. They are part of a
/// [`Store`](super::Store)'s transaction.
pub trait Blocks {
    /// All whom a user blocks, in byte order of the names.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn of_user(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError>;
    /// A user blocks another from now on; nothing if that is so already.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn add(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError>;
    /// A user blocks another no longer; nothing if that is so already.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn remove(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError>;
    /// Forgets some of those whom a user blocks and who block the user, so many each way at most;
    /// gives how many they were.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn remove_some(&mut self, user: &UserName, rows_max: u32) -> Result<u64, StoreError>;
    /// The pushes of hidden requests, by receiver and `seq`, so many at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn hidden_pushes(&mut self, rows_max: u32) -> Result<Vec<(UserName, u64)>, StoreError>;
}
