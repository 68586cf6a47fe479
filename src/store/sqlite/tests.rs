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
    assert!(why.contains("was written by a newer hongyan (schema 4, this one knows 3)"), "{why}");
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
