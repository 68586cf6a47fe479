//! Other rules while the server runs: everything that exists stays, and new things are held to
//! them. The invariants, which are checked after each event, allow the one and not the other.

use super::{ann_and_bob, ann_and_bob_by, ids};
use crate::rules;
use crate::sim::say::Say;
use hongyan::chat::contract::CoreSettings;

#[test]
fn a_push_that_waits_to_be_saved_waits_by_the_new_delay() {
    let (mut w, _ann, bob) = ann_and_bob();
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_until(start + 2);
    w.chat.set_rules(CoreSettings { save_after_ms: 20, ..rules() });
    w.run_until(start + 19);
    assert_eq!(w.store.count("SavePush"), 0);
    w.run_until(start + 20);
    assert_eq!(w.store.count("SavePush"), 1);
    w.message(bob, "m2", "ann");
    w.chat.set_rules(CoreSettings { save_after_ms: 0, ..rules() });
    w.message(bob, "m3", "ann");
    w.run_for(1);
    assert_eq!(w.store.count("SavePush"), 3, "both, and in order");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1", "MS m2", "MS m3"]);
}

#[test]
fn outstanding_pushes_stay_and_no_more_are_sent_until_there_is_room() {
    let (mut w, ann, bob) = ann_and_bob();
    for n in 1..=4 {
        w.message(bob, &format!("m{n}"), "ann");
    }
    assert_eq!(ids(&w.heard(ann)), ["m1", "m2", "m3", "m4"]);
    let few = CoreSettings { outstanding_max: 2, list_max: 2, page_max: 1, dedup_messages_max: 1, ..rules() };
    w.chat.set_rules(few.clone());
    assert_eq!(w.chat.rules(), &few);
    w.message(bob, "m5", "ann");
    w.run_for(100);
    for acked in ["m1", "m2"] {
        w.ack(ann, acked);
        assert_eq!(ids(&w.heard(ann)), [] as [&str; 0], "two are outstanding still");
    }
    w.ack(ann, "m3");
    w.ack(ann, "m4");
    w.run_for(2_000);
    assert_eq!(ids(&w.heard(ann)), ["m5"]);
    w.chat.set_rules(rules());
    w.message(bob, "m6", "ann");
    assert_eq!(ids(&w.heard(ann)), ["m6"]);
}

#[test]
fn jobs_beyond_a_lower_limit_are_done_and_others_refused_meanwhile() {
    let (mut w, _ann, bob) = ann_and_bob_by(CoreSettings { save_after_ms: 0, ..rules() });
    w.store.takes(500);
    for n in 1..=5 {
        w.message(bob, &format!("m{n}"), "ann");
    }
    w.run_for(1);
    w.chat.set_rules(CoreSettings { save_after_ms: 0, jobs_max: 2, auth_jobs_max: 2, ..rules() });
    w.say(bob, Say::GetUser { mid: "g".into(), user: "ann".into() });
    assert!(w.heard(bob).iter().any(|line| line.contains("UNAVAILABLE")), "there is no room for one more");
    w.run_for(1_000);
    assert_eq!(w.heard(bob), ["MS m1", "MS m2", "MS m3", "MS m4", "MS m5"]);
}
