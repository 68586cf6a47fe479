//! What each user has in flight, and when no more requests of theirs are taken.
//!
//! A user has a share of the store: the jobs that were submitted because of their requests, and the messages of theirs that will need one
//! unless they are acked first. At the bound the shell is told to hold the requests of their connection (acks, heartbeats and
//! log-ins are read on), and when half of it is done, to go on. What is in flight belongs to the user, so whoever connects again
//! does not have more of it.
//!
//! As long as the store has room for everybody, the bound is what the rules say; when it has not, each may have a part of what is
//! free (a dynamic threshold): however many fill it, there is room for one who needs little.

use super::Chat;
use super::account::Pending;
use super::contract::{Action, ConnId, Job};
use super::item::ItemRef;
use super::users::UserId;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What one user may have in flight of what is free.
const PART_OF_FREE: usize = 16;
/// And what they may have if nothing is.
const LEAST: usize = 16;
/// A push counts as one job for each such part of it that was begun.
const UNIT_BYTES: usize = 4_096;

/// Users are numbered by us: nobody can choose numbers that collide.
#[derive(Default)]
pub(super) struct OfNumber(u64);

impl Hasher for OfNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(u32::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    units: u32,
    /// The bound was reached, and there is more than half of it still.
    over: bool,
}

/// Who has something in flight. Each is counted as a reference.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    by_user: HashMap<UserId, Load, BuildHasherDefault<OfNumber>>,
}

impl InFlight {
    fn is_over(&self, user: UserId) -> bool {
        self.by_user.get(&user).is_some_and(|load| load.over)
    }

    /// For the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn all(&self) -> impl Iterator<Item = (UserId, u32)> + '_ {
        self.by_user.iter().map(|(&user, load)| (user, load.units))
    }
}

/// How much a job with a push of this size counts.
pub(super) fn units(push_bytes: usize) -> u32 {
    // A push is smaller than an envelope.
    1 + (push_bytes / UNIT_BYTES) as u32
}

impl Chat {
    /// Whose request a job is for, and how much it counts. What a log-in needs belongs to nobody yet.
    pub(super) fn payer(&self, job: &Job, pending: &Pending) -> Option<(UserId, u32)> {
        let rules = &self.rules;
        match pending {
            Pending::Save(item) => Some((self.items.get(*item)?.sender?, units(job.push_bytes()))),
            Pending::Friendship(friendship) => Some((friendship.who_asked(), units(job.push_bytes()))),
            Pending::Delete { receiver, .. } => Some((self.users.find(receiver.as_str())?, 1)),
            Pending::Token { request } | Pending::Profile { request } => {
                let conn = self.requests.get(*request)?.conn;
                let weight = rules.jobs_per_connection_max / rules.reads_per_connection_max.max(1);
                Some((self.sessions.get(conn)?.user?, weight.max(1)))
            }
            _ => None,
        }
    }

    fn in_flight_max(&self) -> u32 {
        let rules = &self.rules;
        let free = rules.jobs_max.saturating_sub(self.jobs.len());
        let free_bytes = rules.jobs_bytes_max.saturating_sub(self.jobs_bytes);
        let part = free.min(free_bytes / 1_024) / PART_OF_FREE;
        rules.jobs_per_connection_max.min(u32::try_from(part.max(LEAST)).unwrap_or(u32::MAX))
    }

    pub(super) fn charge(&mut self, (user, units): (UserId, u32), out: &mut Vec<Action>) {
        let max = self.in_flight_max();
        let load = self.in_flight.by_user.entry(user).or_default();
        if load.units == 0 {
            self.users.hold(user);
        }
        load.units += units;
        if load.units >= max && !load.over {
            load.over = true;
            self.settle_user(user, out);
        }
    }

    pub(super) fn discharge(&mut self, (user, units): (UserId, u32), out: &mut Vec<Action>) {
        let max = self.in_flight_max();
        let Some(load) = self.in_flight.by_user.get_mut(&user) else {
            debug_assert!(false, "discharged more often than charged");
            return;
        };
        debug_assert!(load.units >= units, "discharged more than charged");
        load.units = load.units.saturating_sub(units);
        let goes_on = load.over && load.units <= max / 2;
        let done = load.units == 0;
        if goes_on {
            load.over = false;
        }
        if done {
            self.in_flight.by_user.remove(&user);
        }
        if goes_on {
            self.settle_user(user, out);
        }
        if done {
            self.users.release(user);
        }
    }

    fn settle_user(&mut self, user: UserId, out: &mut Vec<Action>) {
        if let Some(conn) = self.users.get(user).conn {
            self.settle_requests(conn, out);
        }
    }

    /// Has the shell hold the requests of a connection or go on with them, as its user's share says.
    pub(super) fn settle_requests(&mut self, conn: ConnId, out: &mut Vec<Action>) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        let hold = session.user.is_some_and(|user| self.in_flight.is_over(user));
        if std::mem::replace(&mut session.requests_held, hold) != hold {
            out.push(if hold { Action::HoldRequests { conn } } else { Action::ResumeRequests { conn } });
        }
    }

    /// A message waits to be safe, and no job is about it: it counts as the one that it may need.
    pub(super) fn charge_item(&mut self, item: ItemRef, out: &mut Vec<Action>) {
        let Some(found) = self.items.get_mut(item) else {
            return;
        };
        if let Some(sender) = found.sender
            && !std::mem::replace(&mut found.charged, true)
        {
            let units = units(found.push.weight_bytes());
            self.charge((sender, units), out);
        }
    }

    /// It needs none, or there is one now.
    pub(super) fn discharge_item(&mut self, item: ItemRef, out: &mut Vec<Action>) {
        let Some(found) = self.items.get_mut(item) else {
            return;
        };
        if let Some(sender) = found.sender
            && std::mem::take(&mut found.charged)
        {
            let units = units(found.push.weight_bytes());
            self.discharge((sender, units), out);
        }
    }
}
