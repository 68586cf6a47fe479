//! The inbox writer: a thread that writes the records of this node for other nodes into their
//! inboxes, the table `mail`.

use super::nodes::NodeDatabase;
use super::{MysqlStore, ROW_BYTES, SIZES, STATEMENT_BYTES_MAX, repeat_list, size_of_group};
use crate::chat::contract::{NodeIncarnation, NodeMessage};
use crate::protocol::field::UserName;
use crate::store::{StoreConnection, StoreError, records};
use crate::versions::{FRAME_MAX, FRAME_MIN};
use mysql::Value;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The shortest and the longest pause after a failed try.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The memory of a record without its texts.
const RECORD_BYTES: usize = 128;

/// How much may wait to be written. While records are being written, as much again may wait.
#[derive(Clone, Copy, Debug)]
pub struct NodeInboxWriterLimits {
    /// The maximum number of records.
    pub records_max: usize,
    /// The maximum of their total size in bytes; a single record may exceed it.
    pub bytes_max: usize,
}

/// The records that wait to be written.
#[derive(Default)]
struct NodeInboxWriterState {
    records: VecDeque<(NodeIncarnation, NodeMessage)>,
    bytes: usize,
    /// The waiting `Look`s that only `Look` and `Friend` records follow.
    pending_looks: HashSet<(NodeIncarnation, UserName)>,
    /// The incarnations for which records were not kept.
    missed_incarnations: BTreeSet<NodeIncarnation>,
    is_closed: bool,
    /// No more records come: the thread ends when all are written.
    is_last: bool,
    /// The thread has ended.
    has_ended: bool,
}

impl NodeInboxWriterState {
    /// Keeps one more record, if there is room. Returns `false` if there is nothing new to write.
    fn push(&mut self, to: NodeIncarnation, record: NodeMessage, bounds: NodeInboxWriterLimits) -> bool {
        match &record {
            NodeMessage::Look { user } => {
                if self.pending_looks.contains(&(to, user.clone())) {
                    return false;
                }
            }
            NodeMessage::Friend { .. } => {}
            _ => self.pending_looks.clear(),
        }
        let bytes = RECORD_BYTES + record.weight_bytes();
        let is_full =
            self.records.len() >= bounds.records_max || (self.bytes > 0 && self.bytes + bytes > bounds.bytes_max);
        if is_full {
            self.missed_incarnations.insert(to);
            return false;
        }
        self.bytes += bytes;
        if let NodeMessage::Look { user } = &record {
            self.pending_looks.insert((to, user.clone()));
        }
        self.records.push_back((to, record));
        true
    }

    /// Takes all records. `RecordsMissed` takes the place of those that were not kept.
    fn take(&mut self) -> VecDeque<(NodeIncarnation, NodeMessage)> {
        let mut records = std::mem::take(&mut self.records);
        self.pending_looks.clear();
        self.bytes = 0;
        records.extend(
            std::mem::take(&mut self.missed_incarnations).into_iter().map(|to| (to, NodeMessage::RecordsMissed)),
        );
        records
    }
}

/// Takes records for other nodes, and writes them. Its thread ends when it is dropped.
pub struct NodeInboxWriter {
    shared: Arc<NodeInboxWriterShared>,
    bounds: NodeInboxWriterLimits,
}

#[derive(Default)]
struct NodeInboxWriterShared {
    state: Mutex<NodeInboxWriterState>,
    changed: Condvar,
}

impl NodeInboxWriterShared {
    fn lock_state(&self) -> MutexGuard<'_, NodeInboxWriterState> {
        // No code under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All waiting records, as soon as there are some. `RecordsMissed` takes the place of those
    /// that were not kept. `None`: the inbox writer has ended.
    fn take(&self) -> Option<VecDeque<(NodeIncarnation, NodeMessage)>> {
        let mut waiting = self.lock_state();
        while waiting.records.is_empty() && !waiting.is_closed && !waiting.is_last {
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if waiting.is_closed
            || (waiting.is_last && waiting.records.is_empty() && waiting.missed_incarnations.is_empty())
        {
            return None;
        }
        Some(waiting.take())
    }

    /// Waits. Returns `false` if the writer has ended.
    fn pause(&self, time: Duration) -> bool {
        let waiting = self.lock_state();
        let (waiting, _) = self
            .changed
            .wait_timeout_while(waiting, time, |waiting| !waiting.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        !waiting.is_closed
    }
}

impl std::fmt::Debug for NodeInboxWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeInboxWriter").field("bounds", &self.bounds).finish_non_exhaustive()
    }
}

impl NodeInboxWriter {
    /// Starts its thread. Beyond the bounds it only remembers that there were records.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(server: NodeDatabase, bounds: NodeInboxWriterLimits) -> std::io::Result<Self> {
        let shared = Arc::new(NodeInboxWriterShared::default());
        let of_thread = Arc::clone(&shared);
        let work = move || {
            write_until_closed(&server, &of_thread);
            of_thread.lock_state().has_ended = true;
            of_thread.changed.notify_all();
        };
        std::thread::Builder::new().name("inbox-writer".to_owned()).spawn(work)?;
        Ok(Self { shared, bounds })
    }

    /// Takes one more record. Never waits.
    pub fn send(&self, to: NodeIncarnation, record: NodeMessage) {
        if self.shared.lock_state().push(to, record, self.bounds) {
            self.shared.changed.notify_one();
        }
    }
}

impl NodeInboxWriter {
    /// The number of records that wait to be written.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.shared.lock_state().records.len()
    }

    /// Waits until all are written, or this time has passed.
    pub fn finish(self, within: Duration) {
        let mut waiting = self.shared.lock_state();
        waiting.is_last = true;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(waiting, within, |waiting| !waiting.has_ended);
        let (waiting, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        if timed_out.timed_out() {
            log::warn!(
                "{} records to other nodes could not be written: they look for themselves",
                waiting.records.len()
            );
        }
    }
}

impl Drop for NodeInboxWriter {
    fn drop(&mut self) {
        self.shared.lock_state().is_closed = true;
        self.shared.changed.notify_one();
    }
}

/// Writes until no more records come, the writer is dropped, or this node is fenced.
fn write_until_closed(server: &NodeDatabase, shared: &NodeInboxWriterShared) {
    let mut store = None;
    while let Some(mut records) = shared.take() {
        let mut pause = FIRST_PAUSE;
        while !records.is_empty() {
            // Records that were written are written again only if the outcome was not known.
            let written = write_first(server, &mut store, &records);
            match written {
                Ok(count) => {
                    records.drain(..count);
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    if server.identity().is_fenced() {
                        return;
                    }
                    log::debug!("records to other nodes cannot be written yet: {error}");
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

/// Writes the first records, as many as fit into one transaction. Returns their number.
fn write_first(
    server: &NodeDatabase,
    store: &mut Option<MysqlStore>,
    records: &VecDeque<(NodeIncarnation, NodeMessage)>,
) -> Result<usize, StoreError> {
    let store = match store {
        Some(store) => store,
        None => store.insert(server.connect()?),
    };
    let (me, row_max) = (server.identity().incarnation, store.row_bytes_max().saturating_sub(ROW_BYTES));
    // Each incarnation that is known here was counted when this was read, or has ended.
    let version = server.identity().frame_version().clamp(FRAME_MIN, FRAME_MAX);
    let mut rows = Vec::new();
    let mut weight = 0;
    for (to, record) in records.iter().take(SIZES[0]) {
        let mut text = records::write(version, me, *to, record);
        if text.len() > row_max {
            text = records::write(version, me, *to, &NodeMessage::RecordsMissed);
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
    let sql = format!("INSERT INTO mail (node, record) VALUES {}", repeat_list("(?, ?)", rows.len()));
    let values = rows.into_iter().flat_map(|(node, text)| [Value::UInt(node.into()), Value::Bytes(text)]).collect();
    store.change(&sql, values).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::contract::{HandoverDedupEntry, HandoverReceiversWithUnnotifiedOwners, NodeId, UserHandoverData};

    fn node(number: u16) -> NodeIncarnation {
        NodeIncarnation { node: NodeId::new(number).unwrap(), epoch: 1 }
    }

    fn look(name: &str) -> NodeMessage {
        NodeMessage::Look { user: UserName::new(name).unwrap() }
    }

    fn released(messages: usize) -> NodeMessage {
        let window = vec![HandoverDedupEntry { key: 1, age_ms: 1 }; messages];
        let user = UserName::new("ann").unwrap();
        NodeMessage::Released(Box::new(UserHandoverData {
            user,
            claim: 1,
            epoch: 1,
            clock: 1,
            dirty: HandoverReceiversWithUnnotifiedOwners::default(),
            window,
        }))
    }

    fn taken(waiting: &mut NodeInboxWriterState) -> Vec<(u16, NodeMessage)> {
        waiting.take().into_iter().map(|(to, record)| (to.node.get(), record)).collect()
    }

    #[test]
    fn records_beyond_a_bound_are_told_as_missed_once() {
        let few = NodeInboxWriterLimits { records_max: 2, bytes_max: 1 << 20 };
        let mut waiting = NodeInboxWriterState::default();
        for name in ["ann", "bob", "cid", "dan"] {
            waiting.push(node(1), look(name), few);
        }
        waiting.push(node(2), look("ann"), few);
        let missed = |to: u16| (to, NodeMessage::RecordsMissed);
        assert_eq!(taken(&mut waiting), [(1, look("ann")), (1, look("bob")), missed(1), missed(2)]);
        assert_eq!(taken(&mut waiting), []);
    }

    #[test]
    fn waiting_records_are_bounded_in_bytes() {
        let bounds = NodeInboxWriterLimits { records_max: 1_000, bytes_max: 32 << 10 };
        let mut waiting = NodeInboxWriterState::default();
        assert!(waiting.push(node(1), released(1_024), bounds));
        assert!(!waiting.push(node(1), released(1_024), bounds));
        assert!(waiting.push(node(2), look("ann"), bounds), "there is room for a small one");
        assert!(waiting.bytes <= bounds.bytes_max);
        assert_eq!(taken(&mut waiting), [(1, released(1_024)), (2, look("ann")), (1, NodeMessage::RecordsMissed)]);
        // A single record may exceed the limit: otherwise it would never be sent.
        assert!(waiting.push(node(1), released(4_096), bounds));
        assert!(!waiting.push(node(1), look("ann"), bounds));
        assert_eq!(taken(&mut waiting), [(1, released(4_096)), (1, NodeMessage::RecordsMissed)]);
    }

    #[test]
    fn looks_between_which_nothing_else_is_are_one() {
        let bounds = NodeInboxWriterLimits { records_max: 1_000, bytes_max: 1 << 20 };
        let mut waiting = NodeInboxWriterState::default();
        assert!(waiting.push(node(1), look("ann"), bounds));
        assert!(!waiting.push(node(1), look("ann"), bounds));
        assert!(waiting.push(node(1), released(1), bounds));
        assert!(waiting.push(node(1), look("ann"), bounds), "it must not overtake the record between");
    }
}
