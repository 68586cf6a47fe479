//! What an operator asks of the core, and what the core answers. A request comes in as
//! [`Event::Admin`](super::contract::Event::Admin), and its answer goes out as
//! [`Action::Admin`](super::contract::Action::Admin), exactly once: at once, or when the store has
//! answered.

use super::handle::ConnId;
use crate::protocol::field::{Secret, UserName};

/// Names a request, so that its answer finds the one who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdminTicket(pub u64);

/// A request of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequest {
    /// The users who are online, in byte order of their names. → [`AdminAnswer::Users`]
    Users {
        /// Only names behind this one.
        after: Option<UserName>,
        /// The largest number of them.
        users_max: u32,
    },
    /// One user. → [`AdminAnswer::User`] or `NoSuchUser`
    User {
        /// Their name.
        name: UserName,
    },
    /// The pushes to a user that have this id. → [`AdminAnswer::Pushes`]
    Pushes {
        /// The receiver.
        receiver: UserName,
        /// The id that their senders gave them.
        id: String,
    },
    /// A system notice. → [`AdminAnswer::Noticed`], `NoSuchUser`, `Full` or `Failed`
    Notice {
        /// One user; `None`: all users that there are.
        to: Option<UserName>,
        /// Its text.
        text: String,
    },
    /// Close the user's connection. → `Done` or `NotOnline`
    Disconnect {
        /// Their name.
        name: UserName,
    },
    /// Refuse the user's log-ins, end their session and their tokens. → `Done`, `NoSuchUser` or
    /// `Failed`
    Ban {
        /// Their name.
        name: UserName,
    },
    /// Take a ban back. → `Done`, `NoSuchUser` or `Failed`
    Unban {
        /// Their name.
        name: UserName,
    },
    /// Give the user another password, and end their session and their tokens. → `Done`,
    /// `NoSuchUser` or `Failed`
    SetPassword {
        /// Their name.
        name: UserName,
        /// The new password.
        secret: Secret,
    },
    /// Go on with a deletion that a stop has cut short, however long the store cannot do it.
    /// → `Done` or `Failed`
    FinishDeletion {
        /// Their name.
        name: UserName,
    },
    /// Delete the account and all that belongs to it; the name is never free again. Messages that
    /// the user sent are still delivered. → `Done`, `NoSuchUser` or `Failed`
    Delete {
        /// Their name.
        name: UserName,
    },
}

/// The answer to an [`AdminRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAnswer {
    /// Some users who are online.
    Users {
        /// In byte order of their names.
        users: Vec<OnlineUser>,
        /// There are more behind them.
        more: bool,
    },
    /// What is known of a user.
    User(Box<UserReport>),
    /// The pushes with an id, those that wait first.
    Pushes(Vec<PushReport>),
    /// So many users get the notice, and it is in the store.
    Noticed {
        /// Their number.
        users: u64,
    },
    /// It is done, and in the store.
    Done,
    /// There is no account of this name.
    NoSuchUser,
    /// The user is not online.
    NotOnline,
    /// A notice to all: another one is on its way.
    InProgress,
    /// A notice to all: the store has failed for too long. It is not sent to more users.
    NoticeCut {
        /// So many users get it, and it is in the store.
        users: u64,
    },
    /// There is no room for a push to this user.
    Full,
    /// The store could not do it, or could not say so in time. Ask again.
    Failed,
}

/// A user who is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineUser {
    /// Their name.
    pub name: UserName,
    /// Their connection.
    pub conn: ConnId,
    /// When they logged in on it, in ms since the epoch, to the second.
    pub since_ms: u64,
    /// Pushes that were sent to them and are not acked.
    pub outstanding: u32,
}

/// What is known of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserReport {
    /// Their name.
    pub name: UserName,
    /// `Some` if they are online.
    pub online: Option<OnlineUser>,
    /// Pushes that wait for them in the store and in memory, together; counted in the store up to a
    /// bound, beyond which `waiting_is_bound` is set.
    pub waiting: u64,
    /// There may be more than `waiting`.
    pub waiting_is_bound: bool,
    /// Their log-ins are refused.
    pub is_banned: bool,
}

/// What is known of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushReport {
    /// Its sender.
    pub sender: UserName,
    /// The name of its kind: message, request, accept or reject.
    pub kind: &'static str,
    /// When its sender said it, in ms since the epoch.
    pub time_ms: u64,
    /// Where it is.
    pub state: PushState,
    /// How often it was written to the receiver's present connection.
    pub times_sent: u32,
    /// It is in the store.
    pub is_stored: bool,
}

/// Where a push is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushState {
    /// It waits: its receiver is away, or earlier pushes are not acked.
    Waiting,
    /// It was sent and is not acked.
    Outstanding,
    /// It was acked recently.
    Acked,
}
