//! Room for new connections when the limit is reached: connections that are being closed make room,
//! and then those on which nobody has logged in (*strangers*), the oldest first. So a crowd of
//! connections that never log in, or of one user's replaced connections, keeps nobody out.

use super::conn::{Conn, InputWaitReasons};
use super::counters::CloseCause;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::state::ConnectionListFlags;
use super::turn_work::CLOSING;
use crate::chat::contract::ConnId;
use std::collections::VecDeque;

/// The number of strangers that are passed over for one new connection, because they wait for an
/// answer.
const PASSED_OVER_MAX: usize = 64;
/// The number of entries that may be out of date, whatever the number of strangers.
const STALE_MAX: usize = 64;

/// All strangers, in the order in which they were opened. An entry stays when its connection is
/// closed or logs in; such entries are removed together when they are the most.
#[derive(Debug, Default)]
pub(super) struct StrangerQueue {
    ids: VecDeque<ConnId>,
}

impl StrangerQueue {
    /// Adds a connection that was just opened.
    pub(super) fn push(&mut self, id: ConnId) {
        self.ids.push_back(id);
    }

    /// The number of its entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Removes the entries that are out of date, if they are the most. `count`: the number of
    /// strangers.
    fn remove_stale(&mut self, count: usize, is_stranger: impl Fn(ConnId) -> bool) {
        if self.ids.len() > 2 * count + STALE_MAX {
            self.ids.retain(|&id| is_stranger(id));
            self.ids.shrink_to(2 * self.ids.len());
        }
    }
}

/// Is it waiting for the answer to a request that needs the store, or for that to be written?
fn is_being_answered<S>(conn: &Conn<S>) -> bool {
    conn.input_waits.has(InputWaitReasons::PAUSED) || conn.lists.has(ConnectionListFlags::TO_WRITE)
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Frees the place and the descriptor of a connection: of the closing one that has had the most
    /// time for its last frames, or of the oldest stranger that is not waiting for an answer, which
    /// is not told. `false`: there is none. Must not be called while a connection is served.
    #[inline(never)]
    pub(super) fn make_room(&mut self) -> bool {
        self.remove_closing() || self.evict_stranger()
    }

    /// A user can leave any number of them behind by replacing their own connection.
    fn remove_closing(&mut self) -> bool {
        while let Some(id) = self.deadlines.take_oldest_lingering() {
            if self.conns.contains(id) {
                self.remove(id);
                self.work.note_more_of_opening(CLOSING);
                return true;
            }
        }
        false
    }

    fn evict_stranger(&mut self) -> bool {
        let mut passed_over = 0;
        while passed_over < PASSED_OVER_MAX.min(self.strangers.ids.len())
            && let Some(id) = self.strangers.ids.pop_front()
        {
            let Some(conn) = self.conns.get(id).filter(|conn| !conn.had_login) else { continue };
            if is_being_answered(conn) {
                self.strangers.push(id);
                passed_over += 1;
                continue;
            }
            self.close(id, CloseCause::Evicted);
            self.remove(id);
            self.work.note_more_of_opening(CLOSING);
            return true;
        }
        false
    }

    /// A stranger was removed, or has logged in.
    pub(super) fn note_one_stranger_less(&mut self) {
        let conns = &self.conns;
        self.strangers.remove_stale(self.census.strangers(), |id| conns.get(id).is_some_and(|conn| !conn.had_login));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_are_out_of_date_are_removed_when_they_are_the_most() {
        let mut strangers = StrangerQueue::default();
        for slot in 0..1_000 {
            strangers.push(ConnId { slot, generation: 0 });
        }
        strangers.remove_stale(900, |_| panic!("nearly all of them are strangers"));
        strangers.remove_stale(400, |id| id.slot >= 600);
        let left: Vec<u32> = strangers.ids.iter().map(|id| id.slot).collect();
        assert_eq!(left, (600..1_000).collect::<Vec<_>>(), "in their order");
        strangers.remove_stale(0, |_| false);
        assert!(strangers.ids.is_empty() && strangers.ids.capacity() < 64, "{}", strangers.ids.capacity());
    }
}
