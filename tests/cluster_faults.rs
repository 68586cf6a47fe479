//! Three nodes in networks of their own, and HAProxy with the configuration of docs/cluster.md in
//! front. Their database is one MariaDB, a Galera pair, or a primary with a semi-synchronous
//! replica. One fault after another happens while users talk. After each, all promised messages
//! must have been delivered, in order. The table at the end shows how long users waited.
//!
//! `HONGYAN_TEST_CLUSTER_KILLS=200` makes it long, with the default lease: the table in
//! docs/cluster.md comes from such a run. `SEED` draws the order of the faults, `FAULTS` selects
//! some of them. `HONGYAN_TEST_GALERA_FAULTS=1` runs the test on a pair, too, which is long, and
//! `HONGYAN_TEST_REPLICA_FAULTS=1` on a primary with a replica. It needs root, because it creates
//! networks.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/cluster/`.
mod cluster {
    pub(crate) mod databases;
    pub(crate) mod fault;
    pub(crate) mod load;
    pub(crate) mod nets;
    pub(crate) mod recovery;
}

use cluster::databases::Databases;
use cluster::fault::{Fault, Plan, RECOVERY_MAX, Setup};
use cluster::load::{self, Habits, Known};
use cluster::nets::{self, Cable, Host};
use cluster::recovery::{Measured, Waiting};
use common::{HaProxy, Node, PATIENCE, Redis};
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
/// The time after which a supervisor starts a server again.
const RESTARTS_AFTER: Duration = Duration::from_millis(500);

/// The time after which an operator, or a program for this, notices that the primary is gone.
const PROMOTED_AFTER: Duration = Duration::from_millis(500);

/// All processes and users of a run.
struct Cluster {
    // The order in which they are dropped.
    proxy: HaProxy,
    nodes: Vec<Node>,
    hosts: Vec<Host>,
    databases: Databases,
    buses: Vec<Redis>,
    setup: Setup,
}

impl Cluster {
    fn start(lease: Duration, setup: Setup) -> Option<Self> {
        let lease = format!("{}s", lease.as_secs());
        let databases = Databases::start(setup)?;
        let redis = || Redis::with(&["--bind", "0.0.0.0", "--protected-mode", "no"]);
        let buses: Vec<Redis> = if setup.has_bus() { vec![redis()?, redis()?] } else { vec![] };
        let hosts: Vec<Host> = (1..=3).map(Host::make).collect();
        let begin = |at: usize| {
            let (host, name) = (&hosts[at], NAMES[at]);
            let store = databases.url_for(at, host.other_end(Cable::Database));
            let place = |redis: &Redis| format!("redis://{}:{}", host.other_end(Cable::Bus), redis.port);
            let bus = buses.iter().map(place).collect::<Vec<_>>().join(",");
            let before = host.enter();
            let before: Vec<&str> = before.iter().map(String::as_str).collect();
            let mut args = vec!["--store", &store, "--node-name", name, "--silent-server-max", &lease];
            args.extend(["--trusted-proxies", "10.77.0.0/16"]);
            if setup.has_bus() {
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
        let mut nodes = vec![begin(0)];
        nodes[0].wait_for("listening on");
        let proxy = HaProxy::start(&page, "### The load balancer", &addresses)?;
        proxy.wait_for_servers(1);
        // All on the first node: friends who are made on another node are known a moment later.
        load::make_friends(proxy.addr, &USERS);
        nodes.extend((1..hosts.len()).map(begin));
        nodes[1..].iter().for_each(|node| drop(node.wait_for("listening on")));
        proxy.wait_for_servers(3);
        Some(Self { proxy, nodes, hosts, databases, buses, setup })
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
        let rows: Vec<(String, String)> = self.databases.root().query(sql).unwrap();
        NAMES.map(|name| {
            let here = rows.iter().filter(|(_, node)| node == name);
            here.filter_map(|(user, _)| USERS.into_iter().find(|known| known == user)).collect()
        })
    }

    /// The places of everything, for the log of a failed test.
    fn explain(&self) -> String {
        let mut root = self.databases.root();
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
                self.databases.kill9();
                since = Some(Instant::now());
                self.databases.start_again();
            }
            Fault::DatabaseFrozen => {
                self.databases.freeze();
                thread::sleep(plan.database_frozen_for);
                since = Some(Instant::now());
                self.databases.thaw();
            }
            Fault::ServerKilled | Fault::ServerKilledForLong | Fault::ServerFrozen => {
                since = Some(self.fail_server(fault, at));
            }
            Fault::PrimaryKilled | Fault::PrimarySwitched | Fault::PrimaryFrozen => {
                since = Some(self.change_primary(fault));
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

    /// The replica becomes the primary.
    fn change_primary(&mut self, fault: Fault) -> Instant {
        let pair = self.databases.replicated();
        let since = Instant::now();
        match fault {
            Fault::PrimaryKilled => pair.kill_primary(),
            Fault::PrimaryFrozen => pair.freeze_primary(),
            _ => pair.close_primary(),
        }
        if fault != Fault::PrimarySwitched {
            thread::sleep(PROMOTED_AFTER);
        }
        pair.promote();
        pair.move_address();
        if fault != Fault::PrimarySwitched {
            pair.cut_connections();
        }
        println!("    the replica is the primary after {:.1?}", since.elapsed());
        since
    }

    /// The former primary becomes the replica of the new one.
    fn mend_primary(&mut self, fault: Fault, since: Instant, plan: &Plan) {
        let pair = self.databases.replicated();
        if fault == Fault::PrimarySwitched {
            pair.demote();
            return;
        }
        if fault == Fault::PrimaryFrozen {
            thread::sleep(plan.database_frozen_for.saturating_sub(since.elapsed()));
            pair.thaw_former_primary();
            pair.kill_former_primary();
        }
        pair.follow_after_kill();
    }

    /// The server of the pair that this node uses fails.
    fn fail_server(&mut self, fault: Fault, at: usize) -> Instant {
        let (pair, server) = (self.databases.pair(), Databases::server_of(at));
        pair.prepare_failure_of(server);
        if fault == Fault::ServerFrozen {
            pair.freeze(&[server]);
            return Instant::now();
        }
        pair.kill9(&[server]);
        let since = Instant::now();
        if fault == Fault::ServerKilled {
            thread::sleep(RESTARTS_AFTER);
            pair.begin_again(&[server]);
        }
        since
    }

    /// Waits until the fault of a server has had its effects, and all users talk again. Gives how
    /// long each of them has waited: over the bus some talk on at first.
    fn sit_out(&mut self, fault: Fault, plan: &Plan, known: &Known, of: (&[Waiting], Instant)) -> Vec<Duration> {
        let (waiting, since) = of;
        if fault == Fault::ServerKilled {
            self.databases.pair().wait_until_whole();
            println!("    the pair is whole after {:.1?}", since.elapsed());
        } else {
            thread::sleep(plan.server_away_for.saturating_sub(since.elapsed()));
        }
        known.wait_until_they_talk(waiting, Instant::now(), fault.wait_max(plan.lease));
        known.longest_silences(waiting, since)
    }

    /// Ends what `fail_server` began.
    fn mend_server(&mut self, fault: Fault, at: usize) {
        let (pair, server, since) = (self.databases.pair(), Databases::server_of(at), Instant::now());
        if fault == Fault::ServerFrozen {
            pair.thaw(&[server]);
        } else {
            pair.begin_again(&[server]);
        }
        pair.wait_until_whole();
        println!("    the pair is whole {:.1?} after the return of its server", since.elapsed());
    }

    /// Waits until each node lives, whether it was fenced or not, and serves.
    fn wait_until_nodes_are_back(&self) {
        self.databases.wait_until_all_nodes_live(self.nodes.len());
        for node in &self.nodes {
            let news = node.news();
            let fenced = news.iter().rposition(|line| line.contains("another node has fenced this one"));
            println!("    {}: {}", node.addr, if fenced.is_some() { "was fenced" } else { "was not fenced" });
            if fenced.is_some_and(|at| !news[at..].iter().any(|line| line.contains("listening on"))) {
                node.wait_for("listening on");
            }
        }
    }

    /// Ends what `fail` began.
    fn mend(&mut self, fault: Fault, at: usize, since: Instant, plan: &Plan) {
        match fault {
            Fault::Killed | Fault::AllKilled | Fault::DatabaseKilled | Fault::DatabaseFrozen | Fault::ServerKilled => {}
            Fault::ServerKilledForLong | Fault::ServerFrozen => self.mend_server(fault, at),
            Fault::PrimaryKilled | Fault::PrimarySwitched | Fault::PrimaryFrozen => {
                self.mend_primary(fault, since, plan);
            }
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
        if fault.may_fence(self.setup) {
            self.wait_until_nodes_are_back();
        }
        self.proxy.wait_for_servers(self.nodes.len());
    }

    /// One fault. Gives how long users waited, and how long it took until all messages were
    /// delivered, if this can be measured.
    fn round(&mut self, fault: Fault, plan: &Plan, known: &Known) -> (Vec<Duration>, Option<Duration>) {
        let at = self.fullest();
        let waiting = self.waiting(fault, at);
        let since = self.fail(fault, at, plan);
        let max = fault.wait_max(plan.lease);
        let talks = if fault.is_of_server() {
            self.sit_out(fault, plan, known, (&waiting, since))
        } else if fault.is_of_primary() {
            known.wait_until_they_talk(&waiting, Instant::now(), max);
            known.longest_silences(&waiting, since)
        } else {
            known.wait_until_they_talk(&waiting, since, max)
        };
        known.wait_until_delivered(max, || self.explain());
        let delivered = (!fault.is_of_server()).then(|| since.elapsed());
        self.mend(fault, at, since, plan);
        known.wait_until_delivered(max, || self.explain());
        (talks, delivered)
    }
}

fn run(test: &str, setup: Setup) {
    if !nets::is_own(test) {
        return;
    }
    let plan = Plan::new(setup);
    let Some(mut cluster) = Cluster::start(plan.lease, setup) else { return };
    let (known, users) = cluster.talk();
    let all: Vec<Waiting> = USERS.map(|user| Waiting { user, but_to: Vec::new() }).into();
    known.wait_until_they_talk(&all, Instant::now(), RECOVERY_MAX);
    let mut table: BTreeMap<Fault, Measured> = BTreeMap::new();
    for (round, fault) in plan.faults.iter().enumerate() {
        println!("{round}: {fault:?}");
        let (talks, delivered) = cluster.round(*fault, &plan, &known);
        println!("    they talk after {talks:.1?}");
        if let Some(delivered) = delivered {
            println!("    all is delivered after {delivered:.1?}");
        }
        table.entry(*fault).or_default().note(talks, delivered);
    }
    known.end(users);
    cluster.databases.server().wait_for_pushes(0);
    if setup.has_replica() {
        cluster.nodes.clear();
        cluster.databases.replicated().check_copy();
    }
    println!("{} messages were promised and delivered", known.promises());
    println!("| fault | rounds | users | p50 | p99 | longest | all delivered, p50 | longest |");
    for (fault, measured) in table {
        println!("| {} {measured}", fault.describe(setup));
    }
}

#[test]
fn nothing_is_lost_whatever_fails() {
    run("nothing_is_lost_whatever_fails", Setup::OneDatabase);
}

#[test]
fn nothing_is_lost_with_a_bus_whatever_fails() {
    run("nothing_is_lost_with_a_bus_whatever_fails", Setup::OneDatabaseAndBus);
}

#[test]
fn nothing_is_lost_on_a_galera_pair_whatever_fails() {
    if std::env::var_os("HONGYAN_TEST_GALERA_FAULTS").is_none() {
        eprintln!("HONGYAN_TEST_GALERA_FAULTS is not set: the faults are not tested on Galera here");
        return;
    }
    run("nothing_is_lost_on_a_galera_pair_whatever_fails", Setup::PairAndBus);
}

fn run_with_replica(test: &str, setup: Setup) {
    if std::env::var_os("HONGYAN_TEST_REPLICA_FAULTS").is_none() {
        eprintln!("HONGYAN_TEST_REPLICA_FAULTS is not set: the faults are not tested on a primary with a replica here");
        return;
    }
    run(test, setup);
}

#[test]
fn nothing_is_lost_on_a_primary_with_a_replica_whatever_fails() {
    run_with_replica("nothing_is_lost_on_a_primary_with_a_replica_whatever_fails", Setup::Replica);
}

#[test]
fn nothing_is_lost_on_a_primary_with_a_replica_and_a_bus_whatever_fails() {
    run_with_replica("nothing_is_lost_on_a_primary_with_a_replica_and_a_bus_whatever_fails", Setup::ReplicaAndBus);
}
