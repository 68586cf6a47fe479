//! Checks that the open file still has its name. A file that was deleted or replaced still takes
//! writes, but they are lost when the last handle is closed: a process that opens the name later
//! does not find them.

use crate::store::StoreError;
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A place that was checked this recently is not checked again for a read.
const FRESH: Duration = Duration::from_millis(250);

/// Device and inode number: they identify a file, whatever its name.
type FileIdentity = (u64, u64);

#[cfg(unix)]
fn identity(of: &Metadata) -> FileIdentity {
    use std::os::unix::fs::MetadataExt;
    (of.dev(), of.ino())
}

/// On other systems an open file cannot be deleted.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> FileIdentity {
    (0, 0)
}

/// The identity of the file with this name. A link is not followed.
///
/// Linux is asked for the inode number only. If times are requested, the kernel stores a finer time
/// at the next write, so that each commit also writes the inode: that costs 5 to 8 % of the rate.
#[cfg(target_os = "linux")]
fn of_name(path: &Path) -> std::io::Result<FileIdentity> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO)?;
    Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino))
}

#[cfg(not(target_os = "linux"))]
fn of_name(path: &Path) -> std::io::Result<FileIdentity> {
    path.symlink_metadata().map(|found| identity(&found))
}

/// The identity of the file to which this name leads.
fn behind_link(path: &Path) -> std::io::Result<FileIdentity> {
    path.metadata().map(|found| identity(&found))
}

/// The names of the store's files, and their identities when the store was opened.
#[derive(Debug)]
pub(super) struct StoreFiles {
    /// The path as it was given, if it has links: to notice a link that leads elsewhere by now.
    link: Option<PathBuf>,
    /// The path of the file itself. SQLite keeps the log beside it: if the file was moved and
    /// replaced by a link, the next start would open it without its log.
    path: PathBuf,
    file: FileIdentity,
    /// The write-ahead log, which alone has the latest commits, and its index, by which other
    /// processes know that the log is in use. Both are created by the first transaction and stay.
    wal_files: [(PathBuf, Option<FileIdentity>); 2],
    /// When the last check succeeded.
    checked_at: Option<Instant>,
}

impl StoreFiles {
    /// The place of an open file, which was opened by this path.
    pub(super) fn of(path: &Path, file: &File) -> std::io::Result<Self> {
        // The other files are beside the file itself, not beside a link to it.
        let real_path = std::fs::canonicalize(path)?;
        let link = (real_path != std::path::absolute(path)?).then(|| path.to_path_buf());
        let wal_files = ["-wal", "-shm"].map(|end| {
            let mut path = real_path.clone().into_os_string();
            path.push(end);
            (PathBuf::from(path), None)
        });
        let file = identity(&file.metadata()?);
        Ok(Self { link, path: real_path, file, wal_files, checked_at: None })
    }

    /// Checks the three files by name. Nothing is opened, because closing it would release SQLite's
    /// locks.
    ///
    /// # Errors
    /// Which of the files is missing, and what to do.
    pub(super) fn check(&mut self) -> Result<(), StoreError> {
        self.checked_at = None;
        // A link in its place does not count as the file.
        let found = identity_at(&self.path, of_name)?;
        if found != Some(self.file) {
            return Err(gone_error(&self.path, found.is_some()));
        }
        if let Some(link) = &self.link {
            let found = identity_at(link, behind_link)?;
            if found != Some(self.file) {
                return Err(gone_error(link, found.is_some()));
            }
        }
        for (path, known) in &mut self.wal_files {
            let found = identity_at(path, of_name)?;
            if known.is_some() && found != *known {
                return Err(gone_error(path, found.is_some()));
            }
            *known = found;
        }
        self.checked_at = Some(Instant::now());
        Ok(())
    }

    /// Like [`check`](Self::check), unless the last check is less than [`FRESH`] ago.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub(super) fn check_if_due(&mut self) -> Result<(), StoreError> {
        match self.checked_at {
            Some(seen) if seen.elapsed() < FRESH => Ok(()),
            _ => self.check(),
        }
    }
}

fn identity_at(
    path: &Path,
    how: fn(&Path) -> std::io::Result<FileIdentity>,
) -> Result<Option<FileIdentity>, StoreError> {
    match how(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(StoreError::Unavailable(format!("its file {} cannot be looked at: {error}", path.display()))),
    }
}

fn gone_error(path: &Path, is_replaced: bool) -> StoreError {
    let what = if is_replaced { "was replaced by another" } else { "was deleted or moved" };
    StoreError::Unavailable(format!(
        "its file {} {what} while the server uses it: nothing is promised until the same file is back; \
         to use what stands there now, start the server again",
        path.display()
    ))
}
