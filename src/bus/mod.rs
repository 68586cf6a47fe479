//! What carries frames between the nodes of a cluster faster than the database does, and promises
//! nothing: a frame may be lost, come twice or late. The core's links see to the rest.
//!
//! | part | what it is for |
//! |---|---|
//! | `codec.rs` | frames as bytes, with a MAC |
//! | `settings.rs` | the options, with their files read |
//! | `connection.rs` | one connection to a Redis or Valkey server |
//! | `queue.rs` | frames that wait to be published |
//! | `inbox.rs` | frames that wait for the loop |
//! | `instance.rs` | one server: does it work? |
//! | `publisher.rs`, `subscriber.rs` | its two threads |
//! | `pubsub.rs` | all of them as one bus |
//! | `figures.rs` | what is counted |
//!
//! The loop hands frames in through a queue, and takes frames out of the inbox when it is woken; it
//! never waits. Instances know nothing of each other: a node subscribes on all, and publishes on
//! the first that works. That one works is known by the *beat*: a node says something to itself
//! each second, and treats an instance over which it does not hear that as dead.

use crate::chat::contract::{BusFrame, Incarnation};

pub mod codec;
mod connection;
pub mod figures;
mod inbox;
mod instance;
mod publisher;
mod pubsub;
mod queue;
mod settings;
mod subscriber;

pub use figures::BusFigures;
pub use pubsub::PubSub;
pub use settings::BusSettings;

/// What came over the bus.
#[derive(Debug, PartialEq, Eq)]
pub enum BusEvent {
    /// Something can be published over it from now on, or nothing any more.
    Works(bool),
    /// Another node has published this for this one.
    Frame {
        /// By this life of it. The MAC shows it.
        from: Incarnation,
        /// What.
        frame: Box<BusFrame>,
    },
}

/// A bus, as the loop sees it.
pub trait Bus: Send {
    /// Publishes a frame for another node, or drops it. Never waits.
    fn publish(&self, to: Incarnation, frame: &BusFrame);
    /// Appends what has come. At first a bus counts as one that works. Never waits.
    fn take(&self, out: &mut Vec<BusEvent>);
    /// Writes frames of this version from now on.
    fn speak(&self, version: u16);
    /// What has happened so far.
    fn figures(&self) -> BusFigures;
}
