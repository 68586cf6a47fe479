//! One node writes without a pause, and another one fences it, perhaps through another server of
//! the database cluster. No transaction of the first may commit after its fence.

use crate::common::store::message;
use hongyan::store::mysql::NodeDatabase;
use hongyan::store::{StoreConnection, StoreError};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const WRITERS: usize = 4;

/// Writes until the node is fenced. Gives the number of promises.
fn write(node: NodeDatabase, next_seq: Arc<AtomicU64>) -> JoinHandle<u64> {
    thread::spawn(move || {
        let (mut promised, mut store) = (0, None);
        while !node.identity().is_fenced() {
            let Some(open) = &mut store else {
                store = node.connect().ok();
                continue;
            };
            let seq = next_seq.fetch_add(1, Ordering::SeqCst);
            let done = open
                .begin()
                .and_then(|()| open.save_pushes(&[message(seq, "ann", "bob", &format!("m{seq}"))]))
                .and_then(|_| open.commit());
            if done.is_ok() {
                promised += 1;
                continue;
            }
            open.rollback();
            if open.is_broken() {
                store = None;
            }
        }
        promised
    })
}

/// Tries again as long as a node would.
pub(crate) fn retried<T>(mut work: impl FnMut() -> Result<T, StoreError>) -> T {
    loop {
        match work() {
            Ok(done) => return done,
            Err(StoreError::Busy(_) | StoreError::Unavailable(_) | StoreError::InUse(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// One node writes through the first URL, the other fences through the second. Gives the number of
/// promises.
pub(crate) fn nothing_is_committed_behind_it([first, second]: [&str; 2], rounds: usize) -> u64 {
    let (next_seq, mut first_seq, mut promised, mut behind) = (Arc::new(AtomicU64::new(1)), 1, 0, 0);
    let fencer = retried(|| NodeDatabase::join(second, "fencer"));
    let mut conn = Conn::new(Opts::from_url(second).unwrap()).unwrap();
    // Makes reads see what any server of the database has committed. A single server ignores it.
    conn.query_drop("SET SESSION wsrep_sync_wait = 7").ok();
    for round in 0..rounds {
        let node = retried(|| NodeDatabase::join(first, "writer"));
        let writing: Vec<_> = (0..WRITERS).map(|_| write(node.clone(), Arc::clone(&next_seq))).collect();
        thread::sleep(Duration::from_millis(40));
        assert!(retried(|| fencer.fence(node.identity().incarnation)));
        let sql = format!("SELECT count(*) FROM pushes WHERE seq >= {first_seq}");
        let mut count = || conn.query_first::<u64, _>(&sql).unwrap().unwrap();
        let before = count();
        thread::sleep(Duration::from_millis(50));
        behind += count() - before;
        let of_this_round = writing.into_iter().map(|writer| writer.join().unwrap()).sum::<u64>();
        assert!(count() >= of_this_round, "round {round}: {of_this_round} were promised, {} are there", count());
        promised += of_this_round;
        first_seq = next_seq.load(Ordering::SeqCst);
    }
    assert_eq!(behind, 0, "committed behind the fence");
    assert!(promised > 0);
    promised
}
