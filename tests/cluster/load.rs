//! Users of a cluster: they log in on any node, move to another one now and then, send unanswered
//! messages again, and ack what they receive. Each sends the next message when the previous one was
//! answered, so all messages to one receiver must be seen in the order of their numbers.

use crate::common::{Client, ContentForm, Transport, befriend};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A user leaves a node that has not answered for this long.
const PATIENCE: Duration = Duration::from_secs(3);

/// The behaviour of the users.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    /// The longest wait for a log-in.
    pub(crate) log_in: Duration,
    /// The shortest and the longest stay on a node, in milliseconds.
    pub(crate) stay_ms: (u64, u64),
    /// The pause before the next message.
    pub(crate) pause: Duration,
}
const TICK: Duration = Duration::from_millis(50);
/// The time after the end of a run within which all promised messages must have arrived.
const SETTLED_AFTER: Duration = Duration::from_secs(90);

/// Sender and receiver.
pub(crate) type Pair = (&'static str, &'static str);

/// A promise: when the message was sent, when its answer came, and its receiver.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "only the test of faults reads it")]
pub(crate) struct Answer {
    pub(crate) sent: Instant,
    pub(crate) came: Instant,
    pub(crate) to: &'static str,
}

/// The records of the users of a run.
#[derive(Default)]
pub(crate) struct Known {
    /// Answered with `MS`.
    pub(crate) promised: Mutex<BTreeMap<Pair, BTreeSet<u64>>>,
    /// Received, in the order of their first arrival.
    pub(crate) seen: Mutex<BTreeMap<Pair, Vec<u64>>>,
    /// Each user's promises, in order.
    pub(crate) answers: Mutex<BTreeMap<&'static str, Vec<Answer>>>,
    stop: AtomicBool,
    /// Messages that are not answered.
    unanswered: AtomicUsize,
}

impl Known {
    pub(crate) fn promises(&self) -> usize {
        self.promised.lock().unwrap().values().map(BTreeSet::len).sum()
    }

    fn missing(&self, name: &str) -> Vec<(Pair, u64)> {
        let (promised, seen) = (self.promised.lock().unwrap(), self.seen.lock().unwrap());
        let to = promised.iter().filter(|((_, to), _)| *to == name);
        to.flat_map(|(pair, numbers)| {
            let seen: BTreeSet<u64> = seen.get(pair).into_iter().flatten().copied().collect();
            numbers.difference(&seen).map(|&number| (*pair, number)).collect::<Vec<_>>()
        })
        .collect()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// The messages that a user may still receive. An unanswered message may be in the store.
    fn left(&self, name: &str) -> String {
        let (unanswered, missing) = (self.unanswered.load(Ordering::SeqCst), self.missing(name));
        if unanswered == 0 && missing.is_empty() {
            return String::new();
        }
        format!("{unanswered} not answered, promised and never delivered: {missing:?}")
    }

    fn is_over(&self, name: &str) -> bool {
        self.is_stopped() && self.left(name).is_empty()
    }

    /// Ends a run: waits until all promised messages have arrived, and checks their order.
    pub(crate) fn end(&self, users: Vec<JoinHandle<()>>) {
        self.stop.store(true, Ordering::SeqCst);
        users.into_iter().for_each(|user| user.join().unwrap());
        self.check_order();
    }

    /// Each message arrived first in the order of sending.
    pub(crate) fn check_order(&self) {
        for (pair, seen) in self.seen.lock().unwrap().iter() {
            assert!(seen.is_sorted(), "{pair:?}: out of order: {seen:?}");
        }
    }
}

/// Creates accounts that are friends of each other, on one node, and logs them out.
pub(crate) fn make_friends(node: SocketAddr, names: &[&str]) {
    let mut clients: Vec<Client> = names
        .iter()
        .map(|name| {
            let mut client = Client::connect(node, Transport::Raw, ContentForm::Text);
            client.sign_up(name);
            client.log_in(name);
            client
        })
        .collect();
    for at in 1..clients.len() {
        let (before, rest) = clients.split_at_mut(at);
        before.iter_mut().for_each(|friend| befriend(&mut rest[0], friend));
    }
}

struct Link(BufReader<TcpStream>);

impl Link {
    fn open(server: SocketAddr, name: &str, patience: Duration) -> Option<Self> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE).ok()?;
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut link = Self(BufReader::new(stream));
        link.send(&json!({"TYPE": "2", "MID": "l", "CONTENT": {"USER": name, "PASS": "secret"}}))?;
        (link.next()??["CONTENT"]["Content"] == "LS").then_some(())?;
        link.0.get_ref().set_read_timeout(Some(TICK)).unwrap();
        Some(link)
    }

    /// `None`: the node is gone.
    fn send(&mut self, frame: &Value) -> Option<()> {
        self.0.get_mut().write_all(format!("{frame}\n").as_bytes()).ok()
    }

    /// `Some(None)`: no frame has arrived.
    fn next(&mut self) -> Option<Option<Value>> {
        let mut line = String::new();
        loop {
            match self.0.read_line(&mut line) {
                Ok(_) if line.ends_with('\n') => return Some(Some(serde_json::from_str(&line).unwrap())),
                Ok(_) => return None,
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
                Err(_) if line.is_empty() => return Some(None),
                Err(_) => {}
            }
        }
    }
}

/// One user, and the message that is not answered yet.
struct User {
    name: &'static str,
    friends: Vec<&'static str>,
    next: u64,
    unanswered: Option<(u64, Instant)>,
    /// The time of the next message.
    due: Instant,
    habits: Habits,
    known: Arc<Known>,
    random: fastrand::Rng,
}

/// Starts a user who talks to all of these friends, and moves from node to node.
pub(crate) fn start(
    name: &'static str,
    friends: Vec<&'static str>,
    servers: Vec<SocketAddr>,
    habits: Habits,
    known: &Arc<Known>,
) -> JoinHandle<()> {
    let random = fastrand::Rng::with_seed(name.bytes().map(u64::from).sum());
    let (due, known) = (Instant::now(), Arc::clone(known));
    let mut user = User { name, friends, next: 0, unanswered: None, due, habits, known, random };
    thread::spawn(move || user.live(&servers))
}

impl User {
    fn live(&mut self, servers: &[SocketAddr]) {
        let mut stopped = None;
        loop {
            if self.known.is_stopped() {
                let left = self.known.left(self.name);
                if left.is_empty() {
                    return;
                }
                let stopped = *stopped.get_or_insert_with(Instant::now);
                assert!(stopped.elapsed() < SETTLED_AFTER, "{left}");
            }
            let server = servers[self.random.usize(..servers.len())];
            if let Some(mut link) = Link::open(server, self.name, self.habits.log_in) {
                let (least, most) = self.habits.stay_ms;
                let until = Instant::now() + Duration::from_millis(self.random.u64(least..most));
                self.talk(&mut link, until);
            }
            thread::sleep(TICK);
        }
    }

    fn receiver(&self, number: u64) -> &'static str {
        self.friends[number as usize % self.friends.len()]
    }

    fn talk(&mut self, link: &mut Link, until: Instant) -> Option<()> {
        // Unanswered messages are sent again at once.
        let mut resend = self.unanswered.is_some();
        while Instant::now() < until {
            let is_stopped = self.known.is_stopped();
            if self.known.is_over(self.name) {
                return Some(());
            }
            let is_due = self.unanswered.is_none() && !is_stopped && Instant::now() >= self.due;
            if resend || is_due {
                resend = false;
                let number = self.unanswered.map_or(self.next, |(number, _)| number);
                if self.unanswered.is_none() {
                    self.known.unanswered.fetch_add(1, Ordering::SeqCst);
                }
                self.unanswered = Some((number, Instant::now()));
                let (id, to) = (format!("{}-{number}", self.name), self.receiver(number));
                let content = json!({"messageId": id, "sender": self.name, "receiver": to, "content": "honk"});
                link.send(&json!({"TYPE": "4", "CONTENT": content}))?;
            }
            if self.unanswered.is_some_and(|(_, at)| at.elapsed() > PATIENCE) {
                return None;
            }
            match link.next()? {
                Some(frame) if frame["TYPE"] == "4" => self.seen(link, &frame)?,
                Some(frame) if frame["TYPE"] == "RE_MESSAGE" => {
                    resend = self.answered(&frame);
                    if resend {
                        thread::sleep(TICK);
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// Is the message to be sent again?
    fn answered(&mut self, frame: &Value) -> bool {
        let id = frame["CONTENT"]["MessageId"].as_str().unwrap();
        let number: u64 = id.split('-').nth(1).unwrap().parse().unwrap();
        if self.unanswered.is_none_or(|(waits, _)| waits != number) {
            // The answer to an earlier try.
            return false;
        }
        if frame["CONTENT"]["Content"] != "MS" {
            return true;
        }
        let pair = (self.name, self.receiver(number));
        self.known.promised.lock().unwrap().entry(pair).or_default().insert(number);
        let came = Instant::now();
        let answer = Answer { sent: self.unanswered.map_or(came, |(_, sent)| sent), came, to: pair.1 };
        self.known.answers.lock().unwrap().entry(self.name).or_default().push(answer);
        self.due = came + self.habits.pause;
        (self.unanswered, self.next) = (None, number + 1);
        self.known.unanswered.fetch_sub(1, Ordering::SeqCst);
        false
    }

    fn seen(&mut self, link: &mut Link, frame: &Value) -> Option<()> {
        let id = frame["CONTENT"]["messageId"].as_str().unwrap();
        let (from, number) = id.split_once('-').unwrap();
        let from = self.friends.iter().find(|friend| **friend == from).unwrap();
        link.send(&json!({"TYPE": "5", "CONTENT": {"MessageId": id}}))?;
        let mut seen = self.known.seen.lock().unwrap();
        let seen = seen.entry((from, self.name)).or_default();
        let number = number.parse().unwrap();
        if !seen.contains(&number) {
            seen.push(number);
        }
        Some(())
    }
}
