//! The bodies of `fuzz/` in an ordinary test: every seed, and seeded mutations of the seeds. A
//! failure names the body, and the input stands in the message.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say so and stop"
)]

mod fuzz_bodies;
mod sim;

use fuzz_bodies::BODIES;
use sim::random::Random;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

/// The seeds of one body: real-looking inputs, and those that ever failed.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Bytes that mean something to one body or another.
const TELLING: &[u8] = b"{}[]\",:\\u0dD8x \n\r\xff\x00\x01\x80\x81\x88\x89\x7e\x7f\x41";

fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.pick(seeds).cloned().unwrap_or_default();
    for _ in 0..1 + random.below(6) {
        let place = random.below(1 + input.len() as u64) as usize;
        let byte = if random.chance(500) { random.below(256) as u8 } else { *random.pick(TELLING).unwrap() };
        match random.below(5) {
            0 if place < input.len() => input[place] = byte,
            1 if place < input.len() => input[place] ^= 1 << random.below(8),
            2 if place < input.len() => {
                drop(input.drain(place..(place + 1 + random.below(8) as usize).min(input.len())))
            }
            3 => {
                // A piece of another seed, or of itself.
                let other = random.pick(seeds).cloned().unwrap_or_default();
                let from = random.below(1 + other.len() as u64) as usize;
                let to = (from + random.below(40) as usize).min(other.len());
                input.splice(place..place, other[from..to].iter().copied());
            }
            _ => input.insert(place, byte),
        }
    }
    input
}

/// Runs one body on every seed and on so many mutations of them.
fn run(name: &str, mutations: u64) {
    let (_, body) = BODIES.iter().find(|(of, _)| *of == name).expect("it is a body");
    let seeds = seeds(name);
    let mut random = Random::new(17);
    let mutations = (0..mutations).map(|_| mutated(&mut random, &seeds));
    for input in seeds.iter().cloned().chain(mutations) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&input))) {
            eprintln!("{name} failed on {input:?}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn raw_input_is_split_the_same_however_it_is_cut() {
    run("raw", 40_000);
}

#[test]
fn an_envelope_is_read_as_serde_json_reads_it() {
    run("envelope", 60_000);
}

#[test]
fn an_http_head_is_decided_once() {
    run("head", 40_000);
}

#[test]
fn frames_are_read_as_tungstenite_reads_them() {
    run("frames", 40_000);
}

#[test]
fn frames_of_nodes_are_read_without_harm() {
    run("bus", 100_000);
}

#[test]
fn chat_keeps_its_promises_whatever_is_decided() {
    run("chat", 60);
}
