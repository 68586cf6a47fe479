//! SIGHUP: reads the configuration file and the certificate again, and applies the settings that
//! can change while the server runs.
//!
//! The files may be on a disk that hangs: they are read on a separate thread, only one at a time,
//! however many signals come. Everything is read before anything changes: if something is wrong,
//! nothing changes.

use super::certificate_validity::CertificateNotice;
use super::certificates;
use super::file_descriptors::OpenFileLimit;
use crate::config::options::{OPTIONS, OptionEffectTime};
use crate::config::settings::LoadedConfig;
use crate::config::{Config, LogFormat};
use crate::net::hub::ConnectionHubLimits;
use crate::net::live_settings::{LoopSettings, ReloadedSettings};
use crate::net::tls::Certificates;
use crate::store::pool::{SharedReloadableStoreLimits, WakeFn};
use log::LevelFilter;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Jobs may use at most the memory budget divided by this.
const JOBS_PART: usize = 8;

/// The actions at a reload of the program that runs a server.
#[derive(Clone)]
pub struct ReloadHooks {
    /// Reads the arguments, the environment and the configuration file again.
    pub read_again: Arc<dyn Fn() -> Result<LoadedConfig, String> + Send + Sync>,
    /// Sets the log level and the form of log lines.
    pub set_log: Arc<dyn Fn(LevelFilter, LogFormat) + Send + Sync>,
}

/// The certificates in use, and how long they are valid.
type UsedCertificates = (Option<Arc<Certificates>>, Option<CertificateNotice>);

/// The loop's settings of a configuration.
pub(super) fn loop_settings(
    config: &Config,
    conns_max: usize,
    certificates: Option<Arc<Certificates>>,
) -> LoopSettings {
    let mut rules = config.rules.clone();
    // Jobs cannot be cancelled, so they may take only a part of the memory budget.
    rules.jobs_bytes_max = rules.jobs_bytes_max.min(config.memory_bytes_max / JOBS_PART);
    LoopSettings {
        rules,
        bounds: ConnectionHubLimits {
            frame_bytes_max: config.frame_bytes_max,
            output_bytes_max: config.output_bytes_max,
            stranger_output_bytes_max: config.stranger_output_bytes_max,
            memory_bytes_max: config.memory_bytes_max,
            output_timeout_ms: config.output_timeout_ms,
            handshake_timeout_ms: config.handshake_timeout_ms,
            answer_within_ms: config.rules.answer_within_ms,
            conns_per_address_max: config.connections_per_address_max,
            log_lines_per_second_max: config.log_lines_per_second_max,
        },
        conns_max,
        stop_wait_ms: config.stop_wait_ms,
        trusted_proxies: config.trusted_proxies.clone(),
        allowed_origins: config.allowed_origins.clone(),
        has_page: config.web_page,
        certificates,
    }
}

/// Reloads on request.
#[derive(Clone)]
pub(super) struct Reloader {
    reading: Arc<Mutex<ReloadState>>,
    context: Arc<Mutex<ReloadContext>>,
}

/// The state that a reload needs.
pub(super) struct ReloadContext {
    /// The settings in force.
    pub(super) config: Config,
    pub(super) program: ReloadHooks,
    pub(super) files: OpenFileLimit,
    pub(super) store: Arc<SharedReloadableStoreLimits>,
    pub(super) to_loop: Sender<ReloadedSettings>,
    pub(super) wake: WakeFn,
}

/// The result of reading the files.
struct ReloadPlan {
    /// The settings to apply, without changes that need a restart.
    next: Config,
    certificates: UsedCertificates,
    conns_max: usize,
    /// The number of changed options that need a restart.
    restart_count: usize,
}

impl Reloader {
    pub(super) fn new(work: ReloadContext) -> Self {
        Self { reading: Arc::default(), context: Arc::new(Mutex::new(work)) }
    }

    /// Starts a reload on a thread, and does not wait for it.
    pub(super) fn ask(&self) {
        let before = std::mem::replace(&mut *lock(&self.reading), ReloadState::Again);
        if before != ReloadState::No {
            log::debug!("SIGHUP: the configuration is still being read; it is read once more after that");
            return;
        }
        let Self { reading, context } = self.clone();
        let read = move || {
            while must_read(&reading) {
                lock(&context).reload();
            }
        };
        if let Err(error) = thread::Builder::new().name("reload".to_owned()).spawn(read) {
            *lock(&self.reading) = ReloadState::No;
            log::error!("SIGHUP: nothing can be read again: no thread can be started: {error}");
        }
    }
}

impl ReloadContext {
    fn reload(&mut self) {
        match self.read() {
            Ok(read) => self.apply(read),
            Err(why) => {
                log::error!("SIGHUP: {why}; everything stays as it was, the certificate that is in use stays in use")
            }
        }
    }

    /// Reads everything that a reload needs.
    fn read(&self) -> Result<ReloadPlan, String> {
        let LoadedConfig { config: given, warning, .. } = (self.program.read_again)()?;
        let mut next = self.config.clone();
        for opt in OPTIONS.iter().filter(|opt| opt.reload == OptionEffectTime::Live) {
            opt.copy(&given, &mut next)?;
        }
        let certificates = certificates::open(&next)?;
        let conns_max = self.files.conns_max(&next).map_err(|error| error.0)?;
        if let Some(warning) = warning {
            log::warn!("{warning}");
        }
        let mut restart_count = 0;
        for opt in
            OPTIONS.iter().filter(|opt| opt.reload == OptionEffectTime::AtStart && opt.differs(&self.config, &given))
        {
            let (name, now, new) = (opt.name, opt.show(&self.config), opt.show(&given));
            log::warn!("SIGHUP: {name} is {new} from the next start on; until then it stays {now}");
            restart_count += 1;
        }
        Ok(ReloadPlan { next, certificates, conns_max, restart_count })
    }

    fn apply(
        &mut self,
        ReloadPlan { next, certificates: (certificates, notice), conns_max, restart_count }: ReloadPlan,
    ) {
        let mut lines = vec![change_sentence(&changes(&self.config, &next), restart_count)];
        if let Some(path) = next.tls_cert.as_ref().filter(|_| certificates.is_some()) {
            lines.push(format!("the certificate {} was read again; new connections get it", path.display()));
        }
        let settings = loop_settings(&next, conns_max, certificates);
        let (store, set_log) = (Arc::clone(&self.store), Arc::clone(&self.program.set_log));
        let before = self.config.log;
        self.config = next.clone();
        let then = move || {
            store.apply(&next);
            // A level that would hide these lines is applied after them.
            set_log(before.max(next.log), next.log_format);
            lines.iter().for_each(|line| log::info!("{line}"));
            if let Some(notice) = notice {
                notice.log();
            }
            set_log(next.log, next.log_format);
        };
        // The loop is gone only when the server stops.
        if self.to_loop.send(ReloadedSettings { settings, on_applied: Box::new(then) }).is_ok() {
            (self.wake)();
        }
    }
}

/// The log line about changed options, and the number of those that wait for a restart.
fn change_sentence(changed: &str, waiting: usize) -> String {
    let changed = match (changed, waiting) {
        ("", 0) => "no option has changed",
        ("", _) => "no option is changed now",
        (changed, _) => changed,
    };
    let waiting = match waiting {
        0 => String::new(),
        1 => "; 1 waits for a restart".to_owned(),
        count => format!("; {count} wait for a restart"),
    };
    format!("SIGHUP: read again; {changed}{waiting}")
}

/// The options that differ, with both values.
fn changes(old: &Config, new: &Config) -> String {
    let changed = OPTIONS.iter().filter(|opt| opt.differs(old, new));
    let changed: Vec<_> = changed.map(|opt| format!("{} {} → {}", opt.name, opt.show(old), opt.show(new))).collect();
    changed.join(", ")
}

/// The progress of a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ReloadState {
    #[default]
    No,
    /// A thread reads the files; no newer request has come.
    Now,
    /// The files must be read, by the running thread or a new one.
    Again,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Only whole values are written, so a panic cannot leave them torn.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Must the files be read (again)? If not, the thread ends.
fn must_read(reading: &Mutex<ReloadState>) -> bool {
    let mut reading = lock(reading);
    let is_asked = *reading == ReloadState::Again;
    *reading = if is_asked { ReloadState::Now } else { ReloadState::No };
    is_asked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ServerCore;
    use crate::config::StoreUrl;
    use crate::config::options::{ConfigOption, OptionKind};
    use crate::net::conns::WAKER;
    use crate::net::{Loop, LoopParts};
    use crate::store::pool::WorkerPool;
    use mio::{Poll, Waker};
    use std::sync::mpsc::{Receiver, channel};

    /// A loop that does not run, its reloads, and the settings that the next reload will read.
    struct TestReload {
        server_loop: Loop,
        context: ReloadContext,
        reloads: Receiver<ReloadedSettings>,
        given: Arc<Mutex<Result<Config, String>>>,
        log: Arc<Mutex<(LevelFilter, LogFormat)>>,
    }

    fn config() -> Config {
        let listen = ([127, 0, 0, 1], 0).into();
        Config { listen, store: StoreUrl::Memory, argon2_memory_kib: 8, argon2_passes: 1, ..Config::default() }
    }

    fn world() -> TestReload {
        let config = config();
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), WAKER).unwrap();
        let wake: WakeFn = Arc::new(move || waker.wake().unwrap_or(()));
        let pool = WorkerPool::start(&config, Arc::clone(&wake)).unwrap();
        let store = pool.limits();
        let live = loop_settings(&config, config.connections_max, None);
        let parts = LoopParts {
            poll,
            listener: mio::net::TcpListener::bind(config.listen).unwrap(),
            signals: None,
            on_hang_up: Box::new(|| ()),
            chat: ServerCore::new(live.rules.clone(), pool.first_seq(), [1, 2]),
            live,
            reloads: channel().1,
            stop: Arc::default(),
            pool,
            hash_key: [1, 2],
            on_stop: Box::new(|| ()),
            drain_began: Arc::default(),
            cluster: None,
            bus: None,
            push_hook: None,
            calls: None,
        };
        let given = Arc::new(Mutex::new(Ok(config.clone())));
        let log = Arc::new(Mutex::new((config.log, config.log_format)));
        let (read, set) = (Arc::clone(&given), Arc::clone(&log));
        let program = ReloadHooks {
            read_again: Arc::new(move || {
                let config = lock(&read).clone()?;
                Ok(LoadedConfig { config, summary: String::new(), warning: None, names_store: false })
            }),
            set_log: Arc::new(move |level, format| *lock(&set) = (level, format)),
        };
        let (to_loop, reloads) = channel();
        let context = ReloadContext { config, program, files: OpenFileLimit::read(), store, to_loop, wake };
        TestReload { server_loop: Loop::new(parts).unwrap(), context, reloads, given, log }
    }

    impl TestReload {
        /// The settings in force after a reload with this configuration.
        fn with(&mut self, given: Result<Config, String>) -> String {
            *lock(&self.given) = given;
            self.context.reload();
            if let Ok(reloaded) = self.reloads.try_recv() {
                self.server_loop.reload(reloaded);
            }
            format!("{} {:?}", self.server_loop.describe_settings(), lock(&self.log))
        }
    }

    /// A configuration with a value other than the default.
    fn other(opt: &ConfigOption) -> Config {
        let mut config = config();
        let shown = opt.show(&config);
        let bounds = opt.range();
        let text = match opt.kind {
            OptionKind::Duration(_) | OptionKind::Size(_) | OptionKind::Count(_) => {
                let (min, max) = bounds.split_once(" to ").unwrap();
                // Not more connections than this process has descriptors for.
                if shown == min { max } else { min }
            }
            OptionKind::List { .. } if opt.name == "trusted-proxies" => "10.0.0.0/8",
            OptionKind::List { .. } if opt.name == "admin" => "off",
            OptionKind::List { .. } if opt.name == "node-name" => "a",
            OptionKind::List { .. } => "https://chat.example",
            OptionKind::Choice { words, .. } => words[1],
            OptionKind::Switch { .. } if shown == "on" => "off",
            OptionKind::Switch { .. } => "on",
            OptionKind::Listen => "127.0.0.1:1",
            OptionKind::Store => "sqlite:other.db",
            OptionKind::Bus => "redis://u:geheim@a",
            OptionKind::Log => "debug",
            OptionKind::Config | OptionKind::File { .. } => "other",
        };
        opt.apply(&mut config, opt.name, text).unwrap();
        config
    }

    #[test]
    fn every_option_that_says_so_is_put_in_force_and_no_other_is() {
        let mut world = world();
        let before = world.with(Ok(config()));
        for opt in OPTIONS {
            if ["tls-cert", "tls-key", "tls-only"].contains(&opt.name) {
                // Both files are needed: `tests/reload.rs` does it.
                assert_eq!(opt.reload, OptionEffectTime::Live);
                continue;
            }
            let other = other(opt);
            assert!(opt.differs(&config(), &other), "{}", opt.name);
            let after = world.with(Ok(other));
            assert_eq!(after != before, opt.reload == OptionEffectTime::Live, "{}", opt.name);
            assert_eq!(world.with(Ok(config())), before, "{} can be taken back", opt.name);
        }
    }

    #[test]
    fn nothing_changes_when_something_is_wrong() {
        let mut world = world();
        let before = world.with(Ok(config()));
        assert_eq!(world.with(Err("it is wrong".to_owned())), before);
        // A valid option beside a certificate that cannot be read.
        let mut given = Config { connections_max: 7, ..config() };
        (given.tls_cert, given.tls_key) = (Some("/nowhere".into()), Some("/nowhere".into()));
        assert_eq!(world.with(Ok(given)), before);
        assert_ne!(world.with(Ok(Config { connections_max: 7, ..config() })), before);
    }

    #[test]
    fn a_changed_option_is_shown_with_both_values() {
        let mut new = Config { log: LevelFilter::Debug, ..config() };
        new.rules.idle_timeout_ms = 90_000;
        assert_eq!(changes(&config(), &new), "log info → debug, idle-timeout 120s → 90s");
        assert_eq!(changes(&new, &new), "");
        for (changed, waiting, expected) in [
            ("", 0, "no option has changed"),
            ("", 4, "no option is changed now; 4 wait for a restart"),
            ("log info → debug", 0, "log info → debug"),
            ("log info → debug", 1, "log info → debug; 1 waits for a restart"),
        ] {
            assert_eq!(change_sentence(changed, waiting), format!("SIGHUP: read again; {expected}"));
        }
    }

    #[test]
    fn files_are_read_by_one_thread_and_once_more_if_that_was_asked_meanwhile() {
        let reading = Mutex::new(ReloadState::Again);
        assert!(must_read(&reading), "the first round");
        for _ in 0..1_000 {
            let before = std::mem::replace(&mut *lock(&reading), ReloadState::Again);
            assert_ne!(before, ReloadState::No, "no other thread is started");
        }
        assert!(must_read(&reading), "a round for all who asked meanwhile");
        assert!(!must_read(&reading));
        assert_eq!(*lock(&reading), ReloadState::No, "the next to ask starts a thread");
    }
}
