//! All instances as one bus.

use super::codec::BusFrameCodec;
use super::figures::{BusFigures, BusFrameLossCause};
use super::queue::{BusQueueResult, OutgoingBusFrame};
use super::redis_instance::{RedisInstance, RedisInstances};
use super::settings::BusSettings;
use super::{Bus, BusEvent, publisher, subscriber};
use crate::chat::contract::{BusFrame, NodeIncarnation};
use crate::versions::{FRAME_MAX, FRAME_MIN};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;

/// A bus of Redis or Valkey servers: one channel for each node. The servers store nothing.
pub struct RedisBus {
    shared: Arc<RedisInstances>,
    version: AtomicU16,
}

impl std::fmt::Debug for RedisBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBus").field("me", &self.shared.codec.own_incarnation()).finish_non_exhaustive()
    }
}

impl RedisBus {
    /// Starts two threads for each instance. They end with the bus, or soon after.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(
        settings: BusSettings,
        codec: BusFrameCodec,
        on_news: Arc<dyn Fn() + Send + Sync>,
    ) -> io::Result<Self> {
        let shared = Arc::new(RedisInstances::new(settings, codec, on_news));
        let bus = Self { shared, version: AtomicU16::new(FRAME_MAX) };
        for at in 0..bus.shared.instances.len() {
            let (out, into) = (Arc::clone(&bus.shared), Arc::clone(&bus.shared));
            thread::Builder::new().name(format!("bus-out-{at}")).spawn(move || publisher::run(&out, at))?;
            thread::Builder::new().name(format!("bus-in-{at}")).spawn(move || subscriber::run(&into, at))?;
        }
        Ok(bus)
    }
}

impl Bus for RedisBus {
    fn publish(&self, to: NodeIncarnation, frame: &BusFrame) {
        let Some(bytes) = self.shared.codec.write(self.version.load(Ordering::Relaxed), to, frame) else {
            return self.shared.losses.add(BusFrameLossCause::TooLong, 1);
        };
        let mut outgoing = OutgoingBusFrame { to: to.node, bytes, is_sealed: false };
        for instance in &self.shared.instances {
            match instance.queue.push(outgoing) {
                BusQueueResult::Taken => return,
                BusQueueResult::Full => return self.shared.losses.add(BusFrameLossCause::Queue, 1),
                BusQueueResult::Closed(back) => outgoing = back,
            }
        }
        self.shared.losses.add(BusFrameLossCause::Away, 1);
    }

    fn take(&self, out: &mut Vec<BusEvent>) {
        self.shared.received_frames.take(out);
    }

    fn set_version(&self, version: u16) {
        self.version.store(version.clamp(FRAME_MIN, FRAME_MAX), Ordering::Relaxed);
    }

    fn figures(&self) -> BusFigures {
        BusFigures {
            instances: self.shared.instances.iter().map(RedisInstance::figures).collect(),
            dropped_by_cause: self.shared.losses.all(),
        }
    }
}

impl Drop for RedisBus {
    fn drop(&mut self) {
        self.shared.instances.iter().for_each(RedisInstance::wake_threads);
    }
}
