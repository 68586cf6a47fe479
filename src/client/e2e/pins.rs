//! The keys that each friend had first. If a user's profile has other keys later, it may be
//! somebody else.

use super::E2eEncryptionError;
use super::public::E2ePublicKeys;
use crate::client::token::write_private;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The result of comparing a friend's keys to the pinned ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FriendKeysCheckResult {
    /// The friend has no keys and never had: messages are plain text, and are shown as that.
    NoKeys,
    /// The keys are the pinned ones; they may have been pinned just now.
    Known(E2ePublicKeys),
    /// The keys have changed, or (`None`) disappeared. Warn and stop: neither encrypt to the new
    /// ones, nor fall back to plain text, until the user agrees.
    Changed(Option<E2ePublicKeys>),
}

/// All pins of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PinnedKeys {
    keys: BTreeMap<String, E2ePublicKeys>,
}

impl PinnedKeys {
    /// Compares the keys in a friend's profile (`rsaPublicKey`) to the pinned ones, and pins them
    /// if none are pinned.
    pub fn check_keys(&mut self, name: &str, in_profile: &str) -> FriendKeysCheckResult {
        let found = E2ePublicKeys::read(in_profile).ok();
        match (self.keys.get(name), found) {
            (None, None) => FriendKeysCheckResult::NoKeys,
            (None, Some(keys)) => {
                self.keys.insert(name.to_owned(), keys.clone());
                FriendKeysCheckResult::Known(keys)
            }
            (Some(pinned), Some(keys)) if *pinned == keys => FriendKeysCheckResult::Known(keys),
            (Some(_), found) => FriendKeysCheckResult::Changed(found),
        }
    }

    /// Pins what is in the friend's profile now (new keys, or none), because the user has agreed to
    /// it.
    pub fn accept_keys(&mut self, name: &str, in_profile: &str) {
        match E2ePublicKeys::read(in_profile) {
            Ok(keys) => self.keys.insert(name.to_owned(), keys),
            Err(_) => self.keys.remove(name),
        };
    }

    /// The pinned keys of a friend.
    #[must_use]
    pub fn keys_of(&self, name: &str) -> Option<&E2ePublicKeys> {
        self.keys.get(name)
    }

    /// All pins as a text that can be stored.
    #[must_use]
    pub fn text(&self) -> String {
        let texts = self.keys.iter().map(|(name, keys)| (name.clone(), keys.text().into()));
        serde_json::Value::Object(texts.collect()).to_string()
    }

    /// Reads such a text.
    ///
    /// # Errors
    /// [`E2eEncryptionError::Broken`]. Do not start without pins in this case: a damaged file would
    /// hide a change.
    pub fn read(text: &str) -> Result<Self, E2eEncryptionError> {
        let texts: BTreeMap<String, String> = serde_json::from_str(text).map_err(|_| E2eEncryptionError::Broken)?;
        let keys = texts.into_iter().map(|(name, text)| E2ePublicKeys::read(&text).map(|keys| (name, keys)));
        Ok(Self { keys: keys.collect::<Result<_, _>>()? })
    }

    /// Loads the pins from a file; no pins if there is no file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = match std::fs::File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            other => other?,
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        Self::read(&text).map_err(|fault| io::Error::new(ErrorKind::InvalidData, fault))
    }

    /// Writes the pins to a file that only its owner may read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        write_private(path.as_ref(), self.text().as_bytes())
    }
}
