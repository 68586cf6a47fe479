//! Frames that have arrived over the bus and wait for the loop.

use super::BusEvent;
use super::settings::BusQueueLimits;
use crate::chat::contract::{BusFrame, NodeIncarnation};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The maximum number of frames that the loop takes in one turn.
const TAKEN_MAX: usize = 1_024;

struct ReceivedBusFrameQueueState {
    /// Each frame with its encoded size.
    frames: VecDeque<(NodeIncarnation, Box<BusFrame>, usize)>,
    bytes: usize,
    works: bool,
    /// The state of the bus that the loop was last told.
    last_told_works: bool,
}

/// The queue of these frames.
pub(super) struct ReceivedBusFrameQueue {
    state: Mutex<ReceivedBusFrameQueueState>,
    bounds: BusQueueLimits,
    /// Wakes the loop.
    on_news: Arc<dyn Fn() + Send + Sync>,
}

impl ReceivedBusFrameQueue {
    /// Initially the bus does not work, and the loop is told so.
    pub(super) fn new(bounds: BusQueueLimits, on_news: Arc<dyn Fn() + Send + Sync>) -> Self {
        on_news();
        let waiting =
            ReceivedBusFrameQueueState { frames: VecDeque::new(), bytes: 0, works: false, last_told_works: true };
        Self { state: Mutex::new(waiting), bounds, on_news }
    }

    fn lock_state(&self) -> MutexGuard<'_, ReceivedBusFrameQueueState> {
        // No code under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame. Returns `false` if too many wait, so that it is dropped.
    pub(super) fn push(&self, from: NodeIncarnation, frame: Box<BusFrame>, bytes: usize) -> bool {
        let mut waiting = self.lock_state();
        let all = waiting.bytes + bytes;
        if waiting.frames.len() >= self.bounds.frames_max || all > self.bounds.bytes_max {
            return false;
        }
        let wakes = waiting.frames.is_empty();
        waiting.bytes = all;
        waiting.frames.push_back((from, frame, bytes));
        drop(waiting);
        if wakes {
            (self.on_news)();
        }
        true
    }

    /// Reports whether the bus works. Returns `false` if the last report was the same.
    pub(super) fn report_state(&self, works: bool) -> bool {
        let changed = std::mem::replace(&mut self.lock_state().works, works) != works;
        if changed {
            (self.on_news)();
        }
        changed
    }

    pub(super) fn take(&self, out: &mut Vec<BusEvent>) {
        let mut waiting = self.lock_state();
        if waiting.last_told_works != waiting.works {
            waiting.last_told_works = waiting.works;
            out.push(BusEvent::Works(waiting.works));
        }
        for _ in 0..TAKEN_MAX {
            let Some((from, frame, bytes)) = waiting.frames.pop_front() else { return };
            waiting.bytes -= bytes;
            out.push(BusEvent::Frame { from, frame });
        }
        let is_more = !waiting.frames.is_empty();
        drop(waiting);
        if is_more {
            (self.on_news)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::contract::NodeId;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn it_is_bounded_and_wakes_once_for_all_that_waits() {
        let wakes = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&wakes);
        let bounds = BusQueueLimits { frames_max: TAKEN_MAX + 1, bytes_max: 1_000_000 };
        let received = ReceivedBusFrameQueue::new(
            bounds,
            Arc::new(move || {
                counted.fetch_add(1, Ordering::SeqCst);
            }),
        );
        let from = NodeIncarnation { node: NodeId::new(1).unwrap(), epoch: 1 };
        let frame = || Box::new(BusFrame { view: 1, confirmed_batch: None, refused_epoch: None, batch: None });
        let mut news = Vec::new();
        received.take(&mut news);
        assert_eq!(news, [BusEvent::Works(false)], "it counted as one that works");
        assert!(!received.push(from, frame(), 1_000_001));
        for _ in 0..=TAKEN_MAX {
            assert!(received.push(from, frame(), 1));
        }
        assert!(!received.push(from, frame(), 1));
        assert_eq!(wakes.load(Ordering::SeqCst), 2);
        assert!(received.report_state(true) && !received.report_state(true));
        news.clear();
        received.take(&mut news);
        assert_eq!((news.len(), &news[0]), (TAKEN_MAX + 1, &BusEvent::Works(true)));
        assert_eq!(wakes.load(Ordering::SeqCst), 4, "there is more");
        news.clear();
        received.take(&mut news);
        assert_eq!(news.len(), 1);
        assert!(received.push(from, frame(), 1_000_000), "taken frames have no size");
        // A state that has changed twice between two reads has not changed for the loop.
        received.report_state(false);
        received.report_state(true);
        news.clear();
        received.take(&mut news);
        assert_eq!(news.len(), 1);
    }
}
