//! The figures from which the quotas of waiting pushes are reckoned, on every store; and the quotas
//! themselves through the pool.

use super::mysql::Database;
use crate::common::store::*;
use crate::on_each;
use hongyan::chat::contract::{
    FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome, JobTicket, MailboxQuotaKind,
};
use hongyan::config::{Config, StoreUrl};
use hongyan::protocol::push::{Push, PushKind};
use hongyan::store::pool::WorkerPool;
use hongyan::store::{MailboxSaveResult, StoreConnection};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Row = (u64, String, u64);

/// The number and size of the pushes that wait for each of these receivers.
fn read(store: &mut dyn StoreConnection, receivers: &[(&str, u64)], count_max: u32) -> Vec<Vec<Row>> {
    let mut found = vec![Vec::new(); receivers.len()];
    store
        .waiting_pushes(receivers, count_max, &mut |place, seq, sender, bytes| {
            found[place].push((seq, sender.to_owned(), bytes));
        })
        .unwrap();
    found
}

fn row(push: &Push) -> Row {
    (push.seq, push.sender().to_owned(), push.text_bytes() as u64)
}

#[test]
fn the_size_of_waiting_pushes_is_given_in_bytes() {
    on_each(|store| {
        let long = "鸿".repeat(50_000);
        let mut all = vec![
            push(7, PushKind::Message, "🪿 goose", "ann", "雁\0", ODD),
            push(9, PushKind::FriendReject, "bob", "ann", "r", ""),
            push(8, PushKind::Message, "bob", "ann", "m", &long),
            message(3, "bob", "cy", "m"),
        ];
        save(store, &all);
        all.sort_by_key(|push| push.seq);
        let of_ann: Vec<Row> = all[1..].iter().map(row).collect();
        assert_eq!(read(store, &[("ann", 0)], 100), std::slice::from_ref(&of_ann));
        assert_eq!(read(store, &[("ann", 0)], 2), [&of_ann[..2]]);
        let found = read(store, &[("nobody", 0), ("ann", 7), ("cy", 0), ("ann", 9), ("Ann", 0)], 9);
        assert_eq!(found, [vec![], of_ann[1..].to_vec(), vec![row(&all[0])], vec![], vec![]]);
        let asked = [(user("ann"), 9), (user("cy"), 9), (user("ann"), 7), (user("ann"), 1), (user("ann"), 9)];
        let sizes = store.sizes(&asked).unwrap();
        let size = |push: &Push| Some((Box::from(push.sender()), push.text_bytes() as u64));
        assert_eq!(sizes, [size(&all[3]), None, size(&all[1]), None, size(&all[3])]);
    });
}

#[test]
fn many_mailboxes_are_read_at_once() {
    on_each(|store| {
        let names: Vec<String> = (0..123).map(|n| format!("user {n}")).collect();
        let all: Vec<Push> = (0..123 * 3).map(|seq| message(seq + 1, "bob", &names[seq as usize % 123], "m")).collect();
        let saved = save(store, &all);
        assert_eq!(saved.iter().filter(|saved| **saved == MailboxSaveResult::Itself).count(), 123, "one of each id");
        let asked: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 0)).collect();
        let found = read(store, &asked, 2);
        for (place, rows) in found.iter().enumerate() {
            assert_eq!(*rows, [row(&all[place])]);
        }
        let asked: Vec<_> = all.iter().map(|push| (user(push.receiver()), push.seq)).collect();
        assert_eq!(store.sizes(&asked).unwrap().iter().flatten().count(), 123);
        assert_eq!(store.find_pushes(&all).unwrap()[..123], [Some(MailboxSaveResult::Before); 123]);
        assert_eq!(store.find_pushes(&all).unwrap()[123..], [Some(MailboxSaveResult::Duplicate); 246]);
    });
}

#[test]
fn the_result_of_a_save_can_be_found_without_saving() {
    on_each(|store| {
        save(store, &[message(1, "bob", "ann", "m"), push(2, PushKind::FriendReject, "bob", "ann", "r", "")]);
        let asked = [
            message(1, "bob", "ann", "m"),
            message(5, "bob", "ann", "m"),
            message(6, "bob", "ann", "r"),
            push(7, PushKind::FriendReject, "bob", "ann", "m", ""),
            message(8, "cy", "ann", "m"),
        ];
        let found = store.find_pushes(&asked).unwrap();
        assert_eq!(found, [Some(MailboxSaveResult::Before), Some(MailboxSaveResult::Duplicate), None, None, None]);
        assert_eq!(waiting(store, "ann"), [1, 2]);
        assert!(store.find_pushes(&[message(1, "bob", "ann", "another")]).is_err());
        assert!(store.find_pushes(&[]).unwrap().is_empty());
    });
}

#[test]
fn without_room_a_request_and_its_answer_change_nothing_and_say_so_last() {
    on_each(|store| {
        sign_up(store, &["ann", "bob"]);
        let asks = |store: &mut dyn StoreConnection, push: &Push| ask_within(store, push, 1, false);
        let pending = |store: &mut dyn StoreConnection, receiver: &str, sender: &str| {
            store.friendships().request(&user(receiver), &user(sender)).unwrap().map(|request| request.seq)
        };
        assert_eq!(asks(store, &request(1, "bob", "nobody", "r")), FriendRequestOutcome::NoSuchUser);
        assert_eq!(asks(store, &request(1, "bob", "ann", "r")), FriendRequestOutcome::Full(MailboxQuotaKind::Receiver));
        assert_eq!((pending(store, "ann", "bob"), waiting(store, "ann")), (None, vec![]));
        assert_eq!(ask(store, &request(2, "bob", "ann", "r")), FriendRequestOutcome::Pending);
        assert_eq!(pending(store, "ann", "bob"), Some(2));
        assert_eq!(pending(store, "bob", "ann"), None);
        assert_eq!(asks(store, &request(2, "bob", "ann", "r")), FriendRequestOutcome::Pending, "the very same job");
        let answers = |store: &mut dyn StoreConnection, push: &Push| reply_within(store, push, 9, false);
        for kind in [PushKind::FriendAccept, PushKind::FriendReject] {
            assert_eq!(answers(store, &answer(3, kind, "ann", "bob", "other")), FriendAnswerOutcome::NoSuchRequest);
            assert_eq!(
                answers(store, &answer(3, kind, "ann", "bob", "r")),
                FriendAnswerOutcome::Full(MailboxQuotaKind::Receiver)
            );
            assert_eq!((waiting(store, "ann"), waiting(store, "bob")), (vec![2], vec![]));
        }
        let accept = answer(3, PushKind::FriendAccept, "ann", "bob", "r");
        assert_eq!(reply(store, &accept), FriendAnswerOutcome::Done);
        assert_eq!(answers(store, &accept), FriendAnswerOutcome::Done, "the very same job");
        assert_eq!(asks(store, &request(4, "bob", "ann", "r")), FriendRequestOutcome::AlreadyFriends);
    });
}

pub(crate) struct Workers {
    pool: WorkerPool,
    next: u32,
}

impl Workers {
    pub(crate) fn new(store: &StoreUrl) -> Self {
        let config = Config {
            store: store.clone(),
            argon2_memory_kib: 8,
            argon2_passes: 1,
            waiting_per_receiver_max: 300,
            waiting_per_pair_max: 200,
            ..Config::default()
        };
        Self { pool: WorkerPool::start(&config, Arc::new(|| {})).unwrap(), next: 0 }
    }

    pub(crate) fn stop(self) {
        self.pool.stop();
    }

    /// Does these together; the outcomes in their order.
    pub(crate) fn ask(&mut self, jobs: impl IntoIterator<Item = Job>) -> Vec<JobOutcome> {
        let (mut out, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(60));
        self.pool.submit(jobs.into_iter().zip(0..).map(|(job, slot)| {
            self.next = slot + 1;
            (JobTicket { slot, generation: 0 }, job)
        }));
        while out.len() < self.next as usize {
            assert!(Instant::now() < deadline, "not answered");
            self.pool.take(&mut out);
            std::thread::sleep(Duration::from_millis(1));
        }
        out.sort_by_key(|(ticket, _)| ticket.slot);
        out.into_iter().map(|(_, outcome)| outcome).collect()
    }
}

fn kinds(outcomes: &[JobOutcome]) -> (usize, usize) {
    let count = |is: fn(&JobOutcome) -> bool| outcomes.iter().filter(|outcome| is(outcome)).count();
    (count(|outcome| matches!(outcome, JobOutcome::Saved)), count(|outcome| matches!(outcome, JobOutcome::Full(_))))
}

/// Bob's share is full, then Ann's mailbox; room comes with deletions, and a restart changes
/// nothing.
fn fill(store: &StoreUrl) {
    let people = ["ann", "eve", "fay", "gil", "hal"];
    let save = |seq: u64, from: &str, to: &str| Job::SavePush { push: message(seq, from, to, &format!("m{seq}")) };
    let mut workers = Workers::new(store);
    let mut seq = 0;
    let mut said = |from: &'static str, count: u64| -> Vec<Job> {
        let of = |to: &&str| -> Vec<Job> {
            let first = seq + 1;
            seq += count;
            (first..=seq).map(|seq| save(seq, from, to)).collect()
        };
        people.iter().map(of).collect::<Vec<_>>().into_iter().flatten().collect()
    };
    assert_eq!(kinds(&workers.ask(said("bob", 210))), (1_000, 50));
    assert_eq!(kinds(&workers.ask(said("cy", 110))), (500, 50));
    let delete = |seq| Job::DeletePush { receiver: user("ann"), seq };
    workers.ask((1..=10).chain([5, 7_777]).map(delete));
    workers.pool.stop();
    let mut workers = Workers::new(store);
    assert_eq!(kinds(&workers.ask(said("dan", 11))), (10, 45), "ten of Ann's are gone");
    assert_eq!(kinds(&workers.ask([save(20, "bob", "ann")])), (1, 0), "the very same is there");
    workers.ask((11..=12).map(delete));
    let outcomes = workers.ask([save(90_001, "dan", "ann"), save(90_002, "bob", "ann"), save(90_003, "bob", "ann")]);
    assert_eq!(kinds(&outcomes), (2, 1));
    workers.pool.stop();
}

#[test]
fn quotas_hold_in_a_file_and_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    fill(&StoreUrl::Sqlite(folder.path().join("a.db")));
}

#[test]
fn quotas_hold_in_a_database_with_several_workers() {
    let Some(database) = Database::new() else { return };
    fill(&StoreUrl::Mysql(database.url()));
}
