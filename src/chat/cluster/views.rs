//! What has changed from one view to the next.

use super::contract::{ClusterView, NodeId};

/// Of which nodes lives began or ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ViewChanges {
    /// Those with another life, or none any more.
    pub(super) nodes: Vec<NodeId>,
    /// A life of another node is over that may have owed something: once for each.
    pub(super) any_died: bool,
}

impl ViewChanges {
    /// Those that `new` shows beside `old`, for the node `me`.
    pub(super) fn between(old: &ClusterView, new: &ClusterView, me: NodeId) -> Self {
        let mut changes = Self::default();
        for state in &new.nodes {
            let node = state.last.node;
            // One that is new has had no life before its first.
            let (epoch, lived) = old.node(node).map_or((0, false), |before| (before.last.epoch, before.lives));
            if (epoch, lived) == (state.last.epoch, state.lives) {
                continue;
            }
            changes.nodes.push(node);
            let has_died = if lived { epoch != state.last.epoch } else { state.last.epoch > epoch + 1 };
            changes.any_died |= has_died && node != me;
        }
        for gone in old.nodes.iter().filter(|before| new.node(before.last.node).is_none()) {
            changes.nodes.push(gone.last.node);
            changes.any_died |= gone.lives;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract::{Incarnation, NodeState};
    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn view(nodes: &[(u16, u64, bool)]) -> ClusterView {
        let state = |&(number, epoch, lives): &(u16, u64, bool)| NodeState {
            last: Incarnation { node: node(number), epoch },
            hlc_limit: 0,
            lives,
        };
        ClusterView { number: 1, nodes: nodes.iter().map(state).collect() }
    }

    #[test]
    fn each_life_dies_once() {
        let died = |old: &[_], new: &[_]| ViewChanges::between(&view(old), &view(new), node(9)).any_died;
        // Fenced, and only then started again.
        assert!(died(&[(1, 3, true)], &[(1, 4, false)]));
        assert!(!died(&[(1, 4, false)], &[(1, 5, true)]));
        // Started again, by which the life before is over.
        assert!(died(&[(1, 3, true)], &[(1, 4, true)]));
        // Both were seen at once.
        assert!(died(&[(1, 3, true)], &[(1, 5, true)]));
        // A whole life was overlooked.
        assert!(died(&[(1, 4, false)], &[(1, 6, false)]));
        assert!(died(&[], &[(1, 2, false)]));
        assert!(died(&[], &[(1, 2, true)]));
        // Nothing has happened, a new node has come, one that was gone was forgotten.
        assert!(!died(&[(1, 3, true)], &[(1, 3, true)]));
        assert!(!died(&[], &[(1, 1, true)]));
        assert!(!died(&[(1, 4, false)], &[]));
        assert!(died(&[(1, 3, true)], &[]));
        // This node is no other.
        assert!(!died(&[(9, 3, true)], &[(9, 5, true)]));
    }

    #[test]
    fn only_the_nodes_that_changed_are_considered() {
        let (old, new) = ([(1, 3, true), (2, 4, false), (3, 1, true)], [(1, 3, true), (2, 5, true), (4, 1, true)]);
        let changes = ViewChanges::between(&view(&old), &view(&new), node(1));
        assert_eq!(changes.nodes, [2, 4, 3].map(node));
    }
}
