//! The port of a standby. Load balancers ask it over HTTP and are told 503 with the word `standby`,
//! whatever they ask for; everybody else is closed at once.
//!
//! A closed port would do, too, but would look like a server that is dead: this way the state that
//! a load balancer shows tells the two apart, and the port is taken when the standby starts, not
//! when it is needed.

use super::proxy_header::{self, ProxyHeader};
use super::wire::{Sniffed, sniff};
use crate::protocol::http::{self, Head, Health};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

/// The interval between two looks for those who connect.
const ACCEPT_EVERY: Duration = Duration::from_millis(20);
/// The time for a whole request.
const REQUEST_WITHIN: Duration = Duration::from_secs(1);
/// What is longer than a PROXY header and the head of a request is not read.
const HEAD_BYTES_MAX: usize = http::HEAD_BYTES_MAX + proxy_header::V2_BYTES_MAX;
/// Requests that are read at once; further ones are closed.
const REQUESTS_MAX: usize = 32;

/// Answers on a port until it is dropped.
#[derive(Debug)]
pub struct StandbyPort {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StandbyPort {
    /// Starts to answer on a listener that does not block. Those who have not been accepted by the
    /// end are left to the owner of the listener.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(listener: TcpListener) -> io::Result<Self> {
        let (stop, asked_to_stop) = channel::<()>();
        let thread = thread::Builder::new().name("standby-port".to_owned()).spawn(move || {
            let requests = Arc::new(AtomicUsize::new(0));
            while asked_to_stop.recv_timeout(ACCEPT_EVERY) == Err(RecvTimeoutError::Timeout) {
                // Errors of one who is gone already, or of a system short of descriptors, pass.
                while let Ok((stream, _)) = listener.accept() {
                    answer_aside(stream, &requests);
                }
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for StandbyPort {
    fn drop(&mut self) {
        self.stop = None;
        if self.thread.take().map(JoinHandle::join).is_some_and(|ended| ended.is_err()) {
            log::error!("the thread that answers for a standby ended by a panic");
        }
    }
}

/// Answers on a thread of its own, so that one who says nothing keeps nobody waiting.
fn answer_aside(stream: TcpStream, requests: &Arc<AtomicUsize>) {
    if requests.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
        requests.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let counted = Arc::clone(requests);
    let started = thread::Builder::new().name("standby-answer".to_owned()).spawn(move || {
        // Who asks may be gone; nobody else is waiting for it.
        answer(&stream).unwrap_or(());
        counted.fetch_sub(1, Ordering::Relaxed);
    });
    if started.is_err() {
        requests.fetch_sub(1, Ordering::Relaxed);
    }
}

fn answer(mut stream: &TcpStream) -> io::Result<()> {
    let until = Instant::now() + REQUEST_WITHIN;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(REQUEST_WITHIN))?;
    let (mut head, mut chunk) = (Vec::new(), [0; 1024]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > HEAD_BYTES_MAX {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match kind_of(&head) {
            Asked::Begun => {}
            Asked::Other => return Ok(()),
            Asked::Http { no_body } => {
                let mut response = Vec::new();
                http::write_health(&mut response, Health::Standby, no_body);
                return stream.write_all(&response);
            }
        }
    }
}

/// What somebody asks, by all that has come so far.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// It may be HTTP.
    Begun,
    Http {
        no_body: bool,
    },
    /// An envelope, a TLS hello, or anything else.
    Other,
}

fn kind_of(bytes: &[u8]) -> Asked {
    // A load balancer may say first for whom it speaks.
    let head = match proxy_header::read(bytes) {
        ProxyHeader::More => return Asked::Begun,
        ProxyHeader::Absent => bytes,
        ProxyHeader::Whole { length, .. } => &bytes[length..],
        ProxyHeader::Bad => return Asked::Other,
    };
    match sniff(head) {
        Sniffed::Wait => Asked::Begun,
        Sniffed::Raw | Sniffed::Tls => Asked::Other,
        Sniffed::Http if http::read_head(head) == Head::More => Asked::Begun,
        Sniffed::Http => Asked::Http { no_body: http::wants_no_body(head) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_everything_else_by_its_first_bytes() {
        for (bytes, asked) in [
            (&b"G"[..], Asked::Begun),
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\n", Asked::Begun),
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", Asked::Http { no_body: false }),
            (b"HEAD / HTTP/1.0\r\n\r\n", Asked::Http { no_body: true }),
            (b"GET nonsense\r\n\r\n", Asked::Http { no_body: false }),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 7 8\r\n", Asked::Begun),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 7 8\r\nHEAD / HTTP/1.0\r\n\r\n", Asked::Http { no_body: true }),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET / HTTP/1.0\r\n\r\n", Asked::Http { no_body: false }),
            (b"PROXY TCP4 nonsense\r\nHEAD / HTTP/1.0\r\n\r\n", Asked::Other),
            (b"{\"TYPE\":", Asked::Other),
            (b" {", Asked::Other),
            (b"\x16\x03\x01", Asked::Other),
        ] {
            assert_eq!(kind_of(bytes), asked, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
