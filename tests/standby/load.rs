//! Clients that behave as they should when a server goes away: they connect to the other server,
//! send all unanswered messages again, and ack the messages that they receive.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A client leaves a server that says nothing for this long.
const PATIENCE: Duration = Duration::from_secs(1);
const WINDOW: usize = 8;

struct Link(BufReader<TcpStream>);

impl Link {
    /// Connects and logs in on the first server that lets this user in.
    fn open(servers: &[SocketAddr], name: &str) -> Option<Self> {
        servers.iter().find_map(|server| {
            let stream = TcpStream::connect_timeout(server, PATIENCE).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            let mut link = Self(BufReader::new(stream));
            link.send(json!({"TYPE": "2", "MID": "l", "CONTENT": {"USER": name, "PASS": "secret"}}))?;
            (link.next()??["CONTENT"]["Content"] == "LS").then_some(link)
        })
    }

    /// `None`: the server is gone.
    fn send(&mut self, frame: Value) -> Option<()> {
        self.0.get_mut().write_all(format!("{frame}\n").as_bytes()).ok()
    }

    /// `Some(None)`: nothing has come.
    fn next(&mut self) -> Option<Option<Value>> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => Some(Some(serde_json::from_str(&line).unwrap())),
            Ok(_) => None,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && line.is_empty() => Some(None),
            Err(_) => None,
        }
    }
}

/// The knowledge of the clients of a run.
#[derive(Default)]
pub(crate) struct Known {
    /// The ids of the messages that were answered with `MS`.
    pub(crate) promised: Mutex<BTreeSet<String>>,
    /// The ids of the messages that were received.
    pub(crate) seen: Mutex<BTreeSet<String>>,
    stop: AtomicBool,
}

impl Known {
    pub(crate) fn promises(&self) -> usize {
        self.promised.lock().unwrap().len()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// Starts a thread on which Sue sends messages to these receivers until the run is stopped.
pub(crate) fn talk(servers: [SocketAddr; 2], receivers: &'static [&'static str], known: &Arc<Known>) -> JoinHandle<()> {
    let known = Arc::clone(known);
    thread::spawn(move || {
        let (mut next, mut unanswered) = (0_usize, BTreeSet::new());
        while !known.is_stopped() {
            if let Some(mut link) = Link::open(&servers, "sue") {
                talk_on(&mut link, receivers, &mut next, &mut unanswered, &known);
            }
            thread::sleep(Duration::from_millis(20));
        }
    })
}

fn talk_on(
    link: &mut Link,
    receivers: &[&str],
    next: &mut usize,
    unanswered: &mut BTreeSet<String>,
    known: &Known,
) -> Option<()> {
    let mut again: Vec<String> = unanswered.iter().cloned().collect();
    let mut in_flight = 0;
    while !known.is_stopped() {
        while in_flight < WINDOW {
            let id = again.pop().unwrap_or_else(|| {
                *next += 1;
                format!("{}-{next}", receivers[*next % receivers.len()])
            });
            let receiver = id.split('-').next().unwrap();
            let content = json!({"messageId": id, "sender": "sue", "receiver": receiver, "content": "honk"});
            unanswered.insert(id.clone());
            link.send(json!({"TYPE": "4", "CONTENT": content}))?;
            in_flight += 1;
        }
        let frame = link.next()??;
        if frame["TYPE"] == "RE_MESSAGE" {
            in_flight -= 1;
            let id = frame["CONTENT"]["MessageId"].as_str().unwrap();
            if frame["CONTENT"]["Content"] == "MS" {
                unanswered.remove(id);
                known.promised.lock().unwrap().insert(id.to_owned());
            } else {
                again.push(id.to_owned());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
    Some(())
}

/// Starts a thread on which a user receives and acks. After the run is stopped, the thread ends
/// when the user has received all messages that were promised to them.
pub(crate) fn listen(servers: [SocketAddr; 2], name: &'static str, known: &Arc<Known>) -> JoinHandle<()> {
    let known = Arc::clone(known);
    thread::spawn(move || {
        let until_stopped = || known.is_stopped() && missing(&known, name).is_empty();
        let mut quiet = 0;
        while !until_stopped() && quiet < 30 {
            let Some(mut link) = Link::open(&servers, name) else {
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            while let Some(frame) = link.next() {
                let Some(frame) = frame else {
                    // A frozen server never says anything, so do not try for ever.
                    quiet += usize::from(known.is_stopped());
                    break;
                };
                if frame["TYPE"] != "4" {
                    continue;
                }
                let id = frame["CONTENT"]["messageId"].as_str().unwrap().to_owned();
                // The ack goes first: a test that finds the id in `seen` knows that the ack was
                // sent.
                if link.send(json!({"TYPE": "5", "CONTENT": {"MessageId": id}})).is_none() {
                    break;
                }
                known.seen.lock().unwrap().insert(id);
                if until_stopped() {
                    break;
                }
            }
        }
        let missing = missing(&known, name);
        assert!(missing.is_empty(), "promised to {name} and never delivered: {missing:?}");
    })
}

fn missing(known: &Known, name: &str) -> Vec<String> {
    let seen = known.seen.lock().unwrap();
    let promised = known.promised.lock().unwrap();
    promised.difference(&seen).filter(|id| id.split('-').next() == Some(name)).cloned().collect()
}
