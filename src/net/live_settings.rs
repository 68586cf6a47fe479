//! The settings that can change while the server runs. The start applies them by the same code as a
//! reload, so that no setting is applied in only one of the two cases.

use super::hub::{ConnectionHub, ConnectionHubLimits};
use super::socket::NonblockingStream;
use super::tls::Certificates;
use crate::chat::contract::CoreSettings;
use crate::config::{Networks, Origins};
use std::sync::Arc;

/// The settings of the loop.
#[derive(Clone, Debug)]
pub struct LoopSettings {
    /// The settings of the core.
    pub rules: CoreSettings,
    /// The limits of connections.
    pub bounds: ConnectionHubLimits,
    /// The limit on open connections.
    pub conns_max: usize,
    /// The time limit of a stop, in ms.
    pub stop_wait_ms: u64,
    /// The trusted proxies.
    pub trusted_proxies: Networks,
    /// The origins whose pages may open a WebSocket.
    pub allowed_origins: Origins,
    /// The web page is served.
    pub has_page: bool,
    /// The certificates for TLS; `None`: no TLS.
    pub certificates: Option<Arc<Certificates>>,
}

/// The settings of a reload.
pub struct ReloadedSettings {
    /// The settings.
    pub settings: LoopSettings,
    /// Called when they are applied; must not wait.
    pub on_applied: Box<dyn FnOnce() + Send>,
}

impl<S: NonblockingStream> ConnectionHub<S> {
    /// Applies these settings from now on. Connections beyond a new limit keep what they have, but
    /// get no more until they are below it.
    pub fn apply_settings(&mut self, live: LoopSettings) {
        let now_ms = self.clock.now_ms();
        self.chat.set_rules(live.rules);
        self.bounds = live.bounds;
        self.deadlines.set_timeouts(now_ms, live.bounds.handshake_timeout_ms, live.bounds.output_timeout_ms);
        self.addresses.set_conns_max(live.bounds.conns_per_address_max);
        self.line_rates.set(live.bounds.log_lines_per_second_max);
        self.addresses.proxied.trust(live.trusted_proxies);
        self.web.allow(live.allowed_origins);
        self.web.serve_page(live.has_page);
        self.tls.set(live.certificates);
    }
}

/// The present settings as text, to see that something has changed.
#[cfg(test)]
impl super::Loop {
    pub(crate) fn describe_settings(&self) -> String {
        let hub = &self.hub;
        let bounds = (&hub.bounds, &hub.deadlines, &hub.addresses, &hub.line_rates, &hub.web);
        format!(
            "{:?} {bounds:?} {:?} {} {}",
            hub.chat.rules(),
            self.acceptor,
            self.stop_wait_ms,
            self.pool.limits().describe()
        )
    }
}
