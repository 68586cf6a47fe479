//! Users as they should be in a cluster: they come to any node, now and then to another one, send
//! again what was not answered, and ack what they receive. Each sends the next message when the one
//! before was answered, so all to one receiver must be seen in the order of their numbers.

use crate::common::{Client, ContentForm, Transport, befriend};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A node that says nothing for so long, though it should, is left.
const PATIENCE: Duration = Duration::from_secs(3);

/// What users do.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    /// So long they wait for a log-in.
    pub(crate) log_in: Duration,
    /// So many milliseconds they stay on a node, the least and the most.
    pub(crate) stay_ms: (u64, u64),
    /// So long they wait before the next message.
    pub(crate) pause: Duration,
}
const TICK: Duration = Duration::from_millis(50);
/// So long after the end of a run all that was promised has come.
const SETTLED_AFTER: Duration = Duration::from_secs(90);

/// From whom to whom.
pub(crate) type Pair = (&'static str, &'static str);

/// A promise: when the message was sent, when the answer came, and to whom it was.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "only the test of faults reads it")]
pub(crate) struct Answer {
    pub(crate) sent: Instant,
    pub(crate) came: Instant,
    pub(crate) to: &'static str,
}

/// What the users of a run know.
#[derive(Default)]
pub(crate) struct Known {
    /// Answered with `MS`.
    pub(crate) promised: Mutex<BTreeMap<Pair, BTreeSet<u64>>>,
    /// Received, in the order in which each was seen first.
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

    /// What could a user still wait for? What is not answered may be in the store.
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

    /// Ends a run: waits until all that was promised has come, and looks at its order.
    pub(crate) fn end(&self, users: Vec<JoinHandle<()>>) {
        self.stop.store(true, Ordering::SeqCst);
        users.into_iter().for_each(|user| user.join().unwrap());
        self.check_order();
    }

    /// Each was seen first in the order in which it was sent.
    pub(crate) fn check_order(&self) {
        for (pair, seen) in self.seen.lock().unwrap().iter() {
            assert!(seen.is_sorted(), "{pair:?}: out of order: {seen:?}");
        }
    }
}

/// Accounts that are friends of each other, made on one node and logged out.
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

    /// `Some(None)`: nothing has come.
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
    /// The next message is sent then.
    due: Instant,
    habits: Habits,
    known: Arc<Known>,
    random: fastrand::Rng,
}

/// Starts a user who talks to all of these friends, and roams from node to node.
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
        // What was not answered is sent again at once.
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

    /// Is it to be sent again?
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
