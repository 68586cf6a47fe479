//! The greatest `seq` that this node may write: the limit that the database knows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// It is raised with a sign of life; those who write may wait for that.
pub(super) struct SeqMax {
    value: AtomicU64,
    raising: Mutex<()>,
    raised: Condvar,
}

impl SeqMax {
    pub(super) fn new(value: u64) -> Self {
        Self { value: AtomicU64::new(value), raising: Mutex::default(), raised: Condvar::new() }
    }

    pub(super) fn get(&self) -> u64 {
        self.value.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, value: u64) {
        if self.value.load(Ordering::Acquire) == value {
            return;
        }
        // Under the lock: nobody begins to wait between the change and the call.
        let _raising = self.raising.lock().unwrap_or_else(PoisonError::into_inner);
        self.value.store(value, Ordering::Release);
        self.raised.notify_all();
    }

    /// Waits until it is at least this, or for so long. Gives what it is then.
    pub(super) fn wait_for(&self, seq: u64, within: Duration) -> u64 {
        let raising = self.raising.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.raised.wait_timeout_while(raising, within, |()| self.get() < seq));
        self.get()
    }
}
