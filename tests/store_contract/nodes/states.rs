//! The marks that nodes write about themselves, and about nodes that they fence, as operators see
//! them.

use super::super::mysql::Database;
use super::{Living, PATIENCE, join, me};
use ::mysql::prelude::Queryable;
use hongyan::store::mysql::NodeLiveness;
use hongyan::versions::SCHEMA;
use std::time::{Duration, Instant};

const NEVER: Duration = Duration::from_secs(3_600);

fn state_of(seen_by: &Living, name: &str) -> NodeLiveness {
    let members = seen_by.lease.members().read().unwrap();
    members.nodes.into_iter().find(|node| node.name == name).unwrap().state
}

#[track_caller]
fn wait_for(seen_by: &Living, name: &str, state: NodeLiveness) {
    let until = Instant::now() + PATIENCE;
    while state_of(seen_by, name) != state {
        assert!(Instant::now() < until, "{name} is {:?}", state_of(seen_by, name));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn operators_see_whether_a_node_drains_has_stopped_or_was_fenced() {
    let Some(mut database) = Database::new() else { return };
    let a = Living::new(join(&database, "a"), NEVER);
    let b = Living::new(join(&database, "b"), NEVER);
    assert_eq!((state_of(&a, "a"), state_of(&a, "b")), (NodeLiveness::Lives, NodeLiveness::Lives));
    b.lease.note_draining();
    wait_for(&a, "b", NodeLiveness::Draining);
    assert_eq!(state_of(&a, "a"), NodeLiveness::Lives);
    b.lease.end_incarnation();
    assert_eq!(state_of(&a, "b"), NodeLiveness::Stopped);
    let b = Living::new(join(&database, "b"), NEVER);
    assert_eq!(state_of(&a, "b"), NodeLiveness::Lives, "the mark was that of its former life");
    b.lease.note_draining();
    wait_for(&a, "b", NodeLiveness::Draining);
    assert!(a.server.fence(me(&b.server)).unwrap());
    assert_eq!(state_of(&a, "b"), NodeLiveness::Fenced);
    // A build that does not know the columns of the mark changes only the others.
    let c = Living::new(join(&database, "c"), NEVER);
    c.lease.note_draining();
    wait_for(&a, "c", NodeLiveness::Draining);
    database.admin.query_drop("UPDATE nodes SET epoch = epoch + 1, renewed = 0 WHERE name = 'c'").unwrap();
    assert_eq!(state_of(&a, "c"), NodeLiveness::Gone);
    database.admin.query_drop("UPDATE nodes SET epoch = epoch + 1, renewed = 1 WHERE name = 'c'").unwrap();
    wait_for(&a, "c", NodeLiveness::Lives);
}

#[test]
fn the_step_to_schema_11_does_not_disturb_a_node_that_knows_10() {
    let Some(mut database) = Database::new() else { return };
    let a = join(&database, "a");
    for sql in [
        "ALTER TABLE nodes DROP COLUMN state, DROP COLUMN state_epoch",
        "UPDATE nodes SET schema_max = 10",
        "UPDATE schema_version SET version = 10",
    ] {
        database.admin.query_drop(sql).unwrap();
    }
    let a = Living::new(a, NEVER);
    let b = Living::new(join(&database, "b"), NEVER);
    let versions: Option<(usize, usize)> =
        database.admin.query_first("SELECT version, compatible FROM schema_version").unwrap();
    assert_eq!(versions, Some((SCHEMA, 10)));
    assert_eq!((state_of(&b, "a"), state_of(&b, "b")), (NodeLiveness::Lives, NodeLiveness::Lives));
    assert!(a.fenced.try_recv().is_err());
}
