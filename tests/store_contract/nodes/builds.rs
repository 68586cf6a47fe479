//! Nodes of different builds at one database: which of them may start.

use super::super::mysql::{self, Database};
use super::{Living, PATIENCE, join, me};
use ::mysql::prelude::Queryable;
use hongyan::store::mysql::NodeDatabase;
use hongyan::versions::{COMPATIBLE, FRAME_MAX, SCHEMA};
use std::time::Duration;

/// The reason why a node of this name is refused.
#[track_caller]
fn refusal(database: &Database, name: &str) -> String {
    NodeDatabase::join(&database.url(), name).unwrap_err().to_string()
}

fn change(database: &mut Database, statements: &[&str]) {
    for sql in statements {
        database.admin.query_drop(*sql).unwrap();
    }
}

/// Gives the version of the tables, and the least that a build must know to use them.
fn versions(database: &mut Database) -> (usize, usize) {
    database.admin.query_first("SELECT version, compatible FROM schema_version").unwrap().unwrap()
}

fn living(database: &Database, name: &str) -> Living {
    Living::new(join(database, name), Duration::from_secs(3_600))
}

/// The statements that undo the step from schema 9 to 10.
const BACK_TO_9: [&str; 4] = [
    "ALTER TABLE cluster DROP COLUMN epoch_floor, DROP COLUMN seq_floor",
    "ALTER TABLE nodes DROP COLUMN frame_min, DROP COLUMN schema_max, DROP COLUMN state, DROP COLUMN state_epoch",
    "ALTER TABLE schema_version DROP COLUMN compatible",
    "UPDATE schema_version SET version = 9",
];

#[test]
fn a_breaking_step_waits_until_no_node_of_an_older_build_lives() {
    let Some(mut database) = Database::new() else { return };
    let a = living(&database, "a");
    change(&mut database, &BACK_TO_9);
    let why = refusal(&database, "b");
    assert!(
        why.contains(&format!("its schema 9 would be brought to {SCHEMA}, which the node \"a\" cannot use")),
        "{why}"
    );
    assert!(refusal(&database, "a").contains("the node \"a\" cannot use"), "its name does not matter");
    let version: Option<u32> = database.admin.query_first("SELECT version FROM schema_version").unwrap();
    assert_eq!(version, Some(9), "nothing was changed");
    a.lease.end_incarnation();
    join(&database, "b");
    assert_eq!(versions(&mut database), (SCHEMA, COMPATIBLE));
}

#[test]
fn a_node_that_was_killed_stops_no_step_and_is_fenced_before_it() {
    let Some(mut database) = Database::new() else { return };
    // It has never given a sign of life.
    let a = join(&database, "a");
    let mut store = a.connect().unwrap();
    change(&mut database, &BACK_TO_9);
    join(&database, "b");
    assert!(hongyan::store::StoreConnection::begin(&mut store).is_err(), "nothing of it comes late");
    let epoch: Option<u64> = database.admin.query_first("SELECT epoch FROM nodes WHERE name = 'a'").unwrap();
    assert_eq!(epoch, Some(me(&a).epoch + 1));
}

#[test]
fn a_server_alone_and_a_copy_change_no_table_of_a_cluster() {
    let Some(mut database) = Database::new() else { return };
    let _a = living(&database, "a");
    change(&mut database, &BACK_TO_9);
    let why = mysql::refusal(&database.server());
    assert!(why.contains("it is that of a cluster"), "{why}");
    let into = hongyan::store::mysql::MysqlConnector::new_for(
        hongyan::store::portable::StoreOpenMode::CopyInto,
        &database.url(),
    );
    let why = mysql::refusal(&into.unwrap());
    assert!(why.contains("it is that of a cluster"), "{why}");
    let version: Option<u32> = database.admin.query_first("SELECT version FROM schema_version").unwrap();
    assert_eq!(version, Some(9));
}

#[test]
fn a_node_starts_on_newer_tables_that_are_compatible_with_it_only() {
    let Some(mut database) = Database::new() else { return };
    let a = living(&database, "a");
    let (newer, newest) = (SCHEMA + 1, SCHEMA + 2);
    change(
        &mut database,
        &[
            &format!("UPDATE schema_version SET version = {newest}, compatible = {SCHEMA}"),
            "CREATE TABLE of_a_newer_build (a INT)",
            "ALTER TABLE pushes ADD COLUMN of_a_newer_build INT NOT NULL DEFAULT 0",
        ],
    );
    let b = living(&database, "b");
    assert_eq!(versions(&mut database), (newest, SCHEMA), "left as it is");
    drop(b);
    change(&mut database, &[&format!("UPDATE schema_version SET compatible = {newer}")]);
    let why = refusal(&database, "c");
    assert!(why.contains(&format!("schema {newest}, which needs one that knows {newer}, this one knows")), "{why}");
    a.lease.end_incarnation();
}

#[test]
fn a_node_that_cannot_speak_with_one_that_lives_is_refused() {
    let Some(mut database) = Database::new() else { return };
    let mut a = living(&database, "a");
    let other = FRAME_MAX + 3;
    change(&mut database, &[&format!("UPDATE nodes SET frame_min = {other}, frame_max = {other}")]);
    let why = refusal(&database, "b");
    assert!(
        why.contains(&format!("the node \"a\" of its cluster speaks frames {other}-{other}, this build ")),
        "{why}"
    );
    let living: Vec<String> = database.admin.query("SELECT name FROM nodes WHERE renewed > 0").unwrap();
    assert_eq!(living, ["a"]);
    // A node whose row says so all the same harms nobody: no version is used that this build does
    // not speak.
    change(&mut database, &["UPDATE cluster SET view = view + 1"]);
    let number: u64 = database.admin.query_first("SELECT view FROM cluster").unwrap().unwrap();
    a.wait_for_view(|view| view.number >= number);
    a.lease.end_incarnation();
    // One that has left says nothing.
    let b = Living::new(join(&database, "b"), PATIENCE);
    assert_eq!(b.server.identity().frame_version(), FRAME_MAX);
}

#[test]
fn a_cluster_of_an_older_schema_gets_the_columns_for_a_bus() {
    let Some(mut database) = Database::new() else { return };
    let first = join(&database, "a");
    for sql in [
        "ALTER TABLE cluster DROP COLUMN mac_key",
        "ALTER TABLE cluster DROP COLUMN epoch_floor",
        "ALTER TABLE cluster DROP COLUMN seq_floor",
        "ALTER TABLE nodes DROP COLUMN frame_min",
        "ALTER TABLE nodes DROP COLUMN frame_max",
        "ALTER TABLE nodes DROP COLUMN schema_max, DROP COLUMN state, DROP COLUMN state_epoch",
        "ALTER TABLE schema_version DROP COLUMN compatible",
        "UPDATE schema_version SET version = 8",
    ] {
        database.admin.query_drop(sql).unwrap();
    }
    let again = join(&database, "a");
    assert_eq!(again.identity().hash_key, first.identity().hash_key);
    assert_ne!(again.identity().mac_key, [0; 32]);
    let frame_max: Option<u16> = database.admin.query_first("SELECT frame_max FROM nodes").unwrap();
    assert_eq!(frame_max, Some(FRAME_MAX));
}
