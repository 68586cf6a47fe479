//! Both directions between this node and one incarnation of another, over a bus that loses,
//! duplicates, reorders and delays frames.
//!
//! Records are sent in numbered batches, and a batch is taken only after the preceding one. If a
//! batch is missing, or is not confirmed in time, the numbering begins again with a greater epoch.
//! Records are kept until they are confirmed. In each new epoch they are sent again, in their
//! order; after a second they are also sent through the database, into the inbox of the other node.
//! Pushes are not kept: the node that hands a push over saves it when the epoch ends.

use super::contract::{
    BATCH_BYTES_MAX, BusFrame, BusRecord, NodeIncarnation, NodeLinkBatch, NodeLinkBatchNumber, NodeLinkReport,
    NodeMessage,
};
use super::unconfirmed_rereads::RereadNoticesAwaitingNodeConfirm;
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use std::collections::{BTreeMap, VecDeque};

#[cfg(test)]
mod tests;

/// A batch that is not confirmed within this time ends its epoch.
pub(super) const UNCONFIRMED_MS: u64 = 300;
/// A record that is kept for this long is also written to the inbox of the other node.
pub(super) const WRITE_TO_INBOX_AFTER_MS: u64 = 1_000;
/// A record that was written to the inbox is removed after this time, confirmed or not: by then it
/// was read, or its receiver is fenced.
pub(super) const REMOVE_WRITTEN_AFTER_MS: u64 = 30_000;
/// A confirmation waits this long for a frame with which it can be sent.
pub(super) const CONFIRM_MS: u64 = 5;
/// The longest pause between two epochs of which the first was never confirmed.
const OPEN_AGAIN_MAX_MS: u64 = 4_800;
/// A record larger than this is sent through the database only.
pub(super) const RECORD_BYTES_MAX: usize = 512 * 1024;
/// The memory of a kept record or of an unconfirmed batch, without its texts.
const KEPT_BYTES: usize = 96;

/// A record that must arrive.
#[derive(Debug)]
struct UnconfirmedNodeLinkRecord {
    record: BusRecord,
    bytes: usize,
    /// The time when it was given to the link. For a `Look` into which later ones were folded: when
    /// the first was given.
    said_ms: u64,
    /// The batch of this epoch that has it; 0 if there is none yet.
    number: u64,
    /// It was given to the inbox writer, which writes it to the inbox.
    is_written: bool,
}

#[derive(Clone, Copy, Debug)]
struct UnconfirmedNodeLinkBatch {
    number: u64,
    sent_ms: u64,
    bytes: usize,
}

/// An item that waits for the end of the turn, in order.
#[derive(Debug)]
enum QueuedLinkItem {
    /// A kept record, by its serial.
    Kept(u64),
    Push {
        phase: u64,
        push: Push,
    },
}

/// The records that a link has given up.
#[derive(Debug, Default)]
pub(super) struct AbandonedNodeLinkRecords {
    /// In the order in which they were given to the link.
    pub(super) records: Vec<NodeMessage>,
}

/// The meaning of a frame for its receiver.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct NodeLinkReceiveResult {
    /// The records to take, in this order.
    pub(super) records: Vec<BusRecord>,
    /// The first confirmation of this epoch has arrived.
    pub(super) came_up: bool,
    /// The other node misses records: this epoch has ended.
    pub(super) is_refused: bool,
}

/// Both directions between two incarnations.
#[derive(Debug, Default)]
pub(super) struct ReliableNodeLink {
    /// The epoch of the outgoing direction; 0 while nothing was sent yet.
    epoch: u64,
    /// The number of the last batch that was sent.
    number: u64,
    /// A batch of this epoch was confirmed.
    is_up: bool,
    unconfirmed: VecDeque<UnconfirmedNodeLinkBatch>,
    waiting: Vec<QueuedLinkItem>,
    waiting_bytes: usize,
    unconfirmed_bytes: usize,
    kept: BTreeMap<u64, UnconfirmedNodeLinkRecord>,
    kept_bytes: usize,
    last_serial: u64,
    looks: RereadNoticesAwaitingNodeConfirm,
    /// The serial of the last record that told the other node to read everything; 0: there was
    /// none.
    missed_serial: u64,
    /// A `Look` with a smaller serial may not be moved behind this one.
    barrier: u64,
    /// All kept records with a smaller serial were written to the inbox.
    written_below_serial: u64,
    /// No kept record that is still to be written to the inbox was given to the link before this
    /// time.
    oldest_unwritten_ms: Option<u64>,
    /// When the next epoch begins after one that was given up.
    open_at_ms: Option<u64>,
    open_again_ms: u64,
    /// The incoming direction: the last batch that was taken.
    taken: Option<NodeLinkBatchNumber>,
    /// The latest time for its confirmation.
    confirm_ms: Option<u64>,
    /// An epoch of the incoming direction that is to be refused.
    refuse: Option<u64>,
    /// When it came up last, or went down after that.
    changed_ms: Option<u64>,
    /// When a frame came last.
    received_ms: Option<u64>,
}

impl ReliableNodeLink {
    /// May pushes be handed over?
    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Does anything wait for the end of the turn?
    pub(super) fn has_to_publish(&self, now_ms: u64) -> bool {
        let begins = self.epoch > 0 && self.number == 0;
        begins || !self.waiting.is_empty() || self.refuse.is_some() || self.must_confirm(now_ms)
    }

    /// The memory of the link.
    pub(super) fn memory_bytes(&self) -> usize {
        self.waiting_bytes
            + self.kept_bytes
            + self.looks.memory_bytes()
            + self.unconfirmed.len() * size_of::<UnconfirmedNodeLinkBatch>()
    }

    /// The part of it that other nodes have not confirmed.
    pub(super) fn unconfirmed_bytes(&self) -> usize {
        self.unconfirmed_bytes + self.waiting_bytes
    }

    /// Does an epoch of what goes out last?
    pub(super) fn has_begun(&self) -> bool {
        self.epoch > 0
    }

    /// How it is, for an operator.
    pub(super) fn report(&self, to: NodeIncarnation, now_ms: u64) -> NodeLinkReport {
        let ago = |at_ms: u64| now_ms.saturating_sub(at_ms);
        NodeLinkReport {
            peer: to,
            is_up: self.is_up,
            state_age_ms: self.changed_ms.map(ago),
            unconfirmed_batches: self.unconfirmed.len(),
            unconfirmed_bytes: self.unconfirmed_bytes(),
            lag_ms: self.unconfirmed.front().map(|oldest| ago(oldest.sent_ms)),
            last_frame_ms_ago: self.received_ms.map(ago),
        }
    }

    /// Begins an epoch, unless there is one already or the link pauses.
    pub(super) fn open(&mut self, last_epoch: &mut u64) {
        if self.epoch == 0 && self.open_at_ms.is_none() {
            self.begin(last_epoch);
        }
    }

    /// The next epoch: all kept records are sent again.
    fn begin(&mut self, last_epoch: &mut u64) {
        *last_epoch += 1;
        (self.epoch, self.number, self.is_up, self.open_at_ms) = (*last_epoch, 0, false, None);
        self.unconfirmed.clear();
        self.unconfirmed_bytes = 0;
        self.waiting.clear();
        for (serial, kept) in &mut self.kept {
            kept.number = 0;
            self.waiting.push(QueuedLinkItem::Kept(*serial));
        }
        // If there is no record, an empty batch asks for a confirmation.
        self.waiting_bytes = self.kept_bytes;
    }

    /// Hands a push over; returns `false` if there is no room, or the link is down.
    pub(super) fn push(&mut self, phase: u64, push: &Push, bytes_max: usize) -> bool {
        let bytes = push.weight_bytes() + KEPT_BYTES;
        if !self.is_up || self.unconfirmed_bytes() + bytes > bytes_max {
            return false;
        }
        self.waiting_bytes += bytes;
        self.waiting.push(QueuedLinkItem::Push { phase, push: push.clone() });
        true
    }

    /// Sends a record that must arrive. Returns `true` if there was too much, so that all was given
    /// up.
    pub(super) fn say(&mut self, record: BusRecord, now_ms: u64, bytes_max: usize) -> bool {
        self.last_serial += 1;
        let serial = self.last_serial;
        let mut said_ms = now_ms;
        match &record {
            BusRecord::Record(NodeMessage::Look { user }) => {
                let earlier = self.looks.serial_of(user).filter(|earlier| *earlier > self.barrier);
                self.looks.insert(user, serial);
                if let Some(earlier) = earlier {
                    // This `Look` covers the earlier one, and is not moved behind later records any
                    // more.
                    let unwritten = self.remove_kept(earlier).filter(|kept| !kept.is_written);
                    said_ms = unwritten.map_or(now_ms, |kept| kept.said_ms);
                }
            }
            BusRecord::Record(
                NodeMessage::Friend { .. }
                | NodeMessage::Ack { .. }
                | NodeMessage::No { .. }
                | NodeMessage::Who
                | NodeMessage::Present { .. }
                | NodeMessage::Moved { .. },
            ) => {}
            BusRecord::Record(NodeMessage::RecordsMissed) => (self.barrier, self.missed_serial) = (serial, serial),
            _ => self.barrier = serial,
        }
        let bytes = record.weight_bytes() + KEPT_BYTES;
        self.kept.insert(serial, UnconfirmedNodeLinkRecord { record, bytes, said_ms, number: 0, is_written: false });
        self.oldest_unwritten_ms = self.oldest_unwritten_ms.into_iter().chain([said_ms]).min();
        self.kept_bytes += bytes;
        if self.epoch > 0 {
            self.waiting_bytes += bytes;
            self.waiting.push(QueuedLinkItem::Kept(serial));
        }
        self.kept_bytes + self.looks.memory_bytes() > bytes_max
    }

    /// The `Look` that was just given to the link is about a push of this sender.
    pub(super) fn add_look_sender(&mut self, user: &UserName, sender: u64) {
        self.looks.add_sender(user, sender);
    }

    /// The users whose node has not confirmed that it looks for pushes of this sender.
    pub(super) fn unconfirmed_receivers_of(&self, sender: u64) -> impl Iterator<Item = &UserName> {
        self.looks.receivers_of(sender)
    }

    /// Is there such a sender, or may there be one, because the other node must read everything?
    pub(super) fn has_unconfirmed_senders(&self) -> bool {
        self.looks.memory_bytes() > 0 || self.kept.contains_key(&self.missed_serial)
    }

    /// May pushes be on their way?
    pub(super) fn has_unconfirmed(&self) -> bool {
        !self.unconfirmed.is_empty() || !self.waiting.is_empty()
    }

    fn remove_kept(&mut self, serial: u64) -> Option<UnconfirmedNodeLinkRecord> {
        let kept = self.kept.remove(&serial)?;
        self.kept_bytes -= kept.bytes;
        if kept.number == 0 {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(kept.bytes);
        }
        if let BusRecord::Record(NodeMessage::Look { user }) = &kept.record {
            self.looks.remove(user, serial);
        }
        Some(kept)
    }

    /// Gives up all kept records: there are too many of them, or their receiver is dead.
    pub(super) fn give_up(&mut self) -> AbandonedNodeLinkRecords {
        self.looks.clear();
        self.kept_bytes = 0;
        let kept = std::mem::take(&mut self.kept).into_values();
        let records = kept.filter_map(|kept| match kept.record {
            BusRecord::Record(record) => Some(record),
            BusRecord::Begin { .. } | BusRecord::Push { .. } => None,
        });
        AbandonedNodeLinkRecords { records: records.collect() }
    }

    /// Ends the epoch. The caller puts all receivers of this node into the state Stored. The next
    /// epoch begins at once if this one was ever confirmed.
    pub(super) fn down(&mut self, now_ms: u64) {
        let rest_ms = if self.is_up { 0 } else { (2 * self.open_again_ms).clamp(UNCONFIRMED_MS, OPEN_AGAIN_MAX_MS) };
        self.open_again_ms = rest_ms;
        if self.is_up {
            self.changed_ms = Some(now_ms);
        }
        (self.epoch, self.is_up) = (0, false);
        self.open_at_ms = Some(now_ms + rest_ms);
        self.unconfirmed.clear();
        self.unconfirmed_bytes = 0;
        self.waiting.clear();
        self.waiting_bytes = 0;
        // The `Begin` has no effect any more, but the `Look` that it implied is still needed.
        for (serial, kept) in &mut self.kept {
            kept.number = 0;
            if let BusRecord::Begin { user, .. } = &kept.record {
                kept.record = BusRecord::Record(NodeMessage::Look { user: user.clone() });
                kept.is_written = false;
                self.written_below_serial = self.written_below_serial.min(*serial);
                self.oldest_unwritten_ms = self.oldest_unwritten_ms.into_iter().chain([kept.said_ms]).min();
            }
        }
    }

    /// The bus works again, or a frame of the other node has arrived: the pause is over.
    pub(super) fn wake(&mut self, now_ms: u64) {
        if let Some(at_ms) = &mut self.open_at_ms {
            *at_ms = now_ms.min(*at_ms);
        }
        self.open_again_ms = 0;
    }

    /// Has the oldest batch waited too long?
    pub(super) fn is_late(&self, now_ms: u64) -> bool {
        self.unconfirmed.front().is_some_and(|oldest| now_ms >= oldest.sent_ms + UNCONFIRMED_MS)
    }

    /// Called when time has passed: begins an epoch that is due, and returns the records to
    /// write to the inbox now.
    pub(super) fn pass(&mut self, now_ms: u64, works: bool, last_epoch: &mut u64) -> Vec<NodeMessage> {
        if works && self.open_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.begin(last_epoch);
        }
        let for_inbox = self.take_due_for_inbox(now_ms, self.write_to_inbox_after_ms(works));
        while let Some((&serial, kept)) = self.kept.first_key_value()
            && kept.is_written
            && kept.said_ms + REMOVE_WRITTEN_AFTER_MS <= now_ms
        {
            self.remove_kept(serial);
        }
        for_inbox
    }

    /// How long a record waits for its confirmation before it is written to the inbox as well: not
    /// at all if nothing of the epoch before was confirmed, since the other node may have no bus.
    fn write_to_inbox_after_ms(&self, works: bool) -> u64 {
        if works && self.open_again_ms == 0 { WRITE_TO_INBOX_AFTER_MS } else { 0 }
    }

    /// The records to write to the inbox now: those that have waited for so long, and all earlier
    /// ones before them.
    pub(super) fn take_due_for_inbox(&mut self, now_ms: u64, after_ms: u64) -> Vec<NodeMessage> {
        let mut for_inbox = Vec::new();
        if self.oldest_unwritten_ms.is_none_or(|oldest_ms| oldest_ms + after_ms > now_ms) {
            return for_inbox;
        }
        let unwritten = self.kept.range_mut(self.written_below_serial..);
        let is_due = |kept: &UnconfirmedNodeLinkRecord| !kept.is_written && kept.said_ms + after_ms <= now_ms;
        let last_due = unwritten.filter(|(_, kept)| is_due(kept)).map(|(serial, _)| *serial).last();
        if let Some(last_due) = last_due {
            for kept in self.kept.range_mut(self.written_below_serial..=last_due).map(|(_, kept)| kept) {
                if !std::mem::replace(&mut kept.is_written, true)
                    // A `Begin` holds for this epoch only.
                    && let BusRecord::Record(record) = &kept.record
                {
                    for_inbox.push(record.clone());
                }
            }
            self.written_below_serial = last_due + 1;
        }
        let unwritten = self.kept.range(self.written_below_serial..).filter(|(_, kept)| !kept.is_written);
        self.oldest_unwritten_ms = unwritten.map(|(_, kept)| kept.said_ms).min();
        for_inbox
    }

    /// The time at which to call [`pass`](Self::pass) next, or to check whether the link is late.
    pub(super) fn due_ms(&self, works: bool) -> Option<u64> {
        let late = self.unconfirmed.front().map(|oldest| oldest.sent_ms + UNCONFIRMED_MS);
        let write = self.oldest_unwritten_ms.map(|oldest_ms| oldest_ms + self.write_to_inbox_after_ms(works));
        let remove = self.kept.values().next().map(|kept| kept.said_ms + REMOVE_WRITTEN_AFTER_MS);
        let open = self.open_at_ms.filter(|_| works);
        [late, write, remove, open, self.confirm_ms].into_iter().flatten().min()
    }

    /// Must the confirmation be sent now, even if there is nothing else to send?
    fn must_confirm(&self, now_ms: u64) -> bool {
        self.confirm_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// The turn has ended, or a confirmation is due: returns the frame to publish.
    pub(super) fn frames(&mut self, view: u64, now_ms: u64) -> Vec<BusFrame> {
        let mut batches = self.batches(now_ms).into_iter();
        let first =
            BusFrame { view, confirmed_batch: self.taken, refused_epoch: self.refuse.take(), batch: batches.next() };
        self.confirm_ms = None;
        if first.batch.is_none() && first.confirmed_batch.is_none() && first.refused_epoch.is_none() {
            return Vec::new();
        }
        let rest =
            batches.map(|batch| BusFrame { view, confirmed_batch: None, refused_epoch: None, batch: Some(batch) });
        std::iter::once(first).chain(rest).collect()
    }

    fn batches(&mut self, now_ms: u64) -> Vec<NodeLinkBatch> {
        let waiting = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let is_first = self.epoch > 0 && self.number == 0;
        let mut batches: Vec<(NodeLinkBatch, usize)> = Vec::new();
        if self.epoch == 0 || (waiting.is_empty() && !is_first) {
            return Vec::new();
        }
        self.next_batch(&mut batches);
        for one in waiting {
            if batches.last().is_some_and(|(_, bytes)| *bytes > BATCH_BYTES_MAX) {
                self.next_batch(&mut batches);
            }
            let Some((batch, bytes)) = batches.last_mut() else { break };
            match one {
                QueuedLinkItem::Kept(serial) => {
                    // It may have been folded into a later one.
                    if let Some(kept) = self.kept.get_mut(&serial) {
                        kept.number = batch.position.number;
                        *bytes += kept.bytes;
                        batch.records.push(kept.record.clone());
                    }
                }
                QueuedLinkItem::Push { phase, push } => {
                    *bytes += push.weight_bytes() + KEPT_BYTES;
                    batch.records.push(BusRecord::Push { phase, push });
                }
            }
        }
        for (batch, bytes) in &batches {
            self.unconfirmed_bytes += bytes;
            self.unconfirmed.push_back(UnconfirmedNodeLinkBatch {
                number: batch.position.number,
                sent_ms: now_ms,
                bytes: *bytes,
            });
        }
        batches.into_iter().map(|(batch, _)| batch).collect()
    }

    fn next_batch(&mut self, batches: &mut Vec<(NodeLinkBatch, usize)>) {
        self.number += 1;
        let place = NodeLinkBatchNumber { link: self.epoch, number: self.number };
        batches.push((NodeLinkBatch { position: place, records: Vec::new() }, 0));
    }

    /// A frame of the other node has arrived.
    pub(super) fn receive(&mut self, frame: BusFrame, now_ms: u64) -> NodeLinkReceiveResult {
        let BusFrame { confirmed_batch, refused_epoch, batch, .. } = frame;
        let mut received = NodeLinkReceiveResult::default();
        self.received_ms = Some(now_ms);
        if let Some(confirmed) = confirmed_batch.filter(|place| self.epoch > 0 && place.link == self.epoch) {
            received.came_up = self.confirmed(confirmed.number);
            if received.came_up {
                self.changed_ms = Some(now_ms);
            }
        }
        received.is_refused = self.epoch > 0 && refused_epoch == Some(self.epoch);
        if let Some(batch) = batch {
            received.records = self.take(batch, now_ms);
        }
        received
    }

    fn confirmed(&mut self, number: u64) -> bool {
        while let Some(oldest) = self.unconfirmed.front().filter(|oldest| oldest.number <= number) {
            self.unconfirmed_bytes -= oldest.bytes;
            self.unconfirmed.pop_front();
        }
        let is_done = |kept: &UnconfirmedNodeLinkRecord| kept.number > 0 && kept.number <= number;
        while let Some((&serial, kept)) = self.kept.first_key_value()
            && is_done(kept)
        {
            self.remove_kept(serial);
        }
        if self.kept.is_empty() {
            self.oldest_unwritten_ms = None;
        }
        self.open_again_ms = 0;
        !std::mem::replace(&mut self.is_up, true)
    }

    fn take(&mut self, NodeLinkBatch { position, records }: NodeLinkBatch, now_ms: u64) -> Vec<BusRecord> {
        let taken = self.taken.filter(|taken| taken.link >= position.link);
        let next = taken.map_or(1, |taken| if taken.link == position.link { taken.number + 1 } else { u64::MAX });
        if position.number == next {
            self.taken = Some(position);
            self.confirm_ms.get_or_insert(now_ms + CONFIRM_MS);
            return records;
        }
        if taken.is_some_and(|taken| position <= taken) {
            // It has arrived twice, or its confirmation was lost, or its epoch has ended.
            self.confirm_ms.get_or_insert(now_ms + CONFIRM_MS);
        } else {
            self.refuse = Some(position.link);
        }
        Vec::new()
    }

    /// The invariants.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert_eq!(self.kept_bytes, self.kept.values().map(|kept| kept.bytes).sum::<usize>());
        assert_eq!(self.unconfirmed_bytes, self.unconfirmed.iter().map(|one| one.bytes).sum::<usize>());
        assert!(self.epoch > 0 || self.unconfirmed.is_empty() && !self.is_up);
        self.looks.check(|serial| self.kept.contains_key(&serial));
    }
}
