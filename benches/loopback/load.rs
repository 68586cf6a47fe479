//! The load: one thread, one epoll, all clients. It reads each connection once for each event and
//! writes it once a turn. It checks only enough of a frame to prove that it is the right one, so
//! that the measured server, not the load, is the bottleneck.

use super::frames::{Dialect, Frames, Heard, pushed_number, take_answer};
use super::histogram::Histogram;
use super::secure::Link;
use super::{Fallible, check_interrupt};
use mio::{Events, Interest, Poll, Token};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const READ_BYTES: usize = 64 * 1024;
/// This long without a frame is an error.
const PATIENCE: Duration = Duration::from_secs(30);
/// Each load has its own range of numbers for its messages: a used id would be taken for a
/// duplicate.
static LOADS: AtomicU64 = AtomicU64::new(1);
const NUMBERS_PER_LOAD_BITS: u32 = 28;

struct Conn {
    stream: Link,
    /// The beginning of a frame.
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    dirty: bool,
}

/// A user who sends, and where their messages are.
struct Sender {
    /// One for each of their friends.
    frames: Vec<Frames>,
    next: u64,
    /// All messages before this have their time of sending.
    stamped: u64,
    /// When each was sent, in ns since the start, by its number modulo the length.
    sent_ns: Box<[u64]>,
    in_flight: usize,
    /// MQTT: the messages that the broker has acknowledged, and those that the receiver got.
    halves: [u64; 2],
    done: u64,
}

/// All clients of one measurement.
pub struct Load {
    dialect: Dialect,
    poll: Poll,
    events: Events,
    conns: Vec<Conn>,
    senders: Vec<Sender>,
    /// Connections to each sender: 2 when its receiver is here as well, else 1.
    stride: usize,
    dirty: Vec<usize>,
    buffer: Vec<u8>,
    started: Instant,
    /// Each message that is done makes room for the next one.
    refill: bool,
    /// The histogram of latencies, while they are counted.
    pub latencies: Histogram,
    /// The same until the receiver has the message, if that is wanted.
    pub pushes: Option<Histogram>,
    /// Messages that receivers have so far, if their times are wanted.
    pub received: u64,
    /// Messages done so far.
    pub completed: u64,
}

impl Load {
    /// `streams` are logged in: each sender and, if `receivers` are here, its receiver behind it.
    /// `in_flight` is the most that one sender has on the way.
    pub fn new(
        dialect: Dialect,
        streams: Vec<impl TryInto<Link, Error = io::Error>>,
        receivers: bool,
        frames: impl Iterator<Item = Vec<Frames>>,
        in_flight: usize,
    ) -> Fallible<Self> {
        let poll = Poll::new()?;
        let mut conns = Vec::with_capacity(streams.len());
        for (index, stream) in streams.into_iter().enumerate() {
            let mut stream: Link = stream.try_into()?;
            poll.registry().register(stream.socket(), Token(index), Interest::READABLE | Interest::WRITABLE)?;
            conns.push(Conn { stream, input: vec![], output: vec![], written: 0, dirty: false });
        }
        let stride = if receivers { 2 } else { 1 };
        let first = LOADS.fetch_add(1, Ordering::Relaxed) << NUMBERS_PER_LOAD_BITS;
        // Answers may overtake each other, so there is room for more than are in flight.
        let ring = (in_flight * 8).next_power_of_two();
        let sender = |frames| Sender {
            frames,
            next: first,
            stamped: first,
            sent_ns: vec![0; ring].into_boxed_slice(),
            in_flight: 0,
            halves: [first; 2],
            done: first,
        };
        let senders: Vec<Sender> = frames.take(conns.len() / stride).map(sender).collect();
        Ok(Self {
            dialect,
            poll,
            events: Events::with_capacity(1_024),
            conns,
            senders,
            stride,
            dirty: vec![],
            buffer: vec![0; READ_BYTES],
            started: Instant::now(),
            refill: false,
            latencies: Histogram::new(),
            pushes: None,
            received: 0,
            completed: 0,
        })
    }

    /// Every sender begins with so many messages, and from then on sends one for each that is done.
    pub fn begin(&mut self, in_flight: usize) -> Fallible<()> {
        self.refill = true;
        for sender in 0..self.senders.len() {
            for _ in self.senders[sender].in_flight..in_flight {
                self.send(sender, None);
            }
        }
        self.flush_dirty()
    }

    /// Runs for this time, and until so many messages are done; gives the time that it took.
    pub fn run(&mut self, time: Duration, messages_min: u64) -> Fallible<Duration> {
        let start = Instant::now();
        let enough = self.completed + messages_min;
        let mut heard = (self.completed, start);
        loop {
            self.turn(Some(Duration::from_millis(100)))?;
            let now = Instant::now();
            if now - start >= time && self.completed >= enough {
                return Ok(now - start);
            }
            if self.completed != heard.0 {
                heard = (self.completed, now);
            } else if now - heard.1 > PATIENCE {
                return Err("nothing was answered any more".into());
            }
        }
    }

    /// Sends `per_second` messages for this time, each when it is due, independent of answers: one
    /// sender after another, each so many at once (one at a time would cost the load more system
    /// calls than it can make). Latency counts from the time at which a message was due.
    pub fn run_paced(&mut self, per_second: f64, at_once: usize, time: Duration) -> Fallible<Duration> {
        self.refill = false;
        let start = Instant::now();
        let start_ns = self.now_ns();
        let (gap_ns, mut sent, mut sender) = (1e9 / per_second * at_once as f64, 0_u64, 0);
        loop {
            let elapsed = start.elapsed();
            if elapsed >= time {
                return Ok(elapsed);
            }
            let due = (elapsed.as_nanos() as f64 / gap_ns) as u64;
            while sent < due {
                if self.senders[sender].in_flight + at_once > self.senders[sender].sent_ns.len() / 2 {
                    return Err(format!("{per_second:.0} messages a second are more than it can do").into());
                }
                for _ in 0..at_once {
                    self.send(sender, Some(start_ns + (sent as f64 * gap_ns) as u64));
                }
                sent += 1;
                sender = (sender + 1) % self.senders.len();
            }
            self.flush_dirty()?;
            // The load has its own core: it polls rather than sleep past the next time.
            self.turn(Some(Duration::ZERO))?;
        }
    }

    /// How many messages of each sender are done.
    pub fn done(&self) -> Vec<u64> {
        self.senders.iter().map(|sender| sender.done).collect()
    }

    /// Sends nothing more and waits until all messages in flight are done.
    pub fn drain(&mut self) -> Fallible<()> {
        self.refill = false;
        let start = Instant::now();
        // A message across nodes may be promised before its receiver has it.
        let is_behind = |load: &Self| load.pushes.is_some() && load.received < load.completed;
        while is_behind(self) || self.senders.iter().any(|sender| sender.in_flight > 0) {
            self.turn(Some(Duration::from_millis(100)))?;
            if start.elapsed() > PATIENCE {
                let missing: usize = self.senders.iter().map(|sender| sender.in_flight).sum();
                return Err(format!("{missing} messages were never answered").into());
            }
        }
        Ok(())
    }

    fn turn(&mut self, timeout: Option<Duration>) -> Fallible<()> {
        check_interrupt()?;
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => {
                polled?;
                for event in &events {
                    let Token(index) = event.token();
                    if event.is_readable() {
                        self.read(index)?;
                    }
                    let conn = &mut self.conns[index];
                    if event.is_writable() && conn.stream.is_behind() {
                        conn.stream.flush()?;
                    }
                    if event.is_writable() && !conn.output.is_empty() {
                        self.mark(index);
                    }
                }
            }
        }
        self.events = events;
        self.flush_dirty()
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn read(&mut self, index: usize) -> Fallible<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let count = match self.conns[index].stream.read(&mut buffer) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            let now_ns = self.now_ns();
            let mut input = std::mem::take(&mut self.conns[index].input);
            if input.is_empty() {
                let used = self.hear(index, &buffer[..count], now_ns)?;
                input.extend_from_slice(&buffer[used..count]);
            } else {
                input.extend_from_slice(&buffer[..count]);
                let used = self.hear(index, &input, now_ns)?;
                input.drain(..used);
            }
            self.conns[index].input = input;
            if count < buffer.len() && self.conns[index].stream.reads_all() {
                break;
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Handles all whole frames; gives the number of their bytes.
    fn hear(&mut self, index: usize, bytes: &[u8], now_ns: u64) -> Fallible<usize> {
        let (sender, is_receiver) = (index / self.stride, self.stride == 2 && index % 2 == 1);
        let mut used = 0;
        while let Some(length) = self.dialect.frame_length(&bytes[used..]) {
            let frame = &bytes[used..used + length];
            used += length;
            if is_receiver {
                let from = &self.senders[sender].frames[0];
                from.take_push(self.dialect, frame, &mut self.conns[index].output)?;
                if let Some(pushes) = &mut self.pushes {
                    let its = &self.senders[sender];
                    let place = pushed_number(self.dialect, frame) as usize & (its.sent_ns.len() - 1);
                    pushes.record(now_ns.saturating_sub(its.sent_ns[place]));
                    self.received += 1;
                }
                self.mark(index);
                if self.dialect == Dialect::Mqtt {
                    self.half(sender, 1, now_ns);
                }
            } else {
                match take_answer(self.dialect, frame)? {
                    Heard::Done(number) => self.complete(sender, number, now_ns),
                    Heard::Half => self.half(sender, 0, now_ns),
                }
            }
        }
        Ok(used)
    }

    fn half(&mut self, sender: usize, which: usize, now_ns: u64) {
        let its = &mut self.senders[sender];
        its.halves[which] += 1;
        // Both sides receive in the order of sending.
        if its.halves[0].min(its.halves[1]) > its.done {
            let number = its.done;
            self.complete(sender, number, now_ns);
        }
    }

    fn complete(&mut self, sender: usize, number: u64, now_ns: u64) {
        let its = &mut self.senders[sender];
        its.done += 1;
        its.in_flight -= 1;
        let place = number as usize & (its.sent_ns.len() - 1);
        self.latencies.record(now_ns.saturating_sub(its.sent_ns[place]));
        self.completed += 1;
        if self.refill {
            self.send(sender, None);
        }
    }

    /// Puts the next message of a sender into its output. The latency counts from `due_ns`, or from
    /// the moment of writing.
    fn send(&mut self, sender: usize, due_ns: Option<u64>) {
        let index = sender * self.stride;
        let its = &mut self.senders[sender];
        let frames = &its.frames[its.next as usize % its.frames.len()];
        frames.write_message(self.dialect, its.next, &mut self.conns[index].output);
        if let Some(due_ns) = due_ns {
            let place = its.next as usize & (its.sent_ns.len() - 1);
            its.sent_ns[place] = due_ns;
            its.stamped = its.next + 1;
        }
        its.next += 1;
        its.in_flight += 1;
        self.mark(index);
    }

    fn mark(&mut self, index: usize) {
        if !std::mem::replace(&mut self.conns[index].dirty, true) {
            self.dirty.push(index);
        }
    }

    fn flush_dirty(&mut self) -> Fallible<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            if index % self.stride == 0 {
                self.stamp(index / self.stride);
            }
            let conn = &mut self.conns[index];
            conn.dirty = false;
            while conn.written < conn.output.len() {
                match conn.stream.write(&conn.output[conn.written..]) {
                    Ok(count) => conn.written += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
            if conn.written == conn.output.len() {
                conn.output.clear();
                conn.written = 0;
            }
        }
        self.dirty = dirty;
        Ok(())
    }

    /// Marks the frames that are about to be written as sent now.
    fn stamp(&mut self, sender: usize) {
        let now_ns = self.now_ns();
        let its = &mut self.senders[sender];
        let mask = its.sent_ns.len() - 1;
        while its.stamped < its.next {
            its.sent_ns[its.stamped as usize & mask] = now_ns;
            its.stamped += 1;
        }
    }
}
