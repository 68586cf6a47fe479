//! The users in memory: interned names, the connection of each user who is online, and their
//! friends.
//!
//! A user is in the table as long as something refers to them: a connection, a friend's list, a
//! delivery, a job. Only this module answers where a user is: see [`UserRoute`].

use super::contract::ConnId;
use super::dedup::DedupWindow;
use super::ids::{LoginStageTicket, UserSlot};
use super::unacked_push_list::UnackedPushList;
use crate::protocol::field::{RESERVED_NAME, UserName};
use hashbrown::HashTable;
use slab::Slab;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Where a user is. Callers match on all variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserRoute {
    /// Online, on this connection.
    Here(ConnId),
    /// On no connection of this server: pushes for the user go to the store.
    Away,
    /// On no connection of this node, but another node is known to which messages for the user may
    /// be handed over.
    Elsewhere,
}

impl UserRoute {
    /// The connection, if the user is online here.
    pub(super) fn local_conn(self) -> Option<ConnId> {
        match self {
            Self::Here(conn) => Some(conn),
            Self::Away | Self::Elsewhere => None,
        }
    }
}

fn hash_with(keyed: &DefaultHasher, name: &str) -> u64 {
    let mut hasher = keyed.clone();
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// The state of one user in the core.
#[derive(Debug)]
pub(super) struct UserState {
    pub(super) name: UserName,
    /// Where the user is. Read by [`UserState::route`] only.
    route: UserRoute,
    /// Their friends, sorted; only kept while they are online.
    pub(super) friends: Box<[UserSlot]>,
    /// Their ACK list; released when it has been empty for a while.
    pub(super) list: Option<Box<UnackedPushList>>,
    /// The user's log-ins whose friends and first page are being read, and the changes meanwhile.
    pub(super) loading: Option<Box<LoadingLoginsOfUser>>,
    /// Their dedup window.
    pub(super) dedup: Option<Box<DedupWindow>>,
    refs: u32,
}

impl UserState {
    /// Where are they?
    pub(super) fn route(&self) -> UserRoute {
        self.route
    }

    /// Are they online on this server?
    pub(super) fn is_here(&self) -> bool {
        self.route().local_conn().is_some()
    }
}

/// The log-ins of one user that load, or wait for their turn to load.
#[derive(Debug, Default)]
pub(super) struct LoadingLoginsOfUser {
    /// The number of log-ins that are loading.
    pub(super) count: u32,
    /// Log-ins with a good credential, in order, that wait for their turn to load.
    waiting_logins: VecDeque<LoginStageTicket>,
    /// Friendships that began (`true`) or ended since the first load was submitted; for each friend
    /// the last change.
    pub(super) changes: Vec<(UserSlot, bool)>,
}

#[cfg(debug_assertions)]
impl LoadingLoginsOfUser {
    /// The log-ins that wait for their turn to load.
    pub(super) fn waiting(&self) -> impl Iterator<Item = LoginStageTicket> + '_ {
        self.waiting_logins.iter().copied()
    }
}
/// The memory of a user in bytes: the entry, a name of usual length, and a slot in the table of
/// names.
const USER_BYTES: usize = size_of::<UserState>() + 48;

/// All users that something refers to.
#[derive(Debug)]
pub(super) struct Users {
    slab: Slab<UserState>,
    by_name: HashTable<u32>,
    /// A keyed hasher, so that clients cannot choose names that collide.
    name_hasher: DefaultHasher,
    /// The total number of friends on all users' lists.
    friends_len: usize,
}

impl Users {
    pub(super) fn new(hash_key: [u64; 2]) -> Self {
        let mut keyed = DefaultHasher::new();
        hash_key.hash(&mut keyed);
        Self { slab: Slab::new(), by_name: HashTable::new(), name_hasher: keyed, friends_len: 0 }
    }

    /// A keyed hash of a name: clients cannot predict it.
    pub(super) fn hash(&self, name: &str) -> u64 {
        hash_with(&self.name_hasher, name)
    }

    pub(super) fn find(&self, name: &str) -> Option<UserSlot> {
        self.find_hashed(self.hash(name), name)
    }

    /// Like `find`, for a caller that has the [`hash`](Self::hash) of the name already.
    pub(super) fn find_hashed(&self, hash: u64, name: &str) -> Option<UserSlot> {
        let slab = &self.slab;
        self.by_name
            .find(hash, |&slot| slab[slot as usize].name.as_str() == name)
            .map(|&slot| UserSlot::of(slot as usize))
    }

    /// Finds or adds a user and counts a reference to them.
    pub(super) fn retain_by_name(&mut self, name: &UserName) -> UserSlot {
        if let Some(user) = self.find(name.as_str()) {
            self.retain(user);
            return user;
        }
        let hash = self.hash(name.as_str());
        let slot = self.slab.insert(UserState {
            name: name.clone(),
            route: UserRoute::Away,
            friends: Box::default(),
            list: None,
            loading: None,
            dedup: None,
            refs: 1,
        }) as u32;
        let (slab, keyed) = (&self.slab, &self.name_hasher);
        self.by_name.insert_unique(hash, slot, |&slot| hash_with(keyed, slab[slot as usize].name.as_str()));
        UserSlot::of(slot as usize)
    }

    /// Counts one more reference.
    pub(super) fn retain(&mut self, user: UserSlot) {
        self.slab[user.slot()].refs += 1;
    }

    /// Releases a reference.
    pub(super) fn release(&mut self, user: UserSlot) {
        let entry = &mut self.slab[user.slot()];
        debug_assert!(entry.refs > 0, "released more often than retained");
        entry.refs = entry.refs.saturating_sub(1);
        self.evict_unused(user);
    }

    /// Evicts a user without references.
    pub(super) fn evict_unused(&mut self, user: UserSlot) {
        let entry = &self.slab[user.slot()];
        let needed = entry.refs > 0
            || entry.is_here()
            || entry.list.is_some()
            || entry.loading.is_some()
            || entry.dedup.is_some();
        if needed {
            return;
        }
        debug_assert!(entry.friends.is_empty(), "friends are kept only while online");
        let hash = self.hash(entry.name.as_str());
        if let Ok(found) = self.by_name.find_entry(hash, |&slot| slot as usize == user.slot()) {
            found.remove();
        }
        self.slab.remove(user.slot());
    }

    pub(super) fn get(&self, user: UserSlot) -> &UserState {
        &self.slab[user.slot()]
    }

    pub(super) fn get_mut(&mut self, user: UserSlot) -> &mut UserState {
        &mut self.slab[user.slot()]
    }

    /// The user in this slot of the table, if there is one.
    pub(super) fn at(&self, place: usize) -> Option<&UserState> {
        self.slab.get(place)
    }

    /// One more than the greatest slot that may be used.
    pub(super) fn places_end(&self) -> usize {
        self.slab.capacity()
    }

    /// Where is this user?
    pub(super) fn route(&self, user: UserSlot) -> UserRoute {
        self.get(user).route()
    }

    /// Is this user online on this server?
    pub(super) fn is_here(&self, user: UserSlot) -> bool {
        self.get(user).is_here()
    }

    /// From now on the user is on this connection. Returns where the user was before.
    pub(super) fn set_route_here(&mut self, user: UserSlot, conn: ConnId) -> UserRoute {
        std::mem::replace(&mut self.get_mut(user).route, UserRoute::Here(conn))
    }

    /// The user is on no connection any more.
    pub(super) fn set_route_away(&mut self, user: UserSlot) {
        self.get_mut(user).route = UserRoute::Away;
    }

    /// Notes that the user, who is not here, is on another node.
    pub(super) fn set_route_elsewhere(&mut self, user: UserSlot) {
        debug_assert!(!self.is_here(user), "a user is in one place");
        self.get_mut(user).route = UserRoute::Elsewhere;
    }

    /// Forgets that the user is on another node.
    pub(super) fn clear_route_elsewhere(&mut self, user: UserSlot) {
        if self.route(user) == UserRoute::Elsewhere {
            self.set_route_away(user);
        }
    }

    pub(super) fn are_friends(&self, user: UserSlot, other: UserSlot) -> bool {
        self.get(user).friends.binary_search(&other).is_ok()
    }

    /// Sets the friends of a user as the store gave them, and applies the changes since the
    /// request.
    pub(super) fn set_friends(&mut self, user: UserSlot, names: &[UserName]) {
        let before = std::mem::take(&mut self.get_mut(user).friends);
        // Messages from `system` are notices of the operator. So an account with that name must
        // have no friends: they would take its messages for notices.
        let is_system = |name: &UserName| name.as_str() == RESERVED_NAME;
        let names = if is_system(&self.get(user).name) { &[] } else { names };
        let names = names.iter().filter(|name| !is_system(name));
        let mut friends: Vec<UserSlot> = names.map(|name| self.retain_by_name(name)).collect();
        friends.sort_unstable();
        self.friends_len = self.friends_len + friends.len() - before.len();
        self.get_mut(user).friends = friends.into();
        let changes = match &mut self.get_mut(user).loading {
            Some(loading) => loading.changes.clone(),
            None => Vec::new(),
        };
        for (other, friends) in changes {
            self.change_friend(user, other, friends);
        }
        // Release the former friends last, so that users who remain friends keep their slots.
        before.into_iter().for_each(|friend| self.release(friend));
    }

    /// Releases a user's friends: the user went offline.
    pub(super) fn release_friends(&mut self, user: UserSlot) {
        for friend in self.take_friends(user) {
            self.release(friend);
        }
    }

    /// Like `release_friends`, but gives the friends to the caller, who must release each of them.
    pub(super) fn take_friends(&mut self, user: UserSlot) -> Vec<UserSlot> {
        let friends = std::mem::take(&mut self.get_mut(user).friends);
        self.friends_len -= friends.len();
        friends.into_vec()
    }

    /// Notes for one of the two users that a friendship began or ended, if that user is online or
    /// loading.
    pub(super) fn note_friend(&mut self, user: UserSlot, other: UserSlot, friends: bool) {
        if let Some(loading) = &mut self.get_mut(user).loading {
            // A pair that begins and ends a friendship again and again takes no more room than one
            // that does so once.
            match loading.changes.iter_mut().find(|(known, _)| *known == other) {
                Some((_, last)) => *last = friends,
                None => {
                    loading.changes.push((other, friends));
                    self.retain(other);
                }
            }
        }
        if self.is_here(user) {
            self.change_friend(user, other, friends);
        }
    }

    fn change_friend(&mut self, user: UserSlot, other: UserSlot, friends: bool) {
        let mut list = std::mem::take(&mut self.get_mut(user).friends).into_vec();
        match (list.binary_search(&other), friends) {
            (Err(place), true) => {
                list.insert(place, other);
                self.friends_len += 1;
                self.retain(other);
            }
            (Ok(place), false) => {
                list.remove(place);
                self.friends_len -= 1;
                self.release(other);
            }
            _ => {}
        }
        self.get_mut(user).friends = list.into();
    }

    /// One more log-in of this user is loading.
    pub(super) fn loading_begins(&mut self, user: UserSlot) {
        self.get_mut(user).loading.get_or_insert_default().count += 1;
    }

    /// One log-in of this user has finished loading; `true` if it was the last one.
    pub(super) fn loading_ends(&mut self, user: UserSlot) -> bool {
        let Some(loading) = &mut self.get_mut(user).loading else {
            debug_assert!(false, "ended more often than begun");
            return true;
        };
        loading.count -= 1;
        if loading.count > 0 {
            return false;
        }
        let changes = self.get_mut(user).loading.take().map(|loading| loading.changes).unwrap_or_default();
        for (other, _) in changes {
            self.release(other);
        }
        true
    }

    /// Lets a log-in wait for its turn to load; `false` if as many wait as allowed. Before that,
    /// removes the waiting log-ins whose clients do not await them any more.
    pub(super) fn wait_to_load(
        &mut self,
        user: UserSlot,
        login: LoginStageTicket,
        waiting_max: usize,
        is_awaited: impl FnMut(&LoginStageTicket) -> bool,
    ) -> bool {
        let Some(loading) = &mut self.get_mut(user).loading else {
            debug_assert!(false, "there is nothing to wait for");
            return false;
        };
        if loading.waiting_logins.len() >= waiting_max {
            loading.waiting_logins.retain(is_awaited);
        }
        let has_room = loading.waiting_logins.len() < waiting_max;
        if has_room {
            loading.waiting_logins.push_back(login);
        }
        has_room
    }

    /// The log-in whose turn it is to load.
    pub(super) fn next_to_load(&mut self, user: UserSlot) -> Option<LoginStageTicket> {
        self.get_mut(user).loading.as_mut()?.waiting_logins.pop_front()
    }

    /// The memory of the users in bytes, without their ACK lists and dedup windows.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slab.len() * USER_BYTES + self.friends_len * size_of::<UserSlot>()
    }

    /// The total number of friends on all users' lists.
    #[cfg(debug_assertions)]
    pub(super) fn friends_len(&self) -> usize {
        self.friends_len
    }

    /// All users in the order of their slots, with their reference counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (UserSlot, &UserState, u32)> + '_ {
        self.slab.iter().map(|(slot, user)| (UserSlot::of(slot), user, user.refs))
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }
}
