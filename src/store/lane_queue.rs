//! The queue between the loop and a data worker.
//!
//! A worker that waits for several jobs before a commit is woken once, when enough of them have
//! come, and not for each job: on one core an extra wake costs more than the row that it brings.

use crate::chat::contract::{Job, JobTicket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A job, with the ticket under which its outcome comes back.
pub(super) type SubmittedJob = (JobTicket, Job);

/// Capacity, in jobs, that each end's buffer keeps when the queue is empty.
const KEPT: usize = 1_024;

#[derive(Debug, Default)]
struct DataWorkerQueueState {
    jobs: Vec<SubmittedJob>,
    /// The number of queued jobs at which a waiting worker is woken; 0: it does not wait.
    wake_job_count: usize,
    sender_is_gone: bool,
    worker_is_gone: bool,
}

#[derive(Debug, Default)]
struct DataWorkerQueue {
    state: Mutex<DataWorkerQueueState>,
    enough_jobs: Condvar,
}

impl DataWorkerQueue {
    fn state(&self) -> MutexGuard<'_, DataWorkerQueueState> {
        // A panic cannot leave a job half moved.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queue's two ends. Its length is bounded by what the loop submits at most.
pub(super) fn lane_queue() -> (DataWorkerQueueSender, DataWorkerQueueReceiver) {
    let shared = Arc::new(DataWorkerQueue::default());
    (DataWorkerQueueSender(Arc::clone(&shared)), DataWorkerQueueReceiver { shared, taken_jobs: Vec::new() })
}

/// The loop's end. When it is dropped, the worker does the jobs that are queued, and ends.
#[derive(Debug)]
pub(super) struct DataWorkerQueueSender(Arc<DataWorkerQueue>);

impl DataWorkerQueueSender {
    /// Queues all of `jobs`, and leaves it empty. Holds the lock only while `jobs` is appended to
    /// the queue.
    ///
    /// # Errors
    /// The worker is gone: nobody will do them.
    pub(super) fn send(&self, jobs: &mut Vec<SubmittedJob>) -> Result<(), WorkerIsGone> {
        let mut state = self.0.state();
        if state.worker_is_gone {
            jobs.clear();
            return Err(WorkerIsGone);
        }
        state.jobs.append(jobs);
        let is_enough = state.wake_job_count > 0 && state.jobs.len() >= state.wake_job_count;
        if is_enough {
            state.wake_job_count = 0;
        }
        // Unlock before the notify: otherwise the woken worker would block on this lock.
        drop(state);
        if is_enough {
            self.0.enough_jobs.notify_one();
        }
        jobs.shrink_to(KEPT);
        Ok(())
    }
}

impl Drop for DataWorkerQueueSender {
    fn drop(&mut self) {
        self.0.state().sender_is_gone = true;
        self.0.enough_jobs.notify_one();
    }
}

/// A worker ends only when its queue does, or by a panic outside of any job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorkerIsGone;

/// The worker's end.
#[derive(Debug)]
pub(super) struct DataWorkerQueueReceiver {
    shared: Arc<DataWorkerQueue>,
    /// The jobs that were taken last; kept for its capacity.
    taken_jobs: Vec<SubmittedJob>,
}

impl DataWorkerQueueReceiver {
    /// Waits until `count` jobs are queued, `within` is over, or the sender is gone. Returns
    /// whether any job is queued.
    pub(super) fn wait(&self, count: usize, within: Option<Duration>) -> bool {
        let until = within.map(|within| Instant::now() + within);
        let mut state = self.shared.state();
        while state.jobs.len() < count && !state.sender_is_gone {
            state.wake_job_count = count;
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    self.shared.enough_jobs.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.shared.enough_jobs.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        state.wake_job_count = 0;
        !state.jobs.is_empty()
    }

    /// Is the sender gone, so that no more jobs will come?
    pub(super) fn is_closed(&self) -> bool {
        self.shared.state().sender_is_gone
    }

    /// Takes all queued jobs.
    pub(super) fn take(&mut self) -> impl Iterator<Item = SubmittedJob> {
        self.taken_jobs.shrink_to(KEPT);
        std::mem::swap(&mut self.shared.state().jobs, &mut self.taken_jobs);
        self.taken_jobs.drain(..)
    }
}

impl Drop for DataWorkerQueueReceiver {
    fn drop(&mut self) {
        self.shared.state().worker_is_gone = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::field::UserName;
    use std::sync::mpsc::channel;

    fn jobs(tickets: std::ops::Range<u32>) -> Vec<SubmittedJob> {
        let job = || Job::RevokeTokens { user: UserName::new("ann").unwrap() };
        tickets.map(|ticket| (JobTicket { slot: ticket, generation: 0 }, job())).collect()
    }

    fn tickets(receiver: &mut DataWorkerQueueReceiver) -> Vec<u32> {
        receiver.take().map(|(ticket, _)| ticket.slot).collect()
    }

    #[test]
    fn jobs_come_out_in_the_order_in_which_they_were_sent() {
        let (sender, mut receiver) = lane_queue();
        sender.send(&mut jobs(0..3)).unwrap();
        sender.send(&mut jobs(3..4)).unwrap();
        assert!(receiver.wait(1, None));
        assert_eq!(tickets(&mut receiver), [0, 1, 2, 3]);
        sender.send(&mut jobs(4..6)).unwrap();
        assert_eq!(tickets(&mut receiver), [4, 5]);
        assert!(tickets(&mut receiver).is_empty());
    }

    #[test]
    fn a_wait_ends_with_enough_jobs_with_its_time_and_with_the_sender() {
        let (sender, mut receiver) = lane_queue();
        let (said, answers) = channel();
        let worker = std::thread::spawn(move || {
            receiver.wait(3, None);
            said.send(tickets(&mut receiver)).unwrap();
            assert!(!receiver.wait(1, Some(Duration::from_millis(20))), "nothing came");
            said.send(vec![]).unwrap();
            receiver.wait(1_000, None);
            said.send(tickets(&mut receiver)).unwrap();
            assert!(!receiver.wait(1, None), "and nothing will");
        });
        let next = || answers.recv_timeout(Duration::from_secs(20)).unwrap();
        sender.send(&mut jobs(0..2)).unwrap();
        sender.send(&mut jobs(2..3)).unwrap();
        assert_eq!(next(), [0, 1, 2]);
        assert!(next().is_empty());
        sender.send(&mut jobs(3..4)).unwrap();
        drop(sender);
        assert_eq!(next(), [3], "queued jobs are done when no more can come");
        worker.join().unwrap();
    }

    #[test]
    fn a_sender_learns_that_the_worker_is_gone() {
        let (sender, receiver) = lane_queue();
        drop(receiver);
        assert_eq!(sender.send(&mut jobs(0..1)), Err(WorkerIsGone));
    }

    #[test]
    fn the_room_of_a_burst_is_not_kept() {
        let (sender, mut receiver) = lane_queue();
        let mut burst = jobs(0..20_000);
        sender.send(&mut burst).unwrap();
        assert!(burst.capacity() <= KEPT);
        assert_eq!(receiver.take().count(), 20_000);
        // The second exchange returns the buffer of the first.
        receiver.take().for_each(drop);
        receiver.take().for_each(drop);
        assert!(receiver.taken_jobs.capacity() <= KEPT && receiver.shared.state().jobs.capacity() <= KEPT);
    }
}
