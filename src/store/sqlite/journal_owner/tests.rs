//! Journals beside the files for which they were written, and beside others.

use super::super::SqliteStore;
use super::*;
use crate::protocol::field::{MessageId, UserName, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use crate::store::StoreConnection;
use rusqlite::Connection;
use std::path::PathBuf;

/// A folder with a store in it, `im.db`.
struct TestStoreFolder(tempfile::TempDir);

impl TestStoreFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, end: &str) -> PathBuf {
        self.0.path().join(format!("im.db{end}"))
    }

    /// A folder with a store that has `pushes` pushes, saved one by one.
    fn with(pushes: u64) -> Self {
        let folder = Self::new();
        let mut store = SqliteStore::open(&folder.path("")).unwrap();
        let (from, to, text) = (UserNameRef::new("bob").unwrap(), UserNameRef::new("ann").unwrap(), "x".repeat(1_000));
        for seq in 1..=pushes {
            let push =
                Push::new(seq, 1, PushKind::Message, &MessageId::new(format!("m{seq}")).unwrap(), &from, &to, &text);
            store.begin().unwrap();
            store.save_pushes(&[push]).unwrap();
            store.commit().unwrap();
        }
        folder
    }

    /// Leaves the files of another program that was killed while it changed the store: with a large
    /// change, and before it a change of the first page or none.
    fn cut_off(&self, first: &str, change: &str) -> Self {
        let left = Self::new();
        let db = Connection::open(self.path("")).unwrap();
        db.execute_batch(&format!("PRAGMA cache_size = 5; BEGIN; {first}; {change}")).unwrap();
        for end in ["", "-journal"] {
            std::fs::copy(self.path(end), left.path(end)).unwrap();
        }
        left
    }

    /// Opens the store as a server does; gives the number of pushes.
    fn start(&self) -> Result<usize, String> {
        let mut store = SqliteStore::open(&self.path("")).map_err(|error| error.to_string())?;
        Ok(store.pushes(&UserName::new("ann").unwrap(), 0, u32::MAX, usize::MAX).unwrap().len())
    }

    fn is_refused(&self) {
        let before = std::fs::read(self.path("")).unwrap();
        let why = self.start().unwrap_err();
        assert!(why.contains("im.db-journal beside it does not show that it was written for this file"), "{why}");
        assert_eq!(std::fs::read(self.path("")).unwrap(), before, "nothing was touched");
        assert!(self.path("-journal").exists());
        std::fs::remove_file(self.path("-journal")).unwrap();
    }
}

/// A change of the first page.
const FIRST: &str = "PRAGMA user_version = 5";
const MUCH: &str = "UPDATE pushes SET content = content || 'k'";

#[test]
fn the_journal_of_another_file_is_refused() {
    let other = TestStoreFolder::with(40);
    let empty = TestStoreFolder::new();
    let foreign = [
        other.cut_off(FIRST, MUCH),
        // A journal that does not identify its file is taken for foreign, too.
        other.cut_off("", MUCH),
        // The journal of a store that was being created: it would empty the file.
        empty.cut_off("", "CREATE TABLE pushes (content); INSERT INTO pushes VALUES (zeroblob(90000))"),
    ];
    let store = TestStoreFolder::with(300);
    for journal in foreign {
        std::fs::copy(journal.path("-journal"), store.path("-journal")).unwrap();
        store.is_refused();
        assert_eq!(store.start(), Ok(300));
    }
}

#[test]
fn a_store_takes_its_own_journal() {
    let store = TestStoreFolder::with(40);
    let left = store.cut_off(FIRST, MUCH);
    assert_eq!(left.start(), Ok(40));
    assert!(!left.path("-journal").exists(), "it was rolled back");
    // A journal that is not complete does not count.
    let left = store.cut_off(FIRST, "SELECT 1 FROM pushes LIMIT 0");
    assert_eq!(left.start(), Ok(40));
}

#[test]
fn a_file_that_is_no_journal_is_left_to_sqlite() {
    let store = TestStoreFolder::with(1);
    for rubbish in [&b""[..], b"x", &[0; 5_000], &[0xFF; 5_000], &MAGIC] {
        std::fs::write(store.path("-journal"), rubbish).unwrap();
        assert_eq!(store.start(), Ok(1));
    }
    std::fs::create_dir(store.path("-journal")).unwrap();
    assert!(store.start().unwrap_err().ends_with("im.db-journal is no file"));
}
