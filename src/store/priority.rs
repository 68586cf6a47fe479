//! Which data worker may begin a batch. All workers, and often the database as well, share the
//! cores of one machine. While one worker serves a user who rarely has a job, the workers that
//! have only jobs of users with many wait a little: so the rare job gets the processor, the disk
//! and the locks of the database for itself.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest wait of a worker before a batch.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// An urgent batch that takes longer than this hangs in the store: nothing is gained by waiting.
const URGENT_MAX: Duration = Duration::from_millis(20);

/// Shared by all data workers.
#[derive(Debug)]
pub(super) struct CrossWorkerUrgentBatchGate {
    urgent: Mutex<RunningUrgentBatches>,
    changed: Condvar,
    wait_max: Duration,
    urgent_max: Duration,
}

/// The batches of workers that serve a user who rarely has a job.
#[derive(Debug, Default)]
struct RunningUrgentBatches {
    count: usize,
    last_began: Option<Instant>,
}

impl Default for CrossWorkerUrgentBatchGate {
    fn default() -> Self {
        let (urgent, changed) = (Mutex::default(), Condvar::new());
        Self { urgent, changed, wait_max: WAIT_MAX, urgent_max: URGENT_MAX }
    }
}

/// A batch with the job of such a user is being done.
#[derive(Debug)]
pub(super) struct UrgentBatchGuard<'a>(&'a CrossWorkerUrgentBatchGate);

impl CrossWorkerUrgentBatchGate {
    fn urgent(&self) -> MutexGuard<'_, RunningUrgentBatches> {
        // A panic cannot leave it half changed.
        self.urgent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a batch with the job of a user who rarely has one.
    pub(super) fn begin(&self) -> UrgentBatchGuard<'_> {
        let mut urgent = self.urgent();
        urgent.count += 1;
        urgent.last_began = Some(Instant::now());
        UrgentBatchGuard(self)
    }

    /// Waits before a batch without such a job.
    pub(super) fn give_way(&self) {
        let began = Instant::now();
        let mut urgent = self.urgent();
        while urgent.count > 0 {
            let hangs_at = urgent.last_began.map_or(began, |last| last + self.urgent_max);
            let left = hangs_at.min(began + self.wait_max).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            urgent = self.changed.wait_timeout(urgent, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for UrgentBatchGuard<'_> {
    fn drop(&mut self) {
        let mut urgent = self.0.urgent();
        urgent.count -= 1;
        if urgent.count == 0 {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    #[test]
    fn a_worker_gives_way_until_no_other_one_is_urgent() {
        let long = Duration::from_secs(600);
        let priority =
            CrossWorkerUrgentBatchGate { wait_max: long, urgent_max: long, ..CrossWorkerUrgentBatchGate::default() };
        let priority = Arc::new(priority);
        priority.give_way();
        let (first, second) = (priority.begin(), priority.begin());
        let (said, answers) = channel();
        let other = Arc::clone(&priority);
        let worker = std::thread::spawn(move || {
            said.send("waits").unwrap();
            other.give_way();
            said.send("goes on").unwrap();
        });
        let next = || answers.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(next(), "waits");
        drop(first);
        assert_eq!(answers.recv_timeout(Duration::from_millis(50)).ok(), None, "the second one is not done");
        drop(second);
        assert_eq!(next(), "goes on");
        worker.join().unwrap();
    }

    #[test]
    fn a_worker_does_not_give_way_for_ever() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(600));
        for (wait_max, urgent_max) in [(short, long), (long, short)] {
            let priority = CrossWorkerUrgentBatchGate { wait_max, urgent_max, ..CrossWorkerUrgentBatchGate::default() };
            let _urgent = priority.begin();
            // Otherwise this test takes ten minutes.
            priority.give_way();
        }
    }
}
