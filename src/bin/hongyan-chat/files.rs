//! Where a user's files are, and how they are written: readable by the user only, and either
//! completely or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The maximum length of a file with one secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The folder of one user on one server.
#[derive(Clone, Debug)]
pub(crate) struct ChatUserDataDir {
    path: PathBuf,
}

impl ChatUserDataDir {
    /// Opens the folder; creates it if it does not exist.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn open(base: &Path, server: &str, user: &str) -> Result<Self, String> {
        let path = base.join(as_file_name(server)).join(as_file_name(user));
        create_folder(&path).map_err(|error| format!("cannot make the folder {}: {error}", path.display()))?;
        Ok(Self { path })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Locks the folder against other processes, for as long as the returned file is open.
    ///
    /// # Errors
    /// One sentence, also when another process holds the lock.
    pub(crate) fn lock(&self) -> Result<File, String> {
        let path = self.file("lock");
        let cannot = |error: io::Error| format!("cannot lock {}: {error}", path.display());
        let file = owner_only(OpenOptions::new().create(true).append(true)).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                let path = self.path.display();
                Err(format!(
                    "another hongyan chat or listen of this user uses {path}: leave it first, a chat with Ctrl-Q"
                ))
            }
            Err(fs::TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

/// `$XDG_DATA_HOME/hongyan`, or `~/.local/share/hongyan`.
///
/// # Errors
/// One sentence, when neither is known.
pub(crate) fn default_base(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<PathBuf, String> {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // A relative path is to be ignored, as the XDG specification says.
    let data = given("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let data = data.or_else(|| given("HOME").map(|home| home.join(".local/share")));
    data.map(|data| data.join("hongyan")).ok_or_else(|| "neither HOME nor --data says where files belong".to_owned())
}

/// A file name for any text. Different texts get different names.
fn as_file_name(text: &str) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        match byte {
            // Some file systems do not distinguish capitals from small letters.
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if !name.is_empty() => name.push('.'),
            other => name.push_str(&format!("%{other:02x}")),
        }
    }
    // A file name has at most 255 bytes; a user name has up to 256, and each may become three.
    if name.len() > 200 {
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        name.truncate(120);
        name.push('%');
        name.extend(digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")));
    }
    name
}

#[cfg(unix)]
fn create_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Makes the created file accessible to its owner only.
pub(crate) fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// Writes a new file; fails if it exists.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = owner_only(OpenOptions::new().create_new(true).write(true)).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    sync_folder_of(path)
}

#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The first line of a file: a password or a passphrase.
///
/// # Errors
/// One sentence, without what is in the file.
pub(crate) fn read_secret(path: &Path) -> Result<String, String> {
    let cannot = |why: &str| format!("cannot read the password in {}: {why}", path.display());
    let file = File::open(path).map_err(|error| cannot(&error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| cannot(&error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| cannot("it is not valid UTF-8"))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(cannot("its first line is empty")) } else { Ok(line.to_owned()) }
}

/// Reads a whole file; `None` if it does not exist. A file larger than the limit is an error.
pub(crate) fn read_up_to(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {bytes_max} bytes")));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_file_of_its_own() {
        let names = ["ann", "Ann", "a/nn", "../ann", "..", ".", "an%6e", "鸿", "a b", "tcp://h:1", ""];
        let files: Vec<String> = names.iter().map(|name| as_file_name(name)).collect();
        for (at, file) in files.iter().enumerate() {
            assert!(!file.contains(['/', '\\', '\0']) && file != ".." && file != ".", "{file}");
            assert!(!files[..at].contains(file), "{file}");
        }
        let (one, other) = ("鸿".repeat(64) + "a", "鸿".repeat(64) + "b");
        assert!(as_file_name(&one).len() < 255 && as_file_name(&one) != as_file_name(&other));
    }

    #[cfg(unix)]
    #[test]
    fn files_and_folders_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let base = tempfile::tempdir().unwrap();
        let folder = ChatUserDataDir::open(&base.path().join("new"), "tcp://127.0.0.1:1102", "ann").unwrap();
        let file = folder.file("pins.json");
        create(&file, b"one").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&folder.path)), (0o600, 0o700));
        assert!(create(&file, b"two").is_err(), "it is there");
        assert_eq!(fs::read(&file).unwrap(), b"one");
    }

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let base = tempfile::tempdir().unwrap();
        let folder = ChatUserDataDir::open(base.path(), "s", "ann").unwrap();
        let lock = folder.lock().unwrap();
        assert!(folder.lock().unwrap_err().contains("Ctrl-Q"));
        drop(lock);
        folder.lock().unwrap();
    }

    #[test]
    fn a_secret_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        for (bytes, secret) in
            [(&b"geheim\n"[..], Some("geheim")), (b"a b\r\nc", Some("a b")), (b"\nx", None), (b"\xff", None)]
        {
            fs::write(&file, bytes).unwrap();
            assert_eq!(read_secret(&file).ok().as_deref(), secret);
        }
        assert!(read_secret(&folder.path().join("none")).unwrap_err().contains("none"));
    }

    #[test]
    fn the_folder_is_where_the_system_keeps_data() {
        let of = |xdg: &'static str, home: &'static str| {
            default_base(move |name| Some(if name == "HOME" { home } else { xdg }.into()))
        };
        assert_eq!(of("/data", "/home/ann").unwrap(), Path::new("/data/hongyan"));
        assert_eq!(of("data", "/home/ann").unwrap(), Path::new("/home/ann/.local/share/hongyan"));
        assert!(of("", "").is_err());
    }
}
