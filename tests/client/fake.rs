//! A fake server that answers as a test tells it to.

use super::super::PATIENCE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

/// Accepts connections, and hands them to the test one after another.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    connections: Receiver<TcpStream>,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, connections) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if sender.send(socket).is_err() {
                    return;
                }
            }
        });
        Self { addr, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://{}", self.addr)
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Talk {
        let socket = self.connections.recv_timeout(PATIENCE).expect("a client comes");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Talk { lines: BufReader::new(socket.try_clone().unwrap()), socket }
    }

    /// The next connection, logged in.
    #[track_caller]
    pub(crate) fn log_in(&self) -> Talk {
        let mut talk = self.accept();
        let asked = talk.expect("2");
        talk.reply("RE_SIGNUP", &asked["MID"], &json!("LS"));
        talk
    }
}

/// One connection.
pub(crate) struct Talk {
    lines: BufReader<TcpStream>,
    pub(crate) socket: TcpStream,
}

impl Talk {
    /// The next request; `None` at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&line).unwrap()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next request of this TYPE; heartbeats and requests for tokens are passed over.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &str) -> Value {
        loop {
            let request = self.next().expect("the client talks");
            if request["TYPE"] == kind {
                return request;
            }
            assert!(["0", "TOKEN"].iter().any(|usual| request["TYPE"] == *usual), "{request}");
        }
    }

    /// Reads and drops the requests that were on their way, until the connection ends.
    pub(crate) fn expect_end(&mut self) {
        while self.next().is_some() {}
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn frame(&mut self, kind: &str, content: &Value) {
        self.send(format!("{}\n", json!({"CONTENT": content, "TYPE": kind})));
    }

    pub(crate) fn reply(&mut self, kind: &str, id: &Value, content: &Value) {
        self.frame(kind, &json!({"MessageId": id, "Content": content}));
    }

    pub(crate) fn push(&mut self, id: &str) {
        let content =
            json!({"messageId": id, "sender": "bob", "receiver": "ann", "time": "1652791027673", "content": "x"});
        self.frame("4", &content);
    }
}
