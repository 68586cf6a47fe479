//! The workers of the model store: jobs about one user in their order, after a while, and not
//! always well.

use super::store::Model;
use hongyan::chat::contract::{Job, JobOutcome, JobTicket};
use std::collections::{BTreeMap, BTreeSet};

/// The fate of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Do,
    /// It is not done.
    Fail,
    /// It is done, but nobody learns of it.
    DoAndLose,
    /// It is not done, and never will be.
    Refuse,
    /// The same, for its size.
    TooLarge,
}

/// When and how a job is done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub takes_ms: u64,
    /// Between the commit and the answer.
    pub answer_after_ms: u64,
    pub fate: Fate,
}

#[derive(Debug)]
struct Work {
    ticket: JobTicket,
    job: Job,
    fate: Fate,
    outcome: Option<JobOutcome>,
}

/// A step of the workers.
#[derive(Debug)]
pub enum Step {
    /// It was committed, whatever the core will be told.
    Done(Job, JobOutcome),
    /// The core is to be told.
    Answer(JobTicket, Job, JobOutcome),
}

type Planner = Box<dyn FnMut(&Job) -> Plan>;

pub struct Lanes {
    pub model: Model,
    plan: Planner,
    /// Jobs that hang (and all behind them in their lane) until `work`.
    hangs: fn(&Job) -> bool,
    stuck: Vec<(JobTicket, Job)>,
    stuck_lanes: BTreeSet<String>,
    work: BTreeMap<u64, Work>,
    /// (when, which, answer?)
    agenda: BTreeSet<(u64, u64, bool)>,
    lane_ends: BTreeMap<String, (u64, u64)>,
    serial: u64,
    /// Every job that was ever submitted, by name, for tests that count them.
    pub submitted: Vec<&'static str>,
}

pub fn name_of(job: &Job) -> &'static str {
    match job {
        Job::Hash { .. } => "Hash",
        Job::CreateAccount { .. } => "CreateAccount",
        Job::LogIn { .. } => "LogIn",
        Job::Prove { .. } => "Prove",
        Job::Verify { .. } => "Verify",
        Job::Load { .. } => "Load",
        Job::LoadPage { .. } => "LoadPage",
        Job::GetProfile { .. } => "GetProfile",
        Job::MakeToken { .. } => "MakeToken",
        Job::RevokeTokens { .. } => "RevokeTokens",
        Job::SavePush { .. } => "SavePush",
        Job::DeletePush { .. } => "DeletePush",
        Job::AskFriend { .. } => "AskFriend",
        Job::AnswerFriend { .. } => "AnswerFriend",
        Job::Unfriend { .. } => "Unfriend",
        Job::Account { .. } => "Account",
        Job::Admin { .. } => "Admin",
        Job::Cluster { .. } => "Cluster",
    }
}

/// Jobs of one lane are done in order; those of the auth lane, and those that need no order, in
/// any.
fn lane_of(job: &Job) -> Option<String> {
    Some(match job {
        Job::Hash { .. } | Job::Verify { .. } | Job::GetProfile { .. } => return None,
        Job::CreateAccount { profile, .. } => profile.user_name.as_str().into(),
        Job::LogIn { user, .. }
        | Job::Prove { user, .. }
        | Job::Load { user, .. }
        | Job::LoadPage { user, .. }
        | Job::MakeToken { user, .. }
        | Job::RevokeTokens { user }
        | Job::Admin { user, .. }
        | Job::Cluster { user, .. } => user.as_str().into(),
        Job::Account { user, job } => job.lane().unwrap_or(user).as_str().into(),
        Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => push.receiver().into(),
        Job::DeletePush { receiver, .. } => receiver.as_str().into(),
        Job::Unfriend { other, .. } => other.as_str().into(),
    })
}

const PROMPT: Plan = Plan { takes_ms: 1, answer_after_ms: 0, fate: Fate::Do };

impl Lanes {
    pub fn new() -> Self {
        Self {
            model: Model::default(),
            plan: Box::new(|_| PROMPT),
            hangs: |_| false,
            stuck: Vec::new(),
            stuck_lanes: BTreeSet::new(),
            work: BTreeMap::new(),
            agenda: BTreeSet::new(),
            lane_ends: BTreeMap::new(),
            serial: 0,
            submitted: Vec::new(),
        }
    }

    pub fn plan(&mut self, plan: impl FnMut(&Job) -> Plan + 'static) {
        self.plan = Box::new(plan);
    }

    /// Every job takes so long.
    pub fn takes(&mut self, takes_ms: u64) {
        self.plan(move |_| Plan { takes_ms, ..PROMPT });
    }

    /// These jobs have this fate, the others are done.
    pub fn fate(&mut self, fate: Fate, of: fn(&Job) -> bool) {
        self.plan(move |job| Plan { fate: if of(job) { fate } else { Fate::Do }, ..PROMPT });
    }

    /// These jobs hang until `work`.
    pub fn hang(&mut self, hangs: fn(&Job) -> bool) {
        self.hangs = hangs;
    }

    /// Nothing hangs or fails any more.
    pub fn work(&mut self, now_ms: u64) {
        self.plan = Box::new(|_| PROMPT);
        self.unhang(now_ms);
    }

    pub fn unhang(&mut self, now_ms: u64) {
        self.hangs = |_| false;
        self.stuck_lanes.clear();
        for (ticket, job) in std::mem::take(&mut self.stuck) {
            self.schedule(now_ms, ticket, job);
        }
    }

    pub fn submit(&mut self, now_ms: u64, ticket: JobTicket, job: Job) {
        self.submitted.push(name_of(&job));
        let lane = lane_of(&job);
        let behind = lane.as_ref().is_some_and(|lane| self.stuck_lanes.contains(lane));
        if behind || (self.hangs)(&job) {
            self.stuck_lanes.extend(lane);
            self.stuck.push((ticket, job));
        } else {
            self.schedule(now_ms, ticket, job);
        }
    }

    fn schedule(&mut self, now_ms: u64, ticket: JobTicket, job: Job) {
        let Plan { takes_ms, answer_after_ms, fate } = (self.plan)(&job);
        let mut done_ms = now_ms + takes_ms;
        let mut answer_ms = done_ms + answer_after_ms;
        if let Some(lane) = lane_of(&job) {
            let ends = self.lane_ends.entry(lane).or_default();
            done_ms = done_ms.max(ends.0);
            answer_ms = answer_ms.max(done_ms).max(ends.1);
            *ends = (done_ms, answer_ms);
        }
        self.serial += 1;
        self.work.insert(self.serial, Work { ticket, job, fate, outcome: None });
        self.agenda.insert((done_ms, self.serial, false));
        self.agenda.insert((answer_ms, self.serial, true));
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.agenda.first().map(|&(at_ms, ..)| at_ms)
    }

    /// Jobs that were submitted and not answered.
    pub fn in_flight(&self) -> usize {
        self.work.len() + self.stuck.len()
    }

    /// Of these, those that hash a password.
    pub fn hashing(&self) -> usize {
        let jobs = self.work.values().map(|work| &work.job).chain(self.stuck.iter().map(|(_, job)| job));
        jobs.filter(|job| matches!(job, Job::Hash { .. } | Job::Verify { .. })).count()
    }

    /// Of these, those that read a page for a log-in: how many there are of the user with the most.
    pub fn most_reading(&self) -> usize {
        let mut reading: BTreeMap<&str, usize> = BTreeMap::new();
        for job in self.work.values().map(|work| &work.job).chain(self.stuck.iter().map(|(_, job)| job)) {
            if let Job::LogIn { user, .. } | Job::Load { user, pushes_max: 1.., .. } = job {
                *reading.entry(user.as_str()).or_default() += 1;
            }
        }
        reading.into_values().max().unwrap_or(0)
    }

    /// Does what is next on the agenda.
    pub fn step(&mut self) -> Option<Step> {
        let (_, serial, answer) = self.agenda.pop_first()?;
        if answer {
            let work = self.work.remove(&serial)?;
            let outcome = match work.fate {
                Fate::Do | Fate::Refuse | Fate::TooLarge => work.outcome?,
                Fate::Fail | Fate::DoAndLose => JobOutcome::Failed,
            };
            return Some(Step::Answer(work.ticket, work.job, outcome));
        }
        let work = self.work.get_mut(&serial)?;
        let outcome = match work.fate {
            Fate::Fail => JobOutcome::Failed,
            Fate::Refuse => JobOutcome::Refused,
            Fate::TooLarge => JobOutcome::TooLarge,
            Fate::Do | Fate::DoAndLose => self.model.execute(&work.job),
        };
        work.outcome = Some(outcome.clone());
        Some(Step::Done(work.job.clone(), outcome))
    }

    /// The machine stops: everything that is not committed is gone.
    pub fn crash(&mut self) {
        self.stuck.clear();
        self.stuck_lanes.clear();
        self.work.clear();
        self.agenda.clear();
        self.lane_ends.clear();
        self.model.restart();
    }

    pub fn count(&self, job: &str) -> usize {
        self.submitted.iter().filter(|name| **name == job).count()
    }
}
