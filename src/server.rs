//! Wiring: one function that starts the whole server and one handle to stop it, for `main` and the tests alike.

use crate::config::Config;
use std::fmt;
use std::net::SocketAddr;

/// Why a server did not start: one clear sentence.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A running server. Dropping it stops the server and waits for it.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
}

impl Handle {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops it cleanly and waits until it has: what was taken is safe, clients are told.
    pub fn stop(self) {}
}

/// Starts a server.
///
/// # Errors
/// When it cannot listen or the store cannot be used.
pub fn start(config: Config) -> Result<Handle, StartError> {
    Err(StartError(format!("not built yet: {}", config.listen)))
}
