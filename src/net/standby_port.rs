//! The port of a standby. Load balancers use it over HTTP, with or without TLS, and get 503 with
//! the word `standby` for every request; all other connections are closed at once.
//!
//! A closed port would work, too, but would look like a dead server: this way a load balancer can
//! distinguish the two. Besides, the port is bound when the standby starts, not when it is needed.

use super::proxy_header::{self, ProxyHeaderResult};
use super::tls::Certificates;
use super::wire::{SniffedProtocol, sniff};
use crate::protocol::http::{self, ClientPortHttpHead, HealthPath, ServerHealth};
use rustls::ServerConnection;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

/// The interval between two checks for new connections.
const ACCEPT_EVERY: Duration = Duration::from_millis(20);
/// The time for a whole request.
const REQUEST_WITHIN: Duration = Duration::from_secs(1);
/// The largest size of a PROXY header and the head of a request; no more is read.
const HEAD_BYTES_MAX: usize = http::HEAD_BYTES_MAX + proxy_header::V2_BYTES_MAX;
/// The largest number of connections at once. For a new one the oldest is closed: it has most
/// likely sent nothing, since answers are immediate.
const CLIENTS_MAX: usize = 32;
/// The shortest time that a connection gets: enough for a request that is under way.
const STAY: Duration = Duration::from_millis(20);

/// Reads the present certificates, if TLS is configured: a standby may wait for longer than a
/// certificate is valid.
pub type LoadCertificatesFn = dyn Fn() -> Option<Arc<Certificates>> + Send + Sync;

/// Answers on a port until it is dropped.
#[derive(Debug)]
pub struct StandbyPort {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StandbyPort {
    /// Starts to answer on a non-blocking listener. Connections that are not accepted when it ends
    /// are left to the owner of the listener.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(listener: TcpListener, certificates: Arc<LoadCertificatesFn>) -> io::Result<Self> {
        let (stop, asked_to_stop) = channel::<()>();
        let thread = thread::Builder::new().name("standby-port".to_owned()).spawn(move || {
            let clients = Arc::<StandbyPortClients>::default();
            while asked_to_stop.recv_timeout(ACCEPT_EVERY) == Err(RecvTimeoutError::Timeout) {
                // Errors of a connection that is gone already, or of a lack of descriptors, are
                // temporary.
                while clients.have_room()
                    && let Ok((stream, _)) = listener.accept()
                {
                    answer_on_thread(stream, &clients, &certificates);
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

/// The connections without an answer yet.
#[derive(Debug, Default)]
struct StandbyPortClients(Mutex<VecDeque<StandbyPortConnection>>);

#[derive(Debug)]
struct StandbyPortConnection {
    opened_at: Instant,
    stream: Arc<TcpStream>,
}

impl StandbyPortClients {
    /// The oldest first.
    fn lock(&self) -> MutexGuard<'_, VecDeque<StandbyPortConnection>> {
        // A panic cannot leave a change half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is there a place for a new connection: a free one, or that of one whose shortest time is
    /// over?
    fn have_room(&self) -> bool {
        let clients = self.lock();
        clients.len() < CLIENTS_MAX || clients.front().is_some_and(|oldest| oldest.opened_at.elapsed() >= STAY)
    }

    fn enter(&self, stream: &Arc<TcpStream>) {
        let mut clients = self.lock();
        if clients.len() >= CLIENTS_MAX
            && let Some(oldest) = clients.pop_front()
        {
            // The thread that reads from it sees the end. The connection may be gone already.
            oldest.stream.shutdown(Shutdown::Both).unwrap_or(());
        }
        clients.push_back(StandbyPortConnection { opened_at: Instant::now(), stream: Arc::clone(stream) });
    }

    fn remove(&self, stream: &Arc<TcpStream>) {
        self.lock().retain(|client| !Arc::ptr_eq(&client.stream, stream));
    }
}

/// Answers on a thread of its own, so that a silent connection does not delay others.
fn answer_on_thread(stream: TcpStream, clients: &Arc<StandbyPortClients>, certificates: &Arc<LoadCertificatesFn>) {
    let stream = Arc::new(stream);
    clients.enter(&stream);
    let (list, client, certificates) = (Arc::clone(clients), Arc::clone(&stream), Arc::clone(certificates));
    let started = thread::Builder::new().name("standby-answer".to_owned()).spawn(move || {
        // The client may be gone; nobody else waits for the answer.
        answer(&client, certificates.as_ref()).unwrap_or(());
        list.remove(&client);
    });
    if started.is_err() {
        clients.remove(&stream);
    }
}

fn answer(stream: &TcpStream, certificates: &LoadCertificatesFn) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(REQUEST_WITHIN))?;
    let mut timed = StandbySocketWithDeadline { stream, deadline: Instant::now() + REQUEST_WITHIN, unread: Vec::new() };
    let mut head = Vec::new();
    let Some(asked) = read_request_kind(&mut timed, &mut head)? else { return Ok(()) };
    let StandbySniffedProtocol::Tls { at } = asked else { return answer_to(asked, &mut timed) };
    let Some(certificates) = certificates() else { return Ok(()) };
    timed.unread = head.split_off(at);
    let mut session = ServerConnection::new(certificates.config()).map_err(io::Error::other)?;
    let mut tls = rustls::Stream::new(&mut session, &mut timed);
    let mut head = Vec::new();
    if let Some(asked) = read_request_kind(&mut tls, &mut head)? {
        answer_to(asked, &mut tls)?;
    }
    tls.conn.send_close_notify();
    tls.flush()
}

/// Reads into `head` until the kind of request is known. `None`: the input ended before.
fn read_request_kind(stream: &mut impl Read, head: &mut Vec<u8>) -> io::Result<Option<StandbySniffedProtocol>> {
    let mut chunk = [0; 1024];
    while head.len() <= HEAD_BYTES_MAX {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        match kind_of(head) {
            StandbySniffedProtocol::Begun => {}
            asked => return Ok(Some(asked)),
        }
    }
    Ok(None)
}

fn answer_to(asked: StandbySniffedProtocol, stream: &mut impl Write) -> io::Result<()> {
    let StandbySniffedProtocol::Http { no_body } = asked else { return Ok(()) };
    let mut response = Vec::new();
    http::write_health(&mut response, HealthPath::Healthz, ServerHealth::Standby, no_body);
    stream.write_all(&response)
}

/// A socket with a deadline for reads.
struct StandbySocketWithDeadline<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
    /// Bytes that were read already, and are returned by the next reads.
    unread: Vec<u8>,
}

impl Read for StandbySocketWithDeadline<'_> {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        if !self.unread.is_empty() {
            let count = self.unread.as_slice().read(space)?;
            self.unread.drain(..count);
            return Ok(count);
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(space)
    }
}

impl Write for StandbySocketWithDeadline<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// The kind of request, by the input so far.
#[derive(Debug, PartialEq, Eq)]
enum StandbySniffedProtocol {
    /// It may be HTTP.
    Begun,
    Http {
        no_body: bool,
    },
    /// TLS, from this byte on.
    Tls {
        at: usize,
    },
    /// An envelope, or anything else.
    Other,
}

fn kind_of(bytes: &[u8]) -> StandbySniffedProtocol {
    // A load balancer may send a PROXY header first.
    let head = match proxy_header::read(bytes) {
        ProxyHeaderResult::More => return StandbySniffedProtocol::Begun,
        ProxyHeaderResult::Absent => bytes,
        ProxyHeaderResult::Whole { length, .. } => &bytes[length..],
        ProxyHeaderResult::Bad => return StandbySniffedProtocol::Other,
    };
    match sniff(head) {
        SniffedProtocol::Wait => StandbySniffedProtocol::Begun,
        SniffedProtocol::Raw => StandbySniffedProtocol::Other,
        SniffedProtocol::Tls => StandbySniffedProtocol::Tls { at: bytes.len() - head.len() },
        SniffedProtocol::Http if http::read_head(head) == ClientPortHttpHead::More => StandbySniffedProtocol::Begun,
        SniffedProtocol::Http => StandbySniffedProtocol::Http { no_body: http::wants_no_body(head) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    const CA: &[u8] = include_bytes!("../../tests/common/tls/ca.pem");
    const CERTIFICATE: &[u8] = include_bytes!("../../tests/common/tls/server.pem");
    const KEY: &[u8] = include_bytes!("../../tests/common/tls/server.key");

    #[test]
    fn http_is_told_from_everything_else_by_its_first_bytes() {
        for (bytes, asked) in [
            (&b"G"[..], StandbySniffedProtocol::Begun),
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\n", StandbySniffedProtocol::Begun),
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", StandbySniffedProtocol::Http { no_body: false }),
            (b"HEAD / HTTP/1.0\r\n\r\n", StandbySniffedProtocol::Http { no_body: true }),
            (b"GET nonsense\r\n\r\n", StandbySniffedProtocol::Http { no_body: false }),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 7 8\r\n", StandbySniffedProtocol::Begun),
            (
                b"PROXY TCP4 10.0.0.1 10.0.0.2 7 8\r\nHEAD / HTTP/1.0\r\n\r\n",
                StandbySniffedProtocol::Http { no_body: true },
            ),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET / HTTP/1.0\r\n\r\n", StandbySniffedProtocol::Http { no_body: false }),
            (b"PROXY TCP4 nonsense\r\nHEAD / HTTP/1.0\r\n\r\n", StandbySniffedProtocol::Other),
            (b"{\"TYPE\":", StandbySniffedProtocol::Other),
            (b" {", StandbySniffedProtocol::Other),
            (b"\x16\x03\x01", StandbySniffedProtocol::Tls { at: 0 }),
            (b"PROXY UNKNOWN\r\n\x16", StandbySniffedProtocol::Tls { at: 15 }),
        ] {
            assert_eq!(kind_of(bytes), asked, "{}", String::from_utf8_lossy(bytes));
        }
    }
    /// The answer to a check over TLS, after a PROXY header or none.
    fn answer_over_tls(addr: std::net::SocketAddr, header: &str) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(CA).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(header.as_bytes())?;
        let mut tls = rustls::Stream::new(&mut session, &mut stream);
        tls.write_all(b"GET /healthz HTTP/1.1\r\nHost: a.example\r\n\r\n")?;
        let mut text = String::new();
        // An end without close_notify would be an error.
        tls.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn silent_clients_take_no_place_from_those_that_ask() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let _port = StandbyPort::start(listener, Arc::new(|| None)).unwrap();
        let silent: Vec<TcpStream> = (0..2 * CLIENTS_MAX).map(|_| TcpStream::connect(addr).unwrap()).collect();
        for _ in 0..8 {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut said = String::new();
            stream.read_to_string(&mut said).unwrap();
            assert!(said.ends_with("standby\n"), "{said}");
        }
        drop(silent);
    }

    #[test]
    fn load_balancers_may_ask_over_tls_where_there_is_a_certificate() {
        let start = |certificates: Arc<LoadCertificatesFn>| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            (listener.local_addr().unwrap(), StandbyPort::start(listener, certificates).unwrap())
        };
        let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
        let config = tls::config(chain, PrivateKeyDer::from_pem_slice(KEY).unwrap()).unwrap();
        let certificates = Arc::new(Certificates::new(Arc::new(config), true));
        let (addr, _port) = start(Arc::new(move || Some(Arc::clone(&certificates))));
        for header in ["", "PROXY UNKNOWN\r\n"] {
            let said = answer_over_tls(addr, header).unwrap();
            assert!(said.starts_with("HTTP/1.1 503 ") && said.ends_with("\r\n\r\nstandby\n"), "{said}");
        }
        let (addr, _port) = start(Arc::new(|| None));
        assert!(answer_over_tls(addr, "").is_err());
    }
}
