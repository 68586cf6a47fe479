//! The time that the receivers of pushes have for their acks before the pushes are saved.

use super::ids::DeliveryRef;
use std::collections::VecDeque;

/// Pushes to online users, each with the time at which it is saved unless it is acked. The delay is
/// the same for all, so they are always in order.
#[derive(Debug, Default)]
pub(super) struct DelayedSaveQueue {
    queue: VecDeque<(u64, DeliveryRef)>,
}

impl DelayedSaveQueue {
    /// Appends a push that is saved at this time unless it is acked before. Entries that are acked
    /// or being saved already (`is_unsaved` says which are not) are removed from the front, so that
    /// the queue does not grow with them.
    pub(super) fn push(&mut self, due_ms: u64, delivery: DeliveryRef, is_unsaved: impl Fn(DeliveryRef) -> bool) {
        self.queue.push_back((due_ms, delivery));
        while let Some(&(_, delivery)) = self.queue.front()
            && !is_unsaved(delivery)
        {
            self.queue.pop_front();
        }
    }

    /// The first time at which a push may have to be saved.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.queue.front().map(|&(due_ms, _)| due_ms)
    }

    /// Takes the first push whose delay is over.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<DeliveryRef> {
        let &(_, delivery) = self.queue.front().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        self.queue.pop_front();
        Some(delivery)
    }

    /// Changes the delay, also of the pushes in the queue.
    pub(super) fn set_delay(&mut self, now_ms: u64, old_ms: u64, new_ms: u64) {
        if old_ms != new_ms {
            // Move all by the same time, so that they stay in order.
            for (due_ms, _) in &mut self.queue {
                *due_ms = (*due_ms + new_ms).saturating_sub(old_ms).max(now_ms);
            }
        }
    }

    /// Is no push in the queue?
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The pushes in the queue, also those that need no save any more.
    pub(super) fn iter(&self) -> impl Iterator<Item = DeliveryRef> + '_ {
        self.queue.iter().map(|&(_, delivery)| delivery)
    }

    /// The times are in order.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert!(self.queue.iter().is_sorted_by_key(|entry| entry.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(seq: u64) -> DeliveryRef {
        DeliveryRef { slot: 0, seq }
    }

    #[test]
    fn each_push_is_taken_once_when_its_delay_is_over() {
        let mut delays = DelayedSaveQueue::default();
        delays.push(100, delivery(1), |_| true);
        delays.push(150, delivery(2), |_| true);
        assert_eq!((delays.first_ms(), delays.pop_due(99)), (Some(100), None));
        assert_eq!((delays.pop_due(100), delays.pop_due(100)), (Some(delivery(1)), None));
        assert_eq!((delays.pop_due(500), delays.pop_due(500)), (Some(delivery(2)), None));
        assert!(delays.is_empty() && delays.first_ms().is_none());
    }

    #[test]
    fn acked_pushes_leave_the_front_when_others_come() {
        let mut delays = DelayedSaveQueue::default();
        for seq in 0..10_000 {
            delays.push(seq, delivery(seq), |delivery| delivery.seq == seq);
            assert_eq!(delays.iter().collect::<Vec<_>>(), [delivery(seq)]);
        }
        delays.push(10_000, delivery(10_000), |_| false);
        assert!(delays.is_empty(), "it was acked at once");
    }

    #[test]
    fn another_delay_holds_for_pushes_that_wait_and_keeps_their_order() {
        let mut delays = DelayedSaveQueue::default();
        for (due_ms, seq) in [(1_000, 1), (1_500, 2)] {
            delays.push(due_ms, delivery(seq), |_| true);
        }
        delays.set_delay(700, 1_000, 3_000);
        delays.check();
        assert_eq!((delays.first_ms(), delays.pop_due(2_999)), (Some(3_000), None));
        delays.set_delay(800, 3_000, 0);
        delays.check();
        assert_eq!((delays.pop_due(799), delays.pop_due(800)), (None, Some(delivery(1))), "it is overdue");
        assert_eq!((delays.pop_due(800), delays.pop_due(800)), (Some(delivery(2)), None));
    }
}
