//! When trying again will not tell whether two are friends, it is read: too many are in doubt at a
//! time, or the store refuses what it may have done before. And until it is known nobody is told
//! that the two are none.

use super::contract::{Action, Job, Page};
use super::friend::{RETRY_MS, pair};
use super::friend_op::Friendship;
use super::ids::UserId;
use super::job::JobPurpose;
use super::users::Route;
use super::{Chat, Timer};
use crate::protocol::field::UserName;
use std::collections::BTreeMap;

/// Those online whose friends have to be read anew, in an order of their own. Each is held.
pub(super) type Doubted = BTreeMap<UserId, Reading>;

/// How far that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// To be asked for.
    Waits,
    /// On its way.
    Asked,
    /// On its way, and asked for before something else came into doubt: once more.
    AskedTooEarly,
}

impl Chat {
    /// Sets the timer for whatever is in doubt, unless it is set.
    pub(super) fn arm_undecided(&mut self) {
        if !std::mem::replace(&mut self.undecided_armed, true) {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, Timer::Undecided);
        }
    }

    /// A push of this number may be in the store, and nobody will come back to it: it is looked
    /// for, as long as its receiver is there.
    pub(super) fn look_for(&mut self, receiver: UserId, seq: u64, out: &mut Vec<Action>) {
        self.users.hold(receiver);
        self.look_for_held(receiver, seq, out);
    }

    fn look_for_held(&mut self, receiver: UserId, seq: u64, out: &mut Vec<Action>) {
        let entry = self.users.get(receiver);
        match entry.route() {
            Route::Here(_) => {}
            // The next log-in reads it.
            Route::Away => return self.users.release(receiver),
        }
        let (user, after_seq) = (entry.name.clone(), seq.saturating_sub(1));
        let job = Job::LoadPage { user, after_seq, pushes_max: 1, bytes_max: 1 };
        if self.submit(job, JobPurpose::Lost { receiver, seq }, out).is_err() {
            self.look_again_later(receiver, seq);
        }
    }

    /// It could not be looked for.
    pub(super) fn look_again_later(&mut self, receiver: UserId, seq: u64) {
        /// Beyond this it comes at its receiver's next log-in.
        const LOST_MAX: usize = 100_000;
        if self.lost.len() >= LOST_MAX {
            return self.users.release(receiver);
        }
        self.arm_undecided();
        self.lost.push((receiver, seq));
    }

    /// What there is behind the place where it would be.
    pub(super) fn looked_for(&mut self, (receiver, seq): (UserId, u64), page: Page, out: &mut Vec<Action>) {
        if let Some(push) = page.pushes.into_iter().next().filter(|push| push.seq == seq) {
            self.deliver_committed(push, receiver, out);
        }
        self.users.release(receiver);
    }

    /// Trying this one again does not find out what became of it: the friends of both are read
    /// anew, if it matters.
    pub(super) fn doubt_both(&mut self, friendship: &Friendship) {
        if friendship.changes_friends() {
            self.doubt(friendship.me);
            self.doubt(friendship.other);
        }
    }

    /// The user's friends in memory may not be those in the store. Of users who are away nothing is
    /// in memory.
    fn doubt(&mut self, user: UserId) {
        let entry = self.users.get(user);
        if !entry.is_here() && entry.loading.is_none() {
            return;
        }
        if let Some(reading) = self.doubted.get_mut(&user) {
            if *reading == Reading::Asked {
                *reading = Reading::AskedTooEarly;
            }
            return;
        }
        self.arm_undecided();
        self.users.hold(user);
        self.doubted.insert(user, Reading::Waits);
    }

    /// Reads anew the friends of those of whom it is not known.
    pub(super) fn read_doubted(&mut self, out: &mut Vec<Action>) {
        for (receiver, seq) in std::mem::take(&mut self.lost) {
            self.look_for_held(receiver, seq, out);
        }
        let waiting = self.doubted.iter().filter(|(_, reading)| **reading == Reading::Waits);
        for user in waiting.map(|(user, _)| *user).collect::<Vec<UserId>>() {
            let entry = self.users.get(user);
            if entry.is_here() {
                let job = self.friends_job(user);
                let user = self.begin_reading(&entry.name.clone());
                match self.submit(job, JobPurpose::Friends(user), out) {
                    Ok(()) => _ = self.doubted.insert(user, Reading::Asked),
                    Err(_) => self.reading_ended(user, out),
                }
            } else if entry.loading.is_none() {
                self.doubt_ends(user);
            }
        }
    }

    /// The friends of one of them are known now. From the moment of asking on, what changed
    /// meanwhile was kept as at a log-in.
    pub(super) fn friends_read(&mut self, user: UserId, friends: Option<&[UserName]>, out: &mut Vec<Action>) {
        if let Some(friends) = friends.filter(|_| self.users.is_here(user)) {
            self.users.set_friends(user, friends);
        }
        match self.doubted.get_mut(&user) {
            Some(reading) if friends.is_none() || *reading == Reading::AskedTooEarly => *reading = Reading::Waits,
            _ => self.doubt_ends(user),
        }
        self.reading_ended(user, out);
    }

    fn doubt_ends(&mut self, user: UserId) {
        if self.doubted.remove(&user).is_some() {
            self.users.release(user);
        }
    }

    /// Nobody knows at present whether they are friends: what says that they are not may be wrong.
    pub(super) fn may_be_friends(&self, me: UserId, other: Option<UserId>) -> bool {
        let of_pair = |other| self.pairs.get(&pair(me, other)).is_some_and(|pair| pair.in_doubt);
        self.doubted.contains_key(&me) || other.is_some_and(of_pair)
    }
}
