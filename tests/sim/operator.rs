//! An operator in some of the runs: ends connections, bans, gives new passwords, sends notices,
//! deletes. Their acts are drawn from a source of its own, so that the other runs stay as they
//! were before.

use super::clients::{Simulation, USERS};
use super::random::Random;
use hongyan::chat::contract::{AdminAnswerFromCore, AdminRequestToCore, AdminTicket};
use hongyan::protocol::field::{Secret, UserName};
use std::collections::BTreeMap;

/// Accounts that one run deletes at most: somebody has to be left.
const DELETED_MAX: u32 = 2;

pub struct Operator {
    random: Random,
    /// Requests that are not answered, with the time by which they have to be.
    open: BTreeMap<u64, Option<u64>>,
    deleted: u32,
    passwords: u32,
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

impl Operator {
    /// In one of four runs.
    pub fn new(mut random: Random) -> Option<Self> {
        let is_there = random.chance(250);
        is_there.then_some(Self { random, open: BTreeMap::new(), deleted: 0, passwords: 0 })
    }
}

impl Simulation {
    /// The acts of the operator beside a step.
    pub(super) fn step_operator(&mut self) {
        let Some(mut operator) = self.operator.take() else {
            return;
        };
        let (name, drawn) = (self.user_by(&mut operator.random), operator.random.below(1_000));
        let name = user(name);
        let request = match drawn {
            0..8 => Some(AdminRequestToCore::Disconnect { name }),
            8..14 => Some(AdminRequestToCore::Ban { name }),
            14..28 => Some(AdminRequestToCore::Unban { name }),
            28..34 => {
                operator.passwords += 1;
                let secret = Secret::new(&format!("password {}", operator.passwords));
                Some(AdminRequestToCore::SetPassword { name, secret })
            }
            34..44 => Some(AdminRequestToCore::Notice { to: Some(name), text: "one".into() }),
            44..47 => Some(AdminRequestToCore::Notice { to: None, text: "all".into() }),
            47..50 if operator.deleted < DELETED_MAX => {
                operator.deleted += 1;
                Some(AdminRequestToCore::Delete { name })
            }
            50..54 => Some(AdminRequestToCore::User { name }),
            54..58 => Some(AdminRequestToCore::Pushes { receiver: name, id: "m1>ann".into() }),
            58..62 => {
                self.operator = Some(operator);
                return self.look_who_is_online();
            }
            _ => None,
        };
        self.operator = Some(operator);
        if let Some(request) = request {
            self.ask_as_operator(request);
        }
    }

    pub(super) fn ask_as_operator(&mut self, request: AdminRequestToCore) -> AdminTicket {
        self.oracle.count("requests of the operator");
        // Deletions have time as long as they go on, and notices to all.
        let is_long =
            matches!(request, AdminRequestToCore::Delete { .. } | AdminRequestToCore::Notice { to: None, .. });
        let due_ms = (!is_long).then_some(self.world.now_ms + 2 * 10_000);
        let ticket = self.world.admin(request);
        if let Some(operator) = &mut self.operator {
            operator.open.insert(ticket.0, due_ms);
        }
        ticket
    }

    /// With so few users it is answered at once, and says what clients know.
    fn look_who_is_online(&mut self) {
        self.watch();
        let mut expected: Vec<String> = self.users_online().into_iter().map(|(_, user)| user).collect();
        expected.sort();
        self.world.admin(AdminRequestToCore::Users { after: None, users_max: 9 });
        let Some((_, AdminAnswerFromCore::Users { users, has_more: false })) = self.world.answers.pop() else {
            panic!("not answered at once");
        };
        assert!(users.iter().map(|user| user.name.as_str()).eq(expected.iter().map(String::as_str)), "{users:?}");
    }

    /// Each request is answered once, and in time.
    pub(super) fn check_answers(&mut self) {
        let Some(operator) = &mut self.operator else {
            return;
        };
        for (ticket, answer) in self.world.answers.drain(..) {
            assert!(operator.open.remove(&ticket.0).is_some(), "{ticket:?} answered once too often: {answer:?}");
            let what = match answer {
                AdminAnswerFromCore::Failed => "failures told to the operator",
                AdminAnswerFromCore::Noticed { .. } => "notices",
                _ => "answers to the operator",
            };
            self.oracle.count(what);
        }
        let late = operator.open.iter().find(|(_, due_ms)| due_ms.is_some_and(|due_ms| due_ms < self.world.now_ms));
        assert!(late.is_none(), "the operator waits: {late:?} at {}", self.world.now_ms);
    }

    /// Nobody answers any more.
    pub(super) fn operator_sees_crash(&mut self) {
        if let Some(operator) = &mut self.operator {
            operator.open.clear();
        }
    }

    /// The faults are over: nobody is banned, and every act that was begun is done.
    pub(super) fn operator_ends(&mut self) {
        if self.operator.is_none() {
            return;
        }
        for _ in 0..200 {
            let model = &self.world.store.model;
            let banned = USERS.into_iter().find(|name| model.is_banned(name)).map(user);
            let deleting = USERS.into_iter().find(|name| model.is_deleting(name)).map(user);
            if let Some(name) = banned {
                self.ask_as_operator(AdminRequestToCore::Unban { name });
            } else if let Some(name) = deleting {
                self.ask_as_operator(AdminRequestToCore::Delete { name });
            } else if self.operator.as_ref().is_some_and(|operator| operator.open.is_empty()) {
                return;
            }
            self.pass(1_000);
        }
        panic!("the operator's work does not come to an end");
    }
}
