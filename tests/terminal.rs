//! `hongyan chat`, `send` and `listen` as people and scripts use them: in terminals (tmux) and in a
//! shell, with a server in a process of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "a test fails by panicking")]

mod common;

/// The tests and their tools, in `tests/terminal/`.
mod terminal {
    mod documented;
    mod orders;
    mod place;
    mod screens;
    mod scripts;
    mod tmux;
}
