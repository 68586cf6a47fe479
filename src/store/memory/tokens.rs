//! The table of resume tokens.

use super::{MemoryStore, MemoryTables, RollbackEntry};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::token::{ResumeTokenRepository, StoredToken, TokenHash};

impl MemoryTables {
    /// Changes the tokens of a user.
    fn change_tokens(&mut self, user: &UserName, change: impl FnOnce(&mut Vec<StoredToken>)) {
        let before = self.tokens.get(user).cloned().unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        self.undo.push(RollbackEntry::Tokens(user.clone(), before));
        self.restore_tokens(user, after);
    }

    pub(super) fn restore_tokens(&mut self, user: &UserName, tokens: Vec<StoredToken>) {
        if tokens.is_empty() {
            self.tokens.remove(user);
        } else {
            self.tokens.insert(user.clone(), tokens);
        }
    }
}

impl ResumeTokenRepository for MemoryStore {
    fn of_user(&mut self, user: &UserName) -> Result<Vec<StoredToken>, StoreError> {
        Ok(self.tables().tokens.get(user).cloned().unwrap_or_default())
    }

    fn expiry(&mut self, user: &UserName, hash: &TokenHash) -> Result<Option<u64>, StoreError> {
        let tables = self.tables();
        let mut tokens = tables.tokens.get(user).into_iter().flatten();
        Ok(tokens.find(|(found, _)| found == hash).map(|(_, expires_ms)| *expires_ms))
    }

    fn put(&mut self, user: &UserName, token: &StoredToken) -> Result<(), StoreError> {
        self.tables().change_tokens(user, |tokens| {
            tokens.retain(|(hash, _)| *hash != token.0);
            tokens.push(token.clone());
        });
        Ok(())
    }

    fn remove(&mut self, user: &UserName, hashes: &[TokenHash]) -> Result<(), StoreError> {
        self.tables().change_tokens(user, |tokens| tokens.retain(|(hash, _)| !hashes.contains(hash)));
        Ok(())
    }

    fn remove_all(&mut self, user: &UserName) -> Result<(), StoreError> {
        self.tables().change_tokens(user, Vec::clear);
        Ok(())
    }
}
