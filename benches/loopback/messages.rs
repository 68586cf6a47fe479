//! The rows of messages between two online users: message → push → ack → `MS`, closed loop, and one
//! row at half of the load.

use super::clients::{log_in_all, open_all};
use super::frames::{Dialect, Frames};
use super::histogram::Histogram;
use super::load::Load;
use super::prepare::{receiver, sender};
use super::process::{file_descriptors, own_cpu_ns};
use super::secure::Secure;
use super::subjects::{Starter, Subject};
use super::{Fallible, Settings, median};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The names of the programs that are compared.
pub const RAW: &str = "hongyan, raw";
pub const WEB_SOCKET: &str = "hongyan, WebSocket";
pub const TLS: &str = "hongyan, TLS";
pub const RELAY: &str = "relay";
pub const MOSQUITTO: &str = "mosquitto";
pub const AGAINST_RAW: &str = "the other build, raw";
pub const AGAINST_WEB_SOCKET: &str = "the other build, WebSocket";

const WINDOWS_PER_RUN: u32 = 4;

/// A round is all that the senders together have in flight. With thousands of senders a round takes
/// a tenth of a second and comes as a wave. So a window of a few rounds has one wave more or less
/// by chance, and shows the start rather than the steady state.
const ROUNDS_PER_WINDOW_MIN: u64 = 20;
const ROUNDS_OF_WARM_UP_MIN: u64 = 6;

/// The number of senders, and their load.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub pairs: usize,
    pub in_flight: usize,
    pub content_bytes: usize,
}

/// The rows that have goals.
pub const SHAPES: &[Shape] = &[
    Shape { name: "50x16x100", pairs: 50, in_flight: 16, content_bytes: 100 },
    Shape { name: "500x4x100", pairs: 500, in_flight: 4, content_bytes: 100 },
    Shape { name: "50x16x1000", pairs: 50, in_flight: 16, content_bytes: 1_000 },
    Shape { name: "1x1x100", pairs: 1, in_flight: 1, content_bytes: 100 },
    Shape { name: "4000x1x100", pairs: 4_000, in_flight: 1, content_bytes: 100 },
];

/// The result of one window.
#[derive(Clone)]
pub struct Measured {
    /// CPU time of the subject for one message, over all its threads.
    pub cpu_us: f64,
    pub per_second: f64,
    /// The used shares of their cores: of the subject, and of the load.
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
    /// Starts the subject on a copy of the store, so that one run does not affect the next.
    pub fn open(starter: &Starter, contender: &Contender, store: &Path, shape: Shape) -> Fallible<Self> {
        let subject = match (&contender.server, contender.dialect) {
            (Some(_), _) if contender.secure.is_some() => {
                starter.secure_server(&starter.copy_as(contender.name, store)?)?
            }
            (Some(server), _) => starter.server_of(server, &starter.copy_as(contender.name, store)?)?,
            (None, Dialect::Mqtt) => starter.mosquitto()?,
            (None, _) => starter.relay()?,
        };
        let load = connect(&subject, contender, shape)?;
        Ok(Self { subject, load })
    }

    /// Keeps every sender's window full for this time, or longer if that would be only a few
    /// rounds.
    pub fn measure(&mut self, shape: Shape, settings: &Settings, time: Duration) -> Fallible<Measured> {
        let round = if settings.quick { 0 } else { (shape.pairs * shape.in_flight) as u64 };
        self.load.begin(shape.in_flight)?;
        self.load.run(settings.warm_up(), ROUNDS_OF_WARM_UP_MIN * round)?;
        let measured = self.window(|load| load.run(time, ROUNDS_PER_WINDOW_MIN * round))?;
        self.load.drain()?;
        Ok(measured)
    }

    /// Sends at a fixed rate, which the subject must be able to sustain easily.
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

/// Logs in all senders and receivers.
fn connect(subject: &Subject, contender: &Contender, shape: Shape) -> Fallible<Load> {
    let dialect = contender.dialect;
    let content = "x".repeat(shape.content_bytes);
    let users = (0..shape.pairs).flat_map(|number| [sender(number), receiver(number)]);
    let frames =
        (0..shape.pairs).map(|number| vec![Frames::new(dialect, &sender(number), &receiver(number), &content)]);
    // Room for the messages of a paced load that pile up during a short stall.
    let room = if shape.pairs <= 100 { 256 } else { shape.in_flight };
    if let Some(secure) = &contender.secure {
        let streams = log_in_all(users.map(|user| (secure.connect(subject.addr), user)), dialect, 0)?;
        return Load::new(dialect, streams, true, frames, room);
    }
    Load::new(dialect, open_all(subject.addr, dialect, users, 0)?, true, frames, room)
}

/// A program that is compared.
#[derive(Clone, Debug)]
pub struct Contender {
    pub name: &'static str,
    pub dialect: Dialect,
    /// The binary, if it is hongyan.
    server: Option<PathBuf>,
    /// How its clients speak TLS, if they do.
    secure: Option<Secure>,
}

/// All programs that are compared, in the order of the table.
pub fn contenders(starter: &Starter, settings: &Settings) -> Vec<Contender> {
    let one = |name, dialect, server| Contender { name, dialect, server, secure: None };
    let mut all = vec![
        one(RAW, Dialect::Raw, Some(starter.server.clone())),
        one(WEB_SOCKET, Dialect::WebSocket, Some(starter.server.clone())),
        one(RELAY, Dialect::Relay, None),
    ];
    if let Some(against) = &settings.against {
        all.push(one(AGAINST_RAW, Dialect::Raw, Some(against.clone())));
        all.push(one(AGAINST_WEB_SOCKET, Dialect::WebSocket, Some(against.clone())));
    }
    if starter.has_mosquitto() {
        all.push(one(MOSQUITTO, Dialect::Mqtt, None));
    }
    all
}

/// The server without TLS and with it.
pub fn plain_and_secure(starter: &Starter) -> Fallible<Vec<Contender>> {
    let one = |name, secure| Contender { name, dialect: Dialect::Raw, server: Some(starter.server.clone()), secure };
    Ok(vec![one(RAW, None), one(TLS, Some(Secure::new()?))])
}

/// A program with all its windows.
pub type Windows = (Contender, Vec<Measured>);

/// Measures one shape with these programs. They run at the same time and take turns in short
/// windows, so that a disturbance of the machine affects them all. Each run has new processes.
pub fn measure_shape(
    starter: &Starter,
    store: &Path,
    shape: Shape,
    settings: &Settings,
    contenders: Vec<Contender>,
) -> Fallible<Vec<Windows>> {
    let mut all: Vec<Windows> = contenders.into_iter().map(|one| (one, vec![])).collect();
    let at_once = file_descriptors()?.saturating_sub(500) / (2 * shape.pairs);
    for run in 0..settings.runs {
        for group in all.chunks_mut(at_once.max(1)) {
            let mut talks = vec![];
            for (contender, _) in &*group {
                settings.say(&format!("{}: {}, run {} of {}", shape.name, contender.name, run + 1, settings.runs));
                talks.push(Talk::open(starter, contender, store, shape)?);
            }
            for _ in 0..WINDOWS_PER_RUN {
                for (talk, (_, windows)) in talks.iter_mut().zip(&mut *group) {
                    windows.push(talk.measure(shape, settings, settings.time / WINDOWS_PER_RUN)?);
                }
            }
        }
    }
    Ok(all)
}

/// The CPU time that `one` needs for a message, divided by that of `other`, as the median over all
/// rounds of windows. The two windows of a round follow each other directly, so that a slow machine
/// affects both.
pub fn cpu_ratio(all: &[Windows], one: &str, other: &str) -> Option<f64> {
    let of = |name: &str| all.iter().find(|(contender, _)| contender.name == name).map(|(_, windows)| windows);
    Some(median(of(one)?.iter().zip(of(other)?).map(|(one, other)| one.cpu_us / other.cpu_us)))
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
