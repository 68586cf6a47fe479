//! The parts that the loopback tests share: a server in this process on a free port, and clients
//! that wait for conditions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part of it")]

mod client;
mod database;
mod galera;
mod haproxy;
mod mariadb;
mod node;
mod program;
mod redis_server;
mod replicated;
pub mod store;

pub use client::{Client, Record};
pub use database::Database;
pub use galera::GaleraPair;
pub use haproxy::HaProxy;
pub use mariadb::{MariaDb, current_user};
pub use node::{Node, health};
pub use program::{CHEAP_PASSWORDS, Program};
pub use redis_server::Redis;
pub use replicated::ReplicatedPair;

use hongyan::config::{Config, StoreUrl};
use hongyan::server::{self, ServerHandle};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Nothing that is to happen takes longer, however slow the machine is.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, is_so: impl FnMut() -> bool) {
    wait_until_within(PATIENCE, what, is_so);
}

/// The same for what takes longer than anything else.
#[track_caller]
pub fn wait_until_within(max: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + max;
    while !is_so() {
        assert!(Instant::now() < until, "not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The form of CONTENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentForm {
    Text,
    Object,
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Raw,
    WebSocket,
}

pub const BOTH: [ContentForm; 2] = [ContentForm::Text, ContentForm::Object];
pub const TRANSPORTS: [Transport; 2] = [Transport::Raw, Transport::WebSocket];

/// A running server.
pub struct Server {
    handle: Option<ServerHandle>,
    pub addr: SocketAddr,
}

/// The default settings of the tests: a store in memory, a free port, passwords that cost nothing.
pub fn config() -> Config {
    let mut config =
        Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), store: StoreUrl::Memory, ..Config::default() };
    config.argon2_memory_kib = 8;
    config.argon2_passes = 1;
    config
}

impl Server {
    pub fn start() -> Self {
        Self::with(config())
    }

    pub fn with(config: Config) -> Self {
        Self::of(server::start(config).expect("the server starts"))
    }

    /// One that was started already.
    pub fn of(handle: ServerHandle) -> Self {
        let addr = handle.addr();
        Self { handle: Some(handle), addr }
    }

    /// With the default settings changed.
    pub fn tuned(tune: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        tune(&mut config);
        Self::with(config)
    }

    pub fn raw(&self) -> Client {
        Client::connect(self.addr, Transport::Raw, ContentForm::Text)
    }

    pub fn object(&self) -> Client {
        Client::connect(self.addr, Transport::Raw, ContentForm::Object)
    }

    pub fn web_socket(&self) -> Client {
        Client::connect(self.addr, Transport::WebSocket, ContentForm::Text)
    }

    pub fn client(&self, transport: Transport, form: ContentForm) -> Client {
        Client::connect(self.addr, transport, form)
    }

    /// Sends an HTTP request on a connection of its own, and gives all that comes until its end.
    pub fn ask_http(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A new account on the client library, which keeps a client's rules by itself: for tests in
    /// which it does not matter what stands on the wire.
    pub fn chatter(&self, name: &str) -> hongyan::client::Client {
        let options =
            || hongyan::client::ClientOptions::new(&format!("tcp://{}", self.addr), name).password_hash("secret");
        // The account may be there from before a restart.
        match hongyan::client::sign_up(&options(), &hongyan::client::UserProfile::default()) {
            Ok(()) | Err(hongyan::client::Error::NameTaken) => {}
            Err(error) => panic!("{name}: {error}"),
        }
        hongyan::client::Client::connect(options()).unwrap()
    }

    /// A user with an account, logged in over raw TCP in the string form.
    pub fn user(&self, name: &str) -> Client {
        let mut client = self.raw();
        client.sign_up(name);
        client.log_in(name);
        client
    }

    /// Two friends, both logged in.
    pub fn friends(&self, one: &str, other: &str) -> (Client, Client) {
        let (mut one, mut other) = (self.user(one), self.user(other));
        befriend(&mut one, &mut other);
        (one, other)
    }

    pub fn stop(mut self) {
        self.handle.take().unwrap().stop();
    }
}

/// Makes two logged-in users friends, with nothing outstanding at the end.
pub fn befriend(one: &mut Client, other: &mut Client) {
    let (asker, asked) = (one.name.clone(), other.name.clone());
    let id = format!("befriend {asker} {asked}");
    one.send(&one.friend("1", &id, &asker, &asked, ""));
    one.expect_time(&id);
    other.expect_push("6", &id);
    other.ack(&id);
    other.send(&other.friend("2", &id, &asker, &asked, ""));
    other.expect_time(&id);
    one.expect_push("6", &id);
    one.ack(&id);
    one.fence();
    other.fence();
}

/// An envelope: `content` as it stands, or as a JSON text inside a string.
pub fn envelope(form: ContentForm, kind: &str, mid: Option<&str>, content: &Value) -> String {
    let content = match form {
        ContentForm::Text => Value::String(content.to_string()),
        ContentForm::Object => content.clone(),
    };
    let mut envelope = json!({"TYPE": kind, "CONTENT": content});
    if let Some(mid) = mid {
        envelope["MID"] = mid.into();
    }
    envelope.to_string()
}

/// A reply, byte for byte.
pub fn reply(form: ContentForm, kind: &str, id: &str, content: &str) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    let inner = format!("{{\"MessageId\":{},\"Content\":{}}}", quoted(id), quoted(content));
    match form {
        ContentForm::Text => format!("{{\"CONTENT\":{},\"TYPE\":\"{kind}\"}}", quoted(&inner)),
        ContentForm::Object => format!("{{\"CONTENT\":{inner},\"TYPE\":\"{kind}\"}}"),
    }
}

/// The content of a frame in either form.
pub fn content(frame: &str) -> Value {
    let frame: Value = serde_json::from_str(frame).unwrap_or_else(|error| panic!("{error}: {frame}"));
    match &frame["CONTENT"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        content => content.clone(),
    }
}

/// The TYPE of a frame.
pub fn kind(frame: &str) -> String {
    let frame: Value = serde_json::from_str(frame).unwrap_or_else(|error| panic!("{error}: {frame}"));
    frame["TYPE"].as_str().unwrap().to_owned()
}
