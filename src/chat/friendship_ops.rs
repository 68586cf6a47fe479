//! The operations on friendships, one at a time for each pair of users.
//!
//! The operations of one pair are done one after the other, so that the friends in memory match the
//! store in whatever order workers answer. An operation whose outcome is not known keeps its pair
//! busy, and is tried again until the outcome is known.
//!
//! The callers know the users, submit the jobs and answer the clients.

use super::contract::JobTicket;
use super::friend_op::{QueuedFriendOp, RunningFriendOp, UnorderedUserPair};
use super::friend_rules::{FriendEffects, FriendOpStoreOutcomeMeaning};
use super::ids::UserSlot;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// The largest number of queued operations of one pair.
const QUEUED_MAX: usize = 16;
/// The largest total size of the queued operations of all pairs, in bytes: while the store is away,
/// many pairs may be busy.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The largest total size of the pushes of undecided operations, in bytes. Beyond this, and beyond
/// `undecided_max`, an operation is not tried again.
const UNDECIDED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The first pause before a retry, and the longest one. An operation is tried again until its
/// outcome is known, however long the store is away: otherwise the friends of online users in
/// memory could be wrong.
pub(super) const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 4_000;

/// The state of a pair with an operation under way.
#[derive(Debug, Default)]
struct BusyPair {
    queued: VecDeque<QueuedFriendOp>,
    /// The operation under way may have changed whether the two are friends, but its answer was
    /// lost.
    in_doubt: bool,
}

/// An operation whose outcome is not known.
#[derive(Debug)]
struct UndecidedFriendOp {
    op: RunningFriendOp,
    retry_at_ms: u64,
}

/// The operations of all pairs.
#[derive(Debug)]
pub(super) struct FriendshipOpQueues {
    /// Each pair here has one operation under way: the caller has it, or it is undecided.
    busy_pairs: HashMap<UnorderedUserPair, BusyPair>,
    /// The total size of the queued operations, in bytes.
    queued_bytes: usize,
    undecided: BTreeMap<UnorderedUserPair, UndecidedFriendOp>,
    /// The total size of the pushes in `undecided`, in bytes.
    undecided_bytes: usize,
    undecided_max: usize,
}

/// The result of submitting an operation.
#[derive(Debug)]
pub(super) enum FriendOpSubmitResult {
    /// No operation of this pair is under way: begin this one.
    Run(QueuedFriendOp),
    /// It waits for its turn.
    Queued,
    /// An equal operation is undecided: this request is answered with its outcome.
    Joined,
    /// Too many operations wait already.
    Full,
}

/// The result of one try of an operation.
#[derive(Debug)]
pub(super) enum FriendOpNextStep {
    /// It is kept, and tried again.
    Retry,
    /// Read whether the two are friends.
    ReadBack(RunningFriendOp),
    /// It is over: call [`next`](FriendshipOpQueues::next).
    Done(RunningFriendOp, FriendEffects),
}

impl FriendshipOpQueues {
    pub(super) fn new(undecided_max: usize) -> Self {
        Self {
            busy_pairs: HashMap::new(),
            queued_bytes: 0,
            undecided: BTreeMap::new(),
            undecided_bytes: 0,
            undecided_max,
        }
    }

    /// Submits an operation. `is_awaited` tells whether a request still waits for its answer.
    pub(super) fn submit(
        &mut self,
        op: QueuedFriendOp,
        is_awaited: impl Fn(JobTicket) -> bool,
    ) -> FriendOpSubmitResult {
        let Some(busy) = self.busy_pairs.get_mut(&op.pair()) else {
            self.busy_pairs.insert(op.pair(), BusyPair::default());
            return FriendOpSubmitResult::Run(op);
        };
        let bytes = self.queued_bytes + op.weight_bytes();
        if busy.queued.len() >= QUEUED_MAX || bytes > QUEUED_BYTES_MAX {
            return FriendOpSubmitResult::Full;
        }
        // The earlier request was answered without a promise, so this one can take its place.
        if let Some(UndecidedFriendOp { op: undecided, .. }) = self.undecided.get_mut(&op.pair())
            && undecided.is_repeated_by(&op)
            && !is_awaited(undecided.request)
        {
            undecided.request = op.request;
            return FriendOpSubmitResult::Joined;
        }
        self.queued_bytes = bytes;
        busy.queued.push_back(op);
        FriendOpSubmitResult::Queued
    }

    /// Sets the limit on undecided operations; operations beyond it stay.
    pub(super) fn set_undecided_max(&mut self, undecided_max: usize) {
        self.undecided_max = undecided_max;
    }

    /// Notes the result of one try of the operation under way.
    pub(super) fn finish(
        &mut self,
        mut op: RunningFriendOp,
        decision: FriendOpStoreOutcomeMeaning,
        now_ms: u64,
    ) -> FriendOpNextStep {
        match decision {
            FriendOpStoreOutcomeMeaning::Known(effects) => FriendOpNextStep::Done(op, effects),
            FriendOpStoreOutcomeMeaning::ReadBack => {
                op.only_reads = true;
                FriendOpNextStep::ReadBack(op)
            }
            FriendOpStoreOutcomeMeaning::Unknown => self.retry_later(op, now_ms),
        }
    }

    fn retry_later(&mut self, mut op: RunningFriendOp, now_ms: u64) -> FriendOpNextStep {
        let bytes = self.undecided_bytes + op.weight_bytes();
        if self.undecided.len() >= self.undecided_max || bytes > UNDECIDED_BYTES_MAX {
            let effects = FriendEffects::of_abandoned_op(&op);
            return FriendOpNextStep::Done(op, effects);
        }
        if op.changes_friends()
            && let Some(busy) = self.busy_pairs.get_mut(&op.pair())
        {
            busy.in_doubt = true;
        }
        let retry_at_ms = now_ms + RETRY_MS_MAX.min(RETRY_MS << op.failed.min(8));
        op.failed = op.failed.saturating_add(1);
        self.undecided_bytes = bytes;
        self.undecided.insert(op.pair(), UndecidedFriendOp { op, retry_at_ms });
        FriendOpNextStep::Retry
    }

    /// The operation under way is over: gives the next one of the pair, if there is one.
    pub(super) fn next(&mut self, pair: UnorderedUserPair) -> Option<QueuedFriendOp> {
        let next = self.busy_pairs.get_mut(&pair).and_then(|busy| {
            busy.in_doubt = false;
            busy.queued.pop_front()
        });
        match &next {
            Some(next) => self.queued_bytes -= next.weight_bytes(),
            None => _ = self.busy_pairs.remove(&pair),
        }
        next
    }

    /// Takes out the undecided operations that are due for a retry.
    pub(super) fn take_due(&mut self, now_ms: u64) -> Vec<RunningFriendOp> {
        let due = self.undecided.iter().filter(|(_, undecided)| undecided.retry_at_ms <= now_ms);
        let due: Vec<UnorderedUserPair> = due.map(|(pair, _)| *pair).collect();
        let due = due.iter().filter_map(|pair| self.undecided.remove(pair)).map(|undecided| undecided.op);
        let due: Vec<RunningFriendOp> = due.collect();
        self.undecided_bytes -= due.iter().map(RunningFriendOp::weight_bytes).sum::<usize>();
        due
    }

    /// Is any operation undecided?
    pub(super) fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Is it in doubt whether these two are friends?
    pub(super) fn is_in_doubt(&self, pair: UnorderedUserPair) -> bool {
        self.busy_pairs.get(&pair).is_some_and(|busy| busy.in_doubt)
    }

    /// Is an operation of any pair with this user under way? This looks at all pairs.
    pub(super) fn has_op_of(&self, user: UserSlot) -> bool {
        self.busy_pairs.keys().any(|pair| pair.has(user))
    }

    /// The memory that the operations use, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.queued_bytes + self.undecided_bytes
    }
}

#[cfg(debug_assertions)]
impl FriendshipOpQueues {
    /// Checks the invariants.
    pub(super) fn check(&self, undecided_max: usize) {
        let queued = self.busy_pairs.values().flat_map(|busy| &busy.queued);
        assert_eq!(self.queued_bytes, queued.map(QueuedFriendOp::weight_bytes).sum::<usize>());
        assert!(self.queued_bytes <= QUEUED_BYTES_MAX);
        for (pair, busy) in &self.busy_pairs {
            assert!(busy.queued.len() <= QUEUED_MAX);
            assert!(busy.queued.iter().all(|op| op.pair() == *pair));
        }
        let undecided = self.undecided.values().map(|undecided| &undecided.op);
        assert_eq!(self.undecided_bytes, undecided.map(RunningFriendOp::weight_bytes).sum::<usize>());
        assert!(self.undecided_bytes <= UNDECIDED_BYTES_MAX && self.undecided.len() <= undecided_max);
        for (pair, UndecidedFriendOp { op, .. }) in &self.undecided {
            assert!(op.pair() == *pair && op.failed > 0);
            assert!(self.busy_pairs.contains_key(pair), "it keeps its pair busy");
            assert!(!op.changes_friends() || self.is_in_doubt(*pair));
        }
    }

    /// The number of operations under way that callers have.
    pub(super) fn running(&self) -> usize {
        self.busy_pairs.len() - self.undecided.len()
    }

    /// The references that waiting operations have.
    pub(super) fn refs(&self) -> impl Iterator<Item = UserSlot> + '_ {
        let queued = self.busy_pairs.values().flat_map(|busy| &busy.queued).flat_map(QueuedFriendOp::refs);
        queued.chain(self.undecided.values().flat_map(|undecided| undecided.op.refs()))
    }
}

#[cfg(test)]
mod tests;
