//! Where the admin interface is: a socket in the file system, or a port.

use super::StoreUrl;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The longest path of a socket, in bytes: a limit of the system.
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// The socket of a server whose store is not a file.
const SOCKET: &str = "hongyan.sock";
const ENDING: &str = ".sock";

/// The value of `--admin`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdminPlace {
    /// A socket beside the store.
    #[default]
    Auto,
    /// No admin interface.
    Off,
    /// At this endpoint.
    At(AdminInterfaceAddress),
}

/// The address of an admin interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminInterfaceAddress {
    /// A socket of this path.
    Unix(PathBuf),
    /// A port.
    Tcp(SocketAddr),
}

impl AdminPlace {
    pub(super) const ALLOWED: &str = "auto, off, unix:PATH, or an IP address and a port, as in 127.0.0.1:1103";

    /// Parses the value of `--admin`.
    ///
    /// # Errors
    /// The fault in it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        if let Some(path) = text.strip_prefix("unix:") {
            check_socket_path(Path::new(path))?;
            return Ok(Self::At(AdminInterfaceAddress::Unix(path.into())));
        }
        let addr = text.parse().map_err(|_| format!("{text:?} is not a place for the admin interface"))?;
        Ok(Self::At(AdminInterfaceAddress::Tcp(addr)))
    }

    /// The endpoint for a server with this store; `None`: it has no admin interface.
    #[must_use]
    pub fn endpoint_for(&self, store: &StoreUrl) -> Option<AdminInterfaceAddress> {
        match self {
            Self::Auto => Some(AdminInterfaceAddress::Unix(socket_path_beside(store))),
            Self::Off => None,
            Self::At(endpoint) => Some(endpoint.clone()),
        }
    }
}

/// Can a socket have this path?
///
/// # Errors
/// Why not, as the end of a sentence.
pub fn check_socket_path(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().as_encoded_bytes();
    match bytes.len() {
        0 => Err("\"unix:\" needs the path of a socket behind it, as in unix:hongyan.sock".to_owned()),
        _ if bytes.contains(&0) => Err("no path has a NUL in it".to_owned()),
        1..=SOCKET_PATH_BYTES_MAX => Ok(()),
        length => {
            Err(format!("the path of a socket has at most {SOCKET_PATH_BYTES_MAX} bytes, and this one has {length}"))
        }
    }
}

/// The socket beside a store: the name of its file with one more ending, so that no two files share
/// a socket.
fn socket_path_beside(store: &StoreUrl) -> PathBuf {
    match store {
        StoreUrl::Sqlite(path) => {
            let mut name = path.clone().into_os_string();
            name.push(ENDING);
            name.into()
        }
        StoreUrl::Mysql(_) | StoreUrl::Memory => SOCKET.into(),
    }
}

impl AdminInterfaceAddress {
    /// The same endpoint with an absolute path, which does not depend on the working folder.
    #[must_use]
    pub fn with_absolute_path(&self) -> Self {
        match self {
            // Without a working folder the path stays relative.
            Self::Unix(path) => Self::Unix(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            Self::Tcp(addr) => Self::Tcp(*addr),
        }
    }
}

impl fmt::Display for AdminInterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(addr) => addr.fmt(f),
        }
    }
}

impl fmt::Display for AdminPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::At(endpoint) => endpoint.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_stands_beside_the_file_of_the_store() {
        for (store, socket) in [
            ("sqlite:hongyan.db", "hongyan.db.sock"),
            ("sqlite:/var/lib/hongyan/hongyan.db", "/var/lib/hongyan/hongyan.db.sock"),
            ("sqlite:a.b/store", "a.b/store.sock"),
            ("sqlite:a/x.y.db", "a/x.y.db.sock"),
            ("sqlite:a/x.y.test", "a/x.y.test.sock"),
            ("sqlite:a/x.sock", "a/x.sock.sock"),
            ("memory:", "hongyan.sock"),
            ("mysql://u:p@h/d", "hongyan.sock"),
        ] {
            let store = StoreUrl::parse(store).unwrap();
            assert_eq!(
                AdminPlace::Auto.endpoint_for(&store),
                Some(AdminInterfaceAddress::Unix(socket.into())),
                "{store}"
            );
            assert_eq!(AdminPlace::Off.endpoint_for(&store), None);
        }
    }

    #[test]
    fn every_place_is_written_as_it_is_read() {
        for text in ["auto", "off", "unix:/run/hongyan.sock", "unix:a b", "127.0.0.1:1103", "[::1]:0"] {
            assert_eq!(AdminPlace::parse(text).unwrap().to_string(), text);
        }
        for (text, words) in [
            ("", "not a place"),
            ("localhost:1103", "not a place"),
            ("unix:", "needs the path"),
            ("unix:a\0b", "NUL"),
            ("1103", "not a place"),
        ] {
            assert!(AdminPlace::parse(text).unwrap_err().contains(words), "{text}");
        }
        let of = |length| format!("unix:{}", "x".repeat(length));
        assert!(AdminPlace::parse(&of(SOCKET_PATH_BYTES_MAX)).is_ok());
        assert!(AdminPlace::parse(&of(SOCKET_PATH_BYTES_MAX + 1)).unwrap_err().contains("108"));
    }
}
