//! The tables of jobs in flight and of requests that wait for their answers.

use super::contract::Ticket;
use crate::generational::{GenerationalSlab, Key};

/// Values by [`Ticket`].
pub(super) type Table<T> = GenerationalSlab<Ticket, T>;

impl Key for Ticket {
    fn new(slot: u32, generation: u32) -> Self {
        Self { slot, generation }
    }

    fn slot(self) -> u32 {
        self.slot
    }

    fn generation(self) -> u32 {
        self.generation
    }
}
