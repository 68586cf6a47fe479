//! Wiring: one function that starts the whole server and one handle to stop it, for `main` and the
//! tests alike.

mod admin;
mod certificate_validity;
mod certificates;
mod file_descriptors;
pub mod reload;
pub mod signals;
mod standby;
mod store_wait;
mod supervisor;
mod taken_over;

use crate::admin::AdminServer;
use crate::bus::codec::BusFrameCodec;
use crate::bus::{self, Bus, RedisBus};
use crate::chat::ServerCore;
use crate::config::{Config, StoreUrl};
use crate::net::conns::WAKER;
use crate::net::live_settings::{LoopSettings, ReloadedSettings};
use crate::net::standby_port::StandbyPort;
use crate::net::{Loop, LoopParts};
use crate::push_hook::{self, PushHook};
use crate::store::StoreError;
use crate::store::cluster::ClusterHandle;
use crate::store::mysql::MysqlConnector;
use crate::store::pool::{WakeFn, WorkerPool};
use admin::AdminServerStartup;
use file_descriptors::OpenFileLimit;
use mio::net::TcpListener;
use mio::{Poll, Waker};
use reload::{ReloadContext, ReloadHooks, Reloader};
use signal_hook_mio::v1_0::Signals;
use socket2::{Domain, Socket, Type};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use taken_over::StopReasonFlags;

pub use certificate_validity::CertificateNotice;

/// The pause before a node that was fenced joins again.
const JOIN_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Why a server did not start: one clear sentence.
#[derive(Debug)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A running server. Dropping it stops the server and waits for it.
#[derive(Debug)]
pub struct ServerHandle {
    addr: SocketAddr,
    shutdown_flags: StopReasonFlags,
    waker: Arc<Waker>,
    admin: Option<AdminServer>,
    /// `None` after it was joined.
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl ServerHandle {
    /// The address on which it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address and port of its admin interface, if it has one.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(AdminServer::addr)
    }

    /// Stops it cleanly and waits for that: taken messages are durable, and clients are told.
    ///
    /// # Panics
    /// If the server's loop panicked: a program that runs it inside its own process must learn of
    /// it.
    pub fn stop(mut self) {
        self.ask_to_stop();
        self.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }

    fn ask_to_stop(&self) {
        self.shutdown_flags.stop();
        if let Err(error) = self.waker.wake() {
            log::error!("the loop cannot be woken to be stopped: {error}");
        }
    }

    fn join(&mut self) -> thread::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => Err(panic),
            Some(Ok(Err(error))) => {
                let text = format!("the loop cannot poll: {error}");
                log::error!("{text}");
                Err(Box::new(text))
            }
            Some(Ok(Ok(()))) | None => Ok(()),
        }
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.ask_to_stop();
            // If this thread is panicking already, a second panic would abort the process.
            if let Err(panic) = self.join()
                && !thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// Starts a server.
///
/// # Errors
/// When it cannot listen or the store cannot be used.
pub fn start(config: Config) -> Result<ServerHandle, StartError> {
    match launch(config, None, OpenFileLimit::read(), None)? {
        Some(handle) => Ok(handle),
        None => Err(StartError("it was stopped before it had started".to_owned())),
    }
}

/// How a server has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerExitCause {
    /// It was stopped by a signal.
    Stopped,
    /// Another server has taken over the database.
    TakenOver,
    /// Its loop panicked, or its poll failed.
    Panicked,
}

/// Runs a server as the whole process, until SIGTERM or SIGINT, which also end the wait for the
/// store. At SIGHUP it reloads its settings. `say` gets the line with the listening address, and
/// must not wait. A fenced node of a cluster joins again.
///
/// # Errors
/// When it cannot listen or the store cannot be used.
pub fn run(mut config: Config, program: ReloadHooks, say: impl Fn(&str)) -> Result<ServerExitCause, StartError> {
    let signals = |error| start_error("watch for signals", &error);
    let asked_to_stop = signals::ignore_harmless_signals().and_then(|()| signals::note_stop()).map_err(signals)?;
    loop {
        let watched = Signals::new(signals::OF_A_SERVER).map_err(signals)?;
        let Some(mut handle) = launch(config.clone(), Some(watched), OpenFileLimit::raise(), Some(program.clone()))?
        else {
            supervisor::stopping();
            log::info!("stopped while the store was waited for");
            return Ok(ServerExitCause::Stopped);
        };
        say(&format!("listening on {}", handle.addr));
        supervisor::ready();
        let joined = handle.join();
        if joined.is_ok() && handle.shutdown_flags.joins_again() && !asked_to_stop.load(Ordering::Acquire) {
            // Listen on the same port again, because clients reconnect to it.
            config.listen = handle.addr;
            drop(handle);
            thread::sleep(JOIN_AGAIN_AFTER);
            continue;
        }
        return Ok(match joined {
            Err(_) => ServerExitCause::Panicked,
            Ok(()) if handle.shutdown_flags.is_taken_over() => ServerExitCause::TakenOver,
            Ok(()) => ServerExitCause::Stopped,
        });
    }
}

/// Checks a configuration as far as possible without opening the store or the port. Gives a notice
/// about the validity of its certificates, if there are any.
///
/// # Errors
/// A server could not start with this configuration.
pub fn check(config: &Config) -> Result<Option<CertificateNotice>, StartError> {
    if let StoreUrl::Mysql(url) = &config.store {
        MysqlConnector::new(url).map_err(|error| cannot_use_store(config, &error))?;
    }
    let (_, notice) = certificates::open(config).map_err(StartError)?;
    push_hook::HookSettings::open(config).map_err(StartError)?;
    bus::BusSettings::open(config).map_err(StartError)?;
    Ok(notice)
}

fn cannot_use_store(config: &Config, error: &StoreError) -> StartError {
    StartError(format!("cannot use the store {}: {error}", config.store))
}

fn start_error(what: &str, error: &io::Error) -> StartError {
    StartError(format!("cannot {what}: {error}"))
}

fn bind(config: &Config) -> Result<StdListener, StartError> {
    let listen = || {
        let socket = Socket::new(Domain::for_address(config.listen), Type::STREAM, None)?;
        // This allows a port with old connections in TIME_WAIT; on Windows it would share the port
        // with other programs.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&config.listen.into())?;
        socket.listen(config.backlog_connections_max.into())?;
        Ok(socket.into())
    };
    listen()
        .map_err(|error| StartError(format!("cannot listen on {}: {}", config.listen, listening_error_text(&error))))
}

/// Starts a server; `None`: a signal came during the wait for the store.
fn launch(
    config: Config,
    mut signals: Option<Signals>,
    files: OpenFileLimit,
    program: Option<ReloadHooks>,
) -> Result<Option<ServerHandle>, StartError> {
    let conns_max = files.conns_max(&config)?;
    let is_process = signals.is_some();
    let (certificates, notice) = certificates::open(&config).map_err(StartError)?;
    let push_hook = push_hook::HookSettings::open(&config).map_err(StartError)?;
    let bus = bus::BusSettings::open(&config).map_err(StartError)?;
    // Bind first, so that a port in use is reported at once.
    let listener = bind(&config)?;
    let poll = Poll::new().map_err(|error| start_error("start polling", &error))?;
    let waker = Waker::new(poll.registry(), WAKER).map_err(|error| start_error("start polling", &error))?;
    let waker = Arc::new(waker);
    let woken = Arc::clone(&waker);
    // It can fail only if the poll is gone, and then nobody waits for the answer.
    let wake: WakeFn = Arc::new(move || woken.wake().unwrap_or(()));
    let stop = Arc::<AtomicBool>::default();
    let shutdown_flags = StopReasonFlags::new(&stop, &wake);
    let admin = AdminServerStartup::open(&config, &wake, is_process)?;
    let Some((mut pool, listener)) = open_store(&config, &mut signals, (&wake, &shutdown_flags), listener)? else {
        return Ok(None);
    };
    let (admin, calls) = admin.serve()?;
    let addr = listener.local_addr().map_err(|error| start_error("tell the address it listens on", &error))?;
    let live = reload::loop_settings(&config, conns_max, certificates);
    let cluster = pool.take_cluster();
    let bus = start_bus(bus, cluster.as_ref(), &wake)?;
    let (chat, hash_key) = chat(&live, &pool, cluster.as_ref(), bus.is_some())?;
    let (to_loop, reloads) = channel();
    let on_hang_up = on_hang_up(&config, program, files, &pool, to_loop, wake);
    let push_hook = push_hook.map(PushHook::start).transpose();
    let push_hook = push_hook.map_err(|error| start_error("start the threads of the push hook", &error))?;
    let parts = LoopParts {
        poll,
        listener: TcpListener::from_std(listener),
        signals,
        on_hang_up,
        live,
        reloads,
        stop,
        chat,
        pool,
        push_hook,
        hash_key,
        on_stop: on_stop(is_process, &shutdown_flags),
        drain_began: shutdown_flags.drain_flag(),
        cluster,
        bus,
        calls: admin.is_some().then_some(calls),
    };
    let server_loop = Loop::new(parts).map_err(|error| start_error("start polling", &error))?;
    let thread = thread::Builder::new()
        .name("hongyan-loop".to_owned())
        .spawn(move || server_loop.run())
        .map_err(|error| start_error("start the loop's thread", &error))?;
    log::info!("the store is {}", config.store);
    if let Some(notice) = notice {
        notice.log();
    }
    files.log(&config);
    Ok(Some(ServerHandle { addr, shutdown_flags, waker, admin, thread: Some(thread) }))
}

/// The handler of SIGHUP, which only a server that is the whole process gets.
fn on_hang_up(
    config: &Config,
    program: Option<ReloadHooks>,
    files: OpenFileLimit,
    pool: &WorkerPool,
    to_loop: Sender<ReloadedSettings>,
    wake: WakeFn,
) -> Box<dyn FnMut() + Send> {
    let Some(program) = program else { return Box::new(|| ()) };
    let work = ReloadContext { config: config.clone(), program, files, store: pool.limits(), to_loop, wake };
    let reloader = Reloader::new(work);
    if config.is_standby {
        // The standby may have waited for weeks.
        log::info!("standby: the configuration and the certificate are read again, as at SIGHUP");
        reloader.ask();
    }
    Box::new(move || reloader.ask())
}

/// Makes the core, and its key for hash tables.
fn chat(
    live: &LoopSettings,
    pool: &WorkerPool,
    cluster: Option<&ClusterHandle>,
    has_bus: bool,
) -> Result<(ServerCore, [u64; 2]), StartError> {
    let Some(cluster) = cluster else {
        let hash_key = random_key()?;
        return Ok((ServerCore::new(live.rules.clone(), pool.first_seq(), hash_key), hash_key));
    };
    let hash_key = cluster.hash_key();
    let mut chat = ServerCore::new(live.rules.clone(), cluster.first_seq(), hash_key);
    chat.join(cluster.incarnation(), cluster.first_view());
    if has_bus {
        chat.use_bus();
    }
    Ok((chat, hash_key))
}

/// The bus to the other nodes. The server starts even if the bus does not work yet.
fn start_bus(
    settings: Option<bus::BusSettings>,
    cluster: Option<&ClusterHandle>,
    wake: &WakeFn,
) -> Result<Option<Box<dyn Bus>>, StartError> {
    let (Some(settings), Some(cluster)) = (settings, cluster) else { return Ok(None) };
    let codec = BusFrameCodec::new(cluster.incarnation(), &cluster.mac_key());
    let bus = RedisBus::start(settings, codec, Arc::clone(wake));
    let bus = bus.map_err(|error| start_error("start the threads of the bus", &error))?;
    bus.set_version(cluster.frame_version());
    Ok(Some(Box::new(bus)))
}

/// The function to call when the stop begins: it notifies the supervisor, unless the server runs
/// inside another program, or is a fenced node that will join again.
fn on_stop(is_process: bool, over: &StopReasonFlags) -> Box<dyn Fn() + Send> {
    let over = over.clone();
    Box::new(move || {
        if is_process && !over.joins_again() {
            supervisor::stopping();
        }
    })
}

/// Opens the store, and returns the listener. `None`: a signal came during the wait for the store
/// or for the end of another server.
fn open_store(
    config: &Config,
    signals: &mut Option<Signals>,
    (wake, over): (&WakeFn, &StopReasonFlags),
    listener: StdListener,
) -> Result<Option<(WorkerPool, StdListener)>, StartError> {
    if config.is_standby {
        let copy = listener.try_clone().map_err(|error| start_error("share its port", &error))?;
        let given = config.clone();
        // If the files cannot be used now, the standby answers without TLS; the take-over reports
        // the error.
        let certificates = move || certificates::open(&given).ok().and_then(|(found, _)| found);
        let port =
            StandbyPort::start(copy, Arc::new(certificates)).map_err(|error| start_error("start a thread", &error))?;
        let opened = standby::wait_and_open(config, signals, wake, over)?;
        drop(port);
        return Ok(opened.map(|pool| (pool, listener)));
    }
    let mut listener = Some(listener);
    // During the wait for the store, clients are refused rather than kept waiting.
    let opened = store_wait::open(config, signals, wake, over, || listener = None)?;
    let Some(pool) = opened else { return Ok(None) };
    Ok(Some((pool, listener.map_or_else(|| bind(config), Ok)?)))
}

/// The reason why the server cannot listen: for a usual cause in our words.
fn listening_error_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no such address on this machine".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied (ports below 1024 need a privilege)".to_owned(),
        _ => error.to_string(),
    }
}

/// A random key, so that clients cannot choose names that collide in a hash table.
fn random_key() -> Result<[u64; 2], StartError> {
    let word = || getrandom::u64().map_err(|error| StartError(format!("the system has no random numbers: {error}")));
    Ok([word()?, word()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{Shutdown, TcpStream};

    fn config() -> Config {
        Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), store: StoreUrl::Memory, ..Config::default() }
    }

    fn connect(handle: &ServerHandle) -> TcpStream {
        let stream = TcpStream::connect(handle.addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    #[test]
    fn it_starts_answers_over_tcp_and_stops() {
        let handle = start(config()).unwrap();
        let mut ann = connect(&handle);
        ann.write_all(b"{\"MID\":\"s\",\"CONTENT\":{\"userName\":\"ann\",\"hashValue\":\"x\"},\"TYPE\":\"1\"}")
            .unwrap();
        ann.write_all(b"{\"MID\":\"l\",\"CONTENT\":{\"PASS\":\"x\",\"USER\":\"ann\"},\"TYPE\":\"2\"}").unwrap();
        let mut lines = BufReader::new(ann.try_clone().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().contains("SS"));
        assert!(lines.next().unwrap().unwrap().contains("LS"));
        handle.stop();
        assert!(lines.next().unwrap().unwrap().contains("SHUTTING_DOWN"));
        assert!(lines.next().is_none(), "the end, and no reset");
    }

    #[test]
    fn a_client_that_ends_its_side_gets_its_answers() {
        let handle = start(config()).unwrap();
        let mut ann = connect(&handle);
        ann.write_all(b"{\"MID\":\"l\",\"CONTENT\":{\"PASS\":\"x\",\"USER\":\"nobody\"},\"TYPE\":\"2\"}").unwrap();
        ann.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        ann.read_to_string(&mut text).unwrap();
        assert!(text.contains("LF"), "{text}");
    }

    #[test]
    fn a_failed_start_says_why_in_one_sentence() {
        let handle = start(config()).unwrap();
        let taken = Config { listen: handle.addr(), ..config() };
        let why = start(taken).unwrap_err().to_string();
        assert_eq!(why, format!("cannot listen on {}: the address is in use", handle.addr()));
        let store = StoreUrl::Sqlite("/nowhere/at/all.db".into());
        let why = start(Config { store, ..config() }).unwrap_err().to_string();
        assert_eq!(why, "cannot use the store sqlite:/nowhere/at/all.db: the folder that it is to be in is not there");
    }
}
