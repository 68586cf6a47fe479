//! The work for one user does not grow with the number of other users.

use super::super::step_count;
use super::*;

/// With so many messages in memory, none of them acked, and so many log-ins that wait for node 2.
fn crowd(messages: usize, claims: usize) -> TestNode {
    const OF_RECEIVER: usize = 500;
    let rules = CoreSettings { jobs_per_user_max: 1 << 20, list_max: 1_024, ..CoreSettings::default() };
    let mut node = TestNode::with(rules);
    let names: Vec<String> = (0..messages.div_ceil(OF_RECEIVER)).map(|n| format!("receiver{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sender = node.log_in("sender", &names);
    for name in &names {
        node.log_in(name, &["sender"]);
    }
    for n in 0..messages {
        node.say(sender, "sender", &format!("m{n}"), names[n / OF_RECEIVER]);
    }
    for n in 0..claims {
        let name = format!("comes{n}");
        node.ask_log_in(&name);
        node.answer(log_in_of(&name), elsewhere(life(OTHER, 1), 5));
    }
    node
}

/// One user goes from node to node, so often, and says something each time.
fn alternate(node: &mut TestNode, times: u64) {
    for n in 0..times {
        let epoch = 2 * n + 5;
        let ann = node.ask_log_in("ann");
        node.answer(log_in_of("ann"), elsewhere(life(OTHER, 1), epoch));
        let claim = node.sent.iter().rev().find_map(|(_, record)| match record {
            NodeMessage::Release { claim, .. } => Some(*claim),
            _ => None,
        });
        let window = Vec::new();
        let released = UserHandoverData {
            user: user("ann"),
            claim: claim.unwrap(),
            epoch,
            clock: 0,
            dirty: dirty(&["bob"]),
            window,
        };
        node.frame(NodeMessage::Released(Box::new(released)));
        node.answer(claim_of("ann"), loaded(epoch + 1, &["bob"], PushPage::default()));
        assert!(node.is_on(ann));
        let id = format!("a{n}");
        node.say(ann, "ann", &id, "bob");
        node.say(ann, "ann", &format!("b{n}"), "bob");
        node.answer(save_of(&id), saved(Some(owner(life(OTHER, 1), 1))));
        node.release("ann", epoch + 1, n);
        node.answer(save_of(&format!("b{n}")), JobOutcome::Failed);
        node.pass(0);
        node.answer(owner_of("ann"), owned(owner(life(1, 1), epoch + 1)));
        assert_eq!(node.released().len(), 1 + n as usize);
    }
}

fn steps_of(messages: usize, claims: usize) -> usize {
    let mut node = crowd(messages, claims);
    step_count::take();
    alternate(&mut node, 10);
    step_count::take()
}

#[test]
fn the_cost_of_moving_a_user_does_not_depend_on_the_number_of_users() {
    let (alone, beside) = (steps_of(0, 0), steps_of(5_000, 500));
    assert!(alone > 0);
    assert_eq!(alone, beside);
}

#[test]
fn a_view_costs_only_the_claims_that_its_changes_affect() {
    const CLAIMS: usize = 50;
    let mut node = crowd(0, CLAIMS);
    step_count::take();
    node.event(CoreInput::View(view(1, &[(OTHER, 1)])));
    node.event(CoreInput::View(view(2, &[(OTHER, 1), (3, 1)])));
    assert_eq!(step_count::take(), 0);
    node.event(CoreInput::View(view(3, &[(OTHER, 2), (3, 1)])));
    assert_eq!(step_count::take(), CLAIMS);
    let claims = |job: &Job| matches!(job, Job::Cluster { job, .. } if matches!(**job, ClusterStoreJob::Claim { .. }));
    assert_eq!(node.count(claims), CLAIMS, "all of them go on");
}

#[test]
fn operations_that_wait_for_a_full_store_are_not_walked_through() {
    let mut node = TestNode::with(CoreSettings { jobs_max: 4, ..CoreSettings::default() });
    let names: Vec<String> = (0..40).map(|n| format!("friend{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ann = node.log_in("ann", &names);
    for (n, name) in names.iter().enumerate() {
        let id = format!("m{n}");
        node.say(ann, "ann", &id, name);
        if node.count(save_of(&id)) > 0 {
            node.answer(save_of(&id), JobOutcome::Failed);
        }
    }
    assert_eq!(node.count(|job| matches!(job, Job::Cluster { .. })), 4, "the store takes no more");
    step_count::take();
    for _ in 0..10 {
        node.pass(1_000);
    }
    assert!(step_count::take() <= 20, "each time one that cannot be submitted");
}

#[test]
fn memory_that_other_nodes_cause_is_counted() {
    let mut node = TestNode::new();
    let before = node.chat.memory_bytes();
    for n in 0..100 {
        let name = format!("comes{n}");
        node.ask_log_in(&name);
        node.answer(log_in_of(&name), elsewhere(life(OTHER, 1), 5));
    }
    let of_claims = node.chat.cluster.as_ref().unwrap().memory_bytes();
    assert!(of_claims > 100 * 64, "{of_claims}");
    assert!(node.chat.memory_bytes() - before > of_claims);
    for n in 0..100 {
        node.release(&format!("goes{n}"), 1, n);
    }
    let of_both = node.chat.cluster.as_ref().unwrap().memory_bytes();
    assert!(of_both > of_claims + 100 * 32, "{of_both}");
    let ann = node.log_in("ann", &["bob"]);
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), JobOutcome::Failed);
    assert!(node.chat.cluster.as_ref().unwrap().memory_bytes() > of_both + 64);
}
