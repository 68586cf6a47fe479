//! An operator asks about a user who may be on another node.

use super::*;
use crate::chat::contract::{
    AdminRequestToCore, AdminStoreJobOutcome, AdminTicket, RemoteUserReport, RemoteUserStatus,
};

/// The operator asks about ann, who is not here and belongs to this life of a node, if to any.
fn ask(node: &mut TestNode, at: Option<NodeIncarnation>) {
    let request = AdminRequestToCore::User { name: user("ann") };
    node.event(CoreInput::Admin { ticket: AdminTicket(7), request });
    let account = AdminStoreJobOutcome::Account { is_banned: false, seqs: Vec::new(), has_more: false };
    node.answer(|job| matches!(job, Job::Admin { .. }), JobOutcome::Admin(Box::new(account)));
    node.answer(owner_of("ann"), owned(UserOwner { incarnation: at, epoch: 5, floor: 0 }));
}

fn question(node: &TestNode) -> Option<u64> {
    node.sent.iter().find_map(|(to, record)| match record {
        NodeMessage::Ask { question, .. } if *to == life(OTHER, 1) => Some(*question),
        _ => None,
    })
}

/// The answer to the operator, if there is one.
fn elsewhere(node: &TestNode) -> Option<Option<RemoteUserReport>> {
    match &node.told[..] {
        [] => None,
        [AdminAnswerFromCore::User(report)] => Some(report.remote),
        other => panic!("{other:?}"),
    }
}

fn on_two(there: RemoteUserStatus) -> Option<Option<RemoteUserReport>> {
    Some(Some(RemoteUserReport { node: life(OTHER, 1).node, status: there }))
}

#[test]
fn the_node_to_which_the_user_belongs_is_asked() {
    for (online, there) in [
        (Some((7_000, 2)), RemoteUserStatus::Online { logged_in_ms: 7_000, outstanding: 2 }),
        (None, RemoteUserStatus::NotOnline),
    ] {
        let mut node = TestNode::new();
        ask(&mut node, Some(life(OTHER, 1)));
        assert_eq!(elsewhere(&node), None);
        let question = question(&node).unwrap();
        // An answer to something else, and then the right one.
        node.frame(NodeMessage::Told { question: question + 1, online: Some((1, 1)) });
        assert_eq!(elsewhere(&node), None);
        node.frame(NodeMessage::Told { question, online });
        assert_eq!(elsewhere(&node), on_two(there));
    }
}

#[test]
fn a_node_that_does_not_answer_is_named_and_a_dead_one_is_not_waited_for() {
    let mut node = TestNode::new();
    ask(&mut node, Some(life(OTHER, 1)));
    for _ in 0..4 {
        node.pass(1_000);
    }
    assert_eq!(elsewhere(&node), on_two(RemoteUserStatus::Silent));
    let mut node = TestNode::new();
    ask(&mut node, Some(life(OTHER, 1)));
    node.event(CoreInput::View(view(2, &[])));
    assert_eq!(elsewhere(&node), on_two(RemoteUserStatus::NotOnline));
}

#[test]
fn a_node_that_is_newer_than_the_view_is_not_said_to_be_without_the_user() {
    let mut node = TestNode::new();
    ask(&mut node, Some(life(OTHER, 2)));
    assert_eq!((elsewhere(&node), node.views_asked), (on_two(RemoteUserStatus::Silent), 1));
}

#[test]
fn nobody_is_asked_about_users_of_this_node_or_of_none() {
    for at in [None, Some(life(1, 1))] {
        let mut node = TestNode::new();
        ask(&mut node, at);
        assert_eq!((elsewhere(&node), question(&node)), (Some(None), None));
    }
}

#[test]
fn a_node_says_whether_a_user_is_online_here() {
    let mut node = TestNode::new();
    let ann = node.log_in("ann", &[]);
    node.frame(NodeMessage::Ask { user: user("ann"), question: 1 });
    node.event(CoreInput::Closed { conn: ann });
    node.frame(NodeMessage::Ask { user: user("ann"), question: 2 });
    let told = node.sent.iter().filter_map(|(_, record)| match record {
        NodeMessage::Told { question, online } => Some((*question, online.is_some())),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(1, true), (2, false)]);
}
