//! Newcomers: connections that are not authorised yet. They have a few separate places, and take
//! none of those for authorised requests; when there are too many, the oldest one is closed.

use super::stream::AdminStream;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The number of places for newcomers.
pub const NEWCOMERS_MAX: usize = 16;
/// The shortest time that a newcomer gets: enough for a head that is under way.
const STAY: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct UnauthorisedAdminConns(Mutex<UnauthorisedAdminQueue>);

#[derive(Debug, Default)]
struct UnauthorisedAdminQueue {
    next_id: u64,
    /// The oldest first.
    waiting: VecDeque<UnauthorisedAdminEntry>,
}

#[derive(Debug)]
struct UnauthorisedAdminEntry {
    id: u64,
    opened_at: Instant,
    stream: AdminStream,
}

/// A place among them, until it is left or dropped.
#[derive(Debug)]
pub(super) struct UnauthorisedAdminSlot {
    id: u64,
    list: Arc<UnauthorisedAdminConns>,
}

impl UnauthorisedAdminConns {
    fn lock(&self) -> MutexGuard<'_, UnauthorisedAdminQueue> {
        // A panic cannot leave a change half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time until there can be room for another newcomer.
    pub(super) fn wait(&self) -> Option<Duration> {
        let list = self.lock();
        let oldest = list.waiting.front().filter(|_| list.waiting.len() >= NEWCOMERS_MAX)?;
        let left = STAY.saturating_sub(oldest.opened_at.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// Adds a newcomer; gives the connection that must be closed for it, if any.
    pub(super) fn take(self: &Arc<Self>, stream: AdminStream) -> (UnauthorisedAdminSlot, Option<AdminStream>) {
        let mut list = self.lock();
        let gone = if list.waiting.len() >= NEWCOMERS_MAX { list.waiting.pop_front() } else { None };
        let id = list.next_id;
        list.next_id += 1;
        list.waiting.push_back(UnauthorisedAdminEntry { id, opened_at: Instant::now(), stream });
        drop(list);
        (UnauthorisedAdminSlot { id, list: Arc::clone(self) }, gone.map(|gone| gone.stream))
    }
}

impl UnauthorisedAdminSlot {
    /// Leaves the place, after authorisation. `false`: it was taken away before.
    pub(super) fn release(&self) -> bool {
        let mut list = self.list.lock();
        let at = list.waiting.iter().position(|waiting| waiting.id == self.id);
        at.and_then(|at| list.waiting.remove(at)).is_some()
    }
}

impl Drop for UnauthorisedAdminSlot {
    fn drop(&mut self) {
        self.release();
    }
}
