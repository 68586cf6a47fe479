//! The tables of accounts and deletions, as each store provides them. The rules are elsewhere.

use super::StoreError;
use crate::chat::contract::{ProfileChange, StoredPushWithoutText};
use crate::protocol::field::{Secret, UserName};

/// The part of an account that is not its profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountAuthData {
    /// The hash of the password.
    pub password_hash: Secret,
    /// Log-ins are refused.
    pub is_banned: bool,
}

/// The states of an account, as numbers in its row.
pub(super) const ACTIVE: u8 = 0;
/// Log-ins are refused.
pub(super) const BANNED: u8 = 1;
/// It is deleted. Its row keeps the name from being used again; otherwise the account does not
/// exist.
pub(super) const DELETED: u8 = 2;

/// The number for the state of an account that is not deleted.
pub(super) fn state_of(is_banned: bool) -> u8 {
    if is_banned { BANNED } else { ACTIVE }
}

/// The table of accounts, and that of deletions in progress: plain reads and writes without a rule.
/// They are part of a [`StoreConnection`](super::StoreConnection)'s transaction.
pub trait AccountRepository {
    /// The account of this name.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn account(&mut self, user: &UserName) -> Result<Option<AccountAuthData>, StoreError>;
    /// Do accounts with these two names exist?
    ///
    /// # Errors
    /// See [`StoreError`].
    fn accounts_exist(&mut self, one: &UserName, other: &UserName) -> Result<[bool; 2], StoreError>;
    /// Bans an account, or lifts the ban. Does nothing if there is no such account.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn set_banned(&mut self, user: &UserName, is_banned: bool) -> Result<(), StoreError>;
    /// Sets the password hash of an account. Does nothing if there is no such account.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn set_password(&mut self, user: &UserName, password_hash: &Secret) -> Result<(), StoreError>;
    /// Changes the given fields of a profile. Does nothing if there is no such account.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn change_profile(&mut self, user: &UserName, change: &ProfileChange) -> Result<(), StoreError>;
    /// The names that follow `after` in byte order, at most `rows_max`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn names(&mut self, after: Option<&UserName>, rows_max: u32) -> Result<Vec<UserName>, StoreError>;
    /// Removes everything of an account but its name, and notes that its deletion has begun. Does
    /// nothing if there is no such account.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn begin_deletion(&mut self, user: &UserName) -> Result<(), StoreError>;
    /// Notes that the deletion of an account is complete.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn end_deletion(&mut self, user: &UserName) -> Result<(), StoreError>;
    /// Is the deletion of this account in progress?
    ///
    /// # Errors
    /// See [`StoreError`].
    fn is_deleting(&mut self, user: &UserName) -> Result<bool, StoreError>;
    /// The accounts whose deletion is in progress, at most `rows_max`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn deletions(&mut self, rows_max: u32) -> Result<Vec<UserName>, StoreError>;
    /// The pending requests from and to this user, as pairs (asking user, asked user), at most
    /// `rows_max`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn requests(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<(UserName, UserName)>, StoreError>;
    /// Searches a user's waiting pushes with a `seq` greater than `after_seq`, in ascending order,
    /// at most `rows_max`, for those with this id. Also gives the `seq` of the last push, if
    /// `rows_max` were examined.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn pushes_with_id(
        &mut self,
        user: &UserName,
        id: &str,
        after_seq: u64,
        rows_max: u32,
    ) -> Result<(Vec<StoredPushWithoutText>, Option<u64>), StoreError>;
}
