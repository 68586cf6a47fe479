//! When trying again will not tell whether two are friends, it is read: too many are in doubt at a time, or the store refuses what it may
//! have done before. And until it is known nobody is told that the two are none.

use super::account::Pending;
use super::contract::Action;
use super::delivery::AckList;
use super::friend::{Friendship, RETRY_MS, pair};
use super::list::Feed;
use super::users::UserId;
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
    /// Sets the timer, before something is added to what it is for.
    pub(super) fn arm_undecided(&mut self) {
        if self.undecided.is_empty() && self.doubted.is_empty() {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, Timer::Undecided);
        }
    }

    /// A push of this number may be in the store, and nobody will come back to it: the next page of its receiver begins there.
    pub(super) fn read_list_from(&mut self, receiver: UserId, seq: u64, out: &mut Vec<Action>) {
        let user = self.users.get_mut(receiver);
        if user.conn.is_some() && user.list.is_none() {
            user.list = Some(Box::new(AckList::new(Feed::Live)));
        }
        let Some(list) = &mut user.list else {
            return;
        };
        let before = seq.saturating_sub(1);
        match list.feed {
            Feed::Live => list.feed = Feed::Backlog { after_seq: before, asking: false },
            Feed::Backlog { after_seq, asking: false } if after_seq > before => {
                list.feed = Feed::Backlog { after_seq: before, asking: false };
            }
            // A page is on its way and was asked for after the push was: it has what is there, unless it began behind it. Then the
            // push comes when its receiver has been away.
            Feed::Backlog { .. } | Feed::Opening => {}
        }
        self.want_page(receiver, out);
    }

    /// What became of this one is not found out by trying it again: whose friends the two are is read anew, if it matters.
    pub(super) fn doubt_both(&mut self, friendship: &Friendship) {
        if friendship.changes_friends() {
            self.doubt(friendship.me);
            self.doubt(friendship.other);
        }
    }

    /// His friends in memory may not be those in the store. Of those who are away nothing is in memory.
    fn doubt(&mut self, user: UserId) {
        let entry = self.users.get(user);
        if entry.conn.is_none() && entry.loading.is_none() {
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
        let waiting = self.doubted.iter().filter(|(_, reading)| **reading == Reading::Waits);
        for user in waiting.map(|(user, _)| *user).collect::<Vec<UserId>>() {
            let entry = self.users.get(user);
            if entry.conn.is_some() {
                let job = self.friends_job(user);
                let user = self.begin_reading(&entry.name.clone());
                match self.submit(job, Pending::Friends(user), out) {
                    Ok(()) => _ = self.doubted.insert(user, Reading::Asked),
                    Err(_) => self.reading_ended(user, out),
                }
            } else if entry.loading.is_none() {
                self.doubt_ends(user);
            }
        }
    }

    /// The friends of one of them are known now. From the moment of asking on, what changed meanwhile was kept as at a log-in.
    pub(super) fn friends_read(&mut self, user: UserId, friends: Option<&[UserName]>, out: &mut Vec<Action>) {
        if let Some(friends) = friends.filter(|_| self.users.get(user).conn.is_some()) {
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
