//! Friend requests in flight while the server is killed. Each of some requesters asks the host, who
//! accepts; then the requester ends it and asks anew under the next id. After the restart a
//! requester who had no answer sends it again, and the answers must hold: a request can be accepted
//! once, the push of an accept comes unless it was acked, friends can write to each other, and
//! nobody else can.

use super::killed::Client;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

const HOST: &str = "host";
const REQUESTERS: [&str; 4] = ["requester0", "requester1", "requester2", "requester3"];

/// How far a request to the server got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    No,
    Sent,
    Promised,
}

/// The state of a requester's latest request, as the requester and the host know it.
#[derive(Debug, Default)]
struct Pair {
    number: u64,
    asked: Said,
    accepted: Said,
    ended: Said,
    /// The host has acked the push of the request.
    request_acked: bool,
    /// The requester has acked the push of the accept.
    accept_acked: bool,
}

type Pairs = Arc<Mutex<[Pair; REQUESTERS.len()]>>;

/// All requesters and their host.
pub(crate) struct FriendLoad {
    pairs: Pairs,
    /// Requests that were open at a kill.
    pub(crate) checked: u64,
}

/// `requester2-17`: the third requester's 17th request.
fn id(requester: usize, number: u64) -> String {
    format!("{}-{number}", REQUESTERS[requester])
}

fn words(kind: &str, id: &str, requester: &str) -> Value {
    json!({"messageId": id, "sender": requester, "receiver": HOST, "content": "", "type": kind})
}

/// The pair whose latest request has this id. An answer that comes late may be about one that is
/// over.
fn latest<'a>(pairs: &'a mut MutexGuard<'_, [Pair; REQUESTERS.len()]>, wanted: &str) -> Option<&'a mut Pair> {
    let found = (0..REQUESTERS.len()).find(|&requester| id(requester, pairs[requester].number) == wanted)?;
    Some(&mut pairs[found])
}

/// Asks, waits for the accept, ends it, and so on until the server is gone.
fn ask(mut client: Client, requester: usize, pairs: &Pairs) -> Option<()> {
    let name = REQUESTERS[requester];
    loop {
        let id = {
            let pair = &mut pairs.lock().unwrap()[requester];
            *pair = Pair { number: pair.number + 1, asked: Said::Sent, ..Pair::default() };
            id(requester, pair.number)
        };
        client.send("6", "", &words("1", &id, name)).ok()?;
        // The answer and the push of the accept come in any order.
        let mut is_accepted = false;
        while !is_accepted || pairs.lock().unwrap()[requester].asked != Said::Promised {
            let frame = client.next()?;
            if frame["TYPE"] == "RE_FRI_REQ" {
                pairs.lock().unwrap()[requester].asked = Said::Promised;
            } else if frame["CONTENT"]["messageId"] == id.as_str() {
                is_accepted = true;
                pairs.lock().unwrap()[requester].accept_acked = true;
                client.ack(&id).ok()?;
            }
        }
        pairs.lock().unwrap()[requester].ended = Said::Sent;
        client.send("6", "", &words("4", &id, name)).ok()?;
        while client.next()?["TYPE"] != "RE_FRI_REQ" {}
        pairs.lock().unwrap()[requester].ended = Said::Promised;
    }
}

/// Accepts whatever is asked until the server is gone.
fn accept(mut host: Client, pairs: &Pairs) -> Option<()> {
    loop {
        let frame = host.next()?;
        let said = &frame["CONTENT"];
        if frame["TYPE"] == "RE_FRI_REQ" {
            let id = said["MessageId"].as_str().unwrap();
            if let Some(pair) = latest(&mut pairs.lock().unwrap(), id) {
                pair.accepted = Said::Promised;
            }
        } else if frame["TYPE"] == "6" {
            let id = said["messageId"].as_str().unwrap();
            // Every other one is on the list still when it is accepted.
            let is_acked_first = id.ends_with(['0', '2', '4', '6', '8']);
            if let Some(pair) = latest(&mut pairs.lock().unwrap(), id) {
                pair.accepted = Said::Sent;
                pair.request_acked = is_acked_first;
            }
            let accept = words("2", id, said["sender"].as_str().unwrap());
            if is_acked_first {
                host.ack(id).ok()?;
            }
            host.send("6", "", &accept).ok()?;
            if !is_acked_first {
                if let Some(pair) = latest(&mut pairs.lock().unwrap(), id) {
                    pair.request_acked = true;
                }
                host.ack(id).ok()?;
            }
        }
    }
}

/// Somebody who is back after the restart and acks whatever comes.
struct Back {
    client: Client,
    pushed: BTreeSet<String>,
}

impl Back {
    fn log_in(addr: SocketAddr, name: &str) -> Self {
        Self { client: Client::log_in(addr, name), pushed: BTreeSet::new() }
    }

    /// The next frame that is no push.
    fn next(&mut self) -> Option<Value> {
        let frame = self.client.next().expect("the server went away");
        let Some(id) = frame["CONTENT"]["messageId"].as_str() else { return Some(frame) };
        self.client.ack(id).unwrap();
        self.pushed.insert(id.to_owned());
        None
    }

    fn wait_for_push(&mut self, id: &str) {
        while !self.pushed.contains(id) {
            self.next();
        }
    }

    /// Sends and gives the answer.
    fn say(&mut self, kind: &str, words: &Value) -> Value {
        self.client.send(kind, "", words).unwrap();
        loop {
            if let Some(frame) = self.next()
                && frame["CONTENT"]["MessageId"] == words["messageId"]
            {
                return frame;
            }
        }
    }

    fn say_and_be_promised(&mut self, words: &Value) {
        let answer = self.say("6", words);
        assert_eq!(answer["TYPE"], "RE_FRI_REQ", "{words}: {answer}");
    }

    /// Can the requester write to the host?
    fn is_friend(&mut self, host: &mut Back, id: &str) -> bool {
        let id = format!("hello-{id}");
        let words = json!({"messageId": id, "sender": self.client.name, "receiver": HOST, "content": ""});
        let is_taken = self.say("4", &words)["CONTENT"]["Content"] == "MS";
        if is_taken {
            host.wait_for_push(&id);
        }
        is_taken
    }
}

/// The host accepts what is open, perhaps once more, and both get what is theirs.
fn check_open(pair: &Pair, id: &str, requester: &mut Back, host: &mut Back) {
    if pair.asked == Said::Promised && !pair.request_acked {
        host.wait_for_push(id);
    }
    let answer = host.say("6", &words("2", id, &requester.client.name));
    let is_done_now = answer["TYPE"] == "RE_FRI_REQ";
    let was_done = answer["CONTENT"]["Content"].as_str().unwrap().starts_with("NO_SUCH_REQUEST");
    match pair.accepted {
        Said::No => assert!(is_done_now, "{id} is lost: {pair:?} {answer}"),
        Said::Sent => assert!(is_done_now || was_done, "{id}: {pair:?} {answer}"),
        Said::Promised => assert!(was_done, "{id} can be accepted twice: {pair:?} {answer}"),
    }
    if !pair.accept_acked {
        requester.wait_for_push(id);
    }
    assert!(requester.is_friend(host, id), "{id}: {pair:?}");
    requester.say_and_be_promised(&words("4", id, &requester.client.name.clone()));
}

impl FriendLoad {
    pub(crate) fn sign_up(addr: SocketAddr) -> Self {
        [HOST].iter().chain(&REQUESTERS).for_each(|name| Client::sign_up(addr, name));
        Self { pairs: Pairs::default(), checked: 0 }
    }

    /// They talk until the server is gone; then these threads end.
    pub(crate) fn start(&self, addr: SocketAddr) -> Vec<JoinHandle<Option<()>>> {
        let (host, pairs) = (Client::log_in(addr, HOST), Arc::clone(&self.pairs));
        let mut threads = vec![thread::spawn(move || accept(host, &pairs))];
        threads.extend(REQUESTERS.iter().enumerate().map(|(requester, name)| {
            let (client, pairs) = (Client::log_in(addr, name), Arc::clone(&self.pairs));
            thread::spawn(move || ask(client, requester, &pairs))
        }));
        threads
    }

    /// After the restart: requests that were answered hold, the others are sent again. In the end
    /// nobody is the host's friend.
    pub(crate) fn check(&mut self, addr: SocketAddr) {
        let mut host = Back::log_in(addr, HOST);
        let mut pairs = self.pairs.lock().unwrap();
        for (requester, pair) in pairs.iter_mut().enumerate() {
            let (id, name) = (id(requester, pair.number), REQUESTERS[requester]);
            let mut requester = Back::log_in(addr, name);
            let unanswered = [("1", pair.asked), ("4", pair.ended)].into_iter().filter(|(_, said)| *said == Said::Sent);
            unanswered.for_each(|(kind, _)| requester.say_and_be_promised(&words(kind, &id, name)));
            if pair.asked != Said::No && pair.ended == Said::No {
                self.checked += 1;
                check_open(pair, &id, &mut requester, &mut host);
            }
            assert!(!requester.is_friend(&mut host, &format!("{id}-ended")), "{id} was ended: {pair:?}");
            *pair = Pair { number: pair.number, ..Pair::default() };
        }
        host.client.fence();
    }
}
