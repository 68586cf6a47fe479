//! The tables of friendships and friend requests.

use super::MysqlStore;
use super::values::{bytes, number, text};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use crate::store::StoreError;
use crate::store::friendship::{FriendRequest, Friendships};
use mysql::Value;

const REQUESTS_OF: &str = "SELECT count(*) FROM (SELECT 1 FROM friend_requests WHERE sender = ? LIMIT ?) AS some";
const REQUESTS_TO: &str = "SELECT count(*) FROM (SELECT 1 FROM friend_requests WHERE receiver = ? LIMIT ?) AS some";
const FRIENDS_OF: &str = "SELECT count(*) FROM (SELECT 1 FROM friendships WHERE user_name = ? LIMIT ?) AS some";

fn pair(one: &UserName, other: &UserName) -> Vec<Value> {
    vec![bytes(one.as_str()), bytes(other.as_str())]
}

/// Both ways.
fn pairs(one: &UserName, other: &UserName) -> Vec<Value> {
    [one, other, other, one].map(|name| bytes(name.as_str())).into()
}

impl MysqlStore {
    /// Runs a query that counts rows about a user up to a limit.
    fn count_up_to(&mut self, sql: &str, user: &UserName, limit: u32) -> Result<u32, StoreError> {
        let row = self.row(sql, vec![bytes(user.as_str()), Value::UInt(limit.into())])?;
        let count = row.map_or(Ok(0), |row| number(&row, 0))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

impl Friendships for MysqlStore {
    fn are_friends(&mut self, user: &UserName, friend: &UserName) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM friendships WHERE user_name = ? AND friend_name = ?";
        Ok(self.row(sql, pair(user, friend))?.is_some())
    }

    fn count_friends(&mut self, user: &UserName, limit: u32) -> Result<u32, StoreError> {
        self.count_up_to(FRIENDS_OF, user, limit)
    }

    fn add_friendship(&mut self, user: &UserName, friend: &UserName) -> Result<(), StoreError> {
        let sql = "INSERT INTO friendships (user_name, friend_name) VALUES (?, ?), (?, ?) \
                   ON DUPLICATE KEY UPDATE friend_name = friend_name";
        self.change(sql, pairs(user, friend)).map(drop)
    }

    fn remove_friendship(&mut self, user: &UserName, friend: &UserName) -> Result<(), StoreError> {
        let sql = "DELETE FROM friendships \
                   WHERE (user_name = ? AND friend_name = ?) OR (user_name = ? AND friend_name = ?)";
        self.change(sql, pairs(user, friend)).map(drop)
    }

    fn request(&mut self, receiver: &UserName, sender: &UserName) -> Result<Option<FriendRequest>, StoreError> {
        let sql = "SELECT message_id, time_ms, push_seq FROM friend_requests WHERE receiver = ? AND sender = ?";
        let row = self.row(sql, pair(receiver, sender))?;
        row.map(|row| Ok(FriendRequest { id: text(&row, 0)?.into(), time_ms: number(&row, 1)?, seq: number(&row, 2)? }))
            .transpose()
    }

    fn count_requests_of(&mut self, sender: &UserName, limit: u32) -> Result<u32, StoreError> {
        self.count_up_to(REQUESTS_OF, sender, limit)
    }

    fn count_requests_to(&mut self, receiver: &UserName, limit: u32) -> Result<u32, StoreError> {
        self.count_up_to(REQUESTS_TO, receiver, limit)
    }

    fn add_request(&mut self, push: &Push) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO friend_requests (receiver, sender, message_id, time_ms, push_seq) VALUES (?, ?, ?, ?, ?)";
        let (time_ms, seq) = (Value::UInt(push.time_ms), Value::UInt(push.seq));
        self.change(sql, vec![bytes(push.receiver()), bytes(push.sender()), bytes(push.id()), time_ms, seq]).map(drop)
    }

    fn remove_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError> {
        let sql = "DELETE FROM friend_requests WHERE receiver = ? AND sender = ?";
        self.change(sql, pair(receiver, sender)).map(drop)
    }
}
