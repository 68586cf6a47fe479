//! The numbers of nodes: each name has one.

use super::fault;
use crate::chat::contract::NodeId;
use crate::store::StoreError;
use mysql::Conn;
use mysql::prelude::Queryable;

/// The largest number of a node.
const NODE_MAX: u16 = 1_023;

/// The number of the node of this name, a new one if there is no such node yet.
pub(super) fn number_of(conn: &mut Conn, name: &str) -> Result<NodeId, StoreError> {
    let find = "SELECT node FROM nodes WHERE name = ?";
    let found: Option<u16> = conn.exec_first(find, (name.as_bytes(),)).map_err(|error| fault(&error).0)?;
    let number = match found {
        Some(number) => number,
        None => {
            let next = free_number(conn)?;
            // Above all that a node that was forgotten has used, whose number this may be.
            let sql = "INSERT INTO nodes (node, name, epoch, renewed, hlc_limit, build) \
                       SELECT ?, ?, epoch_floor, 0, seq_floor, '' FROM cluster";
            conn.exec_drop(sql, (next, name.as_bytes())).map_err(|error| fault(&error).0)?;
            next
        }
    };
    NodeId::new(number).ok_or_else(|| StoreError::Corrupt(format!("it has a node of the number {number}")))
}

/// A number that no node has: the next one, or when there is none the least.
fn free_number(conn: &mut Conn) -> Result<u16, StoreError> {
    let taken: Vec<u16> = conn.query("SELECT node FROM nodes ORDER BY node").map_err(|error| fault(&error).0)?;
    let next = taken.last().map_or(1, |last| last + 1);
    let free = (next..=NODE_MAX).next().or_else(|| (1..=NODE_MAX).find(|number| taken.binary_search(number).is_err()));
    free.ok_or_else(|| {
        let why = format!("it has {NODE_MAX} nodes: forget those that are gone (hongyan admin forget-node)");
        StoreError::Unusable(why)
    })
}
