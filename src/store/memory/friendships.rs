//! The tables of friendships and friend requests.

use super::{MemoryStore, Tables, Undo, name};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use crate::store::StoreError;
use crate::store::friendship::{FriendRequest, Friendships};

impl Tables {
    fn set_friend(&mut self, user: &UserName, friend: &UserName, are_friends: bool) {
        let list = self.friends.entry(user.clone()).or_default();
        if are_friends && list.insert(friend.clone()) {
            self.undo.push(Undo::Befriended(user.clone(), friend.clone()));
        } else if !are_friends && list.remove(friend) {
            self.undo.push(Undo::Unfriended(user.clone(), friend.clone()));
        }
    }
}

impl Friendships for MemoryStore {
    fn are_friends(&mut self, user: &UserName, friend: &UserName) -> Result<bool, StoreError> {
        Ok(self.tables().friends.get(user).is_some_and(|friends| friends.contains(friend)))
    }

    fn count_friends(&mut self, user: &UserName, limit: u32) -> Result<u32, StoreError> {
        let count = self.tables().friends.get(user).map_or(0, |friends| friends.len());
        Ok(u32::try_from(count).unwrap_or(u32::MAX).min(limit))
    }

    fn add_friendship(&mut self, user: &UserName, friend: &UserName) -> Result<(), StoreError> {
        let mut tables = self.tables();
        tables.set_friend(user, friend, true);
        tables.set_friend(friend, user, true);
        Ok(())
    }

    fn remove_friendship(&mut self, user: &UserName, friend: &UserName) -> Result<(), StoreError> {
        let mut tables = self.tables();
        tables.set_friend(user, friend, false);
        tables.set_friend(friend, user, false);
        Ok(())
    }

    fn request(&mut self, receiver: &UserName, sender: &UserName) -> Result<Option<FriendRequest>, StoreError> {
        Ok(self.tables().requests.get(&(receiver.clone(), sender.clone())).cloned())
    }

    fn count_requests_of(&mut self, sender: &UserName, limit: u32) -> Result<u32, StoreError> {
        Ok(self.tables().asking.get(sender).map_or(0, |count| *count.min(&limit)))
    }

    fn count_requests_to(&mut self, receiver: &UserName, limit: u32) -> Result<u32, StoreError> {
        Ok(self.tables().asked.get(receiver).map_or(0, |count| *count.min(&limit)))
    }

    fn add_request(&mut self, push: &Push) -> Result<(), StoreError> {
        let pair = (name(push.receiver())?, name(push.sender())?);
        let mut tables = self.tables();
        if tables.requests.contains_key(&pair) {
            return Err(StoreError::Refused("a request of the same two is pending".into()));
        }
        let request = FriendRequest { id: push.id().into(), time_ms: push.time_ms, seq: push.seq };
        tables.insert_request(pair.clone(), request);
        tables.undo.push(Undo::Asked(pair));
        Ok(())
    }

    fn remove_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError> {
        let pair = (receiver.clone(), sender.clone());
        let mut tables = self.tables();
        if let Some(request) = tables.remove_request(&pair) {
            tables.undo.push(Undo::Answered(pair, request));
        }
        Ok(())
    }
}
