//! Three nodes in networks of their own, one MariaDB, and HAProxy with the configuration of
//! docs/cluster.md in front. One fault after another happens while users talk: after each, all that
//! was promised has been delivered, in its order, and the table at the end says how long users
//! waited.
//!
//! `HONGYAN_TEST_CLUSTER_KILLS=200` makes it long, with the default lease: the table of
//! docs/cluster.md is from that. `SEED` draws the order of the faults. Root only: networks are made.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/cluster/`.
mod cluster {
    pub(crate) mod load;
    pub(crate) mod nets;
    pub(crate) mod recovery;
}

use cluster::load::{self, Habits, Known};
use cluster::nets::{self, CABLES, Cable, Host};
use cluster::recovery::Measured;
use common::{HaProxy, MariaDb, Node, PATIENCE};
use mysql::prelude::Queryable;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const USERS: [&str; 8] = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"];
/// Clients who stay, talk now and then, and wait for a log-in longer than any lease.
const STAYING: Habits =
    Habits { log_in: Duration::from_secs(9), stay_ms: (20_000, 60_000), pause: Duration::from_millis(100) };
const NAMES: [&str; 3] = ["a", "b", "c"];
/// So long after its end a supervisor starts a server again.
const RESTARTS_AFTER: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    KilledForLong,
    TwoKilled,
    AllKilled,
    Frozen,
    CutFromDatabase,
    CutFromAll,
    DatabaseKilled,
    DatabaseFrozen,
}

const FAULTS: [Fault; 9] = [
    Fault::Killed,
    Fault::KilledForLong,
    Fault::TwoKilled,
    Fault::AllKilled,
    Fault::Frozen,
    Fault::CutFromDatabase,
    Fault::CutFromAll,
    Fault::DatabaseKilled,
    Fault::DatabaseFrozen,
];

impl Fault {
    fn describe(self) -> &'static str {
        match self {
            Self::Killed => "a node is killed (SIGKILL) and started again after 0.5 s",
            Self::KilledForLong => "a node is killed and stays away",
            Self::TwoKilled => "two of three nodes are killed at once and stay away",
            Self::AllKilled => "all nodes are killed and started again after 0.5 s",
            Self::Frozen => "a node is frozen (SIGSTOP)",
            Self::CutFromDatabase => "a node is cut off from the database (until its users talk to others)",
            Self::CutFromAll => "the cables of a node are pulled",
            Self::DatabaseKilled => "the database is killed and started again",
            Self::DatabaseFrozen => "the database is frozen (from its return)",
        }
    }
}

/// How often each happens, and how long it lasts.
struct Plan {
    lease: &'static str,
    faults: Vec<Fault>,
    frozen_for: Duration,
    cut_for: Duration,
    database_frozen_for: Duration,
}

impl Plan {
    fn new() -> Self {
        let kills =
            std::env::var("HONGYAN_TEST_CLUSTER_KILLS").ok().map(|text| text.parse().expect("a number of kills"));
        let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        let counts = |kills: usize, others: usize| {
            let count = |fault| match fault {
                Fault::Killed => kills.div_ceil(2),
                Fault::KilledForLong => kills / 2,
                Fault::Frozen => others.div_ceil(2),
                _ => others,
            };
            FAULTS.into_iter().flat_map(|fault| std::iter::repeat_n(fault, count(fault))).collect::<Vec<_>>()
        };
        let seconds = Duration::from_secs;
        let mut plan = match kills {
            Some(kills) => Self {
                lease: "5s",
                faults: counts(kills, kills.div_ceil(20)),
                frozen_for: seconds(60),
                cut_for: seconds(15),
                database_frozen_for: seconds(10),
            },
            None => Self {
                lease: "2s",
                faults: counts(4, 1),
                frozen_for: seconds(4),
                cut_for: seconds(5),
                database_frozen_for: seconds(3),
            },
        };
        fastrand::Rng::with_seed(seed).shuffle(&mut plan.faults);
        plan
    }
}

/// All that runs.
struct Cluster {
    // Dropped in this order.
    proxy: HaProxy,
    nodes: Vec<Node>,
    hosts: Vec<Host>,
    database: MariaDb,
}

impl Cluster {
    fn start(lease: &str) -> Option<Self> {
        let database = MariaDb::start_for_all_networks()?;
        let hosts: Vec<Host> = (1..=3).map(Host::make).collect();
        let begin = |host: &Host, name: &str| {
            let store = database.url_at(host.other_end(Cable::Database));
            let before = host.enter();
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let args = ["--store", &store, "--node-name", name, "--silent-server-max", lease];
            Node::begin_at(host.listen(), &before, &[&args[..], &["--trusted-proxies", "10.77.0.0/16"]].concat())
        };
        let (last, more) = ("    server b 10.0.0.6:1102\n", "    server c 10.0.0.7:1102\n");
        let page = include_str!("../docs/cluster.md").replace(last, &format!("{last}{more}"));
        let shown = ["10.0.0.5:1102", "10.0.0.6:1102", "10.0.0.7:1102"];
        let addresses: Vec<_> = shown.into_iter().zip(hosts.iter().map(Host::listen)).collect();
        let proxy = HaProxy::start(&page, "### The load balancer", &addresses)?;
        let mut nodes = vec![begin(&hosts[0], NAMES[0])];
        nodes[0].wait_for("listening on");
        proxy.settles();
        // All on the first node: friends who are made on another one are known a moment later.
        load::make_friends(proxy.addr, &USERS);
        for (host, name) in hosts.iter().zip(NAMES).skip(1) {
            nodes.push(begin(host, name));
        }
        nodes[1..].iter().for_each(|node| drop(node.wait_for("listening on")));
        proxy.wait_for_servers(3);
        Some(Self { proxy, nodes, hosts, database })
    }

    fn talk(&self) -> (Arc<Known>, Vec<JoinHandle<()>>) {
        let known = Arc::new(Known::default());
        let others = |name: &str| USERS.into_iter().filter(|other| *other != name).collect();
        let start = |name| load::start(name, others(name), vec![self.proxy.addr], STAYING, &known);
        let users = USERS.into_iter().map(start).collect();
        (known, users)
    }

    /// Who is on which node.
    fn users(&self) -> [Vec<&'static str>; 3] {
        let sql =
            "SELECT w.user_name, n.name FROM whereabouts w JOIN nodes n ON n.node = w.node AND n.epoch = w.node_epoch";
        let rows: Vec<(String, String)> = self.database.root().query(sql).unwrap();
        NAMES.map(|name| {
            let here = rows.iter().filter(|(_, node)| node == name);
            here.filter_map(|(user, _)| USERS.into_iter().find(|known| known == user)).collect()
        })
    }

    /// The node with the most users, and them.
    fn fullest(&self) -> (usize, Vec<&'static str>) {
        let until = Instant::now() + PATIENCE;
        loop {
            let fullest = self.users().into_iter().enumerate().max_by_key(|(_, users)| users.len()).unwrap();
            if !fullest.1.is_empty() {
                return fullest;
            }
            assert!(Instant::now() < until, "nobody is anywhere");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// One fault; gives how long users waited, and how long it took until all was delivered.
    fn round(&mut self, fault: Fault, plan: &Plan, known: &Known) -> (Vec<Duration>, Duration) {
        let (at, on_it) = self.fullest();
        let mut users = on_it;
        let mut since = Instant::now();
        match fault {
            Fault::Killed => {
                self.nodes[at].kill();
                since = Instant::now();
                thread::sleep(RESTARTS_AFTER);
                self.nodes[at].start_again();
            }
            Fault::KilledForLong => self.nodes[at].kill(),
            Fault::TwoKilled => {
                users = USERS.to_vec();
                [at, (at + 1) % 3].into_iter().for_each(|at| self.nodes[at].kill());
            }
            Fault::AllKilled => {
                users = USERS.to_vec();
                self.nodes.iter_mut().for_each(Node::kill);
                since = Instant::now();
                thread::sleep(RESTARTS_AFTER);
                self.nodes.iter_mut().for_each(Node::start_again);
            }
            Fault::Frozen => self.nodes[at].signal("-STOP"),
            Fault::CutFromDatabase => self.hosts[at].pull(Cable::Database),
            Fault::CutFromAll => CABLES.into_iter().for_each(|cable| self.hosts[at].pull(cable)),
            Fault::DatabaseKilled => {
                users = USERS.to_vec();
                self.database.kill9();
                since = Instant::now();
                self.database.start_again();
            }
            Fault::DatabaseFrozen => {
                users = USERS.to_vec();
                self.database.freeze();
                thread::sleep(plan.database_frozen_for);
                self.database.thaw();
            }
        }
        if !matches!(fault, Fault::Killed | Fault::AllKilled | Fault::DatabaseKilled) {
            since = Instant::now();
        }
        // Those who are on one node talk on with each other there.
        let near = if fault == Fault::CutFromDatabase { &users[..] } else { &[] };
        let talks = known.wait_until_they_talk(&users, near, since);
        known.wait_until_delivered();
        let delivered = since.elapsed();
        self.mend(fault, at, since, plan);
        self.proxy.wait_for_servers(self.nodes.len());
        known.wait_until_delivered();
        (talks, delivered)
    }

    /// Ends a fault of this node.
    fn mend(&mut self, fault: Fault, at: usize, since: Instant, plan: &Plan) {
        match fault {
            Fault::Killed | Fault::AllKilled | Fault::DatabaseKilled | Fault::DatabaseFrozen => return,
            Fault::KilledForLong => return self.nodes[at].start_again(),
            Fault::TwoKilled => return [at, (at + 1) % 3].into_iter().for_each(|at| self.nodes[at].start_again()),
            Fault::Frozen => {
                thread::sleep(plan.frozen_for.saturating_sub(since.elapsed()));
                self.nodes[at].signal("-CONT");
            }
            Fault::CutFromDatabase | Fault::CutFromAll => thread::sleep(plan.cut_for.saturating_sub(since.elapsed())),
        }
        match fault {
            Fault::CutFromDatabase => self.hosts[at].plug(Cable::Database),
            Fault::CutFromAll => CABLES.into_iter().for_each(|cable| self.hosts[at].plug(cable)),
            _ => {}
        }
        self.nodes[at].wait_for("another node has fenced this one");
        self.nodes[at].wait_for("listening on");
    }
}

#[test]
fn nothing_is_lost_whatever_fails() {
    if !nets::is_own("nothing_is_lost_whatever_fails") {
        return;
    }
    let plan = Plan::new();
    let Some(mut cluster) = Cluster::start(plan.lease) else { return };
    let (known, users) = cluster.talk();
    known.wait_until_they_talk(&USERS, &[], Instant::now());
    let mut table: BTreeMap<Fault, Measured> = BTreeMap::new();
    for (round, fault) in plan.faults.iter().enumerate() {
        println!("{round}: {fault:?}");
        let (talks, delivered) = cluster.round(*fault, &plan, &known);
        println!("    they talk after {talks:.1?}, all is delivered after {delivered:.1?}");
        table.entry(*fault).or_default().note(talks, delivered);
    }
    known.end(users);
    cluster.database.wait_for_pushes(0);
    println!("{} messages were promised and delivered", known.promises());
    println!("| fault | rounds | users | p50 | p99 | longest | all delivered, p50 | longest |");
    for (fault, measured) in table {
        println!("| {} {measured}", fault.describe());
    }
}
