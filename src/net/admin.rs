//! The loop's end of the admin interface. Calls arrive over a bounded channel, and a few are taken
//! in each turn. Calls that the shell can answer are answered at once; the others go to the core,
//! which may answer after a job. The loop never waits: each caller brings a channel with room for
//! its one answer, and may have given up.

use super::census::ConnectionCounts;
use super::counters::ConnectionHubCounters;
use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use crate::bus::BusFigures;
use crate::chat::contract::{
    AdminAnswerFromCore, AdminRequestToCore, AdminTicket, ClusterCounters, ClusterGauges, ConnId, CoreInput,
    MessageTotals, NodeId, NodeLinkReport, UnackedPushGauges,
};
use crate::histogram::Histogram;
use crate::protocol::http::ServerHealth;
pub use crate::store::cluster::{
    ClusterFigures, ClusterMembers, ClusterMembersReader, ForgetNodeResult, NodeLiveness, NodeStatusReport,
    SharedNodeNames,
};
use crate::store::pool::StoreHealth;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// The number of calls that are taken in one turn.
pub(super) const CALLS_PER_TURN: usize = 4;

/// A question or order of a caller.
#[derive(Debug)]
pub enum AdminLoopQuestion {
    /// The numbers of the shell and the core. → [`AdminLoopAnswer::Snapshot`]
    Snapshot,
    /// A request to the core. → [`AdminLoopAnswer::Core`] or [`AdminLoopAnswer::Busy`]
    Core(AdminRequestToCore),
    /// How the nodes of the cluster are. → [`AdminLoopAnswer::Nodes`]
    Nodes,
}

/// The answer to a [`AdminLoopQuestion`].
#[derive(Debug)]
pub enum AdminLoopAnswer {
    /// The numbers of this moment.
    Snapshot(Box<ServerSnapshot>),
    /// How they are; `None`: the server is no node of a cluster.
    Nodes(Option<Box<NodesReport>>),
    /// The answer of the core.
    Core {
        /// The answer.
        answer: AdminAnswerFromCore,
        /// The addresses of the online users in the answer, in their order.
        addresses: Vec<Option<IpAddr>>,
        /// This node; `None`: the server is no node of a cluster.
        node: Option<NodeId>,
        /// The names of the nodes; of none, if the server is none.
        names: SharedNodeNames,
    },
    /// Too many calls wait for their answers.
    Busy,
}

/// The nodes of a cluster, as far as the loop knows them.
#[derive(Debug)]
pub struct NodesReport {
    /// Reads the rest from the database.
    pub reader: ClusterMembersReader,
    /// The links of the bus.
    pub links: Vec<NodeLinkReport>,
    /// The numbers of the bus, if there is one.
    pub bus: Option<BusFigures>,
    /// The connections of this node that are logged in.
    pub users: usize,
}

/// The numbers of a moment.
#[derive(Clone, Debug)]
pub struct ServerSnapshot {
    /// The health, as the public port reports it.
    pub health: ServerHealth,
    /// The counters of connections.
    pub counters: ConnectionHubCounters,
    /// The totals of messages.
    pub totals: MessageTotals,
    /// The gauges of the core.
    pub gauges: UnackedPushGauges,
    /// The number of connections of each kind.
    pub census: ConnectionCounts,
    /// The limit on connections.
    pub conns_max: usize,
    /// The number of bytes written to clients.
    pub bytes_out: u64,
    /// The memory that the server uses for clients, in bytes.
    pub memory_bytes: usize,
    /// The limit of that memory, in bytes.
    pub memory_bytes_max: usize,
    /// The number of jobs in flight.
    pub jobs_in_flight: usize,
    /// The durations of the loop's turns, without waiting.
    pub turns: Histogram,
    /// The time by the wall clock of the loop, in ms since the epoch.
    pub wall_ms: u64,
    /// The health of the store, as its workers report it.
    pub store: Arc<StoreHealth>,
    /// The numbers of the bus between nodes, if there is one.
    pub bus: Option<BusFigures>,
    /// The node that this server is, and its name.
    pub node: Option<(NodeId, Option<String>)>,
    /// The nodes of the cluster, the records that wait for them, and counts of events between them.
    pub cluster: Option<(ClusterFigures, ClusterGauges, ClusterCounters)>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminLoopCallError {
    /// Too many callers wait.
    Busy,
    /// It did not come in time.
    Late,
    /// The loop has ended.
    Gone,
}

#[derive(Debug)]
struct AdminLoopCall {
    question: AdminLoopQuestion,
    reply: SyncSender<AdminLoopAnswer>,
}

/// The callers' side of the channel to the loop.
#[derive(Clone)]
pub struct AdminLoopCaller {
    calls: SyncSender<AdminLoopCall>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for AdminLoopCaller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminLoopCaller").finish_non_exhaustive()
    }
}

impl AdminLoopCaller {
    /// Asks the loop, and waits for the answer.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn ask(&self, question: AdminLoopQuestion, within: Duration) -> Result<AdminLoopAnswer, AdminLoopCallError> {
        let (reply, answer) = sync_channel(1);
        self.calls.try_send(AdminLoopCall { question, reply }).map_err(|error| match error {
            TrySendError::Full(_) => AdminLoopCallError::Busy,
            TrySendError::Disconnected(_) => AdminLoopCallError::Gone,
        })?;
        (self.wake)();
        match answer.recv_timeout(within) {
            Ok(AdminLoopAnswer::Busy) => Err(AdminLoopCallError::Busy),
            Ok(told) => Ok(told),
            Err(RecvTimeoutError::Timeout) => Err(AdminLoopCallError::Late),
            Err(RecvTimeoutError::Disconnected) => Err(AdminLoopCallError::Gone),
        }
    }
}

/// The loop's side of the channel.
#[derive(Debug)]
pub struct AdminLoopCallReceiver {
    calls: Receiver<AdminLoopCall>,
    waiting_max: usize,
}

/// A channel for at most `callers_max` callers at a time. `wake` wakes the loop.
#[must_use]
pub fn channel(callers_max: usize, wake: Arc<dyn Fn() + Send + Sync>) -> (AdminLoopCaller, AdminLoopCallReceiver) {
    let (sender, calls) = sync_channel(callers_max.max(1));
    // A caller that has given up leaves its call until the core answers it.
    (AdminLoopCaller { calls: sender, wake }, AdminLoopCallReceiver { calls, waiting_max: 4 * callers_max.max(1) })
}

/// The parts of a snapshot that only the loop knows.
#[derive(Debug)]
pub(super) struct LoopFigures<'a> {
    pub(super) conns_max: usize,
    pub(super) jobs_in_flight: usize,
    pub(super) turns: &'a Histogram,
}

/// The calls that wait for the core.
#[derive(Debug, Default)]
pub(super) struct PendingAdminCalls {
    waiting: HashMap<AdminTicket, SyncSender<AdminLoopAnswer>>,
    last_ticket: u64,
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Takes some of the waiting calls. `true`: there may be more.
    pub(super) fn take_calls(&mut self, calls: &AdminLoopCallReceiver, of_loop: &LoopFigures<'_>) -> bool {
        for _ in 0..CALLS_PER_TURN {
            let Ok(AdminLoopCall { question, reply }) = calls.calls.try_recv() else { return false };
            match question {
                AdminLoopQuestion::Snapshot => {
                    give(&reply, AdminLoopAnswer::Snapshot(Box::new(self.snapshot(of_loop))))
                }
                AdminLoopQuestion::Nodes => give(&reply, AdminLoopAnswer::Nodes(self.nodes())),
                AdminLoopQuestion::Core(_) if self.admin_calls.waiting.len() >= calls.waiting_max => {
                    give(&reply, AdminLoopAnswer::Busy)
                }
                AdminLoopQuestion::Core(request) => {
                    self.admin_calls.last_ticket += 1;
                    let ticket = AdminTicket(self.admin_calls.last_ticket);
                    self.admin_calls.waiting.insert(ticket, reply);
                    self.dispatch(CoreInput::Admin { ticket, request });
                }
            }
        }
        true
    }

    /// The core has answered.
    #[cold]
    pub(super) fn admin_answered(&mut self, ticket: AdminTicket, answer: AdminAnswerFromCore) {
        // Some tickets have no caller: those of deletions that were resumed at the start.
        let Some(reply) = self.admin_calls.waiting.remove(&ticket) else { return };
        let conns: Vec<ConnId> = match &answer {
            AdminAnswerFromCore::Users { users, .. } => users.iter().map(|user| user.conn).collect(),
            AdminAnswerFromCore::User(report) => report.online.iter().map(|user| user.conn).collect(),
            _ => Vec::new(),
        };
        let (node, names) = (self.nodes.this_node(), self.nodes.directory());
        let addresses = conns.into_iter().map(|id| self.address_of(id)).collect();
        if let Err(TrySendError::Disconnected(AdminLoopAnswer::Core { answer, .. })) =
            reply.try_send(AdminLoopAnswer::Core { answer, addresses, node, names })
        {
            // No answer contains a secret.
            log::info!("admin: a request that was answered too late has ended: {answer:?}");
        }
    }

    #[cold]
    fn nodes(&self) -> Option<Box<NodesReport>> {
        let reader = self.nodes.members()?;
        let links = self.chat.link_reports(self.clock.now_ms());
        let bus = self.nodes.bus_figures();
        Some(Box::new(NodesReport { reader, links, bus, users: self.census.logged_in() }))
    }

    fn cluster_numbers(&self) -> Option<(ClusterFigures, ClusterGauges, ClusterCounters)> {
        Some((self.nodes.figures()?, self.chat.cluster_gauges()?, self.chat.cluster_totals()?))
    }

    #[cold]
    fn snapshot(&self, of_loop: &LoopFigures<'_>) -> ServerSnapshot {
        let store = self.web.store_health();
        ServerSnapshot {
            health: self.health(),
            counters: self.counters.clone(),
            totals: self.chat.totals(),
            gauges: self.chat.gauges(),
            census: self.census.clone(),
            conns_max: of_loop.conns_max,
            bytes_out: self.buffers.spare.written_bytes(),
            memory_bytes: self.memory_bytes(),
            memory_bytes_max: self.bounds.memory_bytes_max,
            jobs_in_flight: of_loop.jobs_in_flight,
            turns: of_loop.turns.clone(),
            wall_ms: self.clock.now().wall_ms,
            node: self.nodes.this_node().map(|node| (node, self.nodes.directory().name_of(node))),
            cluster: self.cluster_numbers(),
            store,
            bus: self.nodes.bus_figures(),
        }
    }
}

/// Gives an answer to a caller, unless the caller has given up.
fn give(reply: &SyncSender<AdminLoopAnswer>, told: AdminLoopAnswer) {
    reply.try_send(told).unwrap_or(());
}
