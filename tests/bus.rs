//! The bus between nodes over a real Redis: published frames arrive, nodes survive the failures of
//! an instance, and nobody waits.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/bus/`.
mod bus {
    pub(crate) mod node;
    pub(crate) mod proxy;
}

use bus::node::{KEY, Node, frame, pair};
use bus::proxy::Proxy;
use common::{PATIENCE, Redis};
use hongyan::bus::Bus;
use hongyan::bus::codec::BusFrameCodec;
use hongyan::chat::contract::{BusFrame, BusRecord, NodeLinkBatch, NodeLinkBatchNumber};
use hongyan::protocol::field::{MessageId, UserName, UserNameRef};
use hongyan::protocol::push::{Push, PushKind};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn frames_arrive_in_order_and_only_at_their_receiver() {
    let Some(redis) = Redis::start() else { return };
    let [mut a, mut b] = pair(&redis.url());
    let mut c = Node::start(3, &redis.url());
    // A node of another cluster on the same server.
    let mut d = Node::tuned(2, &redis.url(), [8; 32], |_| ());
    c.wait_until_it_works();
    d.wait_until_it_works();
    (1..=500).for_each(|number| a.say(&b, number));
    a.say(&c, 501);
    b.wait_for(&a, 500);
    assert_eq!(b.heard, (1..=500).map(|number| (a.me, number)).collect::<Vec<_>>());
    c.wait_for(&a, 501);
    assert_eq!(c.heard.len(), 1);
    d.take();
    assert!(d.heard.is_empty());
    // The server hands a frame on, and answers the publisher a moment later.
    a.wait("all was taken", |a| a.bus.figures().instances[0].frames_out == 501);
    let figures = a.bus.figures();
    assert_eq!(figures.instances[0].failures, 0);
    assert!(figures.instances[0].bytes_out > 501 * 40 && figures.instances[0].beat_us > 0);
    assert_eq!(b.bus.figures().instances[0].frames_in, 500);
    assert!(figures.dropped_by_cause.iter().all(|(_, count)| *count == 0), "{figures:?}");
}

#[test]
fn messages_of_strangers_on_the_channel_are_dropped() {
    let Some(redis) = Redis::start() else { return };
    let [a, mut b] = pair(&redis.url());
    let channel = format!("hongyan:{}:2", BusFrameCodec::new(b.me, &KEY).cluster_name());
    let mut other = TcpStream::connect(redis.addr()).unwrap();
    for payload in [&b"rubbish"[..], &[1; 100], &vec![0; 2_000_000]] {
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n${}\r\n", channel.len(), payload.len());
        other.write_all(&[head.as_bytes(), payload, b"\r\n"].concat()).unwrap();
    }
    // A payload longer than any frame ends the connection. Then the node connects again.
    b.wait("they were dropped", |b| b.dropped("bad_size") == 1 && b.dropped("unknown_version") == 1);
    b.wait("it was too long", |b| b.bus.figures().instances[0].failures == 1);
    b.wait_until_up(&[true]);
    a.get_through(&mut b, 1);
}

#[test]
fn a_killed_server_is_noticed_at_once_and_used_again_later() {
    let Some(mut redis) = Redis::start() else { return };
    let [a, mut b] = pair(&redis.url());
    redis.kill();
    b.wait("it does not work", |node| !node.works);
    let mut a = a;
    a.wait("it does not work", |node| !node.works);
    a.say(&b, 1);
    assert_eq!(a.dropped("no_instance"), 1);
    redis.start_again();
    a.wait_until_it_works();
    b.wait_until_it_works();
    a.get_through(&mut b, 2);
}

#[test]
fn a_frozen_server_delays_nothing() {
    let Some(redis) = Redis::start() else { return };
    let [mut a, mut b] = pair(&redis.url());
    redis.freeze();
    let mut longest = Duration::ZERO;
    a.works = true;
    let until = Instant::now() + PATIENCE;
    let mut number = 0;
    while a.works {
        assert!(Instant::now() < until);
        let began = Instant::now();
        number += 1;
        a.say(&b, number);
        a.take();
        longest = longest.max(began.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    assert!(longest < Duration::from_millis(400), "{longest:?}");
    b.wait("it does not hear itself", |node| !node.works);
    redis.thaw();
    a.wait_until_it_works();
    b.wait_until_it_works();
    a.get_through(&mut b, 1_000_000);
}

#[test]
fn a_slow_server_is_used_as_long_as_it_answers_in_time() {
    let Some(redis) = Redis::start() else { return };
    let proxy = Proxy::start(redis.port);
    let [mut a, mut b] = pair(&format!("redis://{}", proxy.addr));
    proxy.delay(150);
    (1..=200).for_each(|number| a.say(&b, number));
    b.wait_for(&a, 200);
    assert_eq!(b.heard, (1..=200).map(|number| (a.me, number)).collect::<Vec<_>>());
    assert!(a.works && a.ups() == [true]);
    proxy.delay(2_000);
    a.wait("it is too slow", |a| !a.works);
    b.wait("it is too slow", |b| !b.works);
    proxy.delay(0);
    a.wait_until_it_works();
    b.wait_until_it_works();
    a.get_through(&mut b, 1_000);
}

#[test]
fn a_silently_dead_subscription_is_noticed() {
    let Some(redis) = Redis::start() else { return };
    let proxy = Proxy::start(redis.port);
    let [a, mut b] = pair(&format!("redis://{}", proxy.addr));
    proxy.hold(true);
    // Only the subscription is dead: the server still takes the frames that the node publishes.
    b.wait("it does not hear itself", |b| !b.works);
    proxy.hold(false);
    b.wait_until_it_works();
    a.get_through(&mut b, 1);
}

#[test]
fn frames_are_published_on_the_first_instance_that_works() {
    let (Some(mut one), Some(mut two)) = (Redis::start(), Redis::start()) else { return };
    let urls = format!("{},{}", one.url(), two.url());
    let [mut a, mut b] = pair(&urls);
    a.wait_until_up(&[true, true]);
    b.wait_until_up(&[true, true]);
    a.get_through(&mut b, 1);
    assert_eq!(a.bus.figures().instances[1].frames_out, 0);
    one.kill();
    a.get_through(&mut b, 2);
    assert!(a.bus.figures().instances[1].frames_out > 0);
    a.wait_until_up(&[false, true]);
    assert!(a.works && b.works);
    one.start_again();
    a.wait_until_up(&[true, true]);
    b.wait_until_up(&[true, true]);
    two.kill();
    a.get_through(&mut b, 3);
}

#[test]
fn a_node_that_has_only_the_second_instance_gets_frames_there() {
    let (Some(one), Some(two)) = (Redis::start(), Redis::start()) else { return };
    let mut a = Node::start(1, &format!("{},{}", one.url(), two.url()));
    a.wait_until_up(&[true, true]);
    let mut b = Node::start(2, &two.url());
    b.wait_until_it_works();
    a.say(&b, 1);
    b.wait_for(&a, 1);
    let nobody = Node::start(3, "redis://127.0.0.1:1");
    a.say(&nobody, 1);
    a.wait("nobody hears it", |a| a.dropped("nobody_subscribed") == 1);
}

#[test]
fn a_bus_with_a_wrong_password_does_not_work() {
    let Some(redis) = Redis::with(&["--requirepass", "let me/in"]) else { return };
    let at = |user_info: &str| format!("redis://{user_info}127.0.0.1:{}", redis.port);
    let [a, mut b] = pair(&at(":let%20me%2Fin@"));
    a.say(&b, 1);
    b.wait_for(&a, 1);
    let _same = pair(&at("default:let%20me%2Fin@"));
    // The least permissions that a node needs, as in docs/operations.md.
    let user = "--user hongyan on >geheim resetchannels &hongyan:* -@all +ping +subscribe +publish";
    let Some(limited) = Redis::with(&user.split(' ').collect::<Vec<_>>()) else { return };
    drop(pair(&limited.url().replace("redis://", "redis://hongyan:geheim@")));
    for wrong in ["", ":geheim@", "gans:geheim@"] {
        let mut node = Node::start(3, &at(wrong));
        node.wait("it does not work", |node| !node.works);
        // The threads of the bus keep trying, and the node goes on, too.
        thread::sleep(Duration::from_millis(300));
        node.take();
        assert!(!node.works && node.ups() == [false]);
    }
}

/// Makes a root and a certificate for 127.0.0.1 from this root, in this folder.
fn make_certificates(folder: &std::path::Path) {
    let openssl = |words: &str| {
        let done = Command::new("openssl").args(words.split(' ')).current_dir(folder).stderr(Stdio::null()).status();
        assert!(done.unwrap().success(), "{words}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(folder.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(&format!("req -x509 {key} -days 2 -subj /CN=root -keyout ca.key -out ca.pem"));
    openssl(&format!("req {key} -subj /CN=redis -keyout key.pem -out request.pem"));
    openssl("x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out cert.pem");
}

#[test]
fn over_tls_only_a_server_with_a_trusted_root_is_used() {
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    let words = "--tls-port PORT --tls-cert-file FOLDER/cert.pem --tls-key-file FOLDER/key.pem \
                 --tls-ca-cert-file FOLDER/ca.pem --tls-auth-clients no --requirepass geheim";
    let Some(redis) = Redis::of(folder, &words.split_whitespace().collect::<Vec<_>>()) else { return };
    let ca = redis.folder().join("ca.pem").display().to_string();
    let at = |parameter: &str| format!("rediss://:geheim@127.0.0.1:{}{parameter}", redis.port);
    let [a, mut b] = pair(&at(&format!("?root_cert_path={ca}")));
    (1..=100).for_each(|number| a.say(&b, number));
    b.wait_for(&a, 100);
    let plain = format!("redis://:geheim@127.0.0.1:{}", redis.port);
    for wrong in [at(""), plain] {
        let mut node = Node::start(3, &wrong);
        node.wait("it does not work", |node| !node.works);
        thread::sleep(Duration::from_millis(500));
        node.take();
        assert!(!node.works);
    }
}

#[test]
fn a_node_that_reads_too_slowly_is_disconnected_and_comes_back() {
    let words = ["--client-output-buffer-limit", "pubsub 64kb 64kb 1"];
    let Some(redis) = Redis::with(&words) else { return };
    // This proxy stands between the server and node b. It will hold back what the server sends.
    let proxy = Proxy::start(redis.port);
    let mut a = Node::start(1, &redis.url());
    // The long timeout keeps node b from noticing this by its beat.
    let mut b = Node::tuned(2, &format!("redis://{}", proxy.addr), KEY, |config| config.bus_timeout_ms = 30_000);
    a.wait_until_it_works();
    b.wait_until_it_works();
    assert_eq!(subscribers_of(&redis), 2);
    proxy.hold(true);
    let (id, sender) = (MessageId::new("m").unwrap(), UserNameRef::new("ann").unwrap());
    let receiver = UserName::new("bob").unwrap();
    let push = Push::new(1, 1, PushKind::Message, &id, &sender, receiver, &"long ".repeat(20_000));
    let records = vec![BusRecord::Push { phase: 1, push }];
    let long = BusFrame {
        batch: Some(NodeLinkBatch { position: NodeLinkBatchNumber { link: 1, number: 1 }, records }),
        ..frame(1)
    };
    let until = Instant::now() + PATIENCE;
    // The frames fill the buffers of the system first.
    while subscribers_of(&redis) == 2 {
        (0..100).for_each(|_| a.bus.publish(b.me, &long));
        thread::sleep(Duration::from_millis(20));
        assert!(Instant::now() < until, "{:?}", a.bus.figures());
    }
    proxy.hold(false);
    b.wait("it was cut off", |b| b.bus.figures().instances[0].failures == 1);
    b.wait_until_up(&[true]);
    a.get_through(&mut b, 77);
}

#[test]
fn the_queues_for_a_slow_server_and_a_slow_loop_are_bounded() {
    let Some(redis) = Redis::start() else { return };
    let bounded = |number| {
        let mut node = Node::tuned(number, &redis.url(), KEY, |config| config.bus_frames_max = 50);
        node.wait_until_it_works();
        node
    };
    let (a, mut b) = (bounded(1), bounded(2));
    let until = Instant::now() + PATIENCE;
    // The loop of b takes nothing meanwhile.
    while b.dropped("loop_busy") == 0 {
        (0..10).for_each(|number| a.say(&b, number));
        thread::sleep(Duration::from_millis(5));
        assert!(Instant::now() < until);
    }
    b.take();
    assert_eq!(b.heard.len(), 50);
    redis.freeze();
    for number in 0..2_000 {
        a.say(&b, number);
    }
    assert!(a.dropped("queue_full") >= 2_000 - 2 * 50 - 256, "{:?}", a.bus.figures());
    redis.thaw();
    let mut b = b;
    b.wait_until_up(&[true]);
    a.get_through(&mut b, 1_000_000);
}

#[test]
fn a_server_that_is_not_redis_does_no_harm() {
    for says in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"+PONG\r\n+OK\r\n", b"+PONG\r\n*3\r\n$9\r\nsubscribe\r\n", b""]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut socket = socket;
                    socket.write_all(says).ok();
                    // It keeps reading, and writes nothing more.
                    while socket.read(&mut [0; 1_024]).is_ok_and(|count| count > 0) {}
                });
            }
        });
        let mut node = Node::start(1, &format!("redis://{addr}"));
        node.wait("it does not work", |node| !node.works);
        thread::sleep(Duration::from_millis(200));
        node.take();
        assert!(!node.works);
    }
}

#[test]
fn a_bus_that_is_dropped_leaves_no_connection() {
    let Some(redis) = Redis::start() else { return };
    let nodes = pair(&redis.url());
    assert_eq!(clients_of(&redis), 4 + 1);
    drop(nodes);
    let until = Instant::now() + PATIENCE;
    while clients_of(&redis) > 1 {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(10));
    }
}

fn clients_of(redis: &Redis) -> usize {
    let text = clients(redis);
    text.matches("addr=").count() - text.matches("laddr=").count()
}

fn subscribers_of(redis: &Redis) -> usize {
    clients(redis).matches(" sub=1 ").count()
}

fn clients(redis: &Redis) -> String {
    let mut socket = TcpStream::connect(redis.addr()).unwrap();
    socket.write_all(b"*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n*1\r\n$4\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text
}
