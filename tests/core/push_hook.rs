//! The push hook: the users it announces, when, and how often.

use super::{ann_and_bob_by, pages};
use crate::sim::lanes::Fate;
use crate::sim::world::World;
use hongyan::chat::contract::{ConnId, CoreSettings, Job, PushHookNotice};
use hongyan::protocol::push::PushKind;
use hongyan::protocol::request::FriendVerb;

const AFTER_MS: u64 = 10_000;
const PAUSE_MS: u64 = 900_000;

fn rules() -> CoreSettings {
    CoreSettings { push_hook: true, ..crate::rules() }
}

/// Ann and Bob, friends; Ann has gone.
fn ann_is_away() -> (World, ConnId) {
    let (mut w, ann, bob) = ann_and_bob_by(rules());
    w.hang_up(ann);
    w.run_for(100);
    (w, bob)
}

fn line((at_ms, notice): &(u64, PushHookNotice), start_ms: u64) -> String {
    let PushHookNotice { push, waiting_pushes, has_more } = notice;
    let more = if *has_more { "+" } else { "" };
    format!("{} {} {} {waiting_pushes}{more}", at_ms - start_ms, push.receiver(), push.id())
}

/// The users announced since the last call: when, since `start_ms`, the first push, how many.
fn announced(w: &mut World, start_ms: u64) -> Vec<String> {
    std::mem::take(&mut w.announced).iter().map(|found| line(found, start_ms)).collect()
}

const NOBODY: [&str; 0] = [];

#[test]
fn without_a_hook_nobody_is_announced() {
    let (mut w, ann, bob) = super::ann_and_bob();
    w.message(bob, "m1", "ann");
    w.hang_up(ann);
    w.message(bob, "m2", "ann");
    w.run_for(2 * PAUSE_MS);
    assert_eq!((w.announced.len(), w.store.count("LoadPage")), (0, 0));
}

#[test]
fn a_user_who_is_away_is_announced_after_ten_seconds_with_the_first_push_and_the_number() {
    let (mut w, bob) = ann_is_away();
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_for(4_000);
    w.message(bob, "m2", "ann");
    w.run_until(start + AFTER_MS - 1);
    assert_eq!(announced(&mut w, start), NOBODY);
    w.run_for(1_000);
    let [(_, notice)] = &w.announced[..] else { panic!("one: {:?}", w.announced) };
    assert_eq!((notice.push.sender(), notice.push.kind, notice.push.content()), ("bob", PushKind::Message, "hello"));
    // The store takes 1 ms to count.
    assert_eq!(announced(&mut w, start), ["10001 ann m1 2"]);
    assert_eq!(w.store.count("LoadPage"), 1);
}

#[test]
fn an_online_user_who_does_not_ack_is_announced_without_asking_the_store() {
    let (mut w, _ann, bob) = ann_and_bob_by(rules());
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.message(bob, "m2", "ann");
    w.run_for(AFTER_MS + 1_000);
    assert_eq!(announced(&mut w, start), ["10000 ann m1 2"]);
    assert_eq!(w.store.count("LoadPage"), 0);
}

#[test]
fn a_user_who_acks_in_time_is_not_announced_however_much_comes() {
    let (mut w, ann, bob) = ann_and_bob_by(rules());
    let start = w.now_ms;
    for n in 0..200 {
        w.message(bob, &format!("m{n}"), "ann");
        // Each is acked after 9 s, while later ones wait.
        w.run_for(1_000);
        if n >= 8 {
            w.ack(ann, &format!("m{}", n - 8));
        }
    }
    assert_eq!(announced(&mut w, start), NOBODY);
    // Now she is silent: the oldest is m192, which was sent at 192 s.
    w.run_for(AFTER_MS);
    assert_eq!(announced(&mut w, start), ["202000 ann m192 8"]);
}

#[test]
fn an_ack_before_the_time_is_over_is_the_end_of_it() {
    let (mut w, ann, bob) = ann_and_bob_by(rules());
    w.message(bob, "m1", "ann");
    w.run_for(AFTER_MS - 1);
    w.ack(ann, "m1");
    w.run_for(2 * PAUSE_MS);
    assert_eq!((w.announced.len(), w.store.count("LoadPage")), (0, 0));
}

#[test]
fn a_user_is_announced_once_until_the_pause_ends_and_again_only_for_new_pushes() {
    let (mut w, bob) = ann_is_away();
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_until(start + 60_000);
    assert_eq!(announced(&mut w, start), ["10001 ann m1 1"]);
    w.message(bob, "m2", "ann");
    w.message(bob, "m3", "ann");
    w.run_until(start + 10_001 + PAUSE_MS - 1);
    assert_eq!(announced(&mut w, start), NOBODY);
    w.run_for(100);
    assert_eq!(announced(&mut w, start), [format!("{} ann m2 3", 10_002 + PAUSE_MS)]);
    // Nothing came since: nobody is told again.
    w.heartbeat(bob);
    w.run_for(4 * PAUSE_MS);
    assert_eq!(announced(&mut w, start), NOBODY);
    let bob = w.online("bob");
    let start = w.now_ms;
    w.message(bob, "m4", "ann");
    w.run_for(2 * AFTER_MS);
    assert_eq!(announced(&mut w, start), ["10001 ann m4 4"]);
}

#[test]
fn a_push_just_before_the_pause_ends_waits_its_ten_seconds_too() {
    let (mut w, bob) = ann_is_away();
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_until(start + 10_001 + PAUSE_MS - 5_000);
    let bob = if w.is_open(bob) { bob } else { w.online("bob") };
    assert_eq!(announced(&mut w, start), ["10001 ann m1 1"]);
    let came = w.now_ms;
    w.message(bob, "m2", "ann");
    w.run_for(2 * AFTER_MS);
    assert_eq!(announced(&mut w, came), ["10001 ann m2 2"]);
}

#[test]
fn a_log_in_ends_the_pause_and_gives_ten_seconds_to_ack() {
    let (mut w, bob) = ann_is_away();
    w.message(bob, "m1", "ann");
    w.run_for(20_000);
    assert_eq!(w.announced.len(), 1);
    w.announced.clear();
    let ann = w.online("ann");
    let start = w.now_ms - 10;
    w.run_for(5_000);
    w.ack(ann, "m1");
    w.message(bob, "m2", "ann");
    w.run_until(start + AFTER_MS + 4_000);
    assert_eq!(announced(&mut w, start), NOBODY, "m1 was acked, and m2 is young");
    w.run_for(2_000);
    assert_eq!(announced(&mut w, start), ["15010 ann m2 1"]);
}

#[test]
fn a_user_who_logs_in_while_their_mailbox_is_counted_is_not_announced() {
    let (mut w, bob) = ann_is_away();
    w.message(bob, "m1", "ann");
    w.run_for(AFTER_MS - 100);
    w.store.hang(|job| matches!(job, Job::Load { .. }));
    let ann = w.open();
    w.log_in(ann, "ann");
    // It is asked for behind the log-in.
    w.run_for(200);
    assert_eq!(w.store.count("LoadPage"), 1);
    w.store.unhang(w.now_ms);
    w.run_for(100);
    w.ack(ann, "m1");
    w.run_for(2 * AFTER_MS);
    assert_eq!(w.announced.len(), 0);
}

#[test]
fn a_user_who_goes_without_an_ack_is_announced_by_the_time_of_the_push() {
    let (mut w, ann, bob) = ann_and_bob_by(rules());
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_for(3_000);
    w.hang_up(ann);
    w.run_until(start + 2 * AFTER_MS);
    assert_eq!(announced(&mut w, start), ["10001 ann m1 1"]);
}

#[test]
fn a_push_acked_before_the_user_left_does_not_shorten_the_time_of_the_next() {
    let (mut w, ann, bob) = ann_and_bob_by(rules());
    w.message(bob, "m1", "ann");
    w.ack(ann, "m1");
    w.run_for(1_000);
    w.hang_up(ann);
    w.run_for(8_000);
    let start = w.now_ms;
    w.message(bob, "m2", "ann");
    w.run_for(2 * AFTER_MS);
    assert_eq!(announced(&mut w, start), ["10001 ann m2 1"]);
    // The same if something else was left: m4 is as old as it is.
    let ann = w.online("ann");
    w.ack(ann, "m2");
    w.message(bob, "m3", "ann");
    w.run_for(5_000);
    let start = w.now_ms;
    w.message(bob, "m4", "ann");
    w.run_for(1_000);
    w.ack(ann, "m3");
    w.run_for(10);
    w.hang_up(ann);
    w.run_for(2 * AFTER_MS);
    let found = announced(&mut w, start);
    assert!(found.len() == 1 && found[0].ends_with("ann m4 1"), "{found:?}");
    let at: u64 = found[0].split(' ').next().unwrap().parse().unwrap();
    assert!((AFTER_MS..AFTER_MS + 20).contains(&at), "{at}");
}

#[test]
fn friend_requests_are_announced_too_and_one_that_was_withdrawn_is_not() {
    let mut w = World::new(rules());
    for name in ["ann", "bob", "cid"] {
        w.store.model.add_account(name, name);
    }
    let (bob, cid) = (w.online("bob"), w.online("cid"));
    let start = w.now_ms;
    w.friend(bob, FriendVerb::Request, "f1", "ann");
    w.friend(cid, FriendVerb::Request, "f2", "bob");
    w.ack(bob, "f2");
    w.run_for(5_000);
    w.friend(bob, FriendVerb::Delete, "f3", "ann");
    w.run_for(2 * AFTER_MS);
    w.ack(bob, "f2");
    assert_eq!(w.announced.iter().filter(|(_, notice)| notice.push.receiver() == "ann").count(), 0, "withdrawn");
    w.announced.clear();
    let start_again = w.now_ms;
    w.friend(cid, FriendVerb::Request, "f4", "ann");
    w.run_for(2 * AFTER_MS);
    let kinds: Vec<_> = w.announced.iter().map(|(_, notice)| notice.push.kind).collect();
    assert_eq!(kinds, [PushKind::FriendRequest]);
    assert!(start < start_again);
}

#[test]
fn a_message_that_was_refused_is_not_announced() {
    let (mut w, bob) = ann_is_away();
    w.store.fate(Fate::Fail, super::saves);
    w.message(bob, "m1", "ann");
    w.run_for(5_000);
    assert_eq!(w.heard(bob), ["MF m1", "UNAVAILABLE m1"]);
    w.store.work(w.now_ms);
    let start = w.now_ms;
    w.message(bob, "m2", "ann");
    w.run_for(3 * AFTER_MS);
    let found = announced(&mut w, start);
    assert!(found.len() == 1 && found[0].ends_with("ann m2 1"), "{found:?}");
}

#[test]
fn when_the_store_is_away_they_are_announced_as_soon_as_it_is_back() {
    let (mut w, bob) = ann_is_away();
    let start = w.now_ms;
    w.message(bob, "m1", "ann");
    w.run_for(5_000);
    w.store.fate(Fate::Fail, super::any);
    w.run_until(start + 60_000);
    assert_eq!(announced(&mut w, start), NOBODY);
    assert!((45..=55).contains(&w.store.count("LoadPage")), "once a second: {}", w.store.count("LoadPage"));
    w.store.work(w.now_ms);
    w.run_for(2_000);
    let found = announced(&mut w, start);
    assert!(found.len() == 1 && found[0].ends_with("ann m1 1"), "{found:?}");
}

#[test]
fn a_mailbox_that_cannot_be_read_is_not_asked_for_again_and_again() {
    let (mut w, bob) = ann_is_away();
    w.message(bob, "m1", "ann");
    w.run_for(5_000);
    w.store.fate(Fate::Refuse, pages);
    w.run_for(60_000);
    assert_eq!((w.announced.len(), w.store.count("LoadPage")), (0, 1));
}

#[test]
fn more_than_a_page_is_counted_as_more() {
    let (mut w, ann, bob) = ann_and_bob_by(CoreSettings { page_max: 3, ..rules() });
    w.hang_up(ann);
    let start = w.now_ms;
    for n in 0..5 {
        w.message(bob, &format!("m{n}"), "ann");
    }
    w.run_for(60_000);
    assert_eq!(announced(&mut w, start), ["10001 ann m0 3+"]);
    w.message(bob, "m5", "ann");
    w.run_for(PAUSE_MS);
    let found = announced(&mut w, start);
    assert!(found.len() == 1 && found[0].ends_with("ann m0 3+"), "the new one is behind the page: {found:?}");
}

#[test]
fn of_many_users_due_at_once_few_are_counted_at_a_time() {
    let names: Vec<String> = (0..60).map(|n| format!("user{n}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("bob");
    let mut w = World::of_friends(rules(), &all);
    let bob = w.online("bob");
    for name in &names {
        w.message(bob, &format!("to {name}"), name);
    }
    w.store.hang(pages);
    w.run_for(AFTER_MS + 1_000);
    assert_eq!(w.store.count("LoadPage"), 16);
    w.store.unhang(w.now_ms);
    w.run_for(1_000);
    let found: Vec<_> = w.announced.iter().map(|(_, notice)| notice.push.receiver().to_owned()).collect();
    assert_eq!(found, names, "all of them, in their order");
}

#[test]
fn so_many_users_are_watched_and_no_more() {
    let mut w = World::of_friends(CoreSettings { push_hook_users_max: 2, ..rules() }, &["ann", "bob", "cid", "dan"]);
    let bob = w.online("bob");
    for name in ["ann", "cid", "dan"] {
        w.message(bob, &format!("to {name}"), name);
    }
    w.run_for(2 * AFTER_MS);
    let found: Vec<_> = w.announced.iter().map(|(_, notice)| notice.push.receiver().to_owned()).collect();
    assert_eq!(found, ["ann", "cid"]);
    assert_eq!(w.chat.push_hook_missed(), 1);
    assert_eq!(w.heard(bob), ["MS to ann", "MS to cid", "MS to dan"], "the messages are taken all the same");
    // One who comes and acks makes room.
    let ann = w.online("ann");
    w.ack(ann, "to ann");
    w.run_for(AFTER_MS);
    w.message(bob, "again", "dan");
    w.run_for(2 * AFTER_MS);
    assert_eq!(w.announced.last().unwrap().1.push.receiver(), "dan");
}

#[test]
fn after_a_restart_only_new_pushes_are_announced() {
    let (mut w, bob) = ann_is_away();
    w.message(bob, "m1", "ann");
    w.run_for(1_000);
    w.crash();
    w.run_for(2 * AFTER_MS);
    assert_eq!(w.announced.len(), 0);
    let bob = w.online("bob");
    let start = w.now_ms;
    w.message(bob, "m2", "ann");
    w.run_for(2 * AFTER_MS);
    assert_eq!(announced(&mut w, start), ["10001 ann m2 2"]);
}

#[test]
fn nobody_is_announced_before_acks_that_came_in_time_were_read() {
    let (mut w, ann, bob) = ann_and_bob_by(rules());
    w.message(bob, "m1", "ann");
    w.run_for(1_000);
    let heard_ms = w.now_ms;
    // The process was stopped for a minute, and her ack is still to be read.
    w.now_ms += 60_000;
    w.tick(heard_ms);
    assert_eq!(w.announced.len(), 0);
    w.ack(ann, "m1");
    w.run_for(60_000);
    assert_eq!(w.announced.len(), 0);
}

#[test]
fn a_stop_does_not_wait_for_mailboxes_to_be_counted() {
    let names: Vec<String> = (0..60).map(|n| format!("user{n}")).collect();
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.push("bob");
    let mut w = World::of_friends(rules(), &all);
    let bob = w.online("bob");
    for name in &names {
        w.message(bob, &format!("to {name}"), name);
    }
    w.store.hang(pages);
    w.run_for(AFTER_MS + 1_000);
    w.shut_down();
    w.store.unhang(w.now_ms);
    w.run_for(1_000);
    assert_eq!((w.stopped, w.store.count("LoadPage")), (1, 16));
    w.run_for(60_000);
    assert_eq!(w.store.count("LoadPage"), 16);
}

#[test]
fn the_wall_clock_may_jump_and_nobody_is_announced_twice() {
    let (mut w, ann, bob) = ann_and_bob_by(rules());
    for ahead_ms in [0, 3_600_000, -3_600_000] {
        w.wall_ahead_ms = ahead_ms;
        w.message(bob, &format!("a{ahead_ms}"), "ann");
        w.run_for(1_000);
        w.message(bob, &format!("b{ahead_ms}"), "ann");
        w.run_for(1_000);
        w.wall_ahead_ms = -ahead_ms;
        w.ack(ann, &format!("a{ahead_ms}"));
    }
    w.hang_up(ann);
    w.run_for(3 * AFTER_MS);
    assert_eq!(w.announced.len(), 1);
}
