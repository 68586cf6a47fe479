//! The URLs of the bus. They never show a password.

use std::fmt;
use std::path::PathBuf;

/// Instances of a bus at most: each has two threads and two connections.
const INSTANCES_MAX: usize = 8;
const PORT: u16 = 6_379;
/// The parameter of a URL that names the roots to trust.
const CA: &str = "root_cert_path";

/// The instances of a bus, in the order in which they are used to publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusUrls(Box<[BusUrl]>);

/// One instance of a bus.
#[derive(Clone, PartialEq, Eq)]
pub struct BusUrl {
    /// It speaks TLS.
    pub tls: bool,
    /// The user to log in as, if it is not the default one.
    pub user: Option<String>,
    /// The password to log in with, if there is one.
    pub password: Option<String>,
    /// A name, or an address without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The roots that may sign its certificate, instead of those of the web.
    pub root_cert_path: Option<PathBuf>,
}

impl BusUrls {
    /// Reads URLs with commas between them; `none` is none.
    ///
    /// # Errors
    /// The fault in them, as the end of a sentence. Nothing of them is repeated, since a password
    /// may stand anywhere in one that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::default());
        }
        let urls = text.split(',').map(BusUrl::parse).collect::<Result<Vec<_>, _>>()?;
        if urls.len() > INSTANCES_MAX {
            return Err(format!("a bus has {INSTANCES_MAX} instances at most"));
        }
        let place = |url: &BusUrl| (url.host.clone(), url.port);
        if urls.iter().enumerate().any(|(at, url)| urls[..at].iter().any(|other| place(other) == place(url))) {
            return Err("the same host and port stand in it twice".to_owned());
        }
        Ok(Self(urls.into()))
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &BusUrl> {
        self.0.iter()
    }

    /// Is there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Is there a password among them?
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.iter().any(|url| url.password.is_some())
    }
}

impl BusUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let shape = "a bus must look like redis://USER:PASSWORD@HOST:PORT, or rediss:// for TLS, with special \
                     characters percent-encoded";
        let (tls, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(shape.to_owned()),
        };
        let (rest, parameter) = match rest.split_once('?') {
            Some((rest, parameter)) => (rest, Some(parameter)),
            None => (rest, None),
        };
        // A frame reaches all databases of an instance, so a URL names none.
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '#', ' ']) {
            return Err(format!("{shape}; nothing stands behind the port"));
        }
        let (user_info, place) = match authority.rsplit_once('@') {
            Some((user_info, place)) => (Some(user_info), place),
            None => (None, authority),
        };
        let (user, password) = user_info.map_or(Ok((None, None)), read_user_info)?;
        let (host, port) = read_place(place).ok_or(shape)?;
        let port = match port {
            None => PORT,
            Some(port) => {
                let port = port.parse().ok().filter(|port| *port > 0);
                port.ok_or("the port of the bus is none: a port is a number from 1 to 65535")?
            }
        };
        let root_cert_path = parameter.map(|parameter| read_parameter(parameter, tls)).transpose()?;
        Ok(Self { tls, user, password, host: host.to_owned(), port, root_cert_path })
    }

    /// Host and port, as they are written.
    #[must_use]
    pub fn host_and_port(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

fn read_user_info(text: &str) -> Result<(Option<String>, Option<String>), String> {
    if text.contains('@') {
        return Err("the user or password of the bus has special characters: they must be percent-encoded".to_owned());
    }
    // A password alone stands behind a colon, as other programs write it.
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let part = |text: &str| if text.is_empty() { Ok(None) } else { decoded(text).map(Some) };
    let (user, password) = (part(user)?, part(password)?);
    if user.is_some() && password.is_none() {
        return Err("the bus has a user without a password; a password alone is written :PASSWORD@".to_owned());
    }
    Ok((user, password))
}

/// Host and port; an address of IPv6 stands in brackets.
fn read_place(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, behind) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, behind)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match behind {
        "" => None,
        behind => Some(behind.strip_prefix(':')?),
    };
    (!host.is_empty()).then_some((host, port))
}

fn read_parameter(text: &str, tls: bool) -> Result<PathBuf, String> {
    match text.split_once('=') {
        Some((CA, path)) if !path.is_empty() && !path.contains('&') => {
            if !tls {
                return Err(format!("the bus has {CA} without TLS, for which its URL must begin with rediss://"));
            }
            Ok(decoded(path)?.into())
        }
        _ => Err(format!("the bus has a parameter that is not known; {CA} is, with a path")),
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let fault = || "a percent sign in the URL of the bus must stand before two hexadecimal digits".to_owned();
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, others)) = rest.split_first() {
        rest = others;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, behind) = others.split_at_checked(2).ok_or_else(fault)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+')).ok_or_else(fault)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| fault())?);
        rest = behind;
    }
    String::from_utf8(bytes).map_err(|_| "the percent-encoded text in the URL of the bus is not UTF-8".to_owned())
}

impl fmt::Display for BusUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (at, url) in self.iter().enumerate() {
            write!(f, "{}{url}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Without the password, and the user.
impl fmt::Display for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        let secret = if self.password.is_some() { "***@" } else { "" };
        write!(f, "{scheme}://{secret}{}", self.host_and_port())
    }
}

impl fmt::Debug for BusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> BusUrl {
        BusUrls::parse(text).unwrap().iter().next().unwrap().clone()
    }

    #[test]
    fn a_url_is_read_and_decoded() {
        assert!(BusUrls::parse("none").unwrap().is_empty());
        let url = one("redis://u:ge%2Fheim%40%25@h:7000");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("u"), Some("ge/heim@%")));
        assert_eq!((&*url.host, url.port, url.tls), ("h", 7_000, false));
        let url = one("rediss://:geheim@[::1]/?root_cert_path=/a%20b/ca.pem");
        assert_eq!((url.user, url.password.as_deref()), (None, Some("geheim")));
        assert_eq!((&*url.host, url.port, url.tls), ("::1", 6_379, true));
        assert_eq!(url.root_cert_path, Some("/a b/ca.pem".into()));
        let urls = BusUrls::parse("redis://a,redis://a:6380,rediss://b:6379").unwrap();
        assert_eq!(urls.iter().map(BusUrl::host_and_port).collect::<Vec<_>>(), ["a:6379", "a:6380", "b:6379"]);
        assert!(!urls.has_password());
    }

    #[test]
    fn a_password_is_never_shown() {
        let urls = BusUrls::parse("redis://geheim:geheim@a,rediss://:geheim@[::1]:7").unwrap();
        assert!(urls.has_password());
        assert_eq!(urls.to_string(), "redis://***@a:6379,rediss://***@[::1]:7");
        assert!(!format!("{urls:?}").contains("geheim"));
    }

    #[test]
    fn a_bad_url_is_refused_and_not_repeated() {
        for bad in [
            "",
            "geheim",
            "http://geheim",
            "redis:geheim",
            "redis://",
            "redis://:geheim@",
            "redis://u:geheim@:1",
            "redis://u:ge/heim@h",
            "redis://u:ge@heim@h",
            "redis://u:ge%heim@h",
            "redis://u:geheim%@h",
            "redis://u:geheim%+1@h",
            "redis://u:geheim%ff@h",
            "redis://geheim@h",
            "redis://u:geheim@h:0",
            "redis://u:geheim@h:",
            "redis://u:geheim@h:70000",
            "redis://u:geheim@h:geheim",
            "redis://u:geheim@[::1",
            "redis://u:geheim@[geheim]",
            "redis://u:geheim@[::1]geheim",
            "redis://u:geheim@h/0",
            "redis://u:geheim@h#geheim",
            "redis://u:geheim@h heim",
            "redis://u:geheim@h?root_cert_path=/x",
            "rediss://u:geheim@h?root_cert_path=",
            "rediss://u:geheim@h?geheim=1",
            "rediss://u:geheim@h?root_cert_path=/x&geheim=1",
            "redis://a,",
            "redis://a,redis://u:geheim@a",
            "redis://u:ge,heim@a",
            "redis://1,redis://2,redis://3,redis://4,redis://5,redis://6,redis://7,redis://8,redis://9",
        ] {
            let why = BusUrls::parse(bad).unwrap_err();
            assert!(!why.contains("heim") && !why.contains('\n') && !why.ends_with('.'), "{bad}: {why}");
        }
    }
}
