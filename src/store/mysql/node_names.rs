//! The names of the nodes of a cluster, for log lines and answers: operators call nodes by name.

use crate::chat::contract::{ClusterView, NodeId, NodeRow};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The names of the nodes in the last view that this node read. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SharedNodeNames(Arc<Mutex<BTreeMap<u16, String>>>);

impl SharedNodeNames {
    fn names(&self) -> MutexGuard<'_, BTreeMap<u16, String>> {
        // No change under this lock can panic half-way: a poisoned lock has complete names, too.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a node. `None`: the view does not have this node.
    #[must_use]
    pub fn name_of(&self, node: NodeId) -> Option<String> {
        self.names().get(&node.get()).cloned()
    }

    /// Replaces all names by those of a view.
    pub fn set(&self, names: impl IntoIterator<Item = (NodeId, String)>) {
        *self.names() = names.into_iter().map(|(node, name)| (node.get(), name)).collect();
    }
}

struct NamedNode {
    name: String,
    epoch: u64,
    is_alive: bool,
}

/// The nodes of the last view.
#[derive(Default)]
pub(super) struct NodeNames {
    view: Option<u64>,
    nodes: BTreeMap<u16, NamedNode>,
}

impl NodeNames {
    pub(super) fn is_of_view(&self, view: &ClusterView) -> bool {
        self.view == Some(view.number)
    }

    /// The name of a node in log lines.
    pub(super) fn name_of(&self, node: NodeId) -> String {
        let number = node.get();
        match self.nodes.get(&number) {
            Some(known) => format!("the node {} (number {number})", known.name),
            None => format!("the node with the number {number}"),
        }
    }

    /// Replaces the nodes by those of another view. Returns the log lines about the changes.
    pub(super) fn update(&mut self, view: &ClusterView, names: Vec<String>, me: NodeId) -> Vec<String> {
        let is_first = self.view.replace(view.number).is_none();
        let known = |(state, name): (&NodeRow, String)| {
            (state.last.node.get(), NamedNode { name, epoch: state.last.epoch, is_alive: state.is_alive })
        };
        let before = std::mem::replace(&mut self.nodes, view.nodes.iter().zip(names).map(known).collect());
        let living = self.nodes.values().filter(|known| known.is_alive).count();
        let living = if living == 1 { "1 node lives".to_owned() } else { format!("{living} nodes live") };
        if is_first {
            return vec![format!("this server is {} of a cluster: {living}, this one included", self.name_of(me))];
        }
        // Another node may have got the number of a node that was forgotten.
        let is_same = |was: &&NamedNode, now: &NamedNode| was.name == now.name;
        let others = self.nodes.iter().filter(|(number, _)| **number != me.get());
        let changes = others.filter_map(|(number, now)| {
            let change = match before.get(number).filter(|was| is_same(was, now)) {
                None if now.is_alive => "has joined",
                Some(was) if !was.is_alive && now.is_alive => "is back",
                Some(was) if was.is_alive && !now.is_alive => "has left or was fenced",
                Some(was) if now.is_alive && was.epoch != now.epoch => "has started again",
                _ => return None,
            };
            Some(format!("the node {} (number {number}) {change}: {living}", now.name))
        });
        // These nodes were forgotten before this node read that they had ended.
        let vanished = before.iter().filter(|(number, was)| {
            let now = self.nodes.get(number);
            was.is_alive && **number != me.get() && !now.is_some_and(|now| is_same(was, now))
        });
        let vanished = vanished
            .map(|(number, was)| format!("the node {} (number {number}) has left or was fenced: {living}", was.name));
        vanished.chain(changes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::contract::NodeIncarnation;

    #[test]
    fn only_a_node_that_comes_or_goes_writes_a_line() {
        let id = |node| NodeId::new(node).unwrap();
        let view = |number, nodes: &[(u16, u64, bool)]| {
            let state = |&(node, epoch, lives): &_| NodeRow {
                last: NodeIncarnation { node: id(node), epoch },
                hlc_limit: 0,
                is_alive: lives,
            };
            ClusterView { number, nodes: nodes.iter().map(state).collect() }
        };
        let mut known = NodeNames::default();
        let steps: [(&[_], &[&str]); 7] = [
            (&[(1, 1, true)], &["this server is the node a (number 1) of a cluster: 1 node lives, this one included"]),
            (&[(1, 1, true), (2, 1, true)], &["the node b (number 2) has joined: 2 nodes live"]),
            (&[(1, 1, true), (2, 3, true)], &["the node b (number 2) has started again: 2 nodes live"]),
            (&[(1, 1, true), (2, 4, false)], &["the node b (number 2) has left or was fenced: 1 node lives"]),
            (&[(1, 1, true), (2, 4, false), (3, 0, false)], &[]),
            (
                &[(1, 1, true), (2, 5, true), (3, 1, true)],
                &["the node b (number 2) is back: 3 nodes live", "the node c (number 3) is back: 3 nodes live"],
            ),
            (&[(1, 2, false), (2, 5, true), (3, 1, true)], &[]),
        ];
        for (number, (nodes, lines)) in (1..).zip(steps) {
            let view = view(number, nodes);
            assert!(!known.is_of_view(&view));
            let names = ["a", "b", "c"][..nodes.len()].iter().map(ToString::to_string).collect();
            assert_eq!(known.update(&view, names, id(1)), lines);
            assert!(known.is_of_view(&view));
        }
        assert_eq!(known.name_of(id(2)), "the node b (number 2)");
        assert_eq!(known.name_of(id(4)), "the node with the number 4");
        // Nodes b and c were forgotten before their end was read, and d has got the number of b.
        let names = ["a", "d"].map(str::to_owned).to_vec();
        let lines = [
            "the node b (number 2) has left or was fenced: 1 node lives",
            "the node c (number 3) has left or was fenced: 1 node lives",
            "the node d (number 2) has joined: 1 node lives",
        ];
        assert_eq!(known.update(&view(8, &[(1, 2, false), (2, 9, true)]), names, id(1)), lines);
    }
}
