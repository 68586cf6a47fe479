//! TYPE 2: log-ins, by a password or a token.
//!
//! Only one log-in of each user reads friends and the first page at a time. Other log-ins of the
//! user that arrive meanwhile only check their credential, and then wait for their turn: a page is
//! large, and a client that knows one password could ask for a thousand pages at once. A user who
//! is online already needs no page: everything is in memory.
//!
//! The states of a log-in and the transitions are in `login_stage.rs`; this module carries them
//! out.

use super::ServerCore;
use super::answer::ReplyTo;
use super::answer::{CROWDED, ErrorReply, RequestAwaitingJob, TOO_MANY_SIGN_UPS, TOO_MANY_TOKENS, TOO_MANY_TRIES};
use super::auth_queue::{AuthQueueClass, HashPurpose, NextPasswordToHash, QueuedHash};
use super::contract::{
    ClientLimitKind, ConnAndAddress, ConnId, CoreAction, CoreCloseCause, CredentialKind, Job, JobOutcome, JobTicket,
    LogEvent, LoginRefusalCause, PushPage,
};
use super::ids::{LoginStageTicket, UserSlot};
use super::job::JobPurpose;
use super::login_stage::{
    LoginInProgress, LoginStage, LoginStageContext, LoginStageEvent, LoginStageTransition, NextLoginStep,
    UserLoadState, fault_of,
};
use super::own_op::CredentialCheckPurpose;
use super::tries::{AdmittedTry, CredentialTryOutcome};
use super::users::UserRoute;
use crate::protocol::error::ErrorCode;
use crate::protocol::field::UserName;
use crate::protocol::reply::Reply;
use crate::protocol::request::{Credential, RequestType};

pub(super) const REPLACED: ErrorReply = ErrorReply(ErrorCode::Replaced, "you logged in on another connection");

/// The data that was read for a log-in.
pub(super) struct LoadedLoginData {
    pub(super) friends: Vec<UserName>,
    /// The first page.
    pub(super) page: PushPage,
    /// In a cluster, the epoch of the user's whereabouts.
    pub(super) epoch: u64,
}

impl ServerCore {
    #[inline(never)]
    pub(super) fn log_in(&mut self, to: ReplyTo, user: UserName, credential: Credential, out: &mut Vec<CoreAction>) {
        if self.is_draining() {
            return self.refuse_drained(to, RequestType::Login, out);
        }
        let (conn, now_ms) = (to.0, self.now.mono_ms);
        let session = self.sessions.get_mut(conn);
        let admitted = match &credential {
            Credential::Password(_) => self.auth_attempts.admit_password(conn, session, &user, &self.rules, now_ms),
            Credential::Token(_) => self.auth_attempts.admit_token(conn, session.as_deref(), &self.rules),
        };
        let attempt = match admitted {
            Ok(attempt) => attempt,
            Err(limit) => return self.refuse_try(to, RequestType::Login, user, limit, out),
        };
        let session = self.sessions.get(conn);
        let is_another = |present| self.users.get(present).name != user;
        let waits = session.is_some_and(|session| session.unanswered > 0 && session.user.is_some_and(is_another));
        let request = self.ask_with_name(to, RequestType::Login, user.clone(), out);
        let by = match &credential {
            Credential::Password(_) => CredentialKind::Password,
            Credential::Token(_) => CredentialKind::Token,
        };
        let login = LoginStage::Admitted { credential, attempt };
        let id = self.logins.insert(LoginInProgress {
            request,
            user,
            aim: CredentialCheckPurpose::LogIn(by),
            login,
            barred: None,
        });
        if waits {
            // The first user's requests are answered first: after the `LS`, their answers would
            // seem to belong to the second user. The wait is at most `answer_within_ms`, and no
            // more input of this connection is read meanwhile.
            self.logins.defer(conn, id);
        } else {
            self.login_event(id, LoginStageEvent::Begins, out);
        }
    }

    /// Begins the deferred log-ins that need not wait any longer.
    #[inline(never)]
    pub(super) fn begin_due_log_ins(&mut self, out: &mut Vec<CoreAction>) {
        for id in self.logins.take_due() {
            self.login_event(id, LoginStageEvent::Begins, out);
        }
    }

    /// Removes the deferred log-in of a connection that is gone.
    pub(super) fn remove_deferred_log_in(&mut self, conn: ConnId, out: &mut Vec<CoreAction>) {
        if let Some(id) = self.logins.take_deferred(conn) {
            self.login_event(id, LoginStageEvent::Dropped, out);
        }
    }

    /// Does a client still wait for the answer to this request?
    pub(super) fn is_awaited(&self, request: JobTicket) -> bool {
        self.requests.get(request).is_some_and(|pending| self.sessions.get(pending.conn).is_some())
    }

    fn whereabouts(&self, user: &UserName, aim: &CredentialCheckPurpose) -> UserLoadState {
        if !matches!(aim, CredentialCheckPurpose::LogIn(_)) {
            // Nothing needs to be read.
            return UserLoadState::Here;
        }
        match self.users.find(user.as_str()).map(|user| self.users.get(user)) {
            Some(user) if user.is_here() => UserLoadState::Here,
            Some(user) if user.loading.is_some() => UserLoadState::Loading,
            _ => UserLoadState::Away,
        }
    }

    pub(super) fn login_event(&mut self, id: LoginStageTicket, event: LoginStageEvent, out: &mut Vec<CoreAction>) {
        self.login_event_with(id, event, None, out);
    }

    /// Handles an event of a log-in: takes it out of its state, settles its try, and does the next
    /// step.
    fn login_event_with(
        &mut self,
        id: LoginStageTicket,
        event: LoginStageEvent,
        read: Option<LoadedLoginData>,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(LoginInProgress { request, user, aim, login, barred }) = self.logins.remove(id) else {
            debug_assert!(false, "{event:?} to a log-in that is over");
            return;
        };
        let facts =
            LoginStageContext { is_awaited: self.is_awaited(request), whereabouts: self.whereabouts(&user, &aim) };
        let (loads, hashes, old_hash) = (login.loads(), login.hashes(), login.compared_with().cloned());
        let LoginStageTransition { settled, next } = login.on(event, facts).unless(barred);
        if hashes {
            self.auth_queue.run_ended();
        }
        if let Some((attempt, settled)) = settled {
            self.settle_login_try(&user, attempt, settled);
        }
        let (next, aim) = match (next, aim) {
            (NextLoginStep::Complete, CredentialCheckPurpose::LogIn(by)) => {
                self.complete_login(request, (&user, by), read, out);
                (NextLoginStep::Drop, CredentialCheckPurpose::LogIn(by))
            }
            (NextLoginStep::Complete, aim) => return self.on_proven(request, user, (aim, old_hash), out),
            unchanged => unchanged,
        };
        let loads_on = matches!(&next, NextLoginStep::Enter(login) if loads && login.loads());
        if loads
            && !loads_on
            && let Some(user) = self.users.find(user.as_str())
        {
            // The reference to the user ends here.
            self.reading_ended(user, out);
        }
        match next {
            NextLoginStep::Enter(login) => {
                self.enter(LoginInProgress { request, user, aim, login, barred }, loads_on, out)
            }
            NextLoginStep::Refuse(cause) => self.refuse_in_progress(request, &aim, cause, out),
            NextLoginStep::Complete | NextLoginStep::Drop => {}
        }
    }

    fn refuse_in_progress(
        &mut self,
        request: JobTicket,
        aim: &CredentialCheckPurpose,
        cause: LoginRefusalCause,
        out: &mut Vec<CoreAction>,
    ) {
        match aim {
            CredentialCheckPurpose::LogIn(_) => self.refuse_for(request, cause, fault_of(cause), out),
            CredentialCheckPurpose::ChangePassword(_) | CredentialCheckPurpose::DeleteAccount => {
                self.refuse_proof(request, cause, out)
            }
        }
    }

    /// Moves a log-in to the place of its new state. `loads`: it has the user's turn to load
    /// already.
    fn enter(&mut self, one: LoginInProgress, loads: bool, out: &mut Vec<CoreAction>) {
        match one.login {
            LoginStage::Queued { attempt, .. } => self.enqueue_login(one, attempt, out),
            LoginStage::WaitingToLoad => self.wait_to_load(one, out),
            LoginStage::Claiming { owner } => self.begin_claim(one, owner, out),
            _ => {
                if one.login.loads() && !loads {
                    self.begin_reading(&one.user);
                }
                if let Err(id) = self.submit_login(one, out) {
                    self.login_event(id, LoginStageEvent::NotSubmitted, out);
                }
            }
        }
    }

    /// Submits the job of the log-in's state; gives the log-in's id back if too many jobs are in
    /// flight.
    fn submit_login(&mut self, one: LoginInProgress, out: &mut Vec<CoreAction>) -> Result<(), LoginStageTicket> {
        let job = one.login.job(&one.user, self.now, &self.rules);
        debug_assert!(job.is_some(), "{one:?} waits for no job");
        let id = self.logins.insert(one);
        match job.map(|job| self.submit(job, JobPurpose::Login(id), out)) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(id),
        }
    }

    /// The job of a log-in has ended.
    pub(super) fn login_job_done(&mut self, id: LoginStageTicket, outcome: JobOutcome, out: &mut Vec<CoreAction>) {
        let (event, read) = match outcome {
            JobOutcome::Loaded { friends, page } => {
                (LoginStageEvent::Loaded, Some(LoadedLoginData { friends, page, epoch: 0 }))
            }
            JobOutcome::Cluster(outcome) => self.read_for_login(id, *outcome),
            JobOutcome::Proven => (LoginStageEvent::Proven, None),
            JobOutcome::Banned => (LoginStageEvent::Banned, None),
            JobOutcome::Unproven { password_hash, differs_from_verified } => {
                (LoginStageEvent::Unproven { password_hash, differs_from_verified }, None)
            }
            JobOutcome::Verified(fits) => (LoginStageEvent::Verified(fits), None),
            JobOutcome::Failed => (LoginStageEvent::Failed { refused: false }, None),
            other => {
                debug_assert!(
                    matches!(other, JobOutcome::Refused | JobOutcome::TooLarge),
                    "a log-in came back as {other:?}"
                );
                (LoginStageEvent::Failed { refused: true }, None)
            }
        };
        self.login_event_with(id, event, read, out);
        self.start_auth_runs(out);
    }

    fn enqueue_login(&mut self, one: LoginInProgress, attempt: AdmittedTry, out: &mut Vec<CoreAction>) {
        let session = self.sessions.get(attempt.conn);
        let is_clean =
            self.auth_attempts.has_no_recent_failures(&one.user, attempt, session, &self.rules, self.now.mono_ms);
        let class = if is_clean { AuthQueueClass::Unsuspected } else { AuthQueueClass::Suspect };
        let (request, address_key) = (one.request, attempt.address_key);
        let id = self.logins.insert(one);
        let waiting = QueuedHash { request, address_key, purpose: HashPurpose::Login(id) };
        if self.is_awaited(request) && self.auth_queue.enter(class, waiting, &self.rules).is_ok() {
            self.start_auth_runs(out);
        } else {
            self.login_event(id, LoginStageEvent::NoPlace, out);
        }
    }

    /// Gives the auth workers as many runs as they may have.
    pub(super) fn start_auth_runs(&mut self, out: &mut Vec<CoreAction>) {
        if !self.stopping {
            self.start_admin_hashes(out);
        }
        while !self.stopping {
            let (requests, sessions) = (&self.requests, &self.sessions);
            let is_awaited =
                |request| requests.get(request).is_some_and(|pending| sessions.get(pending.conn).is_some());
            match self.auth_queue.next(&self.rules, is_awaited) {
                Some(NextPasswordToHash::Run(QueuedHash { purpose: HashPurpose::Login(id), .. }))
                | Some(NextPasswordToHash::Gone(QueuedHash { purpose: HashPurpose::Login(id), .. })) => {
                    self.login_event(id, LoginStageEvent::HashingTurn, out);
                }
                Some(NextPasswordToHash::Run(QueuedHash {
                    purpose: HashPurpose::NewPassword { new, secret }, ..
                })) => {
                    self.submit_new_password(new, secret, out);
                }
                // Nobody waits for the answer.
                Some(NextPasswordToHash::Gone(QueuedHash { purpose: HashPurpose::NewPassword { .. }, .. })) => {}
                Some(NextPasswordToHash::Run(QueuedHash {
                    request,
                    purpose: HashPurpose::SignUp { profile, secret },
                    ..
                })) => {
                    self.submit_for(request, Job::Hash { secret }, JobPurpose::Hash { request, profile }, out);
                }
                Some(NextPasswordToHash::Gone(QueuedHash { request, purpose: HashPurpose::SignUp { .. }, .. })) => {
                    self.refuse_waiting(request, Some(CROWDED), out);
                }
                None => return,
            }
        }
    }

    /// Empties the auth queue: its requests are not awaited any more.
    pub(super) fn clear_auth_queue(&mut self, out: &mut Vec<CoreAction>) {
        for waiting in self.auth_queue.clear() {
            if let HashPurpose::Login(id) = waiting.purpose {
                self.login_event(id, LoginStageEvent::Dropped, out);
            }
        }
    }

    /// Lets a log-in wait for the one of the same user that loads, if there is room. Log-ins whose
    /// clients are gone do not count.
    fn wait_to_load(&mut self, one: LoginInProgress, out: &mut Vec<CoreAction>) {
        let user = self.users.find(one.user.as_str());
        let id = self.logins.insert(one);
        let waiting_max = self.rules.log_ins_waiting_per_user_max as usize;
        let (logins, requests, sessions) = (&mut self.logins, &self.requests, &self.sessions);
        let is_awaited = |id: &LoginStageTicket| {
            let pending = logins.get(*id).and_then(|one| requests.get(one.request));
            let is_awaited = pending.is_some_and(|pending| sessions.get(pending.conn).is_some());
            if !is_awaited {
                logins.remove(*id);
            }
            is_awaited
        };
        let has_place = user.is_some_and(|user| self.users.wait_to_load(user, id, waiting_max, is_awaited));
        if !has_place {
            self.login_event(id, LoginStageEvent::NoPlace, out);
        }
    }

    /// Begins to load a user who wants to log in: from now on they are referred to, so that changes
    /// of their list and friends during the read are kept. [`reading_ended`](Self::reading_ended)
    /// ends it.
    pub(super) fn begin_reading(&mut self, user: &UserName) -> UserSlot {
        let user = self.users.retain_by_name(user);
        self.loading_begins(user);
        user
    }

    /// A log-in has finished loading: the next waiting log-in of the same user has its turn.
    pub(super) fn reading_ended(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        while let Some(id) = self.users.next_to_load(user) {
            let Some(LoginInProgress { request, user: name, aim, login, barred }) = self.logins.remove(id) else {
                debug_assert!(false, "a waiting log-in is in progress");
                continue;
            };
            let whereabouts = if self.users.is_here(user) { UserLoadState::Here } else { UserLoadState::Loading };
            let facts = LoginStageContext { is_awaited: self.is_awaited(request), whereabouts };
            match (login.on(LoginStageEvent::LoadingTurn, facts).unless(barred).next, aim) {
                (NextLoginStep::Complete, CredentialCheckPurpose::LogIn(by)) => {
                    self.complete_login(request, (&name, by), None, out)
                }
                (NextLoginStep::Enter(login), aim) => {
                    let one = LoginInProgress { request, user: name, aim, login, barred };
                    match self.submit_login(one, out) {
                        // It takes over the reference and the place of the log-in before.
                        Ok(()) => return,
                        Err(id) => self.refuse_unsubmitted(id, out),
                    }
                }
                (NextLoginStep::Refuse(cause), aim) => self.refuse_in_progress(request, &aim, cause, out),
                (NextLoginStep::Complete | NextLoginStep::Drop, _) => {}
            }
        }
        self.loading_ended(user);
        self.users.release(user);
    }

    /// Refuses a log-in whose job could not be submitted at its turn to load; the turn goes to the
    /// next one.
    fn refuse_unsubmitted(&mut self, id: LoginStageTicket, out: &mut Vec<CoreAction>) {
        let Some(LoginInProgress { request, login, .. }) = self.logins.remove(id) else {
            return;
        };
        let facts = LoginStageContext { is_awaited: true, whereabouts: UserLoadState::Loading };
        if let NextLoginStep::Refuse(cause) = login.on(LoginStageEvent::NotSubmitted, facts).next {
            self.refuse_for(request, cause, fault_of(cause), out);
        }
    }

    fn settle_login_try(&mut self, user: &UserName, attempt: AdmittedTry, settled: CredentialTryOutcome) {
        let session = self.sessions.get_mut(attempt.conn);
        self.auth_attempts.settle(user, attempt, settled, session, &self.rules, self.now.mono_ms);
    }

    /// Refuses a try that a budget does not allow, and closes a connection that keeps trying.
    pub(super) fn refuse_try(
        &mut self,
        to: ReplyTo,
        request_type: RequestType,
        user: UserName,
        limit: ClientLimitKind,
        out: &mut Vec<CoreAction>,
    ) {
        let conn = to.0;
        let fault = match limit {
            ClientLimitKind::SignUpsPerAddress => TOO_MANY_SIGN_UPS,
            ClientLimitKind::TokensPerConnection => TOO_MANY_TOKENS,
            _ => TOO_MANY_TRIES,
        };
        self.note_refusal_for(conn, request_type, Some(user), LoginRefusalCause::Limit(limit), out);
        self.send_refusal(to, Some(request_type), Some(fault), out);
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.refused_tries = session.refused_tries.saturating_add(1);
        if u32::from(session.refused_tries) >= self.rules.refused_tries_max {
            self.close(conn, CoreCloseCause::TooManyTries, out);
        }
    }

    /// Completes a log-in: if the connection is still open, the user is logged in on it. `read` has
    /// friends and the first page, unless the user was online already.
    fn complete_login(
        &mut self,
        request: JobTicket,
        (name, by): (&UserName, CredentialKind),
        read: Option<LoadedLoginData>,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(user) = self.users.find(name.as_str()) else {
            debug_assert!(false, "online, or loading");
            return;
        };
        let Some(RequestAwaitingJob { conn, form, id, .. }) = self.take_pending(request, out) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.push_form = form;
        let client = ConnAndAddress { conn, address_key: session.address_key };
        let before = session.user.replace(user);
        if before.is_none() {
            // The allowance that it used up so far was that of a stranger.
            session.fill_bucket();
        }
        if let Some(before) = before.filter(|&before| before != user) {
            self.goes_offline(before, out);
        }
        self.watch_is_over(conn, user);
        self.sessions.note_log_in(conn, self.now.wall_ms);
        self.remove_remote(user, out);
        let older = self.users.set_route_here(user, conn);
        match older {
            UserRoute::Here(older) if older != conn => {
                // Nobody is logged in on it now, so that its close does not end the user's list.
                if let Some(session) = self.sessions.get_mut(older) {
                    session.user = None;
                }
                if let Some(client) = self.client(older) {
                    out.push(CoreAction::Log(LogEvent::Replaced { user: name.clone(), client, newer_conn: conn }));
                }
                self.close_with_error(older, REPLACED, CoreCloseCause::Replaced, out);
            }
            UserRoute::Here(_) | UserRoute::Away | UserRoute::Elsewhere => {}
        }
        debug_assert_eq!(read.is_some(), older == UserRoute::Away, "a user who was not online is read, in turn");
        if let Some(LoadedLoginData { friends, page, epoch }) = read {
            self.owns_from_now_on(user, epoch);
            self.users.set_friends(user, &friends);
            self.report_online(user);
            self.open_list(user, page, out);
        }
        out.push(CoreAction::LoggedIn { conn });
        out.push(CoreAction::Log(LogEvent::LoggedIn { user: name.clone(), client, credential: by }));
        self.reply(conn, form, id, Reply::Login { done: true }, out);
        self.settle_requests(conn, out);
        if let Some(list) = &mut self.users.get_mut(user).list {
            self.outstanding -= list.cursor.outstanding_len() as u64;
            list.cursor.restart();
        }
        self.pump(user, out);
        self.watch_anew(user);
        if self.users.get(user).list.as_ref().is_some_and(|list| list.mailbox.is_done()) {
            // Nothing waits for the user, as after most log-ins.
            return self.release_list(user);
        }
        self.arm_resend(user);
        self.want_page(user, out);
    }
}
