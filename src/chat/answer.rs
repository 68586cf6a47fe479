//! Answers to requests: the request's own reply, and the error that gives the reason.

use super::contract::{ConnId, CoreAction, CoreCloseCause, JobOutcome, JobTicket, LoginRefusalCause};
use super::{PendingReplyDeadline, ServerCore};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::UserName;
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{ContentAsStringOrObject, RequestType};

/// The error that follows a request's own answer: a code, and a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorReply(pub(super) ErrorCode, pub(super) &'static str);

pub(super) const STOPPING: ErrorReply =
    ErrorReply(ErrorCode::ShuttingDown, "the server stops, connect again in a while");
pub(super) const SILENT: ErrorReply =
    ErrorReply(ErrorCode::Idle, "no heartbeat, message or ack came for too long, send a heartbeat (TYPE 0) every 30 s");
pub(super) const UNAVAILABLE: ErrorReply =
    ErrorReply(ErrorCode::Unavailable, "the store failed, this is not promised but may be done later, send it again");
pub(super) const LATE: ErrorReply = ErrorReply(
    ErrorCode::Unavailable,
    "this was not done in time, it is not promised but may be done later, send it again",
);
pub(super) const BUSY: ErrorReply =
    ErrorReply(ErrorCode::Unavailable, "too many requests wait for the store, try again");
pub(super) const FULL: ErrorReply =
    ErrorReply(ErrorCode::Full, "too much waits there already, nothing was promised, try again later");
pub(super) const CROWDED: ErrorReply =
    ErrorReply(ErrorCode::Unavailable, "too many log-ins wait, try again in a moment");
pub(super) const NO_HASHING: ErrorReply =
    ErrorReply(ErrorCode::Unavailable, "the server could not work on the password, nothing was changed, try again");
/// The code is not `TOO_LARGE`: that one announces that the connection is closed, but here the
/// envelope is within its limit.
pub(super) const LARGER_THAN_ROWS: ErrorReply =
    ErrorReply(ErrorCode::BadField, "this is larger than the database of this server accepts, do not send it again");
pub(super) const REFUSED: ErrorReply =
    ErrorReply(ErrorCode::BadField, "the store refuses this content, do not send it again");
pub(super) const DAMAGED: ErrorReply = ErrorReply(
    ErrorCode::Unavailable,
    "the stored data for this is damaged, trying again does not help: tell the operator of the server",
);
pub(super) const LOG_IN_FIRST: ErrorReply = ErrorReply(ErrorCode::NotLoggedIn, "log in first");
pub(super) const BANNED: ErrorReply =
    ErrorReply(ErrorCode::Forbidden, "this account is banned, ask the operator of the server");
pub(super) const NOT_YOU: ErrorReply = ErrorReply(ErrorCode::Forbidden, "sender must be you");
pub(super) const TOO_FAST: ErrorReply = ErrorReply(ErrorCode::RateLimited, "too many requests a second, slow down");
pub(super) const TOO_MANY_TRIES: ErrorReply =
    ErrorReply(ErrorCode::RateLimited, "too many passwords were tried, try again later");
pub(super) const TOO_MANY_TOKENS: ErrorReply =
    ErrorReply(ErrorCode::RateLimited, "too many tokens that are not valid, use the password");
pub(super) const TOO_MANY_SIGN_UPS: ErrorReply =
    ErrorReply(ErrorCode::RateLimited, "too many sign-ups, try again later");
pub(super) const SIGN_UPS_CLOSED: ErrorReply =
    ErrorReply(ErrorCode::Forbidden, "this server takes no sign-ups, ask its operator for an account");
/// The last error to a client that sent more than its allowance.
pub(super) const TOO_FAST_CLOSED: ErrorReply =
    ErrorReply(ErrorCode::RateLimited, "too many requests, this connection is closed");

/// The error for clients whose write was not done.
pub(super) fn fault_of(outcome: &JobOutcome) -> ErrorReply {
    match outcome {
        JobOutcome::TooLarge => LARGER_THAN_ROWS,
        JobOutcome::Refused => REFUSED,
        _ => UNAVAILABLE,
    }
}

/// Is the connection's input paused until a request of this type is answered? It is paused for
/// requests that need a password check.
pub(super) fn pauses_input(request_type: RequestType) -> bool {
    matches!(request_type, RequestType::SignUp | RequestType::Login | RequestType::Password | RequestType::Account)
}

/// A request that waits for a job, with the place where its answer goes.
#[derive(Debug)]
pub(super) struct RequestAwaitingJob {
    pub(super) conn: ConnId,
    pub(super) form: ContentAsStringOrObject,
    pub(super) id: ReplyId,
    pub(super) request_type: RequestType,
}

/// Where an answer goes: the connection, the form of CONTENT, and the id to name.
pub(super) type ReplyTo = (ConnId, ContentAsStringOrObject, ReplyId);

/// The owned form of a request's id, which is borrowed from the read buffer.
pub(super) fn id_text(id: &str) -> ReplyId {
    owned_id(Some(id))
}

pub(super) fn owned_id(id: Option<&str>) -> ReplyId {
    match id {
        None | Some("") => ReplyId::Empty,
        Some(id) => ReplyId::Text(id.into()),
    }
}

impl ServerCore {
    /// Sends a reply, if the connection is still open.
    pub(super) fn reply(
        &self,
        conn: ConnId,
        form: ContentAsStringOrObject,
        id: ReplyId,
        reply: Reply,
        out: &mut Vec<CoreAction>,
    ) {
        if self.sessions.get(conn).is_some() {
            out.push(CoreAction::Reply { conn, form, id, reply });
        }
    }

    /// Refuses a request, with a log event if it is a log-in or sign-up.
    #[inline(never)]
    pub(super) fn refuse(
        &self,
        to: ReplyTo,
        request_type: Option<RequestType>,
        fault: Option<ErrorReply>,
        out: &mut Vec<CoreAction>,
    ) {
        self.refuse_with_name(to, request_type, None, fault, out);
    }

    /// Like `refuse`, for a client that states the user name `user`.
    pub(super) fn refuse_with_name(
        &self,
        to: ReplyTo,
        request_type: Option<RequestType>,
        user: Option<UserName>,
        fault: Option<ErrorReply>,
        out: &mut Vec<CoreAction>,
    ) {
        self.note_refusal(to.0, request_type, user, fault, out);
        self.send_refusal(to, request_type, fault, out);
    }

    /// Sends a refusal. Requests of TYPE 1, 2 and 4 get their own answer first, and directly after
    /// it the error, if there is one.
    #[inline(never)]
    pub(super) fn send_refusal(
        &self,
        (conn, form, id): ReplyTo,
        request_type: Option<RequestType>,
        fault: Option<ErrorReply>,
        out: &mut Vec<CoreAction>,
    ) {
        let own = match request_type {
            Some(RequestType::SignUp) => Some(Reply::SignUp { done: false }),
            Some(RequestType::Login) => Some(Reply::Login { done: false }),
            Some(RequestType::Message) => Some(Reply::Message { is_durable: false }),
            _ => None,
        };
        match (own, fault) {
            (Some(reply), Some(ErrorReply(code, explanation))) => {
                if self.sessions.get(conn).is_some() {
                    out.push(CoreAction::Refuse { conn, form, id, reply, code, explanation });
                }
            }
            (Some(own), None) => self.reply(conn, form, id, own, out),
            (None, Some(ErrorReply(code, explanation))) => {
                self.reply(conn, form, id, Reply::Error { code, explanation }, out)
            }
            (None, None) => {}
        }
    }

    /// Notes a request that waits for jobs. It is answered within its deadline, even if the jobs
    /// are not done by then.
    pub(super) fn await_answer(&mut self, pending: RequestAwaitingJob, out: &mut Vec<CoreAction>) -> JobTicket {
        if !pauses_input(pending.request_type) {
            self.add_unanswered(pending.conn);
        } else if let Some(session) = self.sessions.get_mut(pending.conn) {
            session.is_input_paused = true;
            out.push(CoreAction::Pause { conn: pending.conn });
        }
        let request = self.requests.insert(pending);
        self.queue_answer_deadline(
            self.now.mono_ms + self.rules.answer_within_ms,
            PendingReplyDeadline::Request(request),
        );
        request
    }

    /// Takes out a request that is about to be answered. `None`: it has been answered, or its
    /// connection is gone.
    pub(super) fn take_pending(&mut self, request: JobTicket, out: &mut Vec<CoreAction>) -> Option<RequestAwaitingJob> {
        let pending = self.requests.remove(request)?;
        if matches!(pending.request_type, RequestType::SignUp | RequestType::Login) {
            self.stated_names.remove(&request);
        }
        let session = self.sessions.get_mut(pending.conn)?;
        if !pauses_input(pending.request_type) {
            self.remove_unanswered(pending.conn);
        } else if std::mem::take(&mut session.is_input_paused) {
            out.push(CoreAction::Resume { conn: pending.conn });
        }
        Some(pending)
    }

    /// The user of this connection waits for one more answer.
    pub(super) fn add_unanswered(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.unanswered += 1;
        }
    }

    /// One answer for which the user waited is sent now. After the last one, a log-in of another
    /// user may begin.
    pub(super) fn remove_unanswered(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        debug_assert!(session.unanswered > 0, "answered more often than asked");
        session.unanswered = session.unanswered.saturating_sub(1);
        if session.unanswered == 0 && self.logins.is_any_deferred() {
            self.logins.all_answered(conn);
        }
    }

    /// Answers a request that waited.
    pub(super) fn answer(&mut self, request: JobTicket, reply: Reply, out: &mut Vec<CoreAction>) {
        if let Some(RequestAwaitingJob { conn, form, id, .. }) = self.take_pending(request, out) {
            self.reply(conn, form, id, reply, out);
        }
    }

    /// Refuses a request that waited.
    pub(super) fn refuse_waiting(&mut self, request: JobTicket, fault: Option<ErrorReply>, out: &mut Vec<CoreAction>) {
        let user = self.stated_name_of(request);
        if let Some(RequestAwaitingJob { conn, form, id, request_type }) = self.take_pending(request, out) {
            self.refuse_with_name((conn, form, id), Some(request_type), user, fault, out);
        }
    }

    /// Refuses a waiting log-in or sign-up for a cause that cannot be derived from the fault.
    pub(super) fn refuse_for(
        &mut self,
        request: JobTicket,
        cause: LoginRefusalCause,
        fault: Option<ErrorReply>,
        out: &mut Vec<CoreAction>,
    ) {
        let user = self.stated_name_of(request);
        if let Some(RequestAwaitingJob { conn, form, id, request_type }) = self.take_pending(request, out) {
            self.note_refusal_for(conn, request_type, user, cause, out);
            self.send_refusal((conn, form, id), Some(request_type), fault, out);
        }
    }

    /// The user name that a waiting log-in or sign-up states.
    pub(super) fn stated_name_of(&self, request: JobTicket) -> Option<UserName> {
        self.stated_names.get(&request).cloned()
    }

    /// Does any client wait for an answer?
    #[must_use]
    pub fn has_unanswered_requests(&self) -> bool {
        !(self.answer_deadlines.is_empty() && self.save_delay.is_empty())
    }

    /// The connections with unanswered requests, once for each such request. It looks at all
    /// waiting requests, so do not call it for every event.
    pub fn unanswered(&self) -> impl Iterator<Item = ConnId> + '_ {
        let requests = self.answer_deadlines.iter().filter_map(|due| match due {
            PendingReplyDeadline::Request(request) => self.requests.get(request).map(|pending| pending.conn),
            PendingReplyDeadline::Push(_) => None,
        });
        let saving = self.answer_deadlines.iter().filter_map(|due| match due {
            PendingReplyDeadline::Request(_) => None,
            PendingReplyDeadline::Push(delivery) => Some(delivery),
        });
        // In the save delay a push is not being saved yet, but its sender waits, too.
        let pushes = saving.chain(self.save_delay.iter()).filter_map(|delivery| self.deliveries.get(delivery));
        requests.chain(pushes.flat_map(super::deliveries::Delivery::waiting_conns))
    }

    pub(super) fn request_timed_out(&mut self, request: JobTicket, out: &mut Vec<CoreAction>) {
        match self.requests.get(request).map(|pending| pending.request_type) {
            Some(request_type) if pauses_input(request_type) => {
                self.refuse_for(request, LoginRefusalCause::TimedOut, Some(LATE), out);
            }
            Some(_) => self.refuse_waiting(request, Some(LATE), out),
            None => {}
        }
    }

    /// Sends an error that answers no request, and closes the connection.
    pub(super) fn close_with_error(
        &mut self,
        conn: ConnId,
        fault: ErrorReply,
        cause: CoreCloseCause,
        out: &mut Vec<CoreAction>,
    ) {
        let form = self.sessions.get(conn).map_or(ContentAsStringOrObject::Text, |session| session.form);
        let ErrorReply(code, explanation) = fault;
        self.reply(conn, form, ReplyId::Empty, Reply::Error { code, explanation }, out);
        self.close(conn, cause, out);
    }
}
