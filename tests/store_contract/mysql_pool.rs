//! Tests of MySQL and MariaDB alone, through the pool: several workers that write side by side.

use super::mysql::Database;
use crate::common::store::*;
use hongyan::chat::contract::{
    FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome, JobTicket, OwnAccountStoreJob, ProfileChange,
};
use hongyan::config::{Config, StoreUrl};
use hongyan::protocol::field::Secret;
use hongyan::protocol::push::PushKind;
use hongyan::store::StoreConnection;
use hongyan::store::friendship::FriendshipRepository;
use hongyan::store::pool::WorkerPool;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Workers {
    pool: WorkerPool,
    next: u32,
    done: HashMap<u32, JobOutcome>,
}

impl Workers {
    fn new(database: &Database) -> Self {
        let (store, data_threads) = (StoreUrl::Mysql(database.url()), 4);
        let config = Config { store, data_threads, argon2_memory_kib: 8, argon2_passes: 1, ..Config::default() };
        Self { pool: WorkerPool::start(&config, Arc::new(|| {})).unwrap(), next: 0, done: HashMap::new() }
    }

    fn submit(&mut self, job: Job) -> u32 {
        self.next += 1;
        self.pool.submit([(JobTicket { slot: self.next, generation: 0 }, job)]);
        self.next
    }

    fn wait(&mut self) {
        let (mut out, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(30));
        while self.done.len() < self.next as usize && Instant::now() < deadline {
            self.pool.take(&mut out);
            for (ticket, outcome) in out.drain(..) {
                assert!(self.done.insert(ticket.slot, outcome).is_none(), "answered twice");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.done.len(), self.next as usize);
    }
}

#[test]
fn four_workers_at_once_lose_nothing_and_fail_nothing() {
    let Some(database) = Database::new() else { return };
    let mut workers = Workers::new(&database);
    assert_eq!(workers.pool.first_seq(), 1);
    let people: Vec<String> = (0..40).map(|number| format!("user {number}")).collect();
    for name in &people {
        let (profile, password_hash) = (Box::new(account(name)), Secret::new("h"));
        workers.submit(Job::CreateAccount { profile, password_hash });
    }
    workers.wait();
    let mut seq = 0;
    for round in 0..100 {
        for (number, to) in people.iter().enumerate() {
            seq += 1;
            let from = &people[(number + 1 + round) % people.len()];
            workers.submit(Job::SavePush { push: message(seq, from, to, &format!("{round}")) });
            if round % 2 == 1 {
                workers.submit(Job::DeletePush { receiver: user(to), seq });
            }
        }
    }
    workers.wait();
    let failed =
        workers.done.values().filter(|outcome| matches!(outcome, JobOutcome::Failed | JobOutcome::Refused)).count();
    assert_eq!(failed, 0);
    workers.pool.stop();
    let mut store = database.server().connect().unwrap();
    for name in &people {
        let stored = store.pushes(&user(name), 0, 1_000, usize::MAX).unwrap();
        assert_eq!(stored.len(), 50);
        assert!(stored.iter().zip(stored.iter().skip(1)).all(|(one, next)| one.seq < next.seq));
    }
}

/// In lanes that know nothing of each other, by jobs that the core would not have under way at
/// once.
#[test]
fn people_who_block_and_ask_each_other_at_once_end_as_one_or_the_other() {
    let Some(database) = Database::new() else { return };
    let mut workers = Workers::new(&database);
    let people: Vec<String> = (0..12).map(|n| format!("user {n}")).collect();
    for name in &people {
        let (profile, password_hash) = (Box::new(account(name)), Secret::new("h"));
        workers.submit(Job::CreateAccount { profile, password_hash });
    }
    workers.wait();
    let mut random = fastrand::Rng::with_seed(7);
    for seq in 1..1_000 {
        let (one, other) = (random.usize(..12), random.usize(..11));
        let (one, other) = (&people[one], &people[(one + 1 + other) % 12]);
        let account = |job| Job::Account { user: user(one), job: Box::new(job) };
        let push = |kind| push(seq, kind, one, other, "r", "");
        workers.submit(match random.u8(..9) {
            0 | 1 => account(OwnAccountStoreJob::Block { other: user(other), blocked_max: 99 }),
            2 => account(OwnAccountStoreJob::Unblock { other: user(other) }),
            3..=5 => Job::AskFriend { push: push(PushKind::FriendRequest), pending_max: 99 },
            6 | 7 => Job::AnswerFriend { push: push(PushKind::FriendAccept), friends_max: 99 },
            _ => account(OwnAccountStoreJob::ChangeProfile(ProfileChange::default())),
        });
    }
    workers.wait();
    let failed =
        workers.done.values().filter(|outcome| matches!(outcome, JobOutcome::Failed | JobOutcome::Refused)).count();
    assert_eq!(failed, 0);
    workers.pool.stop();
    let mut store = database.server().connect().unwrap();
    let (mut blocked, mut hidden) = (0, 0);
    for (one, other) in people.iter().flat_map(|one| people.iter().map(move |other| (user(one), user(other)))) {
        let tie = store.relation(&one, &other).unwrap();
        let incoming = store.request(&one, &other).unwrap();
        assert_eq!(incoming.as_ref().is_some_and(|request| request.is_hidden), incoming.is_some() && tie.blocks);
        assert!(!tie.blocks || !tie.are_friends && store.request(&other, &one).unwrap().is_none());
        blocked += usize::from(tie.blocks);
        hidden += usize::from(incoming.is_some() && tie.blocks);
    }
    assert!(blocked > 20 && hidden > 5, "{blocked} {hidden}");
}

#[test]
fn two_users_who_accept_each_other_at_once_are_friends_once() {
    let Some(database) = Database::new() else { return };
    let mut workers = Workers::new(&database);
    let mut seq = 0;
    let mut next = |kind, from: &str, to: &str| {
        seq += 1;
        push(seq, kind, from, to, "r", "")
    };
    let pairs: Vec<(String, String)> = (0..30).map(|n| (format!("a{n}"), format!("b{n}"))).collect();
    for name in pairs.iter().flat_map(|(a, b)| [a, b]) {
        let (profile, password_hash) = (Box::new(account(name)), Secret::new("h"));
        workers.submit(Job::CreateAccount { profile, password_hash });
    }
    workers.wait();
    for (a, b) in &pairs {
        workers.submit(Job::AskFriend { push: next(PushKind::FriendRequest, a, b), pending_max: 100 });
        workers.submit(Job::AskFriend { push: next(PushKind::FriendRequest, b, a), pending_max: 100 });
    }
    workers.wait();
    let mut answers = Vec::new();
    for (a, b) in &pairs {
        let one = workers.submit(Job::AnswerFriend { push: next(PushKind::FriendAccept, a, b), friends_max: 100 });
        let other = workers.submit(Job::AnswerFriend { push: next(PushKind::FriendAccept, b, a), friends_max: 100 });
        answers.push((one, other));
    }
    workers.wait();
    for (one, other) in answers {
        let done: Vec<_> = [one, other]
            .into_iter()
            .filter(|slot| matches!(workers.done[slot], JobOutcome::Answered(FriendAnswerOutcome::Done)))
            .collect();
        let none: Vec<_> = [one, other]
            .into_iter()
            .filter(|slot| matches!(workers.done[slot], JobOutcome::Answered(FriendAnswerOutcome::NoSuchRequest)))
            .collect();
        assert_eq!((done.len(), none.len()), (1, 1), "{:?} {:?}", workers.done[&one], workers.done[&other]);
    }
    workers.pool.stop();
    let mut store = database.server().connect().unwrap();
    for (a, b) in &pairs {
        assert_eq!((friends(&mut store, a), friends(&mut store, b)), (names(&[b]), names(&[a])));
        assert_eq!(ask(&mut store, &request(100_000, a, b, "s")), FriendRequestOutcome::AlreadyFriends);
        // The one request that was answered kept its push; of the crossing one nothing is left.
        assert_eq!(waiting(&mut store, a).len() + waiting(&mut store, b).len(), 2);
    }
}

#[test]
fn many_users_who_make_friends_in_all_directions_at_once_all_get_their_answer() {
    let Some(database) = Database::new() else { return };
    let mut workers = Workers::new(&database);
    let people: Vec<String> = (0..40).map(|number| format!("user {number}")).collect();
    for name in &people {
        let (profile, password_hash) = (Box::new(account(name)), Secret::new("h"));
        workers.submit(Job::CreateAccount { profile, password_hash });
    }
    workers.wait();
    // Each asks everybody behind it; strides that go through all in orders that have nothing to do
    // with their names.
    let mut pairs: Vec<(usize, usize)> = (0..40).flat_map(|one| (one + 1..40).map(move |other| (one, other))).collect();
    pairs = (0..pairs.len()).map(|at| pairs[at * 7_919 % pairs.len()]).collect();
    let (mut seq, mut asked) = (0, Vec::new());
    for (one, other) in &pairs {
        let (from, to) = if (one + other) % 2 == 0 { (one, other) } else { (other, one) };
        seq += 1;
        let push = push(seq, PushKind::FriendRequest, &people[*from], &people[*to], &format!("{seq}"), "");
        asked.push(workers.submit(Job::AskFriend { push, pending_max: 1_000 }));
    }
    workers.wait();
    for slot in &asked {
        assert!(
            matches!(workers.done[slot], JobOutcome::Asked(FriendRequestOutcome::Pending)),
            "{:?}",
            workers.done[slot]
        );
    }
    let mut answered = Vec::new();
    for (at, (one, other)) in pairs.iter().enumerate() {
        let (from, to) = if (one + other) % 2 == 0 { (one, other) } else { (other, one) };
        seq += 1;
        let push = push(seq, PushKind::FriendAccept, &people[*to], &people[*from], &format!("{}", at + 1), "");
        answered.push(workers.submit(Job::AnswerFriend { push, friends_max: 1_000 }));
        let (user, other) = (user(&people[*from]), user(&people[(*to + 1) % 40]));
        if at % 10 == 0 && user != other {
            workers.submit(Job::Unfriend { user, other });
        }
    }
    workers.wait();
    let failed =
        workers.done.values().filter(|outcome| matches!(outcome, JobOutcome::Failed | JobOutcome::Refused)).count();
    assert_eq!(failed, 0);
    for slot in &answered {
        assert!(
            matches!(workers.done[slot], JobOutcome::Answered(FriendAnswerOutcome::Done)),
            "{:?}",
            workers.done[slot]
        );
    }
    workers.pool.stop();
}

#[test]
fn connections_that_are_killed_lose_nothing_that_was_promised() {
    let Some(mut database) = Database::new() else { return };
    let mut workers = Workers::new(&database);
    let mut killed = 0;
    for seq in 1..=3_000 {
        workers.submit(Job::SavePush { push: message(seq, "bob", &format!("u{}", seq % 10), &format!("{seq}")) });
        if seq % 500 == 0 {
            killed += database.kill_all();
        }
        if seq % 100 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    workers.wait();
    assert!(killed > 0);
    // Once it is over all works again, if not at once.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let last = workers.submit(Job::SavePush { push: message(3_001, "bob", "u1", "3001") });
        workers.wait();
        if matches!(workers.done[&last], JobOutcome::Saved) {
            break;
        }
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
    workers.pool.stop();
    let mut store = database.server().connect().unwrap();
    let stored: Vec<u64> = (0..10).flat_map(|n| waiting(&mut store, &format!("u{n}"))).collect();
    for seq in 1..=3_000 {
        if matches!(workers.done[&seq], JobOutcome::Saved) {
            assert!(stored.contains(&u64::from(seq)), "{seq} was promised");
        }
    }
}
