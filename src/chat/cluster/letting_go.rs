//! Letting go of a user who logs in on another node: their connection here is closed, what was
//! taken of theirs and for them is made safe, and what the other node has to know is handed over.
//!
//! The whereabouts stay as they are; the other node changes them. Until it has done so the user may
//! log in here again. That log-in must change them as well, and only one of the two can.

use super::super::Chat;
use super::super::contract::{Action, CloseReason, Job};
use super::super::ids::UserId;
use super::super::job::JobPurpose;
use super::super::log_in::REPLACED;
use super::contract::{ClusterJob, DedupEntry, Incarnation, NodeRecord, ReleasedUser};
use crate::protocol::field::UserName;
use std::collections::HashMap;

/// Marks of one generation.
const MARKS_MAX: usize = 1 << 17;

/// Whom other nodes may claim, each by the hash of the name, with the epoch of the whereabouts at
/// which they may. Never walked through.
#[derive(Debug, Default)]
pub(super) struct ClaimableUsers {
    newer: HashMap<u64, u64>,
    older: HashMap<u64, u64>,
    /// Some were forgotten: everybody may be claimed whom this node has not claimed itself.
    some_lost: bool,
}

impl ClaimableUsers {
    fn insert(&mut self, user: u64, epoch: u64) {
        if self.newer.len() >= MARKS_MAX {
            self.older = std::mem::take(&mut self.newer);
            self.some_lost = true;
        }
        let marked = self.newer.entry(user).or_default();
        *marked = epoch.max(*marked);
    }

    pub(super) fn held_bytes(&self) -> usize {
        (self.newer.capacity() + self.older.capacity()) * size_of::<(u64, u64)>()
    }

    /// Of a user whose whereabouts have this epoch, and who was claimed with it right now.
    pub(super) fn may_be_claimed(&self, user: u64, epoch: u64, is_claimed: bool) -> bool {
        let is_marked = [&self.newer, &self.older].iter().any(|marks| marks.get(&user).is_some_and(|&at| at >= epoch));
        is_marked || (self.some_lost && !is_claimed)
    }
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReleaseStage {
    /// Messages of theirs are neither acked nor committed.
    Open,
    /// Jobs about them are still on their way: one behind all of them is to be submitted.
    Barrier,
    /// It is on its way.
    Asked,
}

/// A user who is let go of.
#[derive(Debug)]
pub(super) struct UserRelease {
    to: Incarnation,
    epoch: u64,
    claim: u64,
    settling: ReleaseStage,
    /// Of the jobs that come behind all others about them, so many are not answered.
    barriers: u32,
}

impl Chat {
    /// Another node wants this user.
    pub(super) fn release_user(
        &mut self,
        to: Incarnation,
        user: UserName,
        (epoch, claim): (u64, u64),
        out: &mut Vec<Action>,
    ) {
        let hash = self.users.hash(user.as_str());
        let user = self.users.refer(&user);
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.epochs.get(&user).is_some_and(|&held| held > epoch) {
            // They logged in here again since that was read.
            return self.users.release(user);
        }
        cluster.let_go.insert(hash, epoch);
        let settling = ReleaseStage::Open;
        match cluster.letting_go.get_mut(&user) {
            None => {
                let going = UserRelease { to, epoch, claim, settling, barriers: 0 };
                cluster.letting_go.insert(user, going);
            }
            Some(going) if epoch > going.epoch => {
                // They have been here once more since that began: it begins anew.
                *going = UserRelease { to, epoch, claim, settling, barriers: going.barriers };
                self.users.release(user);
            }
            Some(going) => {
                if epoch == going.epoch {
                    (going.to, going.claim) = (to, claim);
                }
                return self.users.release(user);
            }
        }
        if let Some(conn) = self.users.route(user).here() {
            self.say_and_close(conn, REPLACED, CloseReason::Replaced, out);
        }
        self.await_messages(user, true);
        self.arm_cluster();
        self.save_open(user, out);
        self.go_on_letting_go(user, out);
    }

    /// Goes on with a user as soon as all their messages are safe, or refused.
    pub(in super::super) fn go_on_letting_go(&mut self, user: UserId, out: &mut Vec<Action>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(going) = cluster.letting_go.get_mut(&user) else { return };
        if going.settling == ReleaseStage::Open {
            if !cluster.taken.is_settled(user, &self.deliveries) {
                return;
            }
            going.settling = ReleaseStage::Barrier;
        }
        if going.settling == ReleaseStage::Barrier {
            let job = Job::Cluster { user: self.users.get(user).name.clone(), job: Box::new(ClusterJob::Owner) };
            if self.submit(job, JobPurpose::LettingGo(user), out).is_ok()
                && let Some(cluster) = &mut self.cluster
                && let Some(going) = cluster.letting_go.get_mut(&user)
            {
                going.settling = ReleaseStage::Asked;
                going.barriers += 1;
            }
        }
    }

    /// Tries again what could not be saved or submitted.
    pub(super) fn let_go_on(&mut self, out: &mut Vec<Action>) {
        let Some(cluster) = &self.cluster else { return };
        let waiting = cluster.letting_go.iter().filter(|(_, going)| going.settling != ReleaseStage::Asked);
        let waiting: Vec<UserId> = waiting.map(|(user, _)| *user).collect();
        for user in waiting {
            self.save_open(user, out);
            self.go_on_letting_go(user, out);
        }
    }

    /// All jobs about the user that were submitted before are answered, whatever became of this
    /// one: their mailbox has all that was taken for them here.
    pub(in super::super) fn let_go(&mut self, user: UserId, out: &mut Vec<Action>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(going) = cluster.letting_go.get_mut(&user) else {
            debug_assert!(false, "who is let go of is known");
            return;
        };
        going.barriers -= 1;
        if going.barriers > 0 || going.settling != ReleaseStage::Asked {
            // It has begun anew.
            return;
        }
        let UserRelease { to, epoch, claim, .. } = *going;
        cluster.letting_go.remove(&user);
        self.await_messages(user, false);
        let name = self.users.get(user).name.clone();
        let mut dirty = self.dirty_of(user, to, out);
        dirty.extend(self.unacked_of(user, to, out));
        let window = self.window_of(user);
        let released = ReleasedUser { user: name, claim, epoch, clock: self.next_seq, dirty, window };
        self.count_cluster(|totals| totals.users_released += 1);
        self.say(to, NodeRecord::Released(Box::new(released)), out);
        self.users.release(user);
    }

    fn window_of(&self, user: UserId) -> Vec<DedupEntry> {
        let oldest_ms = self.now.mono_ms.saturating_sub(self.rules.dedup_age_ms);
        let Some(dedup) = &self.users.get(user).dedup else {
            return Vec::new();
        };
        let is_open = |delivery| self.deliveries.get(delivery).is_some_and(|found| !found.durable);
        let said = dedup.promised(is_open).into_iter().filter(|&(_, at_ms)| at_ms >= oldest_ms);
        said.map(|(key, at_ms)| DedupEntry { key: key.number(), age_ms: self.now.mono_ms - at_ms }).collect()
    }
}
