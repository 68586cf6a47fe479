//! Does one batch of jobs after another on a connection of its own. Jobs are answered only after
//! the commit. This module also handles the store's errors.

use super::health::{StoreHealth, WorkerStoreHealth};
use super::job_kinds::{is_write, push_seq};
use super::limits::{ReloadedLimitsAndWalSizeCheck, SharedReloadableStoreLimits};
use super::password::VerifiedPasswordCache;
use super::quota::MailboxUsageCache;
use super::reopen::{StoreOpener, StoreReopener};
use super::transaction::{TransactionProgress, transact};
use super::{StoreConnection, StoreError, node_batch};
use crate::chat::contract::{Job, JobOutcome};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The number of tries of a batch that waits for locks of other transactions.
const TRIES: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// A batch that waited for a lock for longer than this is not tried again: reads would have to wait
/// for it.
const BUSY_WITHIN: Duration = Duration::from_secs(2);
/// If a transaction waited at least this long and still could not begin, another process holds the
/// whole store.
const HELD_FOR: Duration = Duration::from_millis(100);
/// The longest pause of writes after one has waited without success. The pause is as long as that
/// wait; reads are done meanwhile.
const REST_MAX: Duration = Duration::from_secs(2);
/// A batch is bisected because of locks or unknown errors only within this time after it began.
const BISECT_WITHIN: Duration = Duration::from_secs(1);
/// The largest number of times that a batch with an unknown error is split. It is more than enough
/// to find one or two jobs among a thousand, and bounded because each half reconnects to a store
/// that may fail all of them.
const UNKNOWN_MAX: u32 = 24;
/// A batch that failed within this time met a dead connection and is tried on a new one; a store
/// that hung is not tried twice.
const RETRY_WITHIN: Duration = Duration::from_secs(1);
/// In a cluster, mailboxes are counted again after this time, because other nodes write to them,
/// too.
const RECOUNTED_EVERY: Duration = Duration::from_secs(5);
/// After this time a transaction with an unknown outcome is committed or never will be: its
/// connection is gone.
const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// The state of a data worker: its connection, and what it knows.
pub(super) struct DataWorker {
    link: StoreConnectionState,
    opener: Arc<StoreOpener>,
    verified_logins: Arc<VerifiedPasswordCache>,
    /// The counted mailboxes of the users whose pushes this worker owns.
    mailbox_counts: MailboxUsageCache,
    /// The time of the last transaction with an unknown outcome, until [`SETTLED_AFTER`] later.
    last_unknown_at: Option<Instant>,
    health: WorkerStoreHealth,
    /// Another process holds the store: until this time writes fail without being tried.
    fail_writes_until: Option<Instant>,
    log_limiter: JobLogLimiter,
    watch: ReloadedLimitsAndWalSizeCheck,
    /// This server is a node of a cluster: other nodes use the store as well.
    is_node: bool,
    limit: node_batch::BatchSeqLimitWait,
    /// When the counts of mailboxes were last dropped, because other nodes change mailboxes, too.
    counts_removed_at: Instant,
}

/// Limits log lines about single jobs to one a second: clients can cause any number of them.
#[derive(Default)]
struct JobLogLimiter {
    last: Option<Instant>,
    unlogged_count: u64,
}

impl JobLogLimiter {
    fn log(&mut self, what: &str, why: &str) {
        const EVERY: Duration = Duration::from_secs(1);
        if self.last.is_some_and(|last| last.elapsed() < EVERY) {
            self.unlogged_count += 1;
            return;
        }
        let unsaid = std::mem::take(&mut self.unlogged_count);
        self.last = Some(Instant::now());
        match unsaid {
            0 => log::error!("{what}: {why}"),
            _ => log::error!("{what}: {why} ({unsaid} more jobs were refused since this was last said)"),
        }
    }
}

/// The connection to the store.
enum StoreConnectionState {
    /// It is open.
    Open(Box<dyn StoreConnection>),
    /// It is lost or in doubt, and another thread opens it again. Until that is done, all jobs fail
    /// at once.
    Opening(StoreReopener),
    /// A transient state between the two.
    Lost,
}

/// The limits within which a batch is split.
struct FailedBatchBisectLimits {
    /// After this time, jobs with locks or unknown errors fail together.
    deadline: Instant,
    /// The number of splits for unknown errors that are left.
    unknown_splits_left: u32,
}

impl FailedBatchBisectLimits {
    fn of_unknown(&mut self) -> bool {
        let goes_on = self.unknown_splits_left > 0 && Instant::now() < self.deadline;
        self.unknown_splits_left = self.unknown_splits_left.saturating_sub(1);
        goes_on
    }
}

impl DataWorker {
    pub(super) fn new(
        mut store: Box<dyn StoreConnection>,
        opener: Arc<StoreOpener>,
        verified_logins: Arc<VerifiedPasswordCache>,
        mailbox_counts: MailboxUsageCache,
    ) -> Self {
        let is_node = store.nodes().is_some();
        Self {
            is_node,
            limit: node_batch::BatchSeqLimitWait::default(),
            counts_removed_at: Instant::now(),
            link: StoreConnectionState::Open(store),
            opener,
            verified_logins,
            mailbox_counts,
            last_unknown_at: None,
            health: WorkerStoreHealth::default(),
            fail_writes_until: None,
            log_limiter: JobLogLimiter::default(),
            watch: ReloadedLimitsAndWalSizeCheck::default(),
        }
    }

    /// Applies these limits, and watches for changes.
    pub(super) fn with_limits(mut self, limits: Arc<SharedReloadableStoreLimits>) -> Self {
        self.watch = ReloadedLimitsAndWalSizeCheck::new(limits);
        self
    }

    /// The checks between two transactions: changed limits, and the size of the store's write-ahead
    /// log.
    pub(super) fn check_between_batches(&mut self, now: Instant) {
        let store = if let StoreConnectionState::Open(store) = &self.link { Some(&**store) } else { None };
        self.watch.check(now, store, &mut self.mailbox_counts);
    }

    /// Reports to `health` from now on, as the worker with this number.
    pub(super) fn report_to(mut self, worker: usize, health: Arc<StoreHealth>) -> Self {
        self.health = WorkerStoreHealth::new(worker, health);
        self
    }

    /// The store is probed after this time without jobs.
    pub(super) fn probes_after(&self) -> Duration {
        self.health.probes_after()
    }

    /// Probes whether the store works, when there were no jobs.
    pub(super) fn probe(&mut self) {
        let done = self.try_run(&self.health.probe());
        let done = done.and_then(|_| match &mut self.link {
            StoreConnectionState::Open(store) => store.probe(),
            StoreConnectionState::Opening(_) | StoreConnectionState::Lost => Ok(()),
        });
        match done {
            Ok(()) => self.health.note_success(true),
            Err(error) => self.health.note_failure(true, &error),
        }
    }

    #[cfg(test)]
    pub(super) fn mailbox_counts(&self) -> &MailboxUsageCache {
        &self.mailbox_counts
    }

    /// Does all jobs. Returns one outcome for each, in the same order.
    pub(super) fn run(&mut self, jobs: &[Job]) -> Vec<JobOutcome> {
        let bisect =
            &mut FailedBatchBisectLimits { deadline: Instant::now() + BISECT_WITHIN, unknown_splits_left: UNKNOWN_MAX };
        let row_bytes_max = match &self.link {
            StoreConnectionState::Open(store) => store.row_bytes_max(),
            StoreConnectionState::Opening(_) | StoreConnectionState::Lost => usize::MAX,
        };
        if self.is_node {
            return self.run_as_node(bisect, jobs, row_bytes_max);
        }
        let fits = |job: &Job| job.push_bytes() <= row_bytes_max;
        if jobs.iter().all(fits) {
            return self.run_by(bisect, jobs);
        }
        self.log_limiter.log("a message is not stored", "it is larger than the database takes");
        self.run_matching(bisect, jobs, fits, &JobOutcome::TooLarge)
    }

    /// Like `run`, for a node of a cluster: a push whose `seq` is beyond the limit in the database
    /// is not written.
    #[cold]
    fn run_as_node(
        &mut self,
        bisect: &mut FailedBatchBisectLimits,
        jobs: &[Job],
        row_bytes_max: usize,
    ) -> Vec<JobOutcome> {
        if self.counts_removed_at.elapsed() > RECOUNTED_EVERY {
            self.counts_removed_at = Instant::now();
            self.mailbox_counts.remove_all();
        }
        let seq_max = match &mut self.link {
            StoreConnectionState::Open(store) => {
                store.nodes().map_or(u64::MAX, |nodes| self.limit.limit_for(nodes, jobs))
            }
            StoreConnectionState::Opening(_) | StoreConnectionState::Lost => u64::MAX,
        };
        let fits = |job: &Job| job.push_bytes() <= row_bytes_max;
        let may = |job: &Job| push_seq(job).is_none_or(|seq| seq <= seq_max);
        let chosen: Vec<Job> = jobs.iter().filter(|job| fits(job) && may(job)).cloned().collect();
        if chosen.len() == jobs.len() {
            return self.run_by(bisect, jobs);
        }
        let mut outcomes = if chosen.is_empty() { Vec::new() } else { self.run_by(bisect, &chosen) }.into_iter();
        let outcome = |job: &Job| match (fits(job), may(job)) {
            (true, true) => outcomes.next().unwrap_or(JobOutcome::Failed),
            (true, false) => JobOutcome::Failed,
            (false, _) => JobOutcome::TooLarge,
        };
        jobs.iter().map(outcome).collect()
    }

    /// Runs the jobs for which the condition is true; the others get the given outcome.
    fn run_matching(
        &mut self,
        bisect: &mut FailedBatchBisectLimits,
        jobs: &[Job],
        is_run: impl Fn(&Job) -> bool,
        others: &JobOutcome,
    ) -> Vec<JobOutcome> {
        let some: Vec<Job> = jobs.iter().filter(|job| is_run(job)).cloned().collect();
        let mut outcomes = if some.is_empty() { Vec::new() } else { self.run_by(bisect, &some) }.into_iter();
        let outcome = |job| if is_run(job) { outcomes.next() } else { Some(others.clone()) };
        jobs.iter().map(outcome).map(|outcome| outcome.unwrap_or(JobOutcome::Failed)).collect()
    }

    fn run_by(&mut self, bisect: &mut FailedBatchBisectLimits, jobs: &[Job]) -> Vec<JobOutcome> {
        let writes = jobs.iter().any(is_write);
        let is_read = |job: &Job| !is_write(job);
        if writes && self.fail_writes_until.is_some_and(|until| Instant::now() < until) {
            return self.run_matching(bisect, jobs, is_read, &JobOutcome::Failed);
        }
        let began = Instant::now();
        match self.try_run(jobs) {
            Ok(outcomes) => {
                self.health.note_success(writes);
                if writes {
                    self.health.note_commit(began.elapsed());
                }
                outcomes
            }
            // The store refuses something in the batch: bisect, until only that job fails.
            Err(StoreError::Refused(_) | StoreError::TooLarge(_) | StoreError::Corrupt(_)) if jobs.len() > 1 => {
                self.run_bisected(bisect, jobs)
            }
            Err(StoreError::Busy(_))
                if jobs.len() > 1 && self.fail_writes_until.is_none() && Instant::now() < bisect.deadline =>
            {
                self.run_bisected(bisect, jobs)
            }
            // The cause may be a job or the store: bisect, but only a bounded number of times.
            Err(StoreError::Unknown(_)) if jobs.len() > 1 && bisect.of_unknown() => self.run_bisected(bisect, jobs),
            Err(StoreError::Refused(why)) => {
                self.log_limiter.log("the store refused a job", &why);
                vec![JobOutcome::Refused]
            }
            Err(StoreError::TooLarge(why)) => {
                self.log_limiter.log("a row is not stored", &why);
                vec![JobOutcome::TooLarge]
            }
            // A second read would find the same.
            Err(StoreError::Corrupt(why)) if !writes => {
                self.log_limiter.log("a stored row cannot be read", &why);
                vec![JobOutcome::Refused]
            }
            Err(error) => {
                self.health.note_failure(writes, &error);
                // A store that does not take writes may still be read: do the reads of the batch
                // alone.
                let is_there =
                    matches!(self.link, StoreConnectionState::Open(_)) || !matches!(error, StoreError::Unavailable(_));
                if writes && is_there {
                    return self.run_matching(bisect, jobs, is_read, &JobOutcome::Failed);
                }
                vec![JobOutcome::Failed; jobs.len()]
            }
        }
    }

    fn run_bisected(&mut self, bisect: &mut FailedBatchBisectLimits, jobs: &[Job]) -> Vec<JobOutcome> {
        let (first, second) = jobs.split_at(jobs.len() / 2);
        let mut outcomes = self.run_by(bisect, first);
        outcomes.extend(self.run_by(bisect, second));
        outcomes
    }

    fn try_run(&mut self, jobs: &[Job]) -> Result<Vec<JobOutcome>, StoreError> {
        let (mut pause, mut tries, mut was_reopened) = (FIRST_PAUSE, 1, false);
        let first_tried = Instant::now();
        loop {
            if let StoreConnectionState::Opening(opening) = &mut self.link {
                self.link = StoreConnectionState::Open(opening.take(&self.opener)?);
            }
            let started = Instant::now();
            match self.attempt(jobs) {
                Err(StoreError::Busy(_)) if tries < TRIES && first_tried.elapsed() < BUSY_WITHIN => {
                    std::thread::sleep(pause);
                    pause *= 4;
                    tries += 1;
                }
                // Every write can be repeated, so a batch with an unknown outcome is simply done
                // again.
                Err(StoreError::Unavailable(_))
                    if matches!(self.link, StoreConnectionState::Opening(_))
                        && !was_reopened
                        && started.elapsed() < RETRY_WITHIN =>
                {
                    was_reopened = true;
                }
                result => return result,
            }
        }
    }

    fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<JobOutcome>, StoreError> {
        let StoreConnectionState::Open(store) = &mut self.link else {
            return Err(StoreError::Unavailable("it is not open".into()));
        };
        let (verified, mailbox_counts, is_node) = (&self.verified_logins, &mut self.mailbox_counts, self.is_node);
        if self.last_unknown_at.is_some_and(|at| at.elapsed() > SETTLED_AFTER) {
            self.last_unknown_at = None;
            mailbox_counts.end_uncertainty();
        }
        mailbox_counts.begin();
        let (mut progress, began) = (TransactionProgress::default(), Instant::now());
        let done = catch_panic(|| {
            let result = if is_node {
                node_batch::transact(store.as_mut(), mailbox_counts, jobs, verified, &mut progress)
            } else {
                transact(store.as_mut(), mailbox_counts, jobs, verified, &mut progress)
            };
            if result.is_err() {
                store.rollback();
            }
            (result, store.is_broken())
        });
        match &done {
            Some((Ok(_), _)) => self.mailbox_counts.committed(),
            Some((Err(_), _)) if !progress.committing => self.mailbox_counts.rolled_back(),
            _ => {
                self.mailbox_counts.note_unknown_outcome();
                self.last_unknown_at = Some(Instant::now());
            }
        }
        let (result, is_broken) = done.unwrap_or_else(|| (Err(panicked()), true));
        // If another process holds the whole store, not only a row, writes pause. Otherwise reads
        // would have to wait behind each of them.
        if jobs.iter().any(is_write) {
            let is_held =
                !progress.has_begun && matches!(result, Err(StoreError::Busy(_))) && began.elapsed() >= HELD_FOR;
            self.fail_writes_until = is_held.then(|| Instant::now() + began.elapsed().min(REST_MAX));
        }
        if is_broken {
            let torn = std::mem::replace(&mut self.link, StoreConnectionState::Lost);
            // A panic may have left the connection half changed, so its drop may panic as well. It
            // is dropped before the store is opened again, because it may hold locks.
            catch_panic(move || drop(torn));
            self.link = StoreConnectionState::Opening(StoreReopener::start(Arc::clone(&self.opener)));
        }
        result
    }
}

/// Runs code of a driver. `None`: it panicked, and the panic hook has reported it. The caller must
/// drop the data that it worked on, which may be torn; this justifies the assertion of unwind
/// safety.
fn catch_panic<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn panicked() -> StoreError {
    StoreError::Unavailable("its driver panicked".into())
}
