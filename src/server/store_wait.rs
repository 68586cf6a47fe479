//! Opens the store at the start, and waits for one that cannot be reached.

use super::{StartError, StopReasonFlags};
use crate::config::{Config, StoreUrl};
use crate::store::StoreError;
use crate::store::pool::{WakeFn, WorkerPool};
use signal_hook::consts::SIGHUP;
use signal_hook_mio::v1_0::Signals;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// The interval between two checks for signals.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Opens the store. If it cannot be reached, calls `on_wait` once and then waits as long as the
/// configuration says. If it can be reached but not used, fails at once. `None`: a signal came.
pub(super) fn open(
    config: &Config,
    signals: &mut Option<Signals>,
    wake: &WakeFn,
    over: &StopReasonFlags,
    on_wait: impl FnOnce(),
) -> Result<Option<WorkerPool>, StartError> {
    let until = Instant::now() + Duration::from_millis(config.store_wait_ms);
    let mut on_wait = Some(on_wait);
    loop {
        let claim = over.claim();
        let (same_config, wake) = (config.clone(), Arc::clone(wake));
        let tried = on_a_thread(signals, "open-store", move || WorkerPool::start_as(&same_config, claim, wake))?;
        let Some(tried) = tried else { return Ok(None) };
        let error = match tried {
            Ok(pool) => return Ok(Some(pool)),
            Err(error) => error,
        };
        let is_mysql = matches!(config.store, StoreUrl::Mysql(_));
        if !(is_mysql && may_recover(&error)) || Instant::now() >= until {
            return Err(super::cannot_use_store(config, &error));
        }
        if let Some(on_wait) = on_wait.take() {
            let seconds = config.store_wait_ms as f64 / 1_000.0;
            log::warn!("cannot use the store {} yet: {error}; it is waited for, {seconds} s at most", config.store);
            on_wait();
        }
        let pause_until = (Instant::now() + PAUSE).min(until);
        while Instant::now() < pause_until {
            if is_signalled(signals) {
                return Ok(None);
            }
            thread::sleep(LOOK);
        }
    }
}

/// May waiting help with this error?
pub(super) fn may_recover(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Busy(_))
}

/// Does some work on a separate thread and waits for it. The work may hang until the driver times
/// out, and a signal must not wait for that. `None`: a signal came first.
pub(super) fn on_a_thread<T: Send + 'static>(
    signals: &mut Option<Signals>,
    name: &str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<Option<Result<T, StoreError>>, StartError> {
    let (sender, done) = channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // If nobody waits any more, the result is dropped. If it is a pool, that ends its workers.
        sender.send(work()).unwrap_or(());
    });
    thread.map_err(|error| super::start_error("start a thread", &error))?;
    loop {
        match done.recv_timeout(LOOK) {
            Ok(done) => return Ok(Some(done)),
            Err(RecvTimeoutError::Timeout) if is_signalled(signals) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Some(Err(StoreError::Unusable("its driver panicked".to_owned()))));
            }
        }
    }
}

pub(super) fn is_signalled(signals: &mut Option<Signals>) -> bool {
    signals.as_mut().is_some_and(|signals| signals.pending().any(|signal| signal != SIGHUP))
}
