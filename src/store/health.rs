//! Does the store work? Each data worker notes what became of its jobs, and the server asks whether
//! all of them are content.

use super::StoreError;
use crate::chat::contract::Job;
use crate::histogram::{Histogram, SharedHistogram};
use crate::protocol::field::{Id, Name, RESERVED_NAME, UserName};
use crate::protocol::push::{Push, PushKind};
use log::Level;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Shared by the workers, who say how it is, and those who want to know.
#[derive(Debug)]
pub struct StoreHealth {
    /// The workers whose last jobs failed because of the store.
    failing: AtomicUsize,
    /// How long batches with writes took.
    commits: SharedHistogram,
    started: Instant,
    /// When something was committed last, in ms since `started`, plus one; 0: nothing was.
    committed_ms: AtomicU64,
    /// Another server has taken the place of this one.
    is_over: AtomicBool,
}

impl Default for StoreHealth {
    fn default() -> Self {
        Self {
            failing: AtomicUsize::new(0),
            commits: SharedHistogram::default(),
            started: Instant::now(),
            committed_ms: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }
}

impl StoreHealth {
    /// Did the store do what every worker asked of it last?
    #[must_use]
    pub fn works(&self) -> bool {
        self.failing.load(Ordering::Relaxed) == 0
    }

    /// Another server has taken the place of this one, and that was said: that no job is done any
    /// more is no news.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// How long batches with writes took that were committed.
    #[must_use]
    pub fn commits(&self) -> Histogram {
        self.commits.read()
    }

    /// The time since the last commit of any worker; `None`: there was none.
    #[must_use]
    pub fn since_commit(&self) -> Option<Duration> {
        let at = self.committed_ms.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.started.elapsed().saturating_sub(Duration::from_millis(at)))
    }
}

/// The last outcome, so that each change is logged once.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Outage {
    #[default]
    None,
    Reads,
    /// Ended by a write only: a store that has become read-only still answers.
    Writes,
}

/// What one worker knows.
#[derive(Default)]
pub(super) struct WorkerHealth {
    /// The number of its thread, which the log names: each worker notices an outage for itself.
    worker: usize,
    outage: Outage,
    all: Arc<StoreHealth>,
}

impl WorkerHealth {
    /// One that is well, and says so here.
    pub(super) fn new(worker: usize, all: Arc<StoreHealth>) -> Self {
        Self { worker, outage: Outage::None, all }
    }

    /// The store did some jobs, writes among them or not.
    pub(super) fn note_success(&mut self, writes: bool) {
        if writes {
            // Milliseconds since the start fit for half a billion years.
            let now_ms = self.all.started.elapsed().as_millis() as u64;
            self.all.committed_ms.fetch_max(now_ms + 1, Ordering::Relaxed);
        }
        if self.outage == Outage::Reads || (self.outage == Outage::Writes && writes) {
            self.outage = Outage::None;
            self.all.failing.fetch_sub(1, Ordering::Relaxed);
            log::info!("worker data-{}: the store works again", self.worker);
        }
    }

    /// A batch with writes took so long, with its commit.
    pub(super) fn note_commit(&self, took: Duration) {
        self.all.commits.note(took);
    }

    /// It did not.
    pub(super) fn note_failure(&mut self, writes: bool, error: &StoreError) {
        if self.outage == Outage::None {
            self.outage = if writes { Outage::Writes } else { Outage::Reads };
            self.all.failing.fetch_add(1, Ordering::Relaxed);
            let level = if self.all.is_over.load(Ordering::Relaxed) { Level::Debug } else { Level::Error };
            log::log!(level, "worker data-{}: the store does not work: {error}", self.worker);
        }
    }

    /// Writes without effect, to be done in one transaction. While the store works, one that
    /// changes nothing is enough, beside the small write of [`touch`](super::Store::touch). That it
    /// takes rows again is seen by writing one only: a push that is gone before the transaction
    /// ends.
    pub(super) fn probe(&self) -> Vec<Job> {
        // Nobody can sign up under this name, and no push has this number.
        let texts = (UserName::new(RESERVED_NAME), Name::new(RESERVED_NAME), Id::new("probe"));
        let (Ok(receiver), Ok(nobody), Ok(id)) = texts else { return Vec::new() };
        let push = Push::new(0, 0, PushKind::Message, &id, &nobody, &nobody, "");
        let delete = Job::DeletePush { receiver, seq: 0 };
        if self.outage == Outage::None { vec![delete] } else { vec![Job::SavePush { push }, delete] }
    }
}
