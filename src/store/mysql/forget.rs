//! Forgets a node that will not come back, so that its number is free.

use super::fault;
use super::named_lock::{LOCK_NAME, take};
use crate::chat::contract::{Incarnation, NodeId};
use crate::store::StoreError;
use mysql::prelude::Queryable;
use mysql::{Conn, Value};

/// Users whose whereabouts are read and changed at a time.
const USERS_AT_ONCE: usize = 1_000;

/// What has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgetResult {
    /// It is forgotten. It was the last one that these users were on.
    Done {
        /// So many.
        users: u64,
    },
    /// There is no node of this name.
    Unknown,
    /// It has not stopped, and was not fenced.
    Lives,
}

/// A node as its row has it.
struct StoppedNode {
    last: Incarnation,
    hlc_limit: u64,
}

/// Forgets the node of this name. Its number may be given to another one afterwards, which begins
/// above everything that the one before has used: epochs, and numbers of pushes.
pub(super) fn forget(conn: &mut Conn, name: &str) -> Result<ForgetResult, StoreError> {
    // With it no node can start meanwhile.
    if !take(conn, LOCK_NAME)? {
        return Err(StoreError::Unavailable("a node starts on it just now".into()));
    }
    let sql = "SELECT node, epoch, renewed, hlc_limit FROM nodes WHERE name = ?";
    let found: Option<(u16, u64, u64, u64)> =
        conn.exec_first(sql, (name.as_bytes(),)).map_err(|error| fault(&error).0)?;
    let Some((node, epoch, beats, hlc_limit)) = found else { return Ok(ForgetResult::Unknown) };
    let node = NodeId::new(node).ok_or_else(|| StoreError::Corrupt(format!("it has a node of the number {node}")))?;
    let last = Incarnation { node, epoch };
    if beats > 0 {
        // Not fenced yet: the others do it within some seconds, or it runs.
        return Ok(ForgetResult::Lives);
    }
    let stopped = StoppedNode { last, hlc_limit };
    let users = release_users(conn, &stopped)?;
    match remove(conn, &stopped)? {
        true => Ok(ForgetResult::Done { users }),
        // By way of another server of a cluster of databases, which has a lock of its own.
        false => Ok(ForgetResult::Lives),
    }
}

/// Its users belong to no node: their next log-in asks nobody. Their numbers go on above its own.
fn release_users(conn: &mut Conn, stopped: &StoppedNode) -> Result<u64, StoreError> {
    let StoppedNode { last: Incarnation { node, epoch }, hlc_limit } = stopped;
    let (mut after, mut released) = (Vec::new(), 0);
    loop {
        // There is no index by node: the table is walked through once, along its key.
        let sql =
            format!("SELECT user_name FROM whereabouts WHERE user_name > ? ORDER BY user_name LIMIT {USERS_AT_ONCE}");
        let names: Vec<Vec<u8>> = conn.exec(sql, (&after,)).map_err(|error| fault(&error).0)?;
        let Some(last) = names.last().cloned() else { return Ok(released) };
        // A later life of it, if there is one, keeps its users.
        let sql = "UPDATE whereabouts SET node = 0, floor = GREATEST(floor, ?) \
                   WHERE user_name > ? AND user_name <= ? AND node = ? AND node_epoch <= ?";
        let values: Vec<Value> =
            vec![(*hlc_limit).into(), after.into(), last.clone().into(), node.get().into(), (*epoch).into()];
        conn.exec_drop(sql, values).map_err(|error| fault(&error).0)?;
        released += conn.affected_rows();
        after = last;
    }
}

/// Removes its rows, unless it has begun another life. `false`: it has.
fn remove(conn: &mut Conn, stopped: &StoppedNode) -> Result<bool, StoreError> {
    let StoppedNode { last: Incarnation { node, epoch }, hlc_limit } = stopped;
    let node = node.get();
    let mut run = |sql: String| conn.query_drop(sql).map(|()| conn.affected_rows()).map_err(|error| fault(&error).0);
    run("START TRANSACTION".into())?;
    let removed =
        run(format!("DELETE FROM nodes WHERE node = {node} AND epoch = {epoch} AND renewed = 0")).and_then(|rows| {
            if rows == 0 {
                return Ok(false);
            }
            run(format!("DELETE FROM lanes WHERE node = {node}"))?;
            run(format!("DELETE FROM mail WHERE node = {node}"))?;
            run(format!(
                "UPDATE cluster SET view = view + 1, epoch_floor = GREATEST(epoch_floor, {epoch}), \
                 seq_floor = GREATEST(seq_floor, {hlc_limit})"
            ))?;
            Ok(true)
        });
    let end = run(if matches!(removed, Ok(true)) { "COMMIT" } else { "ROLLBACK" }.into());
    let removed = removed?;
    end.map(|_| removed)
}
