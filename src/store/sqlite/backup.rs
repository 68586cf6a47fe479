//! A backup of the file, made while a server writes to it or while none does.
//!
//! It is a snapshot: one read transaction lasts from its first page to its last. In WAL mode that
//! keeps no commit waiting; the log grows meanwhile, because it cannot begin anew under the
//! snapshot. Only SQLite opens the source here: closing any other handle of the file would end the
//! POSIX locks of a server in the same process.

use super::open::{Lock, check_beside, check_kind, check_log, check_owner, plain_path, version_of};
use crate::store::portable::Role;
use crate::store::{StoreError, plain};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::ffi::c_int;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Pages that are copied at a time: some ms of work at most.
const STEP_PAGES: c_int = 64;
/// Then the copy rests as long as that took, and no longer than this: the commits of a server use
/// the same disk.
const REST_MAX: Duration = Duration::from_millis(50);
/// Steps between two flushes of what was written. One large flush at the end would hold up the
/// flushes of commits.
const FLUSH_STEPS: usize = 16;
/// Others who make and remove the same file are met so many times.
const TRIES_MAX: usize = 10;
/// How long another process's short look at the file is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The size of the file.
    pub bytes: u64,
    /// Accounts.
    pub accounts: u64,
    /// Pushes that wait for their receivers.
    pub pushes: u64,
}

/// Writes a backup of `source` into the new file `target`, and verifies it. Until it is whole its
/// name is that of `target` with `.partial` behind it. Setting `stop` ends it early. It may take
/// minutes: a server calls it on a thread of its own.
///
/// # Errors
/// One sentence. `target` is not there then, or as it was before.
pub fn backup(source: &Path, target: &Path, stop: &AtomicBool) -> Result<Contents, String> {
    let of_source = |error: StoreError| format!("cannot back up {}: {error}", source.display());
    let of_target = |error: StoreError| format!("cannot write the backup {}: {error}", target.display());
    let snapshot = snapshot(source).map_err(of_source)?;
    let partial = Partial::make(source, target).map_err(of_target)?;
    let copied = partial.copy(&snapshot, stop);
    // The log of a server may begin anew while the copy is verified.
    drop(snapshot);
    let made = copied.and_then(|()| partial.verify()).and_then(|contents| partial.publish(target, contents));
    made.map_err(|error| {
        partial.discard();
        of_target(error)
    })
}

/// Refuses a store whose log or journal was written for another file: SQLite would fold it in. Not
/// for a process that has the store open: this closes a handle of the file, and with that ends
/// SQLite's locks.
///
/// # Errors
/// One sentence.
pub fn check_source(path: &Path) -> Result<(), String> {
    // What is not there, or is no file (to open a pipe could take for ever), is reported by the
    // backup itself.
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Ok(());
    }
    let Ok(file) = File::open(path) else { return Ok(()) };
    match check_beside(&file, path) {
        // A server that runs has looked itself, and changes both while they are read here.
        Err(_) if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) => Ok(()),
        checked => checked.map_err(|error| format!("cannot back up {}: {error}", path.display())),
    }
}

/// A connection to the source in a read transaction.
fn snapshot(path: &Path) -> Result<Connection, StoreError> {
    check_log(path)?;
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::Unavailable("there is no such file".into()),
        _ => StoreError::Unavailable(plain(&error)),
    })?;
    check_kind(&found)?;
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    check_owner(&db, Role::CopyFrom)?;
    if version_of(&db)? == 0 {
        return Err(StoreError::Unavailable("there is no hongyan store in it".into()));
    }
    // The snapshot is taken by the first read of the transaction.
    db.execute_batch("BEGIN")?;
    count(&db, "sqlite_schema")?;
    Ok(db)
}

/// A connection to a file that is there. Its name means nothing but a path.
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

fn unavailable(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(plain(&error))
}

fn open_partial(path: &Path) -> Result<File, StoreError> {
    if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
        return Err(StoreError::Unavailable(format!("{} is no file", path.display())));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // Password hashes are nobody else's business.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => StoreError::Unavailable("the folder that it is to be in is not there".into()),
        _ => unavailable(error),
    })
}

/// Does this open file have this name and no other? One that has another name as well loses this
/// one.
#[cfg(unix)]
fn is_own(file: &File, path: &Path) -> std::io::Result<bool> {
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
fn is_own(_: &File, _: &Path) -> std::io::Result<bool> {
    Ok(true)
}

/// The file of a backup that is not whole yet.
struct Partial {
    path: PathBuf,
    /// So that a second backup into the same file is refused, and what an earlier one left behind
    /// is used again.
    lock: Lock,
}

impl Partial {
    fn make(source: &Path, target: &Path) -> Result<Self, StoreError> {
        // Under such a name SQLite would take it for a part of the store.
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
                Err(TryLockError::Error(error)) => return Err(unavailable(error)),
            }
            // Between the opening and the lock another backup may have given this file its name,
            // and one that was killed may have left it with two: it is whole then, and is not
            // touched.
            if is_own(&file, &path).map_err(unavailable)? {
                let partial = Self { path, lock: Lock(file) };
                partial.empty().map_err(unavailable)?;
                return Ok(partial);
            }
        }
        Err(StoreError::Unavailable(format!("others make and remove {}", path.display())))
    }

    fn file(&self) -> &File {
        &self.lock.0
    }

    /// What an earlier backup left behind goes.
    fn empty(&self) -> std::io::Result<()> {
        #[cfg(unix)]
        self.file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        self.remove_beside();
        self.file().set_len(0)
    }

    fn remove_beside(&self) {
        for suffix in ["-wal", "-shm", "-journal"] {
            // They are seldom there.
            std::fs::remove_file(with_suffix(&self.path, suffix)).unwrap_or(());
        }
    }

    fn copy(&self, snapshot: &Connection, stop: &AtomicBool) -> Result<(), StoreError> {
        let mut db = connect(&self.path)?;
        // It is flushed here, and thrown away if anything goes wrong.
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
                self.file().sync_data().map_err(unavailable)?;
            }
            std::thread::sleep(began.elapsed().min(REST_MAX));
        }
        Ok(())
    }

    /// Opens it as a server would, and has SQLite look at each page.
    fn verify(&self) -> Result<Contents, StoreError> {
        let db = connect(&self.path)?;
        // All in one file, with nothing beside it; and so a log of another file is told by it.
        let mode: String = db.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
        if mode != "delete" {
            return Err(StoreError::Unavailable(format!("its journal mode stays {mode:?}")));
        }
        check_owner(&db, Role::Serve)?;
        let found: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            let found: Vec<&str> = found.split_whitespace().collect();
            return Err(StoreError::Corrupt(format!("the store is damaged: {}", found.join(" "))));
        }
        let (accounts, pushes) = (count(&db, "accounts")?, count(&db, "pushes")?);
        drop(db);
        Ok(Contents { bytes: self.file().metadata().map_err(unavailable)?.len(), accounts, pushes })
    }

    /// Gives it its name, durably, unless another file has that by now.
    fn publish(&self, target: &Path, contents: Contents) -> Result<Contents, StoreError> {
        self.file().sync_all().map_err(unavailable)?;
        match std::fs::hard_link(&self.path, target) {
            Ok(()) => std::fs::remove_file(&self.path).map_err(unavailable)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(unavailable(error)),
            // A disk without links.
            Err(_) if target.symlink_metadata().is_err() => {
                std::fs::rename(&self.path, target).map_err(unavailable)?;
            }
            Err(error) => return Err(unavailable(error)),
        }
        #[cfg(unix)]
        {
            let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = File::open(folder.unwrap_or(Path::new("."))).map_err(unavailable)?;
            folder.sync_all().map_err(unavailable)?;
        }
        Ok(contents)
    }

    fn discard(&self) {
        self.remove_beside();
        if let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("{} is left behind: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests;
