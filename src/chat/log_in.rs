//! TYPE 2: from a password or a token to a user who is online.
//!
//! Of each user one log-in at a time reads friends and the first page. Others that come meanwhile
//! only prove who they are, and then wait for their turn: a page is large, and a client that knows
//! one password could ask for a thousand at once. A user who is online already needs no page:
//! everything is in memory.

use super::Chat;
use super::answer::ReplyTo;
use super::answer::{BUSY, Fault, PendingRequest};
use super::auth_queue::Waiting;
use super::contract::{Action, CloseReason, ConnId, Job, Page, TOKEN_SLACK_MS, Ticket};
use super::ids::UserId;
use super::job::JobPurpose;
use super::tries::{Settled, Try};
use super::users::Route;
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Secret, UserName};
use crate::protocol::reply::Reply;
use crate::protocol::request::{Credential, Verb};

const REPLACED: Fault = Fault(ErrorCode::Replaced, "you logged in on another connection");
const TOO_MANY_AT_ONCE: Fault =
    Fault(ErrorCode::Unavailable, "too many log-ins of this user wait for each other, try again in a moment");

/// A log-in that is about to begin.
#[derive(Debug)]
pub(super) struct LogIn {
    request: Ticket,
    user: UserName,
    credential: Credential,
    attempt: Try,
}

impl Chat {
    #[inline(never)]
    pub(super) fn log_in(&mut self, to: ReplyTo, user: UserName, credential: Credential, out: &mut Vec<Action>) {
        let admitted = match &credential {
            Credential::Password(_) => self.admit_password(to.0, &user),
            Credential::Token(_) => self.admit_token(to.0),
        };
        let attempt = match admitted {
            Ok(attempt) => attempt,
            Err(fault) => return self.refuse_try(to, Verb::Login, fault, out),
        };
        let session = self.sessions.get(to.0);
        let is_another = |present| self.users.get(present).name != user;
        let waits = session.is_some_and(|session| session.unanswered > 0 && session.user.is_some_and(is_another));
        let conn = to.0;
        let request = self.ask(to, Verb::Login, out);
        let log_in = LogIn { request, user, credential, attempt };
        if waits {
            // The first user's requests are answered first: behind the `LS` the second one would
            // take such an answer for one to them. That is at most as long as a request may take,
            // and nothing more is read from this connection meanwhile.
            self.later_log_ins.insert(conn, log_in);
        } else {
            self.begin_log_in(log_in, out);
        }
    }

    /// Goes on with the log-ins for which nothing is waited any longer.
    #[inline(never)]
    pub(super) fn begin_due_log_ins(&mut self, out: &mut Vec<Action>) {
        for conn in std::mem::take(&mut self.due_log_ins) {
            match self.later_log_ins.remove(&conn) {
                Some(log_in) if self.requests.contains(log_in.request) => self.begin_log_in(log_in, out),
                Some(LogIn { user, attempt, .. }) => self.settle(&user, attempt, Settled::NotMade),
                None => {}
            }
        }
    }

    /// Its connection is gone.
    pub(super) fn drop_later_log_in(&mut self, conn: ConnId) {
        if let Some(LogIn { user, attempt, .. }) = self.later_log_ins.remove(&conn) {
            self.settle(&user, attempt, Settled::NotMade);
        }
    }

    fn begin_log_in(&mut self, LogIn { request, user, credential, attempt }: LogIn, out: &mut Vec<Action>) {
        let now_ms = self.now.wall_ms;
        let latest_ms = now_ms.saturating_add(self.rules.token_lifetime_ms).saturating_add(TOKEN_SLACK_MS);
        let known = self.users.find(user.as_str()).map(|user| self.users.get(user));
        let needs_no_page = known.is_some_and(|known| known.is_here() || known.loading.is_some());
        if needs_no_page {
            let job = Job::Prove { user: user.clone(), credential: credential.clone(), now_ms, latest_ms };
            return self.submit_for(request, job, JobPurpose::Prove { request, user, credential, attempt }, out);
        }
        let (pushes_max, bytes_max) = (self.rules.page_max, self.rules.page_bytes_max);
        let job =
            Job::LogIn { user: user.clone(), credential: credential.clone(), now_ms, latest_ms, pushes_max, bytes_max };
        let user = self.begin_reading(&user);
        self.submit_for(request, job, JobPurpose::LogIn { request, user, credential, attempt }, out);
    }

    /// A user who wants to log in is referred to from now on, as far as their list and their
    /// friends are concerned: what happens to them while they are read must not be lost.
    /// [`reading_ended`](Self::reading_ended) is its end.
    pub(super) fn begin_reading(&mut self, user: &UserName) -> UserId {
        let user = self.users.refer(user);
        self.loading_begins(user);
        user
    }

    /// The turn goes to the next log-in of the same user, if one waits.
    pub(super) fn reading_ended(&mut self, user: UserId, out: &mut Vec<Action>) {
        while let Some(request) = self.users.next_to_load(user) {
            if !self.is_awaited(request) {
                continue;
            }
            if self.users.is_here(user) {
                self.complete_login(request, user, None, out);
                continue;
            }
            let (pushes_max, bytes_max) = (self.rules.page_max, self.rules.page_bytes_max);
            let job = Job::Load { user: self.users.get(user).name.clone(), pushes_max, bytes_max };
            if self.submit(job, JobPurpose::Load { request, user }, out).is_ok() {
                // It has the reference of the one before, and its place among those who load.
                return;
            }
            self.refuse_waiting(request, Some(BUSY), out);
        }
        self.loading_ended(user);
        self.users.release(user);
    }

    pub(super) fn settle_of(&mut self, user: UserId, attempt: Try, settled: Settled) {
        let name = self.users.get(user).name.clone();
        self.settle(&name, attempt, settled);
    }

    /// The store knows no such token, or has not seen this password before.
    pub(super) fn unproven(
        &mut self,
        request: Ticket,
        user: UserName,
        credential: Credential,
        attempt: Try,
        password_hash: Option<Secret>,
        out: &mut Vec<Action>,
    ) {
        match credential {
            Credential::Password(secret) => {
                self.enqueue_auth(Waiting::LogIn { request, attempt, user, secret, password_hash }, out);
            }
            Credential::Token(_) => {
                // Nobody guesses a token: it has expired or was revoked, and that locks nobody out.
                self.settle(&user, attempt, Settled::Wrong);
                self.refuse_waiting(request, None, out);
            }
        }
    }

    /// It is this user: friends and first page are read behind every save that was submitted
    /// before, in turn.
    pub(super) fn proven(&mut self, request: Ticket, user: &UserName, out: &mut Vec<Action>) {
        if !self.is_awaited(request) {
            return;
        }
        let waiting_max = self.rules.log_ins_waiting_per_user_max as usize;
        if let Some(user) = self.users.find(user.as_str()) {
            if self.users.is_here(user) {
                return self.complete_login(request, user, None, out);
            }
            if self.users.get(user).loading.is_some() {
                let is_awaited = |request: &Ticket| {
                    self.requests.get(*request).is_some_and(|pending| self.sessions.get(pending.conn).is_some())
                };
                if !self.users.wait_to_load(user, request, waiting_max, is_awaited) {
                    self.refuse_waiting(request, Some(TOO_MANY_AT_ONCE), out);
                }
                return;
            }
        }
        let (pushes_max, bytes_max) = (self.rules.page_max, self.rules.page_bytes_max);
        let job = Job::Load { user: user.clone(), pushes_max, bytes_max };
        let user = self.begin_reading(user);
        self.submit_for(request, job, JobPurpose::Load { request, user }, out);
    }

    /// Everything is here: if the connection is, too, it is theirs from now on. Friends and first
    /// page are read unless the user is online already.
    pub(super) fn complete_login(
        &mut self,
        request: Ticket,
        user: UserId,
        read: Option<(&[UserName], Page)>,
        out: &mut Vec<Action>,
    ) {
        let Some(PendingRequest { conn, form, id, .. }) = self.take_pending(request, out) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.push_form = form;
        let before = session.user.replace(user);
        if before.is_none() {
            // The allowance that it had used up before was that of a stranger.
            session.fill_bucket();
        }
        if let Some(before) = before.filter(|&before| before != user) {
            self.goes_offline(before, out);
        }
        let before = self.users.arrives(user, conn);
        match before {
            Route::Here(older) if older != conn => {
                // It is nobody's now, so that its end does not end the user's list.
                if let Some(session) = self.sessions.get_mut(older) {
                    session.user = None;
                }
                self.say_and_close(older, REPLACED, CloseReason::Replaced, out);
            }
            Route::Here(_) | Route::Away => {}
        }
        debug_assert_eq!(read.is_some(), before == Route::Away, "who was not online is read, in turn");
        if let Some((friends, page)) = read {
            self.users.set_friends(user, friends);
            self.open_list(user, page);
        }
        out.push(Action::LoggedIn { conn });
        self.reply(conn, form, id, Reply::Login { done: true }, out);
        self.settle_requests(conn, out);
        if let Some(list) = &mut self.users.get_mut(user).list {
            list.unsend_all(&mut self.items);
        }
        self.pump(user, out);
        if self.users.get(user).list.as_ref().is_some_and(|list| list.is_done()) {
            // Nothing waits for the user: most log in and are silent.
            return self.drop_list(user);
        }
        self.arm_resend(user);
        self.want_page(user, out);
    }
}
