//! The end: what was taken is made durable, then everybody is told.

use super::answer::STOPPING;
use super::contract::{Action, CloseReason, ConnId};
use super::{Chat, Timer};

impl Chat {
    #[inline(never)]
    pub(super) fn shut_down(&mut self, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        for item in self.items.refs() {
            self.save_if_unsaved(item, out);
        }
        self.wheel.insert(self.now.mono_ms + self.rules.stop_wait_ms, Timer::Stop);
    }

    #[inline(never)]
    pub(super) fn stop_if_done(&mut self, out: &mut Vec<Action>) {
        if !self.stopped && self.jobs.len() == 0 {
            self.stop_now(out);
        }
    }

    /// Everything is durable, or is not waited for any longer.
    pub(super) fn stop_now(&mut self, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        for item in self.items.refs() {
            self.refuse_waiters(item, None, STOPPING, out);
        }
        self.clear_auth_queue(out);
        for request in self.requests.tickets() {
            self.refuse_waiting(request, Some(STOPPING), out);
        }
        let conns: Vec<ConnId> = self.sessions.ids().collect();
        for conn in conns {
            self.say_and_close(conn, STOPPING, CloseReason::ShuttingDown, out);
        }
        out.push(Action::Stopped);
    }
}
