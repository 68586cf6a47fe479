//! The state of the active server in the database: whether it has stopped, holds its lock, and
//! shows signs of life.

use super::fault;
use super::lanes::{ALONE, BEAT_LANE, PROBE_LANE};
use super::named_lock::LOCK_NAME;
use crate::store::StoreError;
use mysql::Conn;
use mysql::prelude::Queryable;
use std::time::Duration;

/// The interval between two signs of life.
pub(super) const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A server on another Galera node shows a sign of life within this time.
const LIVES_WITHIN: Duration = Duration::from_millis(2_500);

/// The state of the active server, as read from the database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ActiveServerLivenessInDatabase {
    pub(super) epoch: u64,
    /// The count of its signs of life; every transaction is one.
    pub(super) beats: u64,
    /// The lock is held on this database server.
    pub(super) is_locked: bool,
}

pub(super) fn read(conn: &mut Conn) -> Result<ActiveServerLivenessInDatabase, StoreError> {
    let sql = format!(
        "SELECT COALESCE(MAX(IF(lane = {BEAT_LANE}, epoch, 0)), 0), CAST(COALESCE(SUM(n), 0) AS UNSIGNED), \
         IS_USED_LOCK({LOCK_NAME}) IS NOT NULL FROM lanes WHERE node = {ALONE} AND lane < {PROBE_LANE}"
    );
    let found: Option<(u64, u64, bool)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    let (epoch, beats, is_locked) = found.unwrap_or_default();
    Ok(ActiveServerLivenessInDatabase { epoch, beats, is_locked })
}

pub(super) fn is_locked(conn: &mut Conn) -> Result<bool, StoreError> {
    let locked: Option<bool> =
        conn.query_first(format!("SELECT IS_USED_LOCK({LOCK_NAME}) IS NOT NULL")).map_err(|error| fault(&error).0)?;
    Ok(locked.unwrap_or(false))
}

/// The kind of database cluster: several database servers with the same data, all of which take
/// writes.
#[derive(Clone, Copy)]
pub(super) enum MysqlMultiPrimaryClusterKind {
    /// Galera.
    Galera,
    /// MySQL's group replication.
    Group,
}

impl MysqlMultiPrimaryClusterKind {
    /// The statement after which the session's reads see everything that was committed on any node
    /// before.
    pub(super) fn reads_are_current(self) -> &'static str {
        match self {
            Self::Galera => "SET SESSION wsrep_sync_wait = 1",
            Self::Group => "SET SESSION group_replication_consistency = 'BEFORE'",
        }
    }
}

/// The kind of cluster to which this database server belongs; `None`: it is alone.
pub(super) fn cluster(conn: &mut Conn) -> Result<Option<MysqlMultiPrimaryClusterKind>, StoreError> {
    let sql = "SHOW GLOBAL VARIABLES WHERE (Variable_name = 'wsrep_on' AND Value = 'ON') \
               OR (Variable_name = 'group_replication_group_name' AND Value <> '')";
    let found: Option<(String, String)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    Ok(found.map(|(name, _)| {
        if name == "wsrep_on" { MysqlMultiPrimaryClusterKind::Galera } else { MysqlMultiPrimaryClusterKind::Group }
    }))
}

/// Fails if a hongyan server shows signs of life. On a database cluster, the lock is free on this
/// node even if a server uses the database through another node.
pub(super) fn check_no_server_alive(conn: &mut Conn) -> Result<(), StoreError> {
    if cluster(conn)?.is_none() {
        return Ok(());
    }
    let before = read(conn)?;
    if before.epoch == 0 {
        return Ok(());
    }
    std::thread::sleep(LIVES_WITHIN);
    let after = read(conn)?;
    if (before.epoch, before.beats) == (after.epoch, after.beats) {
        return Ok(());
    }
    Err(StoreError::InUse("another server uses this database, by way of another node of its cluster".into()))
}

const _: () = assert!(BEAT_EVERY.as_millis() * 2 < LIVES_WITHIN.as_millis());
