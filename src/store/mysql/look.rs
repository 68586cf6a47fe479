//! One look of a node at the database: its mail, and the view behind that.

use crate::chat::contract::ClusterView;
use mysql::prelude::Queryable;
use mysql::{Conn, Row};

/// The result of one read.
pub(super) struct ClusterPollResult {
    pub(super) view: ClusterView,
    /// The signs of life of each node of the view.
    pub(super) beats: Vec<u64>,
    pub(super) mail: Vec<(u64, Vec<u8>)>,
}

/// The records, and the view.
pub(super) fn read(conn: &mut Conn, sql: &str) -> mysql::Result<(Vec<Row>, Vec<Row>)> {
    let mut results = conn.query_iter(sql)?;
    let (mut mail, mut view) = (Vec::new(), Vec::new());
    while let Some(result) = results.iter() {
        let has_rows = !result.columns().as_ref().is_empty();
        let rows = result.collect::<mysql::Result<Vec<Row>>>()?;
        if has_rows {
            mail = std::mem::replace(&mut view, rows);
        }
    }
    Ok((mail, view))
}
