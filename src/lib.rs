//! hongyan, the wild goose that carries letters: a small, fast instant-messaging server.
//!
//! ```text
//!  clients ═ TCP ═►┌──────────────── loop thread ───────────────┐  Job (mpsc)     ┌ data workers: one `Box<dyn Store>` each
//!                  │ net: poll, sockets, buffers, wires         │ ──────────────► │ (jobs about one user: one worker, in order)
//!                  │   │ Event, Now              ▲ Vec<Action>  │ ◄────────────── │
//!                  │   └──────► chat::Chat::handle ──┘ (pure)   │ done + one wake └ auth workers: Argon2id
//!                  └────────────────────────────────────────────┘
//! ```
//!
//! One loop thread owns every connection and all chat state; a few worker threads do what blocks. [`protocol`] is pure bytes,
//! [`chat`] pure state, [`net`] has the sockets and the clock, [`store`] the threads that block. [`server`] wires them up,
//! and [`copy`] moves a store into another one.

pub mod chat;
pub mod config;
pub mod copy;
pub mod logging;
pub mod net;
pub mod protocol;
pub mod server;
pub mod store;
