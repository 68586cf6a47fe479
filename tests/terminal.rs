//! `hongyan chat`, `send` and `listen` as people and scripts use them: in terminals (tmux) and in a
//! shell, with a server in a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test fails by panicking")]

mod common;
#[path = "terminal/documented.rs"]
mod documented;
#[path = "terminal/orders.rs"]
mod orders;
#[path = "terminal/place.rs"]
mod place;
#[path = "terminal/screens.rs"]
mod screens;
#[path = "terminal/scripts.rs"]
mod scripts;
#[path = "terminal/tmux.rs"]
mod tmux;
