//! The admin interface: HTTP and JSON for operators, on a socket that only its owner may use or on
//! a port with a token.
//!
//! One thread accepts; each request has a short-lived blocking thread, and their number is bounded.
//! They call the loop over a bounded channel, from which it takes a few calls in a turn: so a slow,
//! stalled or flooding caller does not affect the chat. [`client`] is the client: `hongyan admin`.

mod access;
mod answers;
mod bus_metrics;
mod changes;
pub mod client;
mod cluster_metrics;
mod context;
mod escape;
mod http;
mod json_values;
mod listener;
mod metrics;
mod metrics_text;
mod nodes;
mod process;
mod routes;
mod secret;
mod stream;
mod target;
mod text_output;
mod unauthorised;

use crate::config::{AdminInterfaceAddress, StoreUrl};
use crate::net::admin::AdminLoopCaller;
use access::AdminAccessRules;
use context::AdminContext;
use http::{AdminHttpMethod, AdminHttpReadError, AdminHttpRequest, AdminHttpResponse};
use listener::AdminListener;
use mio::{Events, Poll, Token, Waker};
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use stream::{AdminStream, AdminStreamWithDeadline};
pub use unauthorised::NEWCOMERS_MAX;
use unauthorised::{UnauthorisedAdminConns, UnauthorisedAdminSlot};

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
/// The pause of accepting when the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
/// The time for which the rest of a request is read after its answer.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);
/// The time in which the head of a request must arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(3);

/// The stage of the process, for the admin interface.
#[derive(Clone, Debug, Default)]
pub struct ProcessStageCell(Arc<AtomicU8>);

/// The stages of a process, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcessStage {
    Starting,
    Standby,
    Serving,
}

impl ProcessStageCell {
    /// It waits for the end of another server.
    pub fn stand_by(&self) {
        self.0.store(ProcessStage::Standby as u8, Ordering::Release);
    }

    /// Its loop runs.
    pub fn serve(&self) {
        self.0.store(ProcessStage::Serving as u8, Ordering::Release);
    }

    fn now(&self) -> ProcessStage {
        match self.0.load(Ordering::Acquire) {
            0 => ProcessStage::Starting,
            1 => ProcessStage::Standby,
            _ => ProcessStage::Serving,
        }
    }
}

/// The settings of an admin interface.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it is.
    pub endpoint: AdminInterfaceAddress,
    /// The file with the token that callers of a port must know.
    pub token_file: Option<PathBuf>,
    /// The store of the server. A caller that means another one is refused.
    pub store: StoreUrl,
    /// The largest number of authorised requests at once.
    pub connections_max: usize,
    /// The time limit of a request: until it has arrived and the answer is read.
    pub timeout: Duration,
    /// The largest text of a system notice.
    pub notice_bytes_max: usize,
}

/// A running admin interface. It ends when this is dropped, and its socket goes with it.
pub struct AdminServer {
    addr: Option<SocketAddr>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminServer").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl AdminServer {
    /// Starts it.
    ///
    /// # Errors
    /// One sentence.
    pub fn start(config: &AdminConfig, caller: AdminLoopCaller, stage: ProcessStageCell) -> Result<Self, String> {
        let access = AdminAccessRules::new(config)?;
        let mut listener = AdminListener::bind(&config.endpoint)?;
        let addr = listener.addr();
        if access.is_open() {
            let place = &config.endpoint;
            log::warn!("everybody on this machine may use the admin port {place}: --admin-token-file protects it");
        }
        let cannot = |error: io::Error| format!("cannot start the admin interface: {}", listener::refusal_text(&error));
        let poll = Poll::new().map_err(cannot)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(cannot)?;
        listener.register(poll.registry(), LISTENER).map_err(cannot)?;
        let stop = Arc::<AtomicBool>::default();
        let acceptor = AdminAcceptor {
            poll,
            listener,
            stop: Arc::clone(&stop),
            unauthorised: Arc::default(),
            shared: Arc::new(AdminRequestThreadsShared {
                connections: Arc::default(),
                connections_max: config.connections_max,
                timeout: config.timeout,
                access,
                context: AdminContext::new(caller, stage, config),
            }),
        };
        let thread = thread::Builder::new().name("admin".to_owned()).spawn(move || acceptor.run()).map_err(cannot)?;
        Ok(Self { addr, stop, waker, thread: Some(thread) })
    }

    /// Its port, if it has one.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::error!("the admin interface cannot be woken to be stopped: {error}");
            return;
        }
        if self.thread.take().map(JoinHandle::join).is_some_and(|ended| ended.is_err()) {
            log::error!("the thread of the admin interface ended by a panic");
        }
    }
}

struct AdminAcceptor {
    poll: Poll,
    listener: AdminListener,
    stop: Arc<AtomicBool>,
    unauthorised: Arc<UnauthorisedAdminConns>,
    shared: Arc<AdminRequestThreadsShared>,
}

impl AdminAcceptor {
    fn run(mut self) {
        let mut events = Events::with_capacity(4);
        let mut pause = None;
        while !self.stop.load(Ordering::Acquire) {
            if let Err(error) = self.poll.poll(&mut events, pause)
                && error.kind() != ErrorKind::Interrupted
            {
                log::error!("the admin interface ends: it cannot poll: {error}");
                return;
            }
            pause = self.accept_all();
        }
    }

    /// Accepts all waiting connections. If there is no room, or the system lacks a resource, gives
    /// the pause before the next try.
    fn accept_all(&self) -> Option<Duration> {
        loop {
            if let Some(pause) = self.unauthorised.wait() {
                return Some(pause);
            }
            match self.listener.accept() {
                Ok(stream) => self.take(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                // The caller was gone before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    log::debug!("the admin interface cannot accept: {error}");
                    return Some(PAUSE);
                }
            }
        }
    }

    fn take(&self, stream: AdminStream) {
        let (newcomer, gone) = self.unauthorised.take(stream.clone());
        if let Some(gone) = gone {
            self.shared.access.log_dropped(&gone.peer());
            gone.close();
        }
        let desk = Arc::clone(&self.shared);
        let work = move || {
            // Only the caller is affected by this error.
            if let Err(error) = desk.answer(stream, &newcomer) {
                log::debug!("a request of the admin interface was not answered: {error}");
            }
        };
        if let Err(error) = thread::Builder::new().name("admin-request".to_owned()).spawn(work) {
            log::warn!("a request of the admin interface is not answered: no thread can be started: {error}");
        }
    }
}

/// A request in progress, counted until it is dropped.
#[derive(Debug)]
struct AdminRequestPermit(Arc<AtomicUsize>);

impl AdminRequestPermit {
    fn take(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }

    /// `None`: the count would exceed `max`.
    fn take_below(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let slot = Self::take(count);
        (count.load(Ordering::Relaxed) <= max).then_some(slot)
    }
}

impl Drop for AdminRequestPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn too_many_response() -> AdminHttpResponse {
    let sentence = "Too many requests are in progress (--admin-connections-max); ask again.";
    AdminHttpResponse::error(429, "busy", sentence).with("Retry-After", "1")
}

/// The data that all requests share.
struct AdminRequestThreadsShared {
    /// The number of authorised requests in progress.
    connections: Arc<AtomicUsize>,
    connections_max: usize,
    timeout: Duration,
    access: AdminAccessRules,
    context: AdminContext,
}

impl AdminRequestThreadsShared {
    /// Reads the one request of a connection and answers it.
    fn answer(&self, stream: AdminStream, newcomer: &UnauthorisedAdminSlot) -> io::Result<()> {
        let who = stream.peer();
        let mut stream = AdminStreamWithDeadline::new(stream, self.timeout.min(HEAD_WITHIN));
        let (mut place, mut is_head) = (None, false);
        let read = http::read(&mut stream, |request, stream| {
            is_head = request.method == AdminHttpMethod::Head;
            place = Some(self.admit(request, &who, newcomer)?);
            stream.extend_deadline(self.timeout);
            Ok(())
        });
        let response = match read {
            Ok(request) => self.context.answer(&request, &who, stream.time_left()),
            Err(AdminHttpReadError::Bad(response)) => *response,
            Err(AdminHttpReadError::Broken(error)) => return Err(error),
        };
        // Leave time to read an answer that came late.
        stream.extend_deadline(DRAIN_WITHIN);
        response.write(&mut stream, is_head)?;
        stream.finish(DRAIN_WITHIN)
    }

    /// Gives an authorised request a place that others cannot take.
    fn admit(
        &self,
        request: &AdminHttpRequest,
        who: &str,
        newcomer: &UnauthorisedAdminSlot,
    ) -> Result<AdminRequestPermit, AdminHttpReadError> {
        if let Some(refusal) = self.access.refusal(request, who) {
            return Err(refusal.into());
        }
        let place =
            AdminRequestPermit::take_below(&self.connections, self.connections_max).ok_or_else(too_many_response)?;
        if newcomer.release() {
            Ok(place)
        } else {
            Err(AdminHttpReadError::Broken(ErrorKind::ConnectionAborted.into()))
        }
    }
}
