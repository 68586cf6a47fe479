//! Blocking work on its own threads: accounts, friendships, pending requests and un-acked pushes.
//! No chat rule, no connection, no form of CONTENT.

mod account_job;
pub mod accounts;
pub mod admin;
pub mod blocks;
pub mod cluster;
mod fair_queue;
pub mod friendship;
mod group_commit;
mod health;
mod job_kinds;
mod lane_queue;
mod limits;
mod login_reads;
pub mod memory;
pub mod mysql;
pub mod node;
mod node_batch;
pub mod password;
pub mod pool;
pub mod portable;
mod priority;
mod push_jobs;
pub mod quota;
pub mod records;
mod reopen;
pub mod roster;
pub mod sqlite;
pub mod token;
mod transaction;
mod undelivered;
mod wal;
mod work;

use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::push::Push;
use accounts::AccountRepository;
use blocks::BlockedUserRepository;
use friendship::FriendshipRepository;
use node::ClusterStore;
use roster::RosterReadRepository;
use std::fmt;
use token::ResumeTokenRepository;

/// Why a store did not do a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Another transaction holds a lock that it needs, or there was a deadlock: the whole
    /// transaction may be tried again.
    Busy(String),
    /// The store cannot be reached, or it is not known whether it did the work.
    Unavailable(String),
    /// The store can be reached, but this server cannot use it: a wrong password, no such database,
    /// a missing right. Waiting does not help.
    Unusable(String),
    /// Another server uses the store.
    InUse(String),
    /// This input was refused, and would be refused again.
    Refused(String),
    /// Like `Refused`: it is larger than the store accepts.
    TooLarge(String),
    /// The store reported an error that this server does not know: it may be due to the input or to
    /// the store.
    Unknown(String),
    /// The stored data was written by another program or a newer server.
    Corrupt(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(why)
            | Self::Unavailable(why)
            | Self::Unusable(why)
            | Self::InUse(why)
            | Self::Refused(why)
            | Self::TooLarge(why)
            | Self::Unknown(why)
            | Self::Corrupt(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StoreError {}

/// The error about a row that this server would not write.
fn corrupt_error(why: &str) -> StoreError {
    StoreError::Corrupt(format!("a row of the store is not what this server writes: {why}"))
}

/// The result of saving a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxSaveResult {
    /// It was saved now.
    Itself,
    /// It is in the store, and was or may have been there before.
    Before,
    /// Another push of kind `Message` with the same receiver, sender and id is in the store: this
    /// one was not saved.
    Duplicate,
}

/// The sender of a push, and the size of its four texts in bytes.
pub type PushSenderAndSize = (Box<str>, u64);

/// One connection to a store, owned by one worker.
///
/// Every method between `begin` and `commit` takes effect at `commit` or not at all. After any
/// error the caller rolls back. Every write may be repeated with the same arguments and then
/// changes nothing more.
pub trait StoreConnection: Send {
    /// Starts a transaction that may write.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn begin(&mut self) -> Result<(), StoreError>;
    /// Starts a group of reads, which [`end_reads`](Self::end_reads) ends. Some stores do them in
    /// one transaction.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn begin_reads(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Ends reads.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn end_reads(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Locks the users whose friendships the transaction will change, each once and in ascending
    /// order. Where transactions run in parallel, those about the same users wait for each other
    /// here, so there is no deadlock later.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn lock_users(&mut self, people: &[&str]) -> Result<(), StoreError> {
        let _ = people;
        Ok(())
    }
    /// Makes everything since `begin` durable.
    ///
    /// # Errors
    /// With `Unavailable`, it is not known whether it was committed.
    fn commit(&mut self) -> Result<(), StoreError>;
    /// Drops everything since `begin`. Never fails: a connection that cannot roll back is dropped.
    fn rollback(&mut self);
    /// Writes to the disk as a commit does, without changing anything; outside of a transaction.
    /// For stores whose transactions write only changed data.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn probe(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Is the connection lost, or in an unknown state? Then its owner must drop it and open
    /// another.
    fn is_broken(&self) -> bool {
        false
    }
    /// The operations that only a node of a cluster needs, if this server is one.
    fn nodes(&mut self) -> Option<&mut dyn ClusterStore> {
        None
    }
    /// The size of the largest push that the store accepts, in bytes.
    fn row_bytes_max(&self) -> usize {
        usize::MAX
    }
    /// The size of its write-ahead log in bytes, if it has one as a file.
    fn wal_bytes(&self) -> Option<u64> {
        None
    }
    /// The greatest `seq` of any push in the store or of any pending request; 0 if there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn last_seq(&mut self) -> Result<u64, StoreError>;
    /// Creates an account; `false` if the name is taken.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn create_account(&mut self, profile: &Profile, password_hash: &Secret) -> Result<bool, StoreError>;
    /// The stored hash of a user's password.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn password_hash(&mut self, user: &UserName) -> Result<Option<Secret>, StoreError> {
        Ok(self.accounts().account(user)?.map(|account| account.password_hash))
    }
    /// A user's profile.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn profile(&mut self, user: &UserName) -> Result<Option<Profile>, StoreError>;
    /// All friends of a user.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn friends(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError>;
    /// A user's waiting pushes with a `seq` greater than `after_seq`, ascending, at most
    /// `count_max`. The push with which their texts reach `bytes_max` is the last one.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn pushes(
        &mut self,
        user: &UserName,
        after_seq: u64,
        count_max: u32,
        bytes_max: usize,
    ) -> Result<Vec<Push>, StoreError>;
    /// Saves pushes; gives one result for each, in order.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn save_pushes(&mut self, pushes: &[Push]) -> Result<Vec<MailboxSaveResult>, StoreError>;
    /// The results that [`save_pushes`](Self::save_pushes) would give for pushes that are in the
    /// store or are duplicates of stored ones; `None`: neither.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn find_pushes(&mut self, pushes: &[Push]) -> Result<Vec<Option<MailboxSaveResult>>, StoreError>;
    /// Reads the waiting pushes of some receivers, ascending: for each receiver those with a `seq`
    /// greater than the given one, at most `count_max`. `note` gets the receiver's index in the
    /// list, the push's `seq`, its sender and the size of its four texts in bytes.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn waiting_pushes(
        &mut self,
        receivers: &[(&str, u64)],
        count_max: u32,
        note: &mut dyn FnMut(usize, u64, &str, u64),
    ) -> Result<(), StoreError>;
    /// The senders and the sizes of pushes, which are given as (receiver, `seq`); `None` for those
    /// that are not in the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn sizes(&mut self, pushes: &[(UserName, u64)]) -> Result<Vec<Option<PushSenderAndSize>>, StoreError>;
    /// Deletes pushes, which are given as (receiver, `seq`).
    ///
    /// # Errors
    /// See [`StoreError`].
    fn delete_pushes(&mut self, pushes: &[(UserName, u64)]) -> Result<(), StoreError>;
    /// The tables of accounts and deletions.
    fn accounts(&mut self) -> &mut dyn AccountRepository;
    /// The tables of friendships and friend requests.
    fn friendships(&mut self) -> &mut dyn FriendshipRepository;
    /// The table of blocked users.
    fn blocks(&mut self) -> &mut dyn BlockedUserRepository;
    /// Friends and requests for a user's roster.
    fn rosters(&mut self) -> &mut dyn RosterReadRepository;
    /// The table of resume tokens.
    fn tokens(&mut self) -> &mut dyn ResumeTokenRepository;
}
