//! The push hook: POST requests that tell the operator's service that pushes wait for a user. The
//! core decides for which users, and when (`src/chat/push_hook.rs`).
//!
//! The requests are made by a few threads of their own. The loop only puts a finished text into a
//! bounded queue and never waits for the receiver; a stop waits only for a moment.

mod counts;
mod message;
mod queue;
mod sender;
mod settings;

use crate::chat::contract::PushHookNotice;
pub use counts::HookCounts;
use message::QueuedHookRequest;
use queue::{HookQueue, HookRetryTimes, HookThreadTask};
use sender::{HookResult, HookSender};
pub use settings::HookSettings;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The number of requests at once; each has a thread.
const SENDERS: usize = 4;
/// The longest time that a stop waits for the requests in progress.
const STOP_WAIT: Duration = Duration::from_millis(500);
/// The shortest time between two log lines about failures.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The hook of a running server.
pub struct PushHook {
    shared: Arc<HookShared>,
    with_content: bool,
}

struct HookShared {
    state: Mutex<HookState>,
    changed: Condvar,
    sender: HookSender,
    /// The URL as it may be logged.
    url_for_log: String,
}

struct HookState {
    queue: HookQueue,
    counts: HookCounts,
    /// The number of threads that have not ended.
    thread_count: usize,
    last_logged: Option<Instant>,
}

impl PushHook {
    /// Starts its threads.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(settings: HookSettings) -> io::Result<Self> {
        let HookSettings { url, content, queue_max, .. } = &settings;
        let (url_for_log, with_content) = (url.to_string(), *content);
        let retries = HookRetryTimes { first_pause: settings.retry_after, age_max: settings.age_max };
        let state = HookState {
            queue: HookQueue::new(*queue_max, retries),
            counts: HookCounts::default(),
            thread_count: 0,
            last_logged: None,
        };
        let sender = HookSender::new(settings);
        let shared = Arc::new(HookShared { state: Mutex::new(state), changed: Condvar::new(), sender, url_for_log });
        let hook = Self { shared, with_content };
        for _ in 0..SENDERS {
            let shared = Arc::clone(&hook.shared);
            hook.shared.lock().thread_count += 1;
            let thread = thread::Builder::new().name("push-hook".to_owned());
            if let Err(error) = thread.spawn(move || shared.run_thread()) {
                hook.shared.lock().thread_count -= 1;
                return Err(error);
            }
        }
        Ok(hook)
    }

    /// Puts one request for this notice into the queue. Never waits.
    pub fn announce(&self, notice: &PushHookNotice) {
        let message = QueuedHookRequest::of(notice, self.with_content, Instant::now());
        let mut state = self.shared.lock();
        state.counts.announced += 1;
        if state.queue.push(message) {
            drop(state);
            self.shared.changed.notify_one();
        } else {
            state.counts.dropped += 1;
            self.shared.log_failure(&mut state, "too many requests wait");
        }
    }

    /// Ends the threads and drops the waiting requests. Waits only a moment for the requests in
    /// progress.
    #[must_use]
    pub fn stop(self) -> HookCounts {
        let mut state = self.shared.stop();
        let until = Instant::now() + STOP_WAIT;
        while state.thread_count > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut counts = state.counts;
        counts.dropped = counts.announced - counts.delivered;
        counts
    }
}

impl Drop for PushHook {
    fn drop(&mut self) {
        // A drop without a stop does not wait for the threads either.
        drop(self.shared.stop());
    }
}

impl HookShared {
    fn lock(&self) -> MutexGuard<'_, HookState> {
        // A panic cannot leave a change half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) -> MutexGuard<'_, HookState> {
        let mut state = self.lock();
        state.queue.stop();
        self.changed.notify_all();
        state
    }

    /// The work of one thread.
    fn run_thread(&self) {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            let too_old = state.queue.remove_expired(now);
            if too_old > 0 {
                state.counts.dropped += too_old;
                self.log_failure(&mut state, "it is too slow, so requests waited too long");
            }
            match state.queue.next(now) {
                HookThreadTask::Send(message) => {
                    if state.queue.has_fresh() {
                        self.changed.notify_one();
                    }
                    drop(state);
                    let result = self.sender.send(&message);
                    state = self.lock();
                    self.record_result(&mut state, message, result);
                }
                HookThreadTask::WaitUntil(until) => {
                    let wait = until.saturating_duration_since(now).max(Duration::from_millis(1));
                    let waited = self.changed.wait_timeout(state, wait);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                HookThreadTask::Wait => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                HookThreadTask::Stop => break,
            }
        }
        state.thread_count -= 1;
        self.changed.notify_all();
    }

    fn record_result(&self, state: &mut HookState, message: QueuedHookRequest, result: HookResult) {
        let why = match result {
            HookResult::Delivered => {
                state.counts.delivered += 1;
                return;
            }
            HookResult::Refused(why) => {
                state.counts.dropped += 1;
                why
            }
            HookResult::Failed(why) => {
                if state.queue.retry(message, Instant::now()) {
                    // Another thread may be waiting without a time-out.
                    self.changed.notify_one();
                } else {
                    state.counts.dropped += 1;
                }
                why
            }
        };
        state.counts.failed += 1;
        self.log_failure(state, &why);
    }

    fn log_failure(&self, state: &mut HookState, why: &str) {
        if state.last_logged.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        state.last_logged = Some(Instant::now());
        log::warn!("the push hook {}: {why} ({} since the start)", self.url_for_log, state.counts);
    }
}

#[cfg(test)]
mod tests;
