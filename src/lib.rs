//! hongyan, the wild goose that carries letters: a small, fast instant-messaging server.

pub mod chat;
pub mod config;
pub mod logging;
pub mod net;
pub mod protocol;
pub mod server;
pub mod store;
