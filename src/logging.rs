//! Logging that never makes anybody wait: whole lines go into a bounded channel that a thread of
//! its own drains to stderr. What does not fit is counted, and said as soon as there is room again.
//! Whatever else the process has to say on stderr goes the same way: a pipe that is full and that
//! nobody reads keeps it neither from its work nor from its end.

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait for the writer.
const LINES_MAX: usize = 1_024;
/// The time for which the end of the process waits for the writer.
const FINISH_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Everything before it has been written when this is answered.
    Finish(SyncSender<()>),
}

/// The way to the writer of stderr; kept by `main` so that the last lines are not lost.
#[derive(Clone, Debug)]
pub struct Stderr {
    items: SyncSender<Item>,
    lost: Arc<AtomicU64>,
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
        let lost_too = Arc::clone(&lost);
        thread::Builder::new().name("hongyan-log".to_owned()).spawn(move || write_lines(sink, &waiting, &lost_too))?;
        Ok(Self { items, lost })
    }

    /// Says one line.
    pub fn say(&self, line: &str) {
        self.pass_on(format!("{line}\n").into_bytes());
    }

    fn pass_on(&self, line: Vec<u8>) {
        match self.items.try_send(Item::Line(line)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until every line has been written, but not for ever.
    pub fn finish(self) {
        let (done, finished) = sync_channel(1);
        // The writer lives as long as the process. If it is stuck, stderr is, and nobody can be
        // told: hence no error from here.
        if self.items.try_send(Item::Finish(done)).is_ok() {
            finished.recv_timeout(FINISH_WAIT).unwrap_or(());
        }
    }
}

/// A piece that is not a whole line, such as a bar that is drawn over itself, is passed on as it
/// comes.
impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pass_on(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends the text of a panic the same way: the standard library would wait for stderr.
pub fn say_panics_on(stderr: Stderr) {
    std::panic::set_hook(Box::new(move |info| {
        let thread = thread::current();
        let trace = Backtrace::capture();
        let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
        let name = thread.name().unwrap_or("<unnamed>");
        stderr.say(&format!("thread '{name}' {info}{trace}"));
        if name == "main" {
            // The process ends with it.
            stderr.clone().finish();
        }
    }));
}

/// Starts logging to stderr.
///
/// # Errors
/// One sentence, when somebody else has set a logger.
pub fn start(level: LevelFilter, stderr: &Stderr) -> Result<(), String> {
    if level == LevelFilter::Off {
        return Ok(());
    }
    let config = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Debug)
        // What the library warns of is what clients send it, however often.
        .add_filter_ignore_str("rustls")
        // The HTTP client of the push hook would say its URL, which may hold secrets.
        .add_filter_ignore_str("ureq")
        .build();
    let lines = LineSender { stderr: stderr.clone(), line: Vec::new() };
    WriteLogger::init(level, config, lines).map_err(|_| "cannot start the log: there is one already".to_owned())
}

fn write_lines(mut sink: impl Write, waiting: &Receiver<Item>, lost: &AtomicU64) {
    // Errors of the sink are dropped on purpose: when stderr is gone there is no place left to say
    // so.
    for item in waiting {
        match item {
            Item::Line(line) => sink.write_all(&line).unwrap_or(()),
            Item::Finish(done) => {
                sink.flush().unwrap_or(());
                done.send(()).unwrap_or(());
            }
        }
        // Lines are lost only while others wait, so there is always a next turn of this loop to say
        // it in.
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            writeln!(sink, "{lines} lines of the log did not fit and were dropped").unwrap_or(());
        }
    }
}

/// The target that simplelog writes into, piece by piece. It passes whole lines on and never waits.
struct LineSender {
    stderr: Stderr,
    line: Vec<u8>,
}

impl Write for LineSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if bytes.last() == Some(&b'\n') {
            self.stderr.pass_on(std::mem::take(&mut self.line));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A sink that stands still while somebody holds its lock.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
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
        let sink = Sink::default();
        let stderr = Stderr::start_on(sink.clone()).unwrap();
        let mut lines = LineSender { stderr: stderr.clone(), line: Vec::new() };
        for part in ["one ", "line", "\n", "another\n"] {
            lines.write_all(part.as_bytes()).unwrap();
        }
        stderr.say("ready");
        stderr.finish();
        assert_eq!(sink.0.lock().unwrap().as_slice(), b"one line\nanother\nready\n");
    }

    #[test]
    fn a_sink_that_stands_still_keeps_nobody_from_the_end() {
        let sink = Sink::default();
        let stuck = sink.0.lock().unwrap();
        let stderr = Stderr::start_on(sink.clone()).unwrap();
        for _ in 0..2 * LINES_MAX {
            stderr.say("x");
        }
        stderr.finish();
        drop(stuck);
    }

    #[test]
    fn a_sink_that_stands_still_stops_nobody_and_what_was_lost_is_said() {
        let sink = Sink::default();
        let stuck = sink.0.lock().unwrap();
        let stderr = Stderr::start_on(sink.clone()).unwrap();
        let mut lines = LineSender { stderr: stderr.clone(), line: Vec::new() };
        let many = LINES_MAX + 100;
        for _ in 0..many {
            lines.write_all(b"x\n").unwrap();
        }
        drop(stuck);
        while stderr.items.try_send(Item::Line(b"last\n".to_vec())).is_err() {
            thread::yield_now();
        }
        let (done, finished) = sync_channel(1);
        assert!(stderr.items.send(Item::Finish(done)).is_ok());
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
