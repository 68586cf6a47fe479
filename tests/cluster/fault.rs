//! The faults of a cluster, and how many of each a run has.

use super::nets::{CABLES, Cable};
use std::time::Duration;

/// The maximum time after a fault until users talk again and everything is delivered, beyond the
/// lease of a node that has to be fenced. The longest of the long runs is about half of it, because
/// the machine may have other work.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// A server of a Galera pair commits nothing until it takes the other one for gone: 5 s
/// (`evs.suspect_timeout`), and a little more on a busy machine.
const EVICTION_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Killed,
    KilledForLong,
    TwoKilled,
    AllKilled,
    Frozen,
    CutFromDatabase,
    CutFromAll,
    DatabaseKilled,
    DatabaseFrozen,
    CutFromBus,
    CutFromDatabaseAndBus,
    OneBusKilled,
    BusesKilled,
    OneBusFrozen,
    BusesFrozen,
    ServerKilled,
    ServerKilledForLong,
    ServerFrozen,
    PrimaryKilled,
    PrimarySwitched,
    PrimaryFrozen,
}

/// The faults of a cluster without a bus come first, those of a Galera pair last.
const FAULTS: [Fault; 18] = [
    Fault::Killed,
    Fault::KilledForLong,
    Fault::TwoKilled,
    Fault::AllKilled,
    Fault::Frozen,
    Fault::CutFromDatabase,
    Fault::CutFromAll,
    Fault::DatabaseKilled,
    Fault::DatabaseFrozen,
    Fault::CutFromBus,
    Fault::CutFromDatabaseAndBus,
    Fault::OneBusKilled,
    Fault::BusesKilled,
    Fault::OneBusFrozen,
    Fault::BusesFrozen,
    Fault::ServerKilled,
    Fault::ServerKilledForLong,
    Fault::ServerFrozen,
];
/// The faults with a primary and a replica.
const WITH_REPLICA: [Fault; 5] =
    [Fault::Killed, Fault::KilledForLong, Fault::PrimaryKilled, Fault::PrimarySwitched, Fault::PrimaryFrozen];
const WITHOUT_BUS: usize = 9;
const WITHOUT_PAIR: usize = 15;

/// The parts of the cluster beside three nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    OneDatabase,
    OneDatabaseAndBus,
    PairAndBus,
    Replica,
    ReplicaAndBus,
}

impl Setup {
    pub(crate) fn has_bus(self) -> bool {
        !matches!(self, Self::OneDatabase | Self::Replica)
    }

    pub(crate) fn has_pair(self) -> bool {
        self == Self::PairAndBus
    }

    /// Is the database a primary with a replica?
    pub(crate) fn has_replica(self) -> bool {
        matches!(self, Self::Replica | Self::ReplicaAndBus)
    }

    fn faults(self) -> &'static [Fault] {
        match self {
            Self::OneDatabase => &FAULTS[..WITHOUT_BUS],
            Self::OneDatabaseAndBus => &FAULTS[..WITHOUT_PAIR],
            Self::PairAndBus => &FAULTS,
            Self::Replica | Self::ReplicaAndBus => &WITH_REPLICA,
        }
    }
}

impl Fault {
    pub(crate) fn describe(self, setup: Setup) -> &'static str {
        match self {
            Self::DatabaseKilled if setup.has_pair() => "both servers of the pair are killed and started again",
            Self::DatabaseFrozen if setup.has_pair() => "both servers of the pair are frozen (from their return)",
            Self::Killed => "a node is killed (SIGKILL) and started again after 0.5 s",
            Self::KilledForLong => "a node is killed and stays away",
            Self::TwoKilled => "two of three nodes are killed at once and stay away",
            Self::AllKilled => "all nodes are killed and started again after 0.5 s",
            Self::Frozen => "a node is frozen (SIGSTOP)",
            Self::CutFromDatabase => "a node is cut off from the database",
            Self::CutFromAll => "the cables of a node are pulled",
            Self::DatabaseKilled => "the database is killed and started again",
            Self::DatabaseFrozen => "the database is frozen (from its return)",
            Self::CutFromBus => "a node is cut off from the bus",
            Self::CutFromDatabaseAndBus => "a node is cut off from the database and the bus",
            Self::OneBusKilled => "one of two Redis is killed",
            Self::BusesKilled => "both Redis are killed",
            Self::OneBusFrozen => "one of two Redis is frozen (SIGSTOP)",
            Self::BusesFrozen => "both Redis are frozen",
            Self::ServerKilled => "a server of the pair is killed and started again after 0.5 s",
            Self::ServerKilledForLong => "a server of the pair is killed and stays away",
            Self::ServerFrozen => "a server of the pair is frozen (SIGSTOP)",
            Self::PrimaryKilled => "the primary is killed (SIGKILL), and the replica takes its place after 0.5 s",
            Self::PrimarySwitched => "planned: the primary and the replica change places",
            Self::PrimaryFrozen => "the primary is frozen (SIGSTOP), and the replica takes its place after 0.5 s",
        }
    }

    /// The cables that are pulled out of the node.
    pub(crate) fn cables(self) -> &'static [Cable] {
        match self {
            Self::CutFromDatabase => &[Cable::Database],
            Self::CutFromBus => &[Cable::Bus],
            Self::CutFromDatabaseAndBus => &[Cable::Database, Cable::Bus],
            Self::CutFromAll => &CABLES,
            _ => &[],
        }
    }

    /// Does it affect all users?
    pub(crate) fn is_for_all(self) -> bool {
        !matches!(self, Self::Killed | Self::KilledForLong | Self::Frozen) && self.cables().is_empty()
    }

    /// Can users of one node still talk to each other there?
    pub(crate) fn leaves_neighbours(self) -> bool {
        let is_of_bus = matches!(self, Self::OneBusKilled | Self::BusesKilled | Self::OneBusFrozen | Self::BusesFrozen);
        is_of_bus
            || self.is_of_server()
            || matches!(self, Self::CutFromDatabase | Self::CutFromBus | Self::CutFromDatabaseAndBus)
    }

    /// Is it one server of a pair that fails?
    pub(crate) fn is_of_server(self) -> bool {
        matches!(self, Self::ServerKilled | Self::ServerKilledForLong | Self::ServerFrozen)
    }

    /// Does the primary change?
    pub(crate) fn is_of_primary(self) -> bool {
        matches!(self, Self::PrimaryKilled | Self::PrimarySwitched | Self::PrimaryFrozen)
    }

    /// May a node be fenced or not, as it happens? If a server of the pair fails, its nodes are
    /// fenced unless it is back before the lease is too old.
    pub(crate) fn may_fence(self, setup: Setup) -> bool {
        let is_of_pair = self.is_of_server() || matches!(self, Self::DatabaseKilled | Self::DatabaseFrozen);
        setup.has_pair() && is_of_pair || self.is_of_primary()
    }

    /// Is the node fenced?
    pub(crate) fn fences(self) -> bool {
        matches!(self, Self::Frozen) || self.cables().contains(&Cable::Database)
    }

    /// The maximum time for which users wait.
    pub(crate) fn wait_max(self, lease: Duration) -> Duration {
        let waits_for_lease = self.fences() || matches!(self, Self::KilledForLong | Self::TwoKilled);
        match self {
            _ if self.is_of_server() => EVICTION_MAX + lease + RECOVERY_MAX,
            _ if waits_for_lease => lease + RECOVERY_MAX,
            _ => RECOVERY_MAX,
        }
    }
}

/// The number of rounds, and the duration of the fault.
pub(crate) struct Plan {
    pub(crate) lease: Duration,
    pub(crate) faults: Vec<Fault>,
    pub(crate) frozen_for: Duration,
    pub(crate) cut_for: Duration,
    pub(crate) database_frozen_for: Duration,
    /// One server of a pair: until after its nodes were fenced.
    pub(crate) server_away_for: Duration,
}

impl Plan {
    pub(crate) fn new(setup: Setup) -> Self {
        let kills: Option<usize> = std::env::var("HONGYAN_TEST_CLUSTER_KILLS").ok().map(|text| text.parse().unwrap());
        let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        let others = kills.map_or(1, |kills| kills.div_ceil(20));
        let count = |fault: Fault| match fault {
            Fault::Killed => kills.unwrap_or(2).div_ceil(2),
            Fault::KilledForLong => kills.unwrap_or(2) / 2,
            Fault::Frozen => others.div_ceil(2),
            // The short form with a bus leaves out faults on which a bus has no effect.
            Fault::TwoKilled | Fault::AllKilled if setup.has_bus() && kills.is_none() => 0,
            Fault::DatabaseFrozen if setup == Setup::OneDatabaseAndBus && kills.is_none() => 0,
            _ if fault.is_of_server() => kills.map_or(1, |kills| kills.div_ceil(10)),
            _ if fault.is_of_primary() => kills.map_or(2, |kills| kills.div_ceil(4)),
            _ => others,
        };
        let only = std::env::var("FAULTS").ok();
        let is_wanted =
            |fault: &Fault| only.as_ref().is_none_or(|only| only.split(',').any(|name| name == format!("{fault:?}")));
        let faults = setup.faults().iter().copied().filter(is_wanted);
        let faults = faults.flat_map(|fault| std::iter::repeat_n(fault, count(fault))).collect();
        let seconds = Duration::from_secs;
        let mut plan = if kills.is_some() {
            let (frozen_for, cut_for, database_frozen_for) = (seconds(60), seconds(15), seconds(10));
            Self { lease: seconds(5), faults, frozen_for, cut_for, database_frozen_for, server_away_for: seconds(25) }
        } else {
            let (frozen_for, cut_for, database_frozen_for) = (seconds(4), seconds(5), seconds(3));
            Self { lease: seconds(2), faults, frozen_for, cut_for, database_frozen_for, server_away_for: seconds(15) }
        };
        fastrand::Rng::with_seed(seed).shuffle(&mut plan.faults);
        plan
    }
}
