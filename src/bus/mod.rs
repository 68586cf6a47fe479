//! The bus carries frames between the nodes of a cluster faster than the database does, without any
//! guarantee: it may lose, duplicate, delay and reorder frames. The links in the core expect that.
//!
//! | part | purpose |
//! |---|---|
//! | `codec.rs` | the encoding of frames, with a MAC |
//! | `settings.rs` | the options, and the files that they name |
//! | `connection.rs` | one connection to a Redis or Valkey server |
//! | `queue.rs` | frames that wait to be published |
//! | `received_frames.rs` | frames that wait for the loop |
//! | `instance.rs` | one server, and whether it works |
//! | `publisher.rs`, `subscriber.rs` | its two threads |
//! | `pubsub.rs` | all of them as one bus |
//! | `figures.rs` | counters |
//!
//! The loop puts frames into a queue, and takes the received frames when it is woken; it never
//! waits. Instances are independent of each other: a node subscribes on all, and publishes on the
//! first that works. The *beat* shows whether an instance works: each second a node sends itself a
//! message, and treats an instance over which no beat arrives as dead.

use crate::chat::contract::{BusFrame, NodeIncarnation};

pub mod codec;
mod connection;
pub mod figures;
mod publisher;
mod pubsub;
mod queue;
mod received_frames;
mod redis_instance;
mod settings;
mod subscriber;

pub use figures::BusFigures;
pub use pubsub::RedisBus;
pub use settings::BusSettings;

/// An event of the bus.
#[derive(Debug, PartialEq, Eq)]
pub enum BusEvent {
    /// The bus has started or stopped working for the frames of this node.
    Works(bool),
    /// A frame of another node for this one.
    Frame {
        /// The incarnation that published it. The MAC proves it.
        from: NodeIncarnation,
        /// The frame.
        frame: Box<BusFrame>,
    },
}

/// A bus, as the loop sees it.
pub trait Bus: Send {
    /// Publishes a frame for another node, or drops it. Never waits.
    fn publish(&self, to: NodeIncarnation, frame: &BusFrame);
    /// Appends the events since the last call. Initially a bus counts as one that works. Never
    /// waits.
    fn take(&self, out: &mut Vec<BusEvent>);
    /// Writes frames of this version from now on.
    fn set_version(&self, version: u16);
    /// The counts since the start.
    fn figures(&self) -> BusFigures;
}
