//! Stores a resume token between two runs of a program.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// A token has 43 characters; a file that is much larger cannot be a token file.
const TOKEN_BYTES_MAX: u64 = 1_024;

/// Stores one resume token of one user. For 30 days a token can be used in place of the password,
/// so nobody else may read it.
pub trait ResumeTokenStore: Send {
    /// Returns the stored token, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    fn load(&mut self) -> io::Result<Option<String>>;

    /// Stores a token in place of the previous one.
    ///
    /// # Errors
    /// It cannot be written.
    fn save(&mut self, token: &str) -> io::Result<()>;

    /// Removes the stored token.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&mut self) -> io::Result<()>;
}

/// A token in a file that only its owner may read (mode 0600). A new token is written to another
/// file in the same folder, which then replaces the old one atomically.
#[derive(Clone, Debug)]
pub struct ResumeTokenFile {
    path: PathBuf,
}

impl ResumeTokenFile {
    /// A store in this file. The file need not exist yet; its folder must.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl ResumeTokenStore for ResumeTokenFile {
    fn load(&mut self) -> io::Result<Option<String>> {
        let file = match fs::File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut text = String::new();
        file.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
        Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty()))
    }

    fn save(&mut self, token: &str) -> io::Result<()> {
        write_private(&self.path, format!("{token}\n").as_bytes())
    }

    fn remove(&mut self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Writes a file that only its owner may read. It is first written under another name and then
/// renamed, so a reader finds either the complete old file or the complete new one. It is on the
/// disk when this returns. A client can use this also for files other than its token.
///
/// # Errors
/// It cannot be written, or may not be on the disk.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // An earlier process with the same process id may have left this file behind. It is of no use.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = options.open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one that is returned.
        fs::remove_file(&beside).ok();
    }
    written.and_then(|()| sync_folder_of(path))
}

/// Writes the folder to the disk, so that the new name survives a crash of the machine.
#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let mut file = ResumeTokenFile::new(&path);
        assert_eq!(file.load().unwrap(), None);
        file.save("one").unwrap();
        file.save("two").unwrap();
        assert_eq!(file.load().unwrap().as_deref(), Some("two"));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    #[test]
    fn a_file_that_cannot_be_written_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(ResumeTokenFile::new(folder.path().join("no folder/token")).save("one").is_err());
        assert!(ResumeTokenFile::new(folder.path()).load().is_err());
    }
}
