//! Users who look after their own accounts in some of the runs: they ask for the roster and watch,
//! change profile and password, block each other, delete their account. Their acts are drawn from
//! a source of its own, so that the other runs stay as they were before.

use super::clients::{Simulation, USERS};
use super::random::Random;
use super::say::Say;
use hongyan::chat::contract::{AdminRequestToCore, ConnId, ProfileChange};
use hongyan::protocol::field::UserName;

/// Accounts that one run deletes at most: somebody has to be left.
const DELETED_MAX: u32 = 1;

pub struct Owners {
    random: Random,
    /// How often each thing happens, in thousandths of the steps.
    watch: u64,
    block: u64,
    change: u64,
    delete: u64,
    deleted: u32,
    serial: u32,
}

impl Owners {
    /// In one of three runs.
    pub fn new(mut random: Random) -> Option<Self> {
        let mut rate = |max: u64| 1 + random.below(max);
        let (watch, block, change, delete) = (rate(250), rate(60), rate(30), rate(4));
        random.chance(333).then_some(Self { random, watch, block, change, delete, deleted: 0, serial: 0 })
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.serial += 1;
        format!("{prefix} {}", self.serial)
    }
}

impl Simulation {
    /// Their acts beside a step.
    pub(super) fn step_owners(&mut self) {
        let Some(mut owners) = self.owners.take() else {
            return;
        };
        let drawn = owners.random.below(1_000);
        let [watch, block, change] = [owners.watch, owners.block, owners.change];
        if drawn < watch + block + change + owners.delete {
            let online = self.users_online();
            if let Some((conn, me)) = owners.random.pick(&online).cloned() {
                let mid = self.world.fresh("a");
                let say = match drawn {
                    n if n < watch => Say::Roster { mid, after: None, watch: owners.random.chance(800) },
                    n if n < watch + block => self.blocks(mid, &mut owners.random),
                    n if n < watch + block + change => self.changes(mid, &me, &mut owners),
                    _ => self.deletes(mid, &me, &mut owners),
                };
                self.world.say(conn, say);
                self.pipeline(conn, &mut owners.random);
            }
        }
        self.owners = Some(owners);
    }

    fn blocks(&mut self, mid: String, random: &mut Random) -> Say {
        let other = self.user_by(random).to_owned();
        let other = match random.below(10) {
            0 => None,
            1 => Some(("nobody".to_owned(), random.chance(500))),
            2..=5 => Some((other, false)),
            _ => Some((other, true)),
        };
        Say::Block { mid, other }
    }

    fn changes(&mut self, mid: String, me: &str, owners: &mut Owners) -> Say {
        if owners.random.chance(400) {
            let nick_name = Some(owners.fresh("nick").into());
            return Say::Profile { mid, change: ProfileChange { nick_name, ..ProfileChange::default() } };
        }
        let old = if owners.random.chance(300) { "wrong".to_owned() } else { self.password_of(me) };
        Say::Password { mid, old, new: owners.fresh("own") }
    }

    fn deletes(&mut self, mid: String, me: &str, owners: &mut Owners) -> Say {
        let is_wrong = owners.deleted >= DELETED_MAX || owners.random.chance(500);
        owners.deleted += u32::from(!is_wrong);
        let password = if is_wrong { "wrong".to_owned() } else { self.password_of(me) };
        Say::DeleteAccount { mid, password }
    }

    /// Now and then something follows at once.
    fn pipeline(&mut self, conn: ConnId, random: &mut Random) {
        if random.chance(200) {
            let mid = self.world.fresh("a");
            self.world.say(conn, Say::Roster { mid, after: None, watch: true });
        }
    }

    /// The shell of a server that starts goes on with deletions that have begun.
    pub(super) fn resume_deletions(&mut self) {
        if self.owners.is_none() {
            return;
        }
        let deleting: Vec<&str> = USERS.into_iter().filter(|name| self.world.store.model.is_deleting(name)).collect();
        for name in deleting {
            let request = AdminRequestToCore::FinishDeletion { name: UserName::new(name).unwrap() };
            if self.operator.is_some() {
                self.ask_as_operator(request);
            } else {
                self.world.admin(request);
            }
        }
    }

    /// The faults are over: all who are online ask to be told who comes.
    pub(super) fn owners_watch(&mut self) {
        if self.owners.is_none() {
            return;
        }
        for (conn, _) in self.users_online() {
            let mid = self.world.fresh("a");
            self.world.say(conn, Say::Roster { mid, after: None, watch: true });
        }
    }

    /// The faults are over: every change that was begun is done.
    pub(super) fn owners_end(&mut self) {
        if self.owners.is_none() {
            return;
        }
        for _ in 0..200 {
            if !USERS.into_iter().any(|name| self.world.store.model.is_deleting(name)) {
                return;
            }
            self.resume_deletions();
            self.pass(1_000);
        }
        panic!("deletions do not come to an end");
    }
}
