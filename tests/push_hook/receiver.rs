//! A receiver of the push hook: reads each request whole, keeps it, and answers as it is told.

use crate::common::PATIENCE;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Its first line.
    pub(crate) line: String,
    /// By their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The answer to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Status(u16),
    /// Another place is named.
    Redirect,
    /// The connection ends without an answer.
    Nothing,
    /// The connection stays open without an answer.
    Never,
}

type Script = fn(&Request, usize) -> Answer;

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    taken: usize,
}

/// Listens on a free port of this machine.
pub(crate) struct Receiver {
    addr: SocketAddr,
    seen: Arc<(Mutex<Seen>, Condvar)>,
}

impl Receiver {
    /// The script is told how many requests there were for the same user, this one included.
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<(Mutex<Seen>, Condvar)>::default();
        let all = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, all) = (stream.unwrap(), Arc::clone(&all));
                std::thread::spawn(move || serve(stream, &all, script));
            }
        });
        Self { addr, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Waits until this is so.
    #[track_caller]
    pub(crate) fn wait_until(&self, is_so: impl Fn(&Self) -> bool) {
        let until = std::time::Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(std::time::Instant::now() < until, "it does not come about: {} requests", self.count());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// The next request that was not given yet.
    #[track_caller]
    pub(crate) fn next(&self) -> Request {
        let (seen, came) = &*self.seen;
        let waited = came.wait_timeout_while(seen.lock().unwrap(), PATIENCE, |seen| seen.requests.len() <= seen.taken);
        let mut seen = waited.unwrap().0;
        seen.taken += 1;
        seen.requests.get(seen.taken - 1).cloned().expect("a request comes")
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.0.lock().unwrap().requests.len()
    }

    pub(crate) fn count_of(&self, user: &str) -> usize {
        self.seen.0.lock().unwrap().requests.iter().filter(|request| request.json()["receiver"] == user).count()
    }

    pub(crate) fn count_of_path(&self, path: &str) -> usize {
        self.seen.0.lock().unwrap().requests.iter().filter(|request| request.line.contains(path)).count()
    }
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok().filter(|count| *count > 0)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some(Request { line: line.trim_end().to_owned(), headers, body })
}

fn serve(stream: TcpStream, seen: &(Mutex<Seen>, Condvar), script: Script) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        let user = request.json()["receiver"].clone();
        let count = {
            let mut seen = seen.0.lock().unwrap();
            seen.requests.push(request.clone());
            seen.requests.iter().filter(|request| request.json()["receiver"] == user).count()
        };
        seen.1.notify_all();
        let answer = match script(&request, count) {
            Answer::Status(status) => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
            Answer::Redirect => "HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Answer::Nothing => return,
            Answer::Never => {
                // Until the other side has enough.
                stream.read_to_end(&mut Vec::new()).unwrap_or_default();
                return;
            }
        };
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// HMAC-SHA-256 (RFC 2104) with a key of at most one block, in small hexadecimal digits.
pub(crate) fn hmac_sha256_hex(key: &[u8], text: &[u8]) -> String {
    assert!(key.len() <= 64, "longer ones would be hashed first");
    let padded = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(to, from)| *to ^= from);
        Sha256::new_with_prefix(block)
    };
    let inner = padded(0x36).chain_update(text).finalize();
    padded(0x5c).chain_update(inner).finalize().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}
