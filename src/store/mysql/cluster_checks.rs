//! Refuses the database of a cluster to programs that would use it alone.

use super::epochs::is_alive;
use super::fault;
use crate::chat::contract::{NodeId, NodeIncarnation};
use crate::store::StoreError;
use mysql::Conn;
use mysql::prelude::Queryable;

/// Refuses the database of a cluster to a server that would use it alone.
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
pub(super) fn check_no_node_alive(conn: &mut Conn) -> Result<(), StoreError> {
    let sql = "SELECT node, name, epoch, renewed FROM nodes WHERE renewed > 0 ORDER BY node";
    let rows: Vec<(u16, Vec<u8>, u64, u64)> = conn.query(sql).map_err(|error| fault(&error).0)?;
    for (node, name, epoch, beats) in rows {
        let node = NodeId::new(node)
            .ok_or_else(|| StoreError::Corrupt(format!("it has a node with the invalid number {node}")))?;
        if is_alive(conn, NodeIncarnation { node, epoch }, beats)? {
            let name = String::from_utf8_lossy(&name).into_owned();
            return Err(StoreError::InUse(format!("the node {name:?} of its cluster uses it: stop all nodes first")));
        }
    }
    Ok(())
}
