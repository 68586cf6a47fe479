//! The settings of the store that can change while the server runs.

use super::Store;
use super::password::VerifiedLogins;
use super::quota::{MailboxCounts, Quotas};
use super::wal::WalWatch;
use crate::config::Config;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Shared by the workers, who look here before each batch whether something has changed.
#[derive(Debug)]
pub struct StoreLimits {
    /// How often they have changed.
    version: AtomicU64,
    held: Mutex<Held>,
    verified: Arc<VerifiedLogins>,
}

/// What the data workers are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) quotas: Quotas,
    pub(super) wal_warn_bytes: u64,
}

impl Held {
    fn of(config: &Config) -> Self {
        Self { quotas: Quotas::of(config), wal_warn_bytes: config.wal_warn_bytes }
    }
}

impl StoreLimits {
    pub(super) fn new(config: &Config, verified: Arc<VerifiedLogins>) -> Self {
        Self { version: AtomicU64::new(0), held: Mutex::new(Held::of(config)), verified }
    }

    /// Those of this configuration hold from now on. What waits beyond a quota stays.
    pub fn hold_to(&self, config: &Config) {
        // Only whole values are written, whatever happens to the thread that writes them.
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Held::of(config);
        self.verified.set_users_max(config.verified_logins_max);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Those that hold, if they are others than the ones that were seen as this version.
    pub(super) fn newer_than(&self, seen: &mut u64) -> Option<Held> {
        let version = self.version.load(Ordering::Acquire);
        if version == *seen {
            return None;
        }
        *seen = version;
        Some(self.held())
    }

    /// What holds, as text, to see that something has changed.
    #[cfg(test)]
    pub(crate) fn in_force(&self) -> String {
        format!("{:?} {}", self.held(), self.verified.users_max())
    }

    pub(super) fn held(&self) -> Held {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker looks at between two transactions.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Where the limits are, and which of them were seen.
    limits: Option<(Arc<StoreLimits>, u64)>,
    wal: WalWatch,
    wal_warn_bytes: u64,
}

impl Watch {
    pub(super) fn new(limits: Arc<StoreLimits>) -> Self {
        let wal_warn_bytes = limits.held().wal_warn_bytes;
        Self { limits: Some((limits, 0)), wal: WalWatch::default(), wal_warn_bytes }
    }

    /// Have the limits changed, and how large is the log of the store?
    pub(super) fn look(&mut self, now: Instant, store: Option<&dyn Store>, counts: &mut MailboxCounts) {
        let Some((limits, seen)) = &mut self.limits else { return };
        if let Some(held) = limits.newer_than(seen) {
            counts.set_quotas(held.quotas);
            self.wal_warn_bytes = held.wal_warn_bytes;
        }
        if let Some(store) = store {
            self.wal.look(now, self.wal_warn_bytes, || store.wal_bytes());
        }
    }
}
