//! What is fuzzed is written in `tests/`, where every run of the tests feeds it, too.

#[path = "../../tests/fuzz_bodies/mod.rs"]
pub mod fuzz_bodies;
#[path = "../../tests/sim/mod.rs"]
mod sim;
