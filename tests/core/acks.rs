//! docs/protocol.md §3 (5: an ack) and §5 (Promises): which push an ack removes, and what happens
//! when two senders use the same id.

use super::{ann_and_bob, ann_and_bob_by, ids};
use crate::sim::say::Say;
use hongyan::chat::contract::CoreSettings;
use hongyan::protocol::request::FriendVerb;

const NOTHING: [&str; 0] = [];

#[test]
fn a_second_push_with_an_id_that_is_outstanding_waits_for_the_ack_of_the_first() {
    let (mut w, ann, bob) = ann_and_bob();
    let cid = w.online("cid");
    w.message(bob, "x", "ann");
    w.message(cid, "x", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["msg bob x"]);
    assert_eq!(w.heard(cid), ["MS x"], "it is durable all the same");
    w.ack(ann, "x");
    assert_eq!(w.heard(ann), ["msg cid x"]);
    w.run_for(15_000);
    assert_eq!(w.heard(ann), ["msg cid x"], "again");
    w.ack(ann, "x");
    w.run_for(30_000);
    assert_eq!(w.heard(ann), NOTHING);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn later_messages_of_a_deferred_sender_wait_and_others_do_not() {
    let (mut w, ann, bob) = ann_and_bob();
    let cid = w.online("cid");
    w.message(bob, "x", "ann");
    w.message(cid, "x", "ann");
    w.message(cid, "later", "ann");
    w.message(bob, "free", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["msg bob x", "msg bob free"]);
    w.ack(ann, "x");
    assert_eq!(w.heard(ann), ["msg cid x", "msg cid later"]);
}

#[test]
fn a_friend_request_and_a_message_may_have_the_same_id() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.model.add_account("dan", "dan");
    let dan = w.online("dan");
    w.message(bob, "x", "ann");
    w.friend(dan, FriendVerb::Request, "x", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["msg bob x"]);
    w.ack(ann, "x");
    assert_eq!(w.heard(ann), ["ask dan x"]);
}

#[test]
fn an_ack_that_names_another_sender_takes_nothing_off() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "x", "ann");
    w.say(ann, Say::Ack { id: "x".into(), sender: Some("cid".into()) });
    w.run_for(15_000);
    assert_eq!(w.heard(ann), ["msg bob x", "msg bob x"]);
    w.say(ann, Say::Ack { id: "x".into(), sender: Some("bob".into()) });
    w.run_for(15_000);
    assert_eq!(w.heard(ann), NOTHING);
}

#[test]
fn an_ack_removes_only_pushes_that_were_sent_on_its_connection() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { outstanding_max: 1, ..crate::rules() });
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.run_for(10);
    w.ack(ann, "m2");
    w.run_for(10);
    assert_eq!(w.store.model.waiting_for("ann").len(), 2, "it was not sent yet");
    let next = w.online("ann");
    w.block(next);
    w.ack(next, "m2");
    w.ack(next, "m1");
    assert_eq!(w.heard(next), NOTHING);
    w.flush(next);
    assert_eq!(w.heard(next), ["msg bob m2"]);
}

#[test]
fn an_ack_on_a_new_connection_for_a_push_sent_only_on_the_old_one_is_ignored() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(10);
    let next = w.open();
    w.log_in(next, "ann");
    w.block(next);
    w.run_for(10);
    assert_eq!(w.heard(next), ["LS l"]);
    w.ack(next, "m1");
    w.flush(next);
    assert_eq!(w.heard(next), ["msg bob m1"]);
    let _ = ann;
}

#[test]
fn acks_before_log_in_and_of_another_user_take_nothing_off() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    let stranger = w.open();
    w.ack(stranger, "m1");
    w.ack(bob, "m1");
    w.run_for(15_000);
    assert_eq!(w.heard(stranger), ["NOT_LOGGED_IN"]);
    assert_eq!(w.heard(ann), ["msg bob m1", "msg bob m1"]);
}

#[test]
fn messages_of_one_to_one_are_first_sent_in_their_order_across_going_and_coming() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m0", "ann");
    w.message(bob, "m1", "ann");
    w.hang_up(ann);
    w.message(bob, "m2", "ann");
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(2);
    w.message(bob, "m3", "ann");
    w.run_for(1);
    w.message(bob, "m4", "ann");
    w.run_for(100);
    w.message(bob, "m5", "ann");
    assert_eq!(ids(&w.heard(ann)), ["m0", "m1", "m2", "m3", "m4", "m5"]);
}
