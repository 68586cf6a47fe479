//! Reopens a lost store on a thread of its own. Meanwhile the worker fails its jobs at once, and
//! never waits for a connection that hangs.

use super::{StoreConnection, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Opens a connection to the store.
pub(super) type StoreOpener = Box<dyn Fn() -> Result<Box<dyn StoreConnection>, StoreError> + Send + Sync>;

/// The first pause after a failed try, and the longest one.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

type StoreOpenResult = Result<Box<dyn StoreConnection>, StoreError>;

/// The time for which jobs wait for the first try. A try that takes longer hangs, and jobs fail at
/// once from then on.
const FIRST_TRY_WAIT: Duration = Duration::from_secs(1);

/// A store that is being opened, again and again until it works.
pub(super) struct StoreReopener {
    /// Receives the error of the first try if that fails, and later the store.
    open_results: Receiver<StoreOpenResult>,
    /// When this is dropped, the thread that opens the store gives up.
    _wanted: Sender<()>,
    /// Until when jobs wait for the first try.
    wait_until: Instant,
    last_error: StoreError,
}

impl StoreReopener {
    /// Starts to open the store at once.
    pub(super) fn start(opener: Arc<StoreOpener>) -> Self {
        let (sender, open_results) = channel();
        let (wanted, unwanted) = channel();
        let thread = std::thread::Builder::new().name("reopen".into());
        if let Err(error) = thread.spawn(move || retry_until_open(&opener, &sender, &unwanted)) {
            // The sender was dropped with the closure, so the next `take` starts again.
            log::error!("cannot start the thread that opens the store again: {error}");
        }
        let last_error = StoreError::Unavailable("it does not answer".into());
        Self { open_results, _wanted: wanted, wait_until: Instant::now() + FIRST_TRY_WAIT, last_error }
    }

    /// Takes the store, if it is open by now.
    ///
    /// # Errors
    /// The store is not open. Every reason counts as an outage, because no job is the cause.
    pub(super) fn take(&mut self, opener: &Arc<StoreOpener>) -> Result<Box<dyn StoreConnection>, StoreError> {
        loop {
            match self.open_results.recv_timeout(self.wait_until.saturating_duration_since(Instant::now())) {
                Ok(Ok(store)) => return Ok(store),
                Ok(Err(why)) => {
                    self.last_error = StoreError::Unavailable(why.to_string());
                    self.wait_until = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.last_error.clone()),
                Err(RecvTimeoutError::Disconnected) => {
                    *self = Self::start(Arc::clone(opener));
                    return Err(self.last_error.clone());
                }
            }
        }
    }
}

fn retry_until_open(opener: &StoreOpener, opened: &Sender<StoreOpenResult>, unwanted: &Receiver<()>) {
    let (mut backoff, mut is_first) = (FIRST_BACKOFF, true);
    loop {
        // After a panic of a driver, its partly made connection is dropped.
        let result = catch_unwind(AssertUnwindSafe(opener))
            .unwrap_or_else(|_| Err(StoreError::Unavailable("its driver panicked".into())));
        let is_open = result.is_ok();
        let is_wanted = !(is_open || is_first) || opened.send(result).is_ok();
        if is_open || !is_wanted {
            return;
        }
        is_first = false;
        // Jitter between half of the pause and all of it, so that workers do not reconnect at the
        // same time.
        let jitter = getrandom::u32().unwrap_or(u32::MAX);
        let pause = backoff / 2 + backoff.mul_f64(f64::from(jitter) / f64::from(u32::MAX)) / 2;
        if unwanted.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}
