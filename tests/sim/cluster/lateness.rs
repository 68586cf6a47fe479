//! How late log-ins and messages may be after one fault, while nothing else fails. The nodes read
//! the database once a second, or ten times as often; a client whose connection has ended connects
//! again within a second.

use super::super::say::Say;
use super::*;
use hongyan::protocol::request::FriendVerb;

/// A fault, and what must be over when.
#[derive(Clone, Copy, Debug)]
pub enum LateFault {
    /// A node is killed and stays away.
    NodeKilled,
    /// A node stands still for longer than its lease.
    NodePaused,
    /// A node that lives is fenced.
    NodeFenced,
    /// The bus carries nothing, and no node is told.
    BusCut,
    /// The bus carries nothing, and all nodes know.
    BusAway,
    /// All jobs fail for a while, and nothing is read. The bounds count from the end of that.
    StoreFails,
}

/// The bounds of a fault, in ms.
#[derive(Clone, Copy, Debug)]
pub struct LateBounds {
    /// All users are logged in again.
    pub log_in_ms: u64,
    /// All promised messages were delivered and acked.
    pub deliver_ms: u64,
}

const PAUSE_MS: u64 = 20_000;
const AWAY_MS: u64 = 60_000;
const STORE_FAILS_MS: u64 = 20_000;

impl Cluster {
    /// Four users on three nodes who ack at once.
    pub fn of_late_users(seed: u64, has_bus: bool) -> Self {
        let rules = CoreSettings { save_after_ms: 200, ..CoreSettings::default() };
        let mut cluster = Self::of_nodes((seed, Random::new(seed ^ 0x1A7E)), (3, 4), rules, true).with_bus(has_bus);
        cluster.faults = Faults::default();
        cluster.acks_at_once = true;
        cluster.are_all_friends = true;
        cluster.oracle.tolerates_second_deliveries();
        cluster
    }

    fn all_say(&mut self) {
        for client in 0..self.clients.len() {
            for other in (0..self.clients.len()).filter(|other| *other != client) {
                self.say_new(client, other);
            }
        }
    }

    /// Gives the longest times until all were logged in, and until everything was delivered.
    pub fn run_late(&mut self, fault: LateFault, bounds: LateBounds) -> (u64, u64) {
        let (mut logged_in_ms, mut delivered_ms) = (0, 0);
        self.pass(3_000);
        for round in 0..6 {
            self.all_say();
            let some_ms = self.random.below(300);
            self.pass(some_ms);
            self.all_say();
            self.hit(fault, round % self.nodes.len());
            self.all_say();
            let began_ms = self.now_ms;
            while !self.is_quiet() {
                self.pass(10);
                let ms = self.now_ms - began_ms;
                if self.clients.iter().any(|client| !client.on) {
                    logged_in_ms = logged_in_ms.max(ms);
                    assert!(ms < bounds.log_in_ms, "{fault:?}: somebody is not logged in after {ms} ms");
                }
                assert!(ms < bounds.deliver_ms, "{fault:?}: something is not delivered after {ms} ms");
            }
            delivered_ms = delivered_ms.max(self.now_ms - began_ms);
            self.mend_bus();
            self.pass(AWAY_MS + 5_000);
        }
        self.recover();
        (logged_in_ms, delivered_ms)
    }

    fn hit(&mut self, fault: LateFault, node: usize) {
        match fault {
            LateFault::NodeKilled => self.kill_for(node, AWAY_MS),
            LateFault::NodePaused => self.pause(node, PAUSE_MS),
            LateFault::NodeFenced => self.fence_wrongly(node),
            LateFault::BusCut => self.bus.cut_all(self.nodes.len()),
            LateFault::BusAway => (0..self.nodes.len()).for_each(|node| self.set_bus_works(node, false)),
            LateFault::StoreFails => self.fail_store(),
        }
    }

    /// Users talk on while it fails.
    fn fail_store(&mut self) {
        self.faults.jobs = 1_000;
        for _ in 0..4 {
            self.pass(STORE_FAILS_MS / 4);
            self.all_say();
        }
        self.faults.jobs = 0;
    }

    /// A user ends a friendship, and the node is killed when that is committed: it cannot tell the
    /// node of the former friend. Gives how long that node takes messages to the user who ended it.
    /// `None`: they are on one node.
    pub fn run_end_of_friendship(&mut self) -> Option<u64> {
        self.are_all_friends = false;
        self.pass(3_000);
        let (who, friend) = (0, 1);
        let node = self.clients[who].at.map(|(node, _)| node)?;
        if self.clients[friend].at.is_none_or(|(at, _)| at == node) {
            return None;
        }
        let [sender, receiver] = [who, friend].map(|client| self.clients[client].user.to_owned());
        let (id, verb, content) = ("end".to_owned(), FriendVerb::Delete, String::new());
        let names = (sender.clone(), receiver.clone());
        self.client_says(who, Say::Friend { id, sender, receiver, verb, content });
        while self.store.model.are_friends(&names.0, &names.1) {
            self.pass(1);
        }
        self.kill_for(node, AWAY_MS);
        let began_ms = self.now_ms;
        let mut asked = Vec::new();
        for _ in 0..AWAY_MS / 100 {
            self.say_new(friend, who);
            let id = self.clients[friend].unanswered.last().map(|(_, id)| id.clone())?;
            asked.push((self.now_ms - began_ms, (names.1.clone(), names.0.clone(), id)));
            self.pass(100);
        }
        self.recover();
        let taken = asked.iter().filter(|(_, key)| self.oracle.is_promised(key));
        Some(taken.map(|(ms, _)| *ms).max().unwrap_or(0))
    }
}
