//! The port of a standby. Load balancers ask it over HTTP and are told 503 with the word `standby`,
//! whatever they ask for; everybody else is closed at once.
//!
//! A closed port would do, too, but would look like a server that is dead: this way the state that
//! a load balancer shows tells the two apart, and the port is taken when the standby starts, not
//! when it is needed.

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
/// A longer head of a request is not read.
const HEAD_BYTES_MAX: usize = 4 * 1024;
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
            Asked::Http { no_body } => return stream.write_all(response(no_body).as_bytes()),
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

fn kind_of(head: &[u8]) -> Asked {
    // A load balancer may say first for whom it speaks (`PROXY TCP4 …`): that is a line of letters
    // as well.
    let is_word = head.iter().take(4).all(|byte| byte.is_ascii_uppercase() || *byte == b' ');
    if !is_word {
        return Asked::Other;
    }
    if !head.ends_with(b"\r\n\r\n") {
        return Asked::Begun;
    }
    let mut lines = head.split(|&byte| byte == b'\n').skip_while(|line| line.starts_with(b"PROXY "));
    Asked::Http { no_body: lines.next().is_some_and(|line| line.starts_with(b"HEAD ")) }
}

fn response(no_body: bool) -> String {
    const WORD: &str = "standby\n";
    let body = if no_body { "" } else { WORD };
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        WORD.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_told_from_everything_else_by_its_first_bytes() {
        for (head, asked) in [
            (&b"G"[..], Asked::Begun),
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\n", Asked::Begun),
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", Asked::Http { no_body: false }),
            (b"HEAD / HTTP/1.0\r\n\r\n", Asked::Http { no_body: true }),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 7 8\r\nHEAD / HTTP/1.0\r\n\r\n", Asked::Http { no_body: true }),
            (b"{\"TYPE\":", Asked::Other),
            (b" {", Asked::Other),
            (b"\x16\x03\x01", Asked::Other),
        ] {
            assert_eq!(kind_of(head), asked, "{}", String::from_utf8_lossy(head));
        }
    }
}
