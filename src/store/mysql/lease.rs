//! The lease of a node: once a second the node gives a sign of life, and reads the state of the
//! other nodes and the records that they sent. It fences a node whose signs of life are missing for
//! too long.

use super::background_close;
use super::fault;
use super::forget_node::ForgetNodeProgress;
use super::lease_connection;
use super::life_signs::{LastNodeHeartbeats, NodeLivenessFigures, first_inbox_records_of};
use super::look::{ClusterPollResult, LeaseHeartbeatFields, poll_statements, read};
use super::members::ClusterMembersReader;
use super::node_identity::OLD_DATA;
use super::node_names::{NodeNames, SharedNodeNames};
use super::nodes::{NodeDatabase, frame_version_of, names_of, view_of};
use super::seq_max::{is_near_clock, limit_for, must_write_early, wall_seq};
use super::silence::NodeSilence;
use super::values::was_demoted;
use crate::chat::contract::{ClusterView, NodeId, NodeIncarnation, NodeMessage};
use crate::store::{StoreError, records};
use mysql::{Conn, Row};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The interval between two signs of life.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// The interval between two reads of the inbox and the view.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// After a record, more are expected for so long: of a node that has no bus, for example.
const INBOX_BUSY_FOR: Duration = Duration::from_secs(10);
/// How often nodes of this process were fenced: each begins another life, with other figures.
static FENCED: AtomicU64 = AtomicU64::new(0);

/// The maximum number of records in one read.
const INBOX_READ_MAX: usize = 1_000;
/// The maximum number of events that wait for the loop. Beyond it no more records are read.
const NEWS_MAX: usize = 4_000;

/// An event from the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// The view has changed.
    View(ClusterView),
    /// A record of another node.
    Record {
        /// The sender.
        from: NodeIncarnation,
        /// The record.
        record: NodeMessage,
    },
}

/// Why this incarnation of this node has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceCause {
    /// Another node has fenced it.
    Fenced,
    /// Another process runs under its name.
    NameTaken,
}

#[derive(Default)]
struct LeaseThreadState {
    events: Vec<ClusterEvent>,
    /// The view is to be read now, and given to the loop.
    view: bool,
    /// Records arrive over the bus, too, so the inbox is read rarely.
    polls_rarely: bool,
    /// The clock has jumped close to the limit, or beyond it.
    limit: bool,
    /// An operator drains this node.
    is_draining: bool,
    is_ended: bool,
}

#[derive(Default)]
struct LeaseShared {
    state: Mutex<LeaseThreadState>,
    changed: Condvar,
    /// The `seq` of this node's next push.
    clock: AtomicU64,
    /// The clock for which the limit was last to be raised at once.
    urgent_clock: AtomicU64,
    last_signs: Arc<LastNodeHeartbeats>,
    forget_progress: Arc<ForgetNodeProgress>,
    directory: SharedNodeNames,
    /// The number of other nodes that this node has fenced.
    fences: AtomicU64,
    /// Signs of life that could not be given.
    failures: AtomicU64,
}

impl LeaseShared {
    fn lock_state(&self) -> MutexGuard<'_, LeaseThreadState> {
        // No code under this lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives signs of life until it is dropped, and then records that this node has left.
pub struct NodeLease {
    shared: Arc<LeaseShared>,
    server: NodeDatabase,
    silence_max: Duration,
}

impl std::fmt::Debug for NodeLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeLease").finish_non_exhaustive()
    }
}

/// The callbacks for events and for the end of this incarnation.
pub struct LeaseCallbacks {
    /// An event waits.
    pub on_news: Arc<dyn Fn() + Send + Sync>,
    /// This node was fenced. Called once.
    pub on_fenced: Box<dyn Fn(FenceCause) + Send>,
}

impl NodeLease {
    /// Gives the first sign of life, and starts the thread that gives the following ones. Returns
    /// the view of that moment. Another node is fenced when it was silent for `silence_max`.
    ///
    /// # Errors
    /// The database cannot be used, or the system cannot start a thread.
    pub fn start(
        server: NodeDatabase,
        silence_max: Duration,
        calls: LeaseCallbacks,
    ) -> Result<(Self, ClusterView), StoreError> {
        let shared = Arc::new(LeaseShared::default());
        shared.clock.store(server.identity().floor, Ordering::Release);
        let mut keeper = LeaseKeeper::new(server.clone(), Arc::clone(&shared), silence_max);
        let looked = keeper.poll(true)?;
        keeper.own_name = shared.directory.name_of(server.identity().incarnation.node);
        keeper.record_poll(&looked, true);
        let view = looked.view.clone();
        if keeper.fence_cause(&looked).is_some() {
            return Err(StoreError::Unavailable("this node was fenced while it started".into()));
        }
        keeper.deliver_poll(looked, calls.on_news.as_ref());
        let thread = std::thread::Builder::new().name("lease".to_owned());
        thread
            .spawn(move || keeper.run(&calls))
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok((Self { shared, server, silence_max }, view))
    }

    /// Appends the waiting events.
    pub fn take(&self, out: &mut Vec<ClusterEvent>) {
        out.append(&mut self.shared.lock_state().events);
    }

    /// How the nodes are, as this one sees them.
    #[must_use]
    pub fn figures(&self) -> NodeLivenessFigures {
        let (alive_nodes, sign_of_life_age) = self.shared.last_signs.alive_nodes();
        let me = self.server.identity().incarnation.node.get();
        NodeLivenessFigures {
            alive_nodes,
            sign_of_life_age,
            own_sign_age: self.shared.last_signs.sign_age(me).unwrap_or_default(),
            failures: self.shared.failures.load(Ordering::Relaxed),
            fences: self.shared.fences.load(Ordering::Relaxed),
            fence_count: FENCED.load(Ordering::Relaxed),
            inbox_age: self.shared.last_signs.inbox_age(me).unwrap_or_default(),
        }
    }

    /// Has this node given no sign of life for as long as others wait before they fence it?
    #[must_use]
    pub fn is_lost(&self) -> bool {
        let me = self.server.identity().incarnation.node.get();
        self.server.identity().is_fenced()
            || self.shared.last_signs.sign_age(me).is_some_and(|age| age >= self.silence_max)
    }

    /// Reads how all nodes are.
    #[must_use]
    pub fn members(&self) -> ClusterMembersReader {
        ClusterMembersReader {
            server: self.server.clone(),
            last_signs: Arc::clone(&self.shared.last_signs),
            forget_progress: Arc::clone(&self.shared.forget_progress),
        }
    }

    /// The names of the nodes.
    #[must_use]
    pub fn directory(&self) -> SharedNodeNames {
        self.shared.directory.clone()
    }

    /// Reads the view now.
    pub fn read_view(&self) {
        self.shared.lock_state().view = true;
        self.shared.changed.notify_one();
    }

    /// Tells the other nodes' operators that this node drains.
    pub fn note_draining(&self) {
        let mut state = self.shared.lock_state();
        if !std::mem::replace(&mut state.is_draining, true) {
            // It is written with a sign of life, which is given now.
            state.view = true;
            self.shared.changed.notify_one();
        }
    }

    /// While `rarely` is set, the inbox is read only with each sign of life: a bus is faster.
    pub fn poll_rarely(&self, rarely: bool) {
        self.shared.lock_state().polls_rarely = rarely;
    }

    /// Takes the `seq` of the next push, so that the limit stays above it.
    pub fn note_next_seq(&self, seq: u64) {
        self.shared.clock.store(seq, Ordering::Release);
        // Not in each turn while the limit cannot be raised: only after another jump.
        let jumped_to = self.shared.urgent_clock.load(Ordering::Relaxed);
        if is_near_clock(self.server.identity().seq_max.get(), seq) && !is_near_clock(seq, jumped_to) {
            self.shared.urgent_clock.store(seq, Ordering::Relaxed);
            self.shared.lock_state().limit = true;
            self.shared.changed.notify_one();
        }
    }

    /// Ends this incarnation of this node.
    pub fn end_incarnation(self) {
        self.end();
        if self.server.identity().is_fenced() {
            return;
        }
        if let Err(error) = self.server.end_incarnation() {
            log::warn!(
                "this node cannot record that it leaves, so the others wait until it has been silent for long: {error}"
            );
        }
    }

    fn end(&self) {
        self.shared.lock_state().is_ended = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for NodeLease {
    fn drop(&mut self) {
        self.end();
    }
}

struct LeaseKeeper {
    server: NodeDatabase,
    shared: Arc<LeaseShared>,
    conn: Option<Conn>,
    connected_at: Instant,
    silence_max: Duration,
    silences: HashMap<u16, NodeSilence>,
    names: NodeNames,
    /// As it was at the first read.
    own_name: Option<String>,
    /// Records that were given to the loop, and are to be deleted.
    delivered_records: Vec<u64>,
    last_view: u64,
    has_logged_old_data: bool,
    renewed_at: Instant,
    /// When a record was in the inbox last.
    last_record_at: Option<Instant>,
    is_fencing: Arc<Mutex<()>>,
}

impl LeaseKeeper {
    fn new(server: NodeDatabase, shared: Arc<LeaseShared>, silence_max: Duration) -> Self {
        Self {
            server,
            shared,
            conn: None,
            connected_at: Instant::now(),
            silence_max,
            silences: HashMap::new(),
            names: NodeNames::default(),
            own_name: None,
            delivered_records: Vec::new(),
            last_view: 0,
            has_logged_old_data: false,
            renewed_at: Instant::now(),
            last_record_at: None,
            is_fencing: Arc::default(),
        }
    }

    fn run(mut self, calls: &LeaseCallbacks) {
        while let Some(view_asked) = self.wait() {
            // What a read-only server says may be old: on a new connection a write comes first.
            let renews = view_asked || self.must_renew() || self.conn.is_none();
            let looked = match self.poll(renews) {
                Ok(looked) => looked,
                Err(error) => {
                    self.shared.failures.fetch_add(u64::from(renews), Ordering::Relaxed);
                    // This node cannot see what the others do meanwhile.
                    self.silences.clear();
                    log::debug!("the nodes of the cluster cannot be read: {error}");
                    if view_asked {
                        self.shared.lock_state().view = true;
                    }
                    continue;
                }
            };
            if let Some(cause) = self.fence_cause(&looked) {
                self.server.identity().is_fenced.store(true, Ordering::Release);
                FENCED.fetch_add(u64::from(cause == FenceCause::Fenced), Ordering::Relaxed);
                // The node may have left meanwhile.
                if !self.shared.lock_state().is_ended {
                    (calls.on_fenced)(cause);
                }
                return;
            }
            self.record_poll(&looked, renews);
            if renews || looked.view.number != self.last_view || !looked.inbox.is_empty() {
                self.deliver_poll(looked, calls.on_news.as_ref());
            }
        }
    }

    /// Waits until there is work. `None`: the lease has ended.
    fn wait(&mut self) -> Option<bool> {
        let asked = self.shared.lock_state();
        let is_quiet = self.last_record_at.is_none_or(|at| at.elapsed() >= INBOX_BUSY_FOR);
        let time = if asked.polls_rarely && is_quiet { RENEW_EVERY } else { LOOK_EVERY };
        let (mut asked, _) = self
            .shared
            .changed
            .wait_timeout_while(asked, time, |asked| !asked.view && !asked.limit && !asked.is_ended)
            .unwrap_or_else(PoisonError::into_inner);
        let view = std::mem::take(&mut asked.view);
        asked.limit = false;
        (!asked.is_ended).then_some(view)
    }

    fn must_renew(&self) -> bool {
        let clock = self.shared.clock.load(Ordering::Acquire);
        let limit = self.server.identity().seq_max.get();
        must_write_early(limit, clock, wall_seq())
            || self.renewed_at.elapsed() >= RENEW_EVERY
            || self.server.identity().is_fenced()
    }

    /// Reads once, in one round trip.
    fn poll(&mut self, renews: bool) -> Result<ClusterPollResult, StoreError> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                let conn = lease_connection::open(&self.server)?;
                self.connected_at = Instant::now();
                conn
            }
        };
        let sql = self.statements(renews);
        match read(&mut conn, &sql) {
            Ok((records, rows)) => {
                let (view, beats) = view_of(&rows)?;
                if view.number < self.last_view {
                    background_close::close(conn);
                    if !std::mem::replace(&mut self.has_logged_old_data, true) {
                        log::error!("the lease cannot be renewed: {OLD_DATA}");
                    }
                    return Err(StoreError::Unavailable(OLD_DATA.into()));
                }
                self.conn = Some(conn);
                self.has_logged_old_data = false;
                self.delivered_records.clear();
                self.say_changes(&view, &rows);
                if renews {
                    self.shared.last_signs.note_first_inbox_records(&first_inbox_records_of(&rows));
                }
                self.server.identity().frame_version.store(frame_version_of(&rows), Ordering::Release);
                let inbox = records.iter().filter_map(|row| Some((row.get(0)?, row.get(1)?))).collect();
                Ok(ClusterPollResult { view, beats, inbox })
            }
            Err(error) => {
                let is_demoted = was_demoted(&error, self.connected_at);
                let (error, usable) = fault(&error);
                if usable && !is_demoted {
                    self.conn = Some(conn);
                } else {
                    background_close::close(conn);
                }
                Err(error)
            }
        }
    }

    /// Logs the nodes that have come or gone.
    fn say_changes(&mut self, view: &ClusterView, rows: &[Row]) {
        if !self.names.is_of_view(view) {
            let names = names_of(rows);
            self.shared.directory.set(view.nodes.iter().map(|state| state.last.node).zip(names.clone()));
            let lines = self.names.update(view, names, self.server.identity().incarnation.node);
            lines.iter().for_each(|line| log::info!("{line}"));
        }
    }

    fn statements(&self, renews: bool) -> String {
        let state = self.shared.lock_state();
        let renewal = renews.then(|| {
            let clock = self.shared.clock.load(Ordering::Acquire);
            LeaseHeartbeatFields { seq_max: limit_for(clock, wall_seq()), is_draining: state.is_draining }
        });
        let records_max = if state.events.len() < NEWS_MAX { INBOX_READ_MAX } else { 0 };
        poll_statements(self.server.identity().incarnation, renewal, &self.delivered_records, records_max)
    }

    /// Has the number of this node still the name that it had at the start?
    fn has_own_name(&self) -> bool {
        self.shared.directory.name_of(self.server.identity().incarnation.node) == self.own_name
    }

    /// Has another epoch of this node begun?
    fn fence_cause(&self, looked: &ClusterPollResult) -> Option<FenceCause> {
        let me = self.server.identity().incarnation;
        let now = looked.view.nodes.iter().zip(&looked.beats).find(|(state, _)| state.last.node == me.node);
        match now {
            // A transaction was refused, perhaps by another database server. The node does not work
            // without transactions, and begins anew.
            Some((state, _)) if state.last.epoch == me.epoch => {
                self.server.identity().is_fenced().then_some(FenceCause::Fenced)
            }
            // The number may have passed to a node of another name, after this one was forgotten.
            Some((_, &beats)) if beats > 0 && self.has_own_name() => Some(FenceCause::NameTaken),
            _ => Some(FenceCause::Fenced),
        }
    }

    /// Records the result of a read.
    fn record_poll(&mut self, looked: &ClusterPollResult, renewed: bool) {
        self.shared.last_signs.update(&looked.view, &looked.beats);
        let seat = self.server.identity();
        if let Some(state) = looked.view.node(seat.incarnation.node) {
            seat.seq_max.set(state.hlc_limit);
        }
        if !renewed {
            return;
        }
        // Only now: while no node can write, no node gives signs of life.
        let now = Instant::now();
        self.renewed_at = now;
        let mut silent = None;
        for (state, &beats) in looked.view.nodes.iter().zip(&looked.beats) {
            if state.last.node == seat.incarnation.node {
                continue;
            }
            let silence = self.silences.entry(state.last.node.get()).or_default();
            // A node that has left, or was fenced, gives none.
            if silence.update((state.last.epoch, beats), now) >= self.silence_max && beats > 0 {
                silent = silent.or(Some(state.last));
            }
        }
        // Those that were forgotten are not judged any more.
        self.silences.retain(|node, _| NodeId::new(*node).is_some_and(|node| looked.view.node(node).is_some()));
        if let Some(silent) = silent {
            self.fence(silent);
        }
    }

    /// Fences another node, one at a time, on a thread of its own, because that may wait for locks.
    fn fence(&self, who: NodeIncarnation) {
        let (server, is_fencing) = (self.server.clone(), Arc::clone(&self.is_fencing));
        let (shared, called) = (Arc::clone(&self.shared), self.names.name_of(who.node));
        if is_fencing.try_lock().is_err() {
            return;
        }
        let work = move || {
            let Ok(_one) = is_fencing.try_lock() else { return };
            match server.fence(who) {
                Ok(true) => {
                    shared.fences.fetch_add(1, Ordering::Relaxed);
                    log::warn!("{called} gives no sign of life: it was fenced");
                }
                Ok(false) => {}
                Err(error) => log::warn!("{called} is silent and cannot be fenced yet: {error}"),
            }
        };
        if let Err(error) = std::thread::Builder::new().name("fence".to_owned()).spawn(work) {
            log::error!("cannot start the thread that fences another node: {error}");
        }
    }

    /// Gives the loop the view, and the records of the nodes that are alive in it.
    fn deliver_poll(&mut self, looked: ClusterPollResult, on_news: &dyn Fn()) {
        let me = self.server.identity().incarnation;
        if !looked.inbox.is_empty() {
            self.last_record_at = Some(Instant::now());
        }
        let mut frames = Vec::new();
        for (id, text) in looked.inbox {
            self.delivered_records.push(id);
            let Some(received) = records::read(&text, me) else { continue };
            if looked.view.node(received.from.node).is_some_and(|state| state.last == received.from) {
                frames.push(ClusterEvent::Record { from: received.from, record: received.record });
            }
        }
        self.last_view = looked.view.number;
        let mut asked = self.shared.lock_state();
        // An older view that was not taken yet is obsolete.
        if let Some(ClusterEvent::View(last)) = asked.events.last_mut() {
            *last = looked.view;
        } else {
            asked.events.push(ClusterEvent::View(looked.view));
        }
        asked.events.append(&mut frames);
        drop(asked);
        on_news();
    }
}
