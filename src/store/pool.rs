//! The workers: jobs in, outcomes out, one wake. A data worker owns one connection to the store and
//! takes what waits, fairly shared among those who ask, as one transaction; jobs about one user
//! always go to the same one. Auth workers hash, and never delay a commit.

use super::cluster::{ClusterHandle, OnFenced};
use super::fair_queue::{FairQueue, lane_user};
use super::group_commit::GroupCommitDelay;
pub use super::health::StoreHealth;
use super::lane_queue::{DataWorkerQueueReceiver, DataWorkerQueueSender, SubmittedJob, lane_queue};
pub use super::limits::SharedReloadableStoreLimits;
use super::memory::MemoryStore;
use super::mysql::{ActiveServerHeartbeat, MysqlConnector, MysqlStore, NodeDatabase, ROW_BYTES};
use super::password::{PasswordHasher, VerifiedPasswordCache};
use super::priority::CrossWorkerUrgentBatchGate;
use super::quota::{MailboxQuotas, MailboxUsageCache};
use super::reopen::StoreOpener;
use super::sqlite::SqliteStore;
use super::undelivered::{OutcomeBudgetLoopSide, OutcomeByteBudget};
use super::work::DataWorker;
use super::{StoreConnection, StoreError};
use crate::chat::contract::{Job, JobOutcome, JobTicket};
use crate::config::{Config, StoreUrl};
use crate::protocol::field::UserName;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Called when there is something to take.
pub type WakeFn = Arc<dyn Fn() + Send + Sync>;
type JobDone = (JobTicket, JobOutcome);

/// Mailboxes, and senders in them, of which the workers together remember how full they are.
const MAILBOX_ENTRIES_MAX: usize = 131_072;
/// Deletions that one start goes on with; the others wait for the next one.
const DELETIONS_MAX: u32 = 1_000;
/// Pushes of hidden requests that one transaction of a start deletes.
const HIDDEN_PUSHES_MAX: u32 = 1_000;
/// The time for which an idle auth worker keeps the memory of its last run.
const REST_AFTER: Duration = Duration::from_millis(500);

/// The loop's end of a data worker.
struct DataWorkerHandle {
    sender: DataWorkerQueueSender,
    /// The jobs of this turn, sent in one piece: otherwise the worker may wake before the second
    /// job is there.
    jobs: Vec<SubmittedJob>,
}

/// All workers of one server.
pub struct WorkerPool {
    data: Vec<DataWorkerHandle>,
    auth: Sender<SubmittedJob>,
    done: Receiver<JobDone>,
    budget_release: OutcomeBudgetLoopSide,
    threads: Vec<JoinHandle<()>>,
    first_seq: u64,
    unfinished_deletions: Vec<UserName>,
    health: Arc<StoreHealth>,
    limits: Arc<SharedReloadableStoreLimits>,
    cluster: Option<ClusterHandle>,
}

impl std::fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPool").field("data", &self.data.len()).finish_non_exhaustive()
    }
}

/// How a server comes to a database that several servers may want. SQLite and memory need none of
/// it.
#[derive(Clone, Default)]
pub struct DatabaseTakeoverOptions {
    /// The epoch of the server whose place is taken, even if it holds the lock.
    pub predecessor: Option<u64>,
    /// Called once when another server has taken the place of this one.
    pub on_taken_over: Option<WakeFn>,
    /// In a cluster, called once when this node was fenced.
    pub on_fenced: Option<OnFenced>,
}

/// The function that opens the store, and the number of workers that may.
fn opener(
    config: &Config,
    claim: DatabaseTakeoverOptions,
    health: &Arc<StoreHealth>,
) -> Result<(StoreOpener, usize), StoreError> {
    Ok(match config.store.clone() {
        StoreUrl::Memory => {
            let tables = MemoryStore::default();
            (Box::new(move || Ok(Box::new(tables.clone()))), 1)
        }
        // SQLite has one writer: more than one worker would only wait for each other.
        StoreUrl::Sqlite(path) => (Box::new(move || Ok(Box::new(SqliteStore::open(&path)?))), 1),
        StoreUrl::Mysql(url) => {
            let server = MysqlConnector::new(&url)?;
            let server = match claim.predecessor {
                Some(epoch) => server.succeed(epoch),
                None => server,
            };
            let health = Arc::clone(health);
            let on_taken_over = move || {
                health.mark_taken_over();
                claim.on_taken_over.into_iter().for_each(|call| call());
            };
            let keeper = ActiveServerHeartbeat::start(server.clone(), on_taken_over);
            let keeper = keeper.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
            let connect = move || {
                // It lives as long as anybody may open a connection.
                let _: &ActiveServerHeartbeat = &keeper;
                server.connect()
            };
            (mysql_opener(config, connect), config.data_threads.max(1))
        }
    })
}

/// A function that opens a connection to a MySQL store.
fn mysql_opener(
    config: &Config,
    connect: impl Fn() -> Result<MysqlStore, StoreError> + Send + Sync + 'static,
) -> StoreOpener {
    let (frame_bytes_max, last_said) = (config.frame_bytes_max, AtomicUsize::new(usize::MAX));
    Box::new(move || {
        let store = connect()?;
        let row_bytes_max = store.row_bytes_max();
        // Once for each value, however many connections find it.
        if let Some(why) = small_packets(row_bytes_max, frame_bytes_max)
            && last_said.swap(row_bytes_max, Ordering::Relaxed) != row_bytes_max
        {
            log::warn!("{why}");
        }
        Ok(Box::new(store))
    })
}

/// The warning for an operator whose database takes less than clients may send: anything larger is
/// refused for good.
fn small_packets(row_bytes_max: usize, frame_bytes_max: usize) -> Option<String> {
    let (packet, needed) = (row_bytes_max + ROW_BYTES, frame_bytes_max + ROW_BYTES);
    (packet < needed).then(|| {
        format!(
            "max_allowed_packet of the database is {packet} bytes, but --max-frame lets clients send {frame_bytes_max}: larger \
             messages are refused. Set max_allowed_packet to {needed} or more, or --max-frame to {row_bytes_max} or less"
        )
    })
}

/// The core deletes the push of a request that a block has hidden; a server that was stopped
/// meanwhile did not.
fn delete_hidden_pushes(store: &mut dyn StoreConnection) -> Result<(), StoreError> {
    loop {
        let pushes = store.blocks().hidden_pushes(HIDDEN_PUSHES_MAX)?;
        if pushes.is_empty() {
            return Ok(());
        }
        store.begin()?;
        let done = store.delete_pushes(&pushes).and_then(|()| store.commit());
        if done.is_err() {
            store.rollback();
            return done;
        }
    }
}

impl WorkerPool {
    /// Opens the store and starts the workers.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub fn start(config: &Config, wake: WakeFn) -> Result<Self, StoreError> {
        Self::start_as(config, DatabaseTakeoverOptions::default(), wake)
    }

    /// The same for a server that takes another one's place, or must know when it loses its own.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub fn start_as(config: &Config, claim: DatabaseTakeoverOptions, wake: WakeFn) -> Result<Self, StoreError> {
        if let Some(name) = &config.node_name {
            return Self::start_as_node(config, name, claim, wake);
        }
        let health = Arc::default();
        let (opener, workers) = opener(config, claim, &health)?;
        Self::start_of(config, (opener, workers), health, wake)
    }

    /// The same for a node of a cluster.
    fn start_as_node(
        config: &Config,
        name: &str,
        claim: DatabaseTakeoverOptions,
        wake: WakeFn,
    ) -> Result<Self, StoreError> {
        let StoreUrl::Mysql(url) = &config.store else {
            return Err(StoreError::Unusable("a node of a cluster needs a MySQL store".into()));
        };
        let server = NodeDatabase::join(url, name)?;
        let health = Arc::<StoreHealth>::default();
        let ended = Arc::clone(&health);
        let on_fenced: OnFenced = Arc::new(move |cause| {
            ended.mark_taken_over();
            claim.on_fenced.iter().for_each(|call| call(cause));
        });
        let cluster = ClusterHandle::start(config, server.clone(), Arc::clone(&wake), on_fenced)?;
        let opener = mysql_opener(config, move || server.connect());
        let pool = Self::start_of(config, (opener, config.data_threads.max(1)), health, wake);
        match pool {
            Ok(pool) => Ok(Self { cluster: Some(cluster), ..pool }),
            Err(error) => {
                cluster.end_incarnation();
                Err(error)
            }
        }
    }

    /// The loop's end of the cluster, if this is a node of one.
    pub fn take_cluster(&mut self) -> Option<ClusterHandle> {
        self.cluster.take()
    }

    #[cfg(test)]
    pub(super) fn start_with(
        config: &Config,
        opener: StoreOpener,
        workers: usize,
        wake: WakeFn,
    ) -> Result<Self, StoreError> {
        Self::start_of(config, (opener, workers), Arc::default(), wake)
    }

    fn start_of(
        config: &Config,
        (opener, workers): (StoreOpener, usize),
        health: Arc<StoreHealth>,
        wake: WakeFn,
    ) -> Result<Self, StoreError> {
        let unavailable = |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
        let verified =
            Arc::new(VerifiedPasswordCache::new(config.verified_logins_max).map_err(|error| unavailable(&error))?);
        let limits = Arc::new(SharedReloadableStoreLimits::new(config, Arc::clone(&verified)));
        let opener = Arc::new(opener);
        let (done_sender, done) = channel();
        let mut pool = Self {
            data: Vec::new(),
            auth: channel().0,
            done,
            budget_release: OutcomeBudgetLoopSide::default(),
            threads: Vec::new(),
            first_seq: 0,
            unfinished_deletions: Vec::new(),
            health,
            limits,
            cluster: None,
        };
        let priority = Arc::new(CrossWorkerUrgentBatchGate::default());
        for worker in 0..workers {
            let mut store = opener()?;
            if worker == 0 {
                pool.first_seq = store.last_seq()? + 1;
                pool.unfinished_deletions = store.accounts().deletions(DELETIONS_MAX)?;
                delete_hidden_pushes(store.as_mut())?;
            }
            let (sender, jobs) = lane_queue();
            pool.data.push(DataWorkerHandle { sender, jobs: Vec::new() });
            let mailbox_counts =
                MailboxUsageCache::new(MailboxQuotas::of(config), MAILBOX_ENTRIES_MAX / workers.max(1));
            let batch = DataWorker::new(store, Arc::clone(&opener), Arc::clone(&verified), mailbox_counts);
            let batch = batch.report_to(worker, Arc::clone(&pool.health)).with_limits(Arc::clone(&pool.limits));
            let (done, wake) = (done_sender.clone(), Arc::clone(&wake));
            let (undelivered, priority) = (pool.budget_release.0.clone(), Arc::clone(&priority));
            pool.spawn(format!("data-{worker}"), move || {
                data_worker(batch, jobs, &undelivered, &priority, &done, &wake)
            })?;
        }
        let (auth, jobs) = channel();
        pool.auth = auth;
        let jobs = Arc::new(Mutex::new(jobs));
        for worker in 0..config.auth_threads.max(1) {
            let hasher = PasswordHasher::new(config.argon2_memory_kib, config.argon2_passes)
                .map_err(|error| unavailable(&format!("Argon2 has no such costs: {error}")))?;
            let lane = AuthWorker {
                hasher,
                jobs: Arc::clone(&jobs),
                done: done_sender.clone(),
                wake: Arc::clone(&wake),
                verified_logins: Arc::clone(&verified),
            };
            pool.spawn(format!("auth-{worker}"), move || lane.run())?;
        }
        Ok(pool)
    }

    fn spawn(&mut self, name: String, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = std::thread::Builder::new().name(name).spawn(work);
        let thread = thread.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        self.threads.push(thread);
        Ok(())
    }

    /// The number of the first push that is taken.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The deleted accounts of which something is left, since a server stopped meanwhile: they are
    /// to be deleted once more.
    #[must_use]
    pub fn unfinished_deletions(&self) -> &[UserName] {
        &self.unfinished_deletions
    }

    /// Whether the store works.
    #[must_use]
    pub fn health(&self) -> Arc<StoreHealth> {
        Arc::clone(&self.health)
    }

    /// The limits of the store, to change them.
    #[must_use]
    pub fn limits(&self) -> Arc<SharedReloadableStoreLimits> {
        Arc::clone(&self.limits)
    }

    /// Hands jobs to their lanes, in this order. The outcome of each comes out of
    /// [`take`](Self::take), exactly once.
    #[inline(never)]
    pub fn submit(&mut self, jobs: impl IntoIterator<Item = (JobTicket, Job)>) {
        let mut is_lost = false;
        for (ticket, job) in jobs {
            match lane_user(&job) {
                None => is_lost |= self.auth.send((ticket, job)).is_err(),
                Some(user) => {
                    let mut hasher = DefaultHasher::new();
                    user.hash(&mut hasher);
                    let lane = hasher.finish() % self.data.len() as u64;
                    self.data[lane as usize].jobs.push((ticket, job));
                }
            }
        }
        for lane in self.data.iter_mut().filter(|lane| !lane.jobs.is_empty()) {
            is_lost |= lane.sender.send(&mut lane.jobs).is_err();
        }
        if is_lost {
            // A worker ends only when the pool does, or by a panic outside of any job, which the
            // thread's end has reported.
            log::error!("a worker is gone: its jobs are not answered");
        }
    }

    /// Appends what is done.
    #[inline(never)]
    pub fn take(&mut self, out: &mut Vec<JobDone>) {
        let before = out.len();
        out.extend(self.done.try_iter());
        self.budget_release.release(out[before..].iter().map(|(_, outcome)| outcome));
    }

    /// Finishes what was submitted, closes the store, ends the threads.
    pub fn stop(self) {
        drop(self.data);
        drop(self.auth);
        drop(self.budget_release);
        for thread in self.threads {
            if thread.join().is_err() {
                log::error!("a worker ended by a panic");
            }
        }
    }
}

fn data_worker(
    mut batch: DataWorker,
    mut jobs: DataWorkerQueueReceiver,
    undelivered: &OutcomeByteBudget,
    priority: &CrossWorkerUrgentBatchGate,
    done: &Sender<JobDone>,
    wake: &WakeFn,
) {
    let (mut waiting, mut tickets, mut work) = (FairQueue::default(), Vec::new(), Vec::new());
    let mut group_commit = GroupCommitDelay::default();
    loop {
        while waiting.is_empty() && !jobs.wait(1, Some(batch.probes_after())) {
            if jobs.is_closed() {
                return;
            }
            batch.check_between_batches(Instant::now());
            batch.probe();
        }
        undelivered.wait_for_room();
        // All of it, since the last to come may be served first. How many there are is bounded by
        // `jobs_max`.
        waiting.extend(jobs.take());
        delay_commit(&mut waiting, &mut jobs, &mut group_commit);
        // A user who rarely has a job may wait for another worker.
        if !waiting.has_newcomer() {
            priority.give_way();
            waiting.extend(jobs.take());
        }
        let urgent = waiting.has_newcomer().then(|| priority.begin());
        let began = Instant::now();
        batch.check_between_batches(began);
        waiting.take(&mut tickets, &mut work);
        let outcomes = batch.run(&work);
        drop(urgent);
        // Before anybody is answered: a client that comes now was not in this batch.
        waiting.extend(jobs.take());
        waiting.note_batch_duration(began.elapsed());
        group_commit.note_batch(work.len(), waiting.len(), began.elapsed());
        undelivered.add(&outcomes);
        // Answers first, then one wake: the loop finds them all.
        for answer in tickets.drain(..).zip(outcomes) {
            if done.send(answer).is_err() {
                // The pool was dropped: nobody waits for answers any more, but queued jobs are
                // still done.
                break;
            }
        }
        work.clear();
        wake();
    }
}

fn delay_commit(waiting: &mut FairQueue, jobs: &mut DataWorkerQueueReceiver, group_commit: &mut GroupCommitDelay) {
    let have = waiting.len();
    let Some((expected, wait)) = group_commit.delay(have) else { return };
    jobs.wait(expected - have, Some(wait));
    waiting.extend(jobs.take());
    group_commit.after_delay(expected - have, waiting.len() - have);
}

struct AuthWorker {
    hasher: PasswordHasher,
    jobs: Arc<Mutex<Receiver<SubmittedJob>>>,
    done: Sender<JobDone>,
    wake: WakeFn,
    verified_logins: Arc<VerifiedPasswordCache>,
}

impl AuthWorker {
    fn run(mut self) {
        loop {
            // The lock is held while waiting: the others wait for the lock instead. It guards
            // nothing that could be torn. A worker that finds no job for a moment, or another one
            // waiting for a job, gives the memory back: allocating it again for each of two
            // consecutive log-ins would cost some milliseconds.
            let next = {
                let jobs = self.jobs.try_lock().unwrap_or_else(|_| {
                    self.hasher.release_memory();
                    self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
                });
                jobs.try_recv().or_else(|_| jobs.recv_timeout(REST_AFTER)).or_else(|_| {
                    self.hasher.release_memory();
                    jobs.recv()
                })
            };
            let Ok((ticket, job)) = next else {
                return;
            };
            // A panic leaves only blocks of memory in an undefined state, and every run overwrites
            // them.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run_job(&job))).unwrap_or(JobOutcome::Failed);
            if self.done.send((ticket, outcome)).is_err() {
                return;
            }
            (self.wake)();
        }
    }

    fn run_job(&mut self, job: &Job) -> JobOutcome {
        let result = match job {
            Job::Hash { secret } => self.hasher.hash(secret).map(JobOutcome::Hashed),
            Job::Verify { user, secret, password_hash } => {
                let fits = self.hasher.verify(secret, password_hash.as_ref());
                if let Err(error) = &fits
                    && error.is_bad_stored_hash()
                {
                    self.verified_logins.log_unreadable_hash(user, error);
                    return JobOutcome::Refused;
                }
                if let (Ok(true), Some(stored)) = (&fits, password_hash) {
                    self.verified_logins.remember(user, secret, stored);
                }
                fits.map(JobOutcome::Verified)
            }
            _ => {
                debug_assert!(false, "a data job in the auth lane");
                return JobOutcome::Failed;
            }
        };
        result.unwrap_or_else(|error| {
            log::error!("a password could not be checked: {error}");
            JobOutcome::Failed
        })
    }
}

#[cfg(test)]
mod tests;
