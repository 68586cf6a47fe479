//! The rules of friend requests, their answers and the end of a friendship: the checks, their
//! order, and the changes that belong together. They are the same for every store: a store has the
//! tables ([`FriendshipRepository`]), and no rule.

use super::{MailboxSaveResult, PushSenderAndSize, StoreConnection, StoreError};
use crate::chat::contract::{FriendAnswerOutcome, FriendRequestOutcome, MailboxQuotaKind};
use crate::protocol::field::UserName;
use crate::protocol::push::{Push, PushKind};

/// A friend request that nobody has answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFriendRequest {
    /// The asker's id of it, which the answer names.
    pub id: Box<str>,
    /// When it was taken, in ms since the epoch.
    pub time_ms: u64,
    /// The number of its push, which may have been acked and be gone.
    pub seq: u64,
    /// Its receiver blocks the asking user, and does not see it.
    pub is_hidden: bool,
}

/// The relation between two users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserRelation {
    /// They are friends.
    pub are_friends: bool,
    /// The first user blocks the second.
    pub blocks: bool,
    /// The second user blocks the first.
    pub is_blocked: bool,
}

/// The tables of friendships and friend requests: reads and writes without a rule. They are part of
/// a [`StoreConnection`]'s transaction.
pub trait FriendshipRepository {
    /// The relation of a user to another.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn relation(&mut self, user: &UserName, other: &UserName) -> Result<UserRelation, StoreError>;
    /// How many friends a user has; counting stops at `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn count_friends(&mut self, user: &UserName, limit: u32) -> Result<u32, StoreError>;
    /// Makes two users friends, in both directions.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn add_friendship(&mut self, user: &UserName, friend: &UserName) -> Result<(), StoreError>;
    /// Ends a friendship, in both directions.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn remove_friendship(&mut self, user: &UserName, friend: &UserName) -> Result<(), StoreError>;
    /// The pending request from `sender` to `receiver`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn request(&mut self, receiver: &UserName, sender: &UserName) -> Result<Option<StoredFriendRequest>, StoreError>;
    /// How many requests of a sender are pending, hidden or not; counting stops at `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn count_requests_of(&mut self, sender: &UserName, limit: u32) -> Result<u32, StoreError>;
    /// How many requests to a receiver are pending and not hidden; counting stops at `limit`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn count_requests_to(&mut self, receiver: &UserName, limit: u32) -> Result<u32, StoreError>;
    /// Stores the request of this push, with its text. It does not save the push itself.
    ///
    /// # Errors
    /// `Refused` if one from the same sender to the same receiver is pending; see [`StoreError`].
    fn add_request(&mut self, push: &Push, is_hidden: bool) -> Result<(), StoreError>;
    /// Hides a pending request from its receiver. Its push stays.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn hide_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError>;
    /// Deletes a pending request, if there is one. Its push stays.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn remove_request(&mut self, receiver: &UserName, sender: &UserName) -> Result<(), StoreError>;
}

/// A pending request that was removed together with its push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedFriendRequest {
    /// The asked user.
    pub receiver: UserName,
    /// The number of its push, which may have been acked before.
    pub seq: u64,
    /// Sender and size of its push, if that was requested and the push was still stored.
    pub push: Option<PushSenderAndSize>,
}

/// The result of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct FriendAnswerEffect {
    /// The outcome.
    pub outcome: FriendAnswerOutcome,
    /// Its push was saved by this try, not by an earlier one.
    pub is_new: bool,
    /// The request that crossed the accepted one and was removed.
    pub crossed_request: Option<RemovedFriendRequest>,
}

impl From<FriendAnswerOutcome> for FriendAnswerEffect {
    fn from(outcome: FriendAnswerOutcome) -> Self {
        Self { outcome, is_new: false, crossed_request: None }
    }
}

/// Stores a friend request and its push, unless `pending_max` requests from the asking user, or to
/// the asked user, are pending, or there is no room for the push. A repetition with the same `seq`
/// gives `Pending` again while its push is still stored. The second value tells whether this try
/// saved the push.
///
/// If the asked user blocks the asking user, the request is hidden and has no push. Otherwise it is
/// like every request, except that it counts only for the asking user: however many users are
/// blocked, others must be able to ask.
///
/// # Errors
/// See [`StoreError`].
pub fn ask(
    store: &mut dyn StoreConnection,
    push: &Push,
    pending_max: u32,
    exceeded: Option<MailboxQuotaKind>,
) -> Result<(FriendRequestOutcome, bool), StoreError> {
    let (asker, asked) = (name(push.sender())?, name(push.receiver())?);
    // The asking user's account may have been deleted since.
    if store.accounts().accounts_exist(&asker, &asked)? != [true, true] {
        return Ok((FriendRequestOutcome::NoSuchUser, false));
    }
    if let Some(request) = store.friendships().request(&asked, &asker)? {
        let is_repeated = request.seq == push.seq && (request.is_hidden || is_kept(store, push)?);
        return Ok(match (is_repeated, request.is_hidden) {
            (true, true) => (FriendRequestOutcome::Hidden, false),
            (true, false) => (FriendRequestOutcome::Pending, false),
            (false, _) => (FriendRequestOutcome::AlreadyPending { time_ms: request.time_ms }, false),
        });
    }
    let tables = store.friendships();
    let tie = tables.relation(&asker, &asked)?;
    if tie.blocks {
        return Ok((FriendRequestOutcome::YouBlock, false));
    }
    if tie.are_friends {
        return Ok((FriendRequestOutcome::AlreadyFriends, false));
    }
    if tables.count_requests_of(&asker, pending_max)? >= pending_max
        || tables.count_requests_to(&asked, pending_max)? >= pending_max
    {
        return Ok((FriendRequestOutcome::TooMany, false));
    }
    if let Some(quota) = exceeded {
        return Ok((FriendRequestOutcome::Full(quota), false));
    }
    tables.add_request(push, tie.is_blocked)?;
    if tie.is_blocked {
        return Ok((FriendRequestOutcome::Hidden, false));
    }
    Ok((FriendRequestOutcome::Pending, save(store, push)?))
}

/// Answers a pending request that is not hidden. Nothing is changed if there is no room for the
/// push of the answer, or for an accept if either user has `friends_max` friends. An accept also
/// removes the request that crosses it. A repetition with the same `seq` gives `Done` again while
/// its push is still stored.
///
/// # Errors
/// See [`StoreError`].
pub fn answer(
    store: &mut dyn StoreConnection,
    push: &Push,
    friends_max: u32,
    exceeded: Option<MailboxQuotaKind>,
) -> Result<FriendAnswerEffect, StoreError> {
    let (asked, asker) = (name(push.sender())?, name(push.receiver())?);
    let request = store.friendships().request(&asked, &asker)?;
    if request.is_none_or(|request| request.is_hidden || *request.id != *push.id()) {
        let is_repeated = is_kept(store, push)?;
        return Ok(if is_repeated { FriendAnswerOutcome::Done } else { FriendAnswerOutcome::NoSuchRequest }.into());
    }
    let (tables, is_accept) = (store.friendships(), push.kind == PushKind::FriendAccept);
    if is_accept
        && (tables.count_friends(&asked, friends_max)? >= friends_max
            || tables.count_friends(&asker, friends_max)? >= friends_max)
    {
        return Ok(FriendAnswerOutcome::TooManyFriends.into());
    }
    if let Some(quota) = exceeded {
        return Ok(FriendAnswerOutcome::Full(quota).into());
    }
    tables.remove_request(&asked, &asker)?;
    let mut crossed_request = None;
    if is_accept {
        tables.add_friendship(&asked, &asker)?;
        crossed_request = withdraw_request(store, &asker, &asked, true)?;
    }
    Ok(FriendAnswerEffect { outcome: FriendAnswerOutcome::Done, is_new: save(store, push)?, crossed_request })
}

/// Ends a friendship in both directions, and withdraws the pending request from `user` to `other`,
/// with its push; `None` if none was pending, as in a repetition. With `weigh`, the result has the
/// sender and size of the push.
///
/// # Errors
/// See [`StoreError`].
pub fn end_friendship(
    store: &mut dyn StoreConnection,
    user: &UserName,
    other: &UserName,
    weigh: bool,
) -> Result<Option<RemovedFriendRequest>, StoreError> {
    store.friendships().remove_friendship(user, other)?;
    withdraw_request(store, other, user, weigh)
}

fn withdraw_request(
    store: &mut dyn StoreConnection,
    receiver: &UserName,
    sender: &UserName,
    weigh: bool,
) -> Result<Option<RemovedFriendRequest>, StoreError> {
    let Some(request) = store.friendships().request(receiver, sender)? else {
        return Ok(None);
    };
    remove_with_push(store, receiver, sender, request.seq, weigh).map(Some)
}

/// Removes the pending request of a blocked user with its push; `None` if none is hidden. With
/// `weigh`, the result has the sender and size of the push.
///
/// # Errors
/// See [`StoreError`].
pub fn remove_hidden_request(
    store: &mut dyn StoreConnection,
    receiver: &UserName,
    sender: &UserName,
    weigh: bool,
) -> Result<Option<RemovedFriendRequest>, StoreError> {
    match store.friendships().request(receiver, sender)? {
        Some(request) if request.is_hidden => remove_with_push(store, receiver, sender, request.seq, weigh).map(Some),
        _ => Ok(None),
    }
}

fn remove_with_push(
    store: &mut dyn StoreConnection,
    receiver: &UserName,
    sender: &UserName,
    seq: u64,
    weigh: bool,
) -> Result<RemovedFriendRequest, StoreError> {
    let key = [(receiver.clone(), seq)];
    let push = if weigh { store.sizes(&key)?.pop().flatten() } else { None };
    store.friendships().remove_request(receiver, sender)?;
    store.delete_pushes(&key)?;
    let [(receiver, seq)] = key;
    Ok(RemovedFriendRequest { receiver, seq, push })
}

/// Saves a push; `false`: it was in the store already.
fn save(store: &mut dyn StoreConnection, push: &Push) -> Result<bool, StoreError> {
    Ok(store.save_pushes(std::slice::from_ref(push))? == [MailboxSaveResult::Itself])
}

/// Is this very push in the store?
fn is_kept(store: &mut dyn StoreConnection, push: &Push) -> Result<bool, StoreError> {
    Ok(store.find_pushes(std::slice::from_ref(push))? == [Some(MailboxSaveResult::Before)])
}

fn name(text: &str) -> Result<UserName, StoreError> {
    UserName::new(text).map_err(|why| StoreError::Refused(why.into()))
}

#[cfg(test)]
mod tests;
