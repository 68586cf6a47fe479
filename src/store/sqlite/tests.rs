//! The file itself: its schema, its mode, its log.

use super::open::{MIGRATIONS, WAL_BYTES_KEPT};
use super::*;

fn version(store: &SqliteStore) -> i64 {
    store.version().unwrap()
}

#[test]
fn an_older_schema_is_brought_up_to_date_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(version(&store), MIGRATIONS.len() as i64);
    store.db.execute_batch("INSERT INTO friendships VALUES ('ann', 'bob')").unwrap();
    let mut steps = MIGRATIONS.to_vec();
    steps.push("ALTER TABLE friendships ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 7");
    store.migrate(&steps).unwrap();
    store.migrate(&steps).unwrap();
    assert_eq!(version(&store), steps.len() as i64);
    let since: i64 = store.db.query_row("SELECT since_ms FROM friendships", [], |row| row.get(0)).unwrap();
    assert_eq!(since, 7);
    drop(store);
    let why = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(why.contains("was written by a newer hongyan (schema 6, this one knows 5)"), "{why}");
}

/// Rows of older versions that version 5 changes: a request whose push waits, one whose push was
/// acked, two with long texts, and one whose `seq` another push has by now.
const BEFORE_5: &str = "
    INSERT INTO friend_requests VALUES ('ann', 'bob', 'r', 7, 1), ('ann', 'cid', 'r', 7, 2), ('ann', 'dan', 'r', 7, 3),
        ('ann', 'eve', 'r', 7, 4), ('ann', 'fay', 'r', 7, 5);
    INSERT INTO pushes (seq, receiver, sender, message_id, kind, once, time_ms, content) VALUES
        (1, 'ann', 'bob', 'r', 1, 1, 7, 'a' || char(0) || 'b '), (3, 'ann', 'dan', 'r', 1, 3, 7, replace(hex(zeroblob(2000)), '00', '雁')),
        (4, 'ann', 'eve', 'r', 1, 4, 7, replace(hex(zeroblob(1024)), '00', 'x')), (5, 'ann', 'gil', 'm', 0, 0, 7, 'no')";

#[test]
fn requests_get_their_texts_from_every_earlier_version() {
    for version in 1..5 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut db = Connection::open(&path).unwrap();
        for (step, sql) in MIGRATIONS.iter().enumerate().take(version) {
            let transaction = db.transaction().unwrap();
            transaction.execute_batch(sql).unwrap();
            transaction.pragma_update(None, "application_id", 0x686F_6E67).unwrap();
            transaction.pragma_update(None, "user_version", step as i64 + 1).unwrap();
            transaction.commit().unwrap();
        }
        db.execute_batch(BEFORE_5).unwrap();
        drop(db);
        for _ in 0..2 {
            let mut store = SqliteStore::open(&path).unwrap();
            let ann = UserName::new("ann").unwrap();
            let found = store.rosters().incoming(&ann, 9).unwrap();
            let texts: Vec<String> = found.into_iter().map(|entry| entry.content.into()).collect();
            assert_eq!(texts, ["a\0b ", "", &"雁".repeat(2_000), &"x".repeat(1_024), ""], "from version {version}");
            assert!(store.blocks().of_user(&ann).unwrap().is_empty());
            assert_eq!(store.last_seq().unwrap(), 5);
        }
    }
}

#[test]
fn lists_are_read_along_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("a.db")).unwrap();
    for (sql, index) in [
        ("SELECT 1 FROM friend_requests WHERE hidden = 0 AND receiver = ?1 LIMIT ?2", "friend_requests_by_hidden"),
        (super::roster::INCOMING, "friend_requests_by_hidden"),
        (super::roster::OUTGOING, "friend_requests_by_sender"),
        (super::roster::FRIENDS, "PRIMARY KEY"),
        (super::blocks::HIDDEN_PUSHES, "friend_requests_by_hidden"),
    ] {
        let mut explain = store.db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = explain.parameter_count();
        let lines: Vec<String> = explain
            .query_map(rusqlite::params_from_iter(vec![1; count]), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let plan = lines.join(", ");
        assert!(lines[0].contains(index) && !plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{sql}: {plan}");
    }
}

#[test]
fn a_step_that_fails_leaves_the_version_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let mut steps = MIGRATIONS.to_vec();
    steps.push("CREATE TABLE half (a); CREATE TABLE pushes (b)");
    assert!(store.migrate(&steps).is_err());
    assert_eq!(version(&store), MIGRATIONS.len() as i64);
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert!(store.db.query_row("SELECT 1 FROM sqlite_schema WHERE name = 'half'", [], |_| Ok(())).is_err());
}

#[test]
fn every_commit_is_on_the_disk_and_the_log_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("a.db")).unwrap();
    let number = |name: &str| store.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    let mode: String = store.db.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!((mode.as_str(), number("synchronous")), ("wal", 2));
    assert_eq!((number("wal_autocheckpoint"), number("journal_size_limit")), (1_000, WAL_BYTES_KEPT));
}

#[test]
fn a_closed_store_is_free_even_while_another_process_has_inherited_its_handles() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqliteStore::open(&path).unwrap();
    // A handle that a child process has between fork and exec.
    let inherited = store._lock.0.try_clone().unwrap();
    assert!(SqliteStore::open(&path).is_err());
    drop(store);
    SqliteStore::open(&path).unwrap();
    drop(inherited);
}

/// Stores that can be read but not written, for several reasons.
#[test]
fn pages_are_read_beside_writes_that_fail() {
    use crate::chat::contract::{Job, JobOutcome, JobTicket};
    use crate::config::Config;
    use crate::protocol::field::{MessageId, UserNameRef};
    use crate::store::pool::WorkerPool;
    use std::sync::Arc;
    let push = |seq: u64, text: &str| {
        let (id, bob, ann) = (MessageId::new(format!("m{seq}")), UserNameRef::new("bob"), UserNameRef::new("ann"));
        Push::new(seq, 1, PushKind::Message, &id.unwrap(), &bob.unwrap(), &ann.unwrap(), text)
    };
    for (name, value) in [("query_only", 1), ("max_page_count", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let mut store = SqliteStore::open(&path).unwrap();
        store.begin().unwrap();
        store.save_pushes(&[push(1, "before")]).unwrap();
        store.commit().unwrap();
        drop(store);
        let opener = move || -> Result<Box<dyn StoreConnection>, StoreError> {
            let store = SqliteStore::open(&path)?;
            // Limit the file to its present pages, or forbid all writes.
            store.db.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                error => Err(error),
            })?;
            Ok(Box::new(store))
        };
        let config = Config { argon2_memory_kib: 8, argon2_passes: 1, ..Config::default() };
        let mut pool = WorkerPool::start_with(&config, Box::new(opener), 1, Arc::new(|| {})).unwrap();
        let ann = UserName::new("ann").unwrap();
        let page = || Job::LoadPage { user: ann.clone(), after_seq: 0, pushes_max: 9, bytes_max: usize::MAX };
        let jobs = [Job::SavePush { push: push(2, &"x".repeat(1 << 20)) }, page(), page()];
        pool.submit(jobs.into_iter().zip(0..).map(|(job, slot)| (JobTicket { slot, generation: 0 }, job)));
        let (mut done, until) = (Vec::new(), std::time::Instant::now() + std::time::Duration::from_secs(10));
        while done.len() < 3 && std::time::Instant::now() < until {
            pool.take(&mut done);
            std::thread::yield_now();
        }
        let outcomes: Vec<JobOutcome> = done.into_iter().map(|(_, outcome)| outcome).collect();
        assert!(matches!(outcomes[0], JobOutcome::Failed), "{name}: {outcomes:?}");
        for outcome in &outcomes[1..] {
            let JobOutcome::Page(page) = outcome else { panic!("{name}: {outcome:?}") };
            assert_eq!(page.pushes.iter().map(|push| push.seq).collect::<Vec<_>>(), [1]);
        }
        pool.stop();
    }
}
