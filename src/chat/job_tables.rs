//! The tables of jobs in flight and of requests that wait for their answers.

use super::contract::Ticket;
use crate::generational::{GenerationalSlab, impl_key};

/// Values by [`Ticket`].
pub(super) type TicketTable<T> = GenerationalSlab<Ticket, T>;

impl_key!(Ticket);
