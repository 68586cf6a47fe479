//! Honest users beside attackers: the latency of honest users while others attack.

pub mod attacker;
pub mod attacks;
mod honest;
mod namespace;
mod rows;

pub use rows::hostile;
