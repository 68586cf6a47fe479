//! Events of the core that the shell counts and logs. A [`LogEvent`] is for rare events, with
//! everything that a line of the log needs. Events of every message are only counted, in
//! [`MessageTotals`]: that costs a message no more than an addition.

use super::identifiers::{AddressKey, ConnId};
use super::job_results::MailboxQuotaKind;
use crate::protocol::field::UserName;

/// The client on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAndAddress {
    /// Its connection.
    pub conn: ConnId,
    /// The key of its address; `None` for loopback.
    pub address_key: Option<AddressKey>,
}

/// Something that happened. No secret is ever in it, and making one allocates nothing: names are
/// shared with the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// A log-in: the `LS` to this client follows directly.
    LoggedIn {
        /// The user who logged in.
        user: UserName,
        /// The client.
        client: ConnAndAddress,
        /// The kind of credential.
        credential: CredentialKind,
    },
    /// A log-in was refused: the `LF` to this client follows directly.
    LogInRefused {
        /// The user name that the client stated; `None` if its request could not be read.
        user: Option<UserName>,
        /// On this connection.
        client: ConnAndAddress,
        /// Why.
        cause: LoginRefusalCause,
    },
    /// A sign-up: the `SS` to this client follows directly.
    SignedUp {
        /// The new account.
        user: UserName,
        /// The client that asked for it.
        client: ConnAndAddress,
    },
    /// A sign-up was refused: the `SF` to this client follows directly.
    SignUpRefused {
        /// The name that the client wanted; `None` if its request could not be read.
        user: Option<UserName>,
        /// The client that asked for it.
        client: ConnAndAddress,
        /// Why.
        cause: LoginRefusalCause,
    },
    /// A connection is closed, because its user logged in on another one.
    Replaced {
        /// The user of both.
        user: UserName,
        /// The older connection, which is closed.
        client: ConnAndAddress,
        /// The newer one.
        newer_conn: ConnId,
    },
    /// A user has changed their password: the answer to this client follows, if it is still
    /// connected.
    PasswordChanged {
        /// The user.
        user: UserName,
        /// The client that asked for it.
        client: Option<ConnAndAddress>,
    },
    /// A user's connection is closed by an order. The order came from an operator, or from the user
    /// on another connection, and perhaps through another node.
    ForcedLogout {
        /// The user.
        user: UserName,
        /// The connection that is closed.
        client: ConnAndAddress,
    },
    /// A user has deleted their account: the answer to this client follows, if it is still
    /// connected.
    AccountDeleted {
        /// The user.
        user: UserName,
        /// The client that asked for it.
        client: Option<ConnAndAddress>,
    },
    /// A user's request to change the password or delete the account was refused: they could not
    /// prove who they are.
    ProofRefused {
        /// The user who is logged in.
        user: Option<UserName>,
        /// On this connection.
        client: ConnAndAddress,
        /// Why.
        cause: LoginRefusalCause,
    },
    /// A user has blocked another one.
    Blocked {
        /// The user who blocks.
        user: UserName,
        /// The user who is blocked.
        other: UserName,
    },
    /// A stop had cut short the deletion of an account. After the start the server resumes it.
    DeletionGoesOn {
        /// The user of the account.
        user: UserName,
    },
    /// A resumed deletion has ended.
    DeletionWentOn {
        /// The user of the account.
        user: UserName,
        /// Nothing is left; otherwise the next start resumes it.
        is_done: bool,
    },
    /// The server begins to send an operator's notice to all users. If the server is killed before
    /// the end, the id helps to find out which users have the notice.
    NoticeBegins {
        /// The id of all its pushes.
        id: Box<str>,
    },
    /// A request was refused, or a connection closed, because a limit was reached. If a budget of
    /// tries refuses a log-in or sign-up, only its refusal is noted, not this event.
    LimitReached {
        /// The user who is logged in on the connection, if there is one.
        user: Option<UserName>,
        /// On this connection.
        client: ConnAndAddress,
        /// The limit.
        limit: ClientLimitKind,
    },
    /// A message was refused, because its receiver is not a friend or does not exist.
    NotFriends {
        /// Its sender.
        user: UserName,
        /// On this connection.
        client: ConnAndAddress,
    },
    /// A push was refused, because a quota of its receiver's mailbox is used up.
    MailboxFull {
        /// The user with the mailbox.
        user: UserName,
        /// The sender of the push.
        sender: Box<str>,
        /// The quota that is used up.
        quota: MailboxQuotaKind,
    },
    /// A page of waiting pushes was read from the store; not noted for the first page of a log-in.
    PageRead {
        /// The receiver of the pushes.
        user: UserName,
        /// The number of pushes on the page.
        pushes: usize,
        /// More pushes follow.
        more: bool,
    },
    /// A job was not done, or it is not known whether it was done.
    JobFailed {
        /// The kind of job.
        job: LogEventJobKind,
        /// A retry would fail, too: the job itself, or a stored row, is faulty.
        for_good: bool,
    },
}

/// The kinds of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CredentialKind {
    /// A password.
    Password,
    /// A resume token.
    Token,
}

/// Why a log-in or a sign-up was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LoginRefusalCause {
    /// The password is wrong, or there is no such user: the two are not distinguished.
    WrongPassword,
    /// The token is not valid, or not valid any more.
    BadToken,
    /// The credential is good, and the account is banned.
    Banned,
    /// The name is taken.
    NameTaken,
    /// The operator has closed sign-ups.
    SignUpsClosed,
    /// A budget of tries is used up: nothing was compared.
    Limit(ClientLimitKind),
    /// Too many passwords wait to be hashed.
    QueueFull,
    /// Too many log-ins of the same user wait.
    TooManyAtOnce,
    /// Too many jobs are in flight.
    Busy,
    /// The store failed, or the outcome is not known.
    Unavailable,
    /// Hashing failed.
    NoHashing,
    /// The stored password hash cannot be read.
    Unreadable,
    /// A stored row about the user's friends or pushes cannot be read.
    Damaged,
    /// The store refuses the account.
    Refused,
    /// It was not done in time.
    TimedOut,
    /// The server stops.
    Stopping,
    /// The request could not be read, or its fields are not valid.
    BadRequest,
}

/// The limits that clients can reach; each has its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientLimitKind {
    /// Wrong passwords on one connection, of any user.
    PasswordsPerConnection,
    /// Wrong passwords from one address.
    PasswordsPerAddress,
    /// Wrong passwords for one user from untrusted addresses.
    PasswordsPerUser,
    /// Wrong passwords for one user from one address that is not trusted.
    PasswordsPerUserAndAddress,
    /// Wrong passwords for one user from one trusted address.
    PasswordsPerTrustedAddress,
    /// Invalid tokens on one connection.
    TokensPerConnection,
    /// Sign-ups from one address.
    SignUpsPerAddress,
    /// Requests a second on a connection that is logged in.
    Requests,
    /// Requests before log-in on a connection, or of all connections of an address.
    RequestsBeforeLogin,
    /// Repetitions of one message that wait for its answer.
    RepeatedMessages,
}

/// The purpose of a job, for log events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogEventJobKind {
    /// A sign-up: the hash of the password, or the account.
    SignUp,
    /// A log-in: its credential, or its friends and first page.
    LogIn,
    /// A resume token.
    Token,
    /// A profile.
    Profile,
    /// A page of waiting pushes, or the search for a push.
    Page,
    /// Saving a push.
    Save,
    /// Deleting an acked push.
    Delete,
    /// A friend request, an answer to one, or the end of a friendship.
    Friendship,
    /// Reading a user's friends.
    Friends,
    /// A user's request about their own account.
    Account,
    /// A request of the operator.
    Admin,
}

/// Counts of the events of messages since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageTotals {
    /// New messages between friends that were taken.
    pub taken: u64,
    /// Duplicates: messages that their sender sent again.
    pub duplicates: u64,
    /// Answers `MS` that were due.
    pub promised: u64,
    /// First sendings of pushes on their receiver's connection.
    pub sent: u64,
    /// Resends of pushes, because no ack came.
    pub resent: u64,
    /// Pushes that were acked.
    pub acked: u64,
    /// PRESENCE frames.
    pub presence: u64,
}

impl std::fmt::Display for MessageTotals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { taken, duplicates, promised, sent, resent, acked, presence } = self;
        write!(f, "{taken} messages taken, {duplicates} duplicates, {promised} promised, ")?;
        write!(f, "{sent} pushes sent, {resent} resent, {acked} acked, {presence} told who is online")
    }
}
