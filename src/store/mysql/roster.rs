//! Friends and requests for a user's roster.

use super::MysqlStore;
use super::values::{bytes, name, number, text};
use crate::chat::contract::{RosterReplyFriend, RosterReplyFriendRequest};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::roster::RosterReadRepository;
use mysql::Value;

/// A deleted account has no profile, and a friendship may outlive it for a moment.
const FRIENDS: &str = "SELECT friendships.friend_name, IFNULL(accounts.nick_name, ''), \
                       IFNULL(accounts.profile_picture, '') FROM friendships \
                       LEFT JOIN accounts ON accounts.user_name = friendships.friend_name \
                       WHERE friendships.user_name = ? AND friendships.friend_name > ? \
                       ORDER BY friendships.friend_name LIMIT ?";
const INCOMING: &str = "SELECT sender, message_id, content, time_ms FROM friend_requests FORCE INDEX (by_hidden) \
                        WHERE hidden = 0 AND receiver = ? ORDER BY push_seq LIMIT ?";
const OUTGOING: &str = "SELECT receiver, message_id, content, time_ms FROM friend_requests FORCE INDEX (by_sender) \
                        WHERE sender = ? ORDER BY push_seq LIMIT ?";

impl MysqlStore {
    fn requests_in(
        &mut self,
        sql: &str,
        user: &UserName,
        rows_max: u32,
    ) -> Result<Vec<RosterReplyFriendRequest>, StoreError> {
        let rows = self.rows(sql, vec![bytes(user.as_str()), Value::UInt(rows_max.into())])?;
        let entry = |row: &mysql::Row| {
            let (message_id, content) = (text(row, 1)?.into(), text(row, 2)?.into());
            Ok(RosterReplyFriendRequest { user_name: name(row, 0)?, message_id, content, time_ms: number(row, 3)? })
        };
        rows.iter().map(entry).collect()
    }
}

impl RosterReadRepository for MysqlStore {
    fn friends_after(
        &mut self,
        user: &UserName,
        after: Option<&UserName>,
        rows_max: u32,
    ) -> Result<Vec<RosterReplyFriend>, StoreError> {
        let after = bytes(after.map_or("", UserName::as_str));
        let rows = self.rows(FRIENDS, vec![bytes(user.as_str()), after, Value::UInt(rows_max.into())])?;
        let friend = |row: &mysql::Row| {
            let (nick_name, profile_picture) = (text(row, 1)?.into(), text(row, 2)?.into());
            Ok(RosterReplyFriend { user_name: name(row, 0)?, nick_name, profile_picture })
        };
        rows.iter().map(friend).collect()
    }

    fn incoming(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<RosterReplyFriendRequest>, StoreError> {
        self.requests_in(INCOMING, user, rows_max)
    }

    fn outgoing(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<RosterReplyFriendRequest>, StoreError> {
        self.requests_in(OUTGOING, user, rows_max)
    }
}
