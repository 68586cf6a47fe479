//! PRESENCE: watchers are told which of their friends are online.
//!
//! Watchers are told a state, not events. If a user comes online or goes offline, this is a
//! *change*. The changes are told to the friends who watch, in turn. Each time
//! ([`CoreTimer::Presence`]) only a bounded number of frames is sent, however many users come and
//! go: messages never wait for it. If the state of a user changes again meanwhile, or shortly
//! afterwards, the new state is told after a rest.
//!
//! Nothing is written to a connection whose output is blocked. The core remembers of which friends
//! its user was not told. When the output is written, it tells their state at that time.

use super::cluster::UserPresenceReportToNodesReason;
use super::contract::{ConnId, CoreAction, CoreSettings};
use super::ids::UserSlot;
use super::session::ConnectionSession;
use super::wheel::TimerId;
use super::{CoreTimer, ServerCore};
use std::collections::{HashMap, VecDeque};

/// After a change of a user was told, no further change of theirs is told within this time.
const REST_MS: u64 = 1_000;
/// The number of looks (whether a friend watches) that cost as much as one frame.
const LOOKS_PER_FRAME: u32 = 16;
/// The looks that one change, or one user with unsent frames, gets before the next one has its
/// turn.
const LOOKS_PER_TURN: u32 = 16 * LOOKS_PER_FRAME;
/// An unsent list that is longer than this is searched for users who are not friends any more.
const UNSENT_LOOKED_THROUGH: usize = 64;

/// The progress of telling a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PresenceAnnouncementPhase {
    /// It waits for its turn.
    Queued,
    /// The friends up to this one have been told, if the user is online. The friends of a user who
    /// has gone are removed from `friends` instead.
    Telling(Option<UserSlot>),
    /// The user has come or gone again meanwhile: at its next turn the change rests.
    Interrupted,
    /// It was told less than [`REST_MS`] ago.
    Resting,
}

/// The change of one user. Retains the user.
#[derive(Debug)]
struct PresenceAnnouncement {
    phase: PresenceAnnouncementPhase,
    /// The state that all friends who watch know; `None`: they know different states.
    known_state: Option<bool>,
    /// The friends of a user who has gone. Each counts as a reference.
    friends: Vec<UserSlot>,
}

/// The users of whom a watcher was not told.
#[derive(Debug, Default)]
struct UnsentPresenceOfWatcher {
    /// These users, in order. They may not be friends any more, and may not exist any more.
    users: Vec<UserSlot>,
    is_queued: bool,
}

/// The next thing to tell.
#[derive(Clone, Copy, Debug)]
enum PresenceTask {
    /// The change of this user.
    Of(UserSlot),
    /// The frames that this user did not get because their output was blocked.
    To(UserSlot),
}

/// The state of PRESENCE. Its maps are never iterated.
#[derive(Debug, Default)]
pub(super) struct PresenceNotifier {
    /// The number of connections that watch.
    watcher_count: usize,
    changes: HashMap<UserSlot, PresenceAnnouncement>,
    /// The total length of the changes' lists of friends.
    friends_len: usize,
    unsent: HashMap<UserSlot, UnsentPresenceOfWatcher>,
    unsent_len: usize,
    queue: VecDeque<PresenceTask>,
    /// Changes that were told, with the end of their rest.
    rest_deadlines: VecDeque<(u64, UserSlot)>,
    timer: Option<(u64, TimerId)>,
}

impl PresenceNotifier {
    /// A connection stops watching.
    pub(super) fn watch_ended(&mut self) {
        debug_assert!(self.watcher_count > 0, "ended more often than begun");
        self.watcher_count = self.watcher_count.saturating_sub(1);
    }

    /// No frame to this user is unsent any more.
    fn remove(&mut self, user: UserSlot) {
        if let Some(unsent) = self.unsent.remove(&user) {
            self.unsent_len -= unsent.users.len();
        }
    }

    /// Keeps only those users of an unsent list for whom `is_friend` is true.
    fn retain_unsent(&mut self, to: UserSlot, is_friend: impl Fn(UserSlot) -> bool) {
        if let Some(unsent) = self.unsent.get_mut(&to) {
            let before = unsent.users.len();
            unsent.users.retain(|about| is_friend(*about));
            self.unsent_len -= before - unsent.users.len();
        }
    }

    /// The memory that it uses, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        const CHANGE_BYTES: usize = size_of::<PresenceAnnouncement>() + 2 * size_of::<PresenceTask>() + 16;
        (self.friends_len + self.unsent_len) * size_of::<UserSlot>()
            + (self.changes.len() + self.unsent.len()) * CHANGE_BYTES
    }

    /// The references that it has.
    #[cfg(debug_assertions)]
    pub(super) fn refs(&self) -> impl Iterator<Item = UserSlot> + '_ {
        self.changes.keys().copied().chain(self.changes.values().flat_map(|change| change.friends.iter().copied()))
    }

    /// Checks the invariants; `watching` is the number of connections that watch.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, watching: usize) {
        assert_eq!(self.watcher_count, watching);
        assert_eq!(self.friends_len, self.changes.values().map(|change| change.friends.len()).sum::<usize>());
        assert_eq!(self.unsent_len, self.unsent.values().map(|unsent| unsent.users.len()).sum::<usize>());
        let resting = self.changes.values().filter(|change| change.phase == PresenceAnnouncementPhase::Resting);
        assert_eq!(resting.count(), self.rest_deadlines.len());
        let waiting = self.queue.iter().filter(|turn| matches!(turn, PresenceTask::Of(_))).count();
        assert_eq!(waiting + self.rest_deadlines.len(), self.changes.len(), "each change has one place");
        let is_idle = self.queue.is_empty() && self.rest_deadlines.is_empty();
        assert!(is_idle || self.timer.is_some(), "nothing that is to be told is forgotten");
    }
}

impl ServerCore {
    /// This connection watches from now on.
    pub(super) fn watch_friends(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(conn)
            && !std::mem::replace(&mut session.watches, true)
        {
            self.presence.watcher_count += 1;
        }
    }

    /// A user logs in on this connection: it stops watching until they ask for it.
    pub(super) fn watch_is_over(&mut self, conn: ConnId, user: UserSlot) {
        self.presence.remove(user);
        if let Some(session) = self.sessions.get_mut(conn)
            && std::mem::take(&mut session.watches)
        {
            self.presence.watch_ended();
        }
    }

    /// Is the friend online, and may this user see it?
    pub(super) fn is_shown_online(&self, user: UserSlot, friend: UserSlot) -> bool {
        self.is_online(friend) && self.users.are_friends(user, friend)
    }

    /// This user has come online.
    pub(super) fn report_online(&mut self, user: UserSlot) {
        self.schedule_presence_report(user, UserPresenceReportToNodesReason::Comes);
        if self.presence.watcher_count > 0 || self.presence.changes.contains_key(&user) {
            self.note_change(user, Vec::new());
        }
    }

    /// This user has gone offline: their friends who watch are told, and the references to all
    /// friends are released afterwards.
    pub(super) fn report_offline(&mut self, user: UserSlot) {
        self.schedule_presence_report(user, UserPresenceReportToNodesReason::Goes);
        self.presence.remove(user);
        if self.stopping || (self.presence.watcher_count == 0 && !self.presence.changes.contains_key(&user)) {
            return self.users.release_friends(user);
        }
        let friends = self.users.take_friends(user);
        self.note_change(user, friends);
    }

    /// Notes that a user has come, or has gone and had these friends.
    fn note_change(&mut self, user: UserSlot, friends: Vec<UserSlot>) {
        let is_here = self.users.is_here(user);
        let presence = &mut self.presence;
        presence.friends_len += friends.len();
        let mut former = Vec::new();
        match presence.changes.get_mut(&user) {
            None => {
                presence.changes.insert(
                    user,
                    PresenceAnnouncement {
                        phase: PresenceAnnouncementPhase::Queued,
                        known_state: Some(!is_here),
                        friends,
                    },
                );
                presence.queue.push_back(PresenceTask::Of(user));
                self.users.retain(user);
            }
            Some(change) => {
                former = std::mem::replace(&mut change.friends, friends);
                if matches!(change.phase, PresenceAnnouncementPhase::Telling(_)) {
                    // Some friends know the previous state: after the rest all are told the state
                    // at that time.
                    (change.phase, change.known_state) = (PresenceAnnouncementPhase::Interrupted, None);
                }
            }
        }
        presence.friends_len -= former.len();
        for friend in former {
            self.users.release(friend);
        }
        self.arm_presence();
    }

    /// Two users have become friends: each is told the state of the other.
    pub(super) fn report_new_friends(&mut self, one: UserSlot, other: UserSlot) {
        for (to, about) in [(one, other), (other, one)] {
            if self.watching_conn(to).is_some() {
                self.add_unsent(to, about);
                self.resume_unsent_presence(to);
            }
            if self.users.is_here(to) && !self.users.is_here(about) {
                // Their node must know that they are friends.
                self.schedule_presence_report(to, UserPresenceReportToNodesReason::HasNewFriends);
            }
        }
    }

    /// The friends of a user were read again; `before` are the previous ones. If the user watches,
    /// they are told of each new friend.
    pub(super) fn say_new_friends(&mut self, user: UserSlot, before: &[UserSlot]) {
        if self.watching_conn(user).is_some() {
            let is_new = |friend: &UserSlot| before.binary_search(friend).is_err();
            let new: Vec<UserSlot> = self.users.get(user).friends.iter().copied().filter(is_new).collect();
            new.into_iter().for_each(|friend| self.add_unsent(user, friend));
        }
        self.resume_unsent_presence(user);
        let has_new = |friend: &UserSlot| before.binary_search(friend).is_err() && !self.users.is_here(*friend);
        if self.has_other_nodes() && self.users.get(user).friends.iter().any(has_new) {
            self.schedule_presence_report(user, UserPresenceReportToNodesReason::HasNewFriends);
        }
    }

    /// The output of a user who watches moves again: the unsent frames may go out.
    pub(super) fn resume_unsent_presence(&mut self, user: UserSlot) {
        if let Some(unsent) = self.presence.unsent.get_mut(&user)
            && !std::mem::replace(&mut unsent.is_queued, true)
        {
            self.presence.queue.push_back(PresenceTask::To(user));
            self.arm_presence();
        }
    }

    /// The connection on which this user watches, if they do.
    fn watching_conn(&self, user: UserSlot) -> Option<ConnId> {
        let conn = self.users.route(user).local_conn()?;
        self.sessions.get(conn).filter(|session| session.watches).map(|_| conn)
    }

    /// One friend was told the state of this user out of turn. If the others know a different
    /// state, all are told again, even if the user is back in that state by then.
    pub(super) fn presence_shown(&mut self, user: UserSlot) {
        let is_here = self.users.is_here(user);
        if let Some(change) = self.presence.changes.get_mut(&user)
            && change.known_state == Some(!is_here)
        {
            change.known_state = None;
        }
    }

    /// A user of another node has come or gone: this one is told, if they watch.
    pub(super) fn add_unsent_presence(&mut self, to: UserSlot, about: UserSlot) {
        if self.watching_conn(to).is_some() {
            self.add_unsent(to, about);
            self.resume_unsent_presence(to);
        }
    }

    /// The users who watch, in the order of their connections.
    pub(super) fn users_who_watch(&self) -> Vec<UserSlot> {
        let watching = self.sessions.ids().filter_map(|conn| self.sessions.get(conn));
        watching.filter(|session| session.watches).filter_map(|session| session.user).collect()
    }

    fn add_unsent(&mut self, to: UserSlot, about: UserSlot) {
        let unsent = self.presence.unsent.entry(to).or_default();
        if let Err(place) = unsent.users.binary_search(&about) {
            unsent.users.insert(place, about);
            self.presence.unsent_len += 1;
            let friends = &self.users.get(to).friends;
            if unsent.users.len() > UNSENT_LOOKED_THROUGH.max(2 * friends.len()) {
                let is_friend = |about| friends.binary_search(&about).is_ok();
                self.presence.retain_unsent(to, is_friend);
            }
        }
    }

    /// Tells a watcher whether a friend is online. `false`: the user does not watch, or it
    /// stays unsent.
    fn send_presence(&mut self, to: UserSlot, about: UserSlot, out: &mut Vec<CoreAction>) -> bool {
        let Some(conn) = self.watching_conn(to).filter(|_| self.users.are_friends(to, about)) else {
            return false;
        };
        let Some(session) = self.sessions.get(conn) else {
            return false;
        };
        // If the friendship is in doubt, the news stays unsent: when the doubt is settled, it is
        // sent or dropped.
        if session.is_output_blocked || self.may_be_friends(to, Some(about)) {
            self.add_unsent(to, about);
            return false;
        }
        let user = self.users.get(about);
        let (form, online) = (session.push_form, self.is_online(about));
        out.push(CoreAction::Presence { conn, form, user: user.name.clone(), online });
        self.totals.presence += 1;
        true
    }

    /// Sets the timer for the next thing to tell.
    fn arm_presence(&mut self) {
        let presence = &self.presence;
        let due_ms = match presence.rest_deadlines.front() {
            _ if !presence.queue.is_empty() => self.now.mono_ms + 1,
            Some(&(due_ms, _)) => due_ms,
            None => return,
        };
        if let Some((at_ms, timer)) = presence.timer {
            if at_ms <= due_ms {
                return;
            }
            self.wheel.cancel(timer);
        }
        self.presence.timer = Some((due_ms, self.wheel.insert(due_ms, CoreTimer::Presence)));
    }

    pub(super) fn presence_timer_fired(&mut self, out: &mut Vec<CoreAction>) {
        self.presence.timer = None;
        self.end_rests();
        let mut looks_left = looks_per_tick(&self.rules);
        while looks_left > 0
            && let Some(turn) = self.presence.queue.pop_front()
        {
            let looks_max = LOOKS_PER_TURN.min(looks_left);
            let used = match turn {
                PresenceTask::Of(user) => self.continue_presence_change(user, looks_max, out),
                PresenceTask::To(user) => self.send_unsent(user, looks_max, out),
            };
            looks_left = looks_left.saturating_sub(used.max(1));
        }
        self.arm_presence();
    }

    fn end_rests(&mut self) {
        while let Some(&(_, user)) =
            self.presence.rest_deadlines.front().filter(|(due_ms, _)| *due_ms <= self.now.mono_ms)
        {
            self.presence.rest_deadlines.pop_front();
            let is_here = self.users.is_here(user);
            let Some(change) = self.presence.changes.get_mut(&user) else {
                continue;
            };
            if change.known_state == Some(is_here) {
                self.remove_change(user);
            } else {
                change.phase = PresenceAnnouncementPhase::Queued;
                self.presence.queue.push_back(PresenceTask::Of(user));
            }
        }
    }

    fn remove_change(&mut self, user: UserSlot) {
        let Some(change) = self.presence.changes.remove(&user) else {
            return;
        };
        self.presence.friends_len -= change.friends.len();
        for friend in change.friends {
            self.users.release(friend);
        }
        self.users.release(user);
    }

    /// Continues to tell the change of a user. Gives the looks that it used.
    fn continue_presence_change(&mut self, user: UserSlot, looks_max: u32, out: &mut Vec<CoreAction>) -> u32 {
        let is_here = self.users.is_here(user);
        let Some(change) = self.presence.changes.get_mut(&user) else {
            debug_assert!(false, "a queued change is there");
            return 0;
        };
        match change.phase {
            PresenceAnnouncementPhase::Queued if change.known_state == Some(is_here) => {
                // The state is the one that all know: nobody needs to be told.
                self.remove_change(user);
                return 1;
            }
            PresenceAnnouncementPhase::Queued => change.phase = PresenceAnnouncementPhase::Telling(None),
            PresenceAnnouncementPhase::Interrupted => {
                self.begin_rest(user, None);
                return 1;
            }
            PresenceAnnouncementPhase::Telling(_) | PresenceAnnouncementPhase::Resting => {}
        }
        let mut used = 0;
        while used < looks_max {
            let Some(friend) = self.next_friend_to_tell(user, is_here) else {
                self.begin_rest(user, Some(is_here));
                return used;
            };
            used += if self.send_presence(friend, user, out) { LOOKS_PER_FRAME } else { 1 };
            if !is_here {
                self.users.release(friend);
            }
        }
        self.presence.queue.push_back(PresenceTask::Of(user));
        used
    }

    /// The next friend of a user to be told. If the user has gone, the caller must release the
    /// friend.
    fn next_friend_to_tell(&mut self, user: UserSlot, is_here: bool) -> Option<UserSlot> {
        let change = self.presence.changes.get_mut(&user)?;
        if !is_here {
            let friend = change.friends.pop();
            self.presence.friends_len -= usize::from(friend.is_some());
            return friend;
        }
        let PresenceAnnouncementPhase::Telling(after) = change.phase else {
            return None;
        };
        let friends = &self.users.get(user).friends;
        let place = after.map_or(0, |after| friends.partition_point(|friend| *friend <= after));
        let friend = friends.get(place).copied();
        change.phase = PresenceAnnouncementPhase::Telling(friend.or(after));
        friend
    }

    /// The change was told: it rests, and `told` is the state that all know.
    fn begin_rest(&mut self, user: UserSlot, told: Option<bool>) {
        if let Some(change) = self.presence.changes.get_mut(&user) {
            (change.phase, change.known_state) = (PresenceAnnouncementPhase::Resting, told);
            self.presence.rest_deadlines.push_back((self.now.mono_ms + REST_MS, user));
        }
    }

    /// Tells a user what is unsent. Gives the looks that it used.
    fn send_unsent(&mut self, to: UserSlot, looks_max: u32, out: &mut Vec<CoreAction>) -> u32 {
        // A turn retains nobody: if nothing is unsent any more, the user may be gone.
        if !self.presence.unsent.contains_key(&to) {
            return 0;
        }
        let waits = |session: &ConnectionSession| session.is_output_blocked || self.in_doubt.is_in_doubt(to);
        let session = self.watching_conn(to).and_then(|conn| self.sessions.get(conn));
        let waits = session.is_none_or(waits);
        let Some(unsent) = self.presence.unsent.get_mut(&to) else {
            return 0;
        };
        unsent.is_queued = false;
        if waits {
            // It is continued when the output is written, or when the store has settled the doubt.
            return 0;
        }
        let mut about = std::mem::take(&mut unsent.users);
        self.presence.unsent_len -= about.len();
        let mut used = 0;
        while used < looks_max
            && let Some(friend) = about.pop()
        {
            let is_told = self.send_presence(to, friend, out);
            used += if is_told { LOOKS_PER_FRAME } else { 1 };
            if is_told {
                self.presence_shown(friend);
            }
        }
        self.restore_unsent(to, about);
        used
    }
}

impl ServerCore {
    /// Puts the rest of an unsent list, in order, back.
    fn restore_unsent(&mut self, to: UserSlot, about: Vec<UserSlot>) {
        let is_over = about.is_empty();
        match self.presence.unsent.get_mut(&to) {
            // The usual case: nothing was added meanwhile.
            Some(unsent) if unsent.users.is_empty() => {
                self.presence.unsent_len += about.len();
                unsent.users = about;
            }
            _ => about.into_iter().for_each(|friend| self.add_unsent(to, friend)),
        }
        if !is_over {
            self.resume_unsent_presence(to);
        } else if self.presence.unsent.get(&to).is_some_and(|unsent| unsent.users.is_empty()) {
            self.presence.remove(to);
        }
    }
}

/// The looks that may be done at a time.
fn looks_per_tick(rules: &CoreSettings) -> u32 {
    rules.presence_at_once_max.max(1).saturating_mul(LOOKS_PER_FRAME)
}
