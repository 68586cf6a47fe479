//! Pure bytes: what stands on the wire, and what it means. No sockets, no time, no users.
#![deny(clippy::disallowed_methods)]

pub mod account;
mod content;
pub mod envelope;
pub mod error;
mod fast;
pub mod field;
pub mod http;
mod plain;
pub mod push;
pub mod reply;
pub mod request;
pub mod split;
pub mod usual;
pub mod ws;
