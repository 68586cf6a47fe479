//! The addresses that connections count for. A connection counts for one address at most: that of
//! its client, as soon as it is known.

use super::address_keys::ConnectionsPerAddress;
use super::proxied::ProxiedConnections;
use crate::chat::contract::{AddressKey, ConnId};
use std::net::IpAddr;

/// The permission to open one connection.
#[derive(Debug)]
#[must_use]
pub enum ConnectionPermit {
    /// It counts for this address.
    Client(Option<AddressKey>),
    /// It comes from a trusted proxy with this address; the client's address will be known later.
    Proxy(IpAddr),
}

/// The address of a client behind a proxy, when it has just become known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SettledAddress {
    /// The address.
    pub(super) address: IpAddr,
    /// The proxy gave it; otherwise it is the proxy's own.
    pub(super) is_given: bool,
    /// The key for which the connection counts now; `None`: that address has reached the limit.
    pub(super) admitted: Option<Option<AddressKey>>,
}

/// The addresses of all connections.
#[derive(Debug)]
pub(super) struct ClientAddressRegistry {
    per_address: ConnectionsPerAddress,
    pub(super) proxied: ProxiedConnections,
}

impl ClientAddressRegistry {
    /// No connections; at most `conns_max` from one address. `hash_key` should be random.
    #[must_use]
    pub(super) fn new(conns_max: usize, hash_key: [u64; 2]) -> Self {
        let per_address = ConnectionsPerAddress::new(conns_max, hash_key);
        Self { per_address, proxied: ProxiedConnections::default() }
    }

    /// Sets the limit per address; connections beyond it stay.
    pub(super) fn set_conns_max(&mut self, conns_max: usize) {
        self.per_address.set_conns_max(conns_max);
    }

    /// May one more connection from this address be opened? `None`: it has reached the limit.
    pub(super) fn admit(&mut self, address: IpAddr) -> Option<ConnectionPermit> {
        if self.proxied.trusts(address) {
            return Some(ConnectionPermit::Proxy(address));
        }
        self.count(address).map(ConnectionPermit::Client)
    }

    /// An admitted connection was not opened.
    pub(super) fn cancel(&mut self, admitted: ConnectionPermit) {
        if let ConnectionPermit::Client(address_key) = admitted {
            self.per_address.remove(address_key);
        }
    }

    /// The known address of a connection counts from now on. `None`: it counts already.
    pub(super) fn settle(&mut self, id: ConnId) -> Option<SettledAddress> {
        let (address, is_given) = self.proxied.settle(id)?;
        Some(SettledAddress { address, is_given, admitted: self.count(address) })
    }

    /// A connection was removed, which counted for this address.
    pub(super) fn remove(&mut self, id: ConnId, address_key: Option<AddressKey>) {
        self.per_address.remove(address_key);
        self.proxied.remove(id);
    }

    /// Counts a connection for its address; `None`: that address has reached the limit.
    fn count(&mut self, address: IpAddr) -> Option<Option<AddressKey>> {
        let address_key = self.per_address.key_of(address);
        self.per_address.enter(address_key).then_some(address_key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Networks;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
    const ID: ConnId = ConnId { slot: 1, generation: 0 };

    fn key(admitted: Option<ConnectionPermit>) -> Option<AddressKey> {
        match admitted {
            Some(ConnectionPermit::Client(address_key)) => address_key,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_client_counts_until_it_is_removed_or_not_opened_after_all() {
        let mut addresses = ClientAddressRegistry::new(1, [1, 2]);
        let address_key = key(addresses.admit(CLIENT));
        assert!(address_key.is_some() && addresses.admit(CLIENT).is_none());
        addresses.remove(ID, address_key);
        let Some(admitted) = addresses.admit(CLIENT) else { panic!("it has none") };
        addresses.cancel(admitted);
        assert_eq!(key(addresses.admit(CLIENT)), address_key);
        addresses.set_conns_max(2);
        assert_eq!(key(addresses.admit(CLIENT)), address_key);
        assert!(addresses.admit(CLIENT).is_none());
    }

    #[test]
    fn a_connection_of_a_proxy_counts_once_and_as_soon_as_its_client_is_known() {
        let mut addresses = ClientAddressRegistry::new(1, [1, 2]);
        addresses.proxied.trust(Networks::parse("198.51.100.1").unwrap());
        for slot in 1..=3 {
            let Some(ConnectionPermit::Proxy(proxy)) = addresses.admit(PROXY) else { panic!("it is trusted") };
            addresses.proxied.note_opened(ConnId { slot, generation: 0 }, proxy);
        }
        // This one never tells of a client, and counts for the proxy itself.
        let settled = addresses.settle(ID).unwrap();
        assert_eq!((settled.address, settled.is_given), (PROXY, false));
        let address_key = settled.admitted.unwrap();
        assert!(address_key.is_some());
        assert_eq!(addresses.settle(ID), None, "it counts already");
        let other = ConnId { slot: 2, generation: 0 };
        assert_eq!(addresses.settle(other).unwrap().admitted, None, "that address has one already");
        addresses.remove(other, None);
        addresses.remove(ID, address_key);
        let last = ConnId { slot: 3, generation: 0 };
        assert_eq!(addresses.settle(last).unwrap().admitted, Some(address_key));
    }
}
