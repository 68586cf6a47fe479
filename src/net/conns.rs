//! The table of connections, and the token under which the poll knows each of them.

use crate::chat::contract::ConnId;
use crate::generational::{GenerationalSlab, impl_key};
use mio::Token;

// A token holds a slot and a generation of 32 bits each.
const _: () = assert!(usize::BITS >= 64);

/// The listener's token; no connection has it, since no table has so many slots.
pub const LISTENER: Token = Token(usize::MAX);
/// The waker's token.
pub const WAKER: Token = Token(usize::MAX - 1);
/// The token of signals.
pub const SIGNALS: Token = Token(usize::MAX - 2);
/// The token of the alarm.
pub const ALARM: Token = Token(usize::MAX - 3);

/// The token under which a connection is registered.
#[must_use]
pub fn token_of(conn: ConnId) -> Token {
    Token((conn.generation as usize) << 32 | conn.slot as usize)
}

/// The connection of a token (that is none of those above).
#[must_use]
pub fn conn_of(token: Token) -> ConnId {
    // The cut to 32 bits is the point.
    ConnId { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

/// Connections by [`ConnId`].
pub type Conns<T> = GenerationalSlab<ConnId, T>;

impl_key!(ConnId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_ids_are_the_same_thing() {
        for id in [
            ConnId { slot: 0, generation: 0 },
            ConnId { slot: 7, generation: u32::MAX },
            ConnId { slot: u32::MAX - 4, generation: u32::MAX },
        ] {
            assert_eq!(conn_of(token_of(id)), id);
            assert!(![LISTENER, WAKER, SIGNALS, ALARM].contains(&token_of(id)));
        }
    }
}
