//! Whether the store works. Each data worker notes whether its last jobs succeeded, and the server
//! asks whether all of them did.

use super::StoreError;
use crate::chat::contract::Job;
use crate::histogram::{Histogram, SharedHistogram};
use crate::protocol::field::{MessageId, RESERVED_NAME, UserName, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use log::Level;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A worker that has had no jobs for so long asks the store whether it works.
pub(super) const PROBE_EVERY: Duration = Duration::from_secs(5);
/// The same while the store does not work: a load balancer that asks for the health sends no users,
/// and so no jobs, before a probe has succeeded.
const PROBE_EVERY_IN_OUTAGE: Duration = Duration::from_millis(500);

/// The health of the store, shared by the workers and those who ask.
#[derive(Debug)]
pub struct StoreHealth {
    /// The number of workers whose last jobs failed because of the store.
    failing_workers: AtomicUsize,
    /// The times of batches with writes.
    commits: SharedHistogram,
    started_at: Instant,
    /// The time of the last commit, in ms since `started_at`, plus one; 0: there was none.
    committed_ms: AtomicU64,
    /// Another server has taken the place of this one.
    is_taken_over: AtomicBool,
}

impl Default for StoreHealth {
    fn default() -> Self {
        Self {
            failing_workers: AtomicUsize::new(0),
            commits: SharedHistogram::default(),
            started_at: Instant::now(),
            committed_ms: AtomicU64::new(0),
            is_taken_over: AtomicBool::new(false),
        }
    }
}

impl StoreHealth {
    /// Did the store do the last jobs of every worker?
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.failing_workers.load(Ordering::Relaxed) == 0
    }

    /// Another server has taken over, and that was logged: failed jobs are not logged any more.
    pub(super) fn mark_taken_over(&self) {
        self.is_taken_over.store(true, Ordering::Relaxed);
    }

    /// The times of committed batches with writes.
    #[must_use]
    pub fn commits(&self) -> Histogram {
        self.commits.read()
    }

    /// The time since the last commit of any worker; `None`: there was none.
    #[must_use]
    pub fn since_commit(&self) -> Option<Duration> {
        let at = self.committed_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.started_at.elapsed().saturating_sub(Duration::from_millis(at)))
    }
}

/// The present outage of a worker, so that each change is logged once.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum StoreOutage {
    #[default]
    None,
    Reads,
    /// Writes fail. Only a successful write ends it: a read-only store still answers reads.
    Writes,
}

/// The health as one worker sees it.
#[derive(Default)]
pub(super) struct WorkerStoreHealth {
    /// The number of its thread, which the log names: each worker notices an outage for itself.
    worker: usize,
    outage: StoreOutage,
    all: Arc<StoreHealth>,
}

impl WorkerStoreHealth {
    /// A worker without an outage, which reports to `all`.
    pub(super) fn new(worker: usize, all: Arc<StoreHealth>) -> Self {
        Self { worker, outage: StoreOutage::None, all }
    }

    /// The store did some jobs; `writes`: writes were among them.
    pub(super) fn note_success(&mut self, writes: bool) {
        if writes {
            // Milliseconds since the start fit for half a billion years.
            let now_ms = self.all.started_at.elapsed().as_millis() as u64;
            self.all.committed_ms.fetch_max(now_ms + 1, Ordering::Relaxed);
        }
        if self.outage == StoreOutage::Reads || (self.outage == StoreOutage::Writes && writes) {
            self.outage = StoreOutage::None;
            self.all.failing_workers.fetch_sub(1, Ordering::Relaxed);
            log::info!("worker data-{}: the store works again", self.worker);
        }
    }

    /// Notes the time of a batch with writes, including its commit.
    pub(super) fn note_commit(&self, took: Duration) {
        self.all.commits.note(took);
    }

    /// The store failed some jobs.
    pub(super) fn note_failure(&mut self, writes: bool, error: &StoreError) {
        if self.outage == StoreOutage::None {
            self.outage = if writes { StoreOutage::Writes } else { StoreOutage::Reads };
            self.all.failing_workers.fetch_add(1, Ordering::Relaxed);
            let level = if self.all.is_taken_over.load(Ordering::Relaxed) { Level::Debug } else { Level::Error };
            log::log!(level, "worker data-{}: the store does not work: {error}", self.worker);
        }
    }

    /// So long without jobs, and the store is probed.
    pub(super) fn probes_after(&self) -> Duration {
        if self.outage == StoreOutage::None { PROBE_EVERY } else { PROBE_EVERY_IN_OUTAGE }
    }

    /// The jobs of a probe, done in one transaction, without a lasting effect. While the store
    /// works, a write that changes nothing is enough, beside the small write of
    /// [`StoreConnection::probe`](super::StoreConnection::probe). Only a real row shows that a
    /// failed store takes rows again: a push that is deleted before the transaction ends.
    pub(super) fn probe(&self) -> Vec<Job> {
        // Nobody can sign up under this name, and no push has this number.
        let texts = (UserName::new(RESERVED_NAME), UserNameRef::new(RESERVED_NAME), MessageId::new("probe"));
        let (Ok(receiver), Ok(nobody), Ok(id)) = texts else { return Vec::new() };
        let push = Push::new(0, 0, PushKind::Message, &id, &nobody, &nobody, "");
        let delete = Job::DeletePush { receiver, seq: 0 };
        if self.outage == StoreOutage::None { vec![delete] } else { vec![Job::SavePush { push }, delete] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_does_not_work_is_probed_more_often_and_by_a_row() {
        let mut health = WorkerStoreHealth::default();
        let probe = |health: &WorkerStoreHealth| (health.probes_after(), health.probe().len());
        assert_eq!(probe(&health), (PROBE_EVERY, 1));
        health.note_failure(true, &StoreError::Unavailable("it is gone".into()));
        assert_eq!(probe(&health), (PROBE_EVERY_IN_OUTAGE, 2));
        health.note_success(true);
        assert_eq!(probe(&health), (PROBE_EVERY, 1));
    }
}
