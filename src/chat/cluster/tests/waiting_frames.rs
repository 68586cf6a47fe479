//! Frames of nodes that this one does not know wait for a newer view, and for nothing else.

use super::*;

/// The third node says something, and has read the view of this number.
fn receive_from_third(node: &mut TestNode, view: u64) {
    let frame = BusFrame { view, confirmed_batch: None, refused_epoch: Some(1), batch: None };
    node.event(CoreEvent::Bus { from: life(3, 1), frame: Box::new(frame) });
}

fn node_with_bus() -> TestNode {
    let mut node = TestNode::new();
    node.chat.use_bus();
    node
}

#[test]
fn a_frame_of_a_node_that_has_just_started_waits_for_its_view() {
    let mut node = node_with_bus();
    receive_from_third(&mut node, 2);
    assert_eq!(node.views_asked, 1);
    assert!(node.chat.has_waiting_frames());
    node.event(CoreEvent::View(view(2, &[(OTHER, 1), (3, 1)])));
    assert!(!node.chat.has_waiting_frames());
}

#[test]
fn a_frame_of_a_node_that_was_forgotten_is_dropped() {
    let mut node = node_with_bus();
    for _ in 0..10 {
        receive_from_third(&mut node, 1);
    }
    assert_eq!(node.views_asked, 0, "this view is not older than the frame's");
    assert!(!node.chat.has_waiting_frames());
}

#[test]
fn a_frame_of_a_node_that_was_forgotten_before_its_view_was_read_is_dropped_then() {
    let mut node = node_with_bus();
    receive_from_third(&mut node, 2);
    node.event(CoreEvent::View(view(3, &[(OTHER, 1)])));
    assert!(!node.chat.has_waiting_frames());
    // The next one that is newer asks for a view at once.
    receive_from_third(&mut node, 4);
    assert_eq!(node.views_asked, 2);
}
