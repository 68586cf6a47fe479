//! Pure functions on bytes: the wire format and its meaning. No sockets, no time, no users.
#![deny(clippy::disallowed_methods)]

pub mod account;
mod content;
mod decode_fast;
pub mod encode_fast;
pub mod envelope;
pub mod error;
mod escape;
mod escape_free;
pub mod field;
pub mod http;
mod json_string;
pub mod push;
pub mod reply;
pub mod request;
pub mod split;
pub mod ws;
