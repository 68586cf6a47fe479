//! How far a drain and a stop of the server are. A drain ends with a stop, and a stop may come at
//! any time.

use crate::protocol::http::ServerHealth;

/// How far they are.
#[derive(Debug, Default)]
pub(super) struct StopProgress {
    /// The operator had the server drained: it takes no log-ins any more.
    is_draining: bool,
    /// The drain is over: all connections have been closed.
    is_drained: bool,
    /// The server is stopping.
    is_stopping: bool,
    /// The core has finished its stop.
    is_core_stopped: bool,
    /// Connections are kept only until their output is written.
    is_closing_all: bool,
}

impl StopProgress {
    /// A drain has begun.
    pub(super) fn begin_drain(&mut self) {
        self.is_draining = true;
    }

    /// All connections are drained.
    pub(super) fn end_drain(&mut self) {
        self.is_drained = true;
    }

    /// The core is told to stop.
    pub(super) fn begin(&mut self) {
        self.is_stopping = true;
    }

    /// The core has finished its stop.
    pub(super) fn note_core_stopped(&mut self) {
        self.is_core_stopped = true;
    }

    /// All connections are closed, also those that the core left open.
    pub(super) fn begin_closing_all(&mut self) {
        self.is_closing_all = true;
    }

    /// Has a drain begun?
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Is a drain over?
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }

    /// Has the core finished its stop?
    pub(super) fn is_core_stopped(&self) -> bool {
        self.is_core_stopped
    }

    /// Is a connection of no use any more once its output is written?
    pub(super) fn is_closing_all(&self) -> bool {
        self.is_closing_all
    }

    /// The health for load balancers during a drain or a stop; `None`: there is neither.
    pub(super) fn health(&self) -> Option<ServerHealth> {
        match () {
            () if self.is_stopping => Some(ServerHealth::Stopping),
            () if self.is_draining => Some(ServerHealth::Draining),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_balancers_are_told_of_a_drain_until_a_stop_begins() {
        let mut stop = StopProgress::default();
        assert_eq!(stop.health(), None);
        stop.begin_drain();
        assert_eq!(stop.health(), Some(ServerHealth::Draining));
        stop.end_drain();
        assert_eq!(stop.health(), Some(ServerHealth::Draining));
        stop.begin();
        assert_eq!(stop.health(), Some(ServerHealth::Stopping));
    }

    #[test]
    fn the_core_stops_before_or_after_the_wait_for_it_ends() {
        for core_first in [true, false] {
            let mut stop = StopProgress::default();
            stop.begin();
            assert!(!stop.is_core_stopped() && !stop.is_closing_all());
            if core_first {
                stop.note_core_stopped();
                assert!(!stop.is_closing_all());
                stop.begin_closing_all();
            } else {
                stop.begin_closing_all();
                assert!(!stop.is_core_stopped());
                stop.note_core_stopped();
            }
            assert!(stop.is_core_stopped() && stop.is_closing_all());
            assert!(!stop.is_draining() && !stop.is_drained(), "nobody had it drained");
        }
    }
}
