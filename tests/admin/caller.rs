//! A caller of the admin interface.

use crate::common::PATIENCE;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It has this status, and its body is an error of this name with one plain sentence.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, error: &str) {
        let body = self.json();
        assert_eq!((self.status, body["error"].as_str()), (status, Some(error)), "{self:?}");
        let message = body["message"].as_str().unwrap();
        assert!(message.ends_with('.') && !message.contains('\n'), "{message}");
    }

    /// It is 200; gives its body.
    #[track_caller]
    pub(crate) fn good(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }
}

/// Sends a request as it stands and reads what comes until the end.
pub(crate) fn exchange(mut stream: impl Read + Write, request: &[u8]) -> Answer {
    // One who is refused early need not take it all.
    stream.write_all(request).ok();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).ok();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn connect_unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn request(method: &str, target: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

pub(crate) fn get(addr: SocketAddr, target: &str) -> Answer {
    exchange(connect(addr), &request("GET", target, "", ""))
}

pub(crate) fn get_with(addr: SocketAddr, target: &str, headers: &str) -> Answer {
    exchange(connect(addr), &request("GET", target, headers, ""))
}

pub(crate) fn post(addr: SocketAddr, target: &str, body: &str) -> Answer {
    exchange(connect(addr), &request("POST", target, "Content-Type: application/json\r\n", body))
}

pub(crate) fn ask(addr: SocketAddr, method: &str, target: &str, body: &str) -> Answer {
    exchange(connect(addr), &request(method, target, "", body))
}

pub(crate) fn get_unix(path: &Path, target: &str) -> Answer {
    exchange(connect_unix(path), &request("GET", target, "", ""))
}
