//! The URL of a server.

use super::error::Error;

const PORT: u16 = 1102;

/// The address of a server, and the transport to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerAddress {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: bool,
    /// The path of the WebSocket; `None` for a raw connection.
    pub(super) path: Option<String>,
}

impl ServerAddress {
    /// Reads `tcp://HOST:PORT`, `tls://…`, `ws://HOST:PORT/PATH` or `wss://…`.
    pub(super) fn read(url: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            let how = "a server is written as tcp://HOST:PORT, tls://…, ws://…/PATH or wss://…";
            Error::Setting(format!("{url:?}: {why}; {how}"))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("there is no scheme"))?;
        let (tls, web) = match scheme {
            "tcp" => (false, false),
            "tls" => (true, false),
            "ws" => (false, true),
            "wss" => (true, true),
            _ => return Err(wrong("this scheme is not known")),
        };
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if !web && !matches!(path, "" | "/") {
            return Err(wrong("only a WebSocket has a path"));
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) || path.contains('#') {
            return Err(wrong("the path has characters that stand in no URL"));
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| wrong("the address is not closed"))?;
                (host, port.strip_prefix(':').or(Some("").filter(|_| port.is_empty())))
            }
            None => place.split_once(':').map_or((place, Some("")), |(host, port)| (host, Some(port))),
        };
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
        if host.is_empty() || !host.bytes().all(fits) {
            return Err(wrong("the host cannot be read"));
        }
        let port = match port {
            Some("") => PORT,
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("the port cannot be read"))?,
            None => return Err(wrong("the port cannot be read")),
        };
        let path = web.then(|| if path.is_empty() { "/".to_owned() } else { path.to_owned() });
        Ok(Self { host: host.to_owned(), port, tls, path })
    }

    /// The host and port as an HTTP request names them.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_schemes_are_read() {
        for (url, host, port, tls, path) in [
            ("tcp://localhost", "localhost", 1102, false, None),
            ("tcp://127.0.0.1:4000/", "127.0.0.1", 4000, false, None),
            ("tls://chat.example.com:443", "chat.example.com", 443, true, None),
            ("ws://[::1]:80/a/b?c", "::1", 80, false, Some("/a/b?c")),
            ("wss://[::1]", "::1", 1102, true, Some("/")),
        ] {
            let target = ServerAddress::read(url).unwrap();
            let path = path.map(str::to_owned);
            assert_eq!(target, ServerAddress { host: host.into(), port, tls, path }, "{url}");
        }
        assert_eq!(ServerAddress::read("ws://[::1]:80/").unwrap().authority(), "[::1]:80");
    }

    #[test]
    fn others_are_refused() {
        for url in [
            "localhost:1102",
            "http://localhost",
            "tcp://",
            "tcp://:1",
            "tcp://host:0",
            "tcp://host:65536",
            "tcp://host:1:2",
            "tcp://[::1",
            "tcp://[::1]x",
            "tcp://host/path",
            "ws://host/a b",
            "ws://host/a\r\nX: y",
            "ws://host/#x",
            "ws://user@host/",
        ] {
            assert!(matches!(ServerAddress::read(url), Err(Error::Setting(_))), "{url:?}");
        }
    }
}
