//! What a node of a cluster does beside what every server does: several nodes over one store.

use super::Chat;
use super::contract::Action;
use contract::{Incarnation, Record, View};

pub mod contract;

impl Chat {
    /// This is a node of a cluster, in this life. `view` was read behind its beginning. Call it
    /// once, before the first event. The `hash_key` that [`Chat::new`] was given is that of all
    /// nodes, and its `first_seq` is not less than the node's `hlc_limit` at the beginning of this
    /// life.
    pub fn join(&mut self, me: Incarnation, view: View) {
        _ = (me, view);
    }

    /// The `seq` of this node's next push. The shell keeps the node's `hlc_limit` far above this,
    /// and above the wall clock (in ms, shifted by [`MS_SHIFT`](contract::MS_SHIFT)): by as much as can be taken until
    /// it is written again.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.next_seq
    }

    /// The store was read again.
    pub(super) fn view_read(&mut self, _view: View, _out: &mut Vec<Action>) {}

    /// Another node says something.
    pub(super) fn frame(&mut self, _from: Incarnation, _record: Record, _out: &mut Vec<Action>) {}
}
