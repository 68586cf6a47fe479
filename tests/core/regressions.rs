//! Mistakes that were found in the core, each with what shows it.

use super::{ann_and_bob, ann_and_bob_by, any, deletes, friendships, saves, strangers};
use crate::sim::lanes::{Fate, Plan};
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{CoreSettings, Job};
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
    assert_eq!(w.heard(bob), ["MS m1"], "the ack made it durable");
}

#[test]
fn one_that_failed_does_not_remove_a_later_one_of_the_same_id() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { dedup_messages_max: 1, ..crate::rules() });
    w.hang_up(ann);
    w.store.hang(saves);
    w.message(bob, "m1", "ann");
    w.message(bob, "x", "cid");
    w.message(bob, "m1", "ann");
    // The first of the two fails, the second is saved.
    let mut first = true;
    w.store.plan(move |job| crate::sim::lanes::Plan {
        takes_ms: 1,
        answer_after_ms: 0,
        fate: if saves(job) && std::mem::take(&mut first) { Fate::Fail } else { Fate::Do },
    });
    w.store.unhang(w.now_ms);
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1", "MS x", "MS m1"]);
    let ann = w.online("ann");
    w.ack(ann, "m1");
    w.run_for(100);
    w.heard(ann);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"]);
    assert_eq!(w.heard(ann), NOTHING);
}

#[test]
fn one_that_was_found_on_the_list_is_remembered_after_its_ack() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(100);
    let _ = (ann, bob);
    w.crash();
    let ann = w.online("ann");
    let bob = w.online("bob");
    w.message(bob, "m1", "ann");
    w.ack(ann, "m1");
    w.heard(ann);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1", "MS m1"]);
    assert_eq!(w.heard(ann), NOTHING, "it was promised under this server: not a second copy");
}

#[test]
fn a_message_to_somebody_online_is_answered_within_ten_seconds_of_its_taking_too() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.hang(any);
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    // Something else that waits, and whose wait began a moment later.
    w.run_for(3);
    w.say(bob, Say::GetUser { mid: "g1".into(), user: "ann".into() });
    w.run_until(start + 9_999);
    assert_eq!(w.heard(bob), [] as [&str; 0]);
    w.run_until(start + 10_000);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"]);
    w.run_until(start + 10_003);
    assert_eq!(w.heard(bob), ["UNAVAILABLE g1"]);
    w.ack(ann, "m1");
    w.run_for(10);
    assert_eq!(w.heard(bob), [] as [&str; 0]);
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(bob), ["MS m1"], "acked: heard again, not delivered again");
    assert_eq!(w.heard(ann), ["msg bob m1"]);
}

#[test]
fn a_request_that_comes_off_the_list_releases_the_messages_that_waited_for_its_id() {
    // A window of pages keeps the accept from coming onto the list at once, so that nothing else
    // wakes it.
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { list_max: 2, page_max: 2, ..crate::rules() });
    w.store.model.add_account("dan", "dan");
    let dan = w.online("dan");
    w.friend(dan, FriendVerb::Request, "x", "ann");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["ask dan x"]);
    // Ann asks Dan as well, and Dan's own push is acked by nobody; Bob's message has the id that is
    // outstanding to Ann.
    w.friend(ann, FriendVerb::Request, "y", "dan");
    w.message(bob, "x", "ann");
    w.message(bob, "later", "ann");
    w.message(bob, "latest", "ann");
    w.run_for(10);
    assert_eq!(w.heard(ann), ["OK y"]);
    w.friend(dan, FriendVerb::Accept, "y", "ann");
    w.run_for(10);
    let heard = w.heard(ann);
    assert_eq!(heard.first().map(String::as_str), Some("msg bob x"), "{heard:?}");
    for _ in 0..4 {
        for line in ["x", "later", "latest", "y"] {
            w.ack(ann, line);
        }
        w.run_for(10);
    }
    assert!(w.store.model.waiting_for("ann").is_empty());
}

#[test]
fn the_page_of_a_second_log_in_does_not_skip_a_late_save() {
    let (mut w, ann, bob) = ann_and_bob();
    w.hang_up(ann);
    // Two log-ins: the first one comes to nothing; the second one's page is read when of what was
    // taken meanwhile one was saved, and the one before it failed and is being saved again.
    let (mut verified, mut saved) = (0, 0);
    w.store.plan(move |job| {
        verified += u64::from(matches!(job, Job::Verify { .. }));
        saved += u64::from(saves(job));
        let fails = saves(job) && saved == 1;
        Plan {
            takes_ms: match job {
                Job::Load { .. } => 20,
                Job::Verify { .. } => 5 * verified,
                _ => 1,
            },
            answer_after_ms: 0,
            fate: if fails { Fate::Fail } else { Fate::Do },
        }
    });
    let (one, two) = (w.open(), w.open());
    w.log_in(one, "ann");
    w.log_in(two, "ann");
    w.run_for(8);
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.hang_up(one);
    while w.store.count("Load") < 4 {
        w.run_for(1);
    }
    w.run_for(17);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1", "MS m2"]);
    w.message(bob, "m1", "ann");
    w.run_for(1_000);
    assert_eq!(w.heard(bob), ["MS m1"]);
    assert_eq!(w.heard(two), ["LS l", "msg bob m1", "msg bob m2"]);
}

#[test]
fn a_user_who_goes_with_nothing_but_saved_pushes_on_their_list_may_be_evicted_whole() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(100);
    // Bob goes and is evicted, so that nothing refers to Ann but the push on Ann's own list.
    w.hang_up(bob);
    w.run_for(1_300_000);
    assert!(!w.is_open(ann));
    let ann = w.online("ann");
    w.hang_up(ann);
    w.run_for(100);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
}

#[test]
fn a_friend_request_whose_answer_was_lost_still_reaches_somebody_online() {
    let (mut w, ann, bob) = strangers();
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(ann, FriendVerb::Request, "f1", "bob");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["UNAVAILABLE f1"]);
    w.store.work(w.now_ms);
    w.run_for(2_000);
    assert_eq!(w.heard(bob), ["ask ann f1"]);
    w.friend(ann, FriendVerb::Request, "f1", "bob");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["OK f1"]);
    w.ack(bob, "f1");
    w.run_for(20_000);
    assert_eq!(w.heard(bob), NOTHING);
}

#[test]
fn one_that_was_read_and_acked_before_it_is_asked_for_again_is_not_sent_twice() {
    let (mut w, ann, bob) = strangers();
    w.hang_up(bob);
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(ann, FriendVerb::Request, "f1", "bob");
    w.run_for(100);
    let bob = super::bob_reads_the_request(&mut w);
    w.store.work(w.now_ms);
    w.run_for(60_000);
    assert_eq!(w.heard(bob), NOTHING);
    w.friend(bob, FriendVerb::Accept, "f1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["OK f1"], "it is pending all the same");
}

#[test]
fn an_accept_whose_answer_was_lost_makes_friends_of_those_online() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, FriendVerb::Request, "f1", "bob");
    w.run_for(100);
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(bob, FriendVerb::Accept, "f1", "ann");
    w.run_for(100);
    w.store.work(w.now_ms);
    w.run_for(2_000);
    assert_eq!(w.heard(bob), ["ask ann f1", "UNAVAILABLE f1"]);
    assert_eq!(w.heard(ann), ["OK f1", "yes bob f1"]);
    w.message(ann, "m1", "bob");
    w.message(bob, "m2", "ann");
    w.run_for(100);
    assert_eq!(
        (w.heard(ann), w.heard(bob)),
        (vec!["msg bob m2".to_owned(), "MS m1".to_owned()], vec!["msg ann m1".to_owned(), "MS m2".to_owned()])
    );
}

#[test]
fn an_accept_whose_answer_was_lost_ends_the_request_that_crossed_it() {
    let (mut w, ann, bob) = strangers();
    w.friend(ann, FriendVerb::Request, "a", "bob");
    w.friend(bob, FriendVerb::Request, "b", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["ask ann a", "OK b"]);
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(ann, FriendVerb::Accept, "b", "bob");
    w.run_for(100);
    w.store.work(w.now_ms);
    w.run_for(2_000);
    assert_eq!(w.heard(bob), ["yes ann b"]);
    w.run_for(20_000);
    assert_eq!(
        w.heard(bob),
        ["yes ann b"],
        "Ann's own request came off Bob's list, though nobody could say that it crossed"
    );
}

#[test]
fn a_friendship_whose_end_was_lost_on_the_way_has_ended() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::DoAndLose, friendships);
    w.friend(ann, FriendVerb::Delete, "f1", "bob");
    w.run_for(100);
    w.store.work(w.now_ms);
    w.run_for(2_000);
    w.message(bob, "m1", "ann");
    assert_eq!(w.heard(bob), ["MF m1"]);
    w.friend(bob, FriendVerb::Request, "f2", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["UNAVAILABLE f1", "ask bob f2"]);
}

#[test]
fn a_friendship_operation_that_the_store_refuses_is_given_up_at_once() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.fate(Fate::Refuse, friendships);
    w.friend(ann, FriendVerb::Delete, "f1", "bob");
    w.run_for(20_000);
    assert_eq!(w.heard(ann), ["BAD_FIELD f1"], "not \"try again\"");
    assert_eq!(w.store.count("Unfriend"), 1);
    w.store.work(w.now_ms);
    w.friend(ann, FriendVerb::Delete, "f2", "bob");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["OK f2"]);
    w.shut_down();
    assert_eq!(w.stopped, 1);
    let _ = bob;
}

#[test]
fn friends_who_were_made_before_a_long_outage_can_talk_after_it() {
    let (mut w, ann, bob) = ann_and_bob();
    w.friend(ann, FriendVerb::Delete, "f0", "bob");
    w.run_for(100);
    w.friend(ann, FriendVerb::Request, "f1", "bob");
    w.run_for(100);
    w.ack(bob, "f1");
    w.run_for(100);
    // The accept is committed, nobody learns of it, and then the store is away for ten minutes.
    let mut first = true;
    w.store.plan(move |job| Plan {
        takes_ms: 1,
        answer_after_ms: 0,
        fate: if friendships(job) && std::mem::take(&mut first) { Fate::DoAndLose } else { Fate::Fail },
    });
    w.friend(bob, FriendVerb::Accept, "f1", "ann");
    for _ in 0..60 {
        w.run_for(10_000);
        w.heartbeat(ann);
        w.heartbeat(bob);
    }
    let tries = w.store.count("AnswerFriend");
    assert!((100..=200).contains(&tries), "{tries}");
    w.store.work(w.now_ms);
    w.run_for(5_000);
    w.heard(ann);
    w.message(ann, "m1", "bob");
    w.run_for(100);
    w.ack(bob, "m1");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["MS m1"]);
}

#[test]
fn a_new_message_is_not_promised_for_an_old_one_that_waits_to_be_deleted() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { dedup_messages_max: 1, ..crate::rules() });
    w.hang_up(ann);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    let ann = w.online("ann");
    w.store.fate(Fate::Fail, deletes);
    w.ack(ann, "m1");
    w.run_for(100);
    w.hang_up(ann);
    // Only one message of Bob's is remembered; the next one is new under the id of the first.
    w.message(bob, "x", "cid");
    w.run_for(100);
    w.heard(bob);
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"]);
    w.store.work(w.now_ms);
    w.run_for(2_000);
    assert!(w.store.model.waiting_for("ann").is_empty());
    w.message(bob, "m1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(bob), ["MS m1"]);
    assert_eq!(w.store.model.waiting_for("ann").len(), 1);
}

#[test]
fn a_deletion_that_is_being_tried_again_counts_as_done_for_a_log_in_before_it() {
    let (mut w, ann, bob) = ann_and_bob();
    w.message(bob, "m1", "ann");
    w.run_for(100);
    w.store.fate(Fate::Fail, deletes);
    let start = w.now_ms;
    w.ack(ann, "m1");
    w.hang_up(ann);
    w.run_until(start + 990);
    // The page is asked for just before the deletion is tried again, and is read by the time it
    // fails once more.
    w.store.plan(|job| Plan {
        takes_ms: if matches!(job, Job::Load { .. }) { 50 } else { 1 },
        answer_after_ms: 0,
        fate: if deletes(job) { Fate::Fail } else { Fate::Do },
    });
    let ann = w.open();
    w.log_in(ann, "ann");
    w.run_for(1_000);
    assert_eq!(w.heard(ann), ["LS l"]);
    w.store.work(w.now_ms);
    w.run_for(2_000);
    assert!(w.store.model.waiting_for("ann").is_empty());
}

/// Two who agree could have filled the server's memory: the answers to friend requests had no bound
/// on a list in memory.
#[test]
fn answers_to_friend_requests_wait_in_the_store_when_a_list_is_full() {
    let mut w = World::new(CoreSettings { list_max: 4, page_max: 2, ..CoreSettings::default() });
    w.store.model.add_account("ann", "ann");
    w.store.model.add_account("bob", "bob");
    let (ann, bob) = (w.online("ann"), w.online("bob"));
    for n in 0..50 {
        let id = format!("f{n}");
        w.friend(bob, FriendVerb::Request, &id, "ann");
        w.run_for(10);
        w.ack(ann, &id);
        w.friend(ann, FriendVerb::Reject, &id, "bob");
        w.run_for(10);
    }
    let expected: Vec<String> = (0..50).map(|n| format!("no ann f{n}")).collect();
    let mut answers = Vec::new();
    // The core checks after every event how many are in memory. Those that had no room come as the
    // others are acked.
    for _ in 0..60 {
        let heard: Vec<String> = w.heard(bob).into_iter().filter(|line| line.starts_with("no ")).collect();
        for line in &heard {
            w.ack(bob, &line["no ann ".len()..]);
        }
        answers.extend(heard);
        w.run_for(10);
    }
    assert_eq!(answers, expected);
    assert!(w.store.model.waiting_for("bob").is_empty());
}
