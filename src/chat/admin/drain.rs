//! Draining the server before it stops: the clients are told and closed a few at a time, so that
//! they come back elsewhere a few at a time, too. From the beginning on, no log-in is taken. When
//! all that were connected are gone, the shell begins the stop.

use super::super::answer::{ReplyTo, STOPPING};
use super::super::contract::{AdminAnswerFromCore, AdminTicket, ConnId, CoreAction, CoreCloseCause};
use super::super::{CoreTimer, ServerCore};
use crate::protocol::request::RequestType;

/// The time between two slices.
const SLICE_EVERY_MS: u64 = 100;

/// A drain in progress.
#[derive(Debug)]
pub(super) struct ConnectionDrain {
    /// All connections are closed by then.
    until_ms: u64,
    /// Those that were open at the beginning, and still are.
    conns: Vec<ConnId>,
}

impl ServerCore {
    pub(super) fn drain(&mut self, ticket: AdminTicket, out: &mut Vec<CoreAction>) {
        let until_ms = self.now.mono_ms + self.rules.drain_ms;
        let begins = self.admin.drain.is_none();
        let drain = self.admin.drain.get_or_insert_with(|| {
            let conns = self.sessions.ids().collect();
            Box::new(ConnectionDrain { until_ms, conns })
        });
        let connections = drain.conns.len() as u64;
        let left_ms = drain.until_ms.saturating_sub(self.now.mono_ms);
        self.answer_admin(ticket, AdminAnswerFromCore::Draining { connections, left_ms }, out);
        if begins {
            out.push(CoreAction::Draining { is_over: false });
            self.drain_on(out);
        }
    }

    /// Is the server drained? Then it takes no log-ins.
    pub(in super::super) fn is_draining(&self) -> bool {
        self.admin.drain.is_some()
    }

    /// Refuses a log-in or sign-up, and closes its connection: the client finds another server.
    #[cold]
    pub(in super::super) fn refuse_drained(&mut self, to: ReplyTo, verb: RequestType, out: &mut Vec<CoreAction>) {
        let conn = to.0;
        self.send_refusal(to, Some(verb), Some(STOPPING), out);
        self.close(conn, CoreCloseCause::ShuttingDown, out);
    }

    /// Closes the next slice of connections.
    pub(in super::super) fn drain_on(&mut self, out: &mut Vec<CoreAction>) {
        let now_ms = self.now.mono_ms;
        let Some(drain) = self.admin.drain.as_mut().filter(|_| !self.stopping) else {
            return;
        };
        drain.conns.retain(|conn| self.sessions.get(*conn).is_some());
        let slices_left = drain.until_ms.saturating_sub(now_ms) / SLICE_EVERY_MS + 1;
        let count = drain.conns.len().div_ceil(usize::try_from(slices_left).unwrap_or(usize::MAX));
        let slice = drain.conns.split_off(drain.conns.len() - count);
        let is_over = drain.conns.is_empty();
        for conn in slice {
            self.close_with_error(conn, STOPPING, CoreCloseCause::ShuttingDown, out);
        }
        if is_over {
            out.push(CoreAction::Draining { is_over: true });
        } else {
            self.wheel.insert(now_ms + SLICE_EVERY_MS, CoreTimer::AdminDrain);
        }
    }
}
