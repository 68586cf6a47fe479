//! TYPE 1 and 3, and TOKEN: accounts, profiles and resume tokens. This module also passes the
//! outcome of each job to the function that handles it.

use super::ServerCore;
use super::answer::{BUSY, CROWDED, DAMAGED, NO_HASHING, ReplyTo, RequestAwaitingJob, SIGN_UPS_CLOSED, fault_of};
use super::auth_queue::{AuthQueueClass, HashPurpose, QueuedHash};
use super::contract::{
    ConnId, CoreAction, EmailVisibility, Job, JobOutcome, JobTicket, LogEvent, LoginRefusalCause, TOKEN_SLACK_MS,
};
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::paging::{DAMAGED_PAGE_RETRY_MS, PAGE_RETRY_MS};
use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{RequestType, ResumeTokenVerb};

impl ServerCore {
    #[inline(never)]
    pub(super) fn sign_up(&mut self, to: ReplyTo, profile: Box<Profile>, secret: Secret, out: &mut Vec<CoreAction>) {
        if self.is_draining() {
            return self.refuse_drained(to, RequestType::SignUp, out);
        }
        if !self.rules.sign_ups {
            let user = Some(profile.user_name.clone());
            self.note_refusal_for(to.0, RequestType::SignUp, user, LoginRefusalCause::SignUpsClosed, out);
            return self.send_refusal(to, Some(RequestType::SignUp), Some(SIGN_UPS_CLOSED), out);
        }
        let address_key = self.sessions.get(to.0).and_then(|session| session.address_key);
        if !self.auth_queue.has_place(AuthQueueClass::SignUps, address_key, &self.rules) {
            let user = Some(profile.user_name.clone());
            return self.refuse_with_name(to, Some(RequestType::SignUp), user, Some(CROWDED), out);
        }
        if let Err(limit) = self.auth_attempts.admit_sign_up(address_key, &self.rules, self.now.mono_ms) {
            return self.refuse_try(to, RequestType::SignUp, profile.user_name.clone(), limit, out);
        }
        let request = self.ask_with_name(to, RequestType::SignUp, profile.user_name.clone(), out);
        let waiting = QueuedHash { request, address_key, purpose: HashPurpose::SignUp { profile, secret } };
        match self.auth_queue.enter(AuthQueueClass::SignUps, waiting, &self.rules) {
            Ok(()) => self.start_auth_runs(out),
            Err(_) => self.refuse_waiting(request, Some(CROWDED), out),
        }
    }

    /// TYPE TOKEN: makes a new resume token for a user who is logged in, or revokes all of their
    /// tokens.
    #[inline(never)]
    pub(super) fn token(&mut self, to: ReplyTo, user: UserSlot, verb: ResumeTokenVerb, out: &mut Vec<CoreAction>) {
        let user = self.users.get(user).name.clone();
        let request = self.ask(to, RequestType::Token, out);
        let (now_ms, rules) = (self.now.wall_ms, &self.rules);
        let job = match verb {
            ResumeTokenVerb::New => {
                let expires_ms = now_ms.saturating_add(rules.token_lifetime_ms);
                let latest_ms = expires_ms.saturating_add(TOKEN_SLACK_MS);
                Job::MakeToken { user, now_ms, expires_ms, latest_ms, tokens_max: rules.tokens_max }
            }
            ResumeTokenVerb::Revoke => Job::RevokeTokens { user },
        };
        self.submit_for(request, job, JobPurpose::Token { request }, out);
    }

    #[inline(never)]
    pub(super) fn get_user(&mut self, conn: ConnId, id: ReplyId, user: UserName, out: &mut Vec<CoreAction>) {
        let Some((form, Some(asker))) = self.sessions.get(conn).map(|session| (session.form, session.user)) else {
            return;
        };
        let asker = self.users.get(asker).name.clone();
        let request = self.ask((conn, form, id), RequestType::GetUser, out);
        self.submit_for(request, Job::GetProfile { asker, user }, JobPurpose::Profile { request }, out);
    }

    /// The answer with a profile, as the asking user may see it.
    fn shown_profile(&self, request: JobTicket, mut profile: Box<Profile>) -> Reply {
        let conn = self.requests.get(request).map(|pending| pending.conn);
        let asker = conn.and_then(|conn| self.sessions.get(conn)).and_then(|session| session.user);
        let user = self.users.find(profile.user_name.as_str());
        let is_shown = match (self.rules.profile_email, asker) {
            (EmailVisibility::Everyone, _) => true,
            (_, Some(asker)) if user == Some(asker) => true,
            (EmailVisibility::Friends, Some(asker)) => user.is_some_and(|user| self.users.are_friends(asker, user)),
            (EmailVisibility::Friends | EmailVisibility::Nobody, _) => false,
        };
        if !is_shown {
            profile.email_address = Box::default();
        }
        Reply::Profile(profile)
    }

    pub(super) fn ask(
        &mut self,
        (conn, form, id): ReplyTo,
        request_type: RequestType,
        out: &mut Vec<CoreAction>,
    ) -> JobTicket {
        self.await_answer(RequestAwaitingJob { conn, form, id, request_type }, out)
    }

    /// Like `ask`, for a log-in or sign-up that states the user name `user`.
    pub(super) fn ask_with_name(
        &mut self,
        to: ReplyTo,
        request_type: RequestType,
        user: UserName,
        out: &mut Vec<CoreAction>,
    ) -> JobTicket {
        let request = self.ask(to, request_type, out);
        self.stated_names.insert(request, user);
        request
    }

    /// Submits a job that a request waits for, or refuses the request.
    pub(super) fn submit_for(&mut self, request: JobTicket, job: Job, purpose: JobPurpose, out: &mut Vec<CoreAction>) {
        if let Err(purpose) = self.submit(job, purpose, out) {
            self.remove_job(purpose, out);
            self.refuse_waiting(request, Some(BUSY), out);
        }
    }

    /// Cleans up after a job that could not be submitted or has failed.
    fn remove_job(&mut self, purpose: JobPurpose, out: &mut Vec<CoreAction>) {
        match purpose {
            JobPurpose::Hash { .. } | JobPurpose::NewPassword(_) => self.auth_queue.run_ended(),
            JobPurpose::Page(user) => self.page_failed(user, PAGE_RETRY_MS),
            JobPurpose::Friends(user) => self.friends_read(user, None, out),
            JobPurpose::Lost { receiver, seq, .. } => self.search_failed(receiver, seq),
            JobPurpose::Count { user, seq } => self.not_counted((user, seq), &JobOutcome::Failed, out),
            JobPurpose::Delete { receiver, seq } => self.delete_failed(receiver, seq),
            JobPurpose::Create { .. }
            | JobPurpose::Token { .. }
            | JobPurpose::Profile { .. }
            | JobPurpose::Account(_)
            | JobPurpose::Save(_)
            | JobPurpose::Friendship(_)
            | JobPurpose::AdminHash(_)
            | JobPurpose::Admin(_)
            | JobPurpose::Owner(_)
            | JobPurpose::ClaimedOwner { .. }
            | JobPurpose::AskedOwner(_)
            | JobPurpose::ReleaseBarrier(_)
            | JobPurpose::Login(_) => {}
        }
    }

    pub(super) fn job_done(&mut self, purpose: JobPurpose, outcome: JobOutcome, out: &mut Vec<CoreAction>) {
        match (purpose, outcome) {
            (JobPurpose::Login(login), outcome) => self.login_job_done(login, outcome, out),
            (JobPurpose::Admin(op), outcome) => self.admin_job_done(*op, outcome, out),
            (JobPurpose::AdminHash(op), outcome) => self.admin_hashed(*op, outcome, out),
            (JobPurpose::Save(delivery), outcome) => self.on_save_result(delivery, &outcome, out),
            (JobPurpose::Delete { seq, .. }, JobOutcome::Deleted) => self.on_push_deleted(seq, out),
            (JobPurpose::Owner(user), outcome) => self.owner_read(user, &outcome, out),
            (JobPurpose::ClaimedOwner { user, serial }, outcome) => {
                self.on_claimed_owner_read((user, serial), &outcome, out);
            }
            (JobPurpose::AskedOwner(question), outcome) => self.owner_for_question(question, &outcome, out),
            (JobPurpose::ReleaseBarrier(user), _) => self.finish_release(user, out),
            (JobPurpose::Page(user), JobOutcome::Page(page)) => self.page_read(user, page, out),
            (JobPurpose::Lost { receiver, seq, blocks }, JobOutcome::Page(page)) => {
                self.on_push_search_page((receiver, seq), blocks, page, out);
            }
            (JobPurpose::Count { user, seq }, JobOutcome::Page(page)) => self.counted((user, seq), page, out),
            (JobPurpose::Friends(user), JobOutcome::Loaded { friends, .. }) => {
                self.friends_read(user, Some(&friends), out)
            }
            (JobPurpose::Friendship(friendship), outcome) => self.on_friendship_result(friendship, outcome, out),
            (JobPurpose::Hash { request, profile }, JobOutcome::Hashed(password_hash)) => {
                self.auth_queue.run_ended();
                if self.requests.contains(request) {
                    let job = Job::CreateAccount { profile, password_hash };
                    self.submit_for(request, job, JobPurpose::Create { request }, out);
                }
                self.start_auth_runs(out);
            }
            (JobPurpose::Create { request }, JobOutcome::Created) => {
                self.on_signed_up(request, out);
            }
            (JobPurpose::Create { request }, JobOutcome::NameTaken) => self.refuse_waiting(request, None, out),
            (JobPurpose::Token { request }, JobOutcome::Token(token)) => self.answer(request, Reply::Token(token), out),
            (JobPurpose::Token { request }, JobOutcome::TokensRevoked) => {
                self.answer(request, Reply::TokensRevoked, out)
            }
            (JobPurpose::Profile { request }, JobOutcome::Profile(profile)) => {
                let reply = profile.map_or(Reply::NoSuchProfile, |profile| self.shown_profile(request, profile));
                self.answer(request, reply, out);
            }
            (JobPurpose::Account(job), outcome) => self.own_job_done(job, outcome, out),
            (JobPurpose::NewPassword(new), outcome) => self.new_password_hashed(*new, outcome, out),
            (purpose, outcome) => {
                debug_assert!(
                    matches!(outcome, JobOutcome::Failed | JobOutcome::Refused | JobOutcome::TooLarge),
                    "{purpose:?} came back as {outcome:?}"
                );
                self.job_failed(purpose, &outcome, out);
            }
        }
    }

    fn on_signed_up(&mut self, request: JobTicket, out: &mut Vec<CoreAction>) {
        let user = self.stated_name_of(request);
        if let Some(RequestAwaitingJob { conn, form, id, .. }) = self.take_pending(request, out) {
            if let (Some(user), Some(client)) = (user, self.client(conn)) {
                out.push(CoreAction::Log(LogEvent::SignedUp { user, client }));
            }
            self.reply(conn, form, id, Reply::SignUp { done: true }, out);
        }
    }

    fn job_failed(&mut self, purpose: JobPurpose, outcome: &JobOutcome, out: &mut Vec<CoreAction>) {
        let refused = !matches!(outcome, JobOutcome::Failed);
        let of_store = fault_of(outcome);
        let request = match &purpose {
            JobPurpose::Hash { request, .. } => Some((*request, NO_HASHING)),
            JobPurpose::Create { request } => Some((*request, of_store)),
            JobPurpose::Token { request } | JobPurpose::Profile { request } => {
                Some((*request, if refused { DAMAGED } else { of_store }))
            }
            JobPurpose::Page(_)
            | JobPurpose::Count { .. }
            | JobPurpose::Save(_)
            | JobPurpose::Delete { .. }
            | JobPurpose::Friendship(_)
            | JobPurpose::Friends(_)
            | JobPurpose::Lost { .. }
            | JobPurpose::Owner(_)
            | JobPurpose::ClaimedOwner { .. }
            | JobPurpose::AskedOwner(_)
            | JobPurpose::ReleaseBarrier(_)
            // The functions of these purposes have cleaned up already.
            | JobPurpose::Account(_)
            | JobPurpose::NewPassword(_)
            | JobPurpose::AdminHash(_)
            | JobPurpose::Admin(_)
            | JobPurpose::Login(_) => None,
        };
        match (purpose, outcome) {
            (JobPurpose::Page(user), JobOutcome::Refused) => self.page_failed(user, DAMAGED_PAGE_RETRY_MS),
            // A damaged row: another try would find it again.
            (JobPurpose::Lost { receiver, .. }, JobOutcome::Refused) => self.end_search(receiver),
            (JobPurpose::Count { user, seq }, _) => self.not_counted((user, seq), outcome, out),
            (purpose, _) => self.remove_job(purpose, out),
        }
        if let Some((request, fault)) = request {
            self.refuse_waiting(request, Some(fault), out);
        }
        self.start_auth_runs(out);
    }
}
