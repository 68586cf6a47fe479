//! Two servers by turns on the two nodes of a cluster: nothing of the one is committed after the
//! other has taken its place.

use crate::common::store::message;
use hongyan::store::mysql::{ActiveServerCheckResult, ActiveServerWatch, MysqlConnector};
use hongyan::store::{StoreConnection, StoreError};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const WRITERS: usize = 4;

/// Writes until the place is taken; gives how much was promised.
fn write(server: MysqlConnector, next_seq: Arc<AtomicU64>) -> JoinHandle<u64> {
    thread::spawn(move || {
        let mut promised = 0;
        let open = || loop {
            match server.connect() {
                Ok(store) => return Some(store),
                Err(StoreError::Busy(_) | StoreError::Unavailable(_)) => {}
                Err(_) => return None,
            }
        };
        let mut opened = open();
        while let Some(store) = &mut opened {
            let seq = next_seq.fetch_add(1, Ordering::SeqCst);
            let done = store
                .begin()
                .and_then(|()| store.save_pushes(&[message(seq, "ann", "bob", &format!("m{seq}"))]))
                .and_then(|_| store.commit());
            if done.is_ok() {
                promised += 1;
                continue;
            }
            store.rollback();
            if store.is_broken() {
                // The old connection first: it may hold locks.
                opened = None;
                opened = open().or(opened);
            }
        }
        promised
    })
}

fn epoch(url: &str) -> u64 {
    let mut watch = ActiveServerWatch::new(MysqlConnector::new(url).unwrap(), Duration::ZERO);
    loop {
        match watch.check() {
            Ok(ActiveServerCheckResult::Gone { epoch }) => return epoch,
            Ok(ActiveServerCheckResult::Active) => panic!("it was silent for longer than 0 s"),
            // The node has much to apply.
            Err(StoreError::Busy(_) | StoreError::Unavailable(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Takes the place of the server that writes, as a standby does: again, if that was faster.
fn take_place(url: &str) -> MysqlConnector {
    loop {
        let server = MysqlConnector::new(url).unwrap().succeed(epoch(url));
        match server.connect() {
            Ok(_) => return server,
            Err(StoreError::Busy(_) | StoreError::Unavailable(_) | StoreError::InUse(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Both by URLs of the same database, each of its own node. Gives what was promised in all.
pub(crate) fn nothing_is_committed_behind_it(urls: [&str; 2], rounds: usize) -> u64 {
    let (next_seq, mut first_seq, mut promised, mut behind) = (Arc::new(AtomicU64::new(1)), 1, 0, 0);
    let mut writing: Vec<JoinHandle<u64>> = Vec::new();
    for round in 0..=rounds {
        let url = urls[round % 2];
        let server = take_place(url);
        // This node sees everything that all nodes have committed by now.
        let mut conn = Conn::new(Opts::from_url(url).unwrap()).unwrap();
        conn.query_drop("SET SESSION wsrep_sync_wait = 7").unwrap();
        let sql = format!("SELECT count(*) FROM pushes WHERE seq >= {first_seq}");
        let mut count = || conn.query_first::<u64, _>(&sql).unwrap().unwrap();
        let before = count();
        thread::sleep(Duration::from_millis(50));
        behind += count() - before;
        let of_this_round = writing.drain(..).map(|writer| writer.join().unwrap()).sum::<u64>();
        assert!(count() >= of_this_round, "round {round}: {of_this_round} were promised, {} are there", count());
        promised += of_this_round;
        first_seq = next_seq.load(Ordering::SeqCst);
        if round < rounds {
            writing = (0..WRITERS).map(|_| write(server.clone(), Arc::clone(&next_seq))).collect();
            thread::sleep(Duration::from_millis(30));
        }
    }
    assert_eq!(behind, 0, "committed after another server had taken over");
    promised
}
