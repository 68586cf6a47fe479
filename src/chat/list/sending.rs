//! What of a list is sent: what is next, what waits for another one, what was sent longest ago.

use super::*;

impl AckList {
    /// The next entry to send for the first time, if there is room among the outstanding ones. What
    /// is passed over is held back.
    pub(in super::super) fn next_to_send(
        &mut self,
        deliveries: &mut Deliveries,
        (receiver, form): (&UserName, ContentForm),
        count_max: usize,
        bytes_max: usize,
    ) -> Option<DeliveryRef> {
        loop {
            let candidate = self.held.as_ref().and_then(|held| held.candidate());
            let place = candidate.unwrap_or(self.next);
            // What is not sent yet begins at or behind `next`.
            let mut position = self.position(place);
            while self.entries.get(position).is_some_and(|entry| entry.is_gap()) {
                position += 1;
            }
            let entry = *self.entries.get(position)?;
            let Some(delivery) = deliveries.get(entry.delivery()) else {
                debug_assert!(false, "an entry's delivery lives as long as the entry");
                return None;
            };
            debug_assert_eq!(delivery.sent_ms, NEVER, "what was sent is neither held back nor next");
            if candidate.is_none() {
                // Gaps are passed over once.
                self.next = entry.place;
            }
            if self.must_wait(entry.place, candidate.is_some(), delivery, deliveries) {
                if candidate.is_none() {
                    self.next = entry.place + 1;
                }
                continue;
            }
            let written = delivery.written_bytes as usize;
            let written = if written > 0 { written } else { delivery.body.written_bytes_to(receiver, form) };
            if let Some(delivery) = deliveries.get_mut(entry.delivery()) {
                // An envelope is far below 2^32 bytes; kept, since this one may be looked at again
                // after each ack.
                delivery.written_bytes = u32::try_from(written).unwrap_or(u32::MAX);
            }
            if self.sent >= count_max || (self.sent > 0 && self.sent_bytes + written > bytes_max) {
                return None;
            }
            return Some(entry.delivery());
        }
    }

    /// Is its id outstanding, or an earlier one of the same sender held back? Then it is held back,
    /// too.
    fn must_wait(&mut self, place: Place, is_first_held: bool, delivery: &Delivery, deliveries: &Deliveries) -> bool {
        let id = delivery.body.id();
        let sender = || deliveries.hash([delivery.body.sender()]);
        if !is_first_held
            && let Some(held) = &mut self.held
            && held.holds_of(sender())
        {
            held.hold_behind(place, sender());
            return true;
        }
        let outstanding = match &self.index {
            Some(index) => index.find_sent(id, deliveries).is_some(),
            None => self.entries_of(id, deliveries).any(|(_, other)| other.sent_ms != NEVER),
        };
        if outstanding {
            self.held.get_or_insert_default().wait_for(place, sender(), deliveries.hash([id]));
        }
        outstanding
    }

    /// Notes that the entry that [`next_to_send`](Self::next_to_send) gave was sent.
    pub(in super::super) fn first_sent(&mut self, delivery: DeliveryRef, deliveries: &mut Deliveries, now_ms: u64) {
        let Some(of) = deliveries.get(delivery) else {
            return;
        };
        self.sent += 1;
        self.sent_bytes += of.written_bytes as usize;
        if let Some(index) = &mut self.index {
            index.add_sent(delivery, of, deliveries);
        }
        if of.place >= self.next {
            self.next = of.place + 1;
        } else if let Some(held) = &mut self.held {
            held.let_go(of.place, deliveries.hash([of.body.sender()]), deliveries.hash([of.body.id()]), true);
            if held.is_empty() {
                self.held = None;
            }
        }
        self.sent_again(delivery, deliveries, now_ms);
    }

    /// Notes a sending.
    pub(in super::super) fn sent_again(&mut self, delivery: DeliveryRef, deliveries: &mut Deliveries, now_ms: u64) {
        if let Some(of) = deliveries.get_mut(delivery) {
            of.sent_ms = now_ms;
            self.clock.push_back((now_ms, delivery));
        }
    }

    /// The oldest sending that still counts, and its time. Forgets those that do not.
    pub(in super::super) fn oldest_sending(&mut self, deliveries: &Deliveries) -> Option<(u64, DeliveryRef)> {
        let counts = |&(at_ms, delivery): &(u64, DeliveryRef)| {
            deliveries.get(delivery).is_some_and(|found| found.listed && found.sent_ms == at_ms)
        };
        while self.clock.front().is_some_and(|sending| !counts(sending)) {
            self.clock.pop_front();
        }
        if self.clock.len() > 64 && self.clock.len() > 4 * self.len() {
            // Each entry has one sending that counts, so most go: it is long until the next time.
            self.clock.retain(counts);
        }
        self.clock.front().copied()
    }

    /// Forgets the oldest sending: it is sent again.
    pub(in super::super) fn drop_oldest_sending(&mut self) {
        self.clock.pop_front();
    }

    /// Nothing is sent any more: the list has a new connection, or none.
    pub(in super::super) fn unsend_all(&mut self, deliveries: &mut Deliveries) {
        for entry in self.entries.iter().filter(|entry| !entry.is_gap()) {
            if let Some(delivery) = deliveries.get_mut(entry.delivery()) {
                delivery.sent_ms = NEVER;
                delivery.written_bytes = 0;
            }
        }
        self.next = self.entries.front().map_or(self.end, |entry| entry.place);
        (self.held, self.sent, self.sent_bytes) = (None, 0, 0);
        if let Some(index) = &mut self.index {
            index.forget_sent();
        }
        self.clock.clear();
    }

    /// How many were sent and not acked, and their bytes as written.
    #[cfg(debug_assertions)]
    pub(in super::super) fn outstanding(&self) -> (usize, usize) {
        (self.sent, self.sent_bytes)
    }
}
