//! Behind a proxy: the limits of an address are the client's. The recipes for proxies in
//! docs/operations.md are run as they stand there, where the proxies are installed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/proxied/`.
mod proxied {
    mod recipes;
}

use common::{Client, ContentForm, Server, Transport, config, envelope};
use hongyan::config::{Networks, Origins};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

fn behind_loopback() -> Server {
    Server::tuned(|config| {
        config.trusted_proxies = Networks::parse("127.0.0.1").unwrap();
        config.rules.sign_ups_per_address_max = 1;
        config.connections_per_address_max = 2;
    })
}

fn sign_up(client: &mut Client, name: &str) {
    client.send(&envelope(ContentForm::Text, "1", Some("s"), &json!({"userName": name, "hashValue": "secret"})));
}

#[test]
fn sign_ups_and_connections_are_counted_for_the_client() {
    let server = behind_loopback();
    let client = |address: &str| {
        let mut client = server.raw();
        client.send_bytes(format!("PROXY TCP4 {address} 127.0.0.1 4711 1102\r\n").as_bytes());
        client
    };
    let (mut ann, mut bob) = (client("192.0.2.7"), client("192.0.2.8"));
    sign_up(&mut ann, "ann");
    ann.expect_reply("RE_SIGNUP", "s", "SS");
    sign_up(&mut bob, "bob");
    bob.expect_reply("RE_SIGNUP", "s", "SS");
    let mut again = client("192.0.2.7");
    sign_up(&mut again, "cid");
    again.expect_reply("RE_SIGNUP", "s", "SF");
    again.expect_error("s", "RATE_LIMITED");
    client("192.0.2.7").expect_closed();
    // Loopback itself, without a header, has no such limits.
    for name in ["dan", "eve", "fay"] {
        let mut local = server.raw();
        sign_up(&mut local, name);
        local.expect_reply("RE_SIGNUP", "s", "SS");
    }
}

#[test]
fn a_header_cut_anywhere_is_a_header() {
    let server = behind_loopback();
    let mut client = server.raw();
    for byte in b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 1102\r\n{\"TYPE\":\"0\",\"MID\":\"x\"}\n" {
        client.send_bytes(&[*byte]);
    }
    client.expect_error("x", "NOT_LOGGED_IN");
}

#[test]
fn an_untrusted_header_is_garbage() {
    let server = Server::with(config());
    let mut client = server.raw();
    client.send_bytes(b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 1102\r\n");
    client.expect_error("", "BAD_JSON");
}

#[test]
fn health_is_one_word() {
    let server = Server::start();
    let get = server.ask_http("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(get.starts_with("HTTP/1.1 200 OK\r\n") && get.ends_with("\r\n\r\nok\n"), "{get}");
    let head = server.ask_http("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let post = server.ask_http("POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
}

#[test]
fn a_post_whose_body_is_envelopes_does_nothing() {
    let server = Server::start();
    let account = json!({"userName": "mallory", "hashValue": "secret"});
    let body = format!("{}\n", envelope(ContentForm::Text, "1", Some("s"), &account)).repeat(3);
    for (method, more) in [("POST", ""), ("PUT", ""), ("PROXY", ""), ("POST", "Expect: 100-continue\r\n")] {
        let answer = server.ask_http(&format!(
            "{method} / HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nContent-Type: text/plain\r\n\
             {more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert!(answer.starts_with("HTTP/1.1 405 ") && !answer.contains("RE_SIGNUP"), "{answer}");
    }
    let mut client = server.raw();
    client.send(&envelope(ContentForm::Text, "2", Some("l"), &json!({"USER": "mallory", "PASS": "secret"})));
    client.expect_reply("RE_SIGNUP", "l", "LF");
}

#[test]
fn a_page_of_another_origin_cannot_open_a_websocket() {
    let server = Server::tuned(|config| config.allowed_origins = Origins::parse("https://chat.example").unwrap());
    let upgrade = |headers: &str| {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        String::from_utf8(answer.to_vec()).unwrap()
    };
    assert_eq!(upgrade("Origin: https://chat.example\r\n"), "HTTP/1.1 101");
    assert_eq!(upgrade("Origin: https://evil.example\r\n"), "HTTP/1.1 403");
    // A program that is no browser.
    server.client(Transport::WebSocket, ContentForm::Text).send_bytes(b"");
}

#[test]
fn a_client_that_offers_our_subprotocol_gets_it() {
    let server = Server::start();
    for (offer, chosen) in [("chat, hongyan", Some("hongyan")), ("chat", None)] {
        let stream = TcpStream::connect(server.addr).unwrap();
        let mut request = tungstenite::client::IntoClientRequest::into_client_request("ws://localhost/").unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", offer.parse().unwrap());
        match tungstenite::client(request, stream) {
            Ok((_, answer)) => {
                assert_eq!(answer.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str().unwrap()), chosen)
            }
            // This client, as browsers do, wants one of its offers to be chosen.
            Err(error) => assert!(chosen.is_none() && error.to_string().contains("SubProtocol"), "{error}"),
        }
    }
}
