//! The bus between the nodes of the simulation: it loses, duplicates, delays and reorders frames,
//! is cut between some nodes, and is away from some nodes for a time.

use super::super::random::Random;
use super::Cluster;
use hongyan::chat::ServerCore;
use hongyan::chat::contract::{BusFrame, BusRecord, CoreInput, NodeIncarnation, NodeMessage};
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Bus {
    /// A generator of its own: so seeds without a bus give the same runs as before.
    random: Random,
    /// Half of the seeds have a bus.
    pub(super) is_there: bool,
    lost: u64,
    twice: u64,
    late: u64,
    cuts: u64,
    away: u64,
    /// In this many steps of a thousand a user talks to a friend.
    pairs: u64,
    cut: BTreeSet<(usize, usize)>,
    /// Nodes that cannot publish, and know it.
    away_from: BTreeSet<usize>,
    /// When the last frame from one node to another arrives.
    last_ms: BTreeMap<(usize, usize), u64>,
    /// The bus stands still until then: frames arrive, in order, when it continues.
    stalled_until_ms: u64,
    /// Nodes whose turn is about to end.
    turns: BTreeSet<(usize, u64)>,
}

impl Bus {
    pub(super) fn new(seed: u64, calm: bool) -> Self {
        let mut random = Random::new(seed ^ 0xB0_5B05);
        let is_there = random.chance(500);
        let mut rate = |often: u64, max: u64| if !calm && random.chance(often) { random.below(max) } else { 0 };
        let (lost, twice, late, cuts, away) =
            (rate(600, 200), rate(500, 100), rate(400, 150), rate(300, 30), rate(200, 20));
        Self {
            random,
            is_there,
            lost,
            twice,
            late,
            cuts,
            away,
            pairs: 500,
            cut: BTreeSet::new(),
            away_from: BTreeSet::new(),
            last_ms: BTreeMap::new(),
            stalled_until_ms: 0,
            turns: BTreeSet::new(),
        }
    }

    pub(super) fn is_harsh(&mut self) {
        let mut rate = |max: u64| if self.random.chance(700) { self.random.below(max) } else { 0 };
        (self.lost, self.twice, self.late, self.cuts, self.away) =
            (rate(300), rate(200), rate(300), rate(50), rate(40));
    }

    pub(super) fn loses(&mut self, rate: u64) {
        self.lost = rate;
    }

    /// No frame between any two of so many nodes arrives, and no node is told.
    pub(super) fn cut_all(&mut self, nodes: usize) {
        self.cut = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))).collect();
    }

    pub(super) fn stalls(&mut self, until_ms: u64) {
        self.stalled_until_ms = until_ms;
    }

    pub(super) fn fails_a_little(&mut self) {
        let mut rate = |max: u64| if self.random.chance(500) { self.random.below(max) } else { 0 };
        (self.lost, self.twice, self.late, self.cuts, self.away) = (rate(60), rate(100), rate(100), rate(20), rate(10));
        self.pairs = 900;
    }

    pub(super) fn ends(&mut self, node: usize) {
        self.turns.retain(|(of, _)| *of != node);
        self.away_from.remove(&node);
    }
}

impl Cluster {
    /// All nodes have a bus, or none.
    pub fn with_bus(mut self, is_there: bool) -> Self {
        self.bus.is_there = is_there;
        for node in 0..self.nodes.len() {
            if let (true, Some(chat)) = (is_there, &mut self.nodes[node].chat) {
                chat.use_bus();
            }
        }
        self
    }

    /// The core has records to publish at the end of its turn.
    pub(super) fn turn_ends(&mut self, node: usize) {
        let entry = &self.nodes[node];
        let life = entry.life;
        if entry.chat.as_ref().is_some_and(ServerCore::publishes) && self.bus.turns.insert((node, life)) {
            let wait_ms = self.bus.random.below(2);
            self.later(wait_ms, move |cluster| {
                cluster.when_running(node, life, move |cluster| {
                    cluster.bus.turns.remove(&(node, life));
                    cluster.feed(node, CoreInput::TurnEnded);
                });
            });
        }
    }

    pub(super) fn publish(&mut self, node: usize, to: NodeIncarnation, frame: BusFrame) {
        let Some(from) = self.nodes[node].me else { return };
        let other = usize::from(to.node.get()) - 1;
        self.oracle.count("frames");
        let records = frame.batch.iter().flat_map(|batch| &batch.records);
        for record in records {
            match record {
                BusRecord::Begin { .. } => self.oracle.count("begins"),
                BusRecord::Push { .. } => self.oracle.count("handed over"),
                BusRecord::Record(NodeMessage::No { .. }) => self.oracle.count("refused"),
                BusRecord::Record(_) => {}
            }
        }
        self.say(|| format!("node {node} publishes for {to:?}: {frame:?}"));
        if self.bus.cut.contains(&(node, other)) || self.bus.away_from.contains(&node) {
            return;
        }
        let copies = 1 + u64::from(self.bus.random.chance(self.bus.twice));
        for _ in 0..copies {
            if self.bus.random.chance(self.bus.lost) {
                continue;
            }
            let is_late = self.bus.random.chance(self.bus.late);
            let wait_ms = if is_late { 1 + self.bus.random.below(600) } else { 1 + self.bus.random.below(3) };
            let mut at_ms = self.now_ms.max(self.bus.stalled_until_ms) + wait_ms;
            if !is_late {
                let last_ms = self.bus.last_ms.entry((node, other)).or_default();
                at_ms = at_ms.max(*last_ms);
                *last_ms = at_ms;
            }
            let frame = Box::new(frame.clone());
            self.later(at_ms - self.now_ms, move |cluster| {
                let life = cluster.nodes[other].life;
                cluster.when_running(other, life, move |cluster| {
                    if cluster.nodes[other].me == Some(to) {
                        cluster.say(|| format!("node {other} gets from {from:?}: {frame:?}"));
                        cluster.feed(other, CoreInput::Bus { from, frame });
                    }
                });
            });
        }
    }

    /// With a bus, users talk to one friend for a while, so that messages are handed over.
    fn talk_in_pairs(&mut self) {
        let count = self.clients.len();
        let client = self.bus.random.below(count as u64) as usize;
        for _ in 0..self.bus.random.below(4) {
            self.say_new(client, (client + 1) % count);
        }
    }

    /// With some probability the bus is cut, mended, away or back.
    pub(super) fn bus_step(&mut self) {
        if !self.bus.is_there {
            return;
        }
        if self.bus.random.chance(self.bus.pairs) {
            self.talk_in_pairs();
        }
        let count = self.nodes.len();
        if self.bus.random.chance(self.bus.cuts) {
            self.bus.cut.clear();
            if self.bus.random.chance(500) {
                let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
                for pair in pairs {
                    if self.bus.random.chance(300) {
                        self.bus.cut.insert(pair);
                    }
                }
            }
            self.oracle.count("cuts");
        }
        if self.bus.random.chance(self.bus.away) {
            let node = self.bus.random.below(count as u64) as usize;
            let works = self.bus.away_from.contains(&node);
            self.set_bus_works(node, works);
        }
    }

    pub(super) fn set_bus_works(&mut self, node: usize, works: bool) {
        let life = self.nodes[node].life;
        if works {
            self.bus.away_from.remove(&node);
        } else if self.nodes[node].is_up() {
            self.oracle.count("bus away");
            self.bus.away_from.insert(node);
        }
        self.later(1, move |cluster| {
            cluster.when_running(node, life, move |cluster| {
                cluster.feed(node, CoreInput::BusWorks(!cluster.bus.away_from.contains(&node)));
            });
        });
    }

    /// The bus has no more faults.
    pub(super) fn mend_bus(&mut self) {
        if !self.bus.is_there {
            return;
        }
        let bus = &mut self.bus;
        (bus.lost, bus.twice, bus.late, bus.cuts, bus.away) = (0, 0, 0, 0, 0);
        bus.cut.clear();
        for node in std::mem::take(&mut bus.away_from) {
            self.set_bus_works(node, true);
        }
    }
}
