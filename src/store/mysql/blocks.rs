//! The table of blocked users.

use super::MysqlStore;
use super::values::{bytes, name, number};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::blocks::BlockedUserRepository;
use mysql::Value;

const OF_USER: &str = "SELECT blocked_name FROM blocks WHERE user_name = ? ORDER BY blocked_name";
/// The requests come first in the join: MySQL may estimate that there are fewer pushes.
const HIDDEN_PUSHES: &str = "SELECT pushes.receiver, pushes.seq FROM friend_requests FORCE INDEX (by_hidden) \
                             STRAIGHT_JOIN pushes ON pushes.seq = friend_requests.push_seq \
                             AND pushes.receiver = friend_requests.receiver AND pushes.sender = friend_requests.sender \
                             WHERE friend_requests.hidden = 1 LIMIT ?";

impl BlockedUserRepository for MysqlStore {
    fn of_user(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError> {
        let rows = self.rows(OF_USER, vec![bytes(user.as_str())])?;
        rows.iter().map(|row| name(row, 0)).collect()
    }

    fn add(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError> {
        let sql = "INSERT INTO blocks (user_name, blocked_name) VALUES (?, ?) \
                   ON DUPLICATE KEY UPDATE blocked_name = blocked_name";
        self.change(sql, vec![bytes(user.as_str()), bytes(other.as_str())]).map(drop)
    }

    fn remove(&mut self, user: &UserName, other: &UserName) -> Result<(), StoreError> {
        let sql = "DELETE FROM blocks WHERE user_name = ? AND blocked_name = ?";
        self.change(sql, vec![bytes(user.as_str()), bytes(other.as_str())]).map(drop)
    }

    fn remove_blocks(&mut self, user: &UserName, rows_max: u32) -> Result<u64, StoreError> {
        let mut removed = 0;
        for sql in
            ["DELETE FROM blocks WHERE user_name = ? LIMIT ?", "DELETE FROM blocks WHERE blocked_name = ? LIMIT ?"]
        {
            removed += self.change(sql, vec![bytes(user.as_str()), Value::UInt(rows_max.into())])?;
        }
        Ok(removed)
    }

    fn hidden_pushes(&mut self, rows_max: u32) -> Result<Vec<(UserName, u64)>, StoreError> {
        let rows = self.rows(HIDDEN_PUSHES, vec![Value::UInt(rows_max.into())])?;
        rows.iter().map(|row| Ok((name(row, 0)?, number(row, 1)?))).collect()
    }
}
