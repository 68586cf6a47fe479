//! The settings that can change while the server runs: at the start they are put in force like at a
//! reload, so that no setting is put in force in one of the two only.

use super::hub::{Bounds, Hub};
use super::socket::Stream;
use super::tls::Certificates;
use crate::chat::contract::Rules;
use crate::config::{Networks, Origins};
use std::sync::Arc;

/// What the loop is held to.
#[derive(Clone, Debug)]
pub struct Live {
    /// The rules of the core.
    pub rules: Rules,
    /// The bounds of connections.
    pub bounds: Bounds,
    /// Open connections at once.
    pub conns_max: usize,
    /// The time that a stop may take, in ms.
    pub stop_wait_ms: u64,
    /// Whose word about the addresses of clients is believed.
    pub trusted_proxies: Networks,
    /// Whose pages may open a WebSocket.
    pub allowed_origins: Origins,
    /// The web page is served.
    pub has_page: bool,
    /// With which TLS is spoken.
    pub certificates: Option<Arc<Certificates>>,
}

/// Settings that were read again.
pub struct Reloaded {
    /// The settings.
    pub live: Live,
    /// Called when they are in force; must not wait.
    pub then: Box<dyn FnOnce() + Send>,
}

impl<S: Stream> Hub<S> {
    /// Holds everybody to these from now on. Connections that have more than they may from now on
    /// keep it: they get no more, until they have less.
    pub fn hold_to(&mut self, live: Live) {
        let now_ms = self.now.mono_ms;
        self.chat.set_rules(live.rules);
        self.bounds = live.bounds;
        self.deadlines.set_timeouts(now_ms, live.bounds.handshake_timeout_ms, live.bounds.output_timeout_ms);
        self.address_keys.set_conns_max(live.bounds.conns_per_address_max);
        self.line_rates.set(live.bounds.log_lines_per_second_max);
        self.proxies.trust(live.trusted_proxies);
        self.web.allow(live.allowed_origins);
        self.web.serve_page(live.has_page);
        self.certificates = live.certificates;
    }
}

/// What holds, as text, to see that something has changed.
#[cfg(test)]
impl super::Loop {
    pub(crate) fn in_force(&self) -> String {
        let hub = &self.hub;
        let bounds = (&hub.bounds, &hub.deadlines, &hub.address_keys, &hub.line_rates, &hub.proxies, &hub.web);
        format!(
            "{:?} {bounds:?} {:?} {} {}",
            hub.chat.rules(),
            self.acceptor,
            self.stop_wait_ms,
            self.pool.limits().in_force()
        )
    }
}
