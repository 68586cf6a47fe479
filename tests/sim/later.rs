//! Habits that clients (and the store) took on later. They are drawn from a source of their own, so
//! that a seed from before means without them what it meant then.

use super::clients::Simulation;
use super::random::Random;
use super::say::Say;
use hongyan::chat::contract::Job;
use hongyan::protocol::request::FriendVerb;

/// How often each thing happens, in thousandths of the steps.
#[derive(Debug)]
pub struct Later {
    random: Random,
    /// Somebody else logs in on a connection with requests in flight, and uses their ids again.
    switch: u64,
    /// A request about a friendship is sent again under its id.
    again: u64,
    /// The user who asked deletes instead of waiting.
    withdraw: u64,
    /// A run begins, or ends, in which no answer about a friendship arrives.
    lose: u64,
}

/// Is its answer one that long runs of lost answers take?
pub fn is_about_friends(job: &Job) -> bool {
    if let Job::Account { job, .. } = job {
        return job.other().is_some();
    }
    matches!(
        job,
        Job::AskFriend { .. } | Job::AnswerFriend { .. } | Job::Unfriend { .. } | Job::Load { pushes_max: 0, .. }
    )
}

impl Later {
    pub fn new(mut random: Random) -> Self {
        let mut rate = |often: u64, max: u64| if random.chance(often) { random.below(max) } else { 0 };
        let (switch, again, withdraw, lose) = (rate(600, 80), rate(500, 60), rate(500, 60), rate(400, 25));
        Self { random, switch, again, withdraw, lose }
    }

    /// Few enough for the bound to be reached, or so many that it is not.
    pub fn undecided_max(&mut self) -> usize {
        if self.random.chance(300) { 1 + self.random.below(3) as usize } else { 10_000 }
    }
}

impl Simulation {
    /// The events beside a step.
    pub fn step_later(&mut self) {
        let Some(mut later) = self.later.take() else {
            return;
        };
        let of = [later.switch, later.again, later.withdraw, later.lose];
        let drawn = of.map(|rate| later.random.chance(rate));
        if drawn[0] {
            self.switch(&mut later.random);
        }
        if drawn[1] {
            self.say_again(&mut later.random);
        }
        if drawn[2] {
            self.withdraw(&mut later.random);
        }
        if drawn[3] {
            let mut faults = self.faults.borrow_mut();
            faults.loses_friends = !faults.loses_friends;
        }
        self.later = Some(later);
    }

    fn switch(&mut self, random: &mut Random) {
        let online: Vec<_> = self.users_online();
        let Some((conn, first)) = random.pick(&online).cloned() else {
            return;
        };
        let (receiver, second) = (self.user_by(random), self.user_by(random).to_owned());
        let id = format!("m{}>{receiver}", random.below(6));
        let message = |sender: &str| Say::Message {
            id: id.clone(),
            sender: sender.into(),
            receiver: receiver.into(),
            content: String::new(),
        };
        let mid = self.world.fresh("g");
        if random.chance(300) {
            self.world.say(conn, Say::GetUser { mid, user: receiver.into() });
        }
        if random.chance(300) {
            let (id, verb) = (self.world.fresh("f"), FriendVerb::Request);
            let (sender, receiver) = (first.clone(), second.clone());
            self.world.say(conn, Say::Friend { id, sender, receiver, verb, content: String::new() });
        }
        self.world.say(conn, message(&first));
        let mid = self.world.fresh("l");
        self.world.say(conn, Say::Login { mid, user: second.clone(), password: second.clone() });
        // Pipelined: read as soon as the log-in has its answer.
        self.world.say(conn, message(&second));
    }

    fn say_again(&mut self, random: &mut Random) {
        let online: Vec<_> = self.users_online();
        let Some((conn, me)) = random.pick(&online).cloned() else {
            return;
        };
        let mine: Vec<Say> =
            self.said_to_friends.iter().filter(|(user, _)| *user == me).map(|(_, say)| say.clone()).collect();
        if let Some(say) = random.pick(&mine).cloned() {
            self.world.say(conn, say);
        }
    }

    fn withdraw(&mut self, random: &mut Random) {
        let online: Vec<_> = self.users_online();
        let Some((conn, me)) = random.pick(&online).cloned() else {
            return;
        };
        let other = self.user_by(random).to_owned();
        let id = self.world.fresh("f");
        if self.world.store.model.pending_id(&me, &other).is_some() {
            let verb = FriendVerb::Delete;
            self.world.say(conn, Say::Friend { id, sender: me, receiver: other, verb, content: String::new() });
        }
    }
}
