//! A store in memory that ends with the process: for tests and trials. It behaves like the others,
//! rollback included.

mod accounts;
mod blocks;
mod friendships;
mod roster;
mod tokens;

use super::accounts::{AccountAuthData, AccountRepository};
use super::blocks::BlockedUserRepository;
use super::friendship::FriendshipRepository;
use super::roster::RosterReadRepository;
use super::token::{ResumeTokenRepository, StoredToken};
use super::{MailboxSaveResult, PushSenderAndSize, StoreConnection, StoreError};
use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::push::{Push, PushKind};
use accounts::AccountOrTombstone;
use friendships::FriendRequestWithText;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The asked user and the asking user.
type FriendRequestPair = (UserName, UserName);

#[derive(Debug, Default)]
struct MemoryTables {
    accounts: HashMap<UserName, AccountOrTombstone>,
    friends: HashMap<UserName, BTreeSet<UserName>>,
    requests: HashMap<FriendRequestPair, FriendRequestWithText>,
    /// Pending requests by the `seq` of their pushes, with the other user: `requests_by_sender` has
    /// those that each user has sent, and `requests_by_receiver` those that each user has received,
    /// without hidden ones.
    requests_by_sender: HashMap<UserName, BTreeSet<(u64, UserName)>>,
    requests_by_receiver: HashMap<UserName, BTreeSet<(u64, UserName)>>,
    blocked: HashMap<UserName, BTreeSet<UserName>>,
    tokens: HashMap<UserName, Vec<StoredToken>>,
    pushes: HashMap<UserName, BTreeMap<u64, Push>>,
    /// Messages by receiver, sender and id, so that one is kept once.
    messages: HashMap<(UserName, Box<str>, Box<str>), u64>,
    last_seq: u64,
    /// How to undo the writes since `begin`; the last one is undone first.
    undo: Vec<RollbackEntry>,
}

#[derive(Debug)]
enum RollbackEntry {
    Account(UserName, Option<AccountOrTombstone>),
    Befriended(UserName, UserName),
    Unfriended(UserName, UserName),
    Request(FriendRequestPair, Option<FriendRequestWithText>),
    /// Whether the first blocked the second.
    Blocked(UserName, UserName, bool),
    Saved(UserName, u64),
    Deleted(Push),
    Tokens(UserName, Vec<StoredToken>),
}

impl MemoryTables {
    fn message_key(push: &Push, receiver: &UserName) -> (UserName, Box<str>, Box<str>) {
        (receiver.clone(), push.sender().into(), push.id().into())
    }

    fn put(&mut self, push: Push, receiver: UserName) {
        if push.kind == PushKind::Message {
            self.messages.insert(Self::message_key(&push, &receiver), push.seq);
        }
        self.last_seq = self.last_seq.max(push.seq);
        self.pushes.entry(receiver).or_default().insert(push.seq, push);
    }

    fn remove(&mut self, receiver: &UserName, seq: u64) -> Option<Push> {
        let list = self.pushes.get_mut(receiver)?;
        let push = list.remove(&seq)?;
        if list.is_empty() {
            self.pushes.remove(receiver);
        }
        if push.kind == PushKind::Message {
            self.messages.remove(&Self::message_key(&push, receiver));
        }
        Some(push)
    }

    /// The result of saving a push if it, or another push with the same message, is stored already.
    fn find(&self, push: &Push, receiver: &UserName) -> Result<Option<MailboxSaveResult>, StoreError> {
        if let Some(stored) = self.pushes.get(receiver).and_then(|list| list.get(&push.seq)) {
            let same = stored.sender() == push.sender() && stored.id() == push.id();
            let another = || StoreError::Refused(format!("another push stands under the number {}", push.seq));
            return same.then_some(Some(MailboxSaveResult::Before)).ok_or_else(another);
        }
        let kept = push.kind == PushKind::Message && self.messages.contains_key(&Self::message_key(push, receiver));
        Ok(kept.then_some(MailboxSaveResult::Duplicate))
    }

    fn save(&mut self, push: &Push) -> Result<MailboxSaveResult, StoreError> {
        let receiver = name(push.receiver())?;
        if let Some(found) = self.find(push, &receiver)? {
            return Ok(found);
        }
        self.undo.push(RollbackEntry::Saved(receiver.clone(), push.seq));
        self.put(push.clone(), receiver);
        Ok(MailboxSaveResult::Itself)
    }

    fn delete(&mut self, receiver: &UserName, seq: u64) {
        if let Some(push) = self.remove(receiver, seq) {
            self.undo.push(RollbackEntry::Deleted(push));
        }
    }

    fn undo(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                RollbackEntry::Account(name, before) => self.restore_account(name, before),
                RollbackEntry::Befriended(user, friend) => {
                    self.friends.entry(user).or_default().remove(&friend);
                }
                RollbackEntry::Unfriended(user, friend) => {
                    self.friends.entry(user).or_default().insert(friend);
                }
                RollbackEntry::Request(pair, before) => drop(self.put_request(pair, before)),
                RollbackEntry::Blocked(user, other, is_blocked) => self.restore_blocked(&user, &other, is_blocked),
                RollbackEntry::Tokens(user, tokens) => self.restore_tokens(&user, tokens),
                RollbackEntry::Saved(receiver, seq) => drop(self.remove(&receiver, seq)),
                RollbackEntry::Deleted(push) => {
                    if let Ok(receiver) = name(push.receiver()) {
                        self.put(push, receiver);
                    }
                }
            }
        }
    }
}

fn name(text: &str) -> Result<UserName, StoreError> {
    UserName::new(text).map_err(|why| StoreError::Refused(why.into()))
}

/// A connection to tables in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<MemoryTables>>,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, MemoryTables> {
        // After a panic the transaction is rolled back before the next one begins, so the tables
        // are consistent.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoreConnection for MemoryStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.tables().undo();
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.tables().undo.clear();
        Ok(())
    }

    fn rollback(&mut self) {
        self.tables().undo();
    }

    fn last_seq(&mut self) -> Result<u64, StoreError> {
        Ok(self.tables().last_seq)
    }

    fn create_account(&mut self, profile: &Profile, password_hash: &Secret) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        if tables.accounts.contains_key(&profile.user_name) {
            // The same hash, salt and all: the same request once more.
            let stored = tables.account(&profile.user_name).map(|account| &account.password_hash);
            return Ok(stored == Some(password_hash));
        }
        let account = AccountAuthData { password_hash: password_hash.clone(), is_banned: false };
        tables.set_account(&profile.user_name, AccountOrTombstone::There { profile: profile.clone(), account });
        Ok(true)
    }

    fn profile(&mut self, user: &UserName) -> Result<Option<Profile>, StoreError> {
        Ok(self.tables().profile(user).cloned())
    }

    fn friends(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError> {
        Ok(self.tables().friends.get(user).into_iter().flatten().cloned().collect())
    }

    fn pushes(
        &mut self,
        user: &UserName,
        after_seq: u64,
        count_max: u32,
        bytes_max: usize,
    ) -> Result<Vec<Push>, StoreError> {
        let tables = self.tables();
        let list = tables.pushes.get(user).into_iter().flat_map(|list| list.range(after_seq.saturating_add(1)..));
        let mut bytes = 0;
        let within = |push: &&Push| {
            let begun_below = bytes < bytes_max;
            bytes += push.text_bytes();
            begun_below
        };
        let list = list.take(count_max as usize).map(|(_, push)| push).take_while(within);
        Ok(list.map(Push::clone).collect())
    }

    fn save_pushes(&mut self, pushes: &[Push]) -> Result<Vec<MailboxSaveResult>, StoreError> {
        let mut tables = self.tables();
        pushes.iter().map(|push| tables.save(push)).collect()
    }

    fn find_pushes(&mut self, pushes: &[Push]) -> Result<Vec<Option<MailboxSaveResult>>, StoreError> {
        let tables = self.tables();
        pushes.iter().map(|push| tables.find(push, &name(push.receiver())?)).collect()
    }

    fn waiting_pushes(
        &mut self,
        receivers: &[(&str, u64)],
        count_max: u32,
        note: &mut dyn FnMut(usize, u64, &str, u64),
    ) -> Result<(), StoreError> {
        let tables = self.tables();
        for (place, (receiver, after_seq)) in receivers.iter().enumerate() {
            let list = tables.pushes.get(&name(receiver)?);
            let list = list.into_iter().flat_map(|list| list.range(after_seq.saturating_add(1)..));
            for (seq, push) in list.take(count_max as usize) {
                note(place, *seq, push.sender(), push.text_bytes() as u64);
            }
        }
        Ok(())
    }

    fn sizes(&mut self, pushes: &[(UserName, u64)]) -> Result<Vec<Option<PushSenderAndSize>>, StoreError> {
        let tables = self.tables();
        let size = |push: &Push| (push.sender().into(), push.text_bytes() as u64);
        let found = |(receiver, seq): &(UserName, u64)| tables.pushes.get(receiver)?.get(seq).map(size);
        Ok(pushes.iter().map(found).collect())
    }

    fn delete_pushes(&mut self, pushes: &[(UserName, u64)]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for (receiver, seq) in pushes {
            tables.delete(receiver, *seq);
        }
        Ok(())
    }

    fn accounts(&mut self) -> &mut dyn AccountRepository {
        self
    }

    fn friendships(&mut self) -> &mut dyn FriendshipRepository {
        self
    }

    fn blocks(&mut self) -> &mut dyn BlockedUserRepository {
        self
    }

    fn rosters(&mut self) -> &mut dyn RosterReadRepository {
        self
    }

    fn tokens(&mut self) -> &mut dyn ResumeTokenRepository {
        self
    }
}
