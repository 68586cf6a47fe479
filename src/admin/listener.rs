//! Where the admin interface listens: a port, or a socket that only its owner may use.

use super::stream::AdminStream;
use crate::config::AdminInterfaceAddress;
use crate::error_text::without_number;
use mio::{Interest, Registry, Token};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A bound listener. When it is dropped, its socket file is removed, if it is still the same.
#[derive(Debug)]
pub(super) enum AdminListener {
    Tcp(mio::net::TcpListener),
    #[cfg(unix)]
    Unix {
        listener: mio::net::UnixListener,
        _file: AdminSocketFile,
    },
}

impl AdminListener {
    /// Binds an endpoint.
    ///
    /// # Errors
    /// One sentence.
    pub(super) fn bind(endpoint: &AdminInterfaceAddress) -> Result<Self, String> {
        let bound = match endpoint {
            AdminInterfaceAddress::Tcp(addr) => bind_tcp(*addr).map_err(|error| refusal_text(&error)),
            #[cfg(unix)]
            AdminInterfaceAddress::Unix(path) => bind_unix(path),
            #[cfg(not(unix))]
            AdminInterfaceAddress::Unix(_) => Err("this system has no such sockets".to_owned()),
        };
        bound.map_err(|why| format!("cannot make the admin interface at {endpoint}: {why}"))
    }

    /// The port, if it has one.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Self::Unix { .. } => None,
        }
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            #[cfg(unix)]
            Self::Unix { listener, .. } => registry.register(listener, token, Interest::READABLE),
        }
    }

    /// Accepts the next waiting connection.
    pub(super) fn accept(&self) -> io::Result<AdminStream> {
        match self {
            Self::Tcp(listener) => AdminStream::Tcp(Arc::new(listener.accept()?.0.into())),
            #[cfg(unix)]
            Self::Unix { listener, .. } => AdminStream::Unix(Arc::new(listener.accept()?.0.into())),
        }
        .block()
    }
}

fn bind_tcp(addr: SocketAddr) -> io::Result<AdminListener> {
    Ok(AdminListener::Tcp(mio::net::TcpListener::bind(addr)?))
}

/// The reason why the system refuses an address or the file of a socket.
pub(super) fn refusal_text(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => "the address is in use".to_owned(),
        ErrorKind::AddrNotAvailable => "no such address on this machine".to_owned(),
        ErrorKind::NotFound => "the folder that it is to be in is not there".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => without_number(error),
    }
}

/// The file of a socket.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct AdminSocketFile {
    path: PathBuf,
    /// Device and inode number of the file.
    id: (u64, u64),
}

#[cfg(unix)]
impl Drop for AdminSocketFile {
    fn drop(&mut self) {
        // Another server may have replaced the file meanwhile.
        if id_of(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("the socket {} is left behind: {error}", self.path.display());
        }
    }
}

#[cfg(unix)]
fn id_of(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = path.symlink_metadata()?;
    Ok((found.dev(), found.ino()))
}

#[cfg(unix)]
fn bind_unix(path: &Path) -> Result<AdminListener, String> {
    crate::config::check_socket_path(path)?;
    let bound = match listen_on(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path)?;
            listen_on(path)
        }
        bound => bound,
    };
    let (listener, id) = bound.map_err(|error| refusal_text(&error))?;
    Ok(AdminListener::Unix { listener, _file: AdminSocketFile { path: path.into(), id } })
}

/// Other users can never connect: the file has its mode before it has a name (where the system
/// supports that), and before it listens.
#[cfg(unix)]
fn listen_on(path: &Path) -> io::Result<(mio::net::UnixListener, (u64, u64))> {
    use socket2::{Domain, SockAddr, Socket, Type};
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;
    const BACKLOG: i32 = 64;
    const OWNER_ONLY: u32 = 0o600;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    #[cfg(target_os = "linux")]
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(OWNER_ONLY))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let made = id_of(path)?;
    set_permissions(path, Permissions::from_mode(OWNER_ONLY))?;
    socket.listen(BACKLOG)?;
    let listener: std::os::unix::net::UnixListener = std::os::fd::OwnedFd::from(socket).into();
    Ok((mio::net::UnixListener::from_std(listener), made))
}

/// Removes the socket file of a dead server, and no other file.
#[cfg(unix)]
fn remove_stale(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::FileTypeExt;
    let found = path.symlink_metadata().map_err(|error| refusal_text(&error))?;
    if !found.file_type().is_socket() {
        return Err("there is a file of that name, which is no socket".to_owned());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err("another server uses it".to_owned()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| refusal_text(&error))
        }
        // A server with a full queue of connections is not dead.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err("another server uses it".to_owned()),
        Err(error) => Err(refusal_text(&error)),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    fn mode(path: &Path) -> Option<u32> {
        path.symlink_metadata().ok().map(|found| found.permissions().mode() & 0o777)
    }

    fn bind(path: &Path) -> Result<AdminListener, String> {
        AdminListener::bind(&AdminInterfaceAddress::Unix(path.into()))
    }

    #[test]
    fn a_socket_is_its_owners_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listener = bind(&path).unwrap();
        assert_eq!(mode(&path), Some(0o600));
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn one_that_took_its_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let listener = bind(&path).unwrap();
        std::fs::rename(&path, folder.path().join("b.sock")).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(path.exists());
    }

    #[test]
    fn only_the_socket_of_a_dead_server_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "nobody removes it");
        let listener = bind(&path).unwrap();
        let why = bind(&path).unwrap_err();
        assert_eq!(why, format!("cannot make the admin interface at unix:{}: another server uses it", path.display()));
        drop(listener);
        std::fs::write(&path, "a diary").unwrap();
        assert!(bind(&path).unwrap_err().ends_with("there is a file of that name, which is no socket"));
        assert_eq!(std::fs::read(&path).unwrap(), b"a diary");
        let nowhere = folder.path().join("no/a.sock");
        assert!(bind(&nowhere).unwrap_err().ends_with("the folder that it is to be in is not there"));
        let long = folder.path().join("x".repeat(200));
        assert!(bind(&long).unwrap_err().contains("at most 107 bytes"));
    }
}
