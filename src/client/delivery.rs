//! What a program is given: pushes to ack, presence, the state of the connection.

use super::error::End;
use super::push::Push;
use super::shared::Shared;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// What has happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A push, which is acked by [`Delivery::ack`].
    Push(Delivery),
    /// A friend came or went, if the roster is watched. It is a state: only the last one of each
    /// friend is kept until it is asked for.
    Presence {
        /// The friend.
        user_name: String,
        /// Are they online?
        online: bool,
    },
    /// The connection changed. Only the last change is kept until it is asked for.
    Connection(Connection),
}

/// The state of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Connection {
    /// Logged in.
    Online,
    /// Not connected; it is tried again.
    Offline {
        /// Why: a sentence for people.
        why: String,
        /// When it is tried again.
        again_in: Duration,
    },
    /// Over, for good.
    Ended(End),
}

/// A push in the program's hands. Ack it when it is dealt with: written to the disk, shown,
/// answered. If it is dropped without an ack, the server sends it again.
pub struct Delivery {
    pub(super) push: Push,
    pub(super) shared: Arc<Shared>,
    pub(super) acked: bool,
}

impl Delivery {
    /// Tells the server that the push was received. It will not be given again.
    pub fn ack(mut self) {
        self.acked = true;
        self.shared.done_with(&self.push, true);
    }

    /// The push alone, acked.
    #[must_use]
    pub fn into_push(mut self) -> Push {
        self.acked = true;
        self.shared.done_with(&self.push, true);
        self.push.clone()
    }
}

impl Deref for Delivery {
    type Target = Push;

    fn deref(&self) -> &Push {
        &self.push
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.acked {
            self.shared.done_with(&self.push, false);
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.push.fmt(f)
    }
}
