//! One connection to a server: raw or WebSocket, with or without TLS. It blocks only while it is
//! being established, and in [`ClientTransport::finish`]. It uses no more memory than one
//! frame needs, for any bytes from the server.

use super::target::ServerAddress;
use super::ws::{self, ClientWsHandshake, ClientWsHandshakeState};
use crate::protocol::ws::{WsClientReader, WsItem};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The token of the socket in a poll.
pub(super) const SOCKET: Token = Token(1);
/// How many bytes are read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Pongs are left out while at least this many bytes are waiting to be written.
const OUTPUT_FULL_BYTES: usize = 256 * 1024;
/// How many addresses of a host are tried.
const ADDRESSES_MAX: usize = 8;

enum ClientFraming {
    Raw(Vec<u8>),
    /// The handshake is not complete; messages wait until it is.
    Upgrading(ClientWsHandshake, Vec<String>),
    WebSocket(WsClientReader),
}

/// The result of one read.
pub(super) enum ClientTransportReadResult {
    /// There may be more to read.
    Some,
    /// There is nothing to read at present.
    Nothing,
    /// The connection is over.
    Over(String),
}

pub(super) struct ClientTransport {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    wire: ClientFraming,
    /// Plaintext that is still to be written.
    output: Vec<u8>,
    frame_bytes_max: usize,
    /// Masks of WebSocket frames.
    masks: Vec<[u8; 4]>,
}

impl ClientTransport {
    /// Connects within the limit.
    pub(super) fn open(
        target: &ServerAddress,
        tls: Option<&Arc<ClientConfig>>,
        limit: Duration,
        frame_bytes_max: usize,
    ) -> Result<Self, String> {
        let socket = connect(target, limit)?;
        let tls = match tls {
            None => None,
            Some(config) => {
                let name = ServerName::try_from(target.host.clone());
                let name = name.map_err(|_| "the host is no name that a certificate can have".to_owned())?;
                let session = ClientConnection::new(Arc::clone(config), name).map_err(|error| error.to_string())?;
                Some(Box::new(session))
            }
        };
        let mut output = Vec::new();
        let wire = if target.path.is_some() {
            let mut nonce = [0; 16];
            getrandom::fill(&mut nonce).map_err(|error| error.to_string())?;
            ClientFraming::Upgrading(ClientWsHandshake::begin(&mut output, target, nonce), Vec::new())
        } else {
            ClientFraming::Raw(Vec::new())
        };
        Ok(Self { socket, tls, wire, output, frame_bytes_max, masks: Vec::new() })
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut self.socket, SOCKET, Interest::READABLE | Interest::WRITABLE)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) {
        // The socket is closed immediately afterwards.
        registry.deregister(&mut self.socket).ok();
    }

    /// How many bytes are waiting to be written.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.output.len()
    }

    /// Appends an envelope to the output.
    pub(super) fn send(&mut self, text: &str) {
        match &mut self.wire {
            ClientFraming::Raw(_) => {
                self.output.extend_from_slice(text.as_bytes());
                self.output.push(b'\n');
            }
            ClientFraming::Upgrading(_, waiting) => waiting.push(text.to_owned()),
            ClientFraming::WebSocket(_) => {
                let mask = mask(&mut self.masks);
                ws::write_text(&mut self.output, text, mask);
            }
        }
    }

    /// Writes as much of the output as the socket accepts.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let done = match &mut self.tls {
            None => write_plain(&mut self.socket, &mut self.output),
            Some(session) => write_tls(&mut self.socket, session, &mut self.output),
        };
        done.map_err(|error| error.to_string())
    }

    /// Reads once, and appends the complete frames to `frames`.
    pub(super) fn read(&mut self, frames: &mut Vec<String>) -> ClientTransportReadResult {
        let mut buffer = [0; READ_BYTES];
        let read = match &mut self.tls {
            None => self.socket.read(&mut buffer),
            Some(session) => read_tls(&mut self.socket, session, &mut buffer),
        };
        match read {
            Ok(0) => ClientTransportReadResult::Over("the server closed the connection".to_owned()),
            Ok(count) => match self.take(&mut buffer[..count], frames) {
                Ok(()) => ClientTransportReadResult::Some,
                Err(why) => ClientTransportReadResult::Over(why),
            },
            Err(error) if error.kind() == ErrorKind::WouldBlock => ClientTransportReadResult::Nothing,
            Err(error) if error.kind() == ErrorKind::Interrupted => ClientTransportReadResult::Some,
            Err(error) => ClientTransportReadResult::Over(error.to_string()),
        }
    }

    fn take(&mut self, bytes: &mut [u8], frames: &mut Vec<String>) -> Result<(), String> {
        match &mut self.wire {
            ClientFraming::Raw(tail) => take_lines(tail, bytes, self.frame_bytes_max, frames),
            ClientFraming::Upgrading(handshake, _) => {
                let ClientWsHandshakeState::Yes(mut rest) = handshake.read(bytes)? else { return Ok(()) };
                let before = std::mem::replace(&mut self.wire, ClientFraming::WebSocket(WsClientReader::default()));
                if let ClientFraming::Upgrading(_, waiting) = before {
                    waiting.iter().for_each(|text| self.send(text));
                }
                self.take(&mut rest, frames)
            }
            ClientFraming::WebSocket(input) => {
                let mut chunk = bytes;
                loop {
                    match input.next(&mut chunk, self.frame_bytes_max) {
                        WsItem::More => return Ok(()),
                        WsItem::Text(text) => frames.push(text.to_owned()),
                        WsItem::Ping(payload) => {
                            if self.output.len() < OUTPUT_FULL_BYTES {
                                let mask = mask(&mut self.masks);
                                ws::write_pong(&mut self.output, payload, mask);
                            }
                        }
                        WsItem::Pong => {}
                        WsItem::Close(code) => return Err(close_reason(code)),
                        WsItem::Error(_) => return Err("the server broke the WebSocket protocol".to_owned()),
                        WsItem::TooLarge => return Err("the server sent a frame that is too large".to_owned()),
                    }
                }
            }
        }
    }

    /// Writes the rest of the output and the closing messages of WebSocket and TLS, within the
    /// limit.
    pub(super) fn finish(&mut self, limit: Duration) {
        if matches!(self.wire, ClientFraming::WebSocket(_)) {
            let mask = mask(&mut self.masks);
            ws::write_close(&mut self.output, mask);
        }
        let until = Instant::now() + limit;
        while self.flush().is_ok() && self.has_unwritten() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(session) = &mut self.tls {
            session.send_close_notify();
            // If the server is gone, it does not need this message.
            session.write_tls(&mut self.socket).ok();
        }
        self.socket.shutdown(Shutdown::Write).ok();
    }

    fn has_unwritten(&self) -> bool {
        !self.output.is_empty() || self.tls.as_ref().is_some_and(|session| session.wants_write())
    }
}

fn close_reason(code: Option<u16>) -> String {
    code.map_or("the server closed the connection".to_owned(), |code| {
        format!("the server closed the WebSocket with the code {code}")
    })
}

/// Tries the addresses of a host, one after another.
fn connect(target: &ServerAddress, limit: Duration) -> Result<TcpStream, String> {
    let until = Instant::now() + limit;
    let found = (target.host.as_str(), target.port).to_socket_addrs();
    let addresses: Vec<SocketAddr> = found.map_err(|error| error.to_string())?.take(ADDRESSES_MAX).collect();
    let mut why = "the host has no address".to_owned();
    for (at, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now()) / u32::try_from(addresses.len() - at).unwrap_or(1);
        if left.is_zero() {
            break;
        }
        let made = std::net::TcpStream::connect_timeout(address, left).and_then(|socket| {
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        match made {
            Ok(socket) => return Ok(TcpStream::from_std(socket)),
            Err(error) => why = format!("{address}: {error}"),
        }
    }
    Err(why)
}

/// Four random bytes, from a supply that is fetched in larger batches.
fn mask(masks: &mut Vec<[u8; 4]>) -> [u8; 4] {
    if let Some(mask) = masks.pop() {
        return mask;
    }
    let mut bytes = [0; 256];
    // A mask protects proxies from scripts that choose the bytes to send. Without random numbers
    // the connection could not have been established.
    getrandom::fill(&mut bytes).ok();
    masks.extend_from_slice(bytes.as_chunks::<4>().0);
    masks.pop().unwrap_or_default()
}

/// Takes the complete lines out of the received bytes and keeps the rest for later.
fn take_lines(tail: &mut Vec<u8>, bytes: &[u8], max: usize, frames: &mut Vec<String>) -> Result<(), String> {
    let mut rest = bytes;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at(end);
        rest = &after[1..];
        if tail.len() + line.len() > max {
            return Err("the server sent a frame that is too large".to_owned());
        }
        tail.extend_from_slice(line);
        let line = String::from_utf8(std::mem::take(tail));
        let line = line.map_err(|_| "the server sent something that is not UTF-8".to_owned())?;
        if !line.trim().is_empty() {
            frames.push(line);
        }
    }
    if tail.len() + rest.len() > max {
        return Err("the server sent a frame that is too large".to_owned());
    }
    tail.extend_from_slice(rest);
    Ok(())
}

fn write_plain(socket: &mut TcpStream, out: &mut Vec<u8>) -> io::Result<()> {
    let mut written = 0;
    let result = loop {
        if written == out.len() {
            break Ok(());
        }
        match socket.write(&out[written..]) {
            Ok(0) => break Err(ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    out.drain(..written);
    if out.is_empty() {
        *out = Vec::new();
    }
    result
}

fn write_tls(socket: &mut TcpStream, session: &mut ClientConnection, out: &mut Vec<u8>) -> io::Result<()> {
    loop {
        if !session.is_handshaking() && !out.is_empty() {
            // The session accepts this many bytes now, and the rest when these are written.
            let count = session.writer().write(out)?;
            out.drain(..count);
        }
        if !session.wants_write() {
            return Ok(());
        }
        match session.write_tls(socket) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn read_tls(socket: &mut TcpStream, session: &mut ClientConnection, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match session.reader().read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // A connection that ends without close_notify has ended all the same.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
            other => return other,
        }
        if session.read_tls(socket)? == 0 {
            return Ok(0);
        }
        if let Err(error) = session.process_new_packets() {
            // Tells the server the reason.
            session.write_tls(socket).ok();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        // Writes the messages of a TLS handshake.
        while session.wants_write() {
            match session.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_they_are_cut() {
        let input = b"{\"a\":1}\n\n{\"b\":\"\xf0\x9f\xaa\xbf\"}\r\nrest";
        for cut in 1..=input.len() {
            let (mut tail, mut frames) = (Vec::new(), Vec::new());
            for chunk in input.chunks(cut) {
                take_lines(&mut tail, chunk, 100, &mut frames).unwrap();
            }
            assert_eq!(frames, ["{\"a\":1}", "{\"b\":\"🪿\"}\r"]);
            assert_eq!(tail, b"rest");
        }
    }

    #[test]
    fn a_line_has_a_limit_and_is_text() {
        let (mut tail, mut frames) = (Vec::new(), Vec::new());
        assert!(take_lines(&mut tail, &[b'x'; 100], 100, &mut frames).is_ok());
        assert!(take_lines(&mut tail, b"x", 100, &mut frames).is_err());
        assert!(take_lines(&mut Vec::new(), &[b'x'; 101], 100, &mut frames).is_err());
        assert!(take_lines(&mut Vec::new(), b"\xff\n", 100, &mut frames).is_err());
        assert!(frames.is_empty());
    }
}
