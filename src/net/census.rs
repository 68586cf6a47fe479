//! The number of connections of each kind, kept up to date at each change, so that they are never
//! counted.

use super::conn::Conn;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::wire::Framing;
use crate::chat::contract::ConnId;

/// The transport of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// No input that shows it has arrived.
    Unknown,
    /// Envelopes on plain TCP.
    Raw,
    /// A request over HTTP that is not answered yet.
    Http,
    /// A WebSocket.
    WebSocket,
}

/// The kind of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConnKind {
    /// Its transport.
    pub transport: TransportKind,
    /// Over TLS.
    pub is_tls: bool,
    /// A user is or was logged in on it.
    pub is_logged_in: bool,
}

const TRANSPORTS: [TransportKind; 4] =
    [TransportKind::Unknown, TransportKind::Raw, TransportKind::Http, TransportKind::WebSocket];
const TLS: usize = 4;
const LOGGED_IN: usize = 8;
const KINDS: usize = 16;

fn index_of<S>(conn: &Conn<S>) -> u8 {
    let transport = match conn.framing {
        Framing::Unknown => TransportKind::Unknown,
        Framing::Lines => TransportKind::Raw,
        Framing::Http => TransportKind::Http,
        Framing::WebSocket => TransportKind::WebSocket,
    };
    let tls = if conn.tls.is_some() { TLS } else { 0 };
    let logged_in = if conn.had_login { LOGGED_IN } else { 0 };
    // Below `KINDS`.
    (transport as usize + tls + logged_in) as u8
}

/// The numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// The open connections of each kind.
    open: [usize; KINDS],
    /// All connections that were removed.
    removed: u64,
}

impl ConnectionCounts {
    /// Each possible kind, with its number of connections.
    pub fn kinds(&self) -> impl Iterator<Item = (ClientConnKind, usize)> + '_ {
        self.open.iter().enumerate().map(|(index, &count)| {
            let transport = TRANSPORTS[index % TRANSPORTS.len()];
            (ClientConnKind { transport, is_tls: index & TLS != 0, is_logged_in: index & LOGGED_IN != 0 }, count)
        })
    }

    /// The connections of users.
    pub fn logged_in(&self) -> usize {
        self.kinds().filter(|(kind, _)| kind.is_logged_in).map(|(_, count)| count).sum()
    }

    /// The connections on which nobody has logged in.
    pub(super) fn strangers(&self) -> usize {
        self.kinds().filter(|(kind, _)| !kind.is_logged_in).map(|(_, count)| count).sum()
    }

    /// The number of connections removed so far.
    pub(super) fn removed(&self) -> u64 {
        self.removed
    }

    fn add(&mut self, index: u8) {
        self.open[usize::from(index) % KINDS] += 1;
    }

    fn subtract(&mut self, index: u8) {
        let count = &mut self.open[usize::from(index) % KINDS];
        debug_assert!(*count > 0, "it was counted");
        *count = count.saturating_sub(1);
    }
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Counts a connection that was just opened.
    pub(super) fn count_opened(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            let kind = index_of(conn);
            conn.lists.count_kind(kind);
            self.census.add(kind);
        }
    }

    /// Updates the kind of a connection, if it has changed.
    pub(super) fn count_changed(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            let kind = index_of(conn);
            if kind != conn.lists.counted_kind() {
                self.census.subtract(conn.lists.counted_kind());
                self.census.add(kind);
                conn.lists.count_kind(kind);
            }
        }
    }

    /// A connection was removed.
    pub(super) fn count_removed(&mut self, conn: &Conn<S>) {
        self.census.subtract(conn.lists.counted_kind());
        self.census.removed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_place() {
        let census = ConnectionCounts { open: std::array::from_fn(|index| index), removed: 0 };
        let kinds: Vec<_> = census.kinds().collect();
        assert_eq!(kinds.len(), KINDS);
        for (index, (kind, count)) in kinds.iter().enumerate() {
            assert_eq!(*count, index);
            assert!(kinds.iter().filter(|(other, _)| other == kind).count() == 1);
        }
        let (kind, _) = kinds[TransportKind::WebSocket as usize + TLS];
        assert_eq!(kind, ClientConnKind { transport: TransportKind::WebSocket, is_tls: true, is_logged_in: false });
    }
}
