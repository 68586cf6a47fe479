//! The users whose nodes are told to look and have not confirmed it, each with the senders of the
//! pushes in question. If such a sender moves on, their next node must know.

use crate::protocol::field::UserName;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The memory of a sender of one receiver, in both tables.
const PAIR_BYTES: usize = 64;

/// The latest record about one user.
#[derive(Debug)]
struct RereadNoticeAwaitingNodeConfirm {
    /// Its serial in the link.
    serial: u64,
    /// Stays the same as long as the user is in the table.
    number: u64,
    /// The hashes of the senders' names.
    senders: Vec<u64>,
}

/// The records of one link.
#[derive(Debug, Default)]
pub(super) struct RereadNoticesAwaitingNodeConfirm {
    latest: HashMap<UserName, RereadNoticeAwaitingNodeConfirm>,
    /// The users by their numbers.
    users: BTreeMap<u64, UserName>,
    /// Each sender with the numbers of the users.
    by_sender: BTreeSet<(u64, u64)>,
}

impl RereadNoticesAwaitingNodeConfirm {
    /// The serial of the latest record about this user.
    pub(super) fn serial_of(&self, user: &UserName) -> Option<u64> {
        self.latest.get(user).map(|look| look.serial)
    }

    /// A later record about this user covers the earlier one.
    pub(super) fn insert(&mut self, user: &UserName, serial: u64) {
        if let Some(look) = self.latest.get_mut(user) {
            look.serial = serial;
            return;
        }
        self.latest
            .insert(user.clone(), RereadNoticeAwaitingNodeConfirm { serial, number: serial, senders: Vec::new() });
        self.users.insert(serial, user.clone());
    }

    /// The latest record is also about pushes of this sender.
    pub(super) fn add_sender(&mut self, user: &UserName, sender: u64) {
        if let Some(look) = self.latest.get_mut(user)
            && self.by_sender.insert((sender, look.number))
        {
            look.senders.push(sender);
        }
    }

    /// This record was confirmed. If it is the latest one about the user, they have looked.
    pub(super) fn remove(&mut self, user: &UserName, serial: u64) {
        if self.serial_of(user) != Some(serial) {
            return;
        }
        let Some(look) = self.latest.remove(user) else { return };
        self.users.remove(&look.number);
        for sender in look.senders {
            self.by_sender.remove(&(sender, look.number));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The users whose nodes have not confirmed that they look for pushes of this sender.
    pub(super) fn receivers_of(&self, sender: u64) -> impl Iterator<Item = &UserName> {
        let numbers = self.by_sender.range((sender, u64::MIN)..=(sender, u64::MAX));
        numbers.filter_map(|(_, number)| self.users.get(number))
    }

    /// The memory of the senders.
    pub(super) fn memory_bytes(&self) -> usize {
        self.by_sender.len() * PAIR_BYTES
    }

    #[cfg(debug_assertions)]
    pub(super) fn check(&self, is_kept: impl Fn(u64) -> bool) {
        assert_eq!(self.latest.len(), self.users.len());
        assert_eq!(self.by_sender.len(), self.latest.values().map(|look| look.senders.len()).sum::<usize>());
        for (user, look) in &self.latest {
            assert!(is_kept(look.serial), "no record is kept for {user}");
            assert_eq!(self.users.get(&look.number), Some(user));
            assert!(look.senders.iter().all(|&sender| self.by_sender.contains(&(sender, look.number))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_remembered_until_the_latest_look_is_confirmed() {
        let [ann, bob] = ["ann", "bob"].map(|name| UserName::new(name).unwrap());
        let mut looks = RereadNoticesAwaitingNodeConfirm::default();
        let of =
            |looks: &RereadNoticesAwaitingNodeConfirm, sender| looks.receivers_of(sender).cloned().collect::<Vec<_>>();
        looks.insert(&ann, 1);
        looks.add_sender(&ann, 7);
        looks.add_sender(&ann, 7);
        looks.insert(&bob, 2);
        looks.add_sender(&bob, 7);
        looks.add_sender(&bob, 8);
        looks.insert(&ann, 3);
        assert_eq!((of(&looks, 7), of(&looks, 8)), (vec![ann.clone(), bob.clone()], vec![bob.clone()]));
        looks.check(|serial| [2, 3].contains(&serial));
        looks.remove(&ann, 1);
        assert_eq!(of(&looks, 7), [ann.clone(), bob.clone()], "there is a later one");
        looks.remove(&ann, 3);
        assert_eq!(of(&looks, 7), vec![bob.clone()]);
        looks.remove(&bob, 2);
        assert_eq!(looks.memory_bytes(), 0);
        looks.check(|_| false);
        looks.add_sender(&bob, 8);
        assert_eq!(of(&looks, 8), [], "nothing is kept for Bob");
    }
}
