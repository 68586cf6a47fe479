//! The fuzzed functions are in `tests/`, where every run of the tests feeds them, too.

#[path = "../../tests/fuzz_bodies/mod.rs"]
pub mod fuzz_bodies;
#[path = "../../tests/sim/mod.rs"]
mod sim;
