//! The signs of life of all nodes, as one node has seen them: when the last new one came from each,
//! and since when the same record is the first in the inbox of the node.

use crate::chat::contract::{ClusterView, NodeId};
use mysql::Row;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How the nodes are, as one of them sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLivenessFigures {
    /// The nodes that live.
    pub alive_nodes: usize,
    /// The age of the oldest of their last signs of life.
    pub sign_of_life_age: Duration,
    /// The age of this node's own last sign of life.
    pub own_sign_age: Duration,
    /// Signs of life that could not be given.
    pub failures: u64,
    /// Other nodes that this one has fenced.
    pub fences: u64,
    /// How often this process was fenced.
    pub fence_count: u64,
    /// For how long the first record in the inbox of this node was the same.
    pub inbox_age: Duration,
}

/// A sign of life: the epoch of a node, and the number of signs that it gave.
type NodeHeartbeatCount = (u64, u64);

/// The last new sign of life of one node, with the time when it was seen, and its inbox.
struct NodeLastSeen {
    last_sign: (NodeHeartbeatCount, Instant),
    /// The first record in its inbox, by its id, and since when it is the first.
    first_inbox_record: Option<(u64, Instant)>,
}

/// The time when the last new sign of life of each node was seen.
#[derive(Default)]
pub(super) struct LastNodeHeartbeats(Mutex<HashMap<u16, NodeLastSeen>>);

impl LastNodeHeartbeats {
    fn nodes(&self) -> MutexGuard<'_, HashMap<u16, NodeLastSeen>> {
        // Nothing that is done under it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn update(&self, view: &ClusterView, beats: &[u64]) {
        let (mut seen, now) = (self.nodes(), Instant::now());
        for (state, &beats) in view.nodes.iter().zip(beats) {
            let sign = (state.last.epoch, beats);
            let last = seen
                .entry(state.last.node.get())
                .or_insert(NodeLastSeen { last_sign: (sign, now), first_inbox_record: None });
            if last.last_sign.0 != sign {
                last.last_sign = (sign, now);
            }
        }
        // Those that were forgotten before their end was read do not count as living.
        seen.retain(|node, _| NodeId::new(*node).is_some_and(|node| view.node(node).is_some()));
    }

    /// Notes the first record in the inbox of each node, or that the inbox is empty.
    pub(super) fn note_first_inbox_records(&self, first: &[(u16, Option<u64>)]) {
        let (mut seen, now) = (self.nodes(), Instant::now());
        for &(node, id) in first {
            if let Some(last) = seen.get_mut(&node)
                && last.first_inbox_record.map(|(id, _)| id) != id
            {
                last.first_inbox_record = id.map(|id| (id, now));
            }
        }
    }

    /// The number of nodes that are alive, and the age of the oldest of their last signs of life.
    pub(super) fn alive_nodes(&self) -> (usize, Duration) {
        let seen = self.nodes();
        let living = seen.values().map(|node| node.last_sign).filter(|((_, beats), _)| *beats > 0);
        living.fold((0, Duration::ZERO), |(count, age), (_, at)| (count + 1, age.max(at.elapsed())))
    }

    pub(super) fn sign_age(&self, node: u16) -> Option<Duration> {
        self.nodes().get(&node).map(|seen| seen.last_sign.1.elapsed())
    }

    /// For how long the same record is the first in the inbox of a node. `None`: it is empty.
    pub(super) fn inbox_age(&self, node: u16) -> Option<Duration> {
        self.nodes().get(&node)?.first_inbox_record.map(|(_, at)| at.elapsed())
    }
}

/// The first record in the inbox of each node, in the rows of `VIEW_AND_FIRST_RECORDS`.
pub(super) fn first_inbox_records_of(rows: &[Row]) -> Vec<(u16, Option<u64>)> {
    let first = |row: &Row| {
        let node = row.get_opt::<u16, _>(1)?.ok()?;
        Some((node, row.get_opt::<Option<u64>, _>(7)?.ok()?))
    };
    rows.iter().filter_map(first).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::contract::{NodeIncarnation, NodeRow};

    #[test]
    fn a_node_that_is_in_the_view_no_more_does_not_count_as_living() {
        let state = |node| {
            let last = NodeIncarnation { node: NodeId::new(node).unwrap(), epoch: 1 };
            NodeRow { last, hlc_limit: 0, is_alive: true }
        };
        let seen = LastNodeHeartbeats::default();
        seen.update(&ClusterView { number: 1, nodes: [state(1), state(2)].into() }, &[1, 1]);
        assert_eq!(seen.alive_nodes().0, 2);
        // It was fenced and forgotten between two reads.
        seen.update(&ClusterView { number: 3, nodes: [state(1)].into() }, &[2]);
        assert_eq!((seen.alive_nodes().0, seen.sign_age(2)), (1, None));
    }

    #[test]
    fn the_age_of_an_inbox_is_that_of_the_first_record_that_is_still_there() {
        let seen = LastNodeHeartbeats::default();
        let last = NodeIncarnation { node: NodeId::new(2).unwrap(), epoch: 1 };
        let view = ClusterView { number: 1, nodes: [NodeRow { last, hlc_limit: 0, is_alive: true }].into() };
        seen.update(&view, &[1]);
        assert_eq!(seen.inbox_age(2), None);
        let since = |seen: &LastNodeHeartbeats| seen.nodes()[&2].first_inbox_record.map(|(_, at)| at);
        seen.note_first_inbox_records(&[(2, Some(7)), (3, Some(1))]);
        let first = since(&seen);
        seen.note_first_inbox_records(&[(2, Some(7))]);
        assert!(first.is_some() && since(&seen) == first, "it waits on");
        while Some(Instant::now()) == first {}
        seen.note_first_inbox_records(&[(2, Some(8))]);
        assert!(since(&seen) > first, "another one");
        seen.note_first_inbox_records(&[(2, None)]);
        assert_eq!((seen.inbox_age(2), seen.inbox_age(3), seen.sign_age(3)), (None, None, None));
    }
}
