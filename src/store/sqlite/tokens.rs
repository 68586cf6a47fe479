//! The table of resume tokens.

use super::{SqliteStore, time, to_i64};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::token::{ResumeTokenRepository, StoredToken, TokenHash};
use rusqlite::{OptionalExtension, params};

impl ResumeTokenRepository for SqliteStore {
    fn of_user(&mut self, user: &UserName) -> Result<Vec<StoredToken>, StoreError> {
        let mut find =
            self.db.prepare_cached("SELECT token_hash, expires_ms FROM resume_tokens WHERE user_name = ?1")?;
        let mut rows = find.query([user.as_str()])?;
        let mut tokens = Vec::new();
        while let Some(row) = rows.next()? {
            let hash = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            tokens.push((TokenHash::from_stored(hash), time(row.get(1)?)));
        }
        Ok(tokens)
    }

    fn expiry(&mut self, user: &UserName, hash: &TokenHash) -> Result<Option<u64>, StoreError> {
        let mut find =
            self.db.prepare_cached("SELECT expires_ms FROM resume_tokens WHERE user_name = ?1 AND token_hash = ?2")?;
        Ok(find.query_row([user.as_str(), hash.as_str()], |row| row.get(0)).optional()?.map(time))
    }

    fn put(&mut self, user: &UserName, (hash, expires_ms): &StoredToken) -> Result<(), StoreError> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO resume_tokens (user_name, token_hash, expires_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET expires_ms = excluded.expires_ms",
        )?;
        insert.execute(params![user.as_str(), hash.as_str(), to_i64(*expires_ms)])?;
        Ok(())
    }

    fn remove(&mut self, user: &UserName, hashes: &[TokenHash]) -> Result<(), StoreError> {
        let mut remove =
            self.db.prepare_cached("DELETE FROM resume_tokens WHERE user_name = ?1 AND token_hash = ?2")?;
        for hash in hashes {
            remove.execute([user.as_str(), hash.as_str()])?;
        }
        Ok(())
    }

    fn remove_all(&mut self, user: &UserName) -> Result<(), StoreError> {
        self.db.prepare_cached("DELETE FROM resume_tokens WHERE user_name = ?1")?.execute([user.as_str()])?;
        Ok(())
    }
}
