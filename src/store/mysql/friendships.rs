//! The tables of friendships and friend requests.

use super::MysqlStore;
use super::values::{bytes, number, text};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use crate::store::StoreError;
use crate::store::friendship::{FriendshipRepository, StoredFriendRequest, UserRelation};
use mysql::Value;

const REQUESTS_OF: &str = "SELECT count(*) FROM (SELECT 1 FROM friend_requests WHERE sender = ? LIMIT ?) AS some";
const REQUESTS_TO: &str = "SELECT count(*) FROM (SELECT 1 FROM friend_requests FORCE INDEX (by_hidden) \
                           WHERE hidden = 0 AND receiver = ? LIMIT ?) AS some";
const FRIENDS_OF: &str = "SELECT count(*) FROM (SELECT 1 FROM friendships WHERE user_name = ? LIMIT ?) AS some";

/// The relation of two users, in one round trip.
const RELATION: &str = "SELECT 0 FROM friendships WHERE user_name = ? AND friend_name = ? \
                   UNION ALL SELECT 1 FROM blocks WHERE user_name = ? AND blocked_name = ? \
                   UNION ALL SELECT 2 FROM blocks WHERE user_name = ? AND blocked_name = ?";

fn pair(one: &UserName, other: &UserName) -> Vec<Value> {
    vec![bytes(one.as_str()), bytes(other.as_str())]
}

/// The values of both rows of a friendship.
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

impl FriendshipRepository for MysqlStore {
    fn relation(&mut self, user: &UserName, other: &UserName) -> Result<UserRelation, StoreError> {
        let both = |one: &UserName, other: &UserName| [bytes(one.as_str()), bytes(other.as_str())];
        let params = [both(user, other), both(user, other), both(other, user)].into_iter().flatten();
        let rows = self.rows(RELATION, params.collect())?;
        let found = rows.iter().map(|row| number(row, 0)).collect::<Result<Vec<_>, _>>()?;
        let [are_friends, blocks, is_blocked] = [0, 1, 2].map(|which| found.contains(&which));
        Ok(UserRelation { are_friends, blocks, is_blocked })
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

    fn request(&mut self, receiver: &UserName, sender: &UserName) -> Result<Option<StoredFriendRequest>, StoreError> {
        let sql = "SELECT message_id, time_ms, push_seq, hidden FROM friend_requests WHERE receiver = ? AND sender = ?";
        let Some(row) = self.row(sql, pair(receiver, sender))? else {
            return Ok(None);
        };
        let (id, is_hidden) = (text(&row, 0)?.into(), number(&row, 3)? > 0);
        Ok(Some(StoredFriendRequest { id, time_ms: number(&row, 1)?, seq: number(&row, 2)?, is_hidden }))
    }

    fn count_requests_of(&mut self, sender: &UserName, limit: u32) -> Result<u32, StoreError> {
        self.count_up_to(REQUESTS_OF, sender, limit)
    }

    fn count_requests_to(&mut self, receiver: &UserName, limit: u32) -> Result<u32, StoreError> {
        self.count_up_to(REQUESTS_TO, receiver, limit)
    }

    fn add_request(&mut self, push: &Push, is_hidden: bool) -> Result<(), StoreError> {
        let sql = "INSERT INTO friend_requests (receiver, sender, message_id, time_ms, push_seq, hidden, content) \
                   VALUES (?, ?, ?, ?, ?, ?, ?)";
        let [receiver, sender, id] = [push.receiver(), push.sender(), push.id()].map(bytes);
        let [time_ms, seq, hidden] = [push.time_ms, push.seq, is_hidden.into()].map(Value::UInt);
        self.change(sql, vec![receiver, sender, id, time_ms, seq, hidden, bytes(push.content())]).map(drop)
    }

    fn hide_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError> {
        let sql = "UPDATE friend_requests SET hidden = 1 WHERE receiver = ? AND sender = ?";
        self.change(sql, pair(receiver, sender)).map(drop)
    }

    fn remove_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError> {
        let sql = "DELETE FROM friend_requests WHERE receiver = ? AND sender = ?";
        self.change(sql, pair(receiver, sender)).map(drop)
    }
}
