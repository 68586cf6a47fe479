//! Reads for a user's roster: friends and pending requests.

use super::StoreError;
use crate::chat::contract::{RosterReplyFriend, RosterReplyFriendRequest};
use crate::protocol::field::UserName;

/// Reads for a user's roster. They are part of a [`StoreConnection`](super::StoreConnection)'s
/// transaction.
pub trait RosterReadRepository {
    /// A user's friends whose names follow `after` in byte order, at most `rows_max`.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn friends_after(
        &mut self,
        user: &UserName,
        after: Option<&UserName>,
        rows_max: u32,
    ) -> Result<Vec<RosterReplyFriend>, StoreError>;
    /// The pending requests to a user that are not hidden, in ascending order of the `seq` of their
    /// pushes, at most `rows_max`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn incoming(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<RosterReplyFriendRequest>, StoreError>;
    /// The pending requests of a user, hidden or not, in ascending order of the `seq` of their
    /// pushes, at most `rows_max`.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn outgoing(&mut self, user: &UserName, rows_max: u32) -> Result<Vec<RosterReplyFriendRequest>, StoreError>;
}
