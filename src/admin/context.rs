//! The loop, the store and the process, as requests use them.

use super::answers;
use super::http::AdminHttpResponse;
use super::process::ProcessStartTime;
use super::{AdminConfig, AdminRequestPermit, ProcessStage, ProcessStageCell};
use crate::chat::contract::{AdminAnswerFromCore, AdminRequestToCore};
use crate::net::admin::{
    AdminLoopAnswer, AdminLoopCallError, AdminLoopCaller, AdminLoopQuestion, ClusterMembersReader, NodesReport,
    ServerSnapshot,
};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

/// One in so many of the requests at once may use the database on its own thread; all but so many
/// may wait for the store. So a store that hangs leaves room for /health, /metrics and /users.
const SHARE: usize = 4;

/// The parts from which answers are made.
#[derive(Debug)]
pub(super) struct AdminContext {
    caller: AdminLoopCaller,
    stage: ProcessStageCell,
    pub(super) process: ProcessStartTime,
    /// The requests whose threads use the database.
    store_reads: Arc<AtomicUsize>,
    store_reads_max: usize,
    /// The requests that may wait for the store.
    store_waits: Arc<AtomicUsize>,
    store_waits_max: usize,
    /// The largest text of a notice.
    pub(super) notice_bytes_max: usize,
}

impl AdminContext {
    pub(super) fn new(caller: AdminLoopCaller, stage: ProcessStageCell, config: &AdminConfig) -> Self {
        let share = (config.connections_max / SHARE).max(1);
        Self {
            caller,
            stage,
            process: ProcessStartTime::new(),
            store_reads: Arc::default(),
            store_reads_max: share,
            store_waits: Arc::default(),
            store_waits_max: config.connections_max.saturating_sub(share).max(1),
            notice_bytes_max: config.notice_bytes_max,
        }
    }

    fn is_serving(&self) -> bool {
        self.stage.now() == ProcessStage::Serving
    }

    /// Hands a request to the core; `answer` makes the response.
    pub(super) fn ask(
        &self,
        request: AdminRequestToCore,
        within: Duration,
        answer: impl FnOnce(AdminAnswerFromCore, &answers::AdminAnswerContext) -> AdminHttpResponse,
    ) -> Result<AdminHttpResponse, AdminHttpResponse> {
        if !self.is_serving() {
            return Err(AdminHttpResponse::error(
                503,
                "not_serving",
                "The server does not serve yet; /health says why.",
            ));
        }
        match self.caller.ask(AdminLoopQuestion::Core(request), within) {
            Ok(AdminLoopAnswer::Core { answer: given, addresses, node, names }) => {
                Ok(answer(given, &answers::AdminAnswerContext { addresses, node, names }))
            }
            Ok(AdminLoopAnswer::Snapshot(_) | AdminLoopAnswer::Nodes(_) | AdminLoopAnswer::Busy)
            | Err(AdminLoopCallError::Busy) => {
                Err(AdminHttpResponse::error(429, "busy", "Too many requests are in progress; ask again.")
                    .with("Retry-After", "1"))
            }
            Err(AdminLoopCallError::Late) => {
                let message = "There was no answer in time (--admin-timeout); whether it was done is not known.";
                Err(AdminHttpResponse::too_late(message))
            }
            Err(AdminLoopCallError::Gone) => Err(AdminHttpResponse::error(503, "stopping", "The server has stopped.")),
        }
    }

    pub(super) fn snapshot(&self, within: Duration) -> Result<Box<ServerSnapshot>, &'static str> {
        match self.stage.now() {
            ProcessStage::Starting => return Err("starting"),
            ProcessStage::Standby => return Err("standby"),
            ProcessStage::Serving => {}
        }
        match self.caller.ask(AdminLoopQuestion::Snapshot, within) {
            Ok(AdminLoopAnswer::Snapshot(snapshot)) => Ok(snapshot),
            Err(AdminLoopCallError::Gone) => Err("stopping"),
            Ok(_) | Err(AdminLoopCallError::Busy) => Err("busy"),
            Err(AdminLoopCallError::Late) => Err("loop"),
        }
    }

    /// The nodes as far as the loop knows them.
    pub(super) fn known_nodes(&self, within: Duration) -> Result<Box<NodesReport>, AdminHttpResponse> {
        if !self.is_serving() {
            return Err(AdminHttpResponse::error(
                503,
                "not_serving",
                "The server does not serve yet; /health says why.",
            ));
        }
        match self.caller.ask(AdminLoopQuestion::Nodes, within) {
            Ok(AdminLoopAnswer::Nodes(Some(nodes))) => Ok(nodes),
            Ok(AdminLoopAnswer::Nodes(None)) => {
                let message = "This server is no node of a cluster (--node-name).";
                Err(AdminHttpResponse::error(404, "no_cluster", message))
            }
            Ok(_) | Err(AdminLoopCallError::Busy) => Err(super::too_many_response()),
            Err(_) => Err(AdminHttpResponse::error(503, "too_late", "The server did not answer in time.")),
        }
    }

    /// A slot for a request that may wait for the store.
    pub(super) fn wait_slot(&self) -> Result<AdminRequestPermit, AdminHttpResponse> {
        AdminRequestPermit::take_below(&self.store_waits, self.store_waits_max).ok_or_else(super::too_many_response)
    }

    /// A slot for a request whose thread uses the database.
    pub(super) fn store_slot(&self) -> Result<AdminRequestPermit, AdminHttpResponse> {
        AdminRequestPermit::take_below(&self.store_reads, self.store_reads_max).ok_or_else(super::too_many_response)
    }

    /// The access to the table of nodes, for use on this thread.
    pub(super) fn members(&self, within: Duration) -> Result<ClusterMembersReader, AdminHttpResponse> {
        Ok(self.known_nodes(within)?.reader)
    }
}
