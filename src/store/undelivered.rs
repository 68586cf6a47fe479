//! Backpressure between the data workers and the loop: profiles and pages that the loop has not
//! taken yet are bounded in bytes.

use crate::chat::contract::{JobOutcome, PushPage};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// If more bytes than this are undelivered, workers wait until the loop has taken some. One batch
/// of each worker may come on top.
const BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Debug, Default)]
struct OutcomeByteBudgetState {
    bytes: usize,
    /// The loop takes no more outcomes.
    is_closed: bool,
}

/// Outcomes that the loop has not taken yet; the workers' end.
#[derive(Clone, Debug, Default)]
pub(super) struct OutcomeByteBudget(Arc<(Mutex<OutcomeByteBudgetState>, Condvar)>);

impl OutcomeByteBudget {
    fn state(&self) -> MutexGuard<'_, OutcomeByteBudgetState> {
        // A number and a flag stay consistent after a panic.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the loop has taken enough outcomes for another batch to have room.
    pub(super) fn wait_for_room(&self) {
        let waits = |state: &mut OutcomeByteBudgetState| state.bytes > BYTES_MAX && !state.is_closed;
        drop(self.0.1.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds outcomes that are about to be sent to the loop.
    pub(super) fn add<'a>(&self, outcomes: impl IntoIterator<Item = &'a JobOutcome>) {
        let bytes: usize = outcomes.into_iter().map(weight_bytes).sum();
        if bytes > 0 {
            self.state().bytes += bytes;
        }
    }
}

/// The loop's end. When it is dropped, all waiting workers go on.
#[derive(Debug, Default)]
pub(super) struct OutcomeBudgetLoopSide(pub(super) OutcomeByteBudget);

impl OutcomeBudgetLoopSide {
    /// The loop has taken these outcomes.
    pub(super) fn release<'a>(&self, outcomes: impl IntoIterator<Item = &'a JobOutcome>) {
        let bytes: usize = outcomes.into_iter().map(weight_bytes).sum();
        if bytes > 0 {
            let mut state = self.0.state();
            state.bytes = state.bytes.saturating_sub(bytes);
            drop(state);
            self.0.0.1.notify_all();
        }
    }
}

impl Drop for OutcomeBudgetLoopSide {
    fn drop(&mut self) {
        self.0.state().is_closed = true;
        self.0.0.1.notify_all();
    }
}

/// The bytes of an outcome, as far as clients determine its size.
fn weight_bytes(outcome: &JobOutcome) -> usize {
    let of_page = |page: &PushPage| page.pushes.iter().map(crate::protocol::push::Push::weight_bytes).sum::<usize>();
    match outcome {
        JobOutcome::Profile(Some(profile)) => profile.weight_bytes(),
        JobOutcome::Loaded { page, .. } | JobOutcome::Page(page) => of_page(page),
        JobOutcome::Account(outcome) => outcome.weight_bytes(),
        JobOutcome::Admin(outcome) => outcome.weight_bytes(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::field::{Profile, UserName};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    fn profiles(count: usize) -> Vec<JobOutcome> {
        let none = || Box::from("");
        let profile = Profile {
            user_name: UserName::new("ann").unwrap(),
            email_address: none(),
            nick_name: none(),
            profile_picture: none(),
            location: none(),
            personal_description: none(),
            rsa_public_key: "k".repeat(8_000).into(),
        };
        vec![JobOutcome::Profile(Some(Box::new(profile))); count]
    }

    #[test]
    fn a_worker_waits_until_its_outcomes_are_taken_or_nobody_takes_them() {
        let taker = OutcomeBudgetLoopSide::default();
        let undelivered = taker.0.clone();
        let (there, said) = channel();
        let worker = std::thread::spawn(move || {
            for _ in 0..4 {
                undelivered.wait_for_room();
                undelivered.add(&profiles(1_100));
                there.send(()).unwrap();
            }
        });
        let next = || said.recv_timeout(Duration::from_secs(20));
        next().unwrap();
        // There is not room for both: the second comes only when the first was taken.
        assert!(said.try_recv().is_err());
        taker.release(&profiles(1_100));
        next().unwrap();
        taker.release(&[JobOutcome::Saved, JobOutcome::Profile(None)]);
        assert!(said.try_recv().is_err());
        drop(taker);
        next().unwrap();
        next().unwrap();
        worker.join().unwrap();
    }
}
