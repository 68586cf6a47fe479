//! Nobody has more than their share of the store in flight, whatever they send.

use super::{ann_and_bob, ann_and_bob_by, any, friendships, saves};
use crate::sim::lanes::name_of;
use crate::sim::say::Say;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreSettings, Job};
use hongyan::protocol::request::{FriendVerb, ResumeTokenVerb};

fn reads(job: &Job) -> bool {
    ["GetProfile", "MakeToken"].contains(&name_of(job))
}

fn bobs_saves(job: &Job) -> bool {
    matches!(job, Job::SavePush { push } if push.sender() == "bob")
}

fn count(lines: &[String], start: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(start)).count()
}

/// Bob's flood is paused at so many jobs, Cid is served meanwhile, and in the end Bob has all
/// answers.
fn flood(mut w: World, bob: ConnId, hangs: fn(&Job) -> bool, most: usize, answer: &str, say: impl Fn(usize) -> Say) {
    const FLOOD: usize = 3_000;
    let cid = w.online("cid");
    w.store.hang(hangs);
    for n in 0..FLOOD {
        w.say(bob, say(n));
        assert!(w.store.in_flight() <= most, "{} in flight", w.store.in_flight());
    }
    assert!(w.are_requests_paused(bob));
    assert_eq!(w.store.in_flight(), most);
    assert_eq!(count(&w.heard(bob), answer), 0);
    w.message(cid, "mine", "ann");
    w.run_for(20);
    assert_eq!(w.heard(cid), ["MS mine"]);
    w.store.work(w.now_ms);
    let mut answered = 0;
    for _ in 0..FLOOD {
        w.run_for(10);
        assert!(w.store.in_flight() <= most, "{} in flight", w.store.in_flight());
        answered += count(&w.heard(bob), answer);
        if answered == FLOOD {
            break;
        }
    }
    assert_eq!(answered, FLOOD, "all that waited was answered");
    assert!(!w.are_requests_paused(bob));
}

fn world() -> (World, ConnId) {
    let mut w = World::of_friends(crate::rules(), &["ann", "bob", "cid", "dan"]);
    let bob = w.online("bob");
    (w, bob)
}

#[test]
fn a_flood_of_profile_requests_waits() {
    let (w, bob) = world();
    flood(w, bob, reads, 16, "PROFILE ", |n| Say::GetUser { mid: format!("g{n}"), user: "dan".into() });
}

#[test]
fn a_flood_of_token_requests_waits() {
    let (w, bob) = world();
    flood(w, bob, reads, 16, "TOKEN ", |n| Say::Token { mid: format!("t{n}"), verb: ResumeTokenVerb::New });
}

#[test]
fn a_flood_of_messages_to_an_absent_friend_waits() {
    let (w, bob) = world();
    flood(w, bob, bobs_saves, 1_024, "MS ", |n| message("bob", "dan", n, 10));
}

#[test]
fn large_messages_count_more() {
    let (w, bob) = world();
    // 60,000 bytes and the bytes around them are 15 units of 4,096; the one that reaches the bound
    // is taken.
    flood(w, bob, bobs_saves, 1_024_usize.div_ceil(15), "MS ", |n| message("bob", "dan", n, 60_000));
}

#[test]
fn a_flood_of_friend_requests_waits() {
    let names = ["ann", "bob", "cid"];
    let mut w = World::of_friends(CoreSettings { pending_requests_max: 10_000, ..crate::rules() }, &names);
    let bob = w.online("bob");
    (0..3_000).for_each(|n| w.store.model.add_account(&format!("other{n}"), "other"));
    flood(w, bob, friendships, 1_024, "OK ", |n| Say::Friend {
        id: format!("f{n}"),
        sender: "bob".into(),
        receiver: format!("other{n}"),
        verb: if n % 2 == 0 { FriendVerb::Delete } else { FriendVerb::Request },
        content: "hello".into(),
    });
}

fn message(sender: &str, receiver: &str, n: usize, size: usize) -> Say {
    Say::Message { id: format!("m{n}"), sender: sender.into(), receiver: receiver.into(), content: "x".repeat(size) }
}

#[test]
fn acks_heartbeats_and_log_ins_are_read_while_requests_are_paused() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { jobs_per_user_max: 4, ..crate::rules() });
    w.message(ann, "to bob", "bob");
    w.store.hang(saves);
    (0..4).for_each(|n| w.say(bob, message("bob", "cid", n, 10)));
    assert!(w.are_requests_paused(bob));
    w.heartbeat(bob);
    w.ack(bob, "to bob");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["msg ann to bob", "BEAT h"]);
    assert_eq!(w.heard(ann), ["MS to bob"]);
    w.log_in(bob, "bob");
    w.run_for(10);
    assert_eq!(w.heard(bob), ["LS l"]);
    assert!(w.are_requests_paused(bob));
    // Another user's log-in on the same connection waits for Bob's answers.
    w.log_in(bob, "ann");
    w.run_for(10);
    assert_eq!(w.heard(bob), [""; 0]);
    w.store.work(w.now_ms);
    w.run_for(20_000);
    assert_eq!(w.heard(bob).last().unwrap(), "LS l");
    assert!(!w.are_requests_paused(bob), "Ann has nothing in flight");
}

#[test]
fn a_user_who_connects_again_has_no_more_in_flight() {
    let (mut w, _, mut bob) = ann_and_bob();
    w.store.hang(saves);
    let mut n = 0;
    for round in 0..20 {
        for _ in 0..200 {
            w.say(bob, message("bob", "cid", n, 10));
            n += 1;
        }
        assert!(w.store.in_flight() <= 1_024, "{} in flight", w.store.in_flight());
        // Once it is hung up, once taken over.
        if round % 2 == 0 {
            w.hang_up(bob);
        }
        bob = w.online("bob");
    }
    assert_eq!(w.store.in_flight(), 1_024);
    assert!(w.are_requests_paused(bob), "from its beginning");
    w.store.work(w.now_ms);
    w.run_for(100);
    assert!(!w.are_requests_paused(bob));
    w.message(bob, "now", "cid");
    w.run_for(10);
    assert_eq!(w.heard(bob).last().map(String::as_str), Some("MS now"));
}

#[test]
fn when_the_store_has_little_room_each_has_a_part_of_it() {
    let names: Vec<String> = (0..40).map(|n| format!("user{n}")).collect();
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.extend(["ann", "dan"]);
    let mut w = World::of_friends(CoreSettings { jobs_max: 1_600, ..crate::rules() }, &names);
    let ann = w.online("ann");
    w.store.hang(saves);
    let mut before = 0;
    for (place, name) in names[..40].iter().enumerate() {
        let conn = w.online(name);
        (0..150).for_each(|n| w.say(conn, message(name, "dan", n, 10)));
        let took = w.store.in_flight() - before;
        assert!(took <= 100 && (place > 0 || took >= 90), "{took} of 1,600 by one");
        assert_eq!(count(&w.heard(conn), "MF"), 0, "they wait, they are not refused");
        before = w.store.in_flight();
    }
    assert!(before < 1_600, "{before} of 1,600");
    w.message(ann, "mine", "dan");
    assert_eq!(w.store.in_flight(), before + 1, "there is room for a user who needs little");
    w.store.work(w.now_ms);
    w.run_for(1_000);
    assert_eq!(w.heard(ann), ["MS mine"]);
}

#[test]
fn messages_that_wait_for_an_ack_count_with_the_jobs_they_may_need() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings {
        save_after_ms: 1_000,
        jobs_per_user_max: 10,
        outstanding_max: 100,
        ..crate::rules()
    });
    (0..20).for_each(|n| w.say(bob, message("bob", "ann", n, 10)));
    assert!(w.are_requests_paused(bob));
    assert_eq!(count(&w.heard(ann), "msg "), 10);
    w.store.hang(any);
    w.run_for(1_100);
    assert_eq!(w.store.in_flight(), 10, "all of them, and no more");
    (0..10).for_each(|n| w.ack(ann, &format!("m{n}")));
    assert_eq!(count(&w.heard(bob), "MS "), 10, "the ack is enough");
    assert!(w.are_requests_paused(bob), "their jobs are still in flight");
    w.store.work(w.now_ms);
    w.run_for(10);
    assert_eq!(count(&w.heard(ann), "msg "), 10);
    (10..20).for_each(|n| w.ack(ann, &format!("m{n}")));
    w.run_for(10);
    assert_eq!(count(&w.heard(bob), "MS "), 10);
    assert!(!w.are_requests_paused(bob));
}

#[test]
fn a_failed_save_counts_as_in_flight_until_it_is_answered() {
    let (mut w, _, bob) = ann_and_bob_by(CoreSettings { jobs_per_user_max: 10, ..crate::rules() });
    w.store.fate(crate::sim::lanes::Fate::Fail, saves);
    (0..30).for_each(|n| w.say(bob, message("bob", "ann", n, 10)));
    w.run_for(100);
    assert!(w.are_requests_paused(bob), "they are tried again, since Ann may ack them");
    w.run_for(60_000);
    let heard = w.heard(bob);
    assert_eq!((count(&heard, "MF "), count(&heard, "UNAVAILABLE ")), (30, 30), "{heard:?}");
    assert!(!w.are_requests_paused(bob));
}
