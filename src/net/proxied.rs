//! Connections that come from trusted proxies. A trusted proxy may have any number of connections.
//! Each counts for the address of its client as soon as that address is known: from a PROXY header
//! in front of everything else, or from the head of an HTTP request. A proxy that sends neither
//! counts as a client.

use super::counters::CloseCause;
use super::forwarded::client_address;
use super::hub::ConnectionHub;
use super::proxy_header::{self, ProxyHeaderResult};
use super::socket::NonblockingStream;
use crate::chat::contract::{ConnId, CoreInput};
use crate::config::Networks;
use crate::protocol::http::header_values;
use std::collections::HashMap;
use std::net::IpAddr;

/// Bytes of one entry of the table.
const ENTRY_BYTES: usize = 64;

/// How much is known about the address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProxiedAddressStage {
    /// No input has arrived.
    Opened,
    /// The beginning of a PROXY header has arrived.
    Header,
    /// The address that is known so far is that of a trusted proxy: the head of a request may give
    /// the client's.
    Head,
    /// The client's address is known and counts.
    Known,
}

#[derive(Debug)]
struct ProxiedConnection {
    /// The client's address, as far as it is known; at first the proxy's own.
    address: IpAddr,
    /// The address was given by a proxy.
    is_address_given: bool,
    stage: ProxiedAddressStage,
}

/// The trusted proxies, and the connections from them.
#[derive(Debug, Default)]
pub(super) struct ProxiedConnections {
    trusted_networks: Networks,
    conns: HashMap<ConnId, ProxiedConnection>,
}

impl ProxiedConnections {
    /// Sets the trusted proxies.
    pub(super) fn trust(&mut self, trusted: Networks) {
        self.trusted_networks = trusted;
    }

    /// Is this the address of a trusted proxy?
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_networks.contains(address)
    }

    /// A proxy has opened a connection.
    pub(super) fn note_opened(&mut self, id: ConnId, proxy: IpAddr) {
        self.conns.insert(
            id,
            ProxiedConnection {
                address: proxy.to_canonical(),
                is_address_given: false,
                stage: ProxiedAddressStage::Opened,
            },
        );
    }

    /// A connection was removed, from a proxy or not.
    pub(super) fn remove(&mut self, id: ConnId) {
        if !self.conns.is_empty() {
            self.conns.remove(&id);
        }
    }

    /// The address of a client that came through a proxy, as far as it is known.
    pub(super) fn address_of(&self, id: ConnId) -> Option<IpAddr> {
        self.conns.get(&id).map(|proxied| proxied.address)
    }

    /// Did a trusted proxy open this connection?
    pub(super) fn is_proxied(&self, id: ConnId) -> bool {
        self.stage(id).is_some()
    }

    /// The memory that the table uses.
    pub(super) fn memory_bytes(&self) -> usize {
        self.conns.len() * ENTRY_BYTES
    }

    fn stage(&self, id: ConnId) -> Option<ProxiedAddressStage> {
        // Without trusted proxies, this check is the whole cost.
        if self.conns.is_empty() { None } else { self.conns.get(&id).map(|proxied| proxied.stage) }
    }

    /// May a PROXY header, or the rest of one, follow?
    pub(super) fn awaits_header(&self, id: ConnId) -> bool {
        matches!(self.stage(id), Some(ProxiedAddressStage::Opened | ProxiedAddressStage::Header))
    }

    /// From now on, a connection counts for the address that is known. Returns that address, and
    /// whether the proxy gave it; `None`: the connection counts for it already.
    pub(super) fn settle(&mut self, id: ConnId) -> Option<(IpAddr, bool)> {
        self.stage(id).filter(|stage| *stage != ProxiedAddressStage::Known)?;
        let proxied = self.conns.get_mut(&id)?;
        proxied.stage = ProxiedAddressStage::Known;
        Some((proxied.address, proxied.is_address_given))
    }

    /// Has an incomplete PROXY header begun?
    pub(super) fn is_in_header(&self, id: ConnId) -> bool {
        self.stage(id) == Some(ProxiedAddressStage::Header)
    }
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Reads the PROXY header that a trusted proxy may have sent. Returns its length (0: none), or
    /// `None` if it is incomplete or the connection was closed.
    #[cold]
    pub(super) fn decode_proxy_header(&mut self, id: ConnId, bytes: &[u8]) -> Option<usize> {
        let header = proxy_header::read(bytes);
        let proxied = self.addresses.proxied.conns.get_mut(&id)?;
        match header {
            ProxyHeaderResult::More => {
                if !bytes.is_empty() && proxied.stage == ProxiedAddressStage::Opened {
                    proxied.stage = ProxiedAddressStage::Header;
                    self.deadlines.begin_handshake(self.clock.now_ms(), id);
                }
                None
            }
            ProxyHeaderResult::Absent => {
                proxied.stage = ProxiedAddressStage::Head;
                Some(0)
            }
            ProxyHeaderResult::Whole { client, length } => {
                proxied.stage = ProxiedAddressStage::Head;
                if let Some(client) = client {
                    (proxied.address, proxied.is_address_given) = (client.to_canonical(), true);
                }
                // Only if the client is a trusted proxy itself, the head of a request may say more.
                // Otherwise the address counts now, also for a proxy that does not name its client.
                let is_proxy = client.is_some_and(|client| self.addresses.proxied.trusts(client));
                (is_proxy || self.settle_address(id)).then_some(length)
            }
            ProxyHeaderResult::Bad => {
                log::debug!("connection {}.{}: a bad PROXY header", id.slot, id.generation);
                self.close(id, CloseCause::BadProxyHeader);
                None
            }
        }
    }

    /// Reads the client's address from the head of a WebSocket request, if a trusted proxy sent it.
    /// `Err`: its headers contradict each other. `Ok(false)`: the connection was closed.
    pub(super) fn read_client_address(&mut self, id: ConnId, head: &[u8]) -> Result<bool, ()> {
        if self.addresses.proxied.stage(id) == Some(ProxiedAddressStage::Head) {
            let [x_forwarded_for, forwarded] = ["X-Forwarded-For", "Forwarded"].map(|name| header_values(head, name));
            let ProxiedConnections { trusted_networks, conns } = &mut self.addresses.proxied;
            if let Some(proxied) = conns.get_mut(&id) {
                let address =
                    client_address(proxied.address, &x_forwarded_for, &forwarded, trusted_networks).ok_or(())?;
                proxied.is_address_given |= address != proxied.address;
                proxied.address = address;
            }
        }
        Ok(self.settle_address(id))
    }

    /// The connection counts for its known address from now on. `false`: it was closed, because
    /// that address has reached the limit.
    pub(super) fn settle_address(&mut self, id: ConnId) -> bool {
        let Some(settled) = self.addresses.settle(id) else { return true };
        let address = settled.address;
        if settled.is_given {
            log::debug!("connection {}.{} comes from {address}, through a proxy", id.slot, id.generation);
        }
        let Some(address_key) = settled.admitted else {
            self.note_address_full(address);
            self.close(id, CloseCause::AddressFull);
            return false;
        };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.address_key = address_key;
        }
        self.dispatch(CoreInput::Addressed { conn: id, address_key });
        true
    }

    /// A connection is refused because its address has reached the limit.
    pub(super) fn note_address_full(&mut self, address: IpAddr) {
        self.counters.refused_at_address_limit += 1;
        self.log_address_full(address);
    }
}
