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
pub mod memory;
pub mod mysql;
pub mod node;
mod node_work;
pub mod password;
pub mod pool;
pub mod portable;
pub mod quota;
mod reading;
mod records;
mod reopen;
pub mod roster;
pub mod sqlite;
pub mod token;
mod undelivered;
mod waiting;
mod wal;
mod work;

use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::push::Push;
use accounts::Accounts;
use blocks::Blocks;
use friendship::Friendships;
use node::Nodes;
use roster::Rosters;
use std::fmt;
use token::Tokens;

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Somebody else holds what it needs (a lock, a deadlock): the whole transaction may be tried
    /// again.
    Busy(String),
    /// The store cannot be reached, or whether it did the work is not known.
    Unavailable(String),
    /// The store is there and does not let this server use it: a wrong password, no such database,
    /// a missing right. Waiting alone does not help.
    Unusable(String),
    /// Another server uses the store.
    InUse(String),
    /// This very input was refused, and will be again.
    Refused(String),
    /// The same: it is larger than the store takes.
    TooLarge(String),
    /// The store said what this server does not know: whether the input is to blame or the store
    /// itself is not clear.
    Unknown(String),
    /// The stored data was not written by this server, or by a newer one.
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

/// The text of a system error, without the number that Rust puts behind it.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The result of saving a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedAs {
    /// It is in the store from now on.
    Itself,
    /// It is in the store, and was so before, or that cannot be told any more.
    Before,
    /// Another `Message` of the same receiver, sender and id is: this one was not kept.
    Duplicate,
}

/// The sender of a push, and the bytes of its four texts.
pub type Weight = (Box<str>, u64);

/// One connection to a store, owned by one worker.
///
/// Every method between `begin` and `commit` takes effect at `commit` or not at all. After any
/// error the caller rolls back. Every write may be repeated with the same arguments and then
/// changes nothing more.
pub trait Store: Send {
    /// Starts a transaction that may write.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn begin(&mut self) -> Result<(), StoreError>;
    /// Starts some reads, which [`end_reads`](Self::end_reads) ends: where it pays they are one
    /// transaction.
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
    /// Told of everybody whose friendships the transaction is about to change, each once and in
    /// ascending order: where transactions run side by side, those about the same users wait for
    /// each other here, and so never for each other in a circle.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn lock_people(&mut self, people: &[&str]) -> Result<(), StoreError> {
        let _ = people;
        Ok(())
    }
    /// Makes everything since `begin` durable.
    ///
    /// # Errors
    /// With `Unavailable`, whether it was committed is not known.
    fn commit(&mut self) -> Result<(), StoreError>;
    /// Drops everything since `begin`. Never fails: a connection that cannot roll back is dropped.
    fn rollback(&mut self);
    /// Writes what changes nothing, but goes to the disk as every commit does; outside of a
    /// transaction. For a store whose transactions write only what they change.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn touch(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Is the connection lost, or in a state that is not known? Its owner then drops it and opens
    /// another.
    fn is_broken(&self) -> bool {
        false
    }
    /// What only a node of a cluster asks, if it is one.
    fn nodes(&mut self) -> Option<&mut dyn Nodes> {
        None
    }
    /// The size of the largest push that it takes, in bytes.
    fn row_bytes_max(&self) -> usize {
        usize::MAX
    }
    /// The size of its write-ahead log, if it has one as a file.
    fn wal_bytes(&self) -> Option<u64> {
        None
    }
    /// The greatest `seq` of any push in the store, or named by a request that is pending; 0 if
    /// there is none.
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
    /// Everybody a user is friends with.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn friends(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError>;
    /// A user's waiting pushes with a `seq` greater than `after_seq`, ascending, `count_max` at
    /// most; the one with which their texts reach `bytes_max` is the last.
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
    /// Keeps pushes; the answers stand in their order.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn save_pushes(&mut self, pushes: &[Push]) -> Result<Vec<SavedAs>, StoreError>;
    /// The result that [`save_pushes`](Self::save_pushes) would give for pushes that are in the
    /// store, or are duplicates of such; `None`: neither.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn find_pushes(&mut self, pushes: &[Push]) -> Result<Vec<Option<SavedAs>>, StoreError>;
    /// Reads the pushes that wait for some receivers behind a `seq` of each: so many of each at
    /// most, ascending. `note` is told the place of the receiver in the list, the push's `seq`, who
    /// sent it and how many bytes its four texts have.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn waiting(
        &mut self,
        receivers: &[(&str, u64)],
        count_max: u32,
        note: &mut dyn FnMut(usize, u64, &str, u64),
    ) -> Result<(), StoreError>;
    /// The senders of these pushes, which are named by receiver and `seq`, and the bytes of their
    /// texts; `None` for those that are not there.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn sizes(&mut self, pushes: &[(UserName, u64)]) -> Result<Vec<Option<Weight>>, StoreError>;
    /// Forgets pushes, named by receiver and `seq`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn delete_pushes(&mut self, pushes: &[(UserName, u64)]) -> Result<(), StoreError>;
    /// What of accounts only their owners and the operator see.
    fn accounts(&mut self) -> &mut dyn Accounts;
    /// The tables of friendships and friend requests.
    fn friendships(&mut self) -> &mut dyn Friendships;
    /// The table of blocked users.
    fn blocks(&mut self) -> &mut dyn Blocks;
    /// Friends and requests as a user is shown them.
    fn rosters(&mut self) -> &mut dyn Rosters;
    /// The table of resume tokens.
    fn tokens(&mut self) -> &mut dyn Tokens;
}
