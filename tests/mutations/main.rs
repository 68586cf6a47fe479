//! Deliberate mistakes in the server, to show that the tests would find them: a mistake that the
//! simulation lets pass is given to the scenarios of the core, to the unit tests, to the simulation
//! of nodes and to the stores' contract; one that survives all of them is a hole in the tests. Only
//! a real database has several lanes: HONGYAN_TEST_MYSQL has to name one. For those that only a
//! Galera pair shows, `tests/on_galera` needs its packages.
//!
//! `MUTANTS=1 cargo test --test mutations -- --nocapture` runs them all in some hours and prints a
//! table; `MUTANTS=word` those whose name or file has the word, `MUTANTS='one|other'` those that
//! have one of them. An ordinary run only checks that each still fits the source.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod blocks;
mod bus;
mod cluster;
mod nodes;
mod table;

use std::path::Path;
use std::process::{Command, Stdio};
use table::Mutation;

/// The tables, each with the programs that find most of its mistakes.
const TABLES: [(&[Mutation], &[Program]); 5] = [
    (table::MUTATIONS, &[SIMULATION, SCENARIO]),
    (blocks::MUTATIONS, &[SCENARIO, SIMULATION]),
    (cluster::MUTATIONS, &[NODES_SIMULATION_BRIEFLY, SCENARIO]),
    (bus::MUTATIONS, &[UNIT_TEST, BUS]),
    (nodes::MUTATIONS, &[SCENARIO, NODES_SIMULATION_BRIEFLY]),
];

fn all() -> impl Iterator<Item = (&'static Mutation, &'static [Program])> {
    TABLES.into_iter().flat_map(|(mutations, likely)| mutations.iter().map(move |mutation| (mutation, likely)))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn mutated(mutation: &Mutation) -> String {
    let source = std::fs::read_to_string(root().join(mutation.file)).unwrap();
    let places = source.matches(mutation.find).count();
    assert_eq!(places, 1, "{}: {} has {places} places for it, renew it", mutation.name, mutation.file);
    source.replace(mutation.find, mutation.replace)
}

#[test]
fn every_mutation_still_fits_the_source() {
    for (mutation, _) in all() {
        assert_ne!(
            mutated(mutation),
            std::fs::read_to_string(root().join(mutation.file)).unwrap(),
            "{}",
            mutation.name
        );
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else if from.is_file() {
        // Not the socket of a server that was run here.
        std::fs::copy(from, to).unwrap();
    }
}

/// Runs one test program; gives what it said if it failed.
fn fails(tree: &Path, program: &Program) -> Option<String> {
    let (_, args, env) = *program;
    let mut command = if *program == GALERA {
        Command::new(tree.join("tests/on_galera"))
    } else {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--locked", "--quiet"]);
        cargo
    };
    let output = command
        .current_dir(tree)
        .args(args)
        .envs(env.iter().copied())
        .env("CARGO_TARGET_DIR", root().join("target"))
        .env("RUST_BACKTRACE", "0")
        .env_remove("MUTANTS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("could not compile"), "a mutation that is no program:\n{said}");
    (!output.status.success()).then_some(said)
}

/// The first panic's own sentence.
fn sentence(said: &str) -> &str {
    let seed = said.lines().find(|line| line.starts_with("SEED="));
    let line = seed.or_else(|| said.lines().skip_while(|line| !line.contains("panicked at ")).nth(1));
    let line = line.unwrap_or("it did not end well");
    &line[..line.char_indices().nth(110).map_or(line.len(), |(end, _)| end)]
}

/// A test program by the name that the table gives it, its arguments for `cargo test`, and its
/// environment.
type Program = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const SIMULATION: Program =
    ("simulation", &["--test", "simulation", "whatever"], &[("SEEDS", "64"), ("STEPS", "1500")]);
const SCENARIO: Program = ("scenario", &["--test", "core"], &[]);
const UNIT_TEST: Program = ("unit test", &["--lib"], &[]);
const NODES_SIMULATION: Program = ("simulation of nodes", &["--test", "cluster_simulation"], &[]);
/// A quarter of the seeds finds most mistakes: it is not the whole of `PROGRAMS`, but tried before.
const NODES_SIMULATION_BRIEFLY: Program = (NODES_SIMULATION.0, NODES_SIMULATION.1, &[("SEEDS", "32")]);
const BUS: Program = ("bus", &["--test", "bus"], &[]);
const STORE_CONTRACT: Program = ("stores' contract", &["--test", "store_contract"], &[]);
const STATEMENTS: Program = ("statements", &["--test", "schema"], &[]);
const NODES: Program = ("real nodes", &["--test", "cluster"], &[]);
const OUTAGE: Program = ("outage", &["--test", "outage"], &[]);
/// `tests/on_galera` with its argument: it starts the pair, and then cargo.
const GALERA: Program = ("nodes on Galera", &["cluster"], &[("ROUNDS", "3")]);
const PROGRAMS: [Program; 10] =
    [SIMULATION, SCENARIO, UNIT_TEST, NODES_SIMULATION, BUS, STORE_CONTRACT, STATEMENTS, NODES, OUTAGE, GALERA];

/// All programs, those first that are most likely to find this mistake: each program that is built
/// and finds nothing costs a minute or two.
fn programs_for(mutation: &Mutation, likely: &[Program]) -> Vec<Program> {
    const BY_FILE: [(&str, &[Program]); 7] = [
        ("src/store/mysql/values.rs", &[OUTAGE]),
        ("src/store/mysql/lanes.rs", &[OUTAGE]),
        ("src/store/mysql/node_identity.rs", &[OUTAGE]),
        ("src/store/mysql/lease.rs", &[OUTAGE]),
        ("src/store/mysql/signs.rs", &[GALERA]),
        ("src/store/mysql", &[STORE_CONTRACT, NODES]),
        ("src/store", &[STORE_CONTRACT]),
    ];
    let by_file = BY_FILE.iter().find_map(|(path, first)| mutation.file.starts_with(path).then_some(*first));
    let mut programs: Vec<Program> = Vec::new();
    for program in by_file.unwrap_or_default().iter().chain(likely).chain(&PROGRAMS) {
        if !programs.contains(program) {
            programs.push(*program);
        }
    }
    programs
}

/// The test that finds it, and its message.
fn caught(tree: &Path, programs: &[Program]) -> Option<(&'static str, String)> {
    programs.iter().find_map(|program| Some((program.0, sentence(&fails(tree, program)?).to_owned())))
}

#[test]
fn every_mutation_is_found() {
    let Ok(wanted) = std::env::var("MUTANTS") else {
        return;
    };
    // Always the same folder: the compiler goes on from what it did there before.
    let tree = &root().join("target/mutated");
    if tree.exists() {
        std::fs::remove_dir_all(tree).unwrap();
    }
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name();
        if !["target", ".git"].iter().any(|left_out| name == *left_out) {
            copy(&root().join(&name), &tree.join(&name));
        }
    }
    assert_eq!(caught(tree, &PROGRAMS), None, "without a mutation nothing fails");
    let mut survivors = Vec::new();
    println!("| mutation | found by | in the words |\n|---|---|---|");
    let has = |mutation: &Mutation, word: &str| mutation.name.contains(word) || mutation.file.contains(word);
    let is_wanted = |mutation: &Mutation| wanted == "1" || wanted.split('|').any(|word| has(mutation, word));
    for (mutation, likely) in all().filter(|(mutation, _)| is_wanted(mutation)) {
        std::fs::write(tree.join(mutation.file), mutated(mutation)).unwrap();
        match caught(tree, &programs_for(mutation, likely)) {
            Some((who, words)) => println!("| {} | {who} | {words} |", mutation.name),
            None => survivors.push(mutation.name),
        }
        copy(&root().join(mutation.file), &tree.join(mutation.file));
    }
    assert!(survivors.is_empty(), "nobody found: {survivors:?}");
}
