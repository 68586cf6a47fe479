//! The sending side of a list: which push is next, which waits for another, and which was sent
//! longest ago.

use super::*;

impl AckList {
    /// The next entry to send for the first time, if there is room among the outstanding ones. The
    /// entries before it are held back.
    pub(in super::super) fn next_to_send(
        &mut self,
        items: &mut Items,
        form: ContentForm,
        count_max: usize,
        bytes_max: usize,
    ) -> Option<ItemRef> {
        loop {
            let candidate = self.held.as_ref().and_then(|held| held.candidate());
            let place = candidate.unwrap_or(self.next);
            // All unsent entries are at or behind `next`.
            let mut position = self.position(place);
            while self.entries.get(position).is_some_and(|entry| entry.is_gap()) {
                position += 1;
            }
            let entry = *self.entries.get(position)?;
            let Some(item) = items.get(entry.item()) else {
                debug_assert!(false, "an entry's item lives as long as the entry");
                return None;
            };
            debug_assert_eq!(item.sent_ms, NEVER, "what was sent is neither held back nor next");
            if candidate.is_none() {
                // Gaps are passed over once.
                self.next = entry.place;
            }
            if self.must_wait(entry.place, candidate.is_some(), item, items) {
                if candidate.is_none() {
                    self.next = entry.place + 1;
                }
                continue;
            }
            let written = item.written_bytes as usize;
            let written = if written > 0 { written } else { item.push.written_bytes(form) };
            if let Some(item) = items.get_mut(entry.item()) {
                // An envelope is far below 2^32 bytes; kept, since this one may be looked at again
                // after each ack.
                item.written_bytes = u32::try_from(written).unwrap_or(u32::MAX);
            }
            if self.sent >= count_max || (self.sent > 0 && self.sent_bytes + written > bytes_max) {
                return None;
            }
            return Some(entry.item());
        }
    }

    /// Is its id outstanding, or an earlier one of the same sender held back? Then it is held back,
    /// too.
    fn must_wait(&mut self, place: Place, is_first_held: bool, item: &Item, items: &Items) -> bool {
        let id = item.push.id();
        let sender = || items.hash([item.push.sender()]);
        if !is_first_held
            && let Some(held) = &mut self.held
            && held.holds_of(sender())
        {
            held.hold_behind(place, sender());
            return true;
        }
        let outstanding = match &self.index {
            Some(index) => index.find_sent(id, items).is_some(),
            None => self.entries_of(id, items).any(|(_, other)| other.sent_ms != NEVER),
        };
        if outstanding {
            self.held.get_or_insert_default().wait_for(place, sender(), items.hash([id]));
        }
        outstanding
    }

    /// Notes that the entry that [`next_to_send`](Self::next_to_send) gave was sent.
    pub(in super::super) fn first_sent(&mut self, item: ItemRef, items: &mut Items, now_ms: u64) {
        let Some(of) = items.get(item) else {
            return;
        };
        self.sent += 1;
        self.sent_bytes += of.written_bytes as usize;
        if let Some(index) = &mut self.index {
            index.add_sent(item, of, items);
        }
        if of.place >= self.next {
            self.next = of.place + 1;
        } else if let Some(held) = &mut self.held {
            held.let_go(of.place, items.hash([of.push.sender()]), items.hash([of.push.id()]), true);
            if held.is_empty() {
                self.held = None;
            }
        }
        self.sent_again(item, items, now_ms);
    }

    /// Notes a sending.
    pub(in super::super) fn sent_again(&mut self, item: ItemRef, items: &mut Items, now_ms: u64) {
        if let Some(of) = items.get_mut(item) {
            of.sent_ms = now_ms;
            self.clock.push_back((now_ms, item));
        }
    }

    /// The oldest sending that still counts, and its time. Forgets those that do not.
    pub(in super::super) fn oldest_sending(&mut self, items: &Items) -> Option<(u64, ItemRef)> {
        let counts = |&(at_ms, item): &(u64, ItemRef)| {
            items.get(item).is_some_and(|found| found.listed && found.sent_ms == at_ms)
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
    pub(in super::super) fn unsend_all(&mut self, items: &mut Items) {
        for entry in self.entries.iter().filter(|entry| !entry.is_gap()) {
            if let Some(item) = items.get_mut(entry.item()) {
                item.sent_ms = NEVER;
                item.written_bytes = 0;
            }
        }
        self.next = self.entries.front().map_or(self.end, |entry| entry.place);
        (self.held, self.sent, self.sent_bytes) = (None, 0, 0);
        if let Some(index) = &mut self.index {
            index.forget_sent();
        }
        self.clock.clear();
    }

    /// The number of outstanding pushes, and their bytes as written.
    #[cfg(debug_assertions)]
    pub(in super::super) fn outstanding(&self) -> (usize, usize) {
        (self.sent, self.sent_bytes)
    }
}
