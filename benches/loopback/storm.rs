//! Many who come back at once, and a few who talk meanwhile: one thread, one epoll, so that the two
//! do not take each other's core.

use super::clients::PASSWORD;
use super::frames::{Dialect, Frames, Heard, take_answer};
use super::histogram::Histogram;
use super::secure::{Link, Secure};
use super::{Fallible, check_interrupt};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Connections begun in one turn: a storm, but one that leaves its own thread time to read.
const CONNECTS_PER_TURN: usize = 16;
/// A guest who is refused comes again after this, and up to as much again: it depends on their
/// number.
const RETRY_AFTER: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(240);
/// Guests that are served before those who talk are heard again: otherwise the time of this thread
/// would be measured, which makes one half of each handshake.
const GUESTS_AT_ONCE: usize = 8;
/// Those who talk, among the guests.
const TALK: Token = Token(usize::MAX);
/// Between two messages of the talk.
const TALK_EVERY: Duration = Duration::from_millis(2);

/// The credential with which a guest logs in.
#[derive(Clone)]
pub enum Credential {
    Password,
    WrongPassword,
    Token(String),
}

/// Where a guest is on their way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Comes at this time.
    Away(Instant),
    /// Is connecting.
    Begun,
    /// Has asked.
    Asked,
    /// Is in, and wants a token.
    In,
    /// Is where they wanted to be, or was refused for good.
    Done,
}

/// Somebody who comes.
pub struct Guest {
    pub name: String,
    pub credential: Credential,
    /// The token that they were given.
    pub token: Option<String>,
    /// They were told RATE_LIMITED at the end.
    pub throttled: bool,
    stream: Option<Link>,
    input: Vec<u8>,
    way: Way,
    /// The answer to the attempt so far.
    refusal: Option<Refusal>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Wrong,
    Unavailable,
    RateLimited,
}

impl Guest {
    pub fn new(name: String, credential: Credential) -> Self {
        let way = Way::Away(Instant::now());
        Self { name, credential, token: None, throttled: false, stream: None, input: vec![], way, refusal: None }
    }

    /// Loses their connection, and comes again.
    pub fn leave(&mut self, credential: Credential) {
        *self = Self::new(std::mem::take(&mut self.name), credential);
    }

    /// The log-in and a heartbeat: its answer ends the attempt, whatever that brought.
    fn words(&self) -> String {
        let (key, value) = match &self.credential {
            Credential::Password => ("PASS", PASSWORD),
            Credential::WrongPassword => ("PASS", "not the password"),
            Credential::Token(token) => ("TOKEN", token.as_str()),
        };
        let name = &self.name;
        format!(
            "{{\"MID\":\"login\",\"CONTENT\":{{\"{key}\":\"{value}\",\"USER\":\"{name}\"}},\"TYPE\":\"2\"}}\n\
             {{\"MID\":\"h\",\"CONTENT\":{{}},\"TYPE\":\"0\"}}\n"
        )
    }
}

/// The result of a storm.
#[derive(Default)]
pub struct Outcome {
    /// From the first connection to the last `LS`.
    pub seconds: f64,
    /// Attempts that were answered with UNAVAILABLE, and with RATE_LIMITED.
    pub unavailable: usize,
    pub rate_limited: usize,
    /// Connections that the server closed, or that failed, before an answer.
    pub broken: usize,
}

/// Two who talk.
struct Pair {
    frames: Frames,
    streams: [TcpStream; 2],
    inputs: [Vec<u8>; 2],
}

/// The talk and the storm.
pub struct Storm {
    /// Of the guests, and of `talk_poll`.
    poll: Poll,
    talk_poll: Poll,
    /// How the guests speak TLS, if they do.
    pub secure: Option<Secure>,
    pairs: Vec<Pair>,
    sent: Vec<Instant>,
    next_talk: Instant,
    first: u64,
    pub latencies: Histogram,
    outcome: Outcome,
    want_tokens: bool,
}

impl Storm {
    /// `streams`: sender and receiver in turn, logged in. `first` is the number of the first
    /// message, never used before.
    pub fn new(streams: Vec<std::net::TcpStream>, frames: Vec<Frames>, first: u64) -> Fallible<Self> {
        let (poll, talk_poll) = (Poll::new()?, Poll::new()?);
        poll.registry().register(&mut SourceFd(&talk_poll.as_raw_fd()), TALK, Interest::READABLE)?;
        let mut streams = streams.into_iter();
        let mut pairs = vec![];
        for frames in frames {
            let mut both = vec![];
            for side in 0..2 {
                let stream = streams.next().ok_or("two connections for each pair")?;
                stream.set_nonblocking(true)?;
                let mut stream = TcpStream::from_std(stream);
                talk_poll.registry().register(&mut stream, Token(pairs.len() * 2 + side), Interest::READABLE)?;
                both.push(stream);
            }
            let streams = both.try_into().map_err(|_| "two connections for each pair")?;
            pairs.push(Pair { frames, streams, inputs: [vec![], vec![]] });
        }
        Ok(Self {
            poll,
            talk_poll,
            secure: None,
            pairs,
            sent: vec![],
            next_talk: Instant::now(),
            first,
            latencies: Histogram::new(),
            outcome: Outcome::default(),
            want_tokens: false,
        })
    }

    /// They talk, and nobody comes.
    pub fn calm(&mut self, time: Duration) -> Fallible<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn(&mut [])?;
        }
        Ok(())
    }

    /// All come at once; ends when each is in (with a token, if wanted) or was refused for good.
    pub fn rage(&mut self, guests: &mut [Guest], want_tokens: bool) -> Fallible<Outcome> {
        (self.outcome, self.want_tokens) = (Outcome::default(), want_tokens);
        let start = Instant::now();
        while guests.iter().any(|guest| guest.way != Way::Done) {
            self.turn(guests)?;
            if start.elapsed() > PATIENCE {
                let missing = guests.iter().filter(|guest| guest.way != Way::Done).count();
                return Err(format!("{missing} did not get in").into());
            }
        }
        self.outcome.seconds = start.elapsed().as_secs_f64();
        Ok(std::mem::take(&mut self.outcome))
    }

    fn turn(&mut self, guests: &mut [Guest]) -> Fallible<()> {
        check_interrupt()?;
        self.talk()?;
        let now = Instant::now();
        let due = guests.iter_mut().enumerate().filter(|(_, guest)| matches!(guest.way, Way::Away(at) if at <= now));
        for (number, guest) in due.take(CONNECTS_PER_TURN) {
            let mut stream = TcpStream::connect(self.addr()?)?;
            self.poll.registry().register(&mut stream, Token(number), Interest::READABLE | Interest::WRITABLE)?;
            let link = match &self.secure {
                Some(secure) => Link::Secure(secure.over(stream)?),
                None => Link::Plain(stream),
            };
            (guest.stream, guest.way, guest.refusal) = (Some(link), Way::Begun, None);
            guest.input.clear();
        }
        let mut events = Events::with_capacity(128);
        match self.poll.poll(&mut events, Some(Duration::from_micros(200))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for (number, event) in events.iter().enumerate() {
            if number % GUESTS_AT_ONCE == 0 {
                self.hear_all_talk()?;
            }
            let Token(index) = event.token();
            if let Some(guest) = guests.get_mut(index) {
                self.serve(guest, index, event.is_writable());
            }
        }
        Ok(())
    }

    /// Those who talk say what is due, and hear what has come.
    fn hear_all_talk(&mut self) -> Fallible<()> {
        self.talk()?;
        let mut events = Events::with_capacity(4 * self.pairs.len());
        match self.talk_poll.poll(&mut events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        events.iter().try_for_each(|event| self.hear_talk(event.token().0))
    }

    fn addr(&self) -> Fallible<SocketAddr> {
        Ok(self.pairs.first().ok_or("somebody talks")?.streams[0].peer_addr()?)
    }

    /// A message at its time, of one pair after another. Its latency counts from when it was due.
    fn talk(&mut self) -> Fallible<()> {
        while self.next_talk <= Instant::now() {
            let number = self.sent.len();
            let place = number % self.pairs.len();
            let pair = &mut self.pairs[place];
            let mut frame = vec![];
            pair.frames.write_message(Dialect::Raw, self.first + number as u64, &mut frame);
            pair.streams[0].write_all(&frame)?;
            self.sent.push(self.next_talk);
            self.next_talk += TALK_EVERY;
        }
        Ok(())
    }

    fn hear_talk(&mut self, index: usize) -> Fallible<()> {
        let (pair, side) = (&mut self.pairs[index / 2], index % 2);
        let open = read_all(&mut pair.streams[side], &mut pair.inputs[side]);
        let mut output = vec![];
        let input = std::mem::take(&mut pair.inputs[side]);
        let mut used = 0;
        while let Some(length) = Dialect::Raw.frame_length(&input[used..]) {
            let frame = &input[used..used + length];
            used += length;
            if side == 1 {
                pair.frames.take_push(Dialect::Raw, frame, &mut output)?;
            } else if let Heard::Done(number) = take_answer(Dialect::Raw, frame)? {
                let due = self.sent[(number - self.first) as usize];
                self.latencies.record(due.elapsed().as_nanos() as u64);
            }
        }
        pair.inputs[side] = input[used..].to_vec();
        pair.streams[side].write_all(&output)?;
        if open { Ok(()) } else { Err("the server closed the connection of somebody who talks".into()) }
    }

    fn serve(&mut self, guest: &mut Guest, index: usize, writable: bool) {
        let Some(mut stream) = guest.stream.take() else { return };
        let mut open = true;
        if writable && guest.way == Way::Begun && stream.socket().peer_addr().is_ok() {
            // Less than a socket takes at once.
            open = stream.write_all(guest.words().as_bytes()).is_ok();
            guest.way = Way::Asked;
        }
        open &= read_all(&mut stream, &mut guest.input);
        while let Some(length) = Dialect::Raw.frame_length(&guest.input) {
            let frame: Vec<u8> = guest.input.drain(..length).collect();
            let frame = String::from_utf8_lossy(&frame);
            self.hear(guest, &mut stream, &frame, index);
        }
        if open {
            guest.stream = Some(stream);
        } else if guest.way != Way::Done {
            self.outcome.broken += 1;
            guest.way = Way::Away(Instant::now() + RETRY_AFTER);
        }
    }

    fn hear(&mut self, guest: &mut Guest, stream: &mut Link, frame: &str, index: usize) {
        let again = Way::Away(Instant::now() + RETRY_AFTER + RETRY_AFTER * (index as u32 % 64) / 64);
        if frame.contains("\"LF\"") {
            guest.refusal = Some(Refusal::Wrong);
        } else if frame.contains("\"UNAVAILABLE: ") {
            guest.refusal = Some(Refusal::Unavailable);
            self.outcome.unavailable += 1;
        } else if frame.contains("\"RATE_LIMITED: ") {
            guest.refusal = Some(Refusal::RateLimited);
            self.outcome.rate_limited += 1;
        } else if frame.contains("RE_HEARTBEAT") {
            guest.way = if self.want_tokens { Way::In } else { Way::Done };
            let want = b"{\"MID\":\"t\",\"CONTENT\":{\"want\":\"new\"},\"TYPE\":\"TOKEN\"}\n";
            if self.want_tokens && stream.write_all(want).is_err() {
                guest.way = again;
            }
        } else if frame.contains("RE_TOKEN") {
            guest.token = frame.split("\"Content\":\"").nth(1).and_then(|rest| rest.split('"').next()).map(Into::into);
            guest.way = Way::Done;
        } else if frame.contains("NOT_LOGGED_IN") {
            let guesses = matches!(guest.credential, Credential::WrongPassword);
            guest.throttled = guest.refusal == Some(Refusal::RateLimited);
            guest.way = match guest.refusal {
                Some(Refusal::Wrong) => Way::Done,
                Some(Refusal::RateLimited) if guesses => Way::Done,
                _ => again,
            };
        }
    }
}

/// Reads what there is; `false` when the connection is over.
fn read_all(stream: &mut impl Read, input: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 4 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return false,
            Ok(count) => input.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}
