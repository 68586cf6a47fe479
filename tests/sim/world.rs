//! A world around the core: a virtual clock that jumps from deadline to deadline, the model store,
//! and connections.

use super::lanes::{Lanes, Step, name_of};
use super::say::{Frame, Say, word_of};
use hongyan::chat::ServerCore;
use hongyan::chat::contract::{
    AddressKey, AdminAnswerFromCore, AdminRequestToCore, AdminTicket, ConnId, CoreAction, CoreCloseCause, CoreInput,
    CoreSettings, Job, JobOutcome, LogEvent, MessageTotals, PushHookNotice, TurnTimestamp,
};
use hongyan::protocol::reply::Reply;
use hongyan::protocol::request::FriendVerb;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash};
use std::num::NonZeroU32;

/// The wall clock at mono 0.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// An event; the oracle reads them in their order.
#[derive(Debug)]
pub enum Seen {
    Opened(ConnId),
    /// This input reached the core.
    Fed(ConnId, Say),
    Pinged(ConnId),
    Blocked(ConnId),
    /// A part of what waited was written.
    Drained(ConnId),
    Flushed(ConnId),
    PeerClosed(ConnId),
    Heard(ConnId, Frame),
    Logged(LogEvent),
    /// To the push hook.
    Announced(PushHookNotice),
    /// The store committed it, or failed.
    Done(Job, JobOutcome),
    /// The core was told.
    Told(Job, JobOutcome),
    Stopped,
    Crashed,
}

#[derive(Debug, Default)]
struct Conn {
    user: String,
    paused: bool,
    requests_paused: bool,
    /// The input that waits until it may go on, in its order.
    waiting_input: VecDeque<Say>,
}

impl Conn {
    /// May this be handed to the core now, if nothing waits before it?
    fn hears(&self, say: &Say) -> bool {
        let passes = || say.request().is_ok_and(|request| request.passes_paused_requests());
        !self.paused && (!self.requests_paused || passes())
    }

    fn next(&mut self) -> Option<Say> {
        if self.hears(self.waiting_input.front()?) { self.waiting_input.pop_front() } else { None }
    }
}

pub struct World {
    pub chat: ServerCore,
    rules: CoreSettings,
    pub now_ms: u64,
    /// How wrong the wall clock is.
    pub wall_ahead_ms: i64,
    pub store: Lanes,
    conns: BTreeMap<ConnId, Conn>,
    next_generation: u32,
    heard: BTreeMap<ConnId, Vec<(u64, Frame)>>,
    /// Kept only when somebody reads it.
    pub seen: Option<Vec<(u64, Seen)>>,
    pub stopped: u32,
    /// A drain has begun, or (`true`) is over.
    pub drained: Option<bool>,
    /// The users announced to the push hook, and the times, if nobody reads `seen`.
    pub announced: Vec<(u64, PushHookNotice)>,
    /// The notes, if nobody reads `seen`.
    pub log_events: Vec<LogEvent>,
    /// The answers to the operator.
    pub answers: Vec<(AdminTicket, AdminAnswerFromCore)>,
    next_ticket: u64,
    /// The totals of the processes that have crashed.
    crashed: MessageTotals,
    pushed_seq: u64,
    pub trace: DefaultHasher,
    serial: u64,
}

impl World {
    pub fn new(rules: CoreSettings) -> Self {
        Self {
            chat: ServerCore::new(rules.clone(), 1, [1, 2]),
            rules,
            now_ms: 0,
            wall_ahead_ms: 0,
            store: Lanes::new(),
            conns: BTreeMap::new(),
            next_generation: 0,
            heard: BTreeMap::new(),
            seen: None,
            stopped: 0,
            drained: None,
            announced: Vec::new(),
            log_events: Vec::new(),
            answers: Vec::new(),
            next_ticket: 0,
            crashed: MessageTotals::default(),
            pushed_seq: 0,
            trace: DefaultHasher::new(),
            serial: 0,
        }
    }

    /// With accounts of these names (the password is the name) who are all friends.
    pub fn of_friends(rules: CoreSettings, names: &[&str]) -> Self {
        let mut world = Self::new(rules);
        for name in names {
            world.store.model.add_account(name, name);
            for other in names.iter().filter(|other| *other != name) {
                world.store.model.befriend(name, other);
            }
        }
        world
    }

    fn note(&mut self, seen: Seen) {
        if let Some(log) = &mut self.seen {
            log.push((self.now_ms, seen));
        }
    }

    /// Hands one event to the core and carries out what it says; then the input that a `Resume` let
    /// go.
    fn feed(&mut self, event: CoreInput<'_>) {
        let resumed = self.feed_one(event);
        self.feed_resumed(resumed);
    }

    fn feed_resumed(&mut self, mut resumed: VecDeque<ConnId>) {
        while let Some(conn) = resumed.pop_front() {
            while let Some(say) = self.conns.get_mut(&conn).and_then(Conn::next) {
                self.note(Seen::Fed(conn, say.clone()));
                resumed.extend(self.feed_one(CoreInput::Input { conn, input: say.request() }));
            }
        }
    }

    fn feed_one(&mut self, event: CoreInput<'_>) -> VecDeque<ConnId> {
        let mut actions = Vec::new();
        let now = TurnTimestamp {
            mono_ms: self.now_ms,
            wall_ms: (EPOCH_MS + self.now_ms).saturating_add_signed(self.wall_ahead_ms),
        };
        self.chat.handle(now, event, &mut actions);
        let mut resumed = VecDeque::new();
        for action in actions {
            self.hash(&action);
            match action {
                CoreAction::Reply { conn, id, reply, .. } => self.hear(conn, Frame::Reply { id, reply }),
                CoreAction::Refuse { conn, id, reply, code, explanation, .. } => {
                    self.hear(conn, Frame::Reply { id: id.clone(), reply });
                    self.hear(conn, Frame::Reply { id, reply: Reply::Error { code, explanation } });
                }
                CoreAction::Push { conn, push, .. } => {
                    self.pushed_seq = self.pushed_seq.max(push.seq);
                    self.hear(conn, Frame::Push(push));
                }
                CoreAction::Presence { conn, user, online, .. } => self.hear(conn, Frame::Presence { user, online }),
                CoreAction::Pause { conn } => {
                    self.conns.get_mut(&conn).expect("only an open connection is paused").paused = true
                }
                CoreAction::Resume { conn } => {
                    if let Some(entry) = self.conns.get_mut(&conn) {
                        entry.paused = false;
                        resumed.push_back(conn);
                    }
                }
                CoreAction::PauseRequests { conn } => {
                    let conn = self.conns.get_mut(&conn).expect("only an open connection is paused");
                    assert!(!std::mem::replace(&mut conn.requests_paused, true), "paused twice");
                }
                CoreAction::ResumeRequests { conn } => {
                    if let Some(entry) = self.conns.get_mut(&conn) {
                        entry.requests_paused = false;
                        resumed.push_back(conn);
                    }
                }
                CoreAction::Close { conn, cause } => {
                    self.hear(conn, Frame::Closed(cause));
                    self.conns.remove(&conn);
                }
                CoreAction::Submit { ticket, job } => {
                    self.store.submit(self.now_ms, ticket, job);
                    assert!(self.store.in_flight() <= self.rules.jobs_max, "more jobs in flight than allowed");
                    assert!(self.store.hashing() <= self.rules.auth_running_max, "more hashing than allowed");
                    assert!(self.store.most_reading() <= 1, "two pages of one user at once");
                }
                CoreAction::LoggedIn { conn } => {
                    assert!(self.conns.contains_key(&conn), "only an open connection has a log-in")
                }
                CoreAction::PushHook(notice) if self.seen.is_some() => self.note(Seen::Announced(*notice)),
                CoreAction::PushHook(notice) => self.announced.push((self.now_ms, *notice)),
                CoreAction::Log(event) if self.seen.is_some() => self.note(Seen::Logged(event)),
                CoreAction::Log(event) => self.log_events.push(event),
                CoreAction::Admin { ticket, answer } => self.answers.push((ticket, answer)),
                CoreAction::Send { .. } | CoreAction::Publish { .. } | CoreAction::ReadView => panic!("it is alone"),
                CoreAction::Draining { is_over } => self.drained = Some(is_over),
                CoreAction::Stopped => {
                    self.stopped += 1;
                    self.note(Seen::Stopped);
                }
            }
        }
        resumed
    }

    fn hear(&mut self, conn: ConnId, frame: Frame) {
        assert!(self.conns.contains_key(&conn), "{} for {conn:?}, which is gone", frame.line());
        if self.seen.is_some() {
            self.note(Seen::Heard(conn, frame));
        } else {
            self.heard.entry(conn).or_default().push((self.now_ms, frame));
        }
    }

    /// The trace: everything that the core has said, in a number.
    fn hash(&mut self, action: &CoreAction) {
        let trace = &mut self.trace;
        self.now_ms.hash(trace);
        std::mem::discriminant(action).hash(trace);
        match action {
            CoreAction::Reply { conn, id, reply, .. } => (conn, id.as_str(), word_of(reply)).hash(trace),
            CoreAction::Refuse { conn, id, reply, code, .. } => {
                (conn, id.as_str(), word_of(reply), code.as_str()).hash(trace);
            }
            CoreAction::Push { conn, push, .. } => (conn, push.seq, push.id(), push.content()).hash(trace),
            CoreAction::Presence { conn, user, online, .. } => (conn, user, online).hash(trace),
            CoreAction::Pause { conn } | CoreAction::Resume { conn } | CoreAction::LoggedIn { conn } => {
                conn.hash(trace)
            }
            CoreAction::PauseRequests { conn } | CoreAction::ResumeRequests { conn } => conn.hash(trace),
            CoreAction::Close { conn, cause } => (conn, cause).hash(trace),
            CoreAction::Submit { ticket, job } => {
                (ticket, name_of(job)).hash(trace);
                match job {
                    Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. } => {
                        (push.seq, push.id()).hash(trace);
                    }
                    Job::DeletePush { seq, .. } => seq.hash(trace),
                    Job::LoadPage { user, after_seq, .. } => (user, after_seq).hash(trace),
                    Job::Load { user, .. } | Job::LogIn { user, .. } | Job::Prove { user, .. } => user.hash(trace),
                    _ => {}
                }
            }
            CoreAction::Log(event) => format!("{event:?}").hash(trace),
            CoreAction::PushHook(notice) => {
                (notice.push.receiver(), notice.push.seq, notice.waiting_pushes).hash(trace)
            }
            CoreAction::Admin { ticket, answer } => format!("{ticket:?} {answer:?}").hash(trace),
            CoreAction::Send { .. } | CoreAction::Publish { .. } | CoreAction::ReadView => {}
            CoreAction::Draining { .. } | CoreAction::Stopped => {}
        }
    }

    /// Lets time pass until `until_ms`, through every deadline and everything that the store does
    /// on the way.
    pub fn run_until(&mut self, until_ms: u64) {
        loop {
            let deadline = self.chat.next_deadline().map(|at_ms| at_ms.max(self.now_ms));
            let work = self.store.next_ms().map(|at_ms| at_ms.max(self.now_ms));
            let Some(next) = deadline.into_iter().chain(work).min().filter(|next| *next <= until_ms) else {
                break;
            };
            self.now_ms = next;
            if work == Some(next) {
                match self.store.step() {
                    Some(Step::Done(job, outcome)) => self.note(Seen::Done(job, outcome)),
                    Some(Step::Answer(ticket, job, outcome)) => {
                        self.note(Seen::Told(job, outcome.clone()));
                        self.feed(CoreInput::Finished { ticket, outcome });
                    }
                    None => {}
                }
            } else {
                let resumed = self.feed_one(CoreInput::Tick { input_read_until_ms: self.now_ms });
                let later = self.chat.next_deadline();
                assert!(later.is_none_or(|later| later > next), "the deadline stays: {later:?} after a tick at {next}");
                self.feed_resumed(resumed);
            }
        }
        self.now_ms = self.now_ms.max(until_ms);
    }

    /// Nothing but a tick, before everything that clients have sent was heard.
    pub fn tick(&mut self, heard_ms: u64) {
        self.feed(CoreInput::Tick { input_read_until_ms: heard_ms });
    }

    pub fn run_for(&mut self, wait_ms: u64) {
        self.run_until(self.now_ms + wait_ms);
    }

    pub fn open(&mut self) -> ConnId {
        self.open_from(0)
    }

    /// From an address of this number; 0 is loopback.
    pub fn open_from(&mut self, address_key: u32) -> ConnId {
        let slot = (0..).find(|slot| self.conns.keys().all(|conn| conn.slot != *slot)).expect("one is free");
        let conn = ConnId { slot, generation: self.next_generation };
        self.next_generation += 1;
        self.conns.insert(conn, Conn::default());
        self.note(Seen::Opened(conn));
        let address_key = NonZeroU32::new(address_key).map(AddressKey);
        if slot % 2 == 0 {
            self.feed(CoreInput::Opened { conn, address_key });
        } else {
            // It comes through a proxy.
            self.feed(CoreInput::Opened { conn, address_key: None });
            self.feed(CoreInput::Addressed { conn, address_key });
        }
        conn
    }

    pub fn is_open(&self, conn: ConnId) -> bool {
        self.conns.contains_key(&conn)
    }

    pub fn is_paused(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.paused)
    }

    /// The client says something; a paused connection reads it later, and what stands behind
    /// that as well.
    pub fn say(&mut self, conn: ConnId, say: Say) {
        let Some(entry) = self.conns.get_mut(&conn) else {
            return;
        };
        if !entry.waiting_input.is_empty() || !entry.hears(&say) {
            return entry.waiting_input.push_back(say);
        }
        self.note(Seen::Fed(conn, say.clone()));
        self.feed(CoreInput::Input { conn, input: say.request() });
    }

    pub fn are_requests_paused(&self, conn: ConnId) -> bool {
        self.conns.get(&conn).is_some_and(|conn| conn.requests_paused)
    }

    pub fn ping(&mut self, conn: ConnId) {
        if self.is_open(conn) {
            self.note(Seen::Pinged(conn));
            self.feed(CoreInput::Ping { conn });
        }
    }

    pub fn block(&mut self, conn: ConnId) {
        if self.is_open(conn) {
            self.note(Seen::Blocked(conn));
            self.feed(CoreInput::Blocked { conn });
        }
    }

    /// The client takes a part of what waits for it.
    pub fn drain(&mut self, conn: ConnId) {
        if self.is_open(conn) {
            self.note(Seen::Drained(conn));
            self.feed(CoreInput::Drained { conn });
        }
    }

    pub fn flush(&mut self, conn: ConnId) {
        if self.is_open(conn) {
            self.note(Seen::Flushed(conn));
            self.feed(CoreInput::Flushed { conn });
        }
    }

    /// The memory that the core uses, as it reports it.
    pub fn memory_bytes(&self) -> usize {
        self.chat.memory_bytes()
    }

    /// The process uses too much memory.
    pub fn release_memory(&mut self, bytes: usize, windows: bool) {
        self.feed(CoreInput::ReleaseMemory { bytes, windows });
    }

    /// The operator asks for something.
    pub fn admin(&mut self, request: AdminRequestToCore) -> AdminTicket {
        let ticket = AdminTicket(self.next_ticket);
        self.next_ticket += 1;
        self.feed(CoreInput::Admin { ticket, request });
        ticket
    }

    /// The client goes away.
    pub fn hang_up(&mut self, conn: ConnId) {
        if self.conns.remove(&conn).is_some() {
            self.note(Seen::PeerClosed(conn));
            self.feed(CoreInput::Closed { conn });
        }
    }

    pub fn shut_down(&mut self) {
        self.feed(CoreInput::ShutDown);
    }

    /// The whole server dies and starts again; the store keeps what it committed.
    pub fn crash(&mut self) {
        self.store.crash();
        self.crashed = self.totals();
        // A place that was never stored could be given again; for the oracle's sake none is.
        let last_seq = self.store.model.last_seq.max(self.pushed_seq);
        self.chat = ServerCore::new(self.rules.clone(), last_seq + 1, [1, 2]);
        self.conns.clear();
        self.note(Seen::Crashed);
    }

    /// The counts of the core, over all crashes.
    pub fn totals(&self) -> MessageTotals {
        let (before, now) = (self.crashed, self.chat.totals());
        MessageTotals {
            taken: before.taken + now.taken,
            duplicates: before.duplicates + now.duplicates,
            promised: before.promised + now.promised,
            sent: before.sent + now.sent,
            resent: before.resent + now.resent,
            acked: before.acked + now.acked,
            presence: before.presence + now.presence,
        }
    }

    /// The frames to a client since the last call, with the times.
    pub fn frames(&mut self, conn: ConnId) -> Vec<(u64, Frame)> {
        self.heard.remove(&conn).unwrap_or_default()
    }

    /// The frames to a client since the last call, as lines.
    pub fn heard(&mut self, conn: ConnId) -> Vec<String> {
        self.frames(conn).iter().map(|(_, frame)| frame.line()).collect()
    }

    // Short words for the scenario tests.

    pub fn log_in(&mut self, conn: ConnId, user: &str) {
        if let Some(entry) = self.conns.get_mut(&conn) {
            entry.user = user.into();
        }
        self.say(conn, Say::Login { mid: "l".into(), user: user.into(), password: user.into() });
    }

    /// A connection on which this user is logged in; the first frames to it are taken.
    pub fn online(&mut self, user: &str) -> ConnId {
        let conn = self.open();
        self.log_in(conn, user);
        self.run_for(10);
        let heard = self.heard(conn);
        assert_eq!(heard.first().map(String::as_str), Some("LS l"), "{heard:?}");
        conn
    }

    pub fn message(&mut self, conn: ConnId, id: &str, receiver: &str) {
        let sender = self.user_of(conn);
        self.say(conn, Say::Message { id: id.into(), sender, receiver: receiver.into(), content: "hello".into() });
    }

    pub fn user_of(&self, conn: ConnId) -> String {
        self.conns.get(&conn).map(|conn| conn.user.clone()).unwrap_or_default()
    }

    pub fn ack(&mut self, conn: ConnId, id: &str) {
        self.say(conn, Say::Ack { id: id.into(), sender: None });
    }

    /// Request and delete name `other` as receiver, accept and reject as sender.
    pub fn friend(&mut self, conn: ConnId, verb: FriendVerb, id: &str, other: &str) {
        self.friend_saying(conn, verb, id, other, "hello");
    }

    pub fn friend_saying(&mut self, conn: ConnId, verb: FriendVerb, id: &str, other: &str, content: &str) {
        let (mut sender, mut receiver) = (self.user_of(conn), other.to_owned());
        if matches!(verb, FriendVerb::Accept | FriendVerb::Reject) {
            std::mem::swap(&mut sender, &mut receiver);
        }
        self.say(conn, Say::Friend { id: id.into(), sender, receiver, verb, content: content.into() });
    }

    pub fn heartbeat(&mut self, conn: ConnId) {
        self.say(conn, Say::Heartbeat { mid: "h".into() });
    }

    /// A fresh id.
    pub fn fresh(&mut self, prefix: &str) -> String {
        self.serial += 1;
        format!("{prefix}{}", self.serial)
    }

    /// Why this connection was closed, if that was heard since it was last asked.
    pub fn closed(&mut self, conn: ConnId) -> Option<(u64, CoreCloseCause)> {
        self.frames(conn).iter().find_map(|(at_ms, frame)| match frame {
            Frame::Closed(cause) => Some((*at_ms, *cause)),
            _ => None,
        })
    }
}
