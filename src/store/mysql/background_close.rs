//! Closes connections that are lost or in doubt, without blocking the worker.

use mysql::Conn;
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long a worker waits for a connection to be closed: afterwards its locks in the database are
/// free for the next connection.
const CLOSE_WAIT: Duration = Duration::from_millis(100);

/// Closes a connection, on a thread of its own: the driver sends a close for each prepared
/// statement, and if the peer does not read, each one waits for the write time-out.
pub(super) fn close(conn: Conn) {
    let (closing, closed) = channel::<()>();
    let thread = std::thread::Builder::new().name("close".into());
    let started = thread.spawn(move || {
        drop(conn);
        drop(closing);
    });
    match started {
        // The end of the sender is the signal; a time-out is no error.
        Ok(_) => drop(closed.recv_timeout(CLOSE_WAIT)),
        // It was closed when the thread could not be started.
        Err(error) => log::error!("cannot start the thread that closes a lost connection: {error}"),
    }
}
