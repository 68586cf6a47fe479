//! One suite for every store: in memory, in SQLite, and, where `HONGYAN_TEST_MYSQL` names a server
//! (`mysql://user:password@host:port`, without a database: each test makes one of its own), in
//! MySQL or MariaDB.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

/// The parts of this test, in `tests/store_contract/`.
mod store_contract {
    mod account_jobs;
    mod accounts;
    pub(crate) mod mysql;
    mod mysql_pool;
    mod nodes;
    mod quotas;
    mod sqlite;
    mod take_over;
}

use common::store::*;
use hongyan::chat::contract::{FriendAnswerOutcome as Answered, FriendRequestOutcome as Asked};
use hongyan::protocol::field::Secret;
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::MailboxSaveResult::{Before, Duplicate, Itself};
use hongyan::store::{StoreConnection, StoreError, friendship, memory::MemoryStore, sqlite::SqliteStore, token};

fn on_each(test: fn(&mut dyn StoreConnection)) {
    println!("memory");
    test(&mut MemoryStore::default());
    println!("sqlite");
    let folder = tempfile::tempdir().unwrap();
    test(&mut SqliteStore::open(&folder.path().join("store.db")).unwrap());
    if let Some(database) = store_contract::mysql::Database::new() {
        println!("mysql");
        test(&mut database.server().connect().unwrap());
    }
}

#[test]
fn accounts_come_back_as_they_were_and_names_are_taken_once() {
    on_each(|store| {
        sign_up(store, &["ann"]);
        assert_eq!(store.profile(&user("ann")).unwrap(), Some(account("ann")));
        assert_eq!(store.password_hash(&user("ann")).unwrap(), Some(Secret::new("hash of ann")));
        assert_eq!(store.profile(&user("nobody")).unwrap(), None);
        assert_eq!(store.password_hash(&user("nobody")).unwrap(), None);
        let mut other = account("ann");
        other.nick_name = "other".into();
        assert!(!with(store, |store| store.create_account(&other, &Secret::new("another hash"))));
        assert_eq!(store.profile(&user("ann")).unwrap(), Some(account("ann")));
        assert_eq!(store.password_hash(&user("ann")).unwrap(), Some(Secret::new("hash of ann")));
        let again = with(store, |store| store.create_account(&account("ann"), &Secret::new("hash of ann")));
        assert!(again, "the very same job once more, after its answer was lost");
    });
}

#[test]
fn the_largest_fields_fit() {
    on_each(|store| {
        let mut profile = account("ann");
        profile.user_name = user(&"🪿".repeat(64));
        profile.email_address = "e".repeat(255).into();
        profile.nick_name = "雁".repeat(85).into();
        profile.profile_picture = "雁".repeat(682).into();
        profile.location = "\0".repeat(255).into();
        profile.personal_description = "🪿".repeat(2_048).into();
        profile.rsa_public_key = "k".repeat(8_192).into();
        let hash = Secret::new(&"h".repeat(200));
        assert!(with(store, |store| store.create_account(&profile, &hash)));
        assert_eq!(store.profile(&profile.user_name).unwrap(), Some(profile.clone()));
        let (name, id) = (profile.user_name.to_string(), "雁".repeat(42));
        let large = push(1, PushKind::Message, &name, &name, &id, &"🪿\0".repeat(60_000));
        assert_eq!(save(store, std::slice::from_ref(&large)), [Itself]);
        assert_eq!(store.pushes(&profile.user_name, 0, 9, usize::MAX).unwrap(), [Push::clone(&large)]);
        let mut empty = account("bob");
        (empty.email_address, empty.nick_name, empty.rsa_public_key) = ("".into(), "".into(), "".into());
        assert!(with(store, |store| store.create_account(&empty, &hash)));
        assert_eq!(store.profile(&user("bob")).unwrap(), Some(empty));
    });
}

#[test]
fn names_and_ids_compare_byte_for_byte() {
    on_each(|store| {
        let alike = [
            "bob",
            "Bob",
            "BOB",
            "bób",
            "bo\u{301}b",
            "böb",
            "bob\u{200b}",
            "ß",
            "ss",
            "ﬁ",
            "fi",
            "1",
            "01",
            "a",
            "a\u{34f}",
        ];
        sign_up(store, &alike);
        for name in alike {
            assert_eq!(store.profile(&user(name)).unwrap(), Some(account(name)));
        }
        let ids = ["x", "X", "x ", " x", "x\0", "x\t", "é", "e\u{301}", "1", "01", "1.0"];
        let messages: Vec<_> = alike
            .iter()
            .flat_map(|to| ids.iter().map(move |id| (*to, *id)))
            .zip(1..)
            .map(|((to, id), seq)| message(seq, "bob", to, id))
            .collect();
        assert!(save(store, &messages).iter().all(|saved| *saved == Itself));
        for name in alike {
            let stored = store.pushes(&user(name), 0, 100, usize::MAX).unwrap();
            assert_eq!(stored.iter().map(|push| push.id()).collect::<Vec<_>>(), ids, "{name}");
        }
        ask(store, &request(1_000, "bob", "Bob", "r"));
        assert_eq!(reply(store, &answer(1_001, PushKind::FriendAccept, "BOB", "bob", "r")), Answered::NoSuchRequest);
        assert_eq!(reply(store, &answer(1_001, PushKind::FriendAccept, "Bob", "bob", "r ")), Answered::NoSuchRequest);
        assert_eq!(reply(store, &answer(1_001, PushKind::FriendAccept, "Bob", "bob", "r")), Answered::Done);
        assert_eq!(friends(store, "bob"), names(&["Bob"]));
        assert_eq!(friends(store, "BOB"), names(&[]));
    });
}

#[test]
fn pushes_come_back_in_order_page_by_page_exactly_as_sent() {
    on_each(|store| {
        let odd = |seq| push(seq, PushKind::Message, "鸿雁", "ann", &format!("{seq} {}", &ODD[..12]), ODD);
        let sent: Vec<_> = [70, 3, 50, 4, 1, 10].map(odd).into();
        assert_eq!(save(store, &sent), [Itself; 6]);
        save(store, &[message(5, "ann", "bob", "m")]);
        assert_eq!(waiting(store, "ann"), [1, 3, 4, 10, 50, 70]);
        let page = store.pushes(&user("ann"), 3, 2, usize::MAX).unwrap();
        assert_eq!(page, [Push::clone(&odd(4)), Push::clone(&odd(10))]);
        assert!(store.pushes(&user("ann"), 70, 2, usize::MAX).unwrap().is_empty());
        assert!(store.pushes(&user("ann"), u64::MAX, 2, usize::MAX).unwrap().is_empty());
        assert_eq!(store.last_seq().unwrap(), 70);
    });
}

#[test]
fn a_push_is_kept_once() {
    on_each(|store| {
        let first = message(1, "bob", "ann", "m");
        assert_eq!(save(store, &[first.clone(), first.clone()]), [Itself, Before]);
        assert_eq!(save(store, std::slice::from_ref(&first)), [Before]);
        let twice = [message(2, "bob", "ann", "m"), message(3, "cy", "ann", "m"), message(4, "bob", "dan", "m")];
        assert_eq!(save(store, &twice), [Duplicate, Itself, Itself]);
        let in_one = [message(5, "bob", "ann", "n"), message(6, "bob", "ann", "n"), first];
        assert_eq!(save(store, &in_one), [Itself, Duplicate, Before]);
        // Pushes of friendship are another matter, even under the same id.
        let friendly =
            [PushKind::FriendRequest, PushKind::FriendAccept, PushKind::FriendReject, PushKind::FriendReject];
        let friendly: Vec<_> =
            friendly.iter().zip(7..).map(|(kind, seq)| push(seq, *kind, "bob", "ann", "m", ODD)).collect();
        assert_eq!(save(store, &friendly), [Itself; 4]);
        assert_eq!(waiting(store, "ann"), [1, 3, 5, 7, 8, 9, 10]);
        assert_eq!(store.pushes(&user("ann"), 6, 1, usize::MAX).unwrap(), [Push::clone(&friendly[0])]);
        // Once it is gone its id is free.
        with(store, |store| store.delete_pushes(&[(user("ann"), 1)]));
        assert_eq!(save(store, &[message(11, "bob", "ann", "m")]), [Itself]);
        assert_eq!(save(store, &[]), []);
    });
}

#[test]
fn many_at_once_with_duplicates_among_them() {
    on_each(|store| {
        save(store, &[message(1_000, "bob", "ann", "m500")]);
        for count in [1, 9, 10, 11, 99, 100, 101, 257] {
            let base = 2_000 + count * 1_000;
            let many: Vec<_> = (0..count).map(|n| message(base + n, "bob", "cy", &format!("{count}/{n}"))).collect();
            assert!(save(store, &many).iter().all(|saved| *saved == Itself));
            let all: Vec<_> = (base..base + count).collect();
            assert_eq!(waiting(store, "cy"), all);
            let gone: Vec<_> = all.iter().map(|seq| (user("cy"), *seq)).collect();
            with(store, |store| store.delete_pushes(&gone));
            assert!(waiting(store, "cy").is_empty());
        }
        let many: Vec<_> = (0..777).map(|n| message(1 + n, "bob", "ann", &format!("m{n}"))).collect();
        for (saved, n) in save(store, &many).iter().zip(0..) {
            assert_eq!(*saved, if n == 500 { Duplicate } else { Itself }, "{n}");
        }
        assert_eq!(waiting(store, "ann").len(), 777);
    });
}

#[test]
fn a_push_is_forgotten_by_receiver_and_number() {
    on_each(|store| {
        let all = [message(1, "bob", "ann", "a"), message(2, "bob", "cy", "b"), message(3, "bob", "ann", "c")];
        save(store, &all);
        let gone = [(user("ann"), 2), (user("cy"), 1), (user("ann"), 77), (user("nobody"), 1)];
        with(store, |store| store.delete_pushes(&gone));
        assert_eq!((waiting(store, "ann"), waiting(store, "cy")), (vec![1, 3], vec![2]));
        let gone = [(user("ann"), 1), (user("cy"), 2), (user("ann"), 1)];
        with(store, |store| store.delete_pushes(&gone));
        with(store, |store| store.delete_pushes(&gone));
        with(store, |store| store.delete_pushes(&[]));
        assert_eq!((waiting(store, "ann"), waiting(store, "cy")), (vec![3], vec![]));
    });
}

#[test]
fn a_rollback_leaves_nothing_behind() {
    on_each(|store| {
        sign_up(store, &["ann", "bob", "cy"]);
        save(store, &[message(1, "bob", "ann", "kept")]);
        ask(store, &request(2, "bob", "ann", "r"));
        ask(store, &request(3, "ann", "bob", "crossing"));
        ask(store, &request(4, "cy", "ann", "r"));
        assert_eq!(reply(store, &answer(5, PushKind::FriendAccept, "ann", "cy", "r")), Answered::Done);
        store.begin().unwrap();
        assert!(store.create_account(&account("dan"), &Secret::new("h")).unwrap());
        store.save_pushes(&[message(6, "bob", "ann", "lost")]).unwrap();
        store.delete_pushes(&[(user("ann"), 1)]).unwrap();
        friendship::end_friendship(store, &user("ann"), &user("cy"), false).unwrap();
        let accept = answer(7, PushKind::FriendAccept, "ann", "bob", "r");
        assert_eq!(friendship::answer(store, &accept, u32::MAX, None).unwrap().outcome, Answered::Done);
        let asked = friendship::ask(store, &request(8, "bob", "cy", "r"), u32::MAX, None).unwrap();
        assert_eq!(asked, (Asked::Pending, true));
        store.rollback();
        assert_eq!(store.profile(&user("dan")).unwrap(), None);
        assert_eq!(waiting(store, "ann"), [1, 2, 4]);
        assert_eq!(waiting(store, "bob"), [3]);
        assert_eq!(friends(store, "ann"), names(&["cy"]));
        assert_eq!(friends(store, "cy"), names(&["ann"]));
        assert_eq!(ask(store, &request(9, "bob", "cy", "r")), Asked::Pending);
        assert_eq!(reply(store, &accept), Answered::Done);
        store.begin().unwrap();
        store.rollback();
        store.rollback();
        assert_eq!(friends(store, "ann"), names(&["bob", "cy"]));
    });
}

#[test]
fn one_request_is_pending_from_one_to_another() {
    on_each(|store| {
        sign_up(store, &["ann", "bob"]);
        assert_eq!(ask(store, &request(1, "bob", "nobody", "r")), Asked::NoSuchUser);
        let first = request(2, "bob", "ann", "r");
        assert_eq!(ask(store, &first), Asked::Pending);
        assert_eq!(ask(store, &first), Asked::Pending, "the very same job");
        let already = Asked::AlreadyPending { time_ms: first.time_ms };
        assert_eq!(ask(store, &request(3, "bob", "ann", "r")), already);
        assert_eq!(ask(store, &request(3, "bob", "ann", "another")), already);
        assert_eq!(store.pushes(&user("ann"), 0, 9, usize::MAX).unwrap(), std::slice::from_ref(&first));
        // It is pending after its push was acked too.
        with(store, |store| store.delete_pushes(&[(user("ann"), 2)]));
        assert_eq!(ask(store, &request(3, "bob", "ann", "r")), already);
        assert_eq!(ask(store, &first), already, "the very same job, whose push there is nobody to send to");
        assert!(waiting(store, "ann").is_empty(), "an acked push does not come back");
        assert_eq!(store.last_seq().unwrap(), 2, "the number of a pending request is not given again");
    });
}

#[test]
fn a_request_is_answered_once() {
    on_each(|store| {
        sign_up(store, &["ann", "bob"]);
        ask(store, &request(1, "bob", "ann", "r"));
        let reject = answer(2, PushKind::FriendReject, "ann", "bob", "r");
        assert_eq!(reply(store, &answer(2, PushKind::FriendReject, "ann", "bob", "other")), Answered::NoSuchRequest);
        assert_eq!(reply(store, &answer(2, PushKind::FriendAccept, "bob", "ann", "r")), Answered::NoSuchRequest);
        assert_eq!(reply(store, &reject), Answered::Done);
        assert_eq!(reply(store, &reject), Answered::Done, "the very same job");
        assert_eq!(reply(store, &answer(3, PushKind::FriendReject, "ann", "bob", "r")), Answered::NoSuchRequest);
        assert_eq!(store.pushes(&user("bob"), 0, 9, usize::MAX).unwrap(), [reject]);
        assert_eq!(friends(store, "ann"), names(&[]));
        // The id is free again, even with the first answer still waiting to be acked.
        assert_eq!(ask(store, &request(4, "bob", "ann", "r")), Asked::Pending);
        let accept = answer(5, PushKind::FriendAccept, "ann", "bob", "r");
        assert_eq!(reply(store, &accept), Answered::Done);
        assert_eq!(reply(store, &accept), Answered::Done);
        assert_eq!(waiting(store, "bob"), [2, 5]);
        assert_eq!((friends(store, "ann"), friends(store, "bob")), (names(&["bob"]), names(&["ann"])));
        assert_eq!(ask(store, &request(6, "bob", "ann", "s")), Asked::AlreadyFriends);
        assert_eq!(ask(store, &request(6, "ann", "bob", "s")), Asked::AlreadyFriends);
    });
}

#[test]
fn requests_that_cross_are_both_removed_by_an_accept_and_not_by_a_reject() {
    on_each(|store| {
        sign_up(store, &["ann", "bob", "cy"]);
        ask(store, &request(1, "bob", "ann", "r"));
        ask(store, &request(2, "ann", "bob", "r"));
        assert_eq!(reply(store, &answer(3, PushKind::FriendReject, "ann", "bob", "r")), Answered::Done);
        assert_eq!(waiting(store, "bob"), [2, 3]);
        ask(store, &request(4, "bob", "ann", "r"));
        save(store, &[message(5, "ann", "bob", "r")]);
        let accept = answer(6, PushKind::FriendAccept, "ann", "bob", "r");
        assert_eq!(reply(store, &accept), Answered::Done);
        assert_eq!((waiting(store, "ann"), waiting(store, "bob")), (vec![1, 4], vec![3, 5, 6]));
        assert_eq!(reply(store, &answer(7, PushKind::FriendAccept, "bob", "ann", "r")), Answered::NoSuchRequest);
        assert_eq!(friends(store, "bob"), names(&["ann"]));
        // One whose push was acked crosses all the same.
        ask(store, &request(10, "cy", "ann", "r"));
        ask(store, &request(11, "ann", "cy", "s"));
        with(store, |store| store.delete_pushes(&[(user("cy"), 11)]));
        let accept = answer(12, PushKind::FriendAccept, "ann", "cy", "r");
        assert_eq!(reply(store, &accept), Answered::Done);
        assert_eq!(friends(store, "ann"), names(&["bob", "cy"]));
    });
}

#[test]
fn a_friendship_ends_both_ways() {
    on_each(|store| {
        sign_up(store, &["ann", "bob", "cy"]);
        for (asker, seq) in [("bob", 1), ("cy", 10)] {
            ask(store, &request(seq, asker, "ann", "r"));
            assert_eq!(reply(store, &answer(seq + 1, PushKind::FriendAccept, "ann", asker, "r")), Answered::Done);
        }
        for _ in 0..2 {
            assert_eq!(end(store, "bob", "ann"), None);
            assert_eq!(end(store, "bob", "nobody"), None);
            assert_eq!(friends(store, "ann"), names(&["cy"]));
            assert_eq!(friends(store, "bob"), names(&[]));
        }
        assert_eq!(ask(store, &request(20, "ann", "bob", "r")), Asked::Pending);
    });
}

#[test]
fn a_user_who_ends_it_withdraws_their_own_request() {
    on_each(|store| {
        sign_up(store, &["ann", "bob", "cy"]);
        ask(store, &request(1, "bob", "ann", "r"));
        ask(store, &request(2, "ann", "bob", "s"));
        ask(store, &request(3, "bob", "cy", "r"));
        save(store, &[message(4, "bob", "ann", "r")]);
        assert_eq!(end(store, "cy", "bob"), None, "the request of the other user stays");
        assert_eq!(waiting(store, "cy"), [3]);
        assert_eq!(end(store, "bob", "ann"), Some(1));
        assert_eq!(end(store, "bob", "ann"), None, "the very same once more");
        assert_eq!((waiting(store, "ann"), waiting(store, "bob")), (vec![4], vec![2]));
        let late = answer(5, PushKind::FriendAccept, "ann", "bob", "r");
        assert_eq!(reply(store, &late), Answered::NoSuchRequest);
        assert_eq!(friends(store, "ann"), names(&[]));
        // One whose push was acked is withdrawn all the same, and its place is free.
        ask(store, &request(6, "bob", "ann", "r"));
        with(store, |store| store.delete_pushes(&[(user("ann"), 6)]));
        assert_eq!(end(store, "bob", "ann"), Some(6));
        assert_eq!(reply(store, &answer(7, PushKind::FriendReject, "ann", "bob", "r")), Answered::NoSuchRequest);
        assert_eq!(ask(store, &request(8, "bob", "ann", "r")), Asked::Pending);
        // Rolled back, it is pending and its push waits as before.
        store.begin().unwrap();
        let withdrawn = friendship::end_friendship(store, &user("bob"), &user("ann"), true).unwrap().unwrap();
        assert_eq!((withdrawn.seq, withdrawn.push.unwrap().0), (8, "bob".into()));
        store.rollback();
        assert_eq!(waiting(store, "ann"), [4, 8]);
        let accept = answer(9, PushKind::FriendAccept, "ann", "bob", "r");
        assert_eq!(reply(store, &accept), Answered::Done);
        assert_eq!(friends(store, "ann"), names(&["bob"]));
    });
}

#[test]
fn jobs_of_one_transaction_see_each_other() {
    on_each(|store| {
        assert_eq!(store.last_seq().unwrap(), 0);
        store.begin().unwrap();
        for name in ["ann", "bob"] {
            assert!(store.create_account(&account(name), &Secret::new("h")).unwrap());
        }
        let asked = friendship::ask(store, &request(1, "ann", "bob", "r"), u32::MAX, None).unwrap();
        assert_eq!(asked, (Asked::Pending, true));
        let accept = answer(2, PushKind::FriendAccept, "bob", "ann", "r");
        assert_eq!(friendship::answer(store, &accept, u32::MAX, None).unwrap().outcome, Answered::Done);
        assert_eq!(friends(store, "ann"), names(&["bob"]));
        store.save_pushes(&[message(3, "bob", "ann", "m")]).unwrap();
        assert_eq!(waiting(store, "ann"), [2, 3]);
        store.delete_pushes(&[(user("ann"), 3)]).unwrap();
        assert_eq!(waiting(store, "ann"), [2]);
        store.commit().unwrap();
        assert_eq!(waiting(store, "ann"), [2]);
    });
}

#[test]
fn another_push_under_a_number_that_is_taken_is_never_called_saved() {
    on_each(|store| {
        save(store, &[message(1, "bob", "ann", "m")]);
        store.begin().unwrap();
        let result = store.save_pushes(&[message(2, "bob", "ann", "o"), message(1, "bob", "ann", "n")]);
        assert!(matches!(result, Err(StoreError::Refused(_))), "{result:?}");
        store.rollback();
        assert_eq!(waiting(store, "ann"), [1]);
    });
}

#[test]
fn a_page_ends_with_the_push_that_reaches_its_bytes() {
    on_each(|store| {
        let sized =
            |seq, bytes: usize| push(seq, PushKind::Message, "bob", "ann", &format!("m{seq}"), &"x".repeat(bytes));
        save(store, &[sized(1, 100), sized(2, 100), sized(3, 5_000), sized(4, 1)]);
        let mut page = |after_seq, bytes_max| -> Vec<u64> {
            let pushes = store.pushes(&user("ann"), after_seq, 10, bytes_max).unwrap();
            pushes.iter().map(|push| push.seq).collect()
        };
        assert_eq!(page(0, 1), [1], "one at least");
        assert_eq!(page(0, 150), [1, 2]);
        assert_eq!(page(0, 300), [1, 2, 3]);
        assert_eq!(page(2, 300), [3]);
        assert_eq!(page(0, usize::MAX), [1, 2, 3, 4]);
        assert_eq!(page(3, 300), [4], "the connection is as good as before");
    });
}

#[test]
fn pending_requests_and_friends_are_limited() {
    on_each(|store| {
        sign_up(store, &["ann", "bob", "cy", "dan"]);
        let mut ask = |seq, from: &str, to: &str| {
            let push = request(seq, from, to, "r");
            ask_within(store, &push, 2, true)
        };
        assert_eq!((ask(1, "ann", "bob"), ask(2, "ann", "cy")), (Asked::Pending, Asked::Pending));
        assert_eq!(ask(3, "ann", "dan"), Asked::TooMany, "of one");
        assert_eq!(ask(1, "ann", "bob"), Asked::Pending, "the same once more");
        assert!(matches!(ask(4, "ann", "bob"), Asked::AlreadyPending { .. }));
        assert_eq!((ask(5, "dan", "bob"), ask(6, "cy", "bob")), (Asked::Pending, Asked::TooMany), "to one");
        assert_eq!(ask(7, "bob", "ann"), Asked::Pending, "others are not disturbed");
        assert_eq!(waiting(store, "bob"), [1, 5]);
        let mut accept = |seq, asked: &str, asker: &str, friends_max| {
            let push = answer(seq, PushKind::FriendAccept, asked, asker, "r");
            reply_within(store, &push, friends_max, true)
        };
        assert!(matches!(accept(8, "bob", "ann", 1), Answered::Done));
        assert_eq!(accept(9, "bob", "dan", 1), Answered::TooManyFriends, "the limit of the user who accepts");
        assert_eq!(accept(10, "cy", "ann", 1), Answered::TooManyFriends, "the limit of the user who asked");
        assert!(matches!(accept(11, "bob", "dan", 2), Answered::Done), "it was still pending");
        let reject = answer(12, PushKind::FriendReject, "cy", "ann", "r");
        assert_eq!(reply_within(store, &reject, 1, true), Answered::Done);
        assert_eq!(friends(store, "bob"), names(&["ann", "dan"]));
        assert_eq!(friends(store, "cy"), names(&[]));
    });
}

#[test]
fn resume_tokens_expire_make_room_and_are_revoked() {
    on_each(|store| {
        let (ann, bob) = (user("ann"), user("bob"));
        let hash = |n: u8| token::hash(&user("ann"), &Secret::new(&n.to_string()), &Secret::new("p"));
        for (n, expires_ms) in [(1, 1_000), (2, 2_000), (3, 3_000)] {
            with(store, |store| token::save(store, &ann, &(hash(n), expires_ms), span(0, 10_000), 3));
        }
        with(store, |store| token::save(store, &bob, &(hash(9), 9_000), span(0, 10_000), 3));
        let usable = |store: &mut dyn StoreConnection, now_ms| -> Vec<u8> {
            (0..10).filter(|n| token::is_usable(store, &ann, &hash(*n), span(now_ms, 10_000)).unwrap()).collect()
        };
        assert_eq!(usable(store, 0), [1, 2, 3]);
        assert_eq!(usable(store, 1_000), [2, 3], "until, and not at");
        with(store, |store| token::save(store, &ann, &(hash(4), 4_000), span(0, 10_000), 3));
        assert_eq!(usable(store, 0), [2, 3, 4], "the one that expires first makes room");
        with(store, |store| token::save(store, &ann, &(hash(4), 5_000), span(0, 10_000), 3));
        assert_eq!(usable(store, 0), [2, 3, 4], "the same once more takes no room");
        assert_eq!(usable(store, 4_500), [4]);
        with(store, |store| token::save(store, &ann, &(hash(5), 6_000), span(3_000, 10_000), 3));
        assert_eq!(usable(store, 3_000), [4, 5]);
        with(store, |store| token::save(store, &ann, &(hash(6), 7_000), span(0, 10_000), 1));
        assert_eq!(usable(store, 0), [6]);
        store.begin().unwrap();
        store.tokens().remove_all(&ann).unwrap();
        token::save(store, &ann, &(hash(7), 7_000), span(0, 10_000), 3).unwrap();
        store.rollback();
        assert_eq!(usable(store, 0), [6], "rolled back");
        with(store, |store| store.tokens().remove_all(&ann));
        with(store, |store| store.tokens().remove_all(&ann));
        assert!(usable(store, 0).is_empty());
        assert!(token::is_usable(store, &bob, &hash(9), span(0, 10_000)).unwrap(), "each user has their own");
    });
}

/// Tokens last 1,000, and a clock may be wrong by 100.
#[test]
fn resume_tokens_outlive_a_clock_that_is_wrong() {
    on_each(|store| {
        let ann = user("ann");
        let hash = |n: u8| token::hash(&user("ann"), &Secret::new(&n.to_string()), &Secret::new("p"));
        let make = |store: &mut dyn StoreConnection, n, now_ms| {
            with(store, |store| token::save(store, &ann, &(hash(n), now_ms + 1_000), span(now_ms, now_ms + 1_100), 2));
        };
        let usable = |store: &mut dyn StoreConnection, now_ms| -> Vec<u8> {
            (0..20)
                .filter(|n| token::is_usable(store, &ann, &hash(*n), span(now_ms, now_ms + 1_100)).unwrap())
                .collect()
        };
        make(store, 1, 50_000);
        make(store, 2, 50_010);
        // Ahead: those that are good seem to have expired long ago.
        for n in 3..7 {
            make(store, n, 900_000 + u64::from(n));
            assert_eq!(usable(store, 900_010), if n == 3 { vec![3] } else { vec![n - 1, n] });
        }
        assert_eq!(
            usable(store, 50_020),
            [1, 2],
            "they are still good, and what was made meanwhile does not last for years"
        );
        make(store, 7, 50_020);
        assert_eq!(usable(store, 50_030), [2, 7]);
        // Behind: those that are good seem to last too long.
        for n in 8..12 {
            make(store, n, 1_000 + u64::from(n));
        }
        assert_eq!(usable(store, 1_020), [10, 11]);
        make(store, 12, 50_040);
        assert_eq!(usable(store, 50_050), [7, 12]);
        with(store, |store| store.tokens().remove_all(&ann));
        assert!(usable(store, 50_050).is_empty() && usable(store, 900_010).is_empty());
    });
}
