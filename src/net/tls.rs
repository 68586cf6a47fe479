//! TLS of one connection: records in, plaintext out, and the other way round. It has no clock, and
//! only uses the socket that is lent to it: so it works over any byte stream.
//!
//! A session owns no buffers while it is idle. Records are read into memory that all connections
//! share, plaintext is encrypted in such memory, and a session keeps only an incomplete record, or
//! encrypted bytes that the socket did not take.

use super::compact_tls_keys;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::version::{TLS12, TLS13};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

/// The approximate memory of an idle session in bytes: its keys and its state.
const SESSION_BYTES: usize = 5 * 512;
/// Additional memory in bytes if the keys of its cipher cannot be kept compact: two tables.
const EXPANDED_BYTES: usize = 1024;
/// Additional memory in bytes until the handshake is done.
const HANDSHAKE_BYTES: usize = 8 * 1024;
/// The largest amount of ciphertext that is kept as an incomplete record or handshake message, in
/// bytes: larger than the largest record (RFC 5246 §6.2.3), and than any honest handshake message
/// in several records.
const INCOMING_BYTES_MAX: usize = 32 * 1024;
/// The ciphertext that is read at a time, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// The plaintext that is encrypted at a time, in bytes: two full records. Encrypted bytes that the
/// socket does not take are kept.
const SEALED_BYTES: usize = 32 * 1024;
/// The largest size of that ciphertext, in bytes: each record grows by 22 bytes in TLS 1.3 and by
/// 29 in TLS 1.2, and a key update may come first.
const SEALED_BYTES_MAX: usize = SEALED_BYTES + 512;

/// The header of a record: a type, a version and a length.
const HEAD_BYTES: usize = 5;

const TOO_LARGE: rustls::Error = rustls::Error::InvalidMessage(rustls::InvalidMessage::HandshakePayloadTooLarge);

/// The ALPN protocol: WebSocket clients that request a protocol request this one.
const ALPN: &[u8] = b"http/1.1";
/// The number of tickets for a quicker next handshake that a TLS 1.3 client gets; one is enough for
/// one connection at a time.
const TICKETS: usize = 1;

/// Makes the TLS configuration for a certificate chain, whose first certificate is the server's
/// own, and its key.
///
/// # Errors
/// They cannot be used, or do not belong together.
pub fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(compact_tls_keys::provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // The server's first choices are ciphers whose keys are kept compact.
    config.ignore_client_order = true;
    // The client keeps the encrypted state for a quicker next handshake; the server keeps nothing.
    // Early data is off, because it could be replayed.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The certificates in use. They may be replaced while the server runs; existing sessions keep the
/// ones with which they began.
#[derive(Debug)]
pub struct Certificates {
    config: Arc<ServerConfig>,
    /// Plain connections are refused, except from loopback.
    tls_only: bool,
}

impl Certificates {
    /// Uses these certificates; with `tls_only` plain connections are refused, except from
    /// loopback.
    #[must_use]
    pub fn new(config: Arc<ServerConfig>, tls_only: bool) -> Self {
        Self { config, tls_only }
    }

    /// Are plain connections refused?
    #[must_use]
    pub(super) fn tls_only(&self) -> bool {
        self.tls_only
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Memory that all sessions share for reading, allocated when the first one begins.
#[derive(Debug, Default)]
pub struct SharedTlsReadBuffers {
    /// Records that were read.
    records: Vec<u8>,
    /// The number of records that were read, complete or not.
    pub(super) count: usize,
    /// Their plaintext.
    pub(super) plain: Vec<u8>,
}

impl SharedTlsReadBuffers {
    /// The buffer for records, with room for kept bytes and for a read after them.
    fn records(&mut self) -> &mut Vec<u8> {
        if self.records.is_empty() {
            self.records = vec![0; INCOMING_BYTES_MAX + READ_BYTES];
        }
        &mut self.records
    }
}

/// The result of decrypting records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsDecryptResult {
    /// The plaintext of all complete records is available; the client may send more.
    More,
    /// As `More`, and the client has announced its end.
    End,
}

/// The session of one connection.
pub struct TlsSession {
    session: UnbufferedServerConnection,
    /// An incomplete record.
    incoming: Vec<u8>,
    /// Records to be written before anything else, of which the first `written` bytes are written.
    outgoing: Vec<u8>,
    written: usize,
    /// Handling the handshake has begun.
    handshake_has_begun: bool,
    /// Its keys are expanded all the time.
    is_expanded: bool,
    /// Nothing more may be sent in this session.
    is_write_closed: bool,
    /// The client has announced its end.
    client_has_ended: bool,
}

impl fmt::Debug for TlsSession {
    /// Shows nothing of its keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSession")
            .field("incoming", &self.incoming.len())
            .field("unwritten", &self.unwritten())
            .finish()
    }
}

impl TlsSession {
    /// A session that begins with these bytes.
    ///
    /// # Errors
    /// There are more bytes than any honest client sends, or the library refuses its configuration.
    pub fn new(certificates: &Certificates, first: &[u8]) -> Result<Self, rustls::Error> {
        if first.len() > INCOMING_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        Ok(Self {
            session: UnbufferedServerConnection::new(certificates.config())?,
            incoming: first.to_vec(),
            outgoing: Vec::new(),
            written: 0,
            handshake_has_begun: false,
            is_expanded: false,
            is_write_closed: false,
            client_has_ended: false,
        })
    }

    /// Is the handshake not done yet?
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Has handling the handshake not begun yet?
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.handshake_has_begun
    }

    /// The number of unwritten bytes of records.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// The memory that it uses, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let handshake = if self.is_handshaking() { HANDSHAKE_BYTES } else { 0 };
        let keys = if self.is_expanded { EXPANDED_BYTES } else { 0 };
        SESSION_BYTES + keys + handshake + self.incoming.capacity() + self.outgoing.capacity()
    }

    /// Does it own a buffer?
    #[cfg(test)]
    pub(super) fn owns_buffers(&self) -> bool {
        self.incoming.capacity() + self.outgoing.capacity() > 0
    }

    /// The space into which the next records must be read, at most `bytes_max`; the kept bytes come
    /// before it.
    #[must_use]
    pub(super) fn space<'a>(&self, buffers: &'a mut SharedTlsReadBuffers, bytes_max: usize) -> &'a mut [u8] {
        let kept = self.incoming.len();
        &mut buffers.records()[kept..kept + bytes_max.min(READ_BYTES)]
    }

    /// Decrypts records after `count` bytes were read. Complete records become plaintext; answers
    /// of the TLS protocol itself become outgoing records.
    ///
    /// # Errors
    /// The client violated the protocol. The alert about it is among the outgoing records.
    pub(super) fn open(
        &mut self,
        buffers: &mut SharedTlsReadBuffers,
        count: usize,
    ) -> Result<TlsDecryptResult, rustls::Error> {
        self.handshake_has_begun = true;
        let shakes_hands = self.is_handshaking();
        let end = self.incoming.len() + count;
        buffers.plain.clear();
        let SharedTlsReadBuffers { records, count, plain } = buffers;
        records[..self.incoming.len()].copy_from_slice(&self.incoming);
        *count = count_records(&records[..end]);
        self.incoming = Vec::new();
        let opened = match self.open_all(&mut records[..end], plain) {
            Ok(_) if self.client_has_ended => Ok(TlsDecryptResult::End),
            Ok(used) if end - used <= INCOMING_BYTES_MAX => {
                // Kept in no more memory than needed.
                self.incoming = records[used..end].to_vec();
                Ok(TlsDecryptResult::More)
            }
            Ok(_) => Err(TOO_LARGE),
            Err(error) => Err(error),
        };
        self.is_write_closed |= opened.is_err();
        if shakes_hands {
            self.is_expanded = self.session.negotiated_cipher_suite().is_some_and(compact_tls_keys::keeps_expanded);
        }
        opened
    }

    /// Decrypts record after record. Gives the number of used bytes.
    fn open_all(&mut self, records: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, rustls::Error> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.session.process_tls_records(&mut records[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.outgoing),
                // It is written before anything else.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.client_has_ended = true,
                // Early data is off, and other states of later library versions do not occur.
                Ok(_) => return Ok(used + discard),
                Err(error) => {
                    self.encode_alert(&mut records[used + discard..]);
                    return Err(error);
                }
            }
            used += discard;
        }
    }

    /// Appends the alert about an error. Afterwards the session must not be used any more.
    #[cold]
    fn encode_alert(&mut self, records: &mut [u8]) {
        while self.session.wants_write() {
            if let Ok(ConnectionState::EncodeTlsData(data)) = self.session.process_tls_records(records).state {
                encode(data, &mut self.outgoing);
            } else {
                return;
            }
        }
    }

    /// May something be encrypted?
    #[must_use]
    pub(super) fn can_seal(&self) -> bool {
        !self.is_write_closed && !self.is_handshaking()
    }

    /// Encrypts something into `sealed`. Gives the length of the ciphertext.
    fn seal(
        &mut self,
        sealed: &mut Vec<u8>,
        mut write: impl FnMut(&mut TlsTrafficWriter<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        if sealed.is_empty() {
            sealed.resize(SEALED_BYTES_MAX, 0);
        }
        loop {
            // The kept bytes are not used here, but the session has positions in them.
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(&mut self.incoming);
            let written = match state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => Some(loop {
                    match write(&mut traffic, sealed) {
                        Ok(count) => break Ok(count),
                        Err(EncryptError::InsufficientSize(needed)) if needed.required_size > sealed.len() => {
                            sealed.resize(needed.required_size, 0);
                        }
                        Err(error) => break Err(io::Error::other(error)),
                    }
                }),
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.outgoing);
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.client_has_ended = true;
                    None
                }
                Ok(_) => Some(Err(ErrorKind::NotConnected.into())),
                Err(error) => Some(Err(io::Error::other(error))),
            };
            self.incoming.drain(..discard);
            if let Some(written) = written {
                return written;
            }
        }
    }

    /// Encrypts close_notify, once, if the handshake is far enough for it.
    pub(super) fn close(&mut self, sealed: &mut Vec<u8>) {
        if !self.can_seal() {
            return;
        }
        // If even that fails, nothing is sent.
        if let Ok(count) = self.seal(sealed, |traffic, space| traffic.queue_close_notify(space)) {
            self.outgoing.extend_from_slice(&sealed[..count]);
        }
        self.is_write_closed = true;
    }

    /// Writes the records that wait. Are all out?
    ///
    /// # Errors
    /// The connection is broken.
    pub(super) fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while self.written < self.outgoing.len() {
            match socket.write(&self.outgoing[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.outgoing.drain(..self.written);
                    self.written = 0;
                    self.outgoing.shrink_to_fit();
                    return Ok(false);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.outgoing.capacity() > 0 {
            self.outgoing = Vec::new();
            self.written = 0;
        }
        Ok(true)
    }
}

type TlsTrafficWriter<'a> = rustls::unbuffered::WriteTraffic<'a, ServerConnectionData>;

/// The number of records in these bytes, complete or not: a small record costs nearly as much as a
/// large one, and may be empty.
fn count_records(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        bytes = rest.get(length..).unwrap_or_default();
        count += 1;
    }
    count
}

/// Appends a record of the protocol itself.
fn encode(mut data: EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) {
    let start = out.len();
    // Without room it returns the size that it needs.
    let mut written = data.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(needed)) = written {
        out.resize(start + needed.required_size, 0);
        written = data.encode(&mut out[start..]);
    }
    out.truncate(start + written.unwrap_or(0));
}

/// A socket that encrypts what is written to it.
pub(super) struct TlsSocketWriter<'a, W> {
    pub(super) tls: &'a mut TlsSession,
    pub(super) socket: &'a mut W,
    /// Memory to encrypt in, which all sessions share.
    pub(super) sealed: &'a mut Vec<u8>,
}

impl<W: Write> Write for TlsSocketWriter<'_, W> {
    /// Takes some plaintext if all earlier records are written. Encrypted plaintext counts as
    /// taken, whatever the socket accepts: the rest of the ciphertext is kept.
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        if !self.tls.flush(self.socket)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let plain = &plain[..plain.len().min(SEALED_BYTES)];
        let end = self.tls.seal(self.sealed, |traffic, space| traffic.encrypt(plain, space))?;
        // A message of the TLS protocol itself may have come before it.
        let out = if self.tls.flush(self.socket)? { write_available(self.socket, &self.sealed[..end])? } else { 0 };
        self.tls.outgoing.extend_from_slice(&self.sealed[out..end]);
        Ok(plain.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until all is written or the socket takes no more. Gives the number of written bytes.
fn write_available(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut out = 0;
    while out < bytes.len() {
        match socket.write(&bytes[out..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => out += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}
