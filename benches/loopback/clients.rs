//! Connections that are opened and logged in, many at a time in a rolling window.

use super::frames::{Dialect, mqtt_connect, mqtt_subscribe, shown};
use super::{Fallible, check_interrupt};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Log-ins on their way at once. Fewer than the server's queue for passwords holds.
const WINDOW: usize = 128;
const PATIENCE: Duration = Duration::from_secs(30);
/// The password of every user of the benches.
pub const PASSWORD: &str = "a hash that the client made of a password";

/// One connection whose first answers are still to come.
struct Opening<S> {
    stream: S,
    input: Vec<u8>,
    dialect: Dialect,
    frames: usize,
    in_http: bool,
}

/// Connects all users, and waits until each is logged in and has got the `pushes` that wait.
pub fn open_all(
    addr: SocketAddr,
    dialect: Dialect,
    users: impl Iterator<Item = String>,
    pushes: usize,
) -> Fallible<Vec<TcpStream>> {
    log_in_all(users.map(|user| (connect(addr), user)), dialect, pushes)
}

/// A connection on which nothing is sent yet.
pub fn connect(addr: SocketAddr) -> Fallible<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Logs each user in on their connection, and waits until each has got the `pushes` that wait.
pub fn log_in_all<S: Read + Write>(
    users: impl Iterator<Item = (Fallible<S>, String)>,
    dialect: Dialect,
    pushes: usize,
) -> Fallible<Vec<S>> {
    let (mut opened, mut window) = (Vec::new(), VecDeque::with_capacity(WINDOW));
    for (stream, user) in users {
        check_interrupt()?;
        if window.len() == WINDOW {
            opened.extend(window.pop_front().map(Opening::finish).transpose()?);
        }
        window.push_back(Opening::begin(stream?, dialect, &user, pushes)?);
    }
    for opening in window {
        opened.push(opening.finish()?);
    }
    Ok(opened)
}

impl<S: Read + Write> Opening<S> {
    fn begin(mut stream: S, dialect: Dialect, user: &str, pushes: usize) -> Fallible<Self> {
        let mut output = Vec::new();
        let frames = match dialect {
            Dialect::Raw | Dialect::WebSocket => {
                if dialect == Dialect::WebSocket {
                    output.extend_from_slice(
                        b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                    );
                }
                let words = format!(r#"{{\"PASS\":\"{PASSWORD}\",\"USER\":\"{user}\"}}"#);
                dialect.write(&mut output, &format!(r#"{{"MID":"login","CONTENT":"{words}","TYPE":"2"}}"#));
                1 + pushes
            }
            // The relay greets with an empty line.
            Dialect::Relay => 1,
            Dialect::Mqtt => {
                output.extend(mqtt_connect(user));
                output.extend(mqtt_subscribe(user));
                2
            }
        };
        stream.write_all(&output)?;
        Ok(Self { stream, input: Vec::new(), dialect, frames, in_http: dialect == Dialect::WebSocket })
    }

    /// Reads the answers that are due on the connection.
    fn finish(mut self) -> Fallible<S> {
        let mut chunk = [0; 16 * 1024];
        let mut first = true;
        loop {
            while self.frames > 0
                && !self.in_http
                && let Some(length) = self.dialect.frame_length(&self.input)
            {
                let frame: Vec<u8> = self.input.drain(..length).collect();
                if std::mem::take(&mut first)
                    && self.dialect.has_users()
                    && !frame.windows(4).any(|at| at == br#""LS\"#)
                {
                    return Err(format!("no log-in: {}", shown(&frame)).into());
                }
                self.frames -= 1;
            }
            if self.frames == 0 {
                break;
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err("the server closed a connection that was to log in".into()),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
            if self.in_http
                && let Some(end) = self.input.windows(4).position(|at| at == b"\r\n\r\n")
            {
                if !self.input.starts_with(b"HTTP/1.1 101 ") {
                    return Err(format!("no WebSocket: {}", shown(&self.input)).into());
                }
                self.input.drain(..end + 4);
                self.in_http = false;
            }
        }
        if !self.input.is_empty() {
            return Err(format!("more than expected: {}", shown(&self.input)).into());
        }
        Ok(self.stream)
    }
}
