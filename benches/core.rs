//! The chat core without sockets: `cargo bench --bench core`.
#![allow(missing_docs, clippy::expect_used, reason = "a program of its own")]

mod in_core;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hongyan::chat::contract::CoreSettings;
use in_core::{Core, ack, message, put_id};

/// No request is refused for its rate, and no connection is closed as idle.
fn rules() -> CoreSettings {
    CoreSettings { requests_per_second_max: 10_000_000, idle_timeout_ms: 24 * 3_600_000, ..CoreSettings::default() }
}

/// Moves the clock by a millisecond for every hundred messages, as on a busy server, and counts the
/// output as sent.
fn turn(core: &mut Core, id: u64) {
    if id.is_multiple_of(100) {
        core.wait_ms(1);
        core.output.clear();
    }
}

fn core(criterion: &mut Criterion) {
    let content = "x".repeat(100);
    for users in [10, 1_000, 10_000] {
        let mut core = Core::new(rules(), users);
        let conns: Vec<_> = (0..users).map(|number| core.log_in(number)).collect();
        let mut group = criterion.benchmark_group("core");
        group.throughput(Throughput::Elements(1));
        // Made before; only the id is new each time, as a used one would be a duplicate.
        let mut frames: Vec<_> =
            (0..users).map(|from| message(0, from, (from + 1) % users, &content).into_bytes()).collect();
        let (mut ack, mut id) = (ack(0).into_bytes(), 0);
        group.bench_function(format!("message, ack and MS/{users} online"), |bench| {
            bench.iter(|| {
                let from = id as usize % users;
                id += 1;
                put_id(&mut frames[from], id);
                put_id(&mut ack, id);
                core.input(conns[from], &frames[from]);
                core.input(conns[(from + 1) % users], &ack);
                turn(&mut core, id);
            });
        });
        assert_eq!(core.pushes, id, "each was pushed, and once");
        let beat = br#"{"MID":"beat000001","CONTENT":"{}","TYPE":"0"}"#;
        group.bench_function(format!("heartbeat/{users} online"), |bench| {
            bench.iter(|| {
                id += 1;
                core.input(conns[id as usize % users], beat);
                turn(&mut core, id);
            });
        });
        group.finish();
    }
}

/// Messages that a list holds with the default rules.
const LISTED: u64 = 1_024;

/// Acks while a whole list is deferred: all senders use the same ids, so only the first push of
/// each id is sent, and the others (and later ones of their senders) wait for its ack.
fn deferred(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("acks in the worst case");
    for (name, senders) in [("one id of many senders", LISTED as usize), ("few ids of 8 senders", 8)] {
        let rules = || CoreSettings { save_after_ms: 60_000, friends_max: 10_000, ..rules() };
        group.throughput(Throughput::Elements(LISTED));
        group.sample_size(10);
        group.bench_function(format!("{name}/{LISTED} deferred"), |bench| {
            bench.iter_batched_ref(
                || {
                    let mut core = Core::of_star(rules(), senders + 1);
                    let conns: Vec<_> = (0..=senders).map(|number| core.log_in(number)).collect();
                    for n in 0..LISTED {
                        let from = 1 + n as usize % senders;
                        // The messages of all senders under the same ids, one id after the other.
                        let id = n / senders as u64;
                        core.input(conns[from], message(id, from, 0, "x").as_bytes());
                    }
                    core.output.clear();
                    (core, conns[0])
                },
                |(core, conn)| {
                    for n in 0..LISTED {
                        core.input(*conn, ack(n / senders as u64).as_bytes());
                    }
                    assert_eq!(core.pushes, LISTED, "each was sent");
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, core, deferred);
criterion_main!(benches);
