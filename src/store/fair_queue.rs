//! The queue before one data worker: start-time fair queueing among the users who cause the work,
//! in order for each user it is about.
//!
//! Each user who asks has a sub-queue with a virtual start time. The sub-queue with the lowest one
//! is served, and its start time grows by the cost of what was served. A user who had nothing
//! waiting begins a little before the present virtual time, unless that credit is used up: so a
//! user with one job now and then waits for one batch, and not for a turn of each other user who
//! has jobs.
//!
//! As long as such users come, a batch beside others takes so much as fits into a few milliseconds,
//! as measured: that is what a job waits for that comes in the meantime. So it does when there is
//! more in it than rows to save and to delete. Among those who always have rows nobody gains by
//! that, and large batches are worth more.
//!
//! Jobs about one user are done in the order in which they were submitted, no matter who asked.
//! When the turn comes to a job that has earlier ones before it, those are done first, and are
//! charged to those who asked for them. They are charged to the one whose turn it was, too: else
//! it would stay the first in line until all of them are done, and everybody else would wait.

use super::lane_queue::Submission;
use crate::chat::contract::{AccountJob, AdminJob, ClusterJob, Job, Ticket};
use crate::protocol::field::RESERVED_NAME;
use slab::Slab;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Jobs that one batch takes at most.
const BATCH_MAX: usize = 1_000;
/// The cost limit of a batch while only one user's jobs wait. A unit is the time of one row among
/// many, 10 to 20 µs.
const ALONE_COST_MAX: u64 = 1_000;
/// The cost limit of a batch while others wait, too: some 5 to 20 ms.
const SHARED_COST_MAX: u64 = 500;
/// The time that a batch may take, in µs, while users come who rarely have a job, or whose jobs
/// gain little by a common transaction; and its least cost.
const SHORT_US: u64 = 3_000;
const SHORT_COST_MIN: u64 = 16;
/// So many batches are short after one of them came.
const SHORT_BATCHES: u32 = 32;
/// So far ahead of those who always have jobs may one be served who rarely has any.
const CREDIT: u64 = 64;
/// The cost of one turn of a sub-queue; the job that goes beyond is its last.
const TURN_COST: u64 = 16;
/// Text in a row that costs as much as the row itself, in bytes.
const BYTES_PER_UNIT: usize = 2 * 1024;
/// Room that is kept when nothing waits.
const KEPT: usize = 1_024;

/// Stands for a user: nobody outside can foresee it. Two who share one share a sub-queue, no more.
type Key = u64;

/// Whose data lane a job belongs to; `None` is the auth lane.
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
        Job::Account { user, job } => job.other().unwrap_or(user).as_str(),
        Job::GetProfile { asker, .. } => asker.as_str(),
        Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => push.receiver(),
        Job::DeletePush { receiver, .. } => receiver.as_str(),
        Job::Unfriend { other, .. } => other.as_str(),
    })
}

/// The user who caused a job. `None`: the user whose lane it is in.
fn actor(job: &Job) -> Option<&str> {
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

fn cluster_cost(job: &ClusterJob) -> u64 {
    match job {
        ClusterJob::Owner => 5,
        ClusterJob::Page { .. } => 15,
        ClusterJob::Claim { .. } => 30,
    }
}

fn account_cost(job: &AccountJob) -> u64 {
    match job {
        AccountJob::Roster { rows_max, .. } => 20 + u64::from(*rows_max) / 5,
        AccountJob::ChangeProfile(_) | AccountJob::ChangePassword { .. } => 30,
        AccountJob::Blocked => 50,
        // And all names that the answer lists.
        AccountJob::Block { .. } | AccountJob::Unblock { .. } => 100,
    }
}

fn admin_cost(job: &AdminJob) -> u64 {
    match job {
        AdminJob::Look { rows_max }
        | AdminJob::FindPushes { rows_max, .. }
        | AdminJob::Delete { rows_max }
        | AdminJob::Accounts { rows_max, .. } => 20 + u64::from(*rows_max) / 20,
        AdminJob::Notice { push } => 30 + (push.weight_bytes() / BYTES_PER_UNIT) as u64,
        AdminJob::SetBanned { .. } | AdminJob::SetPassword { .. } => 30,
    }
}

/// The kinds of jobs that may share one statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Save,
    Delete,
    Other,
}

fn kind(job: &Job) -> Kind {
    match job {
        Job::SavePush { .. } => Kind::Save,
        Job::DeletePush { .. } => Kind::Delete,
        _ => Kind::Other,
    }
}

/// A job's place. Places are used again, numbers never.
#[derive(Clone, Copy)]
struct JobRef {
    slot: usize,
    number: u64,
}

struct Waiting {
    submission: Submission,
    number: u64,
    cost: u64,
    flow: Key,
    /// Whose data it is about, if its place in their order counts.
    about: Option<Key>,
}

/// The sub-queue of one user.
#[derive(Default)]
struct Flow {
    /// Some of them may have been done before the turn came.
    jobs: VecDeque<JobRef>,
    /// Those that have not.
    waiting: usize,
    /// Its place among the turns.
    turn: Turn,
    /// It has no job, and stands where it will be forgotten: its credit is full again there.
    rests: bool,
    /// The part of its next job's cost that its start time includes: among newcomers, the one with
    /// the cheaper job is first.
    prepaid: u64,
}

/// Virtual start time, then who came first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    start: u64,
    number: u64,
}

/// All jobs that wait for one worker.
#[derive(Default)]
pub(super) struct FairQueue {
    jobs: Slab<Waiting>,
    /// By the user whose data it is about: the order of their jobs.
    orders: HashMap<Key, VecDeque<usize>>,
    /// By the user who asks. One without a job stays until the virtual time has reached it: what
    /// it used counts still.
    flows: HashMap<Key, Flow>,
    /// Each flow once.
    turns: BTreeSet<(Turn, Key)>,
    /// The number of flows that have a job.
    busy: usize,
    virtual_time: u64,
    next_number: u64,
    hashes: RandomState,
    /// The recent time of a unit, in ns.
    unit_ns: u64,
    /// The cost of the batch that was taken last.
    taken: u64,
    /// So many of the next batches are short.
    short_batches: u32,
}

impl FairQueue {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn extend(&mut self, jobs: impl IntoIterator<Item = Submission>) {
        for (ticket, job) in jobs {
            self.push((ticket, job));
        }
    }

    fn push(&mut self, submission: Submission) {
        let job = &submission.1;
        let key = |name: &str| self.hashes.hash_one(name);
        let lane = key(lane_user(job).unwrap_or_default());
        let flow = match job {
            // Of a client that claims to be that user: the jobs that the user themself causes do
            // not wait behind it.
            Job::LogIn { user, .. } | Job::Prove { user, .. } => self.hashes.hash_one((user.as_str(), "log-in")),
            job => actor(job).map_or(lane, key),
        };
        // What only reads what no other job about that user depends on needs no place in their
        // order.
        let about = (!matches!(job, Job::GetProfile { .. } | Job::Prove { .. })).then_some(lane);
        let (number, cost) = (self.take_number(), cost(job));
        let slot = self.jobs.insert(Waiting { submission, number, cost, flow, about });
        if let Some(about) = about {
            self.orders.entry(about).or_default().push_back(slot);
        }
        let entry = self.flows.entry(flow).or_default();
        if entry.waiting == 0 {
            self.turns.remove(&(entry.turn, flow));
            let used = entry.turn.start - if std::mem::take(&mut entry.rests) { CREDIT } else { 0 };
            if used + CREDIT / 2 < self.virtual_time {
                self.short_batches = SHORT_BATCHES;
            }
            entry.prepaid = cost;
            entry.turn = Turn { start: used.max(self.virtual_time.saturating_sub(CREDIT)) + cost, number };
            self.turns.insert((entry.turn, flow));
            self.busy += 1;
        }
        entry.jobs.push_back(JobRef { slot, number });
        entry.waiting += 1;
    }

    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Takes the next batch, in an order that may be done as it stands: those about one user in
    /// their order, and saves and deletions side by side as far as that allows.
    pub(super) fn take(&mut self, tickets: &mut Vec<Ticket>, jobs: &mut Vec<Job>) {
        let mut batch = TakenBatch::default();
        let short = (SHORT_US * 1_000 / self.unit_ns.max(1)).clamp(SHORT_COST_MIN, SHARED_COST_MAX);
        let (alone, newcomers) = (self.busy <= 1, self.short_batches > 0);
        let cost_max = |batch: &TakenBatch| match batch {
            // Also when the newcomer has nothing now: their next job comes after its answer.
            batch if newcomers || (!alone && batch.has_others) => short,
            _ if alone => ALONE_COST_MAX,
            _ => SHARED_COST_MAX,
        };
        self.short_batches = self.short_batches.saturating_sub(1);
        while batch.cost < cost_max(&batch)
            && batch.len < BATCH_MAX
            && let Some((turn, flow)) = self.turns.pop_first()
        {
            self.virtual_time = self.virtual_time.max(turn.start);
            let cost_max = cost_max(&batch);
            self.take_turn(flow, cost_max, &mut batch);
        }
        self.taken = batch.cost;
        self.give_memory_back();
        for (ticket, job) in batch.stages.into_iter().flat_map(|(_, jobs)| jobs) {
            tickets.push(ticket);
            jobs.push(job);
        }
    }

    /// The batch that was taken last took so long.
    pub(super) fn took(&mut self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / self.taken.max(1);
        // The mean of the last few: one slow commit says little.
        self.unit_ns = if self.unit_ns == 0 { ns } else { (3 * self.unit_ns + ns.min(10_000_000)) / 4 }.max(1);
    }

    /// One turn of the flow that was first among the turns, and is among them no more.
    fn take_turn(&mut self, key: Key, cost_max: u64, batch: &mut TakenBatch) {
        if self.first_of(key).is_none() {
            self.rest(key);
            return;
        }
        let until = (batch.cost + TURN_COST).min(cost_max);
        let mut of_others = 0;
        while batch.cost < until
            && batch.len < BATCH_MAX
            && let Some(next) = self.first_of(key)
        {
            // Those before it in its user's order, and it.
            let order = self.jobs[next.slot].about.and_then(|about| self.orders.get_mut(&about));
            let slot = order.and_then(VecDeque::pop_front).unwrap_or(next.slot);
            of_others += self.done(slot, key, batch);
        }
        let number = self.take_number();
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.turn = Turn { start: flow.turn.start + of_others, number };
            self.turns.insert((flow.turn, key));
        }
    }

    /// A flow has nothing waiting. When its credit is full again by what others have used, it is
    /// forgotten.
    fn rest(&mut self, key: Key) {
        if let Some(flow) = self.flows.get_mut(&key).filter(|flow| !flow.rests) {
            flow.rests = true;
            flow.turn.start += CREDIT;
            self.turns.insert((flow.turn, key));
        } else {
            self.flows.remove(&key);
        }
    }

    /// The first job of a flow that is still to be done.
    fn first_of(&mut self, key: Key) -> Option<JobRef> {
        let flow = self.flows.get_mut(&key)?;
        while let Some(&next) = flow.jobs.front() {
            if self.jobs.get(next.slot).is_some_and(|job| job.number == next.number) {
                return Some(next);
            }
            flow.jobs.pop_front();
        }
        None
    }

    /// Moves a job into the batch, and charges it to the user who asked. `now`: whose turn it is.
    /// Returns its cost if somebody else asked.
    fn done(&mut self, slot: usize, now: Key, batch: &mut TakenBatch) -> u64 {
        let Waiting { submission, cost, flow: key, about, .. } = self.jobs.remove(slot);
        if let Some(about) = about
            && self.orders.get(&about).is_some_and(VecDeque::is_empty)
        {
            self.orders.remove(&about);
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.waiting -= 1;
            self.busy -= usize::from(flow.waiting == 0);
            let left_to_pay = cost.saturating_sub(std::mem::take(&mut flow.prepaid));
            let turn = Turn { start: flow.turn.start + left_to_pay, ..flow.turn };
            if key != now {
                self.turns.remove(&(flow.turn, key));
                self.turns.insert((turn, key));
            }
            flow.turn = turn;
        }
        batch.push(submission, cost, about);
        if key == now { 0 } else { cost }
    }

    fn give_memory_back(&mut self) {
        if !self.jobs.is_empty() {
            return;
        }
        // Nobody waits: what was used before counts no more.
        (self.virtual_time, self.busy) = (0, 0);
        self.turns.clear();
        self.flows.clear();
        self.orders.clear();
        if self.jobs.capacity() > KEPT {
            self.jobs = Slab::new();
        }
        self.flows.shrink_to(KEPT);
        self.orders.shrink_to(KEPT);
    }
}

/// A batch in stages of one kind of job each. A job stands in the first stage of its kind that is
/// not before the one of the job before it in its user's order.
#[derive(Default)]
struct TakenBatch {
    stages: Vec<(Kind, Vec<Submission>)>,
    /// The stage of the last job about a user.
    last: HashMap<Key, usize>,
    /// One is no row to save or delete: those gain little by a common transaction.
    has_others: bool,
    len: usize,
    cost: u64,
}

impl TakenBatch {
    fn push(&mut self, submission: Submission, cost: u64, about: Option<Key>) {
        let kind = kind(&submission.1);
        let from = about.and_then(|about| self.last.get(&about)).copied().unwrap_or(0);
        let found = self.stages.iter().skip(from).position(|(other, _)| *other == kind);
        let stage = found.map_or(self.stages.len(), |place| from + place);
        if stage == self.stages.len() {
            self.stages.push((kind, Vec::new()));
        }
        self.stages[stage].1.push(submission);
        if let Some(about) = about {
            self.last.insert(about, stage);
        }
        self.has_others |= kind == Kind::Other;
        self.len += 1;
        self.cost += cost;
    }
}

#[cfg(test)]
mod tests;
