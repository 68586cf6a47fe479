//! The budgets of tries: which client may try a password, and how often.
//!
//! A try reserves its place in every budget before anything is compared, and gives it back if the
//! credential is good or nothing was compared. So many connections at once cannot overrun a budget,
//! and when one is used up nothing is compared, whatever is cached.
//!
//! A try counts against its connection, its address, and
//!
//! - where the user logged in by password recently (a trusted address): a budget of the user at
//!   that address, and no other; a log-in by token there keeps it trusted,
//! - elsewhere: a budget of the user at that address, and the user's budget for all such addresses.
//!
//! All budgets are checked before a place is reserved: a try that an inner budget refuses does not
//! use up an outer one. So a single address can use up its own budget for a user but not the
//! user's, and does not lock out the owner at another address. Many addresses together can use up
//! the user's budget; log-ins from trusted addresses and by resume token still work then. Loopback
//! has no limit per address; users have a separate budget there, so that other addresses and
//! loopback never lock each other out.
//!
//! A password is first compared with the user's remembered one, if there is one, and hashed only if
//! they differ. A guess that differs and then finds no place to be hashed (or whose client does not
//! wait) was compared all the same, but must not be counted as a wrong password: a guess at an
//! unknown user would not be, so the answers would tell which users logged in recently. Such
//! unhashed guesses have budgets of their own, with the same keys and paces. That of an address
//! counts every try that was not hashed, with or without a remembered password, since all users
//! share it. When a budget is used up, the next tries are not compared with the remembered
//! password, as if there were none.
//!
//! So whether a user exists makes no difference to any of this.

use super::contract::{AddressKey, ClientLimitKind, ConnId, CoreSettings};
use super::session::ConnectionSession;
use super::throttle::{RateLimit, Throttle};
use super::trust::{SLOTS, TrustedLoginAddresses};
use crate::protocol::field::UserName;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The number of unsettled tries from one address, or for one user there, up to which a try is
/// unsuspected: unsettled ones may all be wrong. It allows a few users behind one address to log in
/// at once.
const UNSETTLED_MAX: u32 = 4;

/// The budgets against which a try counts, besides those of its connection and its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialTryClass {
    /// A resume token cannot be guessed: only invalid tokens on one connection are counted.
    Token,
    /// The user logged in from there recently.
    Trusted,
    Untrusted,
}

/// A try that was admitted. It must be settled exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AdmittedTry {
    pub(super) conn: ConnId,
    pub(super) address_key: Option<AddressKey>,
    pub(super) kind: CredentialTryClass,
    /// It may be compared with the remembered password.
    pub(super) uses_cache: bool,
    /// The password must be hashed: it counts as unhashed for its address if it never is.
    pub(super) must_be_hashed: bool,
    /// The password differs from the remembered one: it also counts for its user then.
    pub(super) differs_from_verified: bool,
}

/// The outcome of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CredentialTryOutcome {
    Right,
    Wrong,
    /// Nothing was compared.
    NotMade,
}

/// The guesses that were counted, in each of their budgets.
#[derive(Debug, Default)]
struct GuessThrottles {
    /// Of each user: from all untrusted addresses but loopback, and separately from loopback.
    by_user: Throttle,
    /// Of each user at each address, trusted or not; at loopback only when it is trusted.
    by_user_and_address: Throttle,
    by_address: Throttle,
}

/// The budgets of tries, and the trusted addresses.
#[derive(Debug)]
pub(super) struct AuthAttemptLimiter {
    /// A keyed hasher, so that clients cannot choose names that collide.
    name_hasher: DefaultHasher,
    wrong: GuessThrottles,
    /// They differ from the remembered password and were never hashed.
    unhashed: GuessThrottles,
    sign_ups_by_address: Throttle,
    trust: TrustedLoginAddresses,
    /// Tries that are admitted and not settled.
    #[cfg(debug_assertions)]
    open: usize,
}

fn number(address_key: Option<AddressKey>) -> u64 {
    address_key.map_or(0, |address_key| u64::from(address_key.0.get()))
}

/// The budgets of a try: for each its throttle, the key there, and its pace.
struct TryBudgets {
    user: Option<(u64, RateLimit)>,
    user_at_address: Option<(u64, RateLimit)>,
    address: Option<(u64, RateLimit)>,
}

impl TryBudgets {
    /// The budgets of the user, and that of the address.
    fn parts(&self) -> (Self, Self) {
        let &Self { user, user_at_address, address } = self;
        (Self { user, user_at_address, address: None }, Self { user: None, user_at_address: None, address })
    }
}

impl GuessThrottles {
    fn memory_bytes(&self) -> usize {
        [&self.by_user, &self.by_user_and_address, &self.by_address].into_iter().map(Throttle::memory_bytes).sum()
    }

    fn for_each(&mut self, budgets: &TryBudgets, mut change: impl FnMut(&mut Throttle, u64, RateLimit)) {
        let throttles = [&mut self.by_user, &mut self.by_user_and_address, &mut self.by_address];
        for (throttle, budget) in throttles.into_iter().zip([budgets.user, budgets.user_at_address, budgets.address]) {
            if let Some((key, pace)) = budget {
                change(throttle, key, pace);
            }
        }
    }

    /// A guess may follow. [`settle`](Self::settle) ends it.
    fn reserve(&mut self, budgets: &TryBudgets) {
        self.for_each(budgets, |throttle, key, _| throttle.reserve(key));
    }

    fn settle(&mut self, budgets: &TryBudgets, counts: bool, now_ms: u64, keys_max: usize) {
        self.for_each(budgets, |throttle, key, pace| throttle.settle(key, counts, now_ms, pace, keys_max));
    }

    /// The first budget that is used up, if one is.
    fn exhausted_budget(&self, budgets: &TryBudgets, kind: CredentialTryClass, now_ms: u64) -> Option<ClientLimitKind> {
        let is_open = |throttle: &Throttle, budget: Option<(u64, RateLimit)>| {
            budget.is_none_or(|(key, pace)| throttle.is_open(key, now_ms, pace))
        };
        if !is_open(&self.by_address, budgets.address) {
            Some(ClientLimitKind::PasswordsPerAddress)
        } else if !is_open(&self.by_user_and_address, budgets.user_at_address) {
            let is_trusted = kind == CredentialTryClass::Trusted;
            Some(if is_trusted {
                ClientLimitKind::PasswordsPerTrustedAddress
            } else {
                ClientLimitKind::PasswordsPerUserAndAddress
            })
        } else if !is_open(&self.by_user, budgets.user) {
            Some(ClientLimitKind::PasswordsPerUser)
        } else {
            None
        }
    }
}

impl AuthAttemptLimiter {
    pub(super) fn new(hash_key: [u64; 2]) -> Self {
        let mut keyed = DefaultHasher::new();
        hash_key.hash(&mut keyed);
        Self {
            name_hasher: keyed,
            wrong: GuessThrottles::default(),
            unhashed: GuessThrottles::default(),
            sign_ups_by_address: Throttle::default(),
            trust: TrustedLoginAddresses::default(),
            #[cfg(debug_assertions)]
            open: 0,
        }
    }

    /// A keyed hash of a name at an address: clients cannot predict it.
    fn hash_at(&self, name: &str, address_number: u64) -> u64 {
        let mut hasher = self.name_hasher.clone();
        hasher.write(name.as_bytes());
        hasher.write_u64(address_number);
        hasher.finish()
    }

    #[cfg(debug_assertions)]
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// The memory that it uses, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let guesses = self.wrong.memory_bytes() + self.unhashed.memory_bytes();
        guesses + self.sign_ups_by_address.memory_bytes() + self.trust.memory_bytes()
    }

    fn budgets(
        &self,
        user: &UserName,
        address_key: Option<AddressKey>,
        kind: CredentialTryClass,
        rules: &CoreSettings,
    ) -> TryBudgets {
        let (name, address_number) = (user.as_str(), number(address_key));
        let user_pace = RateLimit {
            burst: rules.wrong_passwords_per_user_max,
            every_ms: rules.wrong_password_per_user_forgotten_after_ms,
        };
        let there_pace = RateLimit {
            burst: rules.wrong_passwords_per_user_and_address_max,
            every_ms: rules.wrong_password_per_user_and_address_forgotten_after_ms,
        };
        let trusted_pace = RateLimit {
            burst: rules.wrong_passwords_per_trusted_address_max,
            every_ms: rules.wrong_password_per_trusted_address_forgotten_after_ms,
        };
        let address_pace = RateLimit {
            burst: rules.wrong_passwords_per_address_max,
            every_ms: rules.wrong_password_per_address_forgotten_after_ms,
        };
        let (user, there) = match kind {
            CredentialTryClass::Token => (None, None),
            CredentialTryClass::Trusted => (None, Some((self.hash_at(name, (address_number << 1) | 1), trusted_pace))),
            CredentialTryClass::Untrusted => {
                let there = address_key.map(|_| (self.hash_at(name, address_number << 1), there_pace));
                (Some((self.hash_at(name, u64::from(address_key.is_none())), user_pace)), there)
            }
        };
        let address_key = address_key.filter(|_| kind != CredentialTryClass::Token);
        TryBudgets { user, user_at_address: there, address: address_key.map(|_| (address_number, address_pace)) }
    }

    fn trusts(&self, user: &UserName, address_key: Option<AddressKey>, rules: &CoreSettings, now_ms: u64) -> bool {
        let (hash, address_number) = self.trust_key(user, address_key);
        self.trust.contains(hash, address_number, now_ms, rules.trusted_address_age_ms)
    }

    fn trust_key(&self, user: &UserName, address_key: Option<AddressKey>) -> (u64, u32) {
        let address_number = address_key.map_or(0, |address_key| address_key.0.get());
        (self.hash_at(user.as_str(), u64::from(address_number) % SLOTS), address_number)
    }

    /// May a password of this user be tried on this connection? Reserves what it may use up.
    pub(super) fn admit_password(
        &mut self,
        conn: ConnId,
        session: Option<&mut ConnectionSession>,
        user: &UserName,
        rules: &CoreSettings,
        now_ms: u64,
    ) -> Result<AdmittedTry, ClientLimitKind> {
        let wrong_max = rules.wrong_passwords_per_connection_max;
        let Some(session) = session.filter(|session| u32::from(session.wrong_passwords) < wrong_max) else {
            return Err(ClientLimitKind::PasswordsPerConnection);
        };
        let address_key = session.address_key;
        let is_trusted = self.trusts(user, address_key, rules, now_ms);
        let kind = if is_trusted { CredentialTryClass::Trusted } else { CredentialTryClass::Untrusted };
        let budgets = self.budgets(user, address_key, kind, rules);
        if let Some(limit) = self.wrong.exhausted_budget(&budgets, kind, now_ms) {
            return Err(limit);
        }
        let uses_cache = self.unhashed.exhausted_budget(&budgets, kind, now_ms).is_none();
        self.wrong.reserve(&budgets);
        let (of_user, of_address) = budgets.parts();
        self.unhashed.reserve(&of_address);
        if uses_cache {
            self.unhashed.reserve(&of_user);
        }
        session.wrong_passwords = session.wrong_passwords.saturating_add(1);
        #[cfg(debug_assertions)]
        {
            self.open += 1;
        }
        Ok(AdmittedTry { conn, address_key, kind, uses_cache, must_be_hashed: false, differs_from_verified: false })
    }

    /// May a resume token be tried on this connection? Wrong passwords do not matter to it.
    pub(super) fn admit_token(
        &mut self,
        conn: ConnId,
        session: Option<&ConnectionSession>,
        rules: &CoreSettings,
    ) -> Result<AdmittedTry, ClientLimitKind> {
        let stale_max = rules.wrong_passwords_per_connection_max;
        let session = session.filter(|session| u32::from(session.stale_tokens) < stale_max);
        let Some(address_key) = session.map(|session| session.address_key) else {
            return Err(ClientLimitKind::TokensPerConnection);
        };
        #[cfg(debug_assertions)]
        {
            self.open += 1;
        }
        let kind = CredentialTryClass::Token;
        let (uses_cache, must_be_hashed, differs_from_verified) = (false, false, false);
        Ok(AdmittedTry { conn, address_key, kind, uses_cache, must_be_hashed, differs_from_verified })
    }

    /// Settles a try: gives back what it reserved, unless it was wrong. `session` is that of its
    /// connection, if it is still open.
    pub(super) fn settle(
        &mut self,
        user: &UserName,
        attempt: AdmittedTry,
        settled: CredentialTryOutcome,
        session: Option<&mut ConnectionSession>,
        rules: &CoreSettings,
        now_ms: u64,
    ) {
        #[cfg(debug_assertions)]
        {
            self.open -= 1;
        }
        let AdmittedTry { address_key, kind, .. } = attempt;
        let wrong = settled == CredentialTryOutcome::Wrong;
        if let Some(session) = session {
            match (kind, wrong) {
                (CredentialTryClass::Token, true) => session.stale_tokens = session.stale_tokens.saturating_add(1),
                (CredentialTryClass::Token, false) | (_, true) => {}
                (_, false) => session.wrong_passwords = session.wrong_passwords.saturating_sub(1),
            }
            if settled == CredentialTryOutcome::Right {
                session.refused_tries = 0;
            }
        }
        let budgets = self.budgets(user, address_key, kind, rules);
        let keys_max = rules.throttled_max;
        self.wrong.settle(&budgets, wrong, now_ms, keys_max);
        // The address counts for all users, so a user without a remembered password counts there,
        // too: otherwise a right password of another user would show the difference.
        let is_unhashed = settled == CredentialTryOutcome::NotMade;
        let (of_user, of_address) = budgets.parts();
        self.unhashed.settle(&of_address, is_unhashed && attempt.must_be_hashed, now_ms, keys_max);
        if attempt.uses_cache {
            self.unhashed.settle(&of_user, is_unhashed && attempt.differs_from_verified, now_ms, keys_max);
        }
        // A client with a token need not know the password, so a token makes no address trusted: a
        // stolen one would give a budget for guesses at each address, and replace the owner's
        // addresses.
        if settled == CredentialTryOutcome::Right
            && (kind != CredentialTryClass::Token || self.trusts(user, address_key, rules, now_ms))
        {
            let (hash, address_number) = self.trust_key(user, address_key);
            self.trust.note(hash, address_number, now_ms, rules.trusted_addresses_max);
        }
    }

    /// Was there no recent wrong password on this connection, from this address, or for this user
    /// at this address? Tries from other addresses do not matter.
    pub(super) fn has_no_recent_failures(
        &self,
        user: &UserName,
        attempt: AdmittedTry,
        session: Option<&ConnectionSession>,
        rules: &CoreSettings,
        now_ms: u64,
    ) -> bool {
        let Some(session) = session else {
            return false;
        };
        let budgets = self.budgets(user, attempt.address_key, attempt.kind, rules);
        let is_clean = |throttle: &Throttle, budget: Option<(u64, RateLimit)>| {
            budget.is_none_or(|(key, _)| throttle.is_clean(key, now_ms, UNSETTLED_MAX))
        };
        // The present try is among them.
        session.wrong_passwords <= 1
            && session.refused_tries == 0
            && is_clean(&self.wrong.by_address, budgets.address)
            && is_clean(&self.wrong.by_user_and_address, budgets.user_at_address)
            && (attempt.address_key.is_some() || is_clean(&self.wrong.by_user, budgets.user))
    }

    /// May this address sign up? It is counted at once: each sign-up costs an Argon2id run whatever
    /// its answer is.
    pub(super) fn admit_sign_up(
        &mut self,
        address_key: Option<AddressKey>,
        rules: &CoreSettings,
        now_ms: u64,
    ) -> Result<(), ClientLimitKind> {
        if address_key.is_none() {
            return Ok(());
        }
        let key = number(address_key);
        let pace =
            RateLimit { burst: rules.sign_ups_per_address_max, every_ms: rules.sign_up_per_address_forgotten_after_ms };
        if !self.sign_ups_by_address.is_open(key, now_ms, pace) {
            return Err(ClientLimitKind::SignUpsPerAddress);
        }
        self.sign_ups_by_address.note(key, now_ms, pace, rules.throttled_max);
        Ok(())
    }
}
