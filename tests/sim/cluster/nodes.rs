//! One node: its core, its connections, its lanes to the store, its lease and its inbox.

use super::super::say::{Frame, Say};
use super::super::store::MessageKey;
use super::super::world::EPOCH_MS;
use super::Cluster;
use hongyan::chat::ServerCore;
use hongyan::chat::contract::{ConnId, CoreAction, CoreInput, NodeIncarnation, TurnTimestamp};
use hongyan::protocol::reply::Reply;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A message may be answered this much later than required: a node is called late, and was paused.
const ANSWER_SLACK_MS: u64 = 1_000;

/// A client, in one of its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) client: usize,
    pub(super) serial: u64,
}

#[derive(Debug)]
pub(super) struct Conn {
    peer: Peer,
    user: Option<String>,
    attempt: String,
    input_paused: bool,
    requests_paused: bool,
    waiting_input: VecDeque<Say>,
    outstanding: BTreeSet<MessageKey>,
    /// Unanswered messages, each with the time by which it must be answered.
    waiting: Vec<(String, u64)>,
}

impl Conn {
    /// The client, if this is the connection that its user has now.
    pub(super) fn peer_of(&self, user: &str) -> Option<Peer> {
        (self.user.as_deref() == Some(user)).then_some(self.peer)
    }

    fn hears(&self, say: &Say) -> bool {
        let passes = || say.request().is_ok_and(|request| request.passes_paused_requests());
        !self.input_paused && (!self.requests_paused || passes())
    }
}

pub(super) type Waiting = Box<dyn FnOnce(&mut Cluster)>;

pub(super) struct Node {
    pub(super) chat: Option<ServerCore>,
    pub(super) me: Option<NodeIncarnation>,
    /// Increases with each start, kill and fence.
    pub(super) life: u64,
    pub(super) started_ms: u64,
    pub(super) skew_ms: i64,
    pub(super) paused: bool,
    /// Events that happen when the node continues.
    pub(super) resumes: Vec<Waiting>,
    /// Lanes with a job that was not sent when the node was paused; later jobs of the lane were not
    /// sent either.
    pub(super) stuck: BTreeSet<String>,
    pub(super) conns: BTreeMap<ConnId, Conn>,
    /// When the last job of each lane is done and answered.
    pub(super) lanes: BTreeMap<String, (u64, u64)>,
    /// When the last of its records for other nodes is written.
    pub(super) records_written_ms: u64,
    pub(super) polls: bool,
    /// The leases of other nodes as they were seen, and since when.
    pub(super) seen: BTreeMap<usize, ((u64, u64), u64)>,
}

impl Node {
    pub(super) fn new(skew_ms: i64) -> Self {
        Self {
            chat: None,
            me: None,
            life: 0,
            started_ms: 0,
            skew_ms,
            paused: false,
            resumes: Vec::new(),
            stuck: BTreeSet::new(),
            conns: BTreeMap::new(),
            lanes: BTreeMap::new(),
            records_written_ms: 0,
            polls: false,
            seen: BTreeMap::new(),
        }
    }

    /// May a client connect?
    pub(super) fn is_up(&self) -> bool {
        self.chat.is_some()
    }

    pub(super) fn wall_ms(&self, now_ms: u64) -> u64 {
        (EPOCH_MS + now_ms).saturating_add_signed(self.skew_ms)
    }
}

impl Cluster {
    pub(super) fn start(&mut self, node: usize) {
        let me = self.store.start(node);
        let first_seq = self.store.row(me).hlc_limit;
        let mut chat = ServerCore::new(self.rules.clone(), first_seq, [1, 2]);
        chat.join(me, self.store.read_view());
        if self.bus.is_there {
            chat.use_bus();
        }
        let entry = &mut self.nodes[node];
        entry.life += 1;
        (entry.chat, entry.me, entry.started_ms) = (Some(chat), Some(me), self.now_ms);
        (entry.paused, entry.polls, entry.records_written_ms) = (false, false, 0);
        entry.seen.clear();
        let life = entry.life;
        self.say(|| format!("node {node} starts as {me:?}"));
        self.later(1, move |cluster| cluster.poll_on(node, life));
    }

    /// Its former state is gone.
    fn end(&mut self, node: usize) {
        let entry = &mut self.nodes[node];
        entry.life += 1;
        (entry.chat, entry.me, entry.paused) = (None, None, false);
        entry.resumes.clear();
        entry.stuck.clear();
        entry.lanes.clear();
        self.bus.ends(node);
        let entry = &mut self.nodes[node];
        for conn in std::mem::take(&mut entry.conns).into_values() {
            self.later(1, move |cluster| cluster.client_closed(conn.peer));
        }
    }

    pub(super) fn kill(&mut self, node: usize) {
        let away_ms = 100 + self.random.below(12_000);
        self.kill_for(node, away_ms);
    }

    pub(super) fn kill_for(&mut self, node: usize, away_ms: u64) {
        if self.nodes[node].chat.is_some() {
            self.say(|| format!("node {node} is killed"));
            self.oracle.count("kills");
            self.end(node);
            self.later(away_ms, move |cluster| cluster.start(node));
        }
    }

    /// The node has learnt that it is fenced: it joins again.
    pub(super) fn fenced(&mut self, node: usize) {
        self.say(|| format!("node {node} is fenced"));
        self.oracle.count("fenced");
        self.end(node);
        let wait_ms = 1 + self.random.below(500);
        self.later(wait_ms, move |cluster| cluster.start(node));
    }

    pub(super) fn fence_wrongly(&mut self, node: usize) {
        if let Some(me) = self.nodes[node].me {
            self.say(|| format!("node {node} is fenced wrongly"));
            self.oracle.count("wrong fences");
            self.store.fence(me);
        }
    }

    pub(super) fn pause(&mut self, node: usize, pause_ms: u64) {
        let entry = &mut self.nodes[node];
        if entry.chat.is_some() && !entry.paused {
            entry.paused = true;
            let life = entry.life;
            self.say(|| format!("node {node} stops for {pause_ms} ms"));
            self.oracle.count("pauses");
            self.later(pause_ms, move |cluster| {
                if cluster.nodes[node].life == life {
                    cluster.resume_now(node);
                }
            });
        }
    }

    pub(super) fn resume_now(&mut self, node: usize) {
        let entry = &mut self.nodes[node];
        if std::mem::take(&mut entry.paused) {
            entry.stuck.clear();
            for (_, due_ms) in entry.conns.values_mut().flat_map(|conn| &mut conn.waiting) {
                *due_ms = (*due_ms).max(self.now_ms + ANSWER_SLACK_MS);
            }
            for what in std::mem::take(&mut entry.resumes) {
                self.later(0, what);
            }
            self.say(|| format!("node {node} goes on"));
        }
    }

    /// Does this when the node runs, if it is still in that incarnation.
    pub(super) fn when_running(&mut self, node: usize, life: u64, what: impl FnOnce(&mut Self) + 'static) {
        let entry = &mut self.nodes[node];
        if entry.life != life {
            return;
        }
        if entry.paused {
            entry.resumes.push(Box::new(move |cluster: &mut Self| cluster.when_running(node, life, what)));
        } else {
            what(self);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<(u64, usize)> {
        let running = self.nodes.iter().enumerate().filter(|(_, node)| !node.paused);
        let deadlines =
            running.filter_map(|(place, node)| Some((node.chat.as_ref()?.next_deadline()? + node.started_ms, place)));
        deadlines.min()
    }

    pub(super) fn tick(&mut self, node: usize) {
        let heard_ms = self.now_ms - self.nodes[node].started_ms;
        self.feed(node, CoreInput::Tick { input_read_until_ms: heard_ms });
    }

    // Connections.

    pub(super) fn accept(&mut self, node: usize, peer: Peer) -> ConnId {
        self.serial += 1;
        let entry = &self.nodes[node];
        let slot = (0..).find(|slot| entry.conns.keys().all(|conn| conn.slot != *slot)).expect("one is free");
        let conn = ConnId { slot, generation: self.serial as u32 };
        let (input_paused, requests_paused) = (false, false);
        let (user, attempt) = (None, String::new());
        let (waiting_input, outstanding, waiting) = (VecDeque::new(), BTreeSet::new(), Vec::new());
        let entry = Conn { peer, user, attempt, input_paused, requests_paused, waiting_input, outstanding, waiting };
        self.nodes[node].conns.insert(conn, entry);
        let life = self.nodes[node].life;
        self.when_running(node, life, move |cluster| {
            // A client that left while the node was paused was never connected.
            if cluster.nodes[node].conns.contains_key(&conn) {
                cluster.feed(node, CoreInput::Opened { conn, address_key: None });
            }
        });
        conn
    }

    pub(super) fn node_hears(&mut self, node: usize, life: u64, conn: ConnId, say: Say) {
        self.when_running(node, life, move |cluster| {
            if let Some(entry) = cluster.nodes[node].conns.get_mut(&conn) {
                entry.waiting_input.push_back(say);
                cluster.feed_waiting_input(node, conn);
            }
        });
    }

    pub(super) fn peer_closed(&mut self, node: usize, life: u64, conn: ConnId) {
        self.when_running(node, life, move |cluster| {
            if cluster.nodes[node].conns.remove(&conn).is_some() {
                cluster.feed(node, CoreInput::Closed { conn });
            }
        });
    }

    fn feed_waiting_input(&mut self, node: usize, conn: ConnId) {
        loop {
            let Some(entry) = self.nodes[node].conns.get_mut(&conn) else { return };
            if !entry.waiting_input.front().is_some_and(|say| entry.hears(say)) {
                return;
            }
            let Some(say) = entry.waiting_input.pop_front() else { return };
            match &say {
                Say::Login { user, .. } => entry.attempt.clone_from(user),
                Say::Message { id, sender, receiver, .. } if entry.user.as_ref() == Some(sender) => {
                    self.oracle.took((sender.clone(), receiver.clone(), id.clone()));
                    entry.waiting.push((id.clone(), self.now_ms + self.rules.answer_within_ms + ANSWER_SLACK_MS));
                }
                Say::Ack { id, sender: Some(sender) } => {
                    let receiver = entry.user.clone().unwrap_or_default();
                    let key = (sender.clone(), receiver, id.clone());
                    if entry.outstanding.remove(&key) {
                        let on = (self.now_ms, entry.peer.serial);
                        self.oracle.was_acked(key, on);
                    }
                }
                _ => {}
            }
            self.say(|| format!("node {node} hears {say:?}"));
            self.feed(node, CoreInput::Input { conn, input: say.request() });
        }
    }

    pub(super) fn feed(&mut self, node: usize, event: CoreInput<'_>) {
        let now_ms = self.now_ms;
        let entry = &mut self.nodes[node];
        let now = TurnTimestamp { mono_ms: now_ms - entry.started_ms, wall_ms: entry.wall_ms(now_ms) };
        let Some(chat) = &mut entry.chat else { return };
        let mut actions = Vec::new();
        chat.handle(now, event, &mut actions);
        for action in actions {
            self.apply(node, action);
        }
        self.turn_ends(node);
    }

    fn apply(&mut self, node: usize, action: CoreAction) {
        match action {
            CoreAction::Reply { conn, id, reply, .. } => self.write(node, conn, Frame::Reply { id, reply }, true),
            CoreAction::Refuse { conn, id, reply, .. } => self.write(node, conn, Frame::Reply { id, reply }, false),
            CoreAction::Push { conn, push, .. } => self.write(node, conn, Frame::Push(push), true),
            CoreAction::Pause { conn } => self.set_paused(node, conn, |conn| &mut conn.input_paused, true),
            CoreAction::Resume { conn } => self.set_paused(node, conn, |conn| &mut conn.input_paused, false),
            CoreAction::PauseRequests { conn } => self.set_paused(node, conn, |conn| &mut conn.requests_paused, true),
            CoreAction::ResumeRequests { conn } => self.set_paused(node, conn, |conn| &mut conn.requests_paused, false),
            CoreAction::Close { conn, cause } => {
                self.write(node, conn, Frame::Closed(cause), true);
                self.nodes[node].conns.remove(&conn);
            }
            CoreAction::Submit { ticket, job } => self.submit(node, ticket, job),
            CoreAction::Send { to, record } => self.send(node, to, record),
            CoreAction::Publish { to, frame } => self.publish(node, to, *frame),
            CoreAction::ReadView => {
                let life = self.nodes[node].life;
                self.later(0, move |cluster| cluster.poll(node, life));
            }
            CoreAction::Presence { conn, user, online, .. } => {
                self.write(node, conn, Frame::Presence { user, online }, true);
            }
            CoreAction::LoggedIn { .. } | CoreAction::Log(_) => {}
            CoreAction::Admin { ticket, answer } => self.operator_is_told(ticket, &answer),
            CoreAction::PushHook(_) | CoreAction::Draining { .. } | CoreAction::Stopped => {
                panic!("nobody asked for {action:?}")
            }
        }
    }

    fn set_paused(&mut self, node: usize, conn: ConnId, which: fn(&mut Conn) -> &mut bool, paused: bool) {
        if let Some(entry) = self.nodes[node].conns.get_mut(&conn) {
            *which(entry) = paused;
            let life = self.nodes[node].life;
            self.later(0, move |cluster| {
                cluster.when_running(node, life, move |cluster| cluster.feed_waiting_input(node, conn));
            });
        }
    }

    fn write(&mut self, node: usize, conn: ConnId, frame: Frame, is_plain: bool) {
        let Some(entry) = self.nodes[node].conns.get_mut(&conn) else { return };
        let peer = entry.peer;
        if let Frame::Reply { id, reply: Reply::Message { .. } } = &frame {
            let place = entry.waiting.iter().position(|(of, _)| of == id.as_str());
            let place = place.unwrap_or_else(|| panic!("an answer to {id:?}, which nobody asked on {conn:?}"));
            entry.waiting.remove(place);
        }
        match &frame {
            Frame::Reply { reply: Reply::Login { done: true }, .. } => {
                let user = entry.attempt.clone();
                entry.user = Some(user.clone());
                self.check_sessions(node, conn, &user);
            }
            Frame::Reply { id, reply: Reply::Message { is_durable: true } } => {
                let sender = entry.user.clone().unwrap_or_default();
                let said = self.clients[peer.client].receiver_of(id.as_str());
                if let Some(receiver) = said {
                    self.oracle.was_promised((sender, receiver, id.as_str().into()), &self.store);
                }
            }
            Frame::Push(push) => {
                entry.outstanding.insert(super::super::store::key_of(push));
            }
            _ => {}
        }
        self.say(|| format!("node {node} to {:?}: {}", peer, frame.line()));
        self.later(1, move |cluster| cluster.client_gets(peer, &frame, is_plain));
    }

    /// A node that runs answers each message in time.
    pub(super) fn check_answers(&self) {
        for (number, node) in self.nodes.iter().enumerate().filter(|(_, node)| !node.paused) {
            for (id, due_ms) in node.conns.values().flat_map(|conn| &conn.waiting) {
                assert!(self.now_ms <= *due_ms, "node {number} has not answered {id}");
            }
        }
    }

    /// After the faults, all are answered.
    pub(super) fn check_all_answered(&self) {
        let waiting: Vec<_> =
            self.nodes.iter().flat_map(|node| node.conns.values()).flat_map(|conn| &conn.waiting).collect();
        assert!(waiting.is_empty(), "{waiting:?} wait for their answers");
    }

    /// Each user has at most one live session on nodes that are not fenced.
    fn check_sessions(&self, node: usize, conn: ConnId, user: &str) {
        if !self.nodes[node].me.is_some_and(|me| self.store.is_current(me)) {
            return;
        }
        for (other, entry) in self.nodes.iter().enumerate() {
            if !entry.me.is_some_and(|me| self.store.is_current(me)) {
                continue;
            }
            for (id, session) in &entry.conns {
                let is_it = (other, *id) == (node, conn);
                assert!(is_it || session.user.as_deref() != Some(user), "{user} lives on {node} and on {other}");
            }
        }
    }
}
