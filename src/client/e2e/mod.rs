//! Messages between friends that the server cannot read: RSA-OAEP, RSA-PSS and AES-256-GCM, in the
//! format of docs/e2e.md, which also says what it protects against and what not.
//!
//! [`E2eKeyPairs`] are a user's own key pairs, [`E2ePublicKeys`] are the keys in a profile, and
//! [`PinnedKeys`] are the keys that each friend had first. [`E2eClient`] combines them with
//! a client:
//!
//! ```no_run
//! use hongyan::client::e2e::{E2eClient, E2eDecryptOutcome, E2eKeyPairs, PinnedKeys};
//! use hongyan::client::{Client, ClientEvent, ClientOptions};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = ClientOptions::new("tls://chat.example.com", "ann").password("…");
//! let client = Client::connect(options)?;
//! let keys = E2eKeyPairs::load_or_generate("ann.keys", "ann")?;
//! let e2e = E2eClient::new(client.clone(), keys, PinnedKeys::load("ann.pins")?)?;
//! e2e.send("bob", "Only you can read this.")?;
//! loop {
//!     // Nothing came in that time, or the connection was lost or is there again.
//!     let Some(ClientEvent::Push(push)) = client.next(Duration::from_secs(60))? else { continue };
//!     match e2e.read(&push) {
//!         E2eDecryptOutcome::Encrypted(text) => println!("{} (encrypted): {text}", push.sender),
//!         E2eDecryptOutcome::Plain { .. } => {
//!             println!("{} (NOT encrypted): {}", push.sender, push.content);
//!         }
//!         E2eDecryptOutcome::Bad(fault) => println!("{}: {fault}", push.sender),
//!         // The sender's keys cannot be read now. The push is not acked, so it comes again.
//!         E2eDecryptOutcome::NotYet(_) => continue,
//!     }
//!     e2e.pins().save("ann.pins")?;
//!     push.ack();
//! }
//! # Ok(())
//! # }
//! ```

mod export;
mod keys;
mod letter;
mod messenger;
mod pins;
mod public;

pub use keys::E2eKeyPairs;
pub use letter::{E2eMessageContext, is_encrypted};
pub use messenger::{E2eClient, E2eDecryptOutcome, E2eSendError, E2eSendReceipt};
pub use pins::{FriendKeysCheckResult, PinnedKeys};
pub use public::{E2ePublicKeys, safety_number};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::fmt;

/// Why keys or a message cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum E2eEncryptionError {
    /// The text does not follow the format.
    Broken,
    /// It was encrypted for other keys than ours.
    NotForUs,
    /// It was signed with another key than the sender's pinned one: their keys have changed, or it
    /// is a forgery. Do not show it as genuine.
    OtherKey,
    /// The signature is invalid: the message is a forgery, or was changed on its way.
    Forged,
    /// The passphrase is wrong, or the file is damaged.
    WrongPassphrase,
    /// The friend's keys have changed or disappeared since they were pinned. Nothing is sent until
    /// the user agrees ([`PinnedKeys::accept_keys`]).
    KeysChanged,
    /// The cryptographic library failed: no random numbers, for example.
    Failed,
}

impl fmt::Display for E2eEncryptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "it is damaged, or not in the format of docs/e2e.md",
            Self::NotForUs => "it was encrypted for other keys than ours",
            Self::OtherKey => "it was signed with another key than the one that is known of its sender",
            Self::Forged => "its signature is not good: it is a forgery, or it was changed on its way",
            Self::WrongPassphrase => "the passphrase is wrong, or the file is damaged",
            Self::KeysChanged => "the keys of this friend have changed or disappeared",
            Self::Failed => "the cryptographic library failed",
        })
    }
}

impl std::error::Error for E2eEncryptionError {}

/// Appends a netstring: the decimal byte length, a colon, the bytes, a comma. A sequence of
/// netstrings can be parsed in one way only.
fn netstring(out: &mut Vec<u8>, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
    out.push(b',');
}

fn netstrings<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    texts.into_iter().for_each(|text| netstring(&mut out, text));
    out
}

fn to_base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn from_base64(text: &str) -> Result<Vec<u8>, E2eEncryptionError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| E2eEncryptionError::Broken)
}

fn random<const N: usize>() -> Result<[u8; N], E2eEncryptionError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| E2eEncryptionError::Failed)?;
    Ok(bytes)
}

/// AES-256-GCM; the tag follows the ciphertext.
fn encrypt(key: &[u8; 32], iv: [u8; 12], aad: &[u8], text: &[u8]) -> Result<Vec<u8>, E2eEncryptionError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| E2eEncryptionError::Failed)?;
    let mut bytes = text.to_vec();
    let nonce = Nonce::assume_unique_for_key(iv);
    let sealed = LessSafeKey::new(key).seal_in_place_append_tag(nonce, Aad::from(aad), &mut bytes);
    sealed.map(|()| bytes).map_err(|_| E2eEncryptionError::Failed)
}

fn decrypt(key: &[u8], iv: &[u8], aad: &[u8], mut bytes: Vec<u8>) -> Result<Vec<u8>, E2eEncryptionError> {
    let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| E2eEncryptionError::Broken)?;
    let nonce = Nonce::try_assume_unique_for_key(iv).map_err(|_| E2eEncryptionError::Broken)?;
    let opened = LessSafeKey::new(key).open_in_place(nonce, Aad::from(aad), &mut bytes);
    let length = opened.map_err(|_| E2eEncryptionError::Broken)?.len();
    bytes.truncate(length);
    Ok(bytes)
}
