//! The rows of messages between two who are there: message → push → ack → `MS`, closed loop, and one at half of the load.

use super::clients::open_all;
use super::frames::{Dialect, Frames};
use super::histogram::Histogram;
use super::load::Load;
use super::prepare::{receiver, sender};
use super::process::own_cpu_ns;
use super::subjects::{Starter, Subject};
use super::{Fallible, Settings, median};
use std::path::Path;
use std::time::Duration;

/// How many talk, and how.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub pairs: usize,
    pub in_flight: usize,
    pub content_bytes: usize,
}

/// The rows that the goals speak of.
pub const SHAPES: &[Shape] = &[
    Shape { name: "50x16x100", pairs: 50, in_flight: 16, content_bytes: 100 },
    Shape { name: "500x4x100", pairs: 500, in_flight: 4, content_bytes: 100 },
    Shape { name: "50x16x1000", pairs: 50, in_flight: 16, content_bytes: 1_000 },
    Shape { name: "1x1x100", pairs: 1, in_flight: 1, content_bytes: 100 },
    Shape { name: "4000x1x100", pairs: 4_000, in_flight: 1, content_bytes: 100 },
];

/// What one window of measuring gave.
#[derive(Clone)]
pub struct Measured {
    /// CPU of the subject for one message, all its threads.
    pub cpu_us: f64,
    pub per_second: f64,
    /// The share of its core that the subject used, and the load of its own.
    pub busy: f64,
    pub load_busy: f64,
    pub resident_bytes: u64,
    pub latencies: Histogram,
}

/// A subject with all its clients.
pub struct Talk {
    pub subject: Subject,
    pub load: Load,
}

impl Talk {
    /// On a copy of the store: what one run leaves behind is nothing to the next.
    pub fn open(starter: &Starter, dialect: Dialect, store: &Path, shape: Shape) -> Fallible<Self> {
        let subject = starter.start(dialect, &starter.copy(store)?)?;
        let load = connect(&subject, dialect, shape)?;
        Ok(Self { subject, load })
    }

    /// Keeps every sender's window full.
    pub fn measure(&mut self, shape: Shape, settings: &Settings) -> Fallible<Measured> {
        self.load.begin(shape.in_flight)?;
        self.load.run(settings.warm_up())?;
        let measured = self.window(|load| load.run(settings.time))?;
        self.load.drain()?;
        Ok(measured)
    }

    /// At a rate that the subject can easily hold.
    pub fn measure_paced(&mut self, per_second: f64, at_once: usize, settings: &Settings) -> Fallible<Measured> {
        self.load.run_paced(per_second, at_once, settings.warm_up())?;
        let measured = self.window(|load| load.run_paced(per_second, at_once, settings.time))?;
        self.load.drain()?;
        Ok(measured)
    }

    pub fn window(&mut self, work: impl FnOnce(&mut Load) -> Fallible<Duration>) -> Fallible<Measured> {
        self.load.latencies = Histogram::new();
        let (completed, cpu_ns, own_ns) = (self.load.completed, self.subject.process.cpu_ns()?, own_cpu_ns()?);
        let time = work(&mut self.load)?.as_secs_f64();
        let cpu_ns = self.subject.process.cpu_ns()? - cpu_ns;
        let own_ns = own_cpu_ns()? - own_ns;
        let count = (self.load.completed - completed) as f64;
        Ok(Measured {
            cpu_us: cpu_ns as f64 / 1e3 / count,
            per_second: count / time,
            busy: cpu_ns as f64 / 1e9 / time,
            load_busy: own_ns as f64 / 1e9 / time,
            resident_bytes: self.subject.process.resident_bytes()?,
            latencies: self.load.latencies.clone(),
        })
    }
}

/// Logs everybody in.
pub fn connect(subject: &Subject, dialect: Dialect, shape: Shape) -> Fallible<Load> {
    let content = "x".repeat(shape.content_bytes);
    let users = (0..shape.pairs).flat_map(|number| [sender(number), receiver(number)]);
    let streams = open_all(subject.addr, dialect, users, 0)?;
    let frames =
        (0..shape.pairs).map(|number| vec![Frames::new(dialect, &sender(number), &receiver(number), &content)]);
    // Room for a paced load that meets a hiccup.
    let room = if shape.pairs <= 100 { 256 } else { shape.in_flight };
    Load::new(dialect, streams, true, frames, room)
}

/// The dialects that are there to be compared, in the order of the table.
pub fn dialects(starter: &Starter) -> Vec<Dialect> {
    let mut all = vec![Dialect::Raw, Dialect::WebSocket, Dialect::Relay];
    if starter.has_mosquitto() {
        all.push(Dialect::Mqtt);
    }
    all
}

/// One shape with all subjects, run by run in turn: what disturbs the machine for a while disturbs them all.
pub fn measure_shape(
    starter: &Starter,
    store: &Path,
    shape: Shape,
    settings: &Settings,
) -> Fallible<Vec<(Dialect, Measured)>> {
    let dialects = dialects(starter);
    let mut runs = vec![vec![]; dialects.len()];
    for run in 0..settings.runs {
        for (dialect, runs) in dialects.iter().zip(&mut runs) {
            settings.say(&format!("{}: {dialect:?}, run {} of {}", shape.name, run + 1, settings.runs));
            let mut talk = Talk::open(starter, *dialect, store, shape)?;
            runs.push(talk.measure(shape, settings)?);
        }
    }
    Ok(dialects.into_iter().zip(runs.into_iter().map(|runs| middle(&runs))).collect())
}

/// The medians of some runs; the latencies of all of them.
pub fn middle(runs: &[Measured]) -> Measured {
    let of = |value: fn(&Measured) -> f64| median(runs.iter().map(value));
    let mut latencies = Histogram::new();
    runs.iter().for_each(|run| latencies.merge(&run.latencies));
    Measured {
        cpu_us: of(|run| run.cpu_us),
        per_second: of(|run| run.per_second),
        busy: of(|run| run.busy),
        load_busy: of(|run| run.load_busy),
        resident_bytes: of(|run| run.resident_bytes as f64) as u64,
        latencies,
    }
}
