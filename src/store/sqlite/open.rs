//! Opening the file: checks that it is ours and unused, sets how it is used, and upgrades its
//! schema.

use super::place::StoreFiles;
use super::{SqliteStore, journal_owner, log_owner};
use crate::error_text::without_number;
use crate::store::StoreError;
use crate::store::portable::{
    StoreOpenMode, TABLES, UNFINISHED, check_schema_version, tables_of, unfinished_copy_error,
};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
#[cfg(unix)]
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The application id in the file's header: "hong".
const APPLICATION_ID: i64 = 0x686F_6E67;
/// The beginning of every SQLite file.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// How long to wait for another process's short access to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The size to which the write-ahead log is truncated after a checkpoint, in bytes; otherwise it
/// would keep its largest size.
pub(super) const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;
/// The page cache of a server, in KiB. The kernel caches the file as well: four times as much is no
/// faster, and would be half of the memory of 9,000 idle connections.
const CACHE_KIB: i64 = 512;
/// The page cache of a copy's target, in KiB: inserts touch all parts of its indexes.
const COPY_CACHE_KIB: i64 = 64 * 1024;
/// The steps from each version of the schema to the next, the first from nothing.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../schema_sqlite.sql"),
    include_str!("../schema_sqlite_2.sql"),
    include_str!("../schema_sqlite_3.sql"),
    include_str!("../schema_sqlite_4.sql"),
    include_str!("../schema_sqlite_5.sql"),
];

/// A lock on the file, released when this is dropped.
#[derive(Debug)]
pub(super) struct FileLock(pub(super) File);

impl Drop for FileLock {
    fn drop(&mut self) {
        // Unlock explicitly: a child process that inherited the handle would otherwise keep the
        // lock until it closes it. If this fails, closing releases it.
        drop(self.0.unlock());
    }
}

/// Why the file cannot be opened or created.
fn why_not_opened(error: &std::io::Error, may_make: bool) -> String {
    match error.kind() {
        ErrorKind::NotFound if may_make => "the folder that it is to be in is not there".to_owned(),
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::IsADirectory => "it is a folder, and no file".to_owned(),
        _ => without_number(error),
    }
}

/// Refuses a path that is not a file, and a file that has a second name: SQLite names the files
/// beside it by the name that was opened, so a process that opens the other name after a crash
/// would miss the last commits.
pub(super) fn check_kind(data: &Metadata) -> Result<(), StoreError> {
    if !data.is_file() {
        return Err(StoreError::Unavailable("it is no file".into()));
    }
    #[cfg(unix)]
    if data.nlink() > 1 {
        let why = format!(
            "it is one file under {} names (hard links), of which SQLite knows one; leave it only one",
            data.nlink()
        );
        return Err(StoreError::Unavailable(why));
    }
    Ok(())
}

/// The path of a file's write-ahead log.
pub(super) fn log_of(path: &Path) -> PathBuf {
    companion_path(path, "-wal")
}

/// The path of a file that SQLite keeps beside the store: named by the file's own name, whatever
/// link leads to it.
fn companion_path(path: &Path, end: &str) -> PathBuf {
    let mut name = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).into_os_string();
    name.push(end);
    name.into()
}

/// Refuses a log or journal beside a file that was written for another one.
///
/// # Errors
/// One sentence.
pub(super) fn check_companion(file: &File, path: &Path) -> Result<(), StoreError> {
    log_owner::check(file, &log_of(path))?;
    journal_owner::check(file, &companion_path(path, "-journal"))
}

/// Refuses a write-ahead log whose file is missing or empty: SQLite would delete the log, and the
/// last commits with it.
pub(super) fn check_log(path: &Path) -> Result<(), StoreError> {
    let log_path = log_of(path);
    let bytes_of = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    if bytes_of(path) > 0 || bytes_of(&log_path) == 0 {
        return Ok(());
    }
    let log_name = log_path.file_name().unwrap_or_default().to_string_lossy();
    Err(StoreError::Unavailable(format!(
        "it is not there, or empty, but {log_name} is beside it, which holds what was committed last: put the file back, or \
         move {log_name} away to begin anew"
    )))
}

/// The path in a form that SQLite takes for a plain path, and not for a temporary database or one
/// in memory.
pub(super) fn plain_path(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

/// The version of the tables; 0 if there are none.
pub(super) fn version_of(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Refuses a file of another application before anything is written to it.
pub(super) fn check_owner(db: &Connection, role: StoreOpenMode) -> Result<(), StoreError> {
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let tables: i64 = match db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)) {
        Ok(tables) => tables,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(StoreError::Corrupt("it is no SQLite database".into()));
        }
        Err(error) => return Err(error.into()),
    };
    let (owner, version) = (number("application_id")?, number("user_version")?);
    if owner != APPLICATION_ID && (tables > 0 || owner != 0 || version != 0) {
        return Err(StoreError::Corrupt("it is a database of another application".into()));
    }
    if version == UNFINISHED {
        return Err(unfinished_copy_error());
    }
    let known = MIGRATIONS.len() as i64;
    if version > known {
        let why = format!(
            "it was written by a newer hongyan (schema {version}, this one knows {known}): start that one, or restore a backup from before its first start"
        );
        return Err(StoreError::Corrupt(why));
    }
    // The source of a copy is not changed.
    if role != StoreOpenMode::CopyFrom
        && let Some(name) = foreign_table(db)?
    {
        return Err(StoreError::Corrupt(format!("it holds tables of another application, {name:?} among them")));
    }
    Ok(())
}

/// A table or view that none of the migrations creates.
fn foreign_table(db: &Connection) -> Result<Option<String>, StoreError> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    let mut statement = db.prepare(sql)?;
    let names: Result<Vec<String>, _> = statement.query_map([], |row| row.get(0))?.collect();
    let ours: Vec<&str> = MIGRATIONS.iter().flat_map(|step| tables_of(step)).collect();
    Ok(names?.into_iter().find(|name| !ours.contains(&name.as_str())))
}

impl SqliteStore {
    /// Opens the file, creates it if it does not exist, and upgrades an older schema.
    ///
    /// # Errors
    /// One sentence: the file cannot be used, is in use, belongs to another application, or was
    /// written by a newer server.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_for(StoreOpenMode::Serve, path)
    }

    /// Opens the file in a given role.
    ///
    /// # Errors
    /// As [`open`](Self::open); also: a copy into it was not finished, or the source of a copy does
    /// not exist.
    pub fn open_for(role: StoreOpenMode, path: &Path) -> Result<Self, StoreError> {
        check_log(path)?;
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        // The source of a copy may be a file that this process must not write.
        let may_write = role != StoreOpenMode::CopyFrom;
        options.read(true).write(may_write).create(may_write).truncate(false);
        // The file has password hashes: only its owner may read it. SQLite gives its other files
        // the same mode.
        #[cfg(unix)]
        options.mode(0o600);
        // Opening a pipe could block for ever. A folder is refused by the open itself.
        if let Ok(found) = path.metadata()
            && !found.is_dir()
        {
            check_kind(&found)?;
        }
        let file = options.open(path).map_err(|error| StoreError::Unavailable(why_not_opened(&error, may_write)))?;
        let unavailable = |error: std::io::Error| StoreError::Unavailable(without_number(&error));
        check_kind(&file.metadata().map_err(unavailable)?)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Unavailable("another server uses it".into())),
            Err(TryLockError::Error(error)) => return Err(unavailable(error)),
        }
        let lock = FileLock(file);
        // SQLite takes a file of a few bytes for an empty database and overwrites it.
        let mut head = Vec::new();
        (&lock.0).take(MAGIC.len() as u64).read_to_end(&mut head).map_err(unavailable)?;
        if !head.is_empty() && head != MAGIC {
            return Err(StoreError::Corrupt("it is no SQLite database".into()));
        }
        check_companion(&lock.0, path)?;
        let mut flags = OpenFlags::default();
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, may_write);
        // The locked file must be the opened one: a name that SQLite reads as a URI may mean
        // another file.
        flags.remove(OpenFlags::SQLITE_OPEN_URI);
        let path = plain_path(path);
        let db = Connection::open_with_flags(&path, flags).map_err(|error| {
            // The sentence begins with the path already.
            let (why, shown) = (error.to_string(), format!(": {}", path.display()));
            StoreError::Unavailable(why.strip_suffix(&shown).unwrap_or(&why).to_owned())
        })?;
        let files = StoreFiles::of(&path, &lock.0).map_err(unavailable)?;
        let mut store = Self { db, _lock: lock, files, has_log: false };
        store.prepare(role)?;
        // From now on all three files are known: if one disappears before the first job, that is
        // noticed.
        store.files.check()?;
        if is_new {
            // Log it: a typing error in the path, or another working folder, also creates an empty
            // store.
            let path = std::fs::canonicalize(&path).unwrap_or(path);
            log::info!("{} was not there: an empty store was made", path.display());
        }
        Ok(store)
    }

    fn prepare(&mut self, role: StoreOpenMode) -> Result<(), StoreError> {
        self.db.busy_timeout(BUSY_TIMEOUT)?;
        self.db.set_prepared_statement_cache_capacity(32);
        // Without it, statements are planned again whenever other values are bound.
        self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        check_owner(&self.db, role)?;
        if role == StoreOpenMode::CopyFrom {
            check_schema_version(self.version()?, MIGRATIONS.len())?;
            self.db.pragma_update(None, "query_only", true)?;
            return Ok(());
        }
        let make_marked = role == StoreOpenMode::CopyInto && self.version()? == 0;
        if make_marked {
            self.create_marked_tables()?;
        }
        // A copy into such a store is refused, and must not change a byte of it.
        if role == StoreOpenMode::CopyInto && !make_marked && self.has_rows()? {
            return Ok(());
        }
        // WAL with FULL: a commit is one append and one flush, and is on the disk before it is
        // answered.
        self.db.pragma_update(None, "journal_mode", "WAL")?;
        self.has_log = true;
        self.db.pragma_update(None, "synchronous", "FULL")?;
        self.db.pragma_update(None, "temp_store", "MEMORY")?;
        self.db.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
        let cache_kib = if role == StoreOpenMode::CopyInto { COPY_CACHE_KIB } else { CACHE_KIB };
        self.db.pragma_update(None, "cache_size", -cache_kib)?;
        if make_marked { Ok(()) } else { self.migrate(MIGRATIONS) }
    }

    /// Has any table of this version a row?
    fn has_rows(&self) -> Result<bool, StoreError> {
        if self.version()? != MIGRATIONS.len() as i64 {
            return Ok(false);
        }
        for table in TABLES {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
            if self.db.query_row(&sql, [], |row| row.get(0))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn version(&self) -> Result<i64, StoreError> {
        version_of(&self.db)
    }

    /// Creates the tables and the mark of an unfinished copy in one transaction, so that the store
    /// never exists without the mark.
    fn create_marked_tables(&mut self) -> Result<(), StoreError> {
        let transaction = self.db.transaction()?;
        MIGRATIONS.iter().try_for_each(|step| transaction.execute_batch(step))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", UNFINISHED)?;
        Ok(transaction.commit()?)
    }

    /// Does the missing migrations, each in a transaction of its own.
    pub(super) fn migrate(&mut self, steps: &[&str]) -> Result<(), StoreError> {
        let version = self.version()?;
        if (1..steps.len() as i64).contains(&version) {
            let to = steps.len();
            log::info!(
                "the store's tables are brought from schema {version} to {to}: where they are large this takes a while"
            );
        }
        for (step, sql) in steps.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
            let transaction = self.db.transaction()?;
            transaction.execute_batch(sql)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", step as i64 + 1)?;
            transaction.commit()?;
        }
        Ok(())
    }
}
