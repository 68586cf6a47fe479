//! Tells the owner of a user what to read again: pushes, after this node has saved one for the
//! user, or friends, after they have changed.
//!
//! Usually the core knows the owner, since the store reads it after each commit. If not, the core
//! asks the store until it knows the owner. It does the same after a save that seems to have
//! failed, because perhaps only the answer was lost.

use super::super::ServerCore;
use super::super::contract::{CoreAction, Job, JobOutcome};
use super::super::deliveries::DeliverySaveState;
use super::super::ids::{DeliveryRef, UserSlot};
use super::super::job::JobPurpose;
use super::IncarnationState;
use super::contract::{ClusterStoreJob, ClusterStoreJobOutcome, NodeMessage, UserOwner};
use super::step_count;

/// Beyond this number of pending notices, this node tells all nodes to look at all lists instead.
pub(super) const OWNER_NOTICES_MAX: usize = if cfg!(test) { 40 } else { 100_000 };

/// The progress of reading the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OwnerNodeLookupState {
    /// The read is still to be submitted.
    Waits,
    /// The read is in progress.
    Reading,
    /// The read is in progress, but began before the latest change: one more read must follow.
    ReadingTooEarly,
}

/// A notice that the owner of a user must still get.
#[derive(Debug)]
pub(super) struct PendingOwnerNodeNotice {
    lookup: OwnerNodeLookupState,
    scope: OwnerNodeRereadParts,
}

impl PendingOwnerNodeNotice {
    pub(super) fn waits(&self) -> bool {
        self.lookup == OwnerNodeLookupState::Waits
    }
}

/// The things that the owner must read anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct OwnerNodeRereadParts {
    pub(in super::super) pushes: bool,
    pub(in super::super) friends: bool,
}

impl OwnerNodeRereadParts {
    pub(in super::super) const PUSHES: Self = Self { pushes: true, friends: false };
    pub(in super::super) const FRIENDS: Self = Self { pushes: false, friends: true };
}

impl ServerCore {
    /// The store of a cluster has answered the save of a delivery.
    #[inline(never)]
    pub(in super::super) fn on_saved_in_cluster(
        &mut self,
        delivery: DeliveryRef,
        outcome: &ClusterStoreJobOutcome,
        out: &mut Vec<CoreAction>,
    ) {
        let (&ClusterStoreJobOutcome::Saved { is_first, owner }, Some(found)) =
            (outcome, self.deliveries.get(delivery))
        else {
            debug_assert!(self.deliveries.get(delivery).is_none(), "a save came back as {outcome:?}");
            return;
        };
        let (receiver, sender) = (found.receiver, found.sender);
        let is_here = self.users.is_here(receiver);
        let is_handed_over = !is_here && self.is_handed_over(receiver, delivery.seq);
        // The users may be released together with the delivery.
        self.users.retain(receiver);
        if let Some(sender) = sender {
            self.users.retain(sender);
        }
        self.on_save_result(delivery, if is_first { &JobOutcome::Saved } else { &JobOutcome::Duplicate }, out);
        if is_here {
            if !is_first {
                // The other push may have been taken by another node.
                self.look(receiver, out);
            }
        } else if is_handed_over && self.on_saved_in_direct(delivery, (receiver, sender), owner, out) {
            // The owner has it already, or gets it now.
            self.try_direct_mode(receiver, delivery.seq, owner, out);
        } else {
            let senders = Vec::from_iter(sender.map(|sender| self.users.hash(self.users.get(sender).name.as_str())));
            let told = owner.is_some_and(|owner| {
                self.notify_owner_node((receiver, &senders), owner, OwnerNodeRereadParts::PUSHES, out)
            });
            if !told {
                self.notify_owner(receiver, OwnerNodeRereadParts::PUSHES, sender, out);
            }
            self.try_direct_mode(receiver, delivery.seq, owner, out);
        }
        if let Some(sender) = sender {
            self.users.release(sender);
        }
        self.users.release(receiver);
    }

    /// The save of a delivery seems to have failed. Perhaps only its answer was lost.
    pub(in super::super) fn on_save_uncertain(&mut self, delivery: DeliveryRef, out: &mut Vec<CoreAction>) {
        if self.cluster.is_some()
            && let Some(found) = self.deliveries.get(delivery)
            && found.save_state != DeliverySaveState::Full
        {
            let (receiver, sender) = (found.receiver, found.sender);
            self.notify_owner(receiver, OwnerNodeRereadParts::PUSHES, sender, out);
        }
    }

    /// Notes that the owner of this user must get a notice, and asks the store which node that is.
    /// Does nothing without a cluster.
    pub(in super::super) fn notify_owner(
        &mut self,
        user: UserSlot,
        what: OwnerNodeRereadParts,
        sender: Option<UserSlot>,
        out: &mut Vec<CoreAction>,
    ) {
        if what.pushes
            && let Some(at) = self.is_direct(user)
        {
            // The node to which messages are handed over must look before it gets the next one. By
            // now another node may be the owner, so the owner is read and told, too.
            self.send_record(at, NodeMessage::Look { user: self.users.get(user).name.clone() }, out);
        }
        let Some(cluster) = &mut self.cluster else {
            return;
        };
        let is_new = !cluster.owner_notices.contains_key(&user);
        if is_new && cluster.owner_notices.len() >= OWNER_NOTICES_MAX {
            return self.schedule_tell_all_nodes();
        }
        let notice = cluster.owner_notices.entry(user).or_insert(PendingOwnerNodeNotice {
            lookup: OwnerNodeLookupState::Waits,
            scope: OwnerNodeRereadParts::default(),
        });
        notice.scope.pushes |= what.pushes;
        notice.scope.friends |= what.friends;
        match notice.lookup {
            OwnerNodeLookupState::Reading => notice.lookup = OwnerNodeLookupState::ReadingTooEarly,
            OwnerNodeLookupState::Waits | OwnerNodeLookupState::ReadingTooEarly => {}
        }
        if let Some(sender) = sender {
            cluster.dirty.insert(self.users.hash(self.users.get(sender).name.as_str()), user);
        }
        if is_new {
            self.users.retain(user);
        }
        self.read_owner(user, out);
    }

    /// There is no room for one more notice, so all nodes will look at all lists.
    #[cold]
    fn schedule_tell_all_nodes(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.dirty.record_lost_pair();
            cluster.tells_all_nodes = true;
        }
        self.arm_cluster();
    }

    /// If there was no room for a notice, tells all other nodes to look at all lists, and does the
    /// same on this node.
    pub(super) fn tell_all_nodes(&mut self, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &mut self.cluster else { return };
        if !std::mem::take(&mut cluster.tells_all_nodes) {
            return;
        }
        for to in cluster.others().collect::<Vec<_>>() {
            if let Some(cluster) = &mut self.cluster {
                cluster.dirty.mark_node_informed(to);
            }
            self.send_record(to, NodeMessage::RecordsMissed, out);
        }
        self.start_sweep_of_all_lists(out);
    }

    fn pending_notice_mut(&mut self, user: UserSlot) -> Option<&mut PendingOwnerNodeNotice> {
        self.cluster.as_mut()?.owner_notices.get_mut(&user)
    }

    /// Returns `false` if the store accepts no more jobs.
    fn read_owner(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) -> bool {
        if !self.pending_notice_mut(user).is_some_and(|notice| notice.waits()) {
            return true;
        }
        let job = Job::Cluster { user: self.users.get(user).name.clone(), job: Box::new(ClusterStoreJob::Owner) };
        let is_submitted = self.submit(job, JobPurpose::Owner(user), out).is_ok();
        if let Some(notice) = self.pending_notice_mut(user).filter(|_| is_submitted) {
            notice.lookup = OwnerNodeLookupState::Reading;
        }
        if !is_submitted {
            self.read_owner_later(user);
        }
        is_submitted
    }

    fn read_owner_later(&mut self, user: UserSlot) {
        if let Some(cluster) = &mut self.cluster {
            cluster.owners_to_read.insert(user);
        }
        self.arm_cluster();
    }

    /// Reads again the owners that are not known, as far as the store accepts jobs.
    pub(super) fn read_waiting_owners(&mut self, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &mut self.cluster else { return };
        let mut waiting = std::mem::take(&mut cluster.owners_to_read);
        while let Some(user) = waiting.pop_first() {
            step_count::count(1);
            if !self.read_owner(user, out) {
                break;
            }
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.owners_to_read.append(&mut waiting);
        }
    }

    /// The store has answered a read of the owner, perhaps with a failure.
    pub(in super::super) fn owner_read(&mut self, user: UserSlot, outcome: &JobOutcome, out: &mut Vec<CoreAction>) {
        let Some(notice) = self.pending_notice_mut(user) else {
            debug_assert!(false, "an owner is read only for a pending notice");
            return;
        };
        // Until this call ends, the read counts as in progress: if the call adds something to the
        // notice, one more read must follow.
        let is_recent_enough = notice.lookup == OwnerNodeLookupState::Reading;
        let what = notice.scope;
        let owner = Self::owner_in(outcome);
        let senders = self.cluster.as_ref().map_or_else(Vec::new, |cluster| cluster.dirty.senders_to(user));
        let is_told =
            is_recent_enough && owner.is_some_and(|owner| self.notify_owner_node((user, &senders), owner, what, out));
        if let Some(owner) = owner.filter(|_| is_told) {
            self.on_receiver_owner_read(user, owner, out);
        }
        let Some(notice) = self.pending_notice_mut(user) else { return };
        let must_read_again =
            std::mem::replace(&mut notice.lookup, OwnerNodeLookupState::Waits) != OwnerNodeLookupState::Reading;
        if must_read_again && owner.is_some() {
            self.read_owner(user, out);
        } else if is_told {
            self.finish_owner_notice(user);
        } else {
            self.read_owner_later(user);
        }
    }

    fn finish_owner_notice(&mut self, user: UserSlot) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.owner_notices.remove(&user);
        cluster.owners_to_read.remove(&user);
        cluster.dirty.remove(user);
        cluster.remove_told_losses(self.now.mono_ms);
        self.users.release(user);
    }

    /// Tells the owner to read again what `what` names: pushes from these senders, or friends.
    /// Returns `false` if that is not possible yet, because the view does not contain the owner.
    fn notify_owner_node(
        &mut self,
        (user, senders): (UserSlot, &[u64]),
        owner: UserOwner,
        what: OwnerNodeRereadParts,
        out: &mut Vec<CoreAction>,
    ) -> bool {
        let (Some(cluster), Some(at)) = (&self.cluster, owner.incarnation) else {
            // The user belongs to no node: their next log-in reads pushes and friends.
            return true;
        };
        match cluster.life(at) {
            IncarnationState::Me => {
                if what.pushes {
                    self.look(user, out);
                }
                if what.friends {
                    self.friends_changed(user, out);
                }
            }
            IncarnationState::Lives => {
                let name = self.users.get(user).name.clone();
                if what.pushes {
                    self.send_look(at, name.clone(), senders, out);
                }
                if what.friends {
                    self.send_record(at, NodeMessage::Friend { user: name }, out);
                }
            }
            // The user's next log-in, on another node, reads pushes and friends.
            IncarnationState::Dead { .. } => {}
            IncarnationState::Unknown => {
                out.push(CoreAction::ReadView);
                return false;
            }
        }
        true
    }
}
