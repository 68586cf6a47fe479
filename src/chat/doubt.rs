//! Friendships in doubt that retries cannot settle, because too many are in doubt at a time, or
//! because the store refuses an operation that it may have done before. Then the friends of both
//! users are read again. Until the outcome is known, nobody is told that the two are not friends.

use super::cluster::OwnerNodeRereadParts;
use super::contract::{CoreAction, Job, PushPage};
use super::friend_op::UnorderedUserPair;
use super::friendship_ops::RETRY_MS;
use super::ids::UserSlot;
use super::job::JobPurpose;
use super::users::UserRoute;
use super::{CoreTimer, ServerCore};
use crate::protocol::field::UserName;
use crate::protocol::push::PushKind;
use std::collections::BTreeMap;

/// The largest number of lost pushes that are searched. Beyond it, a push is found at its
/// receiver's next log-in.
const LOST_MAX: usize = 100_000;

/// The progress of reading a user's friends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FriendsReading {
    /// Not requested yet.
    Waits,
    /// In flight.
    Reading,
    /// In flight, but requested before something else came into doubt: read once more.
    ReadingTooEarly,
}

/// The searches of one receiver's pushes that are in flight.
#[derive(Clone, Copy, Debug, Default)]
struct InDoubtPushSearches {
    count: u32,
    /// How many users the receiver has blocked since the first of them began.
    blocks: u32,
}

/// The users and pushes about which the store is asked.
#[derive(Debug, Default)]
pub(super) struct FriendshipsInDoubt {
    /// The online users whose friends must be read again, in the order of their ids. Each counts as
    /// a reference.
    users: BTreeMap<UserSlot, FriendsReading>,
    /// Pushes that may be in the store and must be searched, with their receivers. Each receiver
    /// counts as a reference.
    lost: Vec<(UserSlot, u64)>,
    /// The receivers whose pushes are being searched.
    searches: BTreeMap<UserSlot, InDoubtPushSearches>,
    /// The timer for reading these, and for retrying undecided operations, is set.
    timer_set: bool,
}

impl FriendshipsInDoubt {
    /// Counts a new search of a push to `receiver`. Returns how many users the receiver has blocked
    /// since the first search that is still in flight began.
    fn begin_search(&mut self, receiver: UserSlot) -> u32 {
        let searches = self.searches.entry(receiver).or_default();
        searches.count += 1;
        searches.blocks
    }

    fn end_search(&mut self, receiver: UserSlot) {
        if let Some(searches) = self.searches.get_mut(&receiver) {
            searches.count -= 1;
            if searches.count == 0 {
                self.searches.remove(&receiver);
            }
        }
    }

    fn blocks(&self, receiver: UserSlot) -> u32 {
        self.searches.get(&receiver).map_or(0, |searches| searches.blocks)
    }

    /// This user has blocked another one: the pages of searches may be older than that.
    pub(super) fn note_block(&mut self, user: UserSlot) {
        if let Some(searches) = self.searches.get_mut(&user) {
            searches.blocks += 1;
        }
    }

    /// May this user's friends in memory differ from those in the store?
    pub(super) fn is_in_doubt(&self, user: UserSlot) -> bool {
        self.users.contains_key(&user)
    }

    /// The users about whom something is in doubt.
    pub(super) fn users(&self) -> impl Iterator<Item = UserSlot> + '_ {
        self.users.keys().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.lost.is_empty()
    }

    /// Something about this user came into doubt. `true` if nothing was in doubt before: then the
    /// caller must retain the user.
    fn begin(&mut self, user: UserSlot) -> bool {
        match self.users.get_mut(&user) {
            Some(reading @ FriendsReading::Reading) => *reading = FriendsReading::ReadingTooEarly,
            Some(_) => {}
            None => return self.users.insert(user, FriendsReading::Waits).is_none(),
        }
        false
    }

    /// The users whose friends must be requested.
    fn users_to_request(&self) -> Vec<UserSlot> {
        let waiting = self.users.iter().filter(|(_, reading)| **reading == FriendsReading::Waits);
        waiting.map(|(user, _)| *user).collect()
    }

    /// The friends of this user were requested.
    fn mark_requested(&mut self, user: UserSlot) {
        self.users.insert(user, FriendsReading::Reading);
    }

    /// The friends of this user were read, or (`read` is false) could not be read. `true` if that
    /// settles the doubt.
    fn mark_answered(&mut self, user: UserSlot, read: bool) -> bool {
        match self.users.get_mut(&user) {
            Some(reading) if !read || *reading == FriendsReading::ReadingTooEarly => {
                *reading = FriendsReading::Waits;
                false
            }
            _ => self.end(user),
        }
    }

    /// Nothing is in doubt about this user any more. `true` if something was: then the caller must
    /// release the user.
    fn end(&mut self, user: UserSlot) -> bool {
        self.users.remove(&user).is_some()
    }

    /// Adds a push to be searched; `false` if there are too many.
    fn add_lost_push(&mut self, receiver: UserSlot, seq: u64) -> bool {
        let has_room = self.lost.len() < LOST_MAX;
        if has_room {
            self.lost.push((receiver, seq));
        }
        has_room
    }

    /// The references that it has, for the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> impl Iterator<Item = UserSlot> + '_ {
        self.users.keys().copied().chain(self.lost.iter().map(|lost| lost.0))
    }

    /// Checks that the timer is set if it is needed.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, has_undecided: bool) {
        assert!(self.timer_set || (self.is_empty() && !has_undecided), "nothing in doubt is forgotten");
    }
}

impl ServerCore {
    /// Sets the timer for doubts and undecided operations, if there are any and it is not set.
    pub(super) fn arm_undecided(&mut self) {
        if !std::mem::replace(&mut self.in_doubt.timer_set, true) {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, CoreTimer::Undecided);
        }
    }

    /// The timer has fired: tries again what is undecided, and reads what is in doubt.
    pub(super) fn undecided_timer_fired(&mut self, out: &mut Vec<CoreAction>) {
        let due = self.friendship_ops.take_due(self.now.mono_ms);
        self.in_doubt.timer_set = false;
        self.request_friends_in_doubt(out);
        self.retry_undecided(due, out);
        if self.friendship_ops.has_undecided() || !self.in_doubt.is_empty() {
            self.arm_undecided();
        }
    }

    /// The push with this number may be in the store, and no operation will tell: search it, if its
    /// receiver is online.
    pub(super) fn look_for(&mut self, receiver: UserSlot, seq: u64, out: &mut Vec<CoreAction>) {
        self.users.retain(receiver);
        self.search_push(receiver, seq, out);
    }

    /// Searches it. The receiver was retained for that.
    fn search_push(&mut self, receiver: UserSlot, seq: u64, out: &mut Vec<CoreAction>) {
        let entry = self.users.get(receiver);
        match entry.route() {
            UserRoute::Here(_) => {}
            // The receiver's next log-in reads it, or the node on which they are.
            UserRoute::Away | UserRoute::Elsewhere => {
                self.notify_owner(receiver, OwnerNodeRereadParts::PUSHES, None, out);
                return self.users.release(receiver);
            }
        }
        let (user, after_seq) = (entry.name.clone(), seq.saturating_sub(1));
        let job = Job::LoadPage { user, after_seq, pushes_max: 1, bytes_max: 1 };
        let blocks = self.in_doubt.begin_search(receiver);
        if self.submit(job, JobPurpose::Lost { receiver, seq, blocks }, out).is_err() {
            self.search_failed(receiver, seq);
        }
    }

    /// The push could not be searched: try again later.
    pub(super) fn search_failed(&mut self, receiver: UserSlot, seq: u64) {
        self.in_doubt.end_search(receiver);
        self.look_again_later(receiver, seq);
    }

    /// The push will not be searched any more.
    pub(super) fn end_search(&mut self, receiver: UserSlot) {
        self.in_doubt.end_search(receiver);
        self.users.release(receiver);
    }

    fn look_again_later(&mut self, receiver: UserSlot, seq: u64) {
        if self.in_doubt.add_lost_push(receiver, seq) {
            self.arm_undecided();
        } else {
            self.users.release(receiver);
        }
    }

    /// The page that begins with the place of the push has been read.
    pub(super) fn on_push_search_page(
        &mut self,
        (receiver, seq): (UserSlot, u64),
        blocks: u32,
        page: PushPage,
        out: &mut Vec<CoreAction>,
    ) {
        let found = page.pushes.into_iter().next().filter(|push| push.seq == seq);
        let is_request = found.as_ref().is_some_and(|push| push.kind == PushKind::FriendRequest);
        if is_request && blocks != self.in_doubt.blocks(receiver) {
            // The receiver has blocked somebody since: perhaps the sender.
            return self.search_failed(receiver, seq);
        }
        if let Some(push) = found.filter(|push| !self.failed_push_deletions.contains(&push.seq))
            && !self.delete_if_acked_here(receiver, seq, out)
        {
            let sender = UserName::new(push.sender());
            if is_request && sender.is_ok_and(|sender| self.is_account_gone(&sender)) {
                // The deletion of the account withdraws its requests. This one is not listed yet.
                self.delete(seq, receiver, out);
            } else {
                self.deliver_committed(push, receiver, out);
            }
        }
        self.end_search(receiver);
    }

    /// The user's friends in memory may differ from those in the store. Users who are away have no
    /// friends in memory.
    pub(super) fn mark_friends_in_doubt(&mut self, user: UserSlot) {
        let entry = self.users.get(user);
        if !entry.is_here() && entry.loading.is_none() {
            return;
        }
        if self.in_doubt.begin(user) {
            self.arm_undecided();
            self.users.retain(user);
        }
    }

    /// Requests the friends of all users in doubt.
    pub(super) fn request_friends_in_doubt(&mut self, out: &mut Vec<CoreAction>) {
        for (receiver, seq) in std::mem::take(&mut self.in_doubt.lost) {
            self.search_push(receiver, seq, out);
        }
        for user in self.in_doubt.users_to_request() {
            let entry = self.users.get(user);
            if entry.is_here() {
                let job = self.friends_job(user);
                let user = self.begin_reading(&entry.name.clone());
                match self.submit(job, JobPurpose::Friends(user), out) {
                    Ok(()) => self.in_doubt.mark_requested(user),
                    Err(_) => self.reading_ended(user, out),
                }
            } else if entry.loading.is_none() {
                self.end_friends_doubt(user);
            }
        }
    }

    /// The job that reads this user's friends.
    pub(super) fn friends_job(&self, user: UserSlot) -> Job {
        Job::Load { user: self.users.get(user).name.clone(), pushes_max: 0, bytes_max: 0 }
    }

    /// The friends of a user in doubt were read. Changes since the request were kept, as at a
    /// log-in.
    pub(super) fn friends_read(&mut self, user: UserSlot, friends: Option<&[UserName]>, out: &mut Vec<CoreAction>) {
        if let Some(friends) = friends.filter(|_| self.users.is_here(user)) {
            let before = self.users.get(user).friends.clone();
            self.users.set_friends(user, friends);
            self.say_new_friends(user, &before);
        }
        if self.in_doubt.mark_answered(user, friends.is_some()) {
            self.users.release(user);
        }
        self.reading_ended(user, out);
    }

    fn end_friends_doubt(&mut self, user: UserSlot) {
        if self.in_doubt.end(user) {
            self.users.release(user);
        }
    }

    /// Is it in doubt whether these two are friends? Then an answer that they are not may be wrong.
    pub(super) fn may_be_friends(&self, me: UserSlot, other: Option<UserSlot>) -> bool {
        let of_pair = |other| self.friendship_ops.is_in_doubt(UnorderedUserPair::of(me, other));
        self.in_doubt.is_in_doubt(me) || other.is_some_and(of_pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step in the reading of a user's friends.
    #[derive(Clone, Copy, Debug)]
    enum FriendsReadStep {
        Begin,
        Asked,
        Read,
        NotRead,
        End,
    }

    use FriendsReadStep::{Asked, Begin, End, NotRead, Read};

    #[test]
    fn it_is_read_until_nothing_came_into_doubt_meanwhile() {
        // Each step, whether the caller must retain or release the user, and whether the user's
        // friends must be requested afterwards.
        let scripts: &[&[(FriendsReadStep, bool, bool)]] = &[
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
            // The user left, which ended the doubt; the answer arrives later.
            &[(Begin, true, true), (Asked, false, false), (End, true, false), (Read, false, false)],
            &[(Begin, true, true), (Asked, false, false), (End, true, false), (NotRead, false, false)],
            &[(End, false, false)],
        ];
        let (user, another) = (UserSlot::of(1), UserSlot::of(0));
        for script in scripts {
            let mut doubt = FriendshipsInDoubt::default();
            assert!(doubt.begin(another));
            for (n, (step, changes, waits)) in script.iter().enumerate() {
                let changed = match step {
                    Begin => doubt.begin(user),
                    Asked => {
                        doubt.mark_requested(user);
                        false
                    }
                    Read => doubt.mark_answered(user, true),
                    NotRead => doubt.mark_answered(user, false),
                    End => doubt.end(user),
                };
                assert_eq!(changed, *changes, "step {n} of {script:?}");
                assert_eq!(doubt.users_to_request().contains(&user), *waits, "step {n} of {script:?}");
                assert!(doubt.is_in_doubt(another) && doubt.users_to_request().contains(&another));
            }
        }
    }

    #[test]
    fn so_many_pushes_are_looked_for_and_no_more() {
        let mut doubt = FriendshipsInDoubt::default();
        for seq in 0..LOST_MAX as u64 {
            assert!(doubt.add_lost_push(UserSlot::of(0), seq));
        }
        assert!(!doubt.add_lost_push(UserSlot::of(0), 0) && doubt.lost.len() == LOST_MAX);
    }
}
