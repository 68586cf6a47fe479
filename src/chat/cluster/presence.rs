//! Who is online on other nodes, for those who ask here who of their friends is.
//!
//! As long as nobody asks, nothing of this is done. The first one who does makes this node ask all
//! others ([`NodeRecord::Who`]). Each answers with all its users ([`NodeRecord::Present`]), as
//! hashes of their names, and from then on tells who has come and gone ([`NodeRecord::Moved`]),
//! with the names of their friends: so the friends who are here are found without a search. What
//! happens within [`TELL_EVERY_MS`] is told together; a user who goes is told of later, so that one
//! who comes back or moves to another node meanwhile is not shown as gone. If very many come and go
//! at once, all users are told instead.
//!
//! When a node has died, or could not keep what it had to say, what its users are is in doubt:
//! those who watch are looked through in the background, and told what has changed.

use super::super::contract::Action;
use super::super::ids::UserId;
use super::super::{Chat, ChatTimer};
use super::contract::{Incarnation, NodeId, NodeRecord, PresenceUpdate};
use crate::protocol::field::UserName;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

/// What happens within this time is told together.
const TELL_EVERY_MS: u64 = 500;
/// A user who goes is told of so much later.
const GONE_AFTER_MS: u64 = 1_000;
/// The users of a node that has died are online on others, or nowhere, after so long.
const FADES_AFTER_MS: u64 = 5_000;
/// A node that was asked and has not answered is asked again after so long.
const ASK_AGAIN_MS: u64 = 3_000;
/// If more users come and go until they are told of, all are told instead.
const MOVES_MAX: usize = 10_000;
/// Users in one [`NodeRecord::Present`].
const PRESENT_MAX: usize = 4_096;
/// The bytes of names in one [`NodeRecord::Moved`], without its last user.
const MOVED_BYTES_MAX: usize = 32 * 1024;
/// Those who watch are looked through in so many parts, but at least so many users at a time.
const SWEEP_PARTS: usize = 100;
const SWEEP_AT_ONCE_MIN: usize = 64;

/// A user who has come or gone.
#[derive(Debug)]
struct PresenceMove {
    due_ms: u64,
    /// What the other nodes know.
    was_here: bool,
    /// The friends of a user who has gone.
    friends: Vec<UserName>,
}

/// What a node was asked, and has told.
#[derive(Clone, Copy, Debug)]
struct RosterInquiry {
    at_ms: u64,
    has_answered: bool,
    /// The number of its last record.
    last: u64,
}

/// What is known of users of other nodes, and told to them. No map is walked through but in order.
#[derive(Debug, Default)]
pub(super) struct RemotePresence {
    /// Somebody here has asked who is online.
    is_wanted: bool,
    /// The nodes that were asked.
    asked: BTreeMap<Incarnation, RosterInquiry>,
    /// The nodes that have asked, with the number of the last record to each.
    listeners: BTreeMap<Incarnation, u64>,
    /// The nodes that say that a user is there, by the hash of the name. For a moment there may be
    /// two of them: what the one says that a user has left may come behind what the other one says.
    there: BTreeSet<(u64, NodeId)>,
    /// Answers of which the last part has not come.
    coming: BTreeMap<Incarnation, HashSet<u64>>,
    moves: BTreeMap<UserName, PresenceMove>,
    /// There were too many: all users are to be told.
    tells_all: bool,
    /// Nodes that have died, and when their users are nowhere.
    fading: BTreeMap<NodeId, u64>,
    /// Users who may be shown wrongly to those who watch.
    doubted: HashSet<u64>,
    /// Those who are still to be looked through. They may be gone.
    sweep: VecDeque<UserId>,
    sweep_at_once: usize,
    /// More came into doubt since that began.
    sweeps_again: bool,
    timer_set: bool,
}

impl RemotePresence {
    fn waits(&self) -> bool {
        !self.moves.is_empty()
            || self.tells_all
            || !self.fading.is_empty()
            || !self.doubted.is_empty()
            || self.asked.values().any(|asked| !asked.has_answered)
    }

    /// The memory that it holds, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        const ENTRY_BYTES: usize = size_of::<(u64, NodeId)>() + 2;
        (2 * self.there.len() + self.doubted.capacity()) * ENTRY_BYTES
            + self.moves.values().map(|one| 64 + one.friends.len() * size_of::<UserName>()).sum::<usize>()
    }

    fn is_there(&self, hash: u64) -> bool {
        self.there.range((hash, NodeId::FIRST)..=(hash, NodeId::LAST)).next().is_some()
    }

    /// The user is here: whatever other nodes say is over.
    fn is_here(&mut self, hash: u64) {
        while let Some(&there) = self.there.range((hash, NodeId::FIRST)..=(hash, NodeId::LAST)).next() {
            self.there.remove(&there);
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert!(self.timer_set || !self.waits(), "what is to be told is not forgotten");
    }
}

impl Chat {
    /// Is this user online on any node, as far as is known?
    pub(in super::super) fn is_online(&self, user: UserId) -> bool {
        let entry = self.users.get(user);
        entry.is_here()
            || self.cluster.as_ref().is_some_and(|cluster| {
                !cluster.presence.there.is_empty() && cluster.presence.is_there(self.users.hash(entry.name.as_str()))
            })
    }

    /// Somebody asks who is online: from now on the other nodes tell.
    pub(in super::super) fn want_presence(&mut self, out: &mut Vec<Action>) {
        if let Some(cluster) = &mut self.cluster
            && !std::mem::replace(&mut cluster.presence.is_wanted, true)
        {
            self.ask_who_is_present(out);
        }
    }

    /// The view was read: asks the nodes that have begun, and lets go of those that are over.
    pub(super) fn presence_by_view(&mut self, out: &mut Vec<Action>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let others: BTreeSet<Incarnation> = cluster.others().collect();
        let presence = &mut cluster.presence;
        presence.listeners.retain(|at, _| others.contains(at));
        presence.coming.retain(|at, _| others.contains(at));
        let over: Vec<Incarnation> = presence.asked.keys().filter(|at| !others.contains(at)).copied().collect();
        for at in over {
            presence.asked.remove(&at);
            presence.fading.insert(at.node, now_ms + FADES_AFTER_MS);
        }
        if presence.is_wanted {
            self.ask_who_is_present(out);
        }
        self.arm_elsewhere();
    }

    fn ask_who_is_present(&mut self, out: &mut Vec<Action>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let others: Vec<Incarnation> = cluster.others().collect();
        for to in others {
            let asked = cluster.presence.asked.get(&to);
            if asked.is_none_or(|asked| !asked.has_answered && now_ms - asked.at_ms >= ASK_AGAIN_MS) {
                let last = asked.map_or(0, |asked| asked.last);
                cluster.presence.asked.insert(to, RosterInquiry { at_ms: now_ms, has_answered: false, last });
                out.push(Action::Send { to, record: NodeRecord::Who });
            }
        }
        self.arm_elsewhere();
    }

    /// A node could not keep what it had to say.
    pub(super) fn presence_missed(&mut self, from: Incarnation, out: &mut Vec<Action>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        if let Some(asked) = cluster.presence.asked.get_mut(&from) {
            (asked.at_ms, asked.has_answered) = (now_ms, false);
            cluster.presence.coming.remove(&from);
            out.push(Action::Send { to: from, record: NodeRecord::Who });
            self.arm_elsewhere();
        }
    }

    /// Is this record the one behind the last one of its sender? If it came before, or one before
    /// it has not come, it is not taken. `begins`: whatever came before does not count.
    pub(super) fn is_next_of_presence(
        &mut self,
        from: Incarnation,
        number: u64,
        begins: bool,
        out: &mut Vec<Action>,
    ) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let Some(asked) = cluster.presence.asked.get_mut(&from).filter(|asked| number > asked.last) else {
            return false;
        };
        let is_next = begins || number == asked.last + 1;
        if is_next {
            asked.last = number;
        } else if asked.has_answered {
            self.presence_missed(from, out);
        }
        is_next
    }

    /// Another node wants to know who is here, and who comes and goes from now on.
    pub(super) fn who_is_asked(&mut self, from: Incarnation, out: &mut Vec<Action>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.presence.listeners.entry(from).or_default();
            self.tell_all_present(&[from], out);
        }
    }

    fn tell_all_present(&mut self, listeners: &[Incarnation], out: &mut Vec<Action>) {
        let here = self.users.iter().filter(|(_, user, _)| user.is_here());
        let here: Vec<u64> = here.map(|(_, user, _)| self.users.hash(user.name.as_str())).collect();
        if let Some(cluster) = &mut self.cluster {
            // Who has come and was not told of is known from now on.
            for (name, one) in &mut cluster.presence.moves {
                let user = self.users.find(name.as_str());
                one.was_here |= user.is_some_and(|user| self.users.is_here(user));
            }
        }
        let parts: Vec<&[u64]> = if here.is_empty() { vec![&[]] } else { here.chunks(PRESENT_MAX).collect() };
        for &to in listeners {
            for (place, part) in parts.iter().enumerate() {
                let (is_first, is_last) = (place == 0, place + 1 == parts.len());
                let number = self.next_of_presence(to);
                let record = NodeRecord::Present { number, is_first, is_last, users: part.to_vec() };
                out.push(Action::Send { to, record });
            }
        }
    }

    /// Is this a node of a cluster?
    pub(in super::super) fn has_other_nodes(&self) -> bool {
        self.cluster.is_some()
    }

    fn next_of_presence(&mut self, to: Incarnation) -> u64 {
        let last = self.cluster.as_mut().and_then(|cluster| cluster.presence.listeners.get_mut(&to));
        last.map_or(0, |last| {
            *last += 1;
            *last
        })
    }

    /// A user has come, or has new friends, or is about to go: those who listen are to be told.
    pub(in super::super) fn note_move(&mut self, user: UserId, comes: bool) {
        let Some(cluster) = self.cluster.as_ref() else { return };
        if cluster.presence.listeners.is_empty() && cluster.presence.there.is_empty() {
            return;
        }
        let entry = self.users.get(user);
        let (name, hash) = (entry.name.clone(), self.users.hash(entry.name.as_str()));
        let friends = if comes { Vec::new() } else { self.names_of_friends(user) };
        let due_ms = self.now.mono_ms + if comes { 0 } else { GONE_AFTER_MS };
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        if comes {
            presence.is_here(hash);
        }
        if presence.listeners.is_empty() || presence.tells_all {
            return;
        }
        let one = presence.moves.entry(name).or_insert(PresenceMove { due_ms, was_here: !comes, friends: Vec::new() });
        (one.due_ms, one.friends) = (due_ms, friends);
        if presence.moves.len() > MOVES_MAX {
            presence.moves.clear();
            presence.tells_all = true;
        }
        self.arm_elsewhere();
    }

    /// The friends of a user, also those who are here: they may have moved to the node that is told
    /// before it hears of it.
    fn names_of_friends(&self, user: UserId) -> Vec<UserName> {
        self.users.get(user).friends.iter().map(|friend| self.users.get(*friend).name.clone()).collect()
    }

    fn arm_elsewhere(&mut self) {
        if let Some(cluster) = &mut self.cluster
            && cluster.presence.waits()
            && !std::mem::replace(&mut cluster.presence.timer_set, true)
        {
            self.wheel.insert(self.now.mono_ms + TELL_EVERY_MS, ChatTimer::Elsewhere);
        }
    }

    pub(in super::super) fn elsewhere_timer_fired(&mut self, out: &mut Vec<Action>) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.presence.timer_set = false;
        if !self.stopping {
            self.tell_moves(out);
        }
        self.fade();
        self.sweep_doubted();
        if self.cluster.as_ref().is_some_and(|cluster| cluster.presence.is_wanted) {
            self.ask_who_is_present(out);
        }
        self.arm_elsewhere();
    }

    /// Tells the other nodes who has come and gone.
    fn tell_moves(&mut self, out: &mut Vec<Action>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        let listeners: Vec<Incarnation> = presence.listeners.keys().copied().collect();
        if std::mem::take(&mut presence.tells_all) {
            return self.tell_all_present(&listeners, out);
        }
        let (due, later) = std::mem::take(&mut presence.moves).into_iter().partition(|(_, one)| one.due_ms <= now_ms);
        presence.moves = later;
        let due: BTreeMap<UserName, PresenceMove> = due;
        let (mut moved, mut bytes) = (Vec::new(), 0);
        for (name, PresenceMove { was_here, friends, .. }) in due {
            let user = self.users.find(name.as_str()).filter(|user| self.users.is_here(*user));
            if user.is_none() && !was_here {
                // Nobody knew. One who has come back may have been on another node meanwhile.
                continue;
            }
            let friends = user.map_or(friends, |user| self.names_of_friends(user));
            bytes += name.as_str().len() + friends.iter().map(|friend| 2 + friend.as_str().len()).sum::<usize>();
            moved.push(PresenceUpdate { user: name, is_online: user.is_some(), friends });
            if bytes >= MOVED_BYTES_MAX {
                self.say_moved(&listeners, std::mem::take(&mut moved), out);
                bytes = 0;
            }
        }
        self.say_moved(&listeners, moved, out);
    }

    fn say_moved(&mut self, listeners: &[Incarnation], moved: Vec<PresenceUpdate>, out: &mut Vec<Action>) {
        if moved.is_empty() {
            return;
        }
        for &to in listeners {
            let number = self.next_of_presence(to);
            out.push(Action::Send { to, record: NodeRecord::Moved { number, users: moved.clone() } });
        }
    }

    /// Users of another node have come and gone.
    pub(super) fn moved_there(&mut self, from: Incarnation, moved: Vec<PresenceUpdate>) {
        for PresenceUpdate { user, is_online, friends } in moved {
            let (hash, id) = (self.users.hash(user.as_str()), self.users.find(user.as_str()));
            let is_here = id.is_some_and(|id| self.users.is_here(id));
            let Some(cluster) = &mut self.cluster else { return };
            let there = &mut cluster.presence.there;
            if is_online && !is_here {
                there.insert((hash, from.node));
            } else if !is_online {
                there.remove(&(hash, from.node));
            }
            let Some(about) = id else { continue };
            for friend in friends {
                if let Some(friend) = self.users.find(friend.as_str()) {
                    self.owe_presence(friend, about);
                }
            }
        }
    }

    /// Another node tells all its users.
    pub(super) fn present_there(&mut self, from: Incarnation, (is_first, is_last): (bool, bool), users: &[u64]) {
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        if is_first {
            presence.coming.insert(from, HashSet::new());
        }
        let Some(coming) = presence.coming.get_mut(&from) else { return };
        coming.extend(users);
        if !is_last {
            return;
        }
        let now = presence.coming.remove(&from).unwrap_or_default();
        if let Some(asked) = presence.asked.get_mut(&from) {
            asked.has_answered = true;
        }
        presence.fading.remove(&from.node);
        let RemotePresence { there, doubted, .. } = presence;
        there.retain(|(hash, node)| {
            let stays = *node != from.node || now.contains(hash);
            if !stays {
                doubted.insert(*hash);
            }
            stays
        });
        for hash in now {
            if there.insert((hash, from.node)) {
                doubted.insert(hash);
            }
        }
        // One who is here now is not there any more, whatever that node thinks.
        let here = self.users.iter().filter(|(_, user, _)| user.is_here());
        for (_, user, _) in here {
            presence.is_here(self.users.hash(user.name.as_str()));
        }
        self.begin_presence_sweep();
    }

    /// The users of nodes that have died are nowhere, if they have not come elsewhere meanwhile.
    fn fade(&mut self) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let RemotePresence { fading, there, doubted, .. } = &mut cluster.presence;
        let due = |(node, due_ms): (&NodeId, &u64)| (*due_ms <= now_ms).then_some(*node);
        let faded: Vec<NodeId> = fading.iter().filter_map(due).collect();
        fading.retain(|node, _| !faded.contains(node));
        if faded.is_empty() {
            return;
        }
        there.retain(|(hash, node)| {
            let is_faded = faded.contains(node);
            if is_faded {
                doubted.insert(*hash);
            }
            !is_faded
        });
        self.begin_presence_sweep();
    }

    fn begin_presence_sweep(&mut self) {
        let watching = self.users_who_watch();
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        if presence.doubted.is_empty() {
            return;
        }
        if presence.sweep.is_empty() {
            presence.sweep = watching.into();
            presence.sweep_at_once = (presence.sweep.len() / SWEEP_PARTS).max(SWEEP_AT_ONCE_MIN);
        } else {
            presence.sweeps_again = true;
        }
        self.arm_elsewhere();
    }

    /// Tells some of those who watch what was in doubt about their friends.
    fn sweep_doubted(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let presence = &mut cluster.presence;
        let count = presence.sweep_at_once.min(presence.sweep.len());
        let some: Vec<UserId> = presence.sweep.drain(..count).collect();
        let mut owed = Vec::new();
        for user in some {
            // Their place may be somebody else's by now, or nobody's.
            let friends = self.users.at(user.slot()).map(|entry| &*entry.friends).unwrap_or_default();
            let is_doubted = |friend: &UserId| {
                let hash = self.users.hash(self.users.get(*friend).name.as_str());
                presence.doubted.contains(&hash)
            };
            owed.extend(friends.iter().filter(|friend| is_doubted(friend)).map(|friend| (user, *friend)));
        }
        if presence.sweep.is_empty() {
            if std::mem::take(&mut presence.sweeps_again) {
                self.begin_presence_sweep();
            } else {
                presence.doubted.clear();
            }
        }
        for (to, about) in owed {
            self.owe_presence(to, about);
        }
    }
}
