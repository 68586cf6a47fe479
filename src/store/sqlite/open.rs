//! Opening the file: whose it is, that nobody else uses it, how it is used, and its schema.

use super::SqliteStore;
use super::place::Place;
use crate::store::StoreError;
use crate::store::portable::{Role, UNFINISHED, check_current, unfinished};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// In the file's header: this is hongyan's ("hong").
const APPLICATION_ID: i64 = 0x686F_6E67;
/// How every SQLite file begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// How long another process's short look at the file is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// What the write-ahead log is cut back to after a checkpoint; without it, it stays as long as it ever was.
pub(super) const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;
/// The page cache of a server, in KiB. The kernel's cache stands behind it: four times as much is no faster, and would be half of
/// what 9,000 idle connections cost.
const CACHE_KIB: i64 = 512;
/// The page cache of a copy's target, in KiB: its indexes grow everywhere at once.
const COPY_CACHE_KIB: i64 = 64 * 1024;
/// The steps from each version of the schema to the next, the first from nothing.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("../schema_sqlite.sql"),
    include_str!("../schema_sqlite_2.sql"),
    include_str!("../schema_sqlite_3.sql"),
];

/// A lock on the file that ends with this value.
#[derive(Debug)]
pub(super) struct Lock(pub(super) File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone leaves it to a process that was started meanwhile, until that has closed what it inherited. What this
        // cannot do, closing does.
        drop(self.0.unlock());
    }
}

impl SqliteStore {
    /// Opens the file, creates it if it is not there, brings an older schema up to date.
    ///
    /// # Errors
    /// One sentence: the file cannot be used, is in use, is none of ours, or was written by a newer server.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_for(Role::Serve, path)
    }

    /// Opens the file for one of several purposes.
    ///
    /// # Errors
    /// As [`open`](Self::open); and a copy into it was not finished, or there is nothing to copy from.
    pub fn open_for(role: Role, path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        let cannot =
            |why: &dyn std::fmt::Display| StoreError::Unavailable(format!("cannot open the store {shown}: {why}"));
        let mut options = OpenOptions::new();
        // What is only copied from may be a file that we must not write to.
        let may_write = role != Role::CopyFrom;
        options.read(true).write(may_write).create(may_write).truncate(false);
        // Password hashes are nobody else's business; SQLite gives its other files the mode of this one.
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(path).map_err(|error| cannot(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(cannot(&"another server uses it")),
            Err(TryLockError::Error(error)) => return Err(cannot(&error)),
        }
        let lock = Lock(file);
        // SQLite takes a file of a few bytes for an empty database and writes over it.
        let mut head = Vec::new();
        (&lock.0).take(MAGIC.len() as u64).read_to_end(&mut head).map_err(|error| cannot(&error))?;
        if !head.is_empty() && head != MAGIC {
            return Err(StoreError::Corrupt(format!("cannot open the store {shown}: it is no SQLite database")));
        }
        let mut flags = OpenFlags::default();
        flags.set(OpenFlags::SQLITE_OPEN_CREATE, may_write);
        let db = Connection::open_with_flags(path, flags).map_err(|error| cannot(&error))?;
        let place = Place::of(path, &lock.0).map_err(|error| cannot(&error))?;
        let mut store = Self { db, _lock: lock, place };
        store.prepare(role).map_err(|error| cannot(&error))?;
        Ok(store)
    }

    fn prepare(&mut self, role: Role) -> Result<(), StoreError> {
        self.db.busy_timeout(BUSY_TIMEOUT)?;
        self.db.set_prepared_statement_cache_capacity(32);
        // Without it statements are planned anew whenever other values are bound to them.
        self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        self.check_owner()?;
        if role == Role::CopyFrom {
            check_current(self.version()?, MIGRATIONS.len())?;
            self.db.pragma_update(None, "query_only", true)?;
            return Ok(());
        }
        let make_marked = role == Role::CopyInto && self.version()? == 0;
        if make_marked {
            self.make_marked()?;
        }
        // WAL with FULL: a commit is one append and one sync, and on the disk before it is answered.
        self.db.pragma_update(None, "journal_mode", "WAL")?;
        self.db.pragma_update(None, "synchronous", "FULL")?;
        self.db.pragma_update(None, "temp_store", "MEMORY")?;
        self.db.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
        let cache_kib = if role == Role::CopyInto { COPY_CACHE_KIB } else { CACHE_KIB };
        self.db.pragma_update(None, "cache_size", -cache_kib)?;
        if make_marked { Ok(()) } else { self.migrate(MIGRATIONS) }
    }

    pub(super) fn version(&self) -> Result<i64, StoreError> {
        Ok(self.db.pragma_query_value(None, "user_version", |row| row.get(0))?)
    }

    /// Makes the tables and the mark of an unfinished copy at once, so that there never is a store without it.
    fn make_marked(&mut self) -> Result<(), StoreError> {
        let transaction = self.db.transaction()?;
        MIGRATIONS.iter().try_for_each(|step| transaction.execute_batch(step))?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", UNFINISHED)?;
        Ok(transaction.commit()?)
    }

    /// Refuses a file of another application before anything is written to it.
    fn check_owner(&self) -> Result<(), StoreError> {
        let number = |name: &str| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let tables: i64 = match self.db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)) {
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
            return Err(unfinished());
        }
        let known = MIGRATIONS.len() as i64;
        if version > known {
            let why = format!("it was written by a newer hongyan (schema {version}, this one knows {known})");
            return Err(StoreError::Corrupt(why));
        }
        Ok(())
    }

    /// Takes the steps that are missing, each in a transaction of its own.
    pub(super) fn migrate(&mut self, steps: &[&str]) -> Result<(), StoreError> {
        let version = self.version()?;
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
