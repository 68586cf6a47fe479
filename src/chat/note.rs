//! What happened in the core, for those who count and log it. A [`Note`] is for what is rare, with
//! all that a line in a log or an audit needs; what happens to every message is only counted, in
//! [`Totals`], so that a message pays for an addition and no more.

use super::found::Quota;
use super::handle::{AddressKey, ConnId};
use crate::protocol::field::UserName;

/// The client on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its connection.
    pub conn: ConnId,
    /// Where it comes from; `None` for loopback.
    pub address_key: Option<AddressKey>,
}

/// Something that happened. No secret is ever in it, and making one allocates nothing: names are
/// shared with the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A log-in: the `LS` to this client follows directly.
    LoggedIn {
        /// Who it is from now on.
        user: UserName,
        /// On this connection.
        client: Client,
        /// What proved it.
        by: CredentialKind,
    },
    /// A log-in was refused: the `LF` to this client follows directly.
    LogInRefused {
        /// Who the client said that it is; `None` if its request could not be read.
        user: Option<UserName>,
        /// On this connection.
        client: Client,
        /// Why.
        cause: RefusalCause,
    },
    /// A sign-up: the `SS` to this client follows directly.
    SignedUp {
        /// The new account.
        user: UserName,
        /// Who asked for it.
        client: Client,
    },
    /// A sign-up was refused: the `SF` to this client follows directly.
    SignUpRefused {
        /// The name that the client wanted; `None` if its request could not be read.
        user: Option<UserName>,
        /// Who asked for it.
        client: Client,
        /// Why.
        cause: RefusalCause,
    },
    /// A connection is closed, since its user logged in on another one.
    Replaced {
        /// The user of both.
        user: UserName,
        /// The older connection, which is closed.
        client: Client,
        /// The newer one.
        by: ConnId,
    },
    /// A user has another password: the answer to this client follows, if it is still there.
    PasswordChanged {
        /// Whose.
        user: UserName,
        /// Who asked for it.
        client: Option<Client>,
    },
    /// A user has deleted their account: the answer to this client follows, if it is still there.
    AccountDeleted {
        /// Whose.
        user: UserName,
        /// Who asked for it.
        client: Option<Client>,
    },
    /// A change of a password or the deletion of an account was refused to the user themself: they
    /// could not prove who they are.
    ProofRefused {
        /// Who is logged in.
        user: Option<UserName>,
        /// On this connection.
        client: Client,
        /// Why.
        cause: RefusalCause,
    },
    /// A user has blocked another one.
    Blocked {
        /// Who blocks.
        user: UserName,
        /// Who is blocked.
        other: UserName,
    },
    /// A deletion that a stop cut short goes on after the start.
    DeletionGoesOn {
        /// Whose account it is.
        user: UserName,
    },
    /// That has ended.
    DeletionWentOn {
        /// Whose account it is.
        user: UserName,
        /// Nothing is left; otherwise the next start goes on.
        is_done: bool,
    },
    /// A notice of the operator to all users goes out from now on: if the server is killed
    /// meanwhile, its id shows who has it.
    NoticeBegins {
        /// The id of all its pushes.
        id: Box<str>,
    },
    /// A request was refused, or a connection closed, since a limit was reached. Log-ins and
    /// sign-ups that a budget of tries refuses have only the note of their refusal.
    LimitReached {
        /// Who is logged in on the connection, if somebody is.
        user: Option<UserName>,
        /// On this connection.
        client: Client,
        /// Which one.
        limit: Limit,
    },
    /// A message to somebody who is no friend, or does not exist, was refused.
    NotFriends {
        /// Its sender.
        user: UserName,
        /// On this connection.
        client: Client,
    },
    /// The store has no room for one more push to this user, or for one more from this sender.
    MailboxFull {
        /// Whose mailbox.
        user: UserName,
        /// Whose push.
        sender: Box<str>,
        /// Which of the two has no room.
        quota: Quota,
    },
    /// A page of what waits for a user was read from the store, after the first.
    PageRead {
        /// Whose.
        user: UserName,
        /// How many pushes.
        pushes: usize,
        /// There are more behind them.
        more: bool,
    },
    /// A job was not done, or nobody knows whether it was.
    JobFailed {
        /// What it was for.
        job: JobKind,
        /// It will fail however often it is tried: something in it, or in what is stored, does not
        /// fit.
        for_good: bool,
    },
}

/// What a log-in was proven with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialKind {
    /// A password.
    Password,
    /// A resume token.
    Token,
}

/// Why a log-in or a sign-up was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefusalCause {
    /// The password does not fit, or there is no such user: which of both is not told apart.
    WrongPassword,
    /// The token is none of the user's, or not any more.
    BadToken,
    /// The credential is good, and the account is banned.
    Banned,
    /// The name is somebody's.
    NameTaken,
    /// The operator lets nobody sign up.
    SignUpsClosed,
    /// A budget of tries is used up: nothing was compared.
    Limit(Limit),
    /// Too many passwords wait to be hashed.
    QueueFull,
    /// Too many log-ins of the same user wait for each other.
    TooManyAtOnce,
    /// Too many jobs are in flight.
    Busy,
    /// The store failed, or it is not known what it did.
    Unavailable,
    /// Hashing failed.
    NoHashing,
    /// What is stored of the password cannot be read.
    Unreadable,
    /// What is stored of the user's friends or pushes cannot be read.
    Damaged,
    /// The store does not take the account.
    Refused,
    /// It was not done in time.
    TimedOut,
    /// The server stops.
    Stopping,
    /// The request could not be read, or its fields are not valid.
    BadRequest,
}

/// A limit that clients reach; each has its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// Wrong passwords on one connection.
    PasswordsPerConnection,
    /// Wrong passwords from one address.
    PasswordsPerAddress,
    /// Wrong passwords for one user from untrusted addresses.
    PasswordsPerUser,
    /// Wrong passwords for one user from one address that is not trusted.
    PasswordsPerUserAndAddress,
    /// Wrong passwords for one user from one trusted address.
    PasswordsPerTrustedAddress,
    /// Tokens on one connection that are not valid.
    TokensPerConnection,
    /// Sign-ups from one address.
    SignUpsPerAddress,
    /// Requests a second on a connection that is logged in.
    Requests,
    /// Requests before log-in on a connection, or of all connections of an address.
    RequestsBeforeLogin,
    /// Places in which one message that is sent again waits for its answer.
    RepeatedMessages,
}

/// What a job was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobKind {
    /// A sign-up: the hash of the password, or the account.
    SignUp,
    /// A log-in: its credential, or what is read for it.
    LogIn,
    /// A resume token.
    Token,
    /// A profile.
    Profile,
    /// A page of what waits for a user, or a push that may be there.
    Page,
    /// A push that is to be kept.
    Save,
    /// A push that was acked.
    Delete,
    /// A friend request, an answer to one, or the end of a friendship.
    Friendship,
    /// Who somebody's friends are.
    Friends,
    /// What a user asks about their own account.
    Account,
    /// What the operator asks for.
    Admin,
}

/// What happened to messages since the core began, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that were new, and whose sender and receiver are friends.
    pub taken: u64,
    /// Messages that were sent again by their sender, and are delivered once.
    pub duplicates: u64,
    /// Messages that were promised: each answer `MS` that was due counts.
    pub promised: u64,
    /// Pushes that were sent for the first time on their receiver's connection.
    pub sent: u64,
    /// Pushes that were sent again, because no ack came.
    pub resent: u64,
    /// Pushes that were acked.
    pub acked: u64,
    /// Frames that told whether a friend is online.
    pub presence: u64,
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { taken, duplicates, promised, sent, resent, acked, presence } = self;
        write!(f, "{taken} messages taken, {duplicates} duplicates, {promised} promised, ")?;
        write!(f, "{sent} pushes sent, {resent} resent, {acked} acked, {presence} told who is online")
    }
}
