//! The events that a program gets from the library: pushes to ack, presence, and the state of the
//! connection.

use super::connection_state::ConnectionToServerState;
use super::error::Error;
use super::push::Push;
use super::shared::{ClientInboxEvent, ClientShared};
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
    Connection(ConnectionToServerState),
}

/// The next event for the program.
pub(super) fn next(shared: &Arc<ClientShared>, limit: Duration) -> Result<Option<ClientEvent>, Error> {
    Ok(shared.next(limit)?.map(|event| match event {
        ClientInboxEvent::Push(push) => {
            ClientEvent::Push(ReceivedPush { push, shared: Arc::clone(shared), acked: false })
        }
        ClientInboxEvent::Presence { user_name, online } => ClientEvent::Presence { user_name, online },
        ClientInboxEvent::Connection(connection) => ClientEvent::Connection(connection),
    }))
}

/// A push that the program is handling. Ack it when that is done: when it is written to the disk,
/// shown, or answered. If it is dropped without an ack, the server sends it again.
pub struct ReceivedPush {
    push: Push,
    shared: Arc<ClientShared>,
    acked: bool,
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
