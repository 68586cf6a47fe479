//! Key pairs in a file, encrypted with a passphrase: for another browser, for another client, or as
//! a backup.

use super::keys::E2eKeyPairs;
use super::{E2eEncryptionError, decrypt, encrypt, from_base64, netstrings, random, to_base64};
use crate::client::password_hash::derive;
use serde_json::{Value, json};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

const MARK: &str = "keys1";
const ROUNDS: u32 = 600_000;
/// With fewer rounds the passphrase is too easy to guess. With more, a file from a stranger would
/// keep its reader waiting for a minute.
const ROUNDS_READ: RangeInclusive<u64> = 600_000..=10_000_000;
const FILE_BYTES_MAX: usize = 64 * 1024;

fn aad(user: &str) -> Vec<u8> {
    netstrings([b"hongyan-keys1", user.as_bytes()])
}

impl E2eKeyPairs {
    /// Encrypts both pairs with a passphrase, and returns the text of the file.
    ///
    /// # Errors
    /// [`E2eEncryptionError::Failed`].
    pub fn export(&self, passphrase: &str) -> Result<String, E2eEncryptionError> {
        let (salt, iv) = (random::<16>()?, random::<12>()?);
        let key = derive(passphrase, &salt, NonZeroU32::new(ROUNDS).ok_or(E2eEncryptionError::Failed)?);
        let keys = json!({"encrypt": to_base64(&self.encrypt_pkcs8), "sign": to_base64(&self.sign_pkcs8)});
        let data = encrypt(&key, iv, &aad(self.user()), keys.to_string().as_bytes())?;
        let file = json!({
            "hongyan": MARK, "user": self.user(), "salt": to_base64(salt), "rounds": ROUNDS,
            "iv": to_base64(iv), "data": to_base64(data),
        });
        Ok(file.to_string())
    }

    /// Reads the text of an exported file. This takes about as long as a log-in with a password.
    ///
    /// # Errors
    /// [`E2eEncryptionError::Broken`]: the text is not that of an exported file.
    /// [`E2eEncryptionError::WrongPassphrase`].
    pub fn import(file: &str, passphrase: &str) -> Result<Self, E2eEncryptionError> {
        if file.len() > FILE_BYTES_MAX {
            return Err(E2eEncryptionError::Broken);
        }
        let value: Value = serde_json::from_str(file).map_err(|_| E2eEncryptionError::Broken)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).ok_or(E2eEncryptionError::Broken);
        let rounds = value.get("rounds").and_then(Value::as_u64).filter(|rounds| ROUNDS_READ.contains(rounds));
        let rounds =
            rounds.and_then(|rounds| NonZeroU32::new(u32::try_from(rounds).ok()?)).ok_or(E2eEncryptionError::Broken)?;
        let (user, salt) = (text("user")?, from_base64(text("salt")?)?);
        if text("hongyan")? != MARK || salt.len() != 16 {
            return Err(E2eEncryptionError::Broken);
        }
        let (iv, data) = (from_base64(text("iv")?)?, from_base64(text("data")?)?);
        let key = derive(passphrase, &salt, rounds);
        let keys = decrypt(&key, &iv, &aad(user), data).map_err(|_| E2eEncryptionError::WrongPassphrase)?;
        let keys: Value = serde_json::from_slice(&keys).map_err(|_| E2eEncryptionError::Broken)?;
        let part = |name: &str| from_base64(keys.get(name).and_then(Value::as_str).ok_or(E2eEncryptionError::Broken)?);
        Self::from_pkcs8(user, part("encrypt")?, part("sign")?)
    }
}
