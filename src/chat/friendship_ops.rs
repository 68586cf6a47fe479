//! The operations on friendships, one at a time for each pair of users.
//!
//! What one pair asks for is done one after the other, so that the friends in memory are those in
//! the store whatever the order in which workers answer. An operation whose outcome is not known
//! keeps its pair busy, and is tried again until the store says what became of it.
//!
//! Who the users are, what the store is asked and what clients are told is the business of those
//! who call this.

use super::contract::Ticket;
use super::friend_op::{Pair, QueuedFriendOp, RunningOp};
use super::friend_rules::{Decision, Effects};
use super::ids::UserId;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Operations of one pair that wait for the one before.
const QUEUED_MAX: usize = 16;
/// And how large those of all pairs are together: while the store is away, the pairs of many may be
/// busy.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How large the pushes of the undecided are together. Beyond this, and beyond their number, what
/// was done is not found out by trying again.
const UNDECIDED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long after it failed an operation is tried again, at first and at most: until it is known
/// what became of it, however long the store is away, since those online would else not know whose
/// friends they are.
pub(super) const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 4_000;

/// What a pair has to do beside the operation that is under way.
#[derive(Debug, Default)]
struct Busy {
    queued: VecDeque<QueuedFriendOp>,
    /// The one under way may have changed whether they are friends, and the store could not say so.
    in_doubt: bool,
}

/// One whose outcome is not known.
#[derive(Debug)]
struct Undecided {
    op: RunningOp,
    retry_at_ms: u64,
}

/// All pairs of which something is under way.
#[derive(Debug)]
pub(super) struct FriendshipOps {
    /// Each has one operation under way: its caller has it, or it is undecided.
    pairs: HashMap<Pair, Busy>,
    /// The size of all that are queued.
    queued_bytes: usize,
    undecided: BTreeMap<Pair, Undecided>,
    /// The size of the pushes in it.
    undecided_bytes: usize,
    undecided_max: usize,
}

/// What becomes of an operation that was submitted.
#[derive(Debug)]
pub(super) enum Submitted {
    /// Nothing of this pair is under way: this one begins.
    Run(QueuedFriendOp),
    /// It waits for its turn.
    Queued,
    /// The same is tried again already: its request is answered when that is decided.
    Joined,
    /// Too much waits already.
    Full,
}

/// How one try of an operation ends.
#[derive(Debug)]
pub(super) enum Finished {
    /// It is kept, and tried again.
    Retry,
    /// The store is to be asked whether the two are friends.
    ReadBack(RunningOp),
    /// It is over: [`next`](FriendshipOps::next) has the turn.
    Done(RunningOp, Effects),
}

impl FriendshipOps {
    pub(super) fn new(undecided_max: usize) -> Self {
        Self { pairs: HashMap::new(), queued_bytes: 0, undecided: BTreeMap::new(), undecided_bytes: 0, undecided_max }
    }

    /// One more. `is_awaited` tells whether a request still waits for its answer.
    pub(super) fn submit(&mut self, op: QueuedFriendOp, is_awaited: impl Fn(Ticket) -> bool) -> Submitted {
        let Some(busy) = self.pairs.get_mut(&op.pair()) else {
            self.pairs.insert(op.pair(), Busy::default());
            return Submitted::Run(op);
        };
        let bytes = self.queued_bytes + op.weight_bytes();
        if busy.queued.len() >= QUEUED_MAX || bytes > QUEUED_BYTES_MAX {
            return Submitted::Full;
        }
        // Nothing was promised to the request that was answered, so this one may have its place.
        if let Some(Undecided { op: undecided, .. }) = self.undecided.get_mut(&op.pair())
            && undecided.is_repeated_by(&op)
            && !is_awaited(undecided.request)
        {
            undecided.request = op.request;
            return Submitted::Joined;
        }
        self.queued_bytes = bytes;
        busy.queued.push_back(op);
        Submitted::Queued
    }

    /// Another limit on undecided operations; those beyond it stay.
    pub(super) fn set_undecided_max(&mut self, undecided_max: usize) {
        self.undecided_max = undecided_max;
    }

    /// The operation under way was tried.
    pub(super) fn finish(&mut self, mut op: RunningOp, decision: Decision, now_ms: u64) -> Finished {
        match decision {
            Decision::Known(effects) => Finished::Done(op, effects),
            Decision::ReadBack => {
                op.reads_back = true;
                Finished::ReadBack(op)
            }
            Decision::Unknown => self.retry_later(op, now_ms),
        }
    }

    fn retry_later(&mut self, mut op: RunningOp, now_ms: u64) -> Finished {
        let bytes = self.undecided_bytes + op.weight_bytes();
        if self.undecided.len() >= self.undecided_max || bytes > UNDECIDED_BYTES_MAX {
            let effects = Effects::given_up(&op);
            return Finished::Done(op, effects);
        }
        if op.changes_friends()
            && let Some(busy) = self.pairs.get_mut(&op.pair())
        {
            busy.in_doubt = true;
        }
        let retry_at_ms = now_ms + RETRY_MS_MAX.min(RETRY_MS << op.failed.min(8));
        op.failed = op.failed.saturating_add(1);
        self.undecided_bytes = bytes;
        self.undecided.insert(op.pair(), Undecided { op, retry_at_ms });
        Finished::Retry
    }

    /// The operation under way is over: the pair goes on with this one, or is free.
    pub(super) fn next(&mut self, pair: Pair) -> Option<QueuedFriendOp> {
        let next = self.pairs.get_mut(&pair).and_then(|busy| {
            busy.in_doubt = false;
            busy.queued.pop_front()
        });
        match &next {
            Some(next) => self.queued_bytes -= next.weight_bytes(),
            None => _ = self.pairs.remove(&pair),
        }
        next
    }

    /// Takes out those that are to be tried again now.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<RunningOp> {
        let due = self.undecided.iter().filter(|(_, undecided)| undecided.retry_at_ms <= now_ms);
        let due: Vec<Pair> = due.map(|(pair, _)| *pair).collect();
        let due = due.iter().filter_map(|pair| self.undecided.remove(pair)).map(|undecided| undecided.op);
        let due: Vec<RunningOp> = due.collect();
        self.undecided_bytes -= due.iter().map(RunningOp::weight_bytes).sum::<usize>();
        due
    }

    /// Is there anything to try again?
    pub(super) fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Nobody knows at present whether these two are friends.
    pub(super) fn is_in_doubt(&self, pair: Pair) -> bool {
        self.pairs.get(&pair).is_some_and(|busy| busy.in_doubt)
    }

    /// Is anything of a pair with this user under way? This looks at all pairs.
    pub(super) fn is_about(&self, user: UserId) -> bool {
        self.pairs.keys().any(|pair| pair.has(user))
    }

    /// How much memory is held by what clients said.
    pub(super) fn held_bytes(&self) -> usize {
        self.queued_bytes + self.undecided_bytes
    }
}

#[cfg(debug_assertions)]
impl FriendshipOps {
    /// What must hold whatever happened.
    pub(super) fn check(&self, undecided_max: usize) {
        let queued = self.pairs.values().flat_map(|busy| &busy.queued);
        assert_eq!(self.queued_bytes, queued.map(QueuedFriendOp::weight_bytes).sum::<usize>());
        assert!(self.queued_bytes <= QUEUED_BYTES_MAX);
        for (pair, busy) in &self.pairs {
            assert!(busy.queued.len() <= QUEUED_MAX);
            assert!(busy.queued.iter().all(|op| op.pair() == *pair));
        }
        let undecided = self.undecided.values().map(|undecided| &undecided.op);
        assert_eq!(self.undecided_bytes, undecided.map(RunningOp::weight_bytes).sum::<usize>());
        assert!(self.undecided_bytes <= UNDECIDED_BYTES_MAX && self.undecided.len() <= undecided_max);
        for (pair, Undecided { op, .. }) in &self.undecided {
            assert!(op.pair() == *pair && op.failed > 0);
            assert!(self.pairs.contains_key(pair), "it keeps its pair busy");
            assert!(!op.changes_friends() || self.is_in_doubt(*pair));
        }
    }

    /// How many are under way of which callers know.
    pub(super) fn running(&self) -> usize {
        self.pairs.len() - self.undecided.len()
    }

    /// References held by those that wait.
    pub(super) fn refs(&self) -> impl Iterator<Item = UserId> + '_ {
        let queued = self.pairs.values().flat_map(|busy| &busy.queued).flat_map(QueuedFriendOp::refs);
        queued.chain(self.undecided.values().flat_map(|undecided| undecided.op.refs()))
    }
}

#[cfg(test)]
mod tests;
