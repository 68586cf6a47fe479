//! The requests to a store that only a node of a cluster makes: the node of a user, and pages
//! without a cursor.

use super::StoreError;
use crate::chat::contract::{NodeIncarnation, UserOwner};
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use std::time::Duration;

/// A store that several nodes use. See [`StoreConnection::nodes`](super::StoreConnection::nodes).
pub trait ClusterStore {
    /// This node.
    fn incarnation(&self) -> NodeIncarnation;
    /// No push with a greater `seq` may be written.
    fn seq_max(&self) -> u64;
    /// Waits until that is at least `seq`, or for so long, and gives what it is then.
    fn wait_for_seq_max(&self, seq: u64, within: Duration) -> u64;
    /// To whom a user belongs; the default if nobody ever had them.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn owner(&mut self, user: &UserName) -> Result<UserOwner, StoreError>;
    /// Makes a user belong to this node, if the epoch of their whereabouts is still this one: then
    /// it is one more. In a transaction.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn claim(&mut self, user: &UserName, epoch: u64, floor: u64) -> Result<bool, StoreError>;
    /// Makes everything since `begin` durable and then reads, in the same round trip, to whom these
    /// users belong. `None`: it was committed, and that could not be read.
    ///
    /// # Errors
    /// Those of a commit.
    fn commit_and_read(&mut self, users: &[&str]) -> Result<Option<Vec<UserOwner>>, StoreError>;
    /// The `seq` of the stored message with the receiver, sender and id of this one, if this one is
    /// no repetition of it. In a transaction.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn find_other_message(&mut self, push: &Push) -> Result<Option<u64>, StoreError>;
    /// Frees the id of this stored message for another one. In a transaction.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn free_message_id(&mut self, seq: u64) -> Result<(), StoreError>;
    /// The first pushes that wait for a user and are not among these, ascending, `count_max` at
    /// most; the one with which their texts reach `bytes_max` is the last.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn pushes_except(
        &mut self,
        user: &UserName,
        except: &[u64],
        count_max: u32,
        bytes_max: usize,
    ) -> Result<Vec<Push>, StoreError>;
}
