//! The purposes of the jobs in flight.

use super::admin_op::RunningAdminOp;
use super::cluster::AdminReportAwaitingNode;
use super::contract::JobTicket;
use super::friend_op::RunningFriendOp;
use super::ids::{DeliveryRef, LoginStageTicket, UserSlot};
use super::own_op::{OwnAccountRequestAwaitingJob, PendingPasswordChange};
use crate::protocol::field::{Profile, UserName};

/// The purpose of a job in flight.
#[derive(Debug)]
pub(super) enum JobPurpose {
    Hash {
        request: JobTicket,
        profile: Box<Profile>,
    },
    Create {
        request: JobTicket,
    },
    /// The state of the log-in has the details.
    Login(LoginStageTicket),
    Token {
        request: JobTicket,
    },
    /// Retains the user.
    Page(UserSlot),
    /// Counts the mailbox of a user who is away, because this push has waited too long. Retains
    /// the user.
    Count {
        user: UserSlot,
        seq: u64,
    },
    Profile {
        request: JobTicket,
    },
    Account(OwnAccountRequestAwaitingJob),
    /// Hashes the password that a user wants.
    NewPassword(Box<PendingPasswordChange>),
    Save(DeliveryRef),
    Delete {
        receiver: UserName,
        seq: u64,
    },
    Friendship(RunningFriendOp),
    /// Searches a push that may be in the store. Retains its receiver.
    Lost {
        receiver: UserSlot,
        seq: u64,
        /// How many users the receiver had blocked when the job was submitted, as counted by
        /// [`FriendshipsInDoubt`](super::doubt::FriendshipsInDoubt).
        blocks: u32,
    },
    /// Reads this user's friends again. Retains the user, whose `loading` is set.
    Friends(UserSlot),
    /// Asks to which node this user belongs: it is to be told something. Retains the user.
    Owner(UserSlot),
    /// The same for a user who logs in here; the user may be gone by now.
    ClaimedOwner {
        user: UserSlot,
        serial: u64,
    },
    /// The barrier behind all jobs about a user who moves to another node. Retains the user.
    ReleaseBarrier(UserSlot),
    /// Asks to which node a user belongs. The operator has asked about the user.
    AskedOwner(AdminReportAwaitingNode),
    /// Hashes a password that the operator gives.
    AdminHash(Box<RunningAdminOp>),
    Admin(Box<RunningAdminOp>),
}
