//! The exchange between the core and the other nodes of a cluster.

use super::hub::Hub;
use super::socket::NonblockingStream;
use crate::bus;
use crate::chat::contract::{BusFrame, CoreEvent, NodeIncarnation, NodeMessage};
use crate::store::cluster::ClusterEvent;

impl<S: NonblockingStream> Hub<S> {
    /// Hands in views of the database, and the records of other nodes.
    pub(super) fn hand_in_cluster_events(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        let mut news = Vec::new();
        cluster.take(&mut news);
        if let Some(bus) = &self.bus {
            bus.set_version(cluster.frame_version());
        }
        for one in news {
            self.dispatch(match one {
                ClusterEvent::View(view) => CoreEvent::View(view),
                ClusterEvent::Frame { from, record } => CoreEvent::Frame { from, record },
            });
        }
        self.take_from_bus();
    }

    fn take_from_bus(&mut self) {
        let Some(bus) = &self.bus else { return };
        let mut news = Vec::new();
        bus.take(&mut news);
        for one in news {
            self.dispatch(match one {
                bus::BusEvent::Works(works) => {
                    if let Some(cluster) = &self.cluster {
                        cluster.poll_rarely(works);
                    }
                    CoreEvent::BusWorks(works)
                }
                bus::BusEvent::Frame { from, frame } => CoreEvent::Bus { from, frame },
            });
        }
    }

    /// Publishes all records of a turn for other nodes together.
    pub(super) fn end_turn_on_bus(&mut self) {
        if self.chat.publishes() {
            self.dispatch(CoreEvent::TurnEnded);
        }
    }

    pub(super) fn publish(&self, to: NodeIncarnation, frame: &BusFrame) {
        if let Some(bus) = &self.bus {
            bus.publish(to, frame);
        }
    }

    /// Tells the store the core's next `seq`.
    pub(super) fn note_next_seq(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.note_next_seq(self.chat.next_seq());
        }
    }

    /// Tells the store that this node drains.
    pub(super) fn note_draining(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.note_draining();
        }
    }

    #[cold]
    pub(super) fn send_to_node(&self, to: NodeIncarnation, record: NodeMessage) {
        if let Some(cluster) = &self.cluster {
            cluster.send(to, record);
        }
    }

    #[cold]
    pub(super) fn read_view(&self) {
        if let Some(cluster) = &self.cluster {
            cluster.read_view();
        }
    }
}
