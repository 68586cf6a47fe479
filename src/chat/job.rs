//! What the jobs in flight are for.

use super::contract::Ticket;
use super::friend_op::Friendship;
use super::ids::{ItemRef, LoginId, UserId};
use crate::protocol::field::{Profile, UserName};

/// What a job in flight is for.
#[derive(Debug)]
pub(super) enum JobPurpose {
    Hash {
        request: Ticket,
        profile: Box<Profile>,
    },
    Create {
        request: Ticket,
    },
    /// What for exactly, the state of the log-in says.
    Login(LoginId),
    Token {
        request: Ticket,
    },
    /// Holds a reference to the user.
    Page(UserId),
    Profile {
        request: Ticket,
    },
    Save(ItemRef),
    Delete {
        receiver: UserName,
        seq: u64,
    },
    Friendship(Friendship),
    /// A push that may be in the store is looked for. Holds a reference to its receiver.
    Lost {
        receiver: UserId,
        seq: u64,
    },
    /// Whose friends are read anew. Holds a reference to the user, who is loading.
    Friends(UserId),
}
