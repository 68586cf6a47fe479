//! Opening the store at the start, and waiting for one that is away.

use super::{Over, StartError};
use crate::config::{Config, StoreUrl};
use crate::store::StoreError;
use crate::store::pool::{Pool, Wake};
use signal_hook::consts::SIGHUP;
use signal_hook_mio::v1_0::Signals;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// The interval between two looks for signals.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// Opens the store. One that cannot be reached is waited for as long as the configuration says;
/// `on_wait` is called before that. One that is there and cannot be used is refused at once.
/// `None`: a signal came.
pub(super) fn open(
    config: &Config,
    signals: &mut Option<Signals>,
    wake: &Wake,
    over: &Over,
    on_wait: impl FnOnce(),
) -> Result<Option<Pool>, StartError> {
    let until = Instant::now() + Duration::from_millis(config.store_wait_ms);
    let mut on_wait = Some(on_wait);
    loop {
        let claim = over.claim();
        let (same_config, wake) = (config.clone(), Arc::clone(wake));
        let tried = on_a_thread(signals, "open-store", move || Pool::start_as(&same_config, claim, wake))?;
        let Some(tried) = tried else { return Ok(None) };
        let error = match tried {
            Ok(pool) => return Ok(Some(pool)),
            Err(error) => error,
        };
        let is_mysql = matches!(config.store, StoreUrl::Mysql(_));
        if !(is_mysql && may_come(&error)) || Instant::now() >= until {
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

/// May waiting alone mend it?
pub(super) fn may_come(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable(_) | StoreError::Busy(_))
}

/// Does some work on a thread of its own and waits for it: it may hang for as long as the driver's
/// time-outs allow, and a signal must not wait for that. `None`: a signal came first.
pub(super) fn on_a_thread<T: Send + 'static>(
    signals: &mut Option<Signals>,
    name: &str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<Option<Result<T, StoreError>>, StartError> {
    let (sender, done) = channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody may be waiting any more: then the result is dropped, and a pool ends its workers.
        sender.send(work()).unwrap_or(());
    });
    thread.map_err(|error| super::cannot("start a thread", &error))?;
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
