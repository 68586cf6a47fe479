//! The admin interface over its sockets: the right to ask, the answers, and that callers who are
//! slow, stall or flood harm nobody.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

/// The parts of this test, in `tests/admin/`.
mod admin {
    pub(crate) mod caller;
    mod changes;
    mod command;
    mod metrics;
    mod openapi;
    mod places;
    mod reads;
    mod trouble;
}

use common::{Server, config};
use hongyan::config::{AdminPlace, Config};
use hongyan::server::{self, ServerHandle};
use std::net::SocketAddr;

/// A server in this process with its admin interface on a free port of loopback.
struct Managed {
    server: Server,
    admin: SocketAddr,
}

impl Managed {
    fn start() -> Self {
        Self::tuned(|_| {})
    }

    fn tuned(tune: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        config.admin = AdminPlace::parse("127.0.0.1:0").unwrap();
        tune(&mut config);
        let handle: ServerHandle = server::start(config).unwrap();
        let admin = handle.admin_addr().unwrap();
        Self { server: Server::of(handle), admin }
    }
}
