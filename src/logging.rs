//! Logging that never blocks: whole lines go into a bounded channel, and a thread writes them to
//! stderr. Lines that do not fit are counted, and the count is logged as soon as there is room
//! again. All other output to stderr takes the same way: a full pipe that nobody reads blocks
//! neither the work nor the end of the process.

mod line;
mod sink;

pub use sink::lines_lost;

use line::plain_line;
use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};
use sink::LossReportingLogWriter;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// Lines that may wait for the writer.
const LINES_MAX: usize = 1_024;
/// The time for which the end of the process waits for the writer.
const FINISH_WAIT: Duration = Duration::from_secs(1);

/// How long a flush of the log waits for the writer.
const FLUSH_WAIT: Duration = Duration::from_millis(100);
/// The interval between two checks for room in the queue, for callers that may wait.
const ROOM_LOOK: Duration = Duration::from_millis(1);

#[derive(Debug)]
enum LogItem {
    Line(Vec<u8>),
    /// It is answered when everything before it is written.
    Finish(SyncSender<()>),
}

/// A handle of the writer of stderr; `main` keeps it so that the last lines are not lost.
#[derive(Clone, Debug)]
pub struct Stderr {
    items: SyncSender<LogItem>,
    lost: Arc<AtomicU64>,
    /// Each line is a JSON object.
    is_json: Arc<AtomicBool>,
}

impl Stderr {
    /// Starts the writer.
    ///
    /// # Errors
    /// One sentence, when its thread cannot be started.
    pub fn start() -> Result<Self, String> {
        Self::start_on(io::stderr()).map_err(|error| format!("cannot start the thread that writes to stderr: {error}"))
    }

    fn start_on(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (items, waiting) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let is_json = Arc::new(AtomicBool::new(false));
        let (lost_too, is_json_too) = (Arc::clone(&lost), Arc::clone(&is_json));
        let write = move || write_lines(sink, &waiting, &lost_too, &is_json_too);
        thread::Builder::new().name("hongyan-log".to_owned()).spawn(write)?;
        Ok(Self { items, lost, is_json })
    }

    /// From now on each line is a JSON object, or none is.
    pub fn set_json(&self, is_json: bool) {
        self.is_json.store(is_json, Ordering::Relaxed);
    }

    /// Writes one line.
    pub fn write_line(&self, line: &str) {
        self.enqueue(plain_line(self.is_json.load(Ordering::Relaxed), Level::Info, line));
    }

    /// Writes the error that ends the process.
    pub fn say_error(&self, line: &str) {
        self.enqueue(plain_line(self.is_json.load(Ordering::Relaxed), Level::Error, line));
    }

    fn enqueue(&self, line: Vec<u8>) {
        match self.items.try_send(LogItem::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                sink::count_lost_line();
            }
        }
    }

    /// Waits until every line is written, for a bounded time.
    pub fn finish(self) {
        self.wait_until_written(FINISH_WAIT);
    }

    fn wait_until_written(&self, within: Duration) {
        let until = Instant::now() + within;
        let (done, finished) = sync_channel(1);
        let mut item = LogItem::Finish(done);
        // The writer lives as long as the process. If it is stuck, stderr is blocked, and the error
        // could not be shown: so there is none.
        while let Err(error) = self.items.try_send(item) {
            let TrySendError::Full(back) = error else { return };
            if Instant::now() >= until {
                return;
            }
            item = back;
            thread::sleep(ROOM_LOOK);
        }
        finished.recv_timeout(until.saturating_duration_since(Instant::now())).unwrap_or(());
    }
}

/// A piece that is not a whole line, such as a progress bar, is passed on unchanged.
impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.enqueue(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends the texts of panics the same way: the standard library would block on stderr.
pub fn say_panics_on(stderr: Stderr) {
    std::panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        let trace = Backtrace::capture();
        let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
        let name = thread.name().unwrap_or("<unnamed>");
        stderr.say_error(&format!("thread '{name}' {info}{trace}"));
        if name == "main" {
            // The panic ends the process.
            stderr.clone().finish();
        }
    }));
}

/// Starts logging to stderr. [`log::set_max_level`] changes the level later, and
/// [`Stderr::set_json`] the form of the lines.
///
/// # Errors
/// One sentence, if another logger is set.
pub fn start(level: LevelFilter, stderr: &Stderr) -> Result<(), String> {
    log::set_boxed_logger(Box::new(Logger::new(stderr)))
        .map_err(|_| "cannot start the log: there is one already".to_owned())?;
    log::set_max_level(level);
    Ok(())
}

/// Turns records into lines and never waits.
struct Logger {
    stderr: Stderr,
    /// The writer of plain text lines.
    text: Box<WriteLogger<LineBufferingLogWriter>>,
}

impl Logger {
    fn new(stderr: &Stderr) -> Self {
        let config = ConfigBuilder::new()
            .set_time_format_custom(line::TIME_FORMAT)
            .set_thread_level(LevelFilter::Off)
            .set_location_level(LevelFilter::Off)
            .set_target_level(LevelFilter::Debug)
            .build();
        let lines = LineBufferingLogWriter { stderr: stderr.clone(), line: Vec::new() };
        // The level can change, and is checked before.
        Self { stderr: stderr.clone(), text: WriteLogger::new(LevelFilter::Trace, config, lines) }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The TLS library warns about input of clients, any number of times; and the HTTP client of
        // the push hook would log its URL, which may contain secrets.
        let is_ours = !["rustls", "ureq"].iter().any(|library| metadata.target().starts_with(library));
        metadata.level() <= log::max_level() && is_ours
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            if self.stderr.is_json.load(Ordering::Relaxed) {
                return self.stderr.enqueue(line::json_of(SystemTime::now(), record));
            }
            let text = line::text_of(record);
            let (level, target) = (record.level(), record.target());
            self.text.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
        }
    }

    /// Waits for a short time until all lines are written. Do not call it in code that must not
    /// block.
    fn flush(&self) {
        self.stderr.wait_until_written(FLUSH_WAIT);
    }
}

/// Collects what is written piece by piece, and passes it on line by line.
struct LineBufferingLogWriter {
    stderr: Stderr,
    line: Vec<u8>,
}

impl Write for LineBufferingLogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if bytes.last() == Some(&b'\n') {
            self.stderr.enqueue(std::mem::take(&mut self.line));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(out: impl Write, waiting: &Receiver<LogItem>, lost: &AtomicU64, is_json: &AtomicBool) {
    let mut sink = LossReportingLogWriter::new(out);
    for item in waiting {
        let is_json = is_json.load(Ordering::Relaxed);
        if let LogItem::Line(line) = &item {
            sink.line(line, is_json);
        }
        // Lines are lost only while others wait, so this loop always has another iteration to
        // report them.
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            sink.note_overflow(lines, is_json);
        }
        if let LogItem::Finish(done) = item {
            sink.finish(is_json);
            done.send(()).unwrap_or(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A sink that blocks while its lock is held.
    #[derive(Clone, Default)]
    struct BlockedSink(Arc<Mutex<Vec<u8>>>);

    impl Write for BlockedSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_whole_and_in_order() {
        let sink = BlockedSink::default();
        let stderr = Stderr::start_on(sink.clone()).unwrap();
        let logger = Logger::new(&stderr);
        log::set_max_level(LevelFilter::Info);
        for (target, level) in
            [("a", Level::Info), ("a", Level::Debug), ("rustls::conn", Level::Warn), ("b", Level::Warn)]
        {
            logger.log(&Record::builder().target(target).level(level).args(format_args!("to {target}")).build());
        }
        stderr.write_line("ready");
        stderr.set_json(true);
        stderr.say_error("\"over\"\n");
        stderr.finish();
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("Z ").map_or(line, |(_, rest)| rest)).collect();
        assert_eq!(lines[..3], ["[INFO] to a", "[WARN] to b", "ready"]);
        assert!(lines[3].ends_with("\"level\":\"error\",\"message\":\"\\\"over\\\"\\u000a\"}"), "{text}");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_queue_that_is_full_is_written_before_the_end() {
        let sink = BlockedSink::default();
        let stuck = sink.0.lock().unwrap();
        let stderr = Stderr::start_on(sink.clone()).unwrap();
        for _ in 0..2 * LINES_MAX {
            stderr.write_line("x");
        }
        let ends = thread::spawn(|| stderr.finish());
        // It waits for room.
        thread::sleep(10 * ROOM_LOOK);
        drop(stuck);
        ends.join().unwrap();
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let written = text.lines().filter(|line| *line == "x").count();
        let lost = text.lines().filter_map(|line| line.split_once(" lines of the log"));
        let lost: usize = lost.map(|(n, _)| n.parse::<usize>().unwrap()).sum();
        assert_eq!(written + lost, 2 * LINES_MAX);
    }

    #[test]
    fn a_sink_that_stands_still_keeps_nobody_from_the_end() {
        let sink = BlockedSink::default();
        let stuck = sink.0.lock().unwrap();
        let stderr = Stderr::start_on(sink.clone()).unwrap();
        for _ in 0..2 * LINES_MAX {
            stderr.write_line("x");
        }
        stderr.finish();
        drop(stuck);
    }

    #[test]
    fn a_sink_that_stands_still_stops_nobody_and_lost_lines_are_counted() {
        let sink = BlockedSink::default();
        let stuck = sink.0.lock().unwrap();
        let stderr = Stderr::start_on(sink.clone()).unwrap();
        let many = LINES_MAX + 100;
        for _ in 0..many {
            stderr.write_line("x");
        }
        drop(stuck);
        while stderr.items.try_send(LogItem::Line(b"last\n".to_vec())).is_err() {
            thread::yield_now();
        }
        let (done, finished) = sync_channel(1);
        assert!(stderr.items.send(LogItem::Finish(done)).is_ok());
        finished.recv().unwrap();
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let written = text.lines().filter(|line| *line == "x").count();
        let lost: usize = text
            .lines()
            .filter_map(|line| line.split_once(" lines of the log"))
            .map(|(n, _)| n.parse::<usize>().unwrap())
            .sum();
        assert_eq!(written + lost, many, "every line was written or counted");
        assert!(lost > 0);
    }
}
