//! The protocol of a connection, chosen by its first bytes; raw input in every shape; WebSocket by
//! RFC 6455.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Client, ContentForm, Server, Transport, config, envelope, reply};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame};
use tungstenite::{Bytes, Message};

const BEAT: &str = r#"{"TYPE":"0","MID":"x"}"#;

fn not_logged_in() -> &'static str {
    "NOT_LOGGED_IN"
}

#[test]
fn raw_input_may_be_cut_anywhere() {
    let server = Server::start();
    let mut client = server.raw();
    for _ in 0..2 {
        for byte in format!("{BEAT}\n").bytes() {
            client.send_bytes(&[byte]);
        }
        client.expect_error("x", not_logged_in());
    }
}

#[test]
fn raw_envelopes_back_to_back_pretty_printed_and_on_lines() {
    let server = Server::start();
    let mut client = server.raw();
    client.send_bytes(
        b"{\"TYPE\":0,\"MID\":\"a\"}{\"TYPE\":0,\"MID\":\"b\"}\r\n\r\n \t{\n  \"TYPE\": 0,\n  \"MID\": \"c\"\n}\n",
    );
    for id in ["a", "b", "c"] {
        client.expect_error(id, not_logged_in());
    }
}

#[test]
fn a_thousand_envelopes_in_one_segment_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.user("ann");
    let beats: String =
        (0..1_000).map(|n| envelope(ContentForm::Text, "0", Some(&n.to_string()), &json!({}))).collect();
    client.send_bytes(beats.as_bytes());
    for n in 0..1_000 {
        let frame = client.recv();
        assert!(frame.contains(&format!("\\\"MessageId\\\":\\\"{n}\\\"")), "{frame}");
    }
}

#[test]
fn lines_pasted_at_once_are_worked_off_in_order() {
    let server = Server::start();
    let mut client = server.raw();
    let account = json!({"userName": "ann", "hashValue": "secret"});
    let login = json!({"USER": "ann", "PASS": "secret"});
    let lines = [
        envelope(ContentForm::Text, "1", Some("s"), &account),
        envelope(ContentForm::Text, "2", Some("l"), &login),
        envelope(ContentForm::Text, "0", Some("h"), &json!({})),
    ];
    client.send_bytes(lines.join("\n").as_bytes());
    client.expect_reply("RE_SIGNUP", "s", "SS");
    client.expect_reply("RE_SIGNUP", "l", "LS");
    assert!(client.recv().contains("RE_HEARTBEAT"));
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answers() {
    let server = Server::start();
    let mut client = server.raw();
    let account = json!({"userName": "ann", "hashValue": "secret"});
    client.send(&envelope(ContentForm::Text, "1", Some("s"), &account));
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    client.expect_reply("RE_SIGNUP", "s", "SS");
    client.expect_closed();
}

#[test]
fn an_answer_that_takes_a_while_comes_to_a_client_that_ended_its_side() {
    // The store is asked late, so the answer comes late, too.
    let server = Server::tuned(|config| config.rules.save_after_ms = 2_800);
    let (mut ann, mut bob) = server.friends("ann", "bob");
    ann.send(&ann.message("m", "bob", "as from a pipe"));
    ann.stream().shutdown(std::net::Shutdown::Write).unwrap();
    bob.expect_push("4", "m");
    ann.expect_reply("RE_MESSAGE", "m", "MS");
    ann.expect_closed();
    bob.ack("m");
    bob.fence();
}

#[test]
fn a_plain_get_is_answered_with_a_description() {
    let server = Server::start();
    let answer = server.ask_http("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("hongyan"), "{answer}");
    let bad = server
        .ask_http("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n\r\n");
    assert!(bad.starts_with("HTTP/1.1 426 "), "{bad}");
    let long = server.ask_http(&format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(9_000)));
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
}

#[test]
fn a_get_cut_anywhere_is_still_a_get_and_input_that_only_begins_like_one_is_raw() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    for byte in b"GET / HTTP/1.1\r\n\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let mut client = server.raw();
    client.send("GETTING nowhere");
    client.expect_error("", "BAD_JSON");
}

#[test]
fn no_method_reaches_the_raw_protocol_and_each_has_its_answer() {
    let server = Server::start();
    let beat = format!("{BEAT}\n");
    let post = |method: &str| {
        format!(
            "{method} / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{beat}",
            beat.len()
        )
    };
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "OWN"] {
        let answer = server.ask_http(&post(method));
        assert!(
            answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"),
            "{answer}"
        );
        assert!(!answer.contains("NOT_LOGGED_IN") && !answer.contains("RE_ERROR"), "{answer}");
    }
    let options = server.ask_http(&post("OPTIONS"));
    assert!(options.starts_with("HTTP/1.1 204 ") && options.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "{options}");
    assert!(options.ends_with("\r\n\r\n") && !options.contains("Content-Length"), "{options}");
    let (get, head) = (server.ask_http("GET / HTTP/1.1\r\n\r\n"), server.ask_http("HEAD / HTTP/1.1\r\n\r\n"));
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let (headers, body) = get.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with(headers) && headers.contains(&format!("Content-Length: {}", body.len())), "{get}");
    for (method, has_body) in [("GET", true), ("HEAD", false)] {
        let answer = server.ask_http(&format!("{method} /favicon.ico HTTP/1.1\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n") != has_body, "{answer}");
    }
}

#[test]
fn a_method_cut_anywhere_is_still_one() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    for byte in b"POST / HTTP/1.1\r\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.write_all(format!("\r\n{BEAT}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 ") && !answer.contains("RE_ERROR"), "{answer}");
}

#[test]
fn byte_order_marks_and_nuls_around_envelopes_are_white_space() {
    let server = Server::start();
    let mark = "\u{FEFF}";
    let stream = format!("{mark}{BEAT}\0\0{BEAT}\n{mark}{BEAT}\0\n");
    for cut in 1..8 {
        let mut client = server.raw();
        for piece in stream.as_bytes().chunks(cut) {
            client.send_bytes(piece);
        }
        for _ in 0..3 {
            client.expect_error("x", not_logged_in());
        }
    }
    // Also with messages and acks, which take the fast path.
    let mut ann = server.user("ann");
    ann.send_bytes(format!("{mark}\0{}\0{mark}{BEAT}\n", ann.message("m", "nobody", "text")).as_bytes());
    ann.expect_reply("RE_MESSAGE", "m", "MF");
    assert!(ann.recv().contains("RE_HEARTBEAT"));
    for text in [format!("{mark}{BEAT}"), format!("{BEAT}\0"), format!("\0{mark} {BEAT}\n\0")] {
        let mut client = server.web_socket();
        client.send(&text);
        client.expect_error("x", not_logged_in());
    }
}

#[test]
fn tls_is_closed_while_there_is_no_certificate() {
    let server = Server::start();
    let mut client = server.raw();
    client.send_bytes(&[0x16, 0x03, 0x01, 0x00, 0x05]);
    client.expect_closed();
}

fn close_code(client: &mut Client) -> Option<u16> {
    loop {
        match client.next_message() {
            Ok(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
            Ok(_) => {}
            Err(error) => panic!("no close frame: {error}"),
        }
    }
}

fn frame(opcode: OpCode, fin: bool, payload: &'static [u8]) -> Message {
    let mut frame = Frame::message(Bytes::from_static(payload), opcode, fin);
    frame.header_mut().mask = Some([1, 2, 3, 4]);
    Message::Frame(frame)
}

#[test]
fn binary_messages_are_refused() {
    let server = Server::start();
    let mut client = server.web_socket();
    client.send_message(Message::binary(&b"{}"[..]));
    assert_eq!(close_code(&mut client), Some(1003));
}

#[test]
fn protocol_errors_have_their_close_codes() {
    let server = Server::start();
    let cases: [(&[u8], u16); 7] = [
        (&[0x81, 0x02, b'{', b'}'], 1002),                         // not masked
        (&[0xc1, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002),             // a reserved bit
        (&[0x83, 0x80, 0, 0, 0, 0], 1002),                         // a reserved opcode
        (&[0x80, 0x80, 0, 0, 0, 0], 1002),                         // a continuation of nothing
        (&[0x89, 0xfe, 0, 126, 0, 0, 0, 0], 1002),                 // a long ping
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], 1007),             // no UTF-8
        (&[0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], 1009), // four gigabytes
    ];
    for (bytes, code) in cases {
        let mut client = server.web_socket();
        client.send_bytes(bytes);
        assert_eq!(close_code(&mut client), Some(code), "{bytes:x?}");
    }
}

#[test]
fn fragments_make_one_message_with_control_frames_between() {
    let server = Server::start();
    let mut client = server.web_socket();
    client.send_message(frame(OpCode::Data(Data::Text), false, b"{\"TYPE\":\"0\","));
    client.send_message(Message::Ping(Bytes::from_static(b"here?")));
    client.send_message(frame(OpCode::Data(Data::Continue), false, b"\"MID\""));
    client.send_message(frame(OpCode::Data(Data::Continue), true, b":\"x\"}"));
    assert_eq!(client.next_message().unwrap(), Message::Pong(Bytes::from_static(b"here?")));
    client.expect_error("x", not_logged_in());
}

#[test]
fn a_close_is_answered_with_its_code() {
    let server = Server::start();
    let mut client = server.web_socket();
    client.send_message(Message::Close(Some(CloseFrame { code: CloseCode::Library(4000), reason: "bye".into() })));
    assert_eq!(close_code(&mut client), Some(4000));
    assert!(client.next_message().is_err(), "and then it is over");
}

#[test]
fn the_first_frame_may_come_with_the_handshake() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    let head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let mut bytes = head.as_bytes().to_vec();
    bytes.extend_from_slice(&[0x81, 0x80 | BEAT.len() as u8, 0, 0, 0, 0]);
    bytes.extend_from_slice(BEAT.as_bytes());
    stream.write_all(&bytes).unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while !String::from_utf8_lossy(&answer).contains("NOT_LOGGED_IN") {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..count]);
    }
    assert!(String::from_utf8_lossy(&answer).contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
}

#[test]
fn an_envelope_that_is_too_large_is_told_so_and_closed() {
    let server = Server::tuned(|config| config.frame_bytes_max = 1_024);
    for transport in [Transport::Raw, Transport::WebSocket] {
        let fits = |length: usize| {
            let empty = r#"{"TYPE":"0","MID":"x","pad":""}"#;
            format!(r#"{{"TYPE":"0","MID":"x","pad":"{}"}}"#, "x".repeat(length - empty.len()))
        };
        let mut client = server.client(transport, ContentForm::Text);
        assert_eq!(fits(1_024).len(), 1_024);
        client.send(&fits(1_024));
        client.expect_error("x", not_logged_in());
        client.send(&fits(1_025));
        client.expect_error("", "TOO_LARGE");
        if transport == Transport::WebSocket {
            assert_eq!(close_code(&mut client), Some(1009));
        } else {
            client.expect_closed();
        }
    }
}

#[test]
fn envelopes_of_all_sizes_come_through_whole() {
    let server = Server::start();
    let (mut ann, mut bob) = server.friends("ann", "bob");
    for size in [0, 1, 124, 125, 126, 127, 4_000, 40_000, 60_000] {
        let text: String = "雁x\"\\\n".chars().cycle().take(size / 8).collect();
        ann.send(&ann.message(&format!("m{size}"), "bob", &text));
        assert_eq!(bob.expect_push("4", &format!("m{size}"))["content"], text.as_str());
        bob.ack(&format!("m{size}"));
        ann.expect_reply("RE_MESSAGE", &format!("m{size}"), "MS");
    }
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_harms_nobody() {
    let server = Server::with(config());
    let (mut ann, mut bob) = server.friends("ann", "bob");
    let mut deaf = server.user("deaf");
    let beat = envelope(ContentForm::Text, "0", Some("x"), &json!({}));
    let flood = beat.repeat(2_000);
    deaf.stream().set_nonblocking(true).unwrap();
    // Writes until the server takes no more, so both its buffers and the kernel's are full.
    let mut stuck = 0;
    for _ in 0..2_000 {
        match deaf.stream().write(flood.as_bytes()) {
            Ok(_) => stuck = 0,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stuck += 1;
                ann.fence();
            }
            Err(_) => break,
        }
        if stuck > 200 {
            break;
        }
    }
    ann.send(&ann.message("m", "bob", "still here"));
    bob.take("m");
    ann.expect(&reply(ContentForm::Text, "RE_MESSAGE", "m", "MS"));
}
