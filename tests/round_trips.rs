//! How often a job about messages, friendships or tokens asks the database. Each question is a
//! round trip, and all later jobs of the lane wait for it. A MariaDB that only this test uses
//! counts the questions (HONGYAN_TEST_MYSQL, as `./test` sets it). Without it, the test says so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{MariaDb, PATIENCE, config};
use hongyan::chat::contract::{
    FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome, JobTicket, OwnAccountStoreJob, ProfileChange,
};
use hongyan::config::{Config, StoreUrl};
use hongyan::protocol::field::{MessageId, Profile, Secret, UserName, UserNameRef};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::pool::WorkerPool;
use mysql::Conn;
use mysql::prelude::Queryable;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The questions of each transaction: START TRANSACTION, the look at the fence, COMMIT.
const TRANSACTION: u64 = 3;

struct Worker {
    pool: WorkerPool,
    root: Conn,
    /// The database of the store.
    name: String,
    /// How often the test itself has asked.
    looks: u64,
}

impl Worker {
    fn new(database: &MariaDb) -> Self {
        let config = Config { store: StoreUrl::Mysql(database.url()), data_threads: 1, ..config() };
        let name = database.url().rsplit('/').next().unwrap().to_owned();
        Self { pool: WorkerPool::start(&config, Arc::new(|| {})).unwrap(), root: database.root(), name, looks: 0 }
    }

    /// The number of questions of all connections so far, and the number of the server's signs of
    /// life among them.
    fn look(&mut self) -> (u64, u64) {
        self.looks += 1;
        let sql = format!(
            "SELECT CAST(variable_value AS UNSIGNED), (SELECT n FROM {}.lanes WHERE lane = 0) \
             FROM information_schema.global_status WHERE variable_name = 'questions'",
            self.name
        );
        self.root.query_first(sql).unwrap().unwrap()
    }

    /// The number of questions of the workers so far. Waits for a moment at which nobody asks.
    fn questions(&mut self) -> u64 {
        loop {
            let before = self.look();
            std::thread::sleep(Duration::from_millis(5));
            let (asked, beats) = self.look();
            if (before.0 + 1, before.1) == (asked, beats) {
                return asked - beats - self.looks;
            }
        }
    }

    /// Does one job. Returns how often it asked the database, without the questions of its
    /// transaction.
    fn run(&mut self, job: Job) -> (JobOutcome, u64) {
        let (before, until) = (self.questions(), Instant::now() + PATIENCE);
        self.pool.submit([(JobTicket { slot: 0, generation: 0 }, job)]);
        let mut done = Vec::new();
        while done.is_empty() {
            assert!(Instant::now() < until, "not answered");
            self.pool.take(&mut done);
            std::thread::sleep(Duration::from_millis(1));
        }
        let asked = self.questions() - before;
        (done.pop().unwrap().1, asked - TRANSACTION)
    }
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn push(seq: u64, kind: PushKind, from: &str, to: &str) -> Push {
    let (id, from, to) = (MessageId::new("r").unwrap(), UserNameRef::new(from).unwrap(), UserNameRef::new(to).unwrap());
    Push::new(seq, seq, kind, &id, &from, &to, "")
}

fn account(name: &str) -> Job {
    let empty = || Box::<str>::from("");
    let profile = Profile {
        user_name: user(name),
        email_address: empty(),
        nick_name: empty(),
        profile_picture: empty(),
        location: empty(),
        personal_description: empty(),
        rsa_public_key: empty(),
    };
    Job::CreateAccount { profile: Box::new(profile), password_hash: Secret::new("h") }
}

#[test]
fn a_job_about_friendships_asks_the_database_so_often() {
    let Some(database) = MariaDb::start() else { return };
    let mut worker = Worker::new(&database);
    for name in ["ann", "bob", "cy", "dan"] {
        worker.run(account(name));
    }
    let ask = |seq, from: &str, to: &str| Job::AskFriend {
        push: push(seq, PushKind::FriendRequest, from, to),
        pending_max: 9,
    };
    let answer =
        |seq, kind, from: &str, to: &str| Job::AnswerFriend { push: push(seq, kind, from, to), friends_max: 9 };
    let end = |one: &str, other: &str| Job::Unfriend { user: user(one), other: user(other) };
    let (accept, reject) = (PushKind::FriendAccept, PushKind::FriendReject);
    let (pending, done) =
        (JobOutcome::Asked(FriendRequestOutcome::Pending), JobOutcome::Answered(FriendAnswerOutcome::Done));
    for (what, job, expected, questions) in [
        ("a request, and its mailbox is counted", ask(1, "bob", "ann"), pending.clone(), 10),
        ("the same once more", ask(1, "bob", "ann"), pending.clone(), 5),
        ("a request to nobody", ask(2, "bob", "eve"), JobOutcome::Asked(FriendRequestOutcome::NoSuchUser), 4),
        (
            "one that is pending",
            ask(2, "bob", "ann"),
            JobOutcome::Asked(FriendRequestOutcome::AlreadyPending { time_ms: 1 }),
            4,
        ),
        ("one that crosses it, and its mailbox is counted", ask(3, "ann", "bob"), pending.clone(), 10),
        (
            "an answer to none",
            answer(4, accept, "cy", "bob"),
            JobOutcome::Answered(FriendAnswerOutcome::NoSuchRequest),
            4,
        ),
        ("an accept, beside one that crosses", answer(5, accept, "ann", "bob"), done.clone(), 12),
        ("a request between friends", ask(6, "ann", "bob"), JobOutcome::Asked(FriendRequestOutcome::AlreadyFriends), 5),
        ("the answer once more", answer(5, accept, "ann", "bob"), done.clone(), 4),
        ("the end", end("ann", "bob"), JobOutcome::Unfriended, 4),
        ("another request", ask(7, "cy", "ann"), pending.clone(), 9),
        ("an accept, and its mailbox is counted", answer(8, accept, "ann", "cy"), done.clone(), 10),
        ("another request", ask(9, "dan", "ann"), pending.clone(), 9),
        ("a reject, and its mailbox is counted", answer(10, reject, "ann", "dan"), done, 6),
        ("another request", ask(11, "dan", "bob"), pending, 9),
        ("a request that is withdrawn", end("dan", "bob"), JobOutcome::Unfriended, 7),
    ] {
        let (outcome, asked) = worker.run(job);
        assert_eq!(format!("{outcome:?}"), format!("{expected:?}"), "{what}");
        assert_eq!(asked, questions, "{what}");
    }
    worker.pool.stop();
}

#[test]
fn a_message_asks_the_database_so_often() {
    let Some(database) = MariaDb::start() else { return };
    let mut worker = Worker::new(&database);
    let save = |seq, from: &str, to: &str| {
        let id = MessageId::new(format!("m{seq}")).unwrap();
        let (from, to) = (UserNameRef::new(from).unwrap(), UserNameRef::new(to).unwrap());
        Job::SavePush { push: Push::new(seq, seq, PushKind::Message, &id, &from, &to, "x") }
    };
    let delete = |to: &str, seq| Job::DeletePush { receiver: user(to), seq };
    for (what, job, questions) in [
        ("the first one, and its mailbox is counted", save(1, "bob", "ann"), 2),
        ("the next one", save(2, "bob", "ann"), 1),
        ("one of another sender", save(3, "cy", "ann"), 1),
        ("an ack", delete("ann", 1), 2),
        ("the next one after an ack", save(4, "bob", "ann"), 1),
        ("the first one in another mailbox, which is counted", save(5, "ann", "bob"), 2),
        // A repetition shows that the outcome of the first try was not known.
        ("the same once more", save(3, "cy", "ann"), 2),
        ("the next one, and the mailbox is counted once more", save(6, "bob", "ann"), 2),
        ("the next one after that", save(7, "bob", "ann"), 1),
    ] {
        let (outcome, asked) = worker.run(job);
        assert!(matches!(outcome, JobOutcome::Saved | JobOutcome::Deleted), "{what}: {outcome:?}");
        assert_eq!(asked, questions, "{what}");
    }
    worker.pool.stop();
}

#[test]
fn a_job_about_ones_own_account_asks_the_database_so_often() {
    let Some(database) = MariaDb::start() else { return };
    let mut worker = Worker::new(&database);
    for name in ["ann", "bob", "cy"] {
        worker.run(account(name));
    }
    let ask = |seq, from: &str, to: &str| Job::AskFriend {
        push: push(seq, PushKind::FriendRequest, from, to),
        pending_max: 9,
    };
    worker.run(ask(1, "bob", "ann"));
    worker.run(ask(2, "ann", "bob"));
    let of_ann = |job| Job::Account { user: user("ann"), job: Box::new(job) };
    let block = |other: &str| of_ann(OwnAccountStoreJob::Block { other: user(other), blocked_max: 9 });
    let unblock = |other: &str| of_ann(OwnAccountStoreJob::Unblock { other: user(other) });
    for (what, job, questions) in [
        ("a block that takes requests along both ways", block("bob"), 12),
        ("the same once more", block("bob"), 7),
        ("a block of a stranger", block("cy"), 8),
        ("a request that is hidden", ask(3, "cy", "ann"), 8),
        ("the end of that block, with the push", unblock("cy"), 8),
        ("the same once more", unblock("cy"), 5),
        ("another profile", of_ann(OwnAccountStoreJob::ChangeProfile(ProfileChange::default())), 2),
        (
            "another password",
            of_ann(OwnAccountStoreJob::ChangePassword { old_hash: Some(Secret::new("h")), new_hash: Secret::new("i") }),
            3,
        ),
        // It begins no transaction, but has as many questions as a transaction itself.
        ("a roster", of_ann(OwnAccountStoreJob::Roster { after: None, rows_max: 9, bytes_max: 999 }), 0),
    ] {
        let (outcome, asked) = worker.run(job);
        assert!(
            matches!(outcome, JobOutcome::Account(_) | JobOutcome::Asked(FriendRequestOutcome::Hidden)),
            "{what}: {outcome:?}"
        );
        assert_eq!(asked, questions, "{what}");
    }
    worker.pool.stop();
}

#[test]
fn a_job_about_tokens_asks_the_database_so_often() {
    let Some(database) = MariaDb::start() else { return };
    let mut worker = Worker::new(&database);
    worker.run(account("ann"));
    let make = |now_ms| Job::MakeToken {
        user: user("ann"),
        now_ms,
        expires_ms: now_ms + 100,
        latest_ms: now_ms + 200,
        tokens_max: 2,
    };
    // From the third token on, an older one has to make room.
    for (now_ms, questions) in [(1, 3), (2, 3), (3, 4), (4, 4)] {
        let (outcome, asked) = worker.run(make(now_ms));
        assert!(matches!(outcome, JobOutcome::Token(_)));
        assert_eq!(asked, questions, "at {now_ms}");
    }
    assert_eq!(worker.run(Job::RevokeTokens { user: user("ann") }).1, 1);
    worker.pool.stop();
}
