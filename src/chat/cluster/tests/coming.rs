//! A user of another node logs in here.

use super::*;

fn release(name: &str, epoch: u64, claim: u64) -> NodeMessage {
    NodeMessage::Release { user: user(name), epoch, claim }
}

fn released(name: &str, epoch: u64, claim: u64, names: &[&str]) -> NodeMessage {
    let (dirty, window) = (dirty(names), Vec::new());
    NodeMessage::Released(Box::new(UserHandoverData { user: user(name), claim, epoch, clock: 0, dirty, window }))
}

#[test]
fn a_user_is_claimed_only_after_the_other_node_has_let_go() {
    let mut node = TestNode::new();
    let ann = node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(OTHER, 1), 5));
    assert!(node.has_sent(&release("ann", 5, 1)));
    assert_eq!(node.count(claim_of("ann")), 0);
    node.frame(released("ann", 5, 1, &[]));
    node.answer(claim_of("ann"), loaded(6, &[], PushPage::default()));
    assert!(node.is_on(ann));
}

#[test]
fn the_answer_to_another_claim_does_not_count() {
    let mut node = TestNode::new();
    node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(OTHER, 1), 5));
    // That of an earlier log-in, and that of an earlier epoch.
    node.frame(released("ann", 5, 9, &[]));
    node.frame(released("ann", 4, 1, &[]));
    assert_eq!(node.count(claim_of("ann")), 0);
}

#[test]
fn dirty_receivers_are_told_to_look() {
    let mut node = TestNode::new();
    node.log_in("bob", &[]);
    node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(OTHER, 1), 5));
    node.frame(released("ann", 5, 1, &["bob", "nobody here"]));
    let (page, claim) = (node.place_of(page_of("bob")).unwrap(), node.place_of(claim_of("ann")).unwrap());
    assert!(page < claim);
}

#[test]
fn a_node_that_is_not_in_the_view_yet_is_asked_later() {
    let mut node = TestNode::new();
    node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(OTHER, 2), 5));
    assert_eq!((node.sent.len(), node.count(claim_of("ann")), node.views_asked), (0, 0, 1));
    node.event(CoreInput::View(view(2, &[(OTHER, 2)])));
    assert_eq!(node.sent, [(life(OTHER, 2), release("ann", 5, 1))]);
}

#[test]
fn a_dead_node_is_not_asked() {
    let mut node = TestNode::new();
    node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(OTHER, 1), 5));
    node.event(CoreInput::View(view(2, &[(OTHER, 2)])));
    let floor = |job: &Job| {
        cluster_job(job, "ann", |job| matches!(job, ClusterStoreJob::Claim { floor, .. } if *floor >= 1 << 40))
    };
    assert_eq!(node.count(floor), 1, "its numbers end at its limit");
}

/// The limit of the node by now is that of this life: nothing beyond it is saved.
#[test]
fn a_claim_from_an_earlier_incarnation_does_not_move_the_clock_to_the_limit() {
    let mut node = TestNode::new();
    node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(1, 0), 5));
    let floor = |job: &Job| {
        cluster_job(job, "ann", |job| matches!(job, ClusterStoreJob::Claim { floor, .. } if *floor < 1 << 40))
    };
    assert_eq!(node.count(floor), 1);
    assert!(node.chat.next_seq() < 1 << 40);
}

#[test]
fn whereabouts_are_read_again_at_intervals() {
    let mut node = TestNode::new();
    node.ask_log_in("ann");
    node.answer(log_in_of("ann"), elsewhere(life(OTHER, 1), 5));
    let mut asked = 0;
    // Not as long as the log-in waits.
    for _ in 0..36 {
        node.pass(250);
        if node.count(owner_of("ann")) > 0 {
            asked += 1;
            node.answer(owner_of("ann"), owned(owner(life(OTHER, 1), 5)));
        }
    }
    assert!((5..=10).contains(&asked), "{asked} times in 9 s");
    assert_eq!(node.sent.len(), 1 + asked, "a record may be lost: it is sent again");
}
