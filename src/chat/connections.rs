//! Connections that open, become idle and close.

use super::contract::{AddressKey, ConnId, CoreAction, CoreCloseCause};
use super::{CoreTimer, ServerCore, answer};

/// The largest number of idle connections that one tick closes. Thousands that were opened together
/// become idle together, and other clients must not wait until all are closed.
const IDLE_CLOSES_PER_TICK: u32 = 128;

impl ServerCore {
    #[inline(never)]
    pub(super) fn on_opened(&mut self, conn: ConnId, address_key: Option<AddressKey>, out: &mut Vec<CoreAction>) {
        self.sessions.open(conn, address_key, self.now.mono_ms);
        self.arm_idle(conn, self.next_look(self.now.mono_ms));
        if self.stopping {
            self.close_with_error(conn, answer::STOPPING, CoreCloseCause::ShuttingDown, out);
        }
    }

    /// The first check at which a connection that was last active at `last_active_ms` is idle.
    pub(super) fn next_look(&self, last_active_ms: u64) -> u64 {
        let every = self.rules.idle_check_ms.max(1);
        ((last_active_ms + self.rules.idle_timeout_ms) / every + 1) * every
    }

    /// Closes the idle connections of this check, after all earlier input was handed in, and not
    /// too many at once.
    pub(super) fn close_idle_connections(
        &mut self,
        look_ms: u64,
        input_read_until_ms: u64,
        closes: &mut u32,
        out: &mut Vec<CoreAction>,
    ) {
        while look_ms <= input_read_until_ms && *closes < IDLE_CLOSES_PER_TICK {
            let Some(conn) = self.sessions.next_to_look_at(look_ms) else { return };
            let look = self.sessions.get(conn).map_or(0, |session| self.next_look(session.last_active_ms));
            if look > input_read_until_ms {
                self.arm_idle(conn, look);
            } else {
                *closes += 1;
                self.close_with_error(conn, answer::SILENT, CoreCloseCause::Idle, out);
            }
        }
        self.wheel.insert(self.now.mono_ms + 1, CoreTimer::Idle { look_ms });
    }

    pub(super) fn arm_idle(&mut self, conn: ConnId, look_ms: u64) {
        if self.sessions.look_at(conn, look_ms) {
            self.wheel.insert(look_ms, CoreTimer::Idle { look_ms });
        }
    }

    /// Closes a connection on behalf of the core.
    pub(super) fn close(&mut self, conn: ConnId, cause: CoreCloseCause, out: &mut Vec<CoreAction>) {
        out.push(CoreAction::Close { conn, cause });
        self.on_closed(conn, out);
    }

    #[inline(never)]
    pub(super) fn on_closed(&mut self, conn: ConnId, out: &mut Vec<CoreAction>) {
        let Some(session) = self.sessions.close(conn) else {
            return;
        };
        if session.watches {
            self.presence.watch_ended();
        }
        if self.logins.is_any_deferred() {
            self.remove_deferred_log_in(conn, out);
        }
        if let Some(user) = session.user {
            self.goes_offline(user, out);
        }
    }
}
