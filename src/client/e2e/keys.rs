//! A user's own key pairs.

use super::public::{E2ePublicKeys, E2eRsaPublicKey};
use super::{E2eEncryptionError, from_base64, to_base64};
use crate::client::token::write_private;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeyPair as RsaKeyPair, KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::{KeyPair, RSA_PSS_SHA256};
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

const FILE_BYTES_MAX: u64 = 64 * 1024;
const EXPONENT: [u8; 3] = [1, 0, 1];

/// The key pairs of a user: one for encryption, one for signatures. Anybody who has them can read
/// the user's messages and write in the user's name.
pub struct E2eKeyPairs {
    user: String,
    encrypt: OaepPrivateDecryptingKey,
    sign: RsaKeyPair,
    public: E2ePublicKeys,
    /// Both private keys, in PKCS#8.
    pub(super) encrypt_pkcs8: Vec<u8>,
    pub(super) sign_pkcs8: Vec<u8>,
}

/// Shows the user, but not the keys.
impl std::fmt::Debug for E2eKeyPairs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("E2eKeyPairs").field("user", &self.user).finish_non_exhaustive()
    }
}

impl E2eKeyPairs {
    /// Generates new key pairs of 3,072 bits. This takes about a second.
    ///
    /// # Errors
    /// [`E2eEncryptionError::Failed`].
    pub fn generate(user: &str) -> Result<Self, E2eEncryptionError> {
        let pkcs8 = || {
            let key = RsaKeyPair::generate(KeySize::Rsa3072).map_err(|_| E2eEncryptionError::Failed)?;
            let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| E2eEncryptionError::Failed)?;
            Ok(der.as_ref().to_vec())
        };
        Self::from_pkcs8(user, pkcs8()?, pkcs8()?)
    }

    pub(super) fn from_pkcs8(user: &str, encrypt: Vec<u8>, sign: Vec<u8>) -> Result<Self, E2eEncryptionError> {
        let public_of = |pkcs8: &[u8]| {
            let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| E2eEncryptionError::Broken)?;
            let public = pair.public_key();
            if public.exponent().big_endian_without_leading_zero() != EXPONENT {
                return Err(E2eEncryptionError::Broken);
            }
            let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
            Ok((E2eRsaPublicKey::new(modulus)?, pair))
        };
        let (encrypt_public, _) = public_of(&encrypt)?;
        let (sign_public, sign_pair) = public_of(&sign)?;
        let private = PrivateDecryptingKey::from_pkcs8(&encrypt).map_err(|_| E2eEncryptionError::Broken)?;
        Ok(Self {
            user: user.to_owned(),
            encrypt: OaepPrivateDecryptingKey::new(private).map_err(|_| E2eEncryptionError::Broken)?,
            sign: sign_pair,
            public: E2ePublicKeys { encrypt: encrypt_public, sign: sign_public },
            encrypt_pkcs8: encrypt,
            sign_pkcs8: sign,
        })
    }

    /// The user to whom the keys belong.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The public halves, for the profile.
    #[must_use]
    pub fn public(&self) -> &E2ePublicKeys {
        &self.public
    }

    /// Writes the keys, not encrypted, to a file that only its owner may read (mode 0600). For a
    /// file that leaves this machine use [`E2eKeyPairs::export`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let text = json!({
            "user": self.user, "encrypt": to_base64(&self.encrypt_pkcs8), "sign": to_base64(&self.sign_pkcs8),
        });
        write_private(path.as_ref(), text.to_string().as_bytes())
    }

    /// Reads a file that [`E2eKeyPairs::save`] wrote.
    ///
    /// # Errors
    /// The file cannot be read, or holds no keys.
    pub fn load(path: impl AsRef<Path>) -> io::Result<Self> {
        let mut text = String::new();
        std::fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        let bad = |fault: E2eEncryptionError| io::Error::new(ErrorKind::InvalidData, fault);
        Self::from_json(&text).map_err(bad)
    }

    fn from_json(text: &str) -> Result<Self, E2eEncryptionError> {
        let value: Value = serde_json::from_str(text).map_err(|_| E2eEncryptionError::Broken)?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).ok_or(E2eEncryptionError::Broken);
        Self::from_pkcs8(text("user")?, from_base64(text("encrypt")?)?, from_base64(text("sign")?)?)
    }

    /// Loads the keys from the file. If there is no file, generates new keys and writes them to it.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds the keys of another user.
    pub fn load_or_generate(path: impl AsRef<Path>, user: &str) -> io::Result<Self> {
        match Self::load(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let keys = Self::generate(user).map_err(io::Error::other)?;
                keys.save(path)?;
                Ok(keys)
            }
            Ok(keys) if keys.user != user => {
                Err(io::Error::new(ErrorKind::InvalidData, "these are another user's keys"))
            }
            other => other,
        }
    }

    /// Signs a message with RSA-PSS.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, E2eEncryptionError> {
        let mut signature = vec![0; self.sign.public_modulus_len()];
        let signed = self.sign.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.map(|()| signature).map_err(|_| E2eEncryptionError::Failed)
    }

    /// Decrypts a wrapped key with RSA-OAEP.
    pub(super) fn unwrap_key(&self, wrapped: &[u8]) -> Result<Vec<u8>, E2eEncryptionError> {
        let mut secret = vec![0; self.encrypt.min_output_size()];
        let opened = self.encrypt.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut secret, None);
        let length = opened.map_err(|_| E2eEncryptionError::Broken)?.len();
        secret.truncate(length);
        Ok(secret)
    }
}
