//! The table of blocked users, as each store provides it. The rules are in `friendship.rs`
//! (requests) and `account_job.rs`.

use super::StoreError;
use crate::protocol::field::UserName;

/// The table of blocked users: reads and writes without a rule. They are part of a
/// [`StoreConnection`](super::StoreConnection)'s transaction.
pub trait BlockedUserRepository {
    /// All users whom a user blocks, in byte order of the names.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn of_user(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError>;
    /// Adds a block. Does nothing if it exists already.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn add(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError>;
    /// Removes a block. Does nothing if there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn remove(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError>;
    /// Removes some of the blocks by and of a user, at most `rows_max` in each direction; gives the
    /// number of removed ones.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn remove_blocks(&mut self, user: &UserName, rows_max: u32) -> Result<u64, StoreError>;
    /// The pushes of hidden requests as (receiver, `seq`), at most `rows_max`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn hidden_pushes(&mut self, rows_max: u32) -> Result<Vec<(UserName, u64)>, StoreError>;
}
