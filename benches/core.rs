//! The chat core without sockets: `cargo bench --bench core`.
#![allow(missing_docs, clippy::expect_used, reason = "a program of its own")]

#[path = "../tests/support/in_core.rs"]
mod in_core;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hongyan::chat::contract::Rules;
use in_core::{Core, ack, message, put_id};

/// Nothing is refused for its rate, and nobody has to be there to be there.
fn rules() -> Rules {
    Rules { requests_per_second_max: 10_000_000, idle_timeout_ms: 24 * 3_600_000, ..Rules::default() }
}

/// A millisecond for every hundred messages, as on a busy server; and what was written has been sent.
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
        // Made before; only the id is new each time, as one that was said before would be known again.
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

criterion_group!(benches, core);
criterion_main!(benches);
