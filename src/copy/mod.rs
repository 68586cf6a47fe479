//! `hongyan copy`: moves a whole store into an empty one, of the same kind or another, and verifies
//! it.
//!
//! The target is marked before the first record is written, and the mark goes away after the last
//! one was compared: if a copy ends before that, no server starts on its target, and no copy
//! continues it.

pub mod progress;
mod transfer;

use crate::config::StoreUrl;
use crate::config::command::CopyArgs;
use crate::store::StoreError;
use crate::store::mysql::{MysqlConnector, MysqlCopyStore};
use crate::store::portable::{CopyTableSchema, CopyableStore, StoreOpenMode};
use crate::store::sqlite::SqliteStore;
use progress::{CopyProgress, ProgressStyle};
use signal_hook::flag;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use transfer::{ProgressAndStop, StoreWithUrl, count, transfer};

const NO_MEMORY: &str = "cannot copy memory: it is there only inside its own server, and gone with it";

/// Copies as the whole process: progress goes to `stderr` (which must not block), the result to
/// stdout; signals end it between two pages.
///
/// # Errors
/// One sentence.
pub fn run<W: Write + Clone>(order: &CopyArgs, mut stderr: W, signals: &[i32]) -> Result<(), String> {
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in signals {
        // The second one ends the process at once: a store may have stopped answering.
        flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let columns = std::env::var("COLUMNS").ok();
    let style = if io::stderr().is_terminal() { ProgressStyle::bar(columns.as_deref()) } else { ProgressStyle::Lines };
    let began = Instant::now();
    let copied = copy(&order.from, &order.to, &mut CopyProgress::new(stderr.clone(), style), &stop)?;
    // The work is done: from here on the first signal ends the process, for example if nobody reads
    // stdout.
    stop.store(true, Ordering::Release);
    let mut said = String::new();
    let mut total = 0;
    for (table, count) in &copied {
        total += count;
        // Writing into a String cannot fail.
        writeln!(said, "{}: {count}, verified", table.display_name()).unwrap_or(());
    }
    let took = began.elapsed().as_secs_f64();
    writeln!(said, "copied {total} records from {} to {} in {took:.1} s", order.from, order.to).unwrap_or(());
    // If stdout is closed, the exit status tells the result.
    io::stdout().write_all(said.as_bytes()).unwrap_or(());
    if let StoreUrl::Sqlite(path) = &order.to
        && let Some(warning) = wrong_owner(path)
    {
        // It does not matter if stderr is closed.
        writeln!(stderr, "hongyan: {warning}").unwrap_or(());
    }
    Ok(())
}

/// The warning about a file that belongs to root in the folder of another user, such as the
/// server's user, who could not open it.
#[cfg(unix)]
fn wrong_owner(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let is_of_root = |path: &Path| path.metadata().map(|data| data.uid() == 0).ok();
    (is_of_root(path)? && !is_of_root(folder)?).then(|| {
        let (path, folder) = (path.display(), folder.display());
        format!("{path} belongs to root, and a server that runs as the owner of {folder} cannot open it: chown --reference={folder} {path}")
    })
}

#[cfg(not(unix))]
fn wrong_owner(_: &Path) -> Option<String> {
    None
}

/// Copies all that is in one store into another, which is made if it is not there. Gives the number
/// of records of each kind once all of them were compared. Setting `stop` ends it between two
/// pages.
///
/// # Errors
/// One sentence, which also says whether the target is unchanged or marked as unfinished.
pub fn copy<W: Write>(
    from: &StoreUrl,
    to: &StoreUrl,
    progress: &mut CopyProgress<W>,
    stop: &AtomicBool,
) -> Result<Vec<(&'static CopyTableSchema, u64)>, String> {
    // Check before anything is opened or created.
    if [from, to].contains(&&StoreUrl::Memory) {
        return Err(NO_MEMORY.to_owned());
    }
    let (source, target) = open_both(from, to)?;
    let (mut source, mut target) = (StoreWithUrl { url: from, store: source }, StoreWithUrl { url: to, store: target });
    let mut found = count(&mut target)?;
    found.retain(|(_, rows)| *rows > 0);
    if !found.is_empty() {
        let found: Vec<_> = found.iter().map(|(table, rows)| format!("{}: {rows}", table.display_name())).collect();
        let found = found.join(", ");
        return Err(format!("cannot copy into {to}: it is not empty ({found}); a copy needs an empty store"));
    }
    target.store.mark_unfinished().map_err(|error| format!("cannot write to {to}: {error}"))?;
    let copied = transfer(&mut source, &mut target, &mut ProgressAndStop { progress, stop }).and_then(|copied| {
        // If a lock was lost, another process may have written to the store.
        for place in [&mut source, &mut target] {
            place.store.check_lock().map_err(|error| format!("cannot trust the copy: {}: {error}", place.url))?;
        }
        Ok(copied)
    });
    let copied = copied.map_err(|why| {
        format!("{why}; {to} has only a part of the store, and no server starts on it: {}", removal_hint(to))
    })?;
    target.store.unmark().map_err(|error| {
        format!("all is copied and the same, but {to} may still be marked as unfinished: {error}; {}", removal_hint(to))
    })?;
    Ok(copied)
}

/// The way to remove a target that was not finished, as a sentence.
fn removal_hint(url: &StoreUrl) -> String {
    match url {
        StoreUrl::Sqlite(path) => {
            let path = path.display();
            format!("delete {path} (and {path}-wal and {path}-shm, if they are there) and copy again")
        }
        StoreUrl::Mysql(_) | StoreUrl::Memory => "drop the database, make it again and copy again".to_owned(),
    }
}

type CopySourceAndTarget = (Box<dyn CopyableStore>, Box<dyn CopyableStore>);

/// Opens the source first: if it cannot be used, no target is created.
fn open_both(from: &StoreUrl, to: &StoreUrl) -> Result<CopySourceAndTarget, String> {
    let source_error = |error: StoreError| format!("cannot copy from {from}: {error}");
    let target_error = |error: StoreError| format!("cannot copy into {to}: {error}");
    let same = || format!("cannot copy: {from} and {to} are the same store");
    let mut source_server = None;
    let source: Box<dyn CopyableStore> = match from {
        StoreUrl::Sqlite(path) => {
            if matches!(to, StoreUrl::Sqlite(other) if same_file(path, other)) {
                return Err(same());
            }
            Box::new(SqliteStore::open_for(StoreOpenMode::CopyFrom, path).map_err(source_error)?)
        }
        StoreUrl::Mysql(url) => {
            let server = MysqlConnector::new_for(StoreOpenMode::CopyFrom, url).map_err(source_error)?;
            source_server = Some(server.clone());
            Box::new(MysqlCopyStore::open(server).map_err(source_error)?)
        }
        StoreUrl::Memory => return Err(NO_MEMORY.to_owned()),
    };
    let target: Box<dyn CopyableStore> = match to {
        StoreUrl::Sqlite(path) => Box::new(SqliteStore::open_for(StoreOpenMode::CopyInto, path).map_err(target_error)?),
        StoreUrl::Mysql(url) => {
            let server = MysqlConnector::new_for(StoreOpenMode::CopyInto, url).map_err(target_error)?;
            if let Some(source) = source_server
                && source.is_same_database(&server).map_err(target_error)?
            {
                return Err(same());
            }
            Box::new(MysqlCopyStore::open(server).map_err(target_error)?)
        }
        StoreUrl::Memory => return Err(NO_MEMORY.to_owned()),
    };
    Ok((source, target))
}

/// Do two paths lead to one file, by whatever links?
fn same_file(one: &Path, other: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let file = |path: &Path| path.metadata().map(|data| (data.dev(), data.ino())).ok();
        file(one).is_some_and(|one| Some(one) == file(other))
    }
    #[cfg(not(unix))]
    {
        one.canonicalize().ok().is_some_and(|one| Some(one) == other.canonicalize().ok())
    }
}
