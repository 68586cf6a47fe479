//! Trusted addresses, from which a user logged in by password recently: wrong passwords from
//! elsewhere do not lock the user out there.

use hashbrown::HashTable;

/// The largest number of trusted addresses of one user, one for each remainder of the address key:
/// a user who logs in from very many addresses replaces only their own.
pub(super) const SLOTS: u64 = 8;

/// One trusted address. There may be one for every online user, so it is small and has no pointer.
#[derive(Clone, Copy, Debug)]
struct TrustedLoginAddress {
    /// Half of the keyed hash of the user and the slot: it distinguishes some 100,000 entries well
    /// enough, and clients cannot predict it.
    key: u32,
    address_number: u32,
    /// When the user last logged in from there, in seconds of the mono clock.
    at_s: u32,
}

/// The trusted addresses of all users, in two halves. A log-in puts its entry into the young one.
/// When the young half is full, it becomes the old one, and the former old one is evicted. So the
/// entries that were unused for the longest time go first, without a search.
#[derive(Debug, Default)]
pub(super) struct TrustedLoginAddresses {
    young_entries: HashTable<TrustedLoginAddress>,
    old_entries: HashTable<TrustedLoginAddress>,
}

fn spread(key: u32) -> u64 {
    u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn seconds(now_ms: u64) -> u32 {
    // Enough for a century.
    u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX)
}

impl TrustedLoginAddresses {
    /// The memory that the table uses, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.young_entries.allocation_size() + self.old_entries.allocation_size()
    }

    /// Notes that the user logged in from this address. `hash` is that of the user and of
    /// `address_number % SLOTS`.
    pub(super) fn note(&mut self, hash: u64, address_number: u32, now_ms: u64, entries_max: usize) {
        let young_max = entries_max.div_ceil(2);
        if young_max == 0 {
            return;
        }
        let entry = TrustedLoginAddress { key: hash as u32, address_number, at_s: seconds(now_ms) };
        let same = |other: &TrustedLoginAddress| other.key == entry.key;
        if let Ok(old) = self.old_entries.find_entry(spread(entry.key), same) {
            old.remove();
        }
        if let Some(known) = self.young_entries.find_mut(spread(entry.key), same) {
            *known = entry;
            return;
        }
        if self.young_entries.len() >= young_max {
            self.old_entries = std::mem::take(&mut self.young_entries);
        }
        self.young_entries.insert_unique(spread(entry.key), entry, |entry| spread(entry.key));
    }

    /// Did the user log in from this address within `age_ms` (up to a second more)?
    pub(super) fn contains(&self, hash: u64, address_number: u32, now_ms: u64, age_ms: u64) -> bool {
        let key = hash as u32;
        let same = |other: &TrustedLoginAddress| other.key == key;
        let entry = self.young_entries.find(spread(key), same).or_else(|| self.old_entries.find(spread(key), same));
        entry.is_some_and(|entry| {
            entry.address_number == address_number
                && u64::from(seconds(now_ms).saturating_sub(entry.at_s)) <= age_ms / 1_000
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_evicts_the_longest_unused_and_old_entries_do_not_count() {
        let mut trust = TrustedLoginAddresses::default();
        for user in 1..1_000 {
            trust.note(user, 7, user, 10);
            trust.note(0, 7, user, 10);
            assert!(trust.young_entries.len() + trust.old_entries.len() <= 10);
            assert!(trust.contains(user, 7, user, 0) && trust.contains(0, 7, user, 0));
        }
        assert!(!trust.contains(1, 7, 1_000, 10_000));
        trust.note(1, 7, 50_000, 10);
        assert!(trust.contains(1, 7, 60_000, 10_000) && !trust.contains(1, 7, 61_000, 10_000));
        assert!(!trust.contains(1, 8, 50_000, 10_000));
        trust.note(1, 8, 50_000, 10);
        assert!(trust.contains(1, 8, 50_000, 0) && !trust.contains(1, 7, 50_000, 0), "one address for each slot");
        let mut none = TrustedLoginAddresses::default();
        none.note(1, 7, 0, 0);
        assert!(!none.contains(1, 7, 0, 100));
    }
}
