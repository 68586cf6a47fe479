//! Whose password is hashed, and when: hashing is dear, so it is the one thing that a stranger could make this server choke on.
//!
//! What waits for it waits here, and only a few runs are with the workers at a time. Log-ins of users and from addresses of
//! which no wrong password came of late go first, each in the order in which it came; of the rest, and of sign-ups, one is taken for
//! every [`FIRST_IN_A_ROW`] of those, so that nobody waits for ever. Wrong passwords are counted per connection, per address
//! and per user, and who has used up his tries is refused without a run.

use super::Chat;
use super::account::Pending;
use super::answer::Fault;
use super::contract::{Action, Job, Origin, Ticket};
use super::throttle::{Pace, Throttle};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Profile, Secret, UserName};
use std::collections::VecDeque;

pub(super) const CROWDED: Fault = Fault(ErrorCode::Unavailable, "too many log-ins wait, try again in a moment");
pub(super) const TOO_MANY_TRIES: Fault = Fault(ErrorCode::RateLimited, "too many wrong passwords, try again later");
pub(super) const TOO_MANY_SIGN_UPS: Fault = Fault(ErrorCode::RateLimited, "too many sign-ups, try again later");

/// Log-ins above suspicion that are taken before one of the others is.
const FIRST_IN_A_ROW: u32 = 3;

/// What waits for a password to be hashed.
#[derive(Debug)]
pub(super) enum Waiting {
    SignUp {
        request: Ticket,
        profile: Box<Profile>,
        secret: Secret,
    },
    LogIn {
        request: Ticket,
        user: UserName,
        secret: Secret,
        /// `None` for a user that does not exist: it is hashed all the same, so that nobody learns that from the time it takes.
        password_hash: Option<Secret>,
        origin: Option<Origin>,
    },
}

impl Waiting {
    fn request(&self) -> Ticket {
        match self {
            Self::SignUp { request, .. } | Self::LogIn { request, .. } => *request,
        }
    }
}

/// Those who wait, and what was noted of strangers.
#[derive(Debug, Default)]
pub(super) struct Gate {
    first: VecDeque<Waiting>,
    second: VecDeque<Waiting>,
    /// How many of the first were taken since one of the second was.
    in_a_row: u32,
    /// How many are with the workers.
    running: usize,
    wrong_by_user: Throttle,
    wrong_by_origin: Throttle,
    sign_ups_by_origin: Throttle,
}

impl Gate {
    /// Who waits, or is being worked on.
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.second.len() + self.running
    }

    #[cfg(debug_assertions)]
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// One run has ended, or could not begin.
    pub(super) fn run_ended(&mut self) {
        debug_assert!(self.running > 0, "ended more often than begun");
        self.running = self.running.saturating_sub(1);
    }

    fn next(&mut self) -> Option<Waiting> {
        let others_turn = self.in_a_row >= FIRST_IN_A_ROW || self.first.is_empty();
        if others_turn && let Some(waiting) = self.second.pop_front() {
            self.in_a_row = 0;
            return Some(waiting);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.first.pop_front()
    }
}

fn key(origin: Origin) -> u64 {
    u64::from(origin.0.get())
}

impl Chat {
    fn user_pace(&self) -> Pace {
        Pace {
            burst: self.rules.wrong_passwords_per_user_max,
            every_ms: self.rules.wrong_password_per_user_forgotten_after_ms,
        }
    }

    fn origin_pace(&self) -> Pace {
        Pace {
            burst: self.rules.wrong_passwords_per_address_max,
            every_ms: self.rules.wrong_password_per_address_forgotten_after_ms,
        }
    }

    /// May a sign-up come from here? Counted at once: each costs a run whatever its answer is.
    pub(super) fn may_sign_up(&mut self, origin: Option<Origin>) -> Result<(), Fault> {
        if self.gate.len() >= self.rules.auth_jobs_max {
            return Err(CROWDED);
        }
        let Some(origin) = origin else {
            return Ok(());
        };
        let (rules, now_ms) = (&self.rules, self.now.mono_ms);
        let pace =
            Pace { burst: rules.sign_ups_per_address_max, every_ms: rules.sign_up_per_address_forgotten_after_ms };
        if !self.gate.sign_ups_by_origin.is_open(key(origin), now_ms, pace) {
            return Err(TOO_MANY_SIGN_UPS);
        }
        self.gate.sign_ups_by_origin.note(key(origin), now_ms, pace, rules.throttled_max);
        Ok(())
    }

    /// May a password of this user, from here, be tried?
    pub(super) fn may_try(&self, user: &UserName, origin: Option<Origin>) -> Result<(), Fault> {
        let (gate, now_ms) = (&self.gate, self.now.mono_ms);
        let name = self.users.hash(user.as_str());
        let open = gate.wrong_by_user.is_open(name, now_ms, self.user_pace())
            && origin.is_none_or(|origin| gate.wrong_by_origin.is_open(key(origin), now_ms, self.origin_pace()));
        if open { Ok(()) } else { Err(TOO_MANY_TRIES) }
    }

    /// A password was wrong.
    pub(super) fn note_wrong(&mut self, user: &UserName, origin: Option<Origin>) {
        let (now_ms, keys_max) = (self.now.mono_ms, self.rules.throttled_max);
        let (user_pace, origin_pace) = (self.user_pace(), self.origin_pace());
        let name = self.users.hash(user.as_str());
        self.gate.wrong_by_user.note(name, now_ms, user_pace, keys_max);
        if let Some(origin) = origin {
            self.gate.wrong_by_origin.note(key(origin), now_ms, origin_pace, keys_max);
        }
    }

    fn is_above_suspicion(&self, waiting: &Waiting) -> bool {
        let Waiting::LogIn { user, origin, .. } = waiting else {
            return false;
        };
        let now_ms = self.now.mono_ms;
        self.gate.wrong_by_user.is_clean(self.users.hash(user.as_str()), now_ms)
            && origin.is_none_or(|origin| self.gate.wrong_by_origin.is_clean(key(origin), now_ms))
    }

    /// Queues for a run, or refuses if too many do.
    pub(super) fn wait_at_gate(&mut self, waiting: Waiting, out: &mut Vec<Action>) {
        if self.gate.len() >= self.rules.auth_jobs_max {
            return self.refuse_waiting(waiting.request(), Some(CROWDED), out);
        }
        if self.is_above_suspicion(&waiting) {
            self.gate.first.push_back(waiting);
        } else {
            self.gate.second.push_back(waiting);
        }
        self.open_gate(out);
    }

    /// Hands as many runs to the workers as they may have.
    pub(super) fn open_gate(&mut self, out: &mut Vec<Action>) {
        while !self.stopping
            && self.gate.running < self.rules.auth_running_max
            && let Some(waiting) = self.gate.next()
        {
            let request = waiting.request();
            // Whoever is gone, or was told that it took too long, is not worth a run.
            if !self.is_awaited(request) {
                continue;
            }
            let (job, pending) = match waiting {
                Waiting::SignUp { profile, secret, .. } => (Job::Hash { secret }, Pending::Hash { request, profile }),
                Waiting::LogIn { user, secret, password_hash, origin, .. } => {
                    // Others may have used up the tries while this one waited.
                    if let Err(fault) = self.may_try(&user, origin) {
                        self.refuse_waiting(request, Some(fault), out);
                        continue;
                    }
                    let job = Job::Verify { user: user.clone(), secret, password_hash };
                    (job, Pending::Verify { request, user, origin })
                }
            };
            self.gate.running += 1;
            self.submit_for(request, job, pending, out);
        }
    }

    /// Is there still somebody to be answered?
    fn is_awaited(&self, request: Ticket) -> bool {
        self.requests.get(request).is_some_and(|asker| self.sessions.get(asker.conn).is_some())
    }

    /// Nobody is waited for any more.
    pub(super) fn clear_gate(&mut self) {
        self.gate.first = VecDeque::new();
        self.gate.second = VecDeque::new();
    }
}
