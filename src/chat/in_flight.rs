//! The load that each user has in flight, and the limit at which their requests are paused.
//!
//! A user's load is the jobs that their requests caused, and their messages that will need a job
//! unless they are acked first. At the limit the shell is told to pause the requests of their
//! connection (acks, heartbeats and log-ins are still read), and to resume them when half of the
//! load is done. The load belongs to the user, so connecting again does not allow more.
//!
//! As long as the job queue has enough room, the limit is `jobs_per_user_max`. Otherwise each
//! user may have a part of the free room (a dynamic threshold): however many users fill the queue,
//! there is room for a user who needs little.

use super::ServerCore;
use super::contract::{ConnId, CoreAction, Job};
use super::ids::DeliveryRef;
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::users::UserRoute;

/// One user may have the free room divided by this in flight.
const PART_OF_FREE: usize = 16;
/// The load that a user may always have, even if no room is free.
const LEAST: usize = 16;
/// A push counts as one job for each such number of bytes, rounded up.
const UNIT_BYTES: usize = 4_096;

/// The load of one user.
#[derive(Clone, Copy, Debug, Default)]
struct UserJobLoad(u32);

impl UserJobLoad {
    /// This bit says that the limit was reached, and more than half of it is still in flight.
    const OVER: u32 = 1 << 31;
    /// Something waits until the user's messages are durable.
    const AWAITED: u32 = 1 << 30;
    const FLAGS: u32 = Self::OVER | Self::AWAITED;

    fn units(self) -> u32 {
        self.0 & !Self::FLAGS
    }

    fn has(self, flags: u32) -> bool {
        self.0 & flags != 0
    }

    fn is_over_limit(self) -> bool {
        self.has(Self::OVER)
    }

    fn set(&mut self, flag: u32, on: bool) {
        self.0 = (self.0 & !flag) | if on { flag } else { 0 };
    }
}

/// The load of each user, by their slot in the table of users. A user with load counts as referred
/// to.
#[derive(Debug, Default)]
pub(super) struct UserJobLoads {
    by_slot: Vec<UserJobLoad>,
}

impl UserJobLoads {
    fn is_over_limit(&self, user: UserSlot) -> bool {
        self.by_slot.get(user.slot()).is_some_and(|load| load.is_over_limit())
    }

    fn load(&mut self, user: UserSlot) -> &mut UserJobLoad {
        let slot = user.slot();
        if slot >= self.by_slot.len() {
            self.by_slot.resize(slot + 1, UserJobLoad::default());
        }
        &mut self.by_slot[slot]
    }

    /// The memory that it uses, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.by_slot.capacity() * size_of::<UserJobLoad>()
    }

    /// The load of all users, for the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn all(&self) -> impl Iterator<Item = (UserSlot, u32)> + '_ {
        let all = self.by_slot.iter().enumerate().map(|(slot, load)| (UserSlot::of(slot), load.units()));
        all.filter(|(_, units)| *units > 0)
    }
}

/// The load of a job with a push of this size.
pub(super) fn units(push_bytes: usize) -> u32 {
    // A push is smaller than an envelope.
    1 + (push_bytes / UNIT_BYTES) as u32
}

impl ServerCore {
    /// The user whose request caused a job, and the job's load. The jobs of a log-in belong to no
    /// user yet.
    pub(super) fn charged_load(&self, job: &Job, purpose: &JobPurpose) -> Option<(UserSlot, u32)> {
        let rules = &self.rules;
        match purpose {
            JobPurpose::Save(delivery) => Some((self.deliveries.get(*delivery)?.sender?, units(job.push_bytes()))),
            JobPurpose::Friendship(friendship) => Some((friendship.charged_user(), units(job.push_bytes()))),
            JobPurpose::Delete { receiver, .. } => Some((self.users.find(receiver.as_str())?, 1)),
            JobPurpose::Token { request } | JobPurpose::Profile { request } => {
                let conn = self.requests.get(*request)?.conn;
                let weight = rules.jobs_per_user_max / rules.reads_per_user_max.max(1);
                Some((self.sessions.get(conn)?.user?, weight.max(1)))
            }
            JobPurpose::Account(own) => {
                let conn = self.requests.get(own.request)?.conn;
                let weight = own.reads() * rules.jobs_per_user_max / rules.reads_per_user_max.max(1);
                Some((self.sessions.get(conn)?.user?, weight.max(1)))
            }
            _ => None,
        }
    }

    fn in_flight_max(&self) -> u32 {
        let rules = &self.rules;
        let (free, free_bytes) = self.jobs.room(rules);
        let part = free.min(free_bytes / 1_024) / PART_OF_FREE;
        rules.jobs_per_user_max.min(u32::try_from(part.max(LEAST)).unwrap_or(u32::MAX))
    }

    pub(super) fn charge(&mut self, (user, units): (UserSlot, u32), out: &mut Vec<CoreAction>) {
        let max = self.in_flight_max();
        let load = self.in_flight.load(user);
        let is_first = load.units() == 0;
        // The sum stays far below the flags: jobs and waiting messages are bounded.
        load.0 += units;
        let is_over = load.units() >= max && !load.is_over_limit();
        if is_over {
            load.set(UserJobLoad::OVER, true);
        }
        if is_first {
            self.users.retain(user);
        }
        if is_over {
            self.settle_requests_of_user(user, out);
        }
    }

    pub(super) fn reduce_load(&mut self, (user, units): (UserSlot, u32), out: &mut Vec<CoreAction>) {
        let load = self.in_flight.load(user);
        debug_assert!(load.units() >= units, "discharged more than charged");
        load.0 -= units.min(load.units());
        let (left, has_flags) = (load.units(), load.has(UserJobLoad::FLAGS));
        if has_flags {
            self.on_load_reduced(user, out);
        }
        if left == 0 {
            self.users.release(user);
        }
    }

    /// The load of a user has shrunk. Their requests were paused for it, or something waits for
    /// their messages.
    #[inline(never)]
    fn on_load_reduced(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let load = *self.in_flight.load(user);
        if load.is_over_limit() && load.units() <= self.in_flight_max() / 2 {
            self.in_flight.load(user).set(UserJobLoad::OVER, false);
            self.settle_requests_of_user(user, out);
        }
        if load.has(UserJobLoad::AWAITED) {
            self.continue_release(user, out);
        }
    }

    /// Whenever the load of this user shrinks, the user's release goes on. The user is referred to
    /// meanwhile.
    pub(super) fn await_messages(&mut self, user: UserSlot, on: bool) {
        self.in_flight.load(user).set(UserJobLoad::AWAITED, on);
    }

    fn settle_requests_of_user(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        match self.users.route(user) {
            UserRoute::Here(conn) => self.settle_requests(conn, out),
            // The load belongs to the user: the next log-in takes what is left of it into account.
            UserRoute::Away | UserRoute::Elsewhere => {}
        }
    }

    /// Tells the shell to pause or to resume the requests of a connection, by its user's load.
    pub(super) fn settle_requests(&mut self, conn: ConnId, out: &mut Vec<CoreAction>) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        let pause = session.user.is_some_and(|user| self.in_flight.is_over_limit(user));
        if std::mem::replace(&mut session.requests_paused, pause) != pause {
            out.push(if pause { CoreAction::PauseRequests { conn } } else { CoreAction::ResumeRequests { conn } });
        }
    }

    /// Counts a message that waits for its ack without a job, as the job that it may need.
    pub(super) fn count_delivery_load(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        let Some(found) = self.deliveries.get_mut(delivery) else {
            return;
        };
        if let Some(sender) = found.sender
            && !std::mem::replace(&mut found.counts_in_load, true)
        {
            let units = units(found.weight_bytes());
            self.charge((sender, units), out);
        }
    }

    /// Stops counting such a message: it needs no job, or has one now.
    pub(super) fn uncount_delivery_load(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        let Some(found) = self.deliveries.get_mut(delivery) else {
            return;
        };
        if let Some(sender) = found.sender
            && std::mem::take(&mut found.counts_in_load)
        {
            let units = units(found.weight_bytes());
            self.reduce_load((sender, units), out);
        }
    }
}
