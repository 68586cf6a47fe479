//! Accounts as their owners and the operator see them: a store has these tables, and no rule.

use super::StoreError;
use crate::chat::contract::{ProfileChange, StoredPush};
use crate::protocol::field::{Secret, UserName};

/// What is stored of an account beside its profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The hash of the password.
    pub password_hash: Secret,
    /// Log-ins are refused.
    pub is_banned: bool,
}

/// The states of an account, as numbers in its row.
pub(super) const ACTIVE: u8 = 0;
/// Log-ins are refused.
pub(super) const BANNED: u8 = 1;
/// It is gone, and its row keeps the name from being used again. To everybody else there is no such
/// account.
pub(super) const DELETED: u8 = 2;

/// The number for this state of an account that is there.
pub(super) fn state_of(is_banned: bool) -> u8 {
    if is_banned { BANNED } else { ACTIVE }
}

/// The table of accounts, and that of deletions which have begun: reads and writes without a rule.
/// They are part of a [`Store`](super::Store)'s transaction.
pub trait Accounts {
    /// The account of this name.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn account(&mut self, user: &UserName) -> Result<Option<Account>, StoreError>;
    /// Are there accounts of these two names?
    ///
    /// # Errors
    /// See [`StoreError`].
    fn are_there(&mut self, one: &UserName, other: &UserName) -> Result<[bool; 2], StoreError>;
    /// Bans an account, or takes that back; nothing if there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn set_banned(&mut self, user: &UserName, is_banned: bool) -> Result<(), StoreError>;
    /// Gives an account another password; nothing if there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn set_password(&mut self, user: &UserName, password_hash: &Secret) -> Result<(), StoreError>;
    /// Changes what is given of a profile; nothing if there is no such account.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn change_profile(&mut self, user: &UserName, change: &ProfileChange) -> Result<(), StoreError>;
    /// The names behind this one in byte order, so many at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn names(&mut self, after: Option<&UserName>, rows_max: u32) -> Result<Vec<UserName>, StoreError>;
    /// Leaves nothing of an account but its name, and notes that its deletion has begun; nothing if
    /// there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn begin_deletion(&mut self, user: &UserName) -> Result<(), StoreError>;
    /// Nothing of a deleted account is left.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn end_deletion(&mut self, user: &UserName) -> Result<(), StoreError>;
    /// Has the deletion of this account begun, and not ended?
    ///
    /// # Errors
    /// See [`StoreError`].
    fn is_deleting(&mut self, user: &UserName) -> Result<bool, StoreError>;
    /// The accounts whose deletion has begun and not ended, so many at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn deletions(&mut self, rows_max: u32) -> Result<Vec<UserName>, StoreError>;
    /// The pairs of who asked and who was asked in requests from or to this user that are pending,
    /// so many at most.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn requests(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<(UserName, UserName)>, StoreError>;
    /// Looks at a user's waiting pushes with a `seq` greater than `after_seq`, ascending, so many
    /// at most: the `seq` of the last, if there were so many; and those with this id.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn pushes_with_id(
        &mut self,
        user: &UserName,
        id: &str,
        after_seq: u64,
        rows_max: u32,
    ) -> Result<(Vec<StoredPush>, Option<u64>), StoreError>;
}
