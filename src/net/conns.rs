//! The table of connections: a slab, and for each slot how many connections had it before, so that
//! an old [`ConnId`] never finds a new client.

use crate::chat::contract::ConnId;
use mio::Token;
use slab::Slab;

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

/// The connection of a token (that is none of the three above).
#[must_use]
pub fn conn_of(token: Token) -> ConnId {
    // The cut to 32 bits is the point.
    ConnId { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

/// Connections, found by [`ConnId`].
#[derive(Debug)]
pub struct Conns<T> {
    slab: Slab<T>,
    /// For each slot that was ever used, the generation of the connection that has it or will have
    /// it next.
    generations: Vec<u32>,
}

impl<T> Default for Conns<T> {
    fn default() -> Self {
        Self { slab: Slab::new(), generations: Vec::new() }
    }
}

impl<T> Conns<T> {
    /// The id that [`insert`](Self::insert) gives next.
    #[must_use]
    pub fn next_id(&self) -> ConnId {
        let slot = self.slab.vacant_key();
        let generation = self.generations.get(slot).copied().unwrap_or(0);
        // Connections are bounded far below 2^32.
        ConnId { slot: slot as u32, generation }
    }

    /// Adds a connection.
    pub fn insert(&mut self, conn: T) -> ConnId {
        let id = self.next_id();
        let slot = self.slab.insert(conn);
        if slot >= self.generations.len() {
            self.generations.resize(slot + 1, 0);
        }
        id
    }

    /// The connection, if it is still there.
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<&T> {
        if self.generations.get(id.slot as usize) != Some(&id.generation) {
            return None;
        }
        self.slab.get(id.slot as usize)
    }

    /// The connection, if it is still there.
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut T> {
        if self.generations.get(id.slot as usize) != Some(&id.generation) {
            return None;
        }
        self.slab.get_mut(id.slot as usize)
    }

    /// Takes a connection out. Its id finds nothing from now on.
    pub fn remove(&mut self, id: ConnId) -> Option<T> {
        let generation =
            self.generations.get_mut(id.slot as usize).filter(|generation| **generation == id.generation)?;
        let conn = self.slab.try_remove(id.slot as usize)?;
        // After 2^32 connections in one slot its first id comes again: at a thousand a second that
        // is fifty days, in which nothing refers to the first one any more.
        *generation = generation.wrapping_add(1);
        Some(conn)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// The ids of all, in no order that means anything. Only for the stop of the server: nothing
    /// else looks at all connections.
    pub fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.slab.iter().map(|(slot, _)| ConnId { slot: slot as u32, generation: self.generations[slot] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_never_finds_the_next_client_of_its_slot() {
        let mut conns = Conns::default();
        let first = conns.insert('a');
        assert_eq!(conns.remove(first), Some('a'));
        assert!(conns.remove(first).is_none());
        let second = conns.insert('b');
        assert_eq!(first.slot, second.slot);
        assert_ne!(first, second);
        assert!(conns.get(first).is_none() && conns.get_mut(first).is_none() && conns.remove(first).is_none());
        assert_eq!(conns.get(second), Some(&'b'));
        assert_eq!(conns.ids().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn the_next_id_is_the_one_that_is_given() {
        let mut conns = Conns::default();
        let mut live = Vec::new();
        for round in 0..1_000_u32 {
            let next = conns.next_id();
            assert_eq!(conns.insert(round), next);
            live.push(next);
            if round % 3 == 0 {
                let gone = live.swap_remove(round as usize % live.len());
                assert!(conns.remove(gone).is_some());
            }
        }
        assert_eq!(conns.len(), live.len());
    }

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
