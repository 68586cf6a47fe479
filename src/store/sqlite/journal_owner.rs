//! Whose rollback journal lies beside the file? SQLite takes any that looks whole for the rest of a
//! change that was cut off, whatever file it was written for, and puts its pages into this one.
//!
//! A store in use has a write-ahead log, and such a journal only for the moment in which the log is
//! begun or given up; other programs may have one when they write to a store that nobody uses.

use super::log_owner::{Head, LOG_BYTES_MAX, number, read_all};
use crate::store::{StoreError, plain};
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// How the header of a journal begins (SQLite's file format, §3).
const MAGIC: [u8; 8] = [0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7];
const HEADER_BYTES: usize = 28;
/// What the first page of a file says about it.
const HEAD_BYTES: usize = 100;
/// Of these bytes a change that begins or gives up the write-ahead log changes some: the mode, the
/// counter of changes, and the one for which the size stands, with SQLite's version.
const CHANGED: [Range<usize>; 3] = [18..20, 24..28, 92..100];
/// In the place of the number of records: up to the end of the journal.
const ALL: u32 = u32::MAX;

/// What a journal says of the file before the change.
struct Before {
    page_bytes: usize,
    pages: u32,
    /// How its first page began, if that is in the journal.
    first: Option<[u8; HEAD_BYTES]>,
    /// Does it hold any page at all?
    has_pages: bool,
}

impl Before {
    /// `None`: SQLite passes it over.
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
        let mut before = Self { page_bytes, pages: number(&header, 16), first: None, has_pages: false };
        // The number of a page, the page, and a sum.
        let mut record = vec![0; 4 + page_bytes + 4];
        let mut gap = vec![0; sector_bytes];
        loop {
            // The header fills a sector, and so do the records with what is left of their last one.
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
                    before.first = record[4..].first_chunk().copied();
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

    /// May it have been written for the file that begins so and has so many bytes?
    fn is_of(&self, page: &[u8; HEAD_BYTES], file_bytes: u64) -> bool {
        let head = Head::of(page);
        let file_pages = file_bytes / head.page_bytes.max(1) as u64;
        if self.pages == 0 {
            // The file was empty.
            return head.changes <= 1;
        }
        // A file shrinks only when the change is over.
        if self.page_bytes != head.page_bytes || file_pages < self.pages.into() {
            return false;
        }
        match &self.first {
            // As it was before, or with the change.
            Some(first) => {
                page == first || (head.changes == Head::of(first).changes.wrapping_add(1) && is_like(page, first))
            }
            // It only cuts the file to the size that it has.
            None => !self.has_pages && file_pages == u64::from(self.pages),
        }
    }
}

/// Are they the same, but for what changes with the mode?
fn is_like(page: &[u8; HEAD_BYTES], first: &[u8; HEAD_BYTES]) -> bool {
    (0..HEAD_BYTES).all(|at| page[at] == first[at] || CHANGED.iter().any(|range| range.contains(&at)))
}

/// Refuses a journal that does not show that it was written for this file.
///
/// # Errors
/// It may belong to another file, or cannot be read.
pub(super) fn check(mut file: &File, journal_path: &Path) -> Result<(), StoreError> {
    let unavailable = |error: std::io::Error| StoreError::Unavailable(plain(&error));
    if journal_path.metadata().is_ok_and(|found| !found.is_file()) {
        // To open a pipe could take for ever.
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
        // SQLite deletes what lies beside an empty file.
        return Ok(());
    }
    let file_bytes = file.metadata().map_err(unavailable)?.len();
    let before = Before::read(journal).map_err(unavailable)?;
    if before.is_none_or(|before| before.is_of(&page, file_bytes)) {
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
