//! Nodes of different builds in one cluster: which of them may live together.

use super::epochs::{fence_unmarked, is_alive};
use super::fault;
use super::schema::{COMPATIBLE, FIRST_COMPATIBLE, FIRST_OF_CLUSTERS, KNOWN};
use crate::chat::contract::{NodeId, NodeIncarnation};
use crate::store::StoreError;
use crate::versions::{FRAME_MAX, FRAME_MIN};
use mysql::prelude::Queryable;
use mysql::{Conn, Row};
use std::ops::RangeInclusive;

/// The schema that a node counts as knowing if the tables have no column for it: the newest version
/// without that column.
const SCHEMA_BEFORE: u64 = FIRST_COMPATIBLE as u64 - 1;

/// A node that has not left, and was not fenced.
struct NodeBuildInfo {
    last: NodeIncarnation,
    beats: u64,
    name: String,
    schema_max: u64,
    frames: RangeInclusive<u64>,
}

fn members(conn: &mut Conn, schema: usize) -> Result<Vec<NodeBuildInfo>, StoreError> {
    let builds = if schema < FIRST_COMPATIBLE { "" } else { ", schema_max, frame_min, frame_max" };
    let sql = format!("SELECT node, epoch, renewed, name{builds} FROM nodes WHERE renewed > 0 ORDER BY node");
    let rows: Vec<Row> = conn.query(sql).map_err(|error| fault(&error).0)?;
    rows.iter().map(member).collect()
}

fn member(row: &Row) -> Result<NodeBuildInfo, StoreError> {
    let number = |at: usize| row.get_opt::<u64, _>(at).and_then(Result::ok);
    let node = number(0).and_then(|node| u16::try_from(node).ok()).and_then(NodeId::new);
    let (Some(node), Some(epoch), Some(beats)) = (node, number(1), number(2)) else {
        return Err(StoreError::Corrupt("its tables of nodes are not what this server writes".into()));
    };
    let name = row.get_opt::<Vec<u8>, _>(3).and_then(Result::ok).unwrap_or_default();
    Ok(NodeBuildInfo {
        last: NodeIncarnation { node, epoch },
        beats,
        name: String::from_utf8_lossy(&name).into_owned(),
        schema_max: number(4).unwrap_or(SCHEMA_BEFORE),
        frames: number(5).unwrap_or(1)..=number(6).unwrap_or(1),
    })
}

/// Fails if tables of the version `schema` must not be migrated to that of this build yet, because
/// a live node could not use them afterwards. Fences such nodes that are not alive, so that they
/// cannot commit anything later.
pub(super) fn check_migration(conn: &mut Conn, schema: usize) -> Result<(), StoreError> {
    if !(FIRST_OF_CLUSTERS..KNOWN).contains(&schema) {
        return Ok(());
    }
    for member in members(conn, schema)? {
        if member.schema_max >= COMPATIBLE as u64 {
            continue;
        }
        if is_alive(conn, member.last, member.beats)? {
            return Err(StoreError::Unusable(format!(
                "its schema {schema} would be brought to {KNOWN}, which the node {:?} cannot use (it knows {}): \
                 stop all such nodes first",
                member.name, member.schema_max
            )));
        }
        fence_unmarked(conn, member.last)?;
    }
    Ok(())
}

/// Fails if this build has no version of bus frames in common with a live node.
pub(super) fn check_frames(conn: &mut Conn, name: &str) -> Result<(), StoreError> {
    for member in members(conn, KNOWN)? {
        // An earlier life of this node ends before this one sends anything.
        if member.name == name || have_common_version(&member.frames, &(FRAME_MIN.into()..=FRAME_MAX.into())) {
            continue;
        }
        if is_alive(conn, member.last, member.beats)? {
            return Err(StoreError::Unusable(format!(
                "the node {:?} of its cluster speaks frames {}-{}, this build {FRAME_MIN}-{FRAME_MAX}: \
                 upgrade by way of a version that speaks both, or stop that node first",
                member.name,
                member.frames.start(),
                member.frames.end()
            )));
        }
    }
    Ok(())
}

/// Do the two ranges have a version in common?
fn have_common_version(one: &RangeInclusive<u64>, other: &RangeInclusive<u64>) -> bool {
    one.start() <= other.end() && other.start() <= one.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_builds_understand_each_other_if_they_have_a_version_in_common() {
        for (one, other, common) in [
            (1..=1, 1..=1, true),
            (1..=1, 1..=2, true),
            (1..=2, 2..=3, true),
            (1..=1, 2..=3, false),
            (4..=5, 1..=3, false),
        ] {
            assert_eq!(
                (have_common_version(&one, &other), have_common_version(&other, &one)),
                (common, common),
                "{one:?} {other:?}"
            );
        }
    }
}
