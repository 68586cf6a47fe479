//! Several nodes over one store: a world that kills, pauses and fences nodes, and an oracle that
//! knows their common promises.
//!
//! Of the rules of the ordinary simulation (`tests/sim/oracle.rs`), these hold for several nodes
//! together, and are checked here:
//!
//! - No promised message is lost, and all arrive in the end: checked after each step, for messages
//!   that any node took.
//! - `MS` only for what is committed or acked.
//! - The first sendings of each pair of users are in order, whichever nodes took and sent them.
//! - Each user has at most one live connection on nodes that are not fenced.
//! - Each message is answered once on each connection, and in time by a node that runs.
//! - No `MF` between friends without an error after it, while no friendship changes. Afterwards
//!   friends receive each other's messages, and no other users do.
//! - Duplicates are delivered once while nothing fails: an acked message never arrives again. After
//!   a fault it may, since the dedup window of a killed node is lost.
//! - The friends in memory are those in the store: checked at the end, on the nodes of both.
//! - Watchers are shown whether friends are online: checked at the end, for friends on any node;
//!   after some have gone; and after they are back.
//! - A node changes no rows, and leaves no record for another node, after it was fenced.
//! - A finished ban leaves no session on nodes that are not fenced.
//!
//! The other rules are not checked here. Idle closes, resends, paused input, throttles, tries,
//! tokens and the push hook belong to one node: the ordinary simulation has them. Blocks, profiles,
//! passwords and deletions are jobs in the store, like the end of a friendship, which is the only
//! one of them here. Tests over processes (`tests/cluster.rs`) cover the effect of such a job on
//! the memory of other nodes. Each node counts quotas in the store, and may know a mailbox 5 s
//! late: the model store knows at once, and would find no fault.
//!
//! Jobs of a node take their time in lanes, each in its order; a read after a commit happens at
//! another moment than the commit. A killed or paused node leaves jobs that may still be done.
//! Records between nodes go through the store: they are late, some arrive twice, and some are lost,
//! so that only a `RecordsMissed` is left. Clocks are wrong by seconds. Half of the seeds have a
//! bus as well.

mod bus;
mod clients;
pub mod lateness;
mod nodes;
mod operator;
mod oracle;
mod shared;
pub mod store;
mod watchers;

use super::random::Random;
use super::rules;
use clients::Client;
use hongyan::chat::contract::CoreSettings;
use nodes::Node;
use oracle::Oracle;
use std::collections::BTreeMap;
use store::Shared;

const USERS: [&str; 6] = ["ann", "bob", "carol", "dave", "eve", "fay"];

type Later = Box<dyn FnOnce(&mut Cluster)>;

/// The frequency of faults, per thousand steps.
#[derive(Debug, Default)]
struct Faults {
    /// Answers of the store are lost.
    jobs: u64,
    /// A record arrives twice.
    twice: u64,
    /// A record is lost.
    lost: u64,
    kills: u64,
    pauses: u64,
    fences: u64,
    /// A record is seconds late.
    late: u64,
    /// Not a fault: clients begin or end a friendship.
    friends: u64,
    /// Clients leave, and come back on any node.
    leaves: u64,
    /// Not a fault either: an operator gives an order.
    operator: u64,
}

pub struct Cluster {
    random: Random,
    pub now_ms: u64,
    agenda: BTreeMap<(u64, u64), Later>,
    serial: u64,
    rules: CoreSettings,
    pub store: Shared,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    operator: operator::Operator,
    /// The number of clients per thousand that watch which friends are online.
    watchers: u64,
    faults: Faults,
    /// Friendships do not change: all users are friends.
    are_all_friends: bool,
    pub oracle: Oracle,
    poll_every_ms: u64,
    bus: bus::Bus,
    /// Of clients.
    acks_at_once: bool,
    tell: bool,
}

impl Cluster {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, false)
    }

    /// Nothing fails; users come and go.
    pub fn calm(seed: u64) -> Self {
        Self::with(seed, true)
    }

    /// Much fails, in the store and between the nodes, and users stay only briefly on a node.
    pub fn harsh(seed: u64) -> Self {
        let mut cluster = Self::with(seed, true);
        cluster.oracle.tolerates_second_deliveries();
        let random = &mut cluster.random;
        let mut rate = |max: u64| if random.chance(700) { random.below(max) } else { 0 };
        cluster.faults = Faults {
            jobs: rate(350),
            twice: rate(500),
            lost: rate(400),
            late: rate(500),
            kills: rate(10),
            pauses: rate(10),
            fences: rate(10),
            leaves: 100 + rate(400),
            friends: cluster.faults.friends,
            operator: cluster.faults.operator,
        };
        cluster.bus.is_harsh();
        cluster
    }

    /// Few users on few nodes with a bus that fails; they talk much and move often. Most messages
    /// are handed over, and many of them meet a fault.
    pub fn of_moving_pairs(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x3A_1125);
        let save_after_ms = [5, 50, 200][random.below(3) as usize];
        let list_max = [2, 6, 1_024][random.below(3) as usize];
        let rules = CoreSettings { save_after_ms, list_max, page_max: 4, ..CoreSettings::default() };
        let size = (2 + random.below(2) as usize, 3);
        let mut cluster = Self::of_nodes((seed, random), size, rules, true).with_bus(true);
        cluster.oracle.tolerates_second_deliveries();
        let random = &mut cluster.random;
        let mut rate = |max: u64| if random.chance(500) { random.below(max) } else { 0 };
        cluster.faults = Faults {
            jobs: rate(60),
            kills: rate(12),
            pauses: rate(10),
            fences: rate(12),
            leaves: 20 + rate(100),
            late: rate(100),
            friends: 0,
            ..Faults::default()
        };
        cluster.are_all_friends = true;
        cluster.bus.fails_a_little();
        cluster
    }

    /// Two nodes with a bus; nothing fails, no user leaves, and clients ack at once.
    pub fn of_pairs(seed: u64) -> Self {
        let mut cluster =
            Self::of_two(seed, CoreSettings { save_after_ms: 200, ..CoreSettings::default() }).with_bus(true);
        cluster.faults = Faults::default();
        cluster.acks_at_once = true;
        cluster
    }

    /// The same with a bus that loses frames, and no other fault: each message is late by the time
    /// in which a node notices the loss, and by a few jobs, but not by a poll.
    pub fn run_losing_pairs(&mut self) {
        const LATE_MS: u64 = 900;
        self.pass(3_000);
        self.bus.loses(30);
        for _ in 0..60 {
            for client in 0..self.clients.len() {
                self.say_new(client, (client + 1) % self.clients.len());
            }
            let end_ms = self.now_ms + LATE_MS;
            while !self.is_quiet() {
                self.pass(10);
                assert!(self.now_ms < end_ms, "a message is late by {LATE_MS} ms");
            }
        }
        self.recover();
    }

    /// The same with a bus that stands still now and then, for longer than a `Look` takes through
    /// the database, and no other fault: messages that are read from the store meanwhile, and
    /// acked, do not arrive again with a late frame.
    pub fn run_pairs_with_a_stalling_bus(&mut self) {
        self.pass(3_000);
        for _ in 0..3 {
            for turn in 0..20 {
                if turn == 10 {
                    self.bus.stalls(self.now_ms + 2_500);
                }
                for client in 0..self.clients.len() {
                    self.say_new(client, (client + 1) % self.clients.len());
                }
                self.pass(50);
            }
            self.pass(4_000);
        }
        self.recover();
    }

    /// The same with a store whose answers are lost for a moment: a lost answer does not delay
    /// later messages.
    pub fn run_pairs_with_lost_answers(&mut self) {
        const LATE_MS: u64 = 6_000;
        self.oracle.tolerates_second_deliveries();
        self.pass(3_000);
        for round in 0..20 {
            let count = self.clients.len();
            self.leave(round % count);
            self.pass(30);
            self.faults.jobs = 200;
            for _ in 0..4 {
                for client in 0..count {
                    self.say_new(client, (client + 1) % count);
                }
                self.pass(3);
            }
            self.pass(20);
            self.faults.jobs = 0;
            let end_ms = self.now_ms + LATE_MS;
            while !self.is_quiet() {
                self.pass(50);
                assert!(self.now_ms < end_ms, "a message is late by {LATE_MS} ms");
            }
        }
        self.recover();
    }

    /// Friends on two nodes talk to each other: after a moment no row is written any more, and the
    /// store is not read.
    pub fn run_pairs(&mut self) {
        self.pass(3_000);
        for round in 0..60 {
            if round == 20 {
                self.oracle.jobs.clear();
            }
            for client in 0..self.clients.len() {
                for other in 0..self.clients.len() {
                    if client != other {
                        self.say_new(client, other);
                    }
                }
                self.pass(self.now_ms % 7);
            }
            self.pass(40);
            let are_answered = self.clients.iter().all(|client| client.unanswered.is_empty());
            assert!(round < 20 || (are_answered && self.oracle.is_quiet()), "not within 40 ms");
        }
        let jobs = &self.oracle.jobs;
        assert!(jobs.is_empty(), "{jobs:?}");
        self.recover();
    }

    fn with(seed: u64, calm: bool) -> Self {
        let mut random = Random::new(seed ^ 0xC1_0573);
        let count = 2 + random.below(3) as usize;
        let users = 3 + random.below(4) as usize;
        let rules = rules::of(&mut random);
        Self::of_nodes((seed, random), (count, users), rules, calm)
    }

    fn of_two(seed: u64, rules: CoreSettings) -> Self {
        Self::of_nodes((seed, Random::new(seed ^ 0xC1_0573)), (2, 4), rules, true)
    }

    fn of_nodes(
        (seed, mut random): (u64, Random),
        (count, users): (usize, usize),
        mut rules: CoreSettings,
        calm: bool,
    ) -> Self {
        // A node that is not called for long sends again to users who ack late.
        rules.jobs_max = if random.chance(100) { 20 + random.below(20) as usize } else { 65_536 };
        let mut rate = |often: u64, max: u64| if !calm && random.chance(often) { random.below(max) } else { 0 };
        let faults = Faults {
            jobs: rate(600, 60),
            twice: rate(500, 200),
            lost: rate(400, 100),
            kills: rate(600, 20),
            pauses: rate(600, 20),
            fences: rate(400, 10),
            late: 0,
            friends: 0,
            leaves: 100,
            operator: 0,
        };
        let friends = if random.chance(500) { random.below(100) } else { 0 };
        let operator = if random.chance(300) { random.below(60) } else { 0 };
        let faults = Faults { friends, operator, ..faults };
        let mut store = Shared::new(count);
        for (place, user) in USERS[..users].iter().enumerate() {
            store.model.add_account(user, user);
            for other in &USERS[..place] {
                store.model.befriend(user, other);
            }
        }
        store.model.cache_passwords = random.chance(500);
        let poll_every_ms = if random.chance(500) { 100 } else { 1_000 };
        let bus = bus::Bus::new(seed, calm);
        let checks_acked = calm && rules.dedup_messages_max >= 1_024;
        let checks_acked_ms = checks_acked.then_some(if bus.is_there { 1_000 } else { 0 });
        let mut cluster = Self {
            random,
            now_ms: 1_000,
            agenda: BTreeMap::new(),
            serial: 0,
            rules,
            store,
            nodes: Vec::new(),
            clients: Vec::new(),
            are_all_friends: faults.friends == 0,
            operator: operator::Operator::default(),
            watchers: 0,
            faults,
            oracle: Oracle::new(checks_acked_ms),
            poll_every_ms,
            bus,
            acks_at_once: false,
            tell: std::env::var_os("TELL").is_some(),
        };
        cluster.watchers = if cluster.random.chance(500) { 700 } else { 0 };
        for node in 0..count {
            let skew_ms = cluster.random.below(4_000) as i64 - 2_000;
            cluster.nodes.push(Node::new(skew_ms));
            cluster.start(node);
        }
        for user in &USERS[..users] {
            cluster.add_client(user);
        }
        cluster
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.tell {
            println!("{} {}", self.now_ms, what());
        }
    }

    fn later(&mut self, wait_ms: u64, what: impl FnOnce(&mut Self) + 'static) {
        self.serial += 1;
        self.agenda.insert((self.now_ms + wait_ms, self.serial), Box::new(what));
    }

    fn run_until(&mut self, until_ms: u64) {
        loop {
            let next = self.agenda.first_key_value().map(|(&(at_ms, _), _)| at_ms);
            let deadline = self.next_deadline();
            match (next, deadline) {
                (Some(at_ms), _) if at_ms <= until_ms && deadline.is_none_or(|(tick_ms, _)| at_ms <= tick_ms) => {
                    self.now_ms = self.now_ms.max(at_ms);
                    if let Some((_, what)) = self.agenda.pop_first() {
                        what(self);
                    }
                }
                (_, Some((at_ms, node))) if at_ms <= until_ms => {
                    self.now_ms = self.now_ms.max(at_ms);
                    self.tick(node);
                }
                _ => break,
            }
        }
        self.now_ms = until_ms;
    }

    fn pass(&mut self, wait_ms: u64) {
        self.run_until(self.now_ms + wait_ms);
        self.oracle.check(&self.store);
        self.check_answers();
    }

    pub fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step();
            let wait_ms = [0, 1, 5, 20, 100, 400][self.random.below(6) as usize];
            self.pass(wait_ms);
        }
        self.recover();
    }

    fn step(&mut self) {
        self.bus_step();
        let node = self.random.below(self.nodes.len() as u64) as usize;
        let client = self.random.below(self.clients.len() as u64) as usize;
        if self.random.chance(self.faults.kills) {
            self.kill(node);
        } else if self.random.chance(self.faults.pauses) {
            let pause_ms = [300, 1_500, 5_000, 20_000][self.random.below(4) as usize];
            self.pause(node, pause_ms);
        } else if self.random.chance(self.faults.fences) {
            self.fence_wrongly(node);
        } else if self.random.chance(self.faults.friends) {
            self.befriend(client);
        } else if self.random.chance(self.faults.operator) {
            self.ask_as_operator(node, client);
        } else if self.random.chance(self.faults.leaves) {
            self.leave(client);
        } else if self.random.chance(800) {
            self.talk(client);
        }
    }

    /// No more faults: all promised messages arrive.
    fn recover(&mut self) {
        self.faults = Faults::default();
        self.mend_bus();
        for node in 0..self.nodes.len() {
            self.resume_now(node);
        }
        // The orders to the operator are done by then, or were lost.
        self.pass(30_000);
        self.unban_all();
        self.pass_until_quiet();
        // The `Look`s that a dead node did not send are made up for by the sweep in the background.
        self.pass(40_000);
        self.pass_until_quiet();
        self.probe_friends();
        self.pass_until_quiet();
        self.check_presence();
        self.oracle.check_end(&self.store);
        self.check_all_answered();
        for client in &self.clients {
            assert!(client.unanswered.is_empty(), "{} was never answered: {:?}", client.user, client.unanswered);
        }
        assert_eq!(self.store.model.pushes().count(), 0, "{:?}", self.store.model.pushes().collect::<Vec<_>>());
    }

    fn pass_until_quiet(&mut self) {
        for _ in 0..200 {
            self.pass(1_000);
            if self.is_quiet() {
                break;
            }
        }
    }

    fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| client.on && client.unanswered.is_empty())
            && self.store.model.pushes().count() == 0
            && self.oracle.is_quiet()
    }
}
