//! What the jobs in flight are for.

use super::contract::Ticket;
use super::friend_op::Friendship;
use super::ids::DeliveryRef;
use super::ids::UserId;
use super::tries::Try;
use crate::protocol::field::{Profile, UserName};
use crate::protocol::request::Credential;

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
    /// Holds a reference to the user, who is loading.
    LogIn {
        request: Ticket,
        user: UserId,
        credential: Credential,
        attempt: Try,
    },
    Prove {
        request: Ticket,
        user: UserName,
        credential: Credential,
        attempt: Try,
    },
    Verify {
        request: Ticket,
        user: UserName,
        attempt: Try,
    },
    Token {
        request: Ticket,
    },
    /// Holds a reference to the user, who is loading.
    Load {
        request: Ticket,
        user: UserId,
    },
    /// Holds a reference to the user.
    Page(UserId),
    Profile {
        request: Ticket,
    },
    Save(DeliveryRef),
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
