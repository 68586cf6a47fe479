//! TLS of one connection: records in, plaintext out, and the other way round. No socket inside but
//! the one it is lent, and no clock: it works over whatever carries bytes.
//!
//! A session owns no buffers while it is idle. Records are read into memory that all connections
//! share, plaintext is encrypted in such memory, and only what is no whole record yet, or what the
//! socket did not take, is kept by the session.

use super::compact_keys;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::version::{TLS12, TLS13};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

/// What a session holds that is idle, about: its keys and its place in the protocol.
const SESSION_BYTES: usize = 5 * 512;
/// What it holds in addition if its cipher has keys that cannot be kept compact: two tables.
const EXPANDED_BYTES: usize = 1024;
/// What it holds in addition until the handshake is done.
const HANDSHAKE_BYTES: usize = 8 * 1024;
/// Ciphertext that is kept because it is no whole record: the largest record (RFC 5246 §6.2.3), and
/// a handshake message that comes in several of them and is larger than any honest one.
const INCOMING_BYTES_MAX: usize = 32 * 1024;
/// Ciphertext read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Plaintext encrypted at a time; two whole records. What the socket does not take of it is kept.
const SEALED_BYTES: usize = 32 * 1024;
/// What so much becomes at most: each record grows by 22 bytes in TLS 1.3 and by 29 in TLS 1.2,
/// and a key update may come first.
const SEALED_BYTES_MAX: usize = SEALED_BYTES + 512;

/// A type, a version and a length stand in front of each record.
const HEAD_BYTES: usize = 5;

const TOO_LARGE: rustls::Error = rustls::Error::InvalidMessage(rustls::InvalidMessage::HandshakePayloadTooLarge);

/// What is spoken inside: WebSocket clients that ask for a protocol ask for this one.
const ALPN: &[u8] = b"http/1.1";
/// Tickets for a quicker next handshake that a client of TLS 1.3 is given; one is enough for one
/// connection at a time.
const TICKETS: usize = 1;

/// How TLS is spoken with this certificate, which comes first in its chain, and its key.
///
/// # Errors
/// They cannot be used, or do not belong together.
pub fn config(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(compact_keys::provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // The keys of what comes first in the list are kept compact.
    config.ignore_client_order = true;
    // What a client needs for a quicker next handshake is given to it, encrypted; nothing of it is
    // kept here. Data before the end of a handshake could be replayed: there is none.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS;
    config.max_early_data_size = 0;
    Ok(config)
}

/// The certificates that are in use. They may be replaced while the server runs: sessions that have
/// begun go on with those that they began with.
#[derive(Debug)]
pub struct Certificates {
    config: Arc<ServerConfig>,
    /// Plain connections are refused, except from loopback.
    tls_only: bool,
}

impl Certificates {
    /// These; with `tls_only` plain connections are refused, except from loopback.
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

/// Memory that all sessions share for reading, taken when the first one begins.
#[derive(Debug, Default)]
pub struct OpenBuffers {
    /// Records that were read.
    records: Vec<u8>,
    /// How many of them there were, whole or not.
    pub(super) count: usize,
    /// What was in them.
    pub(super) plain: Vec<u8>,
}

impl OpenBuffers {
    /// The records: room for what was kept and for what is read behind it.
    fn records(&mut self) -> &mut Vec<u8> {
        if self.records.is_empty() {
            self.records = vec![0; INCOMING_BYTES_MAX + READ_BYTES];
        }
        &mut self.records
    }
}

/// What came of the records that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// All that was whole is in the plaintext; the client may say more.
    More,
    /// The same, and the client has said that it will say no more.
    End,
}

/// The session of one connection.
pub struct Tls {
    session: UnbufferedServerConnection,
    /// What was read and is no whole record yet.
    incoming: Vec<u8>,
    /// Records that are to be written before anything else, of which the first `written` bytes are
    /// out.
    outgoing: Vec<u8>,
    written: usize,
    /// Something of the handshake was looked at.
    has_begun: bool,
    /// Its keys are expanded all the time.
    is_expanded: bool,
    /// Nothing more may be said in this session.
    is_over: bool,
    /// The client said that it will say no more.
    has_ended: bool,
}

impl fmt::Debug for Tls {
    /// Nothing of its keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("incoming", &self.incoming.len()).field("unwritten", &self.unwritten()).finish()
    }
}

impl Tls {
    /// A session that begins with these bytes.
    ///
    /// # Errors
    /// There are more of them than any honest client sends, or the library refuses its own
    /// configuration.
    pub fn new(certificates: &Certificates, first: &[u8]) -> Result<Self, rustls::Error> {
        if first.len() > INCOMING_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        Ok(Self {
            session: UnbufferedServerConnection::new(certificates.config())?,
            incoming: first.to_vec(),
            outgoing: Vec::new(),
            written: 0,
            has_begun: false,
            is_expanded: false,
            is_over: false,
            has_ended: false,
        })
    }

    /// Is the handshake not done yet?
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }

    /// Is this the first look at what the client sent?
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.has_begun
    }

    /// How many bytes of records wait to be written.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.outgoing.len() - self.written
    }

    /// How much memory it holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let handshake = if self.is_handshaking() { HANDSHAKE_BYTES } else { 0 };
        let keys = if self.is_expanded { EXPANDED_BYTES } else { 0 };
        SESSION_BYTES + keys + handshake + self.incoming.capacity() + self.outgoing.capacity()
    }

    /// Does it own a buffer?
    #[cfg(test)]
    pub(super) fn owns_buffers(&self) -> bool {
        self.incoming.capacity() + self.outgoing.capacity() > 0
    }

    /// Where the next records are to be read into, so many bytes at most; what was kept stands
    /// before it.
    #[must_use]
    pub(super) fn space<'a>(&self, buffers: &'a mut OpenBuffers, bytes_max: usize) -> &'a mut [u8] {
        let kept = self.incoming.len();
        &mut buffers.records()[kept..kept + bytes_max.min(READ_BYTES)]
    }

    /// So many bytes were read there. What is in the whole records becomes the plaintext; answers
    /// of the protocol itself become outgoing records.
    ///
    /// # Errors
    /// The client broke the protocol. What is to be said about it is among the outgoing records.
    pub(super) fn open(&mut self, buffers: &mut OpenBuffers, count: usize) -> Result<Opened, rustls::Error> {
        self.has_begun = true;
        let shakes_hands = self.is_handshaking();
        let end = self.incoming.len() + count;
        buffers.plain.clear();
        let OpenBuffers { records, count, plain } = buffers;
        records[..self.incoming.len()].copy_from_slice(&self.incoming);
        *count = count_records(&records[..end]);
        self.incoming = Vec::new();
        let opened = match self.open_all(&mut records[..end], plain) {
            Ok(_) if self.has_ended => Ok(Opened::End),
            Ok(used) if end - used <= INCOMING_BYTES_MAX => {
                // In no more memory than it needs.
                self.incoming = records[used..end].to_vec();
                Ok(Opened::More)
            }
            Ok(_) => Err(TOO_LARGE),
            Err(error) => Err(error),
        };
        self.is_over |= opened.is_err();
        if shakes_hands {
            self.is_expanded = self.session.negotiated_cipher_suite().is_some_and(compact_keys::keeps_expanded);
        }
        opened
    }

    /// Opens record after record. Gives how many bytes are used up.
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
                // It goes out before anything else does.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.has_ended = true,
                // Early data is off; whatever else a later version of the library may have is, too.
                Ok(_) => return Ok(used + discard),
                Err(error) => {
                    self.encode_alert(&mut records[used + discard..]);
                    return Err(error);
                }
            }
            used += discard;
        }
    }

    /// What is to be said about an error that was met. Behind it the session must not be asked for
    /// anything any more.
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
        !self.is_over && !self.is_handshaking()
    }

    /// Has the session encrypt something into `sealed`. Gives how long it became.
    fn seal(
        &mut self,
        sealed: &mut Vec<u8>,
        mut write: impl FnMut(&mut WriteTraffic<'_>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        if sealed.is_empty() {
            sealed.resize(SEALED_BYTES_MAX, 0);
        }
        loop {
            // What was kept is of no use here, but the session remembers places in it.
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
                    self.has_ended = true;
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

    /// Says that nothing more will be said, once, if the client can understand it.
    pub(super) fn close(&mut self, sealed: &mut Vec<u8>) {
        if !self.can_seal() {
            return;
        }
        // A session that cannot even say that has nothing to say.
        if let Ok(count) = self.seal(sealed, |traffic, space| traffic.queue_close_notify(space)) {
            self.outgoing.extend_from_slice(&sealed[..count]);
        }
        self.is_over = true;
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

type WriteTraffic<'a> = rustls::unbuffered::WriteTraffic<'a, ServerConnectionData>;

/// How many records there are in these bytes, whole or not: a small one costs nearly as much as a
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
    // Without room it says how much it needs.
    let mut written = data.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(needed)) = written {
        out.resize(start + needed.required_size, 0);
        written = data.encode(&mut out[start..]);
    }
    out.truncate(start + written.unwrap_or(0));
}

/// A socket that encrypts what is written to it.
pub(super) struct Sealing<'a, W> {
    pub(super) tls: &'a mut Tls,
    pub(super) socket: &'a mut W,
    /// Memory to encrypt in, which all sessions share.
    pub(super) sealed: &'a mut Vec<u8>,
}

impl<W: Write> Write for Sealing<'_, W> {
    /// Takes some plaintext when all records before it are out. Once it is encrypted it is taken,
    /// whatever the socket says: what is left is kept.
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        if !self.tls.flush(self.socket)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        let plain = &plain[..plain.len().min(SEALED_BYTES)];
        let end = self.tls.seal(self.sealed, |traffic, space| traffic.encrypt(plain, space))?;
        // Something of the protocol itself may have come before it.
        let out = if self.tls.flush(self.socket)? { write_some(self.socket, &self.sealed[..end])? } else { 0 };
        self.tls.outgoing.extend_from_slice(&self.sealed[out..end]);
        Ok(plain.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until all is out or the socket takes no more. Gives how much is out.
fn write_some(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
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
