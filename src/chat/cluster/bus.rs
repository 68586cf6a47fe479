//! The bus, as the core sees it: a link to each other node, the frames that wait for a newer view,
//! and the end of each turn, at which all new records are published.
//!
//! Without a bus all records are sent through the database.

use super::super::contract::CoreAction;
use super::super::{CoreTimer, ServerCore};
use super::contract::{BusFrame, BusRecord, NodeId, NodeIncarnation, NodeLinkReport, NodeMessage};
use super::foreign::PushesFromOtherNodes;
use super::link::{RECORD_BYTES_MAX, ReliableNodeLink};
use super::remote_receivers::RemoteReceiverTable;
use super::{ClusterState, IncarnationState};
use crate::protocol::field::UserName;
use std::collections::{BTreeMap, VecDeque};

/// The memory of a waiting frame, without its records.
const FRAME_BYTES: usize = 128;

/// The state of a node that has a bus.
#[derive(Debug)]
pub(super) struct ClusterBusState {
    /// The bus can publish.
    can_publish: bool,
    links: BTreeMap<NodeId, (NodeIncarnation, ReliableNodeLink)>,
    last_epoch: u64,
    /// Frames that wait for a view which is still to be read.
    waiting_frames: VecDeque<(NodeIncarnation, BusFrame)>,
    waiting_bytes: usize,
    /// When the timer fires next.
    timer_ms: Option<u64>,
    /// Some records wait for the end of the turn.
    publishes: bool,
    /// Receivers on other nodes.
    pub(super) remote_receivers: RemoteReceiverTable,
    /// Pushes that other nodes hand over to this one.
    pub(super) foreign: PushesFromOtherNodes,
}

impl ClusterBusState {
    fn new() -> Self {
        Self {
            can_publish: true,
            links: BTreeMap::new(),
            last_epoch: 0,
            waiting_frames: VecDeque::new(),
            waiting_bytes: 0,
            timer_ms: None,
            publishes: false,
            remote_receivers: RemoteReceiverTable::default(),
            foreign: PushesFromOtherNodes::default(),
        }
    }

    /// The link to this incarnation of a node.
    fn link(&mut self, to: NodeIncarnation) -> &mut ReliableNodeLink {
        let entry = self.links.entry(to.node).or_insert_with(|| (to, ReliableNodeLink::default()));
        if entry.0 != to {
            // The view must have it first. The records that were kept for the earlier
            // incarnation are of no use to this one.
            debug_assert!(false, "links of the dead are removed with them");
            *entry = (to, ReliableNodeLink::default());
        }
        &mut entry.1
    }

    /// The same; it also begins to send, unless the bus is away.
    fn open_link(&mut self, to: NodeIncarnation) -> &mut ReliableNodeLink {
        let (works, mut last_epoch) = (self.can_publish, self.last_epoch);
        let link = self.link(to);
        if works {
            link.open(&mut last_epoch);
        }
        self.last_epoch = last_epoch;
        self.publishes = true;
        self.link(to)
    }

    /// Epochs that this node has begun.
    pub(super) fn epochs(&self) -> u64 {
        self.last_epoch
    }

    /// Has a node not confirmed yet that it looks?
    pub(super) fn has_unconfirmed_senders(&self) -> bool {
        self.links.values().any(|(_, link)| link.has_unconfirmed_senders())
    }

    /// The links to other nodes than this one.
    pub(super) fn links_except(
        &self,
        to: NodeIncarnation,
    ) -> impl Iterator<Item = (NodeIncarnation, &ReliableNodeLink)> {
        self.links.values().filter(move |(at, _)| *at != to).map(|(at, link)| (*at, link))
    }

    pub(super) fn reports(&self, now_ms: u64) -> Vec<NodeLinkReport> {
        self.links.values().map(|(to, link)| link.report(*to, now_ms)).collect()
    }

    fn frame_bytes(frame: &BusFrame) -> usize {
        let records = frame.batch.iter().flat_map(|batch| &batch.records).map(BusRecord::weight_bytes);
        FRAME_BYTES + records.sum::<usize>()
    }

    fn memory_bytes(&self) -> usize {
        self.links.values().map(|(_, link)| link.memory_bytes()).sum::<usize>()
            + self.waiting_bytes
            + self.remote_receivers.memory_bytes()
            + self.foreign.memory_bytes()
    }
}

impl ClusterState {
    /// The bus, if this node has one.
    pub(super) fn bus_mut(&mut self) -> Option<&mut ClusterBusState> {
        self.bus.as_deref_mut()
    }

    /// Does the view say that this incarnation of another node is alive?
    pub(super) fn is_alive(&self, at: NodeIncarnation) -> bool {
        self.life(at) == IncarnationState::Lives && self.view.node(at.node).is_some_and(|node| node.is_alive)
    }

    #[cfg(debug_assertions)]
    pub(super) fn check_bus(&self) {
        if let Some(bus) = &self.bus {
            bus.links.values().for_each(|(_, link)| link.check());
            bus.remote_receivers.check();
            assert!(bus.links.values().all(|(to, _)| self.is_alive(*to)), "a link to the dead");
        }
    }
}

impl ServerCore {
    /// Gives the core a bus. Call it at most once, directly after [`join`](Self::join). Without it
    /// the core gives no [`CoreAction::Publish`].
    pub fn use_bus(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.bus = Some(Box::new(ClusterBusState::new()));
        }
    }

    /// Are there frames that wait for a newer view?
    #[cfg(test)]
    pub(super) fn has_waiting_frames(&mut self) -> bool {
        self.bus().is_some_and(|bus| !bus.waiting_frames.is_empty())
    }

    /// Does this turn need a [`TurnEnded`](super::super::contract::CoreInput::TurnEnded)?
    #[must_use]
    pub fn publishes(&self) -> bool {
        self.cluster.as_ref().and_then(|cluster| cluster.bus.as_ref()).is_some_and(|bus| bus.publishes)
    }

    pub(super) fn bus(&mut self) -> Option<&mut ClusterBusState> {
        self.cluster.as_mut()?.bus_mut()
    }

    /// The memory of the bus and of its records.
    pub(in super::super) fn bus_memory_bytes(&self) -> usize {
        self.cluster.as_ref().and_then(|cluster| cluster.bus.as_ref()).map_or(0, |bus| bus.memory_bytes())
    }

    /// Sends a record to another node: over the bus, and also through the database if that takes
    /// long.
    pub(super) fn send_record(&mut self, to: NodeIncarnation, record: NodeMessage, out: &mut Vec<CoreAction>) {
        let (now_ms, bytes_max) = (self.now.mono_ms, self.rules.link_bytes_max);
        let lives = self.cluster.as_ref().is_some_and(|cluster| cluster.is_alive(to));
        if matches!(record, NodeMessage::Look { .. }) {
            self.count_cluster(|totals| totals.looks_sent += 1);
        }
        let Some(bus) = self.bus().filter(|_| lives) else {
            out.push(CoreAction::Send { to, record });
            return;
        };
        let works = bus.can_publish;
        if record.weight_bytes() > RECORD_BYTES_MAX {
            // Earlier records go first.
            let for_inbox = bus.link(to).take_due_for_inbox(now_ms, 0);
            out.extend(for_inbox.into_iter().chain([record]).map(|record| CoreAction::Send { to, record }));
            return;
        }
        let link = bus.open_link(to);
        let is_too_much = link.say(BusRecord::Record(record), now_ms, bytes_max);
        let for_inbox = if works { Vec::new() } else { link.take_due_for_inbox(now_ms, 0) };
        out.extend(for_inbox.into_iter().map(|record| CoreAction::Send { to, record }));
        if is_too_much {
            self.give_up_kept_records(to, out);
        }
        self.arm_bus(to.node);
    }

    /// Tells a node to look for pushes of these senders. They count as dirty until it confirms it.
    pub(super) fn send_look(
        &mut self,
        to: NodeIncarnation,
        user: UserName,
        senders: &[u64],
        out: &mut Vec<CoreAction>,
    ) {
        self.send_record(to, NodeMessage::Look { user: user.clone() }, out);
        let Some(bus) = self.bus() else { return };
        if let Some((at, link)) = bus.links.get_mut(&to.node)
            && *at == to
        {
            senders.iter().for_each(|&sender| link.add_look_sender(&user, sender));
        }
    }

    /// The same for a small record that starts nothing: if the bus is away, the timer sends it
    /// through the database.
    pub(super) fn send_record_quietly(&mut self, to: NodeIncarnation, record: NodeMessage) {
        self.send_phase_begin(to, BusRecord::Record(record));
    }

    /// Tells a node that pushes for this user are handed over from now on.
    pub(super) fn send_phase_begin(&mut self, to: NodeIncarnation, begin: BusRecord) {
        let (now_ms, bytes_max) = (self.now.mono_ms, self.rules.link_bytes_max);
        if let Some(bus) = self.bus() {
            // If this exceeds the limit, the next record notices it.
            _ = bus.open_link(to).say(begin, now_ms, bytes_max);
            self.arm_bus(to.node);
        }
    }

    /// Hands over a push; returns `false` if that is impossible.
    pub(super) fn hand_push(&mut self, to: NodeIncarnation, phase: u64, push: &crate::protocol::push::Push) -> bool {
        let bytes_max = self.rules.link_bytes_max;
        let Some(bus) = self.bus() else { return false };
        let is_handed = bus.link(to).push(phase, push, bytes_max);
        bus.publishes |= is_handed;
        is_handed
    }

    /// Can pushes be handed over to this node? If there is no link yet, one begins.
    pub(super) fn is_link_up(&mut self, to: NodeIncarnation) -> bool {
        let Some(bus) = self.bus() else { return false };
        if !bus.can_publish {
            return false;
        }
        let is_up = bus.open_link(to).is_up();
        self.arm_bus(to.node);
        is_up
    }

    /// More is kept for another node than allowed: it is told that it missed records.
    #[cold]
    fn give_up_kept_records(&mut self, to: NodeIncarnation, out: &mut Vec<CoreAction>) {
        let (now_ms, bytes_max) = (self.now.mono_ms, self.rules.link_bytes_max);
        let Some(bus) = self.bus() else { return };
        let given_up = bus.link(to).give_up();
        // It is not known any more whose pushes the other node looks for.
        if let Some(cluster) = &mut self.cluster {
            cluster.dirty.record_lost_pair();
        }
        let Some(bus) = self.bus() else { return };
        _ = bus.link(to).say(BusRecord::Record(NodeMessage::RecordsMissed), now_ms, bytes_max);
        self.acks_given_up(given_up.records, out);
    }

    /// Removes a push that was acked, even if its taker does not learn of the ack.
    fn acks_given_up(&mut self, records: Vec<NodeMessage>, out: &mut Vec<CoreAction>) {
        for record in records {
            if let NodeMessage::Ack { user, seq } = record {
                self.submit_delete(seq, user, out);
            }
        }
    }

    /// The end of a turn.
    pub(in super::super) fn publish(&mut self, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(cluster) = &mut self.cluster else { return };
        let (view, Some(bus)) = (cluster.view.number, &mut cluster.bus) else { return };
        bus.publishes = false;
        let mut due_ms = None;
        for (to, link) in bus.links.values_mut() {
            if link.has_to_publish(now_ms) {
                let frames = link.frames(view, now_ms).into_iter();
                out.extend(frames.map(|frame| CoreAction::Publish { to: *to, frame: Box::new(frame) }));
                due_ms = due_ms.into_iter().chain(link.due_ms(bus.can_publish)).min();
            }
        }
        self.arm_bus_at(due_ms);
    }

    fn arm_bus(&mut self, node: NodeId) {
        let due_ms = self.bus().and_then(|bus| bus.links.get(&node)?.1.due_ms(bus.can_publish));
        self.arm_bus_at(due_ms);
    }

    fn arm_bus_at(&mut self, due_ms: Option<u64>) {
        let now_ms = self.now.mono_ms;
        if let (Some(due_ms), Some(bus)) = (due_ms, self.bus())
            && bus.timer_ms.is_none_or(|timer_ms| due_ms < timer_ms)
        {
            let due_ms = due_ms.max(now_ms + 1);
            bus.timer_ms = Some(due_ms);
            self.wheel.insert(due_ms, CoreTimer::Bus);
        }
    }

    pub(in super::super) fn bus_timer_fired(&mut self, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(bus) = self.bus() else { return };
        if bus.timer_ms.is_some_and(|timer_ms| timer_ms > now_ms) {
            // An earlier timer was set meanwhile, and has fired.
            return;
        }
        bus.timer_ms = None;
        let nodes: Vec<NodeIncarnation> = bus.links.values().map(|(to, _)| *to).collect();
        for to in nodes {
            if self.bus().is_some_and(|bus| bus.link(to).is_late(now_ms)) {
                self.count_cluster(|totals| totals.links_late += 1);
                self.link_down(to, out);
            }
            self.pass_link(to, out);
        }
    }

    fn pass_link(&mut self, to: NodeIncarnation, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(bus) = self.bus() else { return };
        let (works, mut last_epoch) = (bus.can_publish, bus.last_epoch);
        let link = bus.link(to);
        let for_inbox = link.pass(now_ms, works, &mut last_epoch);
        let publishes = link.has_to_publish(now_ms);
        bus.last_epoch = last_epoch;
        bus.publishes |= publishes;
        out.extend(for_inbox.into_iter().map(|record| CoreAction::Send { to, record }));
        self.arm_bus(to.node);
    }

    /// The pushes that were handed over to this node since the last confirmation may be lost.
    fn link_down(&mut self, to: NodeIncarnation, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(bus) = self.bus() else { return };
        bus.link(to).down(now_ms);
        self.end_direct_receivers_at(to.node, out);
        self.pass_link(to, out);
    }

    /// The bus has started or stopped working.
    pub(in super::super) fn bus_works(&mut self, works: bool, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(bus) = self.bus() else { return };
        bus.can_publish = works;
        let nodes: Vec<NodeIncarnation> = bus.links.values().map(|(to, _)| *to).collect();
        for to in nodes {
            if works {
                if let Some(bus) = self.bus() {
                    bus.link(to).wake(now_ms);
                }
                self.pass_link(to, out);
            } else {
                let has_begun = self.bus().is_some_and(|bus| bus.link(to).has_begun());
                self.count_cluster(|totals| totals.links_cut += u64::from(has_begun));
                self.link_down(to, out);
            }
        }
    }

    /// A frame has arrived over the bus.
    pub(in super::super) fn bus_frame(&mut self, from: NodeIncarnation, frame: BusFrame, out: &mut Vec<CoreAction>) {
        let bytes_max = self.rules.link_bytes_max;
        let Some(cluster) = &mut self.cluster else { return };
        let (life, view) = (cluster.life(from), cluster.view.number);
        let Some(bus) = &mut cluster.bus else { return };
        match life {
            IncarnationState::Me | IncarnationState::Dead { .. } => {}
            IncarnationState::Lives if frame.view <= view => self.take_frame(from, frame, out),
            // Its sender was in the view that it names, and is not in one that is as new: it was
            // forgotten.
            IncarnationState::Unknown if frame.view <= view => {}
            IncarnationState::Lives | IncarnationState::Unknown => {
                // Its sender knows of a death or a start of which this node must learn first.
                let bytes = ClusterBusState::frame_bytes(&frame);
                if bus.waiting_bytes + bytes <= bytes_max {
                    if bus.waiting_frames.is_empty() {
                        out.push(CoreAction::ReadView);
                    }
                    bus.waiting_bytes += bytes;
                    bus.waiting_frames.push_back((from, frame));
                }
            }
        }
    }

    fn take_frame(&mut self, from: NodeIncarnation, frame: BusFrame, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(bus) = self.bus() else { return };
        let link = bus.link(from);
        link.wake(now_ms);
        let received = link.receive(frame, now_ms);
        let publishes = link.has_to_publish(now_ms);
        bus.publishes |= publishes;
        if received.is_refused {
            self.count_cluster(|totals| totals.links_refused += 1);
            self.link_down(from, out);
        } else {
            self.pass_link(from, out);
        }
        for record in received.records {
            match record {
                BusRecord::Begin { user, phase } => self.on_foreign_phase_begin(from, &user, phase, out),
                BusRecord::Push { phase, push } => self.foreign_push(from, phase, push, out),
                BusRecord::Record(record) => self.on_record(from, record, out),
            }
        }
    }

    /// The view has changed.
    pub(super) fn bus_view_changed(&mut self, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &mut self.cluster else { return };
        let view = &cluster.view;
        let lives = |at: &NodeIncarnation| view.node(at.node).is_some_and(|node| node.last == *at && node.is_alive);
        let Some(bus) = &mut cluster.bus else { return };
        bus.foreign.retain_live_takers(lives);
        let dead: Vec<NodeIncarnation> = bus.links.values().map(|(to, _)| *to).filter(|to| !lives(to)).collect();
        let removed: Vec<ReliableNodeLink> =
            dead.iter().filter_map(|dead| Some(bus.links.remove(&dead.node)?.1)).collect();
        let ownerless = bus.remote_receivers.receivers_on_dead_nodes(lives);
        for mut link in removed {
            let given_up = link.give_up();
            self.acks_given_up(given_up.records, out);
        }
        for user in ownerless {
            self.remove_remote(user, out);
        }
    }

    /// The view was read: takes the frames that waited for it.
    pub(super) fn take_waiting_frames(&mut self, out: &mut Vec<CoreAction>) {
        let Some(bus) = self.bus() else { return };
        if bus.waiting_frames.is_empty() {
            return;
        }
        bus.waiting_bytes = 0;
        let before = out.len();
        for (from, frame) in std::mem::take(&mut bus.waiting_frames) {
            self.bus_frame(from, frame, out);
        }
        if self.bus().is_some_and(|bus| !bus.waiting_frames.is_empty()) {
            // The database has answered with an old view. Read the next one in a second, not
            // immediately again and again.
            let is_it = |action: &CoreAction| matches!(action, CoreAction::ReadView);
            if let Some(place) = out[before..].iter().position(is_it) {
                out.remove(before + place);
            }
        }
    }
}
