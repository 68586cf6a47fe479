//! The URL of the push hook. Parts that may be secrets are never shown.

use std::fmt;
use ureq::http::Uri;

/// Where the push hook sends its requests.
#[derive(Clone, PartialEq, Eq)]
pub struct HookUrl(Uri);

impl HookUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The fault in it. Nothing of the URL is repeated, since a password may stand anywhere in one
    /// that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_http = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if !is_http("http://") && !is_http("https://") {
            return Err("the URL must begin with https:// or http://".to_owned());
        }
        let uri: Uri = text.parse().map_err(|_| {
            "this is no URL: special characters in its user, password and path must be percent-encoded".to_owned()
        })?;
        let host = uri.host().unwrap_or_default();
        if host.is_empty() || host == "[]" {
            return Err("the URL names no host".to_owned());
        }
        // An invalid port is detected only here.
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let behind = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let behind = behind.rsplit_once(']').map_or(behind, |(_, behind)| behind);
        if behind.contains(':') && uri.port_u16().is_none_or(|port| port == 0) {
            return Err("the port of the URL is none: a port is a number from 1 to 65535".to_owned());
        }
        Ok(Self(uri))
    }

    /// The URL without user and password.
    #[must_use]
    pub fn target(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
        let path = self.0.path_and_query().map_or("/", |path| path.as_str());
        format!("{scheme}://{place}{path}")
    }

    /// User and password, decoded, with a colon between them.
    #[must_use]
    pub fn user_and_password(&self) -> Option<Vec<u8>> {
        let (user_info, _) = self.0.authority()?.as_str().rsplit_once('@')?;
        let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        Some([&percent_decoded(user)[..], b":", &percent_decoded(password)].concat())
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, others)) = rest.split_first() {
        let digits = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { &others[2..] } else { others };
    }
    bytes
}

/// Scheme, host and port. The path may be a secret as well: for many services it is the only one.
impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme_str().unwrap_or_default(), self.0.host().unwrap_or_default())?;
        if let Some(port) = self.0.port_u16() {
            write!(f, ":{port}")?;
        }
        let is_more = self.0.path().len() > 1 || self.0.query().is_some();
        f.write_str(if is_more { "/***" } else { "/" })
    }
}

impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_host_and_port_are_shown() {
        for (url, shown) in [
            ("https://push.example", "https://push.example/"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/"),
            ("HTTPS://push.example/geheim", "https://push.example/***"),
            ("https://u:geheim@push.example:8443/x?token=geheim", "https://push.example:8443/***"),
            ("https://geheim@[::1]:9/", "https://[::1]:9/"),
            ("http://h/?geheim", "http://h/***"),
        ] {
            let url = HookUrl::parse(url).unwrap();
            assert_eq!((format!("{url}"), format!("{url:?}")), (shown.to_owned(), shown.to_owned()));
        }
    }

    #[test]
    fn user_and_password_are_taken_out_and_decoded() {
        for (url, target, user) in [
            ("https://push.example", "https://push.example/", None),
            ("https://u:p%40%3a%@h:8443/x?y=z", "https://h:8443/x?y=z", Some("u:p@:%")),
            ("http://%e9%9b%81@[::1]/", "http://[::1]/", Some("雁:")),
        ] {
            let url = HookUrl::parse(url).unwrap();
            assert_eq!(url.target(), target);
            assert_eq!(url.user_and_password(), user.map(|user| user.as_bytes().to_vec()));
        }
    }

    #[test]
    fn a_bad_url_is_refused_and_not_repeated() {
        for bad in [
            "",
            "push.example/geheim",
            "ftp://push.example/geheim",
            "file:///geheim",
            "http:/geheim",
            "http://",
            "https:///geheim",
            "http://:80/geheim",
            "http://u:geheim@/x",
            "http://h:0/geheim",
            "http://h:70000/geheim",
            "http://h:x/geheim",
            "http://h:/geheim",
            "http://u:geheim heim@h/",
            "http://h/gehe im",
            "http://h/\r\ngeheim: 1",
            "http://h\0geheim/",
            "httpß://geheim/",
        ] {
            let why = HookUrl::parse(bad).unwrap_err();
            assert!(!why.contains("heim") && !why.contains('\n') && !why.ends_with('.'), "{bad}: {why}");
        }
    }
}
