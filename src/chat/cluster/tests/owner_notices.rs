//! After a save, the node of the receiver is told to look. After a notice of another node, this
//! node looks.

use super::*;

fn look(name: &str) -> NodeMessage {
    NodeMessage::Look { user: user(name) }
}

fn ann() -> (TestNode, ConnId) {
    let mut node = TestNode::new();
    let ann = node.log_in("ann", &["bob", "cid"]);
    (node, ann)
}

#[test]
fn the_owner_is_told_of_a_saved_push() {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), saved(Some(owner(life(OTHER, 1), 1))));
    assert_eq!(node.sent, [(life(OTHER, 1), look("bob"))]);
}

#[test]
fn the_owner_is_told_of_a_push_that_may_be_saved() {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), JobOutcome::Failed);
    assert!(node.replies.iter().any(|(_, reply)| matches!(reply, Reply::Message { is_durable: false })));
    node.answer(owner_of("bob"), owned(owner(life(OTHER, 1), 1)));
    assert_eq!(node.sent, [(life(OTHER, 1), look("bob"))]);
}

#[test]
fn an_owner_that_was_read_too_early_is_read_again() {
    let (mut node, ann) = ann();
    for id in ["m1", "m2"] {
        node.say(ann, "ann", id, "bob");
        node.answer(save_of(id), JobOutcome::Failed);
    }
    // Read before m2 was committed, and perhaps before Bob went on from there.
    node.answer(owner_of("bob"), owned(owner(life(OTHER, 1), 1)));
    assert!(node.sent.is_empty());
    node.answer(owner_of("bob"), owned(owner(life(OTHER, 1), 1)));
    assert_eq!(node.sent, [(life(OTHER, 1), look("bob"))]);
}

#[test]
fn an_owner_that_is_not_in_the_view_yet_is_told_later() {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), saved(Some(owner(life(OTHER, 2), 1))));
    assert!(node.views_asked > 0 && node.sent.is_empty());
    node.answer(owner_of("bob"), owned(owner(life(OTHER, 2), 1)));
    assert!(node.sent.is_empty());
    node.event(CoreInput::View(view(2, &[(OTHER, 2)])));
    node.answer(owner_of("bob"), owned(owner(life(OTHER, 2), 1)));
    assert_eq!(node.sent, [(life(OTHER, 2), look("bob"))]);
}

#[test]
fn an_owner_that_cannot_be_read_is_read_later() {
    let (mut node, ann) = ann();
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), saved(None));
    node.answer(owner_of("bob"), JobOutcome::Failed);
    assert_eq!(node.count(owner_of("bob")), 0);
    node.pass(1_000);
    node.answer(owner_of("bob"), owned(owner(life(OTHER, 1), 1)));
    assert_eq!(node.sent, [(life(OTHER, 1), look("bob"))]);
}

#[test]
fn if_too_many_owners_are_to_be_told_all_nodes_read_everything() {
    let names: Vec<String> =
        (0..super::super::owner_notices::OWNER_NOTICES_MAX + 3).map(|n| format!("friend{n}")).collect();
    let friends: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut node = TestNode::with(CoreSettings { jobs_per_user_max: 10_000, ..CoreSettings::default() });
    let ann = node.log_in("ann", &friends);
    for (n, friend) in friends.iter().enumerate() {
        node.say(ann, "ann", &format!("m{n}"), friend);
        node.answer(save_of(&format!("m{n}")), JobOutcome::Failed);
    }
    assert!(node.sent.is_empty());
    node.pass(1_000);
    assert_eq!(node.sent, [(life(OTHER, 1), NodeMessage::RecordsMissed)], "once, and later");
    assert_eq!(node.count(page_of("ann")), 1, "this node as well");
    // All nodes know that records are missing; the others are told one by one.
    for friend in &friends[..super::super::owner_notices::OWNER_NOTICES_MAX] {
        node.answer(owner_of(friend), owned(owner(life(OTHER, 1), 1)));
    }
    node.release("ann", 1, 7);
    node.answer(owner_of("ann"), JobOutcome::Failed);
    assert_eq!(node.sent.iter().filter(|(_, record)| *record == NodeMessage::RecordsMissed).count(), 1);
}

#[test]
fn a_look_while_a_page_is_read_is_followed_by_another_one() {
    let (mut node, _) = ann();
    node.frame(look("ann"));
    assert_eq!(node.count(page_of("ann")), 1);
    node.frame(look("ann"));
    assert_eq!(node.count(page_of("ann")), 1);
    node.answer(page_of("ann"), JobOutcome::Page(PushPage::default()));
    assert_eq!(node.count(page_of("ann")), 1, "that page may have been read before");
    node.answer(page_of("ann"), JobOutcome::Page(page(vec![message(9, "bob", "m1", "ann")])));
    assert_eq!((node.count(page_of("ann")), node.pushes.len()), (0, 1));
}

#[test]
fn if_records_were_missed_all_lists_are_read() {
    let (mut node, _) = ann();
    node.log_in("bob", &["ann"]);
    node.frame(NodeMessage::RecordsMissed);
    assert_eq!((node.count(page_of("ann")), node.count(page_of("bob"))), (1, 1));
}

#[test]
fn the_sweep_reaches_every_user_however_often_records_are_missed() {
    const USERS: usize = 100;
    let mut node = TestNode::new();
    for n in 0..USERS {
        node.log_in(&format!("user{n:02}"), &[]);
    }
    for _ in 0..2 * USERS / 16 {
        node.frame(NodeMessage::RecordsMissed);
        node.pass(100);
    }
    let unread: Vec<_> =
        (0..USERS).map(|n| format!("user{n:02}")).filter(|name| node.count(page_of(name)) == 0).collect();
    assert!(unread.is_empty(), "{unread:?}");
}

#[test]
fn the_end_of_an_incarnation_and_the_start_of_the_next_mark_the_lists_once() {
    let (mut node, _) = ann();
    let mut fenced = view(2, &[(OTHER, 2)]);
    fenced.nodes[1].is_alive = false;
    node.event(CoreInput::View(fenced));
    node.answer(page_of("ann"), JobOutcome::Page(PushPage::default()));
    node.event(CoreInput::View(view(3, &[(OTHER, 3)])));
    assert_eq!(node.count(page_of("ann")), 0);
    node.event(CoreInput::View(view(4, &[(OTHER, 4)])));
    assert_eq!(node.count(page_of("ann")), 1, "this was another death");
}

/// The same message was sent again elsewhere while nobody knew that it was saved here.
#[test]
fn a_message_on_the_list_and_on_a_page_with_different_numbers_is_one_message() {
    let mut node = TestNode::new();
    let ann = node.log_in("ann", &["bob"]);
    let bob = node.log_in("bob", &["ann"]);
    node.say(bob, "bob", "m1", "ann");
    assert_eq!(node.pushes.len(), 1);
    node.frame(look("ann"));
    node.answer(page_of("ann"), JobOutcome::Page(page(vec![message(9, "bob", "m1", "ann")])));
    assert_eq!(node.pushes.len(), 1, "it was sent already");
    assert!(node.replies.iter().any(|(to, reply)| *to == bob && matches!(reply, Reply::Message { is_durable: true })));
    node.ack(ann, "m1");
    assert_eq!(node.count(delete_of(9)), 1, "one ack serves both");
}

const TEN_MINUTES_MS: u64 = 600_000;

/// The first message under the id was acked elsewhere, and its sender has used the id again.
#[test]
fn a_later_message_on_a_page_with_the_id_and_not_the_text_of_one_on_the_list_is_another_one() {
    for (later_ms, text, count) in
        [(TEN_MINUTES_MS + 1, "another text", 2), (TEN_MINUTES_MS, "encrypted anew", 1), (u64::MAX / 2, "hello", 1)]
    {
        let mut node = TestNode::new();
        let ann = node.log_in("ann", &["bob"]);
        let bob = node.log_in("bob", &["ann"]);
        node.say(bob, "bob", "m1", "ann");
        node.frame(look("ann"));
        let time_ms = node.pushes[0].1.time_ms + later_ms;
        let other = message_at(time_ms, (9, "bob", "m1", "ann"), text);
        node.answer(page_of("ann"), JobOutcome::Page(page(vec![other])));
        node.ack(ann, "m1");
        assert_eq!((node.pushes.len(), node.count(delete_of(9))), (count, 2 - count), "{text}");
        node.ack(ann, "m1");
        assert_eq!(node.count(delete_of(9)), 1);
    }
}
