//! The addresses from which a user logged in by password recently: there a stranger's wrong
//! passwords do not lock the user out.

use hashbrown::HashTable;

/// Places of one user, one for each remainder of its number: a user who logs in from very many
/// pushes out their own, and nobody else's.
pub(super) const SLOTS: u64 = 8;

/// There may be one for everybody who is online: small, and without a pointer.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Half of the hash of the user and the slot, which tells some 100,000 apart well enough, and
    /// which nobody outside can foresee.
    key: u32,
    place: u32,
    /// When the user last logged in from there, in seconds.
    at_s: u32,
}

/// A log-in puts its entry among the young. When those are half of all that may be remembered, they
/// become the old, and the former old are dropped. So the longest unused go first, without a
/// search.
#[derive(Debug, Default)]
pub(super) struct Trust {
    young: HashTable<Entry>,
    old: HashTable<Entry>,
}

fn spread(key: u32) -> u64 {
    u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn seconds(now_ms: u64) -> u32 {
    // Enough for a century.
    u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX)
}

impl Trust {
    /// The memory that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.young.allocation_size() + self.old.allocation_size()
    }

    /// The user logged in from there. `hash` is that of the user and of `place % SLOTS`.
    pub(super) fn note(&mut self, hash: u64, place: u32, now_ms: u64, entries_max: usize) {
        let young_max = entries_max.div_ceil(2);
        if young_max == 0 {
            return;
        }
        let entry = Entry { key: hash as u32, place, at_s: seconds(now_ms) };
        let same = |other: &Entry| other.key == entry.key;
        if let Ok(old) = self.old.find_entry(spread(entry.key), same) {
            old.remove();
        }
        if let Some(known) = self.young.find_mut(spread(entry.key), same) {
            *known = entry;
            return;
        }
        if self.young.len() >= young_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert_unique(spread(entry.key), entry, |entry| spread(entry.key));
    }

    /// Did the user log in from there within `age_ms`, or a second more?
    pub(super) fn knows(&self, hash: u64, place: u32, now_ms: u64, age_ms: u64) -> bool {
        let key = hash as u32;
        let same = |other: &Entry| other.key == key;
        let entry = self.young.find(spread(key), same).or_else(|| self.old.find(spread(key), same));
        entry.is_some_and(|entry| {
            entry.place == place && u64::from(seconds(now_ms).saturating_sub(entry.at_s)) <= age_ms / 1_000
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_forgets_the_longest_unused_and_what_is_too_old() {
        let mut trust = Trust::default();
        for user in 1..1_000 {
            trust.note(user, 7, user, 10);
            trust.note(0, 7, user, 10);
            assert!(trust.young.len() + trust.old.len() <= 10);
            assert!(trust.knows(user, 7, user, 0) && trust.knows(0, 7, user, 0));
        }
        assert!(!trust.knows(1, 7, 1_000, 10_000));
        trust.note(1, 7, 50_000, 10);
        assert!(trust.knows(1, 7, 60_000, 10_000) && !trust.knows(1, 7, 61_000, 10_000));
        assert!(!trust.knows(1, 8, 50_000, 10_000));
        trust.note(1, 8, 50_000, 10);
        assert!(trust.knows(1, 8, 50_000, 0) && !trust.knows(1, 7, 50_000, 0), "one of each slot");
        let mut none = Trust::default();
        none.note(1, 7, 0, 0);
        assert!(!none.knows(1, 7, 0, 100));
    }
}
