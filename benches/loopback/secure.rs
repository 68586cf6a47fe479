//! Clients that speak TLS: rustls, as it comes, over a socket that blocks or does not. Each makes a
//! whole handshake. Certificates are not checked, because a client would need longer for that than
//! the server for its part.

use super::Fallible;
use super::clients;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file of the certificate that the server is given: ECDSA with P-256.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/tls").join(name)
}

/// How the clients speak TLS.
#[derive(Clone, Debug)]
pub struct Secure(Arc<ClientConfig>);

impl Secure {
    pub fn new() -> Fallible<Self> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unchecked))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// TLS over a socket that is connected, or about to be.
    pub fn over<S: Read + Write>(&self, socket: S) -> Fallible<SecureStream<S>> {
        let session = ClientConnection::new(Arc::clone(&self.0), ServerName::try_from("localhost")?)?;
        Ok(SecureStream { session: Box::new(session), socket })
    }

    /// A connection on which nothing is sent yet.
    pub fn connect(&self, addr: SocketAddr) -> Fallible<SecureStream<TcpStream>> {
        self.over(clients::connect(addr)?)
    }
}

/// A connection with TLS. Bytes that are written before the end of the handshake go out behind it.
pub struct SecureStream<S> {
    session: Box<ClientConnection>,
    pub socket: S,
}

impl<S> SecureStream<S> {
    /// The same over another kind of the same socket.
    pub fn map<T>(self, change: impl FnOnce(S) -> io::Result<T>) -> io::Result<SecureStream<T>> {
        Ok(SecureStream { session: self.session, socket: change(self.socket)? })
    }

    /// Is there something encrypted that the socket has not taken?
    pub fn is_behind(&self) -> bool {
        self.session.wants_write()
    }

    /// The suite that was agreed on, for the report.
    pub fn suite(&self) -> String {
        self.session.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()))
    }
}

impl<S: Read + Write> Read for SecureStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            self.flush()?;
            self.session.read_tls(&mut self.socket)?;
            self.session.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl<S: Read + Write> Write for SecureStream<S> {
    /// Takes what the session has room for, whatever the socket takes of it.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(bytes)?;
        self.flush()?;
        if taken == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Writes as much as the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Believes every certificate.
#[derive(Debug)]
struct Unchecked;

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A connection of a client that does not block, plain or with TLS.
pub enum Link {
    Plain(mio::net::TcpStream),
    Secure(SecureStream<mio::net::TcpStream>),
}

impl Link {
    pub fn socket(&mut self) -> &mut mio::net::TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Secure(stream) => &mut stream.socket,
        }
    }

    /// Is there something encrypted that the socket has not taken?
    pub fn is_behind(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Secure(stream) => stream.is_behind(),
        }
    }

    /// Does a read that fills less than the buffer say that there is no more?
    pub fn reads_all(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

fn non_blocking(socket: TcpStream) -> io::Result<mio::net::TcpStream> {
    socket.set_nonblocking(true)?;
    Ok(mio::net::TcpStream::from_std(socket))
}

impl TryFrom<TcpStream> for Link {
    type Error = io::Error;

    fn try_from(socket: TcpStream) -> io::Result<Self> {
        non_blocking(socket).map(Self::Plain)
    }
}

impl TryFrom<SecureStream<TcpStream>> for Link {
    type Error = io::Error;

    fn try_from(stream: SecureStream<TcpStream>) -> io::Result<Self> {
        stream.map(non_blocking).map(Self::Secure)
    }
}

impl Read for Link {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Secure(stream) => stream.flush(),
        }
    }
}
