//! Opening a store again that was lost, on a thread of its own: the worker whose store it is fails
//! its jobs at once meanwhile and never waits for a connection that hangs.

use super::{Store, StoreError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Opens one more connection to the store.
pub(super) type Opener = Box<dyn Fn() -> Result<Box<dyn Store>, StoreError> + Send + Sync>;

/// The pause after the store could not be opened, at first and at most.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

type Opened = Result<Box<dyn Store>, StoreError>;

/// The time for which jobs wait for the first try. A try that takes longer hangs, and jobs fail at
/// once from then on.
const FIRST_TRY_WAIT: Duration = Duration::from_secs(1);

/// A store that is being opened, again and again until it works.
pub(super) struct Opening {
    /// The store, and before it, if the first try failed, why.
    opened: Receiver<Opened>,
    /// Dropped with this: the thread that opens then gives up.
    _wanted: Sender<()>,
    /// The first try is waited for until then.
    wait_until: Instant,
    why: StoreError,
}

impl Opening {
    /// Starts at once.
    pub(super) fn start(opener: Arc<Opener>) -> Self {
        let (sender, opened) = channel();
        let (wanted, unwanted) = channel();
        let thread = std::thread::Builder::new().name("reopen".into());
        if let Err(error) = thread.spawn(move || open_until_it_works(&opener, &sender, &unwanted)) {
            // The sender went with it, so the next one who asks starts anew.
            log::error!("cannot start the thread that opens the store again: {error}");
        }
        let why = StoreError::Unavailable("it does not answer".into());
        Self { opened, _wanted: wanted, wait_until: Instant::now() + FIRST_TRY_WAIT, why }
    }

    /// The store, if it is open by now.
    ///
    /// # Errors
    /// Why it is not. It is an outage, whatever the reason: no job is to blame for it.
    pub(super) fn take(&mut self, opener: &Arc<Opener>) -> Result<Box<dyn Store>, StoreError> {
        loop {
            match self.opened.recv_timeout(self.wait_until.saturating_duration_since(Instant::now())) {
                Ok(Ok(store)) => return Ok(store),
                Ok(Err(why)) => {
                    self.why = StoreError::Unavailable(why.to_string());
                    self.wait_until = Instant::now();
                }
                Err(RecvTimeoutError::Timeout) => return Err(self.why.clone()),
                Err(RecvTimeoutError::Disconnected) => {
                    *self = Self::start(Arc::clone(opener));
                    return Err(self.why.clone());
                }
            }
        }
    }
}

fn open_until_it_works(opener: &Opener, opened: &Sender<Opened>, unwanted: &Receiver<()>) {
    let (mut backoff, mut is_first) = (FIRST_BACKOFF, true);
    loop {
        // A panic of a driver leaves nothing behind: what it was making is dropped.
        let result = catch_unwind(AssertUnwindSafe(opener))
            .unwrap_or_else(|_| Err(StoreError::Unavailable("its driver panicked".into())));
        let is_open = result.is_ok();
        let is_wanted = !(is_open || is_first) || opened.send(result).is_ok();
        if is_open || !is_wanted {
            return;
        }
        is_first = false;
        // Workers that lost it together come back apart: between half of the time and all of it.
        let jitter = getrandom::u32().unwrap_or(u32::MAX);
        let pause = backoff / 2 + backoff.mul_f64(f64::from(jitter) / f64::from(u32::MAX)) / 2;
        if unwanted.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}
