//! TYPE 1 and 3, and TOKEN: accounts, profiles and resume tokens. The outcome of every job is also
//! passed on from here.

use super::Chat;
use super::answer::{BUSY, CROWDED, DAMAGED, NO_HASHING, PendingRequest, ReplyTo, SIGN_UPS_CLOSED, fault_of};
use super::auth_queue::{AuthRoom, HashPurpose, QueuedHash};
use super::contract::{Action, ConnId, EmailTo, Job, Note, Outcome, RefusalCause, TOKEN_SLACK_MS, Ticket};
use super::ids::UserId;
use super::job::JobPurpose;
use super::paging::{DAMAGED_PAGE_RETRY_MS, PAGE_RETRY_MS};
use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{TokenVerb, Verb};

impl Chat {
    #[inline(never)]
    pub(super) fn sign_up(&mut self, to: ReplyTo, profile: Box<Profile>, secret: Secret, out: &mut Vec<Action>) {
        if self.is_draining() {
            return self.refuse_drained(to, Verb::SignUp, out);
        }
        if !self.rules.sign_ups {
            let user = Some(profile.user_name.clone());
            self.note_refusal_for(to.0, Verb::SignUp, user, RefusalCause::SignUpsClosed, out);
            return self.say_no(to, Some(Verb::SignUp), Some(SIGN_UPS_CLOSED), out);
        }
        let address_key = self.sessions.get(to.0).and_then(|session| session.address_key);
        if !self.auth_queue.has_place(AuthRoom::SignUps, address_key, &self.rules) {
            let user = Some(profile.user_name.clone());
            return self.refuse_claim(to, Some(Verb::SignUp), user, Some(CROWDED), out);
        }
        if let Err(limit) = self.tries.admit_sign_up(address_key, &self.rules, self.now.mono_ms) {
            return self.refuse_try(to, Verb::SignUp, profile.user_name.clone(), limit, out);
        }
        let request = self.ask_as(to, Verb::SignUp, profile.user_name.clone(), out);
        let waiting = QueuedHash { request, address_key, purpose: HashPurpose::SignUp { profile, secret } };
        match self.auth_queue.enter(AuthRoom::SignUps, waiting, &self.rules) {
            Ok(()) => self.start_auth_runs(out),
            Err(_) => self.refuse_waiting(request, Some(CROWDED), out),
        }
    }

    /// TYPE TOKEN: makes a new resume token for a user who is logged in, or revokes all of their
    /// tokens.
    #[inline(never)]
    pub(super) fn token(&mut self, to: ReplyTo, user: UserId, verb: TokenVerb, out: &mut Vec<Action>) {
        let user = self.users.get(user).name.clone();
        let request = self.ask(to, Verb::Token, out);
        let (now_ms, rules) = (self.now.wall_ms, &self.rules);
        let job = match verb {
            TokenVerb::New => {
                let expires_ms = now_ms.saturating_add(rules.token_lifetime_ms);
                let latest_ms = expires_ms.saturating_add(TOKEN_SLACK_MS);
                Job::MakeToken { user, now_ms, expires_ms, latest_ms, tokens_max: rules.tokens_max }
            }
            TokenVerb::Revoke => Job::RevokeTokens { user },
        };
        self.submit_for(request, job, JobPurpose::Token { request }, out);
    }

    #[inline(never)]
    pub(super) fn get_user(&mut self, conn: ConnId, id: ReplyId, user: UserName, out: &mut Vec<Action>) {
        let Some((form, Some(asker))) = self.sessions.get(conn).map(|session| (session.form, session.user)) else {
            return;
        };
        let asker = self.users.get(asker).name.clone();
        let request = self.ask((conn, form, id), Verb::GetUser, out);
        self.submit_for(request, Job::GetProfile { asker, user }, JobPurpose::Profile { request }, out);
    }

    /// A profile as the user who asked for it may see it.
    fn shown_profile(&self, request: Ticket, mut profile: Box<Profile>) -> Reply {
        let conn = self.requests.get(request).map(|pending| pending.conn);
        let asker = conn.and_then(|conn| self.sessions.get(conn)).and_then(|session| session.user);
        let user = self.users.find(profile.user_name.as_str());
        let is_shown = match (self.rules.profile_email, asker) {
            (EmailTo::Everyone, _) => true,
            (_, Some(asker)) if user == Some(asker) => true,
            (EmailTo::Friends, Some(asker)) => user.is_some_and(|user| self.users.are_friends(asker, user)),
            (EmailTo::Friends | EmailTo::Nobody, _) => false,
        };
        if !is_shown {
            profile.email_address = Box::default();
        }
        Reply::Profile(profile)
    }

    pub(super) fn ask(&mut self, (conn, form, id): ReplyTo, verb: Verb, out: &mut Vec<Action>) -> Ticket {
        self.await_answer(PendingRequest { conn, form, id, verb }, out)
    }

    /// Like `ask`, for a log-in or sign-up of a client that claims to be `user`.
    pub(super) fn ask_as(&mut self, to: ReplyTo, verb: Verb, user: UserName, out: &mut Vec<Action>) -> Ticket {
        let request = self.ask(to, verb, out);
        self.claims.insert(request, user);
        request
    }

    /// Submits a job that a request waits for, or refuses the request.
    pub(super) fn submit_for(&mut self, request: Ticket, job: Job, purpose: JobPurpose, out: &mut Vec<Action>) {
        if let Err(purpose) = self.submit(job, purpose, out) {
            self.remove_job(purpose, out);
            self.refuse_waiting(request, Some(BUSY), out);
        }
    }

    /// Undoes what was counted for a job that could not be submitted or has failed.
    fn remove_job(&mut self, purpose: JobPurpose, out: &mut Vec<Action>) {
        match purpose {
            JobPurpose::Hash { .. } | JobPurpose::NewPassword(_) => self.auth_queue.run_ended(),
            JobPurpose::Page(user) => self.page_failed(user, PAGE_RETRY_MS),
            JobPurpose::Friends(user) => self.friends_read(user, None, out),
            JobPurpose::Lost { receiver, seq, .. } => self.look_again_later(receiver, seq),
            JobPurpose::Count { user, seq } => self.not_counted((user, seq), &Outcome::Failed, out),
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
            | JobPurpose::LettingGo(_)
            | JobPurpose::Login(_) => {}
        }
    }

    pub(super) fn job_done(&mut self, purpose: JobPurpose, outcome: Outcome, out: &mut Vec<Action>) {
        match (purpose, outcome) {
            (JobPurpose::Login(login), outcome) => self.login_job_done(login, outcome, out),
            (JobPurpose::Admin(op), outcome) => self.admin_job_done(*op, outcome, out),
            (JobPurpose::AdminHash(op), outcome) => self.admin_hashed(*op, outcome, out),
            (JobPurpose::Save(delivery), outcome) => self.on_save_result(delivery, &outcome, out),
            (JobPurpose::Delete { seq, .. }, Outcome::Deleted) => {
                self.undeleted.remove(&seq);
            }
            (JobPurpose::Owner(user), outcome) => self.owner_read(user, &outcome, out),
            (JobPurpose::ClaimedOwner { user, serial }, outcome) => {
                self.claimed_owner_read((user, serial), &outcome, out);
            }
            (JobPurpose::AskedOwner(question), outcome) => self.owner_for_question(question, &outcome, out),
            (JobPurpose::LettingGo(user), _) => self.let_go(user, out),
            (JobPurpose::Page(user), Outcome::Page(page)) => self.page_read(user, page, out),
            (JobPurpose::Lost { receiver, seq, blocks }, Outcome::Page(page)) => {
                self.looked_for((receiver, seq), blocks, page, out);
            }
            (JobPurpose::Count { user, seq }, Outcome::Page(page)) => self.counted((user, seq), page, out),
            (JobPurpose::Friends(user), Outcome::Loaded { friends, .. }) => {
                self.friends_read(user, Some(&friends), out)
            }
            (JobPurpose::Friendship(friendship), outcome) => self.friendship_done(friendship, outcome, out),
            (JobPurpose::Hash { request, profile }, Outcome::Hashed(password_hash)) => {
                self.auth_queue.run_ended();
                if self.requests.contains(request) {
                    let job = Job::CreateAccount { profile, password_hash };
                    self.submit_for(request, job, JobPurpose::Create { request }, out);
                }
                self.start_auth_runs(out);
            }
            (JobPurpose::Create { request }, Outcome::Created) => {
                self.signed_up(request, out);
            }
            (JobPurpose::Create { request }, Outcome::NameTaken) => self.refuse_waiting(request, None, out),
            (JobPurpose::Token { request }, Outcome::Token(token)) => self.answer(request, Reply::Token(token), out),
            (JobPurpose::Token { request }, Outcome::TokensRevoked) => self.answer(request, Reply::TokensRevoked, out),
            (JobPurpose::Profile { request }, Outcome::Profile(profile)) => {
                let reply = profile.map_or(Reply::NoSuchProfile, |profile| self.shown_profile(request, profile));
                self.answer(request, reply, out);
            }
            (JobPurpose::Account(job), outcome) => self.own_job_done(job, outcome, out),
            (JobPurpose::NewPassword(new), outcome) => self.new_password_hashed(*new, outcome, out),
            (purpose, outcome) => {
                debug_assert!(
                    matches!(outcome, Outcome::Failed | Outcome::Refused | Outcome::TooLarge),
                    "{purpose:?} came back as {outcome:?}"
                );
                self.job_failed(purpose, &outcome, out);
            }
        }
    }

    fn signed_up(&mut self, request: Ticket, out: &mut Vec<Action>) {
        let user = self.claim_of(request);
        if let Some(PendingRequest { conn, form, id, .. }) = self.take_pending(request, out) {
            if let (Some(user), Some(client)) = (user, self.client(conn)) {
                out.push(Action::Note(Note::SignedUp { user, client }));
            }
            self.reply(conn, form, id, Reply::SignUp { done: true }, out);
        }
    }

    fn job_failed(&mut self, purpose: JobPurpose, outcome: &Outcome, out: &mut Vec<Action>) {
        let refused = !matches!(outcome, Outcome::Failed);
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
            | JobPurpose::LettingGo(_)
            // These purposes have cleaned up themselves.
            | JobPurpose::Account(_)
            | JobPurpose::NewPassword(_)
            | JobPurpose::AdminHash(_)
            | JobPurpose::Admin(_)
            | JobPurpose::Login(_) => None,
        };
        match (purpose, outcome) {
            (JobPurpose::Page(user), Outcome::Refused) => self.page_failed(user, DAMAGED_PAGE_RETRY_MS),
            (JobPurpose::Count { user, seq }, _) => self.not_counted((user, seq), outcome, out),
            (purpose, _) => self.remove_job(purpose, out),
        }
        if let Some((request, fault)) = request {
            self.refuse_waiting(request, Some(fault), out);
        }
        self.start_auth_runs(out);
    }
}
