//! Clients behind proxies, and clients that only pretend to be.

use super::websocket::HANDSHAKE;
use super::*;
use crate::config::{Networks, Origins};
use crate::net::counters::CloseCause;
use crate::net::proxy_header::tests::v2;

const PROXY: &str = "127.0.0.1";
const BEAT: &str = "{\"TYPE\":\"0\",\"MID\":\"h\"}\n";

fn world(piece_max: usize) -> TestConnectionHub {
    let mut world = TestConnectionHub::new(21, piece_max);
    world.hub.trust_proxies(Networks::parse("127.0.0.1,10.0.0.0/8").unwrap());
    world
}

fn v1(client: &str) -> String {
    format!("PROXY TCP4 {client} 198.51.100.1 4711 1102\r\n")
}

/// An upgrade with more headers.
fn upgrade(headers: &str) -> String {
    HANDSHAKE.replace("Host: x\r\n", &format!("Host: x\r\n{headers}"))
}

#[test]
fn each_client_behind_a_proxy_counts_for_its_own_address() {
    let four = |address: [u8; 4]| v2(0x21, 0x11, &[address, [198, 51, 100, 1], [1, 2, 3, 4]].concat());
    for piece_max in [0, 1, 7] {
        let mut world = world(piece_max);
        // One address may have three connections, whichever header gives the address.
        let headers = [v1("192.0.2.7").into_bytes(), four([192, 0, 2, 7]), v1("192.0.2.7").into_bytes()];
        for header in headers.iter().chain([&four([192, 0, 2, 8])]) {
            let client = world.connect_from(PROXY).unwrap();
            client.send(header.clone());
            client.send(BEAT);
            world.settle();
            assert!(client.text().contains("NOT_LOGGED_IN") && !client.dropped(), "{}", client.text());
        }
        let one_too_many = world.connect_from(PROXY).unwrap();
        one_too_many.send(v1("192.0.2.7") + BEAT);
        world.settle();
        assert_eq!((one_too_many.text().as_str(), one_too_many.dropped()), ("", true));
        assert_eq!(world.hub.counters().closed(CloseCause::AddressFull), 1);
        assert!(world.connect_from("192.0.2.7").is_none(), "a direct connection counts for the same address");
        world.clients[0].1.0.borrow_mut().broken = true;
        world.settle();
        assert!(world.connect_from("192.0.2.7").is_some(), "one of the three is gone");
    }
}

#[test]
fn a_client_behind_a_proxy_counts_before_it_says_anything() {
    let mut world = world(0);
    for _ in 0..3 {
        world.connect_from(PROXY).unwrap().send(v1("192.0.2.7"));
    }
    world.settle();
    assert!(world.connect_from("192.0.2.7").is_none());
}

#[test]
fn a_proxy_that_speaks_for_itself_is_a_client() {
    let mut world = world(1);
    for header in [Vec::new(), v2(0x20, 0, b""), b"PROXY UNKNOWN\r\n".to_vec()] {
        let client = world.connect_from("10.1.2.3").unwrap();
        client.send(header);
        client.send(BEAT);
        world.settle();
        assert!(client.text().contains("NOT_LOGGED_IN"), "{}", client.text());
    }
    let fourth = world.connect_from("10.1.2.3").unwrap();
    fourth.send(BEAT);
    world.settle();
    assert!(fourth.dropped() && fourth.text().is_empty());
    for _ in 0..9 {
        let silent = world.connect_from("10.1.2.3").unwrap();
        world.settle();
        assert!(!silent.server_ended(), "the address of its client is not known yet");
    }
}

#[test]
fn headers_of_clients_are_not_believed() {
    let mut world = world(0);
    let client = world.connect_from("192.0.2.9").unwrap();
    client.send(v1("127.0.0.1"));
    world.settle();
    assert!(client.text().contains("BAD_JSON"), "{}", client.text());
    let binary = world.connect_from("192.0.2.9").unwrap();
    binary.send(v2(0x21, 0x11, &[127, 0, 0, 1, 127, 0, 0, 1, 1, 2, 3, 4]));
    binary.send("\n");
    world.settle();
    assert!(binary.text().contains("BAD_JSON"), "{}", binary.text());
    let forger = world.connect_from("192.0.2.9").unwrap();
    forger.send(upgrade("X-Forwarded-For: 127.0.0.1\r\nForwarded: for=10.1.1.1\r\n"));
    world.settle();
    assert!(forger.text().starts_with("HTTP/1.1 101 "), "{}", forger.text());
    assert!(world.connect_from("192.0.2.9").is_none(), "all three count for its own address");
    // Behind a proxy, the client's own headers and a second PROXY header are not believed either.
    let client = world.connect_from(PROXY).unwrap();
    client.send(v1("192.0.2.10") + &upgrade("X-Forwarded-For: 127.0.0.1\r\n"));
    let twice = world.connect_from(PROXY).unwrap();
    twice.send(v1("192.0.2.10") + &v1("127.0.0.1"));
    let third = world.connect_from("192.0.2.10");
    world.settle();
    assert!(third.is_some() && twice.text().contains("BAD_JSON"), "{}", twice.text());
    assert!(world.connect_from("192.0.2.10").is_none());
}

#[test]
fn after_a_proxy_header_without_an_address_no_other_header_is_believed() {
    let mut world = world(0);
    for client in 0..4 {
        let pipe = world.connect_from(PROXY).unwrap();
        pipe.send(format!("PROXY UNKNOWN\r\n{}", upgrade(&format!("X-Forwarded-For: 192.0.2.{client}\r\n"))));
        world.settle();
        // Loopback has no limit.
        assert!(pipe.text().starts_with("HTTP/1.1 101 "), "{}", pipe.text());
    }
    for client in 0..4 {
        let pipe = world.connect_from("10.1.2.3").unwrap();
        pipe.send(format!("PROXY UNKNOWN\r\n{}", upgrade(&format!("X-Forwarded-For: 192.0.2.{client}\r\n"))));
        world.settle();
        assert_eq!(pipe.dropped(), client == 3, "all count for the proxy, which may have three");
    }
}

#[test]
fn the_head_of_a_request_gives_the_address_of_the_client() {
    for piece_max in [0, 9] {
        let mut world = world(piece_max);
        for headers in [
            "X-Forwarded-For: 203.0.113.66, 192.0.2.7\r\n",
            "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 10.9.9.9\r\n",
            "Forwarded: for=203.0.113.66, for=192.0.2.7;proto=https\r\n",
        ] {
            let client = world.connect_from(PROXY).unwrap();
            client.send(upgrade(headers));
            world.settle();
            assert!(client.text().starts_with("HTTP/1.1 101 "), "{}", client.text());
        }
        let fourth = world.connect_from(PROXY).unwrap();
        // Two proxies in a row: the PROXY header gives the address of the outer one, and
        // X-Forwarded-For that of the client.
        fourth.send(v1("10.1.2.3") + &upgrade("X-Forwarded-For: 192.0.2.7\r\n"));
        world.settle();
        assert!(fourth.dropped() && fourth.text().is_empty(), "{}", fourth.text());
        let liar = world.connect_from(PROXY).unwrap();
        liar.send(upgrade("X-Forwarded-For: 192.0.2.8\r\nForwarded: for=192.0.2.9\r\n"));
        world.settle();
        assert!(liar.text().starts_with("HTTP/1.1 400 "), "{}", liar.text());
        // A request that is not an upgrade is answered, and counts for no address.
        for _ in 0..5 {
            let health = world.connect_from(PROXY).unwrap();
            health.send("GET /healthz HTTP/1.1\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n");
            world.settle();
            assert!(health.text().ends_with("\r\n\r\nok\n"), "{}", health.text());
        }
    }
}

#[test]
fn the_core_limits_requests_by_the_address_of_the_client_and_not_of_the_proxy() {
    let rules = CoreSettings { requests_before_login_per_address_max: 5, ..CoreSettings::default() };
    let mut world = world(0);
    world.hub = ConnectionHub::new(ServerCore::new(rules, 1, [1, 2]), world.hub.bounds, [1, 2]);
    world.hub.trust_proxies(Networks::parse(PROXY).unwrap());
    let talk = |world: &mut TestConnectionHub, header: &str| {
        let client = world.connect_from(PROXY).unwrap();
        client.send(header.to_owned() + &BEAT.repeat(6));
        world.settle();
        client.text()
    };
    assert!(talk(&mut world, &v1("192.0.2.7")).contains("RATE_LIMITED"));
    assert!(!talk(&mut world, "").contains("RATE_LIMITED"), "loopback itself has no such limit");
    let other = world.connect_from(PROXY).unwrap();
    other.send(v1("192.0.2.8") + BEAT);
    world.settle();
    assert!(other.text().contains("NOT_LOGGED_IN"));
}

#[test]
fn a_bad_or_slow_proxy_header_ends_the_connection_and_silence_does_not() {
    let mut world = world(0);
    let bad = world.connect_from(PROXY).unwrap();
    bad.send("PROXY TCP4 nonsense\r\n".to_owned() + BEAT);
    let (slow, silent) = (world.connect_from(PROXY).unwrap(), world.connect_from(PROXY).unwrap());
    slow.send("PROXY TCP4 192.0.2.7");
    let whole = world.connect_from(PROXY).unwrap();
    whole.send(&v1("192.0.2.7")[..5]);
    world.settle();
    assert!(bad.server_ended() && bad.text().is_empty());
    assert_eq!(world.hub.counters().closed(CloseCause::BadProxyHeader), 1);
    whole.send(&v1("192.0.2.7")[5..]);
    world.now_ms += 11_000;
    world.settle();
    assert!(slow.server_ended() && !silent.server_ended() && !whole.server_ended());
    assert_eq!(world.hub.counters().closed(CloseCause::HandshakeTimeout), 1);
    silent.send(v1("192.0.2.7") + BEAT);
    world.settle();
    assert!(silent.text().contains("NOT_LOGGED_IN"));
}

#[test]
fn nothing_of_a_connection_through_a_proxy_is_kept_when_it_is_gone() {
    let mut world = world(0);
    let before = world.hub.memory_bytes();
    let clients: Vec<TestClient> = (0..3).map(|_| world.connect_from(PROXY).unwrap()).collect();
    clients[0].send(v1("192.0.2.7") + BEAT);
    clients[1].send("PROXY");
    world.settle();
    assert!(world.hub.memory_bytes() > before);
    for client in &clients {
        client.0.borrow_mut().broken = true;
    }
    world.settle();
    assert!(clients.iter().all(TestClient::dropped));
    assert_eq!(world.hub.addresses.proxied.memory_bytes(), 0);
    for _ in 0..3 {
        assert!(world.connect_from("192.0.2.7").is_some());
    }
}

#[test]
fn only_pages_of_allowed_origins_open_a_websocket() {
    let mut world = TestConnectionHub::new(22, 3);
    world.hub.answer_http_by(Origins::parse("https://chat.example").unwrap(), Arc::default());
    for (headers, status) in [
        ("", "101"),
        ("Origin: https://chat.example\r\n", "101"),
        ("Origin: https://evil.example\r\n", "403"),
        ("Origin: https://chat.example\r\nOrigin: https://evil.example\r\n", "403"),
        ("Origin: null\r\n", "403"),
    ] {
        let client = world.connect();
        client.send(upgrade(headers));
        world.settle();
        assert!(client.text().starts_with(&format!("HTTP/1.1 {status} ")), "{headers}: {}", client.text());
    }
    let page = world.connect();
    page.send("GET / HTTP/1.1\r\nOrigin: https://evil.example\r\n\r\n");
    world.settle();
    assert!(page.text().starts_with("HTTP/1.1 200 "), "the page has no secrets");
}

#[test]
fn a_stopping_server_answers_health_checks_with_503() {
    let mut world = TestConnectionHub::new(23, 0);
    world.store_answers = false;
    let (ann, asks) = (world.connect(), world.connect());
    ann.send(sign_up("ann"));
    world.settle();
    world.hub.shut_down();
    asks.send("GET /healthz HTTP/1.1\r\n\r\n");
    world.settle();
    assert!(asks.text().starts_with("HTTP/1.1 503 ") && asks.text().ends_with("\r\n\r\nstopping\n"), "{}", asks.text());
}
