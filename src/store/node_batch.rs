//! Does one batch of jobs of a node of a cluster. It has three steps more than a single server.
//! Before it reads the friends and pushes of a user, it asks to which node the user belongs. After
//! every commit, it asks to which nodes the receivers of the saved pushes belong. After a claim, it
//! reads the user's friends and pushes only when the claim is committed.

use super::job_kinds::push_seq;
use super::login_reads::{load, may_log_in, page_of, prove};
use super::node::ClusterStore;
use super::password::VerifiedPasswordCache;
use super::quota::MailboxUsageCache;
use super::token::ValidTokenExpiryRange;
use super::transaction::{TransactionProgress, begin, run_job};
use super::{StoreConnection, StoreError, push_jobs};
use crate::chat::contract::{ClusterStoreJob, ClusterStoreJobOutcome, Job, JobOutcome, UserOwner};
use crate::protocol::field::UserName;
use std::time::Duration;

/// A step that follows the commit, and the index of its job.
enum ReadAfterCommit<'a> {
    /// A push was saved: adds the owner of its receiver to the outcome.
    Saved { job: usize, receiver: &'a str, is_first: bool },
    /// A user was claimed: reads their friends and pushes for the log-in.
    Claimed { job: usize, user: &'a UserName, epoch: u64, pushes_max: u32, bytes_max: usize },
}

/// The limit of `seq` follows the core's clock within a round trip to the database. A batch waits
/// for that at most this long.
const RAISED_WITHIN: Duration = Duration::from_secs(1);

/// Gives each batch the limit of `seq`, and waits if the limit is too low.
#[derive(Default)]
pub(super) struct BatchSeqLimitWait {
    /// The limit at which a batch has waited without success. While it is unchanged, no other batch
    /// waits.
    stuck_limit: Option<u64>,
}

impl BatchSeqLimitWait {
    /// The limit for this batch: a push with a greater `seq` is not written. If the batch has one,
    /// the clock has jumped to that of another node. The limit will follow, so this waits for it.
    pub(super) fn limit_for(&mut self, nodes: &dyn ClusterStore, jobs: &[Job]) -> u64 {
        let seq_max = nodes.seq_max();
        let Some(seq) = jobs.iter().filter_map(push_seq).max().filter(|&seq| seq > seq_max) else { return seq_max };
        if self.stuck_limit == Some(seq_max) {
            return seq_max;
        }
        let raised = nodes.wait_for_seq_max(seq, RAISED_WITHIN);
        self.stuck_limit = (raised < seq).then_some(raised);
        raised
    }
}

pub(super) fn transact(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    jobs: &[Job],
    verified: &VerifiedPasswordCache,
    progress: &mut TransactionProgress,
) -> Result<Vec<JobOutcome>, StoreError> {
    let writes = begin(store, jobs, progress)?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    let mut behind = Vec::new();
    let mut rest = jobs;
    while let Some((job, after)) = rest.split_first() {
        rest = match job {
            Job::SavePush { .. } => {
                let first = outcomes.len();
                let after = push_jobs::save_all(store, mailbox_counts, rest, &mut outcomes)?;
                for (outcome, job) in outcomes.iter_mut().skip(first).zip(rest) {
                    if let (JobOutcome::Duplicate, Job::SavePush { push }) = (&outcome, job) {
                        *outcome = push_jobs::save_beside(store, mailbox_counts, push)?;
                    }
                }
                note_saved(rest, (first, &outcomes), &mut behind);
                after
            }
            Job::DeletePush { .. } => push_jobs::delete_all(store, mailbox_counts, rest, &mut outcomes)?,
            job => {
                let outcome = run_one(store, mailbox_counts, job, verified)?;
                note_claimed(job, (outcomes.len(), &outcome), &mut behind);
                outcomes.push(outcome);
                after
            }
        };
    }
    if !writes {
        store.end_reads()?;
        return Ok(outcomes);
    }
    progress.committing = true;
    commit(store, behind, &mut outcomes)?;
    Ok(outcomes)
}

/// Commits, and completes the outcomes by reads behind the commit.
fn commit(
    store: &mut dyn StoreConnection,
    behind: Vec<ReadAfterCommit<'_>>,
    outcomes: &mut [JobOutcome],
) -> Result<(), StoreError> {
    let receivers: Vec<&str> = behind
        .iter()
        .filter_map(|one| match one {
            ReadAfterCommit::Saved { receiver, .. } => Some(*receiver),
            ReadAfterCommit::Claimed { .. } => None,
        })
        .collect();
    let owners = nodes(store)?.commit_and_read(&receivers)?;
    let mut owners = owners.unwrap_or_default().into_iter();
    for one in behind {
        let (job, outcome) = match one {
            ReadAfterCommit::Saved { job, is_first, .. } => (job, saved(is_first, owners.next())),
            ReadAfterCommit::Claimed { job, user, epoch, pushes_max, bytes_max } => {
                // The claim is committed, so after a failed read a later try still succeeds.
                let read = load(store, user, pushes_max, bytes_max).unwrap_or(JobOutcome::Failed);
                (job, loaded(epoch, read))
            }
        };
        if let Some(place) = outcomes.get_mut(job) {
            *place = outcome;
        }
    }
    Ok(())
}

fn nodes(store: &mut dyn StoreConnection) -> Result<&mut dyn ClusterStore, StoreError> {
    store.nodes().ok_or_else(|| StoreError::Refused("this store is not that of a cluster".into()))
}

fn cluster(outcome: ClusterStoreJobOutcome) -> JobOutcome {
    JobOutcome::Cluster(Box::new(outcome))
}

fn saved(is_first: bool, owner: Option<UserOwner>) -> JobOutcome {
    cluster(ClusterStoreJobOutcome::Saved { is_first, owner })
}

fn loaded(epoch: u64, read: JobOutcome) -> JobOutcome {
    match read {
        JobOutcome::Loaded { friends, page } => cluster(ClusterStoreJobOutcome::Loaded { epoch, friends, page }),
        other => other,
    }
}

/// Notes the pushes that the jobs at the front have saved. Their outcomes begin at `first`.
fn note_saved<'a>(jobs: &'a [Job], (first, outcomes): (usize, &[JobOutcome]), behind: &mut Vec<ReadAfterCommit<'a>>) {
    for (place, (job, outcome)) in jobs.iter().zip(&outcomes[first..]).enumerate() {
        let Job::SavePush { push } = job else { return };
        let is_first = match outcome {
            JobOutcome::Saved => true,
            JobOutcome::Duplicate => false,
            _ => continue,
        };
        behind.push(ReadAfterCommit::Saved { job: first + place, receiver: push.receiver(), is_first });
    }
}

fn note_claimed<'a>(job: &'a Job, (place, outcome): (usize, &JobOutcome), behind: &mut Vec<ReadAfterCommit<'a>>) {
    let Job::Cluster { user, job } = job else { return };
    let ClusterStoreJob::Claim { epoch, pushes_max, bytes_max, .. } = **job else { return };
    if matches!(outcome, JobOutcome::Proven) {
        behind.push(ReadAfterCommit::Claimed { job: place, user, epoch: epoch + 1, pushes_max, bytes_max });
    }
}

fn run_one(
    store: &mut dyn StoreConnection,
    mailbox_counts: &mut MailboxUsageCache,
    job: &Job,
    verified: &VerifiedPasswordCache,
) -> Result<JobOutcome, StoreError> {
    match job {
        Job::LogIn { user, credential, uses_cache, now_ms, latest_ms, pushes_max, bytes_max } => {
            let span = ValidTokenExpiryRange { now_ms: *now_ms, latest_ms: *latest_ms };
            match prove(store, user, (credential, *uses_cache), span, verified)? {
                JobOutcome::Proven => load_if_here(store, user, *pushes_max, *bytes_max),
                outcome => Ok(outcome),
            }
        }
        Job::Load { user, pushes_max, bytes_max } if *pushes_max > 0 => match may_log_in(store, user)? {
            JobOutcome::Proven => load_if_here(store, user, *pushes_max, *bytes_max),
            outcome => Ok(outcome),
        },
        Job::Cluster { user, job } => of_cluster(store, user, job),
        job => run_job(store, mailbox_counts, job, verified),
    }
}

fn load_if_here(
    store: &mut dyn StoreConnection,
    user: &UserName,
    pushes_max: u32,
    bytes_max: usize,
) -> Result<JobOutcome, StoreError> {
    let nodes = nodes(store)?;
    let (me, owner) = (nodes.incarnation(), nodes.owner(user)?);
    if owner.incarnation != Some(me) {
        return Ok(cluster(ClusterStoreJobOutcome::Elsewhere(owner)));
    }
    Ok(loaded(owner.epoch, load(store, user, pushes_max, bytes_max)?))
}

/// Runs a job of the cluster. A claim that succeeds gives `Proven` here, and its reads follow after
/// the commit.
fn of_cluster(
    store: &mut dyn StoreConnection,
    user: &UserName,
    job: &ClusterStoreJob,
) -> Result<JobOutcome, StoreError> {
    Ok(match job {
        ClusterStoreJob::Owner => cluster(ClusterStoreJobOutcome::Owner(nodes(store)?.owner(user)?)),
        ClusterStoreJob::Claim { epoch, floor, .. } => {
            let may = may_log_in(store, user)?;
            if !matches!(may, JobOutcome::Proven) {
                return Ok(may);
            }
            match claim(store, user, (*epoch, *floor))? {
                None => JobOutcome::Proven,
                Some(owner) => cluster(ClusterStoreJobOutcome::Elsewhere(owner)),
            }
        }
        ClusterStoreJob::Page { known_seqs, pushes_max, bytes_max } => {
            // One push more than asked for shows whether there are more.
            let count_max = pushes_max.saturating_add(1);
            let pushes = nodes(store)?.pushes_except(user, known_seqs, count_max, *bytes_max)?;
            JobOutcome::Page(page_of(pushes, *pushes_max, *bytes_max))
        }
    })
}

/// Makes a user belong to this node. It also succeeds if an earlier try of the same claim did this.
/// Returns the user's owner if it fails.
fn claim(
    store: &mut dyn StoreConnection,
    user: &UserName,
    (epoch, floor): (u64, u64),
) -> Result<Option<UserOwner>, StoreError> {
    let nodes = nodes(store)?;
    if nodes.claim(user, epoch, floor)? {
        return Ok(None);
    }
    let owner = nodes.owner(user)?;
    let was_done = owner.incarnation == Some(nodes.incarnation()) && owner.epoch == epoch + 1;
    Ok((!was_done).then_some(owner))
}
