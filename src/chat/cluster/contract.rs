//! What several nodes over one store say to each other, and what they ask of the store: types only.
//!
//! Of a node that is alone none of this is ever made.

use crate::chat::found::PushPage;
use crate::protocol::field::UserName;
use crate::protocol::push::Push;
use std::num::NonZeroU16;

/// The bits of a `seq` that name its node.
pub const NODE_BITS: u32 = 10;
/// How far a `seq` is shifted to the left of the ms since the epoch from which its clock began.
pub const MS_SHIFT: u32 = 20;

/// The number of a node, from 1 to 1,023: the last bits of each `seq` that it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(NonZeroU16);

impl NodeId {
    /// The first one there can be.
    pub(super) const FIRST: Self = Self(NonZeroU16::MIN);
    /// No number is greater.
    pub(super) const LAST: Self = Self(NonZeroU16::MAX);

    /// `None` when there can be no such node.
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

/// One life of a node: between two fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation {
    /// The node.
    pub node: NodeId,
    /// Greater than that of any earlier life. The store does nothing for one that is not the
    /// node's last.
    pub epoch: u64,
}

/// What the store says of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Its last life; earlier ones are fenced.
    pub last: Incarnation,
    /// The store has no `seq` of this node that is greater, and takes none. It never sinks.
    pub hlc_limit: u64,
    /// Its last life has begun. Not so between a fence and the next start: then nobody lives it.
    /// It has not left since, and was not fenced.
    pub lives: bool,
}

/// All nodes, read from the store in one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Grows with every fence and every start.
    pub number: u64,
    /// In the order of their numbers, this node included.
    pub nodes: Box<[NodeState]>,
}

impl ClusterView {
    /// What is known of a node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> Option<&NodeState> {
        let place = self.nodes.binary_search_by_key(&node, |state| state.last.node).ok()?;
        self.nodes.get(place)
    }
}

/// Which node a user belongs to: the one on which they logged in last, whether they are still
/// connected or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserOwner {
    /// `None`: they never logged in since there are nodes.
    pub at: Option<Incarnation>,
    /// Grows with every change of `at`; 0 when there is no row.
    pub epoch: u64,
    /// No `seq` of a message of theirs that was taken before this row was written is greater.
    pub floor: u64,
}

/// What one node says to another.
///
/// Records from one incarnation to another arrive in the order in which they were sent, each at
/// least once (a run of them may come again), or [`NodeRecord::Missed`] in the place of those that
/// could not be kept. All are lost when either of the two is fenced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRecord {
    /// Something was saved for this user: read what waits for them. Of several that wait to be sent
    /// the shell may drop all but the first, if nothing but `Look` and `Friend` is between them.
    Look {
        /// The receiver.
        user: UserName,
    },
    /// Their friends have changed: read them.
    Friend {
        /// Whose.
        user: UserName,
    },
    /// This user logs in on the sending node: let go of them.
    Release {
        /// The user.
        user: UserName,
        /// The epoch of their whereabouts, as the sender has read it.
        epoch: u64,
        /// To answer with.
        claim: u64,
    },
    /// The answer to `Release`: nothing of theirs is unsaved any more.
    Released(Box<ReleasedUser>),
    /// Close this user's connection on the receiving node, and drop log-ins of theirs whose
    /// credential was checked before. Sent again until `Ended` arrives.
    End {
        /// The user.
        user: UserName,
        /// Why.
        why: EndCause,
        /// To answer with; greater than all before it of this sender.
        order: u64,
    },
    /// The answer to `End`: it is done.
    Ended {
        /// That of the `End`.
        order: u64,
        /// The user was connected.
        was_here: bool,
    },
    /// A push that the receiver of this record handed over was acked. Who does not know it deletes
    /// it from the store.
    Ack {
        /// Whose.
        user: UserName,
        /// Its number.
        seq: u64,
    },
    /// A push that the receiver of this record handed over is not on the list of its own receiver,
    /// or no more, and was not acked: save it.
    No {
        /// Whose.
        user: UserName,
        /// Its number.
        seq: u64,
    },
    /// An operator asks about a user of the receiving node: are they online there? → `Told`
    Ask {
        /// The user.
        user: UserName,
        /// To answer with.
        question: u64,
    },
    /// The answer to `Ask`.
    Told {
        /// That of the `Ask`.
        question: u64,
        /// Since when, in ms since the epoch, and how many pushes to them are outstanding. `None`:
        /// they are not online there.
        online: Option<(u64, u32)>,
    },
    /// Who is online on the receiving node? → `Present`, and `PresenceUpdate` from then on.
    Who,
    /// All users who are online on the sending node, in parts that follow each other.
    Present {
        /// Counts these and `PresenceUpdate` from this sender to this receiver, from 1 on.
        number: u64,
        /// The first part: nothing said before counts.
        is_first: bool,
        /// The last part.
        is_last: bool,
        /// The hashes of their names.
        users: Vec<u64>,
    },
    /// Users of the sending node have come or gone.
    Moved {
        /// As in `Present`.
        number: u64,
        /// Who.
        users: Vec<PresenceUpdate>,
    },
    /// Records of this sender could not be kept: anything may have been among them.
    Missed,
}

/// What waits in the core of a node for others, or for the store to tell where users are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterGauges {
    /// Log-ins of users whom another node is to let go of.
    pub claims: usize,
    /// Users whom this node is letting go of.
    pub let_gos: usize,
    /// Users whose node is still to be told something.
    pub untold: usize,
    /// Bans, disconnections and the like that not all nodes have confirmed.
    pub endings: usize,
    /// Links of the bus over which messages can be handed over.
    pub links_up: usize,
    /// What went out over all links, or is about to, and is not confirmed, in bytes.
    pub unconfirmed_bytes: usize,
    /// The age of the oldest unconfirmed batch of all links, in ms; 0: there is none.
    pub lag_ms: u64,
}

/// What has happened between this node and others in this life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterTotals {
    /// Records `Look` to other nodes.
    pub looks_sent: u64,
    /// Records `Look` from other nodes; one may come both over the bus and by the mail.
    pub looks_received: u64,
    /// Log-ins that found their user on another node.
    pub claims_begun: u64,
    /// Of these, for whom the other node has let go.
    pub claims_released: u64,
    /// For whom the other node's life was over.
    pub claims_fenced: u64,
    /// Whose user belonged to no node, or to this one.
    pub claims_unowned: u64,
    /// Which nobody waits for any more.
    pub claims_dropped: u64,
    /// How long all but the dropped ones have waited together, in ms.
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
pub struct LinkReport {
    /// The other node.
    pub to: Incarnation,
    /// Messages can be handed over.
    pub is_up: bool,
    /// For how long it has been up, or down. `None`: it was never up.
    pub for_ms: Option<u64>,
    /// Batches that are not confirmed.
    pub unconfirmed_batches: usize,
    /// Their bytes, and those that are about to go out.
    pub unconfirmed_bytes: usize,
    /// The age of the oldest unconfirmed batch.
    pub lag_ms: Option<u64>,
    /// How long ago the last frame came. `None`: none has come.
    pub heard_ms_ago: Option<u64>,
}

/// A user of a node who has come or gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceUpdate {
    /// Who.
    pub user: UserName,
    /// They are online there.
    pub is_online: bool,
    /// Those of their friends who are not online on that node.
    pub friends: Vec<UserName>,
}

/// Why what a user has on all nodes ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndCause {
    /// The operator closes their connection, and that is all: log-ins go on.
    Disconnected,
    /// They are banned.
    Banned,
    /// The operator gave them another password.
    NewPassword,
    /// They have changed it themselves.
    OwnNewPassword,
    /// Their account is deleted.
    Deleted,
}

/// What a node hands over with a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedUser {
    /// The user.
    pub user: UserName,
    /// That of the `Release`.
    pub claim: u64,
    /// That of the `Release`, too: the whereabouts stay as they are until they are claimed.
    pub epoch: u64,
    /// No `seq` of a message of theirs is greater.
    pub clock: u64,
    /// Those for whom something of theirs may have been saved of which nobody was told.
    pub dirty: Vec<UserName>,
    /// Their dedup window, the oldest first.
    pub window: Vec<DedupEntry>,
}

/// A message in a dedup window that is handed over. It is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupEntry {
    /// Stands for its receiver and id; all nodes have the same hash key.
    pub key: u64,
    /// How long ago it was taken.
    pub age_ms: u64,
}

/// What one life of a node publishes on the bus for one life of another: it may be lost, come twice
/// or late. Nothing else is promised of the bus, but that it is whole and from that sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusFrame {
    /// The number of the sender's view.
    pub view: u64,
    /// The sender has taken the receiver's records up to here. The same may be said again and
    /// again.
    pub confirmed: Option<LinkPosition>,
    /// The sender misses records of this epoch of the receiver's link: begin another.
    pub refused: Option<u64>,
    /// Records of the sender's own link. Nothing but this has to come in order.
    pub batch: Option<LinkBatch>,
}

/// A place among what one node says to another over the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkPosition {
    /// The epoch of the link, from 1 on; no other epoch of links of this life of the node has the
    /// same, later ones have greater ones.
    pub link: u64,
    /// The batch, from 1 on in each epoch.
    pub number: u64,
}

/// Records that are taken together, in this order, and only behind the batch before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkBatch {
    /// Where they stand.
    pub place: LinkPosition,
    /// There may be none: the first of an epoch only asks to be confirmed.
    pub records: Vec<BusRecord>,
}

/// What a link carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BusRecord {
    /// The sender hands over what it takes for this user from now on, before it is saved; what it
    /// took before is in the store: read it first.
    Begin {
        /// The receiver.
        user: UserName,
        /// Names what is handed over from here on. No two of one life of a node are the same, and
        /// later ones are greater.
        phase: u64,
    },
    /// Deliver this. The sender saves it unless it is acked in time.
    Push {
        /// That of the last `Begin` for its receiver.
        phase: u64,
        /// It is of kind `Message`.
        push: Push,
    },
    /// The same as may come by the table `mail`, and perhaps does.
    Record(NodeRecord),
}

/// What a batch holds without its last record, at most, as [`BusRecord::weight_bytes`] counts.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;

impl BusRecord {
    /// About how long it is when it is written down.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        /// The kind and the numbers of a record.
        const FIXED_BYTES: usize = 32;
        FIXED_BYTES
            + match self {
                Self::Begin { user, .. } => user.as_str().len(),
                Self::Push { push, .. } => push.weight_bytes(),
                Self::Record(record) => record.weight_bytes(),
            }
    }
}

impl NodeRecord {
    /// About how long it is when it is written down.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::Look { user } | Self::Friend { user } => user.as_str().len(),
            Self::Release { user, .. } | Self::Ack { user, .. } | Self::No { user, .. } => user.as_str().len() + 16,
            Self::Released(released) => {
                let dirty = released.dirty.iter().map(|user| user.as_str().len() + 1);
                released.user.as_str().len()
                    + 24
                    + dirty.sum::<usize>()
                    + size_of::<DedupEntry>() * released.window.len()
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
            Self::Missed => 0,
        }
    }
}

/// What only a node of a cluster asks of the store; in the data lane of the user.
#[derive(Clone, Debug)]
pub enum ClusterJob {
    /// To whom do they belong? Read behind all commits that were answered before.
    /// → [`ClusterOutcome::Owner`]
    Owner,
    /// They belong to this node from now on, if the epoch is still this one; then friends and first
    /// page, read behind that commit. If it was done by an earlier try of this incarnation (`at` is
    /// this one and `epoch` one more), that is success. The account may be banned or gone by now,
    /// as for `Load`.
    /// → [`ClusterOutcome::Loaded`], [`ClusterOutcome::Elsewhere`], `Banned` or `Unproven`
    Claim {
        /// That of the whereabouts, as they were read.
        epoch: u64,
        /// What the floor is raised to.
        floor: u64,
        /// The largest number of pushes.
        pushes_max: u32,
        /// And their largest size together, in bytes; the one that goes beyond is the last.
        bytes_max: usize,
    },
    /// The first pushes that wait for them and are not among these, in one snapshot, in the order
    /// of `seq`. (There is no cursor: the commits of several nodes are not in that order.)
    /// → [`Outcome::Page`](crate::chat::contract::Outcome::Page)
    Page {
        /// What is known already, in ascending order.
        except: Box<[u64]>,
        /// The largest number of pushes.
        pushes_max: u32,
        /// And their largest size together, in bytes; the one that goes beyond is the last.
        bytes_max: usize,
    },
}

impl ClusterJob {
    /// Does it change nothing?
    #[must_use]
    pub fn is_read(&self) -> bool {
        match self {
            Self::Owner | Self::Page { .. } => true,
            Self::Claim { .. } => false,
        }
    }
}

/// What the store answers to a node of a cluster only.
#[derive(Clone, Debug)]
pub enum ClusterOutcome {
    /// Of `ClusterJob::Owner`.
    Owner(UserOwner),
    /// `SavePush`, instead of `Saved` and `Duplicate`: it is committed, and this is who owns its
    /// receiver, read behind the commit in the same round trip. A push whose `seq` is beyond
    /// this node's `hlc_limit` is `Failed`, and not written, by this and all other jobs.
    Saved {
        /// `false`: another one with this receiver, sender and id is in the store (`Duplicate`).
        is_first: bool,
        /// `None` if that could not be read.
        owner: Option<UserOwner>,
    },
    /// `LogIn`, `Load` for a log-in (pushes are asked for) and `Claim`, instead of `Loaded`: they
    /// belong to this incarnation.
    Loaded {
        /// Of their whereabouts.
        epoch: u64,
        /// All friends of the user, in no order.
        friends: Vec<UserName>,
        /// The first page.
        page: PushPage,
    },
    /// The same jobs: they do not, or another epoch has begun. The credential is good, and nothing
    /// was read or changed.
    Elsewhere(UserOwner),
}
