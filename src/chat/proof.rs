//! TYPE PASSWORD and ACCOUNT: requests that need the password although the user is logged in.
//!
//! The proof is a log-in that ends before anything is read ([`CredentialCheckPurpose`]): it counts
//! against the same budgets, waits in the same queue and is refused for the same causes.

use super::ServerCore;
use super::answer::{BUSY, CROWDED, ErrorReply, ReplyTo};
use super::auth_queue::{AuthQueueClass, HashPurpose, QueuedHash};
use super::cluster::ForcedLogoutRequester;
use super::contract::{
    CoreAction, CoreCloseCause, ForcedLogoutCause, Job, JobOutcome, JobTicket, LogEvent, LoginRefusalCause,
    OwnAccountStoreJob,
};
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::login_stage::{LoginInProgress, LoginStage, LoginStageEvent, fault_of};
use super::own_op::{CredentialCheckPurpose, OwnAccountRequestAwaitingJob, PendingPasswordChange};
use super::users::UserRoute;
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Secret, UserName};
use crate::protocol::reply::Reply;
use crate::protocol::request::{Credential, RequestType};

const WRONG_PASSWORD: ErrorReply = ErrorReply(ErrorCode::Forbidden, "this is not your password");
const STALE: ErrorReply = ErrorReply(ErrorCode::Forbidden, "your password was changed meanwhile");
pub(super) const CHANGED_ELSEWHERE: ErrorReply =
    ErrorReply(ErrorCode::Replaced, "your password was changed meanwhile, log in with the new one");

/// The fault for a user who could not prove who they are.
fn fault_for(cause: LoginRefusalCause) -> ErrorReply {
    fault_of(cause).unwrap_or(WRONG_PASSWORD)
}

impl ServerCore {
    /// Begins the proof for a request that needs the password.
    pub(super) fn prove(
        &mut self,
        to: ReplyTo,
        user: UserSlot,
        verb: RequestType,
        (password, aim): (Secret, CredentialCheckPurpose),
        out: &mut Vec<CoreAction>,
    ) {
        let (conn, name) = (to.0, self.users.get(user).name.clone());
        let session = self.sessions.get_mut(conn);
        let attempt = match self.auth_attempts.admit_password(conn, session, &name, &self.rules, self.now.mono_ms) {
            Ok(attempt) => attempt,
            Err(limit) => return self.refuse_try(to, verb, name, limit, out),
        };
        let request = self.ask(to, verb, out);
        let login = LoginStage::Admitted { credential: Credential::Password(password), attempt };
        let one = LoginInProgress { request, user: name, aim, login, barred: None };
        let id = self.logins.insert(one);
        self.login_event(id, LoginStageEvent::Begins, out);
    }

    /// The proof has failed.
    pub(super) fn refuse_proof(&mut self, request: JobTicket, cause: LoginRefusalCause, out: &mut Vec<CoreAction>) {
        self.refuse_for(request, cause, Some(fault_for(cause)), out);
    }

    /// The proof succeeded. `old_hash`: the stored hash with which the password was compared now.
    pub(super) fn on_proven(
        &mut self,
        request: JobTicket,
        user: UserName,
        (aim, old_hash): (CredentialCheckPurpose, Option<Secret>),
        out: &mut Vec<CoreAction>,
    ) {
        match aim {
            CredentialCheckPurpose::LogIn(_) => debug_assert!(false, "a log-in has another end"),
            CredentialCheckPurpose::ChangePassword(secret) => {
                let conn = self.requests.get(request).map(|pending| pending.conn);
                let session = conn.and_then(|conn| self.sessions.get(conn));
                let new = Box::new(PendingPasswordChange { request, user, old_hash });
                let purpose = HashPurpose::NewPassword { new, secret };
                let address_key = session.and_then(|session| session.address_key);
                let waiting = QueuedHash { request, address_key, purpose };
                if self.auth_queue.enter(AuthQueueClass::Unsuspected, waiting, &self.rules).is_err() {
                    return self.refuse_waiting(request, Some(CROWDED), out);
                }
                self.start_auth_runs(out);
            }
            CredentialCheckPurpose::DeleteAccount => self.delete_own_account(request, user, out),
        }
    }

    /// The new password was hashed, or could not be.
    pub(super) fn new_password_hashed(
        &mut self,
        new: PendingPasswordChange,
        outcome: JobOutcome,
        out: &mut Vec<CoreAction>,
    ) {
        self.auth_queue.run_ended();
        let PendingPasswordChange { request, user, old_hash } = new;
        match outcome {
            JobOutcome::Hashed(new_hash) if self.is_awaited(request) => {
                // The store checks that the hash is still the one that was compared. If that hash
                // is not known, no other change may have come between the proof and this: a
                // completed change has closed the connection.
                if old_hash.is_none() && self.admin.sets_password_of(&user) {
                    self.refuse_waiting(request, Some(BUSY), out);
                } else {
                    let own = OwnAccountRequestAwaitingJob { request, user, request_type: RequestType::Password };
                    self.submit_own(own, OwnAccountStoreJob::ChangePassword { old_hash, new_hash }, out);
                }
            }
            JobOutcome::Hashed(_) => {}
            _ => self.refuse_for(request, LoginRefusalCause::NoHashing, fault_of(LoginRefusalCause::NoHashing), out),
        }
        self.start_auth_runs(out);
    }

    /// The password was changed. Sessions and log-ins with the old password end, and so do all
    /// tokens.
    pub(super) fn password_changed(&mut self, request: JobTicket, user: UserName, out: &mut Vec<CoreAction>) {
        self.logins.bar(&user, LoginRefusalCause::WrongPassword);
        let conn = self.requests.get(request).map(|pending| pending.conn);
        match self.users.find(user.as_str()).map(|user| self.users.route(user)) {
            Some(UserRoute::Here(other)) if Some(other) != conn => {
                self.close_with_error(other, CHANGED_ELSEWHERE, CoreCloseCause::Replaced, out);
            }
            Some(UserRoute::Here(_) | UserRoute::Away | UserRoute::Elsewhere) | None => {}
        }
        let client = conn.and_then(|conn| self.client(conn));
        out.push(CoreAction::Log(LogEvent::PasswordChanged { user: user.clone(), client }));
        // The answer comes when no other node lets the old one in any more.
        self.end_sessions_on_other_nodes(
            &user,
            (ForcedLogoutCause::OwnNewPassword, false),
            Some(ForcedLogoutRequester::User(request)),
            out,
        );
    }

    /// It is not known whether the password was changed: log-ins in progress with the old one must
    /// not succeed.
    pub(super) fn password_in_doubt(&mut self, user: &UserName) {
        self.logins.bar(user, LoginRefusalCause::Unavailable);
    }

    /// The stored password has changed since the proof.
    pub(super) fn refuse_stale(&mut self, request: JobTicket, out: &mut Vec<CoreAction>) {
        self.refuse_for(request, LoginRefusalCause::WrongPassword, Some(STALE), out);
    }

    /// The user's account was deleted, and that is committed.
    pub(super) fn on_own_account_deleted(&mut self, request: JobTicket, user: &UserName, out: &mut Vec<CoreAction>) {
        let conn = self.requests.get(request).map(|pending| pending.conn);
        let client = conn.and_then(|conn| self.client(conn));
        out.push(CoreAction::Log(LogEvent::AccountDeleted { user: user.clone(), client }));
        self.answer(request, Reply::AccountDeleted, out);
        if let Some(conn) = conn.filter(|conn| self.sessions.get(*conn).is_some()) {
            self.close(conn, CoreCloseCause::AccountDeleted, out);
        }
    }

    /// A worker is free to hash a new password.
    pub(super) fn submit_new_password(
        &mut self,
        new: Box<PendingPasswordChange>,
        secret: Secret,
        out: &mut Vec<CoreAction>,
    ) {
        let request = new.request;
        let job = Job::Hash { secret };
        self.submit_for(request, job, JobPurpose::NewPassword(new), out);
    }
}
