//! The pushes that a taker hands over to the owner of a receiver over the bus.

use super::super::contract::{BusRecord, NodeLinkBatchNumber};
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

/// The same, and from now on messages for Bob are handed over.
fn direct() -> (TestNode, ConnId) {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m2", "bob");
    node.answer(save_of("m2"), saved_at_two());
    turn(&mut node);
    (node, ann)
}

fn saved_at_two() -> JobOutcome {
    saved(Some(owner(life(TWO, 1), 1)))
}

/// The turn ends, and node 2 confirms all that was said; gives the records.
fn turn(node: &mut TestNode) -> Vec<BusRecord> {
    node.event(CoreInput::TurnEnded);
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

fn confirm(node: &mut TestNode, place: NodeLinkBatchNumber) {
    let frame = BusFrame { view: 1, confirmed_batch: Some(place), refused_epoch: None, batch: None };
    node.event(CoreInput::Bus { from: life(TWO, 1), frame: Box::new(frame) });
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
    let (mut node, ann) = direct();
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

/// Node 2 has sent m3 to Bob, whose ack comes after the refusal.
#[test]
fn a_refused_message_that_is_acked_later_is_not_delivered_again() {
    let (mut node, ann) = direct();
    node.say(ann, "ann", "m3", "bob");
    let records = turn(&mut node);
    let [BusRecord::Push { push, .. }] = &records[..] else { panic!("{records:?}") };
    node.pass(200);
    node.answer(save_of("m3"), JobOutcome::Failed);
    assert_eq!(answers(&node), [true, true, false]);
    node.frame(NodeMessage::Ack { user: user("bob"), seq: push.seq });
    assert_eq!(node.count(delete_of(push.seq)), 1, "it may be saved all the same");
    turn(&mut node);
    node.say(ann, "ann", "m3", "bob");
    assert_eq!(answers(&node), [true, true, false, true]);
    assert_eq!(handed(&turn(&mut node)), [""; 0]);
}

#[test]
fn a_refused_message_that_is_sent_again_is_saved_again() {
    let (mut node, ann) = direct();
    node.say(ann, "ann", "m3", "bob");
    turn(&mut node);
    node.pass(200);
    node.answer(save_of("m3"), JobOutcome::Failed);
    node.say(ann, "ann", "m3", "bob");
    node.answer(save_of("m3"), saved_at_two());
    assert_eq!(answers(&node), [true, true, false, true]);
    assert_eq!(handed(&turn(&mut node)), [""; 0], "node 2 has it");
}

/// It waits for m2, whose answer is late. Node 2 reads m4 from the store meanwhile.
#[test]
fn a_message_that_is_refused_before_it_can_be_handed_over_is_not_handed_over() {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m2", "bob");
    node.say(ann, "ann", "m3", "bob");
    node.answer(save_of("m2"), saved_at_two());
    node.say(ann, "ann", "m4", "bob");
    node.say(ann, "ann", "m5", "bob");
    node.pass(200);
    node.answer(save_of("m4"), JobOutcome::Failed);
    node.answer(save_of("m5"), saved_at_two());
    assert_eq!(handed(&turn(&mut node)), ["m5"], "m4 would come behind m5");
    node.answer(save_of("m3"), saved_at_two());
    assert_eq!(answers(&node), [true, true, false, true, true]);
}

#[test]
fn a_refused_message_that_node_2_does_not_have_any_more_is_a_new_one_when_sent_again() {
    let (mut node, ann) = direct();
    node.say(ann, "ann", "m3", "bob");
    let records = turn(&mut node);
    let [BusRecord::Push { push, .. }] = &records[..] else { panic!("{records:?}") };
    let seq = push.seq;
    node.pass(200);
    node.answer(save_of("m3"), JobOutcome::Failed);
    node.frame(NodeMessage::No { user: user("bob"), seq });
    assert_eq!(node.count(save_of("m3")), 0, "it was refused");
    node.say(ann, "ann", "m3", "bob");
    assert_eq!(node.count(|job| matches!(job, Job::SavePush { push } if push.id() == "m3" && push.seq > seq)), 1);
}

/// Node 2 may not have got m3. If Ann goes on to it by way of node 3, only that node can tell it.
#[test]
fn receivers_whose_node_has_not_confirmed_a_push_are_handed_over_with_the_sender() {
    let (mut node, ann) = ann();
    node.event(CoreInput::View(view(2, &[(TWO, 1), (3, 1)])));
    node.say(ann, "ann", "m2", "bob");
    node.answer(save_of("m2"), saved_at_two());
    turn(&mut node);
    node.say(ann, "ann", "m3", "bob");
    node.event(CoreInput::TurnEnded);
    node.published.clear();
    node.event(CoreInput::Record {
        from: life(3, 1),
        record: NodeMessage::Release { user: user("ann"), epoch: 1, claim: 7 },
    });
    node.answer(save_of("m3"), saved_at_two());
    node.answer(owner_of("ann"), JobOutcome::Failed);
    let records = turn(&mut node);
    let released = records.iter().find_map(|record| match record {
        BusRecord::Record(NodeMessage::Released(released)) => Some(released.dirty.listed.clone()),
        _ => None,
    });
    assert_eq!(released, Some(vec![user("bob")]));
}

/// The sender moved to node 2, sent the message again there, and came back.
#[test]
fn a_message_that_was_refused_here_and_promised_elsewhere_is_a_duplicate() {
    let (mut node, ann) = direct();
    node.say(ann, "ann", "m3", "bob");
    turn(&mut node);
    node.pass(200);
    node.answer(save_of("m3"), JobOutcome::Failed);
    node.release("ann", 1, 7);
    node.answer(owner_of("ann"), JobOutcome::Failed);
    turn(&mut node);
    let again = node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(TWO, 1), 2));
    let claim = turn(&mut node).iter().find_map(|record| match record {
        BusRecord::Record(NodeMessage::Release { claim, .. }) => Some(*claim),
        _ => None,
    });
    let key = super::super::super::dedup::DedupKey::of(node.chat.users.hash("bob"), "m3").number();
    let released = UserHandoverData {
        user: user("ann"),
        claim: claim.unwrap(),
        epoch: 2,
        clock: 1,
        dirty: dirty(&[]),
        window: vec![super::super::contract::HandoverDedupEntry { key, age_ms: 10 }],
    };
    node.frame(NodeMessage::Released(Box::new(released)));
    node.answer(claim_of("ann"), loaded(3, &["bob"], PushPage::default()));
    let before = answers(&node).len();
    node.say(again, "ann", "m3", "bob");
    assert_eq!((node.count(save_of("m3")), &answers(&node)[before..]), (0, &[true][..]));
}

/// The next incarnation of this node begins at the limit: it would give the number again.
#[test]
fn a_message_beyond_the_limit_of_the_nodes_numbers_is_not_handed_over() {
    let (mut node, ann) = direct();
    node.say(ann, "ann", "m3", "bob");
    assert_eq!(handed(&turn(&mut node)), ["m3"]);
    let mut limited = view(1, &[(TWO, 1)]);
    limited.nodes[0].hlc_limit = node.chat.next_seq() - 1;
    node.event(CoreInput::View(limited));
    node.say(ann, "ann", "m4", "bob");
    assert_eq!(handed(&turn(&mut node)), [""; 0]);
    assert_eq!(node.count(save_of("m4")), 1, "the store refuses it, or the limit is raised by then");
}

/// The read says that Bob has left node 2, so whether m3 was read there is in doubt again.
#[test]
fn an_owner_who_turns_out_to_have_moved_is_read_once_more() {
    let (mut node, ann) = direct();
    node.say(ann, "ann", "m3", "bob");
    node.say(ann, "ann", "m4", "bob");
    turn(&mut node);
    node.pass(200);
    node.answer(save_of("m3"), saved_at_two());
    node.answer(save_of("m4"), JobOutcome::Failed);
    node.answer(owner_of("bob"), owned(owner(life(1, 1), 2)));
    node.answer(owner_of("bob"), owned(owner(life(1, 1), 2)));
    assert_eq!(node.count(owner_of("bob")), 0);
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
