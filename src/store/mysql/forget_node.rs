//! Forgets a node that will not come back, so that its number is free.

use super::fault;
use super::named_lock::{LOCK_NAME, take};
use crate::chat::contract::{NodeId, NodeIncarnation};
use crate::store::StoreError;
use mysql::prelude::Queryable;
use mysql::{Conn, Value};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Users whose whereabouts are read and changed at a time.
const USERS_AT_ONCE: usize = 1_000;

/// The result of forgetting a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgetNodeResult {
    /// It is forgotten. It was the last one that these users were on.
    Done {
        /// So many.
        users: u64,
    },
    /// There is no node of this name.
    Unknown,
    /// It has not stopped, and was not fenced.
    Lives,
    /// The time is over. The next call goes on where this one has stopped.
    Unfinished,
}

/// How far the whereabouts were walked through for a node that is to be forgotten. Nothing that was
/// passed can belong to it later: none of its transactions commits any more.
#[derive(Debug, Default)]
pub(super) struct ForgetNodeProgress(Mutex<Option<ForgetNodeWalkPosition>>);

#[derive(Clone, Debug)]
struct ForgetNodeWalkPosition {
    incarnation: NodeIncarnation,
    after: Vec<u8>,
    users: u64,
}

impl ForgetNodeProgress {
    fn of(&self, incarnation: NodeIncarnation) -> ForgetNodeWalkPosition {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.filter(|position| position.incarnation == incarnation).unwrap_or(ForgetNodeWalkPosition {
            incarnation,
            after: Vec::new(),
            users: 0,
        })
    }

    fn set(&self, position: Option<ForgetNodeWalkPosition>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }
}

/// A node as its row has it.
struct NodeToForget {
    last: NodeIncarnation,
    hlc_limit: u64,
}

/// Forgets the node of this name. Its number may be given to another one afterwards, which begins
/// above everything that the one before has used: epochs, and numbers of pushes.
pub(super) fn forget(
    conn: &mut Conn,
    name: &str,
    progress: &ForgetNodeProgress,
    until: Instant,
) -> Result<ForgetNodeResult, StoreError> {
    let sql = "SELECT node, epoch, renewed, hlc_limit FROM nodes WHERE name = ?";
    let found: Option<(u16, u64, u64, u64)> =
        conn.exec_first(sql, (name.as_bytes(),)).map_err(|error| fault(&error).0)?;
    let Some((node, epoch, beats, hlc_limit)) = found else { return Ok(ForgetNodeResult::Unknown) };
    let node = NodeId::new(node).ok_or_else(|| StoreError::Corrupt(format!("it has a node of the number {node}")))?;
    let last = NodeIncarnation { node, epoch };
    if beats > 0 {
        // Not fenced yet: the others do it within some seconds, or it runs.
        return Ok(ForgetNodeResult::Lives);
    }
    let stopped = NodeToForget { last, hlc_limit };
    // Without the lock, because it takes long in a large table, and nodes may start meanwhile. If
    // this node starts, it has another epoch, and keeps the users who log in there.
    let Some(users) = release_users(conn, &stopped, progress, until)? else {
        return Ok(ForgetNodeResult::Unfinished);
    };
    // With it no node can start meanwhile.
    if !take(conn, LOCK_NAME)? {
        return Err(StoreError::Unavailable("a node starts on it just now".into()));
    }
    match remove(conn, &stopped)? {
        true => {
            progress.set(None);
            Ok(ForgetNodeResult::Done { users })
        }
        // Another call was faster, or it has started meanwhile: a cluster of databases does not
        // share the lock.
        false => {
            let rest: Option<u16> = conn
                .exec_first("SELECT node FROM nodes WHERE name = ?", (name.as_bytes(),))
                .map_err(|error| fault(&error).0)?;
            Ok(if rest.is_none() { ForgetNodeResult::Unknown } else { ForgetNodeResult::Lives })
        }
    }
}

/// Its users belong to no node: their next log-in asks nobody. Their numbers go on above its own.
/// Returns the number of users. `None`: the time is over.
fn release_users(
    conn: &mut Conn,
    stopped: &NodeToForget,
    progress: &ForgetNodeProgress,
    until: Instant,
) -> Result<Option<u64>, StoreError> {
    let NodeToForget { last: NodeIncarnation { node, epoch }, hlc_limit } = stopped;
    let mut position = progress.of(stopped.last);
    // There is no index by node: the table is walked through once, along its key.
    let part_sql = format!(
        "SELECT MAX(user_name), COUNT(IF(node = ? AND node_epoch <= ?, 1, NULL)) FROM \
         (SELECT user_name, node, node_epoch FROM whereabouts WHERE user_name > ? \
         ORDER BY user_name LIMIT {USERS_AT_ONCE}) AS part"
    );
    loop {
        let part: Option<(Option<Vec<u8>>, u64)> =
            conn.exec_first(&part_sql, (node.get(), *epoch, &position.after)).map_err(|error| fault(&error).0)?;
        let Some((Some(last), hits)) = part else { return Ok(Some(position.users)) };
        if hits > 0 {
            // A later life of it, if there is one, keeps its users.
            let sql = "UPDATE whereabouts SET node = 0, floor = GREATEST(floor, ?) \
                       WHERE user_name > ? AND user_name <= ? AND node = ? AND node_epoch <= ?";
            let values: Vec<Value> = vec![
                (*hlc_limit).into(),
                position.after.into(),
                last.clone().into(),
                node.get().into(),
                (*epoch).into(),
            ];
            conn.exec_drop(sql, values).map_err(|error| fault(&error).0)?;
            position.users += conn.affected_rows();
        }
        position.after = last;
        progress.set(Some(position.clone()));
        // At least one part was done: repeated calls reach the end.
        if Instant::now() >= until {
            return Ok(None);
        }
    }
}

/// Removes its rows, unless it has begun another life. `false`: it has.
fn remove(conn: &mut Conn, stopped: &NodeToForget) -> Result<bool, StoreError> {
    let NodeToForget { last: NodeIncarnation { node, epoch }, hlc_limit } = stopped;
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
