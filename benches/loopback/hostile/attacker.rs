//! The attacker: a process of its own that keeps many connections busy with one kind of input, as
//! fast as they take it.
//!
//! It is this very program, started anew with [`ATTACKER_ARGUMENT`], so that it can be given
//! another core, another priority and another network namespace. It runs until it is killed.

use super::super::Fallible;
use super::super::clients::PASSWORD;
use super::attacks::{Attack, Writer, is_web_socket, logs_in, name};
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

struct Conn {
    stream: TcpStream,
    writer: Writer,
    output: Vec<u8>,
    written: usize,
    /// The log-in is still to be answered.
    waits: bool,
}

/// All connections of the attacker.
struct Attacker {
    addr: SocketAddr,
    attack: Attack,
    poll: Poll,
    conns: Vec<Option<Conn>>,
    /// Which are to be opened, and when.
    away: VecDeque<(Instant, usize)>,
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
            // An attacker whose connections are closed at once counts as attacking, too.
            || (matches!(self.attack, Attack::Connects | Attack::Page) && self.away.iter().all(|(at, _)| *at > Instant::now()))
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
            if !self.serve(index) {
                self.conns[index] = None;
                self.away.push_back((Instant::now() + COMES_AGAIN_AFTER, index));
            }
        }
        Ok(())
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
        let (mut output, waits) = (vec![], logs_in(self.attack));
        if is_web_socket(self.attack) {
            output.extend_from_slice(
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            );
        }
        if waits {
            let user = name(index);
            let login = format!(r#"{{"MID":"l","CONTENT":{{"PASS":"{PASSWORD}","USER":"{user}"}},"TYPE":"2"}}"#);
            output.extend_from_slice(login.as_bytes());
            output.push(b'\n');
        }
        let writer = Writer::new(self.attack, index, self.addr.ip().is_loopback());
        self.conns[index] = Some(Conn { stream, writer, output, written: 0, waits });
    }

    /// Writes what it takes and reads what there is; `false` when the connection is over.
    fn serve(&mut self, index: usize) -> bool {
        let Some(conn) = &mut self.conns[index] else { return true };
        if self.attack == Attack::Connects && conn.stream.peer_addr().is_ok() {
            return false;
        }
        // One that does not read lets its answers pile up.
        if conn.waits || self.attack != Attack::ReadsNothing {
            let mut chunk = [0; 16 * 1024];
            loop {
                match conn.stream.read(&mut chunk) {
                    Ok(0) => return false,
                    Ok(count) => {
                        conn.waits = false;
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
                conn.output.clear();
                conn.written = 0;
                if conn.waits {
                    return true;
                }
                conn.writer.write(&mut conn.output, AHEAD_BYTES);
                if conn.output.is_empty() {
                    return true;
                }
            }
            match conn.stream.write(&conn.output[conn.written..]) {
                Ok(count) => conn.written += count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return true,
                Err(_) => return false,
            }
        }
        // There may be room for more, without another event.
        let token = Token(index);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().reregister(&mut conn.stream, token, interest).is_ok()
    }
}
