//! One instance of the bus, and whether it works.

use super::codec::BusFrameCodec;
use super::connection::{BusConnection, BusConnectionCloser, RedisInstanceError};
use super::figures::{BusFrameLossCause, BusFrameTraffic, BusLossCounts, RedisInstanceFigures};
use super::queue::PublishQueue;
use super::received_frames::ReceivedBusFrameQueue;
use super::settings::{BusSettings, RedisInstanceAddress};
use crate::chat::contract::NodeId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The interval between two beats.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(1);
/// The first and the longest pause before an instance is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The number of causes that are remembered, so that each is logged once.
const CAUSES_MAX: usize = 8;

/// All instances, and their shared state.
pub(super) struct RedisInstances {
    pub(super) codec: BusFrameCodec,
    pub(super) instances: Vec<RedisInstance>,
    pub(super) received_frames: ReceivedBusFrameQueue,
    pub(super) losses: BusLossCounts,
    pub(super) timeout: Duration,
    started: Instant,
    /// The part of a channel's name before the number of the node.
    channels: String,
}

/// One of the two connections of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BusConnectionKind {
    Out = 0,
    In = 1,
}

pub(super) struct RedisInstance {
    pub(super) address: RedisInstanceAddress,
    pub(super) queue: PublishQueue,
    pub(super) sent: BusFrameTraffic,
    pub(super) received: BusFrameTraffic,
    state: Mutex<RedisInstanceState>,
    failures: AtomicU64,
    beat_us: AtomicU64,
}

#[derive(Default)]
struct RedisInstanceState {
    is_up: bool,
    /// Beats that were sent before this time do not count, in µs since the start.
    down_at_us: u64,
    /// The causes that were logged since it last worked.
    causes: Vec<RedisInstanceError>,
    closers: [Option<BusConnectionCloser>; 2],
}

impl RedisInstance {
    fn state(&self) -> MutexGuard<'_, RedisInstanceState> {
        // No code under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_up(&self) -> bool {
        self.state().is_up
    }

    /// Wakes its threads, so that they end.
    pub(super) fn wake_threads(&self) {
        self.queue.shut_down();
        self.state().closers.iter().flatten().for_each(BusConnectionCloser::close);
    }

    pub(super) fn figures(&self) -> RedisInstanceFigures {
        let ((frames_out, bytes_out), (frames_in, bytes_in)) = (self.sent.totals(), self.received.totals());
        RedisInstanceFigures {
            address: self.address.url.host_and_port(),
            is_up: self.is_up(),
            failures: self.failures.load(Ordering::Relaxed),
            frames_out,
            bytes_out,
            frames_in,
            bytes_in,
            beat_us: self.beat_us.load(Ordering::Relaxed),
        }
    }
}

impl RedisInstances {
    pub(super) fn new(settings: BusSettings, codec: BusFrameCodec, on_news: Arc<dyn Fn() + Send + Sync>) -> Self {
        let BusSettings { instances, timeout, bounds } = settings;
        let instance = |address| RedisInstance {
            address,
            queue: PublishQueue::new(bounds),
            sent: BusFrameTraffic::default(),
            received: BusFrameTraffic::default(),
            state: Mutex::default(),
            failures: AtomicU64::new(0),
            beat_us: AtomicU64::new(0),
        };
        Self {
            channels: format!("hongyan:{}:", codec.cluster_name()),
            codec,
            instances: instances.into_iter().map(instance).collect(),
            received_frames: ReceivedBusFrameQueue::new(bounds, on_news),
            losses: BusLossCounts::default(),
            timeout,
            started: Instant::now(),
        }
    }

    /// The channel of a node.
    pub(super) fn channel(&self, node: NodeId) -> String {
        format!("{}{}", self.channels, node.get())
    }

    /// The time since the start, in µs. Never 0.
    pub(super) fn now_us(&self) -> u64 {
        // A u64 is enough for half a million years.
        self.started.elapsed().as_micros() as u64 + 1
    }

    /// Connects one side of an instance.
    pub(super) fn open(&self, at: usize, side: BusConnectionKind) -> Result<BusConnection, RedisInstanceError> {
        let instance = &self.instances[at];
        let connection = BusConnection::open(&instance.address, self.timeout)?;
        let closer = connection.closer()?;
        let mut state = instance.state();
        // The bus may have ended meanwhile.
        if instance.queue.is_closed() {
            closer.close();
        }
        state.closers[side as usize] = Some(closer);
        Ok(connection)
    }

    /// A beat of this node has arrived over an instance.
    pub(super) fn beat_received(&self, at: usize, number: u64) {
        let instance = &self.instances[at];
        instance.beat_us.store(self.now_us().saturating_sub(number), Ordering::Relaxed);
        let mut state = instance.state();
        if state.is_up || number < state.down_at_us || instance.queue.is_closed() {
            return;
        }
        let is_again = !state.causes.is_empty();
        state.is_up = true;
        state.causes.clear();
        instance.queue.open();
        drop(state);
        log::info!("the bus {} works{}", instance.address.url, if is_again { " again" } else { "" });
        self.update_working_state();
    }

    /// One side of an instance has failed.
    pub(super) fn note_failure(&self, at: usize, side: BusConnectionKind, fault: &RedisInstanceError) {
        let instance = &self.instances[at];
        if instance.queue.is_closed() {
            return;
        }
        let mut state = instance.state();
        state.closers[side as usize] = None;
        state.down_at_us = self.now_us();
        let was_up = std::mem::take(&mut state.is_up);
        let is_new = !state.causes.contains(fault) && state.causes.len() < CAUSES_MAX;
        if is_new {
            state.causes.push(fault.clone());
        }
        let lost = instance.queue.close();
        drop(state);
        let url = &instance.address.url;
        if was_up {
            instance.failures.fetch_add(1, Ordering::Relaxed);
            log::warn!("the bus {url} does not work any more: {fault}");
        } else if is_new {
            log::warn!("the bus {url} does not work: {fault}");
        } else {
            log::debug!("the bus {url} still does not work: {fault}");
        }
        self.losses.add(BusFrameLossCause::Failed, lost);
        self.update_working_state();
    }

    fn update_working_state(&self) {
        let works = self.instances.iter().any(RedisInstance::is_up);
        if self.received_frames.report_state(works) && !works {
            log::warn!("no instance of the bus works: nodes talk through the database until one does");
        }
    }
}

/// The pauses between two tries.
pub(super) struct BusReconnectPause(Duration);

impl BusReconnectPause {
    pub(super) fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    /// The next pause. `worked`: the instance has worked since the last one.
    pub(super) fn next(&mut self, worked: bool) -> Duration {
        let pause = if worked { FIRST_PAUSE } else { self.0 };
        self.0 = (pause * 2).min(PAUSE_MAX);
        pause
    }
}
