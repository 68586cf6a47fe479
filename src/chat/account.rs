//! TYPE 1, 2 and 3: accounts, log-in, profiles; and where the outcome of every job goes.

use super::Chat;
use super::answer::{Asker, BUSY, Fault, NO_HASHING, UNREADABLE, fault_of, owned_id};
use super::contract::{Action, CloseReason, ConnId, Job, Origin, Outcome, Page, Ticket};
use super::friend::Friendship;
use super::gate::{TOO_MANY_TRIES, Waiting};
use super::item::ItemRef;
use super::paging::{DAMAGED_PAGE_RETRY_MS, PAGE_RETRY_MS};
use super::users::UserId;
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Profile, Secret, UserName};
use crate::protocol::reply::{Reply, ReplyId};
use crate::protocol::request::{Proof, Spelling, TokenVerb, Verb};

const REPLACED: Fault = Fault(ErrorCode::Replaced, "you logged in on another connection");

/// What a job in flight is for.
#[derive(Debug)]
pub(super) enum Pending {
    Hash {
        request: Ticket,
        profile: Box<Profile>,
    },
    Create {
        request: Ticket,
    },
    /// Holds a reference to the user, who is loading.
    LogIn {
        request: Ticket,
        user: UserId,
        proof: Proof,
        origin: Option<Origin>,
    },
    Verify {
        request: Ticket,
        user: UserName,
        origin: Option<Origin>,
    },
    Token {
        request: Ticket,
    },
    /// Holds a reference to the user, who is loading.
    Load {
        request: Ticket,
        user: UserId,
    },
    /// Holds a reference to the user.
    Page(UserId),
    Profile {
        request: Ticket,
    },
    Save(ItemRef),
    Delete {
        receiver: UserName,
        seq: u64,
    },
    Friendship(Friendship),
}

/// Where an answer goes.
type To = (ConnId, Spelling, ReplyId);

impl Chat {
    #[inline(never)]
    pub(super) fn sign_up(&mut self, to: To, profile: Box<Profile>, secret: Secret, out: &mut Vec<Action>) {
        let origin = self.sessions.get(to.0).and_then(|session| session.origin);
        if let Err(fault) = self.may_sign_up(origin) {
            return self.refuse(to, Some(Verb::SignUp), Some(fault), out);
        }
        let request = self.ask(to, Verb::SignUp, out);
        self.wait_at_gate(Waiting::SignUp { request, profile, secret }, out);
    }

    #[inline(never)]
    pub(super) fn log_in(&mut self, to: To, user: UserName, proof: Proof, out: &mut Vec<Action>) {
        let Some(session) = self.sessions.get(to.0) else {
            return;
        };
        let origin = session.origin;
        if u32::from(session.wrong_passwords) >= self.rules.wrong_passwords_per_connection_max {
            return self.refuse(to, Some(Verb::Login), Some(TOO_MANY_TRIES), out);
        }
        let request = self.ask(to, Verb::Login, out);
        let (now_ms, pushes_max, bytes_max) = (self.now.wall_ms, self.rules.page_max, self.rules.page_bytes_max);
        let job = Job::LogIn { user: user.clone(), proof: proof.clone(), now_ms, pushes_max, bytes_max };
        let user = self.begin_loading(&user);
        self.submit_for(request, job, Pending::LogIn { request, user, proof, origin }, out);
    }

    /// He who wants to log in is somebody from now on, as far as his list and his friends are concerned: what happens to them while they
    /// are read must not be lost. [`loaded`](Self::loaded) is its end.
    fn begin_loading(&mut self, user: &UserName) -> UserId {
        let user = self.users.refer(user);
        self.loading_begins(user);
        user
    }

    fn loaded(&mut self, user: UserId) {
        self.loading_ended(user);
        self.users.release(user);
    }

    /// TYPE TOKEN: the cheap way back, of whoever is logged in.
    #[inline(never)]
    pub(super) fn token(&mut self, to: To, user: UserId, verb: TokenVerb, out: &mut Vec<Action>) {
        let user = self.users.get(user).name.clone();
        let request = self.ask(to, Verb::Token, out);
        let (now_ms, rules) = (self.now.wall_ms, &self.rules);
        let job = match verb {
            TokenVerb::New => {
                let expires_ms = now_ms.saturating_add(rules.token_lifetime_ms);
                Job::MakeToken { user, now_ms, expires_ms, tokens_max: rules.tokens_max }
            }
            TokenVerb::Revoke => Job::RevokeTokens { user },
        };
        self.submit_for(request, job, Pending::Token { request }, out);
    }

    #[inline(never)]
    pub(super) fn get_user(&mut self, conn: ConnId, id: ReplyId, user: UserName, out: &mut Vec<Action>) {
        let Some((spelling, Some(asker))) = self.sessions.get(conn).map(|session| (session.spelling, session.user))
        else {
            return;
        };
        let asker = self.users.get(asker).name.clone();
        let request = self.ask((conn, spelling, id), Verb::GetUser, out);
        self.submit_for(request, Job::GetProfile { asker, user }, Pending::Profile { request }, out);
    }

    fn ask(&mut self, (conn, spelling, id): To, verb: Verb, out: &mut Vec<Action>) -> Ticket {
        self.await_answer(Asker { conn, spelling, id, verb }, out)
    }

    /// Submits a job that a request waits for, or refuses the request.
    pub(super) fn submit_for(&mut self, request: Ticket, job: Job, pending: Pending, out: &mut Vec<Action>) {
        if let Err(pending) = self.submit(job, pending, out) {
            self.forget_pending(pending);
            self.refuse_waiting(request, Some(BUSY), out);
        }
    }

    /// Undoes what was counted for a job that could not be submitted or has failed.
    fn forget_pending(&mut self, pending: Pending) {
        match pending {
            Pending::Hash { .. } | Pending::Verify { .. } => self.gate.run_ended(),
            Pending::LogIn { user, .. } | Pending::Load { user, .. } => self.loaded(user),
            Pending::Page(user) => self.page_failed(user, PAGE_RETRY_MS),
            Pending::Delete { receiver, seq } => self.delete_failed(receiver, seq),
            Pending::Create { .. }
            | Pending::Token { .. }
            | Pending::Profile { .. }
            | Pending::Save(_)
            | Pending::Friendship(_) => {}
        }
    }

    pub(super) fn job_done(&mut self, pending: Pending, outcome: Outcome, out: &mut Vec<Action>) {
        match (pending, outcome) {
            (Pending::Save(item), outcome) => self.saved(item, &outcome, out),
            (Pending::Delete { seq, .. }, Outcome::Deleted) => {
                self.undeleted.remove(&seq);
            }
            (Pending::Page(user), Outcome::Page(page)) => self.page_read(user, page, out),
            (Pending::Friendship(friendship), outcome) => self.friendship_done(friendship, &outcome, out),
            (Pending::Hash { request, profile }, Outcome::Hashed(password_hash)) => {
                self.gate.run_ended();
                if self.requests.contains(request) {
                    let job = Job::CreateAccount { profile, password_hash };
                    self.submit_for(request, job, Pending::Create { request }, out);
                }
                self.open_gate(out);
            }
            (Pending::Create { request }, Outcome::Created) => self.answer(request, Reply::SignUp { done: true }, out),
            (Pending::Create { request }, Outcome::NameTaken) => self.refuse_waiting(request, None, out),
            (
                Pending::LogIn { request, user, .. } | Pending::Load { request, user },
                Outcome::Loaded { friends, page },
            ) => {
                self.logged_in(request, user, &friends, page, out);
                self.loaded(user);
            }
            (
                Pending::LogIn { request, user, proof: Proof::Password(secret), origin },
                Outcome::Unproven(password_hash),
            ) => {
                let name = self.users.get(user).name.clone();
                self.loaded(user);
                self.wait_at_gate(Waiting::LogIn { request, user: name, secret, password_hash, origin }, out);
            }
            (Pending::LogIn { request, user, proof: Proof::Token(_), .. }, Outcome::Unproven(_)) => {
                self.loaded(user);
                // Nobody guesses a token: it has expired or was revoked, and that locks nobody out.
                self.note_wrong_on_connection(request);
                self.refuse_waiting(request, None, out);
            }
            (Pending::Token { request }, Outcome::Token(token)) => self.answer(request, Reply::Token(token), out),
            (Pending::Token { request }, Outcome::TokensRevoked) => self.answer(request, Reply::TokensRevoked, out),
            (Pending::Verify { request, user, origin }, Outcome::Verified(fits)) => {
                self.gate.run_ended();
                if fits {
                    self.load(request, &user, out);
                } else {
                    self.wrong_password(request, &user, origin, out);
                }
                self.open_gate(out);
            }
            (Pending::Profile { request }, Outcome::Profile(profile)) => {
                let reply = profile.map_or(Reply::NoSuchProfile, Reply::Profile);
                self.answer(request, reply, out);
            }
            (pending, outcome) => {
                debug_assert!(
                    matches!(outcome, Outcome::Failed | Outcome::Refused | Outcome::TooLarge),
                    "{pending:?} came back as {outcome:?}"
                );
                self.job_failed(pending, &outcome, out);
            }
        }
    }

    fn job_failed(&mut self, pending: Pending, outcome: &Outcome, out: &mut Vec<Action>) {
        let of_store = fault_of(outcome);
        let reading = if matches!(outcome, Outcome::Failed) { of_store } else { UNREADABLE };
        let hashing = if matches!(outcome, Outcome::Failed) { NO_HASHING } else { UNREADABLE };
        let request = match &pending {
            Pending::Create { request } => Some((*request, of_store)),
            Pending::Hash { request, .. } | Pending::Verify { request, .. } => Some((*request, hashing)),
            Pending::LogIn { request, .. }
            | Pending::Token { request }
            | Pending::Load { request, .. }
            | Pending::Profile { request } => Some((*request, reading)),
            Pending::Page(_) | Pending::Save(_) | Pending::Delete { .. } | Pending::Friendship(_) => None,
        };
        match (pending, outcome) {
            (Pending::Page(user), Outcome::Refused) => self.page_failed(user, DAMAGED_PAGE_RETRY_MS),
            (pending, _) => self.forget_pending(pending),
        }
        if let Some((request, fault)) = request {
            self.refuse_waiting(request, Some(fault), out);
        }
        self.open_gate(out);
    }

    fn wrong_password(&mut self, request: Ticket, user: &UserName, origin: Option<Origin>, out: &mut Vec<Action>) {
        self.note_wrong(user, origin);
        self.note_wrong_on_connection(request);
        self.refuse_waiting(request, None, out);
    }

    fn note_wrong_on_connection(&mut self, request: Ticket) {
        if let Some(session) = self.requests.get(request).and_then(|asker| self.sessions.get_mut(asker.conn)) {
            session.wrong_passwords = session.wrong_passwords.saturating_add(1);
        }
    }

    /// The password fits: friends and first page, behind every save that was submitted before.
    fn load(&mut self, request: Ticket, user: &UserName, out: &mut Vec<Action>) {
        if !self.requests.contains(request) {
            return;
        }
        let (pushes_max, bytes_max) = (self.rules.page_max, self.rules.page_bytes_max);
        let job = Job::Load { user: user.clone(), pushes_max, bytes_max };
        let user = self.begin_loading(user);
        self.submit_for(request, job, Pending::Load { request, user }, out);
    }

    /// Everything is here: if the connection is, too, it is his from now on.
    fn logged_in(&mut self, request: Ticket, user: UserId, friends: &[UserName], page: Page, out: &mut Vec<Action>) {
        let Some(Asker { conn, spelling, id, .. }) = self.asker(request, out) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.push_spelling = spelling;
        let before = session.user.replace(user);
        if let Some(before) = before.filter(|&before| before != user) {
            self.goes_offline(before, out);
        }
        if let Some(older) = self.users.get_mut(user).conn.replace(conn) {
            if older != conn {
                let told = self.sessions.get_mut(older).map(|session| {
                    // It is nobody's now, so that its end does not end his list.
                    session.user = None;
                });
                debug_assert!(told.is_some(), "who is online has a session");
                self.say_and_close(older, REPLACED, CloseReason::Replaced, out);
            }
        } else {
            self.users.set_friends(user, friends);
            self.open_list(user, page);
        }
        self.reply(conn, spelling, id, Reply::Login { done: true }, out);
        if let Some(list) = &mut self.users.get_mut(user).list {
            list.unsend_all(&mut self.items);
        }
        self.pump(user, out);
        if self.users.get(user).list.as_ref().is_some_and(|list| list.is_done()) {
            // Nothing waits for him: most log in and are silent.
            return self.drop_list(user);
        }
        self.arm_resend(user);
        self.want_page(user, out);
    }
}

/// The id of a request that is borrowed from the wire.
pub(super) fn id_text(id: &str) -> ReplyId {
    owned_id(Some(id))
}
