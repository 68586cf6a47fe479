//! Checks for which file a rollback journal was written. SQLite takes any complete journal beside a
//! file for the rest of an interrupted change, even if it was written for another file, and writes
//! its pages into this one.
//!
//! A store in use has a write-ahead log, and a journal only for the moment in which the log is
//! begun or given up. Other programs may leave one when they write to a store that no server uses.

use super::log_owner::{DatabaseHeader, LOG_BYTES_MAX, number, read_all};
use crate::error_text::without_number;
use crate::store::StoreError;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// The first bytes of a journal's header (SQLite's file format, §3).
const MAGIC: [u8; 8] = [0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7];
const HEADER_BYTES: usize = 28;
/// The size of the database header at the beginning of the first page.
const HEAD_BYTES: usize = 100;
/// The ranges of the header that change when the write-ahead log is begun or given up: the mode,
/// the change counter, and the version-valid-for counter with SQLite's version.
const CHANGED: [Range<usize>; 3] = [18..20, 24..28, 92..100];
/// This number of records means: up to the end of the journal.
const ALL: u32 = u32::MAX;

/// The file before the change, as the journal describes it.
struct SqliteRollbackJournal {
    page_bytes: usize,
    pages: u32,
    /// The beginning of its first page, if the journal has that page.
    first_page: Option<[u8; HEAD_BYTES]>,
    /// The journal has at least one page.
    has_pages: bool,
}

impl SqliteRollbackJournal {
    /// Reads a journal; `None`: SQLite ignores it.
    fn read(journal: impl Read) -> std::io::Result<Option<Self>> {
        let mut journal = BufReader::new(journal.take(LOG_BYTES_MAX));
        let mut header = [0; HEADER_BYTES];
        if !read_all(&mut journal, &mut header)? || header[..8] != MAGIC {
            return Ok(None);
        }
        let (sector_bytes, page_bytes) = (number(&header, 20) as usize, number(&header, 24) as usize);
        let is_size = |bytes: usize, from: usize| bytes.is_power_of_two() && (from..=65_536).contains(&bytes);
        if !is_size(sector_bytes, 32) || !is_size(page_bytes, 512) {
            return Ok(None);
        }
        let mut before = Self { page_bytes, pages: number(&header, 16), first_page: None, has_pages: false };
        // A record: the number of a page, the page, and a checksum.
        let mut record = vec![0; 4 + page_bytes + 4];
        let mut gap = vec![0; sector_bytes];
        loop {
            // The header fills a sector, and the records are followed by padding to the end of
            // theirs.
            if !read_all(&mut journal, &mut gap[HEADER_BYTES..])? {
                return Ok(Some(before));
            }
            let records = number(&header, 8);
            let mut bytes = 0;
            for _ in 0..records {
                if !read_all(&mut journal, &mut record)? {
                    return Ok(Some(before));
                }
                bytes += record.len();
                before.has_pages = true;
                if number(&record, 0) == 1 {
                    before.first_page = record[4..].first_chunk().copied();
                    return Ok(Some(before));
                }
            }
            let rest = bytes.next_multiple_of(sector_bytes) - bytes;
            if records == ALL
                || !read_all(&mut journal, &mut gap[..rest])?
                || !read_all(&mut journal, &mut header)?
                || header[..8] != MAGIC
            {
                return Ok(Some(before));
            }
        }
    }

    /// May the journal belong to a file with this beginning and this size in bytes?
    fn may_belong_to(&self, page: &[u8; HEAD_BYTES], file_bytes: u64) -> bool {
        let head = DatabaseHeader::of(page);
        let file_pages = file_bytes / head.page_bytes.max(1) as u64;
        if self.pages == 0 {
            // The file was empty.
            return head.changes <= 1;
        }
        // A file shrinks only at the end of a change.
        if self.page_bytes != head.page_bytes || file_pages < self.pages.into() {
            return false;
        }
        match &self.first_page {
            // The file is in the state before the change or after it.
            Some(first) => {
                page == first
                    || (head.changes == DatabaseHeader::of(first).changes.wrapping_add(1) && is_same_page(page, first))
            }
            // The journal would only truncate the file to its present size.
            None => !self.has_pages && file_pages == u64::from(self.pages),
        }
    }
}

/// Are the two equal, apart from the ranges that change with the mode?
fn is_same_page(page: &[u8; HEAD_BYTES], first: &[u8; HEAD_BYTES]) -> bool {
    (0..HEAD_BYTES).all(|at| page[at] == first[at] || CHANGED.iter().any(|range| range.contains(&at)))
}

/// Refuses a journal that does not show that it was written for this file.
///
/// # Errors
/// The journal may belong to another file, or cannot be read.
pub(super) fn check(mut file: &File, journal_path: &Path) -> Result<(), StoreError> {
    let unavailable = |error: std::io::Error| StoreError::Unavailable(without_number(&error));
    if journal_path.metadata().is_ok_and(|found| !found.is_file()) {
        // Opening a pipe could block for ever.
        return Err(StoreError::Unavailable(format!("{} is no file", journal_path.display())));
    }
    let journal = match File::open(journal_path) {
        Ok(journal) => journal,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unavailable(error)),
    };
    let mut page = [0; HEAD_BYTES];
    file.seek(SeekFrom::Start(0)).map_err(unavailable)?;
    if !read_all(&mut file, &mut page).map_err(unavailable)? {
        // SQLite deletes a journal beside an empty file.
        return Ok(());
    }
    let file_bytes = file.metadata().map_err(unavailable)?.len();
    let before = SqliteRollbackJournal::read(journal).map_err(unavailable)?;
    if before.is_none_or(|before| before.may_belong_to(&page, file_bytes)) {
        return Ok(());
    }
    let name = journal_path.file_name().unwrap_or_default().to_string_lossy();
    Err(StoreError::Unavailable(format!(
        "{name} beside it does not show that it was written for this file, and would ruin another one: move {name} away; or, if \
         a program like sqlite3 was cut off while it wrote to this very file, open it with that program once"
    )))
}

#[cfg(test)]
mod tests;
