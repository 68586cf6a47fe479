//! Log events that several modules report.

use super::ServerCore;
use super::answer::{BUSY, CROWDED, DAMAGED, ErrorReply, LARGER_THAN_ROWS, LATE, NO_HASHING, REFUSED, UNAVAILABLE};
use super::answer::{STOPPING, TOO_FAST, TOO_FAST_CLOSED, pauses_input};
use super::contract::{
    ClientLimitKind, ConnAndAddress, ConnId, CoreAction, FriendAnswerOutcome, FriendRequestOutcome, JobOutcome,
    LogEvent, LogEventJobKind, LoginRefusalCause, MessageTotals,
};
use super::ids::UserSlot;
use super::job::JobPurpose;
use crate::protocol::field::UserName;
use crate::protocol::request::RequestType;

/// The cause of a log-in's or sign-up's refusal with this fault.
fn cause_of(request_type: RequestType, fault: Option<ErrorReply>) -> LoginRefusalCause {
    match fault {
        None if request_type == RequestType::SignUp => LoginRefusalCause::NameTaken,
        None => LoginRefusalCause::WrongPassword,
        Some(CROWDED) => LoginRefusalCause::QueueFull,
        Some(BUSY) => LoginRefusalCause::Busy,
        Some(UNAVAILABLE) => LoginRefusalCause::Unavailable,
        Some(LATE) => LoginRefusalCause::TimedOut,
        Some(NO_HASHING) => LoginRefusalCause::NoHashing,
        Some(DAMAGED) => LoginRefusalCause::Damaged,
        Some(REFUSED | LARGER_THAN_ROWS) => LoginRefusalCause::Refused,
        Some(STOPPING) => LoginRefusalCause::Stopping,
        Some(TOO_FAST | TOO_FAST_CLOSED) => LoginRefusalCause::Limit(ClientLimitKind::Requests),
        Some(_) => LoginRefusalCause::BadRequest,
    }
}

fn kind_of(purpose: &JobPurpose) -> LogEventJobKind {
    match purpose {
        JobPurpose::Hash { .. } | JobPurpose::Create { .. } => LogEventJobKind::SignUp,
        JobPurpose::Account(_) | JobPurpose::NewPassword(_) => LogEventJobKind::Account,
        JobPurpose::Login(_) | JobPurpose::ClaimedOwner { .. } | JobPurpose::ReleaseBarrier(_) => {
            LogEventJobKind::LogIn
        }
        JobPurpose::Token { .. } => LogEventJobKind::Token,
        JobPurpose::Profile { .. } => LogEventJobKind::Profile,
        JobPurpose::Page(_) | JobPurpose::Lost { .. } | JobPurpose::Count { .. } => LogEventJobKind::Page,
        JobPurpose::Save(_) | JobPurpose::Owner(_) => LogEventJobKind::Save,
        JobPurpose::Delete { .. } => LogEventJobKind::Delete,
        JobPurpose::Friendship(_) => LogEventJobKind::Friendship,
        JobPurpose::Friends(_) => LogEventJobKind::Friends,
        JobPurpose::AdminHash(_) | JobPurpose::Admin(_) | JobPurpose::AskedOwner(_) => LogEventJobKind::Admin,
    }
}

impl ServerCore {
    /// The totals of messages so far.
    #[must_use]
    pub fn totals(&self) -> MessageTotals {
        self.totals
    }

    /// The client on a connection, if it is connected.
    pub(super) fn client(&self, conn: ConnId) -> Option<ConnAndAddress> {
        self.sessions.get(conn).map(|session| ConnAndAddress { conn, address_key: session.address_key })
    }

    fn user_on(&self, conn: ConnId) -> Option<UserName> {
        let user = self.sessions.get(conn).and_then(|session| session.user);
        user.map(|user| self.users.get(user).name.clone())
    }

    /// A log-in, a sign-up or a request that needs a proof is about to be refused with this fault.
    pub(super) fn note_refusal(
        &self,
        conn: ConnId,
        request_type: Option<RequestType>,
        user: Option<UserName>,
        fault: Option<ErrorReply>,
        out: &mut Vec<CoreAction>,
    ) {
        if let Some(request_type) = request_type.filter(|request_type| pauses_input(*request_type)) {
            let cause = match cause_of(request_type, fault) {
                LoginRefusalCause::Limit(ClientLimitKind::Requests) => {
                    LoginRefusalCause::Limit(self.request_limit(conn))
                }
                cause => cause,
            };
            self.note_refusal_for(conn, request_type, user, cause, out);
        }
    }

    /// A log-in or sign-up is about to be refused for this cause.
    pub(super) fn note_refusal_for(
        &self,
        conn: ConnId,
        request_type: RequestType,
        user: Option<UserName>,
        cause: LoginRefusalCause,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(client) = self.client(conn) else {
            return;
        };
        out.push(CoreAction::Log(match request_type {
            RequestType::SignUp => LogEvent::SignUpRefused { user, client, cause },
            RequestType::Password | RequestType::Account => {
                LogEvent::ProofRefused { user: user.or_else(|| self.user_on(conn)), client, cause }
            }
            _ => LogEvent::LogInRefused { user, client, cause },
        }));
    }

    #[cold]
    pub(super) fn note_limit(&self, conn: ConnId, limit: ClientLimitKind, out: &mut Vec<CoreAction>) {
        if let Some(client) = self.client(conn) {
            out.push(CoreAction::Log(LogEvent::LimitReached { user: self.user_on(conn), client, limit }));
        }
    }

    /// This connection sent more requests than allowed.
    #[cold]
    pub(super) fn note_rate_limited(&self, conn: ConnId, out: &mut Vec<CoreAction>) {
        self.note_limit(conn, self.request_limit(conn), out);
    }

    /// The limit of requests that applies to a connection.
    fn request_limit(&self, conn: ConnId) -> ClientLimitKind {
        let is_known = self.sessions.get(conn).is_some_and(|session| session.user.is_some());
        if is_known { ClientLimitKind::Requests } else { ClientLimitKind::RequestsBeforeLogin }
    }

    pub(super) fn note_not_friends(&self, conn: ConnId, user: UserSlot, out: &mut Vec<CoreAction>) {
        if let Some(client) = self.client(conn) {
            out.push(CoreAction::Log(LogEvent::NotFriends { user: self.users.get(user).name.clone(), client }));
        }
    }

    /// Reports the log events about a finished job.
    pub(super) fn note_outcome(&self, purpose: &JobPurpose, outcome: &JobOutcome, out: &mut Vec<CoreAction>) {
        let name = |user: UserSlot| self.users.get(user).name.clone();
        let event = match (purpose, outcome) {
            (_, JobOutcome::Failed) => LogEvent::JobFailed { job: kind_of(purpose), for_good: false },
            (_, JobOutcome::Refused | JobOutcome::TooLarge) => {
                LogEvent::JobFailed { job: kind_of(purpose), for_good: true }
            }
            (JobPurpose::Page(user), JobOutcome::Page(page)) => {
                LogEvent::PageRead { user: name(*user), pushes: page.pushes.len(), more: page.has_more }
            }
            (JobPurpose::Save(delivery), JobOutcome::Full(quota)) => match self.deliveries.get(*delivery) {
                Some(found) => LogEvent::MailboxFull {
                    user: name(found.receiver),
                    sender: found.body.sender().into(),
                    quota: *quota,
                },
                // Acked meanwhile.
                None => return,
            },
            (
                JobPurpose::Friendship(friendship),
                JobOutcome::Asked(FriendRequestOutcome::Full(quota))
                | JobOutcome::Answered(FriendAnswerOutcome::Full(quota)),
            ) => LogEvent::MailboxFull {
                user: name(friendship.other),
                sender: name(friendship.me).as_str().into(),
                quota: *quota,
            },
            _ => return,
        };
        out.push(CoreAction::Log(event));
    }
}
