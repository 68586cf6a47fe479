//! Jobs of users about their own accounts, on every store, through the pool.

mod hidden_requests;

use super::mysql::Database;
use super::quotas::Workers;
use crate::common::store::*;
use hongyan::chat::contract::{
    AdminStoreJob, AdminStoreJobOutcome, FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome,
    OwnAccountStoreJob, OwnAccountStoreJobOutcome, ProfileChange, RosterReply, RosterReplyFriend,
    RosterReplyFriendRequest,
};
use hongyan::config::StoreUrl;
use hongyan::protocol::field::{Profile, Secret, UserName};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::protocol::request::Credential;

const BLOCKED_MAX: u32 = 1_000;

/// On every store: the tables of memory end with its workers.
fn through_workers(test: fn(&StoreUrl)) {
    println!("memory");
    test(&StoreUrl::Memory);
    println!("sqlite");
    let folder = tempfile::tempdir().unwrap();
    test(&StoreUrl::Sqlite(folder.path().join("a.db")));
    if let Some(database) = Database::new() {
        println!("mysql");
        test(&StoreUrl::Mysql(database.url()));
    }
}

fn create(name: &str) -> Job {
    Job::CreateAccount { profile: Box::new(account(name)), password_hash: Secret::new(&format!("hash of {name}")) }
}

fn begin(store: &StoreUrl, names: &[&str]) -> Workers {
    let mut workers = Workers::new(store);
    workers.ask(names.iter().map(|name| create(name)));
    workers
}

fn does(workers: &mut Workers, name: &str, job: OwnAccountStoreJob) -> OwnAccountStoreJobOutcome {
    match workers.ask([Job::Account { user: user(name), job: Box::new(job) }]).as_slice() {
        [JobOutcome::Account(outcome)] => (**outcome).clone(),
        other => panic!("{other:?}"),
    }
}

fn asks(workers: &mut Workers, seq: u64, from: &str, to: &str) -> FriendRequestOutcome {
    asks_by(workers, request(seq, from, to, "r"), 9)
}

fn asks_by(workers: &mut Workers, push: Push, pending_max: u32) -> FriendRequestOutcome {
    match workers.ask([Job::AskFriend { push, pending_max }]).as_slice() {
        [JobOutcome::Asked(asked)] => *asked,
        other => panic!("{other:?}"),
    }
}

fn answers(workers: &mut Workers, seq: u64, kind: PushKind, asked: &str, asker: &str) -> FriendAnswerOutcome {
    match workers.ask([Job::AnswerFriend { push: answer(seq, kind, asked, asker, "r"), friends_max: 9_999 }]).as_slice()
    {
        [JobOutcome::Answered(answered)] => *answered,
        other => panic!("{other:?}"),
    }
}

fn befriend(workers: &mut Workers, seq: u64, one: &str, other: &str) {
    assert_eq!(asks(workers, seq, one, other), FriendRequestOutcome::Pending);
    assert_eq!(answers(workers, seq + 1, PushKind::FriendAccept, other, one), FriendAnswerOutcome::Done);
}

fn block(workers: &mut Workers, name: &str, other: &str) -> OwnAccountStoreJobOutcome {
    does(workers, name, OwnAccountStoreJob::Block { other: user(other), blocked_max: BLOCKED_MAX })
}

fn unblock(workers: &mut Workers, name: &str, other: &str) -> OwnAccountStoreJobOutcome {
    does(workers, name, OwnAccountStoreJob::Unblock { other: user(other) })
}

fn blocked(names: &[&str], hidden_push: Option<u64>) -> OwnAccountStoreJobOutcome {
    OwnAccountStoreJobOutcome::Blocked { names: names.iter().map(|name| user(name)).collect(), hidden_push }
}

fn page_of(workers: &mut Workers, name: &str) -> Vec<u64> {
    let job = Job::LoadPage { user: user(name), after_seq: 0, pushes_max: 999, bytes_max: 999_999 };
    match workers.ask([job]).as_slice() {
        [JobOutcome::Page(page)] => page.pushes.iter().map(|push| push.seq).collect(),
        other => panic!("{other:?}"),
    }
}

fn roster_of(workers: &mut Workers, name: &str, after: Option<&str>, rows_max: u32) -> RosterReply {
    match does(workers, name, OwnAccountStoreJob::Roster { after: after.map(user), rows_max, bytes_max: 999_999 }) {
        OwnAccountStoreJobOutcome::Roster(roster) => roster,
        other => panic!("{other:?}"),
    }
}

/// Friends, who has asked them, and whom they have asked.
fn seen(workers: &mut Workers, name: &str) -> [Vec<String>; 3] {
    let RosterReply { friends, incoming, outgoing, .. } = roster_of(workers, name, None, 999);
    let names =
        |requests: Vec<RosterReplyFriendRequest>| requests.iter().map(|entry| entry.user_name.to_string()).collect();
    [friends.iter().map(|friend| friend.user_name.to_string()).collect(), names(incoming), names(outgoing)]
}

fn shown(friends: &[&str], incoming: &[&str], outgoing: &[&str]) -> [Vec<String>; 3] {
    [friends, incoming, outgoing].map(|names| names.iter().map(ToString::to_string).collect())
}

fn profile_of(workers: &mut Workers, name: &str) -> Option<Profile> {
    match workers.ask([Job::GetProfile { asker: user("ann"), user: user(name) }]).as_slice() {
        [JobOutcome::Profile(profile)] => profile.as_deref().cloned(),
        other => panic!("{other:?}"),
    }
}

fn change_profiles(store: &StoreUrl) {
    let workers = &mut begin(store, &["ann", "Ann"]);
    let change = |change| OwnAccountStoreJob::ChangeProfile(change);
    let part = ProfileChange { nick_name: Some(ODD.into()), location: Some("".into()), ..ProfileChange::default() };
    let mut expected = account("ann");
    (expected.nick_name, expected.location) = (ODD.into(), "".into());
    for _ in 0..2 {
        assert_eq!(does(workers, "ann", change(part.clone())), OwnAccountStoreJobOutcome::Changed);
        assert_eq!(does(workers, "ann", change(ProfileChange::default())), OwnAccountStoreJobOutcome::Changed);
        assert_eq!(profile_of(workers, "ann").as_ref(), Some(&expected));
    }
    let whole = ProfileChange {
        email_address: Some("e".repeat(255).into()),
        nick_name: Some("雁".repeat(85).into()),
        profile_picture: Some("p".repeat(2_048).into()),
        location: Some("\0".repeat(255).into()),
        personal_description: Some("🪿".repeat(2_048).into()),
        rsa_public_key: Some("k".repeat(8_192).into()),
    };
    assert_eq!(does(workers, "ann", change(whole.clone())), OwnAccountStoreJobOutcome::Changed);
    let found = profile_of(workers, "ann").unwrap();
    let texts = [
        (found.email_address, whole.email_address),
        (found.nick_name, whole.nick_name),
        (found.profile_picture, whole.profile_picture),
        (found.location, whole.location),
        (found.personal_description, whole.personal_description),
        (found.rsa_public_key, whole.rsa_public_key),
    ];
    assert!(texts.into_iter().all(|(found, given)| Some(found) == given));
    assert_eq!(profile_of(workers, "Ann"), Some(account("Ann")));
    assert_eq!(does(workers, "eve", change(part)), OwnAccountStoreJobOutcome::NoSuchUser);
    assert_eq!(profile_of(workers, "eve"), None);
}

#[test]
fn a_profile_is_changed_where_something_is_given() {
    through_workers(change_profiles);
}

pub(super) fn log_in(credential: Credential) -> Job {
    Job::LogIn {
        user: user("ann"),
        credential,
        uses_cache: true,
        now_ms: 1,
        latest_ms: 1_000,
        pushes_max: 9,
        bytes_max: 999,
    }
}

fn change_passwords(store: &StoreUrl) {
    let workers = &mut begin(store, &["bob"]);
    let hash =
        |workers: &mut Workers, password: &str| match &workers.ask([Job::Hash { secret: Secret::new(password) }])[..] {
            [JobOutcome::Hashed(hash)] => hash.clone(),
            other => panic!("{other:?}"),
        };
    let (old, new) = (hash(workers, "old"), hash(workers, "new"));
    workers.ask([Job::CreateAccount { profile: Box::new(account("ann")), password_hash: old.clone() }]);
    let verify = |password: &str, stored: &Secret| Job::Verify {
        user: user("ann"),
        secret: Secret::new(password),
        password_hash: Some(stored.clone()),
    };
    let by_password = |password: &str| log_in(Credential::Password(Secret::new(password)));
    let make = || Job::MakeToken { user: user("ann"), now_ms: 1, expires_ms: 100, latest_ms: 1_000, tokens_max: 8 };
    assert!(matches!(workers.ask([verify("old", &old)])[..], [JobOutcome::Verified(true)]));
    let token = match workers.ask([make()]).as_slice() {
        [JobOutcome::Token(token)] => token.clone(),
        other => panic!("{other:?}"),
    };
    let by_token = || log_in(Credential::Token(token.clone()));
    let change = |old_hash: Option<&Secret>, new_hash: &Secret| OwnAccountStoreJob::ChangePassword {
        old_hash: old_hash.cloned(),
        new_hash: new_hash.clone(),
    };
    // Another password is stored than the one that was compared: nothing ends.
    assert_eq!(does(workers, "ann", change(Some(&new), &new)), OwnAccountStoreJobOutcome::Stale);
    assert!(matches!(workers.ask([by_token()])[..], [JobOutcome::Loaded { .. }]));
    assert!(matches!(workers.ask([by_password("old")])[..], [JobOutcome::Loaded { .. }]), "it is remembered");
    // Twice, as after an answer that was lost.
    for _ in 0..2 {
        assert_eq!(does(workers, "ann", change(Some(&old), &new)), OwnAccountStoreJobOutcome::Changed);
        for job in [by_token(), by_password("old"), by_password("new")] {
            let outcomes = workers.ask([job]);
            let is_unproven = matches!(outcomes[..], [JobOutcome::Unproven { differs_from_verified: false, .. }]);
            assert!(is_unproven, "{outcomes:?}");
        }
    }
    assert!(matches!(workers.ask([verify("old", &new)])[..], [JobOutcome::Verified(false)]));
    assert!(matches!(workers.ask([verify("new", &new)])[..], [JobOutcome::Verified(true)]));
    assert!(matches!(workers.ask([by_password("new")])[..], [JobOutcome::Loaded { .. }]));
    assert_eq!(does(workers, "ann", change(Some(&old), &old)), OwnAccountStoreJobOutcome::Stale);
    assert_eq!(does(workers, "ann", change(None, &old)), OwnAccountStoreJobOutcome::Changed, "not compared");
    assert_eq!(does(workers, "eve", change(None, &old)), OwnAccountStoreJobOutcome::NoSuchUser);
    let [JobOutcome::Unproven { password_hash, .. }] = &workers.ask([by_password("new")])[..] else { panic!() };
    assert_eq!(password_hash.as_ref(), Some(&old));
}

#[test]
fn a_password_is_changed_if_the_old_one_is_still_stored_and_ends_the_tokens() {
    through_workers(change_passwords);
}

fn show_rosters(store: &StoreUrl) {
    let friends = ["Bob", "b", "bob", "bo\u{301}b", "zoe", "zoë", "🪿"];
    let workers = &mut begin(store, &[&["ann", "cid", "dan", "eve"][..], &friends].concat());
    for (at, name) in (0..).zip(friends.iter().rev()) {
        befriend(workers, 10 * at + 1, name, "ann");
    }
    let expected: Vec<RosterReplyFriend> = friends
        .iter()
        .map(|name| {
            let Profile { user_name, nick_name, profile_picture, .. } = account(name);
            RosterReplyFriend { user_name, nick_name, profile_picture }
        })
        .collect();
    let all = roster_of(workers, "ann", None, 7);
    assert_eq!((&all.friends, all.has_more), (&expected, false));
    let first = roster_of(workers, "ann", None, 6);
    assert_eq!((&first.friends[..], first.has_more), (&expected[..6], true));
    let rest = roster_of(workers, "ann", Some("bob"), 99);
    assert_eq!((&rest.friends[..], rest.has_more), (&expected[3..], false));
    let none = roster_of(workers, "ann", Some("🪿"), 99);
    assert_eq!(none, RosterReply::default());
    assert_eq!(roster_of(workers, "nobody", None, 99), RosterReply::default());
    // Requests, in the order in which they were taken, with their texts.
    let ask = |seq, from: &str, to: &str, id: &str, text: &str| push(seq, PushKind::FriendRequest, from, to, id, text);
    let long = "雁".repeat(5_000);
    for asked in [
        ask(103, "eve", "ann", "m\0 雁", ODD),
        ask(101, "cid", "ann", "r", ""),
        ask(102, "dan", "ann", "r", &long),
        ask(105, "ann", "dan", "s", "a"),
        ask(104, "ann", "cid", "s", "b"),
    ] {
        assert_eq!(asks_by(workers, asked, 9), FriendRequestOutcome::Pending);
    }
    // With or without a push that waits.
    workers.ask([Job::DeletePush { receiver: user("ann"), seq: 103 }]);
    let time = |seq| request(seq, "x", "y", "z").time_ms;
    let entry = |name: &str, id: &str, text: &str, seq| RosterReplyFriendRequest {
        user_name: user(name),
        message_id: id.into(),
        content: text.into(),
        time_ms: time(seq),
    };
    let incoming = [entry("cid", "r", "", 101), entry("dan", "r", &long, 102), entry("eve", "m\0 雁", ODD, 103)];
    let outgoing = [entry("cid", "s", "b", 104), entry("dan", "s", "a", 105)];
    let found = roster_of(workers, "ann", None, 99);
    assert_eq!((&found.incoming[..], &found.outgoing[..]), (&incoming[..], &outgoing[..]));
    let found = roster_of(workers, "ann", None, 1);
    assert_eq!((&found.incoming[..], &found.outgoing[..]), (&incoming[..1], &outgoing[..1]));
    let found = roster_of(workers, "ann", Some("bob"), 99);
    assert!(found.incoming.is_empty() && found.outgoing.is_empty(), "only with the first friends");
    let found = does(workers, "ann", OwnAccountStoreJob::Roster { after: None, rows_max: 99, bytes_max: 15_000 });
    let OwnAccountStoreJobOutcome::Roster(found) = found else { panic!("{found:?}") };
    assert_eq!((&found.incoming[..], &found.outgoing[..]), (&incoming[..2], &outgoing[..]));
}

#[test]
fn a_roster_shows_friends_and_requests_in_their_order() {
    through_workers(show_rosters);
}

fn block_and_unblock(store: &StoreUrl) {
    let workers = &mut begin(store, &["ann", "bob", "cid"]);
    assert_eq!(
        (asks(workers, 1, "bob", "ann"), asks(workers, 2, "ann", "bob")),
        (FriendRequestOutcome::Pending, FriendRequestOutcome::Pending)
    );
    // The requests end both ways; the push to Ann is left to the lane of Ann.
    for _ in 0..2 {
        assert_eq!(block(workers, "ann", "bob"), blocked(&["bob"], Some(1)));
        assert_eq!((page_of(workers, "ann"), page_of(workers, "bob")), (vec![1], vec![]));
        assert_eq!(seen(workers, "ann"), shown(&[], &[], &[]));
        assert_eq!(seen(workers, "bob"), shown(&[], &[], &["ann"]), "bob cannot tell");
    }
    workers.ask([Job::DeletePush { receiver: user("ann"), seq: 1 }]);
    let already = FriendRequestOutcome::AlreadyPending { time_ms: request(1, "bob", "ann", "r").time_ms };
    assert_eq!(asks(workers, 3, "bob", "ann"), already);
    for kind in [PushKind::FriendAccept, PushKind::FriendReject] {
        assert_eq!(answers(workers, 4, kind, "ann", "bob"), FriendAnswerOutcome::NoSuchRequest);
    }
    assert_eq!(asks(workers, 4, "ann", "bob"), FriendRequestOutcome::YouBlock);
    // Bob withdraws the request, and asks again.
    workers.ask([Job::Unfriend { user: user("bob"), other: user("ann") }]);
    assert_eq!(seen(workers, "bob"), shown(&[], &[], &[]));
    for _ in 0..2 {
        assert_eq!(asks(workers, 5, "bob", "ann"), FriendRequestOutcome::Hidden);
        assert_eq!(block(workers, "ann", "bob"), blocked(&["bob"], Some(5)), "no matter that there is no push");
    }
    assert_eq!(asks(workers, 6, "cid", "ann"), FriendRequestOutcome::Pending, "others are not disturbed");
    assert_eq!((page_of(workers, "ann"), seen(workers, "ann")), (vec![6], shown(&[], &["cid"], &[])));
    // It does not come back.
    for is_first in [true, false] {
        let hidden = if is_first { Some(5) } else { None };
        assert_eq!(unblock(workers, "ann", "bob"), blocked(&[], hidden));
        assert_eq!((seen(workers, "ann"), seen(workers, "bob")), (shown(&[], &["cid"], &[]), shown(&[], &[], &[])));
    }
    assert_eq!(asks(workers, 7, "bob", "ann"), FriendRequestOutcome::Pending);
    assert_eq!(unblock(workers, "ann", "bob"), blocked(&[], None), "whom ann does not block");
    assert_eq!(seen(workers, "ann"), shown(&[], &["cid", "bob"], &[]));
    // A friendship ends both ways.
    assert_eq!(answers(workers, 8, PushKind::FriendAccept, "ann", "bob"), FriendAnswerOutcome::Done);
    assert_eq!(block(workers, "bob", "ann"), blocked(&["ann"], None));
    assert_eq!((seen(workers, "ann"), seen(workers, "bob")), (shown(&[], &["cid"], &[]), shown(&[], &[], &[])));
    assert_eq!(does(workers, "bob", OwnAccountStoreJob::Blocked), blocked(&["ann"], None));
    assert_eq!(does(workers, "ann", OwnAccountStoreJob::Blocked), blocked(&[], None));
    // Both may block.
    assert_eq!(block(workers, "ann", "bob"), blocked(&["bob"], None));
    assert_eq!(asks(workers, 9, "bob", "ann"), FriendRequestOutcome::YouBlock);
    assert_eq!(unblock(workers, "bob", "ann"), blocked(&[], None));
    assert_eq!(asks(workers, 9, "bob", "ann"), FriendRequestOutcome::Hidden);
    // Nobody has deleted the push of the hidden request: it goes with the request.
    assert_eq!(block(workers, "ann", "cid"), blocked(&["bob", "cid"], Some(6)));
    assert_eq!(page_of(workers, "ann"), [6, 7]);
    assert_eq!(unblock(workers, "ann", "cid"), blocked(&["bob"], Some(6)));
    assert_eq!(page_of(workers, "ann"), [7], "an answered one that was not acked");
}

#[test]
fn a_blocked_user_is_no_friend_and_asks_for_nothing() {
    through_workers(block_and_unblock);
}

fn limit_blocks(store: &StoreUrl) {
    let odd = ["Bob", "bob", "bo\u{301}b", "bó", "🪿"];
    let workers = &mut begin(store, &[&["ann"][..], &odd].concat());
    let within = |other: &str, blocked_max| OwnAccountStoreJob::Block { other: user(other), blocked_max };
    for (at, name) in odd.iter().enumerate().rev().take(3) {
        assert_eq!(does(workers, "ann", within(name, 3)), blocked(&odd[at..], None));
    }
    assert_eq!(does(workers, "ann", within("bob", 3)), OwnAccountStoreJobOutcome::TooMany);
    assert_eq!(does(workers, "ann", within("🪿", 1)), blocked(&odd[2..], None), "already");
    assert_eq!(unblock(workers, "ann", "bob"), blocked(&odd[2..], None), "another name");
    assert_eq!(unblock(workers, "ann", "bo\u{301}b"), blocked(&odd[3..], None));
    assert_eq!(does(workers, "ann", within("bob", 3)), blocked(&["bob", "bó", "🪿"], None));
    assert_eq!(block(workers, "ann", "nobody"), OwnAccountStoreJobOutcome::NoSuchUser);
    assert_eq!(block(workers, "nobody", "ann"), OwnAccountStoreJobOutcome::NoSuchUser);
    assert_eq!(unblock(workers, "ann", "nobody"), blocked(&["bob", "bó", "🪿"], None));
    assert_eq!(does(workers, "nobody", OwnAccountStoreJob::Blocked), blocked(&[], None));
}

#[test]
fn so_many_are_blocked_by_one_and_names_compare_byte_for_byte() {
    through_workers(limit_blocks);
}

/// Of one sender 200 pushes may wait.
fn count_pushes(store: &StoreUrl) {
    let workers = &mut begin(store, &["ann", "bob"]);
    let message = |seq, from: &str, to: &str| Job::SavePush { push: message(seq, from, to, &format!("m{seq}")) };
    for (first, from, to) in [(1_000, "ann", "bob"), (2_000, "bob", "ann")] {
        workers.ask((first + 1..first + 200).map(|seq| message(seq, from, to)));
        assert_eq!(asks(workers, first, from, to), FriendRequestOutcome::Pending);
        assert!(matches!(workers.ask([message(first + 300, from, to)])[..], [JobOutcome::Full(_)]));
    }
    assert_eq!(block(workers, "ann", "bob"), blocked(&["bob"], Some(2_000)));
    let outcomes = workers.ask([message(1_300, "ann", "bob"), message(1_301, "ann", "bob")]);
    assert!(matches!(outcomes[..], [JobOutcome::Saved, JobOutcome::Full(_)]), "{outcomes:?}");
    let save = || [message(2_300, "bob", "ann"), message(2_301, "bob", "ann")];
    assert!(matches!(workers.ask(save())[..], [JobOutcome::Full(_), JobOutcome::Full(_)]), "it is still there");
    workers.ask([Job::DeletePush { receiver: user("ann"), seq: 2_000 }]);
    assert!(matches!(workers.ask(save())[..], [JobOutcome::Saved, JobOutcome::Full(_)]));
    // A request that is hidden takes no room, and needs it.
    workers.ask([Job::Unfriend { user: user("bob"), other: user("ann") }]);
    assert!(matches!(asks(workers, 3_000, "bob", "ann"), FriendRequestOutcome::Full(_)));
    workers.ask([Job::DeletePush { receiver: user("ann"), seq: 2_300 }]);
    assert_eq!(asks(workers, 3_000, "bob", "ann"), FriendRequestOutcome::Hidden);
    assert!(matches!(workers.ask(save())[..], [JobOutcome::Saved, JobOutcome::Full(_)]));
}

#[test]
fn pushes_that_a_block_removes_from_a_mailbox_leave_room() {
    through_workers(count_pushes);
}

fn delete_an_account(store: &StoreUrl) {
    let workers = &mut begin(store, &["ann", "bob", "cid", "dan"]);
    assert_eq!(block(workers, "ann", "bob"), blocked(&["bob"], None));
    assert_eq!(asks(workers, 1, "bob", "ann"), FriendRequestOutcome::Hidden);
    assert_eq!(block(workers, "cid", "ann"), blocked(&["ann"], None));
    assert_eq!(asks(workers, 2, "ann", "cid"), FriendRequestOutcome::Hidden);
    assert_eq!(block(workers, "cid", "dan"), blocked(&["ann", "dan"], None));
    let crowd: Vec<String> = (0..20).map(|n| format!("user {n}")).collect();
    workers.ask(crowd.iter().map(|name| create(name)));
    for name in &crowd {
        assert!(matches!(block(workers, "ann", name), OwnAccountStoreJobOutcome::Blocked { .. }));
        assert_eq!(block(workers, name, "ann"), blocked(&["ann"], None));
    }
    let step = |workers: &mut Workers| {
        let job = Job::Admin { user: user("ann"), job: Box::new(AdminStoreJob::Delete { rows_max: 9 }) };
        match &workers.ask([job])[..] {
            [JobOutcome::Admin(outcome)] => match &**outcome {
                AdminStoreJobOutcome::Deleting { pairs } => Some(pairs.clone()),
                AdminStoreJobOutcome::Done => None,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    let mut pairs: Vec<(UserName, UserName)> = step(workers).unwrap();
    pairs.sort();
    assert_eq!(pairs, [(user("ann"), user("cid")), (user("bob"), user("ann"))]);
    // Nothing about the user comes back during the deletion.
    assert_eq!(block(workers, "ann", "dan"), OwnAccountStoreJobOutcome::NoSuchUser);
    assert_eq!(block(workers, "dan", "ann"), OwnAccountStoreJobOutcome::NoSuchUser);
    for (one, other) in pairs {
        workers.ask([Job::Unfriend { user: one, other }]);
    }
    // 21 each way, at most 9 each way at a time.
    for _ in 0..3 {
        assert_eq!(step(workers), Some(Vec::new()));
    }
    assert_eq!(step(workers), None);
    assert_eq!(does(workers, "ann", OwnAccountStoreJob::Blocked), blocked(&[], None));
    assert_eq!(
        does(workers, "cid", OwnAccountStoreJob::Blocked),
        blocked(&["dan"], None),
        "blocks between others stay"
    );
    for name in crowd.iter().map(String::as_str).chain(["bob", "cid"]) {
        let left = if name == "cid" { blocked(&["dan"], None) } else { blocked(&[], None) };
        assert_eq!(does(workers, name, OwnAccountStoreJob::Blocked), left);
        assert_eq!(seen(workers, name), shown(&[], &[], &[]));
    }
}

#[test]
fn a_deletion_takes_blocks_along_both_ways() {
    through_workers(delete_an_account);
}
