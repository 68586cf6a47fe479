//! The loop without its poll: it has all connections and the core. The type of the sockets is a
//! parameter, so that tests can use sockets that cut the data into pieces or fail.

use super::admin::PendingAdminCalls;
use super::buffers::SharedBuffers;
use super::census::ConnectionCounts;
use super::client_addresses::ClientAddressRegistry;
pub use super::client_addresses::ConnectionPermit;
use super::cluster::InterNodeChannels;
use super::conn::{Conn, InputWaitReasons};
use super::conns::Conns;
use super::counters::{CloseCause, ConnectionHubCounters};
use super::deadlines::ConnDeadlineQueues;
use super::eviction::StrangerQueue;
use super::handshakes::TlsOffer;
use super::line_rates::LogRateLimits;
use super::memory::MemoryBudgetTracker;
use super::socket::NonblockingStream;
use super::state::ConnectionReadState;
use super::stop_progress::StopProgress;
use super::turn_clock::TurnClock;
use super::turn_work::ConnectionWorkQueues;
use super::web::WebSettings;
use crate::chat::ServerCore;
use crate::chat::contract::{
    AdminRequestToCore, AdminTicket, ConnId, CoreAction, CoreInput, Job, JobOutcome, JobTicket, TurnTimestamp,
};
use crate::config::{Networks, Origins};
use crate::protocol::encode_fast::write_push;
use crate::protocol::field::UserName;
use crate::protocol::reply::{Reply, write_presence, write_reply};
use crate::push_hook::PushHook;
use crate::store::pool::StoreHealth;
use std::net::IpAddr;
use std::sync::Arc;

/// The limits of connections.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionHubLimits {
    /// The largest envelope.
    pub frame_bytes_max: usize,
    /// Unwritten output beyond which a connection is closed.
    pub output_bytes_max: usize,
    /// The same for a connection that is not logged in.
    pub stranger_output_bytes_max: usize,
    /// The memory budget of all connections and the core together.
    pub memory_bytes_max: usize,
    /// A connection that takes nothing of its output for this long is closed, in ms.
    pub output_timeout_ms: u64,
    /// The time limit of a handshake or of the head of an HTTP request, in ms.
    pub handshake_timeout_ms: u64,
    /// The time within which every request is answered, in ms.
    pub answer_within_ms: u64,
    /// The largest number of connections from one address.
    pub conns_per_address_max: usize,
    /// The largest number of log lines a second of each kind about clients.
    pub log_lines_per_second_max: u32,
}

/// All connections, and the core.
pub struct ConnectionHub<S> {
    pub(super) conns: Conns<Conn<S>>,
    pub(super) chat: ServerCore,
    pub(super) bounds: ConnectionHubLimits,
    pub(super) counters: ConnectionHubCounters,
    pub(super) clock: TurnClock,
    pub(super) buffers: SharedBuffers,
    pub(super) deadlines: ConnDeadlineQueues,
    actions: Vec<CoreAction>,
    /// The connections that have work.
    pub(super) work: ConnectionWorkQueues,
    pub(super) addresses: ClientAddressRegistry,
    pub(super) web: WebSettings,
    jobs: Vec<(JobTicket, Job)>,
    pub(super) stop: StopProgress,
    pub(super) tls: TlsOffer,
    pub(super) memory: MemoryBudgetTracker,
    pub(super) push_hook: Option<PushHook>,
    pub(super) nodes: InterNodeChannels,
    pub(super) line_rates: LogRateLimits,
    pub(super) census: ConnectionCounts,
    pub(super) strangers: StrangerQueue,
    pub(super) admin_calls: PendingAdminCalls,
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// A hub without connections. `hash_key` should be random.
    #[must_use]
    pub fn new(chat: ServerCore, bounds: ConnectionHubLimits, hash_key: [u64; 2]) -> Self {
        Self {
            conns: Conns::default(),
            chat,
            bounds,
            counters: ConnectionHubCounters::default(),
            clock: TurnClock::default(),
            buffers: SharedBuffers::default(),
            deadlines: ConnDeadlineQueues::new(bounds.handshake_timeout_ms, bounds.output_timeout_ms),
            actions: Vec::new(),
            work: ConnectionWorkQueues::default(),
            addresses: ClientAddressRegistry::new(bounds.conns_per_address_max, hash_key),
            web: WebSettings::default(),
            jobs: Vec::new(),
            stop: StopProgress::default(),
            tls: TlsOffer::default(),
            memory: MemoryBudgetTracker::default(),
            push_hook: None,
            nodes: InterNodeChannels::default(),
            line_rates: LogRateLimits::new(bounds.log_lines_per_second_max),
            census: ConnectionCounts::default(),
            strangers: StrangerQueue::default(),
            admin_calls: PendingAdminCalls::default(),
        }
    }

    /// Trusts these proxies from now on.
    pub fn trust_proxies(&mut self, trusted: Networks) {
        self.addresses.proxied.trust(trusted);
    }

    /// Sets the allowed origins and the store's health for answers to HTTP requests.
    pub fn answer_http_by(&mut self, allowed_origins: Origins, store: Arc<StoreHealth>) {
        self.web = WebSettings::new(allowed_origins, store);
    }

    /// Begins a turn. The caller hands in all events of the poll, and so all input that had arrived
    /// when the turn before began, unless it calls `expect_more_events`.
    pub fn begin_turn(&mut self, now: TurnTimestamp) {
        self.clock.begin_turn(now);
    }

    /// Notes that the poll may not have given all events: it gave as many as fit, or was
    /// interrupted and gave none.
    pub fn expect_more_events(&mut self) {
        self.clock.expect_more_events();
    }

    /// The id the next connection will have, to register its socket under.
    #[must_use]
    pub fn next_id(&self) -> ConnId {
        self.conns.next_key()
    }

    /// How many connections there are.
    #[must_use]
    pub fn conns_len(&self) -> usize {
        self.conns.len()
    }

    /// The number of connections removed so far: a change means that file descriptors have become
    /// free.
    #[must_use]
    pub fn removed_count(&self) -> u64 {
        self.census.removed()
    }

    /// The counters so far.
    #[must_use]
    pub fn counters(&self) -> &ConnectionHubCounters {
        &self.counters
    }

    /// The counters, for counting events before a connection exists.
    pub fn counters_mut(&mut self) -> &mut ConnectionHubCounters {
        &mut self.counters
    }

    /// May one more connection from this address be opened? If so, pass the result to `open`, or to
    /// `cancel_admission`.
    pub fn admit(&mut self, address: IpAddr) -> Option<ConnectionPermit> {
        if self.is_memory_exceeded() {
            self.counters.refused_at_memory_limit += 1;
            return None;
        }
        let admitted = self.addresses.admit(address);
        if admitted.is_none() {
            self.note_address_full(address);
        }
        admitted
    }

    /// An admitted connection was not opened.
    pub fn cancel_admission(&mut self, admitted: ConnectionPermit) {
        self.addresses.cancel(admitted);
    }

    /// Opens an admitted connection.
    #[inline(never)]
    pub fn open(&mut self, socket: S, admitted: ConnectionPermit) -> ConnId {
        self.counters.accepted += 1;
        self.work.note_opened();
        let (address_key, proxy) = match admitted {
            ConnectionPermit::Client(address_key) => (address_key, None),
            ConnectionPermit::Proxy(address) => (None, Some(address)),
        };
        let id = self.conns.insert(Conn::new(socket, address_key, self.clock.now_ms()));
        self.count_opened(id);
        self.strangers.push(id);
        if let Some(proxy) = proxy {
            self.addresses.proxied.note_opened(id, proxy);
        }
        self.dispatch(CoreInput::Opened { conn: id, address_key });
        id
    }

    /// There is something to read, or (`closed`) the client has ended its side.
    pub fn on_readable(&mut self, id: ConnId, closed: bool) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.read.on_edge(closed);
            self.queue(id);
        }
    }

    /// There is room to write again.
    pub fn on_writable(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && conn.has_output()
        {
            self.mark_dirty(id);
        }
    }

    /// Both sides have ended: nothing can be written.
    pub fn on_broken(&mut self, id: ConnId) {
        // Earlier input is read first, and reading finds the end. Only a connection that is not
        // read any more needs this event.
        if self.conns.get(id).is_some_and(|conn| conn.read == ConnectionReadState::HalfClosed) {
            self.work.fail(id, CloseCause::PeerClosed);
        }
    }

    /// Hands the outcome of a job to the core.
    #[inline(never)]
    pub fn on_finished(&mut self, ticket: JobTicket, outcome: JobOutcome) {
        self.dispatch(CoreInput::Finished { ticket, outcome });
        self.check_memory();
    }

    /// Begins the stop of the server.
    #[inline(never)]
    pub fn shut_down(&mut self) {
        self.stop.begin();
        self.dispatch(CoreInput::ShutDown);
    }

    /// Has the core finished its stop?
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.is_core_stopped()
    }

    /// Must the stop begin, because a drain has closed all connections?
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.stop.is_drained()
    }

    /// Has a drain begun?
    pub fn is_draining(&self) -> bool {
        self.stop.is_draining()
    }

    /// Closes the connections that the core left open. From now on the hub waits only for clients
    /// with unread output.
    pub fn close_all(&mut self) {
        self.stop.begin_closing_all();
        let ids: Vec<ConnId> = self.conns.keys().collect();
        for id in ids {
            self.close(id, CloseCause::Stopped);
            self.work.queue_closing(id);
        }
    }

    /// Were jobs submitted since they were last taken?
    #[must_use]
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// The jobs that were submitted since the last call.
    pub fn take_jobs(&mut self) -> std::vec::Drain<'_, (JobTicket, Job)> {
        self.jobs.drain(..)
    }

    /// Everything a turn does after the poll: read, tick, write, close.
    pub fn turn(&mut self) {
        self.serve_ready();
        self.send_files();
        let nobody_waits = self.work.has_nothing_to_read();
        self.clock.note_turn_end(nobody_waits);
        if self.clock.is_due(self.chat.next_deadline()) {
            if self.is_late() {
                // A client that takes its waiting output is active, too: write before the core
                // looks for idle ones.
                self.flush_dirty();
            }
            self.dispatch(CoreInput::Tick { input_read_until_ms: self.clock.input_read_until_ms() });
        }
        self.flush_dirty();
        if self.clock.is_due(self.deadlines.next_ms()) {
            self.expire();
            self.flush_dirty();
        }
        if self.clock.is_due(self.line_rates.next_ms()) {
            self.log_omitted_lines();
        }
        self.check_memory();
        self.settle_closing();
        if self.nodes.has_bus() {
            self.end_turn_on_bus();
        }
    }

    /// Is a deadline so late that the process must have been paused?
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.clock.is_late(self.next_deadline())
    }

    /// Resumes deletions of accounts that a stop has cut short. No caller waits for the answers, so
    /// the tickets are numbers that no caller gets.
    pub fn finish_deletions(&mut self, names: &[UserName]) {
        for (name, number) in names.iter().zip(0..) {
            let request = AdminRequestToCore::FinishDeletion { name: name.clone() };
            self.dispatch(CoreInput::Admin { ticket: AdminTicket(u64::MAX - number), request });
        }
    }

    /// Is there something to do without waiting for an event?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.work.is_done()
    }

    /// The next time at which there is something to do without an event.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        [self.deadlines.next_ms(), self.chat.next_deadline(), self.line_rates.next_ms()].into_iter().flatten().min()
    }

    pub(super) fn dispatch(&mut self, event: CoreInput<'_>) {
        self.chat.handle(self.clock.now(), event, &mut self.actions);
        // `apply` never calls the core, so nothing else adds to the list meanwhile, and the actions
        // keep their order.
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.apply(action);
        }
        self.actions = actions;
    }

    fn apply(&mut self, action: CoreAction) {
        match action {
            CoreAction::Reply { conn, form, id, reply } => {
                if let Reply::Error { code, explanation } = &reply {
                    self.log_refused_request(conn, *code, explanation);
                }
                self.write(conn, true, |out| write_reply(out, form, id.as_str(), &reply));
            }
            CoreAction::Refuse { conn, form, id, reply, code, explanation } => {
                self.log_refused_request(conn, code, explanation);
                self.write_two_frames(
                    conn,
                    |out| write_reply(out, form, id.as_str(), &reply),
                    |out| write_reply(out, form, id.as_str(), &Reply::Error { code, explanation }),
                );
            }
            CoreAction::Push { conn, form, push } => self.write(conn, false, |out| write_push(out, form, &push)),
            CoreAction::Presence { conn, form, user, online } => {
                self.write(conn, false, |out| write_presence(out, form, &user, online));
            }
            CoreAction::Pause { conn } => self.set_wait_reason(conn, InputWaitReasons::PAUSED, true),
            CoreAction::Resume { conn } => self.set_wait_reason(conn, InputWaitReasons::PAUSED, false),
            CoreAction::PauseRequests { conn } => self.set_wait_reason(conn, InputWaitReasons::REQUESTS_PAUSED, true),
            CoreAction::ResumeRequests { conn } => self.set_wait_reason(conn, InputWaitReasons::REQUESTS_PAUSED, false),
            CoreAction::LoggedIn { conn } => {
                if let Some(known) = self.conns.get_mut(conn) {
                    known.had_login = true;
                }
                self.count_changed(conn);
                self.note_one_stranger_less();
            }
            CoreAction::Close { conn, cause } => self.begin_close(conn, CloseCause::Chat(cause)),
            CoreAction::Submit { ticket, job } => self.jobs.push((ticket, job)),
            CoreAction::PushHook(notice) => {
                if let Some(hook) = &self.push_hook {
                    hook.announce(&notice);
                }
            }
            CoreAction::Log(event) => {
                self.counters.log_events.count(&event);
                self.log_event(&event);
            }
            CoreAction::Admin { ticket, answer } => self.admin_answered(ticket, answer),
            CoreAction::Send { to, record } => self.nodes.send(to, record),
            CoreAction::Publish { to, frame } => self.nodes.publish(to, &frame),
            CoreAction::ReadView => self.nodes.read_view(),
            CoreAction::Draining { is_over: false } => {
                self.stop.begin_drain();
                self.nodes.note_draining();
            }
            CoreAction::Draining { is_over: true } => self.stop.end_drain(),
            CoreAction::Stopped => self.stop.note_core_stopped(),
        }
    }

    /// Sets or clears a reason for a connection's input to wait. When it is cleared, kept input may
    /// be handed in.
    pub(super) fn set_wait_reason(&mut self, id: ConnId, reason: InputWaitReasons, is_set: bool) {
        if let Some(conn) = self.conns.get_mut(id) {
            let was_set = conn.input_waits.has(reason);
            conn.input_waits.set(reason, is_set);
            if was_set && !is_set {
                self.queue(id);
            }
        }
    }
}
