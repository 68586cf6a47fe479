//! From where a user logged in of late: there a stranger's wrong passwords do not shut the user out.

use std::collections::HashMap;

/// Addresses of one user: whoever logs in from very many pushes out their own, and nobody else's.
const PLACES: usize = 4;

/// An address, and when the user last logged in from there, in seconds; 0 is never.
type Place = (u32, u32);

fn seconds(now_ms: u64) -> u32 {
    // Some, since 0 is never; there are enough for a century.
    u32::try_from(now_ms / 1_000 + 1).unwrap_or(u32::MAX)
}

/// For each user the addresses used last. In two generations: who logs in stands among the young; when those are half of all that
/// may be remembered they become the old, and the old are forgotten. So the longest unused go first, and nobody ever
/// searches for them.
#[derive(Debug, Default)]
pub(super) struct Trust {
    young: HashMap<u64, [Place; PLACES]>,
    old: HashMap<u64, [Place; PLACES]>,
}

impl Trust {
    /// The user logged in from there.
    pub(super) fn note(&mut self, user: u64, place: u32, now_ms: u64, users_max: usize) {
        let young_max = users_max.div_ceil(2);
        if young_max == 0 {
            return;
        }
        let old = self.old.remove(&user);
        if !self.young.contains_key(&user) && self.young.len() >= young_max {
            self.old = std::mem::take(&mut self.young);
        }
        let places = self.young.entry(user).or_insert(old.unwrap_or_default());
        // The last used stands first.
        let known = places.iter().position(|&(known, at)| known == place && at > 0);
        places[..=known.unwrap_or(PLACES - 1)].rotate_right(1);
        places[0] = (place, seconds(now_ms));
    }

    /// Did the user log in from there within `age_ms`, or a second more?
    pub(super) fn knows(&self, user: u64, place: u32, now_ms: u64, age_ms: u64) -> bool {
        let places = self.young.get(&user).or_else(|| self.old.get(&user));
        let is_of_late = |at: u32| at > 0 && u64::from(seconds(now_ms).saturating_sub(at)) <= age_ms / 1_000;
        places.is_some_and(|places| places.iter().any(|&(known, at)| known == place && is_of_late(at)))
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
        let mut none = Trust::default();
        none.note(1, 7, 0, 0);
        assert!(!none.knows(1, 7, 0, 100));
    }

    #[test]
    fn of_each_user_the_addresses_used_last_are_known() {
        let mut trust = Trust::default();
        for place in [1, 2, 3, 4, 1, 5, 0] {
            trust.note(9, place, 0, 10);
        }
        let known: Vec<u32> = (0..10).filter(|place| trust.knows(9, *place, 0, 1_000)).collect();
        assert_eq!(known, [0, 1, 4, 5]);
    }
}
