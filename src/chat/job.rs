//! The purposes of the jobs in flight.

use super::contract::Ticket;
use super::friend_op::RunningOp;
use super::ids::DeliveryRef;
use super::ids::UserId;
use super::tries::Try;
use crate::protocol::field::{Profile, UserName};
use crate::protocol::request::Credential;

/// The purpose of a job in flight.
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
    Friendship(RunningOp),
    /// A push that may be in the store is looked for. Holds a reference to its receiver.
    Lost {
        receiver: UserId,
        seq: u64,
    },
    /// Reads this user's friends again. Holds a reference to the user, who is loading.
    Friends(UserId),
}
