//! The release of a user who logs in on another node: the user's connection here is closed, their
//! messages and the pushes for them are made durable, and the state that the other node needs is
//! handed over.
//!
//! This node does not change the whereabouts; the other node does. Until then the user may log in
//! here again. That log-in must change the whereabouts, too, and only one of the two can succeed.

use super::super::ServerCore;
use super::super::contract::{CoreAction, CoreCloseCause, Job};
use super::super::ids::UserSlot;
use super::super::job::JobPurpose;
use super::super::log_in::REPLACED;
use super::contract::{ClusterStoreJob, HandoverDedupEntry, NodeIncarnation, NodeMessage, UserHandoverData};
use crate::protocol::field::UserName;
use std::collections::HashMap;

/// The maximum number of users of one half.
const MARKS_MAX: usize = 1 << 17;

/// The users whom other nodes may claim, each by the hash of the name, with the epoch of the
/// whereabouts at which they may. Never walked through.
#[derive(Debug, Default)]
pub(super) struct UsersReleasedToNodes {
    newer: HashMap<u64, u64>,
    older: HashMap<u64, u64>,
    /// Some were evicted: another node may claim all users that this node has not claimed
    /// itself.
    has_evicted_some: bool,
}

impl UsersReleasedToNodes {
    fn insert(&mut self, user: u64, epoch: u64) {
        if self.newer.len() >= MARKS_MAX {
            self.older = std::mem::take(&mut self.newer);
            self.has_evicted_some = true;
        }
        let marked = self.newer.entry(user).or_default();
        *marked = epoch.max(*marked);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        (self.newer.capacity() + self.older.capacity()) * size_of::<(u64, u64)>()
    }

    /// For a user whose whereabouts have this epoch, and who was claimed with it just now.
    pub(super) fn may_be_claimed(&self, user: u64, epoch: u64, is_claimed: bool) -> bool {
        let is_marked = [&self.newer, &self.older].iter().any(|marks| marks.get(&user).is_some_and(|&at| at >= epoch));
        is_marked || (self.has_evicted_some && !is_claimed)
    }
}

/// The progress of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UserReleaseToNodeStage {
    /// Some of the user's messages are neither acked nor committed.
    Open,
    /// Jobs about the user are still in flight: the barrier is to be submitted.
    Barrier,
    /// The barrier is in flight.
    Asked,
}

/// A user whom this node releases to another one.
#[derive(Debug)]
pub(super) struct UserReleaseToNode {
    to: NodeIncarnation,
    epoch: u64,
    claim: u64,
    stage: UserReleaseToNodeStage,
    /// The number of barriers that are not answered.
    barriers: u32,
}

impl ServerCore {
    /// Another node asks for this user.
    pub(super) fn release_user(
        &mut self,
        to: NodeIncarnation,
        user: UserName,
        (epoch, claim): (u64, u64),
        out: &mut Vec<CoreAction>,
    ) {
        let hash = self.users.hash(user.as_str());
        let user = self.users.retain_by_name(&user);
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.epochs.get(&user).is_some_and(|&known| known > epoch) {
            // The user has logged in here again since that was read.
            return self.users.release(user);
        }
        cluster.claimable_users.insert(hash, epoch);
        let settling = UserReleaseToNodeStage::Open;
        match cluster.releases.get_mut(&user) {
            None => {
                let going = UserReleaseToNode { to, epoch, claim, stage: settling, barriers: 0 };
                cluster.releases.insert(user, going);
            }
            Some(going) if epoch > going.epoch => {
                // The user has been here again since it began: it begins anew.
                *going = UserReleaseToNode { to, epoch, claim, stage: settling, barriers: going.barriers };
                self.users.release(user);
            }
            Some(going) => {
                if epoch == going.epoch {
                    (going.to, going.claim) = (to, claim);
                }
                return self.users.release(user);
            }
        }
        if let Some(conn) = self.users.route(user).local_conn() {
            self.close_with_error(conn, REPLACED, CoreCloseCause::Replaced, out);
        }
        self.await_messages(user, true);
        self.arm_cluster();
        self.save_open(user, out);
        self.continue_release(user, out);
    }

    /// Continues as soon as all messages of the user are durable or refused.
    pub(in super::super) fn continue_release(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(going) = cluster.releases.get_mut(&user) else { return };
        if going.stage == UserReleaseToNodeStage::Open {
            if !cluster.unsaved_messages.is_settled(user, &self.deliveries) {
                return;
            }
            going.stage = UserReleaseToNodeStage::Barrier;
        }
        if going.stage == UserReleaseToNodeStage::Barrier {
            let job = Job::Cluster { user: self.users.get(user).name.clone(), job: Box::new(ClusterStoreJob::Owner) };
            if self.submit(job, JobPurpose::ReleaseBarrier(user), out).is_ok()
                && let Some(cluster) = &mut self.cluster
                && let Some(going) = cluster.releases.get_mut(&user)
            {
                going.stage = UserReleaseToNodeStage::Asked;
                going.barriers += 1;
            }
        }
    }

    /// Retries the saves and jobs that failed.
    pub(super) fn retry_releases(&mut self, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &self.cluster else { return };
        let waiting = cluster.releases.iter().filter(|(_, going)| going.stage != UserReleaseToNodeStage::Asked);
        let waiting: Vec<UserSlot> = waiting.map(|(user, _)| *user).collect();
        for user in waiting {
            self.save_open(user, out);
            self.continue_release(user, out);
        }
    }

    /// The barrier was answered, with whatever outcome, so all earlier jobs about the user are
    /// answered: their mailbox has all pushes that were taken for them here.
    pub(in super::super) fn finish_release(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(going) = cluster.releases.get_mut(&user) else {
            debug_assert!(false, "a user who is being released is in the table");
            return;
        };
        going.barriers -= 1;
        if going.barriers > 0 || going.stage != UserReleaseToNodeStage::Asked {
            // It has begun anew.
            return;
        }
        let UserReleaseToNode { to, epoch, claim, .. } = *going;
        cluster.releases.remove(&user);
        self.await_messages(user, false);
        let name = self.users.get(user).name.clone();
        let dirty = self.dirty_of(user, to, out);
        let window = self.window_of(user);
        let released = UserHandoverData { user: name, claim, epoch, clock: self.next_seq, dirty, window };
        self.count_cluster(|totals| totals.users_released += 1);
        self.send_record(to, NodeMessage::Released(Box::new(released)), out);
        self.users.release(user);
    }

    fn window_of(&self, user: UserSlot) -> Vec<HandoverDedupEntry> {
        let oldest_ms = self.now.mono_ms.saturating_sub(self.rules.dedup_age_ms);
        let Some(dedup) = &self.users.get(user).dedup else {
            return Vec::new();
        };
        let is_open = |delivery| self.deliveries.get(delivery).is_some_and(|found| !found.is_durable);
        let said = dedup.promised(is_open).into_iter().filter(|&(_, at_ms)| at_ms >= oldest_ms);
        said.map(|(key, at_ms)| HandoverDedupEntry { key: key.number(), age_ms: self.now.mono_ms - at_ms }).collect()
    }
}
