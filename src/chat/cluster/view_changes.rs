//! The differences between two views.

use super::contract::{ClusterView, NodeId};

/// The nodes whose incarnations began or ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ClusterViewChanges {
    /// The nodes with another incarnation, or without one.
    pub(super) nodes: Vec<NodeId>,
    /// For each node whose incarnation has ended: it may not have sent all its records.
    pub(super) any_node_died: bool,
}

impl ClusterViewChanges {
    /// The differences between `old` and `new`, for the node `me`.
    pub(super) fn between(old: &ClusterView, new: &ClusterView, me: NodeId) -> Self {
        let mut changes = Self::default();
        for state in &new.nodes {
            let node = state.last.node;
            // A new node has no incarnation before its first.
            let (epoch, lived) = old.node(node).map_or((0, false), |before| (before.last.epoch, before.is_alive));
            if (epoch, lived) == (state.last.epoch, state.is_alive) {
                continue;
            }
            changes.nodes.push(node);
            let has_died = if lived { epoch != state.last.epoch } else { state.last.epoch > epoch + 1 };
            changes.any_node_died |= has_died && node != me;
        }
        for gone in old.nodes.iter().filter(|before| new.node(before.last.node).is_none()) {
            changes.nodes.push(gone.last.node);
            changes.any_node_died |= gone.is_alive;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{NodeIncarnation, NodeRow};
    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn view(nodes: &[(u16, u64, bool)]) -> ClusterView {
        let state = |&(number, epoch, lives): &(u16, u64, bool)| NodeRow {
            last: NodeIncarnation { node: node(number), epoch },
            hlc_limit: 0,
            is_alive: lives,
        };
        ClusterView { number: 1, nodes: nodes.iter().map(state).collect() }
    }

    #[test]
    fn each_life_dies_once() {
        let died = |old: &[_], new: &[_]| ClusterViewChanges::between(&view(old), &view(new), node(9)).any_node_died;
        // The node was fenced, and started again later.
        assert!(died(&[(1, 3, true)], &[(1, 4, false)]));
        assert!(!died(&[(1, 4, false)], &[(1, 5, true)]));
        // The node has started again, which ended the previous incarnation.
        assert!(died(&[(1, 3, true)], &[(1, 4, true)]));
        // Both were seen at once.
        assert!(died(&[(1, 3, true)], &[(1, 5, true)]));
        // A whole incarnation was missed.
        assert!(died(&[(1, 4, false)], &[(1, 6, false)]));
        assert!(died(&[], &[(1, 2, false)]));
        assert!(died(&[], &[(1, 2, true)]));
        // Nothing has happened, a new node has come, or a node that had left was forgotten.
        assert!(!died(&[(1, 3, true)], &[(1, 3, true)]));
        assert!(!died(&[], &[(1, 1, true)]));
        assert!(!died(&[(1, 4, false)], &[]));
        assert!(died(&[(1, 3, true)], &[]));
        // The node itself is not another node.
        assert!(!died(&[(9, 3, true)], &[(9, 5, true)]));
    }

    #[test]
    fn only_the_nodes_that_changed_are_considered() {
        let (old, new) = ([(1, 3, true), (2, 4, false), (3, 1, true)], [(1, 3, true), (2, 5, true), (4, 1, true)]);
        let changes = ClusterViewChanges::between(&view(&old), &view(&new), node(1));
        assert_eq!(changes.nodes, [2, 4, 3].map(node));
    }
}
