//! The loop's end of a cluster: the identity of this node, the state of the other nodes in the
//! database, and the records from them and to them.

use super::StoreError;
use super::mysql::{FenceCause, LeaseCallbacks, NodeDatabase, NodeInboxWriter, NodeInboxWriterLimits, NodeLease};
use crate::chat::contract::{ClusterView, NodeIncarnation, NodeMessage};
use crate::config::Config;
use std::sync::Arc;
use std::time::Duration;

pub use super::mysql::{
    ClusterEvent, ClusterMembers, ClusterMembersReader, FenceCause as Cause, ForgetNodeResult, NodeLiveness,
    NodeLivenessFigures, NodeStatusReport, SharedNodeNames,
};

/// How long a node that leaves waits until its records for other nodes are written.
const WRITE_RECORDS_WITHIN: Duration = Duration::from_secs(2);

/// Called when this life of this node is over.
pub type OnFenced = Arc<dyn Fn(FenceCause) + Send + Sync>;

/// How the nodes are, as this one sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterFigures {
    /// The figures of its lease.
    pub lease: NodeLivenessFigures,
    /// Records to others that wait to be written.
    pub unwritten_records: usize,
}

/// This node among the others.
#[derive(Debug)]
pub struct ClusterHandle {
    server: NodeDatabase,
    lease: NodeLease,
    inbox_writer: NodeInboxWriter,
    view: ClusterView,
}

impl ClusterHandle {
    /// Begins a life of the node.
    pub(super) fn start(
        config: &Config,
        server: NodeDatabase,
        on_news: Arc<dyn Fn() + Send + Sync>,
        on_fenced: OnFenced,
    ) -> Result<Self, StoreError> {
        let silent_max = Duration::from_millis(config.silent_server_max_ms);
        let calls = LeaseCallbacks { on_news, on_fenced: Box::new(move |cause| on_fenced(cause)) };
        let (lease, view) = NodeLease::start(server.clone(), silent_max, calls)?;
        let bounds =
            NodeInboxWriterLimits { records_max: config.node_records_max, bytes_max: config.node_record_bytes_max };
        let inbox_writer = NodeInboxWriter::start(server.clone(), bounds);
        let inbox_writer =
            inbox_writer.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { server, lease, inbox_writer, view })
    }

    /// The identity of this node.
    #[must_use]
    pub fn incarnation(&self) -> NodeIncarnation {
        self.server.identity().incarnation
    }

    /// The key under which all nodes remember messages.
    #[must_use]
    pub fn hash_key(&self) -> [u64; 2] {
        self.server.identity().hash_key
    }

    /// The key by which they know each other on a bus.
    #[must_use]
    pub fn mac_key(&self) -> [u8; 32] {
        self.server.identity().mac_key
    }

    /// Greater than every `seq` that this node has given before this life.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.server.identity().floor + 1
    }

    /// The nodes when this life had begun.
    #[must_use]
    pub fn first_view(&self) -> ClusterView {
        self.view.clone()
    }

    /// Appends what there is to be told.
    pub fn take(&self, out: &mut Vec<ClusterEvent>) {
        self.lease.take(out);
    }

    /// Says something to another node. Never waits.
    pub fn send(&self, to: NodeIncarnation, record: NodeMessage) {
        self.inbox_writer.send(to, record);
    }

    /// How the nodes are, as this one sees them.
    #[must_use]
    pub fn figures(&self) -> ClusterFigures {
        ClusterFigures { lease: self.lease.figures(), unwritten_records: self.inbox_writer.waiting_count() }
    }

    /// Has this node given no sign of life for as long as others wait before they fence it?
    #[must_use]
    pub fn is_lease_lost(&self) -> bool {
        self.lease.is_lost()
    }

    /// Reads how all nodes are.
    #[must_use]
    pub fn members(&self) -> ClusterMembersReader {
        self.lease.members()
    }

    /// The names of the nodes.
    #[must_use]
    pub fn directory(&self) -> SharedNodeNames {
        self.lease.directory()
    }

    /// Reads the view now.
    pub fn read_view(&self) {
        self.lease.read_view();
    }

    /// The newest version of frames that every living node can read, at the last look.
    #[must_use]
    pub fn frame_version(&self) -> u16 {
        self.server.identity().frame_version()
    }

    /// Records that this node drains, for the operators of the others.
    pub fn note_draining(&self) {
        self.lease.note_draining();
    }

    /// Reads the inbox less often, while a bus works.
    pub fn poll_rarely(&self, rarely: bool) {
        self.lease.poll_rarely(rarely);
    }

    /// Told of the `seq` of the next push.
    pub fn note_next_seq(&self, seq: u64) {
        self.lease.note_next_seq(seq);
    }

    /// Ends this life of this node, when nothing of it is to be written any more.
    pub fn end_incarnation(self) {
        self.inbox_writer.finish(WRITE_RECORDS_WITHIN);
        self.lease.end_incarnation();
    }
}
