//! The seeded simulation: a world of faults around the core, and an oracle that knows the protocol.
//!
//! `SEED` runs one seed, `SEEDS` so many, `STEPS` with so many steps each.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say so and stop"
)]

mod sim;

use sim::clients::Simulation;
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs one seed; its number stands in the panic's text.
fn run(seed: u64, steps: u64) -> (u64, BTreeMap<&'static str, u64>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut simulation = Simulation::new(seed);
        simulation.run(steps);
        (simulation.world.trace.finish(), simulation.oracle.counts)
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        match text {
            Some(text) => panic!("SEED={seed} STEPS={steps}: {text}"),
            None => resume_unwind(panic),
        }
    })
}

#[test]
fn whatever_goes_wrong_the_promises_are_kept() {
    let steps = from_environment("STEPS").unwrap_or(3_000);
    let seeds = match from_environment("SEED") {
        Some(seed) => seed..=seed,
        None => 1..=from_environment("SEEDS").unwrap_or(256),
    };
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        for (what, count) in run(seed, steps).1 {
            *counts.entry(what).or_default() += count;
        }
    }
    println!("{counts:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1_001..=1_004 {
        assert_eq!(run(seed, 300).0, run(seed, 300).0, "seed {seed}");
    }
    assert_ne!(run(1_001, 300).0, run(1_002, 300).0);
}

// Seeds that failed because of a mistake in the core. `tests/core/found.rs` shows each mistake by itself.

#[test]
fn seed_1_timers_of_one_coarse_slot_hid_each_other_and_an_ack_left_a_push_in_the_store() {
    run(1, 3_000);
}

#[test]
fn seed_2_a_user_was_forgotten_while_his_list_was_put_away() {
    run(2, 3_000);
}

#[test]
fn seed_7_a_repeated_message_was_not_remembered_after_its_ack() {
    run(7, 3_000);
}

#[test]
fn seed_15_a_lost_answer_left_those_online_with_the_wrong_friends() {
    run(15, 3_000);
}

#[test]
fn seed_107_a_deletion_that_was_being_tried_again_did_not_count() {
    run(107, 3_000);
}
