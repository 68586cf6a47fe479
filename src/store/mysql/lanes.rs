//! The fence between the active server and all others: a row of `lanes` for each connection that
//! writes.
//!
//! Every transaction that writes updates the row of its lane, if that row still carries the epoch
//! of its server. A server that takes over first writes its own epoch into all rows: this waits for
//! transactions under way, and transactions that begin later change no row and end. A shared lock
//! on one row would be enough on a single database server, but not on a Galera cluster, where such
//! a lock exists on one node only: there two nodes must *change* the same row to conflict.

use super::fault;
use super::named_lock::{LOCK_NAME, kill};
use super::node_identity::NodeIdentity;
use crate::store::StoreError;
use mysql::prelude::Queryable;
use mysql::{Conn, Row};
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The node of a server that uses the database alone.
pub(super) const ALONE: u16 = 0;
/// The row that counts the signs of life of the active server.
pub(super) const BEAT_LANE: u16 = 0;
/// The row by which a standby tests whether the database takes writes.
pub(super) const PROBE_LANE: u16 = 127;
pub(super) const LANES: u64 = PROBE_LANE as u64 + 1;
/// The number of tries to take over, and the longest pause between two of them. On a Galera cluster
/// a transaction of the old server may win against a try.
pub(super) const FENCE_TRIES: u32 = 40;
pub(super) const FENCE_PAUSE_MAX: Duration = Duration::from_millis(50);

/// The lanes that connections of this process use.
#[derive(Default)]
pub(super) struct FenceLaneAllocator {
    used_lanes: u128,
    last: u16,
}

/// One lane, given back when this is dropped.
pub(super) struct DbConnectionFenceLane {
    pub(super) number: u16,
    lanes: Arc<Mutex<FenceLaneAllocator>>,
}

impl DbConnectionFenceLane {
    /// Takes the free lane that was unused for the longest time: a connection that was lost in a
    /// transaction may still hold the row of a recently used lane. `None`: no lane is free.
    pub(super) fn take(lanes: &Arc<Mutex<FenceLaneAllocator>>) -> Option<Self> {
        let mut all = lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.last;
        let order = (last + 1..PROBE_LANE).chain(BEAT_LANE + 1..=last);
        let number = order.into_iter().find(|number| all.used_lanes >> number & 1 == 0)?;
        all.used_lanes |= 1 << number;
        all.last = number;
        Some(Self { number, lanes: Arc::clone(lanes) })
    }
}

impl Drop for DbConnectionFenceLane {
    fn drop(&mut self) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).used_lanes &= !(1 << self.number);
    }
}

/// The lane of a connection that writes, with what the connection needs for its transactions.
pub(super) struct WriterFenceLane {
    /// The statements that begin a transaction. The second one changes one row; if it does not,
    /// another server has taken over or this node was fenced.
    pub(super) begin_statements: Arc<str>,
    /// The identity of this node.
    pub(super) seat: Option<Arc<NodeIdentity>>,
    pub(super) lane: DbConnectionFenceLane,
    /// For a server that uses the database alone: tells whether its lock is on the database server
    /// of this connection.
    pub(super) lock_moves: Option<LockMoves>,
    /// Keeps the lock as long as a connection may write.
    _guard: Option<Arc<dyn Any + Send + Sync>>,
}

/// How often the lock of this process was taken, perhaps on another database server, as one
/// connection has seen it. A connection writes only where the lock is. So if a write was committed
/// on a new primary, connections to the old one know that they are to be replaced.
pub(super) struct LockMoves {
    count: Arc<AtomicU64>,
    seen: u64,
}

impl LockMoves {
    /// To be called before it is checked that the lock is on the server of the connection.
    pub(super) fn now(count: &Arc<AtomicU64>) -> Self {
        Self { count: Arc::clone(count), seen: count.load(Ordering::SeqCst) }
    }

    pub(super) fn has_moved(&self) -> bool {
        self.count.load(Ordering::SeqCst) != self.seen
    }
}

impl WriterFenceLane {
    /// For a lane of a server that uses the database alone; `connection` is the one that holds the
    /// lock. The lock itself is checked, too: a copy takes it without a take-over.
    pub(super) fn new(
        lane: DbConnectionFenceLane,
        epoch: u64,
        connection: u64,
        (guard, lock_moves): (Arc<dyn Any + Send + Sync>, LockMoves),
    ) -> Self {
        let begin = format!(
            "START TRANSACTION; UPDATE lanes SET n = n + 1 \
             WHERE node = {ALONE} AND lane = {} AND epoch = {epoch} AND IS_USED_LOCK({LOCK_NAME}) = {connection}",
            lane.number
        );
        Self { begin_statements: begin.into(), seat: None, lock_moves: Some(lock_moves), lane, _guard: Some(guard) }
    }

    /// For a lane of a cluster node.
    pub(super) fn of_node(lane: DbConnectionFenceLane, seat: Arc<NodeIdentity>) -> Self {
        let begin = format!(
            "START TRANSACTION; UPDATE lanes SET n = n + 1 WHERE node = {} AND lane = {} AND epoch = {}",
            seat.incarnation.node.get(),
            lane.number,
            seat.incarnation.epoch
        );
        Self { begin_statements: begin.into(), seat: Some(seat), lock_moves: None, lane, _guard: None }
    }
}

/// The mark of a process in the database: the value in `fence`, and the name of a second lock,
/// which the connection with the first lock holds.
pub(super) fn mark_of(epoch: u64) -> String {
    format!("hongyan-{epoch:016x}")
}

/// The name, as SQL, of the lock by which the connection on this lane can be found.
pub(super) fn lane_lock(epoch: u64, lane: u16) -> String {
    format!("'{}-{lane}'", mark_of(epoch))
}

/// The epoch of the active server; 0 after a clean stop; `None` if there was no server yet.
pub(super) fn epoch(conn: &mut Conn) -> Result<Option<u64>, StoreError> {
    epoch_of_lane(conn, ALONE, BEAT_LANE).map_err(|error| fault(&error).0)
}

pub(super) fn epoch_of_lane(conn: &mut Conn, node: u16, lane: u16) -> mysql::Result<Option<u64>> {
    conn.query_first(format!("SELECT epoch FROM lanes WHERE node = {node} AND lane = {lane}"))
}

/// Makes this server the active one. Afterwards no transaction of another server is under way, and
/// none is ever committed again. `expected`: take over only if the present epoch is this one.
pub(super) fn take_over(conn: &mut Conn, own: u64, expected: Option<u64>) -> Result<(), StoreError> {
    if let Some(silent) = expected {
        // Its open transactions would delay the take-over.
        kill_connections(conn, silent)?;
    }
    let mut pause = Duration::from_millis(1);
    for tried in 1.. {
        let before = epoch(conn)?.unwrap_or(0);
        if expected.is_some_and(|expected| expected != before) {
            return Err(StoreError::InUse("another server has taken it over first".into()));
        }
        let error = match write_epoch(conn, own, before) {
            Ok(true) => return Ok(()),
            Ok(false) => StoreError::Busy("another server takes it over at the same time".into()),
            Err(error) => fault(&error).0,
        };
        if !matches!(error, StoreError::Busy(_)) || tried == FENCE_TRIES {
            return Err(error);
        }
        // A transaction of the old server does not end, because that server is frozen or its host
        // is gone: kill its connections. Connections to other Galera nodes cannot be killed here;
        // their transactions lose against this one.
        kill_connections(conn, before)?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(FENCE_PAUSE_MAX);
    }
    Err(StoreError::Busy("the last try has failed".into()))
}

/// Writes the epoch into all rows, if the predecessor is still the same, in one statement: on a
/// Galera cluster it fails if the old server commits something meanwhile.
fn write_epoch(conn: &mut Conn, own: u64, before: u64) -> mysql::Result<bool> {
    conn.query_drop(format!("UPDATE lanes SET epoch = {own} WHERE node = {ALONE} AND epoch = {before}"))?;
    if conn.affected_rows() != LANES {
        // Rows are missing (all of them at the first start), or another server was faster: the
        // first row decides.
        conn.query_drop(format!(
            "INSERT IGNORE INTO lanes (node, lane, epoch, n) VALUES ({ALONE}, {BEAT_LANE}, {own}, 0)"
        ))?;
        let first: Option<u64> =
            conn.query_first(format!("SELECT epoch FROM lanes WHERE node = {ALONE} AND lane = {BEAT_LANE}"))?;
        if first != Some(own) {
            return Ok(false);
        }
        let rows: Vec<String> = (BEAT_LANE..=PROBE_LANE).map(|lane| format!("({ALONE}, {lane}, {own}, 0)")).collect();
        let rows = rows.join(", ");
        conn.query_drop(format!(
            "INSERT INTO lanes (node, lane, epoch, n) VALUES {rows} ON DUPLICATE KEY UPDATE epoch = {own}"
        ))?;
    }
    // A server that knows only schema 4 reads this row.
    let mark = mark_of(own);
    conn.query_drop(format!(
        "INSERT INTO fence (one, server) VALUES (1, '{mark}') ON DUPLICATE KEY UPDATE server = '{mark}'"
    ))?;
    Ok(true)
}

/// Kills all connections of a hongyan server on this database server.
pub(super) fn kill_connections(conn: &mut Conn, epoch: u64) -> Result<(), StoreError> {
    if epoch == 0 {
        return Ok(());
    }
    let lanes = (BEAT_LANE + 1..PROBE_LANE).map(|lane| lane_lock(epoch, lane));
    kill_holders(conn, lanes.chain([format!("'{}'", mark_of(epoch))]))
}

/// Kills the connections that hold these locks.
pub(super) fn kill_holders(conn: &mut Conn, locks: impl Iterator<Item = String>) -> Result<(), StoreError> {
    let holders: Vec<String> = locks.map(|lock| format!("IS_USED_LOCK({lock})")).collect();
    let found: Option<Row> =
        conn.query_first(format!("SELECT {}", holders.join(", "))).map_err(|error| fault(&error).0)?;
    let ids = found.iter().flat_map(|row| (0..row.len()).filter_map(|at| row.get::<Option<u64>, _>(at).flatten()));
    for id in ids {
        kill(conn, id)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_used_again_only_after_all_others() {
        let lanes = Arc::default();
        let kept = DbConnectionFenceLane::take(&lanes).unwrap();
        assert_eq!(kept.number, 1);
        // One after the other, like a worker that loses its connection again and again.
        let numbers: Vec<u16> = (0..250).map(|_| DbConnectionFenceLane::take(&lanes).unwrap().number).collect();
        assert_eq!(&numbers[..125], (2..PROBE_LANE).collect::<Vec<_>>());
        assert_eq!(numbers[..125], numbers[125..]);
        let all: Vec<_> = (0..125).map(|_| DbConnectionFenceLane::take(&lanes).unwrap().number).collect();
        assert_eq!(all.len(), 125);
        let held: Vec<_> = (0..125).map(|_| DbConnectionFenceLane::take(&lanes).unwrap()).collect();
        assert!(DbConnectionFenceLane::take(&lanes).is_none());
        drop(held);
        assert!(DbConnectionFenceLane::take(&lanes).is_some());
    }
}
