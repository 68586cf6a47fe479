//! One encrypted and signed message.

use super::keys::E2eKeyPairs;
use super::public::E2ePublicKeys;
use super::{E2eEncryptionError, decrypt, encrypt, from_base64, netstrings, random, to_base64};
use serde_json::{Value, json};

const MARK: &str = "e2e1";

/// The context of a message, as given in its push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct E2eMessageContext<'a> {
    /// The sender.
    pub sender: &'a str,
    /// The receiver.
    pub receiver: &'a str,
    /// The message's id.
    pub message_id: &'a str,
}

/// Is this content in the format of an encrypted message, whether valid or not? Everything else is
/// plain text.
#[must_use]
pub fn is_encrypted(content: &str) -> bool {
    // This quick test recognises nearly all plain text.
    content.trim_start().starts_with('{') && read(content).is_some()
}

fn read(content: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(content).ok()?;
    (value.get("hongyan")?.as_str()? == MARK).then_some(value)
}

impl E2eMessageContext<'_> {
    /// The associated data: the fields that are authenticated together with the ciphertext.
    fn aad(&self, from: &str, to: &str, own: &str) -> Vec<u8> {
        let texts = ["hongyan-e2e1", self.sender, self.receiver, self.message_id, from, to, own];
        netstrings(texts.map(str::as_bytes))
    }
}

impl E2eKeyPairs {
    /// Encrypts and signs a text; returns the `content` of the message.
    ///
    /// # Errors
    /// [`E2eEncryptionError::Failed`]; [`E2eEncryptionError::Broken`]: the keys of the receiver
    /// cannot be used.
    pub fn seal(
        &self,
        to: &E2ePublicKeys,
        letter: E2eMessageContext<'_>,
        text: &str,
    ) -> Result<String, E2eEncryptionError> {
        let (key, iv) = (random::<32>()?, random::<12>()?);
        let ours = self.public();
        let (from, to_kid, own_kid) = (ours.sign_kid(), to.encrypt_kid(), ours.encrypt_kid());
        let aad = letter.aad(from, to_kid, own_kid);
        let (wrapped, own) = (to.encrypt.wrap(&key)?, ours.encrypt.wrap(&key)?);
        let sealed = encrypt(&key, iv, &aad, text.as_bytes())?;
        let signature = self.sign(&signed_bytes(aad, [&iv, &wrapped, &own, &sealed]))?;
        let content = json!({
            "hongyan": MARK, "from": from, "to": to_kid, "self": own_kid, "key": to_base64(wrapped),
            "own": to_base64(own), "iv": to_base64(iv), "text": to_base64(sealed), "sig": to_base64(signature),
        });
        Ok(content.to_string())
    }

    /// Reads a message: one to this user, with the pinned keys of its sender, or one of this user's
    /// own, with their own keys.
    ///
    /// # Errors
    /// The fault of the message; nothing of it may be shown as genuine in this case.
    pub fn open(
        &self,
        sender: &E2ePublicKeys,
        letter: E2eMessageContext<'_>,
        content: &str,
    ) -> Result<String, E2eEncryptionError> {
        let value = read(content).ok_or(E2eEncryptionError::Broken)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).ok_or(E2eEncryptionError::Broken);
        let bytes = |key: &str| from_base64(text(key)?);
        let (from, to, own_kid) = (text("from")?, text("to")?, text("self")?);
        let ours = self.public();
        let is_own = letter.sender == self.user();
        let (kid, wrapped) = if is_own { (own_kid, "own") } else { (to, "key") };
        let for_us = is_own || letter.receiver == self.user();
        if !for_us || kid != ours.encrypt_kid() {
            return Err(E2eEncryptionError::NotForUs);
        }
        let pinned = if is_own { ours } else { sender };
        if from != pinned.sign_kid() {
            return Err(E2eEncryptionError::OtherKey);
        }
        let aad = letter.aad(from, to, own_kid);
        let (key, own, iv, sealed) = (bytes("key")?, bytes("own")?, bytes("iv")?, bytes("text")?);
        let signature = bytes("sig")?;
        // The signature is verified first: nothing unsigned is decrypted.
        pinned.sign.verify(&signed_bytes(aad.clone(), [&iv, &key, &own, &sealed]), &signature)?;
        let secret = self.unwrap_key(if wrapped == "own" { &own } else { &key })?;
        let plain = decrypt(&secret, &iv, &aad, sealed)?;
        String::from_utf8(plain).map_err(|_| E2eEncryptionError::Broken)
    }
}

/// The bytes that are signed: the associated data and all encrypted parts.
fn signed_bytes(mut aad: Vec<u8>, parts: [&[u8]; 4]) -> Vec<u8> {
    aad.extend(netstrings(parts));
    aad
}
