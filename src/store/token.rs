//! Resume tokens: the cheap way back after a log-in. The client keeps the token; the store keeps a
//! hash of it.

use super::StoreError;
use crate::protocol::field::{Secret, UserName};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use blake2::{Blake2s256, Digest};

/// Random bytes of a token: nobody guesses them, so one quick hash protects what is stored.
const TOKEN_BYTES: usize = 32;

/// The form in which the store keeps a token: 43 characters, since all stores hold and order text
/// in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The number of tokens of a user that are kept beside those that may be used now: only a right
/// clock knows which of them are valid. Twice as many, so that neither a clock that was ahead nor
/// one that is behind pushes out good ones.
#[must_use]
pub fn others_max(tokens_max: u32) -> u32 {
    tokens_max.saturating_mul(2)
}

/// A new token.
///
/// # Errors
/// When the system has no random bytes to give.
pub fn make() -> Result<Secret, StoreError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| StoreError::Refused(format!("the system has no random numbers: {error}")))?;
    Ok(Secret::new(&BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// The digest that is kept of it. It includes the stored password hash, so that a change of the
/// password ends every token.
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
        let (one, other) = (make().unwrap(), make().unwrap());
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
