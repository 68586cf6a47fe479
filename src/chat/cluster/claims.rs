//! Log-ins of users who belong to another node.
//!
//! After the credential was checked, the other node is asked to release the user. It answers when
//! all pushes that it has taken from and for the user are durable. If it is dead, it is fenced.
//! Only then are the whereabouts changed, by compare-and-set, and friends and first page are read
//! after that. So no message of the user that is taken here can overtake one that was taken there.

use super::super::ServerCore;
use super::super::contract::{CoreAction, Job, JobOutcome};
use super::super::dedup::DedupKey;
use super::super::ids::{LoginStageTicket, UserSlot};
use super::super::job::JobPurpose;
use super::super::log_in::LoadedLoginData;
use super::super::login_stage::{LoginInProgress, LoginStageEvent};
use super::contract::{
    ClusterStoreJob, ClusterStoreJobOutcome, HandoverDedupEntry, HandoverReceiversWithUnnotifiedOwners, NodeId,
    NodeIncarnation, NodeMessage, UserHandoverData, UserOwner,
};
use super::figures::UserReleaseWaitOutcome;
use super::{ClusterState, IncarnationState, RETRY_MS, step_count};
use crate::protocol::field::UserName;

/// The shortest time from the begin of a claim, or from a question about it, to the next question.
const ASK_AGAIN_MS: u64 = RETRY_MS / 2;

/// A log-in that waits for the whereabouts of its user.
#[derive(Debug)]
pub(super) struct LoginAwaitingUserRelease {
    /// The serial, by which the other node names it.
    serial: u64,
    /// In the state `Claiming`.
    login: LoginStageTicket,
    owner: UserOwner,
    /// The incarnation that was asked to release the user.
    asked_owner: Option<NodeIncarnation>,
    began_ms: u64,
    /// The other node has released the user, or is dead.
    is_free: bool,
}

impl LoginAwaitingUserRelease {
    #[cfg(debug_assertions)]
    pub(super) fn login(&self) -> LoginStageTicket {
        self.login
    }

    /// The node for whose answer it waits.
    pub(super) fn node(&self) -> Option<NodeId> {
        self.owner.incarnation.map(|at| at.node)
    }
}

impl ClusterState {
    fn insert_claim(&mut self, user: UserSlot, claim: LoginAwaitingUserRelease) {
        self.claims_at.extend(claim.node().map(|node| (node, user)));
        self.claims.insert(user, claim);
    }

    fn remove_claim(&mut self, user: UserSlot) -> Option<LoginAwaitingUserRelease> {
        let claim = self.claims.remove(&user)?;
        if let Some(node) = claim.node() {
            self.claims_at.remove(&(node, user));
        }
        Some(claim)
    }
}

impl ServerCore {
    /// The answer of a cluster's store to a log-in.
    pub(in super::super) fn read_for_login(
        &mut self,
        login: LoginStageTicket,
        outcome: ClusterStoreJobOutcome,
    ) -> (LoginStageEvent, Option<LoadedLoginData>) {
        match outcome {
            ClusterStoreJobOutcome::Loaded { epoch, friends, page } => match self.must_claim(login, epoch) {
                Some(owner) => (LoginStageEvent::Elsewhere(owner), None),
                None => (LoginStageEvent::Loaded, Some(LoadedLoginData { friends, page, epoch })),
            },
            ClusterStoreJobOutcome::Elsewhere(owner) => (LoginStageEvent::Elsewhere(owner), None),
            other => {
                debug_assert!(false, "a log-in came back as {other:?}");
                (LoginStageEvent::Failed { refused: false }, None)
            }
        }
    }

    /// The user belongs to this node. But another node may have been told that it may claim them:
    /// then the whereabouts must change, so that it cannot.
    fn must_claim(&self, login: LoginStageTicket, epoch: u64) -> Option<UserOwner> {
        let (cluster, one) = (self.cluster.as_ref()?, self.logins.get(login)?);
        let is_claimed = one.login.takes();
        let hash = self.users.hash(one.user.as_str());
        let owner = UserOwner { incarnation: Some(cluster.me), epoch, floor: 0 };
        cluster.claimable_users.may_be_claimed(hash, epoch, is_claimed).then_some(owner)
    }

    /// A log-in enters the state in which it waits for the whereabouts.
    pub(in super::super) fn begin_claim(&mut self, one: LoginInProgress, owner: UserOwner, out: &mut Vec<CoreAction>) {
        let user = self.users.find(one.user.as_str());
        let login = self.logins.insert(one);
        let (Some(cluster), Some(user)) = (&mut self.cluster, user) else {
            debug_assert!(
                false,
                "a user who is loading is in the table, and a server without a cluster owns all users"
            );
            return self.login_event(login, LoginStageEvent::Dropped, out);
        };
        cluster.last_claim += 1;
        cluster.totals.claims_begun += 1;
        let (serial, began_ms) = (cluster.last_claim, self.now.mono_ms);
        let claim = LoginAwaitingUserRelease { serial, login, owner, asked_owner: None, began_ms, is_free: false };
        cluster.claims_to_ask.push_back((self.now.mono_ms + ASK_AGAIN_MS, user, claim.serial));
        cluster.insert_claim(user, claim);
        self.arm_cluster();
        self.consider_claim(user, out);
    }

    /// Continues a claim as far as the present knowledge of the user's whereabouts allows.
    fn consider_claim(&mut self, user: UserSlot, out: &mut Vec<CoreAction>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(mut claim) = cluster.remove_claim(user) else { return };
        step_count::count(1);
        let is_awaited = self.logins.get(claim.login).is_some_and(|one| self.is_awaited(one.request));
        let waited_ms = self.now.mono_ms - claim.began_ms;
        if !is_awaited {
            self.count_cluster(|totals| totals.claim_ended(UserReleaseWaitOutcome::Dropped, waited_ms));
            return self.login_event(claim.login, LoginStageEvent::Dropped, out);
        }
        let Some(cluster) = &mut self.cluster else { return };
        let mut asks = None;
        let floor = match claim.owner.incarnation.map(|at| (at, cluster.life(at))) {
            None | Some((_, IncarnationState::Me)) => Some((claim.owner.floor, UserReleaseWaitOutcome::Unowned)),
            // An earlier incarnation of this node: this one began above its limit. The present
            // limit is that of this incarnation, which no push may exceed.
            Some((at, IncarnationState::Dead { .. })) if at.node == cluster.me.node => {
                Some((claim.owner.floor, UserReleaseWaitOutcome::Unowned))
            }
            Some((_, IncarnationState::Dead { hlc_limit })) => {
                Some((claim.owner.floor.max(hlc_limit), UserReleaseWaitOutcome::Fenced))
            }
            Some(_) if claim.is_free => Some((claim.owner.floor, UserReleaseWaitOutcome::Released)),
            Some((at, IncarnationState::Lives)) => {
                if claim.asked_owner.replace(at) != Some(at) {
                    let user = self.users.get(user).name.clone();
                    let record = NodeMessage::Release { user, epoch: claim.owner.epoch, claim: claim.serial };
                    asks = Some((at, record));
                }
                None
            }
            Some((_, IncarnationState::Unknown)) => {
                out.push(CoreAction::ReadView);
                None
            }
        };
        let Some((floor, how)) = floor else {
            cluster.insert_claim(user, claim);
            if let Some((at, record)) = asks {
                self.send_record(at, record, out);
            }
            return;
        };
        self.count_cluster(|totals| totals.claim_ended(how, waited_ms));
        self.merge_clock(floor);
        self.remove_remote(user, out);
        self.note_arrived_sender(user);
        self.remove_saved(user);
        let event = LoginStageEvent::Released { epoch: claim.owner.epoch, floor: self.next_seq };
        self.login_event(claim.login, event, out);
    }

    /// Removes pushes for a user who logs in that were taken here and saved after the log-in began.
    /// The other node may have delivered them, and the user may have acked them. If not, they are
    /// on the page that is read next.
    fn remove_saved(&mut self, user: UserSlot) {
        if let Some(list) = &mut self.users.get_mut(user).list {
            let saved = list.mailbox.page_asked(&self.deliveries);
            self.release_deliveries(saved);
        }
    }

    /// Incarnations of these nodes have begun or ended.
    pub(super) fn consider_claims(&mut self, nodes: &[NodeId], out: &mut Vec<CoreAction>) {
        let Some(cluster) = &self.cluster else { return };
        let of = |&node: &NodeId| cluster.claims_at.range((node, UserSlot::FIRST)..=(node, UserSlot::LAST));
        let users: Vec<UserSlot> = nodes.iter().flat_map(of).map(|&(_, user)| user).collect();
        for user in users {
            self.consider_claim(user, out);
        }
    }

    /// The other node has released the user.
    pub(super) fn on_user_released(&mut self, released: UserHandoverData, out: &mut Vec<CoreAction>) {
        let UserHandoverData { user, claim: serial, epoch, clock, dirty, window } = released;
        let Some(user) = self.users.find(user.as_str()) else { return };
        let claim = self.cluster.as_mut().and_then(|cluster| cluster.claims.get_mut(&user));
        let Some(claim) = claim.filter(|claim| claim.serial == serial && claim.owner.epoch == epoch) else {
            // Nothing waits for it any more.
            return;
        };
        claim.is_free = true;
        claim.owner.floor = claim.owner.floor.max(clock);
        self.take_over_window(user, &window);
        self.take_over_dirty(user, dirty, out);
        self.consider_claim(user, out);
    }

    /// Pushes of `sender` for these receivers may be in the store without their owners knowing. The
    /// lists of those who are here are read. The owners of the others are told by the node that
    /// took the pushes; this node only remembers them until that is certain. So a user who moves
    /// from node to node costs no read of an owner.
    fn take_over_dirty(
        &mut self,
        sender: UserSlot,
        mut dirty: HandoverReceiversWithUnnotifiedOwners,
        out: &mut Vec<CoreAction>,
    ) {
        let find = |name: &UserName| self.users.find(name.as_str());
        let known: Vec<UserSlot> = dirty.listed.iter().filter_map(find).collect();
        dirty.listed.retain(|name| !find(name).is_some_and(|receiver| self.users.is_here(receiver)));
        self.look_at_lists(&known, out);
        let (now_ms, hash) = (self.now.mono_ms, self.users.hash(self.users.get(sender).name.as_str()));
        let Some(cluster) = &mut self.cluster else { return };
        let loss = if dirty.has_unlisted { cluster.dirty.record_loss() } else { 0 };
        if !cluster.inherited.insert(hash, dirty, loss, now_ms) {
            cluster.dirty.record_lost_pair();
        }
    }

    /// Adds the recent messages that the user has sent through another node.
    fn take_over_window(&mut self, user: UserSlot, window: &[HandoverDedupEntry]) {
        if window.is_empty() {
            return;
        }
        self.unpack_dedup(user);
        let (now_ms, count_max) = (self.now.mono_ms, self.rules.dedup_messages_max);
        let said = window.iter().map(|said| (DedupKey::of_number(said.key), now_ms.saturating_sub(said.age_ms)));
        let known = &mut self.users.get_mut(user).dedup;
        let before = known.as_ref().map_or(0, |dedup| dedup.memory_bytes());
        let dedup = known.get_or_insert_default();
        let deliveries = &self.deliveries;
        let is_open = |delivery| deliveries.get(delivery).is_some_and(|found| !found.is_durable);
        dedup.take_over(said, count_max, is_open);
        self.dedup_bytes = self.dedup_bytes + dedup.memory_bytes() - before;
        if dedup.timer.is_none() {
            let old_ms = now_ms + self.rules.dedup_age_ms + 1;
            dedup.timer = Some(self.wheel.insert(old_ms, super::super::CoreTimer::Dedup(user)));
        }
        if !self.users.is_here(user) {
            self.pack_dedup(user);
        }
    }

    /// Reads again where these users are. The answer may have been lost with its node, or the users
    /// are on another node by now.
    pub(super) fn ask_for_claims(&mut self, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        while let Some(cluster) = &mut self.cluster
            && let Some(&(due_ms, user, serial)) = cluster.claims_to_ask.front()
            && due_ms <= now_ms
        {
            step_count::count(1);
            cluster.claims_to_ask.pop_front();
            if cluster.claims.get(&user).is_none_or(|claim| claim.serial != serial) {
                // The claim has ended.
                continue;
            }
            cluster.claims_to_ask.push_back((now_ms + ASK_AGAIN_MS, user, serial));
            let job = Job::Cluster { user: self.users.get(user).name.clone(), job: Box::new(ClusterStoreJob::Owner) };
            // If it cannot be submitted now, it is tried again later.
            _ = self.submit(job, JobPurpose::ClaimedOwner { user, serial }, out);
        }
    }

    /// The outcome of that read.
    pub(in super::super) fn on_claimed_owner_read(
        &mut self,
        (user, serial): (UserSlot, u64),
        outcome: &JobOutcome,
        out: &mut Vec<CoreAction>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.claims.get(&user).is_none_or(|claim| claim.serial != serial) {
            return;
        }
        if let Some(owner) = Self::owner_in(outcome)
            && let Some(claim) = cluster.remove_claim(user)
        {
            cluster.insert_claim(user, LoginAwaitingUserRelease { owner, asked_owner: None, ..claim });
        }
        self.consider_claim(user, out);
    }
}
