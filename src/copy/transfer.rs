//! The copy itself: table by table and page by page, then a comparison of both stores, record by
//! record.

use super::progress::CopyProgress;
use crate::config::StoreUrl;
use crate::store::StoreError;
use crate::store::portable::{
    CopyColumnValue, CopyReadLimits, CopyRow, CopyTableSchema, CopyableStore, TABLES, row_weight_bytes,
};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The largest number of rows that are read, and written in one transaction, at a time.
const PAGE_ROWS_MAX: u32 = 5_000;
/// The largest size of these rows, in bytes.
const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The characters of the key that are shown for a record that differs.
const SHOWN_CHARS_MAX: usize = 300;

/// One of the two stores, with the name that is shown of it.
pub(super) struct StoreWithUrl<'a> {
    pub(super) url: &'a StoreUrl,
    pub(super) store: Box<dyn CopyableStore>,
}

impl StoreWithUrl<'_> {
    fn cannot_read(&self, table: &CopyTableSchema, error: &StoreError) -> String {
        format!("cannot read {} from {}: {error}", table.display_name(), self.url)
    }
}

/// A table from its first row to its last, in pages.
struct TablePageReader<'a, 'b> {
    source: &'a mut StoreWithUrl<'b>,
    table: &'static CopyTableSchema,
    after: Option<CopyRow>,
    rows_max: u32,
    /// Rows that were read but not returned yet, for a caller that wants single rows.
    page: std::vec::IntoIter<CopyRow>,
}

impl<'a, 'b> TablePageReader<'a, 'b> {
    fn new(source: &'a mut StoreWithUrl<'b>, table: &'static CopyTableSchema) -> Self {
        Self { source, table, after: None, rows_max: PAGE_ROWS_MAX, page: Vec::new().into_iter() }
    }

    /// The next rows; none at the end.
    fn next(&mut self) -> Result<Vec<CopyRow>, String> {
        let max = CopyReadLimits { rows: self.rows_max, bytes: PAGE_BYTES_MAX };
        let page = self.source.store.read(self.table, self.after.as_deref(), max);
        let page = page.map_err(|error| self.source.cannot_read(self.table, &error))?;
        if let Some(last) = page.last() {
            self.after = Some(last[..self.table.key].to_vec());
        }
        // A database server sends all requested rows even if they exceed the size limit: so request
        // about as many as fit.
        let bytes: usize = page.iter().map(|row| row_weight_bytes(row)).sum();
        let rows = u32::try_from(page.len()).unwrap_or(PAGE_ROWS_MAX);
        self.rows_max = if bytes >= PAGE_BYTES_MAX { rows } else { self.rows_max.saturating_mul(2) };
        self.rows_max = self.rows_max.clamp(1, PAGE_ROWS_MAX);
        Ok(page)
    }

    fn next_row(&mut self) -> Result<Option<CopyRow>, String> {
        if self.page.len() == 0 {
            self.page = self.next()?.into_iter();
        }
        Ok(self.page.next())
    }
}

/// The number of rows in each table.
pub(super) fn count(place: &mut StoreWithUrl<'_>) -> Result<Vec<(&'static CopyTableSchema, u64)>, String> {
    let mut counts = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let count = place.store.count(table).map_err(|error| place.cannot_read(table, &error))?;
        counts.push((table, count));
    }
    Ok(counts)
}

/// The work beside the copy: progress and signals.
pub(super) struct ProgressAndStop<'a, W: Write> {
    pub(super) progress: &'a mut CopyProgress<W>,
    /// Set when it is to end.
    pub(super) stop: &'a AtomicBool,
}

impl<W: Write> ProgressAndStop<'_, W> {
    fn advance(&mut self, rows: usize) -> Result<(), String> {
        self.progress.advance(rows as u64, Instant::now());
        if self.stop.load(Ordering::Relaxed) { Err("interrupted".to_owned()) } else { Ok(()) }
    }

    /// Runs one step with its progress shown.
    fn step<T>(
        &mut self,
        what: String,
        total_rows: u64,
        work: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        self.progress.begin(what, total_rows, Instant::now());
        let result = self.advance(0).and_then(|()| work(self));
        self.progress.end(Instant::now());
        result
    }
}

/// Copies everything and compares it. The target is marked and empty. Gives the number of records
/// of each table.
pub(super) fn transfer<W: Write>(
    from: &mut StoreWithUrl<'_>,
    to: &mut StoreWithUrl<'_>,
    beside: &mut ProgressAndStop<'_, W>,
) -> Result<Vec<(&'static CopyTableSchema, u64)>, String> {
    let totals = count(from)?;
    for &(table, total) in &totals {
        beside
            .step(format!("copying {}", table.display_name()), total, |beside| copy_table(table, from, to, beside))?;
    }
    let mut verified = Vec::with_capacity(totals.len());
    for &(table, total) in &totals {
        let what = format!("verifying {}", table.display_name());
        let count = beside.step(what, total, |beside| compare_table(table, from, to, beside))?;
        verified.push((table, count));
    }
    // The compared rows must be all rows: no row may be missed by reading in key order.
    let counted = count(to)?;
    for ((&(table, compared), (_, before)), (_, after)) in verified.iter().zip(&totals).zip(&counted) {
        if compared != *before || compared != *after {
            return Err(format!(
                "the number of {} is not the same: {before} were counted in {}, {compared} were compared, {after} are in {}",
                table.display_name(),
                from.url,
                to.url
            ));
        }
    }
    Ok(verified)
}

fn copy_table<W: Write>(
    table: &'static CopyTableSchema,
    from: &mut StoreWithUrl<'_>,
    to: &mut StoreWithUrl<'_>,
    beside: &mut ProgressAndStop<'_, W>,
) -> Result<(), String> {
    let mut pages = TablePageReader::new(from, table);
    loop {
        let page = pages.next()?;
        if page.is_empty() {
            return Ok(());
        }
        let written = to.store.write(table, &page);
        written.map_err(|error| format!("cannot write {} to {}: {error}", table.display_name(), to.url))?;
        beside.advance(page.len())?;
    }
}

fn compare_table<W: Write>(
    table: &'static CopyTableSchema,
    from: &mut StoreWithUrl<'_>,
    to: &mut StoreWithUrl<'_>,
    beside: &mut ProgressAndStop<'_, W>,
) -> Result<u64, String> {
    let (from_url, to_url) = (from.url, to.url);
    let (mut ours, mut copied) = (TablePageReader::new(from, table), TablePageReader::new(to, table));
    let (mut compared, mut unsaid) = (0, 0);
    loop {
        match (ours.next_row()?, copied.next_row()?) {
            (None, None) => {
                beside.advance(unsaid)?;
                return Ok(compared);
            }
            (Some(one), Some(other)) if one == other => (compared, unsaid) = (compared + 1, unsaid + 1),
            (Some(row), _) | (None, Some(row)) => {
                let (shown, key) = (table.display_name(), shown_key(&row[..table.key]));
                return Err(format!("the {shown} in {to_url} are not those in {from_url}: they differ from {key} on"));
            }
        }
        // Progress and signals are checked once a page.
        if ours.page.len() == 0 {
            beside.advance(std::mem::take(&mut unsaid))?;
        }
    }
}

/// A key holds names and numbers, nothing secret.
fn shown_key(key: &[CopyColumnValue]) -> String {
    let one = |field: &CopyColumnValue| match field {
        CopyColumnValue::Text(text) => format!("{text:?}"),
        CopyColumnValue::Number(number) => number.to_string(),
    };
    key.iter().map(one).collect::<Vec<_>>().join(", ").chars().take(SHOWN_CHARS_MAX).collect()
}
