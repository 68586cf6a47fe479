//! The operator's requests to the core, and the answers. A request arrives as
//! [`CoreInput::Admin`](super::contract::CoreInput::Admin). Its answer leaves as
//! [`CoreAction::Admin`](super::contract::CoreAction::Admin), exactly once: immediately, or when
//! the store has answered.

use super::cluster::contract::NodeId;
use super::identifiers::ConnId;
use crate::protocol::field::{Secret, UserName};

/// Names a request, so that the answer reaches its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdminTicket(pub u64);

/// A request of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRequestToCore {
    /// The users who are online, in byte order of their names. → [`AdminAnswerFromCore::Users`]
    Users {
        /// Only names that follow this one in byte order.
        after: Option<UserName>,
        /// The largest number of users in the answer.
        users_max: u32,
    },
    /// One user. → [`AdminAnswerFromCore::User`] or `NoSuchUser`
    User {
        /// Their name.
        name: UserName,
    },
    /// The pushes to one user that have one id. → [`AdminAnswerFromCore::Pushes`]
    Pushes {
        /// The receiver.
        receiver: UserName,
        /// The id that the sender gave the push.
        id: String,
    },
    /// A system notice. → [`AdminAnswerFromCore::Noticed`], `NoSuchUser`, `Full` or `Failed`
    Notice {
        /// The receiver; `None`: all users.
        to: Option<UserName>,
        /// Its text.
        text: String,
    },
    /// End the user's session: close their connection. → `Done` or `NotOnline`
    Disconnect {
        /// Their name.
        name: UserName,
    },
    /// Refuse the user's log-ins; end their session and revoke their tokens. → `Done`, `NoSuchUser`
    /// or `Failed`
    Ban {
        /// Their name.
        name: UserName,
    },
    /// Take a ban back. → `Done`, `NoSuchUser` or `Failed`
    Unban {
        /// Their name.
        name: UserName,
    },
    /// Give the user another password; end their session and revoke their tokens. → `Done`,
    /// `NoSuchUser` or `Failed`
    SetPassword {
        /// Their name.
        name: UserName,
        /// The new password.
        secret: Secret,
    },
    /// Take no log-ins any more, close all connections, a slice at a time, and then stop.
    /// → `Draining`
    Drain,
    /// Resume a deletion that a stop has cut short. There is no time limit. → `Done` or `Failed`
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

/// The answer to an [`AdminRequestToCore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAnswerFromCore {
    /// Some users who are online.
    Users {
        /// In byte order of their names.
        users: Vec<OnlineUserInfo>,
        /// More users follow.
        has_more: bool,
    },
    /// The report about a user.
    User(Box<AdminUserStatusReport>),
    /// The pushes with an id; waiting ones come first.
    Pushes(Vec<AdminPushStatusReport>),
    /// The notice is stored for this many users.
    Noticed {
        /// The number of users.
        users: u64,
    },
    /// It is done and committed.
    Done,
    /// There is no account of this name.
    NoSuchUser,
    /// The user is not online.
    NotOnline,
    /// A notice to all users: another one is still being sent.
    InProgress,
    /// A notice to all users: the store has failed for too long. No further users get it.
    NoticeCut {
        /// The number of users for whom it is stored.
        users: u64,
    },
    /// It is done, and in the store, where it is stored; these other nodes have not said in time
    /// that the user's connection there is closed. Without any: the nodes could not be read.
    Unconfirmed {
        /// By their numbers.
        nodes: Vec<NodeId>,
    },
    /// The server is being drained, and stops when that is over.
    Draining {
        /// Connections that are still open.
        connections: u64,
        /// All are closed after so many ms.
        left_ms: u64,
    },
    /// There is no room for a push to this user.
    Full,
    /// The store could not do it, or did not answer in time. Ask again.
    Failed,
}

/// A user who is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineUserInfo {
    /// Their name.
    pub name: UserName,
    /// Their connection.
    pub conn: ConnId,
    /// When they logged in on that connection, in ms since the epoch, rounded to seconds.
    pub logged_in_ms: u64,
    /// The number of outstanding pushes to them.
    pub outstanding: u32,
}

/// A report about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminUserStatusReport {
    /// Their name.
    pub name: UserName,
    /// `Some` if they are online on the node that was asked.
    pub online: Option<OnlineUserInfo>,
    /// If they are not, and belong to another node: the answer of that node.
    pub remote: Option<RemoteUserReport>,
    /// The number of pushes that wait for them, in the store and in memory. Stored ones are counted
    /// up to a bound; `has_more_waiting` tells that it was reached.
    pub waiting_pushes: u64,
    /// There may be more than `waiting_pushes`.
    pub has_more_waiting: bool,
    /// Their log-ins are refused.
    pub is_banned: bool,
}

/// A report about a user who belongs to another node than the one that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteUserReport {
    /// That node.
    pub node: NodeId,
    /// Whether they are online there.
    pub status: RemoteUserStatus,
}

/// The answer of another node about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteUserStatus {
    /// They are online there.
    Online {
        /// Since when, in ms since the epoch, rounded to seconds.
        logged_in_ms: u64,
        /// The number of outstanding pushes to them.
        outstanding: u32,
    },
    /// They are not.
    NotOnline,
    /// It has not answered in time.
    Silent,
}

/// A report about a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminPushStatusReport {
    /// Its sender.
    pub sender: UserName,
    /// The name of its kind: message, request, accept or reject.
    pub kind: &'static str,
    /// When the server took it, in ms since the epoch.
    pub time_ms: u64,
    /// Where it is.
    pub state: AdminReportPushState,
    /// How often it was sent on the receiver's present connection.
    pub times_sent: u32,
    /// It is in the store.
    pub is_stored: bool,
}

/// Where a push is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminReportPushState {
    /// It waits: its receiver is away, or earlier pushes are not acked.
    Waiting,
    /// It was sent and is not acked.
    Outstanding,
    /// It was acked recently.
    Acked,
}
