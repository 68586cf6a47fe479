//! The memory of one session and one message, counted by the allocator. The limits below are the
//! present figures and a little more: a change that needs more has to raise them here.
//!
//! The allocator counts the requested bytes; its own overhead and the kernel's sockets come on top.
//! `cargo bench --bench loopback -- --rows idle` measures the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod in_core;

use hongyan::chat::ServerCore;
use hongyan::chat::contract::{CoreInput, CoreSettings, TurnTimestamp};
use hongyan::net::hub::{ConnectionHub, ConnectionHubLimits};
use hongyan::net::socket::NonblockingStream;
use hongyan::net::tls::{self, Certificates};
use in_core::{Core, ack, answer, friends, login, message};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Bytes of the core for each session that is logged in, with 10 friends who are online, too.
const CORE_BYTES_PER_SESSION_MAX: usize = 360;
/// The same on a node of a cluster.
const NODE_BYTES_PER_SESSION_MAX: usize = 390;
/// The same with the connection, raw, on a server alone.
const HUB_BYTES_PER_SESSION_MAX: usize = 500;
/// Allocations for one message (envelope, push, ack, answer, in the string form) of a user whose
/// list and dedup window have grown already.
const ALLOCATIONS_PER_MESSAGE_MAX: usize = 1;

/// As many as the idle row of the loopback bench has.
const SESSIONS: usize = 9_000;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Tests of one file run side by side, and the allocator is one for all.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that `work` leaves allocated.
fn bytes_kept<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let region = Region::new(ALLOCATOR);
    let kept = work();
    let change = region.change();
    (change.bytes_allocated.saturating_sub(change.bytes_deallocated), kept)
}

#[track_caller]
fn at_most(what: &str, got: usize, max: usize) {
    println!("{what}: {got}, at most {max}");
    assert!(got <= max, "{what}: {got}, at most {max} are allowed");
}

/// The bytes that the core keeps for each of its users when all have logged in.
fn bytes_per_session(mut core: Core) -> usize {
    let (bytes, ()) = bytes_kept(|| {
        for number in 0..SESSIONS {
            core.log_in(number);
            core.output.clear();
        }
    });
    assert_eq!(core.replies, SESSIONS as u64);
    assert_eq!(friends(0, SESSIONS).len(), 10);
    bytes / SESSIONS
}

#[test]
fn a_session_of_the_core() {
    let _alone = ALONE.lock();
    let bytes = bytes_per_session(Core::new(CoreSettings::default(), SESSIONS));
    at_most("bytes of the core per session", bytes, CORE_BYTES_PER_SESSION_MAX);
}

#[test]
fn a_session_of_a_node_of_a_cluster() {
    let _alone = ALONE.lock();
    let bytes = bytes_per_session(Core::of_node(CoreSettings::default(), SESSIONS));
    at_most("bytes of the core of a node per session", bytes, NODE_BYTES_PER_SESSION_MAX);
}

#[test]
fn a_message_through_codec_and_core() {
    // Debug builds check invariants, which allocates. With this many users they do not check after
    // every event, so some of the windows lie between two checks.
    const ONLINE: usize = 100;
    let _alone = ALONE.lock();
    let mut core = Core::new(CoreSettings::default(), ONLINE);
    let conns: Vec<_> = (0..ONLINE).map(|number| core.log_in(number)).collect();
    let content = "x".repeat(100);
    let frames: Vec<_> = (0..4_000).map(|id| (message(id, 0, 1, &content), ack(id))).collect();
    let mut least = usize::MAX;
    for window in frames.chunks(50) {
        core.output.clear();
        let region = Region::new(ALLOCATOR);
        for (message, ack) in window {
            core.input(conns[0], message.as_bytes());
            core.input(conns[1], ack.as_bytes());
        }
        core.wait_ms(1);
        let change = region.change();
        least = least.min(change.allocations + change.reallocations);
    }
    assert_eq!((core.pushes, core.replies), (4_000, 4_000 + ONLINE as u64), "each was pushed once and answered once");
    at_most("allocations per 50 messages", least, 50 * ALLOCATIONS_PER_MESSAGE_MAX);
}

/// Bytes of an offline sender with a full dedup window: 12 for each message, and their name.
const OFFLINE_SENDER_BYTES_MAX: usize = 13_200;

#[test]
fn a_sender_who_went_offline() {
    const SENDERS: usize = 20;
    const MESSAGES: u64 = 1_024;
    let _alone = ALONE.lock();
    let mut core = Core::new(CoreSettings::default(), SENDERS);
    // The receivers are logged in before, so that only the senders' memory is measured.
    let conns: Vec<_> = (0..SENDERS).map(|number| core.log_in(number)).collect();
    let mut id = 0;
    let (bytes, ()) = bytes_kept(|| {
        for from in (0..SENDERS).step_by(2) {
            for _ in 0..MESSAGES {
                id += 1;
                core.input(conns[from], message(id, from, from + 1, "x").as_bytes());
                core.input(conns[from + 1], ack(id).as_bytes());
                core.output.clear();
            }
            core.event(CoreInput::Closed { conn: conns[from] });
        }
        // Empty lists are dropped.
        core.wait_ms(60_000);
    });
    at_most("bytes per offline sender", bytes / (SENDERS / 2), OFFLINE_SENDER_BYTES_MAX);
}

/// A client that has sent one thing and takes everything.
struct Fake(Rc<RefCell<Vec<u8>>>);

impl Read for Fake {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut sent = self.0.borrow_mut();
        if sent.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = sent.len().min(buffer.len());
        buffer[..count].copy_from_slice(&sent[..count]);
        sent.drain(..count);
        Ok(count)
    }
}

impl Write for Fake {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NonblockingStream for Fake {
    fn end_writing(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hub<S: NonblockingStream>() -> ConnectionHub<S> {
    let bounds = ConnectionHubLimits {
        frame_bytes_max: 64 * 1024,
        output_bytes_max: 16 * 1024 * 1024,
        stranger_output_bytes_max: 8 * 1024,
        memory_bytes_max: 512 * 1024 * 1024,
        output_timeout_ms: 60_000,
        handshake_timeout_ms: 10_000,
        answer_within_ms: 10_000,
        log_lines_per_second_max: 10,
        conns_per_address_max: 1_000,
    };
    let mut hub = ConnectionHub::new(ServerCore::new(CoreSettings::default(), 1, [1, 2]), bounds, [3, 4]);
    hub.begin_turn(TurnTimestamp { mono_ms: 1, wall_ms: 1 });
    hub
}

#[test]
fn a_connection_with_its_session() {
    let _alone = ALONE.lock();
    let mut hub = hub();
    // The bytes that a client has sent are not the server's memory.
    let sent: Vec<_> = (0..SESSIONS).map(|number| Rc::new(RefCell::new(login(number).into_bytes()))).collect();
    let (bytes, ()) = bytes_kept(|| {
        for sent in &sent {
            let admitted = hub.admit(IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("loopback has no limit");
            let conn = hub.open(Fake(Rc::clone(sent)), admitted);
            hub.on_readable(conn, false);
            hub.turn();
            let jobs: Vec<_> = hub.take_jobs().collect();
            assert_eq!(jobs.len(), 1);
            for (ticket, job) in jobs {
                hub.on_finished(ticket, answer(&job, SESSIONS));
            }
            hub.turn();
        }
    });
    assert_eq!((hub.conns_len(), hub.counters().frames), (SESSIONS, SESSIONS as u64), "each was told LS");
    at_most("bytes of the hub per session", bytes / SESSIONS, HUB_BYTES_PER_SESSION_MAX);
}

/// Bytes of an idle connection that speaks TLS, with its session.
const TLS_BYTES_PER_SESSION_MAX: usize = 2_900;

/// The server's end of a pipe: the bytes from the client, and the bytes to it.
struct End(Rc<RefCell<(Vec<u8>, Vec<u8>)>>);

impl Read for End {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let sent = &mut self.0.borrow_mut().0;
        if sent.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = sent.len().min(buffer.len());
        buffer[..count].copy_from_slice(&sent[..count]);
        sent.drain(..count);
        Ok(count)
    }
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NonblockingStream for End {
    fn end_writing(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_connection_with_tls_and_its_session() {
    const SESSIONS: usize = 200;
    let _alone = ALONE.lock();
    for version in [&TLS12, &TLS13] {
        let client = client(ring::DEFAULT_CIPHER_SUITES.to_vec(), version);
        let (bytes, _) = per_session_with_tls(&client, SESSIONS);
        at_most("bytes of the hub per session with TLS", bytes, TLS_BYTES_PER_SESSION_MAX);
    }
}

#[test]
fn the_counted_memory_of_a_tls_session_is_the_memory_it_takes() {
    const SESSIONS: usize = 50;
    let _alone = ALONE.lock();
    for suite in ring::ALL_CIPHER_SUITES {
        let version = suite.version();
        // The certificate of the tests has no RSA key.
        if format!("{:?}", suite.suite()).contains("_RSA_") {
            continue;
        }
        let (bytes, counted) = per_session_with_tls(&client(vec![*suite], version), SESSIONS);
        println!("{:?}: {bytes} bytes per session, counted as {counted}", suite.suite());
        assert!(bytes <= counted && counted <= bytes * 5 / 4, "{bytes} are counted as {counted}");
    }
}

/// A client that offers these suites.
fn client(suites: Vec<SupportedCipherSuite>, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(include_bytes!("../tests/common/tls/ca.pem")).unwrap()).unwrap();
    let provider = CryptoProvider { cipher_suites: suites, ..ring::default_provider() };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// The bytes that the hub takes for each connection with TLS, and that it counts.
fn per_session_with_tls(client: &Arc<ClientConfig>, sessions: usize) -> (usize, usize) {
    let mut hub = hub();
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("../tests/common/tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../tests/common/tls/server.key")).unwrap();
    let server = tls::config(chain, key).unwrap();
    hub.use_certificates(Arc::new(Certificates::new(Arc::new(server), false)));
    // The first connection allocates what all connections share, so it is not counted.
    talk(&mut hub, client, 0);
    let counted = hub.memory_bytes();
    let (bytes, ()) = bytes_kept(|| (1..=sessions).for_each(|number| talk(&mut hub, client, number)));
    assert_eq!(hub.counters().frames, sessions as u64 + 1, "each was told LS");
    (bytes / sessions, (hub.memory_bytes() - counted) / sessions)
}

/// One client connects, logs in, and is silent. The memory of the client itself is given back.
fn talk(hub: &mut ConnectionHub<End>, config: &Arc<ClientConfig>, number: usize) {
    let pipe = Rc::new(RefCell::new((Vec::new(), Vec::new())));
    let admitted = hub.admit(IpAddr::V4(Ipv4Addr::LOCALHOST)).expect("loopback has no limit");
    let conn = hub.open(End(Rc::clone(&pipe)), admitted);
    let mut client = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
    client.writer().write_all(login(number).as_bytes()).unwrap();
    for _ in 0..6 {
        client.write_tls(&mut pipe.borrow_mut().0).unwrap();
        while client.wants_write() {
            client.write_tls(&mut pipe.borrow_mut().0).unwrap();
        }
        hub.on_readable(conn, false);
        for _ in 0..3 {
            hub.turn();
            let jobs: Vec<_> = hub.take_jobs().collect();
            for (ticket, job) in jobs {
                hub.on_finished(ticket, answer(&job, SESSIONS));
            }
        }
        let told = std::mem::take(&mut pipe.borrow_mut().1);
        let mut told = &told[..];
        while !told.is_empty() {
            client.read_tls(&mut told).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    assert!(!client.is_handshaking());
    // The bytes in the pipe are not the server's memory.
    *pipe.borrow_mut() = (Vec::new(), Vec::new());
}
