//! The state of all nodes of a cluster, for operators. The thread of the request reads it.

use super::fault;
use super::forget_node::{ForgetNodeProgress, ForgetNodeResult, forget};
use super::life_signs::LastNodeHeartbeats;
use super::node_mark::NodeRowStatusMark;
use super::nodes::NodeDatabase;
use super::schema::version;
use crate::store::StoreError;
use mysql::prelude::Queryable;
use mysql::{Conn, Row};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Whether a node lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeLiveness {
    /// It gives signs of life.
    Lives,
    /// It gives signs of life, and an operator drains it.
    Draining,
    /// It has given none for some seconds: it is frozen or cut off, and will be fenced.
    Silent,
    /// It has stopped by itself.
    Stopped,
    /// Another node has fenced it.
    Fenced,
    /// It has stopped or was fenced, by a build that did not record which.
    Gone,
}

impl NodeLiveness {
    /// Of one with so many signs of life, the last of which is so old, and with this mark.
    fn from_signs(beats: u64, age: Option<Duration>, mark: Option<NodeRowStatusMark>) -> Self {
        // A node that has stopped, or was fenced, has no signs of life.
        match (beats, mark) {
            (0, Some(NodeRowStatusMark::Stopped)) => Self::Stopped,
            (0, Some(NodeRowStatusMark::Fenced)) => Self::Fenced,
            (0, _) => Self::Gone,
            _ if age.is_some_and(|age| age >= SILENT_AFTER) => Self::Silent,
            (_, Some(NodeRowStatusMark::Draining)) => Self::Draining,
            _ => Self::Lives,
        }
    }

    /// Does the node live, as far as the others know?
    #[must_use]
    pub fn is_alive(self) -> bool {
        matches!(self, Self::Lives | Self::Draining | Self::Silent)
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatusReport {
    /// The number of the node.
    pub node: u16,
    /// The name that its operator gave it.
    pub name: String,
    /// It is the node that was asked.
    pub is_asked_node: bool,
    /// Whether it lives.
    pub state: NodeLiveness,
    /// Counts the starts and fences of the node.
    pub epoch: u64,
    /// The time since the node that was asked saw a new sign of life. `None`: it has seen none.
    pub lease_age: Option<Duration>,
    /// The version of its program.
    pub build: String,
    /// The newest version of frames that the node can read.
    pub frame_max: u64,
    /// Records in its inbox in the database, until it reads them; counted up to a bound.
    pub inbox_records: u64,
    /// For how long the first of them has been the same, as the node that was asked has seen once a
    /// second.
    pub inbox_age: Option<Duration>,
}

/// All nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterMembers {
    /// Counts the starts, departures and fences of all nodes.
    pub view: u64,
    /// The version of the schema.
    pub schema: usize,
    /// The version of the frames between nodes: the newest one that all nodes which are alive can
    /// read.
    pub frame_version: u16,
    /// The nodes, in the order of their numbers.
    pub nodes: Vec<NodeStatusReport>,
}

/// Reads the state of all nodes.
#[derive(Clone)]
pub struct ClusterMembersReader {
    pub(super) server: NodeDatabase,
    pub(super) last_signs: Arc<LastNodeHeartbeats>,
    pub(super) forget_progress: Arc<ForgetNodeProgress>,
}

impl std::fmt::Debug for ClusterMembersReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClusterMembersReader").finish_non_exhaustive()
    }
}

const MEMBERS: &str = "SELECT cluster.view, nodes.node, nodes.name, nodes.epoch, nodes.renewed, nodes.build, \
                       nodes.frame_max, nodes.state, nodes.state_epoch FROM cluster, nodes ORDER BY nodes.node";
/// The maximum number of records that are counted in one inbox.
const INBOX_COUNTED_MAX: u64 = 10_000;
/// A node gives a sign of life once a second. One that was late by more is silent.
const SILENT_AFTER: Duration = Duration::from_millis(2_500);

/// How many records are in the inbox of each of these nodes, in one round trip.
fn count_inbox_records(conn: &mut Conn, nodes: &[u16]) -> Result<HashMap<u16, u64>, StoreError> {
    let count = |node: &u16| {
        format!(
            "SELECT {node}, count(*) FROM (SELECT 1 FROM mail WHERE node = {node} LIMIT {INBOX_COUNTED_MAX}) AS counted"
        )
    };
    let counts: Vec<String> = nodes.iter().map(count).collect();
    if counts.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(u16, u64)> = conn.query(counts.join(" UNION ALL ")).map_err(|error| fault(&error).0)?;
    Ok(rows.into_iter().collect())
}

impl ClusterMembersReader {
    /// Forgets a node that has stopped and will not come back, or a part of it until the time is
    /// over.
    ///
    /// # Errors
    /// The database cannot be used. The call may be repeated.
    pub fn forget(&self, name: &str, until: Instant) -> Result<ForgetNodeResult, StoreError> {
        forget(&mut self.server.session()?, name, &self.forget_progress, until)
    }

    /// Reads the present state.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn read(&self) -> Result<ClusterMembers, StoreError> {
        let mut conn = self.server.session()?;
        let schema = version(&mut conn)?;
        let rows: Vec<Row> = conn.query(MEMBERS).map_err(|error| fault(&error).0)?;
        let number_of = |row: &Row| row.get_opt::<u16, _>(1).and_then(Result::ok);
        let waiting = count_inbox_records(&mut conn, &rows.iter().filter_map(number_of).collect::<Vec<_>>())?;
        let me = self.server.identity().incarnation.node.get();
        let number = |row: &Row, at: usize| row.get_opt::<u64, _>(at).and_then(Result::ok).unwrap_or_default();
        let text = |row: &Row, at: usize| {
            let bytes = row.get_opt::<Vec<u8>, _>(at).and_then(Result::ok).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let member = |row: &Row| {
            let node = u16::try_from(number(row, 1)).unwrap_or_default();
            let lease_age = self.last_signs.sign_age(node);
            let mark = NodeRowStatusMark::of_row(number(row, 7), number(row, 8), number(row, 3));
            let state = NodeLiveness::from_signs(number(row, 4), lease_age, mark);
            NodeStatusReport {
                node,
                name: text(row, 2),
                is_asked_node: node == me,
                state,
                epoch: number(row, 3),
                lease_age,
                build: text(row, 5),
                frame_max: number(row, 6),
                inbox_records: waiting.get(&node).copied().unwrap_or(0),
                inbox_age: self.last_signs.inbox_age(node),
            }
        };
        let view = rows.first().map_or(0, |row| number(row, 0));
        let frame_version = self.server.identity().frame_version();
        Ok(ClusterMembers { view, schema, frame_version, nodes: rows.iter().map(member).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_gives_no_sign_of_life_is_silent_until_it_is_fenced() {
        let ages = [None, Some(Duration::from_millis(2_400)), Some(Duration::from_millis(2_500))];
        for (mark, state) in [(None, NodeLiveness::Lives), (Some(NodeRowStatusMark::Draining), NodeLiveness::Draining)]
        {
            let states = ages.map(|age| NodeLiveness::from_signs(7, age, mark));
            assert_eq!(states, [state, state, NodeLiveness::Silent]);
        }
        for (mark, state) in [
            (None, NodeLiveness::Gone),
            (Some(NodeRowStatusMark::Draining), NodeLiveness::Gone),
            (Some(NodeRowStatusMark::Stopped), NodeLiveness::Stopped),
            (Some(NodeRowStatusMark::Fenced), NodeLiveness::Fenced),
        ] {
            assert_eq!(ages.map(|age| NodeLiveness::from_signs(0, age, mark)), [state; 3]);
        }
    }
}
