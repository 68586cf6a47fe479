//! The identifiers of connections, addresses and jobs that the shell and the core share.

use std::num::NonZeroU32;

/// Names one connection. It is never used for another one: when a slot is reused, its generation is
/// different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    /// The place in the shell's slab.
    pub slot: u32,
    /// How many connections had the slot before.
    pub generation: u32,
}

/// Stands for the address of a client in the limits per address: a number other than 0, the same
/// for the same address as long as the server runs. Two addresses may share a key by chance, but
/// nobody can cause that on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressKey(pub NonZeroU32);

/// Names one submitted job. It comes back with the outcome, exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobTicket {
    /// The place in the core's table of jobs in flight.
    pub slot: u32,
    /// How many jobs had the slot before.
    pub generation: u32,
}
