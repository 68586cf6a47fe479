//! The table of resume tokens.

use super::values::{bytes, number, text};
use super::{MysqlStore, repeat_list};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::token::{ResumeTokenRepository, StoredToken, TokenHash};
use mysql::Value;

impl ResumeTokenRepository for MysqlStore {
    fn of_user(&mut self, user: &UserName) -> Result<Vec<StoredToken>, StoreError> {
        let sql = "SELECT token_hash, expires_ms FROM resume_tokens WHERE user_name = ?";
        let rows = self.rows(sql, vec![bytes(user.as_str())])?;
        rows.iter().map(|row| Ok((TokenHash::from_stored(text(row, 0)?), number(row, 1)?))).collect()
    }

    fn expiry(&mut self, user: &UserName, hash: &TokenHash) -> Result<Option<u64>, StoreError> {
        let sql = "SELECT expires_ms FROM resume_tokens WHERE user_name = ? AND token_hash = ?";
        let row = self.row(sql, vec![bytes(user.as_str()), bytes(hash.as_str())])?;
        row.map(|row| number(&row, 0)).transpose()
    }

    fn put(&mut self, user: &UserName, (hash, expires_ms): &StoredToken) -> Result<(), StoreError> {
        let sql = "INSERT INTO resume_tokens (user_name, token_hash, expires_ms) VALUES (?, ?, ?) \
                   ON DUPLICATE KEY UPDATE expires_ms = VALUES(expires_ms)";
        self.change(sql, vec![bytes(user.as_str()), bytes(hash.as_str()), Value::UInt(*expires_ms)]).map(drop)
    }

    fn remove(&mut self, user: &UserName, hashes: &[TokenHash]) -> Result<(), StoreError> {
        // In one statement, because it is done at nearly every log-in of a user with many devices.
        let sql = format!(
            "DELETE FROM resume_tokens WHERE user_name = ? AND token_hash IN ({})",
            repeat_list("?", hashes.len())
        );
        let names = std::iter::once(user.as_str()).chain(hashes.iter().map(TokenHash::as_str));
        self.change(&sql, names.map(bytes).collect()).map(drop)
    }

    fn remove_all(&mut self, user: &UserName) -> Result<(), StoreError> {
        self.change("DELETE FROM resume_tokens WHERE user_name = ?", vec![bytes(user.as_str())]).map(drop)
    }
}
