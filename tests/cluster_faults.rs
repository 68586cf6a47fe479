//! Three nodes in networks of their own, one MariaDB, and HAProxy with the configuration of
//! docs/cluster.md in front. One fault after another happens while users talk. After each, all
//! promised messages must have been delivered, in order. The table at the end shows how long users
//! waited.
//!
//! `HONGYAN_TEST_CLUSTER_KILLS=200` makes it long, with the default lease: the table in
//! docs/cluster.md comes from such a run. `SEED` draws the order of the faults, `FAULTS` selects
//! some of them. It needs root, because it creates networks.
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
use cluster::recovery::{Measured, Waiting};
use common::{HaProxy, MariaDb, Node, PATIENCE, Redis};
use mysql::prelude::Queryable;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const USERS: [&str; 8] = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal"];
/// Clients who stay, talk now and then, and wait longer for a log-in than any lease lasts.
const STAYING: Habits =
    Habits { log_in: Duration::from_secs(9), stay_ms: (20_000, 60_000), pause: Duration::from_millis(100) };
const NAMES: [&str; 3] = ["a", "b", "c"];
/// The maximum time after a fault until users talk again and everything is delivered, beyond the
/// lease of a node that has to be fenced. The longest of the long runs is about half of it, because
/// the machine may have other work.
const RECOVERY_MAX: Duration = Duration::from_secs(20);
/// The time after which a supervisor starts a server again.
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
    CutFromBus,
    CutFromDatabaseAndBus,
    OneBusKilled,
    BusesKilled,
    OneBusFrozen,
    BusesFrozen,
}

/// The faults of a cluster without a bus come first.
const FAULTS: [Fault; 15] = [
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
];
const WITHOUT_BUS: usize = 9;

impl Fault {
    fn describe(self) -> &'static str {
        match self {
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
        }
    }

    /// The cables that are pulled out of the node.
    fn cables(self) -> &'static [Cable] {
        match self {
            Self::CutFromDatabase => &[Cable::Database],
            Self::CutFromBus => &[Cable::Bus],
            Self::CutFromDatabaseAndBus => &[Cable::Database, Cable::Bus],
            Self::CutFromAll => &CABLES,
            _ => &[],
        }
    }

    /// Does it affect all users?
    fn is_for_all(self) -> bool {
        !matches!(self, Self::Killed | Self::KilledForLong | Self::Frozen) && self.cables().is_empty()
    }

    /// Can users of one node still talk to each other there?
    fn leaves_neighbours(self) -> bool {
        let is_of_bus = matches!(self, Self::OneBusKilled | Self::BusesKilled | Self::OneBusFrozen | Self::BusesFrozen);
        is_of_bus || matches!(self, Self::CutFromDatabase | Self::CutFromBus | Self::CutFromDatabaseAndBus)
    }

    /// Is the node fenced?
    fn fences(self) -> bool {
        matches!(self, Self::Frozen) || self.cables().contains(&Cable::Database)
    }

    /// The maximum time for which users wait.
    fn wait_max(self, lease: Duration) -> Duration {
        let waits_for_lease = self.fences() || matches!(self, Self::KilledForLong | Self::TwoKilled);
        if waits_for_lease { lease + RECOVERY_MAX } else { RECOVERY_MAX }
    }
}

/// The number of rounds, and the duration of the fault.
struct Plan {
    lease: Duration,
    faults: Vec<Fault>,
    frozen_for: Duration,
    cut_for: Duration,
    database_frozen_for: Duration,
}

impl Plan {
    fn new(has_bus: bool) -> Self {
        let kills: Option<usize> = std::env::var("HONGYAN_TEST_CLUSTER_KILLS").ok().map(|text| text.parse().unwrap());
        let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
        let others = kills.map_or(1, |kills| kills.div_ceil(20));
        let count = |fault| match fault {
            Fault::Killed => kills.unwrap_or(2).div_ceil(2),
            Fault::KilledForLong => kills.unwrap_or(2) / 2,
            Fault::Frozen => others.div_ceil(2),
            // The short form with a bus leaves out faults on which a bus has no effect.
            Fault::TwoKilled | Fault::AllKilled | Fault::DatabaseFrozen if has_bus && kills.is_none() => 0,
            _ => others,
        };
        let faults = if has_bus { &FAULTS[..] } else { &FAULTS[..WITHOUT_BUS] };
        let only = std::env::var("FAULTS").ok();
        let is_wanted =
            |fault: &Fault| only.as_ref().is_none_or(|only| only.split(',').any(|name| name == format!("{fault:?}")));
        let faults = faults.iter().copied().filter(is_wanted);
        let faults = faults.flat_map(|fault| std::iter::repeat_n(fault, count(fault))).collect();
        let seconds = Duration::from_secs;
        let mut plan = if kills.is_some() {
            let (frozen_for, cut_for, database_frozen_for) = (seconds(60), seconds(15), seconds(10));
            Self { lease: seconds(5), faults, frozen_for, cut_for, database_frozen_for }
        } else {
            let (frozen_for, cut_for, database_frozen_for) = (seconds(4), seconds(5), seconds(3));
            Self { lease: seconds(2), faults, frozen_for, cut_for, database_frozen_for }
        };
        fastrand::Rng::with_seed(seed).shuffle(&mut plan.faults);
        plan
    }
}

/// All processes and users of a run.
struct Cluster {
    // The order in which they are dropped.
    proxy: HaProxy,
    nodes: Vec<Node>,
    hosts: Vec<Host>,
    database: MariaDb,
    buses: Vec<Redis>,
}

impl Cluster {
    fn start(lease: Duration, has_bus: bool) -> Option<Self> {
        let lease = format!("{}s", lease.as_secs());
        let database = MariaDb::start_for_all_networks()?;
        let redis = || Redis::with(&["--bind", "0.0.0.0", "--protected-mode", "no"]);
        let buses: Vec<Redis> = if has_bus { vec![redis()?, redis()?] } else { vec![] };
        let hosts: Vec<Host> = (1..=3).map(Host::make).collect();
        let begin = |host: &Host, name: &str| {
            let store = database.url_at(host.other_end(Cable::Database));
            let place = |redis: &Redis| format!("redis://{}:{}", host.other_end(Cable::Bus), redis.port);
            let bus = buses.iter().map(place).collect::<Vec<_>>().join(",");
            let before = host.enter();
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let mut args = vec!["--store", &store, "--node-name", name, "--silent-server-max", &lease];
            args.extend(["--trusted-proxies", "10.77.0.0/16"]);
            if has_bus {
                args.extend(["--bus", &bus]);
            }
            Node::begin_at(host.listen(), &before, &args)
        };
        let (last, more) = ("    server b 10.0.0.6:1102\n", "    server c 10.0.0.7:1102\n");
        let page = include_str!("../docs/cluster.md").replace(last, &format!("{last}{more}"));
        let shown = ["10.0.0.5:1102", "10.0.0.6:1102", "10.0.0.7:1102"];
        let addresses: Vec<_> = shown.into_iter().zip(hosts.iter().map(Host::listen)).collect();
        // Before HAProxy, so that its checks do not fail: after two failed checks it closes the
        // connections to a node.
        let mut nodes = vec![begin(&hosts[0], NAMES[0])];
        nodes[0].wait_for("listening on");
        let proxy = HaProxy::start(&page, "### The load balancer", &addresses)?;
        proxy.wait_for_servers(1);
        // All on the first node: friends who are made on another node are known a moment later.
        load::make_friends(proxy.addr, &USERS);
        for (host, name) in hosts.iter().zip(NAMES).skip(1) {
            nodes.push(begin(host, name));
        }
        nodes[1..].iter().for_each(|node| drop(node.wait_for("listening on")));
        proxy.wait_for_servers(3);
        Some(Self { proxy, nodes, hosts, database, buses })
    }

    fn talk(&self) -> (Arc<Known>, Vec<JoinHandle<()>>) {
        let known = Arc::new(Known::default());
        let others = |name: &str| USERS.into_iter().filter(|other| *other != name).collect();
        let start = |name| load::start(name, others(name), vec![self.proxy.addr], STAYING, &known);
        let users = USERS.into_iter().map(start).collect();
        (known, users)
    }

    /// The users of each node.
    fn users(&self) -> [Vec<&'static str>; 3] {
        let sql =
            "SELECT w.user_name, n.name FROM whereabouts w JOIN nodes n ON n.node = w.node AND n.epoch = w.node_epoch";
        let rows: Vec<(String, String)> = self.database.root().query(sql).unwrap();
        NAMES.map(|name| {
            let here = rows.iter().filter(|(_, node)| node == name);
            here.filter_map(|(user, _)| USERS.into_iter().find(|known| known == user)).collect()
        })
    }

    /// The places of everything, for the log of a failed test.
    fn explain(&self) -> String {
        let mut root = self.database.root();
        let pushes: Vec<(String, String, String)> =
            root.query("SELECT sender, receiver, message_id FROM pushes").unwrap();
        let inboxes: Vec<(u16, u64)> = root.query("SELECT node, COUNT(*) FROM mail GROUP BY node").unwrap();
        format!("users {:?}, pushes in the database {pushes:?}, records for each node {inboxes:?}", self.users())
    }

    /// The node with the most users.
    fn fullest(&self) -> usize {
        let until = Instant::now() + PATIENCE;
        loop {
            let users = self.users();
            let (at, users) = users.iter().enumerate().max_by_key(|(_, users)| users.len()).unwrap();
            if !users.is_empty() {
                return at;
            }
            assert!(Instant::now() < until, "nobody is anywhere");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// The users who wait when this fault happens to this node, and the users to whom they can talk
    /// meanwhile.
    fn waiting(&self, fault: Fault, at: usize) -> Vec<Waiting> {
        let mut waiting = Vec::new();
        for (node, users) in self.users().into_iter().enumerate() {
            if node != at && !fault.is_for_all() {
                continue;
            }
            // If all are neighbours, there is no other user.
            let has_others = users.len() < USERS.len();
            let but_to = if fault.leaves_neighbours() && has_others { users.clone() } else { Vec::new() };
            waiting.extend(users.into_iter().map(|user| Waiting { user, but_to: but_to.clone() }));
        }
        waiting
    }

    /// Causes the fault. Gives the moment from which users wait.
    fn fail(&mut self, fault: Fault, at: usize, plan: &Plan) -> Instant {
        let mut since = None;
        match fault {
            Fault::Killed | Fault::AllKilled => {
                let count = if fault == Fault::Killed { 1 } else { 3 };
                (0..count).for_each(|step| self.nodes[(at + step) % 3].kill());
                since = Some(Instant::now());
                thread::sleep(RESTARTS_AFTER);
                (0..count).for_each(|step| self.nodes[(at + step) % 3].start_again());
            }
            Fault::KilledForLong => self.nodes[at].kill(),
            Fault::TwoKilled => [at, (at + 1) % 3].into_iter().for_each(|at| self.nodes[at].kill()),
            Fault::Frozen => self.nodes[at].signal("-STOP"),
            Fault::DatabaseKilled => {
                self.database.kill9();
                since = Some(Instant::now());
                self.database.start_again();
            }
            Fault::DatabaseFrozen => {
                self.database.freeze();
                thread::sleep(plan.database_frozen_for);
                self.database.thaw();
            }
            Fault::OneBusKilled => self.buses[0].kill(),
            Fault::BusesKilled => self.buses.iter_mut().for_each(Redis::kill),
            Fault::OneBusFrozen => self.buses[0].freeze(),
            Fault::BusesFrozen => self.buses.iter().for_each(Redis::freeze),
            Fault::CutFromDatabase | Fault::CutFromBus | Fault::CutFromDatabaseAndBus | Fault::CutFromAll => {
                fault.cables().iter().for_each(|cable| self.hosts[at].pull(*cable));
            }
        }
        since.unwrap_or_else(Instant::now)
    }

    /// Ends what `fail` began.
    fn mend(&mut self, fault: Fault, at: usize, since: Instant, plan: &Plan) {
        match fault {
            Fault::Killed | Fault::AllKilled | Fault::DatabaseKilled | Fault::DatabaseFrozen => {}
            Fault::KilledForLong => self.nodes[at].start_again(),
            Fault::TwoKilled => [at, (at + 1) % 3].into_iter().for_each(|at| self.nodes[at].start_again()),
            Fault::Frozen => {
                thread::sleep(plan.frozen_for.saturating_sub(since.elapsed()));
                self.nodes[at].signal("-CONT");
            }
            Fault::OneBusKilled => self.buses[0].start_again(),
            Fault::BusesKilled => self.buses.iter_mut().for_each(Redis::start_again),
            Fault::OneBusFrozen => self.buses[0].thaw(),
            Fault::BusesFrozen => self.buses.iter().for_each(Redis::thaw),
            Fault::CutFromDatabase | Fault::CutFromBus | Fault::CutFromDatabaseAndBus | Fault::CutFromAll => {
                thread::sleep(plan.cut_for.saturating_sub(since.elapsed()));
                fault.cables().iter().for_each(|cable| self.hosts[at].plug(*cable));
            }
        }
        if fault.fences() {
            self.nodes[at].wait_for("another node has fenced this one");
            self.nodes[at].wait_for("listening on");
        }
        self.proxy.wait_for_servers(self.nodes.len());
    }

    /// One fault. Gives how long users waited, and how long it took until all messages were
    /// delivered.
    fn round(&mut self, fault: Fault, plan: &Plan, known: &Known) -> (Vec<Duration>, Duration) {
        let at = self.fullest();
        let waiting = self.waiting(fault, at);
        let since = self.fail(fault, at, plan);
        let max = fault.wait_max(plan.lease);
        let talks = known.wait_until_they_talk(&waiting, since, max);
        known.wait_until_delivered(max, || self.explain());
        let delivered = since.elapsed();
        self.mend(fault, at, since, plan);
        known.wait_until_delivered(max, || self.explain());
        (talks, delivered)
    }
}

fn run(test: &str, has_bus: bool) {
    if !nets::is_own(test) {
        return;
    }
    let plan = Plan::new(has_bus);
    let Some(mut cluster) = Cluster::start(plan.lease, has_bus) else { return };
    let (known, users) = cluster.talk();
    let all: Vec<Waiting> = USERS.map(|user| Waiting { user, but_to: Vec::new() }).into();
    known.wait_until_they_talk(&all, Instant::now(), RECOVERY_MAX);
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

#[test]
fn nothing_is_lost_whatever_fails() {
    run("nothing_is_lost_whatever_fails", false);
}

#[test]
fn nothing_is_lost_with_a_bus_whatever_fails() {
    run("nothing_is_lost_with_a_bus_whatever_fails", true);
}
