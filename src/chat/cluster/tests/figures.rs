//! The figures for operators.

use super::super::contract::{ClusterCounters, NodeLinkBatchNumber};
use super::*;

fn totals(node: &TestNode) -> ClusterCounters {
    node.chat.cluster_totals().unwrap()
}

#[test]
fn log_ins_from_another_node_are_counted_by_how_they_went_on() {
    let mut node = TestNode::new();
    let ann = node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(OTHER, 1), 5));
    assert_eq!((totals(&node).claims_begun, node.chat.cluster_gauges().unwrap().claims), (1, 1));
    node.pass(300);
    let released =
        UserHandoverData { user: user("ann"), claim: 1, epoch: 5, clock: 0, dirty: dirty(&[]), window: Vec::new() };
    node.frame(NodeMessage::Released(Box::new(released)));
    node.answer(claim_of("ann"), loaded(6, &[], PushPage::default()));
    assert!(node.is_on(ann));
    assert_eq!((totals(&node).claims_released, totals(&node).claims_ms), (1, 300));
    // The other one is asked for bob, and dies.
    node.ask_log_in("bob");
    node.answer(log_in_of("bob"), elsewhere(life(OTHER, 1), 5));
    node.pass(200);
    node.event(CoreInput::View(view(2, &[(OTHER, 3)])));
    assert_eq!((totals(&node).claims_begun, totals(&node).claims_fenced, totals(&node).claims_ms), (2, 1, 500));
    // Ann goes back.
    node.event(CoreInput::Record {
        from: life(OTHER, 3),
        record: NodeMessage::Release { user: user("ann"), epoch: 6, claim: 1 },
    });
    node.answer(owner_of("ann"), owned(owner(life(1, 1), 6)));
    assert_eq!(totals(&node).users_released, 1);
}

#[test]
fn a_link_says_how_it_is_and_its_epochs_are_counted() {
    let mut node = TestNode::new();
    node.chat.use_bus();
    let ann = node.log_in("ann", &["bob"]);
    assert_eq!(node.chat.link_reports(node.now.mono_ms), []);
    node.say(ann, "ann", "m1", "bob");
    node.answer(save_of("m1"), saved(Some(owner(life(OTHER, 1), 1))));
    node.event(CoreInput::TurnEnded);
    node.pass(20);
    let [link] = node.chat.link_reports(node.now.mono_ms)[..] else { panic!("one link") };
    assert_eq!((link.peer, link.is_up, link.state_age_ms, link.last_frame_ms_ago), (life(OTHER, 1), false, None, None));
    assert_eq!((link.unconfirmed_batches, link.lag_ms), (1, Some(20)));
    assert!(link.unconfirmed_bytes > 0);
    assert_eq!((totals(&node).looks_sent, totals(&node).link_epochs), (1, 1));
    let place = NodeLinkBatchNumber { link: 1, number: 1 };
    let confirmed = BusFrame { view: 1, confirmed_batch: Some(place), refused_epoch: None, batch: None };
    node.event(CoreInput::Bus { from: life(OTHER, 1), frame: Box::new(confirmed) });
    node.pass(30);
    let [link] = node.chat.link_reports(node.now.mono_ms)[..] else { panic!("one link") };
    assert_eq!((link.is_up, link.state_age_ms, link.last_frame_ms_ago), (true, Some(30), Some(30)));
    assert_eq!((link.unconfirmed_batches, link.unconfirmed_bytes, link.lag_ms), (0, 0, None));
    assert_eq!(node.chat.cluster_gauges().unwrap().links_up, 1);
    // The other one misses something, then nothing is confirmed, then the bus is away.
    let refused = BusFrame { view: 1, confirmed_batch: None, refused_epoch: Some(1), batch: None };
    node.event(CoreInput::Bus { from: life(OTHER, 1), frame: Box::new(refused) });
    node.event(CoreInput::TurnEnded);
    assert_eq!((totals(&node).links_refused, totals(&node).link_epochs), (1, 2));
    node.pass(300);
    assert_eq!(totals(&node).links_late, 1);
    let [link] = node.chat.link_reports(node.now.mono_ms)[..] else { panic!("one link") };
    assert_eq!((link.is_up, link.state_age_ms), (false, Some(300)), "it was down from the refusal on");
    node.pass(300);
    node.event(CoreInput::BusWorks(false));
    assert_eq!((totals(&node).links_cut, totals(&node).link_epochs), (1, 3));
}
