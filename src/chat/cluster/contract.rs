//! The types of the records between nodes and of the jobs that only a cluster needs.
//!
//! A server that is not in a cluster creates none of these.

use crate::chat::job_results::PushPage;
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use std::num::NonZeroU16;

/// The number of bits of a `seq` that name its node.
pub const NODE_BITS: u32 = 10;
/// The shift of the clock part of a `seq`: the clock counts ms from an epoch of its own.
pub const MS_SHIFT: u32 = 20;

/// The number of a node, from 1 to 1,023: the last bits of each `seq` that it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NonZeroU16);

impl NodeId {
    /// The first possible number.
    pub(super) const FIRST: Self = Self(NonZeroU16::MIN);
    /// The largest possible number.
    pub(super) const LAST: Self = Self(NonZeroU16::MAX);

    /// Returns `None` if the number is out of range.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).filter(|number| number.get() < 1 << NODE_BITS).map(Self)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

/// One incarnation of a node: from one fence to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIncarnation {
    /// The node.
    pub node: NodeId,
    /// Greater than the epoch of any earlier incarnation of the node. The store does nothing for an
    /// incarnation that is not the latest.
    pub epoch: u64,
}

/// The state of one node, as the store has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The latest incarnation. Earlier ones are fenced.
    pub last: NodeIncarnation,
    /// The store has no greater `seq` of this node, and accepts none. The limit never decreases.
    pub hlc_limit: u64,
    /// The latest incarnation has begun, has not left since, and was not fenced. Between a fence
    /// and the next start this is false.
    pub is_alive: bool,
}

/// All nodes, read from the store in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Increases with every fence and every start.
    pub number: u64,
    /// In the order of their numbers, this node included.
    pub nodes: Box<[NodeRow]>,
}

impl ClusterView {
    /// The state of one node, if the view has it.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeRow> {
        let place = self.nodes.binary_search_by_key(&node, |state| state.last.node).ok()?;
        self.nodes.get(place)
    }

    /// The limit of this incarnation, if the view has it.
    pub(super) fn seq_limit_of(&self, at: NodeIncarnation) -> Option<u64> {
        self.node(at.node).filter(|state| state.last == at).map(|state| state.hlc_limit)
    }
}

/// The node to which a user belongs: the node of their last log-in, whether they are still
/// connected or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserOwner {
    /// `None`: the user has not logged in since the cluster was set up.
    pub incarnation: Option<NodeIncarnation>,
    /// Increases with every change of `incarnation`; 0 if there is no row.
    pub epoch: u64,
    /// No message of the user that was taken before this row was written has a greater `seq`.
    pub floor: u64,
}

/// A message from one node to another.
///
/// Records from one incarnation to another arrive in the order in which they were sent, each at
/// least once. Some consecutive records may arrive again. [`NodeMessage::RecordsMissed`] takes the
/// place of records that could not be kept. All records are lost when either incarnation is fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeMessage {
    /// A push was saved for this user: read the pushes that wait for them. If several such records
    /// wait to be sent, the shell may drop all but the first, provided that only `Look` and
    /// `Friend` records are between them.
    Look {
        /// The receiver.
        user: UserName,
    },
    /// The friends of this user have changed: read them.
    Friend {
        /// The user.
        user: UserName,
    },
    /// This user logs in on the sending node: release them.
    Release {
        /// The user.
        user: UserName,
        /// The epoch of their whereabouts, as the sender has read it.
        epoch: u64,
        /// The number that the answer must name.
        claim: u64,
    },
    /// The answer to `Release`: everything of the user is saved.
    Released(Box<UserHandoverData>),
    /// Close this user's connection on the receiving node, and drop log-ins of the user whose
    /// credential was checked before. The sender repeats it until `Ended` arrives.
    End {
        /// The user.
        user: UserName,
        /// The cause.
        cause: ForcedLogoutCause,
        /// The number that the answer must name. Each is greater than all earlier ones of this
        /// sender.
        order: u64,
    },
    /// The answer to `End`: it is done.
    Ended {
        /// The number of the `End`.
        order: u64,
        /// The user was connected.
        was_connected: bool,
    },
    /// A push that the receiver of this record handed over was acked. If the receiver of the record
    /// does not know that yet, it deletes the push from the store.
    Ack {
        /// The receiver of the push.
        user: UserName,
        /// The `seq` of the push.
        seq: u64,
    },
    /// A push that the receiver of this record handed over is not, or no longer, on the list of its
    /// user, and was not acked: save it.
    No {
        /// The receiver of the push.
        user: UserName,
        /// The `seq` of the push.
        seq: u64,
    },
    /// An operator asks about a user of the receiving node: are they online there? → `Told`
    Ask {
        /// The user.
        user: UserName,
        /// The number that the answer must name.
        question: u64,
    },
    /// The answer to `Ask`.
    Told {
        /// The number of the `Ask`.
        question: u64,
        /// Since when the user is online, in ms since the epoch, and how many pushes to them are
        /// outstanding. `None`: they are not online there.
        online: Option<(u64, u32)>,
    },
    /// Asks which users are online on the receiving node. → `Present`, and from then on `Moved`.
    Who,
    /// All users who are online on the sending node, in consecutive parts.
    Present {
        /// Numbers the records `Present` and `Moved` from this sender to this receiver, from 1 on.
        number: u64,
        /// This is the first part: it replaces everything that was told before.
        is_first: bool,
        /// This is the last part.
        is_last: bool,
        /// The hashes of the user names.
        users: Vec<u64>,
    },
    /// Users have come online or gone offline on the sending node.
    Moved {
        /// The same numbering as in `Present`.
        number: u64,
        /// The users.
        users: Vec<NodePresenceUpdate>,
    },
    /// Records of this sender could not be kept. They may have been of any kind.
    RecordsMissed,
}

/// The present state of a node's work with other nodes: how many users and orders wait for others
/// or for the store, and how its links are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterGauges {
    /// Log-ins that wait until another node has released the user.
    pub claims: usize,
    /// The users that this node is releasing to other nodes.
    pub releases: usize,
    /// Users whose owner still has to be told something.
    pub owner_notices: usize,
    /// Bans, disconnections and similar orders that some node has not confirmed yet.
    pub forced_logouts: usize,
    /// Links of the bus over which messages can be handed over.
    pub links_up: usize,
    /// The bytes that are sent or about to be sent over all links, and are not confirmed.
    pub unconfirmed_bytes: usize,
    /// The age of the oldest unconfirmed batch of all links, in ms; 0: there is none.
    pub lag_ms: u64,
}

/// Counts of the events between this node and others in this life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterCounters {
    /// Records `Look` to other nodes.
    pub looks_sent: u64,
    /// Records `Look` from other nodes; one may come both over the bus and through the
    /// database.
    pub looks_received: u64,
    /// Log-ins that found their user on another node.
    pub claims_begun: u64,
    /// Claims that ended because the other node released the user.
    pub claims_released: u64,
    /// Claims that ended because the other node's life was over.
    pub claims_fenced: u64,
    /// Claims that ended because the user belonged to no node, or to this one.
    pub claims_unowned: u64,
    /// Claims that were dropped because nobody waited for them any more.
    pub claims_dropped: u64,
    /// The sum of the durations of all ended claims except the dropped ones, in ms.
    pub claims_ms: u64,
    /// Users whom this node has handed over to another one.
    pub users_released: u64,
    /// Epochs of links that this node has begun.
    pub link_epochs: u64,
    /// Epochs that ended because the other node missed a batch.
    pub links_refused: u64,
    /// Epochs that ended because a batch was not confirmed in time.
    pub links_late: u64,
    /// Epochs that ended because the bus could not be used.
    pub links_cut: u64,
}

/// The link to another node, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLinkReport {
    /// The other node.
    pub peer: NodeIncarnation,
    /// Messages can be handed over.
    pub is_up: bool,
    /// For how long it has been up, or down. `None`: it was never up.
    pub state_age_ms: Option<u64>,
    /// Batches that are not confirmed.
    pub unconfirmed_batches: usize,
    /// Their bytes, and those that are about to go out.
    pub unconfirmed_bytes: usize,
    /// The age of the oldest unconfirmed batch.
    pub lag_ms: Option<u64>,
    /// How long ago the last frame came. `None`: none has come.
    pub last_frame_ms_ago: Option<u64>,
}

/// A user of a node who has come online or gone offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePresenceUpdate {
    /// The user.
    pub user: UserName,
    /// The user is online on that node.
    pub is_online: bool,
    /// The friends of the user who are not online on that node.
    pub friends: Vec<UserName>,
}

/// Why the connections and log-ins of a user end on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedLogoutCause {
    /// The operator closes the user's connection. New log-ins are allowed.
    Disconnected,
    /// The user is banned.
    Banned,
    /// The operator has set another password.
    NewPassword,
    /// The user has changed their password.
    OwnNewPassword,
    /// The account is deleted.
    Deleted,
}

/// The data that a node hands over with a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserHandoverData {
    /// The user.
    pub user: UserName,
    /// The serial of the `Release`.
    pub claim: u64,
    /// The epoch in the `Release`: the whereabouts do not change until they are claimed.
    pub epoch: u64,
    /// No message of the user has a greater `seq`.
    pub clock: u64,
    /// The receivers for whom messages of the user may have been saved without telling their
    /// owners.
    pub dirty: HandoverReceiversWithUnnotifiedOwners,
    /// The user's dedup window, the oldest message first.
    pub window: Vec<HandoverDedupEntry>,
}

/// The receivers who are dirty for a user who is handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandoverReceiversWithUnnotifiedOwners {
    /// Those who are known.
    pub listed: Vec<UserName>,
    /// There may be others. The next node of the user was told by `RecordsMissed` to read
    /// everything, and must tell the node after it.
    pub has_unlisted: bool,
    /// For how long at least all of them have been dirty.
    pub age_ms: u64,
}

/// A message in a dedup window that is handed over. The server has promised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandoverDedupEntry {
    /// The keyed hash of receiver and id. All nodes have the same hash key.
    pub key: u64,
    /// The time since it was taken.
    pub age_ms: u64,
}

/// A frame that one incarnation publishes on the bus for one incarnation of another node. The bus
/// may lose, duplicate, delay and reorder it. A frame that arrives is unchanged and from this
/// sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusFrame {
    /// The number of the sender's view.
    pub view: u64,
    /// The sender has taken the receiver's records up to this position. It may repeat this.
    pub confirmed_batch: Option<NodeLinkBatchNumber>,
    /// The sender misses records of this epoch of the receiver's link: begin another epoch.
    pub refused_epoch: Option<u64>,
    /// Records of the sender's own link. Only these must be taken in order.
    pub batch: Option<NodeLinkBatch>,
}

/// A position in one direction of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeLinkBatchNumber {
    /// The epoch of the link, from 1 on. Within one incarnation all links together use each epoch
    /// once, in ascending order.
    pub link: u64,
    /// The number of the batch, from 1 on in each epoch.
    pub number: u64,
}

/// Records that are taken together, in this order, and only after the preceding batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLinkBatch {
    /// The position of the batch.
    pub position: NodeLinkBatchNumber,
    /// The records. The first batch of an epoch may have none: it only asks for a confirmation.
    pub records: Vec<BusRecord>,
}

/// A record that a link carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusRecord {
    /// From now on the sender hands over each message to this user before the message is saved.
    /// Read the store first: it has the messages that the sender took earlier.
    Begin {
        /// The receiver.
        user: UserName,
        /// The phase that the following messages name. Each phase is used once within an
        /// incarnation, in ascending order.
        phase: u64,
    },
    /// Deliver this. The sender saves it unless it is acked in time.
    Push {
        /// The phase of the last `Begin` for this receiver.
        phase: u64,
        /// A push of the kind `Message`.
        push: Push,
    },
    /// A record that can also be sent through the database. It may be sent both ways.
    Record(NodeMessage),
}

/// The maximum size of a batch without its last record, as [`BusRecord::weight_bytes`] counts it.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;

impl BusRecord {
    /// The approximate size of its encoding.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        /// The size of the kind and the numbers of a record.
        const FIXED_BYTES: usize = 32;
        FIXED_BYTES
            + match self {
                Self::Begin { user, .. } => user.as_str().len(),
                Self::Push { push, .. } => push.weight_bytes(),
                Self::Record(record) => record.weight_bytes(),
            }
    }
}

impl NodeMessage {
    /// The approximate size of its encoding.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::Look { user } | Self::Friend { user } => user.as_str().len(),
            Self::Release { user, .. } | Self::Ack { user, .. } | Self::No { user, .. } => user.as_str().len() + 16,
            Self::Released(released) => {
                let dirty = released.dirty.listed.iter().map(|user| user.as_str().len() + 1);
                released.user.as_str().len()
                    + 40
                    + dirty.sum::<usize>()
                    + size_of::<HandoverDedupEntry>() * released.window.len()
            }
            Self::End { user, .. } => user.as_str().len() + 12,
            Self::Ended { .. } => 10,
            Self::Ask { user, .. } => user.as_str().len() + 8,
            Self::Told { .. } => 21,
            Self::Who => 0,
            Self::Present { users, .. } => 16 + size_of_val(&**users),
            Self::Moved { users, .. } => {
                let names = users.iter().map(|one| {
                    one.friends.iter().fold(one.user.as_str().len() + 8, |sum, friend| sum + friend.as_str().len() + 2)
                });
                4 + names.sum::<usize>()
            }
            Self::RecordsMissed => 0,
        }
    }
}

/// A job that only a node of a cluster submits. It is done in the data lane of the user.
#[derive(Clone, Debug)]
pub enum ClusterStoreJob {
    /// Reads the owner of the user. The read sees all commits that were answered before. →
    /// [`ClusterStoreJobOutcome::Owner`]
    Owner,
    /// Makes this node the owner, if the whereabouts still have this epoch. After that commit, it
    /// reads the friends and the first page. It also succeeds if an earlier try of this incarnation
    /// has made this node the owner (`incarnation` is this one and `epoch` is one greater). The
    /// account may be banned or deleted by now, as for `Load`. →
    /// [`ClusterStoreJobOutcome::Loaded`], [`ClusterStoreJobOutcome::Elsewhere`], `Banned` or
    /// `Unproven`
    Claim {
        /// The epoch of the whereabouts that was read.
        epoch: u64,
        /// The value to which the floor is raised.
        floor: u64,
        /// The maximum number of pushes.
        pushes_max: u32,
        /// The maximum of their total size in bytes; the push that exceeds it is the last one.
        bytes_max: usize,
    },
    /// Reads the first waiting pushes that are not in `known_seqs`, in one snapshot, in the order
    /// of `seq`. (There is no cursor, because several nodes do not commit in that order.) →
    /// [`JobOutcome::Page`](crate::chat::contract::JobOutcome::Page)
    Page {
        /// The known pushes, in ascending order.
        known_seqs: Box<[u64]>,
        /// The maximum number of pushes.
        pushes_max: u32,
        /// The maximum of their total size in bytes; the push that exceeds it is the last one.
        bytes_max: usize,
    },
}

impl ClusterStoreJob {
    /// The job changes nothing.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::Owner | Self::Page { .. } => true,
            Self::Claim { .. } => false,
        }
    }
}

/// An outcome that only a node of a cluster gets.
#[derive(Clone, Debug)]
pub enum ClusterStoreJobOutcome {
    /// The outcome of `ClusterStoreJob::Owner`.
    Owner(UserOwner),
    /// The outcome of `SavePush` in a cluster, instead of `Saved` and `Duplicate`: the push is
    /// committed, and `owner` is the owner of its receiver, read after the commit in the same round
    /// trip. If the `seq` of a push exceeds this node's `hlc_limit`, each job that would write it
    /// fails.
    Saved {
        /// `false`: the store has another push with this receiver, sender and id (`Duplicate`).
        is_first: bool,
        /// `None` if the owner could not be read.
        owner: Option<UserOwner>,
    },
    /// The outcome of `LogIn`, of `Load` for a log-in (which asks for pushes) and of `Claim`,
    /// instead of `Loaded`: the user belongs to this incarnation.
    Loaded {
        /// The epoch of the user's whereabouts.
        epoch: u64,
        /// All friends of the user, in no order.
        friends: Vec<UserName>,
        /// The first page.
        page: PushPage,
    },
    /// The other outcome of the same jobs: the user does not belong to this incarnation, or the
    /// whereabouts no longer have the epoch of the `Claim`. The credential is good, and nothing was
    /// read or changed.
    Elsewhere(UserOwner),
}
