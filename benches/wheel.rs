//! The timer wheel: `cargo bench --bench wheel`.
#![allow(missing_docs, reason = "a program of its own")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hongyan::chat::wheel::TimerWheel;
use std::hint::black_box;

/// Timers that wait beside the one that is measured.
const WAITING: [u64; 3] = [0, 1_000, 100_000];

fn filled(count: u64) -> TimerWheel<u64> {
    let mut wheel = TimerWheel::new();
    for number in 0..count {
        // Spread over the time in which idle connections are looked at.
        wheel.insert(60_000 + number * 7_919 % 120_000, number);
    }
    wheel
}

fn wheel(criterion: &mut Criterion) {
    for count in WAITING {
        let mut wheel = filled(count);
        criterion.bench_function(&format!("wheel/insert and cancel/{count} wait"), |bench| {
            bench.iter(|| {
                let id = wheel.insert(black_box(15_000), 1);
                wheel.cancel(id)
            });
        });
        let mut wheel = filled(count);
        criterion.bench_function(&format!("wheel/next wake/{count} wait"), |bench| {
            bench.iter(|| black_box(&mut wheel).next_wake_ms());
        });
    }
    criterion.bench_function("wheel/insert and fire/1000 timers of 15 s", |bench| {
        let new = || (TimerWheel::new(), 0_u64);
        bench.iter_batched_ref(
            new,
            |(wheel, fired)| {
                for number in 0..1_000 {
                    wheel.insert(15_000 + number, number);
                }
                while let Some((due_ms, _)) = wheel.pop(20_000) {
                    *fired += due_ms;
                }
                *fired
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, wheel);
criterion_main!(benches);
