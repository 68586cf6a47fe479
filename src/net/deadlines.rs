//! The deadlines of connections. Each kind has a queue in the order of time, so that no scan over
//! all connections is needed. It has no clock: the time is passed in.
//!
//! An entry is not removed when its reason is gone: the code that pops it checks whether it still
//! applies. If its id finds no connection, that connection was closed meanwhile.

use crate::chat::contract::ConnId;
use std::collections::{HashMap, VecDeque};

/// How long a closing connection may take to read its last frames and to end its side.
const LINGER_MS: u64 = 5_000;
/// The shortest time that a client gets for its answers after it has ended its side. The
/// connections are checked together at the end of each such time, and those that wait for no answer
/// are closed.
pub(super) const HALF_CLOSED_MS: u64 = 1_000;
/// The number of steps into which the handshake time-out is divided: deadlines in one step are
/// checked together, so that the loop is not woken for each of them after a storm of log-ins.
const HANDSHAKE_STEPS: u64 = 50;
/// The core is told that waiting output moves (`Drained`) at most once in this time.
const DRAINED_EVERY_MS: u64 = 1_000;

/// Connections in the order of their deadlines.
type ConnDeadlineQueue = VecDeque<(u64, ConnId)>;

/// When a connection last took some of its waiting output.
#[derive(Clone, Copy, Debug)]
struct OutputStallWatch {
    /// The last time.
    at_ms: u64,
    /// When the core was last told so.
    reported_ms: u64,
}

/// The result of checking a watched connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputStallCheckResult {
    /// All its output is written. It is not watched any more.
    Out,
    /// It took some output recently, and is still watched.
    Takes,
    /// It took nothing for too long.
    Stuck,
}

/// The deadlines of all connections.
#[derive(Debug)]
pub(super) struct ConnDeadlineQueues {
    handshake_timeout_ms: u64,
    output_timeout_ms: u64,
    /// Closing connections whose last frames wait.
    closing: ConnDeadlineQueue,
    /// Connections whose client has ended its side and may wait for answers.
    half_closed: ConnDeadlineQueue,
    /// Connections with a TLS handshake or an HTTP request in progress.
    handshakes: ConnDeadlineQueue,
    /// Connections whose output waits, or has waited since the last check.
    watched: ConnDeadlineQueue,
    /// For each connection whose output waits, when it last took some of it.
    last_output: HashMap<ConnId, OutputStallWatch>,
}

impl ConnDeadlineQueues {
    /// No deadlines yet.
    #[must_use]
    pub(super) fn new(handshake_timeout_ms: u64, output_timeout_ms: u64) -> Self {
        Self {
            handshake_timeout_ms,
            output_timeout_ms,
            closing: ConnDeadlineQueue::new(),
            half_closed: ConnDeadlineQueue::new(),
            handshakes: ConnDeadlineQueue::new(),
            watched: ConnDeadlineQueue::new(),
            last_output: HashMap::new(),
        }
    }

    /// Sets other time-outs, which also apply to waits that have begun.
    pub(super) fn set_timeouts(&mut self, now_ms: u64, handshake_ms: u64, output_ms: u64) {
        move_all(&mut self.handshakes, now_ms, self.handshake_timeout_ms, handshake_ms);
        move_all(&mut self.watched, now_ms, self.output_timeout_ms, output_ms);
        (self.handshake_timeout_ms, self.output_timeout_ms) = (handshake_ms, output_ms);
    }

    /// The next deadline.
    #[must_use]
    pub(super) fn next_ms(&self) -> Option<u64> {
        let first_ms = |queue: &ConnDeadlineQueue| queue.front().map(|(due_ms, _)| *due_ms);
        let step_ms = (self.handshake_timeout_ms / HANDSHAKE_STEPS).max(1);
        let handshake_ms = first_ms(&self.handshakes).map(|due_ms| due_ms.next_multiple_of(step_ms));
        [first_ms(&self.closing), first_ms(&self.half_closed), handshake_ms, first_ms(&self.watched)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Begins the deadline of a closing connection.
    pub(super) fn start_closing(&mut self, now_ms: u64, id: ConnId) {
        self.closing.push_back((now_ms + LINGER_MS, id));
    }

    /// Takes the closing connection that has had the most time, even if its deadline is not over.
    pub(super) fn take_oldest_lingering(&mut self) -> Option<ConnId> {
        self.closing.pop_front().map(|(_, id)| id)
    }

    /// Takes a closing connection whose deadline is over.
    pub(super) fn pop_lingering(&mut self, now_ms: u64) -> Option<ConnId> {
        pop_due(&mut self.closing, now_ms)
    }

    /// Begins the deadline of a handshake.
    pub(super) fn begin_handshake(&mut self, now_ms: u64, id: ConnId) {
        self.handshakes.push_back((now_ms + self.handshake_timeout_ms, id));
    }

    /// Takes a connection whose handshake deadline is over.
    pub(super) fn pop_handshake(&mut self, now_ms: u64) -> Option<ConnId> {
        pop_due(&mut self.handshakes, now_ms)
    }

    /// Begins the deadline of a connection whose client has ended its side. All such deadlines are
    /// at common times, so that few checks are needed.
    pub(super) fn half_close(&mut self, now_ms: u64, id: ConnId) {
        let look_ms = (now_ms / HALF_CLOSED_MS + 2) * HALF_CLOSED_MS;
        self.half_closed.push_back((look_ms, id));
    }

    /// Takes at most `count_max` of these whose deadline is over. The others stay due.
    pub(super) fn take_half_closed(&mut self, now_ms: u64, count_max: usize) -> Vec<ConnId> {
        let due = self.half_closed.partition_point(|(look_ms, _)| *look_ms <= now_ms);
        self.half_closed.drain(..due.min(count_max)).map(|(_, id)| id).collect()
    }

    /// Output of a connection waits from now on.
    pub(super) fn begin_blocked(&mut self, now_ms: u64, id: ConnId) {
        self.last_output.insert(id, OutputStallWatch { at_ms: now_ms, reported_ms: now_ms });
    }

    /// Its output does not wait any longer, or does not matter any more.
    pub(super) fn end_blocked(&mut self, id: ConnId) {
        self.last_output.remove(&id);
    }

    /// It took some of its waiting output. `true`: tell the core.
    #[must_use]
    pub(super) fn note_output_taken(&mut self, now_ms: u64, id: ConnId) -> bool {
        let Some(took) = self.last_output.get_mut(&id) else { return false };
        took.at_ms = now_ms;
        let tells = now_ms - took.reported_ms >= DRAINED_EVERY_MS;
        if tells {
            took.reported_ms = now_ms;
        }
        tells
    }

    /// Begins to watch a connection whose output waits. A watched connection stays watched until
    /// its check, however often its output waits in between: do not call this again before.
    pub(super) fn watch(&mut self, now_ms: u64, id: ConnId) {
        self.watched.push_back((now_ms + self.output_timeout_ms, id));
    }

    /// Checks the next watched connection that is due.
    pub(super) fn pop_watched(&mut self, now_ms: u64) -> Option<(ConnId, OutputStallCheckResult)> {
        let id = pop_due(&mut self.watched, now_ms)?;
        let Some(took) = self.last_output.get(&id) else { return Some((id, OutputStallCheckResult::Out)) };
        let deadline_ms = took.at_ms + self.output_timeout_ms;
        if deadline_ms <= now_ms {
            return Some((id, OutputStallCheckResult::Stuck));
        }
        let place = self.watched.partition_point(|(look_ms, _)| *look_ms <= deadline_ms);
        self.watched.insert(place, (deadline_ms, id));
        Some((id, OutputStallCheckResult::Takes))
    }

    /// The length of the queue of watched connections.
    #[cfg(test)]
    pub(super) fn watched_len(&self) -> usize {
        self.watched.len()
    }
}

/// Takes the first entry of a queue, if it is due.
fn pop_due(queue: &mut ConnDeadlineQueue, now_ms: u64) -> Option<ConnId> {
    let &(_, id) = queue.front().filter(|(due_ms, _)| *due_ms <= now_ms)?;
    queue.pop_front();
    Some(id)
}

/// Changes the wait of all entries in a queue from `old_ms` to `new_ms`. Their order stays.
fn move_all(queue: &mut ConnDeadlineQueue, now_ms: u64, old_ms: u64, new_ms: u64) {
    if old_ms != new_ms {
        for (due_ms, _) in queue {
            *due_ms = (*due_ms + new_ms).saturating_sub(old_ms).max(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDSHAKE_MS: u64 = 10_000;
    const OUTPUT_MS: u64 = 60_000;

    fn deadlines() -> ConnDeadlineQueues {
        ConnDeadlineQueues::new(HANDSHAKE_MS, OUTPUT_MS)
    }

    const fn id(slot: u32) -> ConnId {
        ConnId { slot, generation: 0 }
    }

    #[test]
    fn the_next_look_is_the_earliest_of_all_kinds() {
        let mut deadlines = deadlines();
        assert_eq!(deadlines.next_ms(), None);
        deadlines.watch(0, id(1));
        assert_eq!(deadlines.next_ms(), Some(OUTPUT_MS));
        deadlines.begin_handshake(0, id(2));
        assert_eq!(deadlines.next_ms(), Some(HANDSHAKE_MS));
        deadlines.start_closing(0, id(3));
        assert_eq!(deadlines.next_ms(), Some(LINGER_MS));
        deadlines.half_close(0, id(4));
        assert_eq!(deadlines.next_ms(), Some(2 * HALF_CLOSED_MS));
    }

    #[test]
    fn each_is_popped_once_at_its_time_and_not_before() {
        let mut deadlines = deadlines();
        deadlines.start_closing(7, id(1));
        deadlines.start_closing(8, id(2));
        assert_eq!(deadlines.pop_lingering(6 + LINGER_MS), None);
        assert_eq!(deadlines.pop_lingering(7 + LINGER_MS), Some(id(1)));
        assert_eq!(deadlines.pop_lingering(7 + LINGER_MS), None);
        assert_eq!(deadlines.pop_lingering(999_999), Some(id(2)));
        deadlines.begin_handshake(7, id(3));
        assert_eq!(deadlines.pop_handshake(6 + HANDSHAKE_MS), None);
        assert_eq!(deadlines.pop_handshake(7 + HANDSHAKE_MS), Some(id(3)));
        assert_eq!(deadlines.next_ms(), None);
    }

    #[test]
    fn handshakes_that_began_in_one_second_are_looked_at_together() {
        let mut deadlines = deadlines();
        (0..1_000).for_each(|ms| deadlines.begin_handshake(ms, id(1)));
        let (mut looks, mut popped) = (0, 0);
        while let Some(now_ms) = deadlines.next_ms() {
            looks += 1;
            while deadlines.pop_handshake(now_ms).is_some() {
                popped += 1;
            }
        }
        assert_eq!((looks, popped), (6, 1_000));
    }

    #[test]
    fn the_half_closed_have_a_second_at_least_and_are_looked_at_together() {
        let mut deadlines = deadlines();
        for (slot, now_ms) in [(1, 5_000), (2, 5_400), (3, 5_999), (4, 6_000)] {
            deadlines.half_close(now_ms, id(slot));
        }
        assert_eq!(deadlines.take_half_closed(6_999, 9), []);
        assert_eq!(deadlines.take_half_closed(7_000, 2), [id(1), id(2)]);
        assert_eq!(deadlines.next_ms(), Some(7_000), "the third is still due");
        assert_eq!(deadlines.take_half_closed(7_000, 9), [id(3)]);
        assert_eq!(deadlines.take_half_closed(8_000, 9), [id(4)]);
    }

    #[test]
    fn a_reader_is_stuck_if_it_takes_nothing_and_not_if_it_takes_a_little() {
        let mut deadlines = deadlines();
        for slot in [1, 2, 3] {
            deadlines.begin_blocked(0, id(slot));
            deadlines.watch(0, id(slot));
        }
        assert!(deadlines.note_output_taken(50_000, id(2)));
        deadlines.end_blocked(id(3));
        assert_eq!(deadlines.pop_watched(OUTPUT_MS - 1), None);
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), Some((id(1), OutputStallCheckResult::Stuck)));
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), Some((id(2), OutputStallCheckResult::Takes)));
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), Some((id(3), OutputStallCheckResult::Out)));
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), None);
        assert_eq!(deadlines.next_ms(), Some(50_000 + OUTPUT_MS), "a whole time-out after it took something");
        assert_eq!(deadlines.pop_watched(50_000 + OUTPUT_MS), Some((id(2), OutputStallCheckResult::Stuck)));
    }

    #[test]
    fn one_that_is_watched_on_takes_its_place_in_the_order_of_time() {
        let mut deadlines = deadlines();
        for (slot, now_ms) in [(1, 0), (2, 10), (3, 30)] {
            deadlines.begin_blocked(now_ms, id(slot));
            deadlines.watch(now_ms, id(slot));
        }
        let tells = deadlines.note_output_taken(20, id(1));
        assert!(!tells, "the core is told at most once a second");
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), Some((id(1), OutputStallCheckResult::Takes)));
        let order: Vec<_> = std::iter::from_fn(|| deadlines.pop_watched(30 + OUTPUT_MS)).collect();
        assert_eq!(order, [2, 1, 3].map(|slot| (id(slot), OutputStallCheckResult::Stuck)));
    }

    #[test]
    fn other_times_hold_for_those_that_wait_and_keep_their_order() {
        let mut deadlines = deadlines();
        for (slot, now_ms) in [(1, 0), (2, 9_000)] {
            deadlines.begin_handshake(now_ms, id(slot));
            deadlines.begin_blocked(now_ms, id(slot));
            deadlines.watch(now_ms, id(slot));
        }
        deadlines.set_timeouts(9_500, 1_000, 2 * OUTPUT_MS);
        assert_eq!((deadlines.pop_handshake(9_499), deadlines.pop_handshake(9_500)), (None, Some(id(1))), "overdue");
        assert_eq!((deadlines.pop_handshake(9_999), deadlines.pop_handshake(10_000)), (None, Some(id(2))));
        assert_eq!(deadlines.pop_watched(2 * OUTPUT_MS - 1), None);
        assert_eq!(deadlines.pop_watched(2 * OUTPUT_MS), Some((id(1), OutputStallCheckResult::Stuck)));
        assert_eq!(deadlines.next_ms(), Some(9_000 + 2 * OUTPUT_MS));
    }

    #[test]
    fn the_core_hears_at_most_once_a_second_that_output_goes_on() {
        let mut deadlines = deadlines();
        assert!(!deadlines.note_output_taken(0, id(1)), "nothing of it waits");
        deadlines.begin_blocked(100, id(1));
        let told: Vec<u64> =
            (100..4_000).step_by(100).filter(|&now_ms| deadlines.note_output_taken(now_ms, id(1))).collect();
        assert_eq!(told, [1_100, 2_100, 3_100]);
    }
}
