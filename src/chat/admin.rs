//! Requests of the operator. Each is answered exactly once: immediately, when the store has done
//! it, or as failed when the store takes too long. In the last case, a change that the
//! store makes later still takes effect.

use super::admin_op::{AdminJobPurpose, RunningAdminOp};
use super::answer::{BANNED, ErrorReply};
use super::cluster::ForcedLogoutRequester;
use super::contract::{
    AdminAnswerFromCore, AdminRequestToCore, AdminStoreJob, AdminStoreJobOutcome, AdminTicket, CoreAction,
    CoreCloseCause, ForcedLogoutCause, Job, JobOutcome, LogEvent, LoginRefusalCause, MailboxQuotaKind,
};
use super::job::JobPurpose;
use super::proof::CHANGED_ELSEWHERE;
use super::users::UserRoute;
use super::wheel::TimerId;
use super::{CoreTimer, ServerCore};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{RESERVED_NAME, Secret, UserName};
use std::collections::{BTreeMap, VecDeque};

mod deletion;
mod drain;
mod notices;
mod report;
mod scan;

const DISCONNECTED: ErrorReply =
    ErrorReply(ErrorCode::Unavailable, "the operator of the server ended this connection, log in again");
const NEW_PASSWORD: ErrorReply =
    ErrorReply(ErrorCode::Forbidden, "the operator of the server has changed the password of this account");
const DELETED: ErrorReply = ErrorReply(ErrorCode::Forbidden, "the operator of the server has deleted this account");

/// The operator's requests in progress.
#[derive(Debug, Default)]
pub(super) struct PendingAdminRequests {
    /// The unanswered requests by ticket, each with the timer of its time limit.
    open: BTreeMap<u64, Option<TimerId>>,
    /// Scans of the table of users, done one after the other.
    scans: VecDeque<scan::OnlineUserScan>,
    /// New passwords that wait to be hashed.
    to_hash: VecDeque<(AdminTicket, UserName, Secret)>,
    /// The notice to all users that is being sent.
    notice_to_all: Option<Box<notices::NoticeToAllUsers>>,
    deletions: BTreeMap<UserName, deletion::AccountDeletion>,
    /// The connections are being closed, a slice at a time.
    drain: Option<Box<drain::ConnectionDrain>>,
    /// Users whose new password the store is writing, with the number of such jobs.
    new_passwords: BTreeMap<UserName, u32>,
}

impl PendingAdminRequests {
    /// Is a change of this user's password by the operator in progress?
    pub(super) fn sets_password_of(&self, user: &UserName) -> bool {
        self.new_passwords.contains_key(user)
    }

    fn new_password_submitted(&mut self, user: &UserName) {
        *self.new_passwords.entry(user.clone()).or_default() += 1;
    }

    fn new_password_done(&mut self, user: &UserName) {
        if let Some(count) = self.new_passwords.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.new_passwords.remove(user);
            }
        }
    }
}

impl ServerCore {
    #[inline(never)]
    pub(super) fn admin(&mut self, ticket: AdminTicket, request: AdminRequestToCore, out: &mut Vec<CoreAction>) {
        self.open_admin(ticket, !matches!(request, AdminRequestToCore::Notice { to: None, .. }));
        if self.stopping {
            return self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
        }
        match request {
            AdminRequestToCore::Users { after, users_max } => self.begin_scan(ticket, after, users_max, out),
            AdminRequestToCore::User { name } => self.look_at_user(ticket, name, out),
            AdminRequestToCore::Pushes { receiver, id } => self.find_pushes(ticket, receiver, id.into(), out),
            AdminRequestToCore::Notice { to: Some(user), text } => self.notice_one(ticket, user, &text, out),
            AdminRequestToCore::Notice { to: None, text } => self.notice_all(ticket, &text, out),
            AdminRequestToCore::Disconnect { name } => {
                if self.end_session_here(&name, ForcedLogoutCause::Disconnected, out) {
                    self.answer_admin(ticket, AdminAnswerFromCore::Done, out);
                } else {
                    self.end_sessions_on_other_nodes(
                        &name,
                        (ForcedLogoutCause::Disconnected, false),
                        Some(ForcedLogoutRequester::Operator(ticket)),
                        out,
                    );
                }
            }
            AdminRequestToCore::Ban { name } => self.set_banned(ticket, name, true, out),
            AdminRequestToCore::Unban { name } => self.set_banned(ticket, name, false, out),
            AdminRequestToCore::SetPassword { name, secret } => {
                self.admin.to_hash.push_back((ticket, name, secret));
                self.start_auth_runs(out);
            }
            AdminRequestToCore::Delete { name } => self.delete_account(ticket, name, false, out),
            AdminRequestToCore::Drain => self.drain(ticket, out),
            AdminRequestToCore::FinishDeletion { name } => self.delete_account(ticket, name, true, out),
        }
    }

    /// A request has arrived. If it has a time limit, that is the same as for a client's request.
    fn open_admin(&mut self, ticket: AdminTicket, has_limit: bool) {
        let due_ms = self.now.mono_ms + self.rules.answer_within_ms;
        let timer = has_limit.then(|| self.wheel.insert(due_ms, CoreTimer::AdminLimit(ticket)));
        let before = self.admin.open.insert(ticket.0, timer);
        debug_assert!(before.is_none(), "a ticket is given once");
    }

    /// The request has made progress: its time limit begins again.
    fn extend_admin_deadline(&mut self, ticket: AdminTicket) {
        let due_ms = self.now.mono_ms + self.rules.answer_within_ms;
        if let Some(Some(timer)) = self.admin.open.get_mut(&ticket.0) {
            self.wheel.cancel(*timer);
            *timer = self.wheel.insert(due_ms, CoreTimer::AdminLimit(ticket));
        }
    }

    /// Its time limit is over. Jobs that were begun for it go on.
    pub(super) fn admin_timed_out(&mut self, ticket: AdminTicket, out: &mut Vec<CoreAction>) {
        let answer = self.unconfirmed_logout_answer(ticket).unwrap_or(AdminAnswerFromCore::Failed);
        self.answer_admin(ticket, answer, out);
    }

    /// Answers a request, unless it has been answered.
    pub(super) fn answer_admin(&mut self, ticket: AdminTicket, answer: AdminAnswerFromCore, out: &mut Vec<CoreAction>) {
        let Some(timer) = self.admin.open.remove(&ticket.0) else {
            return;
        };
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
        out.push(CoreAction::Admin { ticket, answer });
    }

    /// Submits a job for the operator. If too many jobs are in flight, it counts as failed.
    fn submit_admin(&mut self, op: RunningAdminOp, job: AdminStoreJob, out: &mut Vec<CoreAction>) {
        let job = Job::Admin { user: op.user.clone(), job: Box::new(job) };
        if let Err(JobPurpose::Admin(op)) = self.submit(job, JobPurpose::Admin(Box::new(op)), out) {
            self.admin_job_done(*op, JobOutcome::Failed, out);
        }
    }

    /// A job for the operator has ended. If the store failed, there is no outcome.
    pub(super) fn admin_job_done(&mut self, op: RunningAdminOp, outcome: JobOutcome, out: &mut Vec<CoreAction>) {
        let outcome = match outcome {
            JobOutcome::Admin(outcome) => Some(*outcome),
            _ => None,
        };
        let RunningAdminOp { user, step } = op;
        match step {
            AdminJobPurpose::Look { ticket, unsaved_seqs } => {
                self.on_user_read(ticket, user, &unsaved_seqs, outcome, out)
            }
            AdminJobPurpose::Find { ticket, id, found } => self.found_pushes(ticket, user, (id, found), outcome, out),
            AdminJobPurpose::SetBanned { ticket, is_banned } => {
                if outcome == Some(AdminStoreJobOutcome::Done) && is_banned {
                    return self.end_sessions_on_all_nodes(
                        &user,
                        ForcedLogoutCause::Banned,
                        Some(ForcedLogoutRequester::Operator(ticket)),
                        out,
                    );
                }
                self.answer_admin(ticket, answer_of(outcome), out);
            }
            AdminJobPurpose::SetPassword { ticket } => {
                self.admin.new_password_done(&user);
                if outcome == Some(AdminStoreJobOutcome::Done) {
                    return self.end_sessions_on_all_nodes(
                        &user,
                        ForcedLogoutCause::NewPassword,
                        Some(ForcedLogoutRequester::Operator(ticket)),
                        out,
                    );
                }
                self.answer_admin(ticket, answer_of(outcome), out);
            }
            AdminJobPurpose::Notice { ticket, push } => self.notice_kept(ticket, user, push, outcome, out),
            AdminJobPurpose::Delete => self.deletion_stepped(&user, outcome, out),
            AdminJobPurpose::Names { notice } => self.names_read(&notice, outcome, out),
        }
    }

    /// Ends on all nodes what a user has there, and then does what is to follow.
    fn end_sessions_on_all_nodes(
        &mut self,
        user: &UserName,
        cause: ForcedLogoutCause,
        then: Option<ForcedLogoutRequester>,
        out: &mut Vec<CoreAction>,
    ) {
        let was_here = self.end_session_here(user, cause, out);
        self.end_sessions_on_other_nodes(user, (cause, was_here), then, out);
    }

    /// Closes the connection of a user, if they are online, and refuses log-ins in progress: their
    /// credentials were compared with the hash that was stored before.
    pub(super) fn end_session_here(
        &mut self,
        user: &UserName,
        cause: ForcedLogoutCause,
        out: &mut Vec<CoreAction>,
    ) -> bool {
        let (cause, fault, close_cause) = match cause {
            ForcedLogoutCause::Disconnected => (None, DISCONNECTED, CoreCloseCause::ByOperator),
            ForcedLogoutCause::Banned => (Some(LoginRefusalCause::Banned), BANNED, CoreCloseCause::ByOperator),
            ForcedLogoutCause::NewPassword => {
                (Some(LoginRefusalCause::WrongPassword), NEW_PASSWORD, CoreCloseCause::ByOperator)
            }
            ForcedLogoutCause::OwnNewPassword => {
                (Some(LoginRefusalCause::WrongPassword), CHANGED_ELSEWHERE, CoreCloseCause::Replaced)
            }
            ForcedLogoutCause::Deleted => (Some(LoginRefusalCause::WrongPassword), DELETED, CoreCloseCause::ByOperator),
        };
        if let Some(cause) = cause {
            self.logins.bar(user, cause);
        }
        let route = self.users.find(user.as_str()).map(|user| self.users.route(user));
        match route {
            Some(UserRoute::Here(conn)) => {
                if let Some(client) = self.client(conn) {
                    out.push(CoreAction::Log(LogEvent::ForcedLogout { user: user.clone(), client }));
                }
                self.close_with_error(conn, fault, close_cause, out);
                true
            }
            Some(UserRoute::Away | UserRoute::Elsewhere) | None => false,
        }
    }

    fn set_banned(&mut self, ticket: AdminTicket, user: UserName, is_banned: bool, out: &mut Vec<CoreAction>) {
        let op = RunningAdminOp { user, step: AdminJobPurpose::SetBanned { ticket, is_banned } };
        self.submit_admin(op, AdminStoreJob::SetBanned { is_banned }, out);
    }

    /// Hashes the operator's new passwords before those of clients: there are few.
    pub(super) fn start_admin_hashes(&mut self, out: &mut Vec<CoreAction>) {
        while !self.admin.to_hash.is_empty() && self.auth_queue.take_run(&self.rules) {
            let Some((ticket, user, secret)) = self.admin.to_hash.pop_front() else {
                return self.auth_queue.run_ended();
            };
            let op = RunningAdminOp { user, step: AdminJobPurpose::SetPassword { ticket } };
            if !self.admin.open.contains_key(&ticket.0) {
                // Nobody waits for it any more.
                self.auth_queue.run_ended();
            } else if self.submit(Job::Hash { secret }, JobPurpose::AdminHash(Box::new(op)), out).is_err() {
                self.auth_queue.run_ended();
                self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
            }
        }
    }

    /// A new password was hashed, or could not be.
    pub(super) fn admin_hashed(&mut self, op: RunningAdminOp, outcome: JobOutcome, out: &mut Vec<CoreAction>) {
        self.auth_queue.run_ended();
        match outcome {
            JobOutcome::Hashed(password_hash) => {
                self.admin.new_password_submitted(&op.user);
                self.submit_admin(op, AdminStoreJob::SetPassword { password_hash }, out);
            }
            // Nothing was submitted, and so nothing is counted.
            _ => {
                if let AdminJobPurpose::SetPassword { ticket } = op.step {
                    self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
                }
            }
        }
        self.start_auth_runs(out);
    }

    /// The server is about to stop: requests that need more than the job in flight are cut off.
    pub(super) fn cut_off_admin(&mut self, out: &mut Vec<CoreAction>) {
        let scans = std::mem::take(&mut self.admin.scans).into_iter().map(|scan| scan.ticket);
        let hashes = std::mem::take(&mut self.admin.to_hash).into_iter().map(|(ticket, ..)| ticket);
        let to_all = self.admin.notice_to_all.take().map(|to_all| to_all.ticket);
        let tickets: Vec<AdminTicket> = scans.chain(hashes).chain(to_all).collect();
        for ticket in tickets {
            self.answer_admin(ticket, AdminAnswerFromCore::Failed, out);
        }
    }

    /// The wait is over: all open requests fail.
    pub(super) fn fail_admin(&mut self, out: &mut Vec<CoreAction>) {
        let open: Vec<u64> = self.admin.open.keys().copied().collect();
        for ticket in open {
            self.answer_admin(AdminTicket(ticket), AdminAnswerFromCore::Failed, out);
        }
    }

    fn note_mailbox_full(&self, user: UserName, quota: MailboxQuotaKind, out: &mut Vec<CoreAction>) {
        out.push(CoreAction::Log(LogEvent::MailboxFull { user, sender: RESERVED_NAME.into(), quota }));
    }
}

/// The answer to a request that changes something.
fn answer_of(outcome: Option<AdminStoreJobOutcome>) -> AdminAnswerFromCore {
    match outcome {
        Some(AdminStoreJobOutcome::Done) => AdminAnswerFromCore::Done,
        Some(AdminStoreJobOutcome::NoSuchUser) => AdminAnswerFromCore::NoSuchUser,
        Some(AdminStoreJobOutcome::Full(_)) => AdminAnswerFromCore::Full,
        _ => AdminAnswerFromCore::Failed,
    }
}
