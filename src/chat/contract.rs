//! The whole boundary of the chat core on one page.
//!
//! The shell (the loop, or the simulation) turns what happens into [`Event`]s, hands them to
//! [`Chat::handle`](super::Chat::handle) one by one with the time of the turn, and carries out the
//! [`Action`]s it gets back, in their order. The core never asks for anything else: no clock, no
//! random number, no socket.

pub use super::account_job::{AccountJob, AccountOutcome, PendingEntry, ProfileChange, Roster, RosterFriend};
pub use super::admin_contract::{
    AdminAnswer, AdminRequest, AdminTicket, OnlineUser, PushReport, PushState, UserReport,
};
pub use super::admin_job::{AdminJob, AdminOutcome, StoredPush};
pub use super::close_reason::CloseReason;
pub use super::cluster::contract::{
    ClusterJob, ClusterOutcome, Incarnation, MS_SHIFT, NodeId, NodeState, Owner, Record, Released, Said, View,
};
pub use super::found::{Answered, Asked, Page, Quota};
pub use super::gauges::Gauges;
pub use super::handle::{AddressKey, ConnId, Ticket};
pub use super::note::{Client, CredentialKind, JobKind, Limit, Note, RefusalCause, Totals};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::push::Push;
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{BadInput, ContentForm, Credential, Request};

pub use super::rules::{EmailTo, Rules};

/// The time of one turn of the loop, in integer milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since the loop started; never goes back. All waiting is reckoned in it.
    pub mono_ms: u64,
    /// Since the epoch, as the wall clock says; may jump. Only for what users are shown.
    pub wall_ms: u64,
}

/// An event that the core is told.
#[derive(Debug)]
pub enum Event<'a> {
    /// A client connected. Its `ConnId` was never used before.
    Opened {
        /// The new connection.
        conn: ConnId,
        /// Its address; `None` for loopback, to which limits per address do not apply.
        address_key: Option<AddressKey>,
    },
    /// The address of a client that came through a proxy is known. Not said of other clients, and
    /// not after the first input.
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
        input: Result<Request<'a>, BadInput>,
    },
    /// A WebSocket ping came in, which the wire answers: the client is active.
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
    /// slowly. At most one a second and connection.
    Drained {
        /// This connection.
        conn: ConnId,
    },
    /// The waiting output has been written.
    Flushed {
        /// This connection.
        conn: ConnId,
    },
    /// The connection is gone: the peer closed it, it failed, or the shell closed it for a reason
    /// of its own. Not sent for a connection that the core itself closed.
    Closed {
        /// This connection.
        conn: ConnId,
    },
    /// A job was done.
    Finished {
        /// The job.
        ticket: Ticket,
        /// Its outcome.
        outcome: Outcome,
    },
    /// Time has passed: [`Chat::next_deadline`](super::Chat::next_deadline) was reached.
    Tick {
        /// Everything that clients had sent by this time, of the mono clock, was handed in before.
        /// No later deadline is applied: after a pause of the whole process the input that came
        /// meanwhile is still to be read.
        heard_ms: u64,
    },
    /// The process holds more memory than it may: the core is to release what it keeps only for
    /// speed, the largest first. Clients do not notice, unless `windows` are asked for.
    ReleaseMemory {
        /// About so much.
        bytes: usize,
        /// Drop the dedup windows of absent senders as well: a message that is sent again may then
        /// be delivered again.
        windows: bool,
    },
    /// The operator asks for something.
    Admin {
        /// To answer with. It waits for no other answer.
        ticket: AdminTicket,
        /// What they ask.
        request: AdminRequest,
    },
    /// Of a node in a cluster: its store was read again, because something has changed, or for
    /// [`Action::ReadView`]. At least once a second, as long as the store can be read.
    View(View),
    /// Of a node in a cluster: another one says something. A view that knows its sender was handed
    /// in before.
    Frame {
        /// By this one.
        from: Incarnation,
        /// What it says.
        record: Record,
    },
    /// The server is to stop: tell every client, make all messages durable that were taken, then
    /// give [`Action::Stopped`].
    ShutDown,
}

/// An action that the shell must do.
#[derive(Debug)]
pub enum Action {
    /// Write this frame to the connection. If it is gone, drop it.
    Reply {
        /// To this connection.
        conn: ConnId,
        /// The form of CONTENT.
        form: ContentForm,
        /// The request's id.
        id: ReplyId,
        /// Its content.
        reply: Reply,
    },
    /// Write these two frames to the connection, the one directly behind the other and with nothing
    /// between them, not even a write: the request's own answer, and the error that says why. If it
    /// is gone, drop them.
    Refuse {
        /// To this connection.
        conn: ConnId,
        /// The form of CONTENT.
        form: ContentForm,
        /// The request's id, which both name.
        id: ReplyId,
        /// The request's own answer.
        reply: Reply,
        /// The error's code.
        code: ErrorCode,
        /// Its sentence.
        why: &'static str,
    },
    /// Write this push to the connection. If it is gone, drop it: a `Closed` event is on its way.
    Push {
        /// To this connection.
        conn: ConnId,
        /// The form of CONTENT.
        form: ContentForm,
        /// The push.
        push: Push,
    },
    /// Write a frame that says whether a friend is online. If the connection is gone, drop it.
    Presence {
        /// To this connection.
        conn: ConnId,
        /// The form of CONTENT.
        form: ContentForm,
        /// The friend.
        user: UserName,
        /// They are online.
        online: bool,
    },
    /// Hand no more input of this connection to the core until `Resume`: input that was read waits,
    /// and no more is read.
    Hold {
        /// This connection.
        conn: ConnId,
    },
    /// Go on with this connection's input.
    Resume {
        /// This connection.
        conn: ConnId,
    },
    /// Hand no more requests of this connection to the core until `ResumeRequests`. Acks,
    /// heartbeats, log-ins and pings go on ([`Request::passes_held_requests`]) up to the first
    /// request: that one waits, with everything behind it, and no more is read meanwhile.
    /// Independent of `Hold`; saying it twice is the same as once.
    HoldRequests {
        /// This connection.
        conn: ConnId,
    },
    /// Go on with this connection's requests.
    ResumeRequests {
        /// This connection.
        conn: ConnId,
    },
    /// A user has logged in on this connection: it is no longer a stranger's.
    LoggedIn {
        /// This connection.
        conn: ConnId,
    },
    /// Close the connection once what was written to it before is out (or cannot be written). The
    /// core has forgotten it already: no event of it may follow.
    Close {
        /// This connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// Do this job and come back with [`Event::Finished`], exactly once, however long it takes.
    Submit {
        /// The ticket to come back with.
        ticket: Ticket,
        /// The job.
        job: Job,
    },
    /// Pushes wait for a user who is away or does not ack: tell the push hook. At most one for each
    /// user until they log in or a pause is over.
    PushHook(Box<PushNotice>),
    /// Something happened that is counted, and may be logged: the core does neither.
    Note(Note),
    /// The answer to the operator's request with this ticket, exactly once.
    Admin {
        /// The ticket of [`Event::Admin`].
        ticket: AdminTicket,
        /// What became of it.
        answer: AdminAnswer,
    },
    /// Of a node in a cluster: carry this to another one, as [`Record`] says.
    Send {
        /// To this one; to no later life of that node.
        to: Incarnation,
        /// What is said.
        record: Record,
    },
    /// Of a node in a cluster: read the view now, and hand it in, whether it has changed or not.
    ReadView,
    /// After [`Event::ShutDown`]: every message that was taken is durable (or the wait for it was
    /// given up). Write the waiting output and exit.
    Stopped,
}

/// That pushes wait for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushNotice {
    /// The one that has waited for long, with its receiver.
    pub push: Push,
    /// How many wait, this one included.
    pub waiting: usize,
    /// There may be more of them.
    pub more: bool,
}

/// The time beyond its lifetime for which a resume token may seem to last: the clock of a host that
/// starts is often wrong by a time zone. If a token seems to last even longer, the clock was wrong
/// when it was made, or is wrong now: until that is over it may not be used.
pub const TOKEN_SLACK_MS: u64 = 24 * 3_600_000;

/// Blocking work, done by the store's workers. Jobs that name the same user in their data lane are
/// done in the order in which they were submitted, and each is answered only after its effect is
/// committed. Their outcomes arrive in that order, too; those of different users, and of the auth
/// lane, in any.
#[derive(Clone, Debug)]
pub enum Job {
    /// Auth lane: hash a new password. → [`Outcome::Hashed`]
    Hash {
        /// The password.
        secret: Secret,
    },
    /// Data lane of the user: create an account. → [`Outcome::Created`] or [`Outcome::NameTaken`]
    CreateAccount {
        /// Everything but the password.
        profile: Box<Profile>,
        /// The result of `Hash` for the password.
        password_hash: Secret,
    },
    /// Data lane of the user: if the credential is good, their friends and the first page of what
    /// waits for them, all in one go. → [`Outcome::Loaded`], [`Outcome::Unproven`] or
    /// [`Outcome::Banned`]
    LogIn {
        /// The user to log in as.
        user: UserName,
        /// Their credential.
        credential: Credential,
        /// The time, in ms since the epoch: tokens expire.
        now_ms: u64,
        /// A token that would expire later was made when a clock was wrong.
        latest_ms: u64,
        /// The largest number of pushes.
        pushes_max: u32,
        /// And their largest size together, in bytes; the one that goes beyond is the last.
        bytes_max: usize,
    },
    /// Data lane of the user: the same, without reading anything. → [`Outcome::Proven`],
    /// [`Outcome::Unproven`] or [`Outcome::Banned`]
    Prove {
        /// The user to log in as.
        user: UserName,
        /// Their credential.
        credential: Credential,
        /// The time, in ms since the epoch: tokens expire.
        now_ms: u64,
        /// A token that would expire later was made when a clock was wrong.
        latest_ms: u64,
    },
    /// Auth lane: does the password fit? With no hash to compare (an unknown user) it costs the
    /// same time and does not fit. → [`Outcome::Verified`]
    Verify {
        /// The user to log in as.
        user: UserName,
        /// The password that they gave.
        secret: Secret,
        /// The hash in the store.
        password_hash: Option<Secret>,
    },
    /// Data lane of the user: the same, of whom it is proven already. For a log-in unless no pushes
    /// are asked for, the account may be banned or gone by now. → [`Outcome::Loaded`],
    /// [`Outcome::Banned`] or [`Outcome::Unproven`]
    Load {
        /// The user who logs in.
        user: UserName,
        /// The largest number of pushes.
        pushes_max: u32,
        /// And their largest size together, in bytes; the one that goes beyond is the last.
        bytes_max: usize,
    },
    /// Data lane of the user: the next page. → [`Outcome::Page`]
    LoadPage {
        /// Whose.
        user: UserName,
        /// Only pushes with a greater `seq`.
        after_seq: u64,
        /// The largest number of pushes.
        pushes_max: u32,
        /// And their largest size together, in bytes; the one that goes beyond is the last.
        bytes_max: usize,
    },
    /// Data lane of the asker: a profile. It is not about the asker's data, so its place in
    /// their order does not count. → [`Outcome::Profile`]
    GetProfile {
        /// The user who asks.
        asker: UserName,
        /// Whose.
        user: UserName,
    },
    /// Data lane of the receiver: keep a push. Saving it twice is the same as once.
    /// → [`Outcome::Saved`], [`Outcome::Duplicate`] or [`Outcome::Full`]
    SavePush {
        /// The push.
        push: Push,
    },
    /// Data lane of the receiver: forget a push; no matter if it is not there. →
    /// [`Outcome::Deleted`]
    DeletePush {
        /// Its receiver.
        receiver: UserName,
        /// Its place in the order.
        seq: u64,
    },
    /// Data lane of the push's receiver: note a friend request as pending and keep its push, both
    /// or none. → [`Outcome::Asked`]
    AskFriend {
        /// The push of kind `FriendRequest`: from who asks to who is asked.
        push: Push,
        /// Pending requests of who asks, and to who is asked, beyond which nothing is done.
        pending_max: u32,
    },
    /// Data lane of the push's receiver: answer a pending request. Removes it, keeps the push, and
    /// on accept makes the two friends and removes the crossing request with its push: all or
    /// nothing. → [`Outcome::Answered`]
    AnswerFriend {
        /// The push of kind `FriendAccept` or `FriendReject`: from who was asked to who asked,
        /// under the request's id.
        push: Push,
        /// Friends of either beyond which an accept does nothing.
        friends_max: u32,
    },
    /// Data lane of the user: make a resume token, keep its hash, forget the oldest beyond
    /// `tokens_max`. → [`Outcome::Token`]
    MakeToken {
        /// Whose.
        user: UserName,
        /// The time, in ms since the epoch.
        now_ms: u64,
        /// Until when it may be used, in ms since the epoch.
        expires_ms: u64,
        /// A token that would expire later was made when a clock was wrong.
        latest_ms: u64,
        /// Tokens of one user.
        tokens_max: u32,
    },
    /// Data lane of the user: forget all their tokens. → [`Outcome::TokensRevoked`]
    RevokeTokens {
        /// Whose.
        user: UserName,
    },
    /// Data lane of `other`: end a friendship, both ways, and withdraw the request of `user` that
    /// is pending, with its push; no matter if there is neither. → [`Outcome::Unfriended`]
    Unfriend {
        /// The user who ends it, and withdraws.
        user: UserName,
        /// Whose friendship is ended, and who was asked.
        other: UserName,
    },
    /// Data lane that [`AccountJob`] names: what the user asks about their own account.
    /// → [`Outcome::Account`]
    Account {
        /// The user it is about.
        user: UserName,
        /// What it is.
        job: Box<AccountJob>,
    },
    /// Data lane of the user: what an operator asks. → [`Outcome::Admin`]
    Admin {
        /// The user it is about.
        user: UserName,
        /// What it is.
        job: Box<AdminJob>,
    },
    /// Data lane of the user: what only a node of a cluster asks. → [`Outcome::Cluster`], or what
    /// the job says
    Cluster {
        /// The user it is about.
        user: UserName,
        /// What it is.
        job: Box<ClusterJob>,
    },
}

/// The outcome of a job.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// `Hash`: what may be stored of the password.
    Hashed(Secret),
    /// `CreateAccount`: it exists from now on.
    Created,
    /// `CreateAccount`: the name is somebody's.
    NameTaken,
    /// `Prove`: it is that user.
    Proven,
    /// `LogIn`, `Prove`, and `Load` for a log-in: it is that user, and they are banned.
    Banned,
    /// `LogIn`, `Prove`: the password is yet to be verified, against what is stored; or there
    /// is no such user, or the token is none that they may use.
    Unproven {
        /// The stored hash of the password.
        password_hash: Option<Secret>,
        /// The password was compared with the one that was verified last, and is another one.
        differs: bool,
    },
    /// `Verify`: whether the password fits.
    Verified(bool),
    /// `MakeToken`: its hash is kept from now on.
    Token(Secret),
    /// `RevokeTokens`: none fits from now on.
    TokensRevoked,
    /// `LogIn`, `Load`.
    Loaded {
        /// All friends of the user, in no order.
        friends: Vec<UserName>,
        /// The first page.
        page: Page,
    },
    /// `LoadPage`.
    Page(Page),
    /// `GetProfile`: `None` when there is no such user.
    Profile(Option<Box<Profile>>),
    /// `SavePush`: committed (by this job or an earlier one that saved the very same push).
    Saved,
    /// `SavePush`: another push of kind `Message` with the same receiver, sender and id is in the
    /// store; this one was not kept.
    Duplicate,
    /// `SavePush`: it would exceed this quota of what waits for its receiver, and is not kept.
    Full(Quota),
    /// `DeletePush`: it is gone.
    Deleted,
    /// `AskFriend`.
    Asked(Asked),
    /// `AnswerFriend`.
    Answered(Answered),
    /// `Unfriend`: they are no friends, and nothing that `user` asked is pending.
    Unfriended,
    /// `Account`.
    Account(Box<AccountOutcome>),
    /// `Admin`.
    Admin(Box<AdminOutcome>),
    /// `Cluster`, and in a cluster the jobs that [`ClusterOutcome`] names.
    Cluster(Box<ClusterOutcome>),
    /// It was not done, or whether it was done is not known. Nothing may be promised of it.
    Failed,
    /// It was not done, and the store will not do it however often it is asked: something in it, or
    /// in what is stored, does not fit. Other jobs do.
    Refused,
    /// The same: it is larger than the store takes.
    TooLarge,
}
