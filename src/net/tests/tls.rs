//! TLS over sockets that tear and break, with the library's own client at the other end.

use super::websocket::{HANDSHAKE, frames, masked};
use super::*;
use crate::config::Networks;
use crate::net::counters::CloseCause;
use crate::net::tls::{self, Certificates};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use std::sync::Arc;

const CA: &[u8] = include_bytes!("../../../tests/common/tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("../../../tests/common/tls/server.pem");
const KEY: &[u8] = include_bytes!("../../../tests/common/tls/server.key");
const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

fn certificates(tls_only: bool) -> Arc<Certificates> {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let config = tls::config(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap());
    Arc::new(Certificates::new(Arc::new(config.unwrap()), tls_only))
}

fn world(seed: u64, piece_max: usize) -> TestConnectionHub {
    let mut world = TestConnectionHub::new(seed, piece_max);
    world.hub.use_certificates(certificates(false));
    world
}

/// A client that speaks TLS.
struct TlsTestClient {
    session: ClientConnection,
    pipe: TestClient,
    /// How many of the bytes that the server wrote were read.
    seen: usize,
    got: Vec<u8>,
    /// The server said that it will say no more.
    closed: bool,
    error: Option<rustls::Error>,
}

impl TlsTestClient {
    fn new(pipe: TestClient, version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CA).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        Self { session, pipe, seen: 0, got: Vec::new(), closed: false, error: None }
    }

    /// Moves the output of this client to the server, and the output of the server to the client.
    fn pump(&mut self) {
        let received = self.pipe.received();
        let mut fresh = &received[self.seen..];
        while !fresh.is_empty() && self.error.is_none() {
            self.session.read_tls(&mut fresh).unwrap();
            match self.session.process_new_packets() {
                Ok(state) => self.closed |= state.peer_has_closed(),
                Err(error) => self.error = Some(error),
            }
            let mut plain = [0; 4_096];
            while let Ok(count @ 1..) = self.session.reader().read(&mut plain) {
                self.got.extend_from_slice(&plain[..count]);
            }
        }
        self.seen = received.len();
        let mut records = Vec::new();
        while self.session.wants_write() {
            self.session.write_tls(&mut records).unwrap();
        }
        self.pipe.send(records);
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.session.writer().write_all(bytes.as_ref()).unwrap();
        self.pump();
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.got).into_owned()
    }
}

/// Turns until nothing happens any more, for both ends.
fn settle(world: &mut TestConnectionHub, clients: &mut [&mut TlsTestClient]) {
    for _ in 0..6 {
        for client in &mut *clients {
            client.pump();
        }
        world.settle();
    }
    for client in clients {
        client.pump();
    }
}

#[test]
fn a_conversation_over_tls_is_the_same_however_the_sockets_tear_it() {
    for version in VERSIONS {
        for (seed, piece_max) in [(1, 0), (2, 1), (3, 7), (4, 300)] {
            let mut world = world(seed, piece_max);
            let (ann, bob) = (world.connect(), world.connect());
            let (mut ann, mut bob) = (TlsTestClient::new(ann, version), TlsTestClient::new(bob, version));
            // The log-in is sent before the handshake is complete.
            ann.send(login("ann"));
            bob.send(HANDSHAKE);
            bob.send(masked(1, login("bob").as_bytes()));
            settle(&mut world, &mut [&mut ann, &mut bob]);
            assert_eq!(ann.text(), LS, "{version:?} {piece_max}");
            let text = "y".repeat(5_000);
            for n in 0..6 {
                bob.send(masked(1, message(n, &text).as_bytes()));
            }
            settle(&mut world, &mut [&mut ann, &mut bob]);
            for n in 0..6 {
                ann.send(ack(n));
            }
            settle(&mut world, &mut [&mut ann, &mut bob]);
            let sent: String = (0..6).map(|n| pushed(n, &text)).collect();
            assert_eq!(ann.text(), format!("{LS}{sent}"), "{version:?} {piece_max}");
            let told: Vec<_> = frames(&bob.got).into_iter().map(|(_, text)| String::from_utf8(text).unwrap()).collect();
            let expected: Vec<_> = std::iter::once(LS.to_owned()).chain((0..6).map(ms)).collect();
            assert_eq!(told.len(), expected.len());
            assert!(told.iter().zip(&expected).all(|(told, expected)| told == expected.trim_end()), "{told:?}");
            for (id, _) in &world.clients {
                assert!(!world.hub.conns.get(*id).unwrap().owns_memory(), "an idle connection owns no buffer");
            }
        }
    }
}

#[test]
fn the_client_is_told_the_end_and_its_own_end_is_read() {
    for version in VERSIONS {
        for piece_max in [0, 3] {
            let mut world = world(5, piece_max);
            let (first, second) = (world.connect(), world.connect());
            let (mut first, mut second) = (TlsTestClient::new(first, version), TlsTestClient::new(second, version));
            first.send(login("ann"));
            settle(&mut world, &mut [&mut first]);
            second.send(login("ann"));
            settle(&mut world, &mut [&mut first, &mut second]);
            assert!(first.text().contains("REPLACED") && first.closed, "{}", first.text());
            assert!(first.pipe.server_ended());
            second.session.send_close_notify();
            settle(&mut world, &mut [&mut second]);
            world.now_ms += 3_000;
            settle(&mut world, &mut [&mut second]);
            assert!(second.closed && second.pipe.dropped(), "{version:?} {piece_max}");
            assert_eq!(world.hub.counters().closed(CloseCause::PeerClosed), 1);
        }
    }
}

#[test]
fn a_client_that_does_not_read_loses_nothing_and_its_records_are_not_torn() {
    let mut world = world(6, 0);
    let ann = world.connect();
    let mut ann = TlsTestClient::new(ann, &TLS13);
    ann.send(login("ann"));
    settle(&mut world, &mut [&mut ann]);
    let beat = r#"{"MID":"h","TYPE":"0"}"#;
    ann.pipe.set_room(1_000);
    ann.send(beat.repeat(600));
    settle(&mut world, &mut [&mut ann]);
    for room in [1, 10, 20_000, 33, usize::MAX] {
        ann.pipe.set_room(room);
        settle(&mut world, &mut [&mut ann]);
    }
    assert_eq!(ann.text().lines().count(), 601);
    assert_eq!(ann.error, None);
}

/// A key update (a TLS message, not data) may arrive in pieces, between two writes.
#[test]
fn keys_may_change_at_any_time() {
    for piece_max in [0, 1, 4] {
        let mut world = world(13, piece_max);
        let ann = world.connect();
        let mut ann = TlsTestClient::new(ann, &TLS13);
        ann.send(login("ann"));
        settle(&mut world, &mut [&mut ann]);
        for _ in 0..5 {
            ann.send(r#"{"MID":"h","TYPE":"0"}"#);
            ann.session.refresh_traffic_keys().unwrap();
            ann.send(r#"{"MID":"h","TYPE":"0"}"#);
            settle(&mut world, &mut [&mut ann]);
        }
        assert_eq!((ann.text().lines().count(), &ann.error), (11, &None), "{piece_max}");
    }
}

#[test]
fn a_call_that_fails_ends_that_connection_and_disturbs_nobody() {
    for seed in 0..36_u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let fault = [FakeSocketFault::Read, FakeSocketFault::Write, FakeSocketFault::WriteZero][seed as usize % 3];
        let mut world = world(seed, [0, 1, 50][random.usize(..3)]);
        let (ann, victim) = (world.connect(), world.connect());
        victim.0.borrow_mut().fault = Some((fault, random.usize(..9)));
        let version = VERSIONS[random.usize(..2)];
        let (mut ann, mut victim) = (TlsTestClient::new(ann, version), TlsTestClient::new(victim, version));
        ann.send(login("ann"));
        victim.send(login("bob"));
        for _ in 0..24 {
            victim.pump();
            if !victim.session.is_handshaking() {
                victim.send(r#"{"MID":"h","TYPE":"0"}"#);
            }
            // Enough turns for the planned fault to happen, and for a handshake that comes in
            // pieces.
            for _ in 0..if world.piece_max == 0 { 1 } else { 300 } {
                world.turn();
            }
        }
        settle(&mut world, &mut [&mut ann]);
        assert!(victim.pipe.dropped(), "seed {seed}: {fault:?}");
        assert_eq!(world.hub.counters().closed(CloseCause::IoError), 1, "seed {seed}: {fault:?}");
        assert_eq!(ann.text(), LS);
    }
}

#[test]
fn bytes_that_are_no_tls_end_their_connection_with_an_alert() {
    for piece_max in [0, 1] {
        let mut world = world(7, piece_max);
        // Rubbish instead of a hello, a hello that is too large, rubbish behind the hello, rubbish
        // behind the handshake, TLS inside TLS.
        let clients: Vec<TestClient> = (0..5).map(|_| world.connect()).collect();
        clients[0].send([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 9]);
        clients[1].send([0x16, 3, 3, 0xFF, 0xFF]);
        clients[1].send(vec![0; 70_000]);
        let mut behind = TlsTestClient::new(clients[2].clone(), &TLS13);
        behind.pump();
        clients[2].send([9; 400]);
        let mut later = TlsTestClient::new(clients[3].clone(), &TLS12);
        let mut inside = TlsTestClient::new(clients[4].clone(), &TLS13);
        inside.send([0x16, 3, 1]);
        settle(&mut world, &mut [&mut later, &mut inside]);
        clients[3].send([0x17, 3, 3, 0, 40]);
        clients[3].send([7; 40]);
        settle(&mut world, &mut [&mut later, &mut inside]);
        assert_eq!(world.hub.counters().closed(CloseCause::TlsBroken), 5, "{piece_max}");
        assert_eq!(clients[0].received()[0], 0x15, "an alert");
        assert!(matches!(later.error, Some(rustls::Error::AlertReceived(_))), "{:?}", later.error);
        assert!(clients.iter().all(TestClient::server_ended));
        world.now_ms += 6_000;
        world.settle();
        assert!(clients.iter().all(TestClient::dropped));
    }
}

#[test]
fn a_hello_that_is_cut_off_is_given_up_in_time() {
    let mut world = world(8, 0);
    let pipe = world.connect();
    let mut whole = Vec::new();
    TlsTestClient::new(pipe.clone(), &TLS13).session.write_tls(&mut whole).unwrap();
    pipe.send(&whole[..whole.len() / 2]);
    let start_ms = world.now_ms;
    world.settle();
    world.now_ms = start_ms + 9_999;
    world.turn();
    assert!(!pipe.server_ended());
    world.now_ms = start_ms + 10_000;
    world.turn();
    assert_eq!(world.hub.counters().closed(CloseCause::HandshakeTimeout), 1);
    assert!(pipe.server_ended());
    // And one whose client is gone is closed at once.
    let pipe = world.connect();
    pipe.send(&whole[..whole.len() / 2]);
    pipe.end();
    world.settle();
    assert!(pipe.dropped());
}

#[test]
fn a_connection_that_shakes_hands_and_is_closed_is_told_nothing_in_the_clear() {
    let mut world = world(9, 0);
    let pipe = world.connect();
    let mut whole = Vec::new();
    TlsTestClient::new(pipe.clone(), &TLS13).session.write_tls(&mut whole).unwrap();
    pipe.send(&whole[..20]);
    world.settle();
    world.hub.shut_down();
    world.hub.close_all();
    world.settle();
    assert!(pipe.dropped());
    assert!(!pipe.received().windows(4).any(|bytes| bytes == b"SHUT"));
}

/// The handshakes of very many clients are spread over turns, and a connected client is answered
/// in each.
#[test]
fn a_storm_of_handshakes_keeps_nobody_waiting() {
    let mut world = world(10, 0);
    let ann = world.connect();
    ann.send(login("ann"));
    world.settle();
    let mut storm: Vec<TlsTestClient> =
        (0..200).map(|_| world.connect()).map(|pipe| TlsTestClient::new(pipe, &TLS13)).collect();
    storm.iter_mut().for_each(TlsTestClient::pump);
    let shaken = |world: &TestConnectionHub| {
        let sessions = world.clients.iter().filter_map(|(id, _)| world.hub.conns.get(*id)?.tls.as_ref());
        sessions.filter(|tls| !tls.is_new()).count()
    };
    let (mut turns, mut before) = (0, 0);
    while before < 200 {
        ann.send(r#"{"MID":"h","TYPE":"0"}"#);
        world.turn();
        turns += 1;
        assert_eq!(ann.text().lines().count(), turns + 1, "answered in this turn");
        let now = shaken(&world);
        assert!(now - before <= 4, "{} handshakes in one turn", now - before);
        before = now;
        assert!(before == 200 || !world.hub.work.has_nothing_to_read(), "the loop does not sleep");
        assert!(turns < 200);
    }
    for _ in 0..4 {
        storm.iter_mut().for_each(TlsTestClient::pump);
        world.settle();
    }
    assert!(storm.iter_mut().all(|client| !client.session.is_handshaking()));
}

/// A record of one byte costs nearly as much as a large one, and is counted so.
#[test]
fn very_small_records_are_a_debt() {
    let mut world = world(14, 0);
    let ann = world.connect();
    let mut ann = TlsTestClient::new(ann, &TLS13);
    ann.send(login("ann"));
    settle(&mut world, &mut [&mut ann]);
    let debt = |world: &TestConnectionHub| world.hub.conns.get(world.clients[0].0).unwrap().debt_us;
    assert_eq!(debt(&world), 0);
    for _ in 0..2_500 {
        ann.send(" ");
    }
    world.turn();
    // A part of it is repaid in the same turn.
    assert!(debt(&world) > 300, "{} µs", debt(&world));
    ann.send(r#"{"MID":"h","TYPE":"0"}"#);
    settle(&mut world, &mut [&mut ann]);
    assert!(ann.text().ends_with("\"TYPE\":\"RE_HEARTBEAT\"}\n"), "it is repaid");
}

#[test]
fn a_server_that_takes_tls_only_says_so_to_others_but_not_on_loopback() {
    let mut world = TestConnectionHub::new(11, 0);
    world.hub.use_certificates(certificates(true));
    let (raw, socket) = (world.connect_from("192.0.2.7").unwrap(), world.connect_from("192.0.2.7").unwrap());
    let (secure, local) = (world.connect_from("192.0.2.7").unwrap(), world.connect());
    let mut secure = TlsTestClient::new(secure, &TLS13);
    raw.send(login("ann"));
    socket.send(HANDSHAKE);
    local.send(login("bob"));
    secure.send(login("cid"));
    settle(&mut world, &mut [&mut secure]);
    let said = r#"{"CONTENT":"{\"MessageId\":\"\",\"Content\":\"FORBIDDEN: this server takes TLS connections only; connect again with TLS\"}","TYPE":"RE_ERROR"}"#;
    assert_eq!(raw.text(), format!("{said}\n"));
    assert!(socket.text().starts_with("HTTP/1.1 403 Forbidden\r\n"), "{}", socket.text());
    assert!(raw.server_ended() && socket.server_ended());
    assert_eq!(world.hub.counters().closed(CloseCause::PlainRefused), 2);
    assert_eq!((local.text().as_str(), secure.text().as_str()), (LS, LS));
}

#[test]
fn a_trusted_proxy_may_have_opened_tls_itself_and_a_proxy_may_pass_it_on() {
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 1102\r\n";
    let mut world = TestConnectionHub::new(11, 0);
    world.hub.use_certificates(certificates(true));
    world.hub.trust_proxies(Networks::parse("10.0.0.0/8").unwrap());
    let (plain, passed_on) = (world.connect_from("10.1.2.3").unwrap(), world.connect_from("10.1.2.3").unwrap());
    let stranger = world.connect_from("192.0.2.7").unwrap();
    plain.send(format!("{header}{}", login("ann")));
    passed_on.send(header);
    let mut passed_on = TlsTestClient::new(passed_on, &TLS13);
    passed_on.send(login("bob"));
    stranger.send(format!("{header}{}", login("cid")));
    settle(&mut world, &mut [&mut passed_on]);
    assert_eq!((plain.text().as_str(), passed_on.text().as_str()), (LS, LS));
    assert!(stranger.text().contains("FORBIDDEN") && stranger.server_ended(), "{}", stranger.text());
}

#[test]
fn sessions_count_as_memory_that_clients_use() {
    let mut world = world(12, 0);
    let before = world.hub.memory_bytes();
    let mut clients: Vec<TlsTestClient> =
        (0..20).map(|_| world.connect()).map(|pipe| TlsTestClient::new(pipe, &TLS13)).collect();
    clients.iter_mut().for_each(TlsTestClient::pump);
    world.turn();
    world.turn();
    let shaking = world.hub.memory_bytes() - before;
    assert!(shaking >= 20 * 8 * 1024, "{shaking} bytes while hands are shaken");
    for _ in 0..4 {
        clients.iter_mut().for_each(TlsTestClient::pump);
        world.settle();
    }
    let idle = world.hub.memory_bytes() - before;
    assert!(idle >= 20 * 5 * 512 && idle < shaking, "{idle} bytes afterwards");
    for client in &mut clients {
        client.pipe.end();
    }
    world.settle();
    world.now_ms += 10_000;
    world.settle();
    assert!(world.hub.memory_bytes() <= before + 100_000, "{} bytes when all are gone", world.hub.memory_bytes());
}
