//! Saving a push: at once or after the save delay, again if that failed, and what becomes of the
//! message if it cannot be saved.

use super::answer::{BUSY, ErrorReply, FULL, UNAVAILABLE, fault_of};
use super::contract::{CoreAction, Job, JobOutcome};
use super::deliveries::{Delivery, DeliverySaveState};
use super::ids::DeliveryRef;
use super::job::JobPurpose;
use super::{CoreTimer, PendingReplyDeadline, ServerCore};

/// The pause before a failed save is tried again.
const RETRY_MS: u64 = 1_000;

impl ServerCore {
    /// Saves it unless it is acked in time.
    pub(super) fn save_later(&mut self, delivery: DeliveryRef) {
        let deliveries = &self.deliveries;
        self.save_delay.push(self.now.mono_ms + self.rules.save_after_ms, delivery, |delivery| {
            deliveries.get(delivery).is_some_and(|found| found.save_state == DeliverySaveState::None)
        });
    }

    /// Submits the save of a push, unless it was submitted already.
    #[inline(never)]
    pub(super) fn save_if_unsaved(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        let unsaved = |found: &&mut Delivery| match found.save_state {
            DeliverySaveState::None | DeliverySaveState::Failed | DeliverySaveState::Full => true,
            // If the sender has sent it again, it comes after all messages until now.
            DeliverySaveState::FailedAfterHandOver => found.waits(),
            DeliverySaveState::InFlight | DeliverySaveState::Done | DeliverySaveState::Foreign => false,
        };
        let Some(found) = self.deliveries.get_mut(delivery).filter(unsaved) else {
            return;
        };
        let before = std::mem::replace(&mut found.save_state, DeliverySaveState::InFlight);
        let (push, waiter) = (found.push_to(&self.users.get(found.receiver).name), found.waiter);
        if let Some(waiter) = waiter.filter(|_| before == DeliverySaveState::None) {
            self.queue_answer_deadline(waiter.due_ms, PendingReplyDeadline::Push(delivery));
        }
        self.uncount_delivery_load(delivery, out);
        if self.submit(Job::SavePush { push }, JobPurpose::Save(delivery), out).is_err() {
            self.save_failed(delivery, BUSY, out);
        }
    }

    /// The outcome of a save has arrived.
    pub(super) fn on_save_result(&mut self, delivery: DeliveryRef, outcome: &JobOutcome, out: &mut Vec<CoreAction>) {
        let Some(found) = self.deliveries.get_mut(delivery) else {
            // Acked meanwhile.
            return;
        };
        match outcome {
            JobOutcome::Saved => {
                found.save_state = DeliverySaveState::Done;
                let listed = found.is_listed;
                self.mark_durable(delivery, out);
                if !listed {
                    self.release_delivery(delivery);
                }
            }
            // The message in the store may be an acked one whose deletion failed and is being
            // retried. Until it is deleted, nothing may be promised.
            JobOutcome::Duplicate if self.failed_push_deletions.is_empty() => {
                // The first message is in the store and will be delivered; this one will not.
                found.save_state = DeliverySaveState::Done;
                let receiver = found.receiver;
                self.mark_durable(delivery, out);
                let listed = self.remove_from_list(delivery);
                self.release_delivery(delivery);
                if listed {
                    self.on_space(receiver, out);
                }
            }
            JobOutcome::Cluster(outcome) => self.on_saved_in_cluster(delivery, outcome, out),
            // An ack may still remove it from the list, but only the receiver can make room:
            // waiters are told at once.
            JobOutcome::Full(_) => self.on_save_failed(delivery, DeliverySaveState::Full, FULL, out),
            // A retry would not help, so waiters are told now.
            JobOutcome::Refused | JobOutcome::TooLarge => self.save_failed(delivery, fault_of(outcome), out),
            _ if !self.stopping && self.may_be_acked(delivery) => self.save_again_later(delivery, out),
            _ => {
                self.on_save_uncertain(delivery, out);
                self.save_failed(delivery, UNAVAILABLE, out);
            }
        }
    }

    /// Is the receiver online? Then their ack may make the push durable, whatever the store does.
    fn may_be_acked(&self, delivery: DeliveryRef) -> bool {
        let listed = self.deliveries.get(delivery).filter(|found| found.is_listed && found.waits());
        listed.is_some_and(|found| self.users.is_here(found.receiver))
    }

    /// Waiters go on waiting until their deadline: for the ack, or until the store works again.
    fn save_again_later(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        if let Some(found) = self.deliveries.get_mut(delivery) {
            found.save_state = DeliverySaveState::Failed;
        }
        if self.to_save.is_empty() {
            self.wheel.insert(self.now.mono_ms + RETRY_MS, CoreTimer::Saves);
        }
        self.to_save.push(delivery);
        self.count_delivery_load(delivery, out);
    }

    pub(super) fn retry_saves(&mut self, out: &mut Vec<CoreAction>) {
        for delivery in std::mem::take(&mut self.to_save) {
            if self
                .deliveries
                .get(delivery)
                .is_some_and(|found| found.save_state == DeliverySaveState::Failed && found.waits())
            {
                self.save_if_unsaved(delivery, out);
            }
        }
    }

    fn save_failed(&mut self, delivery: DeliveryRef, fault: ErrorReply, out: &mut Vec<CoreAction>) {
        self.on_save_failed(delivery, DeliverySaveState::Failed, fault, out);
    }

    fn on_save_failed(
        &mut self,
        delivery: DeliveryRef,
        save: DeliverySaveState,
        fault: ErrorReply,
        out: &mut Vec<CoreAction>,
    ) {
        let is_handed_over = self.keep_refused(delivery);
        if let Some(found) = self.deliveries.get_mut(delivery) {
            found.save_state = if is_handed_over { DeliverySaveState::FailedAfterHandOver } else { save };
            if self.cluster.is_some() && !is_handed_over && !self.users.is_here(found.receiver) {
                // Another node may have read later messages of this sender already: a refused one
                // may not follow them.
                self.remove_from_list(delivery);
            }
            self.refuse_waiters(delivery, None, fault, out);
            self.release_unless_listed(delivery);
        }
    }
}
