//! A store that executes some jobs and not others: the fate of the other jobs of the batch, and the
//! lines in the log.

use super::*;
use crate::store::health::PROBE_EVERY;

fn profile(of: &str) -> Job {
    Job::GetProfile { asker: user("ann"), user: user(of) }
}

fn deletion(seq: u64) -> Job {
    Job::DeletePush { receiver: user("ann"), seq }
}

#[test]
fn reads_beside_writes_that_fail_are_done() {
    let mut bench = TestPool::new();
    assert!(matches!(bench.ask(save(1, "good")), JobOutcome::Saved));
    bench.script.read_only.store(1, Ordering::SeqCst);
    let jobs = [deletion(1), page(9), save(2, "good"), profile("bob"), page(9)];
    bench.pool.submit(jobs.into_iter().zip(0..).map(|(job, slot)| (JobTicket { slot, generation: 0 }, job)));
    bench.next = 5;
    let outcomes = bench.answers();
    assert!(matches!(outcomes[0], JobOutcome::Failed) && matches!(outcomes[2], JobOutcome::Failed), "{outcomes:?}");
    assert_eq!((seqs(&outcomes[1]).0, seqs(&outcomes[4]).0), (vec![1], vec![1]));
    assert!(matches!(outcomes[3], JobOutcome::Profile(None)));
    bench.script.read_only.store(0, Ordering::SeqCst);
    assert!(matches!(bench.ask(save(2, "good")), JobOutcome::Saved));
}

#[test]
fn while_somebody_holds_the_store_reads_are_done_in_between_and_writes_fail_soon() {
    let mut bench = TestPool::new();
    assert!(matches!(bench.ask(save(1, "good")), JobOutcome::Saved));
    bench.script.held.store(1, Ordering::SeqCst);
    let begun = TestPool::count(&bench.script.begun);
    assert!(matches!(bench.ask(save(2, "good")), JobOutcome::Failed));
    let tried = TestPool::count(&bench.script.begun) - begun;
    assert!(tried <= 4, "tried {tried} times");
    // For as long as that took, nobody waits for the store again.
    let started = Instant::now();
    bench.submit(save(3, "good"));
    bench.submit(page(9));
    let outcomes = bench.answers();
    assert!(matches!(outcomes[0], JobOutcome::Failed));
    assert_eq!(seqs(&outcomes[1]).0, [1]);
    assert!(TestPool::count(&bench.script.begun) - begun == tried || started.elapsed() > Duration::from_millis(500));
    bench.script.held.store(0, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !matches!(bench.ask(save(4, "good")), JobOutcome::Saved) {
        assert!(Instant::now() < deadline, "it is not tried again");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_row_that_is_too_large_is_reported_and_harms_no_other() {
    let mut bench = TestPool::new();
    let content = |seq: u64| if seq.is_multiple_of(3) { "larger than a packet" } else { "good" };
    for row_bytes_max in [0, save(10, "good").push_bytes()] {
        bench.script.row_bytes_max.store(row_bytes_max, Ordering::SeqCst);
        let begun = TestPool::count(&bench.script.begun);
        bench
            .pool
            .submit((1..=30).map(|seq| (JobTicket { slot: seq as u32 - 1, generation: 0 }, save(seq, content(seq)))));
        bench.next = 30;
        for (outcome, seq) in bench.answers().iter().zip(1..) {
            assert_eq!(matches!(outcome, JobOutcome::TooLarge), content(seq) != "good", "{seq}: {outcome:?}");
        }
        let begun = TestPool::count(&bench.script.begun) - begun;
        assert!(row_bytes_max == 0 || begun == 1, "known before: one transaction, not {begun}");
    }
    assert_eq!(seqs(&bench.ask(page(100))).0.len(), 20);
}

#[test]
fn a_row_that_cannot_be_read_is_no_outage() {
    let mut bench = TestPool::new();
    bench.pool.submit(
        (0..3).map(|slot| (JobTicket { slot, generation: 0 }, profile(if slot == 1 { "damaged" } else { "bob" }))),
    );
    bench.next = 3;
    let outcomes = bench.answers();
    assert!(matches!(outcomes[1], JobOutcome::Refused), "{outcomes:?}");
    assert!(matches!((&outcomes[0], &outcomes[2]), (JobOutcome::Profile(None), JobOutcome::Profile(None))));
    for stored in ["no hash", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"] {
        let (secret, password_hash) = (Secret::new("x"), Some(Secret::new(stored)));
        let verify = Job::Verify { user: user("ann"), secret, password_hash };
        assert!(matches!(bench.ask(verify), JobOutcome::Refused), "a hash that nobody can compare with");
    }
}

#[test]
fn a_flood_of_one_does_not_keep_the_others_waiting() {
    let mut bench = TestPool::new();
    let script = Arc::clone(&bench.script);
    let gate = script.gate.lock().unwrap();
    bench.submit(save(1, "first"));
    while TestPool::count(&script.saves) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    for _ in 0..2_000 {
        bench.submit(Job::RevokeTokens { user: user("eve") });
    }
    bench.submit(save(2, "good"));
    drop(gate);
    let (mut done, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
    while done.len() < 2_002 && Instant::now() < deadline {
        bench.pool.take(&mut done);
        std::thread::sleep(Duration::from_millis(1));
    }
    let place = done.iter().position(|(ticket, _)| ticket.slot == 2_001).unwrap();
    assert!(done.len() == 2_002 && place <= 101, "behind {place} of the others");
}

#[test]
fn a_warning_says_that_packets_are_smaller_than_the_largest_frame() {
    let frame = 64 * 1024;
    assert_eq!(small_packets(frame, frame), None);
    assert_eq!(small_packets(16 << 20, frame), None);
    let why = small_packets(12 * 1024, frame).unwrap();
    for number in ["16384 bytes", "send 65536", "to 69632 or more", "to 12288 or less"] {
        assert!(why.contains(number), "{why}");
    }
}

/// Waits until the server would say so.
fn is_seen(bench: &TestPool, works: bool) {
    let health = bench.pool.health();
    let deadline = Instant::now() + 4 * PROBE_EVERY;
    while health.is_working() != works {
        assert!(Instant::now() < deadline, "not seen: {works}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_outage_and_its_end_are_seen_without_traffic() {
    let bench = TestPool::new();
    assert!(bench.pool.health().is_working());
    bench.script.busy.store(usize::MAX, Ordering::SeqCst);
    is_seen(&bench, false);
    bench.script.busy.store(0, Ordering::SeqCst);
    is_seen(&bench, true);
    let mut done = Vec::new();
    let mut bench = bench;
    bench.pool.take(&mut done);
    assert!(done.is_empty(), "a probe is nobody's job");
}

#[test]
fn a_store_that_takes_no_writes_is_not_well_until_it_takes_one() {
    let mut bench = TestPool::new();
    bench.script.full.store(1, Ordering::SeqCst);
    assert!(matches!(bench.ask(save(1, "good")), JobOutcome::Failed));
    assert!(!bench.pool.health().is_working());
    assert!(matches!(bench.ask(page(1)), JobOutcome::Page(_)));
    assert!(!bench.pool.health().is_working(), "it can be read");
    let saves = TestPool::count(&bench.script.saves);
    let deadline = Instant::now() + 4 * PROBE_EVERY;
    while TestPool::count(&bench.script.saves) == saves {
        assert!(Instant::now() < deadline, "it is not probed");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!bench.pool.health().is_working());
    bench.script.full.store(0, Ordering::SeqCst);
    is_seen(&bench, true);
    let pushes = bench.ask(Job::LoadPage {
        user: user(crate::protocol::field::RESERVED_NAME),
        after_seq: 0,
        pushes_max: 9,
        bytes_max: usize::MAX,
    });
    assert!(seqs(&pushes).0.is_empty(), "nothing of the probe is left");
}
