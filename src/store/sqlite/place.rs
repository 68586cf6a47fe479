//! Is the file that is open still the one that stands under its name? One that was deleted or
//! replaced takes every write and keeps it until the last handle is closed: a process that opens
//! the name next finds none of it.

use crate::store::StoreError;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A place that was checked this recently is not checked again for a read.
const FRESH: Duration = Duration::from_millis(250);

/// Device and number on it: the same file, whatever its name.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(of: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (of.dev(), of.ino())
}

/// Elsewhere a file that is open cannot be deleted.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    (0, 0)
}

/// The file under this name; a link is not followed.
///
/// Linux is asked for the number alone. If times are asked for, the kernel gives the file a finer
/// time at its next write, and so each commit writes the inode, too: 5 to 8 % of the rate.
#[cfg(target_os = "linux")]
fn of_name(path: &Path) -> std::io::Result<Identity> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO)?;
    Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}

#[cfg(not(target_os = "linux"))]
fn of_name(path: &Path) -> std::io::Result<Identity> {
    path.symlink_metadata().map(|found| identity(&found))
}

/// The file that this name leads to.
fn behind_link(path: &Path) -> std::io::Result<Identity> {
    path.metadata().map(|found| identity(&found))
}

/// The names of the store's files, and what stood there when it was opened.
#[derive(Debug)]
pub(super) struct Place {
    /// As it was given, if there are links in it: so that one that leads elsewhere by now is
    /// noticed.
    link: Option<PathBuf>,
    /// The file that the path led to. SQLite keeps the log beside it, under that name: a file that
    /// was moved, with a link in its old place, is opened without its log at the next start.
    path: PathBuf,
    file: Identity,
    /// The write-ahead log: only it has the latest commits. And its index: another process that
    /// finds none does not know that the log is in use. Both are made by the first transaction, and
    /// stay.
    beside: [(PathBuf, Option<Identity>); 2],
    /// When all was well.
    seen: Option<Instant>,
}

impl Place {
    /// Of a file that is open, under the name under which it was opened.
    pub(super) fn of(path: &Path, file: &File) -> std::io::Result<Self> {
        // Beside the file itself, wherever a link to it stands.
        let real_path = std::fs::canonicalize(path)?;
        let link = (real_path != std::path::absolute(path)?).then(|| path.to_path_buf());
        let beside = ["-wal", "-shm"].map(|end| {
            let mut path = real_path.clone().into_os_string();
            path.push(end);
            (PathBuf::from(path), None)
        });
        let file = identity(&file.metadata()?);
        Ok(Self { link, path: real_path, file, beside, seen: None })
    }

    /// Three looks at the file system; nothing is opened, since closing it would end SQLite's
    /// locks.
    ///
    /// # Errors
    /// Which of the files is no longer there, and what to do.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        self.seen = None;
        // A link in its place is not the file.
        let found = look(&self.path, of_name)?;
        if found != Some(self.file) {
            return Err(gone(&self.path, found.is_some()));
        }
        if let Some(link) = &self.link {
            let found = look(link, behind_link)?;
            if found != Some(self.file) {
                return Err(gone(link, found.is_some()));
            }
        }
        for (path, known) in &mut self.beside {
            let found = look(path, of_name)?;
            if known.is_some() && found != *known {
                return Err(gone(path, found.is_some()));
            }
            *known = found;
        }
        self.seen = Some(Instant::now());
        Ok(())
    }

    /// The same, unless that was done a moment ago.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn check_now_and_then(&mut self) -> Result<(), StoreError> {
        match self.seen {
            Some(seen) if seen.elapsed() < FRESH => Ok(()),
            _ => self.check(),
        }
    }
}

fn look(path: &Path, how: fn(&Path) -> std::io::Result<Identity>) -> Result<Option<Identity>, StoreError> {
    match how(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(StoreError::Unavailable(format!("its file {} cannot be looked at: {error}", path.display()))),
    }
}

fn gone(path: &Path, is_replaced: bool) -> StoreError {
    let what = if is_replaced { "was replaced by another" } else { "was deleted or moved" };
    StoreError::Unavailable(format!(
        "its file {} {what} while the server uses it: nothing is promised until the same file is back; \
         to use what stands there now, start the server again",
        path.display()
    ))
}
