//! How often a node reads the database by itself.

use super::super::mysql::Database;
use super::{Living, PATIENCE, join};
use ::mysql::prelude::Queryable;
use std::time::{Duration, Instant};

/// So many changes of the view, each as soon as the node has read the one before: it reads each
/// with a look of its own.
fn time_of_changes(database: &mut Database, node: &mut Living, count: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..count {
        database.admin.query_drop("UPDATE cluster SET view = view + 1").unwrap();
        let number: u64 = database.admin.query_first("SELECT view FROM cluster").unwrap().unwrap();
        node.wait_for_view(|view| view.number >= number);
    }
    began.elapsed()
}

#[test]
fn a_node_reads_the_database_often_again_when_its_bus_is_away() {
    let Some(mut database) = Database::new() else { return };
    let mut node = Living::new(join(&database, "a"), PATIENCE);
    node.lease.poll_rarely(true);
    // After the wait that was under way, it looks once a second.
    time_of_changes(&mut database, &mut node, 1);
    let rare = time_of_changes(&mut database, &mut node, 3);
    assert!(rare > Duration::from_millis(1_500), "{rare:?}");
    node.lease.poll_rarely(false);
    let often = time_of_changes(&mut database, &mut node, 20);
    assert!(often < Duration::from_secs(10), "20 looks in {often:?}");
}
