//! The tables of friendships and friend requests.

use super::{FriendRequestPair, MemoryStore, MemoryTables, RollbackEntry, name};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use crate::store::StoreError;
use crate::store::friendship::{FriendshipRepository, StoredFriendRequest, UserRelation};
use std::collections::{BTreeSet, HashMap};

/// A pending request, with its text.
#[derive(Clone, Debug)]
pub(super) struct FriendRequestWithText {
    pub(super) friend_request: StoredFriendRequest,
    pub(super) text: Box<str>,
}

type FriendRequestsBySeq = HashMap<UserName, BTreeSet<(u64, UserName)>>;

fn insert(lists: &mut FriendRequestsBySeq, user: &UserName, seq: u64, other: &UserName) {
    lists.entry(user.clone()).or_default().insert((seq, other.clone()));
}

fn remove(lists: &mut FriendRequestsBySeq, user: &UserName, seq: u64, other: &UserName) {
    if let Some(list) = lists.get_mut(user) {
        list.remove(&(seq, other.clone()));
        if list.is_empty() {
            lists.remove(user);
        }
    }
}

fn count(lists: &FriendRequestsBySeq, user: &UserName, limit: u32) -> u32 {
    let count = lists.get(user).map_or(0, BTreeSet::len);
    u32::try_from(count).unwrap_or(u32::MAX).min(limit)
}

impl MemoryTables {
    fn set_friend(&mut self, user: &UserName, friend: &UserName, are_friends: bool) {
        let list = self.friends.entry(user.clone()).or_default();
        if are_friends && list.insert(friend.clone()) {
            self.undo.push(RollbackEntry::Befriended(user.clone(), friend.clone()));
        } else if !are_friends && list.remove(friend) {
            self.undo.push(RollbackEntry::Unfriended(user.clone(), friend.clone()));
        }
    }

    /// Sets or removes the pending request of a pair; gives the previous one.
    pub(super) fn put_request(
        &mut self,
        pair: FriendRequestPair,
        request: Option<FriendRequestWithText>,
    ) -> Option<FriendRequestWithText> {
        let before = self.requests.remove(&pair);
        let (receiver, sender) = &pair;
        if let Some(FriendRequestWithText { friend_request, .. }) = &before {
            remove(&mut self.requests_by_sender, sender, friend_request.seq, receiver);
            remove(&mut self.requests_by_receiver, receiver, friend_request.seq, sender);
        }
        if let Some(FriendRequestWithText { friend_request, .. }) = &request {
            insert(&mut self.requests_by_sender, sender, friend_request.seq, receiver);
            if !friend_request.is_hidden {
                insert(&mut self.requests_by_receiver, receiver, friend_request.seq, sender);
            }
        }
        if let Some(request) = request {
            self.requests.insert(pair, request);
        }
        before
    }

    fn change_request(&mut self, pair: &FriendRequestPair, request: Option<FriendRequestWithText>) {
        let before = self.put_request(pair.clone(), request);
        self.undo.push(RollbackEntry::Request(pair.clone(), before));
    }
}

impl FriendshipRepository for MemoryStore {
    fn relation(&mut self, user: &UserName, other: &UserName) -> Result<UserRelation, StoreError> {
        let tables = self.tables();
        let are_friends = tables.friends.get(user).is_some_and(|friends| friends.contains(other));
        Ok(UserRelation { are_friends, blocks: tables.blocks(user, other), is_blocked: tables.blocks(other, user) })
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

    fn request(&mut self, receiver: &UserName, sender: &UserName) -> Result<Option<StoredFriendRequest>, StoreError> {
        Ok(self
            .tables()
            .requests
            .get(&(receiver.clone(), sender.clone()))
            .map(|request| request.friend_request.clone()))
    }

    fn count_requests_of(&mut self, sender: &UserName, limit: u32) -> Result<u32, StoreError> {
        Ok(count(&self.tables().requests_by_sender, sender, limit))
    }

    fn count_requests_to(&mut self, receiver: &UserName, limit: u32) -> Result<u32, StoreError> {
        Ok(count(&self.tables().requests_by_receiver, receiver, limit))
    }

    fn add_request(&mut self, push: &Push, is_hidden: bool) -> Result<(), StoreError> {
        let pair = (name(push.receiver())?, name(push.sender())?);
        let mut tables = self.tables();
        if tables.requests.contains_key(&pair) {
            return Err(StoreError::Refused("a request of the same two is pending".into()));
        }
        let friend_request =
            StoredFriendRequest { id: push.id().into(), time_ms: push.time_ms, seq: push.seq, is_hidden };
        tables.change_request(&pair, Some(FriendRequestWithText { friend_request, text: push.content().into() }));
        Ok(())
    }

    fn hide_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError> {
        let pair = (receiver.clone(), sender.clone());
        let mut tables = self.tables();
        if let Some(mut request) = tables.requests.get(&pair).cloned() {
            request.friend_request.is_hidden = true;
            tables.change_request(&pair, Some(request));
        }
        Ok(())
    }

    fn remove_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError> {
        let pair = (receiver.clone(), sender.clone());
        self.tables().change_request(&pair, None);
        Ok(())
    }
}
