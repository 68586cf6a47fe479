//! The simulation drives the chat core without a socket: a model of the store, a world with a
//! virtual clock, clients that misbehave, and the oracle that watches them.
#![allow(dead_code, reason = "each test program uses a part of this")]

pub mod clients;
pub mod cluster;
pub mod ending;
pub mod lanes;
pub mod later;
pub mod odd;
pub mod operator;
pub mod oracle;
pub mod own_accounts;
pub mod owners;
pub mod pages;
pub mod random;
pub mod rows;
pub mod rules;
pub mod say;
pub mod store;
pub mod world;
