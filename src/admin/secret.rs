//! One-time passwords.

use ring::{digest, pbkdf2};
use std::fmt::Write;
use std::num::NonZeroU32;

/// Lower-case letters and digits, without those that look like others.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Nearly 100 bits.
const LENGTH: usize = 20;
/// The rounds of the recipe in docs/protocol.md.
const ROUNDS: NonZeroU32 = match NonZeroU32::new(600_000) {
    Some(rounds) => rounds,
    None => NonZeroU32::MIN,
};

/// A random password that is easy to read aloud.
pub(super) fn one_time_password() -> Result<String, getrandom::Error> {
    /// The greatest multiple of the alphabet's length that fits a byte. Larger bytes are dropped,
    /// so that all letters are equally likely.
    const FAIR: u8 = (256 / ALPHABET.len() * ALPHABET.len()) as u8;
    let mut password = String::with_capacity(LENGTH);
    while password.len() < LENGTH {
        let mut bytes = [0; 2 * LENGTH];
        getrandom::fill(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR);
        let letters = fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
        password.extend(letters.take(LENGTH - password.len()));
    }
    Ok(password)
}

/// The `hashValue` that a client makes of a user's password by the recipe in docs/protocol.md.
pub(super) fn hash_value(user: &str, password: &str) -> String {
    let salt = digest::digest(&digest::SHA256, format!("hongyan:{user}").as_bytes());
    let mut hash = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, salt.as_ref(), password.as_bytes(), &mut hash);
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a String cannot fail.
        write!(text, "{byte:02x}").unwrap_or(());
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn passwords_are_random_and_have_no_lookalikes() {
        let passwords: BTreeSet<String> = (0..500).map(|_| one_time_password().unwrap()).collect();
        assert_eq!(passwords.len(), 500);
        let mut seen = BTreeSet::new();
        for password in &passwords {
            assert_eq!(password.len(), LENGTH);
            seen.extend(password.bytes());
        }
        assert_eq!(seen, ALPHABET.iter().copied().collect(), "every letter, and no other");
        assert!(!ALPHABET.iter().any(|letter| b"ilo01".contains(letter)));
    }

    #[test]
    fn the_hash_is_that_of_the_recipe() {
        // The example in docs/protocol.md.
        let expected = "a9b0f17c173737ca17ae748396f900b3e9204b9bcc4de96042c78dd5adb98772";
        assert_eq!(hash_value("vincent313", "correct horse battery staple"), expected);
    }
}
