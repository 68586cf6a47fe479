//! Checks the promises that all nodes of a cluster make together. No promised message is lost. The
//! messages of each pair of users arrive for the first time in the order in which they were taken,
//! even if several nodes took them. Each user has at most one live session on nodes that are not
//! fenced.

use super::super::store::{MessageKey, key_of};
use super::store::Shared;
use hongyan::chat::contract::Job;
use hongyan::protocol::field::RESERVED_NAME;
use hongyan::protocol::push::{Push, PushKind};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
pub struct Oracle {
    /// `Some` in runs without failures: there, an acked message must not arrive again, with one
    /// exception. It may arrive on another connection within this many ms after the ack: with a
    /// bus, the taker deletes the message a moment after the ack, and the user may move to another
    /// node before that.
    checks_acked_ms: Option<u64>,
    taken: u64,
    /// When a message was first and last taken.
    takes: BTreeMap<MessageKey, (u64, u64)>,
    last_of_pair: BTreeMap<(String, String), u64>,
    seen: BTreeSet<MessageKey>,
    promised: BTreeSet<MessageKey>,
    /// When the ack of a message was first sent, and on which of the receiver's connections.
    acked: BTreeMap<MessageKey, (u64, u64)>,
    /// The kinds of the jobs that messages caused, one entry for each job.
    pub jobs: Vec<&'static str>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl Oracle {
    pub fn new(checks_acked_ms: Option<u64>) -> Self {
        Self {
            checks_acked_ms,
            taken: 0,
            takes: BTreeMap::new(),
            last_of_pair: BTreeMap::new(),
            seen: BTreeSet::new(),
            promised: BTreeSet::new(),
            acked: BTreeMap::new(),
            jobs: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    pub fn tolerates_second_deliveries(&mut self) {
        self.checks_acked_ms = None;
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// A node submits this job.
    pub fn asked(&mut self, job: &Job) {
        match job {
            Job::SavePush { .. } => self.jobs.push("save"),
            Job::DeletePush { .. } => self.jobs.push("delete"),
            Job::Cluster { .. } => self.jobs.push("read"),
            _ => {}
        }
    }

    /// A message has reached the core.
    pub fn took(&mut self, key: MessageKey) {
        self.count("taken");
        self.taken += 1;
        let taken = self.taken;
        self.takes.entry(key).and_modify(|(_, last)| *last = taken).or_insert((taken, taken));
    }

    /// A push has reached its client.
    pub fn saw(&mut self, push: &Push, (now_ms, serial): (u64, u64)) {
        self.count("seen");
        if push.kind != PushKind::Message || push.sender() == RESERVED_NAME {
            return;
        }
        let key = key_of(push);
        if let (Some(after_ms), Some((acked_ms, acked_on))) = (self.checks_acked_ms, self.acked.get(&key)) {
            let has_moved = *acked_on != serial && acked_ms + after_ms > now_ms;
            assert!(has_moved, "{key:?} came again after its ack");
        }
        if !self.seen.insert(key.clone()) {
            return self.count("seen again");
        }
        let (first, last) = self.takes[&key];
        let before = self.last_of_pair.entry((key.0.clone(), key.1.clone())).or_default();
        assert!(*before <= last, "{key:?}, which was taken as number {last}, came after number {before}");
        *before = first.max(*before);
    }

    pub fn was_acked(&mut self, key: MessageKey, on: (u64, u64)) {
        self.count("acked");
        self.acked.entry(key).or_insert(on);
    }

    pub fn was_promised(&mut self, key: MessageKey, store: &Shared) {
        self.count("promised");
        assert!(
            self.acked.contains_key(&key) || store.model.has_message(&key),
            "{key:?} was promised and is not durable"
        );
        self.promised.insert(key);
    }

    pub fn is_promised(&self, key: &MessageKey) -> bool {
        self.promised.contains(key)
    }

    pub fn check(&mut self, store: &Shared) {
        for key in self.promised.iter().filter(|key| !self.acked.contains_key(*key)) {
            assert!(store.model.has_message(key), "{key:?} was promised and is lost");
        }
    }

    pub fn is_quiet(&self) -> bool {
        self.promised.iter().all(|key| self.acked.contains_key(key))
    }

    pub fn check_end(&mut self, store: &Shared) {
        self.check(store);
        let left: Vec<&MessageKey> = self.promised.iter().filter(|key| !self.acked.contains_key(*key)).collect();
        assert!(left.is_empty(), "{left:?} were promised and never acked");
    }
}
