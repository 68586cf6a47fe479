//! TLS ciphers whose keys are kept in compact form, as negotiated, and expanded for each record.
//!
//! An expanded key is a table of half a kilobyte, and a session has two. Nearly all sessions are
//! idle nearly always, and expanding a key takes less than a microsecond: so the tables are made
//! when they are needed. All cryptography stays in the library's own ciphers, which are called for
//! each record.

use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, InboundPlainMessage, Iv, KeyBlockShape, MessageDecrypter, MessageEncrypter,
    OutboundOpaqueMessage, OutboundPlainMessage, Tls12AeadAlgorithm, Tls13AeadAlgorithm, UnsupportedOperationError,
};
use rustls::crypto::{CipherSuiteCommon, CryptoProvider, ring};
use rustls::{ConnectionTrafficSecrets, Error, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use std::sync::{Arc, LazyLock};

/// Keys of this length are kept compact. Shorter ones cannot be copied through the library's
/// interface; few clients need them, since the server chooses the cipher.
const KEY_BYTES: usize = 32;
const IV_BYTES_MAX: usize = 12;

/// The library's provider with compact keys.
pub(super) fn provider() -> Arc<CryptoProvider> {
    // The library requires suites with a static lifetime: they are made once.
    static SUITES: LazyLock<Vec<SupportedCipherSuite>> =
        LazyLock::new(|| ring::default_provider().cipher_suites.into_iter().map(compact).collect());
    Arc::new(CryptoProvider { cipher_suites: SUITES.clone(), ..ring::default_provider() })
}

fn compact(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let common = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: common.confidentiality_limit,
    };
    match suite {
        SupportedCipherSuite::Tls13(suite) => SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
            common: common(&suite.common),
            hkdf_provider: suite.hkdf_provider,
            aead_alg: Box::leak(Box::new(CompactKeyTlsCipher(suite.aead_alg))),
            quic: None,
        }))),
        SupportedCipherSuite::Tls12(suite) => SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
            common: common(&suite.common),
            prf_provider: suite.prf_provider,
            kx: suite.kx,
            sign: suite.sign,
            aead_alg: Box::leak(Box::new(CompactKeyTlsCipher(suite.aead_alg))),
        }))),
    }
}

/// Does a session with this suite hold expanded keys all the time?
pub(super) fn keeps_expanded(suite: SupportedCipherSuite) -> bool {
    let key_bytes = match suite {
        SupportedCipherSuite::Tls13(suite) => suite.aead_alg.key_len(),
        SupportedCipherSuite::Tls12(suite) => suite.aead_alg.key_block_shape().enc_key_len,
    };
    key_bytes != KEY_BYTES
}

/// A cipher with compact keys.
struct CompactKeyTlsCipher<A: ?Sized + 'static>(&'static A);

/// A key, and the data for its nonces: one IV for TLS 1.3; two parts for TLS 1.2, which together
/// are no longer.
struct CompactTlsTrafficKey<A: ?Sized + 'static> {
    cipher: &'static A,
    key: AeadKey,
    iv: [u8; IV_BYTES_MAX],
    /// The length of the first part.
    iv_length: u8,
    /// How many bytes a record is longer than its plaintext.
    overhead: u16,
}

impl<A: ?Sized> CompactTlsTrafficKey<A> {
    /// `None`: this key cannot be kept compact.
    fn new(cipher: &'static A, key: &AeadKey, iv: &[u8], extra: &[u8]) -> Option<Self> {
        let mut both = [0; IV_BYTES_MAX];
        both.get_mut(..iv.len())?.copy_from_slice(iv);
        both.get_mut(iv.len()..iv.len() + extra.len())?.copy_from_slice(extra);
        // Twelve bytes at most.
        Some(Self { cipher, key: copy(key)?, iv: both, iv_length: iv.len() as u8, overhead: 0 })
    }

    fn key(&self) -> Result<AeadKey, Error> {
        copy(&self.key).ok_or(Error::EncryptError)
    }

    fn ivs(&self) -> (&[u8], &[u8]) {
        self.iv.split_at(usize::from(self.iv_length))
    }

    /// Notes how much longer a record becomes: some 30 bytes.
    fn with_overhead(mut self, encrypter: &dyn MessageEncrypter) -> Self {
        self.overhead = encrypter.encrypted_payload_len(0) as u16;
        self
    }
}

/// A copy of this key, if the library's interface allows a copy of this length.
fn copy(key: &AeadKey) -> Option<AeadKey> {
    <[u8; KEY_BYTES]>::try_from(key.as_ref()).ok().map(AeadKey::from)
}

/// Expands a key into the library's cipher for one record.
trait CompactTlsKeyExpander: Send + Sync {
    fn encrypter(&self) -> Result<Box<dyn MessageEncrypter>, Error>;
    fn decrypter(&self) -> Result<Box<dyn MessageDecrypter>, Error>;
}

impl CompactTlsKeyExpander for CompactTlsTrafficKey<dyn Tls13AeadAlgorithm> {
    fn encrypter(&self) -> Result<Box<dyn MessageEncrypter>, Error> {
        Ok(self.cipher.encrypter(self.key()?, Iv::from(self.iv)))
    }

    fn decrypter(&self) -> Result<Box<dyn MessageDecrypter>, Error> {
        Ok(self.cipher.decrypter(self.key()?, Iv::from(self.iv)))
    }
}

impl CompactTlsKeyExpander for CompactTlsTrafficKey<dyn Tls12AeadAlgorithm> {
    fn encrypter(&self) -> Result<Box<dyn MessageEncrypter>, Error> {
        let (iv, extra) = self.ivs();
        Ok(self.cipher.encrypter(self.key()?, iv, extra))
    }

    fn decrypter(&self) -> Result<Box<dyn MessageDecrypter>, Error> {
        let (iv, _) = self.ivs();
        Ok(self.cipher.decrypter(self.key()?, iv))
    }
}

impl<A: ?Sized> MessageEncrypter for CompactTlsTrafficKey<A>
where
    Self: CompactTlsKeyExpander,
{
    fn encrypt(&mut self, message: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error> {
        self.encrypter()?.encrypt(message, seq)
    }

    fn encrypted_payload_len(&self, payload_len: usize) -> usize {
        payload_len + usize::from(self.overhead)
    }
}

impl<A: ?Sized> MessageDecrypter for CompactTlsTrafficKey<A>
where
    Self: CompactTlsKeyExpander,
{
    fn decrypt<'a>(&mut self, message: InboundOpaqueMessage<'a>, seq: u64) -> Result<InboundPlainMessage<'a>, Error> {
        self.decrypter()?.decrypt(message, seq)
    }
}

impl Tls13AeadAlgorithm for CompactKeyTlsCipher<dyn Tls13AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageEncrypter> {
        let kept = CompactTlsTrafficKey::new(self.0, &key, iv.as_ref(), &[]);
        let expanded = self.0.encrypter(key, iv);
        match kept {
            Some(kept) => Box::new(kept.with_overhead(&*expanded)),
            None => expanded,
        }
    }

    fn decrypter(&self, key: AeadKey, iv: Iv) -> Box<dyn MessageDecrypter> {
        match CompactTlsTrafficKey::new(self.0, &key, iv.as_ref(), &[]) {
            Some(kept) => Box::new(kept),
            None => self.0.decrypter(key, iv),
        }
    }

    fn key_len(&self) -> usize {
        self.0.key_len()
    }

    fn extract_keys(&self, key: AeadKey, iv: Iv) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv)
    }
}

impl Tls12AeadAlgorithm for CompactKeyTlsCipher<dyn Tls12AeadAlgorithm> {
    fn encrypter(&self, key: AeadKey, iv: &[u8], extra: &[u8]) -> Box<dyn MessageEncrypter> {
        let kept = CompactTlsTrafficKey::new(self.0, &key, iv, extra);
        let expanded = self.0.encrypter(key, iv, extra);
        match kept {
            Some(kept) => Box::new(kept.with_overhead(&*expanded)),
            None => expanded,
        }
    }

    fn decrypter(&self, key: AeadKey, iv: &[u8]) -> Box<dyn MessageDecrypter> {
        match CompactTlsTrafficKey::new(self.0, &key, iv, &[]) {
            Some(kept) => Box::new(kept),
            None => self.0.decrypter(key, iv),
        }
    }

    fn key_block_shape(&self) -> KeyBlockShape {
        self.0.key_block_shape()
    }

    fn extract_keys(
        &self,
        key: AeadKey,
        iv: &[u8],
        explicit: &[u8],
    ) -> Result<ConnectionTrafficSecrets, UnsupportedOperationError> {
        self.0.extract_keys(key, iv, explicit)
    }
}
