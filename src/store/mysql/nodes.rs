//! The nodes of a cluster in the database: how a node joins, and how all of them are read.

use super::connect::{MysqlConnector, with_long_timeouts};
use super::epochs::{EpochRaiseCause, fence, is_alive, leave, lock, raise_epoch, state};
use super::fault;
use super::lanes::{ALONE, DbConnectionFenceLane, FenceLaneAllocator};
use super::mixed_builds::{check_frames, check_migration};
use super::named_lock::{LOCK_NAME, take};
use super::node_identity::{MAC_KEY_BYTES, NodeIdentity};
use super::node_numbers::number_of;
use super::safe_commits::why_commits_are_not_safe;
use super::schema::{FIRST_OF_CLUSTERS, KNOWN, check_no_foreign_tables, log_if_newer, migrate, usable_version};
use super::seq_max::SeqWriteLimit;
use super::signs::cluster as cluster_of_databases;
use super::values::takes_writes;
use super::{MysqlStore, lanes::WriterFenceLane};
use crate::chat::contract::{ClusterView, NodeId, NodeIncarnation, NodeRow};
use crate::store::StoreError;
use crate::versions::{FRAME_MAX, FRAME_MIN};
use mysql::prelude::Queryable;
use mysql::{Conn, Row};
use std::sync::atomic::{AtomicBool, AtomicU16};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a node that leaves waits until others have read its records, and how often it checks.
const READ_WITHIN: Duration = Duration::from_secs(1);
const READ_LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a node tries again to start an incarnation when another process was faster.
const BEGIN_TRIES: u32 = 4;
/// The length of the hash key of a cluster.
const HASH_KEY_BYTES: usize = 16;

impl std::fmt::Debug for NodeDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeDatabase").field("me", &self.seat.incarnation).finish_non_exhaustive()
    }
}

/// The database of a cluster, as one of its nodes uses it.
#[derive(Clone)]
pub struct NodeDatabase {
    pub(super) server: MysqlConnector,
    seat: Arc<NodeIdentity>,
    lanes: Arc<Mutex<FenceLaneAllocator>>,
}

impl NodeDatabase {
    /// Joins the cluster: as a new node, or as the next incarnation of this node, which fences the
    /// earlier one. Creates the tables, or upgrades them.
    ///
    /// # Errors
    /// The database cannot be reached or used, a server outside of a cluster uses it, or another
    /// process runs under this name.
    pub fn join(url: &str, name: &str) -> Result<Self, StoreError> {
        let server = MysqlConnector::new(url)?;
        let mut conn = server.session()?;
        if let Some(cluster) = cluster_of_databases(&mut conn)? {
            conn.query_drop(cluster.reads_are_current()).map_err(|error| fault(&error).0)?;
        }
        check_no_single_server(&mut conn)?;
        // Only one node at a time creates tables or takes a number. A server outside of a cluster
        // holds this lock, too.
        if !take(&mut conn, LOCK_NAME)? {
            check_no_single_server(&mut conn)?;
            return Err(StoreError::Unavailable("another server is starting on it".into()));
        }
        // A node asks this before each read, so it could serve nobody.
        if !takes_writes(&mut conn).map_err(|error| fault(&error).0)? {
            return Err(StoreError::Unavailable("its server is read-only, or does not say whether it is".into()));
        }
        if let Some(why) = why_commits_are_not_safe(&mut conn)? {
            return Err(StoreError::Unusable(why));
        }
        check_no_foreign_tables(&mut conn)?;
        let schema = usable_version(&mut conn)?;
        if schema < KNOWN {
            check_migration(&mut conn, schema)?;
            migrate(&mut server.session_with(&with_long_timeouts(&server.opts))?)?;
        }
        log_if_newer(schema);
        check_no_single_server(&mut conn)?;
        make_cluster(&mut conn)?;
        check_frames(&mut conn, name)?;
        let node = number_of(&mut conn, name)?;
        let seat = start_incarnation(&mut conn, node, name)?;
        // A database cluster does not share the lock, so nodes of two builds may have started at
        // once. By now each has seen the other, or was seen by it.
        if let Err(why) = usable_version(&mut conn).and_then(|_| check_frames(&mut conn, name)) {
            leave(&mut conn, seat.incarnation)?;
            return Err(why);
        }
        Ok(Self { server, seat: Arc::new(seat), lanes: Arc::default() })
    }

    /// The identity of this node.
    #[must_use]
    pub fn identity(&self) -> &Arc<NodeIdentity> {
        &self.seat
    }

    /// Opens one more connection.
    ///
    /// # Errors
    /// The server cannot be reached or used, or this node was fenced.
    pub fn connect(&self) -> Result<MysqlStore, StoreError> {
        let no_lane = || StoreError::Unavailable("this server has more connections to it than it needs".into());
        let lane = DbConnectionFenceLane::take(&self.lanes).ok_or_else(no_lane)?;
        let mut conn = self.session()?;
        let sql = format!(
            "SELECT epoch, GET_LOCK({}, 0), @@max_allowed_packet FROM lanes WHERE node = {} AND lane = {}",
            lock(self.seat.incarnation, lane.number),
            self.seat.incarnation.node.get(),
            lane.number
        );
        let found: Option<(u64, Option<u8>, u64)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
        match found {
            Some((epoch, Some(1), packet)) if epoch == self.seat.incarnation.epoch => {
                Ok(MysqlStore::new(conn, packet, WriterFenceLane::of_node(lane, Arc::clone(&self.seat))))
            }
            Some((epoch, ..)) if epoch == self.seat.incarnation.epoch => {
                Err(StoreError::Unavailable("the previous connection of its lane has not ended yet".into()))
            }
            found => Err(self.seat.note_other_epoch(found.map(|(epoch, ..)| epoch))),
        }
    }

    /// A connection whose reads see everything that was committed before.
    pub(super) fn session(&self) -> Result<Conn, StoreError> {
        let mut conn = self.server.session()?;
        if let Some(cluster) = cluster_of_databases(&mut conn)? {
            conn.query_drop(cluster.reads_are_current()).map_err(|error| fault(&error).0)?;
        }
        Ok(conn)
    }

    /// All nodes, in one snapshot.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn view(&self) -> Result<ClusterView, StoreError> {
        let rows: Vec<Row> = self.session()?.query(VIEW).map_err(|error| fault(&error).0)?;
        Ok(view_of(&rows)?.0)
    }

    /// Fences an incarnation of a node: afterwards no transaction of it commits. Returns `false` if
    /// it had ended already.
    ///
    /// # Errors
    /// The database cannot be used, or the transactions of the node do not end.
    pub fn fence(&self, who: NodeIncarnation) -> Result<bool, StoreError> {
        fence(&mut self.session()?, who)
    }

    /// Ends this incarnation of this node.
    ///
    /// # Errors
    /// The database cannot be used.
    pub fn end_incarnation(&self) -> Result<bool, StoreError> {
        let mut conn = self.session()?;
        // Records of a node that has left are not read any more.
        wait_until_read(&mut conn, self.seat.incarnation.node)?;
        leave(&mut conn, self.seat.incarnation)
    }
}

/// Waits until the other nodes that are alive have read what is in their inboxes now, for a limited
/// time.
fn wait_until_read(conn: &mut Conn, me: NodeId) -> Result<(), StoreError> {
    let others =
        format!("FROM mail, nodes WHERE nodes.node = mail.node AND nodes.renewed > 0 AND nodes.node <> {}", me.get());
    let last: Option<Option<u64>> =
        conn.query_first(format!("SELECT MAX(mail.id) {others}")).map_err(|error| fault(&error).0)?;
    let (Some(last), until) = (last.flatten(), Instant::now() + READ_WITHIN) else { return Ok(()) };
    while Instant::now() < until {
        let left: Option<u8> = conn
            .query_first(format!("SELECT 1 {others} AND mail.id <= {last} LIMIT 1"))
            .map_err(|error| fault(&error).0)?;
        if left.is_none() {
            return Ok(());
        }
        std::thread::sleep(READ_LOOK_EVERY);
    }
    Ok(())
}

/// The view and all nodes, in the order of their numbers.
pub(super) const VIEW: &str = "SELECT cluster.view, nodes.node, nodes.epoch, nodes.renewed, nodes.hlc_limit, \
                               nodes.frame_max, nodes.name FROM cluster, nodes ORDER BY nodes.node";

/// The same with the first record in the inbox of each node.
pub(super) const VIEW_AND_FIRST_RECORDS: &str = "SELECT cluster.view, nodes.node, nodes.epoch, nodes.renewed, \
                                                 nodes.hlc_limit, nodes.frame_max, nodes.name, \
                                                 (SELECT id FROM mail WHERE mail.node = nodes.node \
                                                 ORDER BY id LIMIT 1) \
                                                 FROM cluster, nodes ORDER BY nodes.node";

/// The view, and the signs of life of each node in it.
pub(super) fn view_of(rows: &[Row]) -> Result<(ClusterView, Vec<u64>), StoreError> {
    let strange = || StoreError::Corrupt("its tables of nodes have values that this server never writes".into());
    let (mut number, mut nodes, mut renewed) = (0, Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in rows {
        let read = |at: usize| row.get_opt::<u64, _>(at).and_then(Result::ok);
        let (Some(view), Some(node), Some(epoch), Some(beats), Some(hlc_limit)) =
            (read(0), read(1), read(2), read(3), read(4))
        else {
            return Err(strange());
        };
        let node = u16::try_from(node).ok().and_then(NodeId::new).ok_or_else(strange)?;
        number = view;
        nodes.push(NodeRow { last: NodeIncarnation { node, epoch }, hlc_limit, is_alive: beats > 0 });
        renewed.push(beats);
    }
    Ok((ClusterView { number, nodes: nodes.into() }, renewed))
}

/// The names of the nodes in the same rows.
pub(super) fn names_of(rows: &[Row]) -> Vec<String> {
    let name = |row: &Row| row.get_opt::<Vec<u8>, _>(6).and_then(Result::ok).unwrap_or_default();
    rows.iter().map(|row| String::from_utf8_lossy(&name(row)).into_owned()).collect()
}

/// The newest version of frames that every node which is alive can read. `rows` are those of the
/// view.
pub(super) fn frame_version_of(rows: &[Row]) -> u16 {
    let read = |row: &Row, at: usize| row.get_opt::<u64, _>(at).and_then(Result::ok);
    let living = rows.iter().filter(|row| read(row, 3).is_some_and(|beats| beats > 0));
    let least = living.filter_map(|row| read(row, 5)).min();
    least.and_then(|least| u16::try_from(least).ok()).unwrap_or(FRAME_MAX)
}

/// Refuses a database that a server outside of a cluster uses.
fn check_no_single_server(conn: &mut Conn) -> Result<(), StoreError> {
    match usable_version(conn)? {
        0 => return Ok(()),
        // It is not the database of a cluster. If it has accounts, they are those of a single
        // server.
        version if version < FIRST_OF_CLUSTERS => return Err(single_server_error()),
        _ => {}
    }
    let sql = format!("SELECT (SELECT count(*) FROM cluster), (SELECT count(*) FROM lanes WHERE node = {ALONE})");
    let found: Option<(u64, u64)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    match found {
        Some((0, lanes)) if lanes > 0 => Err(single_server_error()),
        _ => Ok(()),
    }
}

fn single_server_error() -> StoreError {
    StoreError::Unusable("it is that of a server without --node-name, which uses it alone: stop that one first".into())
}

/// Makes the database that of a cluster, if it is not one already.
fn make_cluster(conn: &mut Conn) -> Result<(), StoreError> {
    let (mut hash_key, mut mac_key) = ([0; HASH_KEY_BYTES], [0; MAC_KEY_BYTES]);
    getrandom::fill(&mut hash_key)
        .and_then(|()| getrandom::fill(&mut mac_key))
        .map_err(|error| StoreError::Unusable(format!("the system has no random numbers: {error}")))?;
    let sql = "INSERT IGNORE INTO cluster (one, view, hash_key) VALUES (1, 1, ?)";
    conn.exec_drop(sql, (&hash_key[..],)).map_err(|error| fault(&error).0)?;
    // A version without a bus may have written the row.
    let sql = "UPDATE cluster SET mac_key = ? WHERE mac_key = ''";
    conn.exec_drop(sql, (&mac_key[..],)).map_err(|error| fault(&error).0)
}

/// Starts an incarnation of a node.
fn start_incarnation(conn: &mut Conn, node: NodeId, name: &str) -> Result<NodeIdentity, StoreError> {
    let last = end_last_incarnation(conn, node, name)?;
    let epoch = last.epoch;
    let sql = format!(
        "SELECT cluster.hash_key, cluster.mac_key, nodes.hlc_limit FROM cluster, nodes \
         WHERE nodes.node = {} AND nodes.epoch = {}",
        node.get(),
        epoch + 1
    );
    let found: Option<(Vec<u8>, Vec<u8>, u64)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    let Some((key, mac_key, hlc_limit)) = found else {
        return Err(StoreError::Unavailable("this node was fenced while it started".into()));
    };
    let word = |at: usize| key.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
    let (Some(one), Some(other), Ok(mac_key)) = (word(0), word(8), mac_key.try_into()) else {
        return Err(StoreError::Corrupt("a key of its cluster has the wrong length".into()));
    };
    Ok(NodeIdentity {
        incarnation: NodeIncarnation { node, epoch: epoch + 1 },
        hash_key: [one, other],
        mac_key,
        floor: hlc_limit,
        // Nothing is allowed until the limit is written.
        seq_max: SeqWriteLimit::new(hlc_limit),
        // Until the first read shows more.
        frame_version: AtomicU16::new(FRAME_MIN),
        is_fenced: AtomicBool::new(false),
    })
}

/// Ends the last incarnation of a node by starting the next one. Returns the last one.
fn end_last_incarnation(conn: &mut Conn, node: NodeId, name: &str) -> Result<NodeIncarnation, StoreError> {
    for _ in 0..BEGIN_TRIES {
        let (epoch, beats) = state(conn, node)?;
        let last = NodeIncarnation { node, epoch };
        if beats > 0 && is_alive(conn, last, beats)? {
            return Err(StoreError::InUse(format!(
                "another process uses it as the node {name:?}: stop that one, or give this one a --node-name of its own"
            )));
        }
        // If not, another node has fenced it meanwhile, or another process was faster.
        if raise_epoch(conn, last, EpochRaiseCause::Begins)? {
            return Ok(last);
        }
    }
    Err(StoreError::Unavailable("this node is fenced each time it starts".into()))
}
