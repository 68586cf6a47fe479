//! The real binary, to be killed, and a client that lives through it.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

/// The server as users run it, on a port of its own.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Server {
    pub(crate) fn start(store: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hongyan"))
            .args(["--listen", "127.0.0.1:0", "--store", store])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let addr = loop {
            let Some(line) = lines.next() else { panic!("it ended before it was ready: {said:?}") };
            let line = line.unwrap();
            if let Some((_, addr)) = line.split_once("listening on ") {
                break addr.trim().parse().unwrap();
            }
            said.push(line);
        };
        // Read on, or a full pipe would be one more fault than is meant here.
        thread::spawn(move || lines.for_each(drop));
        Self { child, addr }
    }

    /// SIGKILL, as dropping does.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that fails must not leave its server behind. Neither fails on a child of ours that
        // is not waited for yet.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) write: TcpStream,
    pub(crate) read: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr, name: &str) -> Self {
        let write = TcpStream::connect(addr).unwrap();
        write.set_read_timeout(Some(PATIENCE)).unwrap();
        write.set_nodelay(true).unwrap();
        let read = BufReader::new(write.try_clone().unwrap());
        Self { name: name.into(), write, read }
    }

    pub(crate) fn sign_up(addr: SocketAddr, name: &str) {
        let mut client = Self::connect(addr, name);
        client.send("1", "signup", &json!({"userName": name, "hashValue": "secret"})).unwrap();
        assert_eq!(client.next().unwrap()["CONTENT"]["Content"], "SS");
    }

    pub(crate) fn log_in(addr: SocketAddr, name: &str) -> Self {
        let mut client = Self::connect(addr, name);
        client.send("2", "login", &json!({"USER": name, "PASS": "secret"})).unwrap();
        let reply = client.next().unwrap();
        assert_eq!(reply["CONTENT"]["Content"], "LS", "{reply}");
        client
    }

    pub(crate) fn send(&mut self, kind: &str, mid: &str, content: &Value) -> std::io::Result<()> {
        self.write.write_all(format!("{}\n", json!({"MID": mid, "TYPE": kind, "CONTENT": content})).as_bytes())
    }

    /// The next frame, `None` when the server is gone.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.read.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) if !line.ends_with('\n') => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("{}: nothing came for {PATIENCE:?}", self.name)
            }
            Err(_) => None,
        }
    }

    /// Waits for the frame of this TYPE, passing over others.
    pub(crate) fn wait_for(&mut self, kind: &str) -> Value {
        loop {
            let frame = self.next().expect("the server went away");
            if frame["TYPE"] == kind {
                return frame;
            }
        }
    }

    /// All that was sent before has been worked off: answered in order.
    pub(crate) fn fence(&mut self) {
        self.send("0", "beat", &json!({})).unwrap();
        self.wait_for("RE_HEARTBEAT");
    }

    pub(crate) fn ack(&mut self, id: &str) -> std::io::Result<()> {
        self.send("5", "", &json!({"MessageId": id}))
    }
}
