//! The state of a client's connection, as the program sees it.

use super::error::ClientEndReason;
use std::time::Duration;

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionToServerState {
    /// Logged in.
    Online,
    /// Not connected; the client will try again.
    Offline {
        /// The reason: a sentence for people.
        reason: String,
        /// The time until the next attempt.
        retry_in: Duration,
    },
    /// The client has stopped for good.
    Ended(ClientEndReason),
}
