//! The client with broken or malicious servers: it must not panic, hang, or take ever more memory.

use super::super::{PATIENCE, end, options, push};
use super::fake::{Fake, Talk};
use hongyan::client::{Client, ClientEndReason, ClientEvent, ClientOptions, Error, PendingSend, UserProfile, sign_up};
use serde_json::json;
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

fn start(fake: &Fake) -> Client {
    Client::start(options(&fake.url(), "ann")).unwrap()
}

#[test]
fn input_that_is_no_frame_ends_the_connection_and_the_client_reconnects() {
    let fake = Fake::start();
    let client = start(&fake);
    for bad in [
        &b"garbage\n"[..],
        b"{\"TYPE\":\"4\",\"CONTENT\":{}}\n",
        b"{\"TYPE\":\"4\",\"CONTENT\":\"{\\\"messageId\\\":7}\"}\n",
        b"\xff\xfe\n",
        b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\n",
    ] {
        let mut talk = fake.log_in();
        talk.send(bad);
        talk.expect_end();
    }
    let mut talk = fake.log_in();
    talk.push("m1");
    assert_eq!(push(&client).message_id, "m1");
    assert_eq!(talk.expect("5")["CONTENT"], json!({"MessageId": "m1", "sender": "bob"}));
}

#[test]
fn a_line_without_an_end_is_not_kept() {
    let fake = Fake::start();
    let _client = start(&fake);
    let mut talk = fake.log_in();
    let piece = [b'x'; 64 * 1024];
    let until = Instant::now() + PATIENCE;
    // The client closes the connection long before these bounds.
    let mut sent = 0;
    while talk.socket.write_all(&piece).is_ok() {
        sent += piece.len();
        assert!(Instant::now() < until && sent < 64 * 1024 * 1024, "the client reads on");
    }
    fake.log_in();
}

/// Answers the request for a token, so that no request of the client is left unanswered.
fn give_token(talk: &mut Talk) {
    let asked = talk.expect("TOKEN");
    talk.reply("RE_TOKEN", &asked["MID"], &json!("token"));
}

fn large_push(n: u32) -> String {
    let (id, text) = (n.to_string(), "x".repeat(4_000));
    let words = json!({"messageId": id, "sender": "bob", "receiver": "ann", "time": "1", "content": text});
    format!("{}\n", json!({"CONTENT": words, "TYPE": "4"}))
}

#[test]
fn answers_come_through_while_the_program_takes_no_pushes() {
    const PUSHES: u32 = 30;
    for (pushes_max, bytes_max) in [(10, usize::MAX), (usize::MAX, 40_000)] {
        let fake = Fake::start();
        let mut few = options(&fake.url(), "ann");
        (few.inbox_max, few.inbox_bytes_max) = (pushes_max, bytes_max);
        let client = Client::start(few).unwrap();
        let mut talk = fake.log_in();
        give_token(&mut talk);
        let all: String = (0..PUSHES).map(large_push).collect();
        talk.send(&all);
        let promise = |talk: &mut Talk, sending: PendingSend| {
            let asked = talk.expect("4");
            talk.reply("RE_MESSAGE", &asked["CONTENT"]["messageId"], &json!("MS"));
            sending.wait().unwrap();
        };
        let sending = client.begin_send("bob", "x").unwrap();
        promise(&mut talk, sending);
        // The client can connect again, too.
        drop(talk);
        let sending = client.begin_send("bob", "x").unwrap();
        let mut talk = fake.log_in();
        talk.send(&all);
        promise(&mut talk, sending);
        // About as many pushes as the program allows wait for it. The server sends all others
        // again.
        let mut next = 0;
        while let Some(event) = client.next(Duration::ZERO).unwrap() {
            if let ClientEvent::Push(push) = event {
                assert_eq!(push.into_push().message_id, next.to_string());
                next += 1;
            }
        }
        assert!((9..20).contains(&next), "{next}");
        talk.send(&all);
        for n in next..PUSHES {
            assert_eq!(push(&client).message_id, n.to_string());
        }
    }
}

#[test]
fn a_flood_of_pushes_is_read_only_as_fast_as_the_program_takes_them() {
    let fake = Fake::start();
    let mut few = options(&fake.url(), "ann");
    few.inbox_max = 100;
    let client = Client::start(few).unwrap();
    let mut talk = fake.log_in();
    give_token(&mut talk);
    talk.socket.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    // The sockets hold a few MiB; a client that reads without bound takes all of this.
    let mut written = 0;
    let blocked = loop {
        match talk.socket.write(large_push(written).as_bytes()) {
            Ok(count) if count == large_push(written).len() => written += 1,
            Ok(_) => break true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break true,
            Err(error) => panic!("{error}"),
        }
        if written == 30_000 {
            break false;
        }
    };
    assert!(blocked, "{written} pushes were read, though the program took none");
    for n in 0..written.min(1_000) {
        assert_eq!(push(&client).message_id, n.to_string());
    }
}

#[test]
fn a_server_that_sends_a_push_again_and_again_gets_acks_and_the_program_sees_it_once() {
    let fake = Fake::start();
    let client = start(&fake);
    let mut talk = fake.log_in();
    talk.push("m1");
    assert_eq!(push(&client).message_id, "m1");
    for _ in 0..100 {
        talk.push("m1");
    }
    talk.push("m2");
    for _ in 0..101 {
        assert_eq!(talk.expect("5")["CONTENT"]["MessageId"], "m1");
    }
    assert_eq!(push(&client).message_id, "m2");
}

#[test]
fn a_server_that_never_answers_is_given_up_within_the_limits() {
    let fake = Fake::start();
    let mut hasty = options(&fake.url(), "ann");
    hasty.answer_limit = Duration::from_millis(50);
    hasty.connect_limit = Duration::from_millis(400);
    let error = Client::connect(hasty).unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
    let mut hasty = options(&fake.url(), "ann");
    hasty.answer_limit = Duration::from_millis(50);
    assert_eq!(sign_up(&hasty, &UserProfile::default()), Err(Error::TimedOut));

    let fake = Fake::start();
    let mut hasty = options(&fake.url(), "ann");
    hasty.request_limit = Duration::from_millis(200);
    let client = Client::start(hasty).unwrap();
    let mut talk = fake.log_in();
    assert_eq!(client.send("bob", "x"), Err(Error::TimedOut));
    talk.expect("4");
}

#[test]
fn a_server_that_talks_without_an_end_does_not_hold_up_a_sign_up() {
    let fake = Fake::start();
    let mut hasty = options(&fake.url(), "ann");
    hasty.answer_limit = Duration::from_millis(50);
    let asked = std::thread::spawn(move || sign_up(&hasty, &UserProfile::default()));
    let mut talk = fake.accept();
    talk.expect("1");
    let chatter = format!("{}\n", json!({"CONTENT": {"userName": "bob", "online": true}, "TYPE": "PRESENCE"}));
    let chatter = chatter.repeat(1_000);
    let until = Instant::now() + PATIENCE;
    while talk.socket.write_all(chatter.as_bytes()).is_ok() && Instant::now() < until {}
    drop(talk);
    assert_eq!(asked.join().unwrap(), Err(Error::TimedOut));
}

#[test]
fn requests_beyond_the_limit_are_refused_as_busy() {
    let fake = Fake::start();
    let mut few = options(&fake.url(), "ann");
    few.requests_max = 3;
    let client = Client::start(few).unwrap();
    let mut talk = fake.log_in();
    let mut sendings: Vec<PendingSend> = (0..3).map(|_| client.begin_send("bob", "x").unwrap()).collect();
    assert_eq!(client.begin_send("bob", "x").unwrap_err(), Error::Busy);
    assert_eq!(client.profile("bob"), Err(Error::Busy));
    let asked = talk.expect("4");
    talk.reply("RE_MESSAGE", &asked["CONTENT"]["messageId"], &json!("MS"));
    sendings.remove(0).wait().unwrap();
    client.begin_send("bob", "x").unwrap();
    assert_eq!(client.begin_send("bob", "x").unwrap_err(), Error::Busy);
}

#[test]
fn a_message_whose_answer_was_lost_is_sent_again_under_its_id() {
    let fake = Fake::start();
    let client = start(&fake);
    let sending = client.begin_send("bob", "x").unwrap();
    let mut talk = fake.log_in();
    let first = talk.expect("4");
    drop(talk);
    let mut talk = fake.log_in();
    assert_eq!(talk.expect("4"), first);
    assert_eq!(sending.result(), None);
    talk.reply("RE_MESSAGE", &first["CONTENT"]["messageId"], &json!("MF"));
    talk.reply("RE_ERROR", &first["CONTENT"]["messageId"], &json!("UNAVAILABLE: the store is away"));
    assert_eq!(talk.expect("4"), first);
    talk.reply("RE_MESSAGE", &first["CONTENT"]["messageId"], &json!("MS"));
    sending.wait().unwrap();
}

#[test]
fn forbidden_ends_the_client_and_a_stop_of_the_server_does_not() {
    let fake = Fake::start();
    let client = start(&fake);
    for code in ["IDLE: silence", "SHUTTING_DOWN: bye", "UNAVAILABLE: the operator ended it"] {
        let mut talk = fake.log_in();
        talk.reply("RE_ERROR", &json!(""), &json!(code));
        talk.expect_end();
    }
    let mut talk = fake.log_in();
    talk.reply("RE_ERROR", &json!(""), &json!("FORBIDDEN: banned"));
    assert_eq!(end(&client), ClientEndReason::Forbidden("FORBIDDEN: banned".to_owned()));
    talk.expect_end();
}

#[test]
fn a_server_that_does_not_accept_the_web_socket_is_unreachable() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n".to_owned(),
        "x".repeat(10_000),
    ] {
        let fake = Fake::start();
        let mut hasty = ClientOptions::new(&fake.url().replace("tcp:", "ws:"), "ann").password_hash("x");
        hasty.connect_limit = Duration::from_millis(800);
        let asked = std::thread::spawn(move || Client::connect(hasty));
        let mut talk = fake.accept();
        talk.send(&answer);
        let error = asked.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{error}");
    }
}

#[test]
fn a_clone_keeps_the_connection_until_it_is_closed() {
    let fake = Fake::start();
    let client = start(&fake);
    let other = client.clone();
    let mut talk = fake.log_in();
    talk.push("m1");
    drop(client);
    let Ok(Some(ClientEvent::Connection(_))) = other.next(PATIENCE) else { panic!("the connection goes on") };
    assert_eq!(push(&other).message_id, "m1");
    talk.expect("5");
    other.close();
    talk.expect_end();
}
