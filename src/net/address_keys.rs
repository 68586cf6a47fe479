//! Addresses of connections: the limit per address, and the key that stands for an address in the
//! core.

use crate::chat::contract::AddressKey;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

/// The number of connections of each address.
#[derive(Debug)]
pub(super) struct ConnectionsPerAddress {
    key: [u64; 2],
    conns_max: usize,
    conns: HashMap<AddressKey, usize>,
}

impl ConnectionsPerAddress {
    /// No connections; at most `conns_max` from one address. `key` should be random, so that nobody
    /// outside can choose addresses that collide.
    #[must_use]
    pub(super) fn new(conns_max: usize, key: [u64; 2]) -> Self {
        Self { key, conns_max, conns: HashMap::new() }
    }

    /// Sets the limit per address; connections beyond it stay.
    pub(super) fn set_conns_max(&mut self, conns_max: usize) {
        self.conns_max = conns_max;
    }

    /// The key of an address; `None` for loopback, to which no limit applies. All addresses of one
    /// IPv6 network /64 have one key, because a single host may have any number of them. But hosts
    /// behind a translator from IPv4 (RFC 6052) share such a network, and have one address each.
    #[must_use]
    pub(super) fn key_of(&self, address: IpAddr) -> Option<AddressKey> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        match nat64_ipv4(address).unwrap_or(address) {
            IpAddr::V4(address) => address.octets().hash(&mut hasher),
            IpAddr::V6(address) => address.octets()[..8].hash(&mut hasher),
        }
        // Half of the hash is enough: with 65,536 other addresses, one collides in one of 65,536
        // cases.
        let number = NonZeroU32::new((hasher.finish() >> 32) as u32).unwrap_or(NonZeroU32::MIN);
        Some(AddressKey(number))
    }

    /// Counts a new connection; `false`: its address has reached the limit.
    #[must_use]
    pub(super) fn enter(&mut self, address_key: Option<AddressKey>) -> bool {
        let Some(address_key) = address_key else {
            return true;
        };
        let count = self.conns.entry(address_key).or_default();
        let free = *count < self.conns_max;
        if free {
            *count += 1;
        }
        free
    }

    /// A counted connection was removed.
    pub(super) fn remove(&mut self, address_key: Option<AddressKey>) {
        let Some(address_key) = address_key else {
            return;
        };
        if let Some(count) = self.conns.get_mut(&address_key) {
            *count -= 1;
            if *count == 0 {
                self.conns.remove(&address_key);
            }
        }
    }
}

/// The IPv4 address inside an address of 64:ff9b::/96.
fn nat64_ipv4(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let number = address.to_bits();
    // The cut to 32 bits is the point.
    (number >> 32 == 0x0064_ff9b_u128 << 64).then(|| IpAddr::from(Ipv4Addr::from_bits(number as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address_key(address_keys: &ConnectionsPerAddress, address: &str) -> Option<AddressKey> {
        address_keys.key_of(address.parse().unwrap())
    }

    #[test]
    fn loopback_has_no_key_and_networks_are_told_apart() {
        let address_keys = ConnectionsPerAddress::new(2, [1, 2]);
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(address_key(&address_keys, loopback), None, "{loopback}");
        }
        assert_eq!(address_key(&address_keys, "192.0.2.1"), address_key(&address_keys, "::ffff:192.0.2.1"));
        assert_ne!(address_key(&address_keys, "192.0.2.1"), address_key(&address_keys, "192.0.2.2"));
        assert_eq!(address_key(&address_keys, "2001:db8::1"), address_key(&address_keys, "2001:db8::ffff:2"));
        assert_ne!(address_key(&address_keys, "2001:db8::1"), address_key(&address_keys, "2001:db8:0:1::1"));
        assert_eq!(address_key(&address_keys, "192.0.2.1"), address_key(&address_keys, "64:ff9b::192.0.2.1"));
        assert_ne!(address_key(&address_keys, "64:ff9b::192.0.2.1"), address_key(&address_keys, "64:ff9b::192.0.2.2"));
        assert_eq!(address_key(&address_keys, "64:ff9b:1::1"), address_key(&address_keys, "64:ff9b:1::2"));
        assert!(address_key(&address_keys, "64:ff9b::127.0.0.1").is_some(), "that is a client far away");
        assert_ne!(
            address_key(&address_keys, "192.0.2.1"),
            address_key(&ConnectionsPerAddress::new(2, [3, 4]), "192.0.2.1")
        );
    }

    #[test]
    fn so_many_of_each_address_and_none_is_remembered() {
        let mut address_keys = ConnectionsPerAddress::new(2, [1, 2]);
        let (one, other) = (address_key(&address_keys, "192.0.2.1"), address_key(&address_keys, "192.0.2.2"));
        assert!(address_keys.enter(one) && address_keys.enter(one) && !address_keys.enter(one));
        assert!(address_keys.enter(other));
        for _ in 0..100 {
            assert!(address_keys.enter(None));
        }
        address_keys.remove(one);
        assert!(address_keys.enter(one));
        for address_key in [one, one, other, None] {
            address_keys.remove(address_key);
        }
        assert!(address_keys.conns.is_empty());
    }
}
