//! The owner of a receiver gets pushes that another node hands over late: their rows were read,
//! acked and deleted before.

use super::super::contract::{BusRecord, NodeLinkBatch, NodeLinkBatchNumber};
use super::*;

const SEQ: u64 = (7 << 22) | OTHER as u64;

/// Ann is here, with an empty list, and node 2 begins to hand over pushes for her.
fn ann_in_phase_1() -> (TestNode, ConnId) {
    let mut node = TestNode::new();
    node.chat.use_bus();
    let ann = node.log_in("ann", &["bob"]);
    receive(&mut node, 1, BusRecord::Begin { user: user("ann"), phase: 1 });
    node.answer(page_of("ann"), JobOutcome::Page(PushPage::default()));
    (node, ann)
}

/// Ann is here. Node 2 begins to hand over for her, and its next batch is late: meanwhile it has
/// saved m1 and told this node to look, and Ann acks m1.
fn ann_acks_a_row() -> TestNode {
    let (mut node, ann) = ann_in_phase_1();
    node.frame(NodeMessage::Look { user: user("ann") });
    node.answer(page_of("ann"), JobOutcome::Page(page(vec![message(SEQ, "bob", "m1", "ann")])));
    node.ack(ann, "m1");
    node.answer(delete_of(SEQ), JobOutcome::Deleted);
    assert_eq!(pushed(&node), ["m1"]);
    node.event(CoreInput::TurnEnded);
    node.published.clear();
    node
}

/// A batch of one record from node 2.
fn receive(node: &mut TestNode, number: u64, record: BusRecord) {
    let batch = NodeLinkBatch { position: NodeLinkBatchNumber { link: 1, number }, records: vec![record] };
    let frame = BusFrame { view: 1, confirmed_batch: None, refused_epoch: None, batch: Some(batch) };
    node.event(CoreInput::Bus { from: life(OTHER, 1), frame: Box::new(frame) });
}

/// Node 2 hands over this one, and the turn ends; gives what it is answered.
fn hand_over(node: &mut TestNode, seq: u64, id: &str) -> Vec<BusRecord> {
    receive(node, 2, BusRecord::Push { phase: 1, push: message(seq, "bob", id, "ann") });
    node.event(CoreInput::TurnEnded);
    let batches = std::mem::take(&mut node.published).into_iter().filter_map(|frame| frame.batch);
    batches.flat_map(|batch| batch.records).collect()
}

fn pushed(node: &TestNode) -> Vec<&str> {
    node.pushes.iter().map(|(_, push)| push.id()).collect()
}

fn ack_of(seq: u64) -> BusRecord {
    BusRecord::Record(NodeMessage::Ack { user: user("ann"), seq })
}

#[test]
fn a_push_that_arrives_after_the_ack_of_its_row_is_not_sent_again() {
    let mut node = ann_acks_a_row();
    let answers = hand_over(&mut node, SEQ, "m1");
    assert_eq!(pushed(&node), ["m1"]);
    assert!(answers.contains(&ack_of(SEQ)), "its taker need do no more: {answers:?}");
}

#[test]
fn a_message_with_another_number_is_not_sent_again_after_the_ack_of_its_row() {
    let mut node = ann_acks_a_row();
    let again = SEQ + (1 << 22);
    let answers = hand_over(&mut node, again, "m1");
    assert_eq!(pushed(&node), ["m1"]);
    assert!(answers.contains(&ack_of(again)), "{answers:?}");
}

#[test]
fn another_message_is_sent_after_the_ack_of_a_row() {
    let mut node = ann_acks_a_row();
    hand_over(&mut node, SEQ + (1 << 22), "m2");
    assert_eq!(pushed(&node), ["m1", "m2"]);
}

#[test]
fn an_acked_friend_request_is_not_taken_for_a_message_with_the_same_id() {
    let mut node = TestNode::new();
    node.chat.use_bus();
    let ann = node.log_in("ann", &[]);
    receive(&mut node, 1, BusRecord::Begin { user: user("ann"), phase: 1 });
    let (id, sender) = (MessageId::new("m1").unwrap(), UserNameRef::new("bob").unwrap());
    let request = Push::new(SEQ, 1, PushKind::FriendRequest, &id, &sender, user("ann"), "");
    node.answer(page_of("ann"), JobOutcome::Page(page(vec![request])));
    node.ack(ann, "m1");
    hand_over(&mut node, SEQ + (1 << 22), "m1");
    assert_eq!(pushed(&node), ["m1", "m1"]);
}

/// Its taker has saved it before it learnt of the ack.
#[test]
fn the_row_of_a_push_that_was_acked_as_a_handed_over_one_is_deleted_when_it_is_read() {
    let (mut node, ann) = ann_in_phase_1();
    hand_over(&mut node, SEQ, "m1");
    node.ack(ann, "m1");
    node.frame(NodeMessage::Look { user: user("ann") });
    node.answer(page_of("ann"), JobOutcome::Page(page(vec![message(SEQ, "bob", "m1", "ann")])));
    assert_eq!(pushed(&node), ["m1"]);
    assert_eq!(node.count(delete_of(SEQ)), 1);
}

/// Its taker has ended the phase, saved the push, and begun another phase.
#[test]
fn a_push_of_an_earlier_phase_is_refused() {
    let mut node = TestNode::new();
    node.chat.use_bus();
    node.log_in("ann", &["bob"]);
    for (number, phase) in [(1, 1), (2, 2)] {
        receive(&mut node, number, BusRecord::Begin { user: user("ann"), phase });
        node.answer(page_of("ann"), JobOutcome::Page(PushPage::default()));
    }
    node.published.clear();
    receive(&mut node, 3, BusRecord::Push { phase: 1, push: message(SEQ, "bob", "m1", "ann") });
    node.event(CoreInput::TurnEnded);
    assert_eq!(pushed(&node), [""; 0]);
    let batches = std::mem::take(&mut node.published).into_iter().filter_map(|frame| frame.batch);
    let answers: Vec<BusRecord> = batches.flat_map(|batch| batch.records).collect();
    assert!(answers.contains(&BusRecord::Record(NodeMessage::No { user: user("ann"), seq: SEQ })), "{answers:?}");
}

#[test]
fn a_push_that_comes_after_its_row_was_read_is_left_to_the_row() {
    let mut node = TestNode::new();
    node.chat.use_bus();
    let ann = node.log_in("ann", &["bob"]);
    receive(&mut node, 1, BusRecord::Begin { user: user("ann"), phase: 1 });
    node.answer(page_of("ann"), JobOutcome::Page(page(vec![message(SEQ, "bob", "m1", "ann")])));
    let answers = hand_over(&mut node, SEQ, "m1");
    let no = BusRecord::Record(NodeMessage::No { user: user("ann"), seq: SEQ });
    assert!(answers.contains(&no), "its taker waits for no ack of it: {answers:?}");
    assert_eq!(pushed(&node), ["m1"]);
    node.ack(ann, "m1");
    assert_eq!(node.count(delete_of(SEQ)), 1);
}

#[test]
fn a_push_that_comes_twice_is_listed_once_and_its_taker_learns_of_the_ack() {
    let (mut node, ann) = ann_in_phase_1();
    hand_over(&mut node, SEQ, "m1");
    receive(&mut node, 3, BusRecord::Push { phase: 1, push: message(SEQ, "bob", "m1", "ann") });
    node.ack(ann, "m1");
    node.event(CoreInput::TurnEnded);
    let batches = std::mem::take(&mut node.published).into_iter().filter_map(|frame| frame.batch);
    assert_eq!(batches.flat_map(|batch| batch.records).collect::<Vec<_>>(), [ack_of(SEQ)]);
    assert_eq!(pushed(&node), ["m1"]);
}
