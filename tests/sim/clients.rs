//! Clients that misbehave, on a network and a store that misbehave, drawn from one seed.

use super::lanes::{Fate, Plan};
use super::later::{Later, is_about_friends};
use super::operator::Operator;
use super::oracle::{Oracle, pair_of};
use super::owners::Owners;
use super::random::Random;
use super::rules;
use super::say::Say;
use super::world::World;
use hongyan::chat::contract::{ConnId, CoreSettings, Job};
use hongyan::protocol::request::FriendVerb;
use hongyan::store::quota::{MailboxQuotas, PushCountAndBytes};
use std::cell::RefCell;
use std::rc::Rc;

pub(super) const USERS: [&str; 5] = ["ann", "bob", "cid", "dan", "eve"];

/// How often what goes wrong, in thousandths.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    random: Random,
    pub(super) fail: u64,
    pub(super) lose: u64,
    pub(super) takes_ms_max: u64,
    pub(super) answer_after_ms_max: u64,
    /// The outcomes of jobs about friendships are lost, though the jobs were done.
    pub(super) loses_friends: bool,
}

impl Faults {
    fn plan(&mut self, job: &Job) -> Plan {
        // Now and then one is larger than the store takes. No number is drawn for it: the same
        // seeds stay the same otherwise.
        let is_large = matches!(job, Job::SavePush { push } if push.seq % 61 == 7);
        let fate = match self.random.below(1_000) {
            _ if is_large && self.fail > 0 => Fate::TooLarge,
            n if n < self.fail => Fate::Fail,
            n if n < self.fail + self.lose => Fate::DoAndLose,
            _ if self.loses_friends && is_about_friends(job) => Fate::DoAndLose,
            _ => Fate::Do,
        };
        let takes_ms = 1 + self.random.below(self.takes_ms_max);
        Plan { takes_ms, answer_after_ms: self.random.below(1 + self.answer_after_ms_max), fate }
    }
}

/// How often each thing happens, as weights.
#[derive(Debug)]
struct Habits {
    ack: u64,
    message: u64,
    friend: u64,
    come: u64,
    go: u64,
    block: u64,
    hang: u64,
    crash: u64,
    odd: u64,
    ids: u64,
    burst: u64,
}

pub struct Simulation {
    pub world: World,
    pub oracle: Oracle,
    pub(super) random: Random,
    habits: Habits,
    pub(super) faults: Rc<RefCell<Faults>>,
    /// Which blocked connections drain: of its own, so that the other decisions of a seed stay as
    /// they are.
    drains: Random,
    /// Recent messages, to be sent again.
    said: Vec<(String, Say)>,
    /// The same of friend requests and what answers them.
    pub(super) said_to_friends: Vec<(String, Say)>,
    pub(super) later: Option<Later>,
    pub(super) operator: Option<Operator>,
    pub(super) owners: Option<Owners>,
    hanging: bool,
    /// When the process uses too much memory, in the runs where it ever does; drawn apart from the
    /// rest.
    memory: Option<Random>,
    /// Print what happens: `TELL=1`.
    tell: bool,
}

fn all(_: &Job) -> bool {
    true
}

/// Small ones in some worlds. Drawn from a copy, so that all else stays as it was in the worlds of
/// old.
fn quotas_of(mut random: Random) -> Option<MailboxQuotas> {
    let mut usage = || PushCountAndBytes { rows: 1 + random.below(12), bytes: 300 + random.below(3_000) };
    let quotas = MailboxQuotas { receiver: usage(), pair: usage() };
    random.chance(250).then_some(quotas)
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        let mut later = Later::new(Random::new(seed ^ 0x1A7E_0001));
        let mut random = Random::new(seed);
        let rules = CoreSettings { undecided_max: later.undecided_max(), ..rules::of(&mut random) };
        let memory = (seed % 8 == 1).then(|| Random::new(seed ^ 0x3E3));
        let operator = Operator::new(Random::new(seed ^ 0x09E2_A702));
        let owners = Owners::new(Random::new(seed ^ 0x0A11_CC0E));
        Self {
            later: Some(later),
            operator,
            owners,
            memory,
            ..Self::ruled_by(rules, random, Random::new(seed ^ 0xFA17))
        }
    }

    /// With a push hook, so impatient that users are announced all the time.
    pub fn with_push_hook(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let hook = CoreSettings {
            push_hook: true,
            push_hook_after_ms: 1 + random.below(200),
            push_hook_pause_ms: 1 + random.below(5_000),
            push_hook_users_max: if random.chance(300) { 2 } else { 100 },
            ..rules::of(&mut random)
        };
        let later = Some(Later::new(Random::new(seed ^ 0x1A7E_0001)));
        Self { later, ..Self::ruled_by(hook, random, Random::new(seed ^ 0xFA17)) }
    }

    /// The run of this seed as it was before there were the habits of [`Later`].
    pub fn without_later_habits(seed: u64) -> Self {
        Self::drawn_from(Random::new(seed), Random::new(seed ^ 0xFA17))
    }

    /// Every decision of clients and network drawn from the one, what becomes of jobs from the
    /// other.
    pub fn drawn_from(mut random: Random, of_jobs: Random) -> Self {
        let rules = rules::of(&mut random);
        Self::ruled_by(rules, random, of_jobs)
    }

    fn ruled_by(rules: CoreSettings, mut random: Random, of_jobs: Random) -> Self {
        let mut world = World::new(rules.clone());
        if let Some(quotas) = quotas_of(random.clone()) {
            world.store.model.quotas = quotas;
        }
        let mut oracle = Oracle::new(rules);
        for (place, user) in USERS.iter().enumerate() {
            world.store.model.add_account(user, user);
            for other in &USERS[..place] {
                if random.chance(600) {
                    world.store.model.befriend(user, other);
                    oracle.friends.insert(pair_of(user, other));
                }
            }
        }
        world.store.model.cache_passwords = random.chance(500);
        world.seen = Some(Vec::new());
        let mut rate = |often: u64, max: u64| if random.chance(often) { random.below(max) } else { 0 };
        let habits = Habits {
            ack: 50 + rate(900, 600),
            message: 50 + rate(900, 300),
            friend: rate(700, 100),
            come: 10 + rate(800, 100),
            go: rate(700, 60),
            block: rate(500, 60),
            hang: rate(400, 15),
            crash: rate(500, 8),
            odd: rate(600, 60),
            ids: 1 + rate(800, 60),
            burst: rate(500, 200),
        };
        let faults = Rc::new(RefCell::new(Faults {
            fail: rate(600, 200),
            lose: rate(600, 150),
            takes_ms_max: 1 + rate(800, 400),
            answer_after_ms_max: rate(500, 100),
            random: of_jobs,
            loses_friends: false,
        }));
        let shared = Rc::clone(&faults);
        world.store.plan(move |job| shared.borrow_mut().plan(job));
        Self {
            world,
            oracle,
            random,
            habits,
            faults,
            drains: Random::new(0xD2A1),
            said: Vec::new(),
            said_to_friends: Vec::new(),
            later: None,
            operator: None,
            owners: None,
            hanging: false,
            memory: None,
            tell: std::env::var_os("TELL").is_some(),
        }
    }

    /// Lets the oracle see what happened.
    pub(super) fn watch(&mut self) {
        for (at_ms, seen) in self.world.seen.replace(Vec::new()).unwrap_or_default() {
            if self.tell {
                println!("{at_ms} {seen:?}");
            }
            self.oracle.see(at_ms, &seen);
        }
        self.oracle.check_totals(&self.world.totals());
        self.check_answers();
    }

    pub(super) fn pass(&mut self, wait_ms: u64) {
        self.world.run_for(wait_ms);
        self.watch();
        self.oracle.check(self.world.now_ms);
    }

    pub fn run(&mut self, steps: u64) {
        for _ in 0..steps {
            if self.random.is_used_up() {
                break;
            }
            self.step();
            self.step_later();
            self.step_operator();
            self.step_owners();
            self.run_short_of_memory();
            self.watch();
            self.drain();
            let wait_ms = match self.random.below(100) {
                0..=39 => 0,
                40..=79 => self.random.below(20),
                80..=94 => self.random.below(1_000),
                95..=98 => self.random.below(16_000),
                _ => self.random.below(130_000),
            };
            self.pass(wait_ms);
        }
        self.recover();
    }

    pub(super) fn user(&mut self) -> &'static str {
        USERS[self.random.below(USERS.len() as u64) as usize]
    }

    pub(super) fn user_by(&self, random: &mut Random) -> &'static str {
        USERS[random.below(USERS.len() as u64) as usize]
    }

    pub(super) fn conn(&mut self) -> Option<ConnId> {
        let open: Vec<ConnId> = self.oracle.conns.keys().copied().collect();
        self.random.pick(&open).copied()
    }

    fn online(&mut self) -> Option<(ConnId, String)> {
        let online = self.oracle.conns.iter().filter_map(|(conn, view)| Some((*conn, view.user.clone()?)));
        let online: Vec<_> = online.collect();
        self.random.pick(&online).cloned()
    }

    fn step(&mut self) {
        let habits = &self.habits;
        let weights = [
            habits.ack,
            habits.message,
            habits.friend,
            habits.come,
            habits.go,
            habits.block,
            habits.hang,
            habits.crash,
            habits.odd,
            30,
        ];
        let mut drawn = self.random.below(weights.iter().sum());
        for (what, weight) in weights.into_iter().enumerate() {
            if drawn < weight {
                return self.act(what);
            }
            drawn -= weight;
        }
    }

    /// Lists are cut. The dedup windows of absent users are not dropped here: that it may come
    /// again is the price of that.
    fn run_short_of_memory(&mut self) {
        if let Some(random) = &mut self.memory
            && random.chance(50)
        {
            let bytes = 1 << random.below(16);
            self.world.release_memory(bytes, false);
        }
    }

    fn act(&mut self, what: usize) {
        match what {
            0 => self.ack(),
            1 => self.message(),
            2 => self.friend(),
            3 => self.come(),
            4 => {
                if let Some(conn) = self.conn() {
                    self.world.hang_up(conn);
                }
            }
            5 => self.block(),
            6 => self.hang(),
            7 => self.crash(),
            8 => self.odd(),
            _ => {
                if let Some((conn, _)) = self.online() {
                    let mid = self.world.fresh("h");
                    self.world.say(conn, Say::Heartbeat { mid });
                }
            }
        }
    }

    /// Acks what came, most of the time rightly: late, twice, under another's name, of nothing at
    /// all.
    fn ack(&mut self) {
        let Some((conn, user)) = self.online() else {
            return;
        };
        let came: Vec<(String, String)> = self.oracle.conns[&conn]
            .outstanding
            .values()
            .map(|item| (item.push.id().to_owned(), item.push.sender().to_owned()))
            .collect();
        let count = 1 + self.random.below(4);
        for _ in 0..count {
            let Some((id, sender)) = self.random.pick(&came).cloned() else {
                break;
            };
            let sender = match self.random.below(10) {
                0 => Some(self.user().to_owned()),
                1..=4 => Some(sender),
                _ => None,
            };
            self.world.say(conn, Say::Ack { id, sender });
        }
        if self.random.chance(50) {
            self.world.say(conn, Say::Ack { id: "never".into(), sender: None });
        }
        if self.random.chance(50) {
            // A push that waits for this user, and perhaps was sent on another connection only.
            let waiting = self.world.store.model.waiting_for(&user);
            let waiting: Vec<String> = waiting.into_iter().map(|push| push.id().to_owned()).collect();
            if let Some(id) = self.random.pick(&waiting).cloned() {
                self.world.say(conn, Say::Ack { id, sender: None });
            }
        }
    }

    fn message(&mut self) {
        let Some((conn, sender)) = self.online() else {
            return;
        };
        let again: Vec<Say> =
            self.said.iter().filter(|(user, _)| *user == sender).map(|(_, say)| say.clone()).collect();
        if self.random.chance(250)
            && let Some(say) = self.random.pick(&again).cloned()
        {
            return self.world.say(conn, say);
        }
        let mut receiver = self.user();
        for _ in 0..4 {
            // Mostly to friends.
            if !self.oracle.friends.contains(&pair_of(&sender, receiver)) {
                receiver = self.user();
            }
        }
        // Few names for messages, so that senders meet in them.
        let id = if self.random.chance(300) {
            format!("m{}>{receiver}", self.random.below(self.habits.ids))
        } else {
            format!("{}>{receiver}", self.world.fresh("m"))
        };
        let content = "x".repeat(self.random.below(200) as usize);
        let say = Say::Message { id, sender: sender.clone(), receiver: receiver.into(), content };
        self.said.push((sender.clone(), say.clone()));
        if self.said.len() > 40 {
            self.said.remove(0);
        }
        self.world.say(conn, say);
        // Now and then many at a time, so that lists grow long.
        if self.random.chance(self.habits.burst) {
            for _ in 0..self.random.below(20) {
                let id = format!("{}>{receiver}", self.world.fresh("m"));
                let (sender, receiver) = (sender.clone(), receiver.to_owned());
                self.world.say(conn, Say::Message { id, sender, receiver, content: String::new() });
            }
        }
    }

    fn friend(&mut self) {
        let Some((conn, me)) = self.online() else {
            return;
        };
        let other = self.user().to_owned();
        let (id, verb) = match self.random.below(10) {
            0..=3 => (self.world.fresh("f"), FriendVerb::Request),
            4..=7 => {
                let Some(id) = self.world.store.model.pending_id(&other, &me) else {
                    return;
                };
                let verb = if self.random.chance(700) { FriendVerb::Accept } else { FriendVerb::Reject };
                (id, verb)
            }
            8 => (self.world.fresh("f"), FriendVerb::Delete),
            _ => (self.world.fresh("f"), FriendVerb::Accept),
        };
        let (sender, receiver) = match verb {
            FriendVerb::Request | FriendVerb::Delete => (me.clone(), other),
            FriendVerb::Accept | FriendVerb::Reject => (other, me.clone()),
        };
        let say = Say::Friend { id, sender, receiver, verb, content: String::new() };
        self.said_to_friends.push((me, say.clone()));
        if self.said_to_friends.len() > 20 {
            self.said_to_friends.remove(0);
        }
        self.world.say(conn, say);
    }

    fn come(&mut self) {
        let conn = match self.conn() {
            Some(conn) if self.random.chance(300) || self.oracle.conns.len() > 12 => conn,
            _ => {
                let address_key = self.random.below(3) as u32;
                self.world.open_from(address_key)
            }
        };
        self.watch();
        if self.random.chance(100) {
            return;
        }
        let user = self.user();
        let password = if self.random.chance(50) { "wrong".to_owned() } else { self.password_of(user) };
        let mid = self.world.fresh("l");
        let say = match self.world.store.model.newest_token(user) {
            Some(token) if self.random.chance(300) => Say::Resume { mid, user: user.into(), token },
            _ => Say::Login { mid, user: user.into(), password },
        };
        self.world.say(conn, say);
    }

    /// The operator may have given them another one.
    pub(super) fn password_of(&self, user: &str) -> String {
        self.world.store.model.password_of(user).unwrap_or_else(|| user.to_owned())
    }

    fn block(&mut self) {
        let Some(conn) = self.conn() else {
            return;
        };
        if self.oracle.conns[&conn].blocked {
            self.world.flush(conn);
        } else {
            self.world.block(conn);
        }
    }

    /// Now and then somebody takes a part of what waits for them.
    fn drain(&mut self) {
        let blocked: Vec<ConnId> =
            self.oracle.conns.iter().filter(|(_, view)| view.blocked).map(|(conn, _)| *conn).collect();
        if self.drains.chance(100)
            && let Some(conn) = self.drains.pick(&blocked).copied()
        {
            self.world.drain(conn);
            self.watch();
        }
    }

    fn hang(&mut self) {
        self.hanging = !self.hanging;
        if self.hanging {
            self.world.store.hang(all);
        } else {
            self.world.store.unhang(self.world.now_ms);
        }
    }

    fn crash(&mut self) {
        self.world.crash();
        self.operator_sees_crash();
        self.watch();
        self.oracle.check_crash(&self.world.store.model);
        self.resume_deletions();
        if self.hanging {
            self.world.store.hang(all);
        }
    }

    pub(super) fn users_online(&self) -> Vec<(ConnId, String)> {
        self.oracle.conns.iter().filter_map(|(conn, view)| Some((*conn, view.user.clone()?))).collect()
    }
}
