//! An operator, who orders any node to end the connections of users on all nodes.

use super::Cluster;
use super::nodes::Peer;
use hongyan::chat::contract::{AdminAnswerFromCore, AdminRequestToCore, AdminStoreJob, AdminTicket, CoreInput, Job};
use hongyan::protocol::field::UserName;
use std::collections::BTreeMap;

/// An order to one incarnation of a node.
#[derive(Debug)]
pub(super) struct Asked {
    node: usize,
    life: u64,
    user: &'static str,
    request: AdminRequestToCore,
    /// The user's client when the order was given, and its connection.
    had: Option<Peer>,
}

#[derive(Debug, Default)]
pub(super) struct Operator {
    last: u64,
    asked: BTreeMap<u64, Asked>,
}

fn name(user: &str) -> UserName {
    UserName::new(user).unwrap()
}

impl Cluster {
    /// Gives an order about a user about whom no other order is in progress.
    pub(super) fn ask_as_operator(&mut self, node: usize, client: usize) {
        let user = self.clients[client].user;
        let lives = |asked: &Asked| self.nodes[asked.node].life == asked.life;
        if !self.nodes[node].is_up() || self.operator.asked.values().any(|asked| asked.user == user && lives(asked)) {
            return;
        }
        let request = match self.random.below(4) {
            0 => AdminRequestToCore::Disconnect { name: name(user) },
            1 => AdminRequestToCore::Ban { name: name(user) },
            2 => AdminRequestToCore::Notice { to: Some(name(user)), text: "honk".into() },
            _ => AdminRequestToCore::Unban { name: name(user) },
        };
        self.operator.last += 1;
        let ticket = self.operator.last;
        let life = self.nodes[node].life;
        let had = self.session_of(user);
        self.say(|| format!("the operator asks {node} for {request:?}"));
        self.operator.asked.insert(ticket, Asked { node, life, user, request: request.clone(), had });
        self.oracle.count("requests of the operator");
        self.when_running(node, life, move |cluster| {
            cluster.feed(node, CoreInput::Admin { ticket: AdminTicket(ticket), request });
        });
    }

    pub(super) fn operator_is_told(&mut self, AdminTicket(ticket): AdminTicket, answer: &AdminAnswerFromCore) {
        let Some(Asked { user, request, had, .. }) = self.operator.asked.remove(&ticket) else {
            panic!("{answer:?} to nobody");
        };
        self.say(|| format!("the operator is told {answer:?} for {request:?}"));
        match (&request, answer) {
            (AdminRequestToCore::Ban { .. }, AdminAnswerFromCore::Done) if self.store.model.is_banned(user) => {
                self.oracle.count("bans");
                assert!(self.session_of(user).is_none(), "{user} is banned, and connected");
            }
            (AdminRequestToCore::Disconnect { .. }, AdminAnswerFromCore::Done) => {
                self.oracle.count("disconnections");
            }
            (AdminRequestToCore::Disconnect { .. }, AdminAnswerFromCore::NotOnline) => {
                let has = self.session_of(user);
                let is_same = had.zip(has).is_some_and(|(had, has)| had.serial == has.serial);
                assert!(!is_same, "{user} was connected all the time");
            }
            (_, AdminAnswerFromCore::Unconfirmed { .. }) => self.oracle.count("endings not confirmed"),
            (AdminRequestToCore::Notice { .. }, AdminAnswerFromCore::Noticed { .. }) => self.oracle.count("notices"),
            (_, AdminAnswerFromCore::Done | AdminAnswerFromCore::Failed) => {}
            other => panic!("{other:?}"),
        }
    }

    /// The session of a user on a node that is not fenced.
    fn session_of(&self, user: &str) -> Option<Peer> {
        let current = self.nodes.iter().filter(|node| node.me.is_some_and(|me| self.store.is_current(me)));
        current.flat_map(|node| node.conns.values()).find_map(|conn| conn.peer_of(user))
    }

    /// All bans are lifted.
    pub(super) fn unban_all(&mut self) {
        for client in &self.clients {
            let job = AdminStoreJob::SetBanned { is_banned: false };
            self.store.model.execute(&Job::Admin { user: name(client.user), job: Box::new(job) });
        }
    }
}
