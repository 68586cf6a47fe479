//! Networks of addresses in CIDR notation, as `--trusted-proxies` lists them.

use std::fmt;
use std::net::IpAddr;

/// The word for an empty list.
const NONE: &str = "none";

/// Some networks. An IPv4 address that is mapped into IPv6 counts as the IPv4 address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNetwork>);

/// All addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IpNetwork {
    address: IpAddr,
    bits: u32,
}

impl Networks {
    /// Reads a list like `10.0.0.0/8,::1`, or `none`.
    ///
    /// # Errors
    /// An entry cannot be read. The text describes the fault of the first such entry.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == NONE {
            return Ok(Self::default());
        }
        text.split(',').map(|entry| IpNetwork::parse(entry.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Is this address in one of them?
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(NONE);
        }
        for (place, IpNetwork { address, bits }) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{address}/{bits}")?;
        }
        Ok(())
    }
}

/// The bits of an address, moved to the top of a `u128`, and their number.
fn aligned_bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// A mask with ones in the top `bits` bits.
fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

impl IpNetwork {
    fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no IP address"))?;
        let (_, longest) = aligned_bits(address);
        let bits = match bits {
            None => longest,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|&bits| bits <= longest && digits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| format!("{text:?} needs a prefix length of 0 to {longest}"))?,
        };
        let network = match address.to_canonical() {
            mapped @ IpAddr::V4(_) if address.is_ipv6() && bits >= 96 => Self { address: mapped, bits: bits - 96 },
            _ => Self { address, bits },
        };
        let (number, _) = aligned_bits(network.address);
        if number & !mask(network.bits) != 0 {
            return Err(format!("{text:?} names one address and not a network: bits behind its prefix are set"));
        }
        Ok(network)
    }

    fn contains(&self, address: IpAddr) -> bool {
        let ((one, _), (other, _)) = (aligned_bits(self.address), aligned_bits(address));
        self.address.is_ipv4() == address.is_ipv4() && (one ^ other) & mask(self.bits) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_a_network_by_its_first_bits() {
        let networks = Networks::parse("10.0.0.0/8, 192.0.2.7,2001:db8::/32,::1,::ffff:198.51.100.0/120").unwrap();
        for inside in
            ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:ffff::1", "::1", "198.51.100.9"]
        {
            assert!(networks.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.0", "192.0.2.8", "2001:db9::", "::2", "127.0.0.1", "198.51.101.0", "::a00:0"] {
            assert!(!networks.contains(outside.parse().unwrap()), "{outside}");
        }
        let all = Networks::parse("0.0.0.0/0").unwrap();
        assert!(all.contains("203.0.113.1".parse().unwrap()) && !all.contains("2001:db8::1".parse().unwrap()));
        assert!(!Networks::default().contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn the_shown_networks_read_back() {
        for (text, shown) in [
            ("none", "none"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1 , 10.0.0.0/8", "::1/128,10.0.0.0/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::/0,0.0.0.0/0", "::/0,0.0.0.0/0"),
        ] {
            let networks = Networks::parse(text).unwrap();
            assert_eq!(networks.to_string(), shown);
            assert_eq!(Networks::parse(shown), Ok(networks));
        }
    }

    #[test]
    fn malformed_networks_are_refused() {
        for bad in ["", "localhost", "10.0.0.0/33", "::/129", "10.0.0.1/8", "10.0.0.0/+8", "10.0.0.0/", "::1,", "/8"] {
            assert!(Networks::parse(bad).is_err(), "{bad}");
        }
    }
}
