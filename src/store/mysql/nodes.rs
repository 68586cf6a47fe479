//! The nodes of a cluster as the database knows them: one joins, is fenced, leaves.
//!
//! Each node has an epoch, which is in its row of `nodes` and in its rows of `lanes`. Who raises it
//! does so in all of them, and in the number of the view, in one transaction: who then reads the
//! view knows that nothing of the old epoch is committed any more.

use super::connect::{MysqlServer, patient};
use super::fault;
use super::lanes::{ALONE, BEAT_LANE, FENCE_PAUSE_MAX, FENCE_TRIES, LANES, Lane, Lanes, PROBE_LANE, kill_holders};
use super::mixed_builds::{check_frames, check_migration};
use super::named_lock::{LOCK_NAME, holder, take};
use super::node_numbers::number_of;
use super::safe_commits::why_commits_are_not_safe;
use super::schema::{FIRST_OF_CLUSTERS, KNOWN, check_all_ours, migrate, usable_version};
use super::seq_max::SeqMax;
use super::signs::cluster as cluster_of_databases;
use super::{MysqlStore, lanes::WriterLane};
use crate::chat::contract::{ClusterView, Incarnation, NodeId, NodeState};
use crate::store::StoreError;
use crate::versions::{FRAME_MAX, FRAME_MIN};
use mysql::prelude::Queryable;
use mysql::{Conn, Row};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A node that lives gives a sign of life within this.
const LIVES_WITHIN: Duration = Duration::from_millis(2_500);
/// How long a node that leaves waits until others have read what it said, and how often it looks.
const READ_WITHIN: Duration = Duration::from_secs(1);
const READ_LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a life is begun again whose place was taken meanwhile.
const BEGIN_TRIES: u32 = 4;
/// The length of the key of a cluster.
const HASH_KEY_BYTES: usize = 16;
/// And that of the one by which nodes know each other on the bus.
const MAC_KEY_BYTES: usize = 32;

/// The place of this process in a cluster: one life of one node.
pub struct NodeIdentity {
    /// Who this is.
    pub me: Incarnation,
    /// The key under which all nodes remember messages.
    pub hash_key: [u64; 2],
    /// The key by which they know each other on the bus.
    pub mac_key: [u8; MAC_KEY_BYTES],
    /// No `seq` of this node from before this life is greater.
    pub floor: u64,
    /// A push with a greater `seq` is not written: the database does not know of such yet.
    pub(super) seq_max: SeqMax,
    /// The newest version of frames that all living nodes read, as was last seen.
    pub(super) frame_version: AtomicU16,
    /// A transaction has found that this node was fenced.
    pub(super) is_fenced: AtomicBool,
}

impl NodeIdentity {
    /// Was a transaction refused because this node was fenced?
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::Acquire)
    }

    /// The newest version of frames that every living node can read, at the last look.
    #[must_use]
    pub fn frame_version(&self) -> u16 {
        self.frame_version.load(Ordering::Acquire)
    }
}

/// The keys are not shown.
impl std::fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("me", &self.me).field("floor", &self.floor).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for NodeServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeServer").field("me", &self.seat.me).finish_non_exhaustive()
    }
}

/// The database of a cluster, as one of its nodes comes to it.
#[derive(Clone)]
pub struct NodeServer {
    pub(super) server: MysqlServer,
    seat: Arc<NodeIdentity>,
    lanes: Arc<Mutex<Lanes>>,
}

impl NodeServer {
    /// Takes a place in the cluster: a new one, or that of an earlier life of this node, which is
    /// fenced. Makes the tables, or brings them up to date.
    ///
    /// # Errors
    /// When the database cannot be reached or used, a server uses it alone, or another process
    /// lives under this name.
    pub fn join(url: &str, name: &str) -> Result<Self, StoreError> {
        let server = MysqlServer::new(url)?;
        let mut conn = server.session()?;
        if let Some(cluster) = cluster_of_databases(&mut conn)? {
            conn.query_drop(cluster.reads_are_current()).map_err(|error| fault(&error).0)?;
        }
        check_use(&mut conn)?;
        // One node at a time makes tables and takes a number; a server alone holds this lock, too.
        if !take(&mut conn, LOCK_NAME)? {
            check_use(&mut conn)?;
            return Err(StoreError::Unavailable("another server starts on it just now".into()));
        }
        if let Some(why) = why_commits_are_not_safe(&mut conn)? {
            return Err(StoreError::Unusable(why));
        }
        check_all_ours(&mut conn)?;
        let schema = usable_version(&mut conn)?;
        if schema < KNOWN {
            check_migration(&mut conn, schema)?;
            migrate(&mut server.session_with(&patient(&server.opts))?)?;
        }
        check_use(&mut conn)?;
        make_cluster(&mut conn)?;
        check_frames(&mut conn, name)?;
        let node = number_of(&mut conn, name)?;
        let seat = sit_down(&mut conn, node, name)?;
        // On a cluster of databases, which does not share the lock, nodes of two builds may have
        // started at once: each has seen the other by now, or was seen by it.
        if let Err(why) = usable_version(&mut conn).and_then(|_| check_frames(&mut conn, name)) {
            fence_over(&mut conn, seat.me)?;
            return Err(why);
        }
        Ok(Self { server, seat: Arc::new(seat), lanes: Arc::default() })
    }

    /// Its place.
    #[must_use]
    pub fn seat(&self) -> &Arc<NodeIdentity> {
        &self.seat
    }

    /// One more connection.
    ///
    /// # Errors
    /// When the server cannot be reached or used, or this node was fenced.
    pub fn connect(&self) -> Result<MysqlStore, StoreError> {
        let no_lane = || StoreError::Unavailable("this server has more connections to it than it needs".into());
        let lane = Lane::take(&self.lanes).ok_or_else(no_lane)?;
        let mut conn = self.session()?;
        let sql = format!(
            "SELECT epoch, GET_LOCK({}, 0), @@max_allowed_packet FROM lanes WHERE node = {} AND lane = {}",
            lock(self.seat.me, lane.number),
            self.seat.me.node.get(),
            lane.number
        );
        let found: Option<(u64, Option<u8>, u64)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
        match found {
            Some((epoch, Some(1), packet)) if epoch == self.seat.me.epoch => {
                Ok(MysqlStore::new(conn, packet, WriterLane::of_node(lane, Arc::clone(&self.seat))))
            }
            Some((epoch, ..)) if epoch == self.seat.me.epoch => {
                Err(StoreError::Unavailable("the connection that had its lane before has not ended yet".into()))
            }
            _ => {
                self.seat.is_fenced.store(true, Ordering::Release);
                Err(StoreError::Unavailable("this node was fenced".into()))
            }
        }
    }

    /// A connection whose reads see all that was committed before.
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
    /// When the database cannot be read.
    pub fn view(&self) -> Result<ClusterView, StoreError> {
        let rows: Vec<Row> = self.session()?.query(VIEW).map_err(|error| fault(&error).0)?;
        Ok(view_of(&rows)?.0)
    }

    /// Fences a life of a node: afterwards nothing of it is committed. `false`: it was over
    /// already.
    ///
    /// # Errors
    /// When the database cannot be used, or its transactions do not end.
    pub fn fence(&self, who: Incarnation) -> Result<bool, StoreError> {
        fence_over(&mut self.session()?, who)
    }

    /// Ends this life of this node.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn leave(&self) -> Result<bool, StoreError> {
        let mut conn = self.session()?;
        // What a node says that has left is not heard any more.
        wait_until_read(&mut conn, self.seat.me.node)?;
        fence_over(&mut conn, self.seat.me)
    }
}

/// Waits until the other nodes that live have read what is in the mail now, or for a while.
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

/// The same with the first record that waits for each node.
pub(super) const VIEW_AND_MAIL: &str = "SELECT cluster.view, nodes.node, nodes.epoch, nodes.renewed, \
                                        nodes.hlc_limit, nodes.frame_max, nodes.name, \
                                        (SELECT id FROM mail WHERE mail.node = nodes.node ORDER BY id LIMIT 1) \
                                        FROM cluster, nodes ORDER BY nodes.node";

/// The view, and the signs of life of each node in it.
pub(super) fn view_of(rows: &[Row]) -> Result<(ClusterView, Vec<u64>), StoreError> {
    let strange = || StoreError::Corrupt("its tables of nodes are not what this server writes".into());
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
        nodes.push(NodeState { last: Incarnation { node, epoch }, hlc_limit, lives: beats > 0 });
        renewed.push(beats);
    }
    Ok((ClusterView { number, nodes: nodes.into() }, renewed))
}

/// The names of the nodes in the same rows.
pub(super) fn names_of(rows: &[Row]) -> Vec<String> {
    let name = |row: &Row| row.get_opt::<Vec<u8>, _>(6).and_then(Result::ok).unwrap_or_default();
    rows.iter().map(|row| String::from_utf8_lossy(&name(row)).into_owned()).collect()
}

/// The newest version of frames that every node which lives can read; the rows are those of the
/// view.
pub(super) fn frame_version_of(rows: &[Row]) -> u16 {
    let read = |row: &Row, at: usize| row.get_opt::<u64, _>(at).and_then(Result::ok);
    let living = rows.iter().filter(|row| read(row, 3).is_some_and(|beats| beats > 0));
    let least = living.filter_map(|row| read(row, 5)).min();
    least.and_then(|least| u16::try_from(least).ok()).unwrap_or(FRAME_MAX)
}

/// The name of a lock, as SQL, by which a connection of a node is found: that of a lane, or in lane
/// 0 that which gives signs of life. Of at most 64 characters.
pub(super) fn lock(who: Incarnation, lane: u16) -> String {
    format!("CONCAT('hongyan:', LEFT(SHA2(DATABASE(), 256), 24), '-{:x}-{:x}-{lane:x}')", who.node.get(), who.epoch)
}

fn run(conn: &mut Conn, sql: String) -> Result<u64, StoreError> {
    conn.query_drop(sql).map_err(|error| fault(&error).0)?;
    Ok(conn.affected_rows())
}

/// Refuses a database that a server uses alone.
fn check_use(conn: &mut Conn) -> Result<(), StoreError> {
    match usable_version(conn)? {
        0 => return Ok(()),
        // Nobody has made a cluster of it. If there are accounts, they are those of a server alone.
        version if version < FIRST_OF_CLUSTERS => return Err(used_alone()),
        _ => {}
    }
    let sql = format!("SELECT (SELECT count(*) FROM cluster), (SELECT count(*) FROM lanes WHERE node = {ALONE})");
    let found: Option<(u64, u64)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    match found {
        Some((0, lanes)) if lanes > 0 => Err(used_alone()),
        _ => Ok(()),
    }
}

fn used_alone() -> StoreError {
    StoreError::Unusable("it is that of a server without --node-name, which uses it alone".into())
}

/// Refuses the database of a cluster, to a server that would use it alone.
pub(super) fn check_no_cluster(conn: &mut Conn) -> Result<(), StoreError> {
    let found: Option<u8> = conn.query_first("SELECT 1 FROM cluster").map_err(|error| fault(&error).0)?;
    match found {
        Some(_) => Err(StoreError::Unusable("it is that of a cluster: a server needs --node-name to use it".into())),
        None => Ok(()),
    }
}

/// Refuses the database of a cluster as the target of a copy.
pub(super) fn check_target_is_no_cluster(conn: &mut Conn) -> Result<(), StoreError> {
    let found: Option<u8> = conn.query_first("SELECT 1 FROM cluster").map_err(|error| fault(&error).0)?;
    match found {
        Some(_) => Err(StoreError::Unusable("it is that of a cluster: copy into an empty database".into())),
        None => Ok(()),
    }
}

/// Refuses the database of a cluster as the source of a copy while nodes use it.
pub(super) fn check_no_node_lives(conn: &mut Conn) -> Result<(), StoreError> {
    let sql = "SELECT node, name, epoch, renewed FROM nodes WHERE renewed > 0 ORDER BY node";
    let rows: Vec<(u16, Vec<u8>, u64, u64)> = conn.query(sql).map_err(|error| fault(&error).0)?;
    for (node, name, epoch, beats) in rows {
        let node =
            NodeId::new(node).ok_or_else(|| StoreError::Corrupt(format!("it has a node of the number {node}")))?;
        if lives(conn, Incarnation { node, epoch }, beats)? {
            let name = String::from_utf8_lossy(&name).into_owned();
            return Err(StoreError::InUse(format!("the node {name:?} of its cluster uses it: stop all nodes first")));
        }
    }
    Ok(())
}

/// Makes the database that of a cluster, if it is not.
fn make_cluster(conn: &mut Conn) -> Result<(), StoreError> {
    let (mut hash_key, mut mac_key) = ([0; HASH_KEY_BYTES], [0; MAC_KEY_BYTES]);
    getrandom::fill(&mut hash_key)
        .and_then(|()| getrandom::fill(&mut mac_key))
        .map_err(|error| StoreError::Unusable(format!("the system has no random numbers: {error}")))?;
    let sql = "INSERT IGNORE INTO cluster (one, view, hash_key) VALUES (1, 1, ?)";
    conn.exec_drop(sql, (&hash_key[..],)).map_err(|error| fault(&error).0)?;
    // A version that knew no bus may have made the row.
    let sql = "UPDATE cluster SET mac_key = ? WHERE mac_key = ''";
    conn.exec_drop(sql, (&mac_key[..],)).map_err(|error| fault(&error).0)
}

/// Begins a life of a node.
fn sit_down(conn: &mut Conn, node: NodeId, name: &str) -> Result<NodeIdentity, StoreError> {
    let last = end_last(conn, node, name)?;
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
        return Err(StoreError::Corrupt("a key of its cluster has another length than it should".into()));
    };
    Ok(NodeIdentity {
        me: Incarnation { node, epoch: epoch + 1 },
        hash_key: [one, other],
        mac_key,
        floor: hlc_limit,
        // Until the limit is written anew, nothing may be.
        seq_max: SeqMax::new(hlc_limit),
        // Until the first look says more.
        frame_version: AtomicU16::new(FRAME_MIN),
        is_fenced: AtomicBool::new(false),
    })
}

/// Ends the last life of a node, by beginning the next one. Gives the last one.
fn end_last(conn: &mut Conn, node: NodeId, name: &str) -> Result<Incarnation, StoreError> {
    for _ in 0..BEGIN_TRIES {
        let (epoch, beats) = state(conn, node)?;
        let last = Incarnation { node, epoch };
        if beats > 0 && lives(conn, last, beats)? {
            return Err(StoreError::InUse(format!("another process lives in it as the node {name:?}")));
        }
        // If not, others have fenced it meanwhile, or another process was faster.
        if raise_until(conn, last, EpochRaise::Begins)? {
            return Ok(last);
        }
    }
    Err(StoreError::Unavailable("this node is fenced each time it begins".into()))
}

/// The epoch of a node and its signs of life.
pub(super) fn state(conn: &mut Conn, node: NodeId) -> Result<(u64, u64), StoreError> {
    let sql = format!("SELECT epoch, renewed FROM nodes WHERE node = {}", node.get());
    let found: Option<(u64, u64)> = conn.query_first(sql).map_err(|error| fault(&error).0)?;
    found.ok_or_else(|| StoreError::Corrupt(format!("the node {} is gone from its table nodes", node.get())))
}

/// Does this life of a node go on? One whose connection has ended was killed; it is watched only
/// where that connection may be on another server of a cluster of databases.
pub(super) fn lives(conn: &mut Conn, who: Incarnation, beats: u64) -> Result<bool, StoreError> {
    if holder(conn, &lock(who, BEAT_LANE))?.is_none() && cluster_of_databases(conn)?.is_none() {
        return Ok(false);
    }
    std::thread::sleep(LIVES_WITHIN);
    let (epoch, after) = state(conn, who.node)?;
    // Who was fenced gives none.
    Ok(after > 0 && (epoch, after) != (who.epoch, beats))
}

/// Fences a life of a node.
pub(super) fn fence_over(conn: &mut Conn, who: Incarnation) -> Result<bool, StoreError> {
    raise_until(conn, who, EpochRaise::Over)
}

/// What an epoch is raised for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EpochRaise {
    /// A life is over.
    Over,
    /// Another one begins.
    Begins,
}

/// Raises the epoch of a node from this one; a transaction that does not end is ended. `false`: it
/// has another one.
fn raise_until(conn: &mut Conn, from: Incarnation, to: EpochRaise) -> Result<bool, StoreError> {
    let mut pause = Duration::from_millis(1);
    for tried in 1.. {
        // What it has begun would be waited for.
        kill_holders(conn, (BEAT_LANE..PROBE_LANE).map(|lane| lock(from, lane)))?;
        match raise(conn, from, to) {
            Err(StoreError::Busy(_)) if tried < FENCE_TRIES => {}
            result => return result,
        }
        // On a cluster of databases a transaction of the node wins now and then.
        std::thread::sleep(pause);
        pause = (pause * 2).min(FENCE_PAUSE_MAX);
    }
    Err(StoreError::Busy("it is not tried any more".into()))
}

fn raise(conn: &mut Conn, from: Incarnation, to: EpochRaise) -> Result<bool, StoreError> {
    run(conn, "START TRANSACTION".into())?;
    let raised = raise_in_transaction(conn, from, to);
    let end = if matches!(raised, Ok(true)) { "COMMIT" } else { "ROLLBACK" };
    let ended = run(conn, end.into());
    let raised = raised?;
    ended.map(|_| raised)
}

fn raise_in_transaction(conn: &mut Conn, from: Incarnation, to: EpochRaise) -> Result<bool, StoreError> {
    let (node, old, new) = (from.node.get(), from.epoch, from.epoch + 1);
    let lanes = run(conn, format!("UPDATE lanes SET epoch = {new} WHERE node = {node} AND epoch = {old}"))?;
    let change = match to {
        // It keeps its limit: that is where its numbers end.
        EpochRaise::Over => "renewed = 0".to_owned(),
        EpochRaise::Begins => {
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
    if to == EpochRaise::Begins && lanes != LANES {
        // At its first start it has none.
        let rows: Vec<String> = (BEAT_LANE..=PROBE_LANE).map(|lane| format!("({node}, {lane}, {new}, 0)")).collect();
        let rows = rows.join(", ");
        let sql =
            format!("INSERT INTO lanes (node, lane, epoch, n) VALUES {rows} ON DUPLICATE KEY UPDATE epoch = {new}");
        run(conn, sql)?;
    }
    // It was for a life that is over.
    run(conn, format!("DELETE FROM mail WHERE node = {node}"))?;
    run(conn, "UPDATE cluster SET view = view + 1".into())?;
    Ok(true)
}
