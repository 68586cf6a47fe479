//! The job queue of one data worker: start-time fair queueing among the users who cause the jobs.
//! Jobs about one user keep their order.
//!
//! Each user who causes jobs has a sub-queue (a flow) with a virtual start time. The flow with the
//! lowest start time is served, and its start time grows by the cost of the served jobs. A user
//! with an empty flow begins a little before the present virtual time, unless that credit is used
//! up: so a user who rarely has a job waits for one batch, and not for a turn of every other user.
//!
//! While such users come, a batch takes only as much as fits into a few milliseconds, as measured:
//! a job that arrives in the meantime waits that long. The same holds for a batch with other jobs
//! than saves and deletions. Users who always have rows to save gain nothing by short batches, and
//! large batches are more efficient for them.
//!
//! Jobs about one user are done in the order in which they were submitted, no matter who caused
//! them. If it is the turn of a job that has to follow earlier ones, those are done first. They are
//! charged to the users who caused them, and also to the flow whose turn it was: otherwise this
//! flow would stay first in line until all of them are done, and all others would wait.

use super::lane_queue::SubmittedJob;
use crate::chat::contract::{AdminStoreJob, ClusterStoreJob, Job, JobTicket, OwnAccountStoreJob};
use crate::protocol::field::RESERVED_NAME;
use slab::Slab;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The largest number of jobs in one batch.
const BATCH_MAX: usize = 1_000;
/// The cost limit of a batch while only one user's jobs wait. A unit is the time of one row among
/// many, 10 to 20 µs.
const ALONE_COST_MAX: u64 = 1_000;
/// The cost limit of a batch while others wait, too: some 5 to 20 ms.
const SHARED_COST_MAX: u64 = 500;
/// The time that a short batch may take, in µs. Batches are short while users come who rarely have
/// a job, and when their jobs gain little by a common transaction. Also the least cost limit of
/// such a batch.
const SHORT_US: u64 = 3_000;
const SHORT_COST_MIN: u64 = 16;
/// The number of batches that are short after such a user came.
const SHORT_BATCHES: u32 = 32;
/// The credit of a user who rarely has jobs: how far ahead of the virtual time they begin.
const CREDIT: u64 = 64;
/// The cost limit of one turn of a flow. The job that exceeds it is the last one of the turn.
const TURN_COST: u64 = 16;
/// The number of bytes of text in a row that cost as much as the row itself.
const BYTES_PER_UNIT: usize = 2 * 1024;
/// The capacity, in jobs, that is kept when the queue is empty.
const KEPT: usize = 1_024;

/// A keyed hash of a user: clients cannot predict it. Two users with the same key share a flow,
/// nothing else.
type FairQueueUserHash = u64;

/// The user whose data lane a job belongs to; `None`: the auth lane.
pub(super) fn lane_user(job: &Job) -> Option<&str> {
    Some(match job {
        Job::Hash { .. } | Job::Verify { .. } => return None,
        Job::CreateAccount { profile, .. } => profile.user_name.as_str(),
        Job::LogIn { user, .. }
        | Job::Prove { user, .. }
        | Job::Load { user, .. }
        | Job::LoadPage { user, .. }
        | Job::MakeToken { user, .. }
        | Job::RevokeTokens { user }
        | Job::Admin { user, .. }
        | Job::Cluster { user, .. } => user.as_str(),
        Job::Account { user, job } => job.lane().unwrap_or(user).as_str(),
        Job::GetProfile { asker, .. } => asker.as_str(),
        Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => push.receiver(),
        Job::DeletePush { receiver, .. } => receiver.as_str(),
        Job::Unfriend { other, .. } => other.as_str(),
    })
}

/// The user who caused a job; `None`: the user whose lane it is in.
fn causing_user(job: &Job) -> Option<&str> {
    match job {
        Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => Some(push.sender()),
        Job::Unfriend { user, .. } | Job::Account { user, .. } => Some(user.as_str()),
        // One flow, however many users the operator asks about.
        Job::Admin { .. } => Some(RESERVED_NAME),
        _ => None,
    }
}

/// The cost of a job, in rows. Most of it is round trips to a database server.
fn cost(job: &Job) -> u64 {
    match job {
        Job::SavePush { push } => 1 + (push.weight_bytes() / BYTES_PER_UNIT) as u64,
        Job::DeletePush { .. } | Job::Hash { .. } | Job::Verify { .. } => 1,
        Job::GetProfile { .. } | Job::Prove { .. } => 8,
        Job::RevokeTokens { .. } => 10,
        Job::LoadPage { .. } => 15,
        Job::CreateAccount { .. } | Job::Load { .. } | Job::Unfriend { .. } => 20,
        Job::Account { job, .. } => account_cost(job),
        Job::Admin { job, .. } => admin_cost(job),
        Job::Cluster { job, .. } => cluster_cost(job),
        Job::LogIn { .. } => 25,
        Job::MakeToken { .. } => 40,
        Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => {
            50 + (push.weight_bytes() / BYTES_PER_UNIT) as u64
        }
    }
}

fn cluster_cost(job: &ClusterStoreJob) -> u64 {
    match job {
        ClusterStoreJob::Owner => 5,
        ClusterStoreJob::Page { .. } => 15,
        ClusterStoreJob::Claim { .. } => 30,
    }
}

fn account_cost(job: &OwnAccountStoreJob) -> u64 {
    match job {
        OwnAccountStoreJob::Roster { rows_max, .. } => 20 + u64::from(*rows_max) / 5,
        OwnAccountStoreJob::ChangeProfile(_) | OwnAccountStoreJob::ChangePassword { .. } => 30,
        OwnAccountStoreJob::Blocked => 50,
        // The answer also lists all names.
        OwnAccountStoreJob::Block { .. } | OwnAccountStoreJob::Unblock { .. } => 100,
    }
}

fn admin_cost(job: &AdminStoreJob) -> u64 {
    match job {
        AdminStoreJob::Look { rows_max }
        | AdminStoreJob::FindPushes { rows_max, .. }
        | AdminStoreJob::Delete { rows_max }
        | AdminStoreJob::Accounts { rows_max, .. } => 20 + u64::from(*rows_max) / 20,
        AdminStoreJob::Notice { push } => 30 + (push.weight_bytes() / BYTES_PER_UNIT) as u64,
        AdminStoreJob::SetBanned { .. } | AdminStoreJob::SetPassword { .. } => 30,
    }
}

/// The kinds of jobs that can share one statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SameStatementJobKind {
    Save,
    Delete,
    Other,
}

fn kind(job: &Job) -> SameStatementJobKind {
    match job {
        Job::SavePush { .. } => SameStatementJobKind::Save,
        Job::DeletePush { .. } => SameStatementJobKind::Delete,
        _ => SameStatementJobKind::Other,
    }
}

/// A job's slot and number. Slots are reused, numbers never.
#[derive(Clone, Copy)]
struct QueuedJobId {
    slot: usize,
    number: u64,
}

struct QueuedJob {
    submitted: SubmittedJob,
    number: u64,
    cost: u64,
    flow: FairQueueUserHash,
    /// The user whose data it is about, if it must keep its place in that user's order.
    subject: Option<FairQueueUserHash>,
}

/// The flow of one user.
#[derive(Default)]
struct UserJobQueue {
    /// Its jobs. Some of them may be done already, because others had to follow them.
    jobs: VecDeque<QueuedJobId>,
    /// The number of its jobs that are not done yet.
    job_count: usize,
    /// Its place among the turns.
    start_time: VirtualStartTime,
    /// It has no job. When its turn comes, it is removed: by then its credit is full again.
    is_idle: bool,
    /// The part of its next job's cost that its start time includes already: among newcomers, the
    /// one with the cheaper job is first.
    prepaid_cost: u64,
}

/// A virtual start time; among equal ones, the order of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct VirtualStartTime {
    start: u64,
    number: u64,
}

/// All jobs that wait for one worker.
#[derive(Default)]
pub(super) struct FairQueue {
    jobs: Slab<QueuedJob>,
    /// The order of the jobs about each user.
    jobs_by_subject: HashMap<FairQueueUserHash, VecDeque<usize>>,
    /// The flow of each user who causes jobs. A flow without a job stays until the virtual time has
    /// reached its start time: the used credit still counts.
    flows: HashMap<FairQueueUserHash, UserJobQueue>,
    /// The turns of all flows, each flow once.
    flows_by_start: BTreeSet<(VirtualStartTime, FairQueueUserHash)>,
    /// The number of flows that have a job.
    busy: usize,
    virtual_time: u64,
    next_number: u64,
    hashes: RandomState,
    /// The recent time for a unit of cost, in ns.
    unit_ns: u64,
    /// The cost of the batch that was taken last.
    last_batch_cost: u64,
    /// The number of next batches that are short.
    short_batches: u32,
    /// A user who rarely has a job has one that waits.
    has_newcomer: bool,
}

impl FairQueue {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Does a job of a user wait who rarely has one?
    pub(super) fn has_newcomer(&self) -> bool {
        self.has_newcomer
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn extend(&mut self, jobs: impl IntoIterator<Item = SubmittedJob>) {
        for (ticket, job) in jobs {
            self.push((ticket, job));
        }
    }

    fn push(&mut self, submitted: SubmittedJob) {
        let job = &submitted.1;
        let key = |name: &str| self.hashes.hash_one(name);
        let lane = key(lane_user(job).unwrap_or_default());
        let flow = match job {
            // A flow of its own for clients that claim to be this user: the user's own jobs do not
            // wait for theirs.
            Job::LogIn { user, .. } | Job::Prove { user, .. } => self.hashes.hash_one((user.as_str(), "log-in")),
            job => causing_user(job).map_or(lane, key),
        };
        // Jobs that only read data on which no other job of that user depends need no place in the
        // order.
        let subject = (!matches!(job, Job::GetProfile { .. } | Job::Prove { .. })).then_some(lane);
        let (number, cost) = (self.take_number(), cost(job));
        let slot = self.jobs.insert(QueuedJob { submitted, number, cost, flow, subject });
        if let Some(subject) = subject {
            self.jobs_by_subject.entry(subject).or_default().push_back(slot);
        }
        let entry = self.flows.entry(flow).or_default();
        if entry.job_count == 0 {
            self.flows_by_start.remove(&(entry.start_time, flow));
            let used = entry.start_time.start - if std::mem::take(&mut entry.is_idle) { CREDIT } else { 0 };
            if used + CREDIT / 2 < self.virtual_time {
                self.short_batches = SHORT_BATCHES;
                self.has_newcomer = true;
            }
            entry.prepaid_cost = cost;
            entry.start_time =
                VirtualStartTime { start: used.max(self.virtual_time.saturating_sub(CREDIT)) + cost, number };
            self.flows_by_start.insert((entry.start_time, flow));
            self.busy += 1;
        }
        entry.jobs.push_back(QueuedJobId { slot, number });
        entry.job_count += 1;
    }

    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Takes the next batch, in an order in which it can be done: jobs about one user keep their
    /// order, and saves and deletions are grouped as far as that allows.
    pub(super) fn take(&mut self, tickets: &mut Vec<JobTicket>, jobs: &mut Vec<Job>) {
        let mut batch = TakenBatch::default();
        let short = (SHORT_US * 1_000 / self.unit_ns.max(1)).clamp(SHORT_COST_MIN, SHARED_COST_MAX);
        let (alone, newcomers) = (self.busy <= 1, self.short_batches > 0);
        let cost_max = |batch: &TakenBatch| match batch {
            // Also when the newcomer has no job now: their next one comes after the answer.
            batch if newcomers || (!alone && batch.has_others) => short,
            _ if alone => ALONE_COST_MAX,
            _ => SHARED_COST_MAX,
        };
        self.short_batches = self.short_batches.saturating_sub(1);
        // They are the first ones in this batch.
        self.has_newcomer = false;
        while batch.cost < cost_max(&batch)
            && batch.len < BATCH_MAX
            && let Some((turn, flow)) = self.flows_by_start.pop_first()
        {
            self.virtual_time = self.virtual_time.max(turn.start);
            let cost_max = cost_max(&batch);
            self.serve_flow(flow, cost_max, &mut batch);
        }
        self.last_batch_cost = batch.cost;
        self.give_memory_back();
        for (ticket, job) in batch.stages.into_iter().flat_map(|(_, jobs)| jobs) {
            tickets.push(ticket);
            jobs.push(job);
        }
    }

    /// Notes how long the last batch took.
    pub(super) fn note_batch_duration(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / self.last_batch_cost.max(1);
        // A mean over the last few batches: one slow commit says little.
        self.unit_ns = if self.unit_ns == 0 { ns } else { (3 * self.unit_ns + ns.min(10_000_000)) / 4 }.max(1);
    }

    /// Serves a flow that was taken out of `flows_by_start`.
    fn serve_flow(&mut self, key: FairQueueUserHash, cost_max: u64, batch: &mut TakenBatch) {
        if self.first_job_of(key).is_none() {
            self.mark_idle(key);
            return;
        }
        let until = (batch.cost + TURN_COST).min(cost_max);
        let mut of_others = 0;
        while batch.cost < until
            && batch.len < BATCH_MAX
            && let Some(next) = self.first_job_of(key)
        {
            // The jobs that it must follow, and the job itself.
            let order = self.jobs[next.slot].subject.and_then(|about| self.jobs_by_subject.get_mut(&about));
            let slot = order.and_then(VecDeque::pop_front).unwrap_or(next.slot);
            of_others += self.add_to_batch(slot, key, batch);
        }
        let number = self.take_number();
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.start_time = VirtualStartTime { start: flow.start_time.start + of_others, number };
            self.flows_by_start.insert((flow.start_time, key));
        }
    }

    /// A flow has become empty. It is removed when its credit is full again.
    fn mark_idle(&mut self, key: FairQueueUserHash) {
        if let Some(flow) = self.flows.get_mut(&key).filter(|flow| !flow.is_idle) {
            flow.is_idle = true;
            flow.start_time.start += CREDIT;
            self.flows_by_start.insert((flow.start_time, key));
        } else {
            self.flows.remove(&key);
        }
    }

    /// The first job of a flow that is still to be done.
    fn first_job_of(&mut self, key: FairQueueUserHash) -> Option<QueuedJobId> {
        let flow = self.flows.get_mut(&key)?;
        while let Some(&next) = flow.jobs.front() {
            if self.jobs.get(next.slot).is_some_and(|job| job.number == next.number) {
                return Some(next);
            }
            flow.jobs.pop_front();
        }
        None
    }

    /// Moves a job into the batch, and charges it to the user who caused it. `now`: the flow whose
    /// turn it is. Returns the cost if another flow was charged.
    fn add_to_batch(&mut self, slot: usize, now: FairQueueUserHash, batch: &mut TakenBatch) -> u64 {
        let QueuedJob { submitted, cost, flow: key, subject, .. } = self.jobs.remove(slot);
        if let Some(subject) = subject
            && self.jobs_by_subject.get(&subject).is_some_and(VecDeque::is_empty)
        {
            self.jobs_by_subject.remove(&subject);
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.job_count -= 1;
            self.busy -= usize::from(flow.job_count == 0);
            let left_to_pay = cost.saturating_sub(std::mem::take(&mut flow.prepaid_cost));
            let turn = VirtualStartTime { start: flow.start_time.start + left_to_pay, ..flow.start_time };
            if key != now {
                self.flows_by_start.remove(&(flow.start_time, key));
                self.flows_by_start.insert((turn, key));
            }
            flow.start_time = turn;
        }
        batch.push(submitted, cost, subject);
        if key == now { 0 } else { cost }
    }

    fn give_memory_back(&mut self) {
        if !self.jobs.is_empty() {
            return;
        }
        // The queue is empty: used credit does not count any more.
        (self.virtual_time, self.busy) = (0, 0);
        self.flows_by_start.clear();
        self.flows.clear();
        self.jobs_by_subject.clear();
        if self.jobs.capacity() > KEPT {
            self.jobs = Slab::new();
        }
        self.flows.shrink_to(KEPT);
        self.jobs_by_subject.shrink_to(KEPT);
    }
}

/// A batch in stages, each with jobs of one kind. A job is in the first stage of its kind that is
/// not before the stage of the preceding job in its user's order.
#[derive(Default)]
struct TakenBatch {
    stages: Vec<(SameStatementJobKind, Vec<SubmittedJob>)>,
    /// The stage of the last job about a user.
    last: HashMap<FairQueueUserHash, usize>,
    /// It has jobs other than saves and deletions: those gain little by a common transaction.
    has_others: bool,
    len: usize,
    cost: u64,
}

impl TakenBatch {
    fn push(&mut self, submitted: SubmittedJob, cost: u64, about: Option<FairQueueUserHash>) {
        let kind = kind(&submitted.1);
        let from = about.and_then(|about| self.last.get(&about)).copied().unwrap_or(0);
        let found = self.stages.iter().skip(from).position(|(other, _)| *other == kind);
        let stage = found.map_or(self.stages.len(), |place| from + place);
        if stage == self.stages.len() {
            self.stages.push((kind, Vec::new()));
        }
        self.stages[stage].1.push(submitted);
        if let Some(about) = about {
            self.last.insert(about, stage);
        }
        self.has_others |= kind == SameStatementJobKind::Other;
        self.len += 1;
        self.cost += cost;
    }
}

#[cfg(test)]
mod tests;
