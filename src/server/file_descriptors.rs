//! File descriptors: raises the limit as far as the system allows, and reserves some for the store,
//! so that it can be reopened however many clients there are.

use super::StartError;
use crate::config::{AdminPlace, Config, StoreUrl};

/// Descriptors of the process: three standard streams, the poll with its waker, its timer and the
/// signal pipe, the listener, and a connection that is accepted only to be refused; with some to
/// spare.
const OWN: usize = 16;
/// Descriptors of a SQLite store: the lock, the file, its log and the log's index; twice, because
/// it may be reopened.
const SQLITE: usize = 2 * 4;
/// Descriptors for each connection to a MySQL store: the connection, an earlier one that is just
/// being closed, and the look-up of the host's name.
const PER_MYSQL_CONNECTION: usize = 4;

/// Descriptors of the admin interface: its listener, its poll with a waker, and connections that
/// are not authorised yet. Each request takes one more.
const ADMIN: usize = 3 + crate::admin::NEWCOMERS_MAX;

/// Descriptors that connections cannot have.
pub(super) fn reserved(config: &Config) -> usize {
    let admin = if config.admin == AdminPlace::Off { 0 } else { ADMIN + config.admin_connections_max };
    OWN + admin
        + match config.store {
            StoreUrl::Memory => 0,
            StoreUrl::Sqlite(_) => SQLITE,
            // One more connection holds the lock on the database.
            StoreUrl::Mysql(_) => PER_MYSQL_CONNECTION * (config.data_threads + 1),
        }
}

/// The limit of this process on open files, before and after it was raised as far as possible.
/// `None`: there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenFileLimit {
    old_limit: Option<usize>,
    new_limit: Option<usize>,
}

#[cfg(target_os = "linux")]
impl OpenFileLimit {
    /// Raises the limit; if the system refuses, it is unchanged.
    pub(super) fn raise() -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let now = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: now.maximum, maximum: now.maximum };
        let old_limit = Self::read().new_limit;
        if now.current != now.maximum
            && let Err(error) = setrlimit(Resource::Nofile, raised)
        {
            log::warn!("the limit on open files cannot be raised: {error}");
        }
        Self { old_limit, ..Self::read() }
    }

    /// Reads the limit.
    pub(super) fn read() -> Self {
        use rustix::process::{Resource, getrlimit};
        let now = getrlimit(Resource::Nofile).current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self { old_limit: now, new_limit: now }
    }
}

#[cfg(not(target_os = "linux"))]
impl OpenFileLimit {
    /// On other systems there is no limit to read; accepting pauses when no descriptor is left.
    pub(super) fn raise() -> Self {
        Self::read()
    }

    pub(super) fn read() -> Self {
        Self { old_limit: None, new_limit: None }
    }
}

impl OpenFileLimit {
    /// The limit on connections: the configured one, if there are enough descriptors for it.
    ///
    /// # Errors
    /// The limit leaves no descriptor for any connection.
    pub(super) fn conns_max(self, config: &Config) -> Result<usize, StartError> {
        let reserved = reserved(config);
        let Some(limit) = self.new_limit else { return Ok(config.connections_max) };
        match limit.saturating_sub(reserved) {
            0 => Err(StartError(format!(
                "the limit on open files (ulimit -n) is {limit}: the server itself needs {reserved} of them, and each connection one"
            ))),
            left => Ok(config.connections_max.min(left)),
        }
    }

    /// Logs the limit, and warns if it is too low for the configuration.
    pub(super) fn log(self, config: &Config) {
        let (Some(before), Some(after)) = (self.old_limit, self.new_limit) else { return };
        let (reserved, wanted) = (reserved(config), config.connections_max);
        let left = after.saturating_sub(reserved);
        let raised = if before == after { String::new() } else { format!(" (raised from {before})") };
        let numbers = format!(
            "the limit on open files is {after}{raised}: {reserved} are kept for the store and the server, {left} are left for connections"
        );
        if wanted > left {
            log::warn!("{numbers}; --connections-max {wanted} is more than that, so it is {left}");
        } else {
            log::info!("{numbers}, of which --connections-max is {wanted}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_the_descriptors_that_the_store_does_not_need() {
        let limit = |new_limit| OpenFileLimit { old_limit: new_limit, new_limit };
        let with = |store, connections_max| Config {
            store,
            connections_max,
            data_threads: 4,
            admin: AdminPlace::Off,
            ..Config::default()
        };
        let sqlite = with(StoreUrl::Sqlite("x".into()), 1_000);
        assert_eq!(limit(Some(1_024)).conns_max(&sqlite).unwrap(), 1_000);
        assert_eq!(limit(Some(100)).conns_max(&sqlite).unwrap(), 100 - OWN - SQLITE);
        assert_eq!(limit(None).conns_max(&sqlite).unwrap(), 1_000);
        let managed = Config { admin: AdminPlace::Auto, admin_connections_max: 5, ..sqlite };
        assert_eq!(limit(Some(100)).conns_max(&managed).unwrap(), 100 - OWN - SQLITE - ADMIN - 5);
        let mysql = with(StoreUrl::Mysql("mysql://h/d".into()), 1_000);
        assert_eq!(limit(Some(100)).conns_max(&mysql).unwrap(), 100 - OWN - 20);
        let why = limit(Some(20)).conns_max(&mysql).unwrap_err().to_string();
        assert!(why.contains("ulimit -n") && why.contains("20") && why.contains("36"), "{why}");
    }
}
