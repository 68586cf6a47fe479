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
    assert!(why.contains("was written by a newer hongyan (schema 5, this one knows 4)"), "{why}");
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
    // What a child has of it from the fork to its own program.
    let inherited = store._lock.0.try_clone().unwrap();
    assert!(SqliteStore::open(&path).is_err());
    drop(store);
    SqliteStore::open(&path).unwrap();
    drop(inherited);
}

/// A store that can be read and not written, for these reasons.
#[test]
fn pages_are_read_beside_writes_that_fail() {
    use crate::chat::contract::{Job, Outcome, Ticket};
    use crate::config::Config;
    use crate::protocol::field::{Id, Name};
    use crate::store::pool::Pool;
    use std::sync::Arc;
    let push = |seq: u64, text: &str| {
        let (id, bob, ann) = (Id::new(format!("m{seq}")), Name::new("bob"), Name::new("ann"));
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
        let opener = move || -> Result<Box<dyn Store>, StoreError> {
            let store = SqliteStore::open(&path)?;
            // No more pages than it has by now, or none at all to be written.
            store.db.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
                rusqlite::Error::QueryReturnedNoRows => Ok(()),
                error => Err(error),
            })?;
            Ok(Box::new(store))
        };
        let config = Config { argon2_memory_kib: 8, argon2_passes: 1, ..Config::default() };
        let mut pool = Pool::start_with(&config, Box::new(opener), 1, Arc::new(|| {})).unwrap();
        let ann = UserName::new("ann").unwrap();
        let page = || Job::LoadPage { user: ann.clone(), after_seq: 0, pushes_max: 9, bytes_max: usize::MAX };
        let jobs = [Job::SavePush { push: push(2, &"x".repeat(1 << 20)) }, page(), page()];
        pool.submit(jobs.into_iter().zip(0..).map(|(job, slot)| (Ticket { slot, generation: 0 }, job)));
        let (mut done, until) = (Vec::new(), std::time::Instant::now() + std::time::Duration::from_secs(10));
        while done.len() < 3 && std::time::Instant::now() < until {
            pool.take(&mut done);
            std::thread::yield_now();
        }
        let outcomes: Vec<Outcome> = done.into_iter().map(|(_, outcome)| outcome).collect();
        assert!(matches!(outcomes[0], Outcome::Failed), "{name}: {outcomes:?}");
        for outcome in &outcomes[1..] {
            let Outcome::Page(page) = outcome else { panic!("{name}: {outcome:?}") };
            assert_eq!(page.pushes.iter().map(|push| push.seq).collect::<Vec<_>>(), [1]);
        }
        pool.stop();
    }
}
