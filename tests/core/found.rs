//! Mistakes that were found in the core, each with what shows it.

use super::{ann_and_bob, ann_and_bob_by, any, saves};
use crate::sim::lanes::Fate;
use crate::sim::say::Say;
use hongyan::chat::contract::Rules;
use hongyan::protocol::request::FriendVerb;

const NOTHING: [&str; 0] = [];

#[test]
fn an_ack_of_one_whose_saving_failed_deletes_it_as_it_may_be_in_the_store() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, saves);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
    w.ack(ann, "m1");
    w.run_for(100);
    assert!(w.store.model.waiting_for("ann").is_empty());
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"]);
}
