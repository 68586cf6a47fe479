//! A user logs in on another node, and this node releases the user to it.

use super::super::contract::BusRecord;
use super::*;

/// Releases Ann to node 3. Returns whether that node was told that it missed records, and the dirty
/// receivers that it got.
fn release_to_three(node: &mut TestNode) -> (bool, HandoverReceiversWithUnnotifiedOwners) {
    release_one_to_three(node, "ann")
}

fn release_one_to_three(node: &mut TestNode, name: &str) -> (bool, HandoverReceiversWithUnnotifiedOwners) {
    node.event(CoreInput::TurnEnded);
    node.published.clear();
    let record = NodeMessage::Release { user: user(name), epoch: 1, claim: 7 };
    node.event(CoreInput::Record { from: life(3, 1), record });
    node.answer(owner_of(name), JobOutcome::Failed);
    node.event(CoreInput::TurnEnded);
    let records = node.published.iter().filter_map(|frame| frame.batch.as_ref()).flat_map(|batch| &batch.records);
    let (mut missed, mut dirty) = (false, None);
    for record in records {
        match record {
            BusRecord::Record(NodeMessage::RecordsMissed) => missed = true,
            BusRecord::Record(NodeMessage::Released(released)) => dirty = Some(released.dirty.clone()),
            _ => {}
        }
    }
    (missed, dirty.unwrap())
}

#[test]
fn a_release_waits_for_all_messages_of_the_user_even_those_not_in_the_dedup_window() {
    let mut node = TestNode::with(CoreSettings { dedup_messages_max: 1, ..CoreSettings::default() });
    let ann = node.log_in("ann", &["bob", "cid"]);
    let bob = node.log_in("bob", &["ann"]);
    for id in ["m1", "m2", "m3"] {
        node.say(ann, "ann", id, "bob");
    }
    node.say(ann, "ann", "m4", "cid");
    node.release("ann", 1, 7);
    assert_eq!(node.closed, [ann]);
    // m1 and m4 are saved, m2 is acked, and it is not known whether m3 is saved.
    node.answer(save_of("m1"), saved(Some(owner(life(1, 1), 1))));
    node.ack(bob, "m2");
    node.answer(save_of("m4"), saved(None));
    node.answer(save_of("m2"), saved(None));
    assert_eq!(node.count(owner_of("ann")), 0, "m3 is not durable");
    node.answer(save_of("m3"), JobOutcome::Failed);
    assert_eq!(node.count(owner_of("ann")), 0, "m3 is being saved again");
    node.pass(1_000);
    node.answer(save_of("m3"), saved(None));
    node.answer(owner_of("ann"), owned(owner(life(OTHER, 1), 1)));
    let [released] = node.released()[..] else { panic!("{:?}", node.sent) };
    assert_eq!((released.epoch, released.claim), (1, 7));
}

#[test]
fn pushes_for_the_user_are_saved_before_the_release() {
    let mut node = TestNode::new();
    let ann = node.log_in("ann", &["bob"]);
    let bob = node.log_in("bob", &["ann"]);
    node.say(bob, "bob", "to ann", "ann");
    node.release("ann", 1, 7);
    assert_eq!(node.closed, [ann]);
    // In her lane, the barrier comes after the save.
    let (save, barrier) = (node.place_of(save_of("to ann")).unwrap(), node.place_of(owner_of("ann")).unwrap());
    assert!(save < barrier);
    assert!(node.released().is_empty(), "the barrier is not answered");
    node.answer(save_of("to ann"), saved(None));
    assert!(node.released().is_empty());
    node.answer(owner_of("ann"), JobOutcome::Failed);
    assert_eq!(node.released().len(), 1);
}

#[test]
fn a_release_begins_anew_if_the_user_was_here_again() {
    let mut node = TestNode::new();
    let ann = node.log_in("ann", &["bob"]);
    node.release("ann", 1, 7);
    // The store is slow: before the barrier is answered, the user logs in here and sends a message.
    let again = node.ask_log_in("ann");
    node.answer(log_in_of("ann"), loaded(1, &["bob"], PushPage::default()));
    node.answer(claim_of("ann"), loaded(2, &["bob"], PushPage::default()));
    assert!(node.is_on(again));
    node.say(again, "ann", "m1", "bob");
    // Then the user logs in on another node again.
    node.release("ann", 2, 8);
    assert_eq!(node.closed, [ann, again], "the connection of the second log-in is closed, too");
    node.answer(owner_of("ann"), owned(owner(life(1, 1), 2)));
    assert!(node.released().is_empty(), "m1 is not durable, and this barrier was submitted before it");
    node.answer(save_of("m1"), saved(None));
    node.answer(owner_of("ann"), owned(owner(life(1, 1), 2)));
    let [released] = node.released()[..] else { panic!("{:?}", node.sent) };
    assert_eq!((released.epoch, released.claim, released.window.len()), (2, 8, 1));
}

/// Bob's former node may have read the later message already.
#[test]
fn a_refused_message_for_a_user_who_moves_is_not_saved_after_a_later_one() {
    let mut node = TestNode::new();
    let ann = node.log_in("ann", &["bob"]);
    node.ask_log_in("bob");
    node.answer(log_in_of("bob"), elsewhere(life(OTHER, 1), 1));
    node.say(ann, "ann", "m1", "bob");
    node.say(ann, "ann", "m2", "bob");
    node.answer(save_of("m1"), JobOutcome::Failed);
    node.answer(save_of("m2"), saved(Some(owner(life(OTHER, 1), 1))));
    node.release("ann", 1, 7);
    assert_eq!(node.count(save_of("m1")), 0, "it would come after m2");
    assert_eq!(node.count(owner_of("ann")), 1, "the release does not wait for m1");
}

#[test]
fn dirty_receivers_are_handed_over() {
    let mut node = TestNode::new();
    let ann = node.log_in("ann", &["bob", "cid"]);
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), JobOutcome::Failed);
    node.say(ann, "ann", "m2", "cid");
    node.answer(save_of("m2"), saved(Some(UserOwner::default())));
    node.release("ann", 1, 7);
    node.answer(owner_of("ann"), JobOutcome::Failed);
    let [released] = node.released()[..] else { panic!("{:?}", node.sent) };
    assert_eq!(released.dirty, dirty(&["bob"]));
}

/// Node 2 may not have read yet that it must look. If Ann moves to node 2 by way of node 3, only
/// node 3 can tell node 2.
#[test]
fn receivers_whose_node_has_not_confirmed_that_it_looks_are_handed_over() {
    const OTHERS: [u16; 2] = [2, 3];
    let mut node = TestNode::new();
    node.chat.use_bus();
    node.event(CoreInput::View(view(2, &OTHERS.map(|other| (other, 1)))));
    let ann = node.log_in("ann", &["bob", "cid"]);
    for (id, friend, at) in [("m1", "bob", 2), ("m2", "cid", 3)] {
        node.say(ann, "ann", id, friend);
        node.answer(save_of(id), saved(Some(owner(life(at, 1), 1))));
    }
    assert_eq!(release_to_three(&mut node).1, dirty(&["bob"]), "node 3 reads of Cid before the release of Ann");
}

#[test]
fn receivers_whose_node_has_confirmed_that_it_looks_are_not_handed_over() {
    let mut node = TestNode::new();
    node.chat.use_bus();
    node.event(CoreInput::View(view(2, &[(2, 1), (3, 1)])));
    let ann = node.log_in("ann", &["bob"]);
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), saved(Some(owner(life(2, 1), 1))));
    node.event(CoreInput::TurnEnded);
    let looks = std::mem::take(&mut node.published);
    let confirmed_batch = looks.last().and_then(|frame| Some(frame.batch.as_ref()?.position));
    let frame = Box::new(BusFrame { view: 2, confirmed_batch, refused_epoch: None, batch: None });
    node.event(CoreInput::Bus { from: life(2, 1), frame });
    assert_eq!(release_to_three(&mut node).1, dirty(&[]));
}

#[test]
fn with_too_many_dirty_receivers_the_other_node_reads_everything() {
    const FRIENDS: usize = 1_025;
    let names: Vec<String> = (0..FRIENDS).map(|n| format!("friend{n:04}")).collect();
    let friends: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut node = TestNode::with(CoreSettings { jobs_per_user_max: 10_000, ..CoreSettings::default() });
    let ann = node.log_in("ann", &friends);
    for (n, friend) in friends.iter().enumerate() {
        node.say(ann, "ann", &format!("m{n}"), friend);
        node.answer(save_of(&format!("m{n}")), JobOutcome::Failed);
    }
    node.release("ann", 1, 7);
    node.answer(owner_of("ann"), JobOutcome::Failed);
    let [.., (_, NodeMessage::RecordsMissed), (_, NodeMessage::Released(released))] = &node.sent[..] else {
        panic!("{:?}", node.sent.last())
    };
    assert_eq!(released.dirty, HandoverReceiversWithUnnotifiedOwners { has_unlisted: true, ..dirty(&[]) });
}

#[test]
fn with_too_many_unconfirmed_looks_the_other_node_reads_everything() {
    const FRIENDS: usize = 1_500;
    let names: Vec<String> = (0..FRIENDS).map(|n| format!("friend{n:04}")).collect();
    let friends: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut node = TestNode::with(CoreSettings { jobs_per_user_max: 10_000, ..CoreSettings::default() });
    node.chat.use_bus();
    node.event(CoreInput::View(view(2, &[(2, 1), (3, 1)])));
    let ann = node.log_in("ann", &friends);
    for (n, friend) in friends.iter().enumerate() {
        node.say(ann, "ann", &format!("m{n}"), friend);
        node.answer(save_of(&format!("m{n}")), saved(Some(owner(life(2, 1), 1))));
    }
    let (missed, unlisted) = release_to_three(&mut node);
    assert_eq!((missed, unlisted.has_unlisted), (true, true));
}

/// Ann sends messages to her friends, who belong to node 2, until the link to that node gives up
/// its records.
fn give_up_link_to_two(node: &mut TestNode, ann: ConnId, friends: &[&str]) {
    for (n, friend) in friends.iter().enumerate() {
        let (id, before) = (format!("m{n}"), node.chat.bus_memory_bytes());
        node.say(ann, "ann", &id, friend);
        node.answer(save_of(&id), saved(Some(owner(life(2, 1), 1))));
        if node.chat.bus_memory_bytes() < before {
            return;
        }
    }
}

#[test]
fn after_a_link_gave_up_records_a_release_says_so_even_if_no_owner_notice_is_pending() {
    const FRIENDS: usize = 500;
    let names: Vec<String> = (0..FRIENDS).map(|n| format!("friend{n:04}")).collect();
    let mut friends: Vec<&str> = names.iter().map(String::as_str).collect();
    friends.push("zed");
    let rules = CoreSettings { jobs_per_user_max: 10_000, link_bytes_max: 64 * 1024, ..CoreSettings::default() };
    for with_notice in [false, true] {
        let mut node = TestNode::with(rules.clone());
        node.chat.use_bus();
        node.event(CoreInput::View(view(2, &[(2, 1), (3, 1)])));
        let ann = node.log_in("ann", &friends);
        give_up_link_to_two(&mut node, ann, &friends);
        if with_notice {
            // An unrelated notice ends: Zed belongs to no node.
            node.say(ann, "ann", "z", "zed");
            node.answer(save_of("z"), saved(None));
            node.answer(owner_of("zed"), owned(UserOwner::default()));
        }
        let (missed, dirty) = release_to_three(&mut node);
        assert!(missed, "with notice: {with_notice}, dirty: {dirty:?}");
    }
}

/// The node with this number confirms the last batch that was published.
fn confirm(node: &mut TestNode, number: u16) {
    let confirmed_batch = node.published.iter().rev().find_map(|frame| Some(frame.batch.as_ref()?.position));
    let frame = Box::new(BusFrame { view: 2, confirmed_batch, refused_epoch: None, batch: None });
    node.event(CoreInput::Bus { from: life(number, 1), frame });
}

/// Node 3 has looked at all lists since then. The node to which a user moves from node 3 may not
/// have.
#[test]
fn after_a_link_gave_up_records_every_release_has_unlisted_receivers_until_all_nodes_confirm() {
    let names: Vec<String> = (0..500).map(|n| format!("friend{n:04}")).collect();
    let friends: Vec<&str> = names.iter().map(String::as_str).collect();
    let rules = CoreSettings { jobs_per_user_max: 10_000, link_bytes_max: 64 * 1024, ..CoreSettings::default() };
    let mut node = TestNode::with(rules);
    node.chat.use_bus();
    node.event(CoreInput::View(view(2, &[(2, 1), (3, 1)])));
    let ann = node.log_in("ann", &friends);
    ["wil", "xia", "yan", "zed"].iter().for_each(|name| _ = node.log_in(name, &[]));
    give_up_link_to_two(&mut node, ann, &friends);
    node.event(CoreInput::TurnEnded);
    let to_two = node.published.split_off(0);
    let unlisted = HandoverReceiversWithUnnotifiedOwners { has_unlisted: true, ..dirty(&[]) };
    assert_eq!(release_one_to_three(&mut node, "wil"), (true, unlisted.clone()));
    assert_eq!(release_one_to_three(&mut node, "xia"), (false, unlisted.clone()), "node 3 was told before");
    confirm(&mut node, 3);
    assert_eq!(release_one_to_three(&mut node, "yan"), (false, unlisted), "node 2 has not confirmed");
    node.published = to_two;
    confirm(&mut node, 2);
    assert_eq!(release_one_to_three(&mut node, "zed"), (false, dirty(&[])));
}
