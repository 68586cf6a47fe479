//! One look of a node at the database: its inbox, and the view behind that.

use super::node_mark::NodeRowStatusMark;
use super::nodes::{VIEW, VIEW_AND_FIRST_RECORDS};
use crate::chat::contract::{ClusterView, NodeIncarnation};
use mysql::prelude::Queryable;
use mysql::{Conn, Row};

/// The result of one read.
pub(super) struct ClusterPollResult {
    pub(super) view: ClusterView,
    /// The signs of life of each node of the view.
    pub(super) beats: Vec<u64>,
    /// The records in its inbox, each with its id.
    pub(super) inbox: Vec<(u64, Vec<u8>)>,
}

/// A sign of life.
pub(super) struct LeaseHeartbeatFields {
    /// The node gives no greater number to a push.
    pub(super) seq_max: u64,
    pub(super) is_draining: bool,
}

/// The statements of one read, which is one round trip: the sign of life, the deletion of the
/// records that were delivered, and the read of the next ones. The view is read last, so that it
/// has the sender of each record that was read.
pub(super) fn poll_statements(
    me: NodeIncarnation,
    renewal: Option<LeaseHeartbeatFields>,
    delivered_records: &[u64],
    records_max: usize,
) -> String {
    let NodeIncarnation { node, epoch } = me;
    let (node, mut sql) = (node.get(), String::new());
    let view = if renewal.is_some() { VIEW_AND_FIRST_RECORDS } else { VIEW };
    if let Some(LeaseHeartbeatFields { seq_max, is_draining }) = renewal {
        let mark =
            if is_draining { format!(", {}", NodeRowStatusMark::Draining.assignments(epoch)) } else { String::new() };
        sql += &format!(
            "UPDATE nodes SET renewed = renewed + 1, hlc_limit = GREATEST(hlc_limit, {seq_max}){mark} \
             WHERE node = {node} AND epoch = {epoch}; "
        );
    }
    if !delivered_records.is_empty() {
        let ids: Vec<String> = delivered_records.iter().map(u64::to_string).collect();
        sql += &format!("DELETE FROM mail WHERE node = {node} AND id IN ({}); ", ids.join(", "));
    }
    sql + &format!("SELECT id, record FROM mail WHERE node = {node} ORDER BY id LIMIT {records_max}; {view}")
}

/// The records, and the view.
pub(super) fn read(conn: &mut Conn, sql: &str) -> mysql::Result<(Vec<Row>, Vec<Row>)> {
    let mut results = conn.query_iter(sql)?;
    let (mut records, mut view) = (Vec::new(), Vec::new());
    while let Some(result) = results.iter() {
        let has_rows = !result.columns().as_ref().is_empty();
        let rows = result.collect::<mysql::Result<Vec<Row>>>()?;
        if has_rows {
            records = std::mem::replace(&mut view, rows);
        }
    }
    Ok((records, view))
}
