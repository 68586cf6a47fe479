//! The table of blocked users.

use super::{MemoryStore, MemoryTables, RollbackEntry};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::blocks::BlockedUserRepository;

impl MemoryTables {
    pub(super) fn blocks(&self, user: &UserName, other: &UserName) -> bool {
        self.blocked.get(user).is_some_and(|names| names.contains(other))
    }

    fn set_blocked(&mut self, user: &UserName, other: &UserName, is_blocked: bool) {
        if self.blocks(user, other) != is_blocked {
            self.restore_blocked(user, other, is_blocked);
            self.undo.push(RollbackEntry::Blocked(user.clone(), other.clone(), !is_blocked));
        }
    }

    pub(super) fn restore_blocked(&mut self, user: &UserName, other: &UserName, is_blocked: bool) {
        let names = self.blocked.entry(user.clone()).or_default();
        if is_blocked {
            names.insert(other.clone());
        } else {
            names.remove(other);
        }
        if names.is_empty() {
            self.blocked.remove(user);
        }
    }
}

impl BlockedUserRepository for MemoryStore {
    fn of_user(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError> {
        Ok(self.tables().blocked.get(user).into_iter().flatten().cloned().collect())
    }

    fn add(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError> {
        self.tables().set_blocked(user, other, true);
        Ok(())
    }

    fn remove(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError> {
        self.tables().set_blocked(user, other, false);
        Ok(())
    }

    fn remove_blocks(&mut self, user: &UserName, rows_max: u32) -> Result<u64, StoreError> {
        let mut tables = self.tables();
        let theirs = tables.blocked.get(user).into_iter().flatten().map(|other| (user.clone(), other.clone()));
        let others = tables.blocked.iter().filter(|(_, names)| names.contains(user));
        let others = others.map(|(other, _)| (other.clone(), user.clone()));
        let max = rows_max as usize;
        let pairs: Vec<_> = theirs.take(max).chain(others.take(max)).collect();
        for (one, other) in &pairs {
            tables.set_blocked(one, other, false);
        }
        Ok(pairs.len() as u64)
    }

    fn hidden_pushes(&mut self, rows_max: u32) -> Result<Vec<(UserName, u64)>, StoreError> {
        let tables = self.tables();
        let hidden = tables.requests.iter().filter(|(_, request)| request.friend_request.is_hidden);
        let numbers = hidden.map(|((receiver, _), request)| (receiver.clone(), request.friend_request.seq));
        let is_kept = |(receiver, seq): &(UserName, u64)| {
            tables.pushes.get(receiver).is_some_and(|pushes| pushes.contains_key(seq))
        };
        Ok(numbers.filter(is_kept).take(rows_max as usize).collect())
    }
}
