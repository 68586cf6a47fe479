//! Bans, new passwords and deletions, on every store, and through the pool.

use super::account_jobs::log_in;
use super::mysql::Database;
use super::quotas::Workers;
use crate::common::store::*;
use crate::on_each;
use hongyan::chat::contract::{
    AdminStoreJob, AdminStoreJobOutcome, FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome, MailboxQuotaKind,
    PushPage, StoredPushWithoutText,
};
use hongyan::config::StoreUrl;
use hongyan::protocol::field::{Secret, UserName};
use hongyan::protocol::push::PushKind;
use hongyan::protocol::request::Credential;
use hongyan::store::StoreConnection;
use hongyan::store::accounts::AccountAuthData;

fn stored(hash: &str, is_banned: bool) -> Option<AccountAuthData> {
    Some(AccountAuthData { password_hash: Secret::new(hash), is_banned })
}

fn all_names(store: &mut dyn StoreConnection, after: Option<&str>, rows_max: u32) -> Vec<String> {
    let names = store.accounts().names(after.map(user).as_ref(), rows_max).unwrap();
    names.iter().map(ToString::to_string).collect()
}

#[test]
fn a_ban_and_a_password_are_kept_and_nothing_else_is_changed() {
    on_each(|store| {
        sign_up(store, &["ann", "Ann"]);
        for _ in 0..2 {
            with(store, |store| store.accounts().set_banned(&user("ann"), true));
            assert_eq!(store.accounts().account(&user("ann")).unwrap(), stored("hash of ann", true));
        }
        with(store, |store| store.accounts().set_password(&user("ann"), &Secret::new("new")));
        assert_eq!(store.accounts().account(&user("ann")).unwrap(), stored("new", true));
        with(store, |store| store.accounts().set_banned(&user("ann"), false));
        assert_eq!(store.accounts().account(&user("ann")).unwrap(), stored("new", false));
        assert_eq!(store.accounts().account(&user("Ann")).unwrap(), stored("hash of Ann", false));
        assert_eq!(store.profile(&user("ann")).unwrap(), Some(account("ann")));
        with(store, |store| store.accounts().set_banned(&user("nobody"), true));
        with(store, |store| store.accounts().set_password(&user("nobody"), &Secret::new("new")));
        assert_eq!(store.accounts().account(&user("nobody")).unwrap(), None);
        // Nothing stays of what is rolled back.
        store.begin().unwrap();
        store.accounts().set_banned(&user("ann"), true).unwrap();
        store.accounts().begin_deletion(&user("Ann")).unwrap();
        store.rollback();
        assert_eq!(store.accounts().account(&user("ann")).unwrap(), stored("new", false));
        assert_eq!(store.accounts().account(&user("Ann")).unwrap(), stored("hash of Ann", false));
        assert!(store.accounts().deletions(9).unwrap().is_empty());
    });
}

#[test]
fn a_deleted_account_is_a_name_that_nobody_gets() {
    on_each(|store| {
        sign_up(store, &["ann", "bob", "cid"]);
        with(store, |store| store.accounts().begin_deletion(&user("ann")));
        for _ in 0..2 {
            assert_eq!(store.accounts().account(&user("ann")).unwrap(), None);
            assert_eq!(store.password_hash(&user("ann")).unwrap(), None);
            assert_eq!(store.profile(&user("ann")).unwrap(), None);
            assert_eq!(store.accounts().accounts_exist(&user("ann"), &user("bob")).unwrap(), [false, true]);
            assert_eq!(all_names(store, None, 9), ["bob", "cid"]);
            for hash in ["hash of ann", ""] {
                assert!(!with(store, |store| store.create_account(&account("ann"), &Secret::new(hash))));
            }
            with(store, |store| store.accounts().set_banned(&user("ann"), false));
            with(store, |store| store.accounts().set_password(&user("ann"), &Secret::new("new")));
            assert_eq!(
                ask(store, &request(1, "ann", "bob", "r")),
                FriendRequestOutcome::NoSuchUser,
                "ann asks no more"
            );
            assert_eq!(ask(store, &request(1, "bob", "ann", "r")), FriendRequestOutcome::NoSuchUser);
        }
        assert!(store.accounts().is_deleting(&user("ann")).unwrap());
        assert!(!store.accounts().is_deleting(&user("bob")).unwrap());
        with(store, |store| store.accounts().begin_deletion(&user("cid")));
        with(store, |store| store.accounts().begin_deletion(&user("nobody")));
        assert_eq!(store.accounts().deletions(9).unwrap(), [user("ann"), user("cid")]);
        assert_eq!(store.accounts().deletions(1).unwrap(), [user("ann")]);
        with(store, |store| store.accounts().end_deletion(&user("ann")));
        // It does not begin again.
        with(store, |store| store.accounts().begin_deletion(&user("ann")));
        assert_eq!(store.accounts().deletions(9).unwrap(), [user("cid")]);
        assert_eq!(store.accounts().account(&user("ann")).unwrap(), None);
    });
}

#[test]
fn names_come_in_byte_order_behind_another() {
    on_each(|store| {
        sign_up(store, &["bob", "Bob", "zoë", "zoe", "🪿", "b"]);
        assert_eq!(all_names(store, None, 99), ["Bob", "b", "bob", "zoe", "zoë", "🪿"]);
        assert_eq!(all_names(store, None, 2), ["Bob", "b"]);
        assert_eq!(all_names(store, Some("b"), 2), ["bob", "zoe"]);
        assert_eq!(all_names(store, Some("a"), 1), ["b"], "nobody has that name");
        assert!(all_names(store, Some("🪿"), 9).is_empty());
    });
}

#[test]
fn requests_and_pushes_are_found_by_their_user() {
    on_each(|store| {
        sign_up(store, &["ann", "bob", "cid", "dan"]);
        ask(store, &request(1, "ann", "bob", "r"));
        ask(store, &request(2, "cid", "ann", "r"));
        ask(store, &request(3, "cid", "dan", "r"));
        let mut pairs = store.accounts().requests(&user("ann"), 9).unwrap();
        pairs.sort();
        assert_eq!(pairs, [(user("ann"), user("bob")), (user("cid"), user("ann"))]);
        assert_eq!(store.accounts().requests(&user("ann"), 1).unwrap().len(), 1);
        save(store, &[message(4, "bob", "ann", "r"), message(5, "bob", "ann", "R"), message(6, "cid", "ann", "r")]);
        let mut find = |after_seq, rows_max| {
            let found = store.accounts().pushes_with_id(&user("ann"), "r", after_seq, rows_max).unwrap();
            (found.0.iter().map(|push| push.seq).collect::<Vec<_>>(), found.1)
        };
        assert_eq!(find(0, 9), (vec![2, 4, 6], None));
        assert_eq!(find(0, 2), (vec![2, 4], Some(4)));
        assert_eq!(find(4, 2), (vec![6], Some(6)));
        assert_eq!(find(6, 2), (vec![], None));
        let (found, _) = store.accounts().pushes_with_id(&user("ann"), "r", 0, 1).unwrap();
        let (kind, time_ms) = (PushKind::FriendRequest, request(2, "cid", "ann", "r").time_ms);
        assert_eq!(found, [StoredPushWithoutText { seq: 2, sender: user("cid"), kind, time_ms }]);
    });
}

fn admin(name: &str, job: AdminStoreJob) -> Job {
    Job::Admin { user: user(name), job: Box::new(job) }
}

fn one(workers: &mut Workers, name: &str, job: AdminStoreJob) -> AdminStoreJobOutcome {
    match workers.ask([admin(name, job)]).as_slice() {
        [JobOutcome::Admin(outcome)] => (**outcome).clone(),
        other => panic!("{other:?}"),
    }
}

fn create(name: &str) -> Job {
    Job::CreateAccount { profile: Box::new(account(name)), password_hash: Secret::new(&format!("hash of {name}")) }
}

fn by_token(token: Secret) -> Job {
    log_in(Credential::Token(token))
}

/// The rules, through the workers.
fn govern(store: &StoreUrl) {
    let mut workers = Workers::new(store);
    let workers = &mut workers;
    workers.ask(["ann", "bob", "cid"].map(create));
    for job in [
        AdminStoreJob::SetBanned { is_banned: true },
        AdminStoreJob::SetPassword { password_hash: Secret::new("h") },
        AdminStoreJob::Look { rows_max: 9 },
        AdminStoreJob::Delete { rows_max: 9 },
        AdminStoreJob::Notice { push: message(99, "system", "eve", "n") },
    ] {
        assert_eq!(one(workers, "eve", job), AdminStoreJobOutcome::NoSuchUser);
    }
    let make = || Job::MakeToken { user: user("ann"), now_ms: 1, expires_ms: 100, latest_ms: 1_000, tokens_max: 8 };
    let made = |outcomes: Vec<JobOutcome>| match outcomes.as_slice() {
        [JobOutcome::Token(token)] => token.clone(),
        other => panic!("{other:?}"),
    };
    let first = made(workers.ask([make()]));
    assert!(matches!(workers.ask([by_token(first.clone())])[..], [JobOutcome::Loaded { .. }]));
    assert_eq!(one(workers, "ann", AdminStoreJob::SetBanned { is_banned: true }), AdminStoreJobOutcome::Done);
    assert!(matches!(workers.ask([by_token(first.clone())])[..], [JobOutcome::Unproven { .. }]), "tokens end");
    // A client with a good credential learns of the ban; others learn nothing.
    let second = made(workers.ask([make()]));
    assert!(matches!(workers.ask([by_token(second.clone())])[..], [JobOutcome::Banned]));
    let load = |pushes_max| Job::Load { user: user("ann"), pushes_max, bytes_max: 999 };
    assert!(matches!(workers.ask([load(9), load(0)])[..], [JobOutcome::Banned, JobOutcome::Loaded { .. }]));
    assert_eq!(one(workers, "ann", AdminStoreJob::SetBanned { is_banned: false }), AdminStoreJobOutcome::Done);
    assert!(matches!(
        workers.ask([by_token(second), load(9)])[..],
        [JobOutcome::Unproven { .. }, JobOutcome::Loaded { .. }]
    ));
    let third = made(workers.ask([make()]));
    let new = AdminStoreJob::SetPassword { password_hash: Secret::new("new hash") };
    assert_eq!(one(workers, "ann", new), AdminStoreJobOutcome::Done);
    assert!(matches!(workers.ask([by_token(third)])[..], [JobOutcome::Unproven { .. }]));
    // Notices, within the quotas, and once.
    for _ in 0..2 {
        let notice = AdminStoreJob::Notice { push: message(1, "system", "ann", "n") };
        assert_eq!(one(workers, "ann", notice), AdminStoreJobOutcome::Done);
    }
    workers.ask((2..=200).map(|seq| Job::SavePush { push: message(seq, "system", "ann", &format!("m{seq}")) }));
    let full = AdminStoreJob::Notice { push: message(999, "system", "ann", "full") };
    assert_eq!(one(workers, "ann", full), AdminStoreJobOutcome::Full(MailboxQuotaKind::Pair), "200 of one sender");
    let looked = one(workers, "ann", AdminStoreJob::Look { rows_max: 9 });
    assert_eq!(looked, AdminStoreJobOutcome::Account { is_banned: false, seqs: (1..=9).collect(), has_more: true });
    let looked = one(workers, "ann", AdminStoreJob::Look { rows_max: 200 });
    assert_eq!(looked, AdminStoreJobOutcome::Account { is_banned: false, seqs: (1..=200).collect(), has_more: false });
    let names = one(workers, "system", AdminStoreJob::Accounts { after: None, rows_max: 2 });
    assert_eq!(names, AdminStoreJobOutcome::Accounts { names: vec![user("ann"), user("bob")], has_more: true });
    delete(workers);
}

/// Step by step, with what is in between.
fn delete(workers: &mut Workers) {
    let ask = |seq, from: &str, to: &str| Job::AskFriend { push: request(seq, from, to, "r"), pending_max: 9 };
    let accept = Job::AnswerFriend { push: answer(1_003, PushKind::FriendAccept, "bob", "ann", "r"), friends_max: 9 };
    let outcomes = workers.ask([ask(1_001, "ann", "bob")]);
    assert!(matches!(outcomes[..], [JobOutcome::Asked(FriendRequestOutcome::Pending)]));
    let outcomes = workers.ask([ask(1_002, "cid", "ann"), accept]);
    let expected = [JobOutcome::Asked(FriendRequestOutcome::Pending), JobOutcome::Answered(FriendAnswerOutcome::Done)];
    assert_eq!(format!("{outcomes:?}"), format!("{expected:?}"));
    let step = || AdminStoreJob::Delete { rows_max: 150 };
    let pairs = |outcome| match outcome {
        AdminStoreJobOutcome::Deleting { pairs } => pairs,
        other => panic!("{other:?}"),
    };
    let mut left: Vec<(UserName, UserName)> = pairs(one(workers, "ann", step()));
    assert_eq!(left, [(user("cid"), user("ann")), (user("ann"), user("bob"))]);
    assert_eq!(pairs(one(workers, "ann", step())), left, "nothing goes on before they are ended");
    for (first, second) in left.drain(..) {
        workers.ask([Job::Unfriend { user: first, other: second }]);
    }
    assert!(pairs(one(workers, "ann", step())).is_empty());
    let page = |workers: &mut Workers, name: &str| {
        let job = Job::LoadPage { user: user(name), after_seq: 0, pushes_max: 999, bytes_max: 99_999 };
        match workers.ask([job]).as_slice() {
            [JobOutcome::Page(PushPage { pushes, .. })] => pushes.iter().map(|push| push.seq).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    // 200 notices and the accept: the request to her went with her end of it.
    assert_eq!(page(workers, "ann").len(), 51);
    assert!(pairs(one(workers, "ann", step())).is_empty());
    assert!(page(workers, "ann").is_empty());
    assert_eq!(page(workers, "bob"), [1_001], "answered, and not acked");
    assert_eq!(one(workers, "ann", step()), AdminStoreJobOutcome::Done);
    assert_eq!(one(workers, "ann", step()), AdminStoreJobOutcome::NoSuchUser);
    assert!(matches!(workers.ask([create("ann")])[..], [JobOutcome::NameTaken]));
    let load = |pushes_max| Job::Load { user: user("ann"), pushes_max, bytes_max: 999 };
    assert!(matches!(&workers.ask([load(0)])[..], [JobOutcome::Loaded { friends, .. }] if friends.is_empty()));
    assert!(matches!(workers.ask([load(9)])[..], [JobOutcome::Unproven { password_hash: None, .. }]), "for no log-in");
}

#[test]
fn the_operator_governs_accounts_in_memory() {
    govern(&StoreUrl::Memory);
}

#[test]
fn the_operator_governs_accounts_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    govern(&StoreUrl::Sqlite(folder.path().join("a.db")));
}

#[test]
fn the_operator_governs_accounts_in_a_database_with_several_workers() {
    let Some(database) = Database::new() else { return };
    govern(&StoreUrl::Mysql(database.url()));
}
