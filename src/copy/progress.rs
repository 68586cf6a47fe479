//! The progress of a copy: a bar that redraws itself on a terminal, plain lines elsewhere.

use std::io::Write;
use std::time::{Duration, Instant};

/// The shortest interval between two drawings of the bar.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// The shortest interval between two plain lines about the same table.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The largest width of the bar's line in columns, which is also used if the width is not known.
const COLUMNS_MAX: usize = 79;
/// The smallest and the largest width of the bar itself in columns; without room for the smallest
/// it is left out.
const BAR_COLUMNS: (usize, usize) = (10, 30);

/// The way in which progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressStyle {
    /// On a terminal with this width.
    Bar {
        /// The width in columns.
        columns: usize,
    },
    /// Anywhere else.
    Lines,
}

impl ProgressStyle {
    /// The bar for a terminal whose width is `columns`, as the environment says it.
    #[must_use]
    pub fn bar(columns: Option<&str>) -> Self {
        let columns = columns.and_then(|columns| columns.parse::<usize>().ok()).unwrap_or(usize::MAX);
        // The last column stays free: some terminals go to the next line as soon as it is written
        // to.
        Self::Bar { columns: columns.saturating_sub(1).clamp(1, COLUMNS_MAX) }
    }
}

/// The present step, and its progress.
struct CopyStepProgress {
    title: String,
    done_rows: u64,
    total_rows: u64,
    began_at: Instant,
    shown_at: Instant,
}

/// The progress of one copy. It cannot fail: it does not matter if stderr is closed.
pub struct CopyProgress<W: Write> {
    out: W,
    style: ProgressStyle,
    step: Option<CopyStepProgress>,
}

impl<W: Write> CopyProgress<W> {
    /// Nothing is shown before the first step.
    pub fn new(out: W, style: ProgressStyle) -> Self {
        Self { out, style, step: None }
    }

    /// Begins a step with `total_rows` rows to do.
    pub fn begin(&mut self, title: String, total_rows: u64, now: Instant) {
        let step = CopyStepProgress { title, done_rows: 0, total_rows, began_at: now, shown_at: now };
        if let ProgressStyle::Bar { .. } = self.style {
            self.show(&step, now);
        }
        self.step = Some(step);
    }

    /// Counts rows as done.
    pub fn advance(&mut self, rows: u64, now: Instant) {
        let Some(mut step) = self.step.take() else { return };
        step.done_rows += rows;
        let every = if self.style == ProgressStyle::Lines { LINE_EVERY } else { BAR_EVERY };
        if now.saturating_duration_since(step.shown_at) >= every {
            step.shown_at = now;
            self.show(&step, now);
        }
        self.step = Some(step);
    }

    /// Ends the step, complete or not: its line stays.
    pub fn end(&mut self, now: Instant) {
        let Some(step) = self.step.take() else { return };
        self.show(&step, now);
        if let ProgressStyle::Bar { .. } = self.style {
            self.out.write_all(b"\n").unwrap_or(());
        }
    }

    fn show(&mut self, step: &CopyStepProgress, now: Instant) {
        let took = now.saturating_duration_since(step.began_at);
        let line = match self.style {
            // To the line's start, the line, and nothing of a longer one behind it.
            ProgressStyle::Bar { columns } => format!("\r{}\x1b[K", bar(step, took, columns)),
            ProgressStyle::Lines => format!("{}\n", sentence(step, took)),
        };
        self.out.write_all(line.as_bytes()).and_then(|()| self.out.flush()).unwrap_or(());
    }
}

fn sentence(step: &CopyStepProgress, took: Duration) -> String {
    let CopyStepProgress { title, done_rows, total_rows, .. } = step;
    let percent = percent(step);
    let rate = (*done_rows as f64 / took.as_secs_f64().max(0.001)) as u64;
    format!("{title}: {done_rows} of {total_rows} ({percent} %), {rate} rows/s")
}

fn percent(step: &CopyStepProgress) -> u64 {
    step.done_rows.saturating_mul(100).checked_div(step.total_rows).unwrap_or(100)
}

fn bar(step: &CopyStepProgress, took: Duration, columns: usize) -> String {
    let mut line = sentence(step, took);
    // As wide as the sentence leaves room for when it is at its longest, so that the bar keeps its
    // width.
    let digits = step.total_rows.to_string().len();
    let longest = step.title.chars().count() + 2 * digits + ": of (100 %), 1234567 rows/s".len() + 2;
    let room = columns.saturating_sub(longest + "[] ".len()).min(BAR_COLUMNS.1);
    if room >= BAR_COLUMNS.0 {
        let filled = (percent(step).min(100) as usize * room) / 100;
        line = format!("[{}{}] {line}", "#".repeat(filled), ".".repeat(room - filled));
    }
    line.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(done_rows: u64, total_rows: u64) -> CopyStepProgress {
        let now = Instant::now();
        CopyStepProgress { title: "copying pushes".to_owned(), done_rows, total_rows, began_at: now, shown_at: now }
    }

    #[test]
    fn a_line_names_the_table_the_progress_and_the_rate() {
        let two = Duration::from_secs(2);
        assert_eq!(sentence(&step(500, 2_000), two), "copying pushes: 500 of 2000 (25 %), 250 rows/s");
        assert_eq!(sentence(&step(0, 0), Duration::ZERO), "copying pushes: 0 of 0 (100 %), 0 rows/s");
        let line = bar(&step(500, 2_000), two, 79);
        assert_eq!(line, "[######..................] copying pushes: 500 of 2000 (25 %), 250 rows/s");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in 1..=COLUMNS_MAX {
            for (done, total) in [(0, 0), (1, 3), (7, 7), (u64::MAX / 200, u64::MAX / 100), (9, 3)] {
                let line = bar(&step(done, total), Duration::from_micros(1), columns);
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
        assert_eq!(ProgressStyle::bar(Some("41")), ProgressStyle::Bar { columns: 40 });
        for columns in [None, Some(""), Some("wide"), Some("9999")] {
            assert_eq!(ProgressStyle::bar(columns), ProgressStyle::Bar { columns: COLUMNS_MAX });
        }
        assert_eq!(ProgressStyle::bar(Some("0")), ProgressStyle::Bar { columns: 1 });
    }

    #[test]
    fn the_bar_is_drawn_ten_times_a_second_and_ends_with_its_line() {
        let (mut out, start) = (Vec::new(), Instant::now());
        let mut progress = CopyProgress::new(&mut out, ProgressStyle::bar(None));
        progress.begin("copying pushes".to_owned(), 1_000, start);
        for millis in 1..=1_000 {
            progress.advance(1, start + Duration::from_millis(millis));
        }
        progress.end(start + Duration::from_secs(1));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('\r').count(), 12, "at the start, ten times, and at the end");
        assert!(text.ends_with("1000 of 1000 (100 %), 1000 rows/s\x1b[K\n"), "{text:?}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn plain_lines_have_no_control_characters_and_are_few() {
        let (mut out, start) = (Vec::new(), Instant::now());
        let mut progress = CopyProgress::new(&mut out, ProgressStyle::Lines);
        progress.begin("copying pushes".to_owned(), 1_200, start);
        for tick in 1..=120 {
            progress.advance(10, start + Duration::from_millis(tick * 100));
        }
        progress.end(start + Duration::from_secs(12));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'));
    }
}
