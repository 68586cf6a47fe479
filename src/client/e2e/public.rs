//! The public keys in a profile, and the safety number with which two users compare theirs.

use super::{E2eEncryptionError, from_base64, netstring, to_base64};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey, PublicKeyComponents};
use aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256;
use ring::digest;
use serde_json::{Value, json};

/// The maximum length of `rsaPublicKey` in a profile.
const TEXT_BYTES_MAX: usize = 8_192;
/// 65537, the only public exponent.
const EXPONENT: [u8; 3] = [1, 0, 1];
const BITS_MIN: u32 = 2_048;
const BITS_MAX: u32 = 4_096;

/// An RSA key by its modulus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct E2eRsaPublicKey {
    modulus: Vec<u8>,
    kid: String,
}

impl E2eRsaPublicKey {
    /// From a modulus in big-endian bytes.
    pub(super) fn new(modulus: Vec<u8>) -> Result<Self, E2eEncryptionError> {
        let [first, .., last] = modulus[..] else { return Err(E2eEncryptionError::Broken) };
        let bits = (modulus.len() as u32).saturating_mul(8).saturating_sub(first.leading_zeros());
        if first == 0 || last & 1 == 0 || !(BITS_MIN..=BITS_MAX).contains(&bits) {
            return Err(E2eEncryptionError::Broken);
        }
        // RFC 7638: these keys, in this order, without white space.
        let thumbprint = format!("{{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"{}\"}}", to_base64(&modulus));
        let kid = to_base64(digest::digest(&digest::SHA256, thumbprint.as_bytes()));
        Ok(Self { modulus, kid })
    }

    fn read(jwk: &Value, alg: &str, usage: &str) -> Result<Self, E2eEncryptionError> {
        let text = |key: &str| jwk.get(key).and_then(Value::as_str).ok_or(E2eEncryptionError::Broken);
        if [text("kty")?, text("e")?, text("alg")?, text("use")?] != ["RSA", "AQAB", alg, usage] {
            return Err(E2eEncryptionError::Broken);
        }
        Self::new(from_base64(text("n")?)?)
    }

    fn jwk(&self, alg: &str, usage: &str) -> Value {
        json!({"kty": "RSA", "n": to_base64(&self.modulus), "e": "AQAB", "alg": alg, "use": usage})
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    fn components(&self) -> PublicKeyComponents<&[u8]> {
        PublicKeyComponents { n: self.modulus.as_slice(), e: EXPONENT.as_slice() }
    }

    /// RSA-OAEP.
    pub(super) fn wrap(&self, secret: &[u8]) -> Result<Vec<u8>, E2eEncryptionError> {
        let key: PublicEncryptingKey = self.components().try_into().map_err(|_| E2eEncryptionError::Broken)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| E2eEncryptionError::Broken)?;
        let mut wrapped = vec![0; key.ciphertext_size()];
        let written =
            key.encrypt(&OAEP_SHA256_MGF1SHA256, secret, &mut wrapped, None).map_err(|_| E2eEncryptionError::Failed)?;
        Ok(written.to_vec())
    }

    /// RSA-PSS.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), E2eEncryptionError> {
        self.components().verify(&RSA_PSS_2048_8192_SHA256, message, signature).map_err(|_| E2eEncryptionError::Forged)
    }
}

/// The public keys of a user: one for encryption, one for signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct E2ePublicKeys {
    pub(super) encrypt: E2eRsaPublicKey,
    pub(super) sign: E2eRsaPublicKey,
}

impl E2ePublicKeys {
    /// Reads `rsaPublicKey` of a profile.
    ///
    /// # Errors
    /// [`E2eEncryptionError::Broken`]: the text contains no keys of this format. A user with such a
    /// profile counts as one without keys.
    pub fn read(text: &str) -> Result<Self, E2eEncryptionError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(E2eEncryptionError::Broken);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| E2eEncryptionError::Broken)?;
        if value.get("hongyan").and_then(Value::as_u64) != Some(1) {
            return Err(E2eEncryptionError::Broken);
        }
        let key = |name: &str| value.get(name).ok_or(E2eEncryptionError::Broken);
        Ok(Self {
            encrypt: E2eRsaPublicKey::read(key("encrypt")?, "RSA-OAEP-256", "enc")?,
            sign: E2eRsaPublicKey::read(key("sign")?, "PS256", "sig")?,
        })
    }

    /// The text for `rsaPublicKey`.
    #[must_use]
    pub fn text(&self) -> String {
        let (encrypt, sign) = (self.encrypt.jwk("RSA-OAEP-256", "enc"), self.sign.jwk("PS256", "sig"));
        json!({"hongyan": 1, "encrypt": encrypt, "sign": sign}).to_string()
    }

    /// The key id of the key for encryption.
    #[must_use]
    pub fn encrypt_kid(&self) -> &str {
        self.encrypt.kid()
    }

    /// The key id of the key for signatures.
    #[must_use]
    pub fn sign_kid(&self) -> &str {
        self.sign.kid()
    }
}

/// The safety number of two users: twelve groups of five digits, the same for both. If both users
/// see the same number, nobody has replaced their keys.
#[must_use]
pub fn safety_number(one: (&str, &E2ePublicKeys), other: (&str, &E2ePublicKeys)) -> String {
    let mut both = [one, other];
    both.sort_by_key(|(name, _)| *name);
    let mut hashed = Vec::new();
    netstring(&mut hashed, "hongyan-safety-1");
    for (name, keys) in both {
        [name, keys.encrypt_kid(), keys.sign_kid()].into_iter().for_each(|text| netstring(&mut hashed, text));
    }
    let hash = digest::digest(&digest::SHA512, &hashed);
    let groups = hash.as_ref()[..60].chunks(5).map(|group| {
        let number = group.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        format!("{:05}", number % 100_000)
    });
    groups.collect::<Vec<_>>().join(" ")
}
