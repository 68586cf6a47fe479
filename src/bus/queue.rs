//! The frames that wait for one instance.

use super::settings::BusQueueLimits;
use crate::chat::contract::NodeId;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The maximum number of frames that are published together, before their answers are awaited.
const BATCH_FRAMES_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// A frame on its way to an instance.
#[derive(Debug)]
pub(super) struct OutgoingBusFrame {
    pub(super) to: NodeId,
    pub(super) bytes: Vec<u8>,
    /// The frame has its MAC.
    pub(super) is_sealed: bool,
}

/// The result of queueing a frame.
#[derive(Debug)]
pub(super) enum BusQueueResult {
    Taken,
    /// Too many frames wait.
    Full,
    /// The instance does not work. The frame is given back.
    Closed(OutgoingBusFrame),
}

/// The frames to be published next.
#[derive(Debug, Default)]
pub(super) struct PublishBatch {
    pub(super) frames: Vec<OutgoingBusFrame>,
    /// A beat is to be sent.
    pub(super) beat: bool,
}

#[derive(Debug, Default)]
struct PublishQueueState {
    frames: VecDeque<OutgoingBusFrame>,
    bytes: usize,
    beat: bool,
    /// The instance works.
    is_open: bool,
    is_closed: bool,
}

#[derive(Debug)]
pub(super) struct PublishQueue {
    state: Mutex<PublishQueueState>,
    changed: Condvar,
    bounds: BusQueueLimits,
}

impl PublishQueue {
    /// The queue starts closed.
    pub(super) fn new(bounds: BusQueueLimits) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), bounds }
    }

    fn lock_state(&self) -> MutexGuard<'_, PublishQueueState> {
        // No code under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, frame: OutgoingBusFrame) -> BusQueueResult {
        let mut waiting = self.lock_state();
        if !waiting.is_open {
            return BusQueueResult::Closed(frame);
        }
        let bytes = waiting.bytes + frame.bytes.len();
        if waiting.frames.len() >= self.bounds.frames_max || bytes > self.bounds.bytes_max {
            return BusQueueResult::Full;
        }
        waiting.bytes = bytes;
        waiting.frames.push_back(frame);
        self.changed.notify_one();
        BusQueueResult::Taken
    }

    /// Accepts frames from now on.
    pub(super) fn open(&self) {
        self.lock_state().is_open = true;
    }

    /// Accepts no more frames. Returns the number of those that are lost.
    pub(super) fn close(&self) -> usize {
        let mut waiting = self.lock_state();
        waiting.is_open = false;
        waiting.bytes = 0;
        std::mem::take(&mut waiting.frames).len()
    }

    /// Requests a beat now.
    pub(super) fn ask_for_beat(&self) {
        self.lock_state().beat = true;
        self.changed.notify_one();
    }

    /// Waits until there is something to publish, or until this time. `None`: the bus has ended.
    pub(super) fn take(&self, until: Instant) -> Option<PublishBatch> {
        let has_nothing =
            |waiting: &mut PublishQueueState| waiting.frames.is_empty() && !waiting.beat && !waiting.is_closed;
        let time = until.saturating_duration_since(Instant::now());
        let (mut waiting, _) = self
            .changed
            .wait_timeout_while(self.lock_state(), time, has_nothing)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.is_closed {
            return None;
        }
        let (mut frames, mut bytes) = (Vec::new(), 0);
        while frames.len() < BATCH_FRAMES_MAX && bytes < BATCH_BYTES_MAX {
            let Some(frame) = waiting.frames.pop_front() else { break };
            bytes += frame.bytes.len();
            frames.push(frame);
        }
        waiting.bytes -= bytes;
        Some(PublishBatch { frames, beat: std::mem::take(&mut waiting.beat) })
    }

    /// Waits for this time. Returns `false` if the bus has ended.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let (waiting, _) = self
            .changed
            .wait_timeout_while(self.lock_state(), time, |waiting| !waiting.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        !waiting.is_closed
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock_state().is_closed
    }

    pub(super) fn shut_down(&self) {
        let mut waiting = self.lock_state();
        (waiting.is_closed, waiting.is_open) = (true, false);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> OutgoingBusFrame {
        OutgoingBusFrame { to: NodeId::new(1).unwrap(), bytes: vec![0; bytes], is_sealed: false }
    }

    fn queue(frames_max: usize, bytes_max: usize) -> PublishQueue {
        PublishQueue::new(BusQueueLimits { frames_max, bytes_max })
    }

    #[test]
    fn it_takes_no_more_than_its_bounds_and_nothing_while_it_is_closed() {
        let queue = queue(3, 100);
        assert!(matches!(queue.push(frame(1)), BusQueueResult::Closed(_)));
        queue.open();
        for bytes in [40, 40] {
            assert!(matches!(queue.push(frame(bytes)), BusQueueResult::Taken));
        }
        assert!(matches!(queue.push(frame(21)), BusQueueResult::Full), "in bytes");
        assert!(matches!(queue.push(frame(20)), BusQueueResult::Taken));
        assert!(matches!(queue.push(frame(0)), BusQueueResult::Full), "in frames");
        assert_eq!(queue.take(Instant::now()).unwrap().frames.len(), 3);
        assert!(matches!(queue.push(frame(100)), BusQueueResult::Taken));
        assert_eq!(queue.close(), 1);
        queue.open();
        assert!(matches!(queue.push(frame(100)), BusQueueResult::Taken), "lost frames have no size");
        queue.shut_down();
        assert!(queue.take(Instant::now()).is_none() && queue.is_closed());
        assert!(!queue.pause(Duration::from_secs(60)));
    }

    #[test]
    fn a_batch_is_bounded_too() {
        let queue = queue(1_000, 10 << 20);
        queue.open();
        queue.ask_for_beat();
        (0..300).for_each(|_| assert!(matches!(queue.push(frame(10)), BusQueueResult::Taken)));
        let first = queue.take(Instant::now()).unwrap();
        assert_eq!((first.frames.len(), first.beat), (BATCH_FRAMES_MAX, true));
        let rest = queue.take(Instant::now()).unwrap();
        assert_eq!((rest.frames.len(), rest.beat), (300 - BATCH_FRAMES_MAX, false));
        (0..3).for_each(|_| assert!(matches!(queue.push(frame(BATCH_BYTES_MAX / 2 + 1)), BusQueueResult::Taken)));
        assert_eq!(queue.take(Instant::now()).unwrap().frames.len(), 2);
    }
}
