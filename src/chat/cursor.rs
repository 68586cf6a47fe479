//! How far one device has come in a [mailbox](super::mailbox): what was sent to it and waits for
//! its ack, what is held back, what is next, and what is to be sent again.
//!
//! What was sent stands in a queue of the cursor's own, in the order of the last sending: so this
//! queue says, too, what is to be sent again first, and an acked id is looked for among outstanding
//! pushes alone. A queue beside the mailbox's entries, place by place, would be as long
//! as the mailbox, and would have to follow every gap that is closed there. This one is as long as
//! the window, and the mailbox knows nothing of it: each device may have its own.
//!
//! An ack costs the same however much is outstanding and whatever ids it has: most are for the
//! first sending; the others are found by the [index](super::index) of a long queue, or in a short
//! one by a look at each; and what was [held back](held) because of it is woken by its name.

use super::deliveries::{Deliveries, Delivery};
use super::ids::DeliveryRef;
use super::index::{INDEXED_FROM, INDEXED_TO, Index, id_hash};
use super::mailbox::{Entry, Mailbox};
use super::sparse::{Place, Placed, SparseQueue};
use super::wheel::TimerId;
use crate::protocol::field::UserName;
use crate::protocol::request::ContentForm;
use held::Held;

mod held;
#[cfg(test)]
mod tests;

/// The slot of a sending that was acked.
const GAP: u32 = u32::MAX;

/// The last sending of a push that is outstanding, in few bytes: a short queue is looked through in
/// a few cache lines.
#[derive(Clone, Copy, Debug)]
struct Sending {
    at_ms: u64,
    /// Its place in the order of the last sendings.
    place: Place,
    /// Of the delivery.
    slot: u32,
    id_hash: u32,
    written_bytes: u32,
    /// How often it was sent on this connection.
    times: u32,
}

impl Placed for Sending {
    fn place(&self) -> Place {
        self.place
    }

    fn is_gap(&self) -> bool {
        self.slot == GAP
    }

    fn make_gap(&mut self) {
        self.slot = GAP;
    }
}

/// How much may be outstanding, and how it is written.
pub(super) struct Window<'a> {
    pub(super) receiver: &'a UserName,
    pub(super) form: ContentForm,
    pub(super) count_max: usize,
    pub(super) bytes_max: usize,
}

/// What is to be sent for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    entry: Entry,
    written_bytes: u32,
}

impl Next {
    pub(super) fn delivery(&self) -> DeliveryRef {
        self.entry.delivery()
    }
}

/// One device's position in a mailbox.
#[derive(Debug)]
pub(super) struct Cursor {
    /// What stands before this place is sent, or held back; nothing from there on is.
    next: Place,
    held: Option<Box<Held>>,
    /// Of one id never more than one.
    outstanding: SparseQueue<Sending>,
    /// As written.
    outstanding_bytes: usize,
    /// Where sendings are, by id. Only if there are many.
    ids: Option<Box<Index>>,
    /// The entry that was measured last, and how large it is as it is written: it may be looked at
    /// again after each ack. 0 bytes: none was.
    measured: (Place, u32),
    /// Fires when the oldest sending is due again.
    pub(super) timer: Option<TimerId>,
}

impl Cursor {
    /// Before everything.
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            held: None,
            outstanding: SparseQueue::new(),
            outstanding_bytes: 0,
            ids: None,
            measured: (0, 0),
            timer: None,
        }
    }

    /// Nothing is sent any more: the device has a new connection, or none.
    pub(super) fn restart(&mut self) {
        self.outstanding.clear();
        (self.next, self.held, self.outstanding_bytes, self.ids, self.measured) = (0, None, 0, None, (0, 0));
    }

    /// Looks at its oldest sending, to have it near.
    pub(super) fn prefetch(&self) -> usize {
        self.outstanding.front().map_or(0, |sending| sending.at_ms as usize)
    }

    /// The next entry to send for the first time, if there is room among the outstanding ones. What
    /// is passed over is held back.
    pub(super) fn next_to_send(
        &mut self,
        mailbox: &Mailbox,
        deliveries: &Deliveries,
        window: &Window<'_>,
    ) -> Option<Next> {
        loop {
            let candidate = self.held.as_ref().and_then(|held| held.candidate());
            let entry = mailbox.first_from(candidate.unwrap_or(self.next))?;
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
            return Some(Next { entry, written_bytes });
        }
    }

    fn measure(&mut self, place: Place, delivery: &Delivery, window: &Window<'_>) -> u32 {
        if self.measured.0 != place || self.measured.1 == 0 {
            let written = delivery.body.written_bytes_to(window.receiver, window.form);
            // An envelope is far below 2^32 bytes.
            self.measured = (place, u32::try_from(written).unwrap_or(u32::MAX));
        }
        self.measured.1
    }

    /// Is its id outstanding, or an earlier one of the same sender held back? Then it is held back,
    /// too.
    fn must_wait(&mut self, entry: Entry, is_first_held: bool, delivery: &Delivery, deliveries: &Deliveries) -> bool {
        let id = delivery.body.id();
        let sender = || deliveries.hash([delivery.body.sender()]);
        if !is_first_held
            && let Some(held) = &mut self.held
            && held.holds_of(sender())
        {
            held.hold_behind(entry.place, sender());
            return true;
        }
        let outstanding = self.find(id, entry.id_hash, deliveries).is_some();
        if outstanding {
            self.held.get_or_insert_default().wait_for(entry.place, sender(), deliveries.hash([id]));
        }
        outstanding
    }

    /// Notes that what [`next_to_send`](Self::next_to_send) gave was sent.
    pub(super) fn first_sent(&mut self, next: Next, deliveries: &Deliveries, now_ms: u64) {
        let Next { entry, written_bytes } = next;
        self.outstanding_bytes += written_bytes as usize;
        let DeliveryRef { slot, .. } = entry.delivery();
        let id_hash = entry.id_hash;
        self.push(Sending { at_ms: now_ms, place: 0, slot, id_hash, written_bytes, times: 1 }, deliveries);
        if entry.place >= self.next {
            self.next = entry.place + 1;
        } else if let Some(held) = &mut self.held
            && let Some(of) = deliveries.get(entry.delivery())
        {
            held.release(entry.place, deliveries.hash([of.body.sender()]), deliveries.hash([of.body.id()]), true);
            if held.is_empty() {
                self.held = None;
            }
        }
    }

    /// Puts a sending behind all others.
    fn push(&mut self, sending: Sending, deliveries: &Deliveries) {
        let place = self.outstanding.back().map_or(0, |last| last.place + 1);
        let sending = Sending { place, ..sending };
        self.outstanding.push_back(sending);
        if let Some(ids) = &mut self.ids {
            note_id(ids, &sending, deliveries);
        } else if self.outstanding.span() > INDEXED_FROM {
            self.begin_index(deliveries);
        }
    }

    #[inline(never)]
    fn begin_index(&mut self, deliveries: &Deliveries) {
        let mut ids = Box::<Index>::default();
        self.outstanding.iter().for_each(|sending| note_id(&mut ids, sending, deliveries));
        self.ids = Some(ids);
    }

    /// Takes a sending out.
    fn take(&mut self, sending: Sending, deliveries: &Deliveries) {
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

    /// The sending of this id, whose [`id_hash`] this is.
    fn find(&self, id: &str, id_hash: u32, deliveries: &Deliveries) -> Option<&Sending> {
        let is_it = |sending: &&Sending| deliveries.at(sending.slot).is_some_and(|(_, of)| of.body.id() == id);
        match &self.ids {
            Some(ids) => {
                let at = |low| self.outstanding.at(self.place_of(low));
                let found = ids.find(deliveries.hash([id]), |low| at(low).as_ref().is_some_and(is_it))?;
                at(found)
            }
            None => self.outstanding.iter().filter(|sending| sending.id_hash == id_hash).find(is_it),
        }
    }

    /// The place that ends in these 32 bits: far fewer stand in the queue.
    fn place_of(&self, low: u32) -> Place {
        let first = self.outstanding.front().map_or(0, |sending| sending.place);
        first + u64::from(low.wrapping_sub(first as u32))
    }

    /// What is outstanding under this id: there is never more than one.
    pub(super) fn find_sent(&self, id: &str, sender: Option<&str>, deliveries: &Deliveries) -> Option<DeliveryRef> {
        let first = self.outstanding.front()?;
        let (mut name, mut of) = deliveries.at(first.slot)?;
        // By far the most: acks come in the order of the pushes.
        if of.body.id() != id {
            (name, of) = deliveries.at(self.find(id, id_hash(id), deliveries)?.slot)?;
        }
        sender.is_none_or(|sender| sender == of.body.sender()).then_some(name)
    }

    fn sending_of(&self, delivery: DeliveryRef, deliveries: &Deliveries) -> Option<Sending> {
        let first = self.outstanding.front()?;
        if first.slot == delivery.slot {
            return Some(*first);
        }
        let id = deliveries.get(delivery)?.body.id();
        self.find(id, id_hash(id), deliveries).filter(|sending| sending.slot == delivery.slot).copied()
    }

    /// Was it sent, and waits for its ack?
    pub(super) fn is_outstanding(&self, delivery: DeliveryRef, deliveries: &Deliveries) -> bool {
        self.sending_of(delivery, deliveries).is_some()
    }

    /// The entry at this place was taken off the mailbox. Call it while the delivery still exists.
    /// `true`: it was outstanding.
    pub(super) fn removed(&mut self, place: Place, delivery: DeliveryRef, deliveries: &Deliveries) -> bool {
        if place >= self.next {
            return false;
        }
        let sending = self.sending_of(delivery, deliveries);
        if let Some(sending) = sending {
            self.outstanding_bytes -= sending.written_bytes as usize;
            self.take(sending, deliveries);
        }
        if let Some(held) = &mut self.held
            && let Some(of) = deliveries.get(delivery)
        {
            let id = deliveries.hash([of.body.id()]);
            if sending.is_some() {
                held.wake(id);
            } else {
                held.release(place, deliveries.hash([of.body.sender()]), id, false);
            }
            if held.is_empty() {
                self.held = None;
            }
        }
        sending.is_some()
    }

    /// When the oldest sending was.
    pub(super) fn oldest_sending_ms(&self) -> Option<u64> {
        self.outstanding.front().map(|sending| sending.at_ms)
    }

    /// What was sent last the longest ago, and when.
    pub(super) fn oldest_sending(&self, deliveries: &Deliveries) -> Option<(DeliveryRef, u64)> {
        let oldest = self.outstanding.front()?;
        deliveries.at(oldest.slot).map(|(delivery, _)| (delivery, oldest.at_ms))
    }

    /// Notes that the oldest was sent again, and says which it is.
    pub(super) fn send_oldest_again(&mut self, deliveries: &Deliveries, now_ms: u64) -> Option<DeliveryRef> {
        let oldest = *self.outstanding.front()?;
        self.take(oldest, deliveries);
        let times = oldest.times.saturating_add(1);
        self.push(Sending { at_ms: now_ms, times, ..oldest }, deliveries);
        deliveries.at(oldest.slot).map(|(delivery, _)| delivery)
    }

    /// How often it was sent on this connection, if it waits for its ack.
    pub(super) fn times_sent(&self, delivery: DeliveryRef, deliveries: &Deliveries) -> Option<u32> {
        self.sending_of(delivery, deliveries).map(|sending| sending.times)
    }

    /// How many were sent and not acked.
    pub(super) fn outstanding_len(&self) -> usize {
        self.outstanding.len()
    }

    /// The same, and their bytes as written.
    #[cfg(debug_assertions)]
    pub(super) fn outstanding(&self) -> (usize, usize) {
        (self.outstanding.len(), self.outstanding_bytes)
    }

    /// What must hold whatever happened.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self, mailbox: &Mailbox, deliveries: &Deliveries) {
        use std::collections::BTreeSet;
        let entries = || std::iter::successors(mailbox.first_from(0), |entry| mailbox.first_from(entry.place + 1));
        let id_at = |slot| deliveries.at(slot).map(|(_, of)| of.body.id());
        self.outstanding.check();
        assert!(self.outstanding.iter().is_sorted_by_key(|sending| sending.at_ms), "the oldest is the first");
        let bytes: usize = self.outstanding.iter().map(|sending| sending.written_bytes as usize).sum();
        assert_eq!(self.outstanding_bytes, bytes);
        let sent: BTreeSet<u32> = self.outstanding.iter().map(|sending| sending.slot).collect();
        let ids: BTreeSet<_> = sent.iter().map(|&slot| id_at(slot)).collect();
        assert_eq!((sent.len(), ids.len()), (self.outstanding.len(), sent.len()), "one of each id");
        assert!(self.outstanding.iter().all(|sending| id_at(sending.slot).map(id_hash) == Some(sending.id_hash)));
        let (passed, ahead): (Vec<Entry>, Vec<Entry>) = entries().partition(|entry| entry.place < self.next);
        let is_sent = |entry: &&Entry| sent.contains(&entry.delivery().slot);
        assert_eq!(passed.iter().filter(is_sent).count(), sent.len(), "only what is in the mailbox is outstanding");
        assert!(!ahead.iter().any(|entry| is_sent(&entry)));
        let held = self.held.as_ref().map(|held| held.places()).unwrap_or_default();
        let unsent: BTreeSet<Place> = passed.iter().filter(|entry| !is_sent(entry)).map(|entry| entry.place).collect();
        assert_eq!(held, unsent, "what is held back is what was passed over");
        if let Some(held) = &self.held {
            held.check(|place| {
                let id = mailbox.first_from(place).and_then(|entry| id_at(entry.delivery().slot));
                ids.contains(&id)
            });
        }
        if let Some(index) = &self.ids {
            assert_eq!(index.len(), self.outstanding.len());
        }
    }
}

fn note_id(ids: &mut Index, sending: &Sending, deliveries: &Deliveries) {
    if let Some((_, of)) = deliveries.at(sending.slot) {
        ids.insert(deliveries.hash([of.body.id()]), sending.place as u32);
    }
}
