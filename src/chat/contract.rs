//! The whole boundary of the chat core on one page.
//!
//! The shell (the loop, or the simulation) turns what happens into [`CoreInput`]s, hands them to
//! [`ServerCore::handle`](super::ServerCore::handle) one by one with the time of the turn, and
//! carries out the [`CoreAction`]s it gets back, in their order. The core never asks for anything
//! else: no clock, no random number, no socket.

pub use super::account_job::{
    OwnAccountStoreJob, OwnAccountStoreJobOutcome, ProfileChange, RosterReply, RosterReplyFriend,
    RosterReplyFriendRequest,
};
pub use super::admin_contract::{
    AdminAnswerFromCore, AdminPushStatusReport, AdminReportPushState, AdminRequestToCore, AdminTicket,
    AdminUserStatusReport, OnlineUserInfo, RemoteUserReport, RemoteUserStatus,
};
pub use super::admin_job::{AdminStoreJob, AdminStoreJobOutcome, StoredPushWithoutText};
pub use super::close_cause::CoreCloseCause;
pub use super::cluster::contract::{
    BATCH_BYTES_MAX, BusFrame, BusRecord, ClusterCounters, ClusterGauges, ClusterStoreJob, ClusterStoreJobOutcome,
    ClusterView, ForcedLogoutCause, HandoverDedupEntry, HandoverReceiversWithUnnotifiedOwners, MS_SHIFT, NodeId,
    NodeIncarnation, NodeLinkBatch, NodeLinkBatchNumber, NodeLinkReport, NodeMessage, NodePresenceUpdate, NodeRow,
    UserHandoverData, UserOwner,
};
pub use super::gauges::UnackedPushGauges;
pub use super::identifiers::{AddressKey, ConnId, JobTicket};
pub use super::job_results::{FriendAnswerOutcome, FriendRequestOutcome, MailboxQuotaKind, PushPage};
pub use super::log_event::{
    ClientLimitKind, ConnAndAddress, CredentialKind, LogEvent, LogEventJobKind, LoginRefusalCause, MessageTotals,
};
pub use super::outcome::JobOutcome;
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::push::Push;
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{BadInput, ClientRequest, ContentAsStringOrObject, Credential};

pub use super::rules::{CoreSettings, EmailVisibility};

/// The time of one turn of the loop, in integer milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnTimestamp {
    /// Since the loop started; never goes back. All deadlines are computed from it.
    pub mono_ms: u64,
    /// Wall clock, since the epoch; may jump. Only for times that users see.
    pub wall_ms: u64,
}

/// An event that the core is told.
#[derive(Debug)]
pub enum CoreInput<'a> {
    /// A client connected. Its `ConnId` was never used before.
    Opened {
        /// The new connection.
        conn: ConnId,
        /// Its address; `None` for loopback, which has no limits per address.
        address_key: Option<AddressKey>,
    },
    /// The address of a client behind a proxy is known now. Not sent for other clients, and not
    /// after the first input.
    Addressed {
        /// This connection.
        conn: ConnId,
        /// Its address, instead of the one that `Opened` gave.
        address_key: Option<AddressKey>,
    },
    /// One envelope came in, or input that is not an envelope.
    Input {
        /// From this connection.
        conn: ConnId,
        /// Its content.
        input: Result<ClientRequest<'a>, BadInput>,
    },
    /// A WebSocket ping came in: the client is active. The wire answers it.
    Ping {
        /// From this connection.
        conn: ConnId,
    },
    /// Output of this connection could not be written whole and waits.
    Blocked {
        /// This connection.
        conn: ConnId,
    },
    /// A part of the output that waited since `Blocked` has been written: the client reads, perhaps
    /// slowly. At most once a second for each connection.
    Drained {
        /// This connection.
        conn: ConnId,
    },
    /// The waiting output has been written.
    Flushed {
        /// This connection.
        conn: ConnId,
    },
    /// The connection is gone: the client closed it, it failed, or the shell closed it. Not sent
    /// for a connection that the core closed.
    Closed {
        /// This connection.
        conn: ConnId,
    },
    /// A job was done.
    Finished {
        /// The job.
        ticket: JobTicket,
        /// Its outcome.
        outcome: JobOutcome,
    },
    /// Time has passed: [`next_deadline`](super::ServerCore::next_deadline) was reached.
    Tick {
        /// All input that clients had sent by this time (mono clock) was handed in before. No later
        /// deadline is applied: after a pause of the whole process, the input that arrived during
        /// it is still to be read.
        input_read_until_ms: u64,
    },
    /// The process uses more memory than allowed: the core must release what it keeps only for
    /// speed, the largest lists first. Clients do not notice it unless `windows` is set.
    ReleaseMemory {
        /// The approximate amount to release, in bytes.
        bytes: usize,
        /// Also drop the dedup windows of senders who are offline: a duplicate of theirs may then
        /// be delivered.
        windows: bool,
    },
    /// The operator asks for something.
    Admin {
        /// Names the request in the answer. No other open request has it.
        ticket: AdminTicket,
        /// The request.
        request: AdminRequestToCore,
    },
    /// Only on a node of a cluster: the view was read again, because something has changed or
    /// because of [`CoreAction::ReadView`]. At least once a second, as long as the store can be
    /// read.
    View(ClusterView),
    /// Only on a node of a cluster: another node has sent a record. A view that contains the sender
    /// was handed in before.
    Record {
        /// The sender.
        from: NodeIncarnation,
        /// The record.
        record: NodeMessage,
    },
    /// Of a node with a bus: this came over it, for this life of the node. The view need not know
    /// its sender.
    Bus {
        /// From this one.
        from: NodeIncarnation,
        /// The frame.
        frame: Box<BusFrame>,
    },
    /// Of a node with a bus: all that happened in this turn of the loop was handed in. All frames
    /// of the turn to other nodes are published now, together. Needed if
    /// [`ServerCore::publishes`](super::ServerCore::publishes).
    TurnEnded,
    /// Of a node with a bus: it can publish on no instance of it any more (`false`), or on one
    /// again. At first the core thinks that it can.
    BusWorks(bool),
    /// The server is about to stop: tell every client, make all messages durable that were taken,
    /// then give [`CoreAction::Stopped`].
    ShutDown,
}

/// An action that the shell must carry out.
#[derive(Debug)]
pub enum CoreAction {
    /// Write this frame to the connection. If it is gone, drop it.
    Reply {
        /// To this connection.
        conn: ConnId,
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The request's id.
        id: ReplyId,
        /// Its content.
        reply: Reply,
    },
    /// Write these two frames to the connection in one write, one directly after the other: the
    /// request's own answer, and the error with the reason. If the connection is gone, drop them.
    Refuse {
        /// To this connection.
        conn: ConnId,
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The request's id, which both frames name.
        id: ReplyId,
        /// The request's own answer.
        reply: Reply,
        /// The error's code.
        code: ErrorCode,
        /// Its sentence.
        explanation: &'static str,
    },
    /// Write this push to the connection. If it is gone, drop it: a `Closed` event is on its way.
    Push {
        /// To this connection.
        conn: ConnId,
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The push.
        push: Push,
    },
    /// Write a frame that says whether a friend is online. If the connection is gone, drop it.
    Presence {
        /// To this connection.
        conn: ConnId,
        /// The form of CONTENT.
        form: ContentAsStringOrObject,
        /// The friend.
        user: UserName,
        /// They are online.
        online: bool,
    },
    /// Hand no more input of this connection to the core until `Resume`: input that was read waits,
    /// and no more is read.
    Pause {
        /// This connection.
        conn: ConnId,
    },
    /// Go on with this connection's input.
    Resume {
        /// This connection.
        conn: ConnId,
    },
    /// Hand no more requests of this connection to the core until `ResumeRequests`. Acks,
    /// heartbeats, log-ins and pings are still handed in
    /// ([`ClientRequest::passes_paused_requests`]), up to the first other request: that one waits,
    /// with all input after it, and no more is read. Independent of `Pause`; a repeated one has no
    /// effect.
    PauseRequests {
        /// This connection.
        conn: ConnId,
    },
    /// Go on with this connection's requests.
    ResumeRequests {
        /// This connection.
        conn: ConnId,
    },
    /// A user has logged in on this connection: it is not a stranger any more.
    LoggedIn {
        /// This connection.
        conn: ConnId,
    },
    /// Close the connection when the output before this is written (or cannot be written). The core
    /// has removed the connection: send no further event about it.
    Close {
        /// This connection.
        conn: ConnId,
        /// Why.
        cause: CoreCloseCause,
    },
    /// Do this job, and report it with [`CoreInput::Finished`], exactly once, however long it
    /// takes.
    Submit {
        /// The ticket for [`CoreInput::Finished`].
        ticket: JobTicket,
        /// The job.
        job: Job,
    },
    /// Pushes wait for a user who is away or does not ack: tell the push hook. At most one for each
    /// user until they log in or a pause is over.
    PushHook(Box<PushHookNotice>),
    /// Something happened that the shell counts, and may log.
    Log(LogEvent),
    /// The answer to the operator's request with this ticket, exactly once.
    Admin {
        /// The ticket of [`CoreInput::Admin`].
        ticket: AdminTicket,
        /// The answer.
        answer: AdminAnswerFromCore,
    },
    /// Of a node in a cluster: write this to the inbox of another one, as [`NodeMessage`] says.
    Send {
        /// The receiver: this life of the node, and no later one.
        to: NodeIncarnation,
        /// The record.
        record: NodeMessage,
    },
    /// Of a node with a bus: publish this for another one, or drop it. Only given for
    /// [`CoreInput::TurnEnded`].
    Publish {
        /// For this one; for no later life of that node.
        to: NodeIncarnation,
        /// The frame.
        frame: Box<BusFrame>,
    },
    /// Only on a node of a cluster: read the view now, and hand it in even if it has not changed.
    ReadView,
    /// The operator has the server drained: no log-in is taken any more. `is_over`: all who were
    /// connected have been closed, so the stop may begin.
    Draining {
        /// At the end; before that once at the beginning.
        is_over: bool,
    },
    /// After [`CoreInput::ShutDown`]: every message that was taken is durable, or the time for that
    /// is over. Write the waiting output and exit.
    Stopped,
}

/// An announcement: pushes wait for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushHookNotice {
    /// The push that has waited too long, with its receiver.
    pub push: Push,
    /// The number of waiting pushes, this one included.
    pub waiting_pushes: usize,
    /// More than `waiting_pushes` may wait.
    pub has_more: bool,
}

/// How far beyond the regular lifetime a resume token may expire, in ms: the clock of a host that
/// starts is often wrong by a time zone. If a token expires later than that, the clock was wrong
/// when the token was made, or is wrong now. Such a token is not valid until the two agree again.
pub const TOKEN_SLACK_MS: u64 = 24 * 3_600_000;

/// Blocking work, done by the store's workers. Jobs in the data lane of the same user are done in
/// the order of submission, and each is answered only after its effect is committed. Their outcomes
/// arrive in that order, too; outcomes for different users, and of the auth lane, arrive in any
/// order.
#[derive(Clone, Debug)]
pub enum Job {
    /// Auth lane: hash a new password. → [`JobOutcome::Hashed`]
    Hash {
        /// The password.
        secret: Secret,
    },
    /// Data lane of the user: create an account. → [`JobOutcome::Created`] or
    /// [`JobOutcome::NameTaken`]
    CreateAccount {
        /// Everything but the password.
        profile: Box<Profile>,
        /// The result of `Hash` for the password.
        password_hash: Secret,
    },
    /// Data lane of the user: check the credential; if it is good, read their friends and the first
    /// page of waiting pushes. → [`JobOutcome::Loaded`], [`JobOutcome::Unproven`] or
    /// [`JobOutcome::Banned`]
    LogIn {
        /// The user to log in as.
        user: UserName,
        /// Their credential.
        credential: Credential,
        /// A password may be compared with the remembered one. If not, it must be hashed.
        uses_cache: bool,
        /// The time, in ms since the epoch: tokens expire.
        now_ms: u64,
        /// A token that would expire later was made when a clock was wrong.
        latest_ms: u64,
        /// The largest number of pushes.
        pushes_max: u32,
        /// The largest total size of these pushes, in bytes. The push that exceeds it is the last
        /// one.
        bytes_max: usize,
    },
    /// Data lane of the user: check the credential, and read nothing else. →
    /// [`JobOutcome::Proven`],
    /// [`JobOutcome::Unproven`] or [`JobOutcome::Banned`]
    Prove {
        /// The user to log in as.
        user: UserName,
        /// Their credential.
        credential: Credential,
        /// A password may be compared with the remembered one. If not, it must be hashed.
        uses_cache: bool,
        /// The time, in ms since the epoch: tokens expire.
        now_ms: u64,
        /// A token that would expire later was made when a clock was wrong.
        latest_ms: u64,
    },
    /// Auth lane: compare the password with the hash. Without a hash (an unknown user) it takes the
    /// same time and does not match. → [`JobOutcome::Verified`]
    Verify {
        /// The user to log in as.
        user: UserName,
        /// The password that they gave.
        secret: Secret,
        /// The hash in the store.
        password_hash: Option<Secret>,
    },
    /// Data lane of the user: read friends and the first page, after the credential was proven.
    /// Used for a log-in, unless `pushes_max` is 0; the account may be banned or gone by now. →
    /// [`JobOutcome::Loaded`], [`JobOutcome::Banned`] or [`JobOutcome::Unproven`]
    Load {
        /// The user who logs in.
        user: UserName,
        /// The largest number of pushes.
        pushes_max: u32,
        /// The largest total size of these pushes, in bytes. The push that exceeds it is the last
        /// one.
        bytes_max: usize,
    },
    /// Data lane of the user: the next page. → [`JobOutcome::Page`]
    LoadPage {
        /// The receiver of the pushes.
        user: UserName,
        /// Only pushes with a greater `seq`.
        after_seq: u64,
        /// The largest number of pushes.
        pushes_max: u32,
        /// The largest total size of these pushes, in bytes. The push that exceeds it is the last
        /// one.
        bytes_max: usize,
    },
    /// Data lane of the asker: read a profile. It does not touch the asker's data, so it may be
    /// done out of order. → [`JobOutcome::Profile`]
    GetProfile {
        /// The user who asks.
        asker: UserName,
        /// The user of the profile.
        user: UserName,
    },
    /// Data lane of the receiver: store a push. Storing it twice has the same effect as once. →
    /// [`JobOutcome::Saved`], [`JobOutcome::Duplicate`] or [`JobOutcome::Full`]
    SavePush {
        /// The push.
        push: Push,
    },
    /// Data lane of the receiver: delete a push, if it is there. → [`JobOutcome::Deleted`]
    DeletePush {
        /// Its receiver.
        receiver: UserName,
        /// Its number.
        seq: u64,
    },
    /// Data lane of the push's receiver: store a friend request as pending, and its push: both or
    /// none. → [`JobOutcome::Asked`]
    AskFriend {
        /// The push of kind `FriendRequest`: from the asking user to the asked user.
        push: Push,
        /// The largest number of pending requests of the asking user, and to the asked user. Beyond
        /// it nothing is changed.
        pending_max: u32,
    },
    /// Data lane of the push's receiver: answer a pending request. Removes the request and stores
    /// the push. An accept also makes the two friends, and removes the request that crosses this
    /// one with its push. All or nothing. → [`JobOutcome::Answered`]
    AnswerFriend {
        /// The push of kind `FriendAccept` or `FriendReject`: from the asked user to the asking
        /// user, with the request's id.
        push: Push,
        /// The largest number of friends of either user. Beyond it an accept changes nothing.
        friends_max: u32,
    },
    /// Data lane of the user: make a resume token, store its hash, and delete the oldest tokens
    /// beyond `tokens_max`. → [`JobOutcome::Token`]
    MakeToken {
        /// The user who may log in with it.
        user: UserName,
        /// The time, in ms since the epoch.
        now_ms: u64,
        /// When the token expires, in ms since the epoch.
        expires_ms: u64,
        /// A token that would expire later was made when a clock was wrong.
        latest_ms: u64,
        /// The largest number of valid tokens of one user.
        tokens_max: u32,
    },
    /// Data lane of the user: delete all their tokens. → [`JobOutcome::TokensRevoked`]
    RevokeTokens {
        /// The user of the tokens.
        user: UserName,
    },
    /// Data lane of `other`: end a friendship in both directions, and withdraw the pending request
    /// of `user` with its push. It does nothing if there is neither. → [`JobOutcome::Unfriended`]
    Unfriend {
        /// The user who ends the friendship, or withdraws the request.
        user: UserName,
        /// The other user: the friend, or the user who was asked.
        other: UserName,
    },
    /// The data lane that [`OwnAccountStoreJob`] names: a job for the user's own account. →
    /// [`JobOutcome::Account`]
    Account {
        /// The user it is about.
        user: UserName,
        /// The job.
        job: Box<OwnAccountStoreJob>,
    },
    /// Data lane of the user: a job for the operator. → [`JobOutcome::Admin`]
    Admin {
        /// The user it is about.
        user: UserName,
        /// The job.
        job: Box<AdminStoreJob>,
    },
    /// Data lane of the user: a job that only a node of a cluster submits. →
    /// [`JobOutcome::Cluster`], or the outcome that the job names
    Cluster {
        /// The user it is about.
        user: UserName,
        /// The job.
        job: Box<ClusterStoreJob>,
    },
}
