//! What must hold of a list whatever happened. Debug builds only.

use super::super::deliveries::{Deliveries, Delivery, NEVER};
use super::{AckList, Entry};
use crate::protocol::push::PushKind;

impl AckList {
    /// What must hold whatever happened.
    pub(in super::super) fn check(&self, deliveries: &Deliveries) {
        let of =
            |entry: Entry| deliveries.get(entry.delivery()).unwrap_or_else(|| panic!("an entry without its delivery"));
        assert_eq!(self.gaps, self.entries.iter().filter(|entry| entry.is_gap()).count());
        assert!(self.entries.iter().is_sorted_by(|one, other| one.place < other.place));
        assert_eq!(self.bytes, self.live().map(|entry| of(entry).weight_bytes()).sum::<usize>());
        let sent: Vec<&Delivery> = self.live().map(of).filter(|delivery| delivery.sent_ms != NEVER).collect();
        assert_eq!(self.sent, sent.len());
        assert_eq!(self.sent_bytes, sent.iter().map(|delivery| delivery.written_bytes as usize).sum::<usize>());
        let held = self.held.as_ref().map(|held| held.places()).unwrap_or_default();
        let unsent = self.live().filter(|entry| entry.place < self.next && of(*entry).sent_ms == NEVER);
        assert_eq!(held, unsent.map(|entry| entry.place).collect(), "what is held back is what was passed over");
        assert!(self.live().all(|entry| of(entry).place == entry.place && of(entry).listed));
        assert!(self.live().all(|entry| entry.place < self.next || of(entry).sent_ms == NEVER));
        assert!(self.all().all(|delivery| delivery.seq < self.above_seq));
        assert!(self.tail.iter().all(|&delivery| deliveries.get(delivery).is_some_and(|delivery| delivery.listed)));
        assert!(self.tail.is_sorted_by(|one, other| one.seq < other.seq));
        if let Some(held) = &self.held {
            held.check(|place| {
                let waits = of(self.entries[self.position(place)]).body.id();
                sent.iter().any(|delivery| delivery.body.id() == waits)
            });
        }
        if let Some(index) = &self.index {
            let messages = self
                .all()
                .filter(|&delivery| deliveries.get(delivery).is_some_and(|i| i.body.kind == PushKind::Message));
            assert_eq!(index.lens(), (self.sent, messages.count()));
        }
    }
}
