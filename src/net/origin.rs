//! Where connections come from: the limit per address, and the number that stands for an address in
//! the core.

use crate::chat::contract::Origin;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;

/// The connections of each address.
#[derive(Debug)]
pub(super) struct Origins {
    key: [u64; 2],
    conns_max: usize,
    conns: HashMap<Origin, usize>,
}

impl Origins {
    /// No connections; at most `conns_max` from one address. `key` should be random, so that nobody
    /// outside can choose addresses that collide.
    #[must_use]
    pub(super) fn new(conns_max: usize, key: [u64; 2]) -> Self {
        Self { key, conns_max, conns: HashMap::new() }
    }

    /// The number of an address; `None` for loopback, to which no limit applies. All addresses of
    /// one IPv6 network of 64 bits are one: a single host has as many of them as it likes.
    #[must_use]
    pub(super) fn of(&self, address: IpAddr) -> Option<Origin> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        match address {
            IpAddr::V4(address) => address.octets().hash(&mut hasher),
            IpAddr::V6(address) => address.octets()[..8].hash(&mut hasher),
        }
        // Half of the hash tells addresses apart well enough: of 65,536 others one collides in one
        // of 65,536 cases.
        let number = NonZeroU32::new((hasher.finish() >> 32) as u32).unwrap_or(NonZeroU32::MIN);
        Some(Origin(number))
    }

    /// Counts a new connection, unless its address has as many as it may.
    #[must_use]
    pub(super) fn enter(&mut self, origin: Option<Origin>) -> bool {
        let Some(origin) = origin else {
            return true;
        };
        let count = self.conns.entry(origin).or_default();
        let free = *count < self.conns_max;
        if free {
            *count += 1;
        }
        free
    }

    /// A connection that was counted is gone.
    pub(super) fn leave(&mut self, origin: Option<Origin>) {
        let Some(origin) = origin else {
            return;
        };
        if let Some(count) = self.conns.get_mut(&origin) {
            *count -= 1;
            if *count == 0 {
                self.conns.remove(&origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(origins: &Origins, address: &str) -> Option<Origin> {
        origins.of(address.parse().unwrap())
    }

    #[test]
    fn loopback_is_no_origin_and_networks_are_told_apart() {
        let origins = Origins::new(2, [1, 2]);
        for loopback in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(origin(&origins, loopback), None, "{loopback}");
        }
        assert_eq!(origin(&origins, "192.0.2.1"), origin(&origins, "::ffff:192.0.2.1"));
        assert_ne!(origin(&origins, "192.0.2.1"), origin(&origins, "192.0.2.2"));
        assert_eq!(origin(&origins, "2001:db8::1"), origin(&origins, "2001:db8::ffff:2"));
        assert_ne!(origin(&origins, "2001:db8::1"), origin(&origins, "2001:db8:0:1::1"));
        assert_ne!(origin(&origins, "192.0.2.1"), origin(&Origins::new(2, [3, 4]), "192.0.2.1"));
    }

    #[test]
    fn so_many_of_each_address_and_none_is_remembered() {
        let mut origins = Origins::new(2, [1, 2]);
        let (one, other) = (origin(&origins, "192.0.2.1"), origin(&origins, "192.0.2.2"));
        assert!(origins.enter(one) && origins.enter(one) && !origins.enter(one));
        assert!(origins.enter(other));
        for _ in 0..100 {
            assert!(origins.enter(None));
        }
        origins.leave(one);
        assert!(origins.enter(one));
        for origin in [one, one, other, None] {
            origins.leave(origin);
        }
        assert!(origins.conns.is_empty());
    }
}
