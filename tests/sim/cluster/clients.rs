//! Users with one client each, which connects to any node.

use super::super::say::{Frame, Say};
use super::Cluster;
use super::nodes::Peer;
use hongyan::chat::contract::ConnId;
use hongyan::protocol::reply::Reply;
use hongyan::protocol::request::FriendVerb;
use std::collections::BTreeMap;

#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: &'static str,
    /// The node to which it is connected.
    pub(super) at: Option<(usize, ConnId)>,
    /// Grows when a connection begins or ends. The client ignores frames of earlier connections.
    pub(super) serial: u64,
    pub(super) on: bool,
    /// Its unanswered messages, by receiver and id.
    pub(super) unanswered: Vec<(&'static str, String)>,
    said: u64,
    /// It watches which of its friends are online.
    pub(super) watches: bool,
    /// Which friends are online, as far as the client was told.
    pub(super) shown: BTreeMap<String, bool>,
    /// It stays away for now.
    pub(super) stays_away: bool,
}

impl Cluster {
    pub(super) fn add_client(&mut self, user: &'static str) {
        let (at, serial, on) = (None, 0, false);
        let (watches, shown, stays_away) = (false, BTreeMap::new(), false);
        let unanswered = Vec::new();
        self.clients.push(Client { user, at, serial, on, unanswered, said: 0, watches, shown, stays_away });
        let client = self.clients.len() - 1;
        let wait_ms = self.random.below(500);
        self.later(wait_ms, move |cluster| cluster.connect(client));
    }

    pub(super) fn connect(&mut self, client: usize) {
        if self.clients[client].at.is_some() || self.clients[client].stays_away {
            return;
        }
        let open: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].is_up()).collect();
        let Some(&node) = self.random.pick(&open) else {
            return self.later(300, move |cluster| cluster.connect(client));
        };
        let serial = self.clients[client].serial + 1;
        let conn = self.accept(node, Peer { client, serial });
        let entry = &mut self.clients[client];
        (entry.at, entry.serial, entry.on) = (Some((node, conn)), serial, false);
        let user = entry.user;
        self.client_says(client, Say::Login { mid: "l".into(), user: user.into(), password: user.into() });
        self.later(12_000, move |cluster| {
            if cluster.clients[client].serial == serial && !cluster.clients[client].on {
                cluster.leave(client);
            }
        });
        self.later(2_000, move |cluster| cluster.say_again(client, serial));
    }

    /// Sends again, from time to time, the messages that are not answered yet.
    fn say_again(&mut self, client: usize, serial: u64) {
        let entry = &self.clients[client];
        if entry.serial != serial || entry.at.is_none() {
            return;
        }
        if entry.on {
            self.say_all(client);
        }
        self.later(2_000, move |cluster| cluster.say_again(client, serial));
    }

    fn say_all(&mut self, client: usize) {
        for (receiver, id) in self.clients[client].unanswered.clone() {
            self.client_says_message(client, receiver, id);
        }
    }

    pub(super) fn client_says(&mut self, client: usize, say: Say) {
        if let Some((node, conn)) = self.clients[client].at {
            let life = self.nodes[node].life;
            self.later(1, move |cluster| cluster.node_hears(node, life, conn, say));
        }
    }

    fn client_says_message(&mut self, client: usize, receiver: &str, id: String) {
        let sender = self.clients[client].user.to_owned();
        self.client_says(client, Say::Message { id, sender, receiver: receiver.into(), content: "hello".into() });
    }

    /// Sends a new message to a user.
    pub(super) fn talk(&mut self, client: usize) {
        let other = self.random.below(self.clients.len() as u64) as usize;
        if other == client {
            return;
        }
        self.say_new(client, other);
    }

    pub(super) fn say_new(&mut self, client: usize, other: usize) {
        let receiver = self.clients[other].user;
        let entry = &mut self.clients[client];
        entry.said += 1;
        let id = format!("{}{}", entry.user, entry.said);
        entry.unanswered.push((receiver, id.clone()));
        if entry.on {
            self.client_says_message(client, receiver, id);
        }
    }

    /// Asks to be friends, accepts, or ends the friendship, whichever is possible.
    pub(super) fn befriend(&mut self, client: usize) {
        let other = self.random.below(self.clients.len() as u64) as usize;
        if other == client || !self.clients[client].on {
            return;
        }
        let (me, other) = (self.clients[client].user.to_owned(), self.clients[other].user.to_owned());
        self.serial += 1;
        let (verb, id, sender, receiver) = if self.store.model.are_friends(&me, &other) {
            (FriendVerb::Delete, format!("f{}", self.serial), me, other)
        } else if let Some(id) = self.store.model.pending_id(&other, &me) {
            (FriendVerb::Accept, id, other, me)
        } else {
            (FriendVerb::Request, format!("f{}", self.serial), me, other)
        };
        self.oracle.count("friendships");
        self.client_says(client, Say::Friend { id, sender, receiver, verb, content: String::new() });
    }

    /// Sends a message to each user. Friends get it, and no other users do.
    pub(super) fn probe_friends(&mut self) {
        for client in 0..self.clients.len() {
            for other in (0..self.clients.len()).filter(|other| *other != client) {
                self.say_new(client, other);
            }
        }
        let asked: Vec<Vec<(&str, String)>> = self.clients.iter().map(|client| client.unanswered.clone()).collect();
        self.pass(3_000);
        for (client, asked) in asked.into_iter().enumerate() {
            let me = &self.clients[client];
            for (other, id) in asked {
                let are_friends = self.store.model.are_friends(me.user, other);
                let is_promised = self.oracle.is_promised(&(me.user.into(), other.into(), id));
                assert_eq!(is_promised, are_friends, "{} and {other}, by what their nodes know", me.user);
            }
        }
    }

    /// The connection of the client has ended. The client connects again later.
    fn lose(&mut self, client: usize, waits_ms: &[u64]) {
        let entry = &mut self.clients[client];
        (entry.at, entry.on) = (None, false);
        entry.serial += 1;
        let wait_ms = self.random.pick(waits_ms).copied().unwrap_or(1);
        self.later(wait_ms, move |cluster| cluster.connect(client));
    }

    /// The client leaves; its node may notice that much later.
    pub(super) fn leave(&mut self, client: usize) {
        let Some((node, conn)) = self.clients[client].at else {
            return;
        };
        self.say(|| format!("{} leaves {node}", self.clients[client].user));
        self.lose(client, &[1, 5, 300, 3_000]);
        let life = self.nodes[node].life;
        let wait_ms = if self.random.chance(300) { self.random.below(20_000) } else { 1 };
        self.later(wait_ms, move |cluster| cluster.peer_closed(node, life, conn));
    }

    /// Its node has closed the connection, or died.
    pub(super) fn client_closed(&mut self, peer: Peer) {
        if self.clients[peer.client].serial == peer.serial {
            self.lose(peer.client, &[1, 200, 1_000]);
        }
    }

    /// Takes a frame from the node. `is_plain`: no error follows the frame.
    pub(super) fn client_gets(&mut self, peer: Peer, frame: &Frame, is_plain: bool) {
        let client = peer.client;
        if self.clients[client].serial != peer.serial {
            return;
        }
        match frame {
            Frame::Closed(_) => self.client_closed(peer),
            Frame::Reply { reply: Reply::Login { done: true }, .. } => {
                self.oracle.count("log-ins");
                self.clients[client].on = true;
                self.watch(client);
                self.say_all(client);
            }
            Frame::Reply { reply: Reply::Login { done: false }, .. } => {
                self.oracle.count("refused log-ins");
                self.leave(client);
            }
            Frame::Reply { id, reply: Reply::Message { is_durable } } => {
                let id = id.as_str().to_owned();
                let unanswered = &mut self.clients[client].unanswered;
                let Some(place) = unanswered.iter().position(|(_, of)| *of == id) else {
                    return;
                };
                if *is_durable || is_plain {
                    // A plain MF is final: the two users are not friends.
                    assert!(*is_durable || !self.are_all_friends, "MF between friends: {id}");
                    unanswered.remove(place);
                } else {
                    self.oracle.count("MF");
                    let receiver = unanswered[place].0;
                    self.later(300, move |cluster| {
                        if cluster.clients[client].serial == peer.serial {
                            cluster.client_says_message(client, receiver, id);
                        }
                    });
                }
            }
            Frame::Push(push) => {
                self.say(|| format!("{} sees {} {}", self.clients[client].user, push.seq, push.id()));
                self.oracle.saw(push, (self.now_ms, peer.serial));
                let (id, sender) = (push.id().to_owned(), Some(push.sender().to_owned()));
                let wait_ms = [1, 2, 10, 250, 700][self.random.below(5) as usize];
                let wait_ms = if self.acks_at_once { 1 } else { wait_ms };
                self.later(wait_ms, move |cluster| {
                    if cluster.clients[client].serial == peer.serial {
                        cluster.client_says(client, Say::Ack { id, sender });
                    }
                });
            }
            Frame::Reply { reply: Reply::Roster(roster), .. } => self.is_shown_roster(peer, roster),
            Frame::Presence { user, online } => self.is_shown(peer, user, *online),
            _ => {}
        }
    }
}

impl Client {
    /// The receiver of this message, if the client still waits for the answer.
    pub(super) fn receiver_of(&self, id: &str) -> Option<String> {
        self.unanswered.iter().find(|(_, of)| of == id).map(|(receiver, _)| (*receiver).to_owned())
    }
}
