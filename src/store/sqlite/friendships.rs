//! The tables of friendships and friend requests.

use super::{SqliteStore, corrupt_error, time, to_i64};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use crate::store::StoreError;
use crate::store::friendship::{FriendshipRepository, StoredFriendRequest, UserRelation};
use rusqlite::{OptionalExtension, Row, params};

impl SqliteStore {
    /// Runs a query that counts rows about a user up to a limit.
    fn count_up_to(&self, sql: &str, user: &UserName, limit: u32) -> Result<u32, StoreError> {
        Ok(self.db.prepare_cached(sql)?.query_row(params![user.as_str(), limit], |row| row.get(0))?)
    }
}

impl FriendshipRepository for SqliteStore {
    fn relation(&mut self, user: &UserName, other: &UserName) -> Result<UserRelation, StoreError> {
        let mut find = self.db.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM friendships WHERE user_name = ?1 AND friend_name = ?2),
                EXISTS (SELECT 1 FROM blocks WHERE user_name = ?1 AND blocked_name = ?2),
                EXISTS (SELECT 1 FROM blocks WHERE user_name = ?2 AND blocked_name = ?1)",
        )?;
        let tie =
            |row: &Row<'_>| Ok(UserRelation { are_friends: row.get(0)?, blocks: row.get(1)?, is_blocked: row.get(2)? });
        Ok(find.query_row([user.as_str(), other.as_str()], tie)?)
    }

    fn count_friends(&mut self, user: &UserName, limit: u32) -> Result<u32, StoreError> {
        self.count_up_to("SELECT count(*) FROM (SELECT 1 FROM friendships WHERE user_name = ?1 LIMIT ?2)", user, limit)
    }

    fn add_friendship(&mut self, user: &UserName, friend: &UserName) -> Result<(), StoreError> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO friendships (user_name, friend_name) VALUES (?1, ?2), (?2, ?1) ON CONFLICT DO NOTHING",
        )?;
        insert.execute([user.as_str(), friend.as_str()])?;
        Ok(())
    }

    fn remove_friendship(&mut self, user: &UserName, friend: &UserName) -> Result<(), StoreError> {
        let mut delete = self.db.prepare_cached(
            "DELETE FROM friendships
             WHERE (user_name = ?1 AND friend_name = ?2) OR (user_name = ?2 AND friend_name = ?1)",
        )?;
        delete.execute([user.as_str(), friend.as_str()])?;
        Ok(())
    }

    fn request(&mut self, receiver: &UserName, sender: &UserName) -> Result<Option<StoredFriendRequest>, StoreError> {
        let mut find = self.db.prepare_cached(
            "SELECT message_id, time_ms, push_seq, hidden FROM friend_requests WHERE receiver = ?1 AND sender = ?2",
        )?;
        let row = find.query_row([receiver.as_str(), sender.as_str()], |row| {
            Ok((row.get::<_, Box<str>>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get(3)?))
        });
        let Some((id, time_ms, seq, is_hidden)) = row.optional()? else {
            return Ok(None);
        };
        let seq = u64::try_from(seq).map_err(|_| corrupt_error("a negative number"))?;
        Ok(Some(StoredFriendRequest { id, time_ms: time(time_ms), seq, is_hidden }))
    }

    fn count_requests_of(&mut self, sender: &UserName, limit: u32) -> Result<u32, StoreError> {
        self.count_up_to(
            "SELECT count(*) FROM (SELECT 1 FROM friend_requests WHERE sender = ?1 LIMIT ?2)",
            sender,
            limit,
        )
    }

    fn count_requests_to(&mut self, receiver: &UserName, limit: u32) -> Result<u32, StoreError> {
        self.count_up_to(
            "SELECT count(*) FROM (SELECT 1 FROM friend_requests WHERE hidden = 0 AND receiver = ?1 LIMIT ?2)",
            receiver,
            limit,
        )
    }

    fn add_request(&mut self, push: &Push, is_hidden: bool) -> Result<(), StoreError> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO friend_requests (receiver, sender, message_id, time_ms, push_seq, hidden, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let (time_ms, seq) = (to_i64(push.time_ms), to_i64(push.seq));
        insert.execute(params![push.receiver(), push.sender(), push.id(), time_ms, seq, is_hidden, push.content()])?;
        Ok(())
    }

    fn hide_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError> {
        let mut hide =
            self.db.prepare_cached("UPDATE friend_requests SET hidden = 1 WHERE receiver = ?1 AND sender = ?2")?;
        hide.execute([receiver.as_str(), sender.as_str()])?;
        Ok(())
    }

    fn remove_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError> {
        let mut remove = self.db.prepare_cached("DELETE FROM friend_requests WHERE receiver = ?1 AND sender = ?2")?;
        remove.execute([receiver.as_str(), sender.as_str()])?;
        Ok(())
    }
}
