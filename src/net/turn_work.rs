//! The connections that have work, each kind in a queue of its own, and the work that the
//! connection being served may still do. The order in which the queues are served is in `turns`.

use super::counters::CloseCause;
use super::state::ConnectionListFlags;
use crate::chat::contract::ConnId;
use std::collections::VecDeque;

/// The number of connections that are prefetched before the first of them is served: about as many
/// cache misses as a processor can have in flight.
pub(super) const PREFETCHED_AT_ONCE: usize = 8;

/// A unit of work is about 2 ns; this many make a microsecond. The costs below come from profiles
/// of the release build. An error of a factor of two does no harm: only the ratios between them
/// decide whether turns are fair.
pub(super) const MICROSECOND: i64 = 512;

/// One usual input: a message (4) or an ack (5) without escapes.
pub(super) const INPUT: i64 = MICROSECOND;
/// Any other input, also one that cannot be parsed.
pub(super) const ODD_INPUT: i64 = 2 * MICROSECOND;
/// Reading a byte on the usual way.
pub(super) const BYTE: i64 = 1;
/// One raw byte off the fast path: it is scanned for structure, and kept until its envelope is
/// whole.
pub(super) const ODD_BYTE: i64 = 1;
/// Parsing one byte of an envelope off the fast path.
pub(super) const PARSED_BYTE: i64 = 3;
/// Parsing one escape of a string there: each of several passes stops at it.
pub(super) const ESCAPE: i64 = 12;
/// One byte of a WebSocket frame: unmasking, parsing and everything else.
pub(super) const FRAME_BYTE: i64 = 2;
/// One call of the system that reads.
pub(super) const READ: i64 = 2 * MICROSECOND;
/// One more connection that is to be written in this turn.
const WRITE: i64 = 4 * MICROSECOND;
/// Accepting a connection.
const OPENING: i64 = 25 * MICROSECOND;
/// Giving one a piece of a file.
pub(super) const PIECE: i64 = 4 * MICROSECOND;
/// Closing a connection (last frame, end of stream, release), or reading and discarding input of
/// one that is being closed.
pub(super) const CLOSING: i64 = 16 * MICROSECOND;

/// The queues of which a turn serves only a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnReadQueueKind {
    /// Connections of users with more input than one turn takes.
    Backlog,
    /// Connections that are not logged in and were just woken.
    WokenStrangers,
    /// Such connections with more input than they were allowed so far.
    Strangers,
}

/// The connections that have work, and the work that the one being served may still do. The flags
/// of a connection (`lists`) say whether it is queued already, so that it is in no queue twice.
#[derive(Debug, Default)]
pub(super) struct ConnectionWorkQueues {
    /// To be read: connections that an edge has woken.
    ready: Vec<ConnId>,
    /// To be read: see [`ConnReadQueueKind::Backlog`].
    backlog: VecDeque<ConnId>,
    /// To be read: see [`ConnReadQueueKind::WokenStrangers`].
    woken_strangers: VecDeque<ConnId>,
    /// To be read: see [`ConnReadQueueKind::Strangers`].
    strangers: VecDeque<ConnId>,
    /// To be read: connections with a handshake step to be done.
    handshakes: VecDeque<ConnId>,
    /// Connections that get the next piece of a file.
    readers: VecDeque<ConnId>,
    /// Connections to be written before the loop sleeps.
    dirty: Vec<ConnId>,
    /// Connections to be closed for a cause that occurred while actions were applied.
    failed: Vec<(ConnId, CloseCause)>,
    /// Connections to be closed at the end of the turn.
    closing: Vec<ConnId>,
    /// The work that the connection being served may still do.
    left: i64,
    /// The work of the connections that were opened since this was last taken.
    opened: i64,
}

impl ConnectionWorkQueues {
    /// Has no connection anything to be read?
    pub(super) fn has_nothing_to_read(&self) -> bool {
        self.readable_len() == 0 && self.handshakes.is_empty()
    }

    /// Has no connection anything to do?
    pub(super) fn is_done(&self) -> bool {
        let nobody_reads = self.readers.is_empty() && self.dirty.is_empty();
        self.has_nothing_to_read() && nobody_reads && self.failed.is_empty() && self.closing.is_empty()
    }

    /// The number of connections that share a turn's reading; handshakes have work of their own.
    pub(super) fn readable_len(&self) -> usize {
        self.ready.len() + self.backlog.len() + self.woken_strangers.len() + self.strangers.len()
    }

    /// Has a connection of a user something to be read?
    pub(super) fn is_user_readable(&self) -> bool {
        !(self.ready.is_empty() && self.backlog.is_empty())
    }

    /// Queues a connection to be read in this turn, or first in the next.
    pub(super) fn queue_soon(&mut self, id: ConnId, lists: &mut ConnectionListFlags, is_user: bool) {
        if lists.enter(ConnectionListFlags::TO_READ) {
            if is_user { self.ready.push(id) } else { self.woken_strangers.push_back(id) }
        }
    }

    /// Queues a connection to be read after all others that wait already.
    pub(super) fn queue_later(&mut self, id: ConnId, lists: &mut ConnectionListFlags, is_user: bool) {
        if lists.enter(ConnectionListFlags::TO_READ) {
            self.queue(if is_user { ConnReadQueueKind::Backlog } else { ConnReadQueueKind::Strangers }).push_back(id);
        }
    }

    /// Queues a connection whose request is not whole yet, to be read in a later turn.
    pub(super) fn queue_unfinished(&mut self, id: ConnId, lists: &mut ConnectionListFlags, is_user: bool) {
        if lists.enter(ConnectionListFlags::TO_READ) {
            let queue = if is_user { ConnReadQueueKind::Backlog } else { ConnReadQueueKind::WokenStrangers };
            self.queue(queue).push_back(id);
        }
    }

    /// Queues a connection to be read for its handshake.
    pub(super) fn queue_handshake(&mut self, id: ConnId, lists: &mut ConnectionListFlags) {
        if lists.enter(ConnectionListFlags::TO_READ) {
            self.handshakes.push_back(id);
        }
    }

    /// Takes the connections that were woken, to read them one after the other.
    pub(super) fn take_ready(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.ready)
    }

    /// Takes the woken connections back after `served` of them were read. The others come before
    /// those that were queued meanwhile.
    pub(super) fn return_ready(&mut self, mut ready: Vec<ConnId>, served: usize) {
        ready.drain(..served);
        ready.append(&mut self.ready);
        self.ready = ready;
    }

    /// The length of a queue.
    pub(super) fn queue_len(&self, queue: ConnReadQueueKind) -> usize {
        match queue {
            ConnReadQueueKind::Backlog => self.backlog.len(),
            ConnReadQueueKind::WokenStrangers => self.woken_strangers.len(),
            ConnReadQueueKind::Strangers => self.strangers.len(),
        }
    }

    /// Takes the first connections of a queue, as many as there is place for. The queue must have
    /// them.
    pub(super) fn take_first(&mut self, queue: ConnReadQueueKind, some: &mut [ConnId]) {
        let first = self.queue(queue).drain(..some.len());
        for (place, id) in some.iter_mut().zip(first) {
            *place = id;
        }
    }

    /// Puts connections that were taken and not served back, before all others.
    pub(super) fn put_back(&mut self, queue: ConnReadQueueKind, some: &[ConnId]) {
        for &id in some.iter().rev() {
            self.queue(queue).push_front(id);
        }
    }

    fn queue(&mut self, queue: ConnReadQueueKind) -> &mut VecDeque<ConnId> {
        match queue {
            ConnReadQueueKind::Backlog => &mut self.backlog,
            ConnReadQueueKind::WokenStrangers => &mut self.woken_strangers,
            ConnReadQueueKind::Strangers => &mut self.strangers,
        }
    }

    /// The number of connections with a handshake step to be done.
    pub(super) fn handshakes_len(&self) -> usize {
        self.handshakes.len()
    }

    /// Takes the next connection with a handshake step to be done.
    pub(super) fn next_handshake(&mut self) -> Option<ConnId> {
        self.handshakes.pop_front()
    }

    /// Queues a connection for the next piece of its file.
    pub(super) fn queue_reader(&mut self, id: ConnId) {
        self.readers.push_back(id);
    }

    /// Takes the next connection that gets a piece of its file.
    pub(super) fn next_reader(&mut self) -> Option<ConnId> {
        self.readers.pop_front()
    }

    /// A connection has output that is to be written before the loop sleeps. The write is work of
    /// the connection being served.
    pub(super) fn mark_dirty(&mut self, id: ConnId, lists: &mut ConnectionListFlags) {
        if lists.enter(ConnectionListFlags::TO_WRITE) {
            self.left -= WRITE;
            self.dirty.push(id);
        }
    }

    /// The connections that are to be written, from this place on.
    pub(super) fn dirty_from(&self, place: usize) -> &[ConnId] {
        self.dirty.get(place..).unwrap_or_default()
    }

    /// All connections are written.
    pub(super) fn clear_dirty(&mut self) {
        self.dirty.clear();
    }

    /// A connection is to be closed for this cause as soon as nothing uses it.
    pub(super) fn fail(&mut self, id: ConnId, cause: CloseCause) {
        self.failed.push((id, cause));
    }

    /// Is a connection to be closed for such a cause?
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Takes the connections to be closed for such a cause.
    pub(super) fn take_failed(&mut self) -> Vec<(ConnId, CloseCause)> {
        std::mem::take(&mut self.failed)
    }

    /// Takes the emptied list back, to use its memory again. Connections that have failed meanwhile
    /// stay.
    pub(super) fn return_failed(&mut self, emptied: Vec<(ConnId, CloseCause)>) {
        if self.failed.is_empty() {
            self.failed = emptied;
        }
    }

    /// A connection is closed. The rest of that is work of the connection being served, and is done
    /// at the end of the turn.
    pub(super) fn begin_closing(&mut self, id: ConnId) {
        self.left -= CLOSING;
        self.closing.push(id);
    }

    /// A closed connection can go on at the end of the turn.
    pub(super) fn queue_closing(&mut self, id: ConnId) {
        self.closing.push(id);
    }

    /// Can a closed connection go on?
    pub(super) fn has_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Takes the closed connections that can go on.
    pub(super) fn take_closing(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.closing)
    }

    /// Takes the emptied list back, to use its memory again.
    pub(super) fn return_closing(&mut self, emptied: Vec<ConnId>) {
        debug_assert!(self.closing.is_empty(), "a closing connection closes no other one");
        self.closing = emptied;
    }

    /// A connection was opened.
    pub(super) fn note_opened(&mut self) {
        self.opened += OPENING;
    }

    /// Opening a connection took more work than usual.
    pub(super) fn note_more_of_opening(&mut self, cost: i64) {
        self.opened += cost;
    }

    /// Takes the work of the connections that were opened.
    pub(super) fn take_opened(&mut self) -> i64 {
        std::mem::take(&mut self.opened)
    }

    /// The connection that is served from now on may do this much.
    pub(super) fn begin(&mut self, quantum: i64) {
        self.left = quantum;
    }

    /// The connection being served has caused work.
    pub(super) fn spend(&mut self, cost: i64) {
        self.left -= cost;
    }

    /// The connection being served goes on in another turn, without a debt.
    pub(super) fn end_quantum(&mut self) {
        self.left = 0;
    }

    /// Has the connection being served used up its quantum?
    pub(super) fn is_used_up(&self) -> bool {
        self.left <= 0
    }

    /// The work that the connection being served may still do; negative if it did more.
    pub(super) fn left(&self) -> i64 {
        self.left
    }

    /// Is this connection queued to be read?
    #[cfg(test)]
    pub(super) fn will_read(&self, id: ConnId) -> bool {
        let queues = [&self.backlog, &self.woken_strangers, &self.strangers, &self.handshakes];
        self.ready.contains(&id) || queues.iter().any(|queue| queue.contains(&id))
    }
}

/// Converts units to whole microseconds. Larger values do not occur, because input is bounded.
pub(super) fn to_micros(units: i64) -> u16 {
    u16::try_from(units.max(0) / MICROSECOND).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(slot: u32) -> ConnId {
        ConnId { slot, generation: 0 }
    }

    #[test]
    fn a_connection_is_in_one_queue_to_be_read_and_once() {
        let mut work = ConnectionWorkQueues::default();
        let [mut user, mut stranger, mut greeter] = [ConnectionListFlags::default(); 3];
        for _ in 0..2 {
            work.queue_soon(id(1), &mut user, true);
            work.queue_later(id(1), &mut user, true);
            work.queue_soon(id(2), &mut stranger, false);
            work.queue_later(id(2), &mut stranger, false);
            work.queue_handshake(id(3), &mut greeter);
            work.queue_soon(id(3), &mut greeter, false);
        }
        assert_eq!((work.readable_len(), work.handshakes_len()), (2, 1));
        assert!(work.is_user_readable() && !work.has_nothing_to_read());
        assert_eq!(work.take_ready(), [id(1)]);
        assert!(!work.is_user_readable());
        // It may be queued again only after it was taken off the list.
        work.queue_later(id(1), &mut user, true);
        assert_eq!(work.queue_len(ConnReadQueueKind::Backlog), 0);
        user.leave(ConnectionListFlags::TO_READ);
        work.queue_later(id(1), &mut user, true);
        assert_eq!(work.queue_len(ConnReadQueueKind::Backlog), 1);
        assert_eq!((work.next_handshake(), work.next_handshake()), (Some(id(3)), None));
    }

    #[test]
    fn a_queue_gives_the_connections_that_wait_the_longest() {
        let mut work = ConnectionWorkQueues::default();
        for slot in 1..=3 {
            work.queue_later(id(slot), &mut ConnectionListFlags::default(), false);
        }
        let mut some = [id(0); 2];
        work.take_first(ConnReadQueueKind::Strangers, &mut some);
        work.queue_later(id(4), &mut ConnectionListFlags::default(), false);
        assert_eq!((some, work.queue_len(ConnReadQueueKind::Strangers)), ([id(1), id(2)], 2));
        work.take_first(ConnReadQueueKind::Strangers, &mut some);
        assert_eq!(some, [id(3), id(4)]);
        assert!(work.has_nothing_to_read());
    }

    #[test]
    fn connections_that_are_put_back_are_the_next_ones_in_their_order() {
        let mut work = ConnectionWorkQueues::default();
        for slot in 1..=4 {
            work.queue_later(id(slot), &mut ConnectionListFlags::default(), true);
        }
        let mut some = [id(0); 3];
        work.take_first(ConnReadQueueKind::Backlog, &mut some);
        work.queue_later(id(5), &mut ConnectionListFlags::default(), true);
        work.put_back(ConnReadQueueKind::Backlog, &some[1..]);
        let mut all = [id(0); 4];
        work.take_first(ConnReadQueueKind::Backlog, &mut all);
        assert_eq!(all, [id(2), id(3), id(4), id(5)]);
    }

    #[test]
    fn woken_connections_without_a_turn_come_before_those_woken_meanwhile() {
        let mut work = ConnectionWorkQueues::default();
        for slot in 1..=3 {
            work.queue_soon(id(slot), &mut ConnectionListFlags::default(), true);
        }
        let ready = work.take_ready();
        work.queue_soon(id(4), &mut ConnectionListFlags::default(), true);
        work.return_ready(ready, 2);
        assert_eq!(work.take_ready(), [id(3), id(4)]);
    }

    #[test]
    fn connections_that_fail_while_others_are_closed_stay_on_the_list() {
        let mut work = ConnectionWorkQueues::default();
        work.fail(id(1), CloseCause::IoError);
        let mut failed = work.take_failed();
        failed.clear();
        assert!(!work.has_failed());
        work.fail(id(2), CloseCause::SlowReader);
        work.return_failed(failed);
        assert_eq!(work.take_failed(), [(id(2), CloseCause::SlowReader)]);
    }

    #[test]
    fn writes_and_closes_are_work_of_the_connection_being_served() {
        let mut work = ConnectionWorkQueues::default();
        let mut lists = ConnectionListFlags::default();
        work.begin(WRITE + CLOSING + READ);
        work.mark_dirty(id(1), &mut lists);
        work.mark_dirty(id(1), &mut lists);
        assert_eq!(work.dirty_from(0), [id(1)], "it is on the list once");
        assert!(work.dirty_from(1).is_empty() && work.dirty_from(2).is_empty());
        work.begin_closing(id(2));
        work.queue_closing(id(3));
        assert_eq!(work.left(), READ);
        assert!(!work.is_used_up());
        work.spend(READ);
        assert!(work.is_used_up());
        work.spend(5 * MICROSECOND);
        assert_eq!(to_micros(-work.left()), 5);
        work.end_quantum();
        assert!(work.is_used_up() && work.left() == 0);
        assert_eq!(work.take_closing(), [id(2), id(3)]);
        work.clear_dirty();
        assert!(work.is_done());
    }

    #[test]
    fn the_work_of_opened_connections_is_taken_once() {
        let mut work = ConnectionWorkQueues::default();
        work.note_opened();
        work.note_opened();
        assert_eq!((work.take_opened(), work.take_opened()), (2 * OPENING, 0));
    }

    #[test]
    fn the_loop_may_sleep_only_if_every_queue_is_empty() {
        let queue_one: [fn(&mut ConnectionWorkQueues, &mut ConnectionListFlags); 8] = [
            |work, lists| work.queue_soon(id(1), lists, true),
            |work, lists| work.queue_soon(id(1), lists, false),
            |work, lists| work.queue_later(id(1), lists, true),
            |work, lists| work.queue_handshake(id(1), lists),
            |work, _| work.queue_reader(id(1)),
            |work, lists| work.mark_dirty(id(1), lists),
            |work, _| work.fail(id(1), CloseCause::IoError),
            |work, _| work.queue_closing(id(1)),
        ];
        assert!(ConnectionWorkQueues::default().is_done());
        for (number, queue) in queue_one.into_iter().enumerate() {
            let mut work = ConnectionWorkQueues::default();
            queue(&mut work, &mut ConnectionListFlags::default());
            assert_eq!((work.is_done(), work.has_nothing_to_read()), (false, number >= 4), "{number}");
        }
    }

    #[test]
    fn a_debt_is_never_negative_and_never_wraps() {
        assert_eq!((to_micros(-5), to_micros(MICROSECOND), to_micros(i64::MAX)), (0, 1, u16::MAX));
    }
}
