//! The database of a cluster under faults: one MariaDB, a Galera pair, or a primary with a replica.

use super::fault::Setup;
use crate::common::{GaleraPair, MariaDb, ReplicatedPair};
use mysql::Conn;
use mysql::prelude::Queryable;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Nodes that were fenced while their server was away need this long at most to live again.
const RENEWED_WAIT: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(50);
const BOTH: [usize; 2] = [0, 1];
const OTHERS: &str = "a primary with a replica has other faults";

pub(crate) enum Databases {
    One(MariaDb),
    Pair(GaleraPair),
    Replicated(ReplicatedPair),
}

impl Databases {
    /// `None` where there is none.
    pub(crate) fn start(setup: Setup) -> Option<Self> {
        if setup.has_pair() {
            GaleraPair::start_for_all_networks().map(Self::Pair)
        } else if setup.has_replica() {
            ReplicatedPair::start_for_all_networks().map(Self::Replicated)
        } else {
            MariaDb::start_for_all_networks().map(Self::One)
        }
    }

    /// The server of the pair that this node uses: the second node the second one.
    pub(crate) fn server_of(node: usize) -> usize {
        usize::from(node == 1)
    }

    /// The value for `--store` of this node, at an address that it reaches.
    pub(crate) fn url_for(&self, node: usize, address: IpAddr) -> String {
        match self {
            Self::One(server) => server.url_at(address),
            Self::Pair(pair) => pair.server(Self::server_of(node)).url_at(address),
            Self::Replicated(pair) => MariaDb::url_of(address, pair.port()),
        }
    }

    /// A server that can be asked.
    pub(crate) fn server(&self) -> &MariaDb {
        match self {
            Self::One(server) => server,
            Self::Pair(pair) => pair.one_that_is_up(),
            Self::Replicated(pair) => pair.primary(),
        }
    }

    pub(crate) fn root(&self) -> Conn {
        self.server().root()
    }

    /// The pair, for the faults that only a pair has.
    pub(crate) fn pair(&mut self) -> &mut GaleraPair {
        match self {
            Self::Pair(pair) => pair,
            Self::One(_) | Self::Replicated(_) => panic!("a fault of a pair, and there is none"),
        }
    }

    /// The primary and its replica, for the faults that only they have.
    pub(crate) fn replicated(&mut self) -> &mut ReplicatedPair {
        match self {
            Self::Replicated(pair) => pair,
            Self::One(_) | Self::Pair(_) => panic!("a fault of a primary with a replica, and there is none"),
        }
    }

    pub(crate) fn kill9(&mut self) {
        match self {
            Self::One(server) => server.kill9(),
            Self::Pair(pair) => pair.kill9(&BOTH),
            Self::Replicated(_) => panic!("{OTHERS}"),
        }
    }

    pub(crate) fn start_again(&mut self) {
        match self {
            Self::One(server) => server.start_again(),
            Self::Pair(pair) => {
                pair.begin_again(&BOTH);
                pair.wait_until_whole();
            }
            Self::Replicated(_) => panic!("{OTHERS}"),
        }
    }

    pub(crate) fn freeze(&mut self) {
        match self {
            Self::One(server) => server.freeze(),
            Self::Pair(pair) => pair.freeze(&BOTH),
            Self::Replicated(_) => panic!("{OTHERS}"),
        }
    }

    pub(crate) fn thaw(&mut self) {
        match self {
            Self::One(server) => server.thaw(),
            Self::Pair(pair) => {
                pair.thaw(&BOTH);
                pair.wait_until_whole();
            }
            Self::Replicated(_) => panic!("{OTHERS}"),
        }
    }

    /// Waits until each node has given two signs of life from now on in one life: a node that was
    /// fenced gives none before it has begun another one.
    pub(crate) fn wait_until_all_nodes_live(&self, count: usize) {
        let (mut root, since) = (self.root(), Instant::now());
        let mut first: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        loop {
            let rows: Vec<(String, u64, u64)> = root.query("SELECT name, epoch, renewed FROM nodes").unwrap();
            let mut living = 0;
            for (name, epoch, renewed) in &rows {
                let (life, signs) = first.entry(name.clone()).or_insert((*epoch, *renewed));
                if life != epoch {
                    (*life, *signs) = (*epoch, *renewed);
                }
                living += usize::from(*renewed >= *signs + 2);
            }
            if living == count {
                return;
            }
            assert!(since.elapsed() < RENEWED_WAIT, "not all nodes live: {rows:?}, and at first {first:?}");
            thread::sleep(TICK);
        }
    }
}
