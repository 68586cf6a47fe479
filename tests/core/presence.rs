//! PRESENCE: friends who watch are told of users who come and go.

use crate::sim::lanes::Fate;
use crate::sim::say::Say;
use crate::sim::world::World;
use crate::{ann_and_bob, friendships, strangers};
use hongyan::chat::contract::{ConnId, CoreSettings};
use hongyan::protocol::request::FriendVerb;

const NOTHING: [&str; 0] = [];

fn watch(w: &mut World, conn: ConnId) {
    w.say(conn, Say::Roster { mid: "r".into(), after: None, watch: true });
    w.run_for(2_000);
    assert!(w.heard(conn).contains(&"ROSTER r".to_owned()));
}

#[test]
fn only_watching_friends_are_told_which_users_come_and_go() {
    let (mut w, ann, bob) = ann_and_bob();
    w.store.model.add_account("eve", "eve");
    let eve = w.online("eve");
    watch(&mut w, ann);
    watch(&mut w, eve);
    let cid = w.online("cid");
    w.run_for(100);
    assert_eq!((w.heard(ann), w.heard(bob), w.heard(eve)), (vec!["on cid".into()], vec![], vec![]));
    w.run_for(2_000);
    w.hang_up(cid);
    w.run_for(100);
    assert_eq!((w.heard(ann), w.heard(bob), w.heard(eve)), (vec!["off cid".into()], vec![], vec![]));
    assert_eq!(w.totals().presence, 2);
}

#[test]
fn a_user_whose_new_log_in_replaces_the_old_one_never_goes_offline() {
    let (mut w, ann, bob) = ann_and_bob();
    watch(&mut w, ann);
    let again = w.online("bob");
    w.run_for(5_000);
    assert!(w.closed(bob).is_some() && w.is_open(again));
    assert_eq!(w.heard(ann), NOTHING);
}

#[test]
fn several_changes_are_told_once_and_none_if_all_is_as_before() {
    let (mut w, ann, bob) = ann_and_bob();
    watch(&mut w, ann);
    w.run_for(2_000);
    // Bob's log-in is slow: friends are told that Bob is offline, and the next change must wait.
    w.hang_up(bob);
    w.run_for(2);
    assert_eq!(w.heard(ann), ["off bob"]);
    for _ in 0..5 {
        let bob = w.online("bob");
        w.run_for(20);
        w.hang_up(bob);
        w.run_for(20);
    }
    w.run_for(5_000);
    assert_eq!(w.heard(ann), NOTHING, "offline before, offline now");
    for _ in 0..5 {
        let bob = w.online("bob");
        w.run_for(20);
        w.hang_up(bob);
        w.run_for(20);
    }
    w.online("bob");
    w.run_for(5_000);
    let heard = w.heard(ann);
    assert!(heard.len() <= 3 && heard.last().map(String::as_str) == Some("on bob"), "{heard:?}");
}

#[test]
fn nothing_is_written_into_a_connection_whose_output_waits_and_the_state_follows() {
    let (mut w, ann, bob) = ann_and_bob();
    let cid = w.online("cid");
    watch(&mut w, ann);
    w.block(ann);
    w.hang_up(bob);
    w.hang_up(cid);
    w.run_for(3_000);
    let bob = w.online("bob");
    w.run_for(3_000);
    assert_eq!(w.heard(ann), NOTHING);
    w.flush(ann);
    w.run_for(100);
    let mut heard = w.heard(ann);
    heard.sort();
    assert_eq!(heard, ["off cid", "on bob"], "the present state of both");
    w.block(ann);
    w.hang_up(bob);
    w.run_for(3_000);
    w.hang_up(ann);
    let ann = w.online("ann");
    w.run_for(3_000);
    assert_eq!(w.heard(ann), NOTHING, "another connection, which has not asked");
}

#[test]
fn a_user_who_goes_before_their_unsent_frames_are_sent_harms_nobody() {
    // The output is written, so Ann's unsent frames are queued. Ann goes offline before they are
    // sent. Nobody else is there, so that nothing about Ann is kept.
    let (mut w, ann, bob) = ann_and_bob();
    watch(&mut w, ann);
    w.block(ann);
    w.hang_up(bob);
    w.run_for(3_000);
    w.flush(ann);
    w.hang_up(ann);
    w.run_for(100);
    let ann = w.online("ann");
    w.run_for(3_000);
    assert_eq!(w.heard(ann), NOTHING);
}

#[test]
fn a_log_in_ends_the_watch_and_so_does_its_end() {
    let (mut w, ann, bob) = ann_and_bob();
    watch(&mut w, ann);
    w.log_in(ann, "ann");
    w.run_for(10);
    w.heard(ann);
    w.hang_up(bob);
    w.run_for(3_000);
    assert_eq!(w.heard(ann), NOTHING);
    watch(&mut w, ann);
    // Somebody else on the same connection.
    w.log_in(ann, "cid");
    w.run_for(10);
    w.heard(ann);
    w.online("bob");
    w.run_for(3_000);
    assert_eq!(w.heard(ann), NOTHING);
}

#[test]
fn a_new_friend_is_told_of_and_a_former_friend_is_not() {
    let (mut w, ann, bob) = strangers();
    watch(&mut w, ann);
    w.friend(bob, FriendVerb::Request, "f1", "ann");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["ask bob f1"]);
    w.friend(ann, FriendVerb::Accept, "f1", "bob");
    w.run_for(100);
    assert_eq!(w.heard(ann), ["OK f1", "on bob"]);
    w.friend(bob, FriendVerb::Delete, "f2", "ann");
    w.run_for(100);
    w.hang_up(bob);
    w.run_for(3_000);
    assert_eq!(w.heard(ann), NOTHING);
}

#[test]
fn a_user_who_ends_the_friendship_while_a_change_is_told_is_told_nothing() {
    let (mut w, ann, bob) = ann_and_bob();
    let cid = w.online("cid");
    watch(&mut w, ann);
    w.hang_up(bob);
    // Bob has gone, and it was not told yet.
    w.friend(ann, FriendVerb::Delete, "f1", "bob");
    let at_ms = w.now_ms;
    w.store.takes(1);
    w.run_until(at_ms + 3_000);
    let heard = w.heard(ann);
    assert!(heard == ["OK f1"] || heard == ["off bob", "OK f1"], "{heard:?}");
    w.hang_up(cid);
    w.run_for(3_000);
    assert_eq!(w.heard(ann), ["off cid"]);
}

#[test]
fn a_roster_shows_the_state_of_now_and_a_change_behind_it_is_told() {
    let (mut w, ann, bob) = ann_and_bob();
    watch(&mut w, ann);
    let cid = w.online("cid");
    w.run_for(2_000);
    w.heard(ann);
    // Bob goes offline. Before the next change may be told, Bob comes, a roster shows Bob, and Bob
    // goes again: the state is as before, but a friend has seen another one.
    w.hang_up(bob);
    w.run_for(10);
    assert_eq!(w.heard(ann), ["off bob"]);
    let bob = w.online("bob");
    watch_at_once(&mut w, cid);
    w.hang_up(bob);
    w.run_for(5_000);
    assert_eq!(w.heard(cid), ["off bob"]);
}

fn watch_at_once(w: &mut World, conn: ConnId) {
    w.say(conn, Say::Roster { mid: "r".into(), after: None, watch: true });
    w.run_for(5);
    assert_eq!(w.heard(conn), ["ROSTER r"]);
}

#[test]
fn many_watching_users_are_told_a_part_at_a_time() {
    let names: Vec<String> = (0..200).map(|n| format!("u{n:03}")).collect();
    let rules = CoreSettings { presence_at_once_max: 8, ..crate::rules() };
    let mut w = World::new(rules);
    w.store.model.add_account("ann", "ann");
    for name in &names {
        w.store.model.add_account(name, name);
        w.store.model.befriend("ann", name);
    }
    let conns: Vec<ConnId> = names
        .iter()
        .map(|name| {
            let conn = w.online(name);
            w.say(conn, Say::Roster { mid: "r".into(), after: None, watch: true });
            conn
        })
        .collect();
    w.run_for(5_000);
    conns.iter().for_each(|conn| drop(w.heard(*conn)));
    let ann = w.open();
    w.log_in(ann, "ann");
    let start_ms = w.now_ms;
    for ms in 0..60 {
        w.run_until(start_ms + ms);
        let told = w.totals().presence;
        assert!(told <= 8 * ms, "{told} told in {ms} ms");
    }
    assert_eq!(w.totals().presence, 200);
    assert!(conns.iter().all(|conn| w.heard(*conn) == ["on ann"]));
    // She goes while half of them know: all know in the end.
    w.run_for(5_000);
    w.hang_up(ann);
    w.run_for(10);
    w.online("ann");
    w.run_for(10_000);
    let last: Vec<Option<String>> = conns.iter().map(|conn| w.heard(*conn).pop()).collect();
    assert!(last.iter().all(|last| last.is_none() || last.as_deref() == Some("on ann")), "{last:?}");
}

#[test]
fn a_user_who_comes_and_goes_all_the_time_does_not_delay_news_of_others() {
    let names: Vec<String> = (0..100).map(|n| format!("u{n:03}")).collect();
    let mut w = World::new(CoreSettings { presence_at_once_max: 2, ..crate::rules() });
    for name in ["ann", "eve"] {
        w.store.model.add_account(name, name);
        for other in &names {
            w.store.model.befriend(name, other);
        }
    }
    for name in &names {
        w.store.model.add_account(name, name);
        let conn = w.online(name);
        w.say(conn, Say::Roster { mid: "r".into(), after: None, watch: true });
    }
    w.run_for(5_000);
    let start_ms = w.now_ms;
    while w.now_ms < start_ms + 3_000 {
        let eve = w.online("eve");
        w.hang_up(eve);
        w.run_for(3);
    }
    let before = w.totals().presence;
    w.online("ann");
    w.run_for(500);
    assert!(w.totals().presence >= before + 100, "ann is told of to all");
    // One flap a second at most is told.
    assert!(before <= 4 * 100 + 100, "{before} told");
}

#[test]
fn the_state_is_told_for_each_outcome_of_a_friendship_in_doubt() {
    let (mut w, ann, bob) = ann_and_bob();
    watch(&mut w, ann);
    w.store.fate(Fate::Fail, friendships);
    w.friend(ann, FriendVerb::Delete, "f1", "bob");
    w.run_for(100);
    w.hang_up(bob);
    w.store.work(w.now_ms);
    w.run_for(20_000);
    let heard = w.heard(ann);
    assert!(!heard.contains(&"on bob".to_owned()), "{heard:?}");
}
