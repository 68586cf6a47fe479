//! When trying again will not tell whether two are friends, it is read: too many are in doubt at a
//! time, or the store refuses what it may have done before. And until it is known nobody is told
//! that the two are none.

use super::cluster::What;
use super::contract::{Action, Job, Page};
use super::friend_op::Pair;
use super::friendship_ops::RETRY_MS;
use super::ids::UserId;
use super::job::JobPurpose;
use super::users::Route;
use super::{Chat, Timer};
use crate::protocol::field::UserName;
use crate::protocol::push::PushKind;
use std::collections::BTreeMap;

/// Lost pushes that are looked for again. Beyond this one comes at its receiver's next log-in.
const LOST_MAX: usize = 100_000;

/// How far the reading of a user's friends has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// To be asked for.
    Waits,
    /// On its way.
    Asked,
    /// On its way, and asked for before something else came into doubt: once more.
    AskedTooEarly,
}

/// What is to be found out by reading.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Those online whose friends have to be read anew, in an order of their own. Each is held.
    users: BTreeMap<UserId, Reading>,
    /// Pushes that may be in the store and are to be looked for again, with their receivers, who
    /// are held.
    lost: Vec<(UserId, u64)>,
    /// The timer is set at which these are read, and undecided operations tried again.
    timer_set: bool,
}

impl Doubt {
    /// Are the friends of this user, as they are in memory, perhaps not those in the store?
    pub(super) fn is_about(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    /// Those about whom something is in doubt.
    pub(super) fn users(&self) -> impl Iterator<Item = UserId> + '_ {
        self.users.keys().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.lost.is_empty()
    }

    /// Something about this user came into doubt. `true` if nothing was before: then the user has
    /// to be held.
    fn begin(&mut self, user: UserId) -> bool {
        match self.users.get_mut(&user) {
            Some(reading @ Reading::Asked) => *reading = Reading::AskedTooEarly,
            Some(_) => {}
            None => return self.users.insert(user, Reading::Waits).is_none(),
        }
        false
    }

    /// Those whose friends are to be asked for.
    fn waiting(&self) -> Vec<UserId> {
        let waiting = self.users.iter().filter(|(_, reading)| **reading == Reading::Waits);
        waiting.map(|(user, _)| *user).collect()
    }

    /// The friends of this user are on their way.
    fn asked(&mut self, user: UserId) {
        self.users.insert(user, Reading::Asked);
    }

    /// They came, or (`read` is false) they could not be read. `true` if that settles it.
    fn answered(&mut self, user: UserId, read: bool) -> bool {
        match self.users.get_mut(&user) {
            Some(reading) if !read || *reading == Reading::AskedTooEarly => {
                *reading = Reading::Waits;
                false
            }
            _ => self.end(user),
        }
    }

    /// Nothing is in doubt about this user any more. `true` if something was: then the user has to
    /// be released.
    fn end(&mut self, user: UserId) -> bool {
        self.users.remove(&user).is_some()
    }

    /// A push to be looked for again; `false` if there are too many.
    fn lose(&mut self, receiver: UserId, seq: u64) -> bool {
        let has_room = self.lost.len() < LOST_MAX;
        if has_room {
            self.lost.push((receiver, seq));
        }
        has_room
    }

    /// References held by it, for the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> impl Iterator<Item = UserId> + '_ {
        self.users.keys().copied().chain(self.lost.iter().map(|lost| lost.0))
    }

    /// Is there a timer, if one is needed?
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, has_undecided: bool) {
        assert!(self.timer_set || (self.is_empty() && !has_undecided), "nothing in doubt is forgotten");
    }
}

impl Chat {
    /// Sets the timer for whatever is in doubt or undecided, unless it is set.
    pub(super) fn arm_undecided(&mut self) {
        if !std::mem::replace(&mut self.doubt.timer_set, true) {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, Timer::Undecided);
        }
    }

    /// The timer has fired: tries again what is undecided, and reads what is in doubt.
    pub(super) fn undecided_timer_fired(&mut self, out: &mut Vec<Action>) {
        let due = self.friendship_ops.take_due(self.now.mono_ms);
        self.doubt.timer_set = false;
        self.read_doubted(out);
        self.retry_undecided(due, out);
        if self.friendship_ops.has_undecided() || !self.doubt.is_empty() {
            self.arm_undecided();
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
            // The next log-in reads it, or the node where they are.
            Route::Away => {
                self.tell_owner(receiver, What::PUSHES, None, out);
                return self.users.release(receiver);
            }
        }
        let (user, after_seq) = (entry.name.clone(), seq.saturating_sub(1));
        let job = Job::LoadPage { user, after_seq, pushes_max: 1, bytes_max: 1 };
        if self.submit(job, JobPurpose::Lost { receiver, seq, blocks: self.blocks }, out).is_err() {
            self.look_again_later(receiver, seq);
        }
    }

    /// It could not be looked for.
    pub(super) fn look_again_later(&mut self, receiver: UserId, seq: u64) {
        if self.doubt.lose(receiver, seq) {
            self.arm_undecided();
        } else {
            self.users.release(receiver);
        }
    }

    /// What there is behind the place where it would be.
    pub(super) fn looked_for(
        &mut self,
        (receiver, seq): (UserId, u64),
        blocks: u64,
        page: Page,
        out: &mut Vec<Action>,
    ) {
        if let Some(push) = page.pushes.into_iter().next().filter(|push| push.seq == seq) {
            if push.kind == PushKind::FriendRequest && blocks != self.blocks {
                // Somebody has blocked somebody since: perhaps who is asked, who asks.
                return self.look_again_later(receiver, seq);
            }
            self.deliver_committed(push, receiver, out);
        }
        self.users.release(receiver);
    }

    /// The user's friends in memory may not be those in the store. Of users who are away nothing is
    /// in memory.
    pub(super) fn doubt_friends_of(&mut self, user: UserId) {
        let entry = self.users.get(user);
        if !entry.is_here() && entry.loading.is_none() {
            return;
        }
        if self.doubt.begin(user) {
            self.arm_undecided();
            self.users.hold(user);
        }
    }

    /// Reads anew the friends of those of whom it is not known.
    pub(super) fn read_doubted(&mut self, out: &mut Vec<Action>) {
        for (receiver, seq) in std::mem::take(&mut self.doubt.lost) {
            self.look_for_held(receiver, seq, out);
        }
        for user in self.doubt.waiting() {
            let entry = self.users.get(user);
            if entry.is_here() {
                let job = self.friends_job(user);
                let user = self.begin_reading(&entry.name.clone());
                match self.submit(job, JobPurpose::Friends(user), out) {
                    Ok(()) => self.doubt.asked(user),
                    Err(_) => self.reading_ended(user, out),
                }
            } else if entry.loading.is_none() {
                self.doubt_ends(user);
            }
        }
    }

    /// Who this user's friends are.
    pub(super) fn friends_job(&self, user: UserId) -> Job {
        Job::Load { user: self.users.get(user).name.clone(), pushes_max: 0, bytes_max: 0 }
    }

    /// The friends of one of them are known now. From the moment of asking on, what changed
    /// meanwhile was kept as at a log-in.
    pub(super) fn friends_read(&mut self, user: UserId, friends: Option<&[UserName]>, out: &mut Vec<Action>) {
        if let Some(friends) = friends.filter(|_| self.users.is_here(user)) {
            let before = self.users.get(user).friends.clone();
            self.users.set_friends(user, friends);
            self.say_new_friends(user, &before);
        }
        if self.doubt.answered(user, friends.is_some()) {
            self.users.release(user);
        }
        self.reading_ended(user, out);
    }

    fn doubt_ends(&mut self, user: UserId) {
        if self.doubt.end(user) {
            self.users.release(user);
        }
    }

    /// Nobody knows at present whether they are friends: what says that they are not may be wrong.
    pub(super) fn may_be_friends(&self, me: UserId, other: Option<UserId>) -> bool {
        let of_pair = |other| self.friendship_ops.is_in_doubt(Pair::of(me, other));
        self.doubt.is_about(me) || other.is_some_and(of_pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What happens to a user's friends.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Begin,
        Asked,
        Read,
        NotRead,
        End,
    }

    use Step::{Asked, Begin, End, NotRead, Read};

    #[test]
    fn it_is_read_until_nothing_came_into_doubt_meanwhile() {
        // What happens, whether the caller has to hold or release the user, and whether the user's
        // friends are to be asked for then.
        let scripts: &[&[(Step, bool, bool)]] = &[
            &[(Begin, true, true), (Asked, false, false), (Read, true, false), (Begin, true, true)],
            &[(Begin, true, true), (Begin, false, true), (Asked, false, false), (Read, true, false)],
            &[(Begin, true, true), (Asked, false, false), (NotRead, false, true), (End, true, false)],
            &[
                (Begin, true, true),
                (Asked, false, false),
                (Begin, false, false),
                (Begin, false, false),
                (Read, false, true),
                (Asked, false, false),
                (Read, true, false),
            ],
            // The user went, and that ended it; the answer comes later.
            &[(Begin, true, true), (Asked, false, false), (End, true, false), (Read, false, false)],
            &[(Begin, true, true), (Asked, false, false), (End, true, false), (NotRead, false, false)],
            &[(End, false, false)],
        ];
        let (user, another) = (UserId::of(1), UserId::of(0));
        for script in scripts {
            let mut doubt = Doubt::default();
            assert!(doubt.begin(another));
            for (n, (step, changes, waits)) in script.iter().enumerate() {
                let changed = match step {
                    Begin => doubt.begin(user),
                    Asked => {
                        doubt.asked(user);
                        false
                    }
                    Read => doubt.answered(user, true),
                    NotRead => doubt.answered(user, false),
                    End => doubt.end(user),
                };
                assert_eq!(changed, *changes, "step {n} of {script:?}");
                assert_eq!(doubt.waiting().contains(&user), *waits, "step {n} of {script:?}");
                assert!(doubt.is_about(another) && doubt.waiting().contains(&another));
            }
        }
    }

    #[test]
    fn so_many_pushes_are_looked_for_and_no_more() {
        let mut doubt = Doubt::default();
        for seq in 0..LOST_MAX as u64 {
            assert!(doubt.lose(UserId::of(0), seq));
        }
        assert!(!doubt.lose(UserId::of(0), 0) && doubt.lost.len() == LOST_MAX);
    }
}
