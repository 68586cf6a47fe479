//! The table of blocked users.

use super::{SqliteStore, corrupt_error};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::blocks::BlockedUserRepository;
use rusqlite::params;

/// The requests come first in the join: few are hidden.
pub(super) const HIDDEN_PUSHES: &str = "SELECT pushes.receiver, pushes.seq FROM friend_requests CROSS JOIN pushes
        ON pushes.seq = friend_requests.push_seq AND pushes.receiver = friend_requests.receiver
            AND pushes.sender = friend_requests.sender
     WHERE friend_requests.hidden = 1 LIMIT ?1";

impl BlockedUserRepository for SqliteStore {
    fn of_user(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError> {
        self.query_names("SELECT blocked_name FROM blocks WHERE user_name = ?1 ORDER BY blocked_name", [user.as_str()])
    }

    fn add(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError> {
        let mut insert = self
            .db
            .prepare_cached("INSERT INTO blocks (user_name, blocked_name) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        insert.execute([user.as_str(), other.as_str()])?;
        Ok(())
    }

    fn remove(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError> {
        let mut remove = self.db.prepare_cached("DELETE FROM blocks WHERE user_name = ?1 AND blocked_name = ?2")?;
        remove.execute([user.as_str(), other.as_str()])?;
        Ok(())
    }

    fn remove_blocks(&mut self, user: &UserName, rows_max: u32) -> Result<u64, StoreError> {
        let mut removed = 0;
        for sql in [
            "DELETE FROM blocks WHERE user_name = ?1 AND blocked_name IN
                (SELECT blocked_name FROM blocks WHERE user_name = ?1 LIMIT ?2)",
            "DELETE FROM blocks WHERE blocked_name = ?1 AND user_name IN
                (SELECT user_name FROM blocks WHERE blocked_name = ?1 LIMIT ?2)",
        ] {
            removed += self.db.prepare_cached(sql)?.execute(params![user.as_str(), rows_max])?;
        }
        Ok(removed as u64)
    }

    fn hidden_pushes(&mut self, rows_max: u32) -> Result<Vec<(UserName, u64)>, StoreError> {
        let mut find = self.db.prepare_cached(HIDDEN_PUSHES)?;
        let (mut rows, mut pushes) = (find.query([rows_max])?, Vec::new());
        while let Some(row) = rows.next()? {
            let name =
                UserName::new(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?).map_err(corrupt_error)?;
            pushes.push((name, u64::try_from(row.get::<_, i64>(1)?).map_err(|_| corrupt_error("a negative number"))?));
        }
        Ok(pushes)
    }
}
