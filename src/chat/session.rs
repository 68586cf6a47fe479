//! One connection: who is on it, when it last spoke, how it spells.

use super::contract::{ConnId, Origin, Rules};
use super::users::UserId;
use super::wheel::TimerId;
use crate::protocol::request::Spelling;

/// What the core knows of one connection.
#[derive(Debug)]
pub(super) struct Session {
    generation: u32,
    /// Who is logged in.
    pub(super) user: Option<UserId>,
    /// When it last spoke, by the mono clock.
    pub(super) spoke_ms: u64,
    /// The spelling of its last 1, 2, 4, 5 or 6.
    pub(super) spelling: Spelling,
    /// The spelling of its log-in.
    pub(super) push_spelling: Spelling,
    /// Earlier output has not been written yet.
    pub(super) blocked: bool,
    /// A sign-up or log-in is being worked on; the shell holds its input.
    pub(super) held: bool,
    /// Where it comes from, for the limits per address.
    pub(super) origin: Option<Origin>,
    /// How many wrong passwords came on it.
    pub(super) wrong_passwords: u16,
    /// How many of its last inputs in a row were `BAD_JSON`.
    pub(super) bad_inputs: u32,
    /// Fires when it may have been silent for too long.
    pub(super) idle_timer: Option<TimerId>,
    tokens: u32,
    tokens_at_ms: u64,
}

impl Session {
    /// Takes a token from the bucket, which holds one second's worth; `false` when it is empty.
    pub(super) fn take_token(&mut self, now_ms: u64, rules: &Rules) -> bool {
        let rate = u64::from(rules.requests_per_second_max);
        let gained = now_ms.saturating_sub(self.tokens_at_ms).saturating_mul(rate) / 1_000;
        if gained > 0 {
            self.tokens = u64::from(self.tokens).saturating_add(gained).min(rate) as u32;
            self.tokens_at_ms = now_ms;
        }
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }
}

/// All connections, by slot.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    slots: Vec<Option<Session>>,
    len: usize,
}

impl Sessions {
    pub(super) fn open(&mut self, conn: ConnId, origin: Option<Origin>, now_ms: u64, rules: &Rules) {
        let slot = conn.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        debug_assert!(self.slots[slot].is_none(), "a slot is opened once before it is closed");
        self.len += usize::from(self.slots[slot].is_none());
        self.slots[slot] = Some(Session {
            generation: conn.generation,
            user: None,
            spoke_ms: now_ms,
            spelling: Spelling::Text,
            push_spelling: Spelling::Text,
            blocked: false,
            held: false,
            origin,
            wrong_passwords: 0,
            bad_inputs: 0,
            idle_timer: None,
            tokens: rules.requests_per_second_max,
            tokens_at_ms: now_ms,
        });
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Session> {
        self.slots.get(conn.slot as usize)?.as_ref().filter(|session| session.generation == conn.generation)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Session> {
        self.slots.get_mut(conn.slot as usize)?.as_mut().filter(|session| session.generation == conn.generation)
    }

    pub(super) fn close(&mut self, conn: ConnId) -> Option<Session> {
        self.get(conn)?;
        self.len -= 1;
        self.slots[conn.slot as usize].take()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All that are open, by slot.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.slots.iter().enumerate().filter_map(|(slot, session)| {
            session.as_ref().map(|session| ConnId { slot: slot as u32, generation: session.generation })
        })
    }
}
