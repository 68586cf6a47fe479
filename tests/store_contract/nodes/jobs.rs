//! The jobs of a node of a cluster, through the pool. Skipped without `HONGYAN_TEST_MYSQL`.

use super::super::mysql::Database;
use super::{PATIENCE, join};
use crate::common::store::*;
use hongyan::chat::contract::{
    AdminStoreJob, ClusterStoreJob, ClusterStoreJobOutcome, Job, JobOutcome, JobTicket, NodeIncarnation, UserOwner,
};
use hongyan::config::{Config, StoreUrl};
use hongyan::protocol::field::Secret;
use hongyan::protocol::push::PushKind;
use hongyan::protocol::request::Credential;
use hongyan::store::cluster::ClusterHandle;
use hongyan::store::pool::WorkerPool;
use mysql::Conn;
use mysql::prelude::Queryable;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Node {
    pool: WorkerPool,
    cluster: ClusterHandle,
    next: u32,
}

impl Node {
    fn new(database: &Database, name: &str) -> Self {
        Self::with(database, name, |_| {})
    }

    fn with(database: &Database, name: &str, change: impl FnOnce(&mut Config)) -> Self {
        let store = StoreUrl::Mysql(database.url());
        let node_name = Some(name.into());
        let mut config = Config { store, node_name, argon2_memory_kib: 8, argon2_passes: 1, ..Config::default() };
        change(&mut config);
        let mut pool = WorkerPool::start(&config, Arc::new(|| {})).unwrap();
        let cluster = pool.take_cluster().unwrap();
        Self { pool, cluster, next: 0 }
    }

    fn me(&self) -> NodeIncarnation {
        self.cluster.incarnation()
    }

    /// All at once; their outcomes in this order.
    fn run<const N: usize>(&mut self, jobs: [Job; N]) -> [JobOutcome; N] {
        self.submit(jobs);
        self.finish()
    }

    fn submit<const N: usize>(&mut self, jobs: [Job; N]) {
        let first = self.next;
        self.next += N as u32;
        let ticket = |at: usize| JobTicket { slot: first + at as u32, generation: 0 };
        self.pool.submit(jobs.into_iter().enumerate().map(|(at, job)| (ticket(at), job)));
    }

    /// The outcomes of all jobs that were submitted, in this order.
    fn finish<const N: usize>(&mut self) -> [JobOutcome; N] {
        let (mut out, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        while out.len() < N {
            assert!(Instant::now() < deadline, "{out:?}");
            self.pool.take(&mut out);
            std::thread::sleep(Duration::from_millis(1));
        }
        out.sort_by_key(|(ticket, _)| ticket.slot);
        let outcomes: Vec<JobOutcome> = out.into_iter().map(|(_, outcome)| outcome).collect();
        outcomes.try_into().unwrap()
    }

    fn sign_up(&mut self, name: &str) {
        let job = Job::CreateAccount { profile: Box::new(account(name)), password_hash: Secret::new("h") };
        assert!(matches!(self.run([job])[0], JobOutcome::Created));
    }

    fn cluster(&mut self, name: &str, job: ClusterStoreJob) -> JobOutcome {
        let [outcome] = self.run([Job::Cluster { user: user(name), job: Box::new(job) }]);
        outcome
    }

    fn claim(&mut self, name: &str, epoch: u64) -> JobOutcome {
        self.cluster(name, ClusterStoreJob::Claim { epoch, floor: 7, pushes_max: 2, bytes_max: usize::MAX })
    }

    fn owner(&mut self, name: &str) -> UserOwner {
        match self.cluster(name, ClusterStoreJob::Owner) {
            JobOutcome::Cluster(outcome) => match *outcome {
                ClusterStoreJobOutcome::Owner(owner) => owner,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

fn elsewhere(outcome: &JobOutcome) -> Option<UserOwner> {
    match outcome {
        JobOutcome::Cluster(outcome) => match **outcome {
            ClusterStoreJobOutcome::Elsewhere(owner) => Some(owner),
            _ => None,
        },
        _ => None,
    }
}

/// The epoch, the friends and the pushes that were read.
fn loaded(outcome: &JobOutcome) -> Option<(u64, usize, Vec<u64>)> {
    match outcome {
        JobOutcome::Cluster(outcome) => match &**outcome {
            ClusterStoreJobOutcome::Loaded { epoch, friends, page } => {
                Some((*epoch, friends.len(), page.pushes.iter().map(|push| push.seq).collect()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn saved(outcome: &JobOutcome) -> Option<(bool, Option<UserOwner>)> {
    match outcome {
        JobOutcome::Cluster(outcome) => match **outcome {
            ClusterStoreJobOutcome::Saved { is_first, owner } => Some((is_first, owner)),
            _ => None,
        },
        _ => None,
    }
}

fn save_text(seq: u64, to: &str, id: &str, text: &str) -> Job {
    Job::SavePush { push: push(seq, PushKind::Message, "bob", to, id, text) }
}

/// More than the time within which a message with a stored id is a repetition. The time of a push
/// grows with its number here.
const LATER: u64 = 700_000;

/// The row of the first message may have been acked on another node, which deletes it later.
#[test]
fn another_message_under_the_id_of_a_row_is_saved_beside_it() {
    let Some(database) = Database::new() else { return };
    let (mut a, mut b) = (Node::new(&database, "a"), Node::new(&database, "b"));
    a.sign_up("ann");
    b.claim("ann", 0);
    let is_first = |outcomes: [JobOutcome; 1]| saved(&outcomes[0]).unwrap().0;
    assert!(is_first(a.run([save_text(1, "ann", "m", "old")])));
    assert!(!is_first(b.run([save_text(2, "ann", "m", "old, encrypted anew")])), "it may be a repetition");
    assert!(!is_first(b.run([save_text(LATER, "ann", "m", "old")])), "the same text is one for ever");
    assert!(is_first(b.run([save_text(LATER + 1, "ann", "m", "new")])));
    assert!(is_first(b.run([save_text(LATER + 1, "ann", "m", "new")])), "as after a lost answer");
    a.run([Job::DeletePush { receiver: user("ann"), seq: 1 }]);
    assert!(!is_first(a.run([save_text(2 * LATER, "ann", "m", "new")])), "the id is that of the newest one");
    let outcomes = a.run([
        save_text(2 * LATER + 1, "ann", "m", "new "),
        save_text(3 * LATER + 1, "ann", "m", "NEW "),
        save_text(4 * LATER + 1, "ann", "m", ""),
    ]);
    assert_eq!(outcomes.map(|outcome| saved(&outcome).unwrap().0), [true; 3], "not even a space is ignored");
    let page = ClusterStoreJob::Page { known_seqs: Box::default(), pushes_max: 9, bytes_max: usize::MAX };
    let JobOutcome::Page(page) = b.cluster("ann", page) else { panic!("no page") };
    let found: Vec<&str> = page.pushes.iter().map(|push| push.content()).collect();
    assert_eq!(found, ["new", "new ", "NEW ", ""]);
}

#[test]
fn a_message_that_is_saved_beside_another_one_counts_for_the_quotas() {
    let Some(database) = Database::new() else { return };
    let mut a = Node::with(&database, "a", |config| config.waiting_per_pair_max = 2);
    a.sign_up("ann");
    let outcomes = a.run([
        save_text(1, "ann", "m", "one"),
        save_text(LATER + 1, "ann", "m", "two"),
        save_text(2 * LATER + 1, "ann", "m", "three"),
        save_text(2 * LATER + 2, "ann", "m", "two"),
    ]);
    let is_first = |outcome: &JobOutcome| saved(outcome).map(|(is_first, _)| is_first);
    assert_eq!((is_first(&outcomes[1]), is_first(&outcomes[3])), (Some(true), Some(false)));
    assert!(matches!(outcomes[2], JobOutcome::Full(_)), "{outcomes:?}");
    assert!(matches!(a.run([save_text(3 * LATER, "ann", "n", "x")])[0], JobOutcome::Full(_)));
    a.run([Job::DeletePush { receiver: user("ann"), seq: 1 }]);
    assert!(saved(&a.run([save_text(3 * LATER, "ann", "n", "x")])[0]).is_some());
}

#[test]
fn a_save_is_answered_with_the_receivers_owner_behind_the_commit() {
    let Some(database) = Database::new() else { return };
    let (mut a, mut b) = (Node::new(&database, "a"), Node::new(&database, "b"));
    a.sign_up("ann");
    assert_eq!(loaded(&b.claim("ann", 0)), Some((1, 0, vec![])));
    let owner = UserOwner { incarnation: Some(b.me()), epoch: 1, floor: 7 };
    let save = |seq, to: &str, id: &str| save_text(seq, to, id, "hello");
    let outcomes = a.run([save(1, "ann", "m"), save(2, "ann", "m"), save(3, "cid", "m"), save(4, "ann", "n")]);
    let told: Vec<_> = outcomes.iter().map(|outcome| saved(outcome).unwrap()).collect();
    let nobody = Some(UserOwner::default());
    assert_eq!(told, [(true, Some(owner)), (false, Some(owner)), (true, nobody), (true, Some(owner))]);
    // Once more, as after an answer that was lost.
    assert_eq!(saved(&a.run([save(1, "ann", "m")])[0]), Some((true, Some(owner))));
    let [deleted, full, profile] = b.run([
        Job::DeletePush { receiver: user("ann"), seq: 1 },
        save(5, "ann", "o"),
        Job::GetProfile { asker: user("bob"), user: user("ann") },
    ]);
    assert!(
        matches!(deleted, JobOutcome::Deleted) && saved(&full).is_some() && matches!(profile, JobOutcome::Profile(_))
    );
}

/// Waits until this query gives a row. InnoDB shows its locks anew only to those who have not
/// looked for 100 ms.
#[track_caller]
fn wait_for_row(conn: &mut Conn, sql: &str) {
    let until = Instant::now() + PATIENCE;
    while conn.query_first::<u64, _>(sql).unwrap().is_none() {
        assert!(Instant::now() < until, "no row: {sql}");
        std::thread::sleep(Duration::from_millis(150));
    }
}

#[test]
fn the_owner_of_a_receiver_who_moves_while_a_save_waits_is_the_new_one() {
    let Some(mut database) = Database::new() else { return };
    let (mut a, mut b) = (Node::new(&database, "a"), Node::new(&database, "b"));
    a.sign_up("ann");
    database.admin.query_drop("BEGIN").unwrap();
    let lanes = format!("SELECT lane FROM lanes WHERE node = {} AND lane > 0 FOR UPDATE", a.me().node.get());
    assert!(!database.admin.query::<u16, _>(lanes).unwrap().is_empty());
    a.submit([save_text(1, "ann", "m", "hello")]);
    let waits = "SELECT p.id FROM information_schema.processlist p \
                 JOIN information_schema.innodb_trx t ON t.trx_mysql_thread_id = p.id \
                 WHERE p.db = DATABASE() AND t.trx_state = 'LOCK WAIT'";
    wait_for_row(&mut database.admin, waits);
    assert_eq!(loaded(&b.claim("ann", 0)), Some((1, 0, vec![])));
    database.admin.query_drop("ROLLBACK").unwrap();
    let owner = UserOwner { incarnation: Some(b.me()), epoch: 1, floor: 7 };
    assert_eq!(saved(&a.finish::<1>()[0]), Some((true, Some(owner))));
}

/// While another connection locks the whole table, nobody can read an owner.
#[test]
fn a_save_is_committed_before_the_owner_of_its_receiver_is_read() {
    let Some(mut database) = Database::new() else { return };
    let mut a = Node::new(&database, "a");
    a.sign_up("ann");
    let mut reader = Conn::new(mysql::Opts::from_url(&database.url()).unwrap()).unwrap();
    database.admin.query_drop("LOCK TABLES whereabouts WRITE").unwrap();
    a.submit([save_text(1, "ann", "m", "hello")]);
    wait_for_row(&mut reader, "SELECT seq FROM pushes");
    // As another node claims a user.
    let (at, node) = (a.me(), "INSERT INTO whereabouts (user_name, node, node_epoch, epoch, floor)");
    let claim = format!("{node} VALUES ('ann', {}, {}, 5, 7)", at.node.get(), at.epoch);
    database.admin.query_drop(claim).unwrap();
    database.admin.query_drop("UNLOCK TABLES").unwrap();
    let owner = UserOwner { incarnation: Some(at), epoch: 5, floor: 7 };
    assert_eq!(saved(&a.finish::<1>()[0]), Some((true, Some(owner))));
}

#[test]
fn a_log_in_reads_only_for_a_user_who_belongs_here() {
    let Some(database) = Database::new() else { return };
    let (mut a, mut b) = (Node::new(&database, "a"), Node::new(&database, "b"));
    a.sign_up("ann");
    let load = |pushes_max| Job::Load { user: user("ann"), pushes_max, bytes_max: usize::MAX };
    assert_eq!(elsewhere(&a.run([load(2)])[0]), Some(UserOwner::default()));
    assert_eq!(loaded(&a.claim("ann", 0)), Some((1, 0, vec![])));
    // Repeated, as after an answer that was lost, it is the same claim.
    assert_eq!(loaded(&a.claim("ann", 0)), Some((1, 0, vec![])));
    let pushes: Vec<Job> =
        (1..=4).map(|seq| Job::SavePush { push: message(seq, "bob", "ann", &format!("{seq}")) }).collect();
    let pushes: [Job; 4] = pushes.try_into().unwrap();
    a.run(pushes);
    assert_eq!(loaded(&a.run([load(2)])[0]), Some((1, 0, vec![1, 2])));
    let owner = UserOwner { incarnation: Some(a.me()), epoch: 1, floor: 7 };
    assert_eq!(elsewhere(&b.run([load(2)])[0]), Some(owner));
    assert!(matches!(b.run([load(0)])[0], JobOutcome::Loaded { .. }), "only friends are asked for");
    assert_eq!(elsewhere(&b.claim("ann", 0)), Some(owner), "it was somebody else's by then");
    assert_eq!(loaded(&b.claim("ann", 1)), Some((2, 0, vec![1, 2])));
    assert_eq!(elsewhere(&a.run([load(2)])[0]), Some(UserOwner { incarnation: Some(b.me()), epoch: 2, floor: 7 }));
    assert_eq!(b.owner("ann").epoch, 2);
    let page =
        |except: &[u64]| ClusterStoreJob::Page { known_seqs: except.into(), pushes_max: 2, bytes_max: usize::MAX };
    for (except, seqs, more) in [(&[][..], [1, 2], true), (&[1], [2, 3], true), (&[2, 3], [1, 4], false)] {
        let JobOutcome::Page(found) = b.cluster("ann", page(except)) else { panic!("no page") };
        assert_eq!((found.pushes.iter().map(|push| push.seq).collect::<Vec<_>>(), found.has_more), (seqs.into(), more));
    }
    // A wrong credential is told nothing.
    let credential = Credential::Password(Secret::new("x"));
    let log_in = Job::LogIn {
        user: user("ann"),
        credential,
        uses_cache: true,
        now_ms: 1,
        latest_ms: 2,
        pushes_max: 2,
        bytes_max: usize::MAX,
    };
    assert!(matches!(a.run([log_in])[0], JobOutcome::Unproven { .. }));
    let ban = Job::Admin { user: user("ann"), job: Box::new(AdminStoreJob::SetBanned { is_banned: true }) };
    let [_, banned] = a.run([ban, load(2)]);
    assert!(matches!(banned, JobOutcome::Banned));
    assert!(matches!(a.claim("ann", 2), JobOutcome::Banned));
    assert!(matches!(a.claim("nobody", 0), JobOutcome::Unproven { password_hash: None, .. }));
    assert_eq!(b.owner("ann").epoch, 2, "and nothing was claimed");
}

/// Others take over from a node at the limit that the database knows.
#[test]
fn a_push_beyond_the_limit_of_the_numbers_is_not_written() {
    let Some(database) = Database::new() else { return };
    let mut a = Node::new(&database, "a");
    let limit = a.cluster.first_view().nodes[0].hlc_limit;
    let far = limit + (3_600_000 << 20);
    let save = |seq, id: &str| Job::SavePush { push: message(seq, "bob", "ann", id) };
    let [good, beyond, friend] = a.run([
        save(limit, "m"),
        save(far, "n"),
        Job::AskFriend { push: request(far + 1, "bob", "ann", "r"), pending_max: 10 },
    ]);
    assert!(saved(&good).is_some());
    assert!(matches!((beyond, friend), (JobOutcome::Failed, JobOutcome::Failed)));
    // The clock of another node was ahead, and the limit follows.
    a.cluster.note_next_seq(far);
    let deadline = Instant::now() + Duration::from_secs(30);
    while saved(&a.run([save(far, "n")])[0]).is_none() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_push_beyond_the_limit_of_the_numbers_is_written_when_the_limit_has_followed_the_clock() {
    let Some(database) = Database::new() else { return };
    let mut a = Node::new(&database, "a");
    let limit = a.cluster.first_view().nodes[0].hlc_limit;
    let save = |seq, id: &str| Job::SavePush { push: message(seq, "bob", "ann", id) };
    // As with a bus: it looks seldom by itself.
    a.cluster.poll_rarely(true);
    for jump in 1..=20 {
        // As the loop does: the clock first, then the jobs.
        let ahead = limit + ((jump * 3_600_000) << 20);
        a.cluster.note_next_seq(ahead);
        assert!(saved(&a.run([save(ahead, &format!("m{jump}"))])[0]).is_some(), "jump {jump}");
    }
}

#[test]
fn a_fenced_node_answers_no_job_that_writes_and_is_told() {
    let Some(database) = Database::new() else { return };
    let mut a = Node::new(&database, "a");
    a.sign_up("ann");
    let other = join(&database, "b");
    assert!(other.fence(a.me()).unwrap());
    let [saving] = a.run([Job::SavePush { push: message(1, "bob", "ann", "m") }]);
    assert!(matches!(saving, JobOutcome::Failed));
    assert!(matches!(a.claim("ann", 0), JobOutcome::Failed));
}
