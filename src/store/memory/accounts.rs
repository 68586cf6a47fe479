//! The tables of accounts and deletions.

use super::{MemoryStore, MemoryTables, RollbackEntry};
use crate::chat::contract::{ProfileChange, StoredPushWithoutText};
use crate::protocol::field::{Profile, Secret, UserName};
use crate::store::StoreError;
use crate::store::accounts::{AccountAuthData, AccountRepository};

/// The entry of an account.
#[derive(Clone, Debug)]
pub(super) enum AccountOrTombstone {
    /// It exists.
    There { profile: Profile, account: AccountAuthData },
    /// It is deleted, and nobody else gets its name. Something of it may be left.
    Deleted { is_deleting: bool },
}

impl MemoryTables {
    pub(super) fn account(&self, user: &UserName) -> Option<&AccountAuthData> {
        match self.accounts.get(user)? {
            AccountOrTombstone::There { account, .. } => Some(account),
            AccountOrTombstone::Deleted { .. } => None,
        }
    }

    pub(super) fn profile(&self, user: &UserName) -> Option<&Profile> {
        match self.accounts.get(user)? {
            AccountOrTombstone::There { profile, .. } => Some(profile),
            AccountOrTombstone::Deleted { .. } => None,
        }
    }

    /// Sets the entry of an account.
    pub(super) fn set_account(&mut self, user: &UserName, entry: AccountOrTombstone) {
        let before = self.accounts.insert(user.clone(), entry);
        self.undo.push(RollbackEntry::Account(user.clone(), before));
    }

    pub(super) fn restore_account(&mut self, user: UserName, before: Option<AccountOrTombstone>) {
        match before {
            Some(before) => drop(self.accounts.insert(user, before)),
            None => drop(self.accounts.remove(&user)),
        }
    }

    fn change_account(&mut self, user: &UserName, change: impl FnOnce(&mut AccountAuthData)) {
        if let Some(AccountOrTombstone::There { profile, account }) = self.accounts.get(user).cloned() {
            let mut account = account;
            change(&mut account);
            self.set_account(user, AccountOrTombstone::There { profile, account });
        }
    }
}

impl AccountRepository for MemoryStore {
    fn account(&mut self, user: &UserName) -> Result<Option<AccountAuthData>, StoreError> {
        Ok(self.tables().account(user).cloned())
    }

    fn accounts_exist(&mut self, one: &UserName, other: &UserName) -> Result<[bool; 2], StoreError> {
        let tables = self.tables();
        Ok([one, other].map(|user| tables.account(user).is_some()))
    }

    fn set_banned(&mut self, user: &UserName, is_banned: bool) -> Result<(), StoreError> {
        self.tables().change_account(user, |account| account.is_banned = is_banned);
        Ok(())
    }

    fn set_password(&mut self, user: &UserName, password_hash: &Secret) -> Result<(), StoreError> {
        self.tables().change_account(user, |account| account.password_hash = password_hash.clone());
        Ok(())
    }

    fn change_profile(&mut self, user: &UserName, change: &ProfileChange) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let Some(AccountOrTombstone::There { mut profile, account }) = tables.accounts.get(user).cloned() else {
            return Ok(());
        };
        for (field, new) in [
            (&mut profile.email_address, &change.email_address),
            (&mut profile.nick_name, &change.nick_name),
            (&mut profile.profile_picture, &change.profile_picture),
            (&mut profile.location, &change.location),
            (&mut profile.personal_description, &change.personal_description),
            (&mut profile.rsa_public_key, &change.rsa_public_key),
        ] {
            if let Some(new) = new {
                field.clone_from(new);
            }
        }
        tables.set_account(user, AccountOrTombstone::There { profile, account });
        Ok(())
    }

    fn names(&mut self, after: Option<&UserName>, rows_max: u32) -> Result<Vec<UserName>, StoreError> {
        let tables = self.tables();
        let there = tables.accounts.iter().filter(|(_, entry)| matches!(entry, AccountOrTombstone::There { .. }));
        let behind = there.map(|(name, _)| name).filter(|name| after.is_none_or(|after| *name > after));
        let mut names: Vec<UserName> = behind.cloned().collect();
        names.sort_unstable();
        names.truncate(rows_max as usize);
        Ok(names)
    }

    fn begin_deletion(&mut self, user: &UserName) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.account(user).is_some() {
            tables.set_account(user, AccountOrTombstone::Deleted { is_deleting: true });
        }
        Ok(())
    }

    fn end_deletion(&mut self, user: &UserName) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if matches!(tables.accounts.get(user), Some(AccountOrTombstone::Deleted { .. })) {
            tables.set_account(user, AccountOrTombstone::Deleted { is_deleting: false });
        }
        Ok(())
    }

    fn is_deleting(&mut self, user: &UserName) -> Result<bool, StoreError> {
        Ok(matches!(self.tables().accounts.get(user), Some(AccountOrTombstone::Deleted { is_deleting: true })))
    }

    fn deletions(&mut self, rows_max: u32) -> Result<Vec<UserName>, StoreError> {
        let tables = self.tables();
        let begun = tables
            .accounts
            .iter()
            .filter(|(_, entry)| matches!(entry, AccountOrTombstone::Deleted { is_deleting: true }));
        let mut names: Vec<UserName> = begun.map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names.truncate(rows_max as usize);
        Ok(names)
    }

    fn requests(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<(UserName, UserName)>, StoreError> {
        let tables = self.tables();
        let theirs = tables.requests.keys().filter(|(asked, asker)| asked == user || asker == user);
        let mut pairs: Vec<_> = theirs.map(|(asked, asker)| (asker.clone(), asked.clone())).collect();
        pairs.sort_unstable();
        pairs.truncate(rows_max as usize);
        Ok(pairs)
    }

    fn pushes_with_id(
        &mut self,
        user: &UserName,
        id: &str,
        after_seq: u64,
        rows_max: u32,
    ) -> Result<(Vec<StoredPushWithoutText>, Option<u64>), StoreError> {
        let tables = self.tables();
        let list = tables.pushes.get(user).into_iter().flat_map(|list| list.range(after_seq.saturating_add(1)..));
        let (mut pushes, mut count, mut last_seq) = (Vec::new(), 0, None);
        for (&seq, push) in list.take(rows_max as usize) {
            (count, last_seq) = (count + 1, Some(seq));
            if push.id() == id {
                let (sender, kind, time_ms) = (super::name(push.sender())?, push.kind, push.time_ms);
                pushes.push(StoredPushWithoutText { seq, sender, kind, time_ms });
            }
        }
        Ok((pushes, last_seq.filter(|_| count >= rows_max)))
    }
}
