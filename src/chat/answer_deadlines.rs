//! The deadlines by which clients must get their answers.

use super::contract::JobTicket;
use super::ids::DeliveryRef;
use std::collections::VecDeque;

/// A queue shorter than this is not searched for answered requests.
const SWEPT_FROM: usize = 1_024;

/// A deadline by which something must be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingReplyDeadline {
    /// A request that waits for a job.
    Request(JobTicket),
    /// The waiters of this push.
    Push(DeliveryRef),
}

/// Requests to be answered, each with its deadline, in order. An answered request stays until the
/// queue is searched for such requests: at most half of the queue is useless.
#[derive(Debug)]
pub(super) struct PendingReplyDeadlines {
    queue: VecDeque<(u64, PendingReplyDeadline)>,
    /// The length at which the queue is searched for answered requests.
    sweep_len: usize,
}

impl Default for PendingReplyDeadlines {
    fn default() -> Self {
        Self { queue: VecDeque::new(), sweep_len: SWEPT_FROM }
    }
}

impl PendingReplyDeadlines {
    /// Appends a request. Removes answered ones: `is_open` says which are not answered yet.
    pub(super) fn push(
        &mut self,
        due_ms: u64,
        due: PendingReplyDeadline,
        is_open: impl Fn(PendingReplyDeadline) -> bool,
    ) {
        while let Some((_, front)) = self.queue.front()
            && !is_open(*front)
        {
            self.queue.pop_front();
        }
        if self.queue.len() >= self.sweep_len {
            self.sweep(is_open);
        }
        // The wait is the same for all, but that of a push begins before its save: its place is
        // near the end.
        let place = self.queue.partition_point(|&(other_ms, _)| other_ms <= due_ms);
        self.queue.insert(place, (due_ms, due));
    }

    /// Removes answered requests behind one that still waits.
    #[cold]
    fn sweep(&mut self, is_open: impl Fn(PendingReplyDeadline) -> bool) {
        self.queue.retain(|(_, due)| is_open(*due));
        self.sweep_len = (2 * self.queue.len()).max(SWEPT_FROM);
        self.queue.shrink_to(self.sweep_len);
    }

    /// The first deadline.
    pub(super) fn first_ms(&self) -> Option<u64> {
        self.queue.front().map(|&(due_ms, _)| due_ms)
    }

    /// Takes the first request whose deadline is over.
    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<PendingReplyDeadline> {
        let &(_, due) = self.queue.front().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        self.queue.pop_front();
        Some(due)
    }

    /// Gives memory back after many requests have left the queue.
    pub(super) fn shrink(&mut self) {
        if self.queue.capacity() > SWEPT_FROM && self.queue.len() < self.queue.capacity() / 4 {
            self.queue.shrink_to(2 * self.queue.len());
        }
    }

    /// Is no request in the queue?
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The requests in the queue, also answered ones.
    pub(super) fn iter(&self) -> impl Iterator<Item = PendingReplyDeadline> + '_ {
        self.queue.iter().map(|&(_, due)| due)
    }

    /// The memory of the queue, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.queue.capacity() * size_of::<(u64, PendingReplyDeadline)>()
    }

    /// The deadlines are in order.
    #[cfg(debug_assertions)]
    pub(super) fn check(&self) {
        assert!(self.queue.iter().is_sorted_by_key(|entry| entry.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(slot: u32) -> PendingReplyDeadline {
        PendingReplyDeadline::Request(JobTicket { slot, generation: 0 })
    }

    #[test]
    fn each_is_due_at_its_time_and_the_order_is_that_of_the_deadlines() {
        let mut deadlines = PendingReplyDeadlines::default();
        for (due_ms, slot) in [(10, 1), (30, 2), (20, 3), (20, 4)] {
            deadlines.push(due_ms, request(slot), |_| true);
            deadlines.check();
        }
        assert_eq!((deadlines.first_ms(), deadlines.pop_due(9)), (Some(10), None));
        let due: Vec<_> = std::iter::from_fn(|| deadlines.pop_due(20)).collect();
        assert_eq!(due, [1, 3, 4].map(request));
        assert_eq!((deadlines.first_ms(), deadlines.is_empty()), (Some(30), false));
    }

    #[test]
    fn answered_requests_leave_the_front_at_once() {
        let mut deadlines = PendingReplyDeadlines::default();
        for slot in 1..=3 {
            deadlines.push(10, request(slot), |_| true);
        }
        deadlines.push(10, request(4), |due| due != request(1) && due != request(3));
        assert_eq!(deadlines.iter().collect::<Vec<_>>(), [2, 3, 4].map(request), "the third is behind one that waits");
    }

    #[test]
    fn at_most_half_of_a_long_queue_is_answered_requests() {
        let mut deadlines = PendingReplyDeadlines::default();
        // The first one waits, the others are answered at once.
        for slot in 0..100_000 {
            deadlines.push(10, request(slot), |due| due == request(0));
            assert!(deadlines.queue.len() <= SWEPT_FROM);
        }
        assert!(deadlines.memory_bytes() <= 4 * SWEPT_FROM * size_of::<(u64, PendingReplyDeadline)>());
        // If nearly all wait, a search must not follow each of them.
        let searches = std::cell::Cell::new(0);
        for slot in 0..100_000 {
            deadlines.push(10, request(slot), |_| {
                searches.set(searches.get() + 1);
                true
            });
        }
        assert!(searches.get() < 500_000, "{} looks", searches.get());
        while deadlines.pop_due(10).is_some() {
            deadlines.shrink();
        }
        assert!(deadlines.memory_bytes() <= 4 * SWEPT_FROM * size_of::<(u64, PendingReplyDeadline)>());
    }
}
