//! Logs beside the files for which they were written, and beside others.

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

    fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.path("")).unwrap()
    }

    /// A copy of the files as a crash would leave them now.
    fn crashed(&self) -> Self {
        let other = Self::new();
        other.take(self, "");
        other.take(self, "-wal");
        other
    }

    /// Takes one of the files of another folder.
    fn take(&self, from: &Self, end: &str) {
        if from.path(end).exists() {
            std::fs::copy(from.path(end), self.path(end)).unwrap();
        }
    }

    fn refusal(&self) -> String {
        let before = ["", "-wal"].map(|end| std::fs::read(self.path(end)).unwrap());
        let why = SqliteStore::open(&self.path("")).map(drop).unwrap_err().to_string();
        assert!(!self.path("-shm").exists());
        assert_eq!(["", "-wal"].map(|end| std::fs::read(self.path(end)).unwrap()), before, "nothing was touched");
        why
    }
}

fn save(store: &mut SqliteStore, numbers: std::ops::Range<u64>, bytes: usize) {
    let (from, to, text) = (UserNameRef::new("bob").unwrap(), UserNameRef::new("ann").unwrap(), "x".repeat(bytes));
    let push =
        |seq: u64| Push::new(seq, 1, PushKind::Message, &MessageId::new(format!("m{seq}")).unwrap(), &from, &to, &text);
    let pushes: Vec<Push> = numbers.map(push).collect();
    store.begin().unwrap();
    store.save_pushes(&pushes).unwrap();
    store.commit().unwrap();
}

fn count(store: &mut SqliteStore) -> usize {
    store.pushes(&UserName::new("ann").unwrap(), 0, u32::MAX, usize::MAX).unwrap().len()
}

const FOREIGN: &str = "im.db-wal beside it was written for another file";

#[test]
fn a_backup_beside_the_log_of_the_file_it_replaces_is_refused() {
    let (live, copies) = (TestStoreFolder::new(), TestStoreFolder::new());
    let mut store = live.open();
    save(&mut store, 1..50, 100);
    super::super::backup(&live.path(""), &copies.path(""), &false.into()).unwrap();
    // Logs of the same run, and of a store that has not grown since.
    for numbers in [50..51, 51..400] {
        save(&mut store, numbers, 100);
        copies.take(&live, "-wal");
        assert!(copies.refusal().contains(FOREIGN));
    }
    std::fs::remove_file(copies.path("-wal")).unwrap();
    assert_eq!(count(&mut copies.open()), 49);
}

#[test]
fn an_older_copy_beside_the_log_of_a_later_run_is_refused() {
    let (live, copies) = (TestStoreFolder::new(), TestStoreFolder::new());
    save(&mut live.open(), 1..50, 100);
    copies.take(&live, "");
    // The size of the file is on its first page, so page 1 is in the log.
    save(&mut live.open(), 50..900, 1_000);
    let mut store = live.open();
    save(&mut store, 900..1_800, 1_000);
    copies.take(&live, "-wal");
    assert!(copies.refusal().contains(FOREIGN));
}

#[test]
fn a_log_of_pages_of_another_size_is_refused() {
    let (live, other) = (TestStoreFolder::new(), TestStoreFolder::new());
    let mut store = live.open();
    save(&mut store, 1..50, 100);
    let db = Connection::open(other.path("")).unwrap();
    db.execute_batch("PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; CREATE TABLE a (b)").unwrap();
    let copy = TestStoreFolder::new();
    copy.take(&live, "");
    copy.take(&other, "-wal");
    assert!(copy.refusal().contains(FOREIGN));
}

#[test]
fn a_file_that_is_no_log_is_left_to_sqlite() {
    let live = TestStoreFolder::new();
    save(&mut live.open(), 1..50, 100);
    for rubbish in [&b""[..], b"x", &[0; 5_000], &[0xFF; 5_000]] {
        std::fs::write(live.path("-wal"), rubbish).unwrap();
        assert_eq!(count(&mut live.open()), 49);
    }
}

/// A store accepts its own log after any work before a crash.
#[test]
fn no_crash_leaves_a_log_that_is_taken_for_foreign() {
    let (mut random, mut logs) = (fastrand::Rng::with_seed(1), 0);
    let mut draw = |below: u64| random.u64(..below);
    for _ in 0..12 {
        let live = TestStoreFolder::new();
        let (mut store, mut next) = (live.open(), 1);
        // An administrator's tool uses the file beside the server.
        let tool = Connection::open(live.path("")).unwrap();
        for _ in 0..25 {
            match draw(12) {
                0..=4 => {
                    let count = 1 + draw(60);
                    save(&mut store, next..next + count, draw(3_000) as usize);
                    next += count;
                }
                5 => tool.execute_batch("DELETE FROM pushes WHERE seq % 3 = 0").unwrap(),
                6 => tool.execute_batch("VACUUM").unwrap(),
                7 => {
                    let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][draw(4) as usize];
                    tool.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(())).unwrap();
                }
                8 => tool.execute_batch("ANALYZE").unwrap(),
                9 => {
                    drop(store);
                    store = live.open();
                }
                10 => {
                    super::super::backup(&live.path(""), &TestStoreFolder::new().path(""), &false.into()).unwrap();
                }
                _ => {
                    // Start again on the files that are left.
                    let crashed = live.crashed();
                    assert_eq!(count(&mut crashed.open()), count(&mut store));
                }
            }
            let crashed = live.crashed();
            logs += usize::from(crashed.path("-wal").metadata().is_ok_and(|found| found.len() > 0));
            let log = crashed.path("-wal");
            check(&File::open(crashed.path("")).unwrap(), &log).unwrap();
        }
    }
    assert!(logs > 100, "{logs}");
}

#[test]
fn a_restored_store_that_was_used_and_stopped_refuses_the_log_of_the_replaced_file() {
    let (live, restored) = (TestStoreFolder::new(), TestStoreFolder::new());
    let mut store = live.open();
    save(&mut store, 1..50, 100);
    super::super::backup(&live.path(""), &restored.path(""), &false.into()).unwrap();
    save(&mut store, 50..60, 100);
    save(&mut restored.open(), 70..90, 100);
    restored.take(&live, "-wal");
    assert!(restored.refusal().contains(FOREIGN));
    std::fs::remove_file(restored.path("-wal")).unwrap();
    assert_eq!(count(&mut restored.open()), 69);
}
