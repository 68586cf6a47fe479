//! The memory budget of all connections and the core together. Running sums make a check cheap.
//! Only when the budget is exceeded, the largest connections are searched; then enough is released
//! to make that rare.

use super::conn::InputWaitReasons;
use super::counters::CloseCause;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::state::ConnectionWriteState;
use crate::chat::contract::{ConnId, CoreInput};

/// The memory of an idle connection in bytes: its entries in the tables of the hub and of the core.
const CONN_BYTES: usize = 384;
/// After a release, the budget divided by this is free.
const FREED_PART: usize = 8;
/// Connections are searched again when the budget divided by this was allocated since, or when some
/// time has passed: memory that could not be released then may be released now.
const SEARCHED_PART: usize = 16;
const SEARCH_EVERY_MS: u64 = 1_000;
/// The shortest interval between two log lines about it.
const LOG_EVERY_MS: u64 = 10_000;

/// A connection that uses less than this, in bytes, is closed only after strangers.
const LARGE_BYTES: usize = 16 * 1024;

/// The order in which connections are closed: higher ranks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ConnectionEvictionRank {
    /// Logged in, and using little.
    Small,
    /// Not logged in: very many such connections can fill a small budget even if idle.
    Stranger,
    /// Using much.
    Large,
    /// Not logged in, while all such connections together use more than those that are logged in.
    Crowd,
}

/// The state of the memory budget.
#[derive(Debug, Default)]
pub(super) struct MemoryBudgetTracker {
    /// Bytes of unused input.
    pub(super) input_bytes: usize,
    /// Releasable bytes that were left after the last search for large connections.
    left_bytes: usize,
    next_search_ms: u64,
    next_log_ms: u64,
    /// Closed connections that are not logged yet, and the bytes that they used.
    closed_count: usize,
    closed_bytes: usize,
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// The memory of everything that clients can make grow, by capacity, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.buffers.spare.memory_bytes()
            + self.memory.input_bytes
            + self.conns.len() * CONN_BYTES
            + self.addresses.proxied.memory_bytes()
            + self.chat.memory_bytes()
    }

    /// Is there no room for one more connection?
    #[must_use]
    pub fn is_memory_exceeded(&self) -> bool {
        self.memory_bytes() > self.bounds.memory_bytes_max
    }

    /// Releases memory of the largest connections if the budget is exceeded. Do not call it while
    /// an event is being handled.
    pub(super) fn check_memory(&mut self) {
        if self.is_memory_exceeded() {
            self.release_memory();
        }
    }

    /// The bytes that can be released: all except those of jobs, which are bounded and end soon.
    fn releasable_bytes(&self) -> usize {
        self.memory_bytes().saturating_sub(self.chat.memory_bytes_of_jobs())
    }

    #[cold]
    fn release_memory(&mut self) {
        let (now_ms, max) = (self.clock.now_ms(), self.bounds.memory_bytes_max);
        let grown = self.releasable_bytes() > self.memory.left_bytes + max / SEARCHED_PART;
        if now_ms < self.memory.next_search_ms && !grown {
            return;
        }
        let used = self.memory_bytes();
        let goal = max - max / FREED_PART;
        // Even if jobs use much, do not close all connections to make up for it.
        let goal = goal - self.chat.memory_bytes_of_jobs().min(goal / 2);
        // Releasing pushes that are on lists only to save another read does not affect clients.
        let too_much = self.releasable_bytes().saturating_sub(goal);
        self.dispatch(CoreInput::ReleaseMemory { bytes: too_much, windows: false });
        self.close_largest(goal);
        let too_much = self.releasable_bytes().saturating_sub(goal);
        if too_much > 0 {
            self.dispatch(CoreInput::ReleaseMemory { bytes: too_much, windows: true });
        }
        self.memory.left_bytes = self.releasable_bytes();
        self.memory.next_search_ms = now_ms + SEARCH_EVERY_MS;
        self.log_released_memory(used);
    }

    /// Closes the connections that use the most, including those that are closing already, until
    /// at most `goal` releasable bytes are left.
    fn close_largest(&mut self, goal: usize) {
        if self.releasable_bytes() <= goal {
            return;
        }
        let mut ranked: Vec<((ConnectionEvictionRank, usize), ConnId, bool)> = Vec::new();
        let (mut all_bytes, mut strangers_bytes) = (0, 0);
        for id in self.conns.keys() {
            let Some(conn) = self.conns.get(id) else { continue };
            let bytes = CONN_BYTES + conn.memory_bytes() + self.chat.memory_bytes_of(id);
            let rank = match bytes {
                LARGE_BYTES.. => ConnectionEvictionRank::Large,
                _ if !conn.had_login => ConnectionEvictionRank::Stranger,
                _ => ConnectionEvictionRank::Small,
            };
            all_bytes += bytes;
            strangers_bytes += if conn.had_login { 0 } else { bytes };
            ranked.push(((rank, bytes), id, conn.had_login));
        }
        if strangers_bytes > all_bytes / 2 {
            // Each of them uses little, and together they fill the budget: close them before a
            // user with much output.
            let strangers = ranked.iter_mut().filter(|(_, _, known)| !known);
            strangers.for_each(|((rank, _), _, _)| *rank = ConnectionEvictionRank::Crowd);
        }
        ranked.sort_unstable_by_key(|&(key, _, _)| std::cmp::Reverse(key));
        // Connections that are closed now leave the tables a little later.
        let mut closing = 0;
        for ((_, bytes), id, _) in ranked {
            if self.releasable_bytes().saturating_sub(closing * CONN_BYTES) <= goal {
                return;
            }
            if self.conns.get(id).is_some_and(super::conn::Conn::is_open) {
                self.close(id, CloseCause::Memory);
                closing += 1;
            } else {
                self.remove(id);
            }
            self.memory.closed_count += 1;
            self.memory.closed_bytes += bytes;
        }
    }

    fn log_released_memory(&mut self, used: usize) {
        let now_ms = self.clock.now_ms();
        if now_ms < self.memory.next_log_ms {
            return;
        }
        self.memory.next_log_ms = now_ms + LOG_EVERY_MS;
        let closed = std::mem::take(&mut self.memory.closed_count);
        let closed_bytes = std::mem::take(&mut self.memory.closed_bytes);
        log::warn!(
            "clients held {used} bytes of {} (--memory-max): {closed} connections that held the most, {closed_bytes} bytes, \
             were closed; {} bytes are held now, {} connections were refused so far",
            self.bounds.memory_bytes_max,
            self.memory_bytes(),
            self.counters.refused_at_memory_limit
        );
    }

    /// Updates the count of a connection's input, after it was served.
    pub(super) fn count_input(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.count_input(&mut self.memory.input_bytes);
        }
    }

    /// Closes a connection that is not logged in if it does not read its output. Called after its
    /// output has grown.
    pub(super) fn check_stranger_output(&mut self, id: ConnId) {
        let max = self.bounds.stranger_output_bytes_max;
        if self.conns.get(id).is_some_and(|conn| !conn.had_login && conn.output.len() > max) {
            self.close_blocked_stranger(id);
        }
    }

    #[cold]
    fn close_blocked_stranger(&mut self, id: ConnId) {
        let max = self.bounds.stranger_output_bytes_max;
        let Some(conn) = self.conns.get_mut(id).filter(|conn| conn.is_open()) else { return };
        // If it is blocked, the edge has not come yet, and another try would not help.
        if conn.write != ConnectionWriteState::Blocked && conn.flush(&mut self.buffers).is_err() {
            self.work.fail(id, CloseCause::IoError);
        } else if conn.output.len() > max {
            // Its further input is not handled before it is closed.
            conn.input_waits.set(InputWaitReasons::SHUT, true);
            self.work.fail(id, CloseCause::SlowReader);
        }
    }
}
