//! From a password to its `hashValue`: the recipe of docs/protocol.md, so that users can log in
//! with clients of different authors.

use icu_normalizer::ComposingNormalizerBorrowed;
use ring::{digest, pbkdf2};
use std::num::NonZeroU32;

#[allow(clippy::expect_used, reason = "checked when it is compiled")]
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("600,000 is not zero");

/// `hashValue` for a user and a password: PBKDF2 with HMAC-SHA-256 of the password in the Unicode
/// form NFC, 600,000 rounds, with SHA-256 of `hongyan:` and the name as its salt. It takes some
/// tenths of a second, on purpose.
///
/// ```
/// let hash = hongyan::client::hash_value("vincent313", "correct horse battery staple");
/// assert_eq!(hash, "a9b0f17c173737ca17ae748396f900b3e9204b9bcc4de96042c78dd5adb98772");
/// ```
#[must_use]
pub fn hash_value(user: &str, password: &str) -> String {
    let salt = digest::digest(&digest::SHA256, format!("hongyan:{user}").as_bytes());
    hex(&derive(password, salt.as_ref(), ROUNDS))
}

/// 32 bytes from a password or a passphrase.
pub(super) fn derive(password: &str, salt: &[u8], rounds: NonZeroU32) -> [u8; 32] {
    let password = ComposingNormalizerBorrowed::new_nfc().normalize(password);
    let mut bytes = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut bytes);
    bytes
}

/// Small hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_to_write_a_letter_are_one_password() {
        let of = |password| derive(password, b"salt", NonZeroU32::MIN);
        assert_eq!(of("caf\u{e9}"), of("cafe\u{301}"));
        assert_ne!(of("cafe"), of("caf\u{e9}"));
    }
}
