//! The output of log lines: lines that cannot be written, for example on a full disk, are counted,
//! and the count is logged when writing works again.

use super::line::plain_line;
use log::Level;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// One counter for the whole process, like stderr.
static LINES_LOST: AtomicU64 = AtomicU64::new(0);

/// Lines of the log that did not fit or could not be written, since the start of the process.
#[must_use]
pub fn lines_lost() -> u64 {
    LINES_LOST.load(Ordering::Relaxed)
}

pub(super) fn count_lost_line() {
    LINES_LOST.fetch_add(1, Ordering::Relaxed);
}

pub(super) struct LossReportingLogWriter<W> {
    out: W,
    /// The last line was written only partly.
    has_partial_line: bool,
    /// The number of lines that could not be written and are not reported yet, and the latest
    /// reason.
    failed_lines: u64,
    last_error: ErrorKind,
    /// The number of lines that did not fit into the queue and are not reported yet.
    overflowed_lines: u64,
}

impl<W: Write> LossReportingLogWriter<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, has_partial_line: false, failed_lines: 0, last_error: ErrorKind::Other, overflowed_lines: 0 }
    }

    /// Writes a line, and before it the number of lost lines.
    pub(super) fn line(&mut self, line: &[u8], is_json: bool) {
        self.report_lost_lines(is_json);
        // While that cannot be written, nothing can.
        if self.failed_lines + self.overflowed_lines > 0 || self.put(line).is_err() {
            self.failed_lines += 1;
            count_lost_line();
        }
    }

    /// Counts lines that did not fit into the queue; reported now, or as soon as that can be
    /// written.
    pub(super) fn note_overflow(&mut self, lines: u64, is_json: bool) {
        self.overflowed_lines += lines;
        self.report_lost_lines(is_json);
    }

    /// Reports lost lines that are not reported yet.
    pub(super) fn finish(&mut self, is_json: bool) {
        self.report_lost_lines(is_json);
        // When stderr is gone there is no place left to say so.
        self.out.flush().unwrap_or(());
    }

    fn report_lost_lines(&mut self, is_json: bool) {
        if self.failed_lines > 0 {
            let said = format!("{} lines of the log could not be written: {}", self.failed_lines, self.last_error);
            if self.put(&plain_line(is_json, Level::Warn, &said)).is_err() {
                return;
            }
            self.failed_lines = 0;
        }
        if self.overflowed_lines > 0 {
            let said = format!("{} lines of the log did not fit and were dropped", self.overflowed_lines);
            if self.put(&plain_line(is_json, Level::Warn, &said)).is_ok() {
                self.overflowed_lines = 0;
            }
        }
    }

    /// Writes all of a line, on a line of its own.
    fn put(&mut self, line: &[u8]) -> io::Result<()> {
        let joined;
        let bytes = if self.has_partial_line {
            joined = [b"\n", line].concat();
            &joined[..]
        } else {
            line
        };
        let mut written = 0;
        while written < bytes.len() {
            let error = match self.out.write(&bytes[written..]) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(count) => {
                    written += count;
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            if written > 0 {
                self.has_partial_line = bytes[written - 1] != b'\n';
            }
            self.last_error = error.kind();
            return Err(error);
        }
        self.has_partial_line = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes more.
    struct SmallDisk {
        written: Vec<u8>,
        room: usize,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.written.extend_from_slice(&bytes[..count]);
            self.room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_a_full_disk_did_not_take_are_counted_and_said() {
        let before = lines_lost();
        let mut sink = LossReportingLogWriter::new(SmallDisk { written: Vec::new(), room: 9 });
        for line in ["first\n", "second\n", "third\n"] {
            sink.line(line.as_bytes(), false);
        }
        // A part of what is said fits, too.
        sink.out.room = 4;
        sink.line(b"fourth\n", false);
        sink.out.room = 1_000;
        sink.line(b"fifth\n", false);
        sink.line(b"sixth\n", false);
        let text = String::from_utf8(sink.out.written).unwrap();
        let said = format!("3 lines of the log could not be written: {}", ErrorKind::StorageFull);
        assert_eq!(text, format!("first\nsec\n2 l\n{said}\nfifth\nsixth\n"));
        assert!(lines_lost() >= before + 3);
    }

    #[test]
    fn lines_that_did_not_fit_while_the_disk_was_full_are_said_later() {
        let mut sink = LossReportingLogWriter::new(SmallDisk { written: Vec::new(), room: 0 });
        sink.line(b"first\n", false);
        sink.note_overflow(7, false);
        sink.line(b"second\n", false);
        sink.note_overflow(4, false);
        sink.out.room = 1_000;
        sink.line(b"third\n", false);
        let text = String::from_utf8(sink.out.written).unwrap();
        let unwritten = format!("2 lines of the log could not be written: {}", ErrorKind::StorageFull);
        assert_eq!(text, format!("{unwritten}\n11 lines of the log did not fit and were dropped\nthird\n"));
    }

    #[test]
    fn the_last_lines_say_it_as_well() {
        let mut sink = LossReportingLogWriter::new(SmallDisk { written: Vec::new(), room: 0 });
        sink.line(b"lost\n", true);
        sink.out.room = 1_000;
        sink.finish(true);
        let text = String::from_utf8(sink.out.written).unwrap();
        assert!(text.starts_with('{') && text.contains("1 lines of the log could not be written"), "{text}");
    }
}
