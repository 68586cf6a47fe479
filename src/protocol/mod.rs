//! Pure bytes: what stands on the wire, and what it means. No sockets, no time, no users.

mod content;
pub mod envelope;
pub mod error;
pub mod field;
pub mod push;
pub mod reply;
pub mod request;
