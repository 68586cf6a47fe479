//! The order in which connections are served: deficit round robin over those with something to
//! read, by work and not by bytes.
//!
//! There are two queues for users, as in fair queueing for networks. *Ready* holds connections that
//! an epoll edge has just woken. They are served first, one quantum each, which is nearly always
//! enough. A connection with more input goes to the back of the *backlog*; each turn serves as much
//! of it as the turn's budget allows. So a client that sends little waits for one turn, and not for
//! a whole round of clients that never stop; those share the rest.
//!
//! Connections on which nobody has logged in are *strangers*, with two such queues of their own:
//! most of their work goes to those that were just woken, so that a log-in does not wait behind
//! strangers that never stop. A stranger whose client has ended its side comes after the others: it
//! may wait for an answer, but usually its client is gone. While users have input, a turn does
//! little for strangers: however many there are, they do not make turns much longer.
//!
//! A connection that used more than the quantum (an input is never split) has a debt, and is
//! skipped until it is repaid.

use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::state::ConnectionListFlags;
use super::turn_work::{CLOSING, ConnReadQueueKind, MICROSECOND, PREFETCHED_AT_ONCE, to_micros};
use crate::chat::contract::ConnId;

/// Serving a connection at all.
const SERVED: i64 = MICROSECOND;
/// Skipping a connection that repays its debt.
const PASSED_OVER: i64 = MICROSECOND / 8;

/// The work that all waiting connections share.
const TURN: i64 = 3_000 * MICROSECOND;
/// The part of the backlog that one turn serves. A message between friends takes up to three turns
/// (message, ack, `MS`), and a shorter turn costs only one more wait for events.
const BACKLOG_TURN: i64 = TURN / 3;
/// The quantum of one connection when few wait: batching is nearly everything for the throughput.
pub(super) const QUANTUM_MAX: i64 = 1_000 * MICROSECOND;
/// And when very many do: a client with sixteen requests in flight is served in one go.
const QUANTUM_MIN: i64 = 24 * MICROSECOND;
/// The work that one turn does for connections that were just woken. The others are first in the
/// next turn.
const READY_TURN: i64 = 4 * TURN;

/// The work that one turn does for strangers beside users, and when no user has anything to say.
const STRANGERS_BESIDE_USERS: i64 = TURN / 2;
const STRANGERS_ALONE: i64 = TURN;

/// The work that this turn does for strangers. New connections were a part of it, but those that
/// are open get at least a half.
fn for_strangers(users_wait: bool, opened: i64) -> i64 {
    let work = if users_wait { STRANGERS_BESIDE_USERS } else { STRANGERS_ALONE };
    (work - opened).max(work / 2)
}

/// The part of that work for strangers that were just woken; the rest, and the work that those do
/// not need, is for strangers with more input.
fn woken_part(for_strangers: i64) -> i64 {
    for_strangers / 4 * 3
}

/// The smallest size of a read, in bytes. A read takes not much more than can be decoded, since
/// copying the rest is work, too.
const READ_BYTES_MIN: usize = 4 * 1024;

/// The number of connections accepted in one turn. It must be more than attackers open in the time
/// of a turn: a client that connects waits behind them in the queue of the listening socket.
pub(super) const ACCEPTS_PER_TURN: usize = 64;

/// The quantum of one connection when `waiting` connections have input.
fn quantum_of(waiting: usize) -> i64 {
    // Connections are bounded far below 2^32.
    (TURN / waiting.max(1) as i64).clamp(QUANTUM_MIN, QUANTUM_MAX)
}

/// The size of one read with this quantum.
fn read_bytes(quantum: i64) -> usize {
    usize::try_from(quantum / 2).map_or(READ_BYTES_MIN, |bytes| bytes.max(READ_BYTES_MIN))
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Reads connections with input: all that were just woken, and a part of the backlog.
    pub(super) fn serve_ready(&mut self) {
        // Also in a turn in which nobody says anything: the next turn must not pay for it.
        let opened = self.work.take_opened();
        if self.work.has_nothing_to_read() {
            return;
        }
        let quantum = quantum_of(self.work.readable_len());
        let mut shared = self.buffers.lend_shared();
        let bytes = read_bytes(quantum).min(shared.len());
        let users_wait = self.work.is_user_readable();
        let ready = self.work.take_ready();
        let (mut spent, mut served) = (0, 0);
        for some in ready.chunks(PREFETCHED_AT_ONCE) {
            if spent >= READY_TURN {
                break;
            }
            self.prefetch(some);
            for &id in some {
                if spent >= READY_TURN {
                    break;
                }
                spent += self.serve_conn(id, &mut shared[..bytes], quantum);
                served += 1;
            }
            self.check_memory();
        }
        self.serve_queue(ConnReadQueueKind::Backlog, BACKLOG_TURN, &mut shared[..bytes], quantum);
        let for_strangers = for_strangers(users_wait, opened);
        let spent = self.serve_queue(
            ConnReadQueueKind::WokenStrangers,
            woken_part(for_strangers),
            &mut shared[..bytes],
            quantum,
        );
        self.serve_queue(ConnReadQueueKind::Strangers, for_strangers - spent, &mut shared[..bytes], quantum);
        self.serve_handshakes(&mut shared);
        self.buffers.return_shared(shared);
        // Connections that were queued meanwhile are served in the next turn, so that they do not
        // keep the loop from writing.
        self.work.return_ready(ready, served);
    }

    /// Serves as many connections of a queue as this work allows, each at most once, so that they
    /// do not keep the loop from writing. Returns the work that they used.
    fn serve_queue(&mut self, queue: ConnReadQueueKind, work_max: i64, shared: &mut [u8], quantum: i64) -> i64 {
        let (mut waiting, mut spent) = (self.work.queue_len(queue), 0);
        while waiting > 0 && spent < work_max {
            let count = waiting.min(PREFETCHED_AT_ONCE);
            let mut some = [ConnId { slot: 0, generation: 0 }; PREFETCHED_AT_ONCE];
            self.work.take_first(queue, &mut some[..count]);
            waiting -= count;
            self.prefetch(&some[..count]);
            for (at, &id) in some[..count].iter().enumerate() {
                if spent >= work_max {
                    self.work.put_back(queue, &some[at..count]);
                    break;
                }
                spent += self.serve_conn(id, shared, quantum);
            }
            self.check_memory();
        }
        spent
    }

    /// Serves one connection. Returns the work that it used.
    fn serve_conn(&mut self, id: ConnId, shared: &mut [u8], quantum: i64) -> i64 {
        let Some(conn) = self.conns.get_mut(id) else { return SERVED };
        conn.lists.leave(ConnectionListFlags::TO_READ);
        if !conn.is_open() {
            self.work.queue_closing(id);
            return CLOSING;
        }
        if conn.is_handshaking() {
            self.queue_handshake(id);
            return PASSED_OVER;
        }
        self.serve_quantum(id, shared, quantum)
    }

    pub(super) fn serve_quantum(&mut self, id: ConnId, shared: &mut [u8], quantum: i64) -> i64 {
        let Some(conn) = self.conns.get_mut(id) else { return SERVED };
        let debt = i64::from(conn.debt_us) * MICROSECOND;
        if debt >= quantum {
            conn.debt_us = to_micros(debt - quantum);
            self.queue_later(id);
            return PASSED_OVER;
        }
        conn.debt_us = 0;
        self.work.begin(quantum - debt);
        let inputs_before = self.counters.inputs;
        let goes_on = self.serve(id, shared);
        let used = quantum - debt - self.work.left();
        let (mut handshakes, mut is_unfinished) = (false, false);
        if let Some(conn) = self.conns.get_mut(id) {
            conn.debt_us = to_micros(-self.work.left());
            handshakes = goes_on && conn.is_handshaking();
            is_unfinished = self.counters.inputs == inputs_before && conn.decoder.is_in_request();
        }
        if handshakes {
            self.queue_handshake(id);
        } else if goes_on && is_unfinished {
            self.queue_unfinished(id);
        } else if goes_on {
            self.queue_later(id);
        }
        self.close_if_input_ended(id);
        self.count_input(id);
        SERVED + used
    }

    /// Queues a connection to be served in this turn, or first in the next.
    pub(super) fn queue(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            if conn.is_abandoned() {
                self.work.queue_later(id, &mut conn.lists, conn.had_login);
            } else {
                self.work.queue_soon(id, &mut conn.lists, conn.had_login);
            }
        }
    }

    /// Queues a connection whose request is not whole yet. A stranger's stays with those that were
    /// just woken: otherwise a large sign-up would wait behind the flood of others once for each
    /// read. A request has a largest size, so this ends.
    fn queue_unfinished(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            if conn.is_abandoned() {
                self.work.queue_later(id, &mut conn.lists, conn.had_login);
            } else {
                self.work.queue_unfinished(id, &mut conn.lists, conn.had_login);
            }
        }
    }

    /// Puts a connection at the back of the backlog: it is served after all others that wait there.
    pub(super) fn queue_later(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            self.work.queue_later(id, &mut conn.lists, conn.had_login);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_connections_take_at_most_half_of_the_work_for_strangers() {
        assert_eq!(for_strangers(true, 0), STRANGERS_BESIDE_USERS);
        assert_eq!(for_strangers(true, MICROSECOND), STRANGERS_BESIDE_USERS - MICROSECOND);
        assert_eq!(for_strangers(true, TURN), STRANGERS_BESIDE_USERS / 2);
        assert_eq!(for_strangers(false, 10 * TURN), STRANGERS_ALONE / 2);
    }

    #[test]
    fn the_quantum_is_large_for_few_and_small_for_many() {
        assert_eq!(quantum_of(0), QUANTUM_MAX);
        assert_eq!(quantum_of(3), QUANTUM_MAX);
        assert_eq!(quantum_of(50), 60 * MICROSECOND);
        assert_eq!(quantum_of(100_000), QUANTUM_MIN);
        assert!(read_bytes(QUANTUM_MAX) >= 64 * 1024 && read_bytes(QUANTUM_MIN) < 8 * 1024);
    }
}
