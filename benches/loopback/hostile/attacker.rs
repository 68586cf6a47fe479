//! The attacker: a process of its own that keeps many connections busy with one kind of input, as
//! fast as they take it.
//!
//! It is this very program, started anew with [`ATTACKER_ARGUMENT`], so that it can be given
//! another core, another priority and another network namespace. It runs until it is killed.

use super::super::Fallible;
use super::attacks::{
    Attack, Writer, closes_at_once, comes_and_goes, is_slow, is_web_socket, leaves, log_in_of, logs_in_as,
    reads_nothing,
};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The hidden argument that makes this program the attacker; behind it stand address, attack and
/// connections.
pub const ATTACKER_ARGUMENT: &str = "--be-the-attacker";
/// The line on stdout once all its connections attack.
pub const READY: &str = "attacking";
/// A connection that was closed is opened again after this.
const COMES_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// Connections that are opened in one turn, so that the ones that are open have their turn as well.
const OPENED_PER_TURN: usize = 32;
/// Bytes that are written ahead on one connection.
const AHEAD_BYTES: usize = 64 * 1024;
/// After this time the attack begins, even if some log-ins were refused.
const PATIENCE: Duration = Duration::from_secs(20);
/// Connections that stay open, unread; beyond it the oldest is closed.
const LEFT_MAX: usize = 4_000;
/// The rate of a slow friend: 128 kbit/s, a few pieces each second.
const SLOW_BYTES_PER_SECOND: u128 = 16_000;
const SLOW_READ_EVERY: Duration = Duration::from_millis(50);

struct Conn {
    stream: TcpStream,
    writer: Writer,
    output: Vec<u8>,
    written: usize,
    /// The log-in is still to be answered.
    waits: bool,
    since: Instant,
    /// So many bytes were read.
    read: u128,
}

/// All connections of the attacker.
struct Attacker {
    addr: SocketAddr,
    attack: Attack,
    poll: Poll,
    conns: Vec<Option<Conn>>,
    /// Which are to be opened, and when.
    away: VecDeque<(Instant, usize)>,
    /// How often a connection was opened.
    opened: usize,
    /// Connections that stay open, unread.
    left: VecDeque<TcpStream>,
    slow_read_at: Instant,
}

/// Runs for ever. `words`: the address, the attack's name and the number of connections.
pub fn attack(mut words: impl Iterator<Item = String>) -> Fallible<()> {
    let mut next = || words.next().ok_or("the attacker needs an address, an attack and a number");
    let (addr, attack, count) = (next()?.parse()?, Attack::named(&next()?)?, next()?.parse::<usize>()?);
    let now = Instant::now();
    let mut attacker = Attacker {
        addr,
        attack,
        poll: Poll::new()?,
        conns: (0..count).map(|_| None).collect(),
        away: (0..count).map(|index| (now, index)).collect(),
        opened: 0,
        left: VecDeque::new(),
        slow_read_at: now,
    };
    let (mut events, mut said) = (Events::with_capacity(1_024), false);
    loop {
        attacker.turn(&mut events)?;
        if !said && (attacker.all_are_in() || now.elapsed() > PATIENCE) {
            println!("{READY}");
            said = true;
        }
    }
}

impl Attacker {
    fn all_are_in(&self) -> bool {
        self.conns.iter().all(|conn| conn.as_ref().is_some_and(|conn| !conn.waits))
            // Never all of them are open then.
            || (comes_and_goes(self.attack) && self.opened >= self.conns.len())
    }

    fn turn(&mut self, events: &mut Events) -> Fallible<()> {
        let now = Instant::now();
        for _ in 0..OPENED_PER_TURN {
            let Some(&(_, index)) = self.away.front().filter(|(at, _)| *at <= now) else { break };
            self.away.pop_front();
            self.open(index);
        }
        match self.poll.poll(events, Some(Duration::from_millis(1))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &*events {
            let Token(index) = event.token();
            self.serve_or_close(index);
        }
        if self.attack == Attack::ControlCharacters && now >= self.slow_read_at {
            self.slow_read_at = now + SLOW_READ_EVERY;
            for index in 0..self.conns.len() {
                if is_slow(self.attack, index) {
                    self.serve_or_close(index);
                }
            }
        }
        Ok(())
    }

    fn serve_or_close(&mut self, index: usize) {
        if !self.serve(index) {
            self.conns[index] = None;
            self.away.push_back((Instant::now() + COMES_AGAIN_AFTER, index));
        }
    }

    /// Opens a connection anew, and leaves the present one open.
    fn leave(&mut self, index: usize) {
        if let Some(Conn { mut stream, .. }) = self.conns[index].take() {
            // One that cannot be taken out of the poll is gone already.
            self.poll.registry().deregister(&mut stream).unwrap_or(());
            self.left.push_back(stream);
            if self.left.len() > LEFT_MAX {
                self.left.pop_front();
            }
            self.away.push_back((Instant::now(), index));
        }
    }

    fn open(&mut self, index: usize) {
        let opened = TcpStream::connect(self.addr).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index), interest).map(|()| stream)
        });
        let Ok(stream) = opened else {
            // No port or no descriptor is left: later.
            return self.away.push_back((Instant::now() + COMES_AGAIN_AFTER, index));
        };
        let (mut output, user) = (vec![], logs_in_as(self.attack, index));
        if is_web_socket(self.attack) {
            output.extend_from_slice(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            );
        }
        if let Some(user) = &user {
            output.extend_from_slice(log_in_of(user).as_bytes());
            output.push(b'\n');
        }
        self.opened += 1;
        let writer = Writer::new(self.attack, index, self.addr.ip().is_loopback());
        let (waits, since) = (user.is_some(), Instant::now());
        self.conns[index] = Some(Conn { stream, writer, output, written: 0, waits, since, read: 0 });
    }

    /// Writes what it takes and reads what there is; `false` when the connection is over.
    fn serve(&mut self, index: usize) -> bool {
        let Some(conn) = &mut self.conns[index] else { return true };
        if self.attack == Attack::Connects && conn.stream.peer_addr().is_ok() {
            return false;
        }
        // One that does not read lets its answers pile up.
        if conn.waits || !reads_nothing(self.attack) {
            let mut chunk = [0; 16 * 1024];
            loop {
                let slow = is_slow(self.attack, index) && !conn.waits;
                if slow && conn.read > conn.since.elapsed().as_millis() * SLOW_BYTES_PER_SECOND / 1_000 {
                    break;
                }
                match conn.stream.read(&mut chunk[..if slow { 1_024 } else { 16 * 1024 }]) {
                    Ok(0) => return false,
                    Ok(count) => {
                        conn.waits = false;
                        conn.read += count as u128;
                        conn.writer.on_input(&chunk[..count]);
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                    Err(_) => return false,
                }
            }
        }
        // As often as one turn allows; then the others have their turns.
        for _ in 0..4 {
            if conn.written == conn.output.len() {
                let is_said = conn.writer.has_begun();
                conn.output.clear();
                conn.written = 0;
                if conn.waits {
                    return true;
                }
                if is_said && closes_at_once(self.attack) {
                    return false;
                }
                if is_said && leaves(self.attack) {
                    self.leave(index);
                    return true;
                }
                conn.writer.write(&mut conn.output, AHEAD_BYTES);
                if conn.output.is_empty() {
                    return true;
                }
            }
            match conn.stream.write(&conn.output[conn.written..]) {
                Ok(count) => conn.written += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    if leaves(self.attack) && conn.writer.has_begun() && error.kind() == ErrorKind::WouldBlock {
                        self.leave(index);
                    }
                    return true;
                }
                Err(_) => return false,
            }
        }
        // There may be room for more, without another event.
        let token = Token(index);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(&mut conn.stream, token, interest).is_ok()
    }
}
