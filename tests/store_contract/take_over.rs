//! One server takes another one's place in a database: nothing of the old one is committed after
//! that. Skipped without `HONGYAN_TEST_MYSQL`.

use super::mysql::{Database, kill_lock, refusal};
use crate::common::store::*;
use hongyan::store::mysql::{
    ActiveServerCheckResult, ActiveServerHeartbeat, ActiveServerWatch, MysqlConnector, MysqlStore,
};
use hongyan::store::{StoreConnection, StoreError};
use mysql::prelude::Queryable;
use std::time::{Duration, Instant};

/// A transaction that has saved a push; its server has lost the lock meanwhile.
fn transaction_without_lock(database: &mut Database) -> (MysqlConnector, MysqlStore) {
    let first = database.server();
    let mut store = first.connect().unwrap();
    sign_up(&mut store, &["ann", "bob"]);
    store.begin().unwrap();
    store.save_pushes(&[message(1, "bob", "ann", "m1")]).unwrap();
    kill_lock(database);
    (first, store)
}

#[test]
fn a_take_over_waits_for_a_transaction_that_is_under_way() {
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
fn a_take_over_ends_a_transaction_that_does_not_end_itself() {
    let Some(mut database) = Database::new() else { return };
    let (_first, mut store) = transaction_without_lock(&mut database);
    let second = database.server();
    assert_eq!(second.connect().unwrap().last_seq().unwrap(), 0);
    store.commit().unwrap_err();
    assert!(store.is_broken(), "nothing was promised");
}

/// The lock of another node of a cluster keeps nobody away here.
#[test]
fn the_epoch_alone_ends_the_writes_of_another_server() {
    let Some(mut database) = Database::new() else { return };
    let first = database.server();
    let mut store = first.connect().unwrap();
    save(&mut store, &[message(1, "bob", "ann", "m1")]);
    database.admin.query_drop("UPDATE lanes SET epoch = 7").unwrap();
    assert!(store.begin().is_err() && store.is_broken());
    let why = refusal(&first);
    assert!(why.contains("must be started again"), "{why}");
}

#[test]
fn rows_that_are_missing_or_changed_by_hand_are_mended_by_the_next_server() {
    let Some(mut database) = Database::new() else { return };
    for harm in ["DELETE FROM lanes", "DELETE FROM lanes WHERE lane > 0", "UPDATE lanes SET epoch = 7 WHERE lane = 1"] {
        drop(database.server().connect().unwrap());
        database.admin.query_drop(harm).unwrap();
        let mut store = database.server().connect().unwrap();
        store.begin().unwrap();
        store.rollback();
        let same: Vec<(u64, u64)> = database.admin.query("SELECT epoch, count(*) FROM lanes GROUP BY epoch").unwrap();
        assert!(same.len() == 1 && same[0].1 == 128, "{harm}: {same:?}");
    }
}

#[test]
fn a_standby_waits_for_silence_and_takes_the_place_of_a_server_that_holds_its_lock() {
    let Some(mut database) = Database::new() else { return };
    let silent_max = Duration::from_millis(300);
    let mut watch = ActiveServerWatch::new(database.server(), silent_max);
    // Nobody was ever there.
    assert_eq!(watch.check().unwrap(), ActiveServerCheckResult::Gone { epoch: 0 });
    let first = database.server();
    let mut store = first.connect().unwrap();
    let until = Instant::now() + 2 * silent_max;
    for seq in 1.. {
        save(&mut store, &[message(seq, "bob", "ann", &format!("m{seq}"))]);
        assert_eq!(watch.check().unwrap(), ActiveServerCheckResult::Active, "every transaction is a sign of life");
        if Instant::now() > until {
            break;
        }
    }
    let last = store.last_seq().unwrap();
    store.begin().unwrap();
    let epoch = loop {
        if let ActiveServerCheckResult::Gone { epoch } = watch.check().unwrap() {
            break epoch;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(database.admin.query_first::<u64, _>("SELECT epoch FROM lanes WHERE lane = 0").unwrap(), Some(epoch));
    assert!(refusal(&database.server()).contains("another server uses this database"), "it still holds the lock");
    // Another one was faster.
    let late = database.server().succeed(epoch + 1);
    assert!(matches!(late.connect(), Err(StoreError::InUse(_))));
    let second = database.server().succeed(epoch);
    assert_eq!(second.connect().unwrap().last_seq().unwrap(), last);
    assert!(store.commit().is_err(), "its connection was ended");
    assert!(refusal(&first).contains("must be started again"));
    drop((store, first));
}

#[test]
fn a_clean_stop_tells_a_standby_at_once() {
    let Some(database) = Database::new() else { return };
    let mut watch = ActiveServerWatch::new(database.server(), Duration::from_secs(3_600));
    let first = database.server();
    let keeper = ActiveServerHeartbeat::start(first.clone(), || panic!("nobody takes over")).unwrap();
    drop(first.connect().unwrap());
    assert_eq!(watch.check().unwrap(), ActiveServerCheckResult::Active);
    drop((keeper, first));
    assert_eq!(watch.check().unwrap(), ActiveServerCheckResult::Gone { epoch: 0 });
}

#[test]
fn a_server_that_has_nothing_to_write_finds_out_that_another_one_has_taken_over() {
    let Some(database) = Database::new() else { return };
    let first = database.server();
    let (told, taken_over) = std::sync::mpsc::channel();
    let _keeper = ActiveServerHeartbeat::start(first.clone(), move || told.send(()).unwrap()).unwrap();
    let _store = first.connect().unwrap();
    let mut watch = ActiveServerWatch::new(database.server(), Duration::ZERO);
    let ActiveServerCheckResult::Gone { epoch } = watch.check().unwrap() else {
        panic!("it was silent for longer than 0 s")
    };
    let second = database.server().succeed(epoch);
    let _other = second.connect().unwrap();
    taken_over.recv_timeout(Duration::from_secs(20)).unwrap();
}
