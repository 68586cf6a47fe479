//! Callers who are slow, stall, flood or send nonsense. They are refused or waited for within a
//! time, and the chat goes on.

use super::caller::{ask, connect, exchange, get, post};
use crate::Managed;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

#[test]
fn callers_that_stall_have_their_time_and_others_are_told_that_there_are_too_many() {
    let managed = Managed::tuned(|config| {
        config.admin_connections_max = 3;
        config.admin_timeout_ms = 2_000;
    });
    let mut stalled: Vec<_> = (0..3).map(|_| connect(managed.admin)).collect();
    for stream in &mut stalled {
        let head =
            "POST /users/ann/ban HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        // It has its place.
        let mut interim = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut interim).unwrap();
    }
    let until = Instant::now() + crate::common::PATIENCE;
    // The accepting thread may be a moment behind.
    while get(managed.admin, "/health").status != 429 {
        assert!(Instant::now() < until, "three places for four");
    }
    let (mut ann, mut bob) = managed.server.friends("ann", "bob");
    ann.send(&ann.message("m", "bob", "the chat goes on"));
    bob.take("m");
    ann.expect_reply("RE_MESSAGE", "m", "MS");
    for mut stream in stalled {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    while get(managed.admin, "/health").status != 200 {
        assert!(Instant::now() < until, "their places are free");
    }
}

#[test]
fn callers_without_the_token_take_no_place_of_those_who_have_it() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "geheim-geheim-geheim\n").unwrap();
    let token = token.to_str().unwrap();
    let args = ["--admin", "127.0.0.1:0", "--admin-token-file", token];
    let program = crate::common::Program::on("memory:", &args);
    // Some are silent, some have begun, and some have a body to come that nobody waits for.
    let mut strangers = Vec::new();
    for n in 0..60 {
        let mut stream = connect(program.admin());
        match n % 3 {
            0 => {}
            1 => stream.write_all(b"GET /heal").unwrap(),
            _ => stream.write_all(b"POST /notices HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n").unwrap(),
        }
        strangers.push(stream);
        if n % 4 == 0 {
            super::caller::get_with(program.admin(), "/health", "Authorization: Bearer geheim-geheim-geheim\r\n")
                .good();
        }
    }
    let dropped = program.wait_for("a newer one took its place");
    assert!(dropped.contains("INFO") && dropped.contains("tcp 127.0.0.1:"), "{dropped}");
    // The one with a body to come was answered without it, or had to go.
    let mut answer = String::new();
    strangers.last_mut().unwrap().read_to_string(&mut answer).ok();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[test]
fn one_that_does_not_read_its_answer_holds_nothing_but_its_place() {
    let managed = Managed::start();
    let mut deaf: Vec<_> = (0..7).map(|_| connect(managed.admin)).collect();
    for stream in &mut deaf {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    }
    get(managed.admin, "/health").good();
    managed.server.user("ann").fence();
    drop(deaf);
}

#[test]
fn a_flood_of_callers_disturbs_no_chat() {
    let managed = Managed::start();
    let (mut ann, mut bob) = managed.server.friends("ann", "bob");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let status = get(managed.admin, "/metrics").status;
                    assert!([200, 429].contains(&status), "{status}");
                }
            });
        }
        for n in 0..100 {
            let id = format!("m{n}");
            ann.send(&ann.message(&id, "bob", "through it all"));
            bob.take(&id);
            ann.expect_reply("RE_MESSAGE", &id, "MS");
        }
    });
}

#[test]
fn nonsense_is_answered_in_one_plain_sentence() {
    let managed = Managed::start();
    let admin = managed.admin;
    exchange(connect(admin), b"{\"TYPE\":\"0\"}\r\n\r\n").refused(400, "bad_request");
    exchange(connect(admin), b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n").refused(403, "forbidden");
    exchange(connect(admin), b"POST /notices HTTP/1.1\r\n\r\n").refused(403, "forbidden");
    let of_page = b"POST /notices HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n";
    exchange(connect(admin), of_page).refused(403, "forbidden");
    exchange(connect(admin), &[&b"GET /"[..], &[b'x'; 20_000]].concat()).refused(431, "head_too_large");
    let large =
        format!("POST /notices HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n{}", "x".repeat(70_000));
    exchange(connect(admin), large.as_bytes()).refused(413, "too_large");
    let mut cut = connect(admin);
    cut.write_all(b"POST /notices HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{").unwrap();
    cut.shutdown(std::net::Shutdown::Write).unwrap();
    exchange(cut, b"").refused(400, "bad_request");
    for path in ["/", "/nothing", "/users/ann/kick", "/users/ann/ban/x", "/health/"] {
        get(admin, path).refused(404, "not_found");
    }
    for path in
        ["/health?x=1", "/users?before=a", "/messages?receiver=ann", "/messages?receiver=ann&id=", "/%zz", "/users/"]
    {
        get(admin, path).refused(400, "bad_request");
    }
    for (method, path, allow) in [
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/users/ann", "GET, HEAD"),
        ("GET", "/notices", "POST"),
        ("PUT", "/users/ann/ban", "POST"),
    ] {
        let answer = ask(admin, method, path, "");
        answer.refused(405, "method_not_allowed");
        assert!(answer.head.contains(&format!("Allow: {allow}\r\n")), "{answer:?}");
    }
    for body in [
        "",
        "[]",
        "{",
        "{\"text\":\"\"}",
        "{\"to\":\" \",\"text\":\"x\"}",
        "{\"to\":\"ann\"}",
        "{\"text\":\"x\",\"too\":\"ann\"}",
    ] {
        post(admin, "/notices", body).refused(400, "bad_request");
    }
    post(admin, "/notices", &format!("{{\"text\":\"{}\"}}", "x".repeat(17_000))).refused(413, "too_large");
    post(admin, "/users/ann/ban", "{\"reason\":\"x\"}").refused(400, "bad_request");
    post(admin, "/users/%20ann/ban", "").refused(400, "bad_request");
}

#[test]
fn a_head_request_has_no_body() {
    let managed = Managed::start();
    let answer = ask(managed.admin, "HEAD", "/health", "");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(answer.head.contains("Content-Type: application/json"), "{answer:?}");
}

#[test]
fn a_caller_who_hears_nothing_is_told_so_in_time() {
    // Nobody is at the other end of this connection of the loop: the process stands still.
    let program = crate::common::Program::on("memory:", &["--admin", "127.0.0.1:0", "--admin-timeout", "300ms"]);
    assert_eq!(get(program.admin(), "/health").status, 200);
    // A request that has begun ends within its time.
    let began = Instant::now();
    let mut stream = connect(program.admin());
    stream.write_all(b"GET /heal").unwrap();
    exchange(stream, b"").refused(408, "too_slow");
    assert!(began.elapsed() < Duration::from_secs(15));
}
