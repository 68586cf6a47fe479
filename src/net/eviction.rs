//! Room for new connections when the limit is reached: connections on which nobody has logged in
//! make place, the oldest first. So a crowd of connections that never log in keeps no user out.

use super::conn::{Conn, InputWaitReasons};
use super::counters::CloseCause;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use super::state::ConnectionListFlags;
use super::turn_work::CLOSING;
use crate::chat::contract::ConnId;

/// The number of slots that are looked at for one new connection. The oldest of a sample this large
/// is older than nearly all others, at a cost that does not grow with the number of connections.
const SLOTS_LOOKED_AT: usize = 32;

/// The slot at which the next search begins, so that each search looks at others.
#[derive(Debug, Default)]
pub(super) struct EvictionCursor(usize);

/// May it be closed for a new one? Not while its password is being checked, nor before the answer
/// to that is written.
fn is_evictable<S>(conn: &Conn<S>) -> bool {
    let is_being_answered =
        conn.input_waits.has(InputWaitReasons::PAUSED) || conn.lists.has(ConnectionListFlags::TO_WRITE);
    !conn.had_login && !is_being_answered
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Closes a connection on which nobody has logged in, without an answer, and frees its
    /// descriptor at once. It is the one among some that has been silent for the longest time.
    /// `false`: there is none among them. Must not be called while a connection is served.
    #[inline(never)]
    pub(super) fn evict_stranger(&mut self, cursor: &mut EvictionCursor) -> bool {
        let Some(id) = self.find_evictable(cursor) else { return false };
        // If it is closing already, its cause was counted.
        self.close(id, CloseCause::Evicted);
        self.remove(id);
        self.work.note_more_of_opening(CLOSING);
        true
    }

    fn find_evictable(&self, EvictionCursor(next): &mut EvictionCursor) -> Option<ConnId> {
        let slots = self.conns.slots_len();
        let mut oldest: Option<(u64, ConnId)> = None;
        for _ in 0..SLOTS_LOOKED_AT.min(slots) {
            *next = if *next + 1 < slots { *next + 1 } else { 0 };
            let Some(id) = self.conns.key_at(*next) else { continue };
            let Some(conn) = self.conns.get(id).filter(|conn| is_evictable(conn)) else { continue };
            if oldest.is_none_or(|(since_ms, _)| conn.last_input_ms < since_ms) {
                oldest = Some((conn.last_input_ms, id));
            }
        }
        oldest.map(|(_, id)| id)
    }
}
