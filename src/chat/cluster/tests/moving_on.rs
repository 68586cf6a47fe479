//! A user comes from node 2 and moves on to node 3, before it is certain that the owners of their
//! receivers were told of all pushes.

use super::super::inherited::{SETTLED_AFTER_MS, UNLISTED_SETTLED_AFTER_MS};
use super::*;

const AGE_MS: u64 = 5_000;
/// The number of lists that are read at a time.
const AT_ONCE: usize = 16;

fn node_of_three(friends: &[&str]) -> TestNode {
    let mut node = TestNode::with(CoreSettings { jobs_per_user_max: 10_000, ..CoreSettings::default() });
    // The clock of a node that has just started is less than the ages.
    node.pass(100_000);
    node.event(CoreInput::View(view(2, &[(2, 1), (3, 1)])));
    for friend in friends {
        node.log_in(friend, &["ann"]);
    }
    node
}

/// Ann logs in here with whereabouts of this epoch; node 2 hands these receivers over with her.
fn come(node: &mut TestNode, epoch: u64, dirty: HandoverReceiversWithUnnotifiedOwners) -> ConnId {
    let ann = node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(2, 1), epoch));
    let claim = node.sent.iter().rev().find_map(|(_, record)| match record {
        NodeMessage::Release { claim, .. } => Some(*claim),
        _ => None,
    });
    let (claim, window) = (claim.unwrap(), Vec::new());
    let released = UserHandoverData { user: user("ann"), claim, epoch, clock: 1, dirty, window };
    node.frame(NodeMessage::Released(Box::new(released)));
    node.answer(claim_of("ann"), loaded(epoch + 1, &["bob", "cid"], PushPage::default()));
    assert!(node.is_on(ann));
    ann
}

/// She logs in on node 3. Was it told that it missed records, and which receivers are dirty?
fn move_on(node: &mut TestNode, epoch: u64) -> (bool, HandoverReceiversWithUnnotifiedOwners) {
    node.sent.clear();
    let record = NodeMessage::Release { user: user("ann"), epoch, claim: 7 };
    node.event(CoreInput::Record { from: life(3, 1), record });
    node.answer(owner_of("ann"), JobOutcome::Failed);
    assert!(node.sent.iter().all(|(to, _)| *to == life(3, 1)), "{:?}", node.sent);
    match &node.sent[..] {
        [(_, NodeMessage::RecordsMissed), (_, NodeMessage::Released(released))] => (true, released.dirty.clone()),
        [(_, NodeMessage::Released(released))] => (false, released.dirty.clone()),
        other => panic!("{other:?}"),
    }
}

/// Node 2 did not know all of them, so node 3 must read everything, too.
#[test]
fn receivers_who_were_not_listed_are_handed_on_as_such() {
    let mut node = node_of_three(&[]);
    come(&mut node, 5, HandoverReceiversWithUnnotifiedOwners { has_unlisted: true, age_ms: AGE_MS, ..dirty(&["bob"]) });
    node.pass(1_000);
    let unlisted = HandoverReceiversWithUnnotifiedOwners { has_unlisted: true, age_ms: AGE_MS + 1_000, ..dirty(&[]) };
    assert_eq!(move_on(&mut node, 6), (true, unlisted));
}

/// Many users may do so at once, if a node is drained.
#[test]
fn the_next_node_is_told_once_to_read_everything_and_hands_that_on_with_each_user() {
    let mut node = node_of_three(&[]);
    let unlisted = HandoverReceiversWithUnnotifiedOwners { has_unlisted: true, ..dirty(&[]) };
    for epoch in [5, 7] {
        come(&mut node, epoch, unlisted.clone());
        assert_eq!(move_on(&mut node, epoch + 1), (true, unlisted.clone()), "she has been on node 2 since");
        assert_eq!(move_on(&mut node, epoch + 1), (false, unlisted.clone()), "it has read everything since");
    }
}

#[test]
fn receivers_who_were_listed_are_handed_on_with_their_age() {
    let mut node = node_of_three(&[]);
    come(&mut node, 5, HandoverReceiversWithUnnotifiedOwners { age_ms: AGE_MS, ..dirty(&["bob", "cid"]) });
    node.pass(1_000);
    assert_eq!(
        move_on(&mut node, 6),
        (false, HandoverReceiversWithUnnotifiedOwners { age_ms: AGE_MS + 1_000, ..dirty(&["bob", "cid"]) })
    );
}

/// The list is read before Ann can say anything here.
#[test]
fn receivers_who_are_here_are_not_handed_on() {
    let mut node = node_of_three(&["bob"]);
    come(&mut node, 5, dirty(&["bob", "cid"]));
    assert_eq!(node.count(page_of("bob")), 1);
    assert_eq!(move_on(&mut node, 6), (false, dirty(&["cid"])));
}

#[test]
fn after_a_time_their_owners_have_been_told() {
    for has_unlisted in [false, true] {
        let mut node = node_of_three(&[]);
        come(&mut node, 5, HandoverReceiversWithUnnotifiedOwners { has_unlisted, age_ms: AGE_MS, ..dirty(&["bob"]) });
        node.pass(SETTLED_AFTER_MS - AGE_MS);
        assert_eq!(move_on(&mut node, 6), (false, dirty(&[])));
    }
}

/// An outage of the database may hold up their owners for minutes. Unlisted ones are given up
/// earlier.
#[test]
fn listed_receivers_are_handed_on_for_longer_than_others() {
    for has_unlisted in [false, true] {
        let mut node = node_of_three(&[]);
        come(&mut node, 5, HandoverReceiversWithUnnotifiedOwners { has_unlisted, age_ms: AGE_MS, ..dirty(&["bob"]) });
        node.pass(UNLISTED_SETTLED_AFTER_MS - AGE_MS);
        let (is_missed, on) = move_on(&mut node, 6);
        assert!(!is_missed && !on.has_unlisted);
        assert_eq!(on.listed, dirty(&["bob"]).listed);
    }
}

#[test]
fn receivers_who_become_dirty_here_are_handed_over_with_them() {
    let mut node = node_of_three(&[]);
    let ann = come(&mut node, 5, HandoverReceiversWithUnnotifiedOwners { age_ms: AGE_MS, ..dirty(&["bob"]) });
    node.say(ann, "ann", "m1", "cid");
    node.answer(save_of("m1"), JobOutcome::Failed);
    assert_eq!(move_on(&mut node, 6), (false, dirty(&["bob", "cid"])));
}

#[test]
fn with_too_many_of_both_the_next_node_reads_everything() {
    let mut node = node_of_three(&[]);
    let names: Vec<String> = (0..2_048).map(|n| format!("friend{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ann = come(&mut node, 5, dirty(&names));
    node.say(ann, "ann", "m1", "cid");
    node.answer(save_of("m1"), JobOutcome::Failed);
    assert_eq!(
        move_on(&mut node, 6),
        (true, HandoverReceiversWithUnnotifiedOwners { has_unlisted: true, ..dirty(&[]) })
    );
}

/// The bus is broken, so nobody confirms that they look, and each node hands all over again.
#[test]
fn a_user_who_moves_all_the_time_costs_no_read_of_an_owner_and_no_record_about_receivers() {
    const MOVES: u64 = 10;
    let mut node = node_of_three(&[]);
    let names: Vec<String> = (0..2_048).map(|n| format!("friend{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for n in 0..MOVES {
        come(&mut node, 2 * n + 5, HandoverReceiversWithUnnotifiedOwners { age_ms: n * AGE_MS, ..dirty(&names) });
        let owners =
            node.count(|job| matches!(job, Job::Cluster { job, .. } if matches!(**job, ClusterStoreJob::Owner)));
        assert_eq!(owners, 0, "reads of owners with one log-in");
        let (missed, dirty) = move_on(&mut node, 2 * n + 6);
        assert_eq!((missed, dirty.listed.len(), dirty.age_ms), (false, names.len(), n * AGE_MS));
    }
}

#[test]
fn the_lists_of_many_receivers_who_are_here_are_read_in_the_background_and_once() {
    let names: Vec<String> = (0..5 * AT_ONCE).map(|n| format!("friend{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut node = node_of_three(&names);
    let pages = |node: &TestNode| {
        node.count(|job| matches!(job, Job::Cluster { job, .. } if matches!(**job, ClusterStoreJob::Page { .. })))
    };
    come(&mut node, 5, dirty(&names));
    assert_eq!(pages(&node), AT_ONCE);
    assert_eq!(move_on(&mut node, 6), (false, dirty(&[])));
    come(&mut node, 7, dirty(&names));
    assert_eq!(pages(&node), AT_ONCE, "they are to be read already");
    for n in 2..=5 {
        node.pass(100);
        assert_eq!(pages(&node), n * AT_ONCE);
    }
    node.pass(1_000);
    assert_eq!(pages(&node), names.len());
}
