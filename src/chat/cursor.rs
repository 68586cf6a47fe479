//! The position of one device in a [mailbox](super::mailbox): the pushes that were sent to it and
//! wait for their acks, the deferred ones, the next one, and those to be sent again.
//!
//! Outstanding pushes are in a queue of the cursor's own, in the order in which each was last sent.
//! So its front is the push to be resent first, and an acked id is searched among outstanding
//! pushes only. A queue parallel to the mailbox's entries would be as long as the mailbox, and
//! would have to follow every gap that is closed there. This queue is as long as the window, and
//! the mailbox knows nothing of it: each device may have its own.
//!
//! An ack costs the same however many pushes are outstanding and whatever ids they have. Most acks
//! are for the first entry of the queue. The others are found by the [index](super::id_index) of a
//! long queue, or by a linear search in a short one. Pushes that were [deferred]
//! because of the acked one are found by a keyed hash.

use super::deliveries::{Delivery, DeliveryTable};
use super::id_index::{INDEXED_FROM, INDEXED_TO, PushIdHashIndex, id_hash};
use super::ids::DeliveryRef;
use super::mailbox::{Mailbox, MailboxDeliveryRef};
use super::sparse_queue::{SparseQueue, SparseQueueEntry, SparseQueuePosition};
use super::wheel::TimerId;
use crate::protocol::field::UserName;
use crate::protocol::request::ContentAsStringOrObject;
use deferred::SameIdDeferredPushes;

mod deferred;
#[cfg(test)]
mod tests;

/// The slot of a sending that was acked.
const GAP: u32 = u32::MAX;

/// The last sending of a push that is outstanding, in few bytes: a short queue is looked through in
/// a few cache lines.
#[derive(Clone, Copy, Debug)]
struct LastSending {
    at_ms: u64,
    /// Its place in the order of the last sendings.
    place: SparseQueuePosition,
    /// The slot of the delivery.
    slot: u32,
    id_hash: u32,
    written_bytes: u32,
    /// How often it was sent on this connection.
    times: u32,
}

impl SparseQueueEntry for LastSending {
    fn place(&self) -> SparseQueuePosition {
        self.place
    }

    fn is_gap(&self) -> bool {
        self.slot == GAP
    }

    fn make_gap(&mut self) {
        self.slot = GAP;
    }
}

/// How much may be outstanding, and the form in which its size is measured.
pub(super) struct SendWindowLimits<'a> {
    pub(super) receiver: &'a UserName,
    pub(super) form: ContentAsStringOrObject,
    pub(super) count_max: usize,
    pub(super) bytes_max: usize,
}

/// A push that is to be sent for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextUnsentPush {
    entry: MailboxDeliveryRef,
    written_bytes: u32,
}

impl NextUnsentPush {
    pub(super) fn delivery(&self) -> DeliveryRef {
        self.entry.delivery()
    }
}

/// One device's position in a mailbox.
#[derive(Debug)]
pub(super) struct DeviceCursor {
    /// Entries before this place were sent or are deferred; entries from this place on were not.
    next: SparseQueuePosition,
    deferred: Option<Box<SameIdDeferredPushes>>,
    /// The outstanding pushes, never two with the same id.
    outstanding: SparseQueue<LastSending>,
    /// The outstanding bytes, as written to the connection.
    outstanding_bytes: usize,
    /// The index of the queue by id; only if the queue is long.
    ids: Option<Box<PushIdHashIndex>>,
    /// The entry whose written size was computed last, with that size in bytes: the entry may be
    /// examined again after each ack. Size 0: none.
    measured: (SparseQueuePosition, u32),
    /// Fires when the push that was last sent the longest ago is due for a resend.
    pub(super) timer: Option<TimerId>,
}

impl DeviceCursor {
    /// A cursor at the beginning of the mailbox.
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            deferred: None,
            outstanding: SparseQueue::new(),
            outstanding_bytes: 0,
            ids: None,
            measured: (0, 0),
            timer: None,
        }
    }

    /// Nothing is outstanding any more: the device has a new connection, or none.
    pub(super) fn restart(&mut self) {
        self.outstanding.clear();
        (self.next, self.deferred, self.outstanding_bytes, self.ids, self.measured) = (0, None, 0, None, (0, 0));
    }

    /// Reads the first entry of the queue, so that it is in the cache.
    pub(super) fn prefetch(&self) -> usize {
        self.outstanding.front().map_or(0, |sending| sending.at_ms as usize)
    }

    /// The next entry to send for the first time, if the window has room. Entries that are passed
    /// over are deferred.
    pub(super) fn next_to_send(
        &mut self,
        mailbox: &Mailbox,
        deliveries: &DeliveryTable,
        window: &SendWindowLimits<'_>,
    ) -> Option<NextUnsentPush> {
        loop {
            let candidate = self.deferred.as_ref().and_then(|deferred| deferred.candidate());
            let entry = mailbox.first_at_or_after(candidate.unwrap_or(self.next))?;
            let Some(delivery) = deliveries.get(entry.delivery()) else {
                debug_assert!(false, "an entry's delivery lives as long as the entry");
                return None;
            };
            if candidate.is_none() {
                // Gaps are passed over once.
                self.next = entry.place;
            }
            if self.must_wait(entry, candidate.is_some(), delivery, deliveries) {
                if candidate.is_none() {
                    self.next = entry.place + 1;
                }
                continue;
            }
            let written_bytes = self.measure(entry.place, delivery, window);
            let bytes = self.outstanding_bytes + written_bytes as usize;
            let sent = self.outstanding.len();
            if sent >= window.count_max || (sent > 0 && bytes > window.bytes_max) {
                return None;
            }
            return Some(NextUnsentPush { entry, written_bytes });
        }
    }

    fn measure(&mut self, place: SparseQueuePosition, delivery: &Delivery, window: &SendWindowLimits<'_>) -> u32 {
        if self.measured.0 != place || self.measured.1 == 0 {
            let written = delivery.body.written_bytes_to(window.receiver, window.form);
            // An envelope is far below 2^32 bytes.
            self.measured = (place, u32::try_from(written).unwrap_or(u32::MAX));
        }
        self.measured.1
    }

    /// Must this entry be deferred? Yes, if its id is outstanding or an earlier push of the same
    /// sender is deferred.
    fn must_wait(
        &mut self,
        entry: MailboxDeliveryRef,
        is_first_deferred: bool,
        delivery: &Delivery,
        deliveries: &DeliveryTable,
    ) -> bool {
        let id = delivery.body.id();
        let sender = || deliveries.hash([delivery.body.sender()]);
        if !is_first_deferred
            && let Some(deferred) = &mut self.deferred
            && deferred.has_push_of(sender())
        {
            deferred.defer_behind_sender(entry.place, sender());
            return true;
        }
        let outstanding = self.find(id, entry.id_hash, deliveries).is_some();
        if outstanding {
            self.deferred.get_or_insert_default().wait_for(entry.place, sender(), deliveries.hash([id]));
        }
        outstanding
    }

    /// Notes that the push from [`next_to_send`](Self::next_to_send) was sent.
    pub(super) fn first_sent(&mut self, next: NextUnsentPush, deliveries: &DeliveryTable, now_ms: u64) {
        let NextUnsentPush { entry, written_bytes } = next;
        self.outstanding_bytes += written_bytes as usize;
        let DeliveryRef { slot, .. } = entry.delivery();
        let id_hash = entry.id_hash;
        self.push(LastSending { at_ms: now_ms, place: 0, slot, id_hash, written_bytes, times: 1 }, deliveries);
        if entry.place >= self.next {
            self.next = entry.place + 1;
        } else if let Some(deferred) = &mut self.deferred
            && let Some(of) = deliveries.get(entry.delivery())
        {
            deferred.remove(entry.place, deliveries.hash([of.body.sender()]), deliveries.hash([of.body.id()]), true);
            if deferred.is_empty() {
                self.deferred = None;
            }
        }
    }

    /// Appends an entry to the queue.
    fn push(&mut self, sending: LastSending, deliveries: &DeliveryTable) {
        let place = self.outstanding.back().map_or(0, |last| last.place + 1);
        let sending = LastSending { place, ..sending };
        self.outstanding.push_back(sending);
        if let Some(ids) = &mut self.ids {
            note_id(ids, &sending, deliveries);
        } else if self.outstanding.span() > INDEXED_FROM {
            self.begin_index(deliveries);
        }
    }

    #[inline(never)]
    fn begin_index(&mut self, deliveries: &DeliveryTable) {
        let mut ids = Box::<PushIdHashIndex>::default();
        self.outstanding.iter().for_each(|sending| note_id(&mut ids, sending, deliveries));
        self.ids = Some(ids);
    }

    /// Removes an entry from the queue.
    fn take(&mut self, sending: LastSending, deliveries: &DeliveryTable) {
        self.outstanding.remove_if(sending.place, |_| true);
        let Some(ids) = &mut self.ids else {
            return;
        };
        if let Some((_, of)) = deliveries.at(sending.slot) {
            ids.remove(deliveries.hash([of.body.id()]), sending.place as u32);
        }
        if self.outstanding.span() < INDEXED_TO {
            self.ids = None;
        }
    }

    /// The entry with this id; `id_hash` is its [`id_hash`].
    fn find(&self, id: &str, id_hash: u32, deliveries: &DeliveryTable) -> Option<&LastSending> {
        let is_it = |sending: &&LastSending| deliveries.at(sending.slot).is_some_and(|(_, of)| of.body.id() == id);
        match &self.ids {
            Some(ids) => {
                let at = |low| self.outstanding.at(self.place_of(low));
                let found = ids.find(deliveries.hash([id]), |low| at(low).as_ref().is_some_and(is_it))?;
                at(found)
            }
            None => self.outstanding.iter().filter(|sending| sending.id_hash == id_hash).find(is_it),
        }
    }

    /// The place whose lower 32 bits these are: the queue spans far fewer places.
    fn place_of(&self, low: u32) -> SparseQueuePosition {
        let first = self.outstanding.front().map_or(0, |sending| sending.place);
        first + u64::from(low.wrapping_sub(first as u32))
    }

    /// The outstanding push with this id: there is at most one.
    pub(super) fn find_sent(&self, id: &str, sender: Option<&str>, deliveries: &DeliveryTable) -> Option<DeliveryRef> {
        let first = self.outstanding.front()?;
        let (mut name, mut of) = deliveries.at(first.slot)?;
        // The usual case: acks come in the order of the pushes.
        if of.body.id() != id {
            (name, of) = deliveries.at(self.find(id, id_hash(id), deliveries)?.slot)?;
        }
        sender.is_none_or(|sender| sender == of.body.sender()).then_some(name)
    }

    fn sending_of(&self, delivery: DeliveryRef, deliveries: &DeliveryTable) -> Option<LastSending> {
        let first = self.outstanding.front()?;
        if first.slot == delivery.slot {
            return Some(*first);
        }
        let id = deliveries.get(delivery)?.body.id();
        self.find(id, id_hash(id), deliveries).filter(|sending| sending.slot == delivery.slot).copied()
    }

    /// Is this delivery outstanding?
    pub(super) fn is_outstanding(&self, delivery: DeliveryRef, deliveries: &DeliveryTable) -> bool {
        self.sending_of(delivery, deliveries).is_some()
    }

    /// The entry at this place was removed from the mailbox. Call it while the delivery still
    /// exists. `true`: it was outstanding.
    pub(super) fn removed(
        &mut self,
        place: SparseQueuePosition,
        delivery: DeliveryRef,
        deliveries: &DeliveryTable,
    ) -> bool {
        if place >= self.next {
            return false;
        }
        let sending = self.sending_of(delivery, deliveries);
        if let Some(sending) = sending {
            self.outstanding_bytes -= sending.written_bytes as usize;
            self.take(sending, deliveries);
        }
        if let Some(deferred) = &mut self.deferred
            && let Some(of) = deliveries.get(delivery)
        {
            let id = deliveries.hash([of.body.id()]);
            if sending.is_some() {
                deferred.wake(id);
            } else {
                deferred.remove(place, deliveries.hash([of.body.sender()]), id, false);
            }
            if deferred.is_empty() {
                self.deferred = None;
            }
        }
        sending.is_some()
    }

    /// When the first entry of the queue was last sent.
    pub(super) fn oldest_sending_ms(&self) -> Option<u64> {
        self.outstanding.front().map(|sending| sending.at_ms)
    }

    /// The outstanding push that was last sent the longest ago, and that time.
    pub(super) fn oldest_sending(&self, deliveries: &DeliveryTable) -> Option<(DeliveryRef, u64)> {
        let oldest = self.outstanding.front()?;
        deliveries.at(oldest.slot).map(|(delivery, _)| (delivery, oldest.at_ms))
    }

    /// Notes that the first entry was sent again, and gives its delivery.
    pub(super) fn send_oldest_again(&mut self, deliveries: &DeliveryTable, now_ms: u64) -> Option<DeliveryRef> {
        let oldest = *self.outstanding.front()?;
        self.take(oldest, deliveries);
        let times = oldest.times.saturating_add(1);
        self.push(LastSending { at_ms: now_ms, times, ..oldest }, deliveries);
        deliveries.at(oldest.slot).map(|(delivery, _)| delivery)
    }

    /// How often a delivery was sent on this connection, if it is outstanding.
    pub(super) fn times_sent(&self, delivery: DeliveryRef, deliveries: &DeliveryTable) -> Option<u32> {
        self.sending_of(delivery, deliveries).map(|sending| sending.times)
    }

    /// The number of outstanding pushes.
    pub(super) fn outstanding_len(&self) -> usize {
        self.outstanding.len()
    }

    /// The number of outstanding pushes, and their bytes as written.
    #[cfg(debug_assertions)]
    pub(super) fn outstanding(&self) -> (usize, usize) {
        (self.outstanding.len(), self.outstanding_bytes)
    }

    /// Checks the invariants.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, mailbox: &Mailbox, deliveries: &DeliveryTable) {
        use std::collections::BTreeSet;
        let entries =
            || std::iter::successors(mailbox.first_at_or_after(0), |entry| mailbox.first_at_or_after(entry.place + 1));
        let id_at = |slot| deliveries.at(slot).map(|(_, of)| of.body.id());
        self.outstanding.check();
        assert!(self.outstanding.iter().is_sorted_by_key(|sending| sending.at_ms), "the oldest is the first");
        let bytes: usize = self.outstanding.iter().map(|sending| sending.written_bytes as usize).sum();
        assert_eq!(self.outstanding_bytes, bytes);
        let sent: BTreeSet<u32> = self.outstanding.iter().map(|sending| sending.slot).collect();
        let ids: BTreeSet<_> = sent.iter().map(|&slot| id_at(slot)).collect();
        assert_eq!((sent.len(), ids.len()), (self.outstanding.len(), sent.len()), "one of each id");
        assert!(self.outstanding.iter().all(|sending| id_at(sending.slot).map(id_hash) == Some(sending.id_hash)));
        let (passed, ahead): (Vec<MailboxDeliveryRef>, Vec<MailboxDeliveryRef>) =
            entries().partition(|entry| entry.place < self.next);
        let is_sent = |entry: &&MailboxDeliveryRef| sent.contains(&entry.delivery().slot);
        assert_eq!(passed.iter().filter(is_sent).count(), sent.len(), "only pushes in the mailbox are outstanding");
        assert!(!ahead.iter().any(|entry| is_sent(&entry)));
        let deferred = self.deferred.as_ref().map(|deferred| deferred.places()).unwrap_or_default();
        let unsent: BTreeSet<SparseQueuePosition> =
            passed.iter().filter(|entry| !is_sent(entry)).map(|entry| entry.place).collect();
        assert_eq!(deferred, unsent, "the deferred pushes are those that were passed over");
        if let Some(deferred) = &self.deferred {
            deferred.check(|place| {
                let id = mailbox.first_at_or_after(place).and_then(|entry| id_at(entry.delivery().slot));
                ids.contains(&id)
            });
        }
        if let Some(index) = &self.ids {
            assert_eq!(index.len(), self.outstanding.len());
        }
    }
}

fn note_id(ids: &mut PushIdHashIndex, sending: &LastSending, deliveries: &DeliveryTable) {
    if let Some((_, of)) = deliveries.at(sending.slot) {
        ids.insert(deliveries.hash([of.body.id()]), sending.place as u32);
    }
}
