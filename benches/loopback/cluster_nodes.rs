//! Nodes over one database, and pairs of users who talk on them.

use super::Fallible;
use super::clients::open_all;
use super::cluster_rows::Window;
use super::frames::{Dialect, Frames};
use super::histogram::Histogram;
use super::load::Load;
use super::mariadb::Database;
use super::messages::{SHAPES, Shape};
use super::prepare::{receiver, sender};
use super::settings::Settings;
use super::subjects::{Starter, Subject};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const SHAPE: Shape = SHAPES[0];

/// Which pairs are on two nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Across {
    None,
    Half,
    All,
}

/// Servers over one database.
pub struct Nodes {
    pub subjects: Vec<Subject>,
    database: Database,
    bus: Option<String>,
}

impl Nodes {
    /// One for each name; without a name, one server that is no node.
    pub fn start(starter: &Starter, database: Database, names: &[&str], bus: Option<&str>) -> Fallible<Self> {
        let mut subjects = vec![];
        if names.is_empty() {
            subjects.push(starter.server(&database.url())?);
        } else {
            // It was filled as that of a server alone.
            database.run("DELETE FROM lanes WHERE node = 0")?;
        }
        for (number, name) in names.iter().enumerate() {
            subjects.push(starter.node(&database.url(), name, bus, number)?);
        }
        Ok(Self { subjects, database, bus: bus.map(str::to_owned) })
    }

    /// Every pair is logged in: by turns on each node, the receiver on another one or not.
    pub fn talk(self, across: Across) -> Fallible<Talking> {
        let count = self.subjects.len();
        let place = |number: usize| {
            let far = match across {
                Across::None => false,
                Across::Half => (number / count).is_multiple_of(2),
                Across::All => true,
            };
            (number % count, (number + usize::from(far)) % count)
        };
        let (mut senders, mut receivers) = (vec![], vec![]);
        for (node, subject) in self.subjects.iter().enumerate() {
            let here =
                |of: fn((usize, usize)) -> usize, name: fn(usize) -> String| -> Fallible<Vec<(usize, TcpStream)>> {
                    let numbers: Vec<usize> = (0..SHAPE.pairs).filter(|number| of(place(*number)) == node).collect();
                    let streams = open_all(subject.addr, Dialect::Raw, numbers.iter().map(|number| name(*number)), 0)?;
                    Ok(numbers.into_iter().zip(streams).collect())
                };
            senders.extend(here(|(sender, _)| sender, sender)?);
            receivers.extend(here(|(_, receiver)| receiver, receiver)?);
        }
        senders.sort_by_key(|(number, _)| *number);
        receivers.sort_by_key(|(number, _)| *number);
        let pairs = senders.into_iter().zip(receivers);
        let streams: Vec<TcpStream> = pairs.flat_map(|((_, sender), (_, receiver))| [sender, receiver]).collect();
        let content = "x".repeat(SHAPE.content_bytes);
        let frames = (0..SHAPE.pairs)
            .map(|number| vec![Frames::new(Dialect::Raw, &sender(number), &receiver(number), &content)]);
        let mut load = Load::new(Dialect::Raw, streams, true, frames, 256)?;
        load.pushes = Some(Histogram::new());
        Ok(Talking { nodes: self, load })
    }

    fn cpu_us(&self) -> Fallible<f64> {
        self.subjects.iter().try_fold(0.0, |sum, subject| Ok(sum + subject.process.cpu_ns()? as f64 / 1e3))
    }

    /// Frames that were published on the bus so far.
    fn frames(&self) -> Fallible<f64> {
        let Some(url) = &self.bus else { return Ok(0.0) };
        let place = url.trim_start_matches("redis://").split('@').next_back().unwrap_or_default();
        let mut stream = TcpStream::connect(place)?;
        stream.write_all(b"INFO commandstats\r\nQUIT\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let calls = text.split_once("cmdstat_publish:calls=").and_then(|(_, rest)| rest.split(',').next());
        Ok(calls.map_or(Ok(0), str::parse::<u64>)? as f64)
    }
}

/// Nodes whose users talk.
pub struct Talking {
    nodes: Nodes,
    load: Load,
}

impl Talking {
    /// As many messages as they can.
    pub fn measure(&mut self, settings: &Settings, time: Duration) -> Fallible<Window> {
        let round = if settings.quick { 0 } else { (SHAPE.pairs * SHAPE.in_flight) as u64 };
        self.load.begin(SHAPE.in_flight)?;
        self.load.run(settings.warm_up(), 6 * round)?;
        let window = self.window(|load| load.run(time, 10 * round))?;
        self.load.drain()?;
        Ok(window)
    }

    /// At a rate that they can hold.
    pub fn measure_paced(&mut self, per_second: f64, settings: &Settings) -> Fallible<Window> {
        // Not all of a window at once, which would be a burst.
        self.load.run_paced(per_second, 1, settings.warm_up())?;
        let window = self.window(|load| load.run_paced(per_second, 1, settings.time))?;
        self.load.drain()?;
        Ok(window)
    }

    fn window(&mut self, work: impl FnOnce(&mut Load) -> Fallible<Duration>) -> Fallible<Window> {
        self.load.latencies = Histogram::new();
        self.load.pushes = Some(Histogram::new());
        let (completed, done, cpu_us) = (self.load.completed, self.load.done(), self.nodes.cpu_us()?);
        let (rows, commits) = self.nodes.database.written()?;
        let frames = self.nodes.frames()?;
        let seconds = work(&mut self.load)?.as_secs_f64();
        let (rows_now, commits_now) = self.nodes.database.written()?;
        let slowest = self.load.done().iter().zip(done).map(|(now, before)| now - before).min();
        Ok(Window {
            if_all_were_slowest: slowest.unwrap_or(0) as f64 * SHAPE.pairs as f64,
            messages: (self.load.completed - completed) as f64,
            seconds,
            cpu_us: self.nodes.cpu_us()? - cpu_us,
            promised: self.load.latencies.clone(),
            pushed: self.load.pushes.replace(Histogram::new()).unwrap_or_default(),
            rows: rows_now - rows,
            commits: commits_now - commits,
            frames: self.nodes.frames()? - frames,
        })
    }
}
