//! Watches the active server until it has stopped or shows no sign of life.

use super::cluster_checks::check_no_cluster;
use super::connect::MysqlConnector;
use super::fault;
use super::lanes::{ALONE, PROBE_LANE};
use super::schema::{FIRST_OF_CLUSTERS, KNOWN, usable_version};
use super::signs::{ActiveServerLivenessInDatabase, cluster, is_locked, read};
use crate::store::StoreError;
use mysql::Conn;
use mysql::prelude::Queryable;
use std::time::{Duration, Instant};

/// The silence after which a server without its lock counts as gone. The server might be about to
/// take the lock again on another connection.
const SILENT_WITHOUT_LOCK: Duration = Duration::from_secs(2);
/// The longest silence that one check may add: a standby that was frozen, perhaps together with the
/// database, has seen nothing meanwhile.
const LOOK_COUNTS_FOR: Duration = Duration::from_secs(1);

/// The result of one check of the active server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActiveServerCheckResult {
    /// It is active, or may be.
    Active,
    /// It has stopped, or shows no sign of life.
    Gone {
        /// Its epoch.
        epoch: u64,
    },
}

/// Watches a database for the end of its active server.
pub struct ActiveServerWatch {
    server: MysqlConnector,
    silence_max: Duration,
    conn: Option<Conn>,
    silence: ActiveServerSilence,
}

impl ActiveServerWatch {
    /// A server that holds the lock counts as gone when it is silent for longer than `silence_max`.
    #[must_use]
    pub fn new(server: MysqlConnector, silence_max: Duration) -> Self {
        Self { server, silence_max, conn: None, silence: ActiveServerSilence::default() }
    }

    /// Checks once.
    ///
    /// # Errors
    /// The database cannot be used. That says nothing about the active server, so the measured
    /// silence is reset.
    pub fn check(&mut self) -> Result<ActiveServerCheckResult, StoreError> {
        let found = self.read_state();
        if found.is_err() {
            (self.conn, self.silence) = (None, ActiveServerSilence::default());
        }
        let Some(found) = found? else { return Ok(ActiveServerCheckResult::Active) };
        Ok(self.silence.update(found, Instant::now(), self.silence_max))
    }

    /// Reads the state. `None`: the tables are of an older version, whose servers give no signs of
    /// life, and one of them holds the lock.
    fn read_state(&mut self) -> Result<Option<ActiveServerLivenessInDatabase>, StoreError> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let mut conn = self.server.session()?;
                if let Some(cluster) = cluster(&mut conn)? {
                    // A Galera node that lags behind would show old signs of life.
                    conn.query_drop(cluster.reads_are_current()).map_err(|error| fault(&error).0)?;
                }
                if usable_version(&mut conn)? >= FIRST_OF_CLUSTERS {
                    check_no_cluster(&mut conn)?;
                }
                conn
            }
        };
        let found = if usable_version(&mut conn)? >= KNOWN {
            // A database that is read-only, or whose disk hangs, would not take signs of life
            // either: test that it takes writes.
            conn.query_drop(format!("UPDATE lanes SET n = n + 1 WHERE node = {ALONE} AND lane = {PROBE_LANE}"))
                .map_err(|error| fault(&error).0)?;
            Some(read(&mut conn)?)
        } else {
            let is_locked = is_locked(&mut conn)?;
            (!is_locked).then_some(ActiveServerLivenessInDatabase { epoch: 0, beats: 0, is_locked })
        };
        self.conn = Some(conn);
        Ok(found)
    }
}

/// The time without a sign of life of the active server, as far as this process has observed.
#[derive(Default)]
struct ActiveServerSilence {
    last: Option<(ActiveServerLivenessInDatabase, Instant)>,
    duration: Duration,
    /// The lock was seen here, so a free lock means that the server is gone. On a database cluster
    /// another node may have the lock.
    has_held_lock: bool,
}

impl ActiveServerSilence {
    fn update(
        &mut self,
        found: ActiveServerLivenessInDatabase,
        now: Instant,
        silent_max: Duration,
    ) -> ActiveServerCheckResult {
        let gone = ActiveServerCheckResult::Gone { epoch: found.epoch };
        if found.epoch == 0 {
            return gone;
        }
        match self.last {
            Some((last, at)) if (last.epoch, last.beats) == (found.epoch, found.beats) => {
                self.duration += now.saturating_duration_since(at).min(LOOK_COUNTS_FOR);
            }
            _ => self.duration = Duration::ZERO,
        }
        self.last = Some((found, now));
        self.has_held_lock |= found.is_locked;
        let was_killed = self.has_held_lock && !found.is_locked;
        let enough = if was_killed { SILENT_WITHOUT_LOCK.min(silent_max) } else { silent_max };
        if self.duration >= enough { gone } else { ActiveServerCheckResult::Active }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT_MAX: Duration = Duration::from_secs(5);

    fn found(beats: u64, is_locked: bool) -> ActiveServerLivenessInDatabase {
        ActiveServerLivenessInDatabase { epoch: 7, beats, is_locked }
    }

    /// The number of checks, two a second, until a server counts as gone.
    fn looks(silence: &mut ActiveServerSilence, start: Instant, found: ActiveServerLivenessInDatabase) -> Option<u32> {
        (0..60).find(|&look| {
            let now = start + look * Duration::from_millis(500);
            silence.update(found, now, SILENT_MAX) == ActiveServerCheckResult::Gone { epoch: 7 }
        })
    }

    #[test]
    fn a_server_is_gone_after_silence_and_sooner_when_its_lock_is_seen_to_go() {
        let start = Instant::now();
        assert_eq!(looks(&mut ActiveServerSilence::default(), start, found(1, true)), Some(10));
        assert_eq!(
            looks(&mut ActiveServerSilence::default(), start, found(1, false)),
            Some(10),
            "its lock may be elsewhere"
        );
        let mut silence = ActiveServerSilence::default();
        silence.update(found(1, true), start, SILENT_MAX);
        assert_eq!(looks(&mut silence, start, found(1, false)), Some(4));
        let stopped = ActiveServerLivenessInDatabase { epoch: 0, ..found(1, true) };
        assert_eq!(
            ActiveServerSilence::default().update(stopped, start, SILENT_MAX),
            ActiveServerCheckResult::Gone { epoch: 0 }
        );
    }

    #[test]
    fn a_sign_of_life_begins_the_silence_anew_and_a_gap_between_looks_counts_little() {
        let start = Instant::now();
        let mut silence = ActiveServerSilence::default();
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(silence.update(found(second / 4, true), now, SILENT_MAX), ActiveServerCheckResult::Active);
        }
        // This process was frozen, perhaps together with the others.
        let later = start + Duration::from_secs(3_600);
        assert_eq!(silence.update(found(14, true), later, SILENT_MAX), ActiveServerCheckResult::Active);
    }
}
