//! The exchange between the core and the other nodes of a cluster.

use super::hub::ConnectionHub;
use super::socket::NonblockingStream;
use crate::bus::{Bus, BusEvent, BusFigures};
use crate::chat::contract::{BusFrame, CoreInput, NodeId, NodeIncarnation, NodeMessage};
use crate::store::cluster::{ClusterEvent, ClusterFigures, ClusterHandle, ClusterMembersReader, SharedNodeNames};

/// The ways to the other nodes, if this server is a node of a cluster.
#[derive(Default)]
pub(super) struct InterNodeChannels {
    /// The way through the database.
    cluster: Option<ClusterHandle>,
    /// The way over a bus.
    bus: Option<Box<dyn Bus>>,
}

impl InterNodeChannels {
    /// These ways; none if this server is alone.
    pub(super) fn new(cluster: Option<ClusterHandle>, bus: Option<Box<dyn Bus>>) -> Self {
        Self { cluster, bus }
    }

    /// Ends this life of this node, when no record for other nodes will follow.
    pub(super) fn end_incarnation(&mut self) {
        drop(self.bus.take());
        if let Some(cluster) = self.cluster.take() {
            cluster.end_incarnation();
        }
    }

    /// Takes the views of the database, and the records of other nodes. `None`: this server is
    /// alone.
    fn take_cluster_events(&self) -> Option<Vec<ClusterEvent>> {
        let cluster = self.cluster.as_ref()?;
        let mut events = Vec::new();
        cluster.take(&mut events);
        if let Some(bus) = &self.bus {
            bus.set_version(cluster.frame_version());
        }
        Some(events)
    }

    /// Takes the events of the bus.
    fn take_bus_events(&self) -> Vec<BusEvent> {
        let mut events = Vec::new();
        if let Some(bus) = &self.bus {
            bus.take(&mut events);
        }
        events
    }

    /// While the bus works, other nodes say little through the database.
    fn note_bus_works(&self, works: bool) {
        if let Some(cluster) = &self.cluster {
            cluster.poll_rarely(works);
        }
    }

    /// Is there a bus?
    pub(super) fn has_bus(&self) -> bool {
        self.bus.is_some()
    }

    /// Publishes a frame on the bus.
    pub(super) fn publish(&self, to: NodeIncarnation, frame: &BusFrame) {
        if let Some(bus) = &self.bus {
            bus.publish(to, frame);
        }
    }

    /// Sends a record through the database.
    #[cold]
    pub(super) fn send(&self, to: NodeIncarnation, record: NodeMessage) {
        if let Some(cluster) = &self.cluster {
            cluster.send(to, record);
        }
    }

    /// Reads the view of the database now.
    #[cold]
    pub(super) fn read_view(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.read_view();
        }
    }

    /// Tells the store that this node drains.
    pub(super) fn note_draining(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.note_draining();
        }
    }

    /// Has the lease of this node run out?
    pub(super) fn is_lease_lost(&self) -> bool {
        self.cluster.as_ref().is_some_and(ClusterHandle::is_lease_lost)
    }

    /// This node.
    pub(super) fn this_node(&self) -> Option<NodeId> {
        self.cluster.as_ref().map(|cluster| cluster.incarnation().node)
    }

    /// The names of the nodes.
    pub(super) fn directory(&self) -> SharedNodeNames {
        self.cluster.as_ref().map(ClusterHandle::directory).unwrap_or_default()
    }

    /// Reads how all nodes are.
    pub(super) fn members(&self) -> Option<ClusterMembersReader> {
        self.cluster.as_ref().map(ClusterHandle::members)
    }

    /// The numbers of the nodes.
    pub(super) fn figures(&self) -> Option<ClusterFigures> {
        self.cluster.as_ref().map(ClusterHandle::figures)
    }

    /// The numbers of the bus.
    pub(super) fn bus_figures(&self) -> Option<BusFigures> {
        self.bus.as_ref().map(|bus| bus.figures())
    }
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Hands in views of the database, and the records of other nodes.
    pub(super) fn hand_in_cluster_events(&mut self) {
        let Some(events) = self.nodes.take_cluster_events() else { return };
        for event in events {
            self.dispatch(match event {
                ClusterEvent::View(view) => CoreInput::View(view),
                ClusterEvent::Record { from, record } => CoreInput::Record { from, record },
            });
        }
        for event in self.nodes.take_bus_events() {
            self.dispatch(match event {
                BusEvent::Works(works) => {
                    self.nodes.note_bus_works(works);
                    CoreInput::BusWorks(works)
                }
                BusEvent::Frame { from, frame } => CoreInput::Bus { from, frame },
            });
        }
    }

    /// Publishes all records of a turn for other nodes together.
    pub(super) fn end_turn_on_bus(&mut self) {
        if self.chat.publishes() {
            self.dispatch(CoreInput::TurnEnded);
        }
    }

    /// Tells the store the core's next `seq`.
    pub(super) fn note_next_seq(&self) {
        if let Some(cluster) = &self.nodes.cluster {
            cluster.note_next_seq(self.chat.next_seq());
        }
    }
}
