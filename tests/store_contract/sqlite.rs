//! Tests of a file alone: it lasts, it is in use, it belongs to another store, it is damaged.

use crate::common::store::*;
use hongyan::chat::contract::FriendAnswerOutcome;
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::sqlite::SqliteStore;
use hongyan::store::{StoreConnection, StoreError};
use std::path::Path;

#[test]
fn a_file_keeps_everything_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut store = SqliteStore::open(&path).unwrap();
    sign_up(&mut store, &["ann", "bob"]);
    ask(&mut store, &request(1, "bob", "ann", "r"));
    let odd = push(7, PushKind::Message, "bob", "ann", "m", ODD);
    save(&mut store, std::slice::from_ref(&odd));
    store.begin().unwrap();
    store.save_pushes(&[message(8, "bob", "ann", "never committed")]).unwrap();
    drop(store);
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.last_seq().unwrap(), 7);
    assert_eq!(store.profile(&user("ann")).unwrap(), Some(account("ann")));
    assert_eq!(store.pushes(&user("ann"), 1, 9, usize::MAX).unwrap(), [Push::clone(&odd)]);
    assert_eq!(reply(&mut store, &answer(8, PushKind::FriendAccept, "ann", "bob", "r")), FriendAnswerOutcome::Done);
    drop(store);
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["a.db"], "closed: the log is part of the file again");
}

#[cfg(unix)]
#[test]
fn a_new_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("a.db")).unwrap();
    save(&mut store, &[message(1, "bob", "ann", "m")]);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", file.file_name());
    }
}

fn refusal(path: &Path) -> String {
    let before = std::fs::read(path).unwrap_or_default();
    let why = SqliteStore::open(path).map(drop).unwrap_err().to_string();
    assert_eq!(std::fs::read(path).unwrap_or_default(), before, "it was touched");
    // The caller that shows it says of which file, once.
    assert!(!why.contains(&path.display().to_string()), "{why}");
    why
}

#[test]
fn a_second_server_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let why = refusal(&path);
    assert!(why.contains("another server uses it"), "{why}");
    save(&mut store, &[message(1, "bob", "ann", "m")]);
    drop(store);
    SqliteStore::open(&path).unwrap();
}

#[test]
fn a_file_that_is_none_of_ours_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text"), "this is a letter, not a database. ".repeat(100)).unwrap();
    std::fs::write(path("short"), "x").unwrap();
    for name in ["text", "short"] {
        let why = refusal(&path(name));
        assert!(why.contains("it is no SQLite database"), "{why}");
    }
    let other = rusqlite::Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE pushes (a); PRAGMA user_version = 1").unwrap();
    drop(other);
    let marked = rusqlite::Connection::open(path("marked")).unwrap();
    marked.execute_batch("PRAGMA application_id = 42").unwrap();
    drop(marked);
    for name in ["other", "marked"] {
        let why = refusal(&path(name));
        assert!(why.contains("it is a database of another application"), "{why}");
    }
    drop(SqliteStore::open(&path("newer")).unwrap());
    let newer = rusqlite::Connection::open(path("newer")).unwrap();
    newer.execute_batch("PRAGMA journal_mode = DELETE; PRAGMA user_version = 7").unwrap();
    drop(newer);
    let why = refusal(&path("newer"));
    assert!(why.contains("it was written by a newer hongyan (schema 7, this one knows 5)"), "{why}");
    assert!(refusal(&path("no/such/folder")).contains("the folder that it is to be in is not there"));
    // Beside tables of ours; the tables of SQLite itself belong to nobody.
    drop(SqliteStore::open(&path("shared")).unwrap());
    let shared = rusqlite::Connection::open(path("shared")).unwrap();
    shared.execute_batch("PRAGMA journal_mode = DELETE; ANALYZE").unwrap();
    drop(SqliteStore::open(&path("shared")).unwrap());
    shared.execute_batch("PRAGMA journal_mode = DELETE; CREATE VIEW zebras AS SELECT 1").unwrap();
    drop(shared);
    let why = refusal(&path("shared"));
    assert!(why.contains("it holds tables of another application, \"zebras\" among them"), "{why}");
    assert!(SqliteStore::open(folder.path()).is_err());
}

#[test]
fn a_damaged_file_is_an_error_and_not_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let mut store = SqliteStore::open(&path).unwrap();
    let many: Vec<_> = (1..500).map(|seq| message(seq, "bob", "ann", &format!("{seq}"))).collect();
    save(&mut store, &many);
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[8_192..end].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let result = SqliteStore::open(&path).and_then(|mut store| store.pushes(&user("ann"), 0, 1_000, usize::MAX));
    assert!(matches!(result, Err(StoreError::Corrupt(_) | StoreError::Unavailable(_))), "{result:?}");
}
