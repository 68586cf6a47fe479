//! Accepts connections, a bounded number a turn, and handles every error that the system or a
//! client can cause.

use super::conns::{LISTENER, token_of};
use super::hub::ConnectionHub;
use super::socket::PlainTcpSocket;
use super::turns::ACCEPTS_PER_TURN;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// The pause of accepting when no file descriptors are left. It ends early when a connection
/// closes.
const PAUSE_MS: u64 = 100;
/// The shortest interval between two log lines about a pause.
const SAY_PAUSE_EVERY_MS: u64 = 10_000;

// The error numbers are those of Unix: no file descriptors left in this process, or in the whole
// system.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// The listener, and whether it should be asked for connections.
#[derive(Debug)]
pub(super) struct LoopAcceptor {
    listener: TcpListener,
    conns_max: usize,
    /// There may be connections to accept: set by a readiness edge, cleared when the listener has
    /// none left.
    ready: bool,
    /// The end of a pause, and the number of removed connections at its begin: the pause ends early
    /// if that number changes.
    pause: Option<(u64, u64)>,
    /// Before this time pauses are not logged again.
    log_pause_from_ms: u64,
    /// Since the limit was reached: was it logged that a connection was refused, or evicted?
    logged_full: [bool; 2],
}

impl LoopAcceptor {
    /// Registers the listener.
    ///
    /// # Errors
    /// The system refuses to.
    pub(super) fn new(mut listener: TcpListener, conns_max: usize, registry: &Registry) -> io::Result<Self> {
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { listener, conns_max, ready: true, pause: None, log_pause_from_ms: 0, logged_full: [false; 2] })
    }

    /// Sets the limit on connections; connections beyond it stay.
    pub(super) fn set_conns_max(&mut self, conns_max: usize) {
        self.conns_max = conns_max;
    }

    /// A readiness edge of the listener.
    pub(super) fn on_readable(&mut self) {
        self.ready = true;
    }

    /// When to try again even without an event: at once (0), later, or not before the next edge.
    #[must_use]
    pub(super) fn next_deadline(&self) -> Option<u64> {
        match self.pause {
            _ if !self.ready => None,
            Some((until_ms, _)) => Some(until_ms),
            None => Some(0),
        }
    }

    /// Accepts waiting connections.
    pub(super) fn accept(&mut self, hub: &mut ConnectionHub<PlainTcpSocket>, registry: &Registry, now_ms: u64) {
        if self.ready {
            self.accept_waiting(hub, registry, now_ms);
        }
    }

    #[inline(never)]
    fn accept_waiting(&mut self, hub: &mut ConnectionHub<PlainTcpSocket>, registry: &Registry, now_ms: u64) {
        if let Some((until_ms, removed)) = self.pause {
            if now_ms < until_ms && hub.removed_count() == removed {
                return;
            }
            self.pause = None;
        }
        // The rest of the queue waits for the next turn, after the open connections.
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.ready {
                return;
            }
            match self.listener.accept() {
                Ok((stream, peer)) => self.take(stream, peer, hub, registry),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.ready = false,
                Err(error) if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) => {
                    hub.counters_mut().accept_pauses += 1;
                    if self.log_pause_from_ms <= now_ms {
                        self.log_pause_from_ms = now_ms + SAY_PAUSE_EVERY_MS;
                        log::warn!(
                            "no file descriptors left at {} connections: accepting pauses, {} times so far",
                            hub.conns_len(),
                            hub.counters().accept_pauses
                        );
                    }
                    self.pause = Some((now_ms + PAUSE_MS, hub.removed_count()));
                    return;
                }
                // The client was gone before it was accepted, or a similar error of one connection:
                // try the next one.
                Err(error) => log::debug!("a connection could not be accepted: {error}"),
            }
        }
    }

    #[inline(never)]
    fn take(
        &mut self,
        mut stream: TcpStream,
        peer: SocketAddr,
        hub: &mut ConnectionHub<PlainTcpSocket>,
        registry: &Registry,
    ) {
        let Some(admitted) = hub.admit(peer.ip()) else { return };
        if !self.make_room(peer, hub) {
            hub.cancel_admission(admitted);
            return;
        }
        // Answers are gathered over a turn already. A socket that refuses this option works
        // nevertheless.
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("TCP_NODELAY was refused: {error}");
        }
        let token = token_of(hub.next_id());
        match registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE) {
            Ok(()) => {
                let id = hub.open(PlainTcpSocket::Plain(stream), admitted);
                log::debug!("connection {}.{} opened by {peer}", id.slot, id.generation);
            }
            Err(error) => {
                log::warn!("a connection could not be registered: {error}");
                hub.cancel_admission(admitted);
            }
        }
    }

    /// Is there room for a connection of this client, perhaps in the place of another one?
    fn make_room(&mut self, peer: SocketAddr, hub: &mut ConnectionHub<PlainTcpSocket>) -> bool {
        if hub.conns_len() < self.conns_max {
            // While a crowd comes and goes, there is a free place now and then.
            if hub.conns_len() <= self.conns_max - self.conns_max.div_ceil(8) {
                self.logged_full = [false; 2];
            }
            return true;
        }
        let has_room = hub.make_room();
        if !has_room {
            hub.counters_mut().refused_at_limit += 1;
        }
        if !std::mem::replace(&mut self.logged_full[usize::from(has_room)], true) {
            hub.log_conn_limit(self.conns_max, peer.ip(), has_room);
        }
        has_room
    }
}
