//! What the shell and the core call connections, addresses and jobs.

use std::num::NonZeroU32;

/// One connection, for ever: a slot that was given to the next client has the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The place in the shell's slab.
    pub slot: u32,
    /// How many connections had the place before.
    pub generation: u32,
}

/// Stands for the address of a client, for the limits per address: a number that is not 0, the same
/// for the same address as long as the server runs. Two addresses may share one, if nobody can
/// bring that about on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressKey(pub NonZeroU32);

/// One job that was submitted: comes back with its outcome, exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket {
    /// The place in the core's table of jobs in flight.
    pub slot: u32,
    /// How many jobs had the place before.
    pub generation: u32,
}
