use super::super::answer::UNAVAILABLE;
use super::super::friend_op::PairVerb::{self, Accept, Delete, Reject, Request};
use super::super::friend_rules::{FriendOpPushFate, push_kind};
use super::super::ids::UserSlot;
use super::*;
use crate::protocol::field::{MessageId, UserNameRef};
use crate::protocol::push::Push;
use std::collections::HashSet;

/// An event of the operations of one pair.
#[derive(Clone, Copy, Debug)]
enum FriendOpTestStep {
    /// One of the two users asks for this operation, with this id.
    Says(UserSide, PairVerb, &'static str),
    /// The operation under way was tried, with this result.
    Tried(FriendOpStoreOutcomeMeaning),
    /// The operation under way is over.
    Ends,
    /// This many ms pass, and due operations are tried again.
    Waits(u64),
}

#[derive(Clone, Copy, Debug)]
enum UserSide {
    Ann,
    Bob,
}

use FriendOpTestStep::{Ends, Says, Tried, Waits};
use UserSide::{Ann, Bob};

const FAILED: FriendOpTestStep = Tried(FriendOpStoreOutcomeMeaning::Unknown);
const READ_BACK: FriendOpTestStep = Tried(FriendOpStoreOutcomeMeaning::ReadBack);

fn done() -> FriendOpTestStep {
    Tried(FriendOpStoreOutcomeMeaning::Known(FriendEffects::answer(Ok(7))))
}

/// The operations, with a caller that runs one of them at a time. Requests are numbered from 1.
struct TestFriendshipOps {
    ops: FriendshipOpQueues,
    running: Option<RunningFriendOp>,
    now_ms: u64,
    requests: u32,
    /// The requests that were answered.
    answered: HashSet<u32>,
}

impl TestFriendshipOps {
    fn new(undecided_max: usize) -> Self {
        let ops = FriendshipOpQueues::new(undecided_max);
        Self { ops, running: None, now_ms: 0, requests: 0, answered: HashSet::new() }
    }

    fn op(&mut self, (me, other): (usize, usize), verb: PairVerb, id: &str, content: &str) -> QueuedFriendOp {
        self.requests += 1;
        QueuedFriendOp {
            request: JobTicket { slot: self.requests, generation: 0 },
            verb,
            id: id.into(),
            content: content.into(),
            me: UserSlot::of(me),
            other: UserSlot::of(other),
        }
    }

    fn submit(&mut self, op: QueuedFriendOp) -> FriendOpSubmitResult {
        let submitted = self.ops.submit(op, |request| !self.answered.contains(&request.slot));
        self.check();
        submitted
    }

    fn begins(&mut self, op: QueuedFriendOp) -> String {
        let number = op.request.slot;
        self.running = Some(begun(op));
        format!("runs {number}")
    }

    fn finish(&mut self, decision: FriendOpStoreOutcomeMeaning) -> String {
        let op = self.running.take().expect("nothing is under way");
        let number = op.request.slot;
        match self.ops.finish(op, decision, self.now_ms) {
            FriendOpNextStep::Retry => {
                // The user is told that nothing is promised.
                self.answered.insert(number);
                "retry".to_owned()
            }
            FriendOpNextStep::ReadBack(op) => {
                assert!(op.only_reads);
                self.running = Some(op);
                "read back".to_owned()
            }
            FriendOpNextStep::Done(op, _) => {
                self.answered.insert(number);
                self.running = Some(op);
                format!("done {number}")
            }
        }
    }

    fn step(&mut self, step: FriendOpTestStep) -> String {
        let said = match step {
            Says(who, verb, id) => {
                let op = self.op(if matches!(who, Ann) { (0, 1) } else { (1, 0) }, verb, id, "");
                match self.submit(op) {
                    FriendOpSubmitResult::Run(op) => self.begins(op),
                    FriendOpSubmitResult::Queued => "queued".to_owned(),
                    FriendOpSubmitResult::Joined => "joined".to_owned(),
                    FriendOpSubmitResult::Full => "full".to_owned(),
                }
            }
            Tried(decision) => self.finish(decision),
            Ends => {
                let pair = self.running.take().expect("nothing is under way").pair();
                match self.ops.next(pair) {
                    Some(op) => self.begins(op),
                    None => "free".to_owned(),
                }
            }
            Waits(ms) => {
                self.now_ms += ms;
                let mut due = self.ops.take_due(self.now_ms);
                assert!(due.len() <= 1, "one of a pair at a time");
                match due.pop() {
                    Some(op) => {
                        let said = format!("runs {}{}", op.request.slot, if op.only_reads { ", reading" } else { "" });
                        self.running = Some(op);
                        said
                    }
                    None => "nothing is due".to_owned(),
                }
            }
        };
        self.check();
        said
    }

    fn check(&self) {
        #[cfg(debug_assertions)]
        self.ops.check(self.ops.undecided_max);
    }
}

fn begun_with(op: QueuedFriendOp, content: &str) -> RunningFriendOp {
    let (id, name) = (MessageId::new(&*op.id).unwrap(), UserNameRef::new("ann").unwrap());
    RunningFriendOp {
        request: op.request,
        verb: op.verb,
        me: op.me,
        other: op.other,
        time_ms: 7,
        push: push_kind(op.verb).map(|kind| Push::new(1, 7, kind, &id, &name, &name, content)),
        were_friends: false,
        friends_were_unknown: false,
        failed: 0,
        only_reads: false,
    }
}

fn begun(op: QueuedFriendOp) -> RunningFriendOp {
    begun_with(op, "")
}

/// A name, then each step with its expected result.
type FriendOpTestCase = (&'static str, Vec<(FriendOpTestStep, &'static str)>);

fn scripts_of_turns() -> Vec<FriendOpTestCase> {
    vec![
        ("one alone", vec![(Says(Ann, Request, "f"), "runs 1"), (done(), "done 1"), (Ends, "free")]),
        (
            "one after the other, by either of the two",
            vec![
                (Says(Ann, Request, "f"), "runs 1"),
                (Says(Bob, Accept, "f"), "queued"),
                (Says(Ann, Request, "f"), "queued"),
                (done(), "done 1"),
                (Ends, "runs 2"),
                (Says(Ann, Delete, "d"), "queued"),
                (done(), "done 2"),
                (Ends, "runs 3"),
                // Operation 3 has ended without being tried.
                (Ends, "runs 4"),
                (done(), "done 4"),
                (Ends, "free"),
                (Says(Ann, Request, "f"), "runs 5"),
            ],
        ),
    ]
}

fn scripts_of_retries() -> Vec<FriendOpTestCase> {
    vec![
        (
            "an operation that fails is tried after 1, 2, 4, 4, 4 s until it is known, and keeps the pair busy",
            vec![
                (Says(Bob, Accept, "f"), "runs 1"),
                (FAILED, "retry"),
                (Waits(999), "nothing is due"),
                (Says(Ann, Delete, "d"), "queued"),
                (Waits(1), "runs 1"),
                (FAILED, "retry"),
                (Waits(1_999), "nothing is due"),
                (Waits(1), "runs 1"),
                (FAILED, "retry"),
                (Waits(3_999), "nothing is due"),
                (Waits(1), "runs 1"),
                (FAILED, "retry"),
                (Waits(3_999), "nothing is due"),
                (Waits(1), "runs 1"),
                (FAILED, "retry"),
                (Waits(3_999), "nothing is due"),
                (Waits(1), "runs 1"),
                (done(), "done 1"),
                (Ends, "runs 2"),
                (done(), "done 2"),
                (Ends, "free"),
            ],
        ),
        (
            "reading back is tried again as reading",
            vec![
                (Says(Bob, Accept, "f"), "runs 1"),
                (FAILED, "retry"),
                (Waits(1_000), "runs 1"),
                (READ_BACK, "read back"),
                (FAILED, "retry"),
                (Waits(2_000), "runs 1, reading"),
                (done(), "done 1"),
                (Ends, "free"),
            ],
        ),
    ]
}

fn scripts_of_joining() -> Vec<FriendOpTestCase> {
    vec![
        (
            "the same again joins what is undecided, once",
            vec![
                (Says(Bob, Accept, "f"), "runs 1"),
                (Says(Bob, Accept, "f"), "queued"),
                (FAILED, "retry"),
                (Says(Bob, Accept, "g"), "queued"),
                (Says(Bob, Reject, "f"), "queued"),
                (Says(Ann, Accept, "f"), "queued"),
                (Says(Bob, Accept, "f"), "joined"),
                (Says(Bob, Accept, "f"), "queued"),
                (Waits(1_000), "runs 6"),
                (Says(Bob, Accept, "f"), "queued"),
                (FAILED, "retry"),
                (Says(Bob, Accept, "f"), "joined"),
                (Waits(2_000), "runs 9"),
                (done(), "done 9"),
                (Ends, "runs 2"),
            ],
        ),
        (
            "a delete has no id in the store",
            vec![
                (Says(Ann, Delete, "d"), "runs 1"),
                (FAILED, "retry"),
                (Says(Bob, Delete, "d"), "queued"),
                (Says(Ann, Delete, "e"), "joined"),
                (Waits(1_000), "runs 3"),
                (done(), "done 3"),
                (Ends, "runs 2"),
            ],
        ),
    ]
}

#[test]
fn the_operations_of_a_pair_step_by_step() {
    for (name, steps) in [scripts_of_turns(), scripts_of_retries(), scripts_of_joining()].concat() {
        let mut caller = TestFriendshipOps::new(10);
        for (n, (step, becomes)) in steps.into_iter().enumerate() {
            assert_eq!(caller.step(step), becomes, "{name}, step {n}: {step:?}");
        }
    }
}

#[test]
fn a_pair_is_in_doubt_from_a_failure_that_may_have_changed_it_until_the_next_has_its_turn() {
    for (verb, doubt) in [(Request, false), (Accept, true), (Reject, false), (Delete, true)] {
        let mut caller = TestFriendshipOps::new(10);
        let mut steps = |steps: &[(FriendOpTestStep, bool)]| {
            for (step, in_doubt) in steps {
                caller.step(*step);
                for (one, other) in [(0, 1), (1, 0)] {
                    let pair = UnorderedUserPair::of(UserSlot::of(one), UserSlot::of(other));
                    assert_eq!(caller.ops.is_in_doubt(pair), *in_doubt, "{verb:?}: {step:?}");
                }
            }
        };
        steps(&[(Says(Ann, verb, "f"), false), (Says(Ann, verb, "g"), false), (FAILED, doubt)]);
        steps(&[(Waits(1_000), doubt), (done(), doubt), (Ends, false), (done(), false), (Ends, false)]);
        assert_eq!((caller.ops.has_undecided(), caller.ops.memory_bytes()), (false, 0));
    }
}

#[test]
fn beyond_its_bounds_nothing_is_queued() {
    let mut caller = TestFriendshipOps::new(10);
    caller.step(Says(Ann, Request, "f"));
    for _ in 0..QUEUED_MAX {
        assert_eq!(caller.step(Says(Ann, Delete, "d")), "queued");
    }
    assert_eq!(caller.step(Says(Bob, Accept, "f")), "full");
    caller.step(Ends);
    assert_eq!(caller.step(Says(Bob, Accept, "f")), "queued");
}

#[test]
fn beyond_their_bytes_only_pairs_of_which_nothing_is_under_way_begin() {
    let mut caller = TestFriendshipOps::new(10);
    let large = "x".repeat(QUEUED_BYTES_MAX / 4);
    let mut became = Vec::new();
    for pair in [(0, 1), (0, 1), (0, 1), (2, 3), (2, 3), (2, 3), (4, 5)] {
        let op = caller.op(pair, Request, "f", &large);
        became.push(match caller.submit(op) {
            FriendOpSubmitResult::Run(_) => "run",
            FriendOpSubmitResult::Queued => "queued",
            FriendOpSubmitResult::Joined => "joined",
            FriendOpSubmitResult::Full => "full",
        });
    }
    assert_eq!(became, ["run", "queued", "queued", "run", "queued", "full", "run"]);
    for (one, other) in [(0, 1), (2, 3), (4, 5)] {
        while caller.ops.next(UnorderedUserPair::of(UserSlot::of(one), UserSlot::of(other))).is_some() {
            caller.check();
        }
    }
    assert_eq!(caller.ops.memory_bytes(), 0);
}

/// Asserts that an operation was given up, and that its answer says so.
#[track_caller]
fn assert_given_up(finished: &FriendOpNextStep) {
    let FriendOpNextStep::Done(_, effects) = finished else { panic!("{finished:?}") };
    assert_eq!((effects.answer, effects.push), (Err(UNAVAILABLE), FriendOpPushFate::Unknown));
}

#[test]
fn beyond_their_bounds_the_undecided_are_given_up() {
    let mut caller = TestFriendshipOps::new(2);
    let mut fail = |other, content: &str| {
        let op = caller.op((0, other), Accept, "f", "");
        let FriendOpSubmitResult::Run(op) = caller.submit(op) else { panic!("{other} is busy") };
        let finished = caller.ops.finish(begun_with(op, content), FriendOpStoreOutcomeMeaning::Unknown, 0);
        caller.check();
        finished
    };
    assert!(matches!(fail(1, ""), FriendOpNextStep::Retry));
    assert_given_up(&fail(2, &"x".repeat(UNDECIDED_BYTES_MAX)));
    assert!(matches!(fail(3, ""), FriendOpNextStep::Retry));
    assert_given_up(&fail(4, ""));
    assert_eq!(caller.ops.take_due(RETRY_MS).len(), 2);
    assert_eq!(caller.ops.memory_bytes(), 0);
}

#[test]
fn those_that_are_due_come_in_an_order_of_their_own() {
    let mut caller = TestFriendshipOps::new(100);
    for other in [7, 3, 9, 1, 5] {
        let op = caller.op((0, other), Accept, "f", "");
        let FriendOpSubmitResult::Run(op) = caller.submit(op) else { panic!("{other} is busy") };
        caller.ops.finish(begun(op), FriendOpStoreOutcomeMeaning::Unknown, if other == 9 { 1 } else { 0 });
    }
    let due = |caller: &mut TestFriendshipOps, now_ms| {
        caller.ops.take_due(now_ms).iter().map(|op| op.other).collect::<Vec<_>>()
    };
    assert_eq!(due(&mut caller, RETRY_MS - 1), []);
    assert_eq!(due(&mut caller, RETRY_MS), [1, 3, 5, 7].map(UserSlot::of));
    caller.check();
    assert_eq!(due(&mut caller, RETRY_MS + 1), [UserSlot::of(9)]);
}
