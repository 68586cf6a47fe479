//! Honest users beside attackers: what one of them meets while others do their worst.

pub mod attacker;
pub mod attacks;
mod honest;
mod namespace;
mod rows;

pub use rows::hostile;
