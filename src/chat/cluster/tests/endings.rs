//! Orders of an operator that end connections on all nodes.

use super::*;
use crate::chat::contract::{AdminRequestToCore, AdminTicket};

/// The operator disconnects Ann, who is not on this node. Returns the number of the order that this
/// node sends to node 2.
fn disconnect(node: &mut TestNode) -> u64 {
    let request = AdminRequestToCore::Disconnect { name: user("ann") };
    node.event(CoreInput::Admin { ticket: AdminTicket(7), request });
    node.event(CoreInput::View(view(1, &[(OTHER, 1)])));
    let order = node.sent.iter().find_map(|(_, record)| match record {
        NodeMessage::End { order, .. } => Some(*order),
        _ => None,
    });
    assert_eq!(node.told, []);
    order.unwrap()
}

#[test]
fn the_answer_of_the_other_node_decides_whether_the_user_was_disconnected() {
    for (was_here, answer) in [(true, AdminAnswerFromCore::Done), (false, AdminAnswerFromCore::NotOnline)] {
        let mut node = TestNode::new();
        let order = disconnect(&mut node);
        node.frame(NodeMessage::Ended { order, was_connected: was_here });
        assert_eq!(node.told, [answer]);
    }
}

#[test]
fn a_node_that_is_fenced_before_it_answers_is_named_and_its_users_are_not_called_offline() {
    let mut node = TestNode::new();
    disconnect(&mut node);
    node.event(CoreInput::View(view(2, &[])));
    assert_eq!(node.told, [AdminAnswerFromCore::Unconfirmed { nodes: vec![life(OTHER, 1).node] }]);
}
