//! The tables of jobs in flight and of requests that wait for their answers.

use super::contract::JobTicket;
use crate::generational::{GenerationalSlab, impl_key};

/// Values by [`JobTicket`].
pub(super) type JobTicketTable<T> = GenerationalSlab<JobTicket, T>;

impl_key!(JobTicket);
