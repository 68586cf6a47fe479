//! The fuzzed parts, as plain functions of bytes. `fuzz/` feeds them with the finds of a
//! coverage-guided fuzzer; `tests/fuzz.rs` feeds them mutations of the seeds in
//! `fuzz/seeds/` in every run of the tests.

pub mod bus;
pub mod chat;
pub mod envelope;
pub mod frames;
pub mod head;
pub mod raw;
mod reference;

use crate::sim::random::Random;

/// One body: it panics when something is wrong.
pub type Body = fn(&[u8]);

/// All of them, by the name of their target.
pub const BODIES: [(&str, Body); 6] = [
    ("bus", bus::bus),
    ("raw", raw::raw),
    ("envelope", envelope::envelope),
    ("head", head::head),
    ("frames", frames::frames),
    ("chat", chat::chat),
];

/// The input without its first byte, and the same cut into pieces whose lengths that byte chooses.
fn whole_and_cut(data: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let (&way, whole) = data.split_first()?;
    let mut pieces = Vec::new();
    let mut rest = whole;
    let mut random = Random::new(u64::from(way));
    while !rest.is_empty() {
        let longest = [1, 2, 7, 60][usize::from(way) % 4];
        let (piece, after) = rest.split_at((1 + random.below(longest) as usize).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    Some((whole, pieces))
}
