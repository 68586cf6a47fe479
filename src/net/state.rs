//! The states of the two sides of a connection: may anything still be read from its client, and
//! may anything still be written to it?

use super::counters::CloseCause;

/// The state of the reading side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionReadState {
    /// The socket has no more input; the next edge will announce more.
    #[default]
    Drained,
    /// There may be something to read.
    Readable,
    /// At least the client's end is to be read: an edge announced it, and no further edge will.
    Ending,
    /// The end was read.
    Ended,
    /// The end was read, and the client gets time for its answers.
    HalfClosed,
}

impl ConnectionReadState {
    /// May a read bring something?
    #[must_use]
    pub fn is_readable(self) -> bool {
        matches!(self, Self::Readable | Self::Ending)
    }

    /// Was the client's end read?
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Ended | Self::HalfClosed)
    }

    /// Has the client ended its side, as far as is known, whether that was read or not?
    #[must_use]
    pub fn is_end_known(self) -> bool {
        matches!(self, Self::Ending) || self.has_ended()
    }

    /// An edge came, which may announce the client's end.
    pub fn on_edge(&mut self, announces_end: bool) {
        match self {
            Self::Ended | Self::HalfClosed | Self::Ending => {}
            Self::Drained | Self::Readable if announces_end => *self = Self::Ending,
            Self::Drained | Self::Readable => *self = Self::Readable,
        }
    }

    /// A read returned data. If it did not fill its buffer, it has emptied the socket, and further
    /// input will give a new edge (epoll(7), question 9). Only an end that was announced already
    /// will not: then continue reading.
    pub fn on_read(&mut self, filled_its_buffer: bool) {
        if !filled_its_buffer && *self == Self::Readable {
            *self = Self::Drained;
        }
    }

    /// The socket has nothing for now, or never again.
    pub fn on_blocked(&mut self) {
        if self.is_readable() {
            *self = Self::Drained;
        }
    }

    /// The client's end was read.
    pub fn on_end(&mut self) {
        if *self != Self::HalfClosed {
            *self = Self::Ended;
        }
    }
}

/// The output that is written before a closing connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalOutputMode {
    /// Everything that waits.
    Everything,
    /// If it cannot be written at once, only the last frames with the reason of the close.
    Reason,
}

/// The state of the writing side, and with it the stage of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConnectionWriteState {
    /// In use, and nothing waits for the socket.
    #[default]
    Free,
    /// In use, and the socket takes no more for now. The core was told.
    Blocked,
    /// The core has removed the connection. Its output is written, then the writing side is
    /// ended.
    Closing(FinalOutputMode),
    /// Our side is ended. Input of the client is read and dropped until it ends its side, too:
    /// otherwise a reset could destroy the last output.
    Ended,
    /// Nothing can or may be written any more.
    Dead,
}

impl ConnectionWriteState {
    /// Is the connection in use: does the core know it?
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Free | Self::Blocked)
    }

    /// The socket takes no more. `true`: it was not blocked before.
    pub fn begin_blocked(&mut self) -> bool {
        let is_new = *self == Self::Free;
        if is_new {
            *self = Self::Blocked;
        }
        is_new
    }

    /// Everything is written. `true`: the socket was blocked before.
    pub fn end_blocked(&mut self) -> bool {
        let was_blocked = *self == Self::Blocked;
        if was_blocked {
            *self = Self::Free;
        }
        was_blocked
    }

    /// The state of a connection that is closed for this cause.
    #[must_use]
    pub fn after_close(cause: CloseCause) -> Self {
        match cause {
            CloseCause::IoError | CloseCause::SlowReader | CloseCause::OutputTimeout | CloseCause::Memory => Self::Dead,
            // As for a connection without a proxy: it is closed at once, and holds no descriptor.
            CloseCause::AddressFull => Self::Dead,
            // Its descriptor is needed now.
            CloseCause::Evicted => Self::Dead,
            cause if cause.sends_only_reason() => Self::Closing(FinalOutputMode::Reason),
            _ => Self::Closing(FinalOutputMode::Everything),
        }
    }
}

/// The lists of the hub that a connection is on: one bit for each, so that it is on none twice. The
/// other four bits are its kind as it was counted last (`census`): a byte of its own would make a
/// connection larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionListFlags(u8);

impl ConnectionListFlags {
    /// Connections to be read.
    pub const TO_READ: Self = Self(1);
    /// Connections to be written.
    pub const TO_WRITE: Self = Self(2);
    /// Closing connections with a deadline.
    pub const LINGERING: Self = Self(4);
    /// Connections that are watched because output waits.
    pub const WATCHED: Self = Self(8);

    /// Is it on this one?
    #[must_use]
    pub fn has(self, list: Self) -> bool {
        self.0 & list.0 != 0
    }

    /// Puts it on this list. `false`: it was on it already.
    #[must_use]
    pub fn enter(&mut self, list: Self) -> bool {
        let is_new = !self.has(list);
        self.0 |= list.0;
        is_new
    }

    /// Takes it off this list.
    pub fn leave(&mut self, list: Self) {
        self.0 &= !list.0;
    }

    /// Its kind at the last count.
    #[must_use]
    pub(super) fn counted_kind(self) -> u8 {
        self.0 >> 4
    }

    /// Sets the counted kind, one of sixteen.
    pub(super) fn count_kind(&mut self, kind: u8) {
        self.0 = self.0 & 15 | kind << 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::contract::CoreCloseCause;
    use ConnectionReadState::{Drained, Ended, Ending, HalfClosed, Readable};

    #[test]
    fn each_event_moves_the_read_state_as_the_table_says() {
        // Each state, and the state after an edge, an edge with the end, a short read, a full read,
        // a blocked read and the end.
        for (state, expected) in [
            (Drained, [Readable, Ending, Drained, Drained, Drained, Ended]),
            (Readable, [Readable, Ending, Drained, Readable, Drained, Ended]),
            (Ending, [Ending, Ending, Ending, Ending, Drained, Ended]),
            (Ended, [Ended; 6]),
            (HalfClosed, [HalfClosed; 6]),
        ] {
            let events: [fn(&mut ConnectionReadState); 6] = [
                |state| state.on_edge(false),
                |state| state.on_edge(true),
                |state| state.on_read(false),
                |state| state.on_read(true),
                ConnectionReadState::on_blocked,
                ConnectionReadState::on_end,
            ];
            let became = events.map(|event| {
                let mut state = state;
                event(&mut state);
                state
            });
            assert_eq!(became, expected, "{state:?}");
            assert!(!(state.is_readable() && state.has_ended()), "{state:?}");
            assert_eq!(state.is_end_known(), !matches!(state, Drained | Readable), "{state:?}");
        }
    }

    #[test]
    fn output_that_waits_is_new_once() {
        let mut state = ConnectionWriteState::default();
        assert!(!state.end_blocked() && state.begin_blocked() && !state.begin_blocked());
        assert!(state.is_open() && state.end_blocked() && !state.end_blocked());
        for closed in [
            ConnectionWriteState::Closing(FinalOutputMode::Reason),
            ConnectionWriteState::Ended,
            ConnectionWriteState::Dead,
        ] {
            let mut state = closed;
            assert!(!state.is_open() && !state.begin_blocked() && !state.end_blocked());
            assert_eq!(state, closed, "a closed side is never in use again");
        }
    }

    #[test]
    fn every_close_cause_has_its_write_state() {
        for cause in CloseCause::ALL {
            let expected = match cause {
                CloseCause::IoError | CloseCause::SlowReader | CloseCause::OutputTimeout | CloseCause::Memory => {
                    ConnectionWriteState::Dead
                }
                CloseCause::AddressFull | CloseCause::Evicted => ConnectionWriteState::Dead,
                CloseCause::Chat(
                    CoreCloseCause::Idle
                    | CoreCloseCause::Replaced
                    | CoreCloseCause::Garbage
                    | CoreCloseCause::TooLarge,
                )
                | CloseCause::WebSocketClosed
                | CloseCause::WebSocketProtocol => ConnectionWriteState::Closing(FinalOutputMode::Reason),
                _ => ConnectionWriteState::Closing(FinalOutputMode::Everything),
            };
            assert_eq!(ConnectionWriteState::after_close(cause), expected, "{cause:?}");
        }
    }

    #[test]
    fn it_is_on_each_list_once() {
        let mut lists = ConnectionListFlags::default();
        let all = [
            ConnectionListFlags::TO_READ,
            ConnectionListFlags::TO_WRITE,
            ConnectionListFlags::LINGERING,
            ConnectionListFlags::WATCHED,
        ];
        for list in all {
            assert!(!lists.has(list) && lists.enter(list) && !lists.enter(list) && lists.has(list));
        }
        for (place, list) in all.into_iter().enumerate() {
            lists.leave(list);
            assert_eq!(all.map(|list| lists.has(list)), [0, 1, 2, 3].map(|other| other > place));
        }
        for kind in 0..16 {
            assert!(lists.enter(ConnectionListFlags::WATCHED));
            lists.count_kind(kind);
            assert!(
                lists.counted_kind() == kind
                    && lists.has(ConnectionListFlags::WATCHED)
                    && !lists.has(ConnectionListFlags::TO_READ)
            );
            lists.leave(ConnectionListFlags::WATCHED);
            assert_eq!(lists.counted_kind(), kind);
        }
    }
}
