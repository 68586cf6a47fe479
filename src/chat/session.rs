//! Sessions: the user on a connection, when it was last active, its form of CONTENT, and when it is
//! checked.

use super::contract::{AddressKey, ConnId, CoreSettings};
use super::ids::UserSlot;
use crate::protocol::request::ContentAsStringOrObject;
use std::collections::BTreeMap;

/// No slot: the end of a list.
const NONE: u32 = u32::MAX;

/// The state of one connection in the core. There may be very many, and each pays for a new field.
#[derive(Debug)]
pub(super) struct ConnectionSession {
    generation: u32,
    /// The user who is logged in.
    pub(super) user: Option<UserSlot>,
    /// When it was last active, by the mono clock.
    pub(super) last_active_ms: u64,
    /// The form of its last 1, 2, 4, 5 or 6.
    pub(super) form: ContentAsStringOrObject,
    /// The form of its log-in.
    pub(super) push_form: ContentAsStringOrObject,
    /// Earlier output is not written yet.
    pub(super) is_output_blocked: bool,
    /// A sign-up or log-in is being worked on; the shell pauses its input.
    pub(super) is_input_paused: bool,
    /// Requests of its user that are still to be answered; sign-ups and log-ins, which pause its
    /// input, are not counted.
    pub(super) unanswered: u32,
    /// Its address, for the limits per address.
    pub(super) address_key: Option<AddressKey>,
    /// Passwords on it that were wrong, or are being checked.
    pub(super) wrong_passwords: u16,
    /// Invalid tokens on it.
    pub(super) stale_tokens: u16,
    /// Tries that were refused on it since the last log-in.
    pub(super) refused_tries: u16,
    /// The number of its last inputs in a row that were `BAD_JSON`.
    pub(super) bad_inputs: u16,
    /// Its user is told when friends come and go.
    pub(super) watches: bool,
    /// Its requests are paused, because its user's load in flight has reached the limit.
    pub(super) requests_paused: bool,
    /// Refused requests beyond its rate, less the requests that were accepted since.
    pub(super) excess_refusals: u16,
    /// When its token bucket is full again, in ns of the mono clock.
    full_at_ns: u64,
    /// When it is checked for being idle; the other connections of that time are its neighbours in
    /// a list.
    idle_check_ms: u64,
    prev_slot: u32,
    next_slot: u32,
}

impl ConnectionSession {
    /// Takes a token from the bucket; `false` when it is empty. The bucket holds the requests of
    /// one second, or before log-in the small allowance of a stranger.
    pub(super) fn take_token(&mut self, now_ms: u64, rules: &CoreSettings) -> bool {
        const SECOND_NS: u64 = 1_000_000_000;
        let now_ns = now_ms.saturating_mul(1_000_000);
        let (every_ns, room_ns) = if self.user.is_some() {
            (SECOND_NS / u64::from(rules.requests_per_second_max.max(1)), SECOND_NS)
        } else {
            let every_ns = SECOND_NS / u64::from(rules.requests_before_login_per_second_max.max(1));
            (every_ns, every_ns * u64::from(rules.requests_before_login_max))
        };
        let full_at_ns = self.full_at_ns.max(now_ns) + every_ns;
        let taken = full_at_ns <= now_ns + room_ns;
        if taken {
            self.full_at_ns = full_at_ns;
        }
        taken
    }

    /// Fills the token bucket.
    pub(super) fn fill_bucket(&mut self) {
        self.full_at_ns = 0;
    }
}

/// All connections, by slot.
#[derive(Debug, Default)]
pub(super) struct ConnectionSessions {
    slots: Vec<Option<ConnectionSession>>,
    len: usize,
    /// For each time of a check, the first connection of its list. The entry stays until that time,
    /// even if all its connections close.
    idle_checks: BTreeMap<u64, u32>,
    /// When their users logged in, by the wall clock in seconds, by slot. It is beside the
    /// sessions, because messages do not need it.
    logged_in_s: Vec<u32>,
}

impl ConnectionSessions {
    pub(super) fn open(&mut self, conn: ConnId, address_key: Option<AddressKey>, now_ms: u64) {
        let slot = conn.slot as usize;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        debug_assert!(self.slots[slot].is_none(), "a slot is opened once before it is closed");
        self.len += usize::from(self.slots[slot].is_none());
        self.slots[slot] = Some(ConnectionSession {
            generation: conn.generation,
            user: None,
            last_active_ms: now_ms,
            form: ContentAsStringOrObject::Text,
            push_form: ContentAsStringOrObject::Text,
            is_output_blocked: false,
            is_input_paused: false,
            unanswered: 0,
            address_key,
            wrong_passwords: 0,
            stale_tokens: 0,
            refused_tries: 0,
            bad_inputs: 0,
            watches: false,
            requests_paused: false,
            excess_refusals: 0,
            full_at_ns: 0,
            idle_check_ms: 0,
            prev_slot: NONE,
            next_slot: NONE,
        });
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&ConnectionSession> {
        self.slots.get(conn.slot as usize)?.as_ref().filter(|session| session.generation == conn.generation)
    }

    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut ConnectionSession> {
        self.slots.get_mut(conn.slot as usize)?.as_mut().filter(|session| session.generation == conn.generation)
    }

    /// A user logs in on it.
    pub(super) fn note_log_in(&mut self, conn: ConnId, wall_ms: u64) {
        let slot = conn.slot as usize;
        if slot >= self.logged_in_s.len() {
            self.logged_in_s.resize(slot + 1, 0);
        }
        // Seconds fit until 2106.
        self.logged_in_s[slot] = u32::try_from(wall_ms / 1_000).unwrap_or(u32::MAX);
    }

    /// When the user who is on it logged in, by the wall clock, to the second.
    pub(super) fn logged_in_ms(&self, conn: ConnId) -> u64 {
        self.logged_in_s.get(conn.slot as usize).map_or(0, |&seconds| u64::from(seconds) * 1_000)
    }

    pub(super) fn close(&mut self, conn: ConnId) -> Option<ConnectionSession> {
        self.get(conn)?;
        self.remove_look(conn.slot);
        self.len -= 1;
        self.slots[conn.slot as usize].take()
    }

    /// Sets the time of a connection's next check; `true` if it is the first one at that time, so
    /// that a timer is needed.
    pub(super) fn look_at(&mut self, conn: ConnId, look_ms: u64) -> bool {
        debug_assert!(look_ms > 0, "0 says that it is not looked at");
        self.remove_look(conn.slot);
        let next = self.idle_checks.get(&look_ms).copied();
        let Some(session) = self.get_mut(conn) else {
            return false;
        };
        session.idle_check_ms = look_ms;
        session.next_slot = next.unwrap_or(NONE);
        if let Some(next) = self.at(next.unwrap_or(NONE)) {
            next.prev_slot = conn.slot;
        }
        self.idle_checks.insert(look_ms, conn.slot);
        next.is_none()
    }

    /// Takes out one of the connections to be checked at this time. Call it until it gives `None`.
    pub(super) fn next_to_look_at(&mut self, look_ms: u64) -> Option<ConnId> {
        let slot = *self.idle_checks.get(&look_ms)?;
        let conn = self.at(slot).map(|session| ConnId { slot, generation: session.generation });
        match conn {
            Some(_) => self.remove_look(slot),
            None => _ = self.idle_checks.remove(&look_ms),
        }
        conn
    }

    fn at(&mut self, slot: u32) -> Option<&mut ConnectionSession> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    fn remove_look(&mut self, slot: u32) {
        let Some(session) = self.at(slot).filter(|session| session.idle_check_ms > 0) else {
            return;
        };
        let (look_ms, before, after) = (session.idle_check_ms, session.prev_slot, session.next_slot);
        (session.idle_check_ms, session.prev_slot, session.next_slot) = (0, NONE, NONE);
        match self.at(before) {
            Some(before) => before.next_slot = after,
            None => _ = self.idle_checks.insert(look_ms, after),
        }
        if let Some(after) = self.at(after) {
            after.prev_slot = before;
        }
    }

    #[cfg(debug_assertions)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All open connections, by slot.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.slots.iter().enumerate().filter_map(|(slot, session)| {
            session.as_ref().map(|session| ConnId { slot: slot as u32, generation: session.generation })
        })
    }

    /// Checks that every connection is on the list of the time of its check, and on no other.
    #[cfg(debug_assertions)]
    pub(super) fn check_looks(&self) {
        let mut seen = 0;
        for (&look_ms, &first) in &self.idle_checks {
            let (mut before, mut slot) = (NONE, first);
            while let Some(session) = self.slots.get(slot as usize).and_then(Option::as_ref) {
                assert_eq!((session.idle_check_ms, session.prev_slot), (look_ms, before));
                seen += 1;
                (before, slot) = (slot, session.next_slot);
            }
            assert_eq!(slot, NONE);
        }
        assert_eq!(seen, self.len, "each is looked at some time");
    }
}
