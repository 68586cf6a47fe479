//! The seeded simulation of several nodes over one store.
//!
//! `SEED` runs one seed; `SEEDS` runs so many from `FIRST` on, with `STEPS` steps each; `TELL=1`
//! prints the events.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say so and stop"
)]

mod sim;

use sim::cluster::Cluster;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs one seed. Its number is in the text of a panic.
fn run(cluster: fn(u64) -> Cluster, seed: u64, steps: u64) -> BTreeMap<&'static str, u64> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut cluster = cluster(seed);
        cluster.run(steps);
        cluster.oracle.counts
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

fn run_all(cluster: fn(u64) -> Cluster) {
    let steps = from_environment("STEPS").unwrap_or(400);
    let first = from_environment("FIRST").unwrap_or(1);
    let (first, count) = match from_environment("SEED") {
        Some(seed) => (seed, 1),
        None => (first, from_environment("SEEDS").unwrap_or(128)),
    };
    let mut counts = BTreeMap::new();
    for seed in first..first + count {
        for (what, count) in run(cluster, seed, steps) {
            *counts.entry(what).or_insert(0_u64) += count;
        }
    }
    println!("{count} seeds x {steps} steps: {counts:?}");
}

#[test]
fn promises_are_kept_whatever_happens_to_nodes() {
    run_all(Cluster::new);
}

#[test]
fn without_faults_no_message_is_delivered_twice() {
    run_all(Cluster::calm);
}

#[test]
fn promises_are_kept_in_a_harsh_world() {
    run_all(Cluster::harsh);
}

#[test]
fn promises_are_kept_for_messages_that_are_handed_over() {
    run_all(Cluster::of_moving_pairs);
}

#[test]
fn friends_on_two_nodes_with_a_bus_who_ack_cost_no_job_in_the_store() {
    let mut handed_over = 0;
    for seed in 0..8 {
        let mut cluster = Cluster::of_pairs(seed);
        cluster.run_pairs();
        handed_over += cluster.oracle.counts.get("handed over").copied().unwrap_or(0);
    }
    assert!(handed_over > 1_000, "{handed_over}: they are on two nodes");
}

#[test]
fn a_lost_frame_delays_a_message_by_less_than_a_poll() {
    for seed in 0..8 {
        Cluster::of_pairs(seed).run_losing_pairs();
    }
}

#[test]
fn a_stalled_bus_delivers_no_message_that_was_acked_meanwhile() {
    for seed in 0..8 {
        Cluster::of_pairs(seed).run_pairs_with_a_stalling_bus();
    }
}

#[test]
fn a_lost_answer_of_the_store_does_not_delay_later_messages() {
    for seed in 0..8 {
        Cluster::of_pairs(seed).run_pairs_with_lost_answers();
    }
}
