//! The users who are online on other nodes, as these nodes report them.

use super::super::super::contract::FriendAnswerOutcome;
use super::super::contract::{BusRecord, NodeLinkBatchNumber, NodePresenceUpdate};
use super::*;
use crate::protocol::request::FriendVerb;

fn says(node: &mut TestNode, from: u16, record: NodeMessage) {
    node.event(CoreInput::Record { from: life(from, 1), record });
}

fn moved(node: &mut TestNode, from: u16, number: u64, is_online: bool) {
    let users = vec![NodePresenceUpdate { user: user("bob"), is_online, friends: vec![user("ann")] }];
    says(node, from, NodeMessage::Moved { number, users });
}

#[test]
fn a_late_report_about_a_user_who_has_moved_does_not_show_them_offline() {
    let mut node = TestNode::new();
    node.event(CoreInput::View(view(2, &[(2, 1), (3, 1)])));
    node.log_in("ann", &["bob"]);
    node.chat.want_presence(&mut Vec::new());
    for from in [2, 3] {
        says(&mut node, from, NodeMessage::Present { number: 1, is_first: true, is_last: true, users: Vec::new() });
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
fn reports_to_other_nodes_name_friends_who_are_here() {
    let mut node = TestNode::new();
    node.log_in("ann", &["bob"]);
    node.frame(NodeMessage::Who);
    node.log_in("bob", &["ann"]);
    node.pass(500);
    let moved = node.sent.iter().find_map(|(_, record)| match record {
        NodeMessage::Moved { users, .. } => Some(users.clone()),
        _ => None,
    });
    assert_eq!(
        moved,
        Some(vec![NodePresenceUpdate { user: user("bob"), is_online: true, friends: vec![user("ann")] }])
    );
}

#[test]
fn a_user_in_a_full_report_who_leaves_at_once_is_reported_as_gone() {
    let mut node = TestNode::new();
    node.log_in("ann", &["bob"]);
    node.frame(NodeMessage::Who);
    let bob = node.log_in("bob", &["ann"]);
    // Node 2 asks again before it was told of Bob.
    node.frame(NodeMessage::Who);
    node.event(CoreInput::Closed { conn: bob });
    for _ in 0..4 {
        node.pass(500);
    }
    let is_gone = |record: &NodeMessage| match record {
        NodeMessage::Moved { users, .. } => users.iter().any(|moved| moved.user == user("bob") && !moved.is_online),
        _ => false,
    };
    assert!(node.sent.iter().any(|(_, record)| is_gone(record)), "{:?}", node.sent);
}

#[test]
fn who_befriends_a_user_of_another_node_is_reported_to_it_as_their_friend() {
    let mut node = TestNode::new();
    node.frame(NodeMessage::Who);
    let ann = node.log_in("ann", &[]);
    node.pass(500);
    node.sent.clear();
    // Bob, who is on node 2, has asked her.
    let (id, sender, receiver) =
        (MessageId::new("a").unwrap(), UserNameRef::new("bob").unwrap(), UserNameRef::new("ann").unwrap());
    let (form, content) = (ContentAsStringOrObject::Text, Cow::Borrowed("yes"));
    let input = Ok(ClientRequest::Friend { form, id, sender, receiver, verb: FriendVerb::Accept, content });
    node.event(CoreInput::Input { conn: ann, input });
    let is_answer = |job: &Job| matches!(job, Job::AnswerFriend { .. });
    node.answer(is_answer, JobOutcome::Answered(FriendAnswerOutcome::Done));
    for _ in 0..4 {
        node.pass(500);
    }
    let users = vec![NodePresenceUpdate { user: user("ann"), is_online: true, friends: vec![user("bob")] }];
    let moved = NodeMessage::Moved { number: 3, users };
    assert!(node.has_sent(&moved), "{:?}", node.sent);
}

#[test]
fn a_user_with_new_friends_who_leaves_at_once_is_reported_as_gone() {
    let mut node = TestNode::new();
    node.frame(NodeMessage::Who);
    let bob = node.log_in("bob", &["ann"]);
    node.pass(500);
    node.frame(NodeMessage::Friend { user: user("bob") });
    let friends = vec![user("ann"), user("eve")];
    node.answer(|job| matches!(job, Job::Load { .. }), JobOutcome::Loaded { friends, page: PushPage::default() });
    node.sent.clear();
    node.event(CoreInput::Closed { conn: bob });
    for _ in 0..4 {
        node.pass(500);
    }
    let friends = vec![user("ann"), user("eve")];
    let users = vec![NodePresenceUpdate { user: user("bob"), is_online: false, friends }];
    assert_eq!(node.sent, [(life(OTHER, 1), NodeMessage::Moved { number: 3, users })]);
}

/// The records of presence that went over the bus since the last call.
fn published(node: &mut TestNode) -> Vec<NodeMessage> {
    node.event(CoreInput::TurnEnded);
    let batches = std::mem::take(&mut node.published).into_iter().filter_map(|frame| frame.batch);
    let records = batches.flat_map(|batch| batch.records).filter_map(|record| match record {
        BusRecord::Record(record @ (NodeMessage::Who | NodeMessage::Present { .. } | NodeMessage::Moved { .. })) => {
            Some(record)
        }
        _ => None,
    });
    records.collect()
}

/// The same of those that went through the database.
fn sent_through_database(node: &mut TestNode) -> Vec<NodeMessage> {
    let sent = std::mem::take(&mut node.sent).into_iter().map(|(_, record)| record);
    sent.filter(|record| matches!(record, NodeMessage::Who | NodeMessage::Present { .. } | NodeMessage::Moved { .. }))
        .collect()
}

#[test]
fn with_a_bus_it_is_told_over_it_and_through_the_database_if_that_is_not_confirmed() {
    let mut node = TestNode::new();
    node.chat.use_bus();
    node.log_in("ann", &["bob"]);
    node.frame(NodeMessage::Who);
    let all = published(&mut node);
    assert!(matches!(all[..], [NodeMessage::Present { number: 1, .. }]), "{all:?}");
    let confirmed = Some(NodeLinkBatchNumber { link: 1, number: 1 });
    let frame = Box::new(BusFrame { view: 1, confirmed_batch: confirmed, refused_epoch: None, batch: None });
    node.event(CoreInput::Bus { from: life(OTHER, 1), frame });
    node.log_in("bob", &["ann"]);
    node.pass(500);
    let moved = published(&mut node);
    assert!(matches!(moved[..], [NodeMessage::Moved { number: 2, .. }]), "{moved:?}");
    assert_eq!(sent_through_database(&mut node), []);
    node.pass(1_000);
    let sent = sent_through_database(&mut node);
    assert!(matches!(sent[..], [NodeMessage::Moved { number: 2, .. }]), "{sent:?}");
}

#[test]
fn very_many_users_and_later_changes_are_told_through_the_database() {
    let mut node = TestNode::with(CoreSettings { link_bytes_max: 1_200, ..CoreSettings::default() });
    node.chat.use_bus();
    for number in 0..40 {
        node.log_in(&format!("user{number}"), &[]);
    }
    node.frame(NodeMessage::Who);
    node.log_in("bob", &["ann"]);
    node.pass(500);
    assert_eq!(published(&mut node), []);
    let told = sent_through_database(&mut node);
    assert!(
        matches!(told[..], [NodeMessage::Present { number: 1, .. }, NodeMessage::Moved { number: 2, .. }]),
        "{told:?}"
    );
    // By then all that was read.
    node.pass(5_000);
    node.log_in("eve", &["ann"]);
    node.pass(500);
    let told = published(&mut node);
    assert!(matches!(told[..], [NodeMessage::Moved { number: 3, .. }]), "{told:?}");
}
