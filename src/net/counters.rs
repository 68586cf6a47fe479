//! Counters of connections. Every close has a cause.

use super::log_event_counts::LogEventCounts;
use crate::chat::contract::CoreCloseCause;
use std::fmt;

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCause {
    /// The core closed it.
    Chat(CoreCloseCause),
    /// The client closed it.
    PeerClosed,
    /// Reading or writing failed.
    IoError,
    /// It had more unwritten output than allowed.
    SlowReader,
    /// It read none of its waiting output for too long.
    OutputTimeout,
    /// The process used more memory than allowed, and this connection was one of those that used
    /// the most.
    Memory,
    /// A WebSocket client sent a close frame.
    WebSocketClosed,
    /// A WebSocket client broke the protocol.
    WebSocketProtocol,
    /// A plain HTTP request was answered.
    HttpDone,
    /// The head of its request was not valid HTTP, or not a valid WebSocket handshake.
    HttpBad,
    /// Its handshake or the head of its request did not arrive in time.
    HandshakeTimeout,
    /// It began with a TLS handshake, but the server has no certificate.
    TlsUnsupported,
    /// It violated the TLS protocol, or supports no version or cipher of the server.
    TlsBroken,
    /// It did not speak TLS, which is required.
    PlainRefused,
    /// It came through a proxy, and its client's address has reached the limit on connections.
    AddressFull,
    /// It was not logged in, and a new connection needed its place.
    Evicted,
    /// A trusted proxy sent a PROXY header that cannot be read.
    BadProxyHeader,
    /// The server stopped.
    Stopped,
}

impl CloseCause {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 26] = [
        Self::Chat(CoreCloseCause::Idle),
        Self::Chat(CoreCloseCause::Replaced),
        Self::Chat(CoreCloseCause::Garbage),
        Self::Chat(CoreCloseCause::TooLarge),
        Self::Chat(CoreCloseCause::ShuttingDown),
        Self::PeerClosed,
        Self::IoError,
        Self::SlowReader,
        Self::WebSocketClosed,
        Self::WebSocketProtocol,
        Self::HttpDone,
        Self::HttpBad,
        Self::TlsUnsupported,
        Self::Stopped,
        Self::OutputTimeout,
        Self::HandshakeTimeout,
        Self::Chat(CoreCloseCause::TooManyTries),
        Self::Chat(CoreCloseCause::TooFast),
        Self::Memory,
        Self::TlsBroken,
        Self::PlainRefused,
        Self::AddressFull,
        Self::BadProxyHeader,
        Self::Chat(CoreCloseCause::ByOperator),
        Self::Chat(CoreCloseCause::AccountDeleted),
        Self::Evicted,
    ];

    fn index(self) -> usize {
        match self {
            Self::Chat(CoreCloseCause::Idle) => 0,
            Self::Chat(CoreCloseCause::Replaced) => 1,
            Self::Chat(CoreCloseCause::Garbage) => 2,
            Self::Chat(CoreCloseCause::TooLarge) => 3,
            Self::Chat(CoreCloseCause::ShuttingDown) => 4,
            Self::PeerClosed => 5,
            Self::IoError => 6,
            Self::SlowReader => 7,
            Self::WebSocketClosed => 8,
            Self::WebSocketProtocol => 9,
            Self::HttpDone => 10,
            Self::HttpBad => 11,
            Self::TlsUnsupported => 12,
            Self::Stopped => 13,
            Self::OutputTimeout => 14,
            Self::HandshakeTimeout => 15,
            Self::Chat(CoreCloseCause::TooManyTries) => 16,
            Self::Chat(CoreCloseCause::TooFast) => 17,
            Self::Memory => 18,
            Self::TlsBroken => 19,
            Self::PlainRefused => 20,
            Self::AddressFull => 21,
            Self::BadProxyHeader => 22,
            Self::Chat(CoreCloseCause::ByOperator) => 23,
            Self::Chat(CoreCloseCause::AccountDeleted) => 24,
            Self::Evicted => 25,
        }
    }

    /// Is it enough to tell the client this reason? If it has ended its side, or the server
    /// stops, it gets all waiting output.
    #[must_use]
    pub fn sends_only_reason(self) -> bool {
        use CoreCloseCause::{Garbage, Idle, Replaced, TooLarge};
        matches!(
            self,
            Self::Chat(Idle | Replaced | Garbage | TooLarge) | Self::WebSocketClosed | Self::WebSocketProtocol
        )
    }

    /// Its name in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat(CoreCloseCause::Idle) => "idle",
            Self::Chat(CoreCloseCause::Replaced) => "replaced",
            Self::Chat(CoreCloseCause::Garbage) => "garbage",
            Self::Chat(CoreCloseCause::TooLarge) => "too large",
            Self::Chat(CoreCloseCause::TooFast) => "too fast",
            Self::Chat(CoreCloseCause::ShuttingDown) => "shutting down",
            Self::Chat(CoreCloseCause::TooManyTries) => "too many tries",
            Self::Chat(CoreCloseCause::ByOperator) => "by the operator",
            Self::Chat(CoreCloseCause::AccountDeleted) => "account deleted",
            Self::PeerClosed => "closed by the client",
            Self::IoError => "broken",
            Self::SlowReader => "slow reader",
            Self::OutputTimeout => "output timeout",
            Self::HandshakeTimeout => "handshake timeout",
            Self::Memory => "memory budget",
            Self::WebSocketClosed => "WebSocket closed",
            Self::WebSocketProtocol => "WebSocket protocol",
            Self::HttpDone => "HTTP done",
            Self::HttpBad => "bad HTTP",
            Self::TlsUnsupported => "TLS",
            Self::TlsBroken => "bad TLS",
            Self::PlainRefused => "no TLS",
            Self::AddressFull => "too many of its address",
            Self::Evicted => "evicted for a new one",
            Self::BadProxyHeader => "bad PROXY header",
            Self::Stopped => "stopped",
        }
    }
}

/// The counts since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionHubCounters {
    /// Connections that were taken.
    pub accepted: u64,
    /// Connections that were closed at once because of the limit on connections.
    pub refused_at_limit: u64,
    /// Connections that were closed at once because of the limit per address.
    pub refused_at_address_limit: u64,
    /// Connections that were closed at once because the process used too much memory.
    pub refused_at_memory_limit: u64,
    /// Pauses of accepting because no file descriptor was free.
    pub accept_pauses: u64,
    /// Bytes that clients sent, inside of TLS.
    pub bytes_in: u64,
    /// Envelopes, and bad inputs, handed to the core.
    pub inputs: u64,
    /// Replies and pushes written.
    pub frames: u64,
    /// The counts of the core's log events.
    pub log_events: LogEventCounts,
    closed_by_cause: [u64; CloseCause::ALL.len()],
}

impl ConnectionHubCounters {
    /// Counts a close.
    pub fn count_close(&mut self, cause: CloseCause) {
        self.closed_by_cause[cause.index()] += 1;
    }

    /// The number of connections that were closed for this cause.
    #[must_use]
    pub fn closed(&self, cause: CloseCause) -> u64 {
        self.closed_by_cause[cause.index()]
    }
}

impl fmt::Display for ConnectionHubCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            refused_at_limit,
            refused_at_address_limit,
            refused_at_memory_limit,
            accept_pauses,
            inputs,
            frames,
            ..
        } = self;
        write!(
            f,
            "{accepted} connections, {refused_at_limit} refused, {refused_at_address_limit} refused for their address, "
        )?;
        write!(f, "{refused_at_memory_limit} refused for memory, ")?;
        write!(f, "{accept_pauses} accept pauses, {inputs} inputs, {frames} frames")?;
        for cause in CloseCause::ALL {
            if self.closed(cause) > 0 {
                write!(f, "; {}: {}", cause.as_str(), self.closed(cause))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        for (index, cause) in CloseCause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), index);
        }
        let mut counters = ConnectionHubCounters::default();
        counters.count_close(CloseCause::SlowReader);
        assert_eq!(counters.closed(CloseCause::SlowReader), 1);
        assert!(counters.to_string().ends_with("; slow reader: 1"), "{counters}");
    }
}
