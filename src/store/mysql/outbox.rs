//! What this node says to others, written into the table `mail` by a thread of its own.

use super::nodes::NodeServer;
use super::{MysqlStore, ROW_BYTES, SIZES, STATEMENT_BYTES_MAX, repeated, size_of_group};
use crate::chat::contract::{Incarnation, Record};
use crate::protocol::field::UserName;
use crate::store::{Store, StoreError, records};
use mysql::Value;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The pause after a try that failed, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What waits to be written.
#[derive(Default)]
struct Waiting {
    records: VecDeque<(Incarnation, Record)>,
    /// The `Look`s among them behind which nothing else is but such and `Friend`s.
    looks: HashSet<(Incarnation, UserName)>,
    /// Records to these were not kept.
    missed: BTreeSet<Incarnation>,
    is_over: bool,
}

/// Takes records to other nodes. Its thread ends with it.
pub struct Outbox {
    shared: Arc<Shared>,
    records_max: usize,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing that is done under it can panic half-way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that waits, as soon as there is something, with a word in the place of what was not
    /// kept. `None`: it is over.
    fn take(&self) -> Option<VecDeque<(Incarnation, Record)>> {
        let mut waiting = self.waiting();
        while waiting.records.is_empty() && !waiting.is_over {
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.is_over {
            return None;
        }
        let mut records = std::mem::take(&mut waiting.records);
        waiting.looks.clear();
        records.extend(std::mem::take(&mut waiting.missed).into_iter().map(|to| (to, Record::Missed)));
        Some(records)
    }

    /// Waits, unless it is over. `false`: it is.
    fn pause(&self, time: Duration) -> bool {
        let waiting = self.waiting();
        let (waiting, _) = self
            .filled
            .wait_timeout_while(waiting, time, |waiting| !waiting.is_over)
            .unwrap_or_else(PoisonError::into_inner);
        !waiting.is_over
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").field("records_max", &self.records_max).finish_non_exhaustive()
    }
}

impl Outbox {
    /// Starts its thread. Of more than `records_max` that wait nothing is kept but that there were
    /// some.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(server: NodeServer, records_max: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new().name("mail".to_owned()).spawn(move || deliver(&server, &of_thread))?;
        Ok(Self { shared, records_max })
    }

    /// Takes one more. Never waits.
    pub fn send(&self, to: Incarnation, record: Record) {
        let mut waiting = self.shared.waiting();
        match &record {
            Record::Look { user } => {
                if waiting.looks.contains(&(to, user.clone())) {
                    return;
                }
            }
            Record::Friend { .. } => {}
            _ => waiting.looks.clear(),
        }
        if waiting.records.len() >= self.records_max {
            waiting.missed.insert(to);
            return;
        }
        if let Record::Look { user } = &record {
            waiting.looks.insert((to, user.clone()));
        }
        waiting.records.push_back((to, record));
        self.shared.filled.notify_one();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.waiting().is_over = true;
        self.shared.filled.notify_one();
    }
}

fn deliver(server: &NodeServer, shared: &Shared) {
    let mut store = None;
    while let Some(mut records) = shared.take() {
        let mut pause = FIRST_PAUSE;
        while !records.is_empty() {
            // What was written is not written again but when that is not known.
            let written = write_some(server, &mut store, &records);
            match written {
                Ok(count) => {
                    records.drain(..count);
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    if server.seat().is_fenced() {
                        return;
                    }
                    log::debug!("what is said to other nodes cannot be written yet: {error}");
                    if store.as_ref().is_some_and(MysqlStore::is_broken) {
                        store = None;
                    }
                    if !shared.pause(pause) {
                        return;
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

/// Writes the first of them, as many as one transaction takes; gives how many.
fn write_some(
    server: &NodeServer,
    store: &mut Option<MysqlStore>,
    records: &VecDeque<(Incarnation, Record)>,
) -> Result<usize, StoreError> {
    let store = match store {
        Some(store) => store,
        None => store.insert(server.connect()?),
    };
    let (me, row_max) = (server.seat().me, store.row_bytes_max().saturating_sub(ROW_BYTES));
    let mut rows = Vec::new();
    let mut weight = 0;
    for (to, record) in records.iter().take(SIZES[0]) {
        let mut text = records::write(me, *to, record);
        if text.len() > row_max {
            text = records::write(me, *to, &Record::Missed);
        }
        weight += text.len();
        if weight > STATEMENT_BYTES_MAX.min(row_max) && !rows.is_empty() {
            break;
        }
        rows.push((to.node.get(), text));
    }
    let size = SIZES[size_of_group(rows.len(), |_| true)];
    rows.truncate(size);
    store.begin()?;
    let done = insert(store, rows).and_then(|()| store.commit());
    if done.is_err() {
        store.rollback();
    }
    done.map(|()| size)
}

fn insert(store: &mut MysqlStore, rows: Vec<(u16, Vec<u8>)>) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO mail (node, record) VALUES {}", repeated("(?, ?)", rows.len()));
    let values = rows.into_iter().flat_map(|(node, text)| [Value::UInt(node.into()), Value::Bytes(text)]).collect();
    store.change(&sql, values).map(drop)
}
