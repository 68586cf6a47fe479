//! The answers of the store to jobs: a part of the [contract](super::contract).

use super::account_job::OwnAccountStoreJobOutcome;
use super::admin_job::AdminStoreJobOutcome;
use super::cluster::contract::ClusterStoreJobOutcome;
use super::job_results::{FriendAnswerOutcome, FriendRequestOutcome, MailboxQuotaKind, PushPage};
use crate::protocol::field::{Profile, Secret, UserName};

/// The outcome of a job.
#[derive(Clone, Debug)]
pub enum JobOutcome {
    /// `Hash`: the hash to be stored.
    Hashed(Secret),
    /// `CreateAccount`: the account exists from now on.
    Created,
    /// `CreateAccount`: the name is taken.
    NameTaken,
    /// `Prove`: the credential is good.
    Proven,
    /// `LogIn`, `Prove`, and `Load` for a log-in: the credential is good, and the account is
    /// banned.
    Banned,
    /// `LogIn`, `Prove`: the password has yet to be verified against the stored hash; or there is
    /// no such user; or the token is not valid.
    Unproven {
        /// The stored hash of the password.
        password_hash: Option<Secret>,
        /// The password differs from the one that was verified last.
        differs_from_verified: bool,
    },
    /// `Verify`: whether the password fits.
    Verified(bool),
    /// `MakeToken`: the new token, whose hash is stored.
    Token(Secret),
    /// `RevokeTokens`: no token of the user is valid any more.
    TokensRevoked,
    /// `LogIn`, `Load`: the user's friends and first page.
    Loaded {
        /// All friends of the user, in no particular order.
        friends: Vec<UserName>,
        /// The first page.
        page: PushPage,
    },
    /// `LoadPage`.
    Page(PushPage),
    /// `GetProfile`: `None` when there is no such user.
    Profile(Option<Box<Profile>>),
    /// `SavePush`: committed, by this job or by an earlier one for the same push.
    Saved,
    /// `SavePush`: another push of kind `Message` with the same receiver, sender and id is in the
    /// store; this one was not stored.
    Duplicate,
    /// `SavePush`: the push would exceed this quota of its receiver's mailbox, and was not stored.
    Full(MailboxQuotaKind),
    /// `DeletePush`: the push is not in the store any more.
    Deleted,
    /// `AskFriend`: the result.
    Asked(FriendRequestOutcome),
    /// `AnswerFriend`: the result.
    Answered(FriendAnswerOutcome),
    /// `Unfriend`: the two are not friends, and no request of `user` to `other` is pending.
    Unfriended,
    /// `Account`: the outcome of the job.
    Account(Box<OwnAccountStoreJobOutcome>),
    /// `Admin`: the outcome of the job.
    Admin(Box<AdminStoreJobOutcome>),
    /// `Cluster`, and in a cluster the jobs that [`ClusterStoreJobOutcome`] names.
    Cluster(Box<ClusterStoreJobOutcome>),
    /// The job was not done, or it is not known whether it was done. Nothing may be promised.
    Failed,
    /// The job was not done, and a retry would not help: the job itself, or a stored row, is
    /// faulty. Other jobs are not affected.
    Refused,
    /// Like `Refused`: the push is larger than the store accepts.
    TooLarge,
}
