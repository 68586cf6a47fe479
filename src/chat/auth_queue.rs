//! In what order passwords are hashed: hashing is dear, so it is the one thing that a stranger
//! could make this server choke on.
//!
//! Requests wait for it here, and only a few runs are with the workers at a time. There are three
//! rooms, each with a bound of its own, so that a client that fills one keeps nobody out of
//! another: unsuspected log-ins (see [`super::tries`]), other log-ins, and sign-ups. The
//! unsuspected go first, each in the order in which it came; for every [`FIRST_IN_A_ROW`] of
//! them one of the other two rooms is taken, in turn, so that nobody waits for ever. One address
//! has at most a share of all places.

use super::Chat;
use super::answer::Fault;
use super::contract::{Action, AddressKey, Job, Ticket};
use super::job::JobPurpose;
use super::tries::{Settled, Try};
use crate::protocol::error::ErrorCode;
use crate::protocol::field::{Profile, Secret, UserName};
use std::collections::{HashMap, VecDeque};

const CROWDED: Fault = Fault(ErrorCode::Unavailable, "too many log-ins wait, try again in a moment");

/// Unsuspected log-ins that are taken before one of the others is.
const FIRST_IN_A_ROW: u32 = 3;

/// What waits for a password to be hashed.
#[derive(Debug)]
pub(super) enum Waiting {
    SignUp {
        request: Ticket,
        address_key: Option<AddressKey>,
        profile: Box<Profile>,
        secret: Secret,
    },
    LogIn {
        request: Ticket,
        attempt: Try,
        user: UserName,
        secret: Secret,
        /// `None` for a user that does not exist: it is hashed all the same, so that nobody learns
        /// that from the time it takes.
        password_hash: Option<Secret>,
    },
}

impl Waiting {
    fn request(&self) -> Ticket {
        match self {
            Self::SignUp { request, .. } | Self::LogIn { request, .. } => *request,
        }
    }

    fn address_key(&self) -> Option<AddressKey> {
        match self {
            Self::SignUp { address_key, .. } => *address_key,
            Self::LogIn { attempt, .. } => attempt.address_key,
        }
    }
}

/// Which room of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Unsuspected,
    Suspect,
    SignUps,
}

impl Room {
    /// A quarter of all places each for the suspect and for sign-ups, the rest for the unsuspected;
    /// at least one.
    fn places(self, places_max: usize) -> usize {
        let quarter = (places_max / 4).max(1);
        match self {
            Self::Unsuspected => places_max.saturating_sub(2 * quarter).max(1),
            Self::Suspect | Self::SignUps => quarter,
        }
    }
}

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct AuthQueue {
    rooms: [VecDeque<Waiting>; 3],
    /// How many of those that wait come from each address; loopback is not counted.
    by_address: HashMap<AddressKey, usize>,
    /// How many unsuspected ones were taken since one of the others was.
    in_a_row: u32,
    /// Of the others, a sign-up is next.
    sign_up_next: bool,
    /// How many are with the workers.
    running: usize,
}

impl AuthQueue {
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, places_max: usize) {
        for (room, kind) in self.rooms.iter().zip([Room::Unsuspected, Room::Suspect, Room::SignUps]) {
            assert!(room.len() <= kind.places(places_max), "{kind:?} is overfull");
        }
        let known = self.rooms.iter().flatten().filter(|waiting| waiting.address_key().is_some()).count();
        assert_eq!(known, self.by_address.values().sum::<usize>());
    }

    /// How many that wait have a password to be compared.
    #[cfg(debug_assertions)]
    pub(super) fn log_ins(&self) -> usize {
        self.rooms.iter().flatten().filter(|waiting| matches!(waiting, Waiting::LogIn { .. })).count()
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

    fn enter(&mut self, room: Room, waiting: Waiting) {
        if let Some(address_key) = waiting.address_key() {
            *self.by_address.entry(address_key).or_default() += 1;
        }
        self.rooms[room as usize].push_back(waiting);
    }

    fn next(&mut self) -> Option<Waiting> {
        let order = if self.sign_up_next { [Room::SignUps, Room::Suspect] } else { [Room::Suspect, Room::SignUps] };
        let others = order.into_iter().find(|room| !self.rooms[*room as usize].is_empty());
        let others_turn = self.in_a_row >= FIRST_IN_A_ROW || self.rooms[Room::Unsuspected as usize].is_empty();
        let room = match others {
            Some(room) if others_turn => {
                self.in_a_row = 0;
                self.sign_up_next = room == Room::Suspect;
                room
            }
            _ => {
                self.in_a_row = self.in_a_row.saturating_add(1);
                Room::Unsuspected
            }
        };
        let waiting = self.rooms[room as usize].pop_front()?;
        if let Some(address_key) = waiting.address_key()
            && let Some(count) = self.by_address.get_mut(&address_key)
        {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address_key);
            }
        }
        Some(waiting)
    }
}

impl Chat {
    fn has_place(&self, room: Room, address_key: Option<AddressKey>) -> bool {
        let share = self.rules.auth_jobs_per_address_max as usize;
        let here =
            address_key.and_then(|address_key| self.auth_queue.by_address.get(&address_key)).copied().unwrap_or(0);
        here < share && self.auth_queue.rooms[room as usize].len() < room.places(self.rules.auth_jobs_max)
    }

    /// Is there room for a sign-up from here?
    pub(super) fn has_place_for_sign_up(&self, address_key: Option<AddressKey>) -> Result<(), Fault> {
        if self.has_place(Room::SignUps, address_key) { Ok(()) } else { Err(CROWDED) }
    }

    /// Queues for a run, or refuses if too many do.
    pub(super) fn enqueue_auth(&mut self, waiting: Waiting, out: &mut Vec<Action>) {
        let room = match &waiting {
            Waiting::SignUp { .. } => Room::SignUps,
            Waiting::LogIn { attempt, user, .. } if self.is_unsuspected(user, *attempt) => Room::Unsuspected,
            Waiting::LogIn { .. } => Room::Suspect,
        };
        if self.is_awaited(waiting.request()) && self.has_place(room, waiting.address_key()) {
            self.auth_queue.enter(room, waiting);
            return self.start_auth_runs(out);
        }
        self.turn_away(waiting, out);
    }

    fn turn_away(&mut self, waiting: Waiting, out: &mut Vec<Action>) {
        if let Waiting::LogIn { attempt, user, .. } = &waiting {
            self.settle(user, *attempt, Settled::NotMade);
        }
        self.refuse_waiting(waiting.request(), Some(CROWDED), out);
    }

    /// Hands as many runs to the workers as they may have.
    pub(super) fn start_auth_runs(&mut self, out: &mut Vec<Action>) {
        while !self.stopping
            && self.auth_queue.running < self.rules.auth_running_max
            && let Some(waiting) = self.auth_queue.next()
        {
            let request = waiting.request();
            // A client that is gone, or was told that it took too long, is not worth a run.
            if !self.is_awaited(request) {
                self.turn_away(waiting, out);
                continue;
            }
            let (job, purpose) = match waiting {
                Waiting::SignUp { profile, secret, .. } => {
                    (Job::Hash { secret }, JobPurpose::Hash { request, profile })
                }
                Waiting::LogIn { attempt, user, secret, password_hash, .. } => {
                    let job = Job::Verify { user: user.clone(), secret, password_hash };
                    (job, JobPurpose::Verify { request, user, attempt })
                }
            };
            self.auth_queue.running += 1;
            self.submit_for(request, job, purpose, out);
        }
    }

    /// Is there still somebody to be answered?
    pub(super) fn is_awaited(&self, request: Ticket) -> bool {
        self.requests.get(request).is_some_and(|pending| self.sessions.get(pending.conn).is_some())
    }

    /// Nobody is waited for any more.
    pub(super) fn clear_auth_queue(&mut self) {
        self.auth_queue.by_address.clear();
        for waiting in std::mem::take(&mut self.auth_queue.rooms).into_iter().flatten() {
            if let Waiting::LogIn { attempt, user, .. } = waiting {
                self.settle(&user, attempt, Settled::NotMade);
            }
        }
    }
}
