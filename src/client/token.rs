//! Where a resume token is kept between two runs of a program.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// A token has 43 characters; a file that is much larger holds none.
const TOKEN_BYTES_MAX: u64 = 1_024;

/// Keeps one resume token of one user. A token is as good as the password for 30 days: nobody else
/// may read it.
pub trait TokenStore: Send {
    /// The token that was kept, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    fn load(&mut self) -> io::Result<Option<String>>;

    /// Keeps a token, instead of the one before.
    ///
    /// # Errors
    /// It cannot be written.
    fn save(&mut self, token: &str) -> io::Result<()>;

    /// Forgets it.
    ///
    /// # Errors
    /// It cannot be removed.
    fn forget(&mut self) -> io::Result<()>;
}

/// A token in a file that only its owner may read (mode 0600). A new token is written beside the
/// old one and takes its place at once.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// The file; it need not be there yet, its folder must.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl TokenStore for TokenFile {
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

    fn forget(&mut self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Writes a file that only its owner may read, beside its place first: a reader finds the old one
/// or the new one, whole. It is on the disk when this returns. For whatever a client keeps beside
/// its token.
///
/// # Errors
/// It cannot be written, or is perhaps not on the disk.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // A file that a process of the same number left behind is of no use to anybody.
    if let Err(error) = fs::remove_file(&beside)
        && error.kind() != ErrorKind::NotFound
    {
        return Err(error);
    }
    let mut file = options.open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to tell.
        fs::remove_file(&beside).ok();
    }
    written.and_then(|()| sync_folder_of(path))
}

/// Makes the new name outlive a crash of the machine.
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
        let mut file = TokenFile::new(&path);
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
        file.forget().unwrap();
        file.forget().unwrap();
        assert_eq!(file.load().unwrap(), None);
    }

    #[test]
    fn a_file_that_cannot_be_written_says_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(TokenFile::new(folder.path().join("no folder/token")).save("one").is_err());
        assert!(TokenFile::new(folder.path()).load().is_err());
    }
}
