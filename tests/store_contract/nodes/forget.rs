//! A node that will not come back is forgotten, and its number is free.

use super::super::mysql::Database;
use super::{Living, join, me};
use crate::common::store::*;
use ::mysql::prelude::Queryable;
use hongyan::chat::contract::{NodeMessage, UserOwner};
use hongyan::store::mysql::{ForgetNodeResult, NodeDatabase};
use hongyan::store::{StoreConnection, mysql::NodeInboxWriter};
use std::time::{Duration, Instant};

fn living(database: &Database, name: &str) -> Living {
    Living::new(join(database, name), Duration::from_secs(3_600))
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

fn insert_users(database: &mut Database, count: u64, of: &NodeDatabase) {
    for number in 0..count {
        let sql = format!("INSERT INTO whereabouts VALUES ('u{number}', '', 2, {}, 3, 0)", me(of).epoch);
        database.admin.query_drop(sql).unwrap();
    }
}

fn owner(node: &NodeDatabase, name: &str) -> UserOwner {
    node.connect().unwrap().nodes().unwrap().owner(&user(name)).unwrap()
}

fn claim(node: &NodeDatabase, name: &str, epoch: u64, floor: u64) {
    let mut store = node.connect().unwrap();
    assert!(with(&mut store, |store| store.nodes().unwrap().claim(&user(name), epoch, floor)));
}

#[test]
fn a_node_that_lives_is_not_forgotten_nor_one_that_nobody_knows() {
    let Some(database) = Database::new() else { return };
    let (a, b) = (living(&database, "a"), living(&database, "b"));
    let members = a.lease.members();
    assert_eq!(members.forget("b", later()).unwrap(), ForgetNodeResult::Lives);
    assert_eq!(members.forget("a", later()).unwrap(), ForgetNodeResult::Lives, "it is the one that is asked");
    assert_eq!(members.forget("c", later()).unwrap(), ForgetNodeResult::Unknown);
    b.lease.end_incarnation();
    assert_eq!(members.forget("b", later()).unwrap(), ForgetNodeResult::Done { users: 0 });
    assert_eq!(members.forget("b", later()).unwrap(), ForgetNodeResult::Unknown);
}

#[test]
fn users_of_a_forgotten_node_belong_to_nobody_and_their_numbers_go_on_above_its_own() {
    let Some(mut database) = Database::new() else { return };
    let (mut a, b) = (living(&database, "a"), living(&database, "b"));
    let count = 2_500;
    insert_users(&mut database, count, &b.server);
    claim(&b.server, "ann", 0, 70);
    claim(&a.server, "bob", 0, 70);
    let inbox_writer = NodeInboxWriter::start(a.server.clone(), super::writer_limits(100)).unwrap();
    let limit = b.first_view.nodes[1].hlc_limit;
    b.lease.end_incarnation();
    // The records for it are not read any more.
    inbox_writer.send(me(&b.server), NodeMessage::Who);
    inbox_writer.finish(Duration::from_secs(30));
    let number = a.server.view().unwrap().number;
    assert_eq!(a.lease.members().forget("b", later()).unwrap(), ForgetNodeResult::Done { users: count + 1 });
    let ann = owner(&a.server, "ann");
    assert_eq!((ann.incarnation, ann.epoch), (None, 1));
    assert!(ann.floor >= limit && owner(&a.server, "u7").floor >= limit);
    assert_eq!(owner(&a.server, "bob").incarnation, Some(me(&a.server)), "those of others stay");
    let view = a.wait_for_view(|view| view.number > number);
    assert_eq!(view.nodes.len(), 1);
    for table in ["mail", "lanes"] {
        let rows: Option<u64> =
            database.admin.query_first(format!("SELECT count(*) FROM {table} WHERE node = 2")).unwrap();
        assert_eq!(rows, Some(0), "{table}");
    }
}

#[test]
fn a_forget_that_is_not_finished_in_time_goes_on_at_the_next_call() {
    let Some(mut database) = Database::new() else { return };
    let (a, b) = (living(&database, "a"), living(&database, "b"));
    insert_users(&mut database, 2_500, &b.server);
    b.lease.end_incarnation();
    let mut calls = 0;
    let result = loop {
        // The time is over at once, so each call does one part.
        match a.lease.members().forget("b", Instant::now()).unwrap() {
            ForgetNodeResult::Unfinished => calls += 1,
            result => break result,
        }
        assert_eq!(a.server.view().unwrap().nodes.len(), 2, "it is there until all is done");
        assert!(calls < 100, "it does not go on");
    };
    assert_eq!((result, calls), (ForgetNodeResult::Done { users: 2_500 }, 3));
}

#[test]
fn nodes_can_start_while_the_users_of_a_forgotten_one_are_released() {
    let Some(mut database) = Database::new() else { return };
    let (a, b) = (living(&database, "a"), living(&database, "b"));
    insert_users(&mut database, 1, &b.server);
    b.lease.end_incarnation();
    let members = a.lease.members();
    // It waits for this row.
    database.admin.query_drop("START TRANSACTION").unwrap();
    database.admin.query_drop("UPDATE whereabouts SET floor = 9 WHERE user_name = 'u0'").unwrap();
    std::thread::scope(|scope| {
        // It gives up after a while, and may be repeated.
        let forget = || (0..30).find_map(|_| members.forget("b", later()).ok());
        let forgotten = scope.spawn(forget);
        let lock = "IS_USED_LOCK(CONCAT('hongyan:', LEFT(SHA2(DATABASE(), 256), 40)))";
        let sql = format!(
            "SELECT {lock} FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE 'UPDATE whereabouts%'"
        );
        let until = later();
        let holder: Option<u64> = loop {
            if let Some(holder) = database.admin.query_first(&sql).unwrap() {
                break holder;
            }
            assert!(Instant::now() < until && !forgotten.is_finished());
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(holder, None, "the lock of starting nodes is held");
        let c = join(&database, "c");
        database.admin.query_drop("COMMIT").unwrap();
        assert_eq!(forgotten.join().unwrap(), Some(ForgetNodeResult::Done { users: 1 }));
        assert_eq!(c.view().unwrap().nodes.len(), 2);
    });
}

#[test]
fn a_node_with_the_number_of_a_forgotten_one_begins_above_all_that_it_has_used() {
    let Some(mut database) = Database::new() else { return };
    let a = living(&database, "a");
    let mut zombie = join(&database, "b");
    for _ in 0..3 {
        assert!(zombie.end_incarnation().unwrap());
        zombie = join(&database, "b");
    }
    // It was fenced by mistake, and its process goes on.
    let mut late = zombie.connect().unwrap();
    database.admin.query_drop("UPDATE nodes SET hlc_limit = 1 << 62 WHERE name = 'b'").unwrap();
    assert!(a.server.fence(me(&zombie)).unwrap());
    assert_eq!(a.lease.members().forget("b", later()).unwrap(), ForgetNodeResult::Done { users: 0 });
    let c = join(&database, "c");
    assert_eq!(me(&c).node, me(&zombie).node);
    assert!(me(&c).epoch > me(&zombie).epoch + 1, "{:?}", me(&c));
    assert!(c.identity().floor >= 1 << 62);
    assert!(late.begin().is_err() && zombie.connect().is_err(), "nothing of it is committed");
    // When every number was given once, those that are free are given again.
    for number in (1..=1_023).filter(|number| ![1, 2, 77].contains(number)) {
        let sql = format!(
            "INSERT INTO nodes (node, name, epoch, renewed, hlc_limit, build) VALUES ({number}, 'n{number}', 1, 0, 1, '')"
        );
        database.admin.query_drop(sql).unwrap();
    }
    assert_eq!(me(&join(&database, "d")).node.get(), 77);
    let why = NodeDatabase::join(&database.url(), "e").unwrap_err().to_string();
    assert!(why.contains("it has 1023 nodes: forget those that are gone"), "{why}");
}
