//! Resume tokens: a quick way to log in again. The client keeps the token; the store keeps a hash
//! of it. This module decides for every store which tokens are valid and which make room for a new
//! one; a store only provides the table ([`ResumeTokenRepository`]).

use super::{StoreConnection, StoreError};
use crate::protocol::field::{Secret, UserName};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use blake2::{Blake2s256, Digest};
use std::cmp::Reverse;

/// The number of random bytes in a token. Nobody can guess them, so one quick hash is enough for
/// the stored form.
const TOKEN_BYTES: usize = 32;

/// The stored hash of a token, as text of 43 characters, because all stores keep and order text in
/// the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash with this stored text.
    pub(super) fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// A stored hash, and when its token expires, in ms since the epoch.
pub type StoredToken = (TokenHash, u64);

/// The table of resume tokens: reads and writes without a rule. They are part of a
/// [`StoreConnection`]'s transaction.
pub trait ResumeTokenRepository {
    /// The tokens of a user, in no particular order.
    ///
    /// # Errors
    /// See [`StoreError`]; so for all methods.
    fn of_user(&mut self, user: &UserName) -> Result<Vec<StoredToken>, StoreError>;
    /// When the token of this hash expires; `None`: the user has no such token.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn expiry(&mut self, user: &UserName, hash: &TokenHash) -> Result<Option<u64>, StoreError>;
    /// Stores a token, or changes when it expires.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn put(&mut self, user: &UserName, token: &StoredToken) -> Result<(), StoreError>;
    /// Deletes these tokens of a user.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn remove(&mut self, user: &UserName, hashes: &[TokenHash]) -> Result<(), StoreError>;
    /// Deletes all tokens of a user.
    ///
    /// # Errors
    /// See [`StoreError`].
    fn remove_all(&mut self, user: &UserName) -> Result<(), StoreError>;
}

/// The times that decide whether a token is valid: it must expire after `now_ms`, and not after
/// `latest_ms`, which no token exceeds unless a clock was wrong.
#[derive(Clone, Copy, Debug)]
pub struct ValidTokenExpiryRange {
    /// The present time, in ms since the epoch.
    pub now_ms: u64,
    /// The latest time at which a token may expire, in ms since the epoch.
    pub latest_ms: u64,
}

impl ValidTokenExpiryRange {
    fn is_usable(self, expires_ms: u64) -> bool {
        expires_ms > self.now_ms && expires_ms <= self.latest_ms
    }
}

/// The largest number of other tokens of a user that are kept beside the valid ones: only a correct
/// clock can tell whether they have expired. There may be twice as many, so that neither a clock
/// that was ahead nor one that is behind removes good tokens.
fn others_max(tokens_max: usize) -> usize {
    tokens_max.saturating_mul(2)
}

/// Stores a new token. Of the user's valid tokens, those that expire first are deleted, so that at
/// most `tokens_max` remain with the new one. Other tokens have expired or seem to last too long;
/// only a correct clock can tell. Up to twice `tokens_max` of them are kept: expired ones rather
/// than those that seem to last too long, and of each kind those that expire last.
///
/// # Errors
/// See [`StoreError`].
pub fn save(
    store: &mut dyn StoreConnection,
    user: &UserName,
    token: &StoredToken,
    span: ValidTokenExpiryRange,
    tokens_max: u32,
) -> Result<(), StoreError> {
    let mut before = store.tokens().of_user(user)?;
    before.retain(|(hash, _)| *hash != token.0);
    let surplus = surplus_tokens(before, span, tokens_max as usize);
    if !surplus.is_empty() {
        store.tokens().remove(user, &surplus)?;
    }
    store.tokens().put(user, token)
}

/// The tokens that must be deleted so that one more has room.
fn surplus_tokens(tokens: Vec<StoredToken>, span: ValidTokenExpiryRange, tokens_max: usize) -> Vec<TokenHash> {
    let (mut usable, mut others): (Vec<_>, Vec<_>) =
        tokens.into_iter().partition(|(_, expires_ms)| span.is_usable(*expires_ms));
    usable.sort_by_key(|(_, expires_ms)| Reverse(*expires_ms));
    others.sort_by_key(|(_, expires_ms)| (*expires_ms > span.latest_ms, Reverse(*expires_ms)));
    let usable = usable.into_iter().skip(tokens_max.saturating_sub(1));
    usable.chain(others.into_iter().skip(others_max(tokens_max))).map(|(hash, _)| hash).collect()
}

/// Is this the hash of a valid token of the user?
///
/// # Errors
/// See [`StoreError`].
pub fn is_usable(
    store: &mut dyn StoreConnection,
    user: &UserName,
    hash: &TokenHash,
    span: ValidTokenExpiryRange,
) -> Result<bool, StoreError> {
    Ok(store.tokens().expiry(user, hash)?.is_some_and(|expires_ms| span.is_usable(expires_ms)))
}

/// Makes a new token.
///
/// # Errors
/// When the system has no random bytes to give.
pub fn new_token() -> Result<Secret, StoreError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Refused(format!("the system has no random numbers: {error}")))?;
    Ok(Secret::new(&BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// The hash of a token that is stored. It includes the stored password hash, so that a change of
/// the password ends every token.
#[must_use]
pub fn hash(user: &UserName, token: &Secret, password_hash: &Secret) -> TokenHash {
    let mut hash = Blake2s256::new();
    for part in ["hongyan resume token 1", user.as_str(), token.expose(), password_hash.expose()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    TokenHash(BASE64_URL_SAFE_NO_PAD.encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_new_each_time_and_its_hash_binds_it_to_user_and_password() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 43);
        let user = |name: &str| UserName::new(name).unwrap();
        let password = Secret::new("p");
        let hashed = hash(&user("ann"), &one, &password);
        assert_eq!(hashed, hash(&user("ann"), &one, &password));
        assert_ne!(hashed, hash(&user("ann"), &other, &password));
        assert_ne!(hashed, hash(&user("bob"), &one, &password));
        assert_ne!(hashed, hash(&user("ann"), &one, &Secret::new("q")));
    }
}
