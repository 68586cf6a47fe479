//! hongyan, the wild goose that carries letters: a small, fast instant-messaging server.
//!
//! ```text
//!  clients ═ TCP ═►┌──────────── loop thread ────────────┐   Job   ┌ data workers: each with a
//!                  │ net: poll, sockets, buffers, wires  │ ──────► │   `StoreConnection` (the jobs
//!                  │   │ CoreInput      ▲ Vec<CoreAction>│ ◄────── │   about one user: one worker)
//!                  │   └► ServerCore::handle ─┘ (pure)   │ done,   └ auth workers: Argon2id
//!                  └─────────────────────────────────────┘ one wake
//! ```
//!
//! One loop thread owns every connection and all chat state; a few worker threads do what blocks.
//! [`protocol`] is pure bytes, [`chat`] pure state, [`net`] has the sockets and the clock,
//! [`store`] the threads that block, [`push_hook`] those that tell a service outside, [`bus`] those
//! that talk to other nodes of a cluster. [`server`] wires them up, and [`copy`] moves a store into
//! another one, [`backup`] into a file. [`admin`] is the interface of operators, [`web_page`] the
//! page for users in a browser. [`client`] is the other end: a library for programs that chat, and
//! [`chat_launcher`] starts the one for terminals.

pub mod admin;
pub mod backup;
pub mod bus;
pub mod chat;
pub mod chat_launcher;
pub mod client;
pub mod config;
pub mod copy;
pub mod error_text;
pub mod generational;
pub mod histogram;
pub mod logging;
pub mod net;
pub mod protocol;
pub mod push_hook;
pub mod safe_text;
pub mod server;
pub mod store;
pub mod versions;
pub mod web_page;
