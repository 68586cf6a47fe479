//! Files that people write: a configuration, a certificate, a key.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// The largest size of such a file, in bytes: a larger one was surely named by mistake.
const BYTES_MAX: u64 = 1 << 20;

/// Reads a regular file of at most 1 MiB. Anything else (a pipe, a device) could block the reader
/// for ever, or never end.
///
/// # Errors
/// The end of a sentence that says what is wrong.
pub fn read_file(path: &Path) -> Result<(Vec<u8>, Metadata), String> {
    let of_system = |error: io::Error| reading_error_text(&error);
    // Check before opening: opening a pipe would wait for its other end.
    check_kind(&path.metadata().map_err(of_system)?)?;
    let file = File::open(path).map_err(of_system)?;
    let data = file.metadata().map_err(of_system)?;
    check_kind(&data)?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(of_system)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err("it is larger than 1 MiB".to_owned());
    }
    Ok((bytes, data))
}

fn check_kind(data: &Metadata) -> Result<(), String> {
    match () {
        () if data.is_dir() => Err("it is a folder".to_owned()),
        () if !data.is_file() => Err("it is not a regular file".to_owned()),
        () => Ok(()),
    }
}

/// The reason why a file cannot be read: for a usual cause in our words.
fn reading_error_text(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let why = |path: &Path| read_file(path).unwrap_err();
        assert_eq!(why(Path::new("/dev/zero")), "it is not a regular file");
        assert_eq!(why(folder.path()), "it is a folder");
        assert_eq!(why(&folder.path().join("nowhere")), "there is no such file");
        let path = folder.path().join("large");
        let file = File::create(&path).unwrap();
        for (bytes, is_read) in [(BYTES_MAX, true), (BYTES_MAX + 1, false), (1 << 40, false)] {
            file.set_len(bytes).unwrap();
            assert_eq!(read_file(&path).is_ok(), is_read, "{bytes}");
        }
    }
}
