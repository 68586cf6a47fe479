//! What the database says about the server that writes: whether it has stopped, holds its lock, and
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
/// A server on another node of a cluster shows a sign of life within this.
const LIVES_WITHIN: Duration = Duration::from_millis(2_500);

/// What the database says about the server that writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) epoch: u64,
    /// Its signs of life, and every transaction is one.
    pub(super) beats: u64,
    /// Somebody holds the lock on this database server.
    pub(super) is_locked: bool,
}

pub(super) fn read(conn: &mut Conn) -> Result<Found, StoreError> {
    let sql = format!(
        "SELECT COALESCE(MAX(IF(lane = {BEAT_LANE}, epoch, 0)), 0), CAST(COALESCE(SUM(n), 0) AS UNSIGNED), \
         IS_USED_LOCK({LOCK_NAME}) IS NOT NULL FROM lanes WHERE node = {ALONE} AND lane < {PROBE_LANE}"
    );
    let found: Option<(u64, u64, bool)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    let (epoch, beats, is_locked) = found.unwrap_or_default();
    Ok(Found { epoch, beats, is_locked })
}

pub(super) fn is_locked(conn: &mut Conn) -> Result<bool, StoreError> {
    let locked: Option<bool> =
        conn.query_first(format!("SELECT IS_USED_LOCK({LOCK_NAME}) IS NOT NULL")).map_err(|error| fault(&error).0)?;
    Ok(locked.unwrap_or(false))
}

/// Several database servers with the same data, each of which may be written to.
#[derive(Clone, Copy)]
pub(super) enum Cluster {
    /// Galera.
    Galera,
    /// MySQL's group replication.
    Group,
}

impl Cluster {
    /// The statement after which reads of the session see all that was committed before them on
    /// any node.
    pub(super) fn reads_are_current(self) -> &'static str {
        match self {
            Self::Galera => "SET SESSION wsrep_sync_wait = 1",
            Self::Group => "SET SESSION group_replication_consistency = 'BEFORE'",
        }
    }
}

/// The cluster of which this database server is a node.
pub(super) fn cluster(conn: &mut Conn) -> Result<Option<Cluster>, StoreError> {
    let sql = "SHOW GLOBAL VARIABLES WHERE (Variable_name = 'wsrep_on' AND Value = 'ON') \
               OR (Variable_name = 'group_replication_group_name' AND Value <> '')";
    let found: Option<(String, String)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    Ok(found.map(|(name, _)| if name == "wsrep_on" { Cluster::Galera } else { Cluster::Group }))
}

/// On a cluster, the lock is free on this node even if a server uses the database by way of another
/// one: its signs of life keep a second server from taking over by mistake.
pub(super) fn check_nobody_lives(conn: &mut Conn) -> Result<(), StoreError> {
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
