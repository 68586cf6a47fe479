//! What a taker hands over to the owner of a receiver over the bus.

use super::super::contract::{BusRecord, LinkBatchNumber};
use super::*;

const TWO: u16 = OTHER;

/// Ann is here; Bob, her friend, belongs to node 2, to which there is a link.
fn ann() -> (TestNode, ConnId) {
    let mut node = TestNode::new();
    node.chat.use_bus();
    let ann = node.log_in("ann", &["bob"]);
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), saved_at_two());
    turn(&mut node);
    (node, ann)
}

fn saved_at_two() -> JobOutcome {
    saved(Some(owner(life(TWO, 1), 1)))
}

/// The turn ends, and node 2 confirms all that was said; gives the records.
fn turn(node: &mut TestNode) -> Vec<BusRecord> {
    node.event(CoreEvent::TurnEnded);
    let batches = std::mem::take(&mut node.published).into_iter().filter_map(|frame| frame.batch);
    let mut records = Vec::new();
    let mut last = None;
    for batch in batches {
        last = Some(batch.position);
        records.extend(batch.records);
    }
    if let Some(place) = last {
        confirm(node, place);
    }
    records
}

fn confirm(node: &mut TestNode, place: LinkBatchNumber) {
    let frame = BusFrame { view: 1, confirmed_batch: Some(place), refused_epoch: None, batch: None };
    node.event(CoreEvent::Bus { from: life(TWO, 1), frame: Box::new(frame) });
}

/// The ids of what is handed over.
fn handed(records: &[BusRecord]) -> Vec<String> {
    let pushes = records.iter().filter_map(|record| match record {
        BusRecord::Push { push, .. } => Some(push.id().to_owned()),
        _ => None,
    });
    pushes.collect()
}

fn answers(node: &TestNode) -> Vec<bool> {
    let answers = node.replies.iter().filter_map(|(_, reply)| match reply {
        Reply::Message { is_durable } => Some(*is_durable),
        _ => None,
    });
    answers.collect()
}

#[test]
fn a_message_acked_within_the_save_delay_is_never_saved() {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m2", "bob");
    node.answer(save_of("m2"), saved_at_two());
    let begins = turn(&mut node);
    assert!(matches!(begins[..], [BusRecord::Record(NodeMessage::Look { .. }), BusRecord::Begin { .. }]), "{begins:?}");
    node.say(ann, "ann", "m3", "bob");
    let records = turn(&mut node);
    let [BusRecord::Push { push, .. }] = &records[..] else { panic!("{records:?}") };
    assert_eq!(push.id(), "m3");
    node.frame(NodeMessage::Ack { user: user("bob"), seq: push.seq });
    assert_eq!(answers(&node), [true, true, true]);
    node.pass(10_000);
    assert_eq!(node.count(|job| matches!(job, Job::SavePush { .. } | Job::DeletePush { .. })), 0);
}

#[test]
fn a_message_whose_save_fails_is_refused_and_not_saved_after_a_later_one() {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m2", "bob");
    node.answer(save_of("m2"), saved_at_two());
    turn(&mut node);
    node.say(ann, "ann", "m3", "bob");
    node.say(ann, "ann", "m4", "bob");
    assert_eq!(handed(&turn(&mut node)), ["m3", "m4"]);
    node.pass(200);
    node.answer(save_of("m3"), JobOutcome::Failed);
    assert_eq!(answers(&node), [true, true, false]);
    node.answer(save_of("m4"), saved_at_two());
    assert_eq!(answers(&node), [true, true, false, true]);
    node.pass(1_000);
    node.pass(10_000);
    assert_eq!(node.count(save_of("m3")), 0, "it would come behind m4");
    let said = NodeMessage::Look { user: user("bob") };
    assert!(turn(&mut node).contains(&BusRecord::Record(said)), "it may be saved all the same");
}

#[test]
fn a_save_whose_answer_is_lost_does_not_delay_later_messages() {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m2", "bob");
    node.say(ann, "ann", "m3", "bob");
    node.answer(save_of("m2"), saved_at_two());
    node.say(ann, "ann", "m4", "bob");
    assert_eq!(node.count(save_of("m4")), 0, "it waits for m3, and then is handed over");
    node.answer(save_of("m3"), JobOutcome::Failed);
    node.pass(200);
    assert_eq!(handed(&turn(&mut node)), [""; 0]);
    node.answer(save_of("m4"), saved_at_two());
    assert_eq!(handed(&turn(&mut node)), ["m4"]);
}

#[test]
fn unsaved_messages_for_a_user_who_moves_here_are_refused() {
    let (mut node, ann) = ann();
    node.ask_log_in("bob");
    node.answer(log_in_of("bob"), elsewhere(life(TWO, 1), 1));
    node.say(ann, "ann", "m2", "bob");
    node.answer(save_of("m2"), JobOutcome::Failed);
    assert_eq!(answers(&node), [true, false], "nobody is here who could ack it");
}
