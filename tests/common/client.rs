//! A client over raw TCP or WebSocket, with the same methods for both.

use super::{ContentForm, PATIENCE, Transport, content, envelope, kind, reply};
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

enum Wire {
    Raw(TcpStream, Vec<u8>),
    WebSocket(Box<WebSocket<TcpStream>>),
}

/// The frames of several clients, in order. Each entry has the name of a client, `true` if the
/// client sent the frame (`false`: it received the frame), and the frame.
pub type Record = Arc<Mutex<Vec<(&'static str, bool, String)>>>;

/// One connection, and the name of the user on it.
pub struct Client {
    wire: Wire,
    pub form: ContentForm,
    pub name: String,
    beats: u32,
    /// The record to which its frames are added, and the name of this client there.
    pub record: Option<(&'static str, Record)>,
}

impl Client {
    pub fn connect(addr: SocketAddr, transport: Transport, form: ContentForm) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let wire = match transport {
            Transport::Raw => Wire::Raw(stream, Vec::new()),
            Transport::WebSocket => {
                let url = format!("ws://{addr}/chat");
                Wire::WebSocket(Box::new(tungstenite::client(url, stream).expect("a WebSocket").0))
            }
        };
        Self { wire, form, name: String::new(), beats: 0, record: None }
    }

    /// Writes bytes to the TCP stream as they are, without a line end or a WebSocket frame.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Raw(stream, _) => stream.write_all(bytes).unwrap(),
            Wire::WebSocket(socket) => socket.get_mut().write_all(bytes).unwrap(),
        }
    }

    fn note(&self, sent: bool, frame: &str) {
        if let Some((name, record)) = &self.record {
            record.lock().unwrap().push((name, sent, frame.to_owned()));
        }
    }

    pub fn send(&mut self, frame: &str) {
        self.note(true, frame);
        match &mut self.wire {
            Wire::Raw(stream, _) => stream.write_all(format!("{frame}\n").as_bytes()).unwrap(),
            Wire::WebSocket(socket) => socket.send(Message::text(frame)).unwrap(),
        }
    }

    pub fn send_message(&mut self, message: Message) {
        match &mut self.wire {
            Wire::Raw(..) => panic!("a raw connection has no such message"),
            Wire::WebSocket(socket) => socket.send(message).unwrap(),
        }
    }

    /// The next WebSocket message of any kind, or an error if the connection has ended.
    pub fn next_message(&mut self) -> tungstenite::Result<Message> {
        match &mut self.wire {
            Wire::Raw(..) => panic!("a raw connection has no messages"),
            Wire::WebSocket(socket) => socket.read(),
        }
    }

    /// The socket itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        match &mut self.wire {
            Wire::Raw(stream, _) => stream,
            Wire::WebSocket(socket) => socket.get_mut(),
        }
    }

    /// The next frame, or `None` if the server has closed the connection.
    pub fn next(&mut self) -> Option<String> {
        match &mut self.wire {
            Wire::Raw(stream, buffer) => read_line(stream, buffer),
            Wire::WebSocket(socket) => loop {
                match socket.read() {
                    Ok(Message::Text(text)) => return Some(text.to_string()),
                    Ok(Message::Close(_)) => return None,
                    Ok(_) => {}
                    Err(tungstenite::Error::Io(error)) => return over(&error),
                    Err(_) => return None,
                }
            },
        }
    }

    pub fn recv(&mut self) -> String {
        let frame = self.next().unwrap_or_else(|| panic!("{}: the server closed", self.name));
        self.note(false, &frame);
        frame
    }

    #[track_caller]
    pub fn expect(&mut self, frame: &str) {
        assert_eq!(self.recv(), frame, "{}", self.name);
    }

    #[track_caller]
    pub fn expect_closed(&mut self) {
        let next = self.next();
        assert_eq!(next, None, "{}: still talking", self.name);
    }

    /// Expects RE_ERROR with IDLE, and then the end of the connection.
    #[track_caller]
    pub fn expect_closed_as_idle(&mut self) {
        self.expect_error("", "IDLE");
        self.expect_closed();
    }

    #[track_caller]
    pub fn expect_reply(&mut self, kind: &str, id: &str, said: &str) {
        let expected = reply(self.form, kind, id, said);
        self.expect(&expected);
    }

    /// Expects RE_ERROR with this id and code.
    #[track_caller]
    pub fn expect_error(&mut self, id: &str, code: &str) {
        let frame = self.recv();
        let said = content(&frame);
        let text = said["Content"].as_str().unwrap_or_default().to_owned();
        assert_eq!((kind(&frame).as_str(), said["MessageId"].as_str()), ("RE_ERROR", Some(id)), "{frame}");
        let sentence = text.strip_prefix(&format!("{code}: "));
        assert!(sentence.is_some_and(|sentence| sentence.len() > 5), "expected {code}: {frame}");
        assert_eq!(frame, reply(self.form, "RE_ERROR", id, &text), "in this form, byte for byte");
    }

    /// Expects RE_FRI_REQ with this id. Returns its time.
    #[track_caller]
    pub fn expect_time(&mut self, id: &str) -> String {
        let frame = self.recv();
        let time = content(&frame)["Content"].as_str().unwrap_or_default().to_owned();
        assert!(time.len() == 13 && time.bytes().all(|byte| byte.is_ascii_digit()), "no time: {frame}");
        assert_eq!(frame, reply(self.form, "RE_FRI_REQ", id, &time));
        time
    }

    /// Expects a push of this TYPE with this id. Returns its content.
    #[track_caller]
    pub fn expect_push(&mut self, expected: &str, id: &str) -> Value {
        let frame = self.recv();
        let said = content(&frame);
        assert_eq!((kind(&frame).as_str(), said["messageId"].as_str()), (expected, Some(id)), "{frame}");
        said
    }

    /// Sends a heartbeat, and expects its answer as the next frame: nothing unexpected has come.
    #[track_caller]
    pub fn fence(&mut self) {
        self.beats += 1;
        let id = format!("beat{}", self.beats);
        let frame = envelope(self.form, "0", Some(&id), &json!({}));
        self.send(&frame);
        self.expect_beat(&id);
    }

    /// Expects the answer to a heartbeat.
    #[track_caller]
    pub fn expect_beat(&mut self, id: &str) {
        let frame = self.recv();
        assert_eq!(
            (kind(&frame).as_str(), content(&frame)["MessageId"].as_str()),
            ("RE_HEARTBEAT", Some(id)),
            "{frame}"
        );
    }

    #[track_caller]
    pub fn sign_up(&mut self, name: &str) {
        let words = json!({"userName": name, "hashValue": "secret"});
        self.send(&envelope(self.form, "1", Some("signup"), &words));
        self.expect_reply("RE_SIGNUP", "signup", "SS");
    }

    #[track_caller]
    pub fn log_in(&mut self, name: &str) {
        self.name = name.to_owned();
        self.send(&envelope(self.form, "2", Some("login"), &json!({"USER": name, "PASS": "secret"})));
        self.expect_reply("RE_SIGNUP", "login", "LS");
    }

    /// A frame of TYPE 4 from this user: a message.
    pub fn message(&self, id: &str, receiver: &str, text: &str) -> String {
        let words = json!({"messageId": id, "sender": self.name, "receiver": receiver, "content": text});
        envelope(self.form, "4", None, &words)
    }

    /// A frame of TYPE 6: an operation on a friendship.
    pub fn friend(&self, kind: &str, id: &str, sender: &str, receiver: &str, text: &str) -> String {
        let words = json!({"messageId": id, "sender": sender, "receiver": receiver, "content": text, "type": kind});
        envelope(self.form, "6", None, &words)
    }

    /// Sends a message and expects this answer.
    #[track_caller]
    pub fn say(&mut self, id: &str, receiver: &str, text: &str, answer: &str) {
        self.send(&self.message(id, receiver, text));
        self.expect_reply("RE_MESSAGE", id, answer);
    }

    /// Sends a message until it is promised. Each refusal is followed by its reason.
    #[track_caller]
    pub fn say_until_taken(&mut self, id: &str, receiver: &str, text: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            self.send(&self.message(id, receiver, text));
            let frame = self.recv();
            let said = content(&frame);
            assert_eq!(said["MessageId"], id, "{frame}");
            if said["Content"] == "MS" {
                return;
            }
            let reason = self.recv();
            assert_eq!(kind(&reason), "RE_ERROR", "after {frame}: {reason}");
            assert!(Instant::now() < until, "{id} is not taken: {reason}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn ack(&mut self, id: &str) {
        self.send(&envelope(self.form, "5", None, &json!({"MessageId": id})));
    }

    /// Expects the push of a message and acks it.
    #[track_caller]
    pub fn take(&mut self, id: &str) {
        self.expect_push("4", id);
        self.ack(id);
    }
}

fn over(error: &std::io::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("nothing came for {PATIENCE:?}"),
        _ => None,
    }
}

fn read_line(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
            let line = buffer.drain(..=end).take(end).collect();
            return Some(String::from_utf8(line).expect("the server writes UTF-8"));
        }
        match stream.read(&mut chunk) {
            Ok(0) => {
                assert!(buffer.is_empty(), "half a line: {}", String::from_utf8_lossy(buffer));
                return None;
            }
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return over(&error),
        }
    }
}
