//! The hook with its threads, against receivers on this machine.

use super::*;
use crate::config::{Config, HookUrl};
use crate::protocol::field::{MessageId, UserName, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

fn hook(listener: &TcpListener, tune: impl FnOnce(&mut Config)) -> PushHook {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut config = Config {
        push_hook: Some(HookUrl::parse(&url).unwrap()),
        push_hook_secret_file: Some(secret),
        push_hook_retry_after_ms: 1,
        ..Config::default()
    };
    tune(&mut config);
    PushHook::start(HookSettings::open(&config).unwrap().unwrap()).unwrap()
}

fn notice() -> PushHookNotice {
    let (id, sender) = (MessageId::new("m1").unwrap(), UserNameRef::new("bob").unwrap());
    let push = Push::new(7, 1, PushKind::Message, &id, &sender, UserName::new("ann").unwrap(), "hello");
    PushHookNotice { push, waiting_pushes: 1, has_more: false }
}

fn receiver() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Reads one request, and answers it.
fn answer(stream: &mut TcpStream, answer: &str) {
    let mut request = Vec::new();
    let mut chunk = [0; 4_096];
    while !request.ends_with(b"}") {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the request is whole");
        request.extend_from_slice(&chunk[..count]);
    }
    stream.write_all(answer.as_bytes()).unwrap();
}

#[test]
fn a_receiver_that_never_answers_delays_neither_the_loop_nor_the_stop() {
    let listener = receiver();
    let hook = hook(&listener, |config| config.push_hook_queue_max = 3);
    let begun = Instant::now();
    // All threads are stuck, then the queue is full.
    for _ in 0..SENDERS {
        hook.announce(&notice());
        drop(listener.accept().map(std::mem::forget));
    }
    for _ in 0..1_000 {
        hook.announce(&notice());
    }
    let counts = hook.stop();
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!((counts.announced, counts.delivered), (1_000 + SENDERS as u64, 0));
    assert_eq!(counts.dropped, counts.announced);
}

#[test]
fn it_is_tried_five_times_and_not_more() {
    let listener = receiver();
    let hook = hook(&listener, |_| {});
    hook.announce(&notice());
    for _ in 0..5 {
        answer(
            &mut listener.accept().unwrap().0,
            "HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let until = Instant::now() + Duration::from_secs(20);
    while hook.shared.lock().counts.dropped == 0 {
        assert!(Instant::now() < until, "it is given up");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(hook.stop(), HookCounts { announced: 1, delivered: 0, dropped: 1, failed: 5 });
}

#[test]
fn an_answer_without_an_end_is_not_read() {
    let listener = receiver();
    let hook = hook(&listener, |_| {});
    hook.announce(&notice());
    let (mut stream, _) = listener.accept().unwrap();
    answer(&mut stream, "HTTP/1.1 200 OK\r\n\r\n");
    // It sends until the other side stops reading.
    let part = [b'x'; 64 * 1_024];
    while stream.write_all(&part).is_ok() {}
    let until = Instant::now() + Duration::from_secs(20);
    while hook.shared.lock().counts.delivered == 0 {
        assert!(Instant::now() < until, "it is delivered");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(hook.stop(), HookCounts { announced: 1, delivered: 1, dropped: 0, failed: 0 });
}
