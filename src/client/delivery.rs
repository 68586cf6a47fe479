//! The events that a program gets from the library: pushes to ack, presence, and the state of the
//! connection.

use super::error::ClientEndReason;
use super::push::Push;
use super::shared::ClientShared;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// An event.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A push. The program acks it with [`ReceivedPush::ack`].
    Push(ReceivedPush),
    /// A friend came online or went offline; only if the roster is watched. This is a state: until
    /// the program asks for it, only the latest one of each friend is kept.
    Presence {
        /// The friend.
        user_name: String,
        /// Are they online?
        online: bool,
    },
    /// The state of the connection changed. Only the latest state is kept until the program asks
    /// for it.
    Connection(ConnectionState),
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
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

/// A push that the program is handling. Ack it when that is done: when it is written to the disk,
/// shown, or answered. If it is dropped without an ack, the server sends it again.
pub struct ReceivedPush {
    pub(super) push: Push,
    pub(super) shared: Arc<ClientShared>,
    pub(super) acked: bool,
}

impl ReceivedPush {
    /// Tells the server that the push was received. The program will not get this push again.
    pub fn ack(mut self) {
        self.acked = true;
        self.shared.finish_push(&self.push, true);
    }

    /// Acks the push and returns it.
    #[must_use]
    pub fn into_push(mut self) -> Push {
        self.acked = true;
        self.shared.finish_push(&self.push, true);
        self.push.clone()
    }
}

impl Deref for ReceivedPush {
    type Target = Push;

    fn deref(&self) -> &Push {
        &self.push
    }
}

impl Drop for ReceivedPush {
    fn drop(&mut self) {
        if !self.acked {
            self.shared.finish_push(&self.push, false);
        }
    }
}

impl std::fmt::Debug for ReceivedPush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.push.fmt(f)
    }
}
