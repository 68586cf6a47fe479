//! Tests of the hub with sockets that tear all data into pieces, and block and fail at any place.
//! The core is the real one. In place of a store a short function answers the jobs.

mod eviction;
mod files;
mod memory;
mod pause;
mod paused_input;
mod proxied;
mod talk;
mod tls;
mod torn;
mod trouble;
mod turns;
mod websocket;

use super::hub::{ConnectionHub, ConnectionHubLimits};
use super::socket::NonblockingStream;
use super::state::{ConnectionListFlags, ConnectionWriteState};
use crate::chat::ServerCore;
use crate::chat::contract::{ConnId, CoreSettings, Job, JobOutcome, PushPage, TurnTimestamp};
use crate::protocol::field::{Secret, UserName};
use fastrand::Rng;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

/// The kind of call of a socket that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FakeSocketFault {
    Read,
    Write,
    /// A write returns `Ok(0)`.
    WriteZero,
    /// The call that ends the server's side.
    End,
}

/// The far end of a fake socket.
struct FakePipe {
    /// Bytes that the client has sent and the server has not read.
    to_server: VecDeque<u8>,
    /// Bytes that the client has received.
    to_client: Vec<u8>,
    /// The position in `to_client` at which each write ended.
    writes: Vec<usize>,
    /// The client has ended its side.
    client_ended: bool,
    /// The server has ended its side.
    server_ended: bool,
    /// The connection is reset: the calls that follow fail.
    broken: bool,
    /// The kind of call that will fail, and how many calls of this kind succeed before.
    fault: Option<(FakeSocketFault, usize)>,
    /// The bytes for which the client's window has room.
    room: usize,
    /// The largest piece that one call reads or writes; 0: there is no limit.
    piece_max: usize,
    random: Rng,
    /// The server has dropped its socket.
    dropped: bool,
}

#[derive(Clone)]
struct TestClient(Rc<RefCell<FakePipe>>);

struct FakeSocket(Rc<RefCell<FakePipe>>);

impl Drop for FakeSocket {
    fn drop(&mut self) {
        self.0.borrow_mut().dropped = true;
    }
}

impl FakePipe {
    fn fails(&mut self, at: FakeSocketFault) -> bool {
        match &mut self.fault {
            Some((fault, 0)) => *fault == at,
            Some((fault, calls)) => {
                *calls -= usize::from(*fault == at);
                false
            }
            None => false,
        }
    }

    fn piece(&mut self, wanted: usize) -> io::Result<usize> {
        if self.broken {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if self.piece_max == 0 {
            return Ok(wanted);
        }
        match self.random.usize(..8) {
            0 => Err(ErrorKind::WouldBlock.into()),
            1 => Err(ErrorKind::Interrupted.into()),
            _ => Ok(wanted.min(1 + self.random.usize(..self.piece_max))),
        }
    }
}

impl Read for FakeSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        if pipe.fails(FakeSocketFault::Read) {
            return Err(ErrorKind::TimedOut.into());
        }
        let wanted = buffer.len().min(pipe.to_server.len());
        let count = pipe.piece(wanted)?;
        if wanted == 0 {
            return if pipe.client_ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        for (to, from) in buffer.iter_mut().zip(pipe.to_server.drain(..count)) {
            *to = from;
        }
        Ok(count)
    }
}

impl Write for FakeSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut pipe = self.0.borrow_mut();
        assert!(!pipe.server_ended, "written after the end");
        if pipe.fails(FakeSocketFault::Write) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if pipe.fails(FakeSocketFault::WriteZero) {
            return Ok(0);
        }
        let room = pipe.room;
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = pipe.piece(bytes.len().min(room))?;
        pipe.room -= count;
        pipe.to_client.extend_from_slice(&bytes[..count]);
        let end = pipe.to_client.len();
        pipe.writes.push(end);
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NonblockingStream for FakeSocket {
    fn end_writing(&mut self) -> io::Result<()> {
        let mut pipe = self.0.borrow_mut();
        if pipe.fails(FakeSocketFault::End) {
            return Err(ErrorKind::NotConnected.into());
        }
        pipe.server_ended = true;
        Ok(())
    }
}

impl TestClient {
    fn send(&self, bytes: impl AsRef<[u8]>) {
        self.0.borrow_mut().to_server.extend(bytes.as_ref());
    }
    fn end(&self) {
        self.0.borrow_mut().client_ended = true;
    }
    fn received(&self) -> Vec<u8> {
        self.0.borrow().to_client.clone()
    }
    fn text(&self) -> String {
        String::from_utf8(self.received()).unwrap()
    }
    fn dropped(&self) -> bool {
        self.0.borrow().dropped
    }
    fn server_ended(&self) -> bool {
        self.0.borrow().server_ended
    }
    fn set_room(&self, room: usize) {
        self.0.borrow_mut().room = room;
    }
}

/// A hub, its clock and its clients.
struct TestConnectionHub {
    hub: ConnectionHub<FakeSocket>,
    now_ms: u64,
    clients: Vec<(ConnId, TestClient)>,
    seed: u64,
    piece_max: usize,
    /// While this is false, jobs are not answered.
    store_answers: bool,
    waiting: Vec<(crate::chat::contract::JobTicket, Job)>,
}

impl TestConnectionHub {
    fn new(seed: u64, piece_max: usize) -> Self {
        Self::within(seed, piece_max, |_| {})
    }

    /// Creates a hub with the bounds that `tune` has changed.
    fn within(seed: u64, piece_max: usize, tune: impl FnOnce(&mut ConnectionHubLimits)) -> Self {
        let mut bounds = ConnectionHubLimits {
            frame_bytes_max: 64 * 1024,
            output_bytes_max: 1024 * 1024,
            stranger_output_bytes_max: 8 * 1024,
            memory_bytes_max: 512 * 1024 * 1024,
            output_timeout_ms: 60_000,
            handshake_timeout_ms: 10_000,
            answer_within_ms: 10_000,
            conns_per_address_max: 3,
            log_lines_per_second_max: 10,
        };
        tune(&mut bounds);
        // The core limits the work of a connection, and its own tests check that. Here the limits
        // are high, so that many requests of one connection can be answered at a time.
        let rules = CoreSettings {
            jobs_max: 10_000_000,
            jobs_bytes_max: 64 << 30,
            jobs_per_user_max: 1_000_000,
            reads_per_user_max: 1_000_000,
            requests_before_login_max: 1_000_000,
            ..CoreSettings::default()
        };
        let hub = ConnectionHub::new(ServerCore::new(rules, 1, [1, 2]), bounds, [1, 2]);
        Self { hub, now_ms: 0, clients: Vec::new(), seed, piece_max, store_answers: true, waiting: Vec::new() }
    }

    fn connect(&mut self) -> TestClient {
        self.connect_from("127.0.0.1").expect("loopback may always")
    }

    /// `None` if the address may not have one more connection.
    fn connect_from(&mut self, address: &str) -> Option<TestClient> {
        let admitted = self.hub.admit(address.parse().unwrap())?;
        let pipe = Rc::new(RefCell::new(FakePipe {
            to_server: VecDeque::new(),
            to_client: Vec::new(),
            writes: Vec::new(),
            client_ended: false,
            server_ended: false,
            broken: false,
            fault: None,
            room: usize::MAX,
            piece_max: self.piece_max,
            random: Rng::with_seed(self.seed ^ (self.clients.len() as u64) << 32),
            dropped: false,
        }));
        let id = self.hub.open(FakeSocket(Rc::clone(&pipe)), admitted);
        let client = TestClient(pipe);
        self.clients.push((id, client.clone()));
        Some(client)
    }

    /// One turn, with every edge that a real poll would give. Additional edges must do no harm.
    fn turn(&mut self) {
        self.hub.begin_turn(TurnTimestamp { mono_ms: self.now_ms, wall_ms: 1_652_791_027_673 });
        for (id, client) in &self.clients {
            let pipe = client.0.borrow();
            if pipe.broken || pipe.client_ended || !pipe.to_server.is_empty() {
                self.hub.on_readable(*id, pipe.client_ended || pipe.broken);
            }
            if pipe.room > 0 {
                self.hub.on_writable(*id);
            }
        }
        if self.store_answers {
            for (ticket, job) in std::mem::take(&mut self.waiting) {
                self.hub.on_finished(ticket, yes(&job));
            }
        }
        self.hub.turn();
        self.waiting.extend(self.hub.take_jobs());
        self.hub.chat_is_sound();
    }

    /// Runs turns until nothing more is to be expected.
    fn settle(&mut self) {
        for _ in 0..20 {
            // Torn pieces need many turns. A little time passes, so that the core's short timers
            // fire.
            for _ in 0..if self.piece_max == 0 { 4 } else { 400 } {
                self.turn();
            }
            self.now_ms += 1;
        }
    }
}

impl ConnectionHub<FakeSocket> {
    /// Invariants of the hub's own lists.
    fn chat_is_sound(&self) {
        for id in self.conns.keys() {
            let conn = self.conns.get(id).unwrap();
            assert_eq!(
                conn.lists.has(ConnectionListFlags::TO_READ),
                self.work.will_read(id),
                "it knows whether it is on that list"
            );
            let dirty = conn.lists.has(ConnectionListFlags::TO_WRITE);
            assert_eq!(dirty, self.work.dirty_from(0).contains(&id), "it knows whether it is on that list");
            assert!(!dirty, "every dirty connection was written before the end of the turn");
            assert!(
                conn.is_open() || conn.lists.has(ConnectionListFlags::LINGERING),
                "a closing connection has a deadline"
            );
            assert!(
                !conn.has_output() || conn.write != ConnectionWriteState::Free,
                "output that waits, waits for the edge"
            );
        }
    }
}

fn yes(job: &Job) -> JobOutcome {
    match job {
        Job::Hash { .. } => JobOutcome::Hashed(Secret::new("hashed")),
        Job::CreateAccount { .. } => JobOutcome::Created,
        Job::Verify { .. } => JobOutcome::Verified(true),
        Job::Prove { .. } => JobOutcome::Proven,
        Job::LogIn { user, .. } | Job::Load { user, .. } => {
            let friend = if user.as_str() == "ann" { "bob" } else { "ann" };
            JobOutcome::Loaded { friends: vec![UserName::new(friend).unwrap()], page: PushPage::default() }
        }
        Job::LoadPage { .. } => JobOutcome::Page(PushPage::default()),
        Job::GetProfile { .. } => JobOutcome::Profile(None),
        Job::SavePush { .. } => JobOutcome::Saved,
        Job::DeletePush { .. } => JobOutcome::Deleted,
        Job::AskFriend { .. } | Job::AnswerFriend { .. } | Job::Unfriend { .. } => JobOutcome::Failed,
        Job::MakeToken { .. } | Job::RevokeTokens { .. } => JobOutcome::Failed,
        Job::Account { .. } | Job::Admin { .. } | Job::Cluster { .. } => JobOutcome::Failed,
    }
}

fn sign_up(user: &str) -> String {
    format!(r#"{{"MID":"s","CONTENT":{{"userName":"{user}","hashValue":"x"}},"TYPE":"1"}}"#)
}

fn login(user: &str) -> String {
    format!(r#"{{"MID":"l","CONTENT":{{"PASS":"x","USER":"{user}"}},"TYPE":"2"}}"#)
}

fn message(n: usize, text: &str) -> String {
    format!(r#"{{"CONTENT":{{"messageId":"m{n}","sender":"bob","receiver":"ann","content":"{text}"}},"TYPE":"4"}}"#)
}

fn ack(n: usize) -> String {
    format!(r#"{{"CONTENT":{{"MessageId":"m{n}"}},"TYPE":"5"}}"#)
}

const SS: &str = "{\"CONTENT\":{\"MessageId\":\"s\",\"Content\":\"SS\"},\"TYPE\":\"RE_SIGNUP\"}\n";
const LS: &str = "{\"CONTENT\":{\"MessageId\":\"l\",\"Content\":\"LS\"},\"TYPE\":\"RE_SIGNUP\"}\n";

fn ms(n: usize) -> String {
    format!("{{\"CONTENT\":{{\"MessageId\":\"m{n}\",\"Content\":\"MS\"}},\"TYPE\":\"RE_MESSAGE\"}}\n")
}

fn pushed(n: usize, text: &str) -> String {
    format!(
        "{{\"CONTENT\":{{\"messageId\":\"m{n}\",\"sender\":\"bob\",\"receiver\":\"ann\",\"time\":\"1652791027673\",\"content\":\"{text}\"}},\"TYPE\":\"4\"}}\n"
    )
}
