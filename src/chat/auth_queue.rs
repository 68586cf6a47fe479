//! The order in which passwords are hashed. Hashing is expensive: it is the one thing with which
//! strangers could overload this server.
//!
//! Requests wait here, and the workers get only a few runs at a time. The queue has three classes:
//! for unsuspected log-ins (see [`super::tries`]), for other log-ins, and for sign-ups. Each class
//! has its own bound, so a client that fills one class blocks nobody in another. Unsuspected
//! log-ins go first, in the order of their arrival. After every [`FIRST_IN_A_ROW`] of them, one
//! request from another class has its turn, so that nobody waits for ever. The two other classes
//! alternate. One address can take only a share of all places.

use super::contract::{AddressKey, CoreSettings, JobTicket};
use super::ids::LoginStageTicket;
use super::own_op::PendingPasswordChange;
use crate::protocol::field::{Profile, Secret};
use std::collections::{HashMap, VecDeque};

#[cfg(test)]
mod tests;

/// Unsuspected log-ins in a row, after which a request from another class is taken.
const FIRST_IN_A_ROW: u32 = 3;

/// The purpose for which a password is hashed.
#[derive(Debug)]
pub(super) enum HashPurpose {
    SignUp {
        profile: Box<Profile>,
        secret: Secret,
    },
    Login(LoginStageTicket),
    /// A new password for a user whose old password was checked.
    NewPassword {
        new: Box<PendingPasswordChange>,
        secret: Secret,
    },
}

/// A password that waits to be hashed.
#[derive(Debug)]
pub(super) struct QueuedHash {
    pub(super) request: JobTicket,
    pub(super) address_key: Option<AddressKey>,
    pub(super) purpose: HashPurpose,
}

/// The classes of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AuthQueueClass {
    Unsuspected,
    Suspect,
    SignUps,
}

impl AuthQueueClass {
    /// The number of places: a quarter of all for suspect log-ins, a quarter for sign-ups, the rest
    /// for unsuspected log-ins; at least one.
    fn places(self, places_max: usize) -> usize {
        let quarter = (places_max / 4).max(1);
        match self {
            Self::Unsuspected => places_max.saturating_sub(2 * quarter).max(1),
            Self::Suspect | Self::SignUps => quarter,
        }
    }
}

/// The request whose turn it is.
#[derive(Debug)]
pub(super) enum NextPasswordToHash {
    /// Hash it now, and call [`AuthQueue::run_ended`] afterwards.
    Run(QueuedHash),
    /// Nobody waits for the answer any more, so it is not hashed.
    Gone(QueuedHash),
}

/// The queue of passwords to be hashed.
#[derive(Debug, Default)]
pub(super) struct AuthQueue {
    by_class: [VecDeque<QueuedHash>; 3],
    /// The number of waiting requests from each address; loopback is not counted.
    by_address: HashMap<AddressKey, usize>,
    /// Unsuspected log-ins that were taken since the last request from another class.
    in_a_row: u32,
    /// The next request from another class is a sign-up.
    sign_up_next: bool,
    /// The number of runs that the workers have now.
    running: usize,
}

impl AuthQueue {
    /// Is there a place for one more request from this address?
    pub(super) fn has_place(
        &self,
        class: AuthQueueClass,
        address_key: Option<AddressKey>,
        rules: &CoreSettings,
    ) -> bool {
        let share = rules.auth_jobs_per_address_max as usize;
        let here = address_key.and_then(|address_key| self.by_address.get(&address_key)).copied().unwrap_or(0);
        here < share && self.by_class[class as usize].len() < class.places(rules.auth_jobs_max)
    }

    /// Adds a request, or gives it back if there is no place.
    pub(super) fn enter(
        &mut self,
        class: AuthQueueClass,
        waiting: QueuedHash,
        rules: &CoreSettings,
    ) -> Result<(), QueuedHash> {
        if !self.has_place(class, waiting.address_key, rules) {
            return Err(waiting);
        }
        if let Some(address_key) = waiting.address_key {
            *self.by_address.entry(address_key).or_default() += 1;
        }
        self.by_class[class as usize].push_back(waiting);
        Ok(())
    }

    /// Takes the next request, if a worker is free. Call it until it gives `None`.
    pub(super) fn next(
        &mut self,
        rules: &CoreSettings,
        is_awaited: impl Fn(JobTicket) -> bool,
    ) -> Option<NextPasswordToHash> {
        if self.running >= rules.auth_running_max {
            return None;
        }
        let waiting = self.take_first()?;
        if !is_awaited(waiting.request) {
            return Some(NextPasswordToHash::Gone(waiting));
        }
        self.running += 1;
        Some(NextPasswordToHash::Run(waiting))
    }

    /// Counts a run that waited elsewhere, if a worker is free. Call [`run_ended`](Self::run_ended)
    /// after it.
    pub(super) fn take_run(&mut self, rules: &CoreSettings) -> bool {
        let is_free = self.running < rules.auth_running_max;
        self.running += usize::from(is_free);
        is_free
    }

    /// One run has ended, or could not begin.
    pub(super) fn run_ended(&mut self) {
        debug_assert!(self.running > 0, "ended more often than begun");
        self.running = self.running.saturating_sub(1);
    }

    /// Takes all waiting requests out.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = QueuedHash> + use<> {
        self.by_address.clear();
        std::mem::take(&mut self.by_class).into_iter().flatten()
    }

    fn take_first(&mut self) -> Option<QueuedHash> {
        let order = if self.sign_up_next {
            [AuthQueueClass::SignUps, AuthQueueClass::Suspect]
        } else {
            [AuthQueueClass::Suspect, AuthQueueClass::SignUps]
        };
        let others = order.into_iter().find(|class| !self.by_class[*class as usize].is_empty());
        let others_turn =
            self.in_a_row >= FIRST_IN_A_ROW || self.by_class[AuthQueueClass::Unsuspected as usize].is_empty();
        let class = match others {
            Some(class) if others_turn => {
                self.in_a_row = 0;
                self.sign_up_next = class == AuthQueueClass::Suspect;
                class
            }
            _ => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                AuthQueueClass::Unsuspected
            }
        };
        let waiting = self.by_class[class as usize].pop_front()?;
        if let Some(address_key) = waiting.address_key
            && let Some(count) = self.by_address.get_mut(&address_key)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address_key);
            }
        }
        Some(waiting)
    }

    #[cfg(debug_assertions)]
    pub(super) fn check(&self, rules: &CoreSettings) {
        for (waiting, class) in
            self.by_class.iter().zip([AuthQueueClass::Unsuspected, AuthQueueClass::Suspect, AuthQueueClass::SignUps])
        {
            assert!(waiting.len() <= class.places(rules.auth_jobs_max), "{class:?} is overfull");
        }
        let known = self.by_class.iter().flatten().filter(|waiting| waiting.address_key.is_some()).count();
        assert_eq!(known, self.by_address.values().sum::<usize>());
        assert!(self.running <= rules.auth_running_max);
    }

    /// The waiting log-ins.
    #[cfg(debug_assertions)]
    pub(super) fn log_ins(&self) -> impl Iterator<Item = LoginStageTicket> + '_ {
        self.by_class.iter().flatten().filter_map(|waiting| match waiting.purpose {
            HashPurpose::Login(id) => Some(id),
            HashPurpose::SignUp { .. } | HashPurpose::NewPassword { .. } => None,
        })
    }

    #[cfg(debug_assertions)]
    pub(super) fn running(&self) -> usize {
        self.running
    }
}
