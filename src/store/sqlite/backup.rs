//! A backup of the file, which a server may use meanwhile.
//!
//! It is a snapshot: one read transaction lasts from its first page to its last. In WAL mode no
//! commit has to wait for it; the log grows meanwhile, because it cannot be restarted while the
//! snapshot exists. Only SQLite opens the source here: closing any other handle of the file would
//! end the POSIX locks of a server in the same process.

use super::open::{FileLock, check_companion, check_kind, check_log, check_owner, plain_path, version_of};
use crate::error_text::without_number;
use crate::store::StoreError;
use crate::store::portable::StoreOpenMode;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::ffi::c_int;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The number of pages that are copied at a time: at most a few ms of work.
const STEP_PAGES: c_int = 64;
/// The longest pause after each step. The copy pauses for as long as the step took, because the
/// commits of a server use the same disk.
const REST_MAX: Duration = Duration::from_millis(50);
/// The number of steps between two flushes. One large flush at the end would delay the flushes of
/// commits.
const FLUSH_STEPS: usize = 16;
/// The number of tries when other backups create and remove the same file.
const TRIES_MAX: usize = 10;
/// How long to wait for another process's short access to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The content of a backup, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupContents {
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The number of accounts.
    pub accounts: u64,
    /// The number of waiting pushes.
    pub pushes: u64,
}

/// Writes a backup of `source` into the new file `target`, and verifies it. Until it is complete,
/// the file is called `target` plus `.partial`. Setting `stop` ends it early. It may take minutes:
/// a server calls it on a thread of its own.
///
/// # Errors
/// One sentence. Then `target` does not exist, or is unchanged.
pub fn backup(source: &Path, target: &Path, stop: &AtomicBool) -> Result<BackupContents, String> {
    let of_source = |error: StoreError| format!("cannot back up {}: {error}", source.display());
    let of_target = |error: StoreError| format!("cannot write the backup {}: {error}", target.display());
    let snapshot = snapshot(source).map_err(of_source)?;
    let partial = PartialBackup::create(source, target).map_err(of_target)?;
    let copied = partial.copy(&snapshot, stop);
    // From here on the server's log may be reset, while the copy is verified.
    drop(snapshot);
    let made = copied.and_then(|()| partial.verify()).and_then(|contents| partial.publish(target, contents));
    made.map_err(|error| {
        partial.remove();
        of_target(error)
    })
}

/// Refuses a store whose log or journal was written for another file: SQLite would apply it. Do not
/// call it in a process that has the store open: it closes a handle of the file, which releases
/// SQLite's locks.
///
/// # Errors
/// One sentence.
pub fn check_source(path: &Path) -> Result<(), String> {
    // A path that does not exist or is not a file is reported by the backup itself. (Opening a pipe
    // could block for ever.)
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Ok(());
    }
    let Ok(file) = File::open(path) else { return Ok(()) };
    match check_companion(&file, path) {
        // A running server has checked them itself, and changes both while they are read here.
        Err(_) if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) => Ok(()),
        checked => checked.map_err(|error| format!("cannot back up {}: {error}", path.display())),
    }
}

/// A connection to the source in a read transaction.
fn snapshot(path: &Path) -> Result<Connection, StoreError> {
    check_log(path)?;
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::Unavailable("there is no such file".into()),
        _ => StoreError::Unavailable(without_number(&error)),
    })?;
    check_kind(&found)?;
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    check_owner(&db, StoreOpenMode::CopyFrom)?;
    if version_of(&db)? == 0 {
        return Err(StoreError::Unavailable("there is no hongyan store in it".into()));
    }
    // The snapshot is taken by the first read of the transaction.
    db.execute_batch("BEGIN")?;
    count(&db, "sqlite_schema")?;
    Ok(db)
}

/// Connects to an existing file. The name is taken as a plain path.
fn connect(path: &Path) -> Result<Connection, StoreError> {
    let mut flags = OpenFlags::default();
    flags.remove(OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI);
    let db = Connection::open_with_flags(plain_path(path), flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    Ok(db)
}

fn count(db: &Connection, table: &str) -> Result<u64, StoreError> {
    let count: i64 = db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn unavailable_error(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(without_number(&error))
}

fn open_partial(path: &Path) -> Result<File, StoreError> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::Unavailable(format!("{} is no file", path.display())));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // The file has password hashes: only its owner may read it.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::Unavailable("the folder that it is to be in is not there".into()),
        _ => unavailable_error(error),
    })
}

/// Does this open file have this name and no other? If it has another name as well, this name is
/// removed.
#[cfg(unix)]
fn has_only_name(file: &File, path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let of_file = file.metadata()?;
    let of_name = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if (of_file.dev(), of_file.ino()) != (of_name.dev(), of_name.ino()) {
        return Ok(false);
    }
    if of_file.nlink() > 1 {
        std::fs::remove_file(path)?;
        return Ok(false);
    }
    Ok(true)
}

#[cfg(not(unix))]
fn has_only_name(_: &File, _: &Path) -> std::io::Result<bool> {
    Ok(true)
}

/// The file of an incomplete backup.
struct PartialBackup {
    path: PathBuf,
    /// The lock by which a second backup into the same file is refused, and a file that an earlier
    /// one left is reused.
    lock: FileLock,
}

impl PartialBackup {
    fn create(source: &Path, target: &Path) -> Result<Self, StoreError> {
        // With such a name SQLite would take it for a part of the store.
        if ["-wal", "-shm", "-journal"].iter().any(|end| with_suffix(source, end) == target) {
            return Err(StoreError::Unavailable("that name belongs to the store".into()));
        }
        let path = with_suffix(target, ".partial");
        for _ in 0..TRIES_MAX {
            if target.symlink_metadata().is_ok() {
                return Err(StoreError::Unavailable("there is a file of that name".into()));
            }
            let file = open_partial(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Unavailable("another backup into it is under way".into()));
                }
                Err(TryLockError::Error(error)) => return Err(unavailable_error(error)),
            }
            // Between opening and locking, another backup may have renamed this file to its final
            // name, and a killed one may have left it with both names: then it is complete, and is
            // not touched.
            if has_only_name(&file, &path).map_err(unavailable_error)? {
                let partial = Self { path, lock: FileLock(file) };
                partial.empty().map_err(unavailable_error)?;
                return Ok(partial);
            }
        }
        Err(StoreError::Unavailable(format!("others make and remove {}", path.display())))
    }

    fn file(&self) -> &File {
        &self.lock.0
    }

    /// Removes what an earlier backup left.
    fn empty(&self) -> std::io::Result<()> {
        #[cfg(unix)]
        self.file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        self.remove_beside();
        self.file().set_len(0)
    }

    fn remove_beside(&self) {
        for suffix in ["-wal", "-shm", "-journal"] {
            // They rarely exist.
            std::fs::remove_file(with_suffix(&self.path, suffix)).unwrap_or(());
        }
    }

    fn copy(&self, snapshot: &Connection, stop: &AtomicBool) -> Result<(), StoreError> {
        let mut db = connect(&self.path)?;
        // No journal: this module flushes the file itself, and deletes it if anything fails.
        db.pragma_update(None, "journal_mode", "OFF")?;
        db.pragma_update(None, "synchronous", "OFF")?;
        let backup = Backup::new(snapshot, &mut db)?;
        for step in 1.. {
            if stop.load(Ordering::Acquire) {
                return Err(StoreError::Unavailable("it was interrupted".into()));
            }
            let began = Instant::now();
            match backup.step(STEP_PAGES)? {
                StepResult::Done => break,
                StepResult::More => {}
                _ => return Err(StoreError::Busy("another process holds the file".into())),
            }
            if step % FLUSH_STEPS == 0 {
                self.file().sync_data().map_err(unavailable_error)?;
            }
            std::thread::sleep(began.elapsed().min(REST_MAX));
        }
        Ok(())
    }

    /// Opens it as a server would, and lets SQLite check every page.
    fn verify(&self) -> Result<BackupContents, StoreError> {
        let db = connect(&self.path)?;
        // Everything in one file, without a log mark: so a log beside it is recognised as foreign.
        let mode: String = db.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        if mode != "delete" {
            return Err(StoreError::Unavailable(format!("its journal mode stays {mode:?}")));
        }
        check_owner(&db, StoreOpenMode::Serve)?;
        let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            let found: Vec<&str> = found.split_whitespace().collect();
            return Err(StoreError::Corrupt(format!("the store is damaged: {}", found.join(" "))));
        }
        let (accounts, pushes) = (count(&db, "accounts")?, count(&db, "pushes")?);
        drop(db);
        Ok(BackupContents { bytes: self.file().metadata().map_err(unavailable_error)?.len(), accounts, pushes })
    }

    /// Gives it its final name, durably, unless another file has that name by now.
    fn publish(&self, target: &Path, contents: BackupContents) -> Result<BackupContents, StoreError> {
        self.file().sync_all().map_err(unavailable_error)?;
        match std::fs::hard_link(&self.path, target) {
            Ok(()) => std::fs::remove_file(&self.path).map_err(unavailable_error)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(unavailable_error(error)),
            // A file system without hard links.
            Err(_) if target.symlink_metadata().is_err() => {
                std::fs::rename(&self.path, target).map_err(unavailable_error)?;
            }
            Err(error) => return Err(unavailable_error(error)),
        }
        #[cfg(unix)]
        {
            let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(unavailable_error)?;
            folder.sync_all().map_err(unavailable_error)?;
        }
        Ok(contents)
    }

    fn remove(&self) {
        self.remove_beside();
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("{} is left behind: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests;
