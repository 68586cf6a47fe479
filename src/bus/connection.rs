//! One connection to a Redis or Valkey server.
//!
//! The crate `redis` writes commands and parses answers. Sockets, TLS, time-outs and the limit on
//! the size of an answer are in this module.

use super::codec::FRAME_BYTES_MAX;
use super::settings::{BusTls, RedisInstanceAddress};
use crate::error_text::without_number;
use redis::{Cmd, Parser, Value};
use rustls::{ClientConnection, StreamOwned};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The maximum size of an answer: a frame with the name of its channel.
const ANSWER_BYTES_MAX: usize = FRAME_BYTES_MAX + 4 * 1024;
/// The number of addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// The maximum length of a server's error text that is repeated.
const SAID_CHARS_MAX: usize = 120;

/// Why an instance cannot be used, as the end of a sentence. It never has a password in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedisInstanceError(pub(super) String);

impl fmt::Display for RedisInstanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for RedisInstanceError {
    fn from(error: io::Error) -> Self {
        let said = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "no answer came in time".to_owned(),
            ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                "the connection was closed".to_owned()
            }
            ErrorKind::InvalidData => format!("TLS does not work with it: {error}"),
            _ => without_number(&error),
        };
        Self(said)
    }
}

fn fault(why: &str) -> RedisInstanceError {
    RedisInstanceError(why.to_owned())
}

const RUBBISH: &str = "the program that answers there does not speak the protocol of Redis";

enum BusStream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl BusStream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

/// The input of the parser, limited to the size of one answer.
struct SizeLimitedRedisInput {
    stream: BusStream,
    remaining: usize,
    /// The cause of the last failed read, which the crate does not report.
    failed: Option<io::Error>,
}

impl SizeLimitedRedisInput {
    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 {
            return Err(io::Error::other(RUBBISH));
        }
        let room = buffer.len().min(self.remaining);
        let count = match &mut self.stream {
            BusStream::Plain(socket) => socket.read(&mut buffer[..room]),
            BusStream::Tls(stream) => stream.read(&mut buffer[..room]),
        }?;
        self.remaining -= count;
        if count == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
    }
}

impl Read for SizeLimitedRedisInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_some(buffer).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

/// An authenticated connection.
pub(super) struct BusConnection {
    reader: SizeLimitedRedisInput,
    parser: Parser,
}

impl BusConnection {
    /// Connects, and authenticates. Each step takes at most `timeout`.
    pub(super) fn open(place: &RedisInstanceAddress, timeout: Duration) -> Result<Self, RedisInstanceError> {
        let socket = connect(&place.url.host, place.url.port, timeout)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        let stream = match &place.tls {
            None => BusStream::Plain(socket),
            Some(tls) => BusStream::Tls(Box::new(handshake(tls, socket, timeout)?)),
        };
        let reader = SizeLimitedRedisInput { stream, remaining: ANSWER_BYTES_MAX, failed: None };
        let mut connection = Self { reader, parser: Parser::new() };
        connection.log_in(place, timeout)?;
        Ok(connection)
    }

    fn log_in(&mut self, place: &RedisInstanceAddress, timeout: Duration) -> Result<(), RedisInstanceError> {
        if let Some(password) = &place.url.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &place.url.user {
                auth.arg(user);
            }
            self.send(auth.arg(password))?;
            match self.answer(timeout)? {
                Value::Okay => {}
                // The server's own text may repeat the password.
                Value::ServerError(error) if error.code() == "WRONGPASS" => {
                    return Err(fault("it refuses the user or the password"));
                }
                Value::ServerError(_) => {
                    return Err(fault("it refuses the log-in: perhaps it has no password, or no such user"));
                }
                _ => return Err(fault(RUBBISH)),
            }
        }
        // A server that answers this has accepted the log-in.
        self.send(&redis::cmd("PING"))?;
        match self.answer(timeout)? {
            Value::SimpleString(text) if text == "PONG" => Ok(()),
            Value::ServerError(error) if error.code() == "NOAUTH" => Err(fault("it wants a password")),
            other => Err(unexpected_answer(&other)),
        }
    }

    /// Sends one command.
    pub(super) fn send(&mut self, command: &Cmd) -> Result<(), RedisInstanceError> {
        self.send_bytes(&command.get_packed_command())
    }

    /// Sends commands that are already encoded.
    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), RedisInstanceError> {
        match &mut self.reader.stream {
            BusStream::Plain(socket) => socket.write_all(bytes)?,
            BusStream::Tls(stream) => {
                stream.write_all(bytes)?;
                stream.flush()?;
            }
        }
        Ok(())
    }

    /// The next answer, if it arrives in time.
    pub(super) fn answer(&mut self, timeout: Duration) -> Result<Value, RedisInstanceError> {
        let until = Instant::now() + timeout;
        loop {
            if let Some(value) = self.try_answer()? {
                return Ok(value);
            }
            if Instant::now() >= until {
                return Err(RedisInstanceError::from(io::Error::from(ErrorKind::TimedOut)));
            }
        }
    }

    /// The next answer; `None` if none arrived within the time-out of a read.
    pub(super) fn try_answer(&mut self) -> Result<Option<Value>, RedisInstanceError> {
        match self.parser.parse_value(&mut self.reader) {
            Ok(value) => {
                self.reader.remaining = ANSWER_BYTES_MAX;
                Ok(Some(value))
            }
            Err(_) => match self.reader.failed.take() {
                Some(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
                Some(error) => Err(error.into()),
                None => Err(fault(RUBBISH)),
            },
        }
    }

    /// Sets the time-out of a read.
    pub(super) fn set_read_timeout(&self, timeout: Duration) -> Result<(), RedisInstanceError> {
        Ok(self.reader.stream.socket().set_read_timeout(Some(timeout))?)
    }

    /// A handle with which another thread can end the connection.
    pub(super) fn closer(&self) -> Result<BusConnectionCloser, RedisInstanceError> {
        Ok(BusConnectionCloser(self.reader.stream.socket().try_clone()?))
    }
}

/// Ends a connection on which another thread waits.
pub(super) struct BusConnectionCloser(TcpStream);

impl BusConnectionCloser {
    pub(super) fn close(&self) {
        // It may be closed already.
        self.0.shutdown(Shutdown::Both).ok();
    }
}

/// An answer that the server should not have sent here.
pub(super) fn unexpected_answer(value: &Value) -> RedisInstanceError {
    match value {
        Value::ServerError(error) => {
            let said: String =
                error.to_string().chars().filter(|char| !char.is_control()).take(SAID_CHARS_MAX).collect();
            RedisInstanceError(format!("it says {said:?}"))
        }
        _ => fault(RUBBISH),
    }
}

fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, RedisInstanceError> {
    let addresses = (host, port).to_socket_addrs().map_err(|error| {
        let why = without_number(&error);
        let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
        RedisInstanceError(format!("the address of its host cannot be found: {why}"))
    })?;
    let mut last = fault("the name of its host has no address");
    for address in addresses.take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(socket) if is_self_connected(&socket) => last = fault("nobody listens there"),
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == ErrorKind::TimedOut => last = fault("no connection came about in time"),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// The kernel may choose a free port above 32,768 for the near end of its own connection.
fn is_self_connected(socket: &TcpStream) -> bool {
    let ends: [io::Result<SocketAddr>; 2] = [socket.local_addr(), socket.peer_addr()];
    matches!(ends, [Ok(near), Ok(far)] if near == far)
}

fn handshake(
    tls: &BusTls,
    mut socket: TcpStream,
    timeout: Duration,
) -> Result<StreamOwned<ClientConnection, TcpStream>, RedisInstanceError> {
    let of_tls = |error: rustls::Error| RedisInstanceError(format!("TLS does not work with it: {error}"));
    let mut connection = ClientConnection::new(tls.config.clone(), tls.name.clone()).map_err(of_tls)?;
    let until = Instant::now() + timeout;
    while connection.is_handshaking() {
        if Instant::now() >= until {
            return Err(RedisInstanceError::from(io::Error::from(ErrorKind::TimedOut)));
        }
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

#[cfg(test)]
mod tests;
