//! Which data worker may begin a batch. All workers, and often the database as well, share the
//! cores of one machine. While one worker serves a user who rarely has a job, the workers that
//! have only jobs of users with many wait a little: so the rare job gets the processor, the disk
//! and the locks of the database for itself.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest wait of a worker before a batch.
const YIELD_MAX: Duration = Duration::from_millis(5);

/// Shared by all data workers.
#[derive(Debug)]
pub(super) struct WorkerPriority {
    /// The number of workers that serve a user who rarely has a job.
    urgent: Mutex<usize>,
    changed: Condvar,
    wait_max: Duration,
}

impl Default for WorkerPriority {
    fn default() -> Self {
        Self { urgent: Mutex::default(), changed: Condvar::new(), wait_max: YIELD_MAX }
    }
}

/// A batch with the job of such a user is being done.
#[derive(Debug)]
pub(super) struct UrgentBatch<'a>(&'a WorkerPriority);

impl WorkerPriority {
    fn urgent(&self) -> MutexGuard<'_, usize> {
        // A count is never half changed.
        self.urgent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a batch with the job of a user who rarely has one.
    pub(super) fn begin(&self) -> UrgentBatch<'_> {
        *self.urgent() += 1;
        UrgentBatch(self)
    }

    /// Waits before a batch without such a job.
    pub(super) fn give_way(&self) {
        let until = Instant::now() + self.wait_max;
        let mut urgent = self.urgent();
        while *urgent > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            urgent = self.changed.wait_timeout(urgent, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for UrgentBatch<'_> {
    fn drop(&mut self) {
        let mut urgent = self.0.urgent();
        *urgent -= 1;
        if *urgent == 0 {
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
        let priority = Arc::new(WorkerPriority { wait_max: Duration::from_secs(600), ..WorkerPriority::default() });
        priority.give_way();
        let (first, second) = (priority.begin(), priority.begin());
        let (said, heard) = channel();
        let other = Arc::clone(&priority);
        let worker = std::thread::spawn(move || {
            said.send("waits").unwrap();
            other.give_way();
            said.send("goes on").unwrap();
        });
        let next = || heard.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(next(), "waits");
        drop(first);
        assert_eq!(heard.recv_timeout(Duration::from_millis(50)).ok(), None, "the second one is not done");
        drop(second);
        assert_eq!(next(), "goes on");
        worker.join().unwrap();
    }

    #[test]
    fn a_worker_does_not_give_way_for_ever() {
        let priority = WorkerPriority { wait_max: Duration::from_millis(1), ..WorkerPriority::default() };
        let _urgent = priority.begin();
        priority.give_way();
    }
}
