//! How the nodes of a cluster are, for operators. Read by the thread of the one who asks.

use super::fault;
use super::forget::{ForgetResult, forget};
use super::lease::LastSigns;
use super::nodes::NodeServer;
use super::schema::version;
use crate::store::StoreError;
use mysql::Row;
use mysql::prelude::Queryable;
use std::sync::Arc;
use std::time::Duration;

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub node: u16,
    /// As its operator calls it.
    pub name: String,
    /// It is the one that was asked.
    pub is_this: bool,
    /// It has not left, and was not fenced.
    pub lives: bool,
    /// Counts its starts and fences.
    pub epoch: u64,
    /// How long ago the node that was asked saw a new sign of its life. `None`: it has seen none.
    pub lease_age: Option<Duration>,
    /// The version of its program.
    pub build: String,
    /// The newest version of what nodes say to each other that it understands.
    pub frame_max: u64,
    /// Records that wait in the database until it reads them.
    pub mail_waiting: u64,
}

/// All nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Counts starts, leaves and fences of all nodes.
    pub view: u64,
    /// The version of the tables.
    pub schema: usize,
    /// The version in which nodes speak to each other: the least that all living ones understand.
    pub frame_version: u16,
    /// In the order of their numbers.
    pub nodes: Vec<Member>,
}

/// Reads how the nodes are.
#[derive(Clone)]
pub struct MembersReader {
    pub(super) server: NodeServer,
    pub(super) seen: Arc<LastSigns>,
}

impl std::fmt::Debug for MembersReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MembersReader").finish_non_exhaustive()
    }
}

const MEMBERS: &str = "SELECT cluster.view, nodes.node, nodes.name, nodes.epoch, nodes.renewed, nodes.build, \
                       nodes.frame_max, (SELECT count(*) FROM mail WHERE mail.node = nodes.node) \
                       FROM cluster, nodes ORDER BY nodes.node";

impl MembersReader {
    /// Forgets a node that has stopped and will not come back.
    ///
    /// # Errors
    /// When the database cannot be used; it may be asked again.
    pub fn forget(&self, name: &str) -> Result<ForgetResult, StoreError> {
        forget(&mut self.server.session()?, name)
    }

    /// Reads them now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn read(&self) -> Result<Members, StoreError> {
        let mut conn = self.server.session()?;
        let schema = version(&mut conn)?;
        let rows: Vec<Row> = conn.query(MEMBERS).map_err(|error| fault(&error).0)?;
        let me = self.server.seat().me.node.get();
        let number = |row: &Row, at: usize| row.get_opt::<u64, _>(at).and_then(Result::ok).unwrap_or_default();
        let text = |row: &Row, at: usize| {
            let bytes = row.get_opt::<Vec<u8>, _>(at).and_then(Result::ok).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let member = |row: &Row| {
            let node = u16::try_from(number(row, 1)).unwrap_or_default();
            Member {
                node,
                name: text(row, 2),
                is_this: node == me,
                lives: number(row, 4) > 0,
                epoch: number(row, 3),
                lease_age: self.seen.age_of(node),
                build: text(row, 5),
                frame_max: number(row, 6),
                mail_waiting: number(row, 7),
            }
        };
        let view = rows.first().map_or(0, |row| number(row, 0));
        let frame_version = self.server.seat().frame_version();
        Ok(Members { view, schema, frame_version, nodes: rows.iter().map(member).collect() })
    }
}
