//! Logging that never makes the loop wait: whole lines go into a bounded channel that a thread of its own drains to stderr.
//! What does not fit is counted, and said as soon as there is room again.

use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

/// Lines that may wait for the writer.
const LINES_MAX: usize = 1_024;
/// How long the end of the process waits for the writer.
const FINISH_WAIT: Duration = Duration::from_secs(1);

enum Item {
    Line(Vec<u8>),
    /// Everything before it has been written when this is answered.
    Finish(SyncSender<()>),
}

/// The way to the writer; kept by `main` so that the last lines are not lost.
#[derive(Debug)]
pub struct Logging {
    items: Option<SyncSender<Item>>,
}

impl Logging {
    /// Waits until every line has been written, but not for ever.
    pub fn finish(self) {
        let Some(items) = self.items else { return };
        let (done, finished) = sync_channel(1);
        // The writer lives as long as the process. If it is stuck, stderr is, and nobody can be told: hence no error from here.
        if items.try_send(Item::Finish(done)).is_ok() {
            finished.recv_timeout(FINISH_WAIT).unwrap_or(());
        }
    }
}

/// Starts logging to stderr.
///
/// # Errors
/// One sentence, when the writer's thread cannot be started or somebody else has set a logger.
pub fn start(level: LevelFilter) -> Result<Logging, String> {
    if level == LevelFilter::Off {
        return Ok(Logging { items: None });
    }
    let lines =
        spawn_writer(io::stderr()).map_err(|error| format!("cannot start the thread that writes the log: {error}"))?;
    let items = lines.items.clone();
    let config = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Debug)
        .build();
    WriteLogger::init(level, config, lines).map_err(|_| "cannot start the log: there is one already".to_owned())?;
    Ok(Logging { items: Some(items) })
}

fn spawn_writer(sink: impl Write + Send + 'static) -> io::Result<LineSender> {
    let (items, waiting) = sync_channel(LINES_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let lost_too = Arc::clone(&lost);
    thread::Builder::new().name("hongyan-log".to_owned()).spawn(move || write_lines(sink, &waiting, &lost_too))?;
    Ok(LineSender { items, line: Vec::new(), lost })
}

fn write_lines(mut sink: impl Write, waiting: &Receiver<Item>, lost: &AtomicU64) {
    // Errors of the sink are dropped on purpose: when stderr is gone there is no place left to say so.
    for item in waiting {
        match item {
            Item::Line(line) => sink.write_all(&line).unwrap_or(()),
            Item::Finish(done) => {
                sink.flush().unwrap_or(());
                done.send(()).unwrap_or(());
            }
        }
        // Lines are lost only while others wait, so there is always a next turn of this loop to say it in.
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            writeln!(sink, "{lines} lines of the log did not fit and were dropped").unwrap_or(());
        }
    }
}

/// What simplelog writes into, piece by piece; passes whole lines on without ever waiting.
struct LineSender {
    items: SyncSender<Item>,
    line: Vec<u8>,
    lost: Arc<AtomicU64>,
}

impl Write for LineSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if bytes.last() == Some(&b'\n') {
            match self.items.try_send(Item::Line(std::mem::take(&mut self.line))) {
                Ok(()) => {}
                Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
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
        let mut lines = spawn_writer(sink.clone()).unwrap();
        for part in ["one ", "line", "\n", "another\n"] {
            lines.write_all(part.as_bytes()).unwrap();
        }
        Logging { items: Some(lines.items.clone()) }.finish();
        assert_eq!(sink.0.lock().unwrap().as_slice(), b"one line\nanother\n");
    }

    #[test]
    fn a_sink_that_stands_still_stops_nobody_and_what_was_lost_is_said() {
        let sink = Sink::default();
        let stuck = sink.0.lock().unwrap();
        let mut lines = spawn_writer(sink.clone()).unwrap();
        let many = LINES_MAX + 100;
        for _ in 0..many {
            lines.write_all(b"x\n").unwrap();
        }
        drop(stuck);
        while lines.items.try_send(Item::Line(b"last\n".to_vec())).is_err() {
            thread::yield_now();
        }
        let (done, finished) = sync_channel(1);
        assert!(lines.items.send(Item::Finish(done)).is_ok());
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
