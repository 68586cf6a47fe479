//! Pure state: events and a clock in, actions out.

pub mod contract;
