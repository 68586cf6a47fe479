//! Requests of blocked users, which the blocking user does not see.

use super::super::mysql::Database;
use super::super::quotas::Workers;
use super::{asks, begin, block, blocked, page_of, seen, shown};
use crate::common::store::*;
use crate::on_each;
use hongyan::chat::contract::{FriendRequestOutcome, Job};
use hongyan::config::StoreUrl;
use hongyan::protocol::field::Secret;

fn start_again(store: &StoreUrl) {
    let mut workers = begin(store, &["ann", "bob", "cid"]);
    for (seq, from) in [(1, "bob"), (2, "cid")] {
        assert_eq!(asks(&mut workers, seq, from, "ann"), FriendRequestOutcome::Pending);
    }
    workers.ask([Job::SavePush { push: message(3, "bob", "ann", "m") }]);
    assert_eq!(block(&mut workers, "ann", "bob"), blocked(&["bob"], Some(1)));
    assert_eq!(page_of(&mut workers, "ann"), [1, 2, 3]);
    workers.stop();
    let mut workers = Workers::new(store);
    assert_eq!(page_of(&mut workers, "ann"), [2, 3]);
    assert_eq!(seen(&mut workers, "ann"), shown(&[], &["cid"], &[]));
    assert_eq!(block(&mut workers, "ann", "bob"), blocked(&["bob"], Some(1)));
    workers.stop();
}

#[test]
fn a_start_deletes_the_push_of_a_request_that_was_hidden_before_the_stop() {
    let folder = tempfile::tempdir().unwrap();
    start_again(&StoreUrl::Sqlite(folder.path().join("a.db")));
    let Some(database) = Database::new() else { return };
    start_again(&StoreUrl::Mysql(database.url()));
}

#[test]
fn blocks_and_hidden_requests_are_rolled_back() {
    on_each(|store| {
        sign_up(store, &["ann", "bob", "cid"]);
        ask(store, &request(1, "bob", "ann", "r"));
        with(store, |store| store.blocks().add(&user("ann"), &user("cid")));
        let (ann, bob, cid) = (user("ann"), user("bob"), user("cid"));
        store.begin().unwrap();
        store.blocks().add(&ann, &bob).unwrap();
        store.blocks().add(&ann, &bob).unwrap();
        store.blocks().remove(&ann, &cid).unwrap();
        store.friendships().hide_request(&ann, &bob).unwrap();
        store.friendships().hide_request(&ann, &cid).unwrap();
        assert_eq!(store.blocks().of_user(&ann).unwrap(), std::slice::from_ref(&bob));
        assert_eq!(store.blocks().hidden_pushes(9).unwrap(), [(ann.clone(), 1)]);
        assert_eq!(store.friendships().count_requests_to(&ann, 9).unwrap(), 0);
        assert_eq!(store.friendships().count_requests_of(&bob, 9).unwrap(), 1);
        assert!(store.rosters().incoming(&ann, 9).unwrap().is_empty());
        store.rollback();
        assert_eq!(store.blocks().of_user(&ann).unwrap(), std::slice::from_ref(&cid));
        assert!(store.blocks().hidden_pushes(9).unwrap().is_empty());
        assert_eq!(store.friendships().count_requests_to(&ann, 9).unwrap(), 1);
        assert_eq!(store.rosters().incoming(&ann, 9).unwrap().len(), 1);
        assert_eq!(store.rosters().outgoing(&bob, 9).unwrap().len(), 1);
        let tie = store.friendships().relation(&cid, &ann).unwrap();
        assert!(!tie.are_friends && !tie.blocks && tie.is_blocked);
    });
}

/// As many as an operator may allow, and ten times as many requests.
#[test]
fn thousands_of_hidden_requests_hinder_nobody() {
    on_each(|store| {
        let names: Vec<String> = (0..1_000).map(|n| format!("user {n:04}")).collect();
        with(store, |store| {
            for name in names.iter().map(String::as_str).chain(["ann", "bob"]) {
                assert!(store.create_account(&account(name), &Secret::new("h"))?);
            }
            Ok(())
        });
        with(store, |store| {
            for (name, seq) in names.iter().zip(1..) {
                store.blocks().add(&user("ann"), &user(name))?;
                store.friendships().add_request(&request(seq, name, "ann", "r"), true)?;
            }
            Ok(())
        });
        assert_eq!(store.blocks().of_user(&user("ann")).unwrap().len(), 1_000);
        assert_eq!(ask_within(store, &request(9_000, "bob", "ann", "r"), 1, true), FriendRequestOutcome::Pending);
        let incoming = store.rosters().incoming(&user("ann"), 100).unwrap();
        assert_eq!(incoming.iter().map(|entry| entry.user_name.to_string()).collect::<Vec<_>>(), ["bob"]);
        assert_eq!(store.last_seq().unwrap(), 9_000);
        let mut removed = 0;
        loop {
            match with(store, |store| store.blocks().remove_blocks(&user("ann"), 300)) {
                0 => break,
                some => removed += some,
            }
        }
        assert_eq!(removed, 1_000);
    });
}
