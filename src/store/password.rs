//! Passwords: Argon2id for what is kept, and a cache of what was verified, so that a storm of
//! reconnects is cheap.

use crate::config::{ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX};
use crate::protocol::field::{Secret, UserName};
use argon2::password_hash::{Output, ParamsString, PasswordHash, SaltString};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use blake2::Blake2sMac256;
use blake2::digest::{KeyInit, Mac};
use hashbrown::HashTable;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// One line in the log each time this has passed.
const SAY_UNREADABLE_EVERY: Duration = Duration::from_secs(10);

/// Why a password could not be hashed or compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHashError {
    reason: String,
    is_stored: bool,
}

impl PasswordHashError {
    /// The stored text is not a hash that can be compared: the error is the same each time.
    #[must_use]
    pub fn is_bad_stored_hash(&self) -> bool {
        self.is_stored
    }
}

impl fmt::Display for PasswordHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for PasswordHashError {}

fn hash_error(error: impl fmt::Display) -> PasswordHashError {
    PasswordHashError { reason: error.to_string(), is_stored: false }
}

fn unreadable(error: impl fmt::Display) -> PasswordHashError {
    PasswordHashError { reason: error.to_string(), is_stored: true }
}

/// Hashes one password at a time, in memory that it keeps between runs until it is told to give it
/// back.
#[derive(Debug)]
pub struct PasswordHasher {
    params: Params,
    memory: Vec<Block>,
}

impl PasswordHasher {
    /// A hasher with these costs for new passwords. Stored ones are verified at their own.
    ///
    /// # Errors
    /// When Argon2 has no such costs.
    pub fn new(memory_kib: u32, passes: u32) -> Result<Self, PasswordHashError> {
        let params = Params::new(memory_kib, passes, 1, Some(HASH_BYTES)).map_err(hash_error)?;
        Ok(Self { params, memory: Vec::new() })
    }

    fn run(&mut self, params: Params, password: &[u8], salt: &[u8], out: &mut [u8]) -> Result<(), PasswordHashError> {
        let blocks = params.block_count();
        if self.memory.len() < blocks {
            // The memory of a large run may not be there: then this one fails, and not the server.
            self.memory.try_reserve_exact(blocks - self.memory.len()).map_err(hash_error)?;
            self.memory.resize(blocks, Block::default());
        }
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into_with_memory(password, salt, out, &mut self.memory[..blocks]).map_err(hash_error)
    }

    /// The form in which a password is stored: a PHC string with a salt of its own.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn hash(&mut self, password: &Secret) -> Result<Secret, PasswordHashError> {
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(hash_error)?;
        let mut out = [0; HASH_BYTES];
        self.run(self.params.clone(), password.expose().as_bytes(), &salt, &mut out)?;
        let salt = SaltString::encode_b64(&salt).map_err(hash_error)?;
        let phc = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&self.params).map_err(hash_error)?,
            salt: Some(salt.as_salt()),
            hash: Some(Output::new(&out).map_err(hash_error)?),
        };
        Ok(Secret::new(&phc.to_string()))
    }

    /// Does the password fit? Without anything to compare it with (an unknown user) it does not, at
    /// the same cost.
    ///
    /// # Errors
    /// When what is stored is no Argon2id hash of reasonable cost.
    pub fn verify(&mut self, password: &Secret, stored: Option<&Secret>) -> Result<bool, PasswordHashError> {
        let password = password.expose().as_bytes();
        let Some(stored) = stored else {
            let mut out = [0; HASH_BYTES];
            self.run(self.params.clone(), password, &[0; SALT_BYTES], &mut out)?;
            return Ok(false);
        };
        let stored = PasswordHash::new(stored.expose()).map_err(unreadable)?;
        if stored.algorithm != ARGON2ID_IDENT || stored.version != Some(Version::V0x13.into()) {
            return Err(unreadable("it is no Argon2id hash of version 19"));
        }
        let params = Params::try_from(&stored).map_err(unreadable)?;
        // More was not written by this server.
        if params.m_cost() > ARGON2_MEMORY_KIB_MAX || params.t_cost() > ARGON2_PASSES_MAX {
            return Err(unreadable("its cost is out of bounds"));
        }
        let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else {
            return Err(unreadable("it lacks its salt or its hash"));
        };
        let mut salt_bytes = [0; 64];
        let salt = salt.decode_b64(&mut salt_bytes).map_err(unreadable)?;
        let mut out = [0; 64];
        let out = &mut out[..expected.len()];
        self.run(params, password, salt, out)?;
        // `Output` compares in constant time.
        Ok(Output::new(out).map_err(hash_error)? == expected)
    }

    /// Gives the memory back: nobody waits to be hashed.
    pub fn release_memory(&mut self) {
        self.memory = Vec::new();
    }
}

/// Half of a MAC: to guess it takes 2^127 tries.
type PasswordMacTag = [u8; 16];

/// The answer of the cache about a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCacheResult {
    /// It is the one that was verified before.
    Fits,
    /// Another one was.
    Differs,
    /// None was.
    WithNothing,
}

/// Which passwords were verified since the start: a keyed MAC per user, bound to the hash that was
/// stored then. The key is made at the start and never written anywhere.
#[derive(Debug)]
pub struct VerifiedPasswordCache {
    key: [u8; 32],
    numbers: RandomState,
    users_max: AtomicUsize,
    tags: Mutex<VerifiedPasswordTags>,
    unreadable: Mutex<UnreadableHashLogLimiter>,
}

/// Log lines about stored passwords that cannot be read: clients may try them again and again.
#[derive(Debug, Default)]
struct UnreadableHashLogLimiter {
    last_logged: Option<Instant>,
    unlogged_count: u64,
}

impl UnreadableHashLogLimiter {
    /// The number of lines left out since the last one, if it is time for one more.
    fn count(&mut self, now: Instant) -> Option<u64> {
        if self.last_logged.is_some_and(|said| now.saturating_duration_since(said) < SAY_UNREADABLE_EVERY) {
            self.unlogged_count += 1;
            return None;
        }
        self.last_logged = Some(now);
        Some(std::mem::take(&mut self.unlogged_count))
    }
}

/// Users are remembered in two halves, the young and the old. A user who logs in is put among
/// the young. When the young are half of all that may be remembered, they become the old, and the
/// previous old ones are evicted. So the longest unused ones go first, without any search for
/// them.
///
/// A user is identified by a number that nobody outside can predict. Two users with the same number
/// replace each other here; this does no other harm, because the tag covers the name, too.
#[derive(Debug, Default)]
struct VerifiedPasswordTags {
    young_tags: HashTable<(u64, PasswordMacTag)>,
    old_tags: HashTable<(u64, PasswordMacTag)>,
}

fn find(tags: &HashTable<(u64, PasswordMacTag)>, user: u64) -> Option<PasswordMacTag> {
    tags.find(user, |&(other, _)| other == user).map(|&(_, tag)| tag)
}

impl VerifiedPasswordTags {
    fn insert(&mut self, user: u64, tag: PasswordMacTag, users_max: usize) {
        let young_max = users_max.div_ceil(2);
        if young_max == 0 {
            return;
        }
        let same = |&(other, _): &(u64, PasswordMacTag)| other == user;
        if let Ok(old) = self.old_tags.find_entry(user, same) {
            old.remove();
        }
        if let Some((_, known)) = self.young_tags.find_mut(user, same) {
            *known = tag;
            return;
        }
        if self.young_tags.len() >= young_max {
            self.old_tags = std::mem::take(&mut self.young_tags);
        }
        self.young_tags.insert_unique(user, (user, tag), |&(user, _)| user);
    }
}

impl VerifiedPasswordCache {
    /// An empty cache.
    ///
    /// # Errors
    /// When the system has no random bytes to give.
    pub fn new(users_max: usize) -> Result<Self, PasswordHashError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(hash_error)?;
        let (numbers, users_max) = (RandomState::new(), AtomicUsize::new(users_max));
        Ok(Self { key, numbers, users_max, tags: Mutex::default(), unreadable: Mutex::default() })
    }

    /// So many are remembered from now on. Of more, the longest unused are evicted as others log
    /// in.
    pub fn set_users_max(&self, users_max: usize) {
        self.users_max.store(users_max, Ordering::Relaxed);
    }

    pub(super) fn users_max(&self) -> usize {
        self.users_max.load(Ordering::Relaxed)
    }

    fn tags(&self) -> MutexGuard<'_, VerifiedPasswordTags> {
        // Tables of finished tags are whole whatever happened to the thread that held them.
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mac(&self, parts: &[&str]) -> Option<Blake2sMac256> {
        let mut mac = <Blake2sMac256 as KeyInit>::new_from_slice(&self.key).ok()?;
        for part in parts {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        Some(mac)
    }

    fn number(&self, user: &UserName) -> u64 {
        self.numbers.hash_one(user.as_str())
    }

    /// Tells the operator that a user's stored password cannot be read, but not too often.
    pub fn log_unreadable_hash(&self, user: &UserName, why: &dyn fmt::Display) {
        let unsaid = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).count(Instant::now());
        if let Some(unsaid) = unsaid {
            let (user, more) =
                (user.as_str(), if unsaid > 0 { format!(" ({unsaid} more since the last)") } else { String::new() });
            log::error!("the stored password of {user:?} cannot be read: {why}; it must be reset{more}");
        }
    }

    /// Notes that this password fits what is stored.
    pub fn remember(&self, user: &UserName, password: &Secret, stored: &Secret) {
        let Some(mac) = self.mac(&[user.as_str(), password.expose(), stored.expose()]) else {
            return;
        };
        let mac: [u8; 32] = mac.finalize().into_bytes().into();
        if let Some(tag) = mac.first_chunk() {
            self.tags().insert(self.number(user), *tag, self.users_max());
        }
    }

    /// Nothing is known of this user any more.
    pub(super) fn remove(&self, user: &UserName) {
        let (number, mut tags) = (self.number(user), self.tags());
        let VerifiedPasswordTags { young_tags, old_tags } = &mut *tags;
        for half in [young_tags, old_tags] {
            if let Ok(entry) = half.find_entry(number, |&(other, _)| other == number) {
                entry.remove();
            }
        }
    }

    /// Was this very password verified against what is stored now? Compared in constant time.
    #[must_use]
    pub fn compare(&self, user: &UserName, password: &Secret, stored: &Secret) -> PasswordCacheResult {
        let number = self.number(user);
        let (known, is_old) = {
            let tags = self.tags();
            match (find(&tags.young_tags, number), find(&tags.old_tags, number)) {
                (Some(known), _) => (known, false),
                (None, Some(known)) => (known, true),
                (None, None) => return PasswordCacheResult::WithNothing,
            }
        };
        let mac = self.mac(&[user.as_str(), password.expose(), stored.expose()]);
        let fits = mac.is_some_and(|mac| mac.verify_truncated_left(&known).is_ok());
        if fits && is_old {
            self.tags().insert(number, known, self.users_max());
        }
        if fits { PasswordCacheResult::Fits } else { PasswordCacheResult::Differs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl VerifiedPasswordCache {
        fn knows(&self, user: &UserName, password: &Secret, stored: &Secret) -> bool {
            self.compare(user, password, stored) == PasswordCacheResult::Fits
        }
    }

    #[test]
    fn a_password_fits_its_own_hash_and_no_other() {
        let mut hasher = PasswordHasher::new(8, 1).unwrap();
        let (right, other) = (Secret::new("thisisapasswordhash"), Secret::new("thisisapasswordhasH"));
        let stored = hasher.hash(&right).unwrap();
        assert!(stored.expose().starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", stored.expose());
        assert_eq!(hasher.verify(&right, Some(&stored)), Ok(true));
        assert_eq!(hasher.verify(&other, Some(&stored)), Ok(false));
        assert_eq!(hasher.verify(&right, None), Ok(false));
        assert_ne!(hasher.hash(&right).unwrap(), stored, "a salt of its own");
        // Stored at other costs: verified at those.
        let dear = PasswordHasher::new(64, 2).unwrap().hash(&right).unwrap();
        assert_eq!(hasher.verify(&right, Some(&dear)), Ok(true));
    }

    #[test]
    fn every_configurable_hash_can_be_verified() {
        let stored = |memory_kib: u32, passes: u32| {
            Secret::new(&format!("$argon2id$v=19$m={memory_kib},t={passes},p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"))
        };
        let verify = |stored| PasswordHasher::new(8, 1)?.verify(&Secret::new("x"), Some(&stored));
        assert_eq!(verify(stored(8, ARGON2_PASSES_MAX)), Ok(false));
        assert!(verify(stored(8, ARGON2_PASSES_MAX + 1)).is_err());
        assert!(verify(stored(ARGON2_MEMORY_KIB_MAX + 1, 1)).is_err());
    }

    #[test]
    fn a_malformed_hash_is_an_error_and_never_matches() {
        let mut hasher = PasswordHasher::new(8, 1).unwrap();
        for stored in [
            "",
            "plain",
            "$argon2id$v=19$m=4000000000,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        ] {
            let error = hasher.verify(&Secret::new("x"), Some(&Secret::new(stored))).unwrap_err();
            assert!(error.is_bad_stored_hash(), "{stored}");
        }
    }

    #[test]
    fn the_log_hears_of_an_unreadable_password_once_in_a_while() {
        let (mut unreadable, start) = (UnreadableHashLogLimiter::default(), Instant::now());
        assert_eq!(unreadable.count(start), Some(0));
        for _ in 0..100 {
            assert_eq!(unreadable.count(start + SAY_UNREADABLE_EVERY / 2), None);
        }
        assert_eq!(unreadable.count(start + SAY_UNREADABLE_EVERY), Some(100));
        assert_eq!(unreadable.count(start + SAY_UNREADABLE_EVERY * 2), Some(0));
    }

    #[test]
    fn the_cache_knows_which_password_was_verified_against_which_hash() {
        let cache = VerifiedPasswordCache::new(4).unwrap();
        let user = |name: &str| UserName::new(name).unwrap();
        let (password, stored) = (Secret::new("p"), Secret::new("h"));
        cache.remember(&user("ann"), &password, &stored);
        assert!(cache.knows(&user("ann"), &password, &stored));
        assert!(!cache.knows(&user("ann"), &Secret::new("q"), &stored));
        assert!(!cache.knows(&user("ann"), &password, &Secret::new("i")), "the stored hash has changed");
        assert!(!cache.knows(&user("bob"), &password, &stored));
        assert!(!VerifiedPasswordCache::new(4).unwrap().knows(&user("ann"), &password, &stored));
    }

    #[test]
    fn the_cache_is_bounded_and_evicts_the_longest_unused() {
        let cache = VerifiedPasswordCache::new(4).unwrap();
        let user = |name: &str| UserName::new(name).unwrap();
        let (password, stored) = (Secret::new("p"), Secret::new("h"));
        for number in 0..100 {
            let name = user(&format!("user {number}"));
            cache.remember(&name, &password, &stored);
            cache.remember(&name, &password, &stored);
            if number == 0 {
                cache.remember(&user("ann"), &password, &stored);
            }
            assert!(cache.knows(&name, &password, &stored));
            assert!(cache.knows(&user("ann"), &password, &stored) || number == 0, "used all the time");
            let tags = cache.tags();
            assert!(tags.young_tags.len() + tags.old_tags.len() <= 4);
        }
        assert!(!cache.knows(&user("user 0"), &password, &stored));
        let none = VerifiedPasswordCache::new(0).unwrap();
        none.remember(&user("ann"), &password, &stored);
        assert!(!none.knows(&user("ann"), &password, &stored));
    }
}
