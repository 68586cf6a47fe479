//! The shared store of several nodes: the model store, and the tables of a cluster.

use super::super::rows::Rows;
use super::super::store::Model;
use super::shared::lane_of;
use hongyan::chat::contract::{
    AdminStoreJob, ClusterStoreJob, ClusterStoreJobOutcome, ClusterView, Job, JobOutcome, NodeId, NodeIncarnation,
    NodeMessage, NodeRow, UserOwner,
};
use hongyan::protocol::field::UserName;
use std::collections::BTreeMap;

#[derive(Debug)]
pub struct ModelNodeRow {
    pub epoch: u64,
    /// Increases with each renewal of its lease.
    pub renewed: u64,
    pub hlc_limit: u64,
    /// It was not fenced since its start.
    pub lives: bool,
}

/// A record that waits to be read.
#[derive(Debug)]
pub struct InboxRecord {
    pub from: NodeIncarnation,
    pub to: NodeIncarnation,
    pub record: NodeMessage,
}

/// The progress of a job when its transaction is done.
pub enum Done {
    /// Everything is done.
    Whole(JobOutcome),
    /// The owner is still to be read.
    ThenOwner { is_first: bool, receiver: UserName },
    /// Friends and page are still to be read.
    ThenLoad { epoch: u64, user: UserName, pushes_max: u32, bytes_max: usize },
    /// The node is fenced: the job had no effect.
    Fenced,
}

#[derive(Debug, Default)]
pub struct Shared {
    pub model: Model,
    pub nodes: Vec<ModelNodeRow>,
    pub view: u64,
    whereabouts: Rows<BTreeMap<String, UserOwner>>,
    /// The records in the inboxes of all nodes.
    pub inboxes: Vec<InboxRecord>,
    /// For each lane of a node, the epoch of the last transaction that changed rows.
    lanes: BTreeMap<(NodeId, String), u64>,
}

pub fn node_id(node: usize) -> NodeId {
    NodeId::new(node as u16 + 1).unwrap()
}

impl Shared {
    pub fn new(nodes: usize) -> Self {
        let row = || ModelNodeRow { epoch: 0, renewed: 0, hlc_limit: 0, lives: false };
        Self { nodes: (0..nodes).map(|_| row()).collect(), ..Self::default() }
    }

    pub fn row(&mut self, at: NodeIncarnation) -> &mut ModelNodeRow {
        &mut self.nodes[usize::from(at.node.get()) - 1]
    }

    pub fn is_current(&self, at: NodeIncarnation) -> bool {
        self.nodes[usize::from(at.node.get()) - 1].epoch == at.epoch
    }

    pub fn read_view(&self) -> ClusterView {
        let states = self.nodes.iter().enumerate().map(|(node, row)| NodeRow {
            last: NodeIncarnation { node: node_id(node), epoch: row.epoch },
            hlc_limit: row.hlc_limit,
            is_alive: row.lives,
        });
        ClusterView { number: self.view, nodes: states.collect() }
    }

    /// Later writes of this incarnation of the node have no effect.
    pub fn fence(&mut self, at: NodeIncarnation) {
        if self.is_current(at) {
            self.row(at).epoch += 1;
            self.row(at).lives = false;
            self.view += 1;
        }
    }

    /// An incarnation begins; the previous one is fenced.
    pub fn start(&mut self, node: usize) -> NodeIncarnation {
        self.nodes[node].epoch += 1;
        self.nodes[node].lives = true;
        self.view += 1;
        NodeIncarnation { node: node_id(node), epoch: self.nodes[node].epoch }
    }

    pub fn owner_of(&self, user: &str) -> UserOwner {
        self.whereabouts.get(user).copied().unwrap_or_default()
    }

    /// One transaction of a node.
    pub fn execute(&mut self, me: NodeIncarnation, job: &Job) -> Done {
        let changes = |store: &Self| store.model.changes() + store.whereabouts.changes();
        let before = changes(self);
        let done = self.transact(me, job);
        if changes(self) != before {
            self.note_changes(me, lane_of(job).unwrap_or_default());
        }
        done
    }

    /// A transaction has changed rows: nobody has fenced its node. This does not ask which jobs the
    /// store refuses.
    fn note_changes(&mut self, me: NodeIncarnation, lane: String) {
        let epoch = self.row(me).epoch;
        assert_eq!(me.epoch, epoch, "{me:?} has changed rows behind its fence, in the lane {lane:?}");
        let last = self.lanes.entry((me.node, lane)).or_default();
        assert!(*last <= me.epoch, "a later life has changed rows in this lane: {last}, {me:?}");
        *last = me.epoch;
    }

    /// Writes a record for another node.
    pub fn write_to_inbox(&mut self, record: InboxRecord) {
        assert_eq!(record.from.epoch, self.row(record.from).epoch, "a record behind a fence: {record:?}");
        self.inboxes.push(record);
    }

    fn transact(&mut self, me: NodeIncarnation, job: &Job) -> Done {
        let is_read = match job {
            Job::LogIn { .. } | Job::Prove { .. } | Job::Load { .. } | Job::LoadPage { .. } => true,
            Job::GetProfile { .. } | Job::Hash { .. } | Job::Verify { .. } => true,
            Job::Cluster { job, .. } => job.is_read_only(),
            Job::Admin { job, .. } => job.is_read_only(),
            _ => false,
        };
        if !is_read && !self.is_current(me) {
            return Done::Fenced;
        }
        let cluster = |outcome| Done::Whole(JobOutcome::Cluster(Box::new(outcome)));
        match job {
            Job::SavePush { push } | Job::AskFriend { push, .. } | Job::AnswerFriend { push, .. }
                if push.seq > self.row(me).hlc_limit =>
            {
                Done::Whole(JobOutcome::Failed)
            }
            Job::Admin { job, .. } if matches!(&**job, AdminStoreJob::Notice { push } if push.seq > self.row(me).hlc_limit) => {
                Done::Whole(JobOutcome::Failed)
            }
            Job::SavePush { push } => {
                let receiver = UserName::new(push.receiver()).unwrap();
                match self.model.execute(job) {
                    JobOutcome::Saved => Done::ThenOwner { is_first: true, receiver },
                    JobOutcome::Duplicate => match self.model.save_beside(push) {
                        JobOutcome::Full(quota) => Done::Whole(JobOutcome::Full(quota)),
                        outcome => Done::ThenOwner { is_first: matches!(outcome, JobOutcome::Saved), receiver },
                    },
                    other => Done::Whole(other),
                }
            }
            Job::LogIn { user, .. } | Job::Load { user, pushes_max: 1.., .. } => match self.model.execute(job) {
                JobOutcome::Loaded { friends, page } => {
                    let owner = self.owner_of(user.as_str());
                    cluster(if owner.incarnation == Some(me) {
                        ClusterStoreJobOutcome::Loaded { epoch: owner.epoch, friends, page }
                    } else {
                        ClusterStoreJobOutcome::Elsewhere(owner)
                    })
                }
                other => Done::Whole(other),
            },
            Job::Cluster { user, job } => match &**job {
                ClusterStoreJob::Owner => cluster(ClusterStoreJobOutcome::Owner(self.owner_of(user.as_str()))),
                ClusterStoreJob::Page { known_seqs, pushes_max, bytes_max } => {
                    Done::Whole(JobOutcome::Page(self.model.page_except(user, known_seqs, *pushes_max, *bytes_max)))
                }
                ClusterStoreJob::Claim { epoch, floor, pushes_max, bytes_max } => {
                    if self.model.is_banned(user.as_str()) {
                        return Done::Whole(JobOutcome::Banned);
                    }
                    let owner = self.owner_of(user.as_str());
                    let is_done = owner.incarnation == Some(me) && owner.epoch == epoch + 1;
                    if owner.epoch != *epoch && !is_done {
                        return cluster(ClusterStoreJobOutcome::Elsewhere(owner));
                    }
                    let claimed = UserOwner { incarnation: Some(me), epoch: epoch + 1, floor: owner.floor.max(*floor) };
                    self.whereabouts.insert(user.as_str().into(), claimed);
                    let (user, pushes_max, bytes_max) = (user.clone(), *pushes_max, *bytes_max);
                    Done::ThenLoad { epoch: epoch + 1, user, pushes_max, bytes_max }
                }
            },
            job => Done::Whole(self.model.execute(job)),
        }
    }

    /// The reads after the commit.
    pub fn read_behind(&mut self, done: Done) -> JobOutcome {
        let outcome = match done {
            Done::Whole(outcome) => return outcome,
            Done::Fenced => return JobOutcome::Failed,
            Done::ThenOwner { is_first, receiver } => {
                ClusterStoreJobOutcome::Saved { is_first, owner: Some(self.owner_of(receiver.as_str())) }
            }
            Done::ThenLoad { epoch, user, pushes_max, bytes_max } => {
                let page = self.model.page_except(&user, &[], pushes_max, bytes_max);
                ClusterStoreJobOutcome::Loaded { epoch, friends: self.model.friends_of(user.as_str()), page }
            }
        };
        JobOutcome::Cluster(Box::new(outcome))
    }
}
