//! The purposes of the jobs in flight.

use super::admin_op::AdminOperation;
use super::cluster::Question;
use super::contract::Ticket;
use super::friend_op::RunningOp;
use super::ids::{DeliveryRef, LoginId, UserId};
use super::own_op::{NewPassword, OwnAccountJob};
use crate::protocol::field::{Profile, UserName};

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
    /// The state of the log-in has the details.
    Login(LoginId),
    Token {
        request: Ticket,
    },
    /// Holds a reference to the user.
    Page(UserId),
    /// Counts the mailbox of a user who is away, because this push has waited too long. Holds a
    /// reference to the user.
    Count {
        user: UserId,
        seq: u64,
    },
    Profile {
        request: Ticket,
    },
    Account(OwnAccountJob),
    /// Hashes the password that a user wants.
    NewPassword(Box<NewPassword>),
    Save(DeliveryRef),
    Delete {
        receiver: UserName,
        seq: u64,
    },
    Friendship(RunningOp),
    /// Searches a push that may be in the store. Holds a reference to its receiver.
    Lost {
        receiver: UserId,
        seq: u64,
        /// The value of `Chat::blocks` when the job was submitted.
        blocks: u64,
    },
    /// Reads this user's friends again. Holds a reference to the user, whose `loading` is set.
    Friends(UserId),
    /// Asks to whom this user belongs: their node is to be told something. They are held with that.
    Owner(UserId),
    /// The same of somebody who logs in here; they may be gone by now.
    ClaimedOwner {
        user: UserId,
        serial: u64,
    },
    /// Comes behind all jobs about a user who is let go of, and is held with that.
    LettingGo(UserId),
    /// Asks to whom a user belongs about whom the operator asks.
    AskedOwner(Question),
    /// Hashes a password that the operator gives.
    AdminHash(Box<AdminOperation>),
    Admin(Box<AdminOperation>),
}
