//! The header that a proxy may put in front of a connection (the PROXY protocol, versions 1 and 2:
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>). It is strict: input that does
//! not follow that document is no header, or a bad one. Pure functions on bytes, which decide as
//! early as possible.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A header of version 1 is at most this long.
pub const V1_BYTES_MAX: usize = 107;
/// A header of version 2 may be at most this long.
pub const V2_BYTES_MAX: usize = 536;

/// The possible first bytes of version 1.
const V1_STARTS: [&[u8]; 3] = [b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN"];
/// The first bytes of version 2.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The length of the fixed part of version 2.
const V2_FIXED_BYTES: usize = 16;

/// The result of reading the first bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaderResult {
    /// The beginning of a header, or nothing yet.
    More,
    /// No header.
    Absent,
    /// A whole header.
    Whole {
        /// The address of the client; `None` if the proxy made the connection for itself or does
        /// not know the address.
        client: Option<IpAddr>,
        /// The length of the header in bytes.
        length: usize,
    },
    /// They begin like a header but are not valid.
    Bad,
}

/// Reads the header at the front of `bytes`.
#[must_use]
pub fn read(bytes: &[u8]) -> ProxyHeaderResult {
    let begins = |start: &[u8]| bytes.starts_with(start);
    if begins(V2_START) {
        return read_v2(bytes);
    }
    if V1_STARTS.iter().any(|start| begins(start)) {
        return read_v1(bytes);
    }
    let may_begin = V1_STARTS.iter().chain([&V2_START]).any(|start| start.starts_with(bytes));
    if may_begin { ProxyHeaderResult::More } else { ProxyHeaderResult::Absent }
}

fn read_v1(bytes: &[u8]) -> ProxyHeaderResult {
    let seen = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = seen.windows(2).position(|two| two == b"\r\n") else {
        return if seen.len() < V1_BYTES_MAX { ProxyHeaderResult::More } else { ProxyHeaderResult::Bad };
    };
    let words = std::str::from_utf8(&seen[..end]).map(|line| line.split(' ').collect::<Vec<_>>()).unwrap_or_default();
    let client = match words[..] {
        // Other words must be ignored.
        ["PROXY", "UNKNOWN", ..] => Some(None),
        ["PROXY", "TCP4", from, to, from_port, to_port] if are_ports([from_port, to_port]) => {
            let of = |text: &str| text.parse::<Ipv4Addr>().ok();
            of(from).filter(|_| of(to).is_some()).map(|client| Some(IpAddr::V4(client)))
        }
        ["PROXY", "TCP6", from, to, from_port, to_port] if are_ports([from_port, to_port]) => {
            let of = |text: &str| text.parse::<Ipv6Addr>().ok();
            of(from).filter(|_| of(to).is_some()).map(|client| Some(IpAddr::V6(client)))
        }
        _ => None,
    };
    client.map_or(ProxyHeaderResult::Bad, |client| ProxyHeaderResult::Whole { client, length: end + 2 })
}

/// Decimal numbers up to 65,535 without a sign or a leading zero.
fn are_ports(words: [&str; 2]) -> bool {
    words.iter().all(|word| word.parse::<u16>().is_ok_and(|port| port.to_string() == **word))
}

fn read_v2(bytes: &[u8]) -> ProxyHeaderResult {
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED_BYTES) else { return ProxyHeaderResult::More };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    // The bytes of two addresses and two ports.
    let needed = match (command, family) {
        (0x20, _) | (0x21, 0x00) => 0,
        (0x21, 0x11 | 0x12) => 12,
        (0x21, 0x21 | 0x22) => 36,
        (0x21, 0x31 | 0x32) => 216,
        _ => return ProxyHeaderResult::Bad,
    };
    if length < needed || V2_FIXED_BYTES + length > V2_BYTES_MAX {
        return ProxyHeaderResult::Bad;
    }
    let Some(addresses) = rest.get(..length) else { return ProxyHeaderResult::More };
    let client = match (command, family) {
        (0x21, 0x11) => addresses.first_chunk::<4>().map(|&octets| IpAddr::from(octets)),
        (0x21, 0x21) => addresses.first_chunk::<16>().map(|&octets| IpAddr::from(octets)),
        // Not an IP address, or no address at all.
        _ => None,
    };
    ProxyHeaderResult::Whole { client, length: V2_FIXED_BYTES + length }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A header of version 2.
    pub(in crate::net) fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [V2_START, &[command, family], &length, addresses].concat()
    }

    fn whole(client: Option<&str>, length: usize) -> ProxyHeaderResult {
        ProxyHeaderResult::Whole { client: client.map(|client| client.parse().unwrap()), length }
    }

    /// Headers that are whole, and their clients.
    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let six = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let longest = format!("PROXY UNKNOWN {six} {six} 65535 65535\r\n");
        assert_eq!(longest.len(), V1_BYTES_MAX);
        let tcp6: Vec<u8> = [[0x20, 1, 0xd, 0xb8], [0; 4], [0; 4], [0, 0, 0, 7]].concat();
        let tcp6 = [&tcp6[..], &[9; 20], b"and a TLV"].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 0 65535\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (longest.into_bytes(), None),
            (v2(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 1, 2, 3, 4]), Some("192.0.2.7")),
            (v2(0x21, 0x21, &tcp6), Some("2001:db8::7")),
            (v2(0x21, 0x11, &[1; V2_BYTES_MAX - V2_FIXED_BYTES]), Some("1.1.1.1")),
            (v2(0x21, 0x12, &[1; 12]), None),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
            (v2(0x21, 0x00, b""), None),
            (v2(0x20, 0x11, &[1; 12]), None),
            (v2(0x20, 0x00, b"ignored"), None),
        ]
    }

    #[test]
    fn a_header_is_read_when_it_is_whole_wherever_it_is_cut() {
        for (header, client) in good() {
            for end in 0..header.len() {
                assert_eq!(read(&header[..end]), ProxyHeaderResult::More, "{end} of {header:?}");
            }
            for behind in [&b""[..], b"{", b"\r\n", b"PROXY "] {
                assert_eq!(read(&[&header[..], behind].concat()), whole(client, header.len()), "{header:?}");
            }
        }
    }

    #[test]
    fn input_that_does_not_begin_like_a_header_is_no_header() {
        for bytes in
            ["{", "GET /", "PUT /", "PROXY /", "PROXY *", "PROXY TCP5 ", "proxy TCP4 ", "\r\n\r\n{", "\r\n\r\n\r"]
        {
            assert_eq!(read(bytes.as_bytes()), ProxyHeaderResult::Absent, "{bytes:?}");
        }
    }

    #[test]
    fn input_that_only_begins_like_a_header_is_bad() {
        for line in [
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n",
            "PROXY TCP4 ::1 ::1 1 443\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
            "PROXY UNKNOWNS\r\n",
        ] {
            assert_eq!(read(line.as_bytes()), ProxyHeaderResult::Bad, "{line}");
        }
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        assert_eq!(read(&endless[..V1_BYTES_MAX - 1]), ProxyHeaderResult::More);
        assert_eq!(read(&endless), ProxyHeaderResult::Bad);
        for (command, family, addresses) in [
            (0x11, 0x11, &[1; 12][..]),
            (0x22, 0x11, &[1; 12]),
            (0x21, 0x13, &[1; 12]),
            (0x21, 0x41, &[1; 12]),
            (0x21, 0x11, &[1; 11]),
            (0x21, 0x21, &[1; 35]),
            (0x21, 0x31, &[1; 215]),
            (0x20, 0x00, &[1; V2_BYTES_MAX - V2_FIXED_BYTES + 1]),
        ] {
            assert_eq!(read(&v2(command, family, addresses)), ProxyHeaderResult::Bad, "{command:x} {family:x}");
        }
    }

    #[test]
    fn mutated_headers_are_decided_once_and_within_their_bound() {
        let mut random = fastrand::Rng::with_seed(7);
        let seeds = good();
        for _ in 0..500 {
            let mut bytes = random.choice(&seeds).unwrap().0.clone();
            for _ in 0..random.usize(1..4) {
                let place = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[place] = *random.choice(b"\r\n 0:.PROXY\x21\x11").unwrap(),
                    1 => bytes[place] = random.u8(..),
                    _ => drop(bytes.remove(place)),
                }
            }
            bytes.extend([b'x'; 2 * V2_BYTES_MAX]);
            let decided: Vec<ProxyHeaderResult> = (0..bytes.len()).map(|end| read(&bytes[..end])).collect();
            let at = decided.iter().position(|header| *header != ProxyHeaderResult::More).unwrap();
            assert!(at <= V2_BYTES_MAX, "a header that never ends");
            assert!(decided[at..].iter().all(|header| *header == decided[at]), "{bytes:?}");
            if let ProxyHeaderResult::Whole { length, .. } = decided[at] {
                assert_eq!(length, at, "known as soon as it is there, and no more bytes are waited for");
            }
        }
    }
}
