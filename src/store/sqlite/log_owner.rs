//! Checks for which file a write-ahead log was written. SQLite applies any complete log beside a
//! file, even if it was written for another file: a backup that replaced a store whose log was left
//! there would be ruined.

use crate::error_text::without_number;
use crate::store::StoreError;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;

/// The largest part of a log that is read, in bytes.
pub(super) const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The magic number of a log; the last bit gives the byte order of its checksums.
const MAGIC: u32 = 0x377F_0682;

pub(super) fn number(bytes: &[u8], at: usize) -> u32 {
    let mut four = [0; 4];
    four.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(four)
}

/// The database header of a file (SQLite's file format, §1.3).
pub(super) struct DatabaseHeader {
    pub(super) page_bytes: usize,
    /// The file is marked as used with a write-ahead log.
    has_log: bool,
    /// The change counter, which grows when page 1 is written.
    pub(super) changes: u32,
}

impl DatabaseHeader {
    pub(super) fn of(page: &[u8; 100]) -> Self {
        let page_bytes = match u16::from_be_bytes([page[16], page[17]]) {
            1 => 65_536,
            bytes => bytes.into(),
        };
        Self { page_bytes, has_log: page[18] == 2 && page[19] == 2, changes: number(page, 24) }
    }
}

/// The running checksum of a log.
struct SqliteWalChecksum {
    is_big_endian: bool,
    sums: [u32; 2],
}

impl SqliteWalChecksum {
    fn add(&mut self, bytes: &[u8]) {
        let word = |four: &[u8]| {
            let value = number(four, 0);
            if self.is_big_endian { value } else { value.swap_bytes() }
        };
        let [mut one, mut other] = self.sums;
        for pair in bytes.chunks_exact(8) {
            one = one.wrapping_add(word(&pair[..4])).wrapping_add(other);
            other = other.wrapping_add(word(&pair[4..])).wrapping_add(one);
        }
        self.sums = [one, other];
    }

    fn matches(&self, bytes: &[u8], at: usize) -> bool {
        self.sums == [number(bytes, at), number(bytes, at + 4)]
    }
}

/// The committed part of a log: the size of its pages, and the change counter in the first page 1
/// in it. `None`: nothing is committed, and SQLite ignores the log.
fn committed(log: impl Read) -> std::io::Result<Option<(usize, Option<u32>)>> {
    let mut log = BufReader::new(log.take(LOG_BYTES_MAX));
    let mut head = [0; 32];
    if !read_all(&mut log, &mut head)? || number(&head, 0) & !1 != MAGIC {
        return Ok(None);
    }
    let mut sum = SqliteWalChecksum { is_big_endian: number(&head, 0) & 1 == 1, sums: [0; 2] };
    sum.add(&head[..24]);
    let page_bytes = number(&head, 8) as usize;
    if !sum.matches(&head, 24) || !page_bytes.is_power_of_two() || !(512..=65_536).contains(&page_bytes) {
        return Ok(None);
    }
    let (mut frame, mut page) = ([0; 24], vec![0; page_bytes]);
    let (mut is_committed, mut changes) = (false, None);
    while read_all(&mut log, &mut frame)? && read_all(&mut log, &mut page)? {
        sum.add(&frame[..8]);
        sum.add(&page);
        // The rest belongs to an older log.
        if frame[8..16] != head[16..24] || !sum.matches(&frame, 16) {
            break;
        }
        if number(&frame, 0) == 1 && changes.is_none() {
            changes = Some(number(&page, 24));
        }
        is_committed |= number(&frame, 4) > 0;
        if is_committed && changes.is_some() {
            break;
        }
    }
    Ok(is_committed.then_some((page_bytes, changes)))
}

/// Fills the buffer; `false`: there are fewer bytes.
pub(super) fn read_all(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses a log that was written for another file, as far as that can be detected: neither file
/// names the other.
///
/// # Errors
/// The log belongs to another file, or cannot be read.
pub(super) fn check(mut file: &File, log_path: &Path) -> Result<(), StoreError> {
    let unavailable = |error: std::io::Error| StoreError::Unavailable(without_number(&error));
    if log_path.metadata().is_ok_and(|found| !found.is_file()) {
        // Opening a pipe could block for ever.
        return Err(StoreError::Unavailable(format!("{} is no file", log_path.display())));
    }
    let log = match File::open(log_path) {
        Ok(log) => log,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unavailable(error)),
    };
    let mut page = [0; 100];
    file.seek(SeekFrom::Start(0)).map_err(unavailable)?;
    if !read_all(&mut file, &mut page).map_err(unavailable)? {
        return Ok(());
    }
    let Some((page_bytes, changes)) = committed(log).map_err(unavailable)? else {
        return Ok(());
    };
    let head = DatabaseHeader::of(&page);
    // A file is marked before its log is begun, and unmarked after the log is deleted: so backups
    // and closed stores are not marked. And the file has everything from before the log was begun,
    // so the log continues its change counter.
    let is_older = changes.is_some_and(|changes| changes > head.changes.saturating_add(1));
    if head.has_log && head.page_bytes == page_bytes && !is_older {
        return Ok(());
    }
    let name = log_path.file_name().unwrap_or_default().to_string_lossy();
    Err(StoreError::Unavailable(format!(
        "{name} beside it was written for another file, and would ruin this one: move {name} away, or put the file back that it \
         belongs to"
    )))
}

#[cfg(test)]
mod tests;
