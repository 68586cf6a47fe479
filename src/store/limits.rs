//! The settings of the store that can change while the server runs.

use super::StoreConnection;
use super::password::VerifiedPasswordCache;
use super::quota::{MailboxQuotas, MailboxUsageCache};
use super::wal::WalSizeWatch;
use crate::config::Config;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The present limits, shared with the workers, which check before each batch whether they have
/// changed.
#[derive(Debug)]
pub struct SharedReloadableStoreLimits {
    /// The number of changes so far.
    version: AtomicU64,
    values: Mutex<ReloadableStoreLimits>,
    verified_logins: Arc<VerifiedPasswordCache>,
}

/// The limits of the data workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReloadableStoreLimits {
    pub(super) quotas: MailboxQuotas,
    pub(super) wal_warn_bytes: u64,
}

impl ReloadableStoreLimits {
    fn of(config: &Config) -> Self {
        Self { quotas: MailboxQuotas::of(config), wal_warn_bytes: config.wal_warn_bytes }
    }
}

impl SharedReloadableStoreLimits {
    pub(super) fn new(config: &Config, verified_logins: Arc<VerifiedPasswordCache>) -> Self {
        Self { version: AtomicU64::new(0), values: Mutex::new(ReloadableStoreLimits::of(config)), verified_logins }
    }

    /// Applies the limits of this configuration from now on. Pushes beyond a lower quota stay.
    pub fn apply(&self, config: &Config) {
        // Only whole values are written, so a panic cannot leave them torn.
        *self.values.lock().unwrap_or_else(PoisonError::into_inner) = ReloadableStoreLimits::of(config);
        self.verified_logins.set_users_max(config.verified_logins_max);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The present limits, if they have changed since the version in `seen`.
    pub(super) fn newer_than(&self, seen: &mut u64) -> Option<ReloadableStoreLimits> {
        let version = self.version.load(Ordering::Acquire);
        if version == *seen {
            return None;
        }
        *seen = version;
        Some(self.values())
    }

    /// The present limits as text, to see that something has changed.
    #[cfg(test)]
    pub(crate) fn describe(&self) -> String {
        format!("{:?} {}", self.values(), self.verified_logins.users_max())
    }

    pub(super) fn values(&self) -> ReloadableStoreLimits {
        *self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The checks of a worker between two transactions.
#[derive(Debug, Default)]
pub(super) struct ReloadedLimitsAndWalSizeCheck {
    /// The shared limits, and the version that was seen last.
    limits: Option<(Arc<SharedReloadableStoreLimits>, u64)>,
    wal: WalSizeWatch,
    wal_warn_bytes: u64,
}

impl ReloadedLimitsAndWalSizeCheck {
    pub(super) fn new(limits: Arc<SharedReloadableStoreLimits>) -> Self {
        let wal_warn_bytes = limits.values().wal_warn_bytes;
        Self { limits: Some((limits, 0)), wal: WalSizeWatch::default(), wal_warn_bytes }
    }

    /// Applies changed limits, and checks the size of the store's write-ahead log.
    pub(super) fn check(&mut self, now: Instant, store: Option<&dyn StoreConnection>, counts: &mut MailboxUsageCache) {
        let Some((limits, seen)) = &mut self.limits else { return };
        if let Some(held) = limits.newer_than(seen) {
            counts.set_quotas(held.quotas);
            self.wal_warn_bytes = held.wal_warn_bytes;
        }
        if let Some(store) = store {
            self.wal.check(now, self.wal_warn_bytes, || store.wal_bytes());
        }
    }
}
