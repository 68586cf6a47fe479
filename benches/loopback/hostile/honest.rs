//! The honest users beside an attack: two who talk, one whose friend is away, one who logs in anew
//! every second, and one a second who logs in for the first time since the server was started.
//!
//! Each is a thread with a blocking socket. A message is due at a fixed interval (`--honest-every`)
//! and its latency counts from then, whatever came back in the meantime, so that a stall is seen in
//! full.

use super::super::clients::{PASSWORD, connect};
use super::super::frames::{Dialect, Frames};
use super::super::histogram::Histogram;
use super::super::{Fallible, check_interrupt};
use super::attacks::VICTIM;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const LOG_IN_EVERY: Duration = Duration::from_secs(1);
/// A message without an answer after this time counts as refused, with this latency.
const PATIENCE: Duration = Duration::from_secs(12);
/// Each writer numbers its messages from a place of its own.
static WRITERS: AtomicU64 = AtomicU64::new(1);

/// The results of one kind of honest user.
#[derive(Clone)]
pub struct Met {
    pub latencies: Histogram,
    /// Refused, or not answered in time.
    pub refused: u64,
    /// The first reason that was given.
    pub why: Option<String>,
}

impl Met {
    fn new() -> Self {
        Self { latencies: Histogram::new(), refused: 0, why: None }
    }

    fn note(&mut self, due: Instant, answer: Result<(), String>) {
        self.latencies.record(due.elapsed().as_nanos() as u64);
        if let Err(why) = answer {
            self.refused += 1;
            self.why.get_or_insert(why);
        }
    }
}

/// The experience of all of them, in this order: those who talk, the one whose friend is away, the
/// one who logs in again, those who log in for the first time.
pub type AllMet = [Met; 4];

/// Honest users who go on until this is dropped.
pub struct Honest {
    stop: Arc<AtomicBool>,
    met: [Arc<Mutex<Met>>; 4],
    threads: Vec<JoinHandle<()>>,
}

impl Honest {
    /// `streams`: one who talks, their friend, and one whose friend is away; all logged in.
    /// `every`: the interval of their messages.
    pub fn start(
        addr: SocketAddr,
        every: Duration,
        streams: [TcpStream; 3],
        talk: Frames,
        away: Frames,
    ) -> Fallible<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let met: [Arc<Mutex<Met>>; 4] = std::array::from_fn(|_| Arc::new(Mutex::new(Met::new())));
        let [sender, receiver, lonely] = streams;
        let acks = Frames::new(Dialect::Raw, TALKS[0], TALKS[1], CONTENT);
        let mut threads = vec![];
        let stopped = || Arc::clone(&stop);
        let (one, two, three) = (stopped(), stopped(), stopped());
        let (of_talk, of_away, of_log_in) = (Arc::clone(&met[0]), Arc::clone(&met[1]), Arc::clone(&met[2]));
        threads.push(thread::spawn(move || write_messages(sender, every, &talk, &one, &of_talk)));
        threads.push(thread::spawn(move || write_messages(lonely, every, &away, &two, &of_away)));
        threads.push(thread::spawn(move || log_in_each_second(addr, |_| Some(VICTIM.into()), &three, &of_log_in)));
        let (four, of_first) = (stopped(), Arc::clone(&met[3]));
        threads.push(thread::spawn(move || log_in_each_second(addr, first, &four, &of_first)));
        let last = stopped();
        threads.push(thread::spawn(move || ack_all(receiver, &acks, &last)));
        Ok(Self { stop, met, threads })
    }

    /// Forgets what they met so far.
    pub fn begin(&self) {
        for met in &self.met {
            *met.lock().unwrap_or_else(PoisonError::into_inner) = Met::new();
        }
    }

    /// Waits for so long, and gives their experience of that time.
    pub fn after(&self, time: Duration) -> Fallible<AllMet> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            check_interrupt()?;
            thread::sleep(Duration::from_millis(20).min(time));
        }
        Ok(std::array::from_fn(|at| self.met[at].lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            thread.join().unwrap_or(());
        }
    }
}

/// Those who talk.
pub const TALKS: [&str; 2] = ["honest sender", "honest friend"];
/// The one whose friend is away, and the friend.
pub const LONELY: [&str; 2] = ["honest lonely", "honest absent"];
/// How many log in for the first time: none of them is in a server's memory.
const FIRSTS: usize = 64;

pub fn first(number: usize) -> Option<String> {
    (number < FIRSTS).then(|| format!("comes for the first time {number}"))
}

pub const CONTENT: &str =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

fn write_messages(mut stream: TcpStream, every: Duration, frames: &Frames, stop: &AtomicBool, met: &Mutex<Met>) {
    let first = WRITERS.fetch_add(1, Ordering::Relaxed) << 20;
    let mut lines = Lines::of(&stream);
    let mut due = Instant::now();
    for number in first.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut frame = vec![];
        frames.write_message(Dialect::Raw, number, &mut frame);
        let answer = match stream.write_all(&frame) {
            Ok(()) => lines
                .find(&format!(r#"\"{number:010x}\",\"Content\":\""#), due, stop)
                .and_then(|line| if line.contains(r#"\"MS\""#) { Ok(()) } else { Err(line) }),
            Err(error) => Err(error.to_string()),
        };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let is_over = answer.as_ref().is_err_and(|why| why.starts_with(CLOSED));
        met.lock().unwrap_or_else(PoisonError::into_inner).note(due, answer);
        if is_over {
            return;
        }
        due += every;
    }
}

fn ack_all(mut stream: TcpStream, frames: &Frames, stop: &AtomicBool) {
    let mut lines = Lines::of(&stream);
    while !stop.load(Ordering::Relaxed) {
        let Ok(line) = lines.next(Instant::now() + Duration::from_millis(200)) else { continue };
        let mut output = vec![];
        let push = format!("{line}\n");
        // Another frame (an error) shows in the figures of the sender.
        if frames.take_push(Dialect::Raw, push.as_bytes(), &mut output).is_ok() && stream.write_all(&output).is_err() {
            return;
        }
    }
}

/// `user`: the user who logs in the next time; `None`: nobody any more.
fn log_in_each_second(addr: SocketAddr, user: impl Fn(usize) -> Option<String>, stop: &AtomicBool, met: &Mutex<Met>) {
    let (mut due, mut number) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(50)));
        if Instant::now() < due {
            continue;
        }
        let Some(user) = user(number) else { return };
        number += 1;
        let answer = log_in_once(addr, &user, due, stop);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        met.lock().unwrap_or_else(PoisonError::into_inner).note(due, answer);
        due = (due + LOG_IN_EVERY).max(Instant::now());
    }
}

fn log_in_once(addr: SocketAddr, user: &str, due: Instant, stop: &AtomicBool) -> Result<(), String> {
    let mut stream = connect(addr).map_err(|error| error.to_string())?;
    let mut lines = Lines::of(&stream);
    let login = format!(r#"{{"MID":"l","CONTENT":{{"PASS":"{PASSWORD}","USER":"{user}"}},"TYPE":"2"}}"#);
    stream.write_all(format!("{login}\n").as_bytes()).map_err(|error| error.to_string())?;
    let line = lines.find(r#""RE_SIGNUP""#, due, stop)?;
    if line.contains(r#""LS""#) { Ok(()) } else { Err(lines.next(due + PATIENCE).unwrap_or(line)) }
}

const CLOSED: &str = "the connection was closed";

/// The lines that come on a connection.
struct Lines {
    stream: Option<TcpStream>,
    input: Vec<u8>,
}

impl Lines {
    fn of(stream: &TcpStream) -> Self {
        Self { stream: stream.try_clone().ok(), input: vec![] }
    }

    fn next(&mut self, until: Instant) -> Result<String, String> {
        let Some(stream) = &mut self.stream else { return Err(CLOSED.into()) };
        let mut chunk = [0; 4 * 1024];
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.input) {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
            match stream.read(&mut chunk) {
                Ok(0) => return Err(CLOSED.into()),
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err("no answer came".into());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("{CLOSED}: {error}")),
            }
        }
    }

    /// The next line that holds these words.
    fn find(&mut self, words: &str, due: Instant, stop: &AtomicBool) -> Result<String, String> {
        loop {
            match self.next(Instant::now() + Duration::from_millis(100)) {
                Ok(line) if line.contains(words) => return Ok(line),
                Ok(_) => {}
                Err(why) if why.starts_with(CLOSED) => return Err(why),
                Err(why) if due.elapsed() > PATIENCE || stop.load(Ordering::Relaxed) => return Err(why),
                Err(_) => {}
            }
        }
    }
}
