//! What waits for one data worker: start-time fair queueing among those who cause the work, in
//! order for each user it is about.
//!
//! Each user who asks has a sub-queue with a virtual start time. The sub-queue with the lowest one
//! is served, and its start time grows by the cost of what was served; whoever had nothing waiting
//! begins at the present virtual time. So a user with one job waits for a turn of each other user
//! who has jobs, and never for all the jobs of one of them.
//!
//! Jobs about one user are done in the order in which they were submitted, whoever asked. When the
//! turn comes to a job that has earlier ones before it, those are done first, and are charged to
//! those who asked for them.

use crate::chat::contract::{Job, Ticket};
use slab::Slab;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// Jobs that one batch takes at most.
const BATCH_MAX: usize = 1_000;
/// What a batch costs while only one user's jobs wait. A unit is the time of one row among many,
/// 10 to 20 µs.
const ALONE_COST_MAX: u64 = 1_000;
/// What a batch costs while others wait too: some 5 to 10 ms.
const SHARED_COST_MAX: u64 = 500;
/// What one turn of a sub-queue costs; the job that goes beyond is its last.
const TURN_COST: u64 = 16;
/// Text in a row that costs as much as the row itself, in bytes.
const BYTES_PER_UNIT: usize = 2 * 1024;
/// Room that is kept when nothing waits.
const KEPT: usize = 1_024;

type Asked = (Ticket, Job);
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
        | Job::RevokeTokens { user } => user.as_str(),
        Job::GetProfile { asker, .. } => asker.as_str(),
        Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => push.receiver(),
        Job::DeletePush { receiver, .. } => receiver.as_str(),
        Job::Unfriend { other, .. } => other.as_str(),
    })
}

/// Who caused a job. `None`: nobody but the user whose lane it is in.
fn actor(job: &Job) -> Option<&str> {
    match job {
        Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => Some(push.sender()),
        Job::Unfriend { user, .. } => Some(user.as_str()),
        _ => None,
    }
}

/// What a job costs, in rows. Most of it are round trips to a database server.
fn cost(job: &Job) -> u64 {
    match job {
        Job::SavePush { push } => 1 + (push.weight_bytes() / BYTES_PER_UNIT) as u64,
        Job::DeletePush { .. } | Job::Hash { .. } | Job::Verify { .. } => 1,
        Job::GetProfile { .. } | Job::Prove { .. } => 8,
        Job::RevokeTokens { .. } => 10,
        Job::LoadPage { .. } => 15,
        Job::CreateAccount { .. } | Job::Load { .. } | Job::Unfriend { .. } => 20,
        Job::LogIn { .. } => 25,
        Job::MakeToken { .. } => 40,
        Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => {
            50 + (push.weight_bytes() / BYTES_PER_UNIT) as u64
        }
    }
}

/// What jobs may be done in one statement.
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
    asked: Asked,
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
    /// Where it stands among the turns.
    turn: Turn,
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
    /// How many flows have a job.
    busy: usize,
    virtual_time: u64,
    next_number: u64,
    hashes: RandomState,
}

impl FairQueue {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn extend(&mut self, jobs: impl IntoIterator<Item = Asked>) {
        for (ticket, job) in jobs {
            self.push((ticket, job));
        }
    }

    fn push(&mut self, asked: Asked) {
        let job = &asked.1;
        let key = |name: &str| self.hashes.hash_one(name);
        let lane = key(lane_user(job).unwrap_or_default());
        let flow = match job {
            // Of whoever says to be that user: what the user themself causes does not wait behind it.
            Job::LogIn { user, .. } => self.hashes.hash_one((user.as_str(), "log-in")),
            job => actor(job).map_or(lane, key),
        };
        let about = (!matches!(job, Job::GetProfile { .. })).then_some(lane);
        let (number, cost) = (self.take_number(), cost(job));
        let slot = self.jobs.insert(Waiting { asked, number, cost, flow, about });
        if let Some(about) = about {
            self.orders.entry(about).or_default().push_back(slot);
        }
        let entry = self.flows.entry(flow).or_default();
        if entry.waiting == 0 {
            self.turns.remove(&(entry.turn, flow));
            entry.turn = Turn { start: entry.turn.start.max(self.virtual_time), number };
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
        let cost_max = if self.busy > 1 { SHARED_COST_MAX } else { ALONE_COST_MAX };
        while batch.cost < cost_max
            && batch.len < BATCH_MAX
            && let Some((turn, flow)) = self.turns.pop_first()
        {
            self.virtual_time = self.virtual_time.max(turn.start);
            self.take_turn(flow, cost_max, &mut batch);
        }
        self.give_memory_back();
        for (ticket, job) in batch.stages.into_iter().flat_map(|(_, jobs)| jobs) {
            tickets.push(ticket);
            jobs.push(job);
        }
    }

    /// One turn of the flow that was first among the turns, and is among them no more.
    fn take_turn(&mut self, key: Key, cost_max: u64, batch: &mut TakenBatch) {
        if self.first_of(key).is_none() {
            // Nothing waits, and by now it has used no more than others.
            self.flows.remove(&key);
            return;
        }
        let until = (batch.cost + TURN_COST).min(cost_max);
        while batch.cost < until
            && batch.len < BATCH_MAX
            && let Some(next) = self.first_of(key)
        {
            // Those before it in its user's order, and it.
            let order = self.jobs[next.slot].about.and_then(|about| self.orders.get_mut(&about));
            let slot = order.and_then(VecDeque::pop_front).unwrap_or(next.slot);
            self.done(slot, key, batch);
        }
        let number = self.take_number();
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.turn = Turn { start: flow.turn.start.max(self.virtual_time), number };
            self.turns.insert((flow.turn, key));
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

    /// Moves a job into the batch, and charges it to whoever asked for it. `now`: whose turn it is.
    fn done(&mut self, slot: usize, now: Key, batch: &mut TakenBatch) {
        let Waiting { asked, cost, flow: key, about, .. } = self.jobs.remove(slot);
        if let Some(about) = about
            && self.orders.get(&about).is_some_and(VecDeque::is_empty)
        {
            self.orders.remove(&about);
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.waiting -= 1;
            self.busy -= usize::from(flow.waiting == 0);
            let turn = Turn { start: flow.turn.start.max(self.virtual_time) + cost, ..flow.turn };
            if key != now {
                self.turns.remove(&(flow.turn, key));
                self.turns.insert((turn, key));
            }
            flow.turn = turn;
        }
        batch.push(asked, cost, about);
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
    stages: Vec<(Kind, Vec<Asked>)>,
    /// The stage of the last job about a user.
    last: HashMap<Key, usize>,
    len: usize,
    cost: u64,
}

impl TakenBatch {
    fn push(&mut self, asked: Asked, cost: u64, about: Option<Key>) {
        let kind = kind(&asked.1);
        let from = about.and_then(|about| self.last.get(&about)).copied().unwrap_or(0);
        let found = self.stages.iter().skip(from).position(|(other, _)| *other == kind);
        let stage = found.map_or(self.stages.len(), |place| from + place);
        if stage == self.stages.len() {
            self.stages.push((kind, Vec::new()));
        }
        self.stages[stage].1.push(asked);
        if let Some(about) = about {
            self.last.insert(about, stage);
        }
        self.len += 1;
        self.cost += cost;
    }
}

#[cfg(test)]
mod tests;
