//! The client library against a real server, over all four schemes; against a server that
//! restarts; and against one that is hostile.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/client/`.
mod client {
    mod account;
    mod examples;
    mod fake;
    mod hostile;
    mod python;
}

use common::{PATIENCE, Server, config};
use hongyan::client::{
    Client, ClientEndReason, ClientEvent, ClientOptions, ConnectionToServerState, Error, ErrorCode, Push, PushKind,
    RecommendedAction, ResumeTokenFile, UserProfile, sign_up,
};
use hongyan::config::{Config, StoreUrl};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse battery staple";

/// With waits that suit a test.
fn options(url: &str, user: &str) -> ClientOptions {
    let mut options = ClientOptions::new(url, user).password(PASSWORD);
    options.backoff_first = Duration::from_millis(50);
    options.backoff_max = Duration::from_millis(400);
    options.retry_first = Duration::from_millis(50);
    options.request_limit = PATIENCE;
    options.connect_limit = PATIENCE;
    options
}

fn tcp(addr: SocketAddr) -> String {
    format!("tcp://{addr}")
}

/// A new account, logged in.
fn user(url: &str, name: &str) -> Client {
    sign_up(&options(url, name), &UserProfile::default()).unwrap();
    Client::connect(options(url, name)).unwrap()
}

/// The next push, acked.
#[track_caller]
fn push(client: &Client) -> Push {
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match client.next(left).unwrap() {
            Some(ClientEvent::Push(push)) => return push.into_push(),
            Some(_) => {}
            None => panic!("no push for {}", client.user()),
        }
    }
}

/// Waits for the end of the client.
#[track_caller]
fn end(client: &Client) -> ClientEndReason {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        match client.next(PATIENCE) {
            Err(Error::Ended(end)) => return end,
            Err(error) => panic!("{error}"),
            Ok(_) => {}
        }
    }
    panic!("{} goes on", client.user())
}

fn befriend(asker: &Client, asked: &Client) {
    asker.ask_friend(asked.user(), "hello").unwrap();
    let request = push(asked);
    assert_eq!((request.kind, request.content.as_str()), (PushKind::FriendRequest, "hello"));
    asked.accept(&request, "yes").unwrap();
    assert_eq!(push(asker).kind, PushKind::FriendAccept);
}

/// A server with a store of its own, which can start again at the same place.
struct Restarting {
    config: Config,
    server: Option<Server>,
    addr: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Restarting {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config();
        config.store = StoreUrl::Sqlite(folder.path().join("hongyan.db"));
        let server = Server::with(config.clone());
        let addr = server.addr;
        config.listen = addr;
        Self { config, server: Some(server), addr, _folder: folder }
    }

    fn stop(&mut self) {
        self.server.take().unwrap().stop();
    }

    fn start_again(&mut self) {
        self.server = Some(Server::with(self.config.clone()));
    }
}

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/common/tls").join(name)
}

#[test]
fn a_conversation_over_all_four_schemes() {
    let mut settings = config();
    settings.tls_cert = Some(tls_file("server.pem"));
    settings.tls_key = Some(tls_file("server.key"));
    let server = Server::with(settings);
    let port = server.addr.port();
    let url = |scheme: &str| format!("{scheme}://localhost:{port}");
    let ann = user(&tcp(server.addr), "ann");
    for scheme in ["tcp", "ws", "tls", "wss"] {
        let name = format!("bob {scheme}");
        let ours = || options(&url(scheme), &name).ca_file(tls_file("ca.pem"));
        let profile = UserProfile { nick_name: "Bob 🪿".to_owned(), ..UserProfile::default() };
        sign_up(&ours(), &profile).unwrap();
        assert_eq!(sign_up(&ours(), &profile), Err(Error::NameTaken));
        let bob = Client::connect(ours()).unwrap();
        befriend(&bob, &ann);
        // Longer than a record of TLS and a short WebSocket frame.
        for text in ["short", &"long 🪿\n\"\\".repeat(2_000)] {
            let id = bob.send("ann", text).unwrap();
            let got = push(&ann);
            assert_eq!((got.sender.as_str(), got.message_id, got.content.as_str()), (name.as_str(), id, text));
            ann.send(&name, text).unwrap();
            assert_eq!(push(&bob).content, text);
        }
        assert_eq!(ann.profile(&name).unwrap().unwrap().nick_name, "Bob 🪿");
        assert_eq!(ann.profile("nobody").unwrap(), None);
        bob.end_friendship("ann").unwrap();
        assert_eq!(bob.send("ann", "still there?"), Err(Error::NotFriends));
        bob.close();
    }
    // A certificate of nobody we trust.
    let stranger = Client::start(options(&url("tls"), "ann")).unwrap();
    let told = stranger.next(PATIENCE).unwrap();
    assert!(
        matches!(&told, Some(ClientEvent::Connection(ConnectionToServerState::Offline { reason, .. })) if reason.contains("certificate")),
        "{told:?}"
    );
    drop(ann);
    server.stop();
}

#[test]
fn a_server_that_restarts_is_found_again_and_each_message_comes_once() {
    let mut server = Restarting::start();
    let url = tcp(server.addr);
    let (ann, bob) = (user(&url, "ann"), user(&url, "bob"));
    befriend(&ann, &bob);
    let sender = std::thread::spawn(move || {
        for n in 0..200 {
            ann.send("bob", &format!("number {n}")).unwrap();
        }
        ann
    });
    for n in 0..200 {
        if n % 50 == 25 {
            server.stop();
            server.start_again();
        }
        assert_eq!(push(&bob).content, format!("number {n}"), "in order, each once");
    }
    drop(sender.join().unwrap());
    assert!(bob.next(Duration::ZERO).is_ok_and(|event| !matches!(event, Some(ClientEvent::Push(_)))));
}

#[test]
fn a_push_that_is_not_acked_comes_again_and_one_that_is_does_not() {
    let server = Server::tuned(|config| config.rules.resend_every_ms = 100);
    let url = tcp(server.addr);
    let (ann, bob) = (user(&url, "ann"), user(&url, "bob"));
    befriend(&ann, &bob);
    let sending = ann.begin_send("bob", "one").unwrap();
    for _ in 0..2 {
        let until = Instant::now() + PATIENCE;
        let given = loop {
            assert!(Instant::now() < until);
            if let Some(ClientEvent::Push(push)) = bob.next(PATIENCE).unwrap() {
                break push;
            }
        };
        assert_eq!(given.content, "one");
    }
    assert!(bob.receive(PATIENCE, |push| assert_eq!(push.content, "one")).unwrap());
    sending.wait().unwrap();
    // A handler that panics has not dealt with it.
    ann.send("bob", "two").unwrap();
    let torn =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bob.receive(PATIENCE, |_| panic!("as planned"))));
    assert!(torn.is_err());
    assert!(bob.receive(PATIENCE, |push| assert_eq!(push.content, "two")).unwrap());
    // A push that the program handles for a long time is not given twice.
    ann.send("bob", "three").unwrap();
    let mut given = 0;
    let until = Instant::now() + Duration::from_millis(500);
    let mut held = Vec::new();
    while let Some(event) = bob.next(until.saturating_duration_since(Instant::now())).unwrap() {
        if let ClientEvent::Push(push) = event {
            given += 1;
            held.push(push);
        }
    }
    assert_eq!(given, 1);
}

#[test]
fn a_user_who_logs_in_elsewhere_is_not_fought() {
    let server = Server::start();
    let url = tcp(server.addr);
    let first = user(&url, "ann");
    let second = Client::connect(options(&url, "ann")).unwrap();
    assert_eq!(end(&first), ClientEndReason::Replaced);
    let error = first.send("bob", "x").unwrap_err();
    assert_eq!(
        (error.clone(), error.recommended_action()),
        (Error::Ended(ClientEndReason::Replaced), RecommendedAction::AskTheUser)
    );
    assert!(second.is_online());
}

#[test]
fn a_token_is_kept_and_a_wrong_password_ends_it() {
    let mut server = Restarting::start();
    let url = tcp(server.addr);
    let folder = tempfile::tempdir().unwrap();
    let file = || ResumeTokenFile::new(folder.path().join("token"));
    sign_up(&options(&url, "ann"), &UserProfile::default()).unwrap();
    let ann = Client::connect(options(&url, "ann").tokens(file())).unwrap();
    let until = Instant::now() + PATIENCE;
    while !folder.path().join("token").exists() {
        assert!(Instant::now() < until, "the token is kept");
        std::thread::sleep(Duration::from_millis(10));
    }
    ann.close();
    server.stop();
    server.start_again();
    // Without a password.
    let mut by_token = ClientOptions::new(&url, "ann").tokens(file());
    by_token.connect_limit = PATIENCE;
    let ann = Client::connect(by_token).unwrap();
    ann.log_out().unwrap();
    assert!(!folder.path().join("token").exists());
    let error = Client::connect(options(&url, "ann").password("wrong")).unwrap_err();
    assert_eq!(error, Error::Ended(ClientEndReason::WrongPassword));
    assert!(matches!(Client::connect(ClientOptions::new(&url, "ann").tokens(file())), Err(Error::Setting(_))));
}

#[test]
fn heartbeats_keep_the_connection() {
    let server = Server::tuned(|config| {
        config.rules.idle_timeout_ms = 400;
        config.rules.idle_check_ms = 50;
    });
    let url = tcp(server.addr);
    sign_up(&options(&url, "ann"), &UserProfile::default()).unwrap();
    let mut lively = options(&url, "ann");
    lively.heartbeat_every = Duration::from_millis(100);
    let ann = Client::connect(lively).unwrap();
    assert!(matches!(ann.next(PATIENCE), Ok(Some(ClientEvent::Connection(ConnectionToServerState::Online)))));
    let next = ann.next(Duration::from_millis(1_200)).unwrap();
    assert!(next.is_none(), "{next:?}");
    // One that sends none is told IDLE, and comes back.
    sign_up(&options(&url, "bob"), &UserProfile::default()).unwrap();
    let bob = Client::connect(options(&url, "bob")).unwrap();
    let until = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    while Instant::now() < until && seen.len() < 3 {
        if let Some(ClientEvent::Connection(connection)) = bob.next(PATIENCE).unwrap() {
            seen.push(connection);
        }
    }
    let told = |it: &ConnectionToServerState| matches!(it, ConnectionToServerState::Offline { reason, .. } if reason.starts_with("IDLE"));
    assert!(seen.iter().any(told), "{seen:?}");
    assert!(seen.iter().filter(|it| **it == ConnectionToServerState::Online).count() >= 1);
}

#[test]
fn many_messages_may_be_on_their_way_at_once() {
    let server = Server::start();
    let url = tcp(server.addr);
    let (ann, bob) = (user(&url, "ann"), user(&url, "bob"));
    befriend(&bob, &ann);
    drop(ann);
    let sendings: Vec<_> = (0..10).map(|n| bob.begin_send("ann", &n.to_string()).unwrap()).collect();
    sendings.into_iter().for_each(|sending| sending.wait().unwrap());
    let too_large = bob.send("ann", &"x".repeat(70_000)).unwrap_err();
    assert!(matches!(too_large, Error::TooLarge { .. }), "{too_large}");
    let ann = Client::connect(options(&url, "ann")).unwrap();
    for n in 0..10 {
        assert_eq!(push(&ann).content, n.to_string());
    }
}

#[test]
fn a_server_with_smaller_frames_says_so_and_the_client_goes_on() {
    let server = Server::tuned(|config| config.frame_bytes_max = 4 * 1024);
    let url = tcp(server.addr);
    let (ann, bob) = (user(&url, "ann"), user(&url, "bob"));
    befriend(&ann, &bob);
    let error = ann.send("bob", &"x".repeat(10_000)).unwrap_err();
    assert!(matches!(&error, Error::Refused(it) if it.code == Some(ErrorCode::TooLarge)), "{error}");
    ann.send("bob", "short").unwrap();
    assert_eq!(push(&bob).content, "short");
}
