//! The epochs of nodes: how an incarnation ends, by itself or by a fence, and whether it still
//! runs.
//!
//! Each node has an epoch, which is in its row of `nodes` and in its rows of `lanes`. One
//! transaction raises it in all these rows, and increments the number of the view. So after the new
//! view can be read, no transaction of the old epoch commits any more.

use super::fault;
use super::lanes::{BEAT_LANE, FENCE_PAUSE_MAX, FENCE_TRIES, LANES, PROBE_LANE, kill_holders};
use super::named_lock::holder;
use super::node_mark::NodeRowStatusMark;
use super::schema::KNOWN;
use super::signs::cluster as cluster_of_databases;
use crate::chat::contract::{NodeId, NodeIncarnation};
use crate::store::StoreError;
use crate::versions::{FRAME_MAX, FRAME_MIN};
use mysql::Conn;
use mysql::prelude::Queryable;
use std::time::Duration;

/// A node that is alive gives a sign of life within this time.
const LIVES_WITHIN: Duration = Duration::from_millis(2_500);

/// The name of a lock, as SQL, by which a connection of a node is found: that of its lane, or in
/// lane 0 the one that gives signs of life. It has at most 64 characters.
pub(super) fn lock(who: NodeIncarnation, lane: u16) -> String {
    format!("CONCAT('hongyan:', LEFT(SHA2(DATABASE(), 256), 24), '-{:x}-{:x}-{lane:x}')", who.node.get(), who.epoch)
}

fn run(conn: &mut Conn, sql: String) -> Result<u64, StoreError> {
    conn.query_drop(sql).map_err(|error| fault(&error).0)?;
    Ok(conn.affected_rows())
}

/// The epoch of a node and its signs of life.
pub(super) fn state(conn: &mut Conn, node: NodeId) -> Result<(u64, u64), StoreError> {
    let sql = format!("SELECT epoch, renewed FROM nodes WHERE node = {}", node.get());
    let found: Option<(u64, u64)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    found.ok_or_else(|| StoreError::Corrupt(format!("its table nodes has no row of the node {}", node.get())))
}

/// Is this incarnation of a node still running? If its connection has ended, it was killed. The
/// signs of life are watched only where that connection may be on another server of a database
/// cluster.
pub(super) fn is_alive(conn: &mut Conn, who: NodeIncarnation, beats: u64) -> Result<bool, StoreError> {
    if holder(conn, &lock(who, BEAT_LANE))?.is_none() && cluster_of_databases(conn)?.is_none() {
        return Ok(false);
    }
    std::thread::sleep(LIVES_WITHIN);
    let (epoch, after) = state(conn, who.node)?;
    // A fenced node gives none.
    Ok(after > 0 && (epoch, after) != (who.epoch, beats))
}

/// Fences an incarnation of a node.
pub(super) fn fence(conn: &mut Conn, who: NodeIncarnation) -> Result<bool, StoreError> {
    raise_epoch(conn, who, EpochRaiseCause::Fenced)
}

/// The same while the tables may be too old for a mark.
pub(super) fn fence_unmarked(conn: &mut Conn, who: NodeIncarnation) -> Result<bool, StoreError> {
    raise_epoch(conn, who, EpochRaiseCause::FencedUnmarked)
}

/// Ends an incarnation of this node itself.
pub(super) fn leave(conn: &mut Conn, me: NodeIncarnation) -> Result<bool, StoreError> {
    raise_epoch(conn, me, EpochRaiseCause::Stopped)
}

/// Why an epoch is raised.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum EpochRaiseCause {
    /// An incarnation has ended by itself.
    Stopped,
    /// Another node ends it.
    Fenced,
    /// The same, on tables that may have no column for a mark.
    FencedUnmarked,
    /// The next one begins.
    Begins,
}

/// Raises the epoch of a node if it is this one, and ends transactions that do not end by
/// themselves. Returns `false` if the node has another epoch.
pub(super) fn raise_epoch(conn: &mut Conn, from: NodeIncarnation, to: EpochRaiseCause) -> Result<bool, StoreError> {
    let mut pause = Duration::from_millis(1);
    for tried in 1.. {
        // The update would wait for transactions that the node has begun.
        kill_holders(conn, (BEAT_LANE..PROBE_LANE).map(|lane| lock(from, lane)))?;
        match try_raise_epoch(conn, from, to) {
            Err(StoreError::Busy(_)) if tried < FENCE_TRIES => {}
            result => return result,
        }
        // On a database cluster a transaction of the node wins now and then.
        std::thread::sleep(pause);
        pause = (pause * 2).min(FENCE_PAUSE_MAX);
    }
    Err(StoreError::Busy("the last try has failed".into()))
}

fn try_raise_epoch(conn: &mut Conn, from: NodeIncarnation, to: EpochRaiseCause) -> Result<bool, StoreError> {
    run(conn, "START TRANSACTION".into())?;
    let raised = raise_in_transaction(conn, from, to);
    let end = if matches!(raised, Ok(true)) { "COMMIT" } else { "ROLLBACK" };
    let ended = run(conn, end.into());
    let raised = raised?;
    ended.map(|_| raised)
}

fn raise_in_transaction(conn: &mut Conn, from: NodeIncarnation, to: EpochRaiseCause) -> Result<bool, StoreError> {
    let (node, old, new) = (from.node.get(), from.epoch, from.epoch + 1);
    let lanes = run(conn, format!("UPDATE lanes SET epoch = {new} WHERE node = {node} AND epoch = {old}"))?;
    let change = match to {
        // It keeps its limit: its numbers end there.
        EpochRaiseCause::Stopped => format!("renewed = 0, {}", NodeRowStatusMark::Stopped.assignments(new)),
        EpochRaiseCause::FencedUnmarked => "renewed = 0".to_owned(),
        EpochRaiseCause::Fenced => format!("renewed = 0, {}", NodeRowStatusMark::Fenced.assignments(new)),
        EpochRaiseCause::Begins => {
            let build = env!("CARGO_PKG_VERSION");
            format!(
                "renewed = 1, build = '{build}', frame_min = {FRAME_MIN}, frame_max = {FRAME_MAX}, schema_max = {KNOWN}"
            )
        }
    };
    let sql = format!("UPDATE nodes SET epoch = {new}, {change} WHERE node = {node} AND epoch = {old}");
    if run(conn, sql)? != 1 {
        return Ok(false);
    }
    if to == EpochRaiseCause::Begins && lanes != LANES {
        // At the first start it has none.
        let rows: Vec<String> = (BEAT_LANE..=PROBE_LANE).map(|lane| format!("({node}, {lane}, {new}, 0)")).collect();
        let rows = rows.join(", ");
        let sql =
            format!("INSERT INTO lanes (node, lane, epoch, n) VALUES {rows} ON DUPLICATE KEY UPDATE epoch = {new}");
        run(conn, sql)?;
    }
    // It was meant for an incarnation that has ended.
    run(conn, format!("DELETE FROM mail WHERE node = {node}"))?;
    run(conn, "UPDATE cluster SET view = view + 1".into())?;
    Ok(true)
}
