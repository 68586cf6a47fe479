//! The announcements that wait for a thread, or for their next try. It has no clock and no thread:
//! the time is passed in.

use super::message::QueuedHookRequest;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Requests for one announcement.
const TRIES_MAX: u32 = 5;
/// The factor by which each pause between two requests is longer than the one before.
const PAUSE_GROWS: u32 = 4;

/// When a request that failed is made again.
#[derive(Clone, Copy, Debug)]
pub(super) struct HookRetryTimes {
    /// The first pause.
    pub(super) first_pause: Duration,
    /// An older announcement is dropped: the user may be announced again by then.
    pub(super) age_max: Duration,
}

/// The next task of a thread.
#[derive(Debug)]
pub(super) enum HookThreadTask {
    Send(QueuedHookRequest),
    /// Wait until that time, or until something arrives.
    WaitUntil(Instant),
    /// Wait until something arrives.
    Wait,
    Stop,
}

/// The waiting announcements.
#[derive(Debug)]
pub(super) struct HookQueue {
    new_messages: VecDeque<QueuedHookRequest>,
    /// Announcements to be retried, by their time, and by a number because times may be equal.
    pending_retries: BTreeMap<(Instant, u64), QueuedHookRequest>,
    serial: u64,
    len_max: usize,
    retries: HookRetryTimes,
    is_stopped: bool,
}

impl HookQueue {
    pub(super) fn new(len_max: usize, retries: HookRetryTimes) -> Self {
        let (new_messages, pending_retries) = (VecDeque::new(), BTreeMap::new());
        Self { new_messages, pending_retries, serial: 0, len_max, retries, is_stopped: false }
    }

    fn is_full(&self) -> bool {
        self.new_messages.len() + self.pending_retries.len() >= self.len_max
    }

    /// Takes an announcement in; `false` if there is no room.
    #[must_use]
    pub(super) fn push(&mut self, message: QueuedHookRequest) -> bool {
        let has_room = !self.is_stopped && !self.is_full();
        if has_room {
            self.new_messages.push_back(message);
        }
        has_room
    }

    /// A request failed: it is made again later. `false` if it was the last, or there is no room.
    #[must_use]
    pub(super) fn retry(&mut self, mut message: QueuedHookRequest, now: Instant) -> bool {
        message.failures += 1;
        let pause = self.retries.first_pause.saturating_mul(PAUSE_GROWS.saturating_pow(message.failures - 1));
        let at = now + pause;
        if self.is_stopped
            || self.is_full()
            || message.failures >= TRIES_MAX
            || at >= message.created_at + self.retries.age_max
        {
            return false;
        }
        self.serial += 1;
        self.pending_retries.insert((at, self.serial), message);
        true
    }

    /// Removes announcements that have waited too long for their first request; gives their number.
    pub(super) fn remove_expired(&mut self, now: Instant) -> u64 {
        let mut removed = 0;
        while self.new_messages.front().is_some_and(|message| now >= message.created_at + self.retries.age_max) {
            self.new_messages.pop_front();
            removed += 1;
        }
        removed
    }

    pub(super) fn next(&mut self, now: Instant) -> HookThreadTask {
        if self.is_stopped {
            return HookThreadTask::Stop;
        }
        let due = self.pending_retries.first_entry().filter(|entry| entry.key().0 <= now);
        if let Some(message) = due.map(|entry| entry.remove()).or_else(|| self.new_messages.pop_front()) {
            return HookThreadTask::Send(message);
        }
        self.pending_retries.keys().next().map_or(HookThreadTask::Wait, |&(at, _)| HookThreadTask::WaitUntil(at))
    }

    /// Is there something that can be sent at once?
    pub(super) fn has_fresh(&self) -> bool {
        !self.new_messages.is_empty()
    }

    /// Nothing is sent any more.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
        self.new_messages.clear();
        self.pending_retries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn message(text: &str, created_at: Instant) -> QueuedHookRequest {
        QueuedHookRequest { body: text.into(), created_at, failures: 0 }
    }

    fn queue(len_max: usize) -> HookQueue {
        HookQueue::new(len_max, HookRetryTimes { first_pause: SECOND, age_max: 900 * SECOND })
    }

    /// The next message to be sent, if there is one.
    fn sends(queue: &mut HookQueue, now: Instant) -> Option<QueuedHookRequest> {
        match queue.next(now) {
            HookThreadTask::Send(message) => Some(message),
            _ => None,
        }
    }

    #[test]
    fn the_order_is_kept_and_the_queue_is_bounded() {
        let (mut queue, now) = (queue(2), Instant::now());
        assert!(matches!(queue.next(now), HookThreadTask::Wait));
        assert!(queue.push(message("a", now)) && queue.push(message("b", now)));
        assert!(!queue.push(message("c", now)), "full");
        assert_eq!(sends(&mut queue, now).unwrap().body, b"a");
        assert!(queue.push(message("d", now)));
        assert_eq!(sends(&mut queue, now).unwrap().body, b"b");
        assert_eq!(sends(&mut queue, now).unwrap().body, b"d");
        assert!(matches!(queue.next(now), HookThreadTask::Wait));
    }

    #[test]
    fn a_request_is_made_five_times_with_growing_pauses() {
        let (mut queue, start) = (queue(9), Instant::now());
        assert!(queue.push(message("a", start)));
        let mut now = start;
        for pause in [1, 4, 16, 64] {
            let failed = sends(&mut queue, now).unwrap();
            assert!(queue.retry(failed, now));
            let due = now + pause * SECOND;
            assert!(matches!(queue.next(due - SECOND / 2), HookThreadTask::WaitUntil(at) if at == due));
            now = due;
        }
        let failed = sends(&mut queue, now).unwrap();
        assert!(!queue.retry(failed, now), "that was the last");
        assert!(matches!(queue.next(now), HookThreadTask::Wait));
    }

    #[test]
    fn others_go_on_while_one_waits_for_its_next_try() {
        let (mut queue, now) = (queue(3), Instant::now());
        assert!(queue.push(message("a", now)));
        let failed = sends(&mut queue, now).unwrap();
        assert!(queue.retry(failed, now) && queue.push(message("b", now)) && queue.push(message("c", now)));
        assert!(!queue.push(message("d", now)), "a call that is tried again counts");
        assert_eq!(sends(&mut queue, now).unwrap().body, b"b");
        assert_eq!(sends(&mut queue, now + SECOND).unwrap().body, b"a", "it is due");
        assert_eq!(sends(&mut queue, now + SECOND).unwrap().body, b"c");
    }

    #[test]
    fn a_call_that_is_too_old_is_given_up() {
        let (mut queue, start) = (queue(9), Instant::now());
        let later = start + 900 * SECOND;
        assert!(queue.push(message("a", start)) && queue.push(message("b", start + SECOND)));
        assert_eq!(queue.remove_expired(later - SECOND), 0);
        assert_eq!(queue.remove_expired(later), 1);
        let failed = sends(&mut queue, later).unwrap();
        assert_eq!(failed.body, b"b");
        assert!(!queue.retry(failed, later), "it would be too old at its next try");
    }

    #[test]
    fn after_a_stop_nothing_is_sent() {
        let (mut queue, now) = (queue(9), Instant::now());
        assert!(queue.push(message("a", now)));
        let failed = sends(&mut queue, now).unwrap();
        assert!(queue.push(message("b", now)));
        queue.stop();
        assert!(!queue.push(message("c", now)) && !queue.retry(failed, now));
        assert!(matches!(queue.next(now + 900 * SECOND), HookThreadTask::Stop));
    }
}
