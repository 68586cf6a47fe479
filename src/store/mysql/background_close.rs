//! Leaving a connection that is lost or in doubt.

use mysql::Conn;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The time for which a worker that leaves a connection waits until it is closed: then its locks in
/// the database are free for the next connection.
const CLOSE_WAIT: Duration = Duration::from_millis(100);

/// Closes it. The driver says good-bye for each of its statements, and where nobody reads any more,
/// each word waits for the time-out of a write: so that is done by a thread of its own.
pub(super) fn leave(conn: Conn) {
    let (closing, closed) = channel::<()>();
    let thread = std::thread::Builder::new().name("close".into());
    let started = thread.spawn(move || {
        drop(conn);
        drop(closing);
    });
    match started {
        // That the sender is gone is the word that is waited for; that it takes longer is no error.
        Ok(_) => drop(closed.recv_timeout(CLOSE_WAIT)),
        // It was closed with the thread that could not be.
        Err(error) => log::error!("cannot start the thread that closes a lost connection: {error}"),
    }
}
