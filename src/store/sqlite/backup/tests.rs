//! A backup in the process of the server.

use super::super::SqliteStore;
use super::*;
use crate::protocol::field::{MessageId, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use crate::store::StoreConnection;
use std::sync::atomic::AtomicU64;

fn save(store: &mut SqliteStore, numbers: std::ops::Range<u64>) {
    let (from, to, text) = (UserNameRef::new("bob").unwrap(), UserNameRef::new("ann").unwrap(), "x".repeat(3_000));
    let push =
        |seq: u64| Push::new(seq, 1, PushKind::Message, &MessageId::new(format!("m{seq}")).unwrap(), &from, &to, &text);
    let pushes: Vec<Push> = numbers.map(push).collect();
    store.begin().unwrap();
    store.save_pushes(&pushes).unwrap();
    store.commit().unwrap();
}

/// The number of POSIX locks that this process has on a file.
#[cfg(target_os = "linux")]
fn locks(path: &Path) -> usize {
    use std::os::unix::fs::MetadataExt;
    let (file, process) = (format!(":{} ", path.metadata().unwrap().ino()), format!(" {} ", std::process::id()));
    let all = std::fs::read_to_string("/proc/locks").unwrap();
    all.lines().filter(|line| line.contains("POSIX") && line.contains(&file) && line.contains(&process)).count()
}

#[test]
fn a_backup_is_one_moment_of_a_store_that_is_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("im.db"), folder.path().join("copy.db"));
    let mut store = SqliteStore::open(&path).unwrap();
    save(&mut store, 0..2_000);
    let (committed, done) = (AtomicU64::new(2_000), AtomicBool::new(false));
    let (before, made, after) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let next = committed.load(Ordering::Acquire);
                save(&mut store, next..next + 2);
                committed.store(next + 2, Ordering::Release);
            }
        });
        while committed.load(Ordering::Acquire) < 2_010 && !writer.is_finished() {
            std::thread::yield_now();
        }
        let before = committed.load(Ordering::Acquire);
        let made = backup(&path, &target, &AtomicBool::new(false));
        let after = committed.load(Ordering::Acquire);
        done.store(true, Ordering::Release);
        (before, made, after)
    });
    let contents = made.unwrap();
    assert!(contents.pushes >= before && contents.pushes <= after + 2, "{before} {contents:?} {after}");
    assert!(after > before, "nothing was committed meanwhile");
    assert_eq!(contents.pushes % 2, 0, "half of a transaction is in it");
    assert_eq!(contents.bytes, target.metadata().unwrap().len());
    assert_eq!(count(&connect(&target).unwrap(), "pushes").unwrap(), contents.pushes);
}

#[cfg(target_os = "linux")]
#[test]
fn the_locks_of_a_server_outlive_a_backup_in_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("im.db"), folder.path().join("copy.db"));
    let mut store = SqliteStore::open(&path).unwrap();
    save(&mut store, 0..10);
    let before = locks(&path);
    assert!(before > 0, "it has none");
    backup(&path, &target, &AtomicBool::new(false)).unwrap();
    assert_eq!(locks(&path), before);
    backup(&path, &target, &AtomicBool::new(false)).unwrap_err();
    assert_eq!(locks(&path), before);
    // The files that the store watches are unchanged, so it still writes.
    save(&mut store, 10..20);
}

#[test]
fn a_backup_that_is_stopped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("im.db"), folder.path().join("copy.db"));
    save(&mut SqliteStore::open(&path).unwrap(), 0..10);
    let why = backup(&path, &target, &AtomicBool::new(true)).unwrap_err();
    assert!(why.contains("it was interrupted"), "{why}");
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["im.db"]);
}

#[test]
#[cfg(unix)]
fn a_file_is_a_backups_own_while_it_has_that_name_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("copy.db.partial"), folder.path().join("copy.db"));
    let file = open_partial(&path).unwrap();
    assert!(has_only_name(&file, &path).unwrap());
    // Another backup has renamed the file, and a third one has begun a new file.
    std::fs::rename(&path, &other).unwrap();
    assert!(!has_only_name(&file, &path).unwrap());
    let new = open_partial(&path).unwrap();
    assert!(!has_only_name(&file, &path).unwrap() && has_only_name(&new, &path).unwrap());
    // A killed backup has left the file with both names.
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(&other, &path).unwrap();
    assert!(!has_only_name(&file, &path).unwrap());
    assert!(!path.exists() && other.exists());
}
