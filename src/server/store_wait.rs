//! Opening the store at the start, and waiting for one that is away.

use super::StartError;
use crate::config::{Config, StoreUrl};
use crate::store::StoreError;
use crate::store::pool::{Pool, Wake};
use signal_hook::consts::SIGHUP;
use signal_hook_mio::v1_0::Signals;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// The interval between two looks for signals.
const LOOK: Duration = Duration::from_millis(50);

/// Opens the store. One that cannot be reached is waited for as long as the configuration says;
/// `on_wait` is called before that. One that is there and cannot be used is refused at once.
/// `None`: a signal came.
pub(super) fn open(
    config: &Config,
    signals: &mut Option<Signals>,
    wake: &Wake,
    on_wait: impl FnOnce(),
) -> Result<Option<Pool>, StartError> {
    let until = Instant::now() + Duration::from_millis(config.store_wait_ms);
    let mut on_wait = Some(on_wait);
    loop {
        let Some(tried) = first_to_come(signals, || spawn_try(config, wake))? else {
            return Ok(None);
        };
        let error = match tried {
            Ok(pool) => return Ok(Some(pool)),
            Err(error) => error,
        };
        let may_come = matches!(config.store, StoreUrl::Mysql(_))
            && matches!(error, StoreError::Unavailable(_) | StoreError::Busy(_));
        if !may_come || Instant::now() >= until {
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

type Tried = Result<Pool, StoreError>;

/// One try, on a thread of its own: it may hang for as long as the driver's time-outs allow, and a
/// signal must not wait for that.
fn spawn_try(config: &Config, wake: &Wake) -> io::Result<Receiver<Tried>> {
    let (sender, tried) = channel();
    let (config, wake) = (config.clone(), Arc::clone(wake));
    thread::Builder::new().name("open-store".to_owned()).spawn(move || {
        // Nobody may be waiting any more: then the pool is dropped, and its workers end.
        sender.send(Pool::start(&config, wake)).unwrap_or(());
    })?;
    Ok(tried)
}

/// Waits for the outcome of a try. `None`: a signal came first.
fn first_to_come(
    signals: &mut Option<Signals>,
    start: impl FnOnce() -> io::Result<Receiver<Tried>>,
) -> Result<Option<Tried>, StartError> {
    let tried = start().map_err(|error| super::cannot("start a thread", &error))?;
    loop {
        match tried.recv_timeout(LOOK) {
            Ok(tried) => return Ok(Some(tried)),
            Err(RecvTimeoutError::Timeout) if is_signalled(signals) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Some(Err(StoreError::Unusable("its driver panicked".to_owned()))));
            }
        }
    }
}

fn is_signalled(signals: &mut Option<Signals>) -> bool {
    signals.as_mut().is_some_and(|signals| signals.pending().any(|signal| signal != SIGHUP))
}
