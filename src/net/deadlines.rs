//! When connections are looked at next. Each kind of deadline has a queue in the order of time, so
//! that nothing ever looks at all connections. No clock inside: it is told the time.
//!
//! An entry is not taken back when its reason is gone. Who pops it looks whether it still holds;
//! an id that finds no connection is one that was closed meanwhile.

use crate::chat::contract::ConnId;
use std::collections::{HashMap, VecDeque};

/// How long a closing connection may take to take its last words, and to end its side.
const LINGER_MS: u64 = 5_000;
/// How long a client that ended its side, soon after it said something, is given at least. After
/// each such time those that are owed no answer are closed, all in one look at what is owed.
pub(super) const HALF_CLOSED_MS: u64 = 1_000;
/// Handshakes are looked at at most so often within their time-out: after a storm of log-ins the
/// loop would be woken for each of them.
const HANDSHAKE_STEPS: u64 = 50;
/// The core is told that waiting output goes on at most once in this time.
const DRAINED_EVERY_MS: u64 = 1_000;

/// Connections, in the order of the times at which they are looked at.
type Queue = VecDeque<(u64, ConnId)>;

/// When a connection whose output waits took something of it.
#[derive(Clone, Copy, Debug)]
struct Took {
    /// Last.
    at_ms: u64,
    /// When the core was told so last.
    told_ms: u64,
}

/// What a look at a connection that was watched found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// Everything is out. It is watched no longer.
    Out,
    /// It took something of late, and is watched on.
    Takes,
    /// It took nothing for too long.
    Stuck,
}

/// The deadlines of all connections.
#[derive(Debug)]
pub(super) struct Deadlines {
    handshake_timeout_ms: u64,
    output_timeout_ms: u64,
    /// Closing connections whose last words wait.
    lingering: Queue,
    /// Connections whose client ended its side and may have answers coming.
    half_closed: Queue,
    /// Connections that have begun an HTTP request.
    handshakes: Queue,
    /// Connections whose output waits, or waited since they were looked at last.
    watched: Queue,
    /// When each of those whose output waits last took something.
    took: HashMap<ConnId, Took>,
}

impl Deadlines {
    /// None yet.
    #[must_use]
    pub(super) fn new(handshake_timeout_ms: u64, output_timeout_ms: u64) -> Self {
        Self {
            handshake_timeout_ms,
            output_timeout_ms,
            lingering: Queue::new(),
            half_closed: Queue::new(),
            handshakes: Queue::new(),
            watched: Queue::new(),
            took: HashMap::new(),
        }
    }

    /// Other times hold from now on, also for those that wait already.
    pub(super) fn set_timeouts(&mut self, now_ms: u64, handshake_ms: u64, output_ms: u64) {
        move_all(&mut self.handshakes, now_ms, self.handshake_timeout_ms, handshake_ms);
        move_all(&mut self.watched, now_ms, self.output_timeout_ms, output_ms);
        (self.handshake_timeout_ms, self.output_timeout_ms) = (handshake_ms, output_ms);
    }

    /// When a connection is to be looked at.
    #[must_use]
    pub(super) fn next_ms(&self) -> Option<u64> {
        let first_ms = |queue: &Queue| queue.front().map(|(due_ms, _)| *due_ms);
        let step_ms = (self.handshake_timeout_ms / HANDSHAKE_STEPS).max(1);
        let handshake_ms = first_ms(&self.handshakes).map(|due_ms| due_ms.next_multiple_of(step_ms));
        [first_ms(&self.lingering), first_ms(&self.half_closed), handshake_ms, first_ms(&self.watched)]
            .into_iter()
            .flatten()
            .min()
    }

    /// A closing connection is given time.
    pub(super) fn linger(&mut self, now_ms: u64, id: ConnId) {
        self.lingering.push_back((now_ms + LINGER_MS, id));
    }

    /// A closing connection whose time is over.
    pub(super) fn pop_lingering(&mut self, now_ms: u64) -> Option<ConnId> {
        pop_due(&mut self.lingering, now_ms)
    }

    /// A connection has begun a handshake.
    pub(super) fn begin_handshake(&mut self, now_ms: u64, id: ConnId) {
        self.handshakes.push_back((now_ms + self.handshake_timeout_ms, id));
    }

    /// A connection whose handshake must be done by now.
    pub(super) fn pop_handshake(&mut self, now_ms: u64) -> Option<ConnId> {
        pop_due(&mut self.handshakes, now_ms)
    }

    /// A connection whose client has ended its side is given time for its answers. The looks of all
    /// are at the same times, so that there are few of them.
    pub(super) fn half_close(&mut self, now_ms: u64, id: ConnId) {
        let look_ms = (now_ms / HALF_CLOSED_MS + 2) * HALF_CLOSED_MS;
        self.half_closed.push_back((look_ms, id));
    }

    /// Those of them whose time has come, so many at most. The others stay due.
    pub(super) fn take_half_closed(&mut self, now_ms: u64, count_max: usize) -> Vec<ConnId> {
        let due = self.half_closed.partition_point(|(look_ms, _)| *look_ms <= now_ms);
        self.half_closed.drain(..due.min(count_max)).map(|(_, id)| id).collect()
    }

    /// Output of a connection waits from now on.
    pub(super) fn begin_blocked(&mut self, now_ms: u64, id: ConnId) {
        self.took.insert(id, Took { at_ms: now_ms, told_ms: now_ms });
    }

    /// Its output waits no longer, or is of no interest any more.
    pub(super) fn end_blocked(&mut self, id: ConnId) {
        self.took.remove(&id);
    }

    /// It took something of what waits. Is the core to be told?
    #[must_use]
    pub(super) fn note_taken(&mut self, now_ms: u64, id: ConnId) -> bool {
        let Some(took) = self.took.get_mut(&id) else { return false };
        took.at_ms = now_ms;
        let tells = now_ms - took.told_ms >= DRAINED_EVERY_MS;
        if tells {
            took.told_ms = now_ms;
        }
        tells
    }

    /// Watches a connection whose output waits from now on. Once watched it stays so until it is
    /// looked at, however often its output comes and goes: this is for one that is not.
    pub(super) fn watch(&mut self, now_ms: u64, id: ConnId) {
        self.watched.push_back((now_ms + self.output_timeout_ms, id));
    }

    /// Looks at the next watched connection whose time has come.
    pub(super) fn pop_watched(&mut self, now_ms: u64) -> Option<(ConnId, Watched)> {
        let id = pop_due(&mut self.watched, now_ms)?;
        let Some(took) = self.took.get(&id) else { return Some((id, Watched::Out)) };
        let deadline_ms = took.at_ms + self.output_timeout_ms;
        if deadline_ms <= now_ms {
            return Some((id, Watched::Stuck));
        }
        let place = self.watched.partition_point(|(look_ms, _)| *look_ms <= deadline_ms);
        self.watched.insert(place, (deadline_ms, id));
        Some((id, Watched::Takes))
    }

    /// How many entries the queue of the watched has.
    #[cfg(test)]
    pub(super) fn watched_len(&self) -> usize {
        self.watched.len()
    }
}

/// The first of a queue, if its time has come.
fn pop_due(queue: &mut Queue, now_ms: u64) -> Option<ConnId> {
    let &(_, id) = queue.front().filter(|(due_ms, _)| *due_ms <= now_ms)?;
    queue.pop_front();
    Some(id)
}

/// The wait of all in a queue was so long, and is so long from now on. Their order stays.
fn move_all(queue: &mut Queue, now_ms: u64, old_ms: u64, new_ms: u64) {
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

    fn deadlines() -> Deadlines {
        Deadlines::new(HANDSHAKE_MS, OUTPUT_MS)
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
        deadlines.linger(0, id(3));
        assert_eq!(deadlines.next_ms(), Some(LINGER_MS));
        deadlines.half_close(0, id(4));
        assert_eq!(deadlines.next_ms(), Some(2 * HALF_CLOSED_MS));
    }

    #[test]
    fn each_is_popped_once_at_its_time_and_not_before() {
        let mut deadlines = deadlines();
        deadlines.linger(7, id(1));
        deadlines.linger(8, id(2));
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
    fn who_takes_nothing_of_what_waits_is_stuck_and_who_takes_a_little_is_not() {
        let mut deadlines = deadlines();
        for slot in [1, 2, 3] {
            deadlines.begin_blocked(0, id(slot));
            deadlines.watch(0, id(slot));
        }
        assert!(deadlines.note_taken(50_000, id(2)));
        deadlines.end_blocked(id(3));
        assert_eq!(deadlines.pop_watched(OUTPUT_MS - 1), None);
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), Some((id(1), Watched::Stuck)));
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), Some((id(2), Watched::Takes)));
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), Some((id(3), Watched::Out)));
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), None);
        assert_eq!(deadlines.next_ms(), Some(50_000 + OUTPUT_MS), "a whole time-out after it took something");
        assert_eq!(deadlines.pop_watched(50_000 + OUTPUT_MS), Some((id(2), Watched::Stuck)));
    }

    #[test]
    fn one_that_is_watched_on_takes_its_place_in_the_order_of_time() {
        let mut deadlines = deadlines();
        for (slot, now_ms) in [(1, 0), (2, 10), (3, 30)] {
            deadlines.begin_blocked(now_ms, id(slot));
            deadlines.watch(now_ms, id(slot));
        }
        let tells = deadlines.note_taken(20, id(1));
        assert!(!tells, "the core hears of it at most once a second");
        assert_eq!(deadlines.pop_watched(OUTPUT_MS), Some((id(1), Watched::Takes)));
        let order: Vec<_> = std::iter::from_fn(|| deadlines.pop_watched(30 + OUTPUT_MS)).collect();
        assert_eq!(order, [2, 1, 3].map(|slot| (id(slot), Watched::Stuck)));
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
        assert_eq!(deadlines.pop_watched(2 * OUTPUT_MS), Some((id(1), Watched::Stuck)));
        assert_eq!(deadlines.next_ms(), Some(9_000 + 2 * OUTPUT_MS));
    }

    #[test]
    fn the_core_hears_at_most_once_a_second_that_output_goes_on() {
        let mut deadlines = deadlines();
        assert!(!deadlines.note_taken(0, id(1)), "nothing of it waits");
        deadlines.begin_blocked(100, id(1));
        let told: Vec<u64> = (100..4_000).step_by(100).filter(|&now_ms| deadlines.note_taken(now_ms, id(1))).collect();
        assert_eq!(told, [1_100, 2_100, 3_100]);
    }
}
