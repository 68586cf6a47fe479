//! Notes that several modules make.

use super::Chat;
use super::answer::{BUSY, CROWDED, DAMAGED, FollowingError, LARGER_THAN_ROWS, LATE, NO_HASHING, REFUSED, UNAVAILABLE};
use super::answer::{STOPPING, TOO_FAST, TOO_FAST_CLOSED, holds_input};
use super::contract::{
    Action, ClientConn, ClientLimit, ConnId, FriendAnswerOutcome, FriendRequestOutcome, JobKind, Note, Outcome,
    RefusalCause, Totals,
};
use super::ids::UserId;
use super::job::JobPurpose;
use crate::protocol::field::UserName;
use crate::protocol::request::Verb;

/// The cause of a log-in's or sign-up's refusal with this fault.
fn cause_of(verb: Verb, fault: Option<FollowingError>) -> RefusalCause {
    match fault {
        None if verb == Verb::SignUp => RefusalCause::NameTaken,
        None => RefusalCause::WrongPassword,
        Some(CROWDED) => RefusalCause::QueueFull,
        Some(BUSY) => RefusalCause::Busy,
        Some(UNAVAILABLE) => RefusalCause::Unavailable,
        Some(LATE) => RefusalCause::TimedOut,
        Some(NO_HASHING) => RefusalCause::NoHashing,
        Some(DAMAGED) => RefusalCause::Damaged,
        Some(REFUSED | LARGER_THAN_ROWS) => RefusalCause::Refused,
        Some(STOPPING) => RefusalCause::Stopping,
        Some(TOO_FAST | TOO_FAST_CLOSED) => RefusalCause::Limit(ClientLimit::Requests),
        Some(_) => RefusalCause::BadRequest,
    }
}

fn kind_of(purpose: &JobPurpose) -> JobKind {
    match purpose {
        JobPurpose::Hash { .. } | JobPurpose::Create { .. } => JobKind::SignUp,
        JobPurpose::Account(_) | JobPurpose::NewPassword(_) => JobKind::Account,
        JobPurpose::Login(_) | JobPurpose::ClaimedOwner { .. } | JobPurpose::LettingGo(_) => JobKind::LogIn,
        JobPurpose::Token { .. } => JobKind::Token,
        JobPurpose::Profile { .. } => JobKind::Profile,
        JobPurpose::Page(_) | JobPurpose::Lost { .. } | JobPurpose::Count { .. } => JobKind::Page,
        JobPurpose::Save(_) | JobPurpose::Owner(_) => JobKind::Save,
        JobPurpose::Delete { .. } => JobKind::Delete,
        JobPurpose::Friendship(_) => JobKind::Friendship,
        JobPurpose::Friends(_) => JobKind::Friends,
        JobPurpose::AdminHash(_) | JobPurpose::Admin(_) | JobPurpose::AskedOwner(_) => JobKind::Admin,
    }
}

impl Chat {
    /// The totals of messages so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The client on a connection, if it is connected.
    pub(super) fn client(&self, conn: ConnId) -> Option<ClientConn> {
        self.sessions.get(conn).map(|session| ClientConn { conn, address_key: session.address_key })
    }

    fn user_on(&self, conn: ConnId) -> Option<UserName> {
        let user = self.sessions.get(conn).and_then(|session| session.user);
        user.map(|user| self.users.get(user).name.clone())
    }

    /// A log-in, a sign-up or a request that needs a proof is about to be refused with this fault.
    pub(super) fn note_refusal(
        &self,
        conn: ConnId,
        verb: Option<Verb>,
        user: Option<UserName>,
        fault: Option<FollowingError>,
        out: &mut Vec<Action>,
    ) {
        if let Some(verb) = verb.filter(|verb| holds_input(*verb)) {
            let cause = match cause_of(verb, fault) {
                RefusalCause::Limit(ClientLimit::Requests) => RefusalCause::Limit(self.request_limit(conn)),
                cause => cause,
            };
            self.note_refusal_for(conn, verb, user, cause, out);
        }
    }

    /// A log-in or sign-up is about to be refused for this cause.
    pub(super) fn note_refusal_for(
        &self,
        conn: ConnId,
        verb: Verb,
        user: Option<UserName>,
        cause: RefusalCause,
        out: &mut Vec<Action>,
    ) {
        let Some(client) = self.client(conn) else {
            return;
        };
        out.push(Action::Note(match verb {
            Verb::SignUp => Note::SignUpRefused { user, client, cause },
            Verb::Password | Verb::Account => {
                Note::ProofRefused { user: user.or_else(|| self.user_on(conn)), client, cause }
            }
            _ => Note::LogInRefused { user, client, cause },
        }));
    }

    #[cold]
    pub(super) fn note_limit(&self, conn: ConnId, limit: ClientLimit, out: &mut Vec<Action>) {
        if let Some(client) = self.client(conn) {
            out.push(Action::Note(Note::LimitReached { user: self.user_on(conn), client, limit }));
        }
    }

    /// This connection sent more requests than allowed.
    #[cold]
    pub(super) fn note_too_fast(&self, conn: ConnId, out: &mut Vec<Action>) {
        self.note_limit(conn, self.request_limit(conn), out);
    }

    /// The limit of requests that applies to a connection.
    fn request_limit(&self, conn: ConnId) -> ClientLimit {
        let is_known = self.sessions.get(conn).is_some_and(|session| session.user.is_some());
        if is_known { ClientLimit::Requests } else { ClientLimit::RequestsBeforeLogin }
    }

    pub(super) fn note_not_friends(&self, conn: ConnId, user: UserId, out: &mut Vec<Action>) {
        if let Some(client) = self.client(conn) {
            out.push(Action::Note(Note::NotFriends { user: self.users.get(user).name.clone(), client }));
        }
    }

    /// Makes the notes about a finished job.
    pub(super) fn note_outcome(&self, purpose: &JobPurpose, outcome: &Outcome, out: &mut Vec<Action>) {
        let name = |user: UserId| self.users.get(user).name.clone();
        let note = match (purpose, outcome) {
            (_, Outcome::Failed) => Note::JobFailed { job: kind_of(purpose), for_good: false },
            (_, Outcome::Refused | Outcome::TooLarge) => Note::JobFailed { job: kind_of(purpose), for_good: true },
            (JobPurpose::Page(user), Outcome::Page(page)) => {
                Note::PageRead { user: name(*user), pushes: page.pushes.len(), more: page.more }
            }
            (JobPurpose::Save(delivery), Outcome::Full(quota)) => match self.deliveries.get(*delivery) {
                Some(found) => {
                    Note::MailboxFull { user: name(found.receiver), sender: found.body.sender().into(), quota: *quota }
                }
                // Acked meanwhile.
                None => return,
            },
            (
                JobPurpose::Friendship(friendship),
                Outcome::Asked(FriendRequestOutcome::Full(quota)) | Outcome::Answered(FriendAnswerOutcome::Full(quota)),
            ) => Note::MailboxFull {
                user: name(friendship.other),
                sender: name(friendship.me).as_str().into(),
                quota: *quota,
            },
            _ => return,
        };
        out.push(Action::Note(note));
    }
}
