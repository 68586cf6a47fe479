//! The core's numbers of a cluster for operators: counts, and the state of each link.

use super::contract::{ClusterCounters, ClusterGauges, NodeLinkReport};
use crate::chat::ServerCore;

/// Why a log-in that waited for another node waits no longer.
#[derive(Clone, Copy, Debug)]
pub(super) enum UserReleaseWaitOutcome {
    /// The other node has released the user.
    Released,
    /// The other node's life was over.
    Fenced,
    /// The user belonged to no node, or to this one.
    Unowned,
    /// The client has gone, or was told that the log-in takes too long.
    Dropped,
}

impl ClusterCounters {
    /// Counts a log-in that has waited `after_ms` for another node.
    pub(super) fn claim_ended(&mut self, how: UserReleaseWaitOutcome, after_ms: u64) {
        let count = match how {
            UserReleaseWaitOutcome::Released => &mut self.claims_released,
            UserReleaseWaitOutcome::Fenced => &mut self.claims_fenced,
            UserReleaseWaitOutcome::Unowned => &mut self.claims_unowned,
            UserReleaseWaitOutcome::Dropped => {
                self.claims_dropped += 1;
                return;
            }
        };
        *count += 1;
        self.claims_ms += after_ms;
    }
}

impl ServerCore {
    pub(super) fn count_cluster(&mut self, count: impl FnOnce(&mut ClusterCounters)) {
        if let Some(cluster) = &mut self.cluster {
            count(&mut cluster.totals);
        }
    }

    /// How much waits for other nodes now, and how the links are. `None`: there is no cluster.
    #[must_use]
    pub fn cluster_gauges(&self) -> Option<ClusterGauges> {
        let cluster = self.cluster.as_ref()?;
        let links = self.link_reports(self.now.mono_ms);
        Some(ClusterGauges {
            claims: cluster.claims.len(),
            releases: cluster.releases.len(),
            owner_notices: cluster.owner_notices.len(),
            forced_logouts: cluster.forced_logouts.len(),
            links_up: links.iter().filter(|link| link.is_up).count(),
            unconfirmed_bytes: links.iter().map(|link| link.unconfirmed_bytes).sum(),
            lag_ms: links.iter().filter_map(|link| link.lag_ms).max().unwrap_or(0),
        })
    }

    /// Counts of what has happened between this node and others. `None`: there is no cluster.
    #[must_use]
    pub fn cluster_totals(&self) -> Option<ClusterCounters> {
        let cluster = self.cluster.as_ref()?;
        let link_epochs = cluster.bus.as_ref().map_or(0, |bus| bus.epochs());
        Some(ClusterCounters { link_epochs, ..cluster.totals })
    }

    /// The links to other nodes, in the order of their numbers; none without a bus.
    #[must_use]
    pub fn link_reports(&self, now_ms: u64) -> Vec<NodeLinkReport> {
        let bus = self.cluster.as_ref().and_then(|cluster| cluster.bus.as_ref());
        bus.map_or_else(Vec::new, |bus| bus.reports(now_ms))
    }
}
