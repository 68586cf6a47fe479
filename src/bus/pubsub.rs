//! All instances as one bus.

use super::codec::Codec;
use super::figures::{Figures, Lost};
use super::instance::{Instance, Shared};
use super::queue::{Outgoing, Pushed};
use super::settings::Settings;
use super::{Bus, News, publisher, subscriber};
use crate::chat::contract::{BusFrame, Incarnation};
use crate::store::records::FRAME_MAX;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

/// A bus of Redis or Valkey servers: one channel for each node, and nothing that stays.
pub struct PubSub {
    shared: Arc<Shared>,
    version: AtomicU16,
}

impl std::fmt::Debug for PubSub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PubSub").field("me", &self.shared.codec.me()).finish_non_exhaustive()
    }
}

impl PubSub {
    /// Starts two threads for each instance. They end with it, or soon after.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(settings: Settings, codec: Codec, on_news: Arc<dyn Fn() + Send + Sync>) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(settings, codec, on_news));
        let bus = Self { shared, version: AtomicU16::new(FRAME_MAX) };
        for at in 0..bus.shared.instances.len() {
            let (out, into) = (Arc::clone(&bus.shared), Arc::clone(&bus.shared));
            thread::Builder::new().name(format!("bus-out-{at}")).spawn(move || publisher::run(&out, at))?;
            thread::Builder::new().name(format!("bus-in-{at}")).spawn(move || subscriber::run(&into, at))?;
        }
        Ok(bus)
    }
}

impl Bus for PubSub {
    fn publish(&self, to: Incarnation, frame: &BusFrame) {
        let Some(bytes) = self.shared.codec.write(self.version.load(Ordering::Relaxed), to, frame) else {
            return self.shared.losses.add(Lost::TooLong, 1);
        };
        let mut outgoing = Outgoing { to: to.node, bytes, is_sealed: false };
        for instance in &self.shared.instances {
            match instance.queue.push(outgoing) {
                Pushed::Taken => return,
                Pushed::Full => return self.shared.losses.add(Lost::Queue, 1),
                Pushed::Closed(back) => outgoing = back,
            }
        }
        self.shared.losses.add(Lost::Away, 1);
    }

    fn take(&self, out: &mut Vec<News>) {
        self.shared.inbox.take(out);
    }

    fn speak(&self, version: u16) {
        self.version.store(version.clamp(1, FRAME_MAX), Ordering::Relaxed);
    }

    fn figures(&self) -> Figures {
        Figures {
            instances: self.shared.instances.iter().map(Instance::figures).collect(),
            dropped: self.shared.losses.all(),
        }
    }
}

impl Drop for PubSub {
    fn drop(&mut self) {
        self.shared.instances.iter().for_each(Instance::end);
    }
}
