//! Friends and requests for a user's roster.

use super::{MemoryStore, MemoryTables};
use crate::chat::contract::{RosterReplyFriend, RosterReplyFriendRequest};
use crate::protocol::field::UserName;
use crate::store::StoreError;
use crate::store::roster::RosterReadRepository;
use std::ops::Bound;

impl MemoryTables {
    /// The roster's entry of a pending request, with the name of the other user.
    fn entry(&self, receiver: &UserName, sender: &UserName, other: &UserName) -> Option<RosterReplyFriendRequest> {
        let request = self.requests.get(&(receiver.clone(), sender.clone()))?;
        Some(RosterReplyFriendRequest {
            user_name: other.clone(),
            message_id: request.friend_request.id.clone(),
            content: request.text.clone(),
            time_ms: request.friend_request.time_ms,
        })
    }
}

impl RosterReadRepository for MemoryStore {
    fn friends_after(
        &mut self,
        user: &UserName,
        after: Option<&UserName>,
        rows_max: u32,
    ) -> Result<Vec<RosterReplyFriend>, StoreError> {
        let tables = self.tables();
        let Some(friends) = tables.friends.get(user) else {
            return Ok(Vec::new());
        };
        let behind = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.clone()));
        let shown = |friend: &UserName| {
            let profile = tables.profile(friend);
            RosterReplyFriend {
                user_name: friend.clone(),
                nick_name: profile.map_or_else(Box::default, |profile| profile.nick_name.clone()),
                profile_picture: profile.map_or_else(Box::default, |profile| profile.profile_picture.clone()),
            }
        };
        Ok(friends.range((behind, Bound::Unbounded)).take(rows_max as usize).map(shown).collect())
    }

    fn incoming(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<RosterReplyFriendRequest>, StoreError> {
        let tables = self.tables();
        let senders = tables.requests_by_receiver.get(user).into_iter().flatten();
        let shown = senders.filter_map(|(_, sender)| tables.entry(user, sender, sender));
        Ok(shown.take(rows_max as usize).collect())
    }

    fn outgoing(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<RosterReplyFriendRequest>, StoreError> {
        let tables = self.tables();
        let asked = tables.requests_by_sender.get(user).into_iter().flatten();
        let shown = asked.filter_map(|(_, asked)| tables.entry(asked, user, asked));
        Ok(shown.take(rows_max as usize).collect())
    }
}
