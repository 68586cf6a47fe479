//! The address of a client according to the headers of proxies: `X-Forwarded-For`, and `Forwarded`
//! (RFC 7239). Each proxy appends the address from which the request came to it. Only the parts
//! that trusted proxies appended are believed. So the list is read from its end, up to the first
//! address that is not a trusted proxy. The client may have invented everything before that.

use crate::config::Networks;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of the client behind `proxy`, which is trusted. It is the last address in the
/// headers that is not a trusted proxy. If a trusted proxy did not say from where the request came,
/// it is the address of that proxy. `None`: the two headers contradict each other or cannot be
/// read, so a client may have written one of them.
#[must_use]
pub(super) fn client_address(
    proxy: IpAddr,
    x_forwarded_for: &[&[u8]],
    forwarded: &[&[u8]],
    trusted: &Networks,
) -> Option<IpAddr> {
    let by_x = x_forwarded_for.iter().rev().flat_map(|line| line.rsplit(|&byte| byte == b',').map(node));
    let lines: Option<Vec<_>> = forwarded.iter().map(|line| split_unquoted(line, b',')).collect();
    let by_forwarded = lines?.into_iter().rev().flat_map(|elements| elements.into_iter().rev().map(element));
    let by_x = farthest_known(proxy, by_x, trusted);
    let by_forwarded = farthest_known(proxy, by_forwarded, trusted);
    match (x_forwarded_for, forwarded) {
        (_, []) => Some(by_x),
        ([], _) => Some(by_forwarded),
        _ => (by_x == by_forwarded).then_some(by_x),
    }
}

/// Goes from proxy to proxy, as long as each is trusted and says from where the request came.
fn farthest_known(proxy: IpAddr, before: impl Iterator<Item = Option<IpAddr>>, trusted: &Networks) -> IpAddr {
    let mut address = proxy;
    for before in before {
        let Some(before) = before.filter(|_| trusted.contains(address)) else { break };
        address = before;
    }
    address
}

/// The pieces between separators that do not stand in quotes (RFC 9110 §5.6.4: a backslash in
/// quotes takes the next character as it is). `None`: a quote is not closed. Then a client has
/// written a part of the line, and it is not clear where that ends.
fn split_unquoted(line: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut pieces, mut begin, mut in_quotes, mut is_escaped) = (Vec::new(), 0, false, false);
    for (place, &byte) in line.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_quotes => is_escaped = true,
            b'"' => in_quotes = !in_quotes,
            byte if byte == separator && !in_quotes => {
                pieces.push(&line[begin..place]);
                begin = place + 1;
            }
            _ => {}
        }
    }
    pieces.push(&line[begin..]);
    (!in_quotes).then_some(pieces)
}

/// The address in one element of `Forwarded`: its parameter `for`, if there is exactly one.
fn element(element: &[u8]) -> Option<IpAddr> {
    let values = split_unquoted(element, b';')?.into_iter().filter_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        pair[..equals].trim_ascii().eq_ignore_ascii_case(b"for").then(|| pair[equals + 1..].trim_ascii())
    });
    let [value] = values.collect::<Vec<_>>()[..] else { return None };
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    node(quoted.unwrap_or(value))
}

/// An address, with or without a port. An IPv6 address may stand in brackets, and must if it has a
/// port. `None`: other values, which are `unknown` or names that the proxy has made up.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        IpAddr::V6(address.parse::<Ipv6Addr>().ok().filter(|_| fits)?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        IpAddr::V4(address.parse::<Ipv4Addr>().ok().filter(|_| is_port(port))?)
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "127.0.0.1";

    fn bytes<'a>(lines: &[&'a str]) -> Vec<&'a [u8]> {
        lines.iter().map(|line| line.as_bytes()).collect()
    }

    fn client(x_forwarded_for: &[&str], forwarded: &[&str]) -> Option<String> {
        let trusted = Networks::parse("127.0.0.1,10.0.0.0/8,2001:db8:1::/48").unwrap();
        let (by_x, by_forwarded) = (bytes(x_forwarded_for), bytes(forwarded));
        client_address(PROXY.parse().unwrap(), &by_x, &by_forwarded, &trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxy_is_the_client() {
        for (lines, expected) in [
            (&[][..], PROXY),
            (&["192.0.2.7"][..], "192.0.2.7"),
            (&["203.0.113.66, 192.0.2.7"], "192.0.2.7"),
            (&["203.0.113.66,192.0.2.7 , 10.1.2.3,10.1.2.4"], "192.0.2.7"),
            (&["203.0.113.66", "192.0.2.7", "10.1.2.3"], "192.0.2.7"),
            (&["10.1.2.3, 10.1.2.4"], "10.1.2.3"),
            (&["127.0.0.1"], "127.0.0.1"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["[2001:db8::7]:4711, 2001:db8:1::1"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            // A proxy does not give the address: a client may have invented everything before.
            (&["192.0.2.7, unknown"], PROXY),
            (&["192.0.2.7, unknown, 10.1.2.3"], "10.1.2.3"),
            (&["192.0.2.7,"], PROXY),
            (&["192.0.2.7:99999"], PROXY),
            (&["[192.0.2.7]"], PROXY),
            (&["[2001:db8::7]x"], PROXY),
        ] {
            assert_eq!(client(lines, &[]).as_deref(), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn the_header_forwarded_gives_the_client_in_the_same_way() {
        for (lines, expected) in [
            (&["for=192.0.2.7"][..], "192.0.2.7"),
            (&["For=\"192.0.2.7:4711\";proto=https;by=10.0.0.1"], "192.0.2.7"),
            (&["for=203.0.113.66, for=192.0.2.7, for=10.1.2.3;host=\"a,b;c\""], "192.0.2.7"),
            (&["for=203.0.113.66", "proto=https; for=\"[2001:db8::7]:80\""], "2001:db8::7"),
            (&["for=\"[2001:db8::7]\""], "2001:db8::7"),
            (&["for=192.0.2.7, for=unknown"], PROXY),
            (&["for=192.0.2.7, for=_hidden, for=10.1.2.3"], "10.1.2.3"),
            (&["for=192.0.2.7, proto=https"], PROXY),
            (&["for=192.0.2.7;for=192.0.2.8"], PROXY),
            // Text in quotes is not an element, whatever is escaped in it.
            (&[r#"for=192.0.2.7;host="a\", for=203.0.113.66;x=\"""#], "192.0.2.7"),
            (&[r#"for=203.0.113.66;host="\\", for=192.0.2.7"#], "192.0.2.7"),
        ] {
            assert_eq!(client(&[], lines).as_deref(), Some(expected), "{lines:?}");
        }
        // A client has opened a quote: it is not clear how much of the line belongs to it.
        for lines in [&["for=\"192.0.2.66, for=192.0.2.7"][..], &["for=\"203.0.113.66", "for=192.0.2.7"]] {
            assert_eq!(client(&[], lines), None, "{lines:?}");
        }
    }

    #[test]
    fn two_headers_that_contradict_each_other_are_not_believed() {
        assert_eq!(client(&["192.0.2.7"], &["for=192.0.2.7"]).as_deref(), Some("192.0.2.7"));
        assert_eq!(client(&["192.0.2.7"], &["for=192.0.2.8"]), None);
        assert_eq!(client(&["203.0.113.66, 192.0.2.7"], &["for=192.0.2.7"]).as_deref(), Some("192.0.2.7"));
    }
}
