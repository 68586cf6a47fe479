//! The quotas without a store; and a worker's counts compared with the rows of a store that fails
//! sometimes.

use super::*;
use crate::chat::contract::{
    FriendAnswerOutcome, FriendRequestOutcome, Job, JobOutcome, MailboxQuotaKind, OwnAccountStoreJob,
};
use crate::protocol::field::{MessageId, Profile, Secret, UserName, UserNameRef};
use crate::protocol::push::PushKind;
use crate::store::accounts::AccountRepository;
use crate::store::blocks::BlockedUserRepository;
use crate::store::friendship::FriendshipRepository;
use crate::store::memory::MemoryStore;
use crate::store::password::VerifiedPasswordCache;
use crate::store::roster::RosterReadRepository;
use crate::store::token::ResumeTokenRepository;
use crate::store::work::DataWorker;
use crate::store::{MailboxSaveResult, PushSenderAndSize, StoreConnection, StoreError};
use fastrand::Rng;
use std::sync::{Arc, Mutex};

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn push(seq: u64, kind: PushKind, from: &str, to: &str, id: &str, bytes: usize) -> Push {
    let (id, from, to) = (MessageId::new(id).unwrap(), UserNameRef::new(from).unwrap(), UserNameRef::new(to).unwrap());
    Push::new(seq, 1, kind, &id, &from, &to, &"x".repeat(bytes))
}

fn message(seq: u64, from: &str, to: &str) -> Push {
    push(seq, PushKind::Message, from, to, &format!("m{seq:05}"), 100)
}

fn quotas(receiver: (u64, u64), pair: (u64, u64)) -> MailboxQuotas {
    let usage = |(rows, bytes)| PushCountAndBytes { rows, bytes };
    MailboxQuotas { receiver: usage(receiver), pair: usage(pair) }
}

const NO_BYTES_MAX: u64 = u64::MAX;

/// Counts in which this mailbox is known to be empty.
fn mailbox_counts(quotas: MailboxQuotas, receiver: &str) -> MailboxUsageCache {
    let mut mailbox_counts = MailboxUsageCache::new(quotas, 1_000);
    mailbox_counts.begin();
    mailbox_counts.counts(receiver);
    mailbox_counts.counted_all(receiver);
    mailbox_counts.committed();
    mailbox_counts
}

#[test]
fn a_pair_and_a_receiver_have_so_many_and_so_large_and_no_more() {
    let size = PushCountAndBytes::of_one_push(message(1, "bob", "ann").text_bytes() as u64).bytes;
    for (quotas, of_bob, of_cid) in [
        (quotas((5, NO_BYTES_MAX), (3, NO_BYTES_MAX)), 3, 2),
        (quotas((100, 5 * size), (100, 3 * size)), 3, 2),
        (quotas((100, 5 * size - 1), (100, 4 * size - 1)), 3, 1),
    ] {
        let mut mailbox_counts = mailbox_counts(quotas, "ann");
        mailbox_counts.begin();
        for (sender, taken) in [("bob", of_bob), ("cid", of_cid)] {
            for n in 0..6 {
                mailbox_counts.next_round();
                let verdict = mailbox_counts.admit(&message(n, sender, "ann"), false);
                assert_eq!(verdict == MailboxQuotaCheckResult::Room, n < taken, "{sender} {n} {quotas:?}");
                assert!(n < taken || matches!(verdict, MailboxQuotaCheckResult::Full(_)), "{sender} {n} {quotas:?}");
            }
        }
        mailbox_counts.note_deleted(&user("ann"), 0, "bob".into(), message(0, "bob", "ann").text_bytes() as u64);
        mailbox_counts.next_round();
        assert_eq!(
            mailbox_counts.admit(&message(9, "bob", "ann"), false),
            MailboxQuotaCheckResult::Room,
            "a deleted push makes room"
        );
        assert!(mailbox_counts.exceeded_quota(&message(10, "bob", "ann")).is_some());
    }
}

#[test]
fn the_quota_that_is_exceeded_is_told() {
    for (quotas, exceeded) in [
        (quotas((2, NO_BYTES_MAX), (9, NO_BYTES_MAX)), MailboxQuotaKind::Receiver),
        (quotas((9, NO_BYTES_MAX), (2, NO_BYTES_MAX)), MailboxQuotaKind::Pair),
    ] {
        let mut mailbox_counts = mailbox_counts(quotas, "ann");
        mailbox_counts.begin();
        let mut admit = |n| {
            mailbox_counts.next_round();
            mailbox_counts.admit(&message(n, "bob", "ann"), false)
        };
        assert_eq!(
            [0, 1, 2].map(&mut admit),
            [MailboxQuotaCheckResult::Room, MailboxQuotaCheckResult::Room, MailboxQuotaCheckResult::Full(exceeded)]
        );
        assert_eq!(mailbox_counts.exceeded_quota(&message(3, "bob", "ann")), Some(exceeded));
    }
}

#[test]
fn a_push_that_depends_on_its_round_is_put_off_with_all_that_follow() {
    let mut mailbox_counts = mailbox_counts(quotas((2, NO_BYTES_MAX), (2, NO_BYTES_MAX)), "ann");
    mailbox_counts.begin();
    mailbox_counts.next_round();
    let verdicts: Vec<_> = (0..4).map(|n| mailbox_counts.admit(&message(n, "bob", "ann"), false)).collect();
    assert_eq!(
        verdicts,
        [
            MailboxQuotaCheckResult::Room,
            MailboxQuotaCheckResult::Room,
            MailboxQuotaCheckResult::Later,
            MailboxQuotaCheckResult::Later
        ]
    );
    mailbox_counts.note_not_saved(&message(1, "bob", "ann"));
    mailbox_counts.next_round();
    let verdicts: Vec<_> = (2..4).map(|n| mailbox_counts.admit(&message(n, "bob", "ann"), false)).collect();
    assert_eq!(verdicts, [MailboxQuotaCheckResult::Room, MailboxQuotaCheckResult::Later]);
    mailbox_counts.next_round();
    assert_eq!(
        mailbox_counts.admit(&message(3, "bob", "ann"), false),
        MailboxQuotaCheckResult::Full(MailboxQuotaKind::Receiver)
    );
}

#[test]
fn a_rollback_is_not_counted_and_an_unknown_outcome_is_counted_again() {
    let mut mailbox_counts = mailbox_counts(quotas((9, NO_BYTES_MAX), (9, NO_BYTES_MAX)), "ann");
    mailbox_counts.begin();
    mailbox_counts.note_saved(&message(1, "bob", "ann"));
    mailbox_counts.committed();
    let before = mailbox_counts.usage("ann");
    mailbox_counts.begin();
    mailbox_counts.note_saved(&message(2, "bob", "ann"));
    mailbox_counts.note_saved(&message(3, "cid", "ann"));
    mailbox_counts.note_deleted(&user("ann"), 1, "bob".into(), message(1, "bob", "ann").text_bytes() as u64);
    mailbox_counts.counts("dan");
    mailbox_counts.counted_all("dan");
    mailbox_counts.rolled_back();
    assert_eq!(mailbox_counts.usage("ann"), before);
    assert!(!mailbox_counts.is_known("dan"), "the counts may contain rows that were rolled back");
    assert_eq!(mailbox_counts.entries(), 2);
    mailbox_counts.begin();
    mailbox_counts.note_saved(&message(2, "bob", "ann"));
    mailbox_counts.note_unknown_outcome();
    assert!(!mailbox_counts.is_known("ann"));
    // It is counted while the unknown transaction may still be committed: it must be counted once
    // more afterwards.
    mailbox_counts.begin();
    mailbox_counts.counts("ann");
    mailbox_counts.counted_all("ann");
    mailbox_counts.committed();
    assert!(mailbox_counts.is_known("ann"));
    mailbox_counts.end_uncertainty();
    assert!(!mailbox_counts.is_known("ann"));
    assert_eq!(mailbox_counts.entries(), 0);
}

#[test]
fn too_many_mailboxes_are_not_remembered_and_the_dear_ones_stay() {
    let no_quota = quotas((u64::MAX, NO_BYTES_MAX), (u64::MAX, NO_BYTES_MAX));
    let mut mailbox_counts = MailboxUsageCache::new(no_quota, 200);
    for n in 0..1_000 {
        let name = format!("user {n}");
        mailbox_counts.begin();
        mailbox_counts.counts(&name);
        mailbox_counts.counted_all(&name);
        for seq in 0..if n % 100 == 0 { 50 } else { n % 3 } {
            mailbox_counts.note_saved(&message(seq, if seq % 2 == 0 { "bob" } else { "cid" }, &name));
        }
        mailbox_counts.committed();
        assert!(mailbox_counts.entries() <= 200);
        let shares: usize = mailbox_counts.by_receiver.values().map(|mailbox| mailbox.shares.len()).sum();
        assert_eq!(mailbox_counts.shares, shares);
    }
    assert!((0..1_000).step_by(100).all(|n| mailbox_counts.is_known(&format!("user {n}"))));
    println!("a mailbox: {} B beside its names", size_of::<MailboxUsage>() + size_of::<Box<str>>());
}

/// A store that fails at some of the calls, drawn from a seed.
struct FlakyStore {
    inner: MemoryStore,
    dice: Arc<Mutex<Rng>>,
    broken: bool,
}

fn draw(dice: &Mutex<Rng>, below: u64) -> u64 {
    dice.lock().unwrap().u64(..below)
}

impl FlakyStore {
    fn may_fail(&mut self) -> Result<(), StoreError> {
        match draw(&self.dice, 60) {
            0 => Err(StoreError::Busy("a lock".into())),
            1 => {
                self.broken = true;
                Err(StoreError::Unavailable("the connection is lost".into()))
            }
            2 => Err(StoreError::Refused("a row".into())),
            3 => panic!("the driver of the test panics, as it should"),
            _ => Ok(()),
        }
    }
}

/// Rolls back, as a database does when a connection ends in the middle of a transaction, here by a
/// panic.
impl Drop for FlakyStore {
    fn drop(&mut self) {
        self.inner.rollback();
    }
}

impl StoreConnection for FlakyStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.inner.begin()
    }
    fn commit(&mut self) -> Result<(), StoreError> {
        match draw(&self.dice, 12) {
            0 => {
                self.broken = true;
                return Err(StoreError::Unavailable("lost before the commit".into()));
            }
            1 => {
                self.inner.commit()?;
                self.broken = true;
                return Err(StoreError::Unavailable("lost after the commit".into()));
            }
            _ => {}
        }
        self.inner.commit()
    }
    fn rollback(&mut self) {
        self.inner.rollback();
    }
    fn is_broken(&self) -> bool {
        self.broken
    }
    fn last_seq(&mut self) -> Result<u64, StoreError> {
        self.inner.last_seq()
    }
    fn create_account(&mut self, profile: &Profile, hash: &Secret) -> Result<bool, StoreError> {
        self.inner.create_account(profile, hash)
    }
    fn profile(&mut self, user: &UserName) -> Result<Option<Profile>, StoreError> {
        self.inner.profile(user)
    }
    fn friends(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError> {
        self.inner.friends(user)
    }
    fn pushes(&mut self, user: &UserName, seq: u64, count: u32, bytes: usize) -> Result<Vec<Push>, StoreError> {
        self.inner.pushes(user, seq, count, bytes)
    }
    fn save_pushes(&mut self, pushes: &[Push]) -> Result<Vec<MailboxSaveResult>, StoreError> {
        self.may_fail()?;
        let saved = self.inner.save_pushes(pushes)?;
        self.may_fail()?;
        Ok(saved)
    }
    fn find_pushes(&mut self, pushes: &[Push]) -> Result<Vec<Option<MailboxSaveResult>>, StoreError> {
        self.inner.find_pushes(pushes)
    }
    fn waiting_pushes(
        &mut self,
        receivers: &[(&str, u64)],
        count_max: u32,
        note: &mut dyn FnMut(usize, u64, &str, u64),
    ) -> Result<(), StoreError> {
        self.inner.waiting_pushes(receivers, count_max, note)?;
        self.may_fail()
    }
    fn sizes(&mut self, pushes: &[(UserName, u64)]) -> Result<Vec<Option<PushSenderAndSize>>, StoreError> {
        self.inner.sizes(pushes)
    }
    fn delete_pushes(&mut self, pushes: &[(UserName, u64)]) -> Result<(), StoreError> {
        self.inner.delete_pushes(pushes)?;
        self.may_fail()
    }
    fn accounts(&mut self) -> &mut dyn AccountRepository {
        self.inner.accounts()
    }
    fn friendships(&mut self) -> &mut dyn FriendshipRepository {
        self.inner.friendships()
    }
    fn blocks(&mut self) -> &mut dyn BlockedUserRepository {
        self.inner.blocks()
    }
    fn rosters(&mut self) -> &mut dyn RosterReadRepository {
        self.inner.rosters()
    }
    fn tokens(&mut self) -> &mut dyn ResumeTokenRepository {
        self.inner.tokens()
    }
}

fn batch(tables: &MemoryStore, dice: &Arc<Mutex<Rng>>, quotas: MailboxQuotas) -> DataWorker {
    let (inner, dice) = (tables.clone(), Arc::clone(dice));
    let open = move || -> Result<Box<dyn StoreConnection>, StoreError> {
        Ok(Box::new(FlakyStore { inner: inner.clone(), dice: Arc::clone(&dice), broken: false }))
    };
    let first = open().unwrap();
    let verified = Arc::new(VerifiedPasswordCache::new(1).unwrap());
    DataWorker::new(first, Arc::new(Box::new(open)), verified, MailboxUsageCache::new(quotas, 20))
}

/// Counts all rows of a receiver again.
fn recount(tables: &MemoryStore, receiver: &str) -> (PushCountAndBytes, Vec<SenderUsage>) {
    let mut mailbox = MailboxUsage::new(false);
    let all = tables.clone().pushes(&user(receiver), 0, u32::MAX, usize::MAX).unwrap();
    for push in all {
        mailbox.change(push.sender(), PushCountAndBytes::of_one_push(push.text_bytes() as u64), true);
    }
    (mailbox.total, mailbox.shares)
}

const PEOPLE: [&str; 4] = ["ann", "bob", "cid", "dan"];

fn account(name: &str) -> Profile {
    let empty = || Box::<str>::from("");
    Profile {
        user_name: user(name),
        email_address: empty(),
        nick_name: empty(),
        profile_picture: empty(),
        location: empty(),
        personal_description: empty(),
        rsa_public_key: empty(),
    }
}

/// Some jobs, of which a few repeat earlier ones.
fn jobs(dice: &Mutex<Rng>, next_seq: &mut u64, said: &mut Vec<Push>) -> Vec<Job> {
    let person = || PEOPLE[draw(dice, 4) as usize];
    let mut jobs = Vec::new();
    for _ in 0..1 + draw(dice, 25) {
        *next_seq += 1;
        let (seq, from, to) = (*next_seq, person(), person());
        let of = |kind, id: &str| push(seq, kind, from, to, id, draw(dice, 300) as usize);
        jobs.push(match draw(dice, 13) {
            0..=5 => {
                let push = match said.len() {
                    len if len > 0 && draw(dice, 5) == 0 => said[draw(dice, len as u64) as usize].clone(),
                    _ => of(PushKind::Message, &format!("m{}", draw(dice, 400))),
                };
                said.push(push.clone());
                Job::SavePush { push }
            }
            6..=8 => Job::DeletePush { receiver: user(to), seq: seq.saturating_sub(draw(dice, 200)) },
            9 => Job::AskFriend { push: of(PushKind::FriendRequest, "r"), pending_max: 9 },
            10 if draw(dice, 2) == 0 => Job::Unfriend { user: user(from), other: user(to) },
            10 => Job::AnswerFriend { push: of(PushKind::FriendReject, "r"), friends_max: 9 },
            11 => Job::AnswerFriend { push: of(PushKind::FriendAccept, "r"), friends_max: 9 },
            _ => {
                let other = user(to);
                let job = match draw(dice, 2) {
                    0 => OwnAccountStoreJob::Block { other, blocked_max: 2 },
                    _ => OwnAccountStoreJob::Unblock { other },
                };
                Job::Account { user: user(from), job: Box::new(job) }
            }
        });
    }
    jobs
}

/// Checks that nothing is left of blocked users but hidden requests; gives the number of these.
fn check_blocks(tables: &mut MemoryStore) -> usize {
    let mut hidden = 0;
    for (one, other) in PEOPLE.iter().flat_map(|one| PEOPLE.map(|other| (user(one), user(other)))) {
        let tie = tables.relation(&one, &other).unwrap();
        let incoming = tables.request(&one, &other).unwrap();
        assert_eq!(incoming.as_ref().is_some_and(|request| request.is_hidden), incoming.is_some() && tie.blocks);
        assert!(!tie.blocks || !tie.are_friends && (one == other || tables.request(&other, &one).unwrap().is_none()));
        hidden += usize::from(incoming.is_some() && tie.blocks);
    }
    hidden
}

#[test]
fn the_counts_of_a_worker_match_its_store_whatever_fails_in_between() {
    let (mut fulls, mut known, mut hidden) = (0, 0, 0);
    for seed in 1..=40_u64 {
        let (mut tables, dice) = (MemoryStore::default(), Arc::new(Mutex::new(Rng::with_seed(seed))));
        for name in PEOPLE {
            tables.begin().unwrap();
            tables.create_account(&account(name), &Secret::new("h")).unwrap();
            tables.commit().unwrap();
        }
        let quotas = quotas((40, 12_000), (15, 5_000));
        let mut batch = batch(&tables, &dice, quotas);
        let (mut seq, mut said) = (0, Vec::new());
        for _ in 0..60 {
            let before = PEOPLE.map(|name| recount(&tables, name).0.rows);
            let jobs = jobs(&dice, &mut seq, &mut said);
            let outcomes = batch.run(&jobs);
            assert_eq!(outcomes.len(), jobs.len());
            for (name, before) in PEOPLE.iter().zip(before) {
                let (total, shares) = recount(&tables, name);
                if let Some(found) = batch.mailbox_counts().usage(name) {
                    known += 1;
                    assert_eq!(found, (total, shares.clone()), "seed {seed}, {name}");
                }
                let fits = |usage: PushCountAndBytes, max: PushCountAndBytes| {
                    usage.rows <= max.rows && usage.bytes <= max.bytes
                };
                assert!(fits(total, quotas.receiver), "seed {seed}, {name}: {total:?} {before}");
                assert!(shares.iter().all(|(_, share)| fits(*share, quotas.pair)), "seed {seed}, {name}: {shares:?}");
            }
            hidden += check_blocks(&mut tables);
            let is_full = |outcome: &&JobOutcome| {
                matches!(
                    outcome,
                    JobOutcome::Full(_)
                        | JobOutcome::Asked(FriendRequestOutcome::Full(_))
                        | JobOutcome::Answered(FriendAnswerOutcome::Full(_))
                )
            };
            fulls += outcomes.iter().filter(is_full).count();
        }
    }
    assert!(fulls > 100 && known > 1_000 && hidden > 100, "{fulls} {known} {hidden}");
}

/// A worker whose store never fails, with Bob's pushes to Ann in it.
fn calm(quotas: MailboxQuotas, waiting: u64) -> DataWorker {
    let mut tables = MemoryStore::default();
    tables.begin().unwrap();
    let all: Vec<Push> = (1..=waiting).map(|seq| message(seq, "bob", "ann")).collect();
    tables.save_pushes(&all).unwrap();
    tables.commit().unwrap();
    let open = move || -> Result<Box<dyn StoreConnection>, StoreError> { Ok(Box::new(tables.clone())) };
    let first = open().unwrap();
    let verified = Arc::new(VerifiedPasswordCache::new(1).unwrap());
    DataWorker::new(first, Arc::new(Box::new(open)), verified, MailboxUsageCache::new(quotas, 1_000))
}

fn said(outcomes: &[JobOutcome]) -> Vec<&'static str> {
    let word = |outcome: &JobOutcome| match outcome {
        JobOutcome::Saved => "saved",
        JobOutcome::Duplicate => "duplicate",
        JobOutcome::Full(_) => "full",
        JobOutcome::Deleted => "deleted",
        _ => "?",
    };
    outcomes.iter().map(word).collect()
}

fn save(push: Push) -> Job {
    Job::SavePush { push }
}

#[test]
fn stored_pushes_are_found_in_a_full_mailbox() {
    let mut batch = calm(quotas((4, NO_BYTES_MAX), (4, NO_BYTES_MAX)), 3);
    let again = push(9, PushKind::Message, "bob", "ann", "m00002", 5);
    let outcomes = batch.run(&[
        save(message(1, "bob", "ann")),
        save(again.clone()),
        save(message(10, "bob", "ann")),
        save(message(11, "bob", "ann")),
        save(message(2, "bob", "ann")),
        save(again),
        save(push(12, PushKind::Message, "bob", "ann", "m00010", 5)),
        save(message(13, "cid", "ann")),
    ]);
    let expected = ["saved", "duplicate", "saved", "full", "saved", "duplicate", "duplicate", "full"];
    assert_eq!(said(&outcomes), expected);
    let delete = |seq| Job::DeletePush { receiver: user("ann"), seq };
    let outcomes = batch.run(&[delete(1), delete(1), save(message(20, "cid", "ann")), save(message(21, "cid", "ann"))]);
    assert_eq!(said(&outcomes), ["deleted", "deleted", "saved", "full"], "one came off, and one only");
}

#[test]
fn a_long_backlog_is_counted_in_bounded_pieces_and_as_far_as_needed() {
    let rows = u64::from(COUNTED_ROWS_MAX);
    let of = |rows| quotas((rows, NO_BYTES_MAX), (rows, NO_BYTES_MAX));
    // The first rows suffice to know that it is full.
    let mut batch = calm(of(rows / 2), rows + 100);
    assert_eq!(said(&batch.run(&[save(message(900_000, "cid", "ann"))])), ["full"]);
    let gone: Vec<Job> = (1..=10).map(|seq| Job::DeletePush { receiver: user("ann"), seq }).collect();
    batch.run(&gone);
    assert_eq!(
        said(&batch.run(&[save(message(900_001, "cid", "ann"))])),
        ["full"],
        "more waits behind what was counted"
    );
    // Here it is known only when the second transaction has continued counting.
    let mut batch = calm(of(rows + 50), rows + 100);
    assert_eq!(said(&batch.run(&[save(message(900_000, "cid", "ann"))])), ["saved"]);
    assert_eq!(said(&batch.run(&[save(message(900_001, "cid", "ann"))])), ["full"]);
    let gone: Vec<Job> = (1..=52).map(|seq| Job::DeletePush { receiver: user("ann"), seq }).collect();
    batch.run(&gone);
    let outcomes = batch.run(&[save(message(900_002, "cid", "ann")), save(message(900_003, "cid", "ann"))]);
    assert_eq!(said(&outcomes), ["saved", "full"], "to the push");
}
