//! The pool over a store that does what the test wants: refuses, panics, waits, loses its
//! connection.

mod failing;

use super::*;
use crate::protocol::field::{MessageId, Profile, Secret, UserName, UserNameRef};
use crate::protocol::push::{Push, PushKind};
use crate::protocol::request::Credential;
use crate::store::accounts::AccountRepository;
use crate::store::blocks::BlockedUserRepository;
use crate::store::friendship::FriendshipRepository;
use crate::store::roster::RosterReadRepository;
use crate::store::token::ResumeTokenRepository;
use crate::store::{MailboxSaveResult, PushSenderAndSize, StoreConnection};
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The behaviour of a test store, and the calls it got.
#[derive(Default)]
struct TestStoreBehaviour {
    opened: AtomicUsize,
    begun: AtomicUsize,
    committed: AtomicUsize,
    saves: AtomicUsize,
    wakes: AtomicUsize,
    /// Commits that say Unavailable and break the connection.
    lost_commits: AtomicUsize,
    /// Begins that say Busy.
    busy: AtomicUsize,
    /// Writes say Unavailable, reads work.
    read_only: AtomicUsize,
    /// Saves say Unavailable; jobs that change nothing are done, as when the disk is full.
    full: AtomicUsize,
    /// Begins of writes find after a while that somebody else holds the store.
    held: AtomicUsize,
    /// The largest push that it takes, if it is not 0.
    row_bytes_max: AtomicUsize,
    /// Opening fails.
    gone: AtomicUsize,
    /// The thread that holds it keeps opening waiting.
    opening: Mutex<()>,
    /// The thread that holds it keeps commits waiting.
    gate: Mutex<()>,
}

fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

struct ScriptedStore {
    inner: MemoryStore,
    script: Arc<TestStoreBehaviour>,
    broken: bool,
}

impl StoreConnection for ScriptedStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.script.begun.fetch_add(1, Ordering::SeqCst);
        if take_one(&self.script.busy) {
            return Err(StoreError::Busy("deadlock".into()));
        }
        if self.script.held.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(600));
            return Err(StoreError::Busy("database is locked".into()));
        }
        self.inner.begin()
    }
    fn commit(&mut self) -> Result<(), StoreError> {
        drop(self.script.gate.lock().unwrap_or_else(PoisonError::into_inner));
        if take_one(&self.script.lost_commits) {
            self.broken = true;
            return Err(StoreError::Unavailable("connection lost".into()));
        }
        self.script.committed.fetch_add(1, Ordering::SeqCst);
        self.inner.commit()
    }
    fn rollback(&mut self) {
        self.inner.rollback();
    }
    fn is_broken(&self) -> bool {
        self.broken
    }
    fn row_bytes_max(&self) -> usize {
        match self.script.row_bytes_max.load(Ordering::SeqCst) {
            0 => usize::MAX,
            max => max,
        }
    }
    fn last_seq(&mut self) -> Result<u64, StoreError> {
        self.inner.last_seq()
    }
    fn create_account(&mut self, profile: &Profile, password_hash: &Secret) -> Result<bool, StoreError> {
        self.inner.create_account(profile, password_hash)
    }
    fn profile(&mut self, user: &UserName) -> Result<Option<Profile>, StoreError> {
        if user.as_str() == "damaged" {
            return Err(StoreError::Corrupt("no UTF-8".into()));
        }
        self.inner.profile(user)
    }
    fn friends(&mut self, user: &UserName) -> Result<Vec<UserName>, StoreError> {
        self.inner.friends(user)
    }
    fn pushes(&mut self, user: &UserName, seq: u64, count: u32, bytes: usize) -> Result<Vec<Push>, StoreError> {
        self.inner.pushes(user, seq, count, bytes)
    }
    fn save_pushes(&mut self, pushes: &[Push]) -> Result<Vec<MailboxSaveResult>, StoreError> {
        self.script.saves.fetch_add(1, Ordering::SeqCst);
        if self.script.full.load(Ordering::SeqCst) > 0 {
            return Err(StoreError::Unavailable("disk full".into()));
        }
        if self.script.read_only.load(Ordering::SeqCst) > 0 {
            return Err(StoreError::Unavailable("read-only".into()));
        }
        for push in pushes {
            match push.content() {
                "locked" => return Err(StoreError::Busy("deadlock".into())),
                "refused" => return Err(StoreError::Refused("bad row".into())),
                "larger than a packet" => return Err(StoreError::TooLarge("a packet".into())),
                "unknown" => {
                    self.broken = true;
                    return Err(StoreError::Unknown("what is that?".into()));
                }
                "panic" => panic!("the driver of the test panics, as it should"),
                _ => {}
            }
        }
        self.inner.save_pushes(pushes)
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
        self.inner.waiting_pushes(receivers, count_max, note)
    }
    fn sizes(&mut self, pushes: &[(UserName, u64)]) -> Result<Vec<Option<PushSenderAndSize>>, StoreError> {
        self.inner.sizes(pushes)
    }
    fn delete_pushes(&mut self, pushes: &[(UserName, u64)]) -> Result<(), StoreError> {
        if self.script.read_only.load(Ordering::SeqCst) > 0 {
            return Err(StoreError::Unavailable("read-only".into()));
        }
        self.inner.delete_pushes(pushes)
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

struct TestPool {
    pool: WorkerPool,
    script: Arc<TestStoreBehaviour>,
    tables: MemoryStore,
    next: u32,
}

impl TestPool {
    fn new() -> Self {
        let config = Config { argon2_memory_kib: 8, argon2_passes: 1, auth_threads: 2, ..Config::default() };
        let (script, tables) = (Arc::new(TestStoreBehaviour::default()), MemoryStore::default());
        let (opening, inner, waking) = (Arc::clone(&script), tables.clone(), Arc::clone(&script));
        let opener: StoreOpener = Box::new(move || {
            opening.opened.fetch_add(1, Ordering::SeqCst);
            drop(opening.opening.lock().unwrap_or_else(PoisonError::into_inner));
            if opening.gone.load(Ordering::SeqCst) > 0 {
                return Err(StoreError::Unavailable("nobody listens".into()));
            }
            Ok(Box::new(ScriptedStore { inner: inner.clone(), script: Arc::clone(&opening), broken: false }))
        });
        let wake: WakeFn = Arc::new(move || {
            waking.wakes.fetch_add(1, Ordering::SeqCst);
        });
        let pool = WorkerPool::start_with(&config, opener, 1, wake).unwrap();
        Self { pool, script, tables, next: 0 }
    }

    fn submit(&mut self, job: Job) {
        self.pool.submit([(JobTicket { slot: self.next, generation: 0 }, job)]);
        self.next += 1;
    }

    /// Waits until everything that was submitted is answered; each exactly once. In the order of
    /// submission.
    fn answers(&mut self) -> Vec<JobOutcome> {
        let (mut done, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
        while done.len() < self.next as usize && Instant::now() < deadline {
            self.pool.take(&mut done);
            std::thread::sleep(Duration::from_millis(1));
        }
        let slots: HashSet<u32> = done.iter().map(|(ticket, _)| ticket.slot).collect();
        assert_eq!((done.len(), slots.len()), (self.next as usize, self.next as usize));
        self.next = 0;
        done.sort_by_key(|(ticket, _)| ticket.slot);
        done.into_iter().map(|(_, outcome)| outcome).collect()
    }

    fn ask(&mut self, job: Job) -> JobOutcome {
        self.submit(job);
        self.answers().remove(0)
    }

    fn count(count: &AtomicUsize) -> usize {
        count.load(Ordering::SeqCst)
    }
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn save(seq: u64, content: &str) -> Job {
    let (id, bob, ann) = (MessageId::new(format!("m{seq}")), UserNameRef::new("bob"), UserNameRef::new("ann"));
    let push = Push::new(seq, 1, PushKind::Message, &id.unwrap(), &bob.unwrap(), &ann.unwrap(), content);
    Job::SavePush { push }
}

fn page(pushes_max: u32) -> Job {
    Job::LoadPage { user: user("ann"), after_seq: 0, pushes_max, bytes_max: usize::MAX }
}

fn seqs(outcome: &JobOutcome) -> (Vec<u64>, bool) {
    let JobOutcome::Page(page) = outcome else { panic!("{outcome:?}") };
    (page.pushes.iter().map(|push| push.seq).collect(), page.has_more)
}

#[test]
fn waiting_jobs_share_one_transaction_statement_and_wake_and_are_answered_after_the_commit() {
    let mut bench = TestPool::new();
    let script = Arc::clone(&bench.script);
    let gate = script.gate.lock().unwrap();
    bench.submit(save(1, "first"));
    while TestPool::count(&script.saves) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    for seq in 2..=501 {
        bench.submit(save(seq, "more"));
    }
    std::thread::sleep(Duration::from_millis(20));
    let mut early = Vec::new();
    bench.pool.take(&mut early);
    assert!(early.is_empty(), "answered before the commit");
    drop(gate);
    assert!(bench.answers().iter().all(|outcome| matches!(outcome, JobOutcome::Saved)));
    assert_eq!((TestPool::count(&script.committed), TestPool::count(&script.saves)), (2, 2));
    while TestPool::count(&script.wakes) < 2 {
        std::thread::yield_now();
    }
    assert_eq!(TestPool::count(&script.wakes), 2);
    assert!(matches!(bench.ask(page(10)), JobOutcome::Page(_)));
    assert_eq!(TestPool::count(&script.committed), 2, "reading needs no transaction");
}

#[test]
fn jobs_of_one_user_are_done_in_their_order() {
    let mut bench = TestPool::new();
    let delete = |seq| Job::DeletePush { receiver: user("ann"), seq };
    for job in [save(1, "a"), save(2, "b"), save(3, "c"), page(2), delete(1), delete(9), page(2), delete(2), page(2)] {
        bench.submit(job);
    }
    let outcomes = bench.answers();
    assert_eq!(seqs(&outcomes[3]), (vec![1, 2], true));
    assert_eq!(seqs(&outcomes[6]), (vec![2, 3], false));
    assert_eq!(seqs(&outcomes[8]), (vec![3], false));
}

#[test]
fn outcomes_of_one_lane_arrive_in_the_order_of_their_jobs_also_when_some_fail() {
    let mut bench = TestPool::new();
    bench.script.busy.store(2, Ordering::SeqCst);
    for seq in 1..=3_000 {
        bench.submit(match seq % 7 {
            0 => page(1),
            3 => save(seq, "refused"),
            5 => Job::DeletePush { receiver: user("ann"), seq: seq - 1 },
            _ => save(seq, "good"),
        });
        if seq == 1_500 {
            bench.script.lost_commits.store(3, Ordering::SeqCst);
        }
    }
    let (mut done, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
    while done.len() < 3_000 && Instant::now() < deadline {
        bench.pool.take(&mut done);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(done.iter().map(|(ticket, _)| ticket.slot).eq(0..3_000));
}

#[test]
fn while_opening_the_store_hangs_jobs_fail_at_once_and_the_store_is_taken_when_it_comes() {
    let mut bench = TestPool::new();
    let script = Arc::clone(&bench.script);
    let hang = script.opening.lock().unwrap();
    script.lost_commits.store(1, Ordering::SeqCst);
    assert!(matches!(bench.ask(save(1, "good")), JobOutcome::Failed));
    let started = Instant::now();
    for seq in 2..=100 {
        assert!(matches!(bench.ask(save(seq, "good")), JobOutcome::Failed));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "none of them waited for it");
    drop(hang);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !matches!(bench.ask(save(300, "good")), JobOutcome::Saved) {
        assert!(Instant::now() < deadline, "it is not taken");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(TestPool::count(&script.opened), 2, "opened once more, and no more than that");
}

#[test]
fn a_bad_row_fails_alone() {
    let mut bench = TestPool::new();
    for seq in 1..=50 {
        bench.submit(save(seq, if seq == 17 || seq == 44 { "refused" } else { "good" }));
    }
    for (outcome, seq) in bench.answers().iter().zip(1..) {
        let bad = seq == 17 || seq == 44;
        assert_eq!(matches!(outcome, JobOutcome::Refused), bad, "{seq}: {outcome:?}");
    }
    let stored = seqs(&bench.ask(page(100))).0;
    assert_eq!(stored.len(), 48);
}

#[test]
fn a_row_with_an_unknown_error_of_the_store_fails_alone() {
    let mut bench = TestPool::new();
    // Sent in one piece, so that they are one batch.
    let jobs = (0..600).map(|slot| {
        let content = if slot == 417 { "unknown" } else { "good" };
        (JobTicket { slot, generation: 0 }, save(u64::from(slot) + 1, content))
    });
    bench.pool.submit(jobs);
    bench.next = 600;
    for (slot, outcome) in bench.answers().iter().enumerate() {
        assert_eq!(matches!(outcome, JobOutcome::Failed), slot == 417, "{slot}: {outcome:?}");
    }
    assert!(matches!(bench.ask(save(1_000, "good")), JobOutcome::Saved));
}

#[test]
fn a_store_with_nothing_but_unknown_errors_is_not_called_for_each_job() {
    let mut bench = TestPool::new();
    bench.pool.submit((0..600).map(|slot| (JobTicket { slot, generation: 0 }, save(u64::from(slot) + 1, "unknown"))));
    bench.next = 600;
    let started = Instant::now();
    assert!(bench.answers().iter().all(|outcome| matches!(outcome, JobOutcome::Failed)));
    assert!(started.elapsed() < Duration::from_secs(3));
    let opened = TestPool::count(&bench.script.opened);
    assert!(opened <= 60, "{opened}");
}

#[test]
fn a_driver_that_panics_takes_only_its_own_batch_with_it() {
    let mut bench = TestPool::new();
    assert!(matches!(bench.ask(save(1, "panic")), JobOutcome::Failed));
    assert!(matches!(bench.ask(save(2, "good")), JobOutcome::Saved));
    assert!(TestPool::count(&bench.script.opened) >= 2, "the torn one is not used again");
}

#[test]
fn a_lost_connection_is_replaced_and_the_batch_done_again() {
    let mut bench = TestPool::new();
    bench.script.lost_commits.store(1, Ordering::SeqCst);
    assert!(matches!(bench.ask(save(1, "good")), JobOutcome::Saved));
    bench.script.lost_commits.store(2, Ordering::SeqCst);
    assert!(matches!(bench.ask(save(2, "good")), JobOutcome::Failed), "not known to be committed");
    assert!(matches!(bench.ask(save(2, "good")), JobOutcome::Saved));
}

#[test]
fn a_deadlock_is_tried_again() {
    let mut bench = TestPool::new();
    bench.script.busy.store(2, Ordering::SeqCst);
    assert!(matches!(bench.ask(save(1, "good")), JobOutcome::Saved));
    bench.script.busy.store(100, Ordering::SeqCst);
    assert!(matches!(bench.ask(save(2, "good")), JobOutcome::Failed));
}

#[test]
fn a_row_that_blocks_others_fails_alone() {
    let mut bench = TestPool::new();
    let gate = Arc::clone(&bench.script);
    let held = gate.gate.lock().unwrap();
    // While the first waits, the others come together.
    for seq in 1..=6 {
        bench.submit(save(seq, if seq == 4 { "locked" } else { "good" }));
        while seq == 1 && TestPool::count(&bench.script.saves) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    drop(held);
    let saved: Vec<_> = bench.answers().iter().map(|outcome| matches!(outcome, JobOutcome::Saved)).collect();
    assert_eq!(saved, [true, true, true, false, true, true]);
}

#[test]
fn while_the_store_is_gone_jobs_fail_at_once_and_it_is_left_alone() {
    let mut bench = TestPool::new();
    bench.script.gone.store(1, Ordering::SeqCst);
    bench.script.lost_commits.store(1, Ordering::SeqCst);
    let started = Instant::now();
    for seq in 1..=200 {
        assert!(matches!(bench.ask(save(seq, "good")), JobOutcome::Failed));
    }
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(TestPool::count(&bench.script.opened) < 12, "{}", TestPool::count(&bench.script.opened));
    bench.script.gone.store(0, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(6);
    while !matches!(bench.ask(save(300, "good")), JobOutcome::Saved) {
        assert!(Instant::now() < deadline, "it does not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stop_finishes_the_submitted_jobs() {
    let mut bench = TestPool::new();
    for seq in 1..=2_500 {
        bench.submit(save(seq, "good"));
    }
    bench.pool.stop();
    assert_eq!(bench.tables.pushes(&user("ann"), 0, 10_000, usize::MAX).unwrap().len(), 2_500);
}

#[test]
fn a_password_that_was_verified_is_known_from_then_on() {
    let mut bench = TestPool::new();
    let (right, wrong) = (Secret::new("right"), Secret::new("wrong"));
    let ask_with = |secret: &Secret, uses_cache| Job::LogIn {
        user: user("ann"),
        credential: Credential::Password(secret.clone()),
        uses_cache,
        now_ms: 0,
        latest_ms: u64::MAX,
        pushes_max: 64,
        bytes_max: usize::MAX,
    };
    let ask = |secret: &Secret| ask_with(secret, true);
    assert!(matches!(
        bench.ask(ask(&right)),
        JobOutcome::Unproven { password_hash: None, differs_from_verified: false }
    ));
    let JobOutcome::Hashed(password_hash) = bench.ask(Job::Hash { secret: right.clone() }) else { panic!() };
    let empty = || Box::<str>::from("");
    let profile = Box::new(Profile {
        user_name: user("ann"),
        email_address: empty(),
        nick_name: empty(),
        profile_picture: empty(),
        location: empty(),
        personal_description: empty(),
        rsa_public_key: empty(),
    });
    assert!(matches!(bench.ask(Job::CreateAccount { profile, password_hash }), JobOutcome::Created));
    for (secret, fits) in [(&wrong, false), (&right, true)] {
        let unproven = bench.ask(ask(secret));
        let JobOutcome::Unproven { password_hash: Some(stored), differs_from_verified: false } = unproven else {
            panic!("{unproven:?}")
        };
        let verify = Job::Verify { user: user("ann"), secret: secret.clone(), password_hash: Some(stored) };
        assert!(matches!(bench.ask(verify), JobOutcome::Verified(found) if found == fits));
    }
    assert!(matches!(bench.ask(ask(&right)), JobOutcome::Loaded { .. }));
    assert!(matches!(
        bench.ask(ask(&wrong)),
        JobOutcome::Unproven { password_hash: Some(_), differs_from_verified: true }
    ));
    for secret in [&right, &wrong] {
        let outcome = bench.ask(ask_with(secret, false));
        let JobOutcome::Unproven { password_hash: Some(_), differs_from_verified: false } = outcome else {
            panic!("it was compared with the remembered one: {outcome:?}")
        };
    }
    let nobody = Job::Verify { user: user("bob"), secret: right, password_hash: None };
    assert!(matches!(bench.ask(nobody), JobOutcome::Verified(false)));
}
