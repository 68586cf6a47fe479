//! Friends and requests for a user's roster.

use super::accounts::name;
use super::{SqliteStore, time};
use crate::chat::contract::{RosterReplyFriend, RosterReplyFriendRequest};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::roster::RosterReadRepository;
use rusqlite::params;

/// A deleted account has no profile, and a friendship may outlive it for a moment.
pub(super) const FRIENDS: &str =
    "SELECT friendships.friend_name, ifnull(accounts.nick_name, ''), ifnull(accounts.profile_picture, '')
     FROM friendships LEFT JOIN accounts ON accounts.user_name = friendships.friend_name
     WHERE friendships.user_name = ?1 AND friendships.friend_name > ?2 ORDER BY friendships.friend_name LIMIT ?3";
pub(super) const INCOMING: &str = "SELECT sender, message_id, content, time_ms FROM friend_requests
     WHERE hidden = 0 AND receiver = ?1 ORDER BY push_seq LIMIT ?2";
pub(super) const OUTGOING: &str = "SELECT receiver, message_id, content, time_ms FROM friend_requests
     WHERE sender = ?1 ORDER BY push_seq LIMIT ?2";

impl SqliteStore {
    fn requests_in(
        &self,
        sql: &str,
        user: &UserName,
        rows_max: u32,
    ) -> Result<Vec<RosterReplyFriendRequest>, StoreError> {
        let mut find = self.db.prepare_cached(sql)?;
        let (mut rows, mut requests) = (find.query(params![user.as_str(), rows_max])?, Vec::new());
        while let Some(row) = rows.next()? {
            let (user_name, time_ms) = (name(row, 0)?, time(row.get(3)?));
            requests.push(RosterReplyFriendRequest {
                user_name,
                message_id: row.get(1)?,
                content: row.get(2)?,
                time_ms,
            });
        }
        Ok(requests)
    }
}

impl RosterReadRepository for SqliteStore {
    fn friends_after(
        &mut self,
        user: &UserName,
        after: Option<&UserName>,
        rows_max: u32,
    ) -> Result<Vec<RosterReplyFriend>, StoreError> {
        let mut find = self.db.prepare_cached(FRIENDS)?;
        let after = after.map_or("", UserName::as_str);
        let (mut rows, mut friends) = (find.query(params![user.as_str(), after, rows_max])?, Vec::new());
        while let Some(row) = rows.next()? {
            let user_name = name(row, 0)?;
            friends.push(RosterReplyFriend { user_name, nick_name: row.get(1)?, profile_picture: row.get(2)? });
        }
        Ok(friends)
    }

    fn incoming(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<RosterReplyFriendRequest>, StoreError> {
        self.requests_in(INCOMING, user, rows_max)
    }

    fn outgoing(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<RosterReplyFriendRequest>, StoreError> {
        self.requests_in(OUTGOING, user, rows_max)
    }
}
