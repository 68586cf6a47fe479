//! A client that encrypts its messages to every friend who has keys.

use super::E2eEncryptionError;
use super::keys::E2eKeyPairs;
use super::letter::{E2eMessageContext, is_encrypted};
use super::pins::{FriendKeysCheckResult, PinnedKeys};
use super::public::{E2ePublicKeys, safety_number};
use crate::client::{Client, Error, ProfileChange, Push, new_id};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The result of reading a received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum E2eDecryptOutcome {
    /// The text was encrypted for this user and signed with the sender's pinned key.
    Encrypted(String),
    /// The message is plain text, as it is in the push. If the sender has keys, show it as not
    /// encrypted: the server can read it and could have written it.
    Plain {
        /// Are keys of the sender pinned?
        sender_has_keys: bool,
    },
    /// The message must not be shown as genuine. After [`E2eEncryptionError::OtherKey`] the
    /// friend's keys may have changed: ask the user ([`E2eClient::check_keys`]).
    Bad(E2eEncryptionError),
    /// The message is encrypted, and the profile with its sender's keys could not be fetched. Do
    /// not ack it: the server will send it again.
    NotYet(Error),
}

/// A message that the server has promised to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct E2eSendReceipt {
    /// The message's id.
    pub id: String,
    /// Was it encrypted, so that the server could not read it?
    pub encrypted: bool,
}

/// Why a message was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum E2eSendError {
    /// An error of the client.
    Client(Error),
    /// A fault of the keys, usually [`E2eEncryptionError::KeysChanged`].
    Keys(E2eEncryptionError),
}

impl fmt::Display for E2eSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Keys(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for E2eSendError {}

impl From<Error> for E2eSendError {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<E2eEncryptionError> for E2eSendError {
    fn from(fault: E2eEncryptionError) -> Self {
        Self::Keys(fault)
    }
}

/// A client with keys and pins.
#[derive(Debug)]
pub struct E2eClient {
    client: Client,
    keys: E2eKeyPairs,
    pins: Mutex<PinnedKeys>,
}

impl E2eClient {
    /// A client with the keys of the client's user. If the profile has other keys, or none,
    /// these keys are published in it.
    ///
    /// # Errors
    /// [`Error::Setting`]: the keys belong to another user; the errors of every request.
    pub fn new(client: Client, keys: E2eKeyPairs, pins: PinnedKeys) -> Result<Self, Error> {
        if keys.user() != client.user() {
            return Err(Error::Setting("these are another user's keys".to_owned()));
        }
        let published = client.profile(client.user())?.unwrap_or_default().rsa_public_key;
        let ours = keys.public().text();
        if E2ePublicKeys::read(&published).as_ref() != Ok(keys.public()) {
            client.change_profile(&ProfileChange { rsa_public_key: Some(ours), ..ProfileChange::default() })?;
        }
        Ok(Self { client, keys, pins: Mutex::new(pins) })
    }

    /// The pins, for storing them or for agreeing to a change.
    pub fn pins(&self) -> MutexGuard<'_, PinnedKeys> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches a user's keys from the server now and compares them to the pinned ones; pins them if
    /// none are pinned.
    ///
    /// # Errors
    /// The errors of every request.
    pub fn check_keys(&self, name: &str) -> Result<FriendKeysCheckResult, Error> {
        let in_profile = self.client.profile(name)?.unwrap_or_default().rsa_public_key;
        Ok(self.pins().check_keys(name, &in_profile))
    }

    /// Records that the user agrees to the keys in `shown`. These are the keys of
    /// [`FriendKeysCheckResult::Changed`]; [`E2eClient::safety_number_with`] gives their safety
    /// number. They are pinned if the friend's profile still has them. `None`: the user agrees that
    /// the friend has no keys. This is recorded if the profile still has none.
    ///
    /// # Errors
    /// [`E2eEncryptionError::KeysChanged`]: the profile has different keys by now, and nothing was
    /// pinned. The errors of every request.
    pub fn accept_keys(&self, name: &str, shown: Option<&E2ePublicKeys>) -> Result<(), E2eSendError> {
        let in_profile = self.client.profile(name)?.unwrap_or_default().rsa_public_key;
        if E2ePublicKeys::read(&in_profile).ok().as_ref() != shown {
            return Err(E2eEncryptionError::KeysChanged.into());
        }
        self.pins().accept_keys(name, &in_profile);
        Ok(())
    }

    /// The safety number with a friend whose keys are pinned.
    #[must_use]
    pub fn safety_number(&self, name: &str) -> Option<String> {
        Some(self.safety_number_with(name, self.pins().keys_of(name)?))
    }

    /// The safety number with these keys of the friend. The users compare it before this user
    /// agrees to the keys.
    #[must_use]
    pub fn safety_number_with(&self, name: &str, theirs: &E2ePublicKeys) -> String {
        safety_number((self.client.user(), self.keys.public()), (name, theirs))
    }

    /// Sends a message, encrypted if the friend has keys. Fetches the friend's profile first.
    ///
    /// # Errors
    /// [`E2eEncryptionError::KeysChanged`]: nothing was sent. The errors of [`Client::send`].
    pub fn send(&self, receiver: &str, text: &str) -> Result<E2eSendReceipt, E2eSendError> {
        let id = new_id()?;
        let (content, encrypted) = self.content(&id, receiver, text)?;
        self.client.send_with_id(&id, receiver, &content)?;
        Ok(E2eSendReceipt { id, encrypted })
    }

    /// Returns the content of a message with this id, and whether it is encrypted. This is for a
    /// program that sends the message itself. Use each id for one content only.
    ///
    /// # Errors
    /// As [`E2eClient::send`].
    pub fn content(&self, id: &str, receiver: &str, text: &str) -> Result<(String, bool), E2eSendError> {
        match self.check_keys(receiver)? {
            FriendKeysCheckResult::NoKeys => Ok((text.to_owned(), false)),
            FriendKeysCheckResult::Known(keys) => {
                let letter = E2eMessageContext { sender: self.client.user(), receiver, message_id: id };
                Ok((self.keys.seal(&keys, letter, text)?, true))
            }
            FriendKeysCheckResult::Changed(_) => Err(E2eEncryptionError::KeysChanged.into()),
        }
    }

    /// Reads a push. For the first encrypted message of a user it fetches the user's profile.
    pub fn read(&self, push: &Push) -> E2eDecryptOutcome {
        let pinned = self.pins().keys_of(&push.sender).cloned();
        if !is_encrypted(&push.content) {
            return E2eDecryptOutcome::Plain { sender_has_keys: pinned.is_some() };
        }
        let pinned = match pinned {
            Some(keys) => keys,
            None => match self.check_keys(&push.sender) {
                Ok(FriendKeysCheckResult::Known(keys)) => keys,
                Ok(FriendKeysCheckResult::NoKeys | FriendKeysCheckResult::Changed(_)) => {
                    return E2eDecryptOutcome::Bad(E2eEncryptionError::OtherKey);
                }
                Err(error) => return E2eDecryptOutcome::NotYet(error),
            },
        };
        let letter = E2eMessageContext { sender: &push.sender, receiver: &push.receiver, message_id: &push.message_id };
        self.keys.open(&pinned, letter, &push.content).map_or_else(E2eDecryptOutcome::Bad, E2eDecryptOutcome::Encrypted)
    }
}
