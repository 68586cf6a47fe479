//! Who is online on other nodes, by what these say.

use super::super::contract::PresenceUpdate;
use super::*;

fn says(node: &mut TestNode, from: u16, record: NodeRecord) {
    node.event(Event::Frame { from: life(from, 1), record });
}

fn moved(node: &mut TestNode, from: u16, number: u64, is_online: bool) {
    let users = vec![PresenceUpdate { user: user("bob"), is_online, friends: vec![user("ann")] }];
    says(node, from, NodeRecord::Moved { number, users });
}

#[test]
fn a_node_that_tells_late_of_a_user_who_has_moved_on_makes_nobody_offline() {
    let mut node = TestNode::new();
    node.event(Event::View(view(2, &[(2, 1), (3, 1)])));
    node.log_in("ann", &["bob"]);
    node.chat.want_presence(&mut Vec::new());
    for from in [2, 3] {
        says(&mut node, from, NodeRecord::Present { number: 1, is_first: true, is_last: true, users: Vec::new() });
    }
    let bob = node.chat.users.find("bob").unwrap();
    // Bob was on node 3, and is on node 2 now, which says so first.
    moved(&mut node, 2, 2, true);
    moved(&mut node, 3, 2, true);
    assert!(node.chat.is_online(bob));
    moved(&mut node, 3, 3, false);
    assert!(node.chat.is_online(bob), "on node 2");
    moved(&mut node, 2, 3, false);
    assert!(!node.chat.is_online(bob));
}

#[test]
fn a_friend_who_is_here_is_named_to_other_nodes_since_they_may_move_there() {
    let mut node = TestNode::new();
    node.log_in("ann", &["bob"]);
    node.frame(NodeRecord::Who);
    node.log_in("bob", &["ann"]);
    node.pass(500);
    let moved = node.sent.iter().find_map(|(_, record)| match record {
        NodeRecord::Moved { users, .. } => Some(users.clone()),
        _ => None,
    });
    assert_eq!(moved, Some(vec![PresenceUpdate { user: user("bob"), is_online: true, friends: vec![user("ann")] }]));
}

#[test]
fn one_who_was_told_among_all_and_goes_at_once_is_told_to_be_gone() {
    let mut node = TestNode::new();
    node.log_in("ann", &["bob"]);
    node.frame(NodeRecord::Who);
    let bob = node.log_in("bob", &["ann"]);
    // Node 2 asks again before it was told of Bob.
    node.frame(NodeRecord::Who);
    node.event(Event::Closed { conn: bob });
    for _ in 0..4 {
        node.pass(500);
    }
    let is_gone = |record: &NodeRecord| match record {
        NodeRecord::Moved { users, .. } => users.iter().any(|moved| moved.user == user("bob") && !moved.is_online),
        _ => false,
    };
    assert!(node.sent.iter().any(|(_, record)| is_gone(record)), "{:?}", node.sent);
}
