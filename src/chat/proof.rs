//! TYPE PASSWORD and ACCOUNT: requests that need the password although the user is logged in.
//!
//! The proof is a log-in that ends before anything is read ([`ProofPurpose`]): it counts against
//! the same budgets, waits in the same queue and is refused for the same causes.

use super::Chat;
use super::answer::{BUSY, CROWDED, FollowingError, ReplyTo};
use super::auth_queue::{AuthRoom, HashPurpose, QueuedHash};
use super::cluster::EndRequester;
use super::contract::{AccountJob, Action, CloseReason, EndCause, Job, Note, Outcome, RefusalCause, Ticket};
use super::ids::UserId;
use super::job::JobPurpose;
use super::login_state::{Login, LoginEvent, LoginInProgress, fault_of};
use super::own_op::{NewPassword, OwnAccountJob, ProofPurpose};
use super::users::UserRoute;
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Secret, UserName};
use crate::protocol::reply::Reply;
use crate::protocol::request::{Credential, Verb};

const WRONG_PASSWORD: FollowingError = FollowingError(ErrorCode::Forbidden, "this is not your password");
const STALE: FollowingError = FollowingError(ErrorCode::Forbidden, "your password was changed meanwhile");
pub(super) const CHANGED_ELSEWHERE: FollowingError =
    FollowingError(ErrorCode::Replaced, "your password was changed meanwhile, log in with the new one");

/// The fault for a user who could not prove who they are.
fn fault_for(cause: RefusalCause) -> FollowingError {
    fault_of(cause).unwrap_or(WRONG_PASSWORD)
}

impl Chat {
    /// Begins the proof for a request that needs the password.
    pub(super) fn prove(
        &mut self,
        to: ReplyTo,
        user: UserId,
        verb: Verb,
        (password, aim): (Secret, ProofPurpose),
        out: &mut Vec<Action>,
    ) {
        let (conn, name) = (to.0, self.users.get(user).name.clone());
        let session = self.sessions.get_mut(conn);
        let attempt = match self.tries.admit_password(conn, session, &name, &self.rules, self.now.mono_ms) {
            Ok(attempt) => attempt,
            Err(limit) => return self.refuse_try(to, verb, name, limit, out),
        };
        let request = self.ask(to, verb, out);
        let login = Login::Admitted { credential: Credential::Password(password), attempt };
        let one = LoginInProgress { request, user: name, aim, login, barred: None };
        let id = self.logins.insert(one);
        self.login_event(id, LoginEvent::Begins, out);
    }

    /// The proof has failed.
    pub(super) fn refuse_proof(&mut self, request: Ticket, cause: RefusalCause, out: &mut Vec<Action>) {
        self.refuse_for(request, cause, Some(fault_for(cause)), out);
    }

    /// The proof succeeded. `old_hash`: the stored hash with which the password was compared now.
    pub(super) fn proven(
        &mut self,
        request: Ticket,
        user: UserName,
        (aim, old_hash): (ProofPurpose, Option<Secret>),
        out: &mut Vec<Action>,
    ) {
        match aim {
            ProofPurpose::LogIn(_) => debug_assert!(false, "a log-in has another end"),
            ProofPurpose::ChangePassword(secret) => {
                let conn = self.requests.get(request).map(|pending| pending.conn);
                let session = conn.and_then(|conn| self.sessions.get(conn));
                let new = Box::new(NewPassword { request, user, old_hash });
                let purpose = HashPurpose::NewPassword { new, secret };
                let address_key = session.and_then(|session| session.address_key);
                let waiting = QueuedHash { request, address_key, purpose };
                if self.auth_queue.enter(AuthRoom::Unsuspected, waiting, &self.rules).is_err() {
                    return self.refuse_waiting(request, Some(CROWDED), out);
                }
                self.start_auth_runs(out);
            }
            ProofPurpose::DeleteAccount => self.delete_own_account(request, user, out),
        }
    }

    /// The new password was hashed, or could not be.
    pub(super) fn new_password_hashed(&mut self, new: NewPassword, outcome: Outcome, out: &mut Vec<Action>) {
        self.auth_queue.run_ended();
        let NewPassword { request, user, old_hash } = new;
        match outcome {
            Outcome::Hashed(new_hash) if self.is_awaited(request) => {
                // The store checks that the hash is still the one that was compared. If that hash
                // is not known, no other change may have come between the proof and this: a
                // completed change has closed the connection.
                if old_hash.is_none() && self.admin.sets_password_of(&user) {
                    self.refuse_waiting(request, Some(BUSY), out);
                } else {
                    let own = OwnAccountJob { request, user, verb: Verb::Password };
                    self.submit_own(own, AccountJob::ChangePassword { old_hash, new_hash }, out);
                }
            }
            Outcome::Hashed(_) => {}
            _ => self.refuse_for(request, RefusalCause::NoHashing, fault_of(RefusalCause::NoHashing), out),
        }
        self.start_auth_runs(out);
    }

    /// The password was changed. Sessions and log-ins with the old password end, and so do all
    /// tokens.
    pub(super) fn password_changed(&mut self, request: Ticket, user: UserName, out: &mut Vec<Action>) {
        self.logins.bar(&user, RefusalCause::WrongPassword);
        let conn = self.requests.get(request).map(|pending| pending.conn);
        match self.users.find(user.as_str()).map(|user| self.users.route(user)) {
            Some(UserRoute::Here(other)) if Some(other) != conn => {
                self.say_and_close(other, CHANGED_ELSEWHERE, CloseReason::Replaced, out);
            }
            Some(UserRoute::Here(_) | UserRoute::Away | UserRoute::Elsewhere) | None => {}
        }
        let client = conn.and_then(|conn| self.client(conn));
        out.push(Action::Note(Note::PasswordChanged { user: user.clone(), client }));
        // The answer comes when no other node lets the old one in any more.
        self.end_elsewhere(&user, (EndCause::OwnNewPassword, false), Some(EndRequester::User(request)), out);
    }

    /// It is not known whether the password was changed: log-ins in progress with the old one must
    /// not succeed.
    pub(super) fn password_in_doubt(&mut self, user: &UserName) {
        self.logins.bar(user, RefusalCause::Unavailable);
    }

    /// The stored password has changed since the proof.
    pub(super) fn refuse_stale(&mut self, request: Ticket, out: &mut Vec<Action>) {
        self.refuse_for(request, RefusalCause::WrongPassword, Some(STALE), out);
    }

    /// The user's account was deleted, and that is committed.
    pub(super) fn own_account_gone(&mut self, request: Ticket, user: &UserName, out: &mut Vec<Action>) {
        let conn = self.requests.get(request).map(|pending| pending.conn);
        let client = conn.and_then(|conn| self.client(conn));
        out.push(Action::Note(Note::AccountDeleted { user: user.clone(), client }));
        self.answer(request, Reply::AccountDeleted, out);
        if let Some(conn) = conn.filter(|conn| self.sessions.get(*conn).is_some()) {
            self.close(conn, CloseReason::AccountDeleted, out);
        }
    }

    /// A worker is free to hash a new password.
    pub(super) fn submit_new_password(&mut self, new: Box<NewPassword>, secret: Secret, out: &mut Vec<Action>) {
        let request = new.request;
        let job = Job::Hash { secret };
        self.submit_for(request, job, JobPurpose::NewPassword(new), out);
    }
}
