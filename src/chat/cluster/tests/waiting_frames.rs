//! Frames with a newer view than that of this node wait until it is read, and for nothing else.

use super::*;
use crate::chat::cluster::contract::{BusRecord, NodeLinkBatch, NodeLinkBatchNumber};

/// The third node says something, and has read the view of this number.
fn receive_from_third(node: &mut TestNode, view: u64) {
    let frame = BusFrame { view, confirmed_batch: None, refused_epoch: Some(1), batch: None };
    node.event(CoreInput::Bus { from: life(3, 1), frame: Box::new(frame) });
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
    node.event(CoreInput::View(view(2, &[(OTHER, 1), (3, 1)])));
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
    node.event(CoreInput::View(view(3, &[(OTHER, 1)])));
    assert!(!node.chat.has_waiting_frames());
    // The next one that is newer asks for a view at once.
    receive_from_third(&mut node, 4);
    assert_eq!(node.views_asked, 2);
}

/// This epoch of the other node says that something was saved for ann; it has read this view.
fn receive_look(node: &mut TestNode, epoch: u64, view: u64) {
    let position = NodeLinkBatchNumber { link: 1, number: 1 };
    let records = vec![BusRecord::Record(NodeMessage::Look { user: user("ann") })];
    let batch = Some(NodeLinkBatch { position, records });
    let frame = BusFrame { view, confirmed_batch: None, refused_epoch: None, batch };
    node.event(CoreInput::Bus { from: life(OTHER, epoch), frame: Box::new(frame) });
}

#[test]
fn a_frame_of_a_living_node_with_a_newer_view_waits_until_the_view_is_read() {
    let mut node = node_with_bus();
    node.log_in("ann", &[]);
    receive_look(&mut node, 1, 2);
    assert_eq!(node.views_asked, 1);
    assert!(node.chat.has_waiting_frames());
    assert_eq!(node.count(page_of("ann")), 0, "its records are not taken before the view");
    // The database may answer with the old view.
    node.event(CoreInput::View(view(1, &[(OTHER, 1)])));
    assert!(node.chat.has_waiting_frames());
    node.event(CoreInput::View(view(2, &[(OTHER, 1), (3, 1)])));
    assert!(!node.chat.has_waiting_frames());
    assert_eq!(node.count(page_of("ann")), 1);
}

#[test]
fn a_frame_of_a_fenced_epoch_is_dropped() {
    let mut node = node_with_bus();
    node.event(CoreInput::View(view(2, &[(OTHER, 2)])));
    node.log_in("ann", &[]);
    // Whatever view it names.
    for view in 1..=3 {
        receive_look(&mut node, 1, view);
    }
    assert_eq!(node.views_asked, 0);
    assert!(!node.chat.has_waiting_frames());
    assert_eq!(node.count(page_of("ann")), 0);
    receive_look(&mut node, 2, 2);
    assert_eq!(node.count(page_of("ann")), 1, "its next life is heard");
}
