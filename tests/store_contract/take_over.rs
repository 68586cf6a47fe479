//! One server takes another one's place in a database: nothing of the old one is committed after
//! that. Skipped without `HONGYAN_TEST_MYSQL`.

use super::mysql::{Database, kill_lock, refusal};
use crate::common::store::*;
use hongyan::store::mysql::{MysqlServer, MysqlStore};
use hongyan::store::Store;
use mysql::prelude::Queryable;
use std::time::Duration;

/// A transaction that has saved a push; its server has lost the lock meanwhile.
fn transaction_without_lock(database: &mut Database) -> (MysqlServer, MysqlStore) {
    let first = database.server();
    let mut store = first.connect().unwrap();
    sign_up(&mut store, &["ann", "bob"]);
    store.begin().unwrap();
    store.save_pushes(&[message(1, "bob", "ann", "m1")]).unwrap();
    kill_lock(database);
    (first, store)
}

#[test]
fn who_takes_over_waits_for_a_transaction_that_is_under_way() {
    let Some(mut database) = Database::new() else { return };
    let (_first, mut store) = transaction_without_lock(&mut database);
    let second = database.server();
    let taking_over = std::thread::spawn(move || (second.connect().map(|mut store| store.last_seq()), second));
    // It may be committed yet, and be promised. Less than a database waits for a lock.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!taking_over.is_finished());
    store.commit().unwrap();
    let (last_seq, _second) = taking_over.join().unwrap();
    assert_eq!(last_seq.unwrap().unwrap(), 1);
    assert!(store.begin().is_err());
}

#[test]
fn who_takes_over_ends_a_transaction_that_does_not_end_itself() {
    let Some(mut database) = Database::new() else { return };
    let (_first, mut store) = transaction_without_lock(&mut database);
    let second = database.server();
    assert_eq!(second.connect().unwrap().last_seq().unwrap(), 0);
    store.commit().unwrap_err();
    assert!(store.is_broken(), "nothing was promised");
}

/// What the lock of another node of a cluster comes to: it keeps nobody away here.
#[test]
fn the_epoch_alone_ends_what_another_server_writes() {
    let Some(mut database) = Database::new() else { return };
    let first = database.server();
    let mut store = first.connect().unwrap();
    save(&mut store, &[message(1, "bob", "ann", "m1")]);
    database.admin.query_drop("UPDATE lanes SET epoch = 7").unwrap();
    assert!(store.begin().is_err() && store.is_broken());
    let why = refusal(&first);
    assert!(why.contains("must be started again"), "{why}");
}
