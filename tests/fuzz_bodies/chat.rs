//! The chat core: the bytes are the decisions of clients, network and time in the simulation, whose
//! oracle watches.

use crate::sim::clients::Simulation;
use crate::sim::random::Random;

/// Steps of one run: long enough for anything, short enough to try many.
const STEPS_MAX: u64 = 300;

pub fn chat(data: &[u8]) {
    let Some((seed, decisions)) = data.split_at_checked(2) else {
        return;
    };
    let seed = u64::from(u16::from_le_bytes([seed[0], seed[1]]));
    let mut simulation = Simulation::drawn_from(Random::chosen(decisions), Random::new(seed));
    simulation.run(STEPS_MAX);
}
